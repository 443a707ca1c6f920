//! `GET …/async-invocations`: the records of a function's asynchronous invocations, a window and a page at a time.

use http::StatusCode;
use jiff::{SignedDuration, Timestamp, civil, tz::TimeZone};
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::executions::{Execution, State as Progress};
use crate::refusal::Refusal;
use crate::request::Request;
use crate::service::{Call, Work, done};

/// How far back the window reaches if the caller does not say.
const DEFAULT_WINDOW: SignedDuration = SignedDuration::from_hours(1);

/// Records on a page if the caller does not say.
const DEFAULT_LIMIT: usize = 100;

/// Records on a page at most; whoever asks for more gets these.
const MAX_LIMIT: usize = 500;

/// How times are written: UTC, to the second, without a zone.
const TIME: &str = "%Y-%m-%dT%H:%M:%S";

/// The statuses that can be asked for. Nothing is ever discarded here, so `DISCARD` finds nothing.
const STATUSES: [&str; 5] = ["WAIT", "RUNNING", "SUCCESS", "FAIL", "DISCARD"];

pub(super) fn plan<'a>(call: &'a Call<'_>) -> Result<Work<'a>, Refusal> {
    page(call).map(done)
}

fn page(call: &Call<'_>) -> Result<Answer, Refusal> {
    let Call { state, request, now, .. } = *call;
    let target = call.target()?;
    let asked = Asked::read(request, now)?;
    let found = state.executions.select(&target.urn.to_string(), |execution| asked.wants(execution, now));
    let next = asked.marker.saturating_add(asked.limit);
    let records: Vec<Value> =
        (found.iter().skip(asked.marker).take(asked.limit)).map(|execution| record(execution, now)).collect();
    let body = json!({
        "invocations": records,
        "count": found.len(),
        // Known clients page until this is zero.
        "next_marker": if next < found.len() { next } else { 0 },
    });
    Ok(Answer::json(StatusCode::OK, &body))
}

/// What the query asks for.
struct Asked<'a> {
    request_id: Option<&'a str>,
    status: Option<&'a str>,
    begin: Timestamp,
    end: Timestamp,
    /// Records to skip.
    marker: usize,
    limit: usize,
}

impl<'a> Asked<'a> {
    fn read(request: &'a Request, now: Timestamp) -> Result<Self, Refusal> {
        let number = |name, default| match request.parameter(name) {
            Some(value) => value.parse().map_err(|_| Refusal::InvalidParameter),
            None => Ok(default),
        };
        let time = |name, default| match request.parameter(name) {
            Some(value) => read_time(value).ok_or(Refusal::InvalidParameter),
            None => Ok(default),
        };
        let status = request.parameter("status");
        if status.is_some_and(|status| !STATUSES.contains(&status)) {
            return Err(Refusal::InvalidParameter);
        }
        let an_hour_ago = now.checked_sub(DEFAULT_WINDOW).unwrap_or(Timestamp::MIN);
        Ok(Self {
            request_id: request.parameter("request_id"),
            status,
            begin: time("query_begin_time", an_hour_ago)?,
            end: time("query_end_time", now)?,
            marker: number("marker", 0)?,
            limit: match number("limit", DEFAULT_LIMIT)? {
                0 => DEFAULT_LIMIT,
                limit => limit.min(MAX_LIMIT),
            },
        })
    }

    /// The window is compared to the second, because that is how precisely it can be given.
    fn wants(&self, execution: &Execution, now: Timestamp) -> bool {
        let second = execution.accepted.as_second();
        (self.begin.as_second()..=self.end.as_second()).contains(&second)
            && self.request_id.is_none_or(|id| id == execution.request_id)
            && self.status.is_none_or(|status| status == execution.state(now).as_str())
    }
}

/// A time of exactly the documented form.
fn read_time(text: &str) -> Option<Timestamp> {
    let time = civil::DateTime::strptime(TIME, text).ok()?;
    (time.strftime(TIME).to_string() == text).then_some(())?;
    Some(time.to_zoned(TimeZone::UTC).ok()?.timestamp())
}

/// One record. Times that are not known yet are absent, as they are in the real service.
fn record(execution: &Execution, now: Timestamp) -> Value {
    let state = execution.state(now);
    let failure = execution.failure.as_ref().filter(|_| state == Progress::Fail);
    let mut record = json!({
        "request_id": execution.request_id,
        "status": state.as_str(),
        "error_code": failure.map_or(0, |failure| failure.code),
        "error_message": failure.map_or("", |failure| &failure.message),
    });
    if state != Progress::Wait {
        record["start_time"] = execution.start.strftime(TIME).to_string().into();
    }
    if matches!(state, Progress::Success | Progress::Fail) {
        record["end_time"] = execution.end.strftime(TIME).to_string().into();
    }
    record
}

#[cfg(test)]
mod tests;

//! `GET …/async-invocations` and `…/active-async-invocations`: lists the records of a function's asynchronous
//! invocations, by time window and in pages.

use http::StatusCode;
use jiff::{SignedDuration, Timestamp, civil, tz::TimeZone};
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::api::Api;
use crate::executions::{Execution, Outcome, Progress};
use crate::functions::Target;
use crate::refusal::Refusal;
use crate::request::Request;
use crate::service::page::Page;
use crate::service::{Call, Work, done};

/// Default length of the time window.
const DEFAULT_WINDOW: SignedDuration = SignedDuration::from_hours(1);

/// Default number of records on a page.
const DEFAULT_LIMIT: usize = 100;

/// Maximum number of records on a page; a larger number is lowered to it.
const MAX_LIMIT: usize = 500;

/// Format of times: UTC, to the second, without a zone.
const TIME: &str = "%Y-%m-%dT%H:%M:%S";

/// Maximum number of ids in a query.
const MAX_IDS: usize = 10;

/// Longest id in a query.
const MAX_ID: usize = 64;

/// Statuses allowed in a query.
const STATUSES: [&str; 5] = ["WAIT", "RUNNING", "SUCCESS", "FAIL", "DISCARD"];

pub(super) fn plan<'a>(call: &'a Call<'_>) -> Result<Work<'a>, Refusal> {
    page(call).map(done)
}

fn page(call: &Call<'_>) -> Result<Answer, Refusal> {
    let Call { state, route, request, now, .. } = *call;
    let Target { urn, function, .. } = call.target()?;
    let asked = Asked::read(route.api, request, now)?;
    let found = state.executions.select(function, &urn.to_string(), now, |execution| asked.wants(execution));
    let shown = asked.page.of(&found);
    let next = asked.page.next(shown.len());
    let records: Vec<Value> = shown.iter().map(record).collect();
    let mut body = json!({ "invocations": records });
    // The documented list of active invocations has neither field.
    if route.api == Api::ListAsync {
        // Known clients read pages until this is zero.
        let next = if next < found.len() { next } else { 0 };
        body["next_marker"] = if state.listing.text_markers { next.to_string().into() } else { next.into() };
        if !state.listing.no_count {
            body["count"] = found.len().into();
        }
    }
    Ok(Answer::json(StatusCode::OK, &body))
}

/// The query.
struct Asked<'a> {
    /// Only these ids; all if empty.
    ids: Vec<&'a str>,
    /// Only invocations that have not ended.
    active: bool,
    status: Option<&'a str>,
    begin: Timestamp,
    end: Timestamp,
    page: Page,
}

impl<'a> Asked<'a> {
    fn read(api: Api, request: &'a Request, now: Timestamp) -> Result<Self, Refusal> {
        let time = |name, default| match request.parameter(name) {
            Some(value) => read_time(value).ok_or(Refusal::InvalidParameter),
            None => Ok(default),
        };
        let active = api == Api::ListActive;
        let ids: Vec<&str> = match request.parameter(if active { "requests" } else { "request_id" }) {
            Some(ids) if active => ids.split(',').collect(),
            id => id.into_iter().collect(),
        };
        let status = request.parameter("status");
        if status.is_some_and(|status| !STATUSES.contains(&status))
            || ids.len() > MAX_IDS
            || ids.iter().any(|id| id.len() > MAX_ID)
        {
            return Err(Refusal::InvalidParameter);
        }
        let an_hour_ago = now.checked_sub(DEFAULT_WINDOW).unwrap_or(Timestamp::MIN);
        Ok(Self {
            ids,
            active,
            status,
            begin: time("query_begin_time", an_hour_ago)?,
            end: time("query_end_time", now)?,
            page: Page::read(request, "limit", DEFAULT_LIMIT, MAX_LIMIT)?,
        })
    }

    /// Compares the window to the second, because that is the precision of the query.
    fn wants(&self, execution: &Execution) -> bool {
        let Execution { event, progress, .. } = execution;
        let second = event.accepted.as_second();
        (self.begin.as_second()..=self.end.as_second()).contains(&second)
            && (self.ids.is_empty() || self.ids.contains(&&*event.request_id))
            && self.status.is_none_or(|status| status == execution.status())
            && !(self.active && matches!(progress, Progress::Ended { .. }))
    }
}

/// A time in the documented format, or in that of RFC 3339: clients add a zone, an offset, or a fraction of a second.
fn read_time(text: &str) -> Option<Timestamp> {
    // The parser is more tolerant than RFC 3339: it accepts dates alone, and times without seconds.
    let bytes = text.as_bytes();
    let complete = bytes.len() >= "2025-01-02T03:04:05".len() && matches!(bytes[10], b'T' | b't' | b' ');
    let complete = complete && bytes[..19].iter().filter(|byte| byte.is_ascii_digit()).count() == 14;
    let utc = || Some(text.parse::<civil::DateTime>().ok()?.to_zoned(TimeZone::UTC).ok()?.timestamp());
    complete.then(|| text.parse().ok().or_else(utc)).flatten()
}

/// One record. Unknown times are absent, as in the real service.
fn record(execution: &Execution) -> Value {
    let (start, end, failure) = match &execution.progress {
        Progress::Wait { .. } => (None, None, None),
        Progress::Running { start, .. } => (Some(*start), None, None),
        Progress::Ended { start, end, outcome: Outcome::Fail(failure) } => {
            (*start, Some(*end), Some(failure))
        }
        Progress::Ended { start, end, outcome: Outcome::Success | Outcome::Discard } => {
            (*start, Some(*end), None)
        }
    };
    let mut record = json!({
        "request_id": execution.event.request_id,
        "status": execution.status(),
        "error_code": failure.map_or(0, |failure| failure.code),
        "error_message": failure.map_or("", |failure| &failure.message),
    });
    for (name, time) in [("start_time", start), ("end_time", end)] {
        if let Some(time) = time {
            record[name] = time.strftime(TIME).to_string().into();
        }
    }
    record
}

#[cfg(test)]
mod tests;

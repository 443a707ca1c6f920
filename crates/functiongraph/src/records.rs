//! The records that the service keeps of asynchronous invocations: how they are asked for, and how they are read.

use http::Method;
use jiff::{SignedDuration, Timestamp, civil, tz::TimeZone};
use serde_json::{Map, Value};

use crate::answer::{self, Answer};
use crate::invocation::Protocol;
use crate::request::Draft;
use crate::text::{Clean, Shown};
use crate::urn::FunctionUrn;

/// Bytes of a page that are read: enough for some hundred records whose messages are not all long.
pub const MAX_PAGE: usize = 256 * 1024;

/// Most records on a page, by the service's own limit.
pub const MAX_LIMIT: u16 = 500;

/// Records on a page unless asked otherwise, as the service has it. A page of 500 can be longer than [`MAX_PAGE`].
pub const DEFAULT_LIMIT: u16 = 100;

/// How times are written: UTC, to the second, without a zone.
const TIME: &str = "%Y-%m-%dT%H:%M:%S";

/// Which records are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListQuery {
    /// Only of invocations submitted at or after this. Always sent: the service's own default is an hour ago, even if a
    /// request id is given. Fractions of a second are dropped.
    pub begin: Timestamp,
    /// Only of invocations submitted at or before this; now, by default. Fractions of a second are rounded up.
    pub end: Option<Timestamp>,
    /// Only the record of this invocation.
    pub request_id: Option<String>,
    /// Only with this status; [`ExecutionStatus::Other`] asks for all.
    pub status: Option<ExecutionStatus>,
    /// Records on a page, 1 to [`MAX_LIMIT`]; numbers outside are taken for the nearest one. Ask for less if a page
    /// comes back as a success that is no page: it was longer than [`MAX_PAGE`].
    pub limit: u16,
    /// Where to go on: [`Page::next_marker`] of the page before.
    pub marker: Option<String>,
}

/// What a listing answers with.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "there is one for a call, and it is taken apart at once")]
pub enum Listed {
    /// A page of records.
    Page(Page),
    /// Anything else: a refusal, or a success whose body is not a page (cut, too long, or another shape).
    /// [`Answer::is_success`] tells them apart.
    Answer(Answer),
}

/// A page of records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The records, in the order of the service. None for an unknown request id: that is not an error.
    pub records: Vec<Record>,
    /// What the next page is asked for with; `None` on the last one (and if the service names the same page again).
    pub next_marker: Option<String>,
    /// When the page was made, by the service's clock (header `Date`): whoever compares its times with their own can
    /// see whether the clocks agree.
    pub date: Option<Timestamp>,
}

/// What is recorded about one invocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Id of the invocation.
    pub request_id: String,
    /// How far it is.
    pub status: ExecutionStatus,
    /// Code of the error it ended with, such as `4208` (cancelled). Of a success there is none.
    pub error_code: Option<String>,
    /// Message of the error, on one line, at most 1024 characters.
    pub error_message: Option<Clean>,
    /// When the execution began.
    pub start_time: Option<Timestamp>,
    /// When it ended.
    pub end_time: Option<Timestamp>,
}

/// How far an asynchronous invocation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ExecutionStatus {
    /// Queued.
    Wait,
    /// Being executed.
    Running,
    /// Executed.
    Success,
    /// Executed, and ended with an error.
    Fail,
    /// Given up before it was executed.
    Discard,
    /// Something that no document of the service names.
    Other,
}

// === impl ListQuery ===

impl ListQuery {
    /// All records since `begin`, from the first page on.
    #[must_use]
    pub fn since(begin: Timestamp) -> Self {
        Self { begin, end: None, request_id: None, status: None, limit: DEFAULT_LIMIT, marker: None }
    }

    /// The request, unsigned.
    pub(crate) fn draft(&self, urn: &FunctionUrn) -> Draft {
        let Self { begin, end, request_id, status, limit, marker } = self;
        let time = |time: Timestamp| time.strftime(TIME).to_string();
        let query = [
            ("query_begin_time", Some(time(*begin))),
            ("query_end_time", end.map(|end| time(round_up(end)))),
            ("request_id", request_id.clone()),
            ("status", status.and_then(ExecutionStatus::name).map(str::to_owned)),
            ("limit", Some((*limit).clamp(1, MAX_LIMIT).to_string())),
            ("marker", marker.clone()),
        ];
        Draft {
            query: query.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect(),
            ..Draft::new(Method::GET, Protocol::V2.path(urn, "async-invocations"))
        }
    }
}

/// The next full second; the service knows no fractions, and none of the time asked for may be left out.
fn round_up(time: Timestamp) -> Timestamp {
    if time.subsec_nanosecond() == 0 {
        return time;
    }
    time.checked_add(SignedDuration::from_secs(1)).unwrap_or(time)
}

// === impl Page ===

impl Page {
    /// Reads a page that was asked for with `marker`; `None` if the body is none.
    ///
    /// All or nothing: a page with a record that cannot be read is no page, because whoever looks for a record would
    /// take what is left for all there is.
    pub(crate) fn read(body: &[u8], marker: Option<&str>, shown: &Shown) -> Option<Self> {
        let page: Map<String, Value> = serde_json::from_slice(body).ok()?;
        let records = match page.get("invocations")? {
            Value::Array(records) => {
                records.iter().map(|record| Record::read(record, shown)).collect::<Option<_>>()?
            }
            Value::Null => Vec::new(),
            _ => return None,
        };
        let next_marker = next_marker(&page).filter(|next| Some(next.as_str()) != marker);
        Some(Self { records, next_marker, date: None })
    }
}

/// Where the next page begins. The sources disagree whether it is a number or a string.
fn next_marker(page: &Map<String, Value>) -> Option<String> {
    let marker = answer::text(page, "next_marker")?;
    let is_end = marker.parse().is_ok_and(|marker: i64| marker <= 0);
    (!is_end).then_some(marker)
}

// === impl Record ===

impl Record {
    fn read(record: &Value, shown: &Shown) -> Option<Self> {
        let fields = record.as_object()?;
        let text = |name| answer::text(fields, name);
        let time = |name| text(name).as_deref().and_then(read_time);
        let is_error = |code: &String| code.parse() != Ok(0_i64);
        Some(Self {
            request_id: text("request_id").and_then(|id| shown.id(id))?,
            status: ExecutionStatus::of(&text("status").unwrap_or_default()),
            error_code: text("error_code").filter(is_error).and_then(|code| shown.id(code)),
            error_message: text("error_message")
                .map(|message| shown.line(&message))
                .filter(|text| !text.is_empty()),
            start_time: time("start_time"),
            end_time: time("end_time"),
        })
    }
}

/// A time, in UTC unless it says otherwise.
fn read_time(text: &str) -> Option<Timestamp> {
    if let Ok(time) = text.parse() {
        return Some(time);
    }
    let time: civil::DateTime = text.parse().ok()?;
    Some(time.to_zoned(TimeZone::UTC).ok()?.timestamp())
}

// === impl ExecutionStatus ===

impl ExecutionStatus {
    /// As the service spells it.
    fn name(self) -> Option<&'static str> {
        match self {
            Self::Wait => Some("WAIT"),
            Self::Running => Some("RUNNING"),
            Self::Success => Some("SUCCESS"),
            Self::Fail => Some("FAIL"),
            Self::Discard => Some("DISCARD"),
            Self::Other => None,
        }
    }

    fn of(name: &str) -> Self {
        let known = [Self::Wait, Self::Running, Self::Success, Self::Fail, Self::Discard];
        let is_it = |status: &Self| status.name().is_some_and(|known| known.eq_ignore_ascii_case(name));
        known.into_iter().find(is_it).unwrap_or(Self::Other)
    }

    /// Whether the record will not change any more.
    #[must_use]
    pub fn is_final(self) -> bool {
        match self {
            Self::Success | Self::Fail | Self::Discard => true,
            Self::Wait | Self::Running | Self::Other => false,
        }
    }
}

#[cfg(test)]
mod tests;

//! The records that the service keeps of asynchronous invocations: the query and the pages.

use http::Method;
use jiff::{SignedDuration, Timestamp, civil, tz::TimeZone};
use serde_json::{Map, Value};

use crate::answer::{self, Answer};
use crate::invocation::Protocol;
use crate::request::Draft;
use crate::text::{Clean, Shown};
use crate::urn::FunctionUrn;

/// Bytes of a page that are read: enough for a few hundred records unless most messages are long.
pub const MAX_PAGE: usize = 256 * 1024;

/// Maximum number of records on a page, set by the service.
pub const MAX_LIMIT: u16 = 500;

/// Records on a page by default, as in the service. A page of 500 can be longer than [`MAX_PAGE`].
pub const DEFAULT_LIMIT: u16 = 100;

/// Format of times: UTC, to the second, without a zone.
const TIME: &str = "%Y-%m-%dT%H:%M:%S";

/// A query for records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListQuery {
    /// Only invocations submitted at or after this. Always sent, because the service's own default is one hour ago,
    /// even with a request id. Fractions of a second are dropped.
    pub begin: Timestamp,
    /// Only invocations submitted at or before this; by default until now. Fractions of a second are rounded up.
    pub end: Option<Timestamp>,
    /// Only the record of this invocation.
    pub request_id: Option<String>,
    /// Only with this status. [`ExecutionStatus::Other`] does not filter.
    pub status: Option<ExecutionStatus>,
    /// Records on a page, 1 to [`MAX_LIMIT`]; other numbers are clamped. If you get a success that is no page, the
    /// page was longer than [`MAX_PAGE`]: lower the limit.
    pub limit: u16,
    /// Position of the next page: [`Page::next_marker`] of the page before.
    pub marker: Option<String>,
}

/// Answer to a list call.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "there is one for a call, and it is taken apart at once")]
pub enum Listed {
    /// A page of records.
    Page(Page),
    /// Any other answer: a refusal, or a success whose body is not a page (cut, too long, or malformed).
    /// [`Answer::is_success`] tells the two apart.
    Answer(Answer),
}

/// A page of records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The records, in the order of the service. Empty for an unknown request id, which is not an error.
    pub records: Vec<Record>,
    /// Marker for the next page; `None` on the last page, and if the service names the same page again.
    pub next_marker: Option<String>,
    /// When the service made the page, by its own clock (header `Date`). Compare it with your clock before you
    /// compare the times of records.
    pub date: Option<Timestamp>,
}

/// Record of one invocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Id of the invocation.
    pub request_id: String,
    /// How far the execution is.
    pub status: ExecutionStatus,
    /// Code of the error, such as `4208` (cancelled). `None` for a success.
    pub error_code: Option<String>,
    /// Message of the error, on one line, at most 1024 characters.
    pub error_message: Option<Clean>,
    /// When the execution started.
    pub start_time: Option<Timestamp>,
    /// When the execution ended.
    pub end_time: Option<Timestamp>,
}

/// State of an asynchronous invocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ExecutionStatus {
    /// Queued.
    Wait,
    /// Being executed.
    Running,
    /// Executed.
    Success,
    /// Executed; the function failed.
    Fail,
    /// Discarded before its execution.
    Discard,
    /// A status that the service does not document.
    Other,
}

// === impl ListQuery ===

impl ListQuery {
    /// All records since `begin`, from the first page.
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

/// The next full second. The service knows no fractions, and the requested period must be covered completely.
fn round_up(time: Timestamp) -> Timestamp {
    if time.subsec_nanosecond() == 0 {
        return time;
    }
    time.checked_add(SignedDuration::from_secs(1)).unwrap_or(time)
}

// === impl Page ===

impl Page {
    /// Reads a page that was requested with `marker`; `None` if the body is no page.
    ///
    /// If one record cannot be read, the whole page is refused. Otherwise a caller that searches for a record could
    /// take the rest for the complete list.
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

/// Position of the next page. The documents disagree whether it is a number or a string.
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

/// A time; UTC unless it has a zone.
fn read_time(text: &str) -> Option<Timestamp> {
    if let Ok(time) = text.parse() {
        return Some(time);
    }
    let time: civil::DateTime = text.parse().ok()?;
    Some(time.to_zoned(TimeZone::UTC).ok()?.timestamp())
}

// === impl ExecutionStatus ===

impl ExecutionStatus {
    /// The service's spelling.
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

    /// Whether this state is final.
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

//! Faults: an error, the calls that it hits, and how often it has fired.

use std::fmt;
use std::time::Duration;

use http::StatusCode;
use parking_lot::Mutex;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::api::Api;

/// An error of calls: of all that submit an event, or of those of one API.
///
/// "Accepted" below means that the call has taken effect. For APIs other than the invocations, read "carried out".
///
/// Faults are checked in the order in which they were added. Only the first that fires acts, and later faults do not
/// see the request. A request that fails authentication or exceeds the rate limit reaches no fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Fault {
    /// Which of the matching requests it hits.
    pub when: When,
    /// The only API that it hits; absent: every API that submits an event, and no other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api: Option<Api>,
    /// Name of the only function that it hits; absent: all functions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub function: Option<String>,
    /// Effect of the fault.
    pub action: Action,
}

impl Fault {
    /// A fault of every invocation.
    #[must_use]
    pub fn new(when: When, action: Action) -> Self {
        Self { when, api: None, function: None, action }
    }

    /// Restricts it to one API.
    #[must_use]
    pub fn of(self, api: impl Into<Api>) -> Self {
        Self { api: Some(api.into()), ..self }
    }

    /// Restricts it to one function.
    #[must_use]
    pub fn on(self, function: &str) -> Self {
        Self { function: Some(function.to_owned()), ..self }
    }

    /// Whether the call matches.
    fn matches(&self, api: Api, function: &str) -> bool {
        self.api.map_or(api.invokes(), |wanted| wanted == api)
            && self.function.as_deref().is_none_or(|name| name == function)
    }
}

/// Which of the matching requests a fault hits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum When {
    /// The next number of requests, then never again: `{"next": 3}`.
    Next(u64),
    /// Every nth request, counted from one: `{"every": 5}`; 0 is never.
    Every(u64),
    /// Every request: `"forever"`.
    Forever,
}

impl When {
    /// Whether this request is hit; the first request has number 1.
    fn hits(self, number: u64) -> bool {
        match self {
            Self::Next(count) => number <= count,
            Self::Every(step) => number.is_multiple_of(step),
            Self::Forever => true,
        }
    }
}

/// Effect on a request that a fault hits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum Action {
    /// Not accepted: the answer is this error.
    Status(#[serde(deserialize_with = "short_or_long")] ErrorAnswer),
    /// Accepted: the normal answer is delayed, as in `{"delay": "500ms"}`.
    Delay(
        /// For how long.
        #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
        Duration,
    ),
    /// Not accepted: the connection is reset without an answer.
    DropBefore,
    /// Accepted: the connection is reset without an answer.
    DropAfter,
    /// Accepted, but the answer is this error, such as a 504.
    AcceptThen(#[serde(deserialize_with = "short_or_long")] ErrorAnswer),
    /// Accepted: the answer announces its full length and ends in the middle of the body.
    TruncatedBody,
    /// Accepted: the usual status with a malformed body.
    OddBody {
        /// Type of the malformed body.
        kind: OddBody,
    },
    /// Not accepted: 307 to another URL.
    Redirect {
        /// The value of `Location`.
        location: String,
    },
    /// Never answered; the connection stays open until the client gives up.
    Hang {
        /// Whether the event is accepted first.
        #[serde(default)]
        accept: bool,
    },
}

impl Action {
    /// Puts the header of the request into a body with the placeholder.
    pub(crate) fn repeat(&mut self, authorization: &str) {
        if let Self::Status(answer) | Self::AcceptThen(answer) = self
            && let Some(body) = &mut answer.body
        {
            *body = body.replace("{authorization}", authorization);
        }
    }

    /// Whether the event is accepted in spite of the fault. Only a valid submission can be.
    fn accepts(&self) -> bool {
        match self {
            Self::Status(_) | Self::DropBefore | Self::Redirect { .. } => false,
            Self::Delay(_)
            | Self::DropAfter
            | Self::AcceptThen(_)
            | Self::TruncatedBody
            | Self::OddBody { .. } => true,
            Self::Hang { accept } => *accept,
        }
    }
}

/// A custom error answer; the status alone is short for one with this status.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ErrorAnswer {
    /// The status, 200 to 999.
    #[serde(with = "status")]
    pub status: StatusCode,
    /// `error_code`; absent: `FSS.0` and the status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_code: Option<String>,
    /// `error_msg`; absent: the usual message for the status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_msg: Option<String>,
    /// The header `Retry-After`, sent unchanged; a number of seconds may be a number.
    #[serde(default, deserialize_with = "text_or_number", skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<String>,
    /// A body that replaces the JSON with code and message. The emulator replaces `{authorization}` in it with that
    /// header of the request, because error pages of some proxies repeat it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// `Content-Type` of that body; absent: `text/html`, as proxies send it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
}

impl ErrorAnswer {
    /// The usual answer for this status.
    #[must_use]
    pub fn of(status: StatusCode) -> Self {
        Self { status, error_code: None, error_msg: None, retry_after: None, body: None, content_type: None }
    }
}

/// Types of malformed bodies. The id is left out unless the variant says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum OddBody {
    /// `{}`
    NoId,
    /// The id as `request_id` and as `request-id`.
    BothIds,
    /// The id is a number.
    IdAsNumber,
    /// Zero bytes.
    Empty,
    /// A web page.
    Html,
    /// More than a mebibyte of padding before the id.
    Huge,
    /// `{}`, with the id in the header `X-Cff-Request-Id`.
    IdInHeaderOnly,
}

/// A fault and its counters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlannedFault {
    /// The fault.
    #[serde(flatten)]
    pub fault: Fault,
    /// Requests that matched.
    pub seen: u64,
    /// Requests that it hit.
    pub fired: u64,
}

/// The active faults.
#[derive(Debug, Default)]
pub(crate) struct FaultPlan(Mutex<Vec<PlannedFault>>);

impl FaultPlan {
    pub(crate) fn add(&self, fault: Fault) {
        self.0.lock().push(PlannedFault { fault, seen: 0, fired: 0 });
    }

    pub(crate) fn clear(&self) {
        self.0.lock().clear();
    }

    pub(crate) fn list(&self) -> Vec<PlannedFault> {
        self.0.lock().clone()
    }

    /// The effect on a call of `function`. `valid` says whether the call would be accepted without a fault.
    pub(crate) fn pick(&self, api: Api, function: &str, valid: bool) -> Option<Action> {
        self.0.lock().iter_mut().find_map(|planned| {
            let fault = &planned.fault;
            if !fault.matches(api, function) || (fault.action.accepts() && !valid) {
                return None;
            }
            planned.seen += 1;
            fault.when.hits(planned.seen).then(|| {
                planned.fired += 1;
                fault.action.clone()
            })
        })
    }
}

/// Reads an answer of which the status alone may be given.
fn short_or_long<'de, D: Deserializer<'de>>(from: D) -> Result<ErrorAnswer, D::Error> {
    struct Answer;

    impl<'de> Visitor<'de> for Answer {
        type Value = ErrorAnswer;

        fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
            to.write_str("a status, such as 503, or an object with a status")
        }

        fn visit_u64<E: Error>(self, number: u64) -> Result<ErrorAnswer, E> {
            let status = u16::try_from(number).map_err(|_| E::custom(status::RANGE))?;
            status::of(status).map(ErrorAnswer::of)
        }

        fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<ErrorAnswer, A::Error> {
            ErrorAnswer::deserialize(MapAccessDeserializer::new(fields))
        }
    }

    from.deserialize_any(Answer)
}

/// Reads a text that may be a number.
fn text_or_number<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Number(u32),
        Text(String),
    }
    Ok(match Option::deserialize(from)? {
        Some(Written::Number(number)) => Some(number.to_string()),
        Some(Written::Text(text)) => Some(text),
        None => None,
    })
}

/// A status as the number it is on the wire.
mod status {
    use http::StatusCode;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde fixes the signature")]
    pub(super) fn serialize<S: Serializer>(status: &StatusCode, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u16(status.as_u16())
    }

    pub(super) const RANGE: &str = "a status is a number from 200 to 999";

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<StatusCode, D::Error> {
        of(u16::deserialize(from)?)
    }

    pub(super) fn of<E: Error>(number: u16) -> Result<StatusCode, E> {
        // A 1xx is not a final answer: a client would wait for ever.
        let status = StatusCode::from_u16(number).ok().filter(|status| !status.is_informational());
        status.ok_or_else(|| E::custom(RANGE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fired(plan: &FaultPlan, function: &str, requests: usize) -> Vec<usize> {
        (1..=requests).filter(|_| plan.pick(Api::InvokeAsync, function, true).is_some()).collect()
    }

    fn plan(when: When, function: Option<&str>) -> FaultPlan {
        let plan = FaultPlan::default();
        plan.add(Fault { function: function.map(Into::into), ..Fault::new(when, Action::DropBefore) });
        plan
    }

    #[test]
    fn a_fault_hits_the_next_every_nth_or_all() {
        assert_eq!(fired(&plan(When::Next(2), None), "f", 5), [1, 2]);
        assert_eq!(fired(&plan(When::Every(2), None), "f", 5), [2, 4]);
        assert_eq!(fired(&plan(When::Every(0), None), "f", 5), [] as [usize; 0]);
        assert_eq!(fired(&plan(When::Forever, None), "f", 3), [1, 2, 3]);
    }

    #[test]
    fn a_fault_of_one_function_leaves_the_others_alone() {
        let plan = plan(When::Next(1), Some("f"));
        assert_eq!(plan.pick(Api::InvokeAsync, "g", true), None);
        assert_eq!(plan.pick(Api::InvokeAsync, "f", true), Some(Action::DropBefore));
    }

    #[test]
    fn a_fault_hits_every_invocation_or_the_one_api_it_is_made_for() {
        let hits = |fault: Fault| {
            let plan = FaultPlan::default();
            plan.add(fault);
            Api::all().filter(|api| plan.pick(*api, "f", true).is_some()).collect::<Vec<_>>()
        };
        let fault = || Fault::new(When::Forever, Action::DropBefore);
        assert_eq!(hits(fault()), Api::all().filter(|api| api.invokes()).collect::<Vec<_>>());
        assert_eq!(hits(fault().of(Api::ListAsync)), [Api::ListAsync]);
    }

    #[test]
    fn a_refused_request_does_not_use_up_a_fault_that_accepts() {
        let plan = FaultPlan::default();
        plan.add(Fault::new(When::Next(1), Action::DropAfter));
        assert_eq!(plan.pick(Api::InvokeAsync, "f", false), None);
        assert_eq!(plan.pick(Api::InvokeAsync, "f", true), Some(Action::DropAfter));
        assert_eq!(plan.list()[0].seen, 1);
    }

    #[test]
    fn faults_are_written_as_short_json() {
        let read = |text: &str| serde_json::from_str::<Fault>(text);
        let fault = read(r#"{"when":{"next":3},"function":"f","action":{"status":{"status":503}}}"#);
        let action = Action::Status(ErrorAnswer::of(StatusCode::SERVICE_UNAVAILABLE));
        assert_eq!(fault.unwrap(), Fault::new(When::Next(3), action.clone()).on("f"));
        let short = read(r#"{"when":{"next":3},"function":"f","action":{"status":503}}"#);
        assert_eq!(short.unwrap(), Fault::new(When::Next(3), action).on("f"));
        let error = read(r#"{"when":"forever","action":{"status":"503"}}"#).unwrap_err().to_string();
        assert!(error.contains("expected a status, such as 503, or an object with a status"), "{error}");
        let seconds: ErrorAnswer = serde_json::from_str(r#"{"status":503,"retryAfter":4}"#).unwrap();
        assert_eq!(seconds.retry_after.as_deref(), Some("4"));
        let listing = read(r#"{"when":"forever","api":"v2/async-invocations","action":"dropBefore"}"#);
        assert_eq!(listing.unwrap().api, Some(Api::ListAsync));
        for action in [
            r#"{"delay":"5ms"}"#,
            r#""dropBefore""#,
            r#""dropAfter""#,
            r#"{"acceptThen":{"status":504}}"#,
            r#"{"acceptThen":{"status":504,"body":"{}","contentType":"application/json"}}"#,
            r#""truncatedBody""#,
            r#"{"oddBody":{"kind":"idInHeaderOnly"}}"#,
            r#"{"redirect":{"location":"https://elsewhere/"}}"#,
            r#"{"hang":{}}"#,
        ] {
            read(&format!(r#"{{"when":"forever","action":{action}}}"#)).unwrap();
        }
        for unknown in [
            r#"{"acceptThen":{"status":100}}"#,
            r#"{"acceptThen":{"status":504,"bdoy":"{}"}}"#,
            r#"{"delay":5}"#,
            r#"{"status":99}"#,
            r#"{"status":{}}"#,
            r#"{"oddBody":{"kind":"html","body":"<html>"}}"#,
            r#"{"redirect":{"location":"https://elsewhere/","status":301}}"#,
            r#"{"hang":{"accepted":true}}"#,
        ] {
            assert!(read(&format!(r#"{{"when":"forever","action":{unknown}}}"#)).is_err(), "{unknown}");
        }
        assert!(read(r#"{"when":"forever","action":"dropAfter","functoin":"f"}"#).is_err());
    }
}

//! One invocation: what it asks for, the API call it uses, and how to cancel it.

use std::fmt;

use bytes::Bytes;
use http::{HeaderName, Method};
use serde_json::Value;

use crate::percent;
use crate::request::Draft;
use crate::urn::FunctionUrn;

/// Body of an event without content, because the service refuses an empty body.
const EMPTY_EVENT: Bytes = Bytes::from_static(b"{}");

/// Header with the memory of the instance, in MB.
const X_CFF_INSTANCE_MEMORY: HeaderName = HeaderName::from_static("x-cff-instance-memory");

/// Header that asks for the end of the function's log.
const X_CFF_LOG_TYPE: HeaderName = HeaderName::from_static("x-cff-log-type");

/// Header that asks for the result in an envelope. Without one, a result and a message about it cannot be told apart.
const X_CFF_REQUEST_VERSION: HeaderName = HeaderName::from_static("x-cff-request-version");

/// An edition of the API. The two editions differ in paths and spellings.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// `/v2/{project}/fgs/…`, the current edition; has every call.
    #[default]
    V2,
    /// `/v1.0/{project}/fss/…`. Of the calls of this crate it has asynchronous and synchronous invocations, and the
    /// list of functions.
    V1,
}

/// How the service executes an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The service queues the event and answers with a request id. At most 256 KB.
    Async,
    /// The service executes the event at once and answers with the function's result. At most 6 MB. The gateway gives
    /// up after 90 seconds without an answer.
    Sync {
        /// Whether the answer includes the end of the function's log.
        log_tail: bool,
    },
    /// The service queues the event on a reserved instance and answers with the id of that instance. The service has
    /// withdrawn this call except for listed users. It exists only in API v2, whatever the [`Protocol`].
    Reserved,
}

/// An event for a function.
#[derive(Clone)]
pub struct Invocation<'a> {
    /// The function.
    pub urn: &'a FunctionUrn,
    /// How the service executes it.
    pub kind: Kind,
    /// The edition of the API.
    pub protocol: Protocol,
    /// The event, sent unchanged; an empty one is sent as `{}`. Only JSON objects are documented.
    pub event: Bytes,
    /// Memory of the instance in MB, one of 128 256 512 768 1024 1280 1536 1792 2048 2560 3072 3584 4096 8192 10240.
    /// Only for functions with dynamic memory; the service refuses other numbers.
    pub instance_memory_mb: Option<u32>,
}

/// How to cancel an asynchronous invocation.
///
/// # Caveats
/// If an instance executes several events at a time, all of them end together with the cancelled one, with error
/// 4208.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum CancelType {
    /// The service's default; the request names no way.
    #[default]
    Default,
    /// Ends the runtime, as the documents advise.
    Force,
    /// Ends the invocation together with the function that it calls.
    Recursive,
}

// === impl Protocol ===

impl Protocol {
    /// The path of a call to a function.
    pub(crate) fn path(self, urn: &FunctionUrn, call: &str) -> String {
        format!("{}/{}/{call}", self.functions(urn.project_id()), urn.path_segment())
    }

    /// The path of the functions of a project.
    pub(crate) fn functions(self, project_id: &str) -> String {
        let (edition, service) = match self {
            Self::V2 => ("v2", "fgs"),
            Self::V1 => ("v1.0", "fss"),
        };
        format!("/{edition}/{}/{service}/functions", percent::encode(project_id))
    }
}

// === impl Invocation ===

impl Invocation<'_> {
    /// The request, unsigned.
    pub(crate) fn draft(self) -> Draft {
        let Self { urn, kind, protocol, event, instance_memory_mb } = self;
        let (protocol, call) = match kind {
            Kind::Async => (protocol, "invocations-async"),
            Kind::Sync { .. } => (protocol, "invocations"),
            Kind::Reserved => (Protocol::V2, "reserved-invocations"),
        };
        let mut headers = Vec::new();
        if let Some(memory) = instance_memory_mb {
            headers.push((X_CFF_INSTANCE_MEMORY, memory.to_string()));
        }
        if let Kind::Sync { log_tail } = kind {
            if log_tail {
                headers.push((X_CFF_LOG_TYPE, "tail".to_owned()));
            }
            if protocol == Protocol::V2 {
                headers.push((X_CFF_REQUEST_VERSION, "v1".to_owned()));
            }
        }
        let body = if event.is_empty() { EMPTY_EVENT } else { event };
        Draft { headers, body, ..Draft::new(Method::POST, protocol.path(urn, call)) }
    }
}

/// Shows only the length of the event.
impl fmt::Debug for Invocation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { urn, kind, protocol, event, instance_memory_mb } = self;
        f.debug_struct("Invocation")
            .field("urn", &urn.to_string())
            .field("kind", kind)
            .field("protocol", protocol)
            .field("event_bytes", &event.len())
            .field("instance_memory_mb", instance_memory_mb)
            .finish()
    }
}

// === impl CancelType ===

impl CancelType {
    /// The request that cancels an invocation, unsigned.
    pub(crate) fn draft(self, urn: &FunctionUrn, request_id: &str) -> Draft {
        let id = Value::from(request_id);
        let body = match self {
            Self::Default => format!(r#"{{"request_id":{id}}}"#),
            Self::Force => format!(r#"{{"request_id":{id},"type":"force"}}"#),
            Self::Recursive => format!(r#"{{"request_id":{id},"type":"recursive"}}"#),
        };
        Draft { body: body.into(), ..Draft::new(Method::POST, Protocol::V2.path(urn, "cancel")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::tests::Vector;

    const ALL: [Kind; 4] =
        [Kind::Async, Kind::Sync { log_tail: false }, Kind::Sync { log_tail: true }, Kind::Reserved];

    fn draft(kind: Kind, protocol: Protocol, event: &'static [u8], memory: Option<u32>) -> Draft {
        let urn = "urn:fss:eu-de:p1:function:default:f:!prod".parse().unwrap();
        let event = Bytes::from_static(event);
        Invocation { urn: &urn, kind, protocol, event, instance_memory_mb: memory }.draft()
    }

    fn shown(draft: &Draft) -> Vec<String> {
        draft.headers.iter().map(|(name, value)| format!("{name}: {value}")).collect()
    }

    #[test]
    fn every_kind_has_its_path_in_both_editions() {
        let segment = "urn%3Afss%3Aeu-de%3Ap1%3Afunction%3Adefault%3Af%3A%21prod";
        for (kind, v2, v1) in [
            (
                Kind::Async,
                "/v2/p1/fgs/functions/U/invocations-async",
                "/v1.0/p1/fss/functions/U/invocations-async",
            ),
            (
                Kind::Sync { log_tail: true },
                "/v2/p1/fgs/functions/U/invocations",
                "/v1.0/p1/fss/functions/U/invocations",
            ),
            (
                Kind::Reserved,
                "/v2/p1/fgs/functions/U/reserved-invocations",
                "/v2/p1/fgs/functions/U/reserved-invocations",
            ),
        ] {
            for (protocol, path) in [(Protocol::V2, v2), (Protocol::V1, v1)] {
                let draft = draft(kind, protocol, b"{}", None);
                assert_eq!((draft.method, draft.path), (Method::POST, path.replace('U', segment)));
                assert!(draft.query.is_empty());
            }
        }
    }

    #[test]
    fn only_a_synchronous_invocation_asks_for_a_log_and_only_in_v2_for_an_envelope() {
        let headers = |kind, protocol| shown(&draft(kind, protocol, b"{}", None));
        let (quiet, tail) = (Kind::Sync { log_tail: false }, Kind::Sync { log_tail: true });
        assert_eq!(headers(quiet, Protocol::V2), ["x-cff-request-version: v1"]);
        assert_eq!(headers(tail, Protocol::V2), ["x-cff-log-type: tail", "x-cff-request-version: v1"]);
        assert_eq!(headers(quiet, Protocol::V1), [""; 0]);
        assert_eq!(headers(tail, Protocol::V1), ["x-cff-log-type: tail"]);
        for kind in [Kind::Async, Kind::Reserved] {
            assert_eq!(headers(kind, Protocol::V2), [""; 0]);
        }
    }

    #[test]
    fn memory_is_asked_for_if_it_is_given() {
        for kind in ALL {
            let headers = shown(&draft(kind, Protocol::V2, b"{}", Some(256)));
            assert!(headers.contains(&"x-cff-instance-memory: 256".to_owned()), "{headers:?}");
        }
    }

    #[test]
    fn an_event_is_sent_as_it_is_and_an_empty_one_as_an_empty_object() {
        for kind in ALL {
            assert_eq!(draft(kind, Protocol::V2, b"", None).body.as_ref(), b"{}");
            assert_eq!(draft(kind, Protocol::V1, b" [1,\n2]", None).body.as_ref(), b" [1,\n2]");
        }
    }

    #[test]
    fn a_cancellation_names_the_request_and_how() {
        let urn = "urn:fss:eu-de:p1:function:default:f".parse().unwrap();
        for (how, body) in [
            (CancelType::Default, r#"{"request_id":"id-1"}"#),
            (CancelType::Force, r#"{"request_id":"id-1","type":"force"}"#),
            (CancelType::Recursive, r#"{"request_id":"id-1","type":"recursive"}"#),
        ] {
            let draft = how.draft(&urn, "id-1");
            assert_eq!(draft.body, body);
            assert_eq!(
                draft.path,
                "/v2/p1/fgs/functions/urn%3Afss%3Aeu-de%3Ap1%3Afunction%3Adefault%3Af%3Alatest/cancel"
            );
        }
        let odd = CancelType::Default.draft(&urn, "a\"b\n");
        assert_eq!(serde_json::from_slice::<Value>(&odd.body).unwrap()["request_id"], "a\"b\n");
    }

    #[test]
    fn the_requests_equal_those_of_the_official_sdk() {
        let cancel = Vector::named("cancel_async");
        cancel.check(CancelType::Force.draft(&cancel.urn(), "1167bf8c-87b0-43ab-8f5f-26b16c64f252"));
        let invoke = Vector::named("async_invoke_project_id");
        let event = Bytes::from_static(br#"{"k":"v"}"#);
        let (kind, protocol) = (Kind::Async, Protocol::V2);
        let urn = invoke.urn();
        invoke.check(Invocation { urn: &urn, kind, protocol, event, instance_memory_mb: None }.draft());
    }

    #[test]
    fn debug_does_not_show_the_event() {
        let urn = "urn:fss:eu-de:p1:function:default:f".parse().unwrap();
        let event = Bytes::from_static(b"canary");
        let invocation = Invocation {
            urn: &urn,
            kind: Kind::Async,
            protocol: Protocol::V2,
            event,
            instance_memory_mb: None,
        };
        let shown = format!("{invocation:?}");
        assert!(shown.contains("event_bytes: 6") && !shown.contains("canary"), "{shown}");
    }
}

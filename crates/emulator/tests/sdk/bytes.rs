//! Compares the requests of the crate `functiongraph` with those of the SDKs.
//!
//! An SDK makes a call to a recorder over TLS. Then the crate's client makes the same call, with the SDK's own time.
//! The test compares each pair of requests:
//!
//! * The method and the target. Python's target is equal byte for byte. Go and Node do not encode `:` and `!` in
//!   the path, Go writes a `Z` after the times in a query, and Node does not sort it; without those the targets are equal.
//! * The body, byte for byte: it is the event. Only the bodies that the client itself builds (cancelling) are
//!   compared as JSON, because Python writes a space after each colon, and Go a line feed at the end.
//! * The headers: the client sends the same headers and values as the SDK. Exceptions are those about the connection
//!   and the sender (`accept`, `accept-encoding`, `connection`, `user-agent`), and `authorization`.
//! * The signature, in two steps, because each sender signs other headers. First our signer gets the SDK's request
//!   and the names in its `SignedHeaders`, and must return exactly the SDK's `Authorization`. Then our signer gets
//!   the same request and the names in *our* `SignedHeaders`, and must return ours. So the SDK would send our
//!   `Authorization` if it signed the same headers. Where bodies or queries differ as described above, the second
//!   step uses ours.

use std::collections::BTreeMap;
use std::time::Duration;

use functiongraph::sign::{self, SignedRequest};
use functiongraph::{
    CancelType, Client, ClientOptions, Credential, ExecutionStatus, FunctionUrn, Invocation, Kind, ListQuery,
    Protocol,
};
use jiff::Timestamp;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::driver::{Language, Sdk};
use crate::place::{self, urn};
use crate::recorder::{Recorded, Recorder};

const SECRET: &str = "SKEXAMPLEKEY000000000000000000000000TEST";

/// Headers that may differ.
const OWN: [&str; 5] = ["accept", "accept-encoding", "authorization", "connection", "user-agent"];

/// An SDK and the client, which call the same recorder with the same credential.
struct Pair {
    language: Language,
    recorder: Recorder,
    sdk: Sdk,
    client: Client,
    credential: Credential,
    _home: TempDir,
}

/// The same call of both.
struct Twins {
    language: Language,
    sdk: Recorded,
    ours: Recorded,
}

impl Pair {
    fn new(language: Language, security_token: Option<&str>) -> Self {
        let recorder = Recorder::start();
        let home = tempfile::tempdir().unwrap();
        let mut credentials = vec![("SDK_AK", "AKEXAMPLE"), ("SDK_SK", SECRET)];
        credentials.extend(security_token.map(|token| ("SDK_SECURITY_TOKEN", token)));
        let sdk = place::start(language, &home, &recorder.ca_pem, &recorder.url, &credentials);
        let options =
            ClientOptions { ca_bundle_pem: Some(recorder.ca_pem.clone()), ..ClientOptions::default() };
        let client = Client::new(recorder.url.parse().unwrap(), options).unwrap();
        let credential = Credential::access_key("AKEXAMPLE", SECRET, security_token.map(Into::into)).unwrap();
        Self { language, recorder, sdk, client, credential, _home: home }
    }

    /// Makes a call with both. `ours` gets the body and the time of the SDK's request.
    async fn call(
        &mut self,
        call: &str,
        parameters: Value,
        ours: impl AsyncFn(&Client, &Credential, Vec<u8>, Timestamp),
    ) -> Twins {
        self.sdk.done(200, call, &parameters);
        let sdk = self.recorder.next();
        let time = sign::parse_date(sdk.header("x-sdk-date").unwrap()).unwrap();
        ours(&self.client, &self.credential, sdk.body.clone(), time).await;
        let twins = Twins { language: self.language, sdk, ours: self.recorder.next() };
        twins.assert_same_target_and_headers();
        twins.assert_same_signature();
        twins
    }

    async fn invoke(&mut self, function: &str, kind: Kind, instance_memory_mb: Option<u32>, body: Value) {
        let mut parameters = json!({"function_urn": urn(function), "body": body});
        if let Some(memory) = instance_memory_mb {
            parameters["X-Cff-Instance-Memory"] = memory.to_string().into();
        }
        let call = match kind {
            Kind::Sync { log_tail } => {
                parameters["X-CFF-Request-Version"] = "v1".into();
                if log_tail {
                    parameters["X-Cff-Log-Type"] = "tail".into();
                }
                "InvokeFunction"
            }
            _ => "AsyncInvokeFunction",
        };
        let urn: FunctionUrn = urn(function).parse().unwrap();
        let ours = async |client: &Client, credential: &Credential, event: Vec<u8>, time| {
            let (urn, protocol, event) = (&urn, Protocol::V2, event.into());
            let invocation = Invocation { urn, kind, protocol, event, instance_memory_mb };
            client.invoke(invocation, credential, time, TIMEOUT).await.unwrap();
        };
        let twins = self.call(call, parameters, ours).await;
        assert_eq!(twins.sdk.body, twins.ours.body, "{}", self.language);
    }

    async fn list(&mut self, mut parameters: Value, query: ListQuery) {
        parameters["function_urn"] = urn("test:latest").into();
        let ours = async |client: &Client, credential: &Credential, _, time| {
            client.list_async_invocations(&test(), &query, credential, time, TIMEOUT).await.unwrap();
        };
        self.call("ListAsyncInvocations", parameters, ours).await;
    }

    async fn cancel(&mut self, how: CancelType, body: Value) {
        let parameters = json!({"function_urn": urn("test:latest"), "body": body});
        let ours = async |client: &Client, credential: &Credential, _, time| {
            client.cancel(&test(), "e834cb5b", how, credential, time, TIMEOUT).await.unwrap();
        };
        let twins = self.call("CancelAsyncInvocation", parameters, ours).await;
        let read = |body: &[u8]| serde_json::from_slice::<Value>(body).unwrap();
        assert_eq!(read(&twins.sdk.body), read(&twins.ours.body), "{}", self.language);
    }
}

const TIMEOUT: Duration = Duration::from_secs(30);

fn test() -> FunctionUrn {
    urn("test:latest").parse().unwrap()
}

impl Twins {
    #[track_caller]
    fn assert_same_target_and_headers(&self) {
        let Self { language, sdk, ours } = self;
        let (path, query) = match language {
            Language::Python => (sdk.path.clone(), sdk.query.clone()),
            Language::Go | Language::Node | Language::Otc => {
                let query = sdk.query.replace("Z&", "&").trim_end_matches('Z').to_owned();
                let mut pairs: Vec<&str> = query.split('&').collect();
                pairs.sort_unstable();
                (sdk.path.replace(':', "%3A").replace('!', "%21"), pairs.join("&"))
            }
        };
        assert_eq!((&sdk.method, path, query), (&ours.method, ours.path.clone(), ours.query.clone()));
        let common = |recorded: &Recorded| {
            let headers = recorded.headers.iter().filter(|(name, _)| !OWN.contains(&&**name)).cloned();
            let mut headers: BTreeMap<String, String> = headers.collect();
            // Some senders state the length of an empty body, others do not. The test compares the bodies separately.
            headers.remove("content-length");
            headers
        };
        assert_eq!(common(sdk), common(ours), "{language}");
    }

    #[track_caller]
    fn assert_same_signature(&self) {
        let Self { language, sdk, ours } = self;
        let said = sdk.header("authorization").unwrap();
        assert_eq!(authorization(sdk, sdk, said), said, "{language}: the SDK's");
        let said = ours.header("authorization").unwrap();
        assert_eq!(authorization(sdk, ours, said), said, "{language}: ours");
    }
}

/// Our signature of a request with the body and the query of another, over the named headers.
fn authorization(request: &Recorded, content: &Recorded, names_from: &str) -> String {
    let names = sign::parse_authorization(names_from).unwrap().signed_headers;
    let headers: Vec<(&str, &str)> =
        names.iter().map(|name| (name.as_str(), request.header(name).unwrap())).collect();
    let decoded = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8().unwrap().into_owned();
    let pairs = content.query.split('&').filter_map(|pair| pair.split_once('='));
    let query: Vec<(String, String)> = pairs.map(|(key, value)| (decoded(key), decoded(value))).collect();
    let signed = SignedRequest {
        method: &request.method,
        path: &request.path,
        query: &query,
        headers: &headers,
        body: &content.body,
    };
    signed.authorization("AKEXAMPLE", SECRET, request.header("x-sdk-date").unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invocation_is_written_as_the_sdk_writes_it() {
    let event = json!({"k": "v", "ключ": [1, 2.5, null, {"ß": "\" \\ \n"}]});
    for language in Language::ALL {
        for security_token in [None, Some("a+security/token==")] {
            let mut pair = Pair::new(language, security_token);
            pair.invoke("test:latest", Kind::Async, None, json!({"k": "v"})).await;
            pair.invoke("test:!prod", Kind::Async, Some(1024), event.clone()).await;
            for log_tail in [false, true] {
                pair.invoke("test:v1.0-beta_2", Kind::Sync { log_tail }, None, event.clone()).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_and_its_query_are_written_as_the_sdk_writes_them() {
    let begin: Timestamp = "2025-01-02T03:04:05Z".parse().unwrap();
    for language in Language::ALL {
        let mut pair = Pair::new(language, None);
        let few = json!({"query_begin_time": "2025-01-02T03:04:05", "limit": "100"});
        pair.list(few, ListQuery { limit: 100, ..ListQuery::since(begin) }).await;
        let all = json!({
            "query_begin_time": "2025-01-02T03:04:05",
            "query_end_time": "2025-01-03T00:00:00",
            "request_id": "a b/c+d%ä",
            "status": "DISCARD",
            "limit": "10",
            "marker": "20",
        });
        let query = ListQuery {
            begin,
            end: Some("2025-01-03T00:00:00Z".parse().unwrap()),
            request_id: Some("a b/c+d%ä".into()),
            status: Some(ExecutionStatus::Discard),
            limit: 10,
            marker: Some("20".into()),
        };
        pair.list(all, query).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancellation_is_written_as_the_sdk_writes_it() {
    for language in Language::ALL {
        let mut pair = Pair::new(language, None);
        pair.cancel(CancelType::Default, json!({"request_id": "e834cb5b"})).await;
        pair.cancel(CancelType::Force, json!({"request_id": "e834cb5b", "type": "force"})).await;
        pair.cancel(CancelType::Recursive, json!({"request_id": "e834cb5b", "type": "recursive"})).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_and_metadata_are_asked_for_as_the_sdk_asks() {
    for language in Language::ALL {
        let mut pair = Pair::new(language, None);
        let parameters = json!({"function_urn": urn("test:latest")});
        let settings = async |client: &Client, credential: &Credential, _, time| {
            client.async_invoke_config(&test(), credential, time, TIMEOUT).await.unwrap();
        };
        pair.call("ShowFunctionAsyncInvokeConfig", parameters.clone(), settings).await;
        let metadata = async |client: &Client, credential: &Credential, _, time| {
            client.function_config(&test(), credential, time, TIMEOUT).await.unwrap();
        };
        pair.call("ShowFunctionConfig", parameters, metadata).await;
        let check = async |client: &Client, credential: &Credential, _, time| {
            client.check_credential(place::PROJECT, Protocol::V2, credential, time, TIMEOUT).await.unwrap();
        };
        pair.call("ListFunctions", json!({"marker": "0", "maxitems": "1"}), check).await;
    }
}

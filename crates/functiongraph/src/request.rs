//! Builds complete, signed requests. Pure.

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{HeaderName, HeaderValue, Method, Request};
use jiff::Timestamp;
use secrecy::ExposeSecret;

use crate::credentials::{Credential, Parts};
use crate::endpoint::Endpoint;
use crate::sign::{self, SignedRequest};

/// Content type of every event.
const JSON: &str = "application/json";

/// Header with a token.
const X_AUTH_TOKEN: HeaderName = HeaderName::from_static("x-auth-token");

/// A request without endpoint and credential.
#[derive(Clone)]
pub(crate) struct Draft {
    pub method: Method,
    /// Percent-encoded.
    pub path: String,
    /// Decoded pairs, in any order.
    pub query: Vec<(String, String)>,
    /// Additional headers; signed like those that every request has.
    pub headers: Vec<(HeaderName, String)>,
    pub body: Bytes,
}

// === impl Draft ===

impl Draft {
    /// A request without query and body.
    pub(crate) fn new(method: Method, path: String) -> Self {
        Self { method, path, query: Vec::new(), headers: Vec::new(), body: Bytes::new() }
    }

    /// The request to `endpoint`, for a project or for none, signed or with its token.
    ///
    /// A request without a project has no content type either, as in the official SDK for IAM.
    ///
    /// # Errors
    /// No input is known to cause one, because the type of every part validates it. The error is the HTTP builder's.
    pub(crate) fn finish(
        self,
        endpoint: &Endpoint,
        project_id: Option<&str>,
        credential: &Credential,
        signed_at: Timestamp,
    ) -> Result<Request<Bytes>, http::Error> {
        let Self { method, path, query, headers: more, body } = self;
        let host = endpoint.authority();
        // Exactly the text that is signed, as in the official SDK.
        let search =
            if query.is_empty() { String::new() } else { format!("?{}", sign::canonical_query(&query)) };
        let mut request = Request::builder()
            .method(method.clone())
            .uri(format!("{endpoint}{path}{search}"))
            // Set the host here and not in the HTTP library, so that the signed host is the sent host.
            .header(HOST, &host)
            // A compressed answer could be a decompression bomb, and no answer is large enough to need compression.
            .header(ACCEPT_ENCODING, "identity");
        if project_id.is_some() {
            request = request.header(CONTENT_TYPE, JSON);
        }
        for (name, value) in &more {
            request = request.header(name, value);
        }
        match credential.parts() {
            Parts::Token(token) => {
                request = request.header(X_AUTH_TOKEN, secret_value(token.expose_secret())?);
            }
            Parts::AccessKey { id, secret, security_token } => {
                let date = sign::format_date(signed_at);
                // Sign few headers, so that a proxy may rewrite the others.
                let mut headers = vec![("host", host.as_str()), (sign::X_SDK_DATE, date.as_str())];
                headers.extend(more.iter().map(|(name, value)| (name.as_str(), value.as_str())));
                request = request.header(sign::X_SDK_DATE, &date);
                if let Some(project_id) = project_id {
                    headers.extend([("content-type", JSON), (sign::X_PROJECT_ID, project_id)]);
                    request = request.header(sign::X_PROJECT_ID, project_id);
                }
                if let Some(token) = security_token {
                    headers.push((sign::X_SECURITY_TOKEN, token.expose_secret()));
                    request = request.header(sign::X_SECURITY_TOKEN, secret_value(token.expose_secret())?);
                }
                let signed = SignedRequest {
                    method: method.as_str(),
                    path: &path,
                    query: &query,
                    headers: &headers,
                    body: &body,
                };
                request =
                    request.header(AUTHORIZATION, signed.authorization(id, secret.expose_secret(), &date));
            }
        }
        request.body(body)
    }
}

/// A header value that the HTTP library hides in its own `Debug`.
pub(crate) fn secret_value(text: &str) -> Result<HeaderValue, http::Error> {
    let mut value = HeaderValue::from_str(text)?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::Value;

    use super::*;
    use crate::urn::{FunctionUrn, Qualifier};

    const PROJECT: &str = "7aad83af3e8d42e99ac194e8419e2c9b";
    const KEY: &str = "AKEXAMPLE0000000TEST";
    const SECRET: &str = "SKEXAMPLEKEY000000000000000000000000TEST";

    /// A request of the official SDK.
    pub(crate) struct Vector(Value);

    impl Vector {
        pub(crate) fn named(name: &str) -> Self {
            let all: Value =
                serde_json::from_str(include_str!("../tests/data/signing_vectors.json")).unwrap();
            let vectors = all["python_sdk_vectors"].as_array().unwrap();
            Self(vectors.iter().find(|vector| vector["name"] == name).unwrap().clone())
        }

        fn text(&self, key: &str) -> &str {
            self.0[key].as_str().unwrap_or_default()
        }

        /// The function of the request.
        pub(crate) fn urn(&self) -> FunctionUrn {
            let segment = self.text("path_on_wire").split('/').nth(5).unwrap();
            segment.replace("%3A", ":").replace("%21", "!").parse().unwrap()
        }

        /// Asserts that a draft becomes exactly this request.
        pub(crate) fn check(&self, draft: Draft) {
            let base = format!("{}://{}", self.text("scheme"), self.text("host"));
            let credential = Credential::access_key(self.text("ak"), self.text("sk"), None).unwrap();
            let headers = &self.0["output_headers"];
            let signed_at = sign::parse_date(headers["X-Sdk-Date"].as_str().unwrap()).unwrap();
            let endpoint = base.parse().unwrap();
            let request =
                draft.finish(&endpoint, Some(self.text("project_id")), &credential, signed_at).unwrap();
            assert_eq!(request.method().as_str(), self.text("method"));
            assert_eq!(request.uri().to_string(), base + self.text("request_uri_on_wire"));
            assert_eq!(request.body(), self.text("body").as_bytes());
            for (name, value) in headers.as_object().unwrap() {
                assert_eq!(header(&request, name), value.as_str(), "{name}");
            }
        }
    }

    fn build(credential: &Credential, event: &'static [u8]) -> Request<Bytes> {
        let urn = FunctionUrn::new("eu-de", PROJECT, "default", "test", Qualifier::Latest).unwrap();
        let endpoint = "https://functiongraph.eu-de.otc.t-systems.com".parse().unwrap();
        let signed_at = "2024-01-02T03:04:05Z".parse().unwrap();
        let draft = Draft {
            method: Method::POST,
            path: format!("/v2/{PROJECT}/fgs/functions/{}/invocations-async", urn.path_segment()),
            query: Vec::new(),
            headers: Vec::new(),
            body: Bytes::from_static(event),
        };
        draft.finish(&endpoint, Some(PROJECT), credential, signed_at).unwrap()
    }

    fn header<'a>(request: &'a Request<Bytes>, name: &str) -> Option<&'a str> {
        request.headers().get(name).map(|value| value.to_str().unwrap())
    }

    #[test]
    fn a_signed_request_equals_the_one_of_the_official_sdk() {
        let request = build(&Credential::access_key(KEY, SECRET, None).unwrap(), br#"{"k":"v"}"#);
        assert_eq!(request.method(), Method::POST);
        assert_eq!(
            request.uri().to_string(),
            format!(
                "https://functiongraph.eu-de.otc.t-systems.com/v2/{PROJECT}/fgs/functions/\
                 urn%3Afss%3Aeu-de%3A{PROJECT}%3Afunction%3Adefault%3Atest%3Alatest/invocations-async"
            )
        );
        // The vector otc_async_invoke.
        assert_eq!(
            header(&request, "authorization"),
            Some(
                "SDK-HMAC-SHA256 Access=AKEXAMPLE0000000TEST, \
                 SignedHeaders=content-type;host;x-project-id;x-sdk-date, \
                 Signature=715751b94e70fef04387acfca44cda7566f6b6ddba22c395950adeeec9b0bef1"
            )
        );
        assert_eq!(header(&request, "x-auth-token"), None);
        assert_eq!(header(&request, "accept-encoding"), Some("identity"));
        assert_eq!(request.body().as_ref(), br#"{"k":"v"}"#);
    }

    #[test]
    fn a_security_token_is_sent_and_signed() {
        let request = build(&Credential::access_key(KEY, SECRET, Some("session".into())).unwrap(), b"{}");
        assert_eq!(header(&request, "x-security-token"), Some("session"));
        let authorization = header(&request, "authorization").unwrap();
        assert!(
            authorization
                .contains("SignedHeaders=content-type;host;x-project-id;x-sdk-date;x-security-token,")
        );
        assert!(!format!("{request:?}").contains("session"), "the value is marked as sensitive");
    }

    #[test]
    fn a_token_is_sent_alone() {
        let request = build(&Credential::token("my-token").unwrap(), b"{}");
        assert_eq!(header(&request, "x-auth-token"), Some("my-token"));
        assert_eq!(header(&request, "content-type"), Some("application/json"));
        for name in ["authorization", "x-sdk-date", "x-project-id"] {
            assert_eq!(header(&request, name), None);
        }
        assert!(!format!("{request:?}").contains("my-token"), "the value is marked as sensitive");
    }
}

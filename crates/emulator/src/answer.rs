//! Answers in the formats of the service and its gateway, and the cases without an answer.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use hyper::ext::ReasonPhrase;
use jiff::Timestamp;
use serde_json::json;

/// The gateway's id of the request; never the id of an invocation.
pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The id of the invocation.
pub(crate) const X_CFF_REQUEST_ID: HeaderName = HeaderName::from_static("x-cff-request-id");

/// Metrics of an execution, as JSON.
pub(crate) const X_CFF_INVOKE_SUMMARY: HeaderName = HeaderName::from_static("x-cff-invoke-summary");

/// The end of the function's log, in base64.
pub(crate) const X_CFF_FUNCTION_LOG: HeaderName = HeaderName::from_static("x-cff-function-log");

/// Length of the result, in bytes.
pub(crate) const X_CFF_RESULT_LENGTH: HeaderName = HeaderName::from_static("x-cff-result-length");

/// Billed milliseconds.
pub(crate) const X_CFF_BILLING_DURATION: HeaderName = HeaderName::from_static("x-cff-billing-duration");

/// Format of the body: `v0` for text, `v1` for an envelope.
pub(crate) const X_CFF_RESPONSE_VERSION: HeaderName = HeaderName::from_static("x-cff-response-version");

/// Error code of the function; 0 for a success.
pub(crate) const X_FUNC_ERR_CODE: HeaderName = HeaderName::from_static("x-func-err-code");

/// Whether the function failed.
pub(crate) const X_IS_FUNC_ERR: HeaderName = HeaderName::from_static("x-is-func-err");

/// A time with its zone, as in settings and metadata; here always UTC.
pub(crate) fn zoned(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
}
/// The new token.
pub(crate) const X_SUBJECT_TOKEN: HeaderName = HeaderName::from_static("x-subject-token");

/// IAM's id of a refused request.
pub(crate) const X_IAM_TRACE_ID: HeaderName = HeaderName::from_static("x-iam-trace-id");

/// How an exchange ends.
#[derive(Debug)]
pub(crate) enum Reply {
    /// With an answer.
    Answer(Answer),
    /// With the beginning of an answer.
    Truncated(Answer),
    /// With a reset of the connection.
    Cut,
    /// Without anything, until the client gives up.
    Silence,
}

/// One answer.
#[derive(Debug)]
pub(crate) struct Answer {
    status: StatusCode,
    /// Reason phrase that replaces the usual one.
    reason: Option<ReasonPhrase>,
    headers: Vec<(HeaderName, String)>,
    content: Content,
}

/// The body of an answer.
#[derive(Debug)]
enum Content {
    /// Bytes and their content type; without a type there is no header.
    Raw(Option<String>, Bytes),
    /// An error of the service.
    Service { code: String, message: String },
    /// An error of the gateway in front of the service, which adds its id of the request.
    Gateway { code: String, message: String },
    /// An error of IAM in Keystone's format.
    Keystone { message: String },
    /// An error of IAM in the format of its own APIs.
    Iam { code: String, message: String },
    /// An error of the STS, which adds its id of the request.
    Sts { code: String, message: String },
}

impl Answer {
    fn new(status: StatusCode, content: Content) -> Self {
        Self { status, reason: None, headers: Vec::new(), content }
    }

    /// JSON from the service.
    pub(crate) fn json(status: StatusCode, value: &serde_json::Value) -> Self {
        Self::raw(status, Some("application/json"), value.to_string())
    }

    /// Answer without a body.
    pub(crate) fn no_content() -> Self {
        Self::raw(StatusCode::NO_CONTENT, None, "")
    }

    /// Any body.
    pub(crate) fn raw(status: StatusCode, content_type: Option<&str>, body: impl Into<Bytes>) -> Self {
        Self::new(status, Content::Raw(content_type.map(str::to_owned), body.into()))
    }

    /// An error of the service.
    pub(crate) fn service(status: StatusCode, code: &str, message: impl Into<String>) -> Self {
        Self::new(status, Content::Service { code: code.to_owned(), message: message.into() })
    }

    /// An error of the gateway.
    pub(crate) fn gateway(status: StatusCode, code: &str, message: impl Into<String>) -> Self {
        Self::new(status, Content::Gateway { code: code.to_owned(), message: message.into() })
    }

    /// An error of IAM in Keystone's format: the code is the status.
    pub(crate) fn keystone(status: StatusCode, message: impl Into<String>) -> Self {
        Self::new(status, Content::Keystone { message: message.into() })
    }

    /// An error of IAM in the format of its own APIs.
    pub(crate) fn iam(status: StatusCode, code: &str, message: impl Into<String>) -> Self {
        Self::new(status, Content::Iam { code: code.to_owned(), message: message.into() })
    }

    /// An error of the STS.
    pub(crate) fn sts(status: StatusCode, code: &str, message: impl Into<String>) -> Self {
        Self::new(status, Content::Sts { code: code.to_owned(), message: message.into() })
    }

    /// Adds a header. An invalid value is left out when the answer is written.
    pub(crate) fn with(mut self, name: HeaderName, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Replaces the reason phrase.
    pub(crate) fn with_reason(mut self, reason: &'static [u8]) -> Self {
        self.reason = Some(ReasonPhrase::from_static(reason));
        self
    }

    /// The status.
    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    /// A header that was added with `with`.
    pub(crate) fn header(&self, name: &HeaderName) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }

    /// The error code, for the log; empty if the answer has none.
    pub(crate) fn code(&self) -> &str {
        match &self.content {
            Content::Raw(..) | Content::Keystone { .. } => "",
            Content::Service { code, .. }
            | Content::Gateway { code, .. }
            | Content::Iam { code, .. }
            | Content::Sts { code, .. } => code,
        }
    }

    /// The message of an error, for the log.
    pub(crate) fn why(&self) -> Option<&str> {
        match &self.content {
            Content::Raw(..) => None,
            Content::Keystone { message }
            | Content::Service { message, .. }
            | Content::Gateway { message, .. }
            | Content::Iam { message, .. }
            | Content::Sts { message, .. } => Some(message),
        }
    }

    /// The answer as an HTTP response.
    pub(crate) fn into_response(self, gateway_id: &str) -> Response<Bytes> {
        let id_header = match &self.content {
            Content::Keystone { .. } | Content::Iam { .. } => X_IAM_TRACE_ID,
            Content::Raw(..) | Content::Service { .. } | Content::Gateway { .. } | Content::Sts { .. } => {
                X_REQUEST_ID
            }
        };
        let (content_type, body) = match self.content {
            Content::Raw(content_type, body) => (content_type, body),
            Content::Service { code, message } | Content::Iam { code, message } => {
                let value = json!({ "error_code": code, "error_msg": message });
                (Some("application/json".to_owned()), value.to_string().into())
            }
            Content::Gateway { code, message } => {
                let value = json!({ "error_msg": message, "error_code": code, "request_id": gateway_id });
                (Some("application/json".to_owned()), value.to_string().into())
            }
            Content::Sts { code, message } => {
                let mut value = json!({ "error_msg": message, "error_code": code, "request_id": gateway_id });
                if self.status == StatusCode::FORBIDDEN {
                    // A detail for another API of the STS, which cannot be decoded here.
                    value["encoded_authorization_message"] = "ZW11bGF0b3I".into();
                }
                (Some("application/json".to_owned()), value.to_string().into())
            }
            Content::Keystone { message } => {
                let title = self.status.canonical_reason().unwrap_or_default();
                let error = json!({ "code": self.status.as_u16(), "message": message, "title": title });
                (Some("application/json".to_owned()), json!({ "error": error }).to_string().into())
            }
        };
        let mut response = Response::new(body);
        *response.status_mut() = self.status;
        if let Some(reason) = self.reason {
            response.extensions_mut().insert(reason);
        }
        let fixed = [
            (header::SERVER, Some("api-gateway".to_owned())),
            (id_header, Some(gateway_id.to_owned())),
            (header::CONTENT_TYPE, content_type),
        ];
        let fixed = fixed.into_iter().filter_map(|(name, value)| Some((name, value?)));
        for (name, value) in fixed.chain(self.headers) {
            if let Ok(value) = HeaderValue::try_from(value) {
                response.headers_mut().insert(name, value);
            }
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gateway_repeats_its_id_in_the_body_and_the_service_does_not() {
        let body = |answer: Answer| {
            let response = answer.into_response("abc");
            assert_eq!(response.headers()[X_REQUEST_ID], "abc");
            serde_json::from_slice::<serde_json::Value>(response.body()).unwrap()
        };
        assert_eq!(
            body(Answer::service(StatusCode::NOT_FOUND, "FSS.1051", "m")),
            json!({"error_code": "FSS.1051", "error_msg": "m"})
        );
        assert_eq!(
            body(Answer::gateway(StatusCode::NOT_FOUND, "APIG.0101", "m")),
            json!({"error_code": "APIG.0101", "error_msg": "m", "request_id": "abc"})
        );
    }

    #[test]
    fn iam_has_errors_and_an_id_of_its_own() {
        let answer = Answer::keystone(StatusCode::UNAUTHORIZED, "m");
        let response = answer.into_response("abc");
        let body: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
        assert_eq!(body, json!({"error": {"code": 401, "message": "m", "title": "Unauthorized"}}));
        assert_eq!(response.headers()[X_IAM_TRACE_ID], "abc");
        assert!(!response.headers().contains_key(X_REQUEST_ID));
    }

    #[test]
    fn an_invalid_header_value_is_left_out() {
        let answer = Answer::raw(StatusCode::OK, None, "").with(header::LOCATION, "a\r\nb");
        let response = answer.into_response("abc");
        assert!(!response.headers().contains_key(header::LOCATION));
        assert!(!response.headers().contains_key(header::CONTENT_TYPE));
    }
}

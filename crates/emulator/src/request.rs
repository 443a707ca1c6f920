//! A request that has arrived in full, and the API it is meant for.

use bytes::Bytes;
use http::{HeaderMap, Method, Uri};
use percent_encoding::percent_decode_str;

/// A request that has arrived in full.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) method: Method,
    /// The path as it is on the wire.
    pub(crate) path: String,
    /// The query as decoded pairs, in the order of the wire.
    pub(crate) query: Vec<(String, String)>,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Request {
    pub(crate) fn new(method: Method, uri: &Uri, headers: HeaderMap, body: Bytes) -> Self {
        let query = uri.query().map(pairs).unwrap_or_default();
        Self { method, path: uri.path().to_owned(), query, headers, body }
    }

    /// The value of a header, if it is text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| std::str::from_utf8(value.as_bytes()).ok())
    }

    /// The first value of a query parameter; an empty one counts as absent.
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        let value = self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        value.filter(|value| !value.is_empty())
    }
}

/// Decoded pairs of a query. A plus is a plus: the signature knows no other way to write a space than `%20`.
pub(crate) fn pairs(query: &str) -> Vec<(String, String)> {
    let parts = query.split('&').filter(|part| !part.is_empty());
    let pair = |part: &str| {
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        (decode(key), decode(value))
    };
    parts.map(pair).collect()
}

fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// The APIs that are emulated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Api {
    /// `POST …/invocations-async`
    InvokeAsync,
    /// `GET …/async-invocations`
    ListAsync,
}

/// An API and what its path names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) api: Api,
    pub(crate) project_id: String,
    /// The function as it was named: a URN or one of its short forms, decoded.
    pub(crate) function: String,
}

impl Route {
    /// The API that a method and a path on the wire lead to; each API is one line here and one file in `service`.
    pub(crate) fn of(method: &Method, path: &str) -> Option<Self> {
        let segments: Vec<String> = path.strip_prefix('/')?.split('/').map(decode).collect();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let ["v2", project_id, "fgs", "functions", function, last] = segments.as_slice() else {
            return None;
        };
        let api = match (method, *last) {
            (&Method::POST, "invocations-async") => Api::InvokeAsync,
            (&Method::GET, "async-invocations") => Api::ListAsync,
            _ => return None,
        };
        Some(Self { api, project_id: (*project_id).to_owned(), function: (*function).to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_raw_and_an_encoded_urn_lead_to_the_same_function() {
        let raw =
            Route::of(&Method::POST, "/v2/p/fgs/functions/urn:fss:r:p:function:d:f:!a/invocations-async");
        let encoded = "/v2/p/fgs/functions/urn%3Afss%3Ar%3Ap%3Afunction%3Ad%3Af%3A%21a/invocations-async";
        assert_eq!(raw.as_ref().unwrap().function, "urn:fss:r:p:function:d:f:!a");
        assert_eq!(raw, Route::of(&Method::POST, encoded));
    }

    #[test]
    fn another_path_or_method_leads_nowhere() {
        let post = |path| Route::of(&Method::POST, path);
        assert_eq!(post("/v2/p/fgs/functions/f/async-invocations"), None);
        assert_eq!(post("/v2/p/fgs/functions/f/invocations-async/"), None);
        assert_eq!(post("/v3/p/fgs/functions/f/invocations-async"), None);
        assert_eq!(post("/"), None);
        assert_eq!(Route::of(&Method::GET, "/v2/p/fgs/functions/f/invocations-async"), None);
    }

    #[test]
    fn a_query_is_decoded_pair_by_pair() {
        let expected = [("a b", "1+2:3"), ("empty", ""), ("bare", "")];
        let expected = expected.map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(pairs("a%20b=1+2%3A3&&empty=&bare"), expected);
    }
}

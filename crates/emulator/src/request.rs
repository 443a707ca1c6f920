//! A request that was received completely.

use bytes::Bytes;
use http::{HeaderMap, Method, Uri, header};
use percent_encoding::percent_decode_str;

/// A request that was received completely.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) method: Method,
    /// The path as sent.
    pub(crate) path: String,
    /// The query as sent, without the `?`.
    pub(crate) raw_query: String,
    /// The decoded pairs of the query, in their order. Bytes that are not UTF-8 are replaced.
    pub(crate) query: Vec<(String, String)>,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// `https` or `http`.
    pub(crate) scheme: &'static str,
}

impl Request {
    pub(crate) fn new(method: Method, uri: &Uri, headers: HeaderMap, body: Bytes) -> Self {
        let raw_query = uri.query().unwrap_or_default().to_owned();
        let query = pairs(&raw_query);
        Self { method, path: uri.path().to_owned(), raw_query, query, headers, body, scheme: "https" }
    }

    /// The emulator's own address, as the caller knows it.
    pub(crate) fn base_url(&self) -> String {
        format!("{}://{}", self.scheme, self.header(header::HOST.as_str()).unwrap_or("localhost"))
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

/// Decoded pairs of a query. A plus stays a plus, because the signature encodes a space only as `%20`.
pub(crate) fn pairs(query: &str) -> Vec<(String, String)> {
    let parts = query.split('&').filter(|part| !part.is_empty());
    let pair = |part: &str| {
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        (decode(key), decode(value))
    };
    parts.map(pair).collect()
}

/// Text without percent-encoding.
pub(crate) fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_decoded_pair_by_pair() {
        let expected = [("a b", "1+2:3"), ("empty", ""), ("bare", "")];
        let expected = expected.map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(pairs("a%20b=1+2%3A3&&empty=&bare"), expected);
    }
}

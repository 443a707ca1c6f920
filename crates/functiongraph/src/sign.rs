//! The signature `SDK-HMAC-SHA256`, which proves that the sender of a request holds an access key.
//!
//! Everything here is pure. A client adds the signature to its request. A server computes it again and compares.
//!
//! ```
//! use functiongraph::sign::SignedRequest;
//!
//! let request = SignedRequest {
//!     method: "GET",
//!     path: "/v1/77b6a44cba5143ab91d13ab9a8ff44fd/vpcs",
//!     query: &[("limit".to_owned(), "2".to_owned())],
//!     headers: &[("Host", "service.region.example.com"), ("X-Sdk-Date", "20191115T033655Z")],
//!     body: b"",
//! };
//! let authorization = request.authorization("my-key-id", "my-secret", "20191115T033655Z");
//! assert!(authorization.starts_with(
//!     "SDK-HMAC-SHA256 Access=my-key-id, SignedHeaders=host;x-sdk-date, Signature="
//! ));
//! ```

use hmac::{Hmac, KeyInit, Mac};
use jiff::{Timestamp, civil, tz::TimeZone};
use sha2::{Digest, Sha256};

use crate::percent;

/// Name of the algorithm, the first word of the `Authorization` header.
pub const ALGORITHM: &str = "SDK-HMAC-SHA256";

/// Header with the algorithm, the key id, the names of the signed headers and the signature.
pub const AUTHORIZATION: &str = "authorization";

/// Header with the time of the signature; must be signed. The service refuses a time that differs by more than 15
/// minutes from its own clock.
pub const X_SDK_DATE: &str = "x-sdk-date";

/// Header whose value replaces the hash of a body that is not empty.
pub const X_SDK_CONTENT_SHA256: &str = "x-sdk-content-sha256";

/// Value of [`X_SDK_CONTENT_SHA256`] for a body that the signature leaves out. The official SDK adds and signs it
/// when the content type is neither `application/json` nor `application/bson`.
pub const UNSIGNED_PAYLOAD: &str = "UNSIGNED-PAYLOAD";

/// Header with the project of the request.
pub const X_PROJECT_ID: &str = "x-project-id";

/// Header with the session token of a temporary access key.
pub const X_SECURITY_TOKEN: &str = "x-security-token";

/// Format of times, for `strftime`; always UTC.
const DATE_FORMAT: &str = "%Y%m%dT%H%M%SZ";

/// The parts of a request that the signature covers.
#[derive(Debug, Clone, Copy)]
pub struct SignedRequest<'a> {
    /// Method, in capitals.
    pub method: &'a str,
    /// Path as sent, without the query. Raw and percent-encoded spellings have the same signature.
    pub path: &'a str,
    /// Query as decoded pairs, in any order.
    pub query: &'a [(String, String)],
    /// Exactly the headers to sign, in any order and any case. The official SDK leaves out names with a `_`.
    pub headers: &'a [(&'a str, &'a str)],
    /// Body as sent.
    pub body: &'a [u8],
}

/// The parts of an `Authorization` header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authorization {
    /// Id of the access key.
    pub access_key: String,
    /// Names of the signed headers, in the order given.
    pub signed_headers: Vec<String>,
    /// The signature; 64 hexadecimal digits if it is valid.
    pub signature: String,
}

// === impl SignedRequest ===

impl SignedRequest<'_> {
    /// The request in its canonical spelling, which both sides compute.
    #[must_use]
    pub fn canonical_request(&self) -> String {
        let mut path = percent::normalize_path(self.path);
        if !path.ends_with('/') {
            path.push('/');
        }
        let headers = self.sorted_headers();
        let lines: Vec<String> = headers.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
        let method = self.method;
        let query = canonical_query(self.query);
        let names = signed_names(&headers);
        let payload = self.payload_hash(&headers);
        format!("{method}\n{path}\n{query}\n{}\n{names}\n{payload}", lines.concat())
    }

    /// The text to sign. `date` is the value of [`X_SDK_DATE`].
    #[must_use]
    pub fn string_to_sign(&self, date: &str) -> String {
        format!("{ALGORITHM}\n{date}\n{}", hex(&Sha256::digest(self.canonical_request())))
    }

    /// The signature, 64 lower-case hexadecimal digits.
    #[must_use]
    pub fn signature(&self, secret_key: &str, date: &str) -> String {
        hex(&hmac(secret_key.as_bytes(), self.string_to_sign(date).as_bytes()))
    }

    /// The value of the `Authorization` header.
    #[must_use]
    pub fn authorization(&self, access_key: &str, secret_key: &str, date: &str) -> String {
        let names = signed_names(&self.sorted_headers());
        let signature = self.signature(secret_key, date);
        format!("{ALGORITHM} Access={access_key}, SignedHeaders={names}, Signature={signature}")
    }

    fn sorted_headers(&self) -> Vec<(String, &str)> {
        let mut headers: Vec<_> =
            self.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.trim())).collect();
        headers.sort();
        headers
    }

    fn payload_hash(&self, headers: &[(String, &str)]) -> String {
        let declared = headers.iter().find(|(name, _)| name == X_SDK_CONTENT_SHA256);
        match declared {
            Some((_, value)) if !self.body.is_empty() => (*value).to_owned(),
            _ => hex(&Sha256::digest(self.body)),
        }
    }
}

fn signed_names(headers: &[(String, &str)]) -> String {
    let names: Vec<&str> = headers.iter().map(|(name, _)| name.as_str()).collect();
    names.join(";")
}

// === spellings ===

/// A query as the signature and the official SDK's requests have it: sorted by decoded key, then value, and
/// percent-encoded (a space is `%20`).
#[must_use]
pub fn canonical_query(pairs: &[(String, String)]) -> String {
    let mut pairs: Vec<_> = pairs.iter().collect();
    pairs.sort();
    let pairs: Vec<String> = pairs
        .into_iter()
        .map(|(key, value)| format!("{}={}", percent::encode(key), percent::encode(value)))
        .collect();
    pairs.join("&")
}

/// Reads the value of an `Authorization` header; `None` unless it is of [`ALGORITHM`] and has all its parts.
#[must_use]
pub fn parse_authorization(value: &str) -> Option<Authorization> {
    let parts = value.trim().strip_prefix(ALGORITHM)?.strip_prefix(' ')?;
    let (mut access_key, mut signed_headers, mut signature) = (None, None, None);
    for part in parts.split(',') {
        let (key, value) = part.trim().split_once('=')?;
        let slot = match key {
            "Access" => &mut access_key,
            "SignedHeaders" => &mut signed_headers,
            "Signature" => &mut signature,
            _ => return None,
        };
        if value.is_empty() || slot.replace(value.to_owned()).is_some() {
            return None;
        }
    }
    Some(Authorization {
        access_key: access_key?,
        signed_headers: signed_headers?.split(';').map(str::to_owned).collect(),
        signature: signature?,
    })
}

/// A time in the format of [`X_SDK_DATE`], such as `20240102T030405Z`; fractions of a second are dropped.
#[must_use]
pub fn format_date(time: Timestamp) -> String {
    time.strftime(DATE_FORMAT).to_string()
}

/// Reads the value of [`X_SDK_DATE`]; `None` unless its format is exactly `20240102T030405Z`.
#[must_use]
pub fn parse_date(text: &str) -> Option<Timestamp> {
    let date = civil::DateTime::strptime(DATE_FORMAT, text).ok()?;
    let time = date.to_zoned(TimeZone::UTC).ok()?.timestamp();
    // The parser is tolerant: it accepts signs, spaces and missing zeros.
    (format_date(time) == text).then_some(time)
}

/// HMAC-SHA256.
fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    // HMAC accepts keys of any length, so the only error of this constructor cannot occur.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return [0; 32] };
    mac.update(message);
    mac.finalize().into_bytes().into()
}

fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or_default();
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

#[cfg(test)]
mod tests;

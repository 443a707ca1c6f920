//! Signatures by access keys: read from a request, and computed again from the request as it was sent.
//!
//! The emulator does not use the client's own signer here, so that an error in it would be seen.

use aws_lc_rs::hmac;
use bytes::Bytes;
use functiongraph::sign::{ALGORITHM, X_SDK_CONTENT_SHA256, X_SDK_DATE};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};
use sha2::{Digest, Sha256};

use crate::request::Request;

/// Everything but `A-Z a-z 0-9 - _ . ~`.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// The last part of a scope.
const TERMINATOR: &str = "sdk_request";

/// The parts of an `Authorization` header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Signature<'a> {
    pub(super) access_key: &'a str,
    /// Date, region and service, from which the signing key is derived. Without a scope the secret key signs.
    scope: Option<Scope<'a>>,
    signed_headers: Vec<&'a str>,
    digits: &'a str,
}

/// `20240102/eu-de/functiongraph/sdk_request`; region and service may be empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Scope<'a> {
    text: &'a str,
    date: &'a str,
    region: &'a str,
    service: &'a str,
}

impl<'a> Signature<'a> {
    /// Reads a header of one of the two forms: `Access=…`, or `Credential=…` with a scope.
    pub(super) fn read(header: &'a str) -> Option<Self> {
        let parts = header.trim().strip_prefix(ALGORITHM)?.strip_prefix(' ')?;
        let (mut key, mut signed_headers, mut signature) = (None, None, None);
        for part in parts.split(',') {
            let (name, value) = part.trim().split_once('=')?;
            let (slot, value) = match name {
                "Access" => (&mut key, (value, None)),
                "Credential" => {
                    let (id, scope) = value.split_once('/')?;
                    (&mut key, (id, Some(Scope::read(scope)?)))
                }
                "SignedHeaders" => (&mut signed_headers, (value, None)),
                "Signature" => (&mut signature, (value, None)),
                _ => return None,
            };
            if value.0.is_empty() || slot.replace(value).is_some() {
                return None;
            }
        }
        let (access_key, scope) = key?;
        let signed_headers = signed_headers?.0.split(';').collect();
        Some(Self { access_key, scope, signed_headers, digits: signature?.0 })
    }

    /// The signed `X-Sdk-Date`, if it fits the scope.
    pub(super) fn date<'r>(&self, request: &'r Request) -> Option<&'r str> {
        self.signed_headers.iter().find(|name| name.eq_ignore_ascii_case(X_SDK_DATE))?;
        let date = request.header(X_SDK_DATE)?;
        self.scope.is_none_or(|scope| date.starts_with(scope.date)).then_some(date)
    }

    /// Whether the holder of the secret key signed this request.
    pub(super) fn fits(&self, request: &Request, secret: &str) -> bool {
        let Some(date) = self.date(request) else { return false };
        self.canonical_requests(request).iter().any(|canonical| {
            let hash = hex(&Sha256::digest(canonical));
            let (key, text) = match self.scope {
                Some(scope) => (scope.key(secret), format!("{ALGORITHM}\n{date}\n{}\n{hash}", scope.text)),
                None => (secret.as_bytes().to_vec(), format!("{ALGORITHM}\n{date}\n{hash}")),
            };
            hex(&hmac(&key, text.as_bytes())) == self.digits
        })
    }

    /// The request in its canonical spellings; none if a signed header is missing.
    ///
    /// There are two if the body is empty and `X-Sdk-Content-Sha256` replaces its hash, because the official SDKs
    /// differ there: Python signs the hash of the empty body, Go and Node sign the value of the header.
    pub(super) fn canonical_requests(&self, request: &Request) -> Vec<String> {
        let header = |name: &&str| {
            let value = request.header(name)?.trim();
            // The form with a scope also shortens spaces inside.
            let value = match self.scope {
                Some(_) => value.split_ascii_whitespace().collect::<Vec<_>>().join(" "),
                None => value.to_owned(),
            };
            Some((name.to_ascii_lowercase(), value))
        };
        let Some(mut headers) = self.signed_headers.iter().map(header).collect::<Option<Vec<_>>>() else {
            return Vec::new();
        };
        headers.sort();
        let names: Vec<&str> = headers.iter().map(|(name, _)| name.as_str()).collect();
        let lines: Vec<String> = headers.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
        let declared = headers.iter().find(|(name, _)| name == X_SDK_CONTENT_SHA256);
        let mut hashes: Vec<String> = declared.iter().map(|(_, value)| value.clone()).collect();
        if declared.is_none() || request.body.is_empty() {
            hashes.push(hex(&Sha256::digest(&request.body)));
        }
        let (method, path, query) = (&request.method, path(&request.path), query(&request.raw_query));
        let head = format!("{method}\n{path}\n{query}\n{}\n{}", lines.concat(), names.join(";"));
        hashes.iter().map(|hash| format!("{head}\n{hash}")).collect()
    }
}

impl<'a> Scope<'a> {
    fn read(text: &'a str) -> Option<Self> {
        let [date, region, service, TERMINATOR] = *text.split('/').collect::<Vec<_>>().as_slice() else {
            return None;
        };
        (date.len() == 8).then_some(Self { text, date, region, service })
    }

    /// The signing key.
    fn key(&self, secret: &str) -> Vec<u8> {
        let steps = [self.date, self.region, self.service, TERMINATOR];
        steps.iter().fold(format!("SDK{secret}").into_bytes(), |key, step| hmac(&key, step.as_bytes()))
    }
}

/// A path with every segment encoded, and a slash at its end.
fn path(sent: &str) -> String {
    let decoded: Vec<u8> = percent_decode_str(sent).collect();
    let segments: Vec<String> = decoded
        .split(|byte| *byte == b'/')
        .map(|segment| percent_encode(segment, ENCODED).to_string())
        .collect();
    let path = segments.join("/");
    if path.ends_with('/') { path } else { path + "/" }
}

/// A query sorted by the decoded bytes of its keys and values. It need not be UTF-8.
fn query(sent: &str) -> String {
    let decode = |text: &str| percent_decode_str(text).collect::<Vec<u8>>();
    let parts = sent.split('&').filter(|part| !part.is_empty());
    let mut pairs: Vec<_> = parts
        .map(|part| part.split_once('=').unwrap_or((part, "")))
        .map(|(key, value)| (decode(key), decode(value)))
        .collect();
    pairs.sort();
    let encode = |bytes: &[u8]| percent_encode(bytes, ENCODED).to_string();
    let pairs: Vec<String> =
        pairs.iter().map(|(key, value)| format!("{}={}", encode(key), encode(value))).collect();
    pairs.join("&")
}

fn hmac(key: &[u8], text: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text).as_ref().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    format!("{:x}", Bytes::copy_from_slice(bytes))
}

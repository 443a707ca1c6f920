//! Who may call: tokens, signatures by access keys, and the lock on a key that keeps failing.

use std::collections::{HashMap, HashSet};
use std::fmt;

use functiongraph::sign::{self, Authorization, SignedRequest};
use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;

use crate::config::{AccessKey, AuthMode, Config};
use crate::request::Request;

/// How far the time of signing may be off, either way.
const WINDOW: SignedDuration = SignedDuration::from_mins(15);

/// Consecutive failures that a key may have; with one more it is locked.
const FAILURES_ALLOWED: u32 = 5;

const X_AUTH_TOKEN: &str = "x-auth-token";

/// The credentials that are known, and what has happened to them.
#[derive(Debug)]
pub(crate) struct Auth {
    mode: AuthMode,
    tokens: HashSet<String>,
    keys: HashMap<String, AccessKey>,
    lockout: SignedDuration,
    records: Mutex<HashMap<String, Record>>,
}

/// The recent past of one key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Record {
    failures: u32,
    locked_until: Option<Timestamp>,
}

/// Why a caller is not let in; the text is what the gateway says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum AuthFailure {
    /// Neither a token nor a signature.
    NoCredential,
    /// The token is none of ours.
    UnknownToken,
    /// No key has this id.
    UnknownKey(String),
    /// The signature does not fit the request.
    BadSignature,
    /// Signed too long ago, or in the future.
    Expired,
    /// The key has failed too often.
    Locked,
}

impl fmt::Display for AuthFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCredential => f.write_str("x-auth-token not found"),
            Self::UnknownToken => f.write_str("decrypt token fail"),
            Self::UnknownKey(id) => write!(f, "Get secretKey failed,ak:{id},err:ak not exist"),
            Self::BadSignature => f.write_str("verify aksk signature fail"),
            Self::Expired => f.write_str("calc ak sk signature fail:signature expired"),
            Self::Locked => f.write_str("AK access failed to reach the limit,forbidden"),
        }
    }
}

impl Auth {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            mode: config.auth,
            tokens: config.tokens.iter().cloned().collect(),
            keys: config.access_keys.iter().map(|key| (key.id.clone(), key.clone())).collect(),
            lockout: SignedDuration::try_from(config.lockout).unwrap_or(SignedDuration::MAX),
            records: Mutex::default(),
        }
    }

    /// Lets a request in or says why not. A token wins over a signature.
    pub(crate) fn check(&self, request: &Request, now: Timestamp) -> Result<(), AuthFailure> {
        if self.mode == AuthMode::None {
            return Ok(());
        }
        if let Some(token) = request.header(X_AUTH_TOKEN) {
            return if self.tokens.contains(token) { Ok(()) } else { Err(AuthFailure::UnknownToken) };
        }
        let authorization = request.header(sign::AUTHORIZATION).ok_or(AuthFailure::NoCredential)?;
        let authorization = sign::parse_authorization(authorization).ok_or(AuthFailure::BadSignature)?;
        let id = &authorization.access_key;
        let key = self.keys.get(id).ok_or_else(|| AuthFailure::UnknownKey(id.clone()))?;
        self.guarded(id, now, || verify(key, &authorization, request, now))
    }

    /// Counts the consecutive failures of a key and locks it. A locked key is not even looked at, and an attempt
    /// meanwhile does not lock it for longer.
    fn guarded(
        &self,
        id: &str,
        now: Timestamp,
        verify: impl FnOnce() -> Result<(), AuthFailure>,
    ) -> Result<(), AuthFailure> {
        if let Some(until) = self.records.lock().get(id).and_then(|record| record.locked_until)
            && now < until
        {
            return Err(AuthFailure::Locked);
        }
        let verdict = verify();
        let mut records = self.records.lock();
        if verdict.is_ok() {
            records.remove(id);
            return verdict;
        }
        let record = records.entry(id.to_owned()).or_default();
        if record.locked_until.is_some_and(|until| until <= now) {
            *record = Record::default();
        }
        record.failures += 1;
        if record.failures > FAILURES_ALLOWED {
            record.locked_until = Some(now.saturating_add(self.lockout).unwrap_or(Timestamp::MAX));
        }
        verdict
    }
}

/// Computes the signature again and compares.
fn verify(
    key: &AccessKey,
    authorization: &Authorization,
    request: &Request,
    now: Timestamp,
) -> Result<(), AuthFailure> {
    let headers: Option<Vec<(&str, &str)>> = (authorization.signed_headers.iter())
        .map(|name| Some((name.as_str(), request.header(name)?)))
        .collect();
    let headers = headers.ok_or(AuthFailure::BadSignature)?;
    let date = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(sign::X_SDK_DATE));
    let (_, date) = date.ok_or(AuthFailure::BadSignature)?;
    let signed_at = sign::parse_date(date).ok_or(AuthFailure::BadSignature)?;
    if now.duration_since(signed_at).abs() > WINDOW {
        return Err(AuthFailure::Expired);
    }
    if key.security_token.is_some() && request.header(sign::X_SECURITY_TOKEN) != key.security_token.as_deref()
    {
        return Err(AuthFailure::BadSignature);
    }
    let signed = SignedRequest {
        method: request.method.as_str(),
        path: &request.path,
        query: &request.query,
        headers: &headers,
        body: &request.body,
    };
    let fits = signed.signature(&key.secret, date) == authorization.signature;
    if fits { Ok(()) } else { Err(AuthFailure::BadSignature) }
}

#[cfg(test)]
mod tests;

//! Authenticates callers: tokens, signatures by access keys, and the lock after repeated failures of a key.

use std::collections::{HashMap, HashSet};
use std::fmt;

use functiongraph::sign::{self, Authorization, SignedRequest};
use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;

use crate::config::{AccessKey, AuthMode, Config};
use crate::issued::{Issued, Scope};
use crate::request::Request;

/// Maximum difference between the time of a signature and now, in both directions.
const WINDOW: SignedDuration = SignedDuration::from_mins(15);

/// Consecutive failures that a key may have; one more locks it.
const FAILURES_ALLOWED: u32 = 5;

/// Header with a token.
pub(crate) const X_AUTH_TOKEN: &str = "x-auth-token";

/// The known credentials and their state.
#[derive(Debug)]
pub(crate) struct Auth {
    mode: AuthMode,
    tokens: HashSet<String>,
    keys: HashMap<String, AccessKey>,
    /// Credentials issued at run time, in addition to the configured ones.
    pub(crate) issued: Issued,
    lockout: SignedDuration,
    records: Mutex<HashMap<String, Record>>,
}

/// Recent failures of one key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Record {
    failures: u32,
    locked_until: Option<Timestamp>,
}

/// Why a caller is refused. The text is the gateway's message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum AuthFailure {
    /// Neither a token nor a signature.
    NoCredential,
    /// No credential of the emulator equals the token.
    UnknownToken,
    /// The token has expired at this time.
    TokenExpired(Timestamp),
    /// The token was revoked.
    TokenRevoked,
    /// No key has this id. It may have been a temporary one.
    UnknownKey(String),
    /// The signature does not match the request.
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
            Self::TokenExpired(at) => write!(f, "token expires, expires_at: {at:.6}"),
            Self::TokenRevoked => f.write_str("The token must be updated"),
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
            issued: Issued::default(),
            lockout: SignedDuration::try_from(config.lockout).unwrap_or(SignedDuration::MAX),
            records: Mutex::default(),
        }
    }

    /// Every secret that was configured or issued.
    pub(crate) fn secrets(&self) -> Vec<String> {
        let keys = self.keys.values().flat_map(AccessKey::secrets);
        self.tokens.iter().cloned().chain(keys).chain(self.issued.secrets()).collect()
    }

    /// The scope of a request's credential, or why it is refused. A token takes precedence over a signature.
    pub(crate) fn check(&self, request: &Request, now: Timestamp) -> Result<Scope, AuthFailure> {
        if self.mode == AuthMode::None {
            return Ok(Scope::All);
        }
        if let Some(token) = request.header(X_AUTH_TOKEN) {
            return self.check_token(token, now);
        }
        let authorization = request.header(sign::AUTHORIZATION).ok_or(AuthFailure::NoCredential)?;
        let authorization = sign::parse_authorization(authorization).ok_or(AuthFailure::BadSignature)?;
        let id = &authorization.access_key;
        let key = self.keys.get(id).cloned().or_else(|| self.issued.find_key(id, now));
        let key = key.ok_or_else(|| AuthFailure::UnknownKey(id.clone()))?;
        self.guarded(id, now, || verify(&key, &authorization, request, now))?;
        Ok(Scope::All)
    }

    /// The scope of a token.
    pub(crate) fn check_token(&self, token: &str, now: Timestamp) -> Result<Scope, AuthFailure> {
        if self.tokens.contains(token) {
            return Ok(Scope::All);
        }
        let token = self.issued.find_token(token).ok_or(AuthFailure::UnknownToken)?;
        if token.revoked {
            Err(AuthFailure::TokenRevoked)
        } else if now >= token.expires {
            Err(AuthFailure::TokenExpired(token.expires))
        } else {
            Ok(token.scope)
        }
    }

    /// Counts the consecutive failures of a key and locks it. A locked key is not checked, and an attempt with it
    /// does not extend the lock.
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

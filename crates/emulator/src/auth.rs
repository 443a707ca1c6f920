//! Authenticates callers: tokens, signatures by access keys, and the lock after repeated failures of a key.

use std::collections::{HashMap, HashSet};
use std::fmt;

use functiongraph::sign;
use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;

use crate::config::{AccessKey, AuthMode, Config};
use crate::issued::{Issued, IssuedToken, Scope};
use crate::request::Request;

mod signature;
use signature::Signature;

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
        let signature = Signature::read(authorization).ok_or(AuthFailure::BadSignature)?;
        let id = signature.access_key;
        let key = self.keys.get(id).cloned().or_else(|| self.issued.find_key(id, now));
        let key = key.ok_or_else(|| AuthFailure::UnknownKey(id.to_owned()))?;
        self.guarded(id, now, || verify(&key, &signature, request, now))?;
        Ok(Scope::All)
    }

    /// The scope of a token.
    pub(crate) fn check_token(&self, token: &str, now: Timestamp) -> Result<Scope, AuthFailure> {
        if self.tokens.contains(token) {
            return Ok(Scope::All);
        }
        self.check_issued(token, now).map(|token| token.scope)
    }

    /// Forgets what was issued, and the failures of keys.
    pub(crate) fn clear(&self) {
        self.issued.clear();
        self.records.lock().clear();
    }

    /// Who sent a request, for people: never a secret.
    pub(crate) fn caller(&self, request: &Request) -> String {
        if let Some(token) = request.header(X_AUTH_TOKEN) {
            let issued = self.issued.find_token(token);
            let user = issued.as_ref().and_then(|token| token.details["user"]["name"].as_str());
            return user.map_or_else(|| "token".to_owned(), |user| format!("token of {user}"));
        }
        let signature = request.header(sign::AUTHORIZATION).and_then(Signature::read);
        signature
            .map_or_else(|| "nobody".to_owned(), |signature| format!("access key {}", signature.access_key))
    }

    /// Whether the configuration has this token.
    pub(crate) fn is_configured(&self, token: &str) -> bool {
        self.tokens.contains(token)
    }

    /// What is known of a valid token that was issued.
    pub(crate) fn check_issued(&self, token: &str, now: Timestamp) -> Result<IssuedToken, AuthFailure> {
        let token = self.issued.find_token(token).ok_or(AuthFailure::UnknownToken)?;
        if token.revoked {
            Err(AuthFailure::TokenRevoked)
        } else if now >= token.expires {
            Err(AuthFailure::TokenExpired(token.expires))
        } else {
            Ok(token)
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

/// Checks time, security token and signature. A key that is permanent has no security token.
fn verify(
    key: &AccessKey,
    signature: &Signature<'_>,
    request: &Request,
    now: Timestamp,
) -> Result<(), AuthFailure> {
    let date = signature.date(request).and_then(sign::parse_date).ok_or(AuthFailure::BadSignature)?;
    if now.duration_since(date).abs() > WINDOW {
        return Err(AuthFailure::Expired);
    }
    let own_token = request.header(sign::X_SECURITY_TOKEN) == key.security_token.as_deref();
    if own_token && signature.fits(request, &key.secret) {
        return Ok(());
    }
    // For the person who wonders why: compare this with what the client signed. The token is a secret.
    let canonical = signature.canonical_requests(request).into_iter().next().unwrap_or_default();
    let token = request.header(sign::X_SECURITY_TOKEN).filter(|token| !token.is_empty());
    let canonical = token.map_or(canonical.clone(), |token| canonical.replace(token, "…"));
    tracing::debug!(own_token, canonical, "refused a signature");
    Err(AuthFailure::BadSignature)
}

#[cfg(test)]
mod tests;

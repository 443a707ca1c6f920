//! The credentials issued at run time: their scopes and expiry times.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use serde_json::Value;

use crate::clock;
use crate::config::AccessKey;

/// Characters of a token; real ones are kilobytes long.
const TOKEN_LENGTH: usize = 2048;

/// Characters of a security token.
const SECURITY_TOKEN_LENGTH: usize = 512;

/// Characters of a token of the metadata.
const SESSION_LENGTH: usize = 56;

/// Characters of the id of an access key, as the STS documents it.
const KEY_ID_LENGTH: usize = 20;

/// Characters of a secret key, as the STS documents it.
const SECRET_LENGTH: usize = 40;

/// How long an expired credential is still recognised.
const REMEMBERED: SignedDuration = SignedDuration::from_hours(1);

/// Scope of a credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Every project.
    All,
    /// One project.
    Project(String),
    /// No project: it can only be exchanged for another credential.
    None,
}

/// Numbers of valid credentials that the emulator has issued.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct IssuedCount {
    /// Tokens.
    pub tokens: usize,
    /// Temporary access keys.
    pub keys: usize,
}

/// Details of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct IssuedToken {
    pub(crate) scope: Scope,
    /// Its user, methods, and project or domain, as IAM shows them.
    pub(crate) details: Value,
    pub(crate) issued: Timestamp,
    pub(crate) expires: Timestamp,
    pub(crate) revoked: bool,
}

/// All issued credentials. `Debug` shows only their numbers.
#[derive(Default)]
pub(crate) struct Issued(Mutex<Credentials>);

#[derive(Default)]
struct Credentials {
    tokens: HashMap<String, IssuedToken>,
    keys: HashMap<String, (AccessKey, Timestamp)>,
    /// Session tokens of the metadata of a virtual machine.
    sessions: HashMap<String, Timestamp>,
}

// === impl Scope ===

impl Scope {
    /// Whether it covers a project.
    pub(crate) fn covers(&self, project_id: &str) -> bool {
        match self {
            Self::All => true,
            Self::Project(id) => id == project_id,
            Self::None => false,
        }
    }
}

// === impl Issued ===

impl fmt::Debug for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Credentials { tokens, keys, sessions: _ } = &*self.0.lock();
        f.debug_struct("Issued").field("tokens", &tokens.len()).field("keys", &keys.len()).finish()
    }
}

impl Issued {
    /// Issues a token; returns it with what is known of it.
    pub(crate) fn token(
        &self,
        scope: Scope,
        details: Value,
        life: Duration,
        now: Timestamp,
    ) -> (String, IssuedToken) {
        let text = clock::secret(TOKEN_LENGTH);
        let token = IssuedToken { scope, details, issued: now, expires: end(now, life), revoked: false };
        let mut credentials = self.0.lock();
        credentials.forget(now);
        credentials.tokens.insert(text.clone(), token.clone());
        (text, token)
    }

    /// Revokes a token.
    pub(crate) fn revoke_token(&self, token: &str) {
        if let Some(token) = self.0.lock().tokens.get_mut(token) {
            token.revoked = true;
        }
    }

    /// Forgets every credential.
    pub(crate) fn clear(&self) {
        *self.0.lock() = Credentials::default();
    }

    /// Issues a temporary access key; returns it with its expiry time.
    pub(crate) fn key(&self, life: Duration, now: Timestamp) -> (AccessKey, Timestamp) {
        let key = AccessKey {
            id: clock::secret(KEY_ID_LENGTH).to_ascii_uppercase(),
            secret: clock::secret(SECRET_LENGTH),
            security_token: Some(clock::secret(SECURITY_TOKEN_LENGTH)),
        };
        let expires = end(now, life);
        let mut credentials = self.0.lock();
        credentials.forget(now);
        credentials.keys.insert(key.id.clone(), (key.clone(), expires));
        (key, expires)
    }

    /// Issues a session token for the metadata of a virtual machine.
    pub(crate) fn session(&self, life: Duration, now: Timestamp) -> String {
        let text = clock::secret(SESSION_LENGTH);
        let mut credentials = self.0.lock();
        credentials.forget(now);
        credentials.sessions.insert(text.clone(), end(now, life));
        text
    }

    /// Whether a session token for the metadata is valid now.
    pub(crate) fn is_session(&self, token: &str, now: Timestamp) -> bool {
        self.0.lock().sessions.get(token).is_some_and(|expires| now < *expires)
    }

    /// Details of a token, even if it has expired or was revoked.
    pub(crate) fn find_token(&self, token: &str) -> Option<IssuedToken> {
        self.0.lock().tokens.get(token).cloned()
    }

    /// A key that is valid now.
    pub(crate) fn find_key(&self, id: &str, now: Timestamp) -> Option<AccessKey> {
        let credentials = self.0.lock();
        let (key, expires) = credentials.keys.get(id)?;
        (now < *expires).then(|| key.clone())
    }

    /// The numbers of valid credentials.
    pub(crate) fn count(&self, now: Timestamp) -> IssuedCount {
        self.0.lock().count(now)
    }

    /// Revokes all credentials.
    pub(crate) fn revoke(&self, now: Timestamp) {
        let mut credentials = self.0.lock();
        let Credentials { tokens, keys, sessions } = &mut *credentials;
        for token in tokens.values_mut() {
            token.revoked = true;
        }
        for expires in keys.values_mut().map(|(_, expires)| expires).chain(sessions.values_mut()) {
            *expires = now.min(*expires);
        }
    }

    /// Every recognised secret, for tests that search other texts for them.
    pub(crate) fn secrets(&self) -> Vec<String> {
        let credentials = self.0.lock();
        let keys = credentials.keys.values().flat_map(|(key, _)| key.secrets());
        credentials.tokens.keys().chain(credentials.sessions.keys()).cloned().chain(keys).collect()
    }
}

impl Credentials {
    fn count(&self, now: Timestamp) -> IssuedCount {
        let good = |token: &&IssuedToken| !token.revoked && now < token.expires;
        IssuedCount {
            tokens: self.tokens.values().filter(good).count(),
            keys: self.keys.values().filter(|(_, expires)| now < *expires).count(),
        }
    }

    /// Removes credentials that expired long ago.
    fn forget(&mut self, now: Timestamp) {
        let Self { tokens, keys, sessions } = self;
        let recent = |expires: Timestamp| now.duration_since(expires) < REMEMBERED;
        tokens.retain(|_, token| recent(token.expires));
        keys.retain(|_, (_, expires)| recent(*expires));
        sessions.retain(|_, expires| recent(*expires));
    }
}

/// The expiry time, to the microsecond: the precision of the answers.
fn end(now: Timestamp, life: Duration) -> Timestamp {
    let life = SignedDuration::try_from(life).unwrap_or(SignedDuration::MAX);
    let end = now.saturating_add(life).unwrap_or(Timestamp::MAX);
    Timestamp::from_microsecond(end.as_microsecond()).unwrap_or(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    #[test]
    fn a_key_is_found_until_it_expires() {
        let issued = Issued::default();
        let (key, expires) = issued.key(MINUTE, at(0));
        assert_eq!((key.id.len(), key.secret.len(), expires), (20, 40, at(60)));
        assert!(key.id.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit()), "{}", key.id);
        assert_eq!(issued.find_key(&key.id, at(59)), Some(key.clone()));
        assert_eq!(issued.find_key(&key.id, at(60)), None);
    }

    #[test]
    fn a_revoked_credential_is_invalid_and_a_later_one_valid() {
        let issued = Issued::default();
        let (token, _) = issued.token(Scope::None, Value::Null, MINUTE, at(0));
        let (key, _) = issued.key(MINUTE, at(0));
        assert_eq!(issued.count(at(1)), IssuedCount { tokens: 1, keys: 1 });
        issued.revoke(at(1));
        assert!(issued.find_token(&token).unwrap().revoked);
        assert_eq!(issued.find_key(&key.id, at(1)), None);
        assert_eq!(issued.count(at(1)), IssuedCount::default());
        let (new, _) = issued.token(Scope::None, Value::Null, MINUTE, at(2));
        assert!(!issued.find_token(&new).unwrap().revoked);
        assert_eq!(issued.count(at(2)), IssuedCount { tokens: 1, keys: 0 });
        let kept = issued.secrets();
        let all = [token, new, key.secret, key.security_token.unwrap()];
        assert!(kept.len() == 4 && all.iter().all(|secret| kept.contains(secret)), "revoked, not forgotten");
    }

    #[test]
    fn a_credential_that_expired_long_ago_is_removed() {
        let issued = Issued::default();
        let (token, _) = issued.token(Scope::All, Value::Null, MINUTE, at(0));
        issued.key(MINUTE, at(60 + 3599));
        assert!(issued.find_token(&token).is_some());
        issued.key(MINUTE, at(60 + 3600));
        assert!(issued.find_token(&token).is_none());
    }

    #[test]
    fn no_issued_credential_is_shown() {
        let issued = Issued::default();
        let (token, _) = issued.token(Scope::All, Value::Null, MINUTE, at(0));
        let (key, _) = issued.key(MINUTE, at(0));
        let shown = format!("{issued:?}");
        assert_eq!(shown, "Issued { tokens: 1, keys: 1 }");
        assert!(!shown.contains(&token) && !shown.contains(&key.secret));
    }
}

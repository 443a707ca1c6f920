//! Opens the readers of answers to the fuzz targets in `fuzz/`: the targets pass bytes instead of an answer from the
//! network.

use http::HeaderMap;
use secrecy::SecretString;
use serde_json::{Map, Value};

use crate::answer::Form;
use crate::credentials::Credential;
use crate::invocation::{Kind, Protocol};
use crate::login::{Login, LoginError, projects, read};
use crate::settings::Settings;
use crate::text::{Clean, Shown};
use crate::transport::Seen;
use crate::{Answer, AsyncInvokeConfig, FunctionConfig, Page};

/// An answer as it arrived.
#[derive(Debug, Clone)]
pub struct Raw {
    /// HTTP status.
    pub status: u16,
    /// All headers.
    pub headers: HeaderMap,
    /// The body, as far as it arrived.
    pub body: Vec<u8>,
    /// Whether the body is complete.
    pub complete: bool,
}

// === impl Raw ===

impl Raw {
    fn seen(&self) -> Seen {
        let Self { status, headers, body, complete } = self;
        Seen { status: *status, headers: headers.clone(), body: body.as_slice().into(), complete: *complete }
    }

    /// Reads it as the answer to an invocation.
    #[must_use]
    pub fn answer(&self, kind: Kind, protocol: Protocol, credential: &Credential) -> Answer {
        let form = Form::of(kind, protocol);
        let mut seen = self.seen();
        seen.complete &= seen.body.len() <= form.cap();
        seen.body.truncate(form.cap());
        Answer::read(form, &seen, &Shown::credential(credential))
    }

    /// Reads it as a page of records that was requested with `marker`.
    #[must_use]
    pub fn page(&self, marker: Option<&str>, credential: &Credential) -> Option<Page> {
        Page::read(&self.body, marker, &Shown::credential(credential))
    }

    /// Reads it as both kinds of settings of a function.
    #[must_use]
    pub fn settings(&self, credential: &Credential) -> Option<(AsyncInvokeConfig, FunctionConfig)> {
        let fields: Map<String, Value> = serde_json::from_slice(&self.body).ok()?;
        let shown = Shown::credential(credential);
        Some((Settings::read(&fields, &shown), Settings::read(&fields, &shown)))
    }

    /// Reads it as the answer to a login that returns a token.
    ///
    /// # Errors
    /// The errors of such a login.
    pub fn token(&self, secrets: &[&SecretString]) -> Result<Login, LoginError> {
        read::token(read::success(self.seen(), &shown(secrets))?)
    }

    /// Reads it as the answer to a login that returns keys.
    ///
    /// # Errors
    /// The errors of such a login.
    pub fn keys(&self, secrets: &[&SecretString]) -> Result<Login, LoginError> {
        read::keys(read::success(self.seen(), &shown(secrets))?)
    }

    /// Reads it as the answer to the start of a metadata session.
    ///
    /// # Errors
    /// The errors of such a login.
    pub fn session(&self, secrets: &[&SecretString]) -> Result<SecretString, LoginError> {
        read::text(read::success(self.seen(), &shown(secrets))?)
    }

    /// Reads it as the answer to a look-up of the project called `name`.
    ///
    /// # Errors
    /// The errors of such a look-up.
    pub fn project(&self, name: &str, secrets: &[&SecretString]) -> Result<String, LoginError> {
        let shown = shown(secrets);
        projects::only_one(read::object(&mut read::success(self.seen(), &shown)?), name, &shown)
    }
}

fn shown(secrets: &[&SecretString]) -> Shown {
    Shown::secrets(secrets.iter().copied())
}

/// A text of a server that received a secret, in each form that the crate keeps.
#[derive(Debug, Clone)]
pub struct Text {
    /// As a message.
    pub line: Clean,
    /// As a result.
    pub beginning: Clean,
    /// As a log.
    pub end: Clean,
}

// === impl Text ===

impl Text {
    /// Cleans `text`: at most `limit` bytes of a result, and `limit` characters of a log.
    #[must_use]
    pub fn shown(secret: &str, text: &str, limit: usize) -> Self {
        let shown = Shown::secrets([&secret.into()]);
        Self { line: shown.line(text), beginning: shown.beginning(text, limit), end: shown.end(text, limit) }
    }
}

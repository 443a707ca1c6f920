//! Opens the readers of answers to the fuzz targets in `fuzz/`: what they read from the network, they read here from
//! bytes.

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

/// An answer as it came, before anybody has read it.
#[derive(Debug, Clone)]
pub struct Raw {
    /// HTTP status.
    pub status: u16,
    /// All headers.
    pub headers: HeaderMap,
    /// The body, as far as it came.
    pub body: Vec<u8>,
    /// Whether that is all of it.
    pub complete: bool,
}

// === impl Raw ===

impl Raw {
    fn seen(&self) -> Seen {
        let Self { status, headers, body, complete } = self;
        Seen { status: *status, headers: headers.clone(), body: body.as_slice().into(), complete: *complete }
    }

    /// As the answer to an invocation.
    #[must_use]
    pub fn answer(&self, kind: Kind, protocol: Protocol, credential: &Credential) -> Answer {
        let form = Form::of(kind, protocol);
        let mut seen = self.seen();
        seen.complete &= seen.body.len() <= form.cap();
        seen.body.truncate(form.cap());
        Answer::read(form, &seen, &Shown::credential(credential))
    }

    /// As a page of records that was asked for with `marker`.
    #[must_use]
    pub fn page(&self, marker: Option<&str>, credential: &Credential) -> Option<Page> {
        Page::read(&self.body, marker, &Shown::credential(credential))
    }

    /// As the settings of a function, of both kinds.
    #[must_use]
    pub fn settings(&self, credential: &Credential) -> Option<(AsyncInvokeConfig, FunctionConfig)> {
        let fields: Map<String, Value> = serde_json::from_slice(&self.body).ok()?;
        let shown = Shown::credential(credential);
        Some((Settings::read(&fields, &shown), Settings::read(&fields, &shown)))
    }

    /// As the answer to a login that brings a token.
    ///
    /// # Errors
    /// As such a login has them.
    pub fn token(&self, secrets: &[&SecretString]) -> Result<Login, LoginError> {
        read::token(read::success(self.seen(), &shown(secrets))?)
    }

    /// As the answer to a login that brings keys.
    ///
    /// # Errors
    /// As such a login has them.
    pub fn keys(&self, secrets: &[&SecretString]) -> Result<Login, LoginError> {
        read::keys(read::success(self.seen(), &shown(secrets))?)
    }

    /// As the answer to the beginning of a session with the metadata of a machine.
    ///
    /// # Errors
    /// As such a login has them.
    pub fn session(&self, secrets: &[&SecretString]) -> Result<SecretString, LoginError> {
        read::text(read::success(self.seen(), &shown(secrets))?)
    }

    /// As the answer to the question for the project called `name`.
    ///
    /// # Errors
    /// As such a question has them.
    pub fn project(&self, name: &str, secrets: &[&SecretString]) -> Result<String, LoginError> {
        let shown = shown(secrets);
        projects::only_one(read::object(&mut read::success(self.seen(), &shown)?), name, &shown)
    }
}

fn shown(secrets: &[&SecretString]) -> Shown {
    Shown::secrets(secrets.iter().copied())
}

/// A text of another party that was shown a secret, in each form in which it is kept.
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
    /// What is kept of `said`, in bytes of a result and characters of a log.
    #[must_use]
    pub fn shown(secret: &str, said: &str, limit: usize) -> Self {
        let shown = Shown::secrets([&secret.into()]);
        Self { line: shown.line(said), beginning: shown.beginning(said, limit), end: shown.end(said, limit) }
    }
}

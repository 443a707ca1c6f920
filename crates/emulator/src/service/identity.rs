//! The identity services (IAM): logins, with faults like any other API.

use std::time::Duration;

use http::StatusCode;
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::answer::{Answer, Reply, X_SUBJECT_TOKEN};
use crate::api::{IdentityApi, Route};
use crate::config::AccessKey;
use crate::id_token::Claims;
use crate::issued::Scope;
use crate::refusal::{Denied, Refusal};
use crate::request::Request;
use crate::state::State;

use super::{Work, done, finish};

mod agency;
mod catalog;
mod id_token;
mod keys;
mod login;
mod metadata;
mod pod;
mod projects;
mod scope;
mod token;
use scope::Granted;

/// The account of the projects, and of every login without a password.
const DOMAIN: &str = "emulator";

/// A request to an identity service.
struct Asked<'a> {
    state: &'a State,
    api: IdentityApi,
    route: &'a Route,
    request: &'a Request,
    now: Timestamp,
}

/// The reply to a request.
pub(super) async fn serve(
    state: &State,
    api: IdentityApi,
    route: &Route,
    request: &Request,
    now: Timestamp,
) -> Reply {
    let asked = Asked { state, api, route, request, now };
    finish(&state.faults, api.into(), "", request, plan(&asked), now).await
}

/// Makes all checks, and issues the credential.
fn plan<'a>(asked: &'a Asked<'_>) -> Result<Work<'a>, Refusal> {
    match asked.api {
        IdentityApi::Password => login::plan(asked),
        IdentityApi::IdToken => id_token::plan(asked),
        IdentityApi::Federation => id_token::federate(asked),
        IdentityApi::ShowToken | IdentityApi::CheckToken => token::show(asked).map(done),
        IdentityApi::RevokeToken => token::revoke(asked),
        IdentityApi::Versions => Ok(done(catalog::versions(asked))),
        IdentityApi::Version => Ok(done(catalog::version(asked))),
        IdentityApi::Catalog => catalog::list(asked).map(done),
        IdentityApi::AssumeAgency => agency::plan(asked),
        IdentityApi::MetadataToken => metadata::token(asked),
        IdentityApi::MetadataKey => metadata::key(asked),
        IdentityApi::PodIdentity => pod::plan(asked),
        IdentityApi::SecurityTokens => keys::plan(asked),
        IdentityApi::Projects | IdentityApi::OwnProjects => projects::list(asked).map(done),
        IdentityApi::ShowProject => projects::show(asked).map(done),
        IdentityApi::OwnDomains => projects::domains(asked).map(done),
    }
}

impl Asked<'_> {
    /// A refusal in the format of this service.
    fn denied(&self, why: Denied) -> Refusal {
        Refusal::Denied(self.api.source(), why)
    }

    /// The body, if it is well-formed.
    fn body<T: DeserializeOwned>(&self) -> Result<T, Refusal> {
        serde_json::from_slice(&self.request.body).map_err(|_| self.denied(Denied::InvalidBody))
    }

    /// Checks that the bearer of an id token is on a list. An empty list allows every bearer.
    fn admit(&self, subjects: &[String], claims: Claims) -> Result<Claims, Refusal> {
        let listed = subjects.is_empty() || subjects.contains(&claims.sub);
        if listed { Ok(claims) } else { Err(self.denied(Denied::Forbidden)) }
    }

    /// The refusal of a caller without a valid credential; counts it.
    fn unauthenticated(&self) -> Refusal {
        self.state.stats.failed_authentication();
        self.denied(Denied::Unauthenticated)
    }

    /// The scope of the caller's credential.
    fn caller(&self) -> Result<Scope, Refusal> {
        self.state.auth.check(self.request, self.now).map_err(|_| self.unauthenticated())
    }

    /// Issues a token for a bearer with this description, and answers with it.
    fn issue_token(&self, granted: Granted, mut bearer: Value) -> Answer {
        let scope = granted.scope.clone();
        granted.describe(&mut bearer);
        self.state.stats.issued(self.api.into());
        let life = self.state.identity.token_lifetime;
        let (secret, token) = self.state.auth.issued.token(scope, bearer, life, self.now);
        Answer::json(StatusCode::CREATED, &json!({ "token": token::describe(self, &token) }))
            .with(X_SUBJECT_TOKEN, secret)
    }

    /// Issues a temporary key with the requested lifetime, and counts it.
    fn make_key(&self, wanted: Duration) -> (AccessKey, Timestamp) {
        let life = wanted.min(self.state.identity.keys_lifetime);
        self.state.stats.issued(self.api.into());
        self.state.auth.issued.key(life, self.now)
    }
}

/// A stable id for a name that has no configured id.
fn id_of(name: &str) -> String {
    let digest = Sha256::digest(name);
    let digits = digest.iter().take(16).flat_map(|byte| [byte >> 4, byte & 15]);
    digits.filter_map(|digit| char::from_digit(digit.into(), 16)).collect()
}

/// A temporary key in the format of the STS.
fn sts_credentials(key: &AccessKey, expires: Timestamp) -> Value {
    json!({
        "access_key_id": key.id,
        "secret_access_key": key.secret,
        "security_token": key.security_token,
        "expiration": format!("{expires:.3}"),
    })
}

/// A temporary key in the format of IAM.
fn iam_credential(key: &AccessKey, expires: Timestamp) -> Value {
    json!({
        "access": key.id,
        "secret": key.secret,
        "securitytoken": key.security_token,
        "expires_at": written(expires),
    })
}

/// A time in the format of IAM.
fn written(time: Timestamp) -> String {
    format!("{time:.6}")
}

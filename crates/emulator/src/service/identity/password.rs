//! `POST /v3/auth/tokens`: exchanges a user's password for a token.

use http::StatusCode;
use serde::Deserialize;
use serde_json::json;

use crate::answer::{Answer, X_SUBJECT_TOKEN};
use crate::refusal::{Denied, Refusal};

use super::scope::{Named, Wanted, domain_of, grant};
use super::{Asked, Work, id_of, written};

#[derive(Deserialize)]
struct Body {
    auth: Auth,
}

#[derive(Deserialize)]
struct Auth {
    identity: Identity,
    scope: Option<Wanted>,
}

#[derive(Deserialize)]
struct Identity {
    methods: Vec<String>,
    password: Option<Password>,
}

#[derive(Deserialize)]
struct Password {
    user: User,
}

#[derive(Deserialize)]
struct User {
    name: String,
    password: String,
    domain: Named,
}

pub(super) fn plan<'a>(asked: &'a Asked<'_>) -> Result<Work<'a>, Refusal> {
    let Body { auth: Auth { identity, scope } } = asked.body()?;
    let Some(Password { user }) = identity.password.filter(|_| identity.methods == ["password"]) else {
        return Err(asked.denied(Denied::InvalidBody));
    };
    let known = asked.state.identity.users.iter().find(|known| {
        let domain = user.domain.name.as_ref().is_none_or(|name| *name == known.domain)
            && user.domain.id.as_ref().is_none_or(|id| *id == id_of(&known.domain));
        domain && known.name == user.name && known.password == user.password
    });
    let known = known.ok_or_else(|| {
        asked.state.stats.failed_authentication();
        asked.denied(Denied::WrongPassword)
    })?;
    let granted = grant(asked, scope, &known.domain)?;
    Ok(Box::pin(async move {
        let (secret, expires) = asked.make_token(granted.scope.clone());
        let mut token = json!({
            "catalog": [],
            "expires_at": written(expires),
            "issued_at": written(asked.now),
            "methods": ["password"],
            "roles": [{ "id": "0", "name": "te_admin" }],
            "user": {
                "domain": domain_of(&known.domain),
                "id": id_of(&format!("{}/{}", known.domain, known.name)),
                "name": known.name,
                "password_expires_at": "",
            },
        });
        granted.describe(&mut token);
        Answer::json(StatusCode::CREATED, &json!({ "token": token })).with(X_SUBJECT_TOKEN, secret)
    }))
}

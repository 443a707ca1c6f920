//! `POST /v3/auth/tokens`: exchanges a password or another token for a token, or the caller's credential for that of an
//! agency.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::auth::X_AUTH_TOKEN;
use crate::refusal::{Denied, Refusal};

use super::scope::{Named, Wanted, domain_of, grant};
use super::{Asked, DOMAIN, Work, id_of, token};

#[derive(Deserialize)]
struct Body {
    auth: Auth,
}

#[derive(Deserialize)]
struct Auth {
    identity: Identity,
    scope: Option<Wanted>,
}

/// Each method has its own field.
#[derive(Deserialize)]
struct Identity {
    methods: Vec<String>,
    password: Option<Password>,
    #[serde(default)]
    token: Token,
    assume_role: Option<Role>,
}

#[derive(Deserialize)]
struct Password {
    user: User,
}

/// A user by id, or by name and domain.
#[derive(Deserialize)]
struct User {
    id: Option<String>,
    name: Option<String>,
    password: String,
    domain: Option<Named>,
}

#[derive(Default, Deserialize)]
struct Token {
    id: Option<String>,
}

/// The agency of another account.
#[derive(Deserialize)]
struct Role {
    #[serde(alias = "xrole_name")]
    agency_name: String,
}

pub(super) fn plan<'a>(asked: &'a Asked<'_>) -> Result<Work<'a>, Refusal> {
    let Body { auth: Auth { identity, scope } } = asked.body()?;
    let Identity { methods, password, token, assume_role } = identity;
    let invalid = || asked.denied(Denied::InvalidBody);
    let bearer = match methods.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["password"] => by_password(asked, &password.ok_or_else(invalid)?.user)?,
        ["token"] => by_token(asked, token.id.as_deref())?,
        ["assume_role"] => by_agency(asked, &assume_role.ok_or_else(invalid)?)?,
        _ => return Err(invalid()),
    };
    let granted = grant(asked, scope, bearer["user"]["domain"]["name"].as_str().unwrap_or(DOMAIN))?;
    Ok(Box::pin(async move { asked.issue_token(granted, bearer) }))
}

fn by_password(asked: &Asked<'_>, user: &User) -> Result<Value, Refusal> {
    if user.id.is_none() && user.name.is_none() {
        return Err(asked.denied(Denied::InvalidBody));
    }
    let fits = |wanted: Option<&String>, value: &str| wanted.is_none_or(|wanted| wanted == value);
    let known = asked.state.identity.users.iter().find(|known| {
        let domain = user.domain.as_ref();
        fits(user.id.as_ref(), &id_of(&format!("{}/{}", known.domain, known.name)))
            && fits(user.name.as_ref(), &known.name)
            && fits(domain.and_then(|domain| domain.name.as_ref()), &known.domain)
            && fits(domain.and_then(|domain| domain.id.as_ref()), &id_of(&known.domain))
            && known.password == user.password
    });
    let known = known.ok_or_else(|| {
        asked.state.stats.failed_authentication();
        asked.denied(Denied::WrongPassword)
    })?;
    Ok(user_of("password", &known.domain, &known.name))
}

/// The user of a token that is valid; without one in the body, of the caller's.
fn by_token(asked: &Asked<'_>, id: Option<&str>) -> Result<Value, Refusal> {
    let id = id.or_else(|| asked.request.header(X_AUTH_TOKEN)).ok_or_else(|| asked.unauthenticated())?;
    let user = token::find(asked, id).ok_or_else(|| asked.unauthenticated())?.details["user"].clone();
    Ok(json!({ "methods": ["token"], "user": user }))
}

fn by_agency(asked: &Asked<'_>, role: &Role) -> Result<Value, Refusal> {
    asked.caller()?;
    let name = &role.agency_name;
    let mut agencies = asked.state.identity.agencies.iter();
    let found = agencies.find(|agency| agency.urn.rsplit(':').next() == Some(name));
    found.ok_or_else(|| asked.denied(Denied::Unknown("agency", name.clone())))?;
    Ok(user_of("assume_role", DOMAIN, name))
}

/// A user, as IAM describes the bearer of a token.
pub(super) fn user_of(method: &str, domain: &str, name: &str) -> Value {
    json!({
        "methods": [method],
        "user": {
            "domain": domain_of(domain),
            "id": id_of(&format!("{domain}/{name}")),
            "name": name,
            "password_expires_at": "",
        },
    })
}

//! `GET`, `HEAD` and `DELETE /v3/auth/tokens`: what a token is good for, and its end.

use http::StatusCode;
use serde_json::{Value, json};

use crate::answer::{Answer, X_SUBJECT_TOKEN};
use crate::issued::{IssuedToken, Scope};
use crate::refusal::{Denied, Refusal};

use super::login::user_of;
use super::scope::Granted;
use super::{Asked, DOMAIN, Work, catalog, written};

/// Shows the token in `X-Subject-Token`.
pub(super) fn show(asked: &Asked<'_>) -> Result<Answer, Refusal> {
    let (subject, token) = subject(asked)?;
    let body = json!({ "token": describe(asked, &token) });
    Ok(Answer::json(StatusCode::OK, &body).with(X_SUBJECT_TOKEN, subject))
}

/// Revokes the token in `X-Subject-Token`. A configured token stays valid.
pub(super) fn revoke<'a>(asked: &'a Asked<'_>) -> Result<Work<'a>, Refusal> {
    let (subject, _) = subject(asked)?;
    Ok(Box::pin(async move {
        asked.state.auth.issued.revoke_token(&subject);
        Answer::no_content()
    }))
}

fn subject(asked: &Asked<'_>) -> Result<(String, IssuedToken), Refusal> {
    asked.caller()?;
    let subject = asked.request.header(X_SUBJECT_TOKEN.as_str());
    let subject = subject.ok_or_else(|| asked.denied(Denied::InvalidParameter("X-Subject-Token")))?;
    let token = find(asked, subject).ok_or_else(|| asked.denied(Denied::NotHere))?;
    Ok((subject.to_owned(), token))
}

/// What is known of a token, if it is valid. A configured token belongs to a user of the emulator's own project.
pub(super) fn find(asked: &Asked<'_>, token: &str) -> Option<IssuedToken> {
    if !asked.state.auth.is_configured(token) {
        return asked.state.auth.check_issued(token, asked.now).ok();
    }
    let granted = Granted::project(asked.state.identity.projects.first()?, DOMAIN);
    let mut details = user_of("password", DOMAIN, DOMAIN);
    granted.describe(&mut details);
    let expires = asked.now.saturating_add(asked.state.identity.token_lifetime).ok()?;
    Some(IssuedToken { scope: Scope::All, details, issued: asked.now, expires, revoked: false })
}

/// A token in an answer. With `?nocatalog` it has no catalog.
pub(super) fn describe(asked: &Asked<'_>, token: &IssuedToken) -> Value {
    let mut described = token.details.clone();
    described["issued_at"] = written(token.issued).into();
    described["expires_at"] = written(token.expires).into();
    if asked.request.query.iter().all(|(name, _)| name != "nocatalog") {
        let project = token.details["project"]["id"].as_str();
        described["catalog"] = project.map_or_else(|| json!([]), |project| catalog::of(asked, project));
    }
    described
}

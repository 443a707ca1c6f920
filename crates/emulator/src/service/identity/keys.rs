//! `POST /v3.0/OS-CREDENTIAL/securitytokens`: exchanges a token for a temporary access key.

use std::time::Duration;

use http::StatusCode;
use serde::Deserialize;
use serde_json::json;

use crate::answer::Answer;
use crate::auth::X_AUTH_TOKEN;
use crate::refusal::{Denied, Refusal};

use super::{Asked, Work, iam_credential};

/// Default lifetime, in seconds.
const DEFAULT_SECONDS: u64 = 900;

/// Allowed lifetimes, in seconds.
const SECONDS: std::ops::RangeInclusive<u64> = 900..=86_400;

#[derive(Deserialize)]
struct Body {
    auth: Auth,
}

#[derive(Deserialize)]
struct Auth {
    identity: Identity,
}

#[derive(Deserialize)]
struct Identity {
    methods: Vec<String>,
    #[serde(default)]
    token: Token,
}

#[derive(Default, Deserialize)]
struct Token {
    id: Option<String>,
    duration_seconds: Option<u64>,
}

pub(super) fn plan<'a>(asked: &'a Asked<'_>) -> Result<Work<'a>, Refusal> {
    let Asked { state, request, now, .. } = *asked;
    let Body { auth: Auth { identity: Identity { methods, token } } } = asked.body()?;
    if methods != ["token"] {
        return Err(asked.denied(Denied::InvalidBody));
    }
    let seconds = token.duration_seconds.unwrap_or(DEFAULT_SECONDS);
    if !SECONDS.contains(&seconds) {
        return Err(asked.denied(Denied::InvalidParameter("duration_seconds")));
    }
    let token = token.id.as_deref().or_else(|| request.header(X_AUTH_TOKEN));
    let token = token.ok_or_else(|| asked.denied(Denied::Unauthenticated))?;
    state.auth.check_token(token, now).map_err(|_| asked.unauthenticated())?;
    Ok(Box::pin(async move {
        let (key, expires) = asked.make_key(Duration::from_secs(seconds));
        Answer::json(StatusCode::CREATED, &json!({ "credential": iam_credential(&key, expires) }))
    }))
}

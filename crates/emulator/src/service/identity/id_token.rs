//! `POST /v3.0/OS-AUTH/id-token/tokens`: exchanges an id token of an external identity provider for a token.

use http::StatusCode;
use serde::Deserialize;
use serde_json::json;

use crate::answer::{Answer, X_SUBJECT_TOKEN};
use crate::config::IdentityProvider;
use crate::id_token::{self, Claims};
use crate::refusal::{Denied, Refusal};

use super::scope::{Wanted, domain_of, grant};
use super::{Asked, DOMAIN, Work, id_of, written};

const X_IDP_ID: &str = "x-idp-id";

#[derive(Deserialize)]
struct Body {
    auth: Auth,
}

#[derive(Deserialize)]
struct Auth {
    id_token: IdToken,
    scope: Option<Wanted>,
}

#[derive(Deserialize)]
struct IdToken {
    id: String,
}

pub(super) fn plan<'a>(asked: &'a Asked<'_>) -> Result<Work<'a>, Refusal> {
    let Body { auth: Auth { id_token, scope } } = asked.body()?;
    let called = asked.request.header(X_IDP_ID).ok_or_else(|| asked.denied(Denied::InvalidBody))?;
    let providers = &asked.state.identity.identity_providers;
    let provider = providers.iter().find(|provider| provider.id == called);
    let provider =
        provider.ok_or_else(|| asked.denied(Denied::Unknown("identity_provider", called.to_owned())))?;
    let claims = believe(asked, &id_token.id, provider)?;
    let granted = grant(asked, scope, DOMAIN)?;
    Ok(Box::pin(async move {
        let (secret, expires) = asked.make_token(granted.scope.clone());
        let mut token = json!({
            "expires_at": written(expires),
            "issued_at": written(asked.now),
            "methods": ["mapped"],
            "user": {
                "OS-FEDERATION": {
                    "groups": [],
                    "identity_provider": { "id": provider.id },
                    "protocol": { "id": "oidc" },
                },
                "domain": domain_of(DOMAIN),
                "id": id_of(&claims.sub),
                "name": claims.sub,
            },
        });
        granted.describe(&mut token);
        Answer::json(StatusCode::CREATED, &json!({ "token": token })).with(X_SUBJECT_TOKEN, secret)
    }))
}

/// The claims of an id token, if the token is valid and its bearer is allowed.
pub(super) fn believe(
    asked: &Asked<'_>,
    token: &str,
    provider: &IdentityProvider,
) -> Result<Claims, Refusal> {
    let claims = id_token::check(token, provider.expected(), asked.now).map_err(|flaw| {
        // Log the reason for the person who runs the emulator. The caller does not get it.
        tracing::info!(provider = provider.id, %flaw, "refused an id token");
        asked.state.stats.failed_authentication();
        asked.denied(Denied::IdToken)
    })?;
    asked.admit(&provider.subjects, claims)
}

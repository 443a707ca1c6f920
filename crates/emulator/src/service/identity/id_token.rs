//! `POST /v3.0/OS-AUTH/id-token/tokens` and `POST /v3/OS-FEDERATION/…/auth`: exchange an id token of an external identity provider for a token.

use functiongraph::sign::AUTHORIZATION;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::config::IdentityProvider;
use crate::id_token::{self, Claims};
use crate::refusal::{Denied, Refusal};

use super::scope::{Wanted, domain_of, grant};
use super::{Asked, DOMAIN, Work, id_of};

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
    let provider = provider(asked, called)?;
    let claims = believe(asked, &id_token.id, provider)?;
    let granted = grant(asked, scope, DOMAIN)?;
    Ok(Box::pin(async move { asked.issue_token(granted, bearer(provider, &claims)) }))
}

/// `POST /v3/OS-FEDERATION/…/auth`: exchanges an id token in `Authorization` for an unscoped token.
pub(super) fn federate<'a>(asked: &'a Asked<'_>) -> Result<Work<'a>, Refusal> {
    let provider = provider(asked, asked.route.parameter("idp_id").unwrap_or_default())?;
    let token = asked.request.header(AUTHORIZATION).and_then(|header| header.strip_prefix("Bearer "));
    let token = token.ok_or_else(|| asked.unauthenticated())?;
    let claims = believe(asked, token, provider)?;
    let granted = grant(asked, None, DOMAIN)?;
    Ok(Box::pin(async move { asked.issue_token(granted, bearer(provider, &claims)) }))
}

/// The provider with this id.
fn provider<'a>(asked: &'a Asked<'_>, id: &str) -> Result<&'a IdentityProvider, Refusal> {
    let mut providers = asked.state.identity.identity_providers.iter();
    let found = providers.find(|provider| provider.id == id);
    found.ok_or_else(|| asked.denied(Denied::Unknown("identity_provider", id.to_owned())))
}

/// The bearer of an id token, as IAM describes them.
fn bearer(provider: &IdentityProvider, claims: &Claims) -> Value {
    json!({
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
    })
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

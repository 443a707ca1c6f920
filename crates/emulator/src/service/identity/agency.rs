//! `POST /v5/agencies/assume-with-oidc`: exchanges an id token for a temporary key of an agency.

use std::time::Duration;

use http::StatusCode;
use serde::Deserialize;
use serde_json::json;

use crate::answer::Answer;
use crate::refusal::{Denied, Refusal};

use super::id_token::believe;
use super::{Asked, Work, id_of, sts_credentials};

/// Default lifetime, in seconds.
const DEFAULT_SECONDS: u64 = 3600;

/// Allowed lifetimes, in seconds.
const SECONDS: std::ops::RangeInclusive<u64> = 900..=43_200;

/// Allowed lengths of a session name, in characters.
const SESSION_NAME: std::ops::RangeInclusive<usize> = 2..=128;

/// The policies of a session are accepted and ignored.
#[derive(Deserialize)]
struct Body {
    provider_urn: String,
    agency_urn: String,
    agency_session_name: String,
    id_token: String,
    duration_seconds: Option<u64>,
}

pub(super) fn plan<'a>(asked: &'a Asked<'_>) -> Result<Work<'a>, Refusal> {
    let Body { provider_urn, agency_urn, agency_session_name: session, id_token, duration_seconds } =
        asked.body()?;
    let seconds = duration_seconds.unwrap_or(DEFAULT_SECONDS);
    if !SECONDS.contains(&seconds) {
        return Err(asked.denied(Denied::InvalidParameter("duration_seconds")));
    }
    let odd = |c: char| !c.is_ascii_alphanumeric() && !"_+=,.@-".contains(c);
    if !SESSION_NAME.contains(&session.len()) || session.contains(odd) {
        return Err(asked.denied(Denied::InvalidParameter("agency_session_name")));
    }
    let identity = &asked.state.identity;
    let provider = identity.identity_providers.iter().find(|provider| provider.urn() == provider_urn);
    let provider =
        provider.ok_or_else(|| asked.denied(Denied::Unknown("identity_provider", provider_urn.clone())))?;
    let agency = identity.agencies.iter().find(|agency| agency.urn == agency_urn);
    let agency = agency.ok_or_else(|| asked.denied(Denied::UnknownAgency(agency_urn)))?;
    let claims = believe(asked, &id_token, provider)?;
    let claims = asked.admit(&agency.subjects, claims)?;
    Ok(Box::pin(async move {
        let (key, expires) = asked.make_key(Duration::from_secs(seconds));
        let name = agency.urn.rsplit(':').next().unwrap_or_default();
        let body = json!({
            "assumed_agency": {
                "id": format!("{}:{session}", id_of(&agency.urn)),
                "urn": format!("sts::emulator::assumed-agency:{name}/{session}"),
            },
            "audience": claims.aud.first(),
            "credentials": sts_credentials(&key, expires),
            "provider": provider_urn,
            "subject_from_id_token": claims.sub,
        });
        Answer::json(StatusCode::OK, &body)
    }))
}

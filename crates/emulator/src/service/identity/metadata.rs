//! The metadata of a virtual machine: `PUT /meta-data/latest/api/token`, and `GET /openstack/latest/securitykey` with
//! the temporary key of the machine's agency.

use std::time::Duration;

use http::StatusCode;
use serde_json::json;

use crate::answer::Answer;
use crate::config::{Metadata, MetadataTokens};
use crate::refusal::{Denied, Refusal};

use super::{Asked, Work, iam_credential};

const TTL: &str = "x-metadata-token-ttl-seconds";

const TOKEN: &str = "x-metadata-token";

/// Allowed lifetimes of a session token, in seconds. The official SDKs ask for the maximum.
const SECONDS: std::ops::RangeInclusive<u64> = 1..=21_600;

/// Issues a session token for the metadata.
pub(super) fn token<'a>(asked: &'a Asked<'_>) -> Result<Work<'a>, Refusal> {
    if metadata(asked)?.tokens == MetadataTokens::Unsupported {
        return Err(asked.denied(Denied::NotHere));
    }
    let seconds = asked.request.header(TTL).and_then(|text| text.parse().ok());
    let seconds = seconds.filter(|seconds| SECONDS.contains(seconds));
    let seconds = seconds.ok_or_else(|| asked.denied(Denied::InvalidParameter("ttl")))?;
    Ok(Box::pin(async move {
        asked.state.stats.issued(asked.api.into());
        let life = Duration::from_secs(seconds);
        Answer::raw(StatusCode::OK, Some("text/plain"), asked.state.auth.issued.session(life, asked.now))
    }))
}

/// Issues a temporary key to every caller who can reach the metadata.
pub(super) fn key<'a>(asked: &'a Asked<'_>) -> Result<Work<'a>, Refusal> {
    let needed = metadata(asked)?.tokens == MetadataTokens::Required;
    let good = |token: &str| asked.state.auth.issued.is_session(token, asked.now);
    if !asked.request.header(TOKEN).map_or(!needed, good) {
        return Err(asked.unauthenticated());
    }
    Ok(Box::pin(async move {
        let (key, expires) = asked.make_key(asked.state.identity.keys_lifetime);
        Answer::json(StatusCode::OK, &json!({ "credential": iam_credential(&key, expires) }))
    }))
}

fn metadata<'a>(asked: &'a Asked<'_>) -> Result<&'a Metadata, Refusal> {
    asked.state.identity.metadata.as_ref().ok_or_else(|| asked.denied(Denied::NotHere))
}

//! Pod identity of CCE: exchanges the content of the mounted file for a temporary key.

use http::{StatusCode, header};
use serde_json::{Map, Value};

use crate::answer::Answer;
use crate::refusal::{Denied, Refusal};

use super::{Asked, Work, sts_credentials};

pub(super) fn plan<'a>(asked: &'a Asked<'_>) -> Result<Work<'a>, Refusal> {
    let pod = asked.state.identity.pod_identity.as_ref().ok_or_else(|| asked.denied(Denied::NotHere))?;
    if asked.request.header(header::AUTHORIZATION.as_str()) != Some(&pod.authorization) {
        return Err(asked.unauthenticated());
    }
    let _: Map<String, Value> = asked.body()?;
    Ok(Box::pin(async move {
        let (key, expires) = asked.make_key(asked.state.identity.keys_lifetime);
        Answer::json(StatusCode::OK, &serde_json::json!({ "credentials": sts_credentials(&key, expires) }))
    }))
}

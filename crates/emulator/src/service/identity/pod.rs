//! Pod identity of CCE: the temporary key of a pod, for the content of the file that is mounted into it.

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

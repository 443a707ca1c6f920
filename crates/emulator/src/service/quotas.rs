//! `GET …/quotas`: the limits of a project, and their use.

use http::StatusCode;
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::refusal::Refusal;
use crate::service::{Call, Work, done};

/// The quotas of the documented example; code sizes are in MB.
const QUOTAS: [(&str, u64); 6] = [
    ("fgs_func_scale_down_timeout", 60),
    (RESERVED, 100),
    ("fgs_func_pat_idle_time", 100),
    (FUNCTIONS, 100),
    (CODE_SIZE, 10_240),
    ("fgs_workflow_num", 512),
];

/// Reserved instances.
const RESERVED: &str = "fgs_func_occurs";

/// Functions.
const FUNCTIONS: &str = "fgs_func_num";

/// Total size of the code.
const CODE_SIZE: &str = "fgs_func_code_size";

/// All quotas.
pub(super) fn list<'a>(call: &'a Call<'_>) -> Result<Work<'a>, Refusal> {
    call.project()?;
    let resource = |(kind, quota): (&str, u64)| {
        let mut resource = json!({ "type": kind, "quota": quota, "used": used(call, kind) });
        if kind == CODE_SIZE {
            resource["unit"] = "MB".into();
        }
        resource
    };
    let resources: Vec<Value> = QUOTAS.into_iter().map(resource).collect();
    Ok(done(Answer::json(StatusCode::OK, &json!({ "quotas": { "resources": resources } }))))
}

/// The used amount of a quota.
fn used(call: &Call<'_>, kind: &str) -> u64 {
    match kind {
        RESERVED => {
            call.state.reserved.list(None).iter().map(|(_, reserved)| u64::from(reserved.count)).sum()
        }
        FUNCTIONS => call.state.functions.list().len() as u64,
        _ => 0,
    }
}

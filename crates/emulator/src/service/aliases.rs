//! `GET …/aliases` and `…/aliases/{alias_name}`: aliases and the versions that they point to.

use http::StatusCode;
use serde_json::{Value, json};

use crate::answer::{Answer, zoned};
use crate::functions::Target;
use crate::refusal::Refusal;
use crate::service::{Call, Work, done};

/// All aliases of a function, without pages.
pub(super) fn list<'a>(call: &'a Call<'_>) -> Result<Work<'a>, Refusal> {
    let target = call.target()?;
    let aliases =
        target.function.aliases.iter().map(|(alias, version)| written(call, target, alias, version));
    Ok(done(Answer::json(StatusCode::OK, &Value::Array(aliases.collect()))))
}

/// The alias in the path.
pub(super) fn show<'a>(call: &'a Call<'_>) -> Result<Work<'a>, Refusal> {
    let target = call.target()?;
    let alias = call.route.alias.as_deref().unwrap_or_default();
    let version = target.function.aliases.get(alias).ok_or(Refusal::UnknownAlias)?;
    Ok(done(Answer::json(StatusCode::OK, &written(call, target, alias, version))))
}

fn written(call: &Call<'_>, target: &Target, alias: &str, version: &str) -> Value {
    json!({
        "name": alias,
        "version": version,
        "description": "",
        "alias_urn": call.state.functions.urn_of(&target.function, &format!("!{alias}")),
        "last_modified": zoned(target.modified),
    })
}

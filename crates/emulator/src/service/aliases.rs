//! `…/aliases`, `…/aliases/{alias_name}` and `POST …/versions`: aliases, and the versions that they point to.

use functiongraph::urn::Qualifier;
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::answer::{Answer, zoned};
use crate::config::Function;
use crate::functions::{LATEST, Target};
use crate::refusal::Refusal;
use crate::service::{Call, Work, done, metadata};

/// An alias, or the changes of one.
#[derive(Deserialize)]
struct Alias {
    name: Option<String>,
    version: String,
    description: Option<String>,
}

/// A version that is published.
#[derive(Deserialize)]
struct Version {
    version: Option<String>,
}

/// All aliases of a function, without pages.
pub(super) fn list<'a>(call: &'a Call<'_>) -> Result<Work<'a>, Refusal> {
    let target = call.target()?;
    let aliases = target.function.aliases.keys().map(|alias| written(call, target, alias));
    Ok(done(Answer::json(StatusCode::OK, &Value::Array(aliases.collect()))))
}

/// The alias in the path.
pub(super) fn show<'a>(call: &'a Call<'_>) -> Result<Work<'a>, Refusal> {
    let (target, alias) = known(call)?;
    Ok(done(Answer::json(StatusCode::OK, &written(call, target, alias))))
}

/// `POST …/aliases`: a new alias.
pub(super) fn create<'a>(call: &'a Call<'_>) -> Result<Work<'a>, Refusal> {
    call.target()?;
    let alias: Alias = call.object()?;
    let name = alias.name.clone().ok_or(Refusal::InvalidParameter)?;
    match format!("!{name}").parse::<Qualifier>() {
        Ok(Qualifier::Alias(_)) => {}
        _ => return Err(Refusal::InvalidParameter),
    }
    set(call, name, alias, false)
}

/// `PUT …/aliases/{alias_name}`: another version or description.
pub(super) fn update<'a>(call: &'a Call<'_>) -> Result<Work<'a>, Refusal> {
    let (_, name) = known(call)?;
    set(call, name.to_owned(), call.object()?, true)
}

/// `DELETE …/aliases/{alias_name}`.
pub(super) fn delete<'a>(call: &'a Call<'_>) -> Result<Work<'a>, Refusal> {
    let (_, name) = known(call)?;
    let change = |function: &mut Function, _: &mut _| match function.aliases.remove(name) {
        Some(_) => Ok(()),
        None => Err(Refusal::UnknownAlias),
    };
    call.edit(change, |_| Answer::no_content())
}

/// `POST …/versions`: publishes a version. Without a name it is named after the time.
pub(super) fn publish<'a>(call: &'a Call<'_>) -> Result<Work<'a>, Refusal> {
    call.target()?;
    let Version { version } = call.object()?;
    let version = version.filter(|version| !version.is_empty());
    let version = version.unwrap_or_else(|| call.now.strftime("v%Y%m%d-%H%M%S").to_string());
    if version == LATEST || !matches!(version.parse::<Qualifier>(), Ok(Qualifier::Version(_))) {
        return Err(Refusal::InvalidParameter);
    }
    let new = version.clone();
    let change = move |function: &mut Function, _: &mut _| {
        if function.versions.contains(&new) {
            return Err(Refusal::Exists);
        }
        function.versions.push(new.clone());
        Ok(())
    };
    call.edit(change, move |target| Answer::json(StatusCode::OK, &metadata::of(call, target, &version)))
}

/// The function and the alias in the path.
fn known<'a>(call: &'a Call<'_>) -> Result<(&'a Target, &'a str), Refusal> {
    let target = call.target()?;
    let alias = call.route.parameter("alias_name").unwrap_or_default();
    let known = target.function.aliases.contains_key(alias);
    if known { Ok((target, alias)) } else { Err(Refusal::UnknownAlias) }
}

/// Lets an alias, that `exists` or not yet, point to a version that exists.
fn set<'a>(call: &'a Call<'_>, name: String, alias: Alias, exists: bool) -> Result<Work<'a>, Refusal> {
    let Alias { name: _, version, description } = alias;
    let alias = name.clone();
    let change = move |function: &mut Function, attributes: &mut Map<String, Value>| {
        match (function.aliases.contains_key(&alias), exists) {
            (true, false) => return Err(Refusal::Exists),
            (false, true) => return Err(Refusal::UnknownAlias),
            (true, true) | (false, false) => {}
        }
        if version != LATEST && !function.versions.contains(&version) {
            return Err(Refusal::UnknownVersion);
        }
        function.aliases.insert(alias.clone(), version.clone());
        if let Some(description) = &description {
            attributes.insert(description_key(&alias), description.clone().into());
        }
        Ok(())
    };
    call.edit(change, move |target| Answer::json(StatusCode::OK, &written(call, target, &name)))
}

/// Under which an alias's description is kept among the attributes of its function. No field of the API has a colon.
fn description_key(alias: &str) -> String {
    format!("alias:{alias}")
}

fn written(call: &Call<'_>, target: &Target, alias: &str) -> Value {
    let description = target.attributes.get(&description_key(alias)).and_then(Value::as_str);
    json!({
        "name": alias,
        "version": target.function.aliases.get(alias),
        "description": description.unwrap_or_default(),
        "alias_urn": call.state.functions.urn_of(&target.function, &format!("!{alias}")),
        "last_modified": zoned(target.modified),
    })
}

//! `GET /v3/projects`, `/v3/auth/projects`, `/v3/projects/{project_id}` and `/v3/auth/domains`: projects and accounts.

use std::collections::BTreeSet;

use http::StatusCode;
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::config::Project;
use crate::refusal::{Denied, Refusal};

use super::{Asked, DOMAIN, id_of};

/// All projects, or those with one name.
pub(super) fn list(asked: &Asked<'_>) -> Result<Answer, Refusal> {
    asked.caller()?;
    let projects = asked.state.identity.projects.iter();
    let wanted = |project: &&Project| is_wanted(asked, &project.name);
    let projects: Vec<Value> = projects.filter(wanted).map(describe).collect();
    Ok(Answer::json(StatusCode::OK, &json!({ "links": links(&asked.request.path), "projects": projects })))
}

/// One project.
pub(super) fn show(asked: &Asked<'_>) -> Result<Answer, Refusal> {
    asked.caller()?;
    let id = asked.route.project_id();
    let found = asked.state.identity.projects.iter().find(|project| project.id == id);
    let found = found.ok_or_else(|| asked.denied(Denied::Unknown("project", id.to_owned())))?;
    Ok(Answer::json(StatusCode::OK, &json!({ "project": describe(found) })))
}

/// All accounts, or the one with a name: those of the users, and that of the projects.
pub(super) fn domains(asked: &Asked<'_>) -> Result<Answer, Refusal> {
    asked.caller()?;
    let users = asked.state.identity.users.iter().map(|user| user.domain.as_str());
    let names: BTreeSet<&str> = users.chain([DOMAIN]).filter(|name| is_wanted(asked, name)).collect();
    let domain = |name: &str| {
        let id = id_of(name);
        let links = links(&format!("/v3/domains/{id}"));
        json!({ "description": "", "enabled": true, "id": id, "links": links, "name": name })
    };
    let domains: Vec<Value> = names.into_iter().map(domain).collect();
    Ok(Answer::json(StatusCode::OK, &json!({ "domains": domains, "links": links(&asked.request.path) })))
}

/// Whether the query names this object, or none.
fn is_wanted(asked: &Asked<'_>, name: &str) -> bool {
    asked.request.parameter("name").is_none_or(|wanted| wanted == name)
}

fn describe(project: &Project) -> Value {
    let Project { id, name } = project;
    json!({
        "description": "",
        "domain_id": id_of(DOMAIN),
        "enabled": true,
        "id": id,
        "is_domain": false,
        "links": links(&format!("/v3/projects/{id}")),
        "name": name,
        "parent_id": id_of(DOMAIN),
    })
}

fn links(own: &str) -> Value {
    json!({ "next": null, "previous": null, "self": own })
}

//! `GET /v3/projects`: all projects, or those with one name.

use http::StatusCode;
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::config::Project;
use crate::refusal::Refusal;

use super::{Asked, DOMAIN, id_of};

pub(super) fn answer(asked: &Asked<'_>) -> Result<Answer, Refusal> {
    let Asked { state, request, now, .. } = asked;
    state.auth.check(request, *now).map_err(|_| asked.unauthenticated())?;
    let name = request.parameter("name");
    let wanted = |project: &&Project| name.is_none_or(|name| name == project.name);
    let projects: Vec<Value> = state.identity.projects.iter().filter(wanted).map(describe).collect();
    let links = json!({ "next": null, "previous": null, "self": "/v3/projects" });
    Ok(Answer::json(StatusCode::OK, &json!({ "links": links, "projects": projects })))
}

fn describe(project: &Project) -> Value {
    let Project { id, name } = project;
    let links = json!({ "next": null, "previous": null, "self": format!("/v3/projects/{id}") });
    json!({
        "description": "",
        "domain_id": id_of(DOMAIN),
        "enabled": true,
        "id": id,
        "is_domain": false,
        "links": links,
        "name": name,
        "parent_id": id_of(DOMAIN),
    })
}

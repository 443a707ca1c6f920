//! `GET /`, `GET /v3` and `GET /v3/auth/catalog`: the versions of the identity service, and the addresses of the services.
//! Every address is the emulator's own, as the caller knows it.

use http::StatusCode;
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::issued::Scope;
use crate::refusal::Refusal;

use super::{Asked, id_of};

/// Types and names of the services. Clients for Open Telekom Cloud take the address of the block storage service
/// (`volumev2`) and exchange the name of the service in it, so it is here too.
const FUNCTION_SERVICES: [(&str, &str); 3] =
    [("functiongraph", "functiongraph"), ("functiongraphv2", "functiongraph"), ("volumev2", "evs")];

/// All versions.
pub(super) fn versions(asked: &Asked<'_>) -> Answer {
    let body = json!({ "versions": { "values": [v3(asked)] } });
    Answer::json(StatusCode::MULTIPLE_CHOICES, &body)
}

/// Version 3.
pub(super) fn version(asked: &Asked<'_>) -> Answer {
    Answer::json(StatusCode::OK, &json!({ "version": v3(asked) }))
}

fn v3(asked: &Asked<'_>) -> Value {
    json!({
        "id": "v3.6",
        "status": "stable",
        "updated": "2016-04-04T00:00:00Z",
        "links": [{ "rel": "self", "href": format!("{}/v3/", asked.request.base_url()) }],
        "media-types": [{ "base": "application/json", "type": "application/vnd.openstack.identity-v3+json" }],
    })
}

/// The catalog for the project of the caller's token; for a key, for the emulator's own project.
pub(super) fn list(asked: &Asked<'_>) -> Result<Answer, Refusal> {
    let project = match asked.caller()? {
        Scope::Project(id) => Some(id),
        Scope::All => asked.state.identity.projects.first().map(|project| project.id.clone()),
        Scope::None => None,
    };
    let entries = project.map_or_else(|| json!([]), |project| of(asked, &project));
    let links = json!({ "next": null, "previous": null, "self": "/v3/auth/catalog" });
    Ok(Answer::json(StatusCode::OK, &json!({ "catalog": entries, "links": links })))
}

/// The catalog for a project.
pub(super) fn of(asked: &Asked<'_>, project_id: &str) -> Value {
    let base = asked.request.base_url();
    let region = asked.state.functions.region();
    let entry = |kind: &str, name: &str, url: String| {
        let endpoint = json!({
            "id": id_of(&format!("{kind}/public")),
            "interface": "public",
            "region": region,
            "region_id": region,
            "url": url,
        });
        json!({ "id": id_of(kind), "type": kind, "name": name, "endpoints": [endpoint] })
    };
    let functions =
        FUNCTION_SERVICES.map(|(kind, name)| entry(kind, name, format!("{base}/v2/{project_id}")));
    let identity = entry("identity", "iam", format!("{base}/v3"));
    functions.into_iter().chain([identity]).collect()
}

//! The requested scope of a token.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::config::Project;
use crate::issued::Scope;
use crate::refusal::{Denied, Refusal};

use super::{Asked, id_of};

/// `scope` of a token request. A project takes precedence over a domain.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Wanted {
    project: Option<Named>,
    domain: Option<Named>,
}

/// An object by its id or its name.
#[derive(Debug, Deserialize)]
pub(super) struct Named {
    pub(super) id: Option<String>,
    pub(super) name: Option<String>,
}

/// The scope of a token, and its description in the answer.
#[derive(Debug, PartialEq)]
pub(super) struct Granted {
    pub(super) scope: Scope,
    /// Key and value in the description of the token.
    entry: Option<(&'static str, Value)>,
}

impl Granted {
    /// For one project of an account.
    pub(super) fn project(project: &Project, domain: &str) -> Self {
        let Project { id, name } = project;
        let entry = json!({ "id": id, "name": name, "domain": domain_of(domain) });
        Self { scope: Scope::Project(id.clone()), entry: Some(("project", entry)) }
    }

    /// Adds the scope to the description of a token.
    pub(super) fn describe(self, token: &mut Value) {
        if let Some((key, value)) = self.entry {
            token[key] = value;
            token["roles"] = json!([{ "id": "0", "name": "te_admin" }]);
        }
    }
}

/// Finds the requested scope; without one the token is unscoped.
pub(super) fn grant(asked: &Asked<'_>, wanted: Option<Wanted>, domain: &str) -> Result<Granted, Refusal> {
    let Wanted { project: wanted, domain: whole } = wanted.unwrap_or_default();
    if let Some(wanted) = wanted {
        return Ok(Granted::project(project(asked, &wanted)?, domain));
    }
    let entry = whole.map(|_| ("domain", domain_of(domain)));
    Ok(Granted { scope: Scope::None, entry })
}

/// The first project with this name.
fn project<'a>(asked: &'a Asked<'_>, wanted: &Named) -> Result<&'a Project, Refusal> {
    let Named { id, name } = wanted;
    if id.is_none() && name.is_none() {
        return Err(asked.denied(Denied::InvalidBody));
    }
    let same = |wanted: &Option<String>, have: &str| wanted.as_deref().is_none_or(|wanted| wanted == have);
    let mut projects = asked.state.identity.projects.iter();
    let found = projects.find(|project| same(id, &project.id) && same(name, &project.name));
    let called = id.as_ref().or(name.as_ref());
    found.ok_or_else(|| asked.denied(Denied::Unknown("project", called.cloned().unwrap_or_default())))
}

/// A domain, in the format of answers.
pub(super) fn domain_of(name: &str) -> Value {
    json!({ "id": id_of(name), "name": name })
}

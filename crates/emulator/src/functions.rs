//! The existing functions, and the function that a caller means.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use functiongraph::urn::{DEFAULT_PACKAGE, FunctionUrn, Qualifier, UrnError};
use jiff::Timestamp;
use parking_lot::RwLock;
use serde_json::{Map, Value};

use crate::api::Route;
use crate::clock;
use crate::config::{Config, Function};
use crate::refusal::Refusal;

/// The version that every function has.
pub(crate) const LATEST: &str = "latest";

/// A function that was found.
#[derive(Debug)]
pub(crate) struct Target {
    /// Its full URN, with the qualifier of the call.
    pub(crate) urn: FunctionUrn,
    pub(crate) function: Arc<Function>,
    /// Fields of the API that have no effect here, as they were last set.
    pub(crate) attributes: Arc<Map<String, Value>>,
    /// When the function was last declared or changed.
    pub(crate) modified: Timestamp,
}

/// A function that exists.
#[derive(Debug)]
struct Known {
    function: Arc<Function>,
    attributes: Arc<Map<String, Value>>,
    modified: Timestamp,
}

/// The functions of the one project in the one region.
#[derive(Debug)]
pub(crate) struct Functions {
    region: String,
    project_id: String,
    /// By `package:name`.
    all: RwLock<BTreeMap<String, Known>>,
}

impl Target {
    /// The called version: an alias becomes its version.
    pub(crate) fn version(&self) -> &str {
        match self.urn.qualifier() {
            Qualifier::Latest => LATEST,
            Qualifier::Version(version) => version,
            Qualifier::Alias(alias) => self.function.aliases.get(alias).map_or(&**alias, String::as_str),
        }
    }
}

impl Known {
    fn now(function: Function, attributes: Map<String, Value>) -> Self {
        Self { function: Arc::new(function), attributes: Arc::new(attributes), modified: clock::now() }
    }
}

impl Functions {
    pub(crate) fn new(config: &Config) -> Self {
        let all = config
            .functions
            .iter()
            .map(|function| (function.key(), Known::now(function.clone(), Map::new())));
        Self {
            region: config.region.clone(),
            project_id: config.project_id.clone(),
            all: RwLock::new(all.collect()),
        }
    }

    pub(crate) fn list(&self) -> Vec<Arc<Function>> {
        self.all.read().values().map(|known| Arc::clone(&known.function)).collect()
    }

    /// All functions, in the version `latest`.
    pub(crate) fn targets(&self) -> Vec<Target> {
        self.all.read().values().filter_map(|known| self.latest(known)).collect()
    }

    /// Adds or replaces the function with this key by what `change` makes of it. No other change comes in between.
    pub(crate) fn put<E>(
        &self,
        key: &str,
        change: impl FnOnce(Option<&Function>) -> Result<Function, E>,
    ) -> Result<Arc<Function>, E> {
        let mut all = self.all.write();
        let known = all.get(key);
        let function = change(known.map(|known| &*known.function))?;
        let attributes = known.map(|known| Map::clone(&known.attributes)).unwrap_or_default();
        let known = Known::now(function, attributes);
        let function = Arc::clone(&known.function);
        all.insert(key.to_owned(), known);
        Ok(function)
    }

    /// Adds a function that does not exist; none if it does.
    pub(crate) fn create(&self, function: Function, attributes: Map<String, Value>) -> Option<Target> {
        match self.all.write().entry(function.key()) {
            Entry::Occupied(_) => None,
            Entry::Vacant(entry) => self.latest(entry.insert(Known::now(function, attributes))),
        }
    }

    /// Changes a function and its attributes. No other change comes in between.
    pub(crate) fn edit(
        &self,
        key: &str,
        change: impl FnOnce(&mut Function, &mut Map<String, Value>) -> Result<(), Refusal>,
    ) -> Result<Target, Refusal> {
        let mut all = self.all.write();
        let known = all.get_mut(key).ok_or(Refusal::UnknownFunction)?;
        let mut function = Function::clone(&known.function);
        let mut attributes = Map::clone(&known.attributes);
        change(&mut function, &mut attributes)?;
        *known = Known::now(function, attributes);
        self.latest(known).ok_or(Refusal::UnknownFunction)
    }

    /// Replaces all functions by those of the configuration.
    pub(crate) fn reset(&self, config: &Config) {
        *self.all.write() = Self::new(config).all.into_inner();
    }

    /// Removes the function with this key.
    pub(crate) fn remove(&self, key: &str) -> Option<Arc<Function>> {
        self.all.write().remove(key).map(|known| known.function)
    }

    fn latest(&self, known: &Known) -> Option<Target> {
        let Known { function, attributes, modified } = known;
        let urn = self.urn_of(function, LATEST).parse().ok()?;
        let (function, attributes) = (Arc::clone(function), Arc::clone(attributes));
        Some(Target { urn, function, attributes, modified: *modified })
    }

    pub(crate) fn region(&self) -> &str {
        &self.region
    }

    pub(crate) fn project_id(&self) -> &str {
        &self.project_id
    }

    /// The URN of a function with any qualifier, such as `latest` or `!prod`.
    pub(crate) fn urn_of(&self, function: &Function, qualifier: &str) -> String {
        let Self { region, project_id, .. } = self;
        format!("urn:fss:{region}:{project_id}:function:{}:{qualifier}", function.key())
    }

    /// Finds a function by `name` (of the default package) or `package:name`.
    pub(crate) fn get(&self, name: &str) -> Option<Arc<Function>> {
        self.all.read().get(&full_name(name)).map(|known| Arc::clone(&known.function))
    }

    /// Switches a function off or on; false if there is no such function.
    pub(crate) fn set_disabled(&self, name: &str, disabled: bool) -> bool {
        match self.all.write().get_mut(&full_name(name)) {
            Some(known) => {
                Arc::make_mut(&mut known.function).disabled = disabled;
                known.modified = clock::now();
                true
            }
            None => false,
        }
    }

    /// The function in a path; none if the call is for the whole project.
    pub(crate) fn resolve(&self, route: &Route) -> Result<Option<Target>, Refusal> {
        let urn = route.function().map(|function| self.urn(function)).transpose()?;
        if route.project_id() != self.project_id {
            return Err(Refusal::OtherProject);
        }
        urn.map(|urn| self.find(urn)).transpose()
    }

    /// The function with a URN.
    pub(crate) fn find(&self, urn: FunctionUrn) -> Result<Target, Refusal> {
        if urn.project_id() != self.project_id {
            return Err(Refusal::OtherProject);
        }
        if urn.region() != self.region {
            return Err(Refusal::UnknownFunction);
        }
        let all = self.all.read();
        let found = all.get(&format!("{}:{}", urn.package(), urn.name()));
        let Known { function, attributes, modified } =
            found.ok_or_else(|| Refusal::UnknownName(urn.name().to_owned()))?;
        match urn.qualifier() {
            Qualifier::Version(version) if !function.versions.contains(version) => {
                Err(Refusal::UnknownVersion)
            }
            Qualifier::Alias(alias) if !function.aliases.contains_key(alias) => Err(Refusal::UnknownAlias),
            _ => {
                let (function, attributes) = (Arc::clone(function), Arc::clone(attributes));
                Ok(Target { urn, function, attributes, modified: *modified })
            }
        }
    }

    /// Completes a URN or one of its short forms with the emulator's region and, if missing, its project.
    pub(crate) fn urn(&self, text: &str) -> Result<FunctionUrn, Refusal> {
        let new = |project_id: &str, package: &str, name: &str, qualifier: &str| {
            FunctionUrn::new(&self.region, project_id, package, name, qualifier.parse()?)
        };
        let fields: Vec<&str> = text.split(':').collect();
        let urn: Result<_, UrnError> = match *fields.as_slice() {
            // A single invalid name means an unknown function, not a malformed URN: clients that forget to fill in
            // their template send `{function_urn}`.
            [name] => {
                return new(&self.project_id, DEFAULT_PACKAGE, name, LATEST)
                    .map_err(|_| Refusal::UnknownFunction);
            }
            [package, name] => new(&self.project_id, package, name, LATEST),
            [project_id, package, name] => new(project_id, package, name, LATEST),
            [project_id, package, name, qualifier] => new(project_id, package, name, qualifier),
            _ => text.parse(),
        };
        urn.map_err(|_| Refusal::InvalidUrn)
    }
}

/// The key of a function by `name` (of the default package) or `package:name`.
pub(crate) fn full_name(name: &str) -> String {
    if name.contains(':') { name.to_owned() } else { format!("{DEFAULT_PACKAGE}:{name}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Api;

    fn functions() -> Functions {
        let mut f = Function::named("f");
        f.versions = vec!["v1".into()];
        f.aliases.insert("prod".into(), "v1".into());
        let mut other = Function::named("g");
        other.package = "other".into();
        let (region, project_id) = ("r".into(), "p".into());
        Functions::new(&Config { region, project_id, functions: vec![f, other], ..Config::default() })
    }

    fn resolve(function: &str) -> Result<String, Refusal> {
        functions().resolve(&route("p", Some(function))).map(|target| target.unwrap().urn.to_string())
    }

    fn route(project_id: &str, function: Option<&str>) -> Route {
        let parameters = [Some(("project_id", project_id)), function.map(|urn| ("function_urn", urn))];
        Route::new(Api::InvokeAsync, &parameters.into_iter().flatten().collect::<Vec<_>>())
    }

    #[test]
    fn every_documented_form_names_the_function() {
        let latest = "urn:fss:r:p:function:default:f:latest";
        for form in ["f", "default:f", "p:default:f", "urn:fss:r:p:function:default:f", latest] {
            assert_eq!(resolve(form).as_deref(), Ok(latest), "{form}");
        }
        assert_eq!(resolve("p:default:f:v1").unwrap(), "urn:fss:r:p:function:default:f:v1");
        assert_eq!(resolve("p:default:f:!prod").unwrap(), "urn:fss:r:p:function:default:f:!prod");
        assert_eq!(resolve("other:g").unwrap(), "urn:fss:r:p:function:other:g:latest");
    }

    #[test]
    fn the_refusal_names_the_missing_part() {
        assert_eq!(resolve("nope"), Err(Refusal::UnknownName("nope".into())));
        assert_eq!(resolve("g"), Err(Refusal::UnknownName("g".into())));
        assert_eq!(resolve("p:default:f:v2"), Err(Refusal::UnknownVersion));
        assert_eq!(resolve("p:default:f:!test"), Err(Refusal::UnknownAlias));
        assert_eq!(resolve("{function_urn}"), Err(Refusal::UnknownFunction));
        assert_eq!(resolve("urn:fss:elsewhere:p:function:default:f"), Err(Refusal::UnknownFunction));
        assert_eq!(resolve("urn:fss:r:p:function:default"), Err(Refusal::InvalidUrn));
        assert_eq!(resolve("q:default:f"), Err(Refusal::OtherProject));
    }

    #[test]
    fn another_project_in_the_path_is_refused() {
        for function in [Some("f"), None] {
            assert_eq!(functions().resolve(&route("q", function)).unwrap_err(), Refusal::OtherProject);
        }
        assert!(functions().resolve(&route("p", None)).unwrap().is_none());
    }

    #[test]
    fn a_function_is_switched_off_by_its_name() {
        let functions = functions();
        assert!(functions.set_disabled("f", true));
        assert!(functions.get("default:f").unwrap().disabled);
        assert!(functions.set_disabled("other:g", true));
        assert!(!functions.set_disabled("g", true));
    }
}

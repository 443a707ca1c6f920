//! The manifests of `examples/`: reads them, points their providers at the local FunctionGraph, and knows what
//! each invocation says about itself.

use super::{Deed, Plan};
use functiongraph_operator::api::{FunctionGraphProvider, FunctionInvocation};
use kube::Resource;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fs, io};

/// Where they are: everything that uses them runs from a checkout.
pub const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples");

/// Why they cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The folder or a file.
    #[error("cannot read {}", .path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Not YAML.
    #[error("{} is not YAML", .path.display())]
    Yaml {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: Box<serde_saphyr::Error>,
    },
}

/// All objects of the examples.
#[derive(Debug, Default, PartialEq)]
pub struct Manifests {
    /// What invocations stand on: Secrets, `ConfigMap`s, providers.
    pub foundations: Vec<Value>,
    /// The invocations.
    pub invocations: Vec<Value>,
    /// What becomes of each, by its name.
    pub plans: BTreeMap<String, Plan>,
}

impl Manifests {
    /// Reads every `.yaml` file of a folder.
    ///
    /// # Errors
    /// When a file cannot be read or is not YAML.
    pub fn read(folder: &Path) -> Result<Self, Error> {
        let read = |path: &Path| {
            let path = path.to_owned();
            |source| Error::Read { path, source }
        };
        let entries = fs::read_dir(folder).map_err(read(folder))?;
        let paths = entries.map(|entry| entry.map(|entry| entry.path()));
        let mut paths = paths.collect::<io::Result<Vec<_>>>().map_err(read(folder))?;
        paths.sort(); // as kubectl takes them
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
        let mut all = Self::default();
        for path in paths {
            let text = fs::read_to_string(&path).map_err(read(&path))?;
            all.add(&text).map_err(|error| Error::Yaml { path, source: Box::new(error) })?;
        }
        Ok(all)
    }

    fn add(&mut self, text: &str) -> Result<(), serde_saphyr::Error> {
        for object in serde_saphyr::from_multiple::<Value>(text)? {
            if object["kind"] != *FunctionInvocation::kind(&()) {
                self.foundations.push(object);
                continue;
            }
            if let (Some(plan), Some(name)) = (Plan::of(&object)?, object["metadata"]["name"].as_str()) {
                self.plans.insert(name.into(), plan);
            }
            self.invocations.push(object);
        }
        Ok(())
    }

    /// Makes the providers reach an endpoint other than their region's.
    pub fn point_at(&mut self, endpoint: &str, ca_bundle: &str) {
        let providers =
            self.foundations.iter_mut().filter(|object| object["kind"] == *FunctionGraphProvider::kind(&()));
        for provider in providers {
            provider["spec"]["endpoint"] = endpoint.into();
            provider["spec"]["caBundle"] = ca_bundle.into();
        }
    }

    /// What a person does to the invocations, by their names.
    pub fn deeds(&self) -> BTreeMap<String, Deed> {
        self.plans.iter().filter_map(|(name, plan)| Some((name.clone(), plan.deed.clone()?))).collect()
    }

    /// Leaves out the invocations with other plans than these.
    pub fn keep(&mut self, wanted: impl Fn(&Plan) -> bool) {
        self.plans.retain(|_, plan| wanted(plan));
        let plans = &self.plans;
        self.invocations.retain(|object| {
            object["metadata"]["name"].as_str().is_some_and(|name| plans.contains_key(name))
        });
    }
}

/// Objects as one text that kubectl can apply.
pub fn list<T: serde::Serialize>(objects: &[T]) -> String {
    json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_example_says_where_it_ends() {
        let manifests = Manifests::read(Path::new(FOLDER)).unwrap();
        assert!(!manifests.invocations.is_empty());
        assert_eq!(manifests.plans.len(), manifests.invocations.len());
    }

    #[test]
    fn what_is_slow_can_be_left_out() {
        let mut manifests = Manifests::default();
        for (name, slow) in [("fast", "false"), ("slow", "true")] {
            let notes =
                json!({"functiongraph.io/demo-expect": "Accepted", "functiongraph.io/demo-slow": slow});
            let metadata = json!({"name": name, "annotations": notes});
            manifests.add(&json!({"kind": "FunctionInvocation", "metadata": metadata}).to_string()).unwrap();
        }
        manifests.keep(|plan| !plan.slow);
        assert_eq!(manifests.invocations.len(), 1);
        assert_eq!(manifests.plans.keys().collect::<Vec<_>>(), ["fast"]);
    }

    #[test]
    fn every_provider_is_pointed_elsewhere_and_nothing_else() {
        let mut manifests = Manifests::default();
        manifests.add("{kind: FunctionGraphProvider}\n---\n{kind: Secret}").unwrap();
        manifests.point_at("https://localhost:1", "PEM");
        let spec = json!({"endpoint": "https://localhost:1", "caBundle": "PEM"});
        let expected = [json!({"kind": "FunctionGraphProvider", "spec": spec}), json!({"kind": "Secret"})];
        assert_eq!(manifests.foundations, expected);
    }
}

//! SECURITY.md is held to its word: each test that it names exists, each threat has one, and what it says of
//! definitions and builds is so.

#![expect(clippy::unwrap_used, reason = "a test stops at what must not happen")]

use functiongraph_operator::api;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray,
};
use kube::ResourceExt;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The numbers of the threats that there are sections on.
fn threats(text: &str) -> BTreeSet<u8> {
    let headings = text.lines().filter_map(|line| line.strip_prefix("### T")?.split(' ').next());
    headings.map(|number| number.parse().unwrap()).collect()
}

/// Strings without a longest length, and lists without a longest number, each with its reason.
const UNBOUNDED: [(&str, &str); 4] = [
    ("spec.payload", "any JSON object; the API server takes requests of 3 MiB at most"),
    ("spec.allowedNamespaces.selector.", "a label selector of Kubernetes' own type; platform teams write it"),
    ("status.result.summary", "numbers alone"),
    ("metadata", "the API server's own"),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files(folder: &Path, ending: &str, found: &mut Vec<PathBuf>) {
    for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if path.is_dir() && path.file_name().is_none_or(|name| name != "target") {
            files(&path, ending, found);
        } else if path.extension().is_some_and(|extension| extension == ending) {
            found.push(path);
        }
    }
}

/// The names of all tests that begin with the number of a threat.
fn tests() -> BTreeSet<String> {
    let mut paths = Vec::new();
    for folder in ["src", "tests", "crates"] {
        files(&root().join(folder), "rs", &mut paths);
    }
    let mut names = BTreeSet::new();
    for text in paths.iter().map(|path| fs::read_to_string(path).unwrap()) {
        for name in text.split("fn t").skip(1).map(|rest| format!("t{}", rest.split('(').next().unwrap())) {
            let is_numbered = name.get(1..3).is_some_and(|number| number.parse::<u8>().is_ok());
            if is_numbered && name.get(3..4) == Some("_") {
                names.insert(name);
            }
        }
    }
    names
}

#[test]
fn every_test_that_security_md_names_exists_and_every_threat_has_one() {
    let (text, tests) = (fs::read_to_string(root().join("SECURITY.md")).unwrap(), tests());
    let words = text.split(|c: char| !(c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'));
    let named: BTreeSet<&str> = words
        .filter(|word| {
            word.len() > 4
                && word.get(..4).is_some_and(|start| {
                    start.starts_with('t') && start.ends_with('_') && start[1..3].parse::<u8>().is_ok()
                })
        })
        .collect();
    for name in &named {
        assert!(tests.contains(*name), "SECURITY.md names {name}, and there is no such test");
    }
    let threats = threats(&text);
    assert!(
        (1..=15).all(|number| threats.contains(&number)),
        "SECURITY.md has sections on {threats:?} alone"
    );
    for number in threats {
        let start = format!("t{number:02}_");
        assert!(named.iter().any(|name| name.starts_with(&start)), "SECURITY.md names no test of T{number}");
    }
}

/// What in a schema has no bound.
fn unbounded(path: &str, schema: &JSONSchemaProps, found: &mut Vec<String>) {
    if UNBOUNDED.iter().any(|(allowed, _)| path.starts_with(allowed)) {
        return;
    }
    let is_bounded = match schema.type_.as_deref() {
        Some("string") => schema.max_length.is_some() || schema.enum_.is_some() || schema.format.is_some(),
        Some("array") => schema.max_items.is_some(),
        Some("object") => schema.additional_properties.is_none() || schema.max_properties.is_some(),
        _ => true,
    };
    if !is_bounded {
        found.push(path.to_owned());
    }
    for (name, field) in schema.properties.iter().flatten() {
        let dot = if path.is_empty() { "" } else { "." };
        unbounded(&format!("{path}{dot}{name}"), field, found);
    }
    if let Some(JSONSchemaPropsOrArray::Schema(item)) = &schema.items {
        unbounded(&format!("{path}[]"), item, found);
    }
}

#[test]
fn t12_every_text_and_every_list_of_an_object_has_a_longest_length() {
    let mut found = Vec::new();
    for definition in api::crds() {
        for version in &definition.spec.versions {
            let schema = version.schema.as_ref().unwrap().open_api_v3_schema.as_ref().unwrap();
            let mut here = Vec::new();
            unbounded("", schema, &mut here);
            found.extend(here.into_iter().map(|path| format!("{}: {path}", definition.name_any())));
        }
    }
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn t15_every_build_is_locked_and_everything_comes_from_one_registry() {
    let mut paths = vec![root().join("Makefile"), root().join("Dockerfile"), root().join(".ci/run")];
    files(&root().join("tools"), "sh", &mut paths);
    for path in paths.into_iter().filter(|path| path.exists()) {
        for line in fs::read_to_string(&path).unwrap().lines() {
            let builds = ["cargo build", "cargo run", "cargo test", "cargo bench", "cargo install"];
            let line = line.trim();
            if !line.starts_with('#') && builds.iter().any(|build| line.contains(build)) {
                assert!(line.contains("--locked"), "{}: {line}", path.display());
            }
        }
    }
    let lock = fs::read_to_string(root().join("Cargo.lock")).unwrap();
    for source in lock.lines().filter(|line| line.starts_with("source = ")) {
        assert_eq!(source, r#"source = "registry+https://github.com/rust-lang/crates.io-index""#);
    }
}

#[test]
fn t15_every_image_that_a_build_or_a_workflow_runs_is_named_by_digest() {
    let read = |path: &str| fs::read_to_string(root().join(path)).unwrap();
    let dockerfile = read("Dockerfile");
    let images = dockerfile.lines().filter(|line| line.starts_with("FROM ") || line.starts_with("ARG "));
    for line in images.filter(|line| line.contains('/')) {
        assert!(line.contains("@sha256:"), "Dockerfile: {line}");
    }
    let mut workflows = Vec::new();
    files(&root().join(".github/workflows"), "yml", &mut workflows);
    for path in workflows {
        let text = fs::read_to_string(&path).unwrap();
        for line in text.lines().map(str::trim) {
            let (creates, names) = (line.contains("buildx create"), line.starts_with("BUILDKIT:"));
            let is_pinned = line.contains("image=$BUILDKIT") || line.contains("@sha256:");
            assert!(!(creates || names) || is_pinned, "{}: {line}", path.display());
            assert!(!line.contains("docker run"), "{}: {line}", path.display());
        }
    }
}

#[test]
fn t06_nothing_that_unpacks_answers_is_linked() {
    let lock = fs::read_to_string(root().join("Cargo.lock")).unwrap();
    for name in ["async-compression", "brotli", "tower-http-compression"] {
        assert!(!lock.contains(&format!("name = \"{name}\"\n")), "{name} is among the dependencies");
    }
}

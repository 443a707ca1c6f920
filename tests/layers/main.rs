//! The rules of the code base: which module may use which, and what its functions look like.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops at what must not happen")]

mod functions;
mod graph;
mod planted;
mod rules;

use functions::Function;
use graph::Graph;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

/// The modules of `src/` by layer, the lowest first.
const LAYERS: [&[&str]; 6] = [
    &["api", "clock", "metrics", "telemetry", "traces"],
    &["admin", "args", "crds", "credential", "gate", "kubernetes", "lifecycle", "members"],
    &["context"],
    &["reconcile"],
    &["controller"],
    &["main"],
];

/// Modules of the lowest layer that the others of that layer may use.
const SHARED: [&str; 2] = ["api", "clock"];

/// The most lines of a function's body.
const LONGEST: usize = 60;

static GRAPH: LazyLock<Graph> =
    LazyLock::new(|| Graph::of(&sources()).unwrap_or_else(|fault| panic!("{fault}")));

/// The text of every source file, by its path below `src/`.
fn sources() -> BTreeMap<String, String> {
    fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, files);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    walk(&src, &mut files);
    let relative = |path: &Path| path.strip_prefix(&src).unwrap().to_str().unwrap().to_owned();
    files.iter().map(|path| (relative(path), fs::read_to_string(path).unwrap())).collect()
}

/// The files that are not for tests only.
fn product() -> BTreeMap<String, String> {
    let files = GRAPH.product_files();
    sources().into_iter().filter(|(file, _)| files.contains(file)).collect()
}

/// The top-level module that a file belongs to.
fn module_of(file: &str) -> &str {
    file.split('/').next().unwrap_or_default().trim_end_matches(".rs")
}

/// Fails with every fault on a line of its own.
fn assert_none(faults: &[String]) {
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn a_module_uses_only_lower_layers() {
    assert_none(&rules::upward_uses(&GRAPH, &LAYERS, &SHARED));
}

/// Sibling modules form no cycle, at any depth. A module counts together with all modules below it. A module may use the
/// modules below it, and they may use what it defines itself.
#[test]
fn no_modules_use_each_other_in_a_cycle() {
    assert_none(&rules::cycles(&GRAPH));
}

/// A re-export serves those who use a module from outside: `api` re-exports what is below `api`. Nobody takes an item from
/// a module that imports it for its own use.
#[test]
fn an_item_is_imported_from_the_module_that_defines_it_or_from_one_above() {
    assert_none(&rules::detours(&GRAPH));
}

#[test]
fn a_function_is_short_and_no_result_holds_a_result() {
    let mut faults = Vec::new();
    for (file, text) in product() {
        for Function { name, lines, nested_result } in functions::functions(&text).unwrap() {
            if lines > LONGEST {
                faults.push(format!("src/{file}: {name} has {lines} lines, and may have {LONGEST}"));
            }
            if nested_result {
                faults.push(format!(
                    "src/{file}: {name} has a `Result<Result<…>>`: let one error type have both"
                ));
            }
        }
    }
    assert_none(&faults);
}

#[test]
fn each_outside_world_is_known_to_its_own_modules_only() {
    let allowed: BTreeMap<&str, &[&str]> = BTreeMap::from([
        // The cloud's client.
        ("functiongraph::", ["context", "reconcile"].as_slice()),
        // Calls to the API server. The types of kube are for every layer but the lowest.
        ("patch_status(", ["kubernetes"].as_slice()),
        ("client.invoke(", ["reconcile"].as_slice()),
        ("Api::namespaced", ["kubernetes", "controller"].as_slice()),
    ]);
    for (file, text) in sources() {
        for (world, modules) in &allowed {
            let named = text.lines().any(|line| line.contains(world) && !line.trim_start().starts_with("//"));
            assert!(!named || modules.contains(&module_of(&file)), "src/{file} knows {world}");
        }
    }
}

#[test]
fn the_core_cannot_fail_wait_or_read_a_clock() {
    let forbidden =
        ["async ", ".await", "Result<", "tracing::", "clock::", "::now()", "kube::", "functiongraph::"];
    for (file, text) in product() {
        if !["credential", "gate", "lifecycle", "members"].contains(&module_of(&file)) {
            continue;
        }
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
        for line in code.lines().filter(|line| !line.trim_start().starts_with("//")) {
            for word in forbidden {
                assert!(!line.contains(word), "src/{file} has `{word}`: {line}");
            }
        }
    }
}

#[test]
fn a_request_leaves_from_one_file_and_a_status_is_written_in_one_file() {
    let files_with = |what: &str| {
        let named = sources().into_iter().filter(|(_, text)| text.contains(what));
        named.map(|(file, _)| file).collect::<Vec<_>>()
    };
    assert_eq!(files_with("client.invoke("), ["reconcile/attempt.rs"]);
    assert_eq!(files_with("patch_status("), ["kubernetes/status.rs"]);
}

#[test]
fn every_file_opens_with_what_it_is_for() {
    for (file, text) in sources() {
        assert!(
            text.starts_with("//! "),
            "src/{file} does not open with a sentence that says what it is for"
        );
    }
}

#[test]
fn properties_are_tried_with_the_same_inputs_in_every_run() {
    let seed = proptest::test_runner::Config::default().rng_seed;
    assert!(matches!(seed, proptest::test_runner::RngSeed::Fixed(_)), "{seed}: see .cargo/config.toml");
}

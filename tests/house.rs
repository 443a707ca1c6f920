//! The floors of the house: reads every `use` line of `src/` and fails on an import that goes up, across or
//! around.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops at what must not happen")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// From the ground up. Rooms of one floor do not know each other, except on the ground, where everything
/// may lean on `api` and `clock`.
const FLOORS: [&[&str]; 6] = [
    &["api", "clock", "metrics", "telemetry", "traces"],
    &["admin", "args", "definitions", "gate", "kubernetes", "lifecycle"],
    &["context"],
    &["reconcile"],
    &["controller"],
    &["main", "lib"],
];

fn floor(room: &str) -> usize {
    FLOORS
        .iter()
        .position(|rooms| rooms.contains(&room))
        .unwrap_or_else(|| panic!("{room} stands on no floor: add it to FLOORS and to ARCHITECTURE.md"))
}

/// Every source file with the room that it belongs to.
fn sources() -> Vec<(String, String, String)> {
    fn walk(dir: &Path, out: &mut Vec<std::path::PathBuf>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, out);
            } else if path.extension().is_some_and(|e| e == "rs") {
                out.push(path);
            }
        }
    }
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    walk(&src, &mut paths);
    paths
        .into_iter()
        .map(|path| {
            let relative = path.strip_prefix(&src).unwrap().to_str().unwrap().to_owned();
            let room = relative.split('/').next().unwrap().trim_end_matches(".rs").to_owned();
            (room, relative, fs::read_to_string(&path).unwrap())
        })
        .collect()
}

/// The rooms that a text names through `crate::`.
fn imports(text: &str) -> Vec<String> {
    let mut rooms = Vec::new();
    for line in text.lines().filter(|line| !line.trim_start().starts_with("//")) {
        for part in line.split("crate::").skip(1) {
            if let Some(group) = part.strip_prefix('{') {
                let names = group.split('}').next().unwrap_or_default().split(',');
                rooms.extend(names.map(|name| name.trim().split("::").next().unwrap_or_default().to_owned()));
            } else {
                rooms.push(part.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap().to_owned());
            }
        }
    }
    rooms.retain(|room| !room.is_empty());
    rooms
}

#[test]
fn imports_run_down_and_never_up_or_across() {
    for (room, file, text) in sources() {
        for import in imports(&text).into_iter().filter(|import| *import != room) {
            let (from, to) = (floor(&room), floor(&import));
            let ground = from == 0 && ["api", "clock"].contains(&import.as_str());
            assert!(to < from || ground, "{file} (floor {from}) imports {import} (floor {to})");
        }
    }
}

#[test]
fn each_world_is_known_to_its_own_rooms_only() {
    let allowed: BTreeMap<&str, &[&str]> = BTreeMap::from([
        // The cloud's client.
        ("functiongraph::", ["context", "reconcile"].as_slice()),
        // Calls to the API server (the types of kube are for everybody above the ground).
        ("patch_status(", ["kubernetes"].as_slice()),
        ("client.invoke(", ["reconcile"].as_slice()),
        ("Api::namespaced", ["kubernetes", "controller"].as_slice()),
    ]);
    for (room, file, text) in sources() {
        for (world, rooms) in &allowed {
            let named = text.lines().any(|line| line.contains(world) && !line.trim_start().starts_with("//"));
            assert!(!named || rooms.contains(&room.as_str()), "{file} knows {world}");
        }
    }
}

#[test]
fn the_core_cannot_fail_wait_or_look_at_a_clock() {
    let forbidden =
        ["async ", ".await", "Result<", "tracing::", "clock::", "::now()", "kube::", "functiongraph::"];
    for (room, file, text) in sources() {
        if !["lifecycle", "gate"].contains(&room.as_str())
            || file.ends_with("tests.rs")
            || file.contains("simulation")
        {
            continue;
        }
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
        for line in code.lines().filter(|line| !line.trim_start().starts_with("//")) {
            for word in forbidden {
                assert!(!line.contains(word), "{file} has `{word}`: {line}");
            }
        }
    }
}

#[test]
fn a_request_leaves_from_one_file_and_a_status_is_written_in_one_file() {
    let files_with = |what: &str| {
        let named = sources().into_iter().filter(|(_, _, text)| text.contains(what));
        named.map(|(_, file, _)| file).collect::<Vec<_>>()
    };
    assert_eq!(files_with("client.invoke("), ["reconcile/attempt.rs"]);
    assert_eq!(files_with("patch_status("), ["kubernetes/status.rs"]);
}

#[test]
fn every_file_opens_with_what_it_is_for() {
    for (_, file, text) in sources() {
        assert!(text.starts_with("//! "), "{file} does not open with a sentence that says what it is for");
    }
}

#[test]
fn properties_are_tried_with_the_same_inputs_in_every_run() {
    let seed = proptest::test_runner::Config::default().rng_seed;
    assert!(matches!(seed, proptest::test_runner::RngSeed::Fixed(_)), "{seed}: see .cargo/config.toml");
}

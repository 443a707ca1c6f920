//! The rules find what is planted in small sources, and nothing else.

use crate::functions::{Function, functions};
use crate::graph::Graph;
use crate::rules::{cycles, detours, upward_uses};

const LAYERS: [&[&str]; 3] = [&["api", "clock", "metrics"], &["core", "gate"], &["shell"]];

/// A crate of the modules of `LAYERS`, and the files that are given.
fn planted(files: &[(&str, &str)]) -> Graph {
    let names = ["api", "clock", "metrics", "core", "gate", "shell"];
    let library = names.map(|name| format!("pub mod {name};")).join("\n");
    let empty = names.map(|name| (format!("{name}.rs"), String::new()));
    let given = files.iter().map(|(file, text)| ((*file).to_owned(), (*text).to_owned()));
    Graph::of(&empty.into_iter().chain([("lib.rs".to_owned(), library)]).chain(given).collect()).unwrap()
}

fn upward(files: &[(&str, &str)]) -> Vec<String> {
    upward_uses(&planted(files), &LAYERS, &["api", "clock"])
}

#[test]
fn an_upward_import_is_found_however_it_is_written() {
    let below = "src/core.rs:";
    for (text, fault) in [
        ("use crate::shell::run;", "1: core (layer 2) must not use shell (layer 3), in `crate::shell::run`"),
        (
            "use crate::{\n    api::Name,\n    shell::{\n        run,\n    },\n};",
            "4: core (layer 2) must not use shell (layer 3), in `crate::shell::run`",
        ),
        ("use super::gate;", "1: core (layer 2) must not use gate (layer 2), in `super::gate`"),
        (
            "use crate::{self as all, shell as api};",
            "1: core (layer 2) must not use shell (layer 3), in `crate::shell`",
        ),
        ("use crate::shell::*;", "1: core (layer 2) must not use shell (layer 3), in `crate::shell`"),
        (
            "pub(crate) use crate::shell::run;",
            "1: core (layer 2) must not use shell (layer 3), in `crate::shell::run`",
        ),
        (
            "fn f() {\n crate::shell::run()\n}",
            "2: core (layer 2) must not use shell (layer 3), in `crate::shell::run`",
        ),
        (
            "fn f() { use crate::shell::run; run() }",
            "1: core (layer 2) must not use shell (layer 3), in `crate::shell::run`",
        ),
        (
            "fn f(a: Vec<crate::shell::A>) {}",
            "1: core (layer 2) must not use shell (layer 3), in `crate::shell::A`",
        ),
        (
            "impl crate::shell::A for u8 {}",
            "1: core (layer 2) must not use shell (layer 3), in `crate::shell::A`",
        ),
        (
            "fn f() { select! { a = crate::shell::run() => {} } }",
            "1: core (layer 2) must not use shell (layer 3), in `crate::shell::run`",
        ),
        (
            "#[derive(A)]\nstruct B { #[arg(parser = crate::shell::run)] c: u8 }",
            "2: core (layer 2) must not use shell (layer 3), in `crate::shell::run`",
        ),
        (
            "#[cfg(test)]\nmod tests { use crate::shell::run; }",
            "2: core::tests (layer 2) must not use shell (layer 3), in `crate::shell::run`",
        ),
    ] {
        assert_eq!(upward(&[("core.rs", text)]), [format!("{below}{fault}")], "{text}");
    }
}

#[test]
fn an_upward_import_is_found_behind_a_chain_of_super() {
    let files =
        [("core.rs", "mod a;"), ("core/a.rs", "mod b;"), ("core/a/b.rs", "use super::super::super::shell;")];
    let fault = "src/core/a/b.rs:1: core::a::b (layer 2) must not use shell (layer 3), in `super::super::super::shell`";
    assert_eq!(upward(&files), [fault]);
}

#[test]
fn the_lowest_layer_shares_some_of_its_modules() {
    assert_eq!(upward(&[("metrics.rs", "use crate::{api, clock};")]), [""; 0]);
    let fault = "src/api.rs:1: api (layer 1) must not use metrics (layer 1), in `crate::metrics`";
    assert_eq!(upward(&[("api.rs", "use crate::metrics;")]), [fault]);
}

#[test]
fn an_unknown_module_is_found() {
    let library = "pub mod core; pub mod new;";
    let sources = [("lib.rs", library), ("core.rs", ""), ("new.rs", "use crate::core::f;")];
    let sources = sources.map(|(file, text)| (file.to_owned(), text.to_owned()));
    let graph = Graph::of(&sources.clone().into()).unwrap();
    let fault = "src/new.rs: the module new is in no layer: add it to LAYERS and to ARCHITECTURE.md";
    assert_eq!(upward_uses(&graph, &LAYERS, &[]), [fault]);

    let forgotten = sources.into_iter().chain([("core/old.rs".to_owned(), String::new())]).collect();
    assert_eq!(Graph::of(&forgotten).err().unwrap(), "src/core/old.rs: no module declares this file");
}

#[test]
fn a_cycle_is_told_with_every_step() {
    let files = [
        ("shell.rs", "mod a;\nmod b;\nmod c;"),
        ("shell/a.rs", "use super::{\n    b::B,\n};"),
        ("shell/b.rs", "pub struct B;\n\nfn f() { super::c::f() }"),
        ("shell/c.rs", "pub fn f() {}\nuse crate::shell::a;"),
    ];
    let cycle = "a cycle of 3 modules:
  src/shell/a.rs:2: shell::a uses shell::b, in `super::b::B`
  src/shell/b.rs:3: shell::b uses shell::c, in `super::c::f`
  src/shell/c.rs:2: shell::c uses shell::a, in `crate::shell::a`";
    assert_eq!(cycles(&planted(&files)), [cycle]);
}

#[test]
fn a_module_counts_with_all_below_it() {
    let files = [
        ("shell.rs", "mod a;\nmod b;"),
        ("shell/a.rs", "mod one;\nmod two;"),
        ("shell/a/one.rs", "use crate::shell::b;"),
        ("shell/a/two.rs", "pub fn f() {}"),
        ("shell/b.rs", "use super::a::two::f;"),
    ];
    let cycle = "a cycle of 2 modules:
  src/shell/a/one.rs:1: shell::a::one uses shell::b, in `crate::shell::b`
  src/shell/b.rs:1: shell::b uses shell::a::two, in `super::a::two::f`";
    assert_eq!(cycles(&planted(&files)), [cycle]);
}

#[test]
fn a_module_and_one_below_it_may_name_each_other() {
    let files = [
        ("shell.rs", "mod a;\npub use a::{A, run};\npub struct Error;\nfn f() -> A { run() }"),
        ("shell/a.rs", "mod b;\nuse super::Error;\npub struct A;\npub fn run() -> A { A }"),
        ("shell/a/b.rs", "use super::A;\nuse super::super::Error;"),
    ];
    assert_eq!((cycles(&planted(&files)), detours(&planted(&files))), (vec![], vec![]));
}

#[test]
fn a_re_export_is_followed_to_the_module_that_defines() {
    let files = [
        ("shell.rs", "mod a;\nmod b;\npub use b::*;"),
        ("shell/a.rs", "use super::B;\npub struct A;"),
        ("shell/b.rs", "use super::a::A;\npub struct B;"),
    ];
    let cycle = "a cycle of 2 modules:
  src/shell/a.rs:1: shell::a uses shell::b, in `super::B`
  src/shell/b.rs:1: shell::b uses shell::a, in `super::a::A`";
    assert_eq!(cycles(&planted(&files)), [cycle]);
    assert_eq!(detours(&planted(&files)), [""; 0]);
}

#[test]
fn an_item_that_a_module_only_imports_is_not_taken_from_it() {
    let files = [
        ("gate.rs", "pub struct Gate;"),
        ("shell.rs", "mod a;\nmod b;\nmod c;\nuse crate::gate::Gate;\npub use c::gate;"),
        ("shell/a.rs", "pub use crate::gate::Gate;"),
        ("shell/c.rs", "use crate::gate;\npub fn gate() {}"),
        ("shell/b.rs", "use super::Gate;\nfn f(gate: super::a::Gate) {}"),
    ];
    assert_eq!(
        detours(&planted(&files)),
        [
            "src/shell/b.rs:1: shell only imports what `super::Gate` names: use the module that defines it",
            "src/shell/b.rs:2: shell::a only imports what `super::a::Gate` names: use the module that defines it",
        ]
    );
}

#[test]
fn tests_may_use_each_other() {
    let files = [
        ("shell.rs", "mod a;\n#[cfg(test)]\nmod tests;"),
        ("shell/a.rs", "#[cfg(test)]\nmod tests { use crate::shell::tests::f; }"),
        ("shell/tests.rs", "use super::a;\npub fn f() {}"),
    ];
    assert_eq!(cycles(&planted(&files)), [""; 0]);
    assert!(!planted(&files).product_files().contains("shell/tests.rs"));
}

#[test]
fn functions_are_measured_tests_apart() {
    let text = "
fn short() {}
struct A;
impl A {
    fn long(
        &self,
    ) -> std::io::Result<Result<u8, u8>> {
        // one

        three
    }
}
#[cfg(test)]
mod tests {
    fn test() {}
}
fn inside() -> Result<Vec<Result<u8, u8>>, u8> {
    let a: Result<Result<u8, u8>, u8> = b;
}
";
    let function = |name: &str, lines, nested_result| Function { name: name.into(), lines, nested_result };
    let expected = [function("short", 0, false), function("long", 3, true), function("inside", 1, true)];
    assert_eq!(functions(text).unwrap(), expected);
}

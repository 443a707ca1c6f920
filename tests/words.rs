//! Plain words: the documents, and the texts that users read in messages, `--help` and `kubectl explain`, are free of
//! words that a reader may not know. The list holds only words that are wrong in almost every sentence.

#![expect(clippy::unwrap_used, reason = "a test stops at an unreadable file")]

use std::fs;
use std::path::{Path, PathBuf};

/// What not to write, and what to write instead.
const INSTEAD: [(&str, &str); 38] = [
    ("whoever", "the user, the caller, you"),
    ("whomever", "the user, the caller, you"),
    ("whence", "the origin"),
    ("mend", "fix"),
    ("mends", "fixes"),
    ("mended", "fixed"),
    ("anew", "again, or re-created"),
    ("afterglow", "the name of the duration"),
    ("namesake", "another object of the same name"),
    ("so many", "the number"),
    ("that much", "the number"),
    ("or so", "the number, or about"),
    ("in doubt", "ambiguous, or outcome Unknown"),
    ("doubtful", "ambiguous"),
    ("a person's word", "a resolution, the annotation functiongraph.io/resolve"),
    ("say a word", "set the annotation functiongraph.io/resolve"),
    ("settled", "resolved, or finished"),
    ("became of", "the result of"),
    ("becomes of", "the result of"),
    ("becomes known", "is known"),
    ("is tried again", "the operator tries again"),
    ("is never followed", "the operator does not follow"),
    ("are never followed", "the operator does not follow"),
    ("cannot be had", "cannot obtain"),
    ("cannot be known", "is unknown"),
    ("nobody can tell", "is unknown"),
    ("stands in", "is in"),
    ("stand in", "are in, or replace"),
    ("stands still", "has not changed"),
    ("stand still", "has not changed"),
    ("as it stands", "unchanged"),
    ("as they stand", "unchanged"),
    ("provider of the cluster", "cluster-scoped provider, or ClusterFunctionGraphProvider"),
    ("providers of the cluster", "cluster-scoped providers, or ClusterFunctionGraphProviders"),
    ("cluster provider", "cluster-scoped provider, or ClusterFunctionGraphProvider"),
    ("cluster providers", "cluster-scoped providers, or ClusterFunctionGraphProviders"),
    ("the definitions", "the CRDs"),
    ("a definition", "a CRD"),
];

/// A word in lower case, with the number of its line.
type Word = (usize, String);

fn words(text: &str) -> Vec<Word> {
    let in_line = |(number, line): (usize, &str)| {
        let parts = line.split(|c: char| !c.is_alphanumeric() && !['\'', '-', '_'].contains(&c));
        let parts = parts.filter(|part| !part.is_empty()).map(str::to_lowercase);
        parts.map(|part| (number + 1, part)).collect::<Vec<_>>()
    };
    text.lines().enumerate().flat_map(in_line).collect()
}

/// The text with everything blanked out except string literals, so that lines keep their numbers.
fn literals(code: &str) -> String {
    let mut kept = String::new();
    let mut rest = code;
    let blank = |text: &str| text.chars().filter(|c| *c == '\n').collect::<String>() + " ";
    while let Some(first) = rest.chars().next() {
        let raw = rest.strip_prefix('r').map(|hashes| hashes.len() - hashes.trim_start_matches('#').len());
        let raw = raw.filter(|hashes| rest[1 + hashes..].starts_with('"') && !kept.ends_with('_'));
        let end = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if let Some(hashes) = raw {
            let close = format!("\"{}", "#".repeat(hashes));
            let inner = &rest[hashes + 2..];
            let length = inner.find(&close).unwrap_or(inner.len());
            kept.push_str(&inner[..length]);
            rest = &inner[(length + close.len()).min(inner.len())..];
            continue;
        } else if first == '"' {
            let mut escaped = false;
            let is_end = |c: char| {
                let ends = c == '"' && !escaped;
                escaped = c == '\\' && !escaped;
                ends
            };
            let length = rest[1..].find(is_end).unwrap_or(rest.len() - 1);
            kept.push_str(&rest[1..=length].replace("\\\n", " \n").replace("\\n", "  "));
            rest = &rest[(length + 2).min(rest.len())..];
            continue;
        } else if rest.starts_with("'\"'") {
            3
        } else if rest.starts_with("'\\\"'") {
            4
        } else {
            first.len_utf8()
        };
        kept.push_str(&blank(&rest[..end]));
        rest = &rest[end..];
    }
    kept
}

fn findings(name: &str, text: &str) -> Vec<String> {
    let words = words(text);
    let mut found = Vec::new();
    for (wrong, right) in INSTEAD {
        let phrase: Vec<_> = wrong.split(' ').collect();
        let hits = words.windows(phrase.len()).filter(|part| part.iter().map(|(_, word)| word).eq(&phrase));
        found.extend(hits.map(|part| format!("{name}:{}: not \"{wrong}\": write {right}", part[0].0)));
    }
    found
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All files below a path, or the file itself.
fn below(path: PathBuf) -> Vec<PathBuf> {
    if path.is_file() {
        return vec![path];
    }
    let entries = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(below).collect()
}

/// The files below these paths with one of these endings, and their texts.
fn texts(paths: &[&str], endings: &[&str]) -> Vec<(String, String)> {
    let files = paths.iter().flat_map(|path| below(root().join(path)));
    let mut files: Vec<_> =
        files.filter(|file| endings.iter().any(|ending| file.to_string_lossy().ends_with(ending))).collect();
    files.sort();
    let name = |file: &Path| file.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
    files.iter().map(|file| (name(file), fs::read_to_string(file).unwrap())).collect()
}

fn assert_plain(texts: impl IntoIterator<Item = (String, String)>) {
    let found: Vec<_> = texts.into_iter().flat_map(|(name, text)| findings(&name, &text)).collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn documents_are_in_plain_words() {
    assert_plain(texts(
        &["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "docs", "crates"],
        &[".md"],
    ));
}

#[test]
fn the_chart_and_the_custom_resources_are_in_plain_words() {
    let endings = ["values.yaml", ".gotmpl", "NOTES.txt", "alerts.yaml", "Chart.yaml"];
    assert_plain(texts(&["charts"], &endings));
    assert_plain(texts(&["crds"], &[".yaml"]));
}

/// docs/reference.md holds the operator's own flags.
#[test]
fn the_help_of_the_emulator_is_in_plain_words() {
    assert_plain(texts(&["crates/emulator/src/main.rs"], &[".rs"]));
}

#[test]
fn messages_are_in_plain_words() {
    let code = texts(&["src", "crates/functiongraph/src", "crates/emulator/src"], &[".rs"]);
    let is_test = |name: &str| name.ends_with("tests.rs") || name.contains("/tests/");
    let code = code.into_iter().filter(|(name, _)| !is_test(name));
    assert_plain(code.map(|(name, text)| (name, literals(&text))));
}

#[test]
fn a_finding_names_file_line_word_and_replacement() {
    let text = "A claim\nthat stands\n  in a file, and nothing to recommend.\n";
    assert_eq!(findings("a.md", text), ["a.md:2: not \"stands in\": write is in"]);
    let code = "// anew\nlet a = \"x \\\" whoever\";\nlet b = '\"'; // mend\nlet c = r#\"so \"many\"#;\n";
    let found = findings("a.rs", &literals(code));
    let expected = [
        "a.rs:2: not \"whoever\": write the user, the caller, you",
        "a.rs:4: not \"so many\": write the number",
    ];
    assert_eq!(found, expected);
}

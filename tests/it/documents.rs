//! The documents say what is so: every reason is explained, every quoted message exists, every link leads somewhere.

use functiongraph_operator::api;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The top of the checkout.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All files below a folder whose name ends so, in order.
fn below(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir(folder) else { return found };
    for path in entries.map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            found.extend(below(&path, ending));
        } else if path.to_str().is_some_and(|name| name.ends_with(ending)) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The pages for users.
pub fn pages() -> Vec<PathBuf> {
    let mut pages: Vec<_> = fs::read_dir(root()).unwrap().map(|entry| entry.unwrap().path()).collect();
    pages.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    for folder in ["docs", "examples", "charts"] {
        pages.extend(below(&root().join(folder), ".md"));
    }
    pages.sort();
    pages
}

pub fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

#[test]
fn every_reason_has_an_entry_in_troubleshooting_and_no_other_has() {
    let definition = serde_json::to_value(&api::crds()[0]).unwrap();
    let reason = "/spec/versions/0/schema/openAPIV3Schema/properties/status/properties/conditions/items/properties/reason/enum";
    let known = definition.pointer(reason).unwrap().as_array().unwrap();
    let known: BTreeSet<_> = known.iter().map(|name| name.as_str().unwrap().to_owned()).collect();

    let page = read(&root().join("docs/troubleshooting.md"));
    let entry = |line: &str| Some(line.strip_prefix("### `")?.strip_suffix('`')?.to_owned());
    let entries: Vec<_> = page.lines().filter_map(entry).collect();

    assert_eq!(entries.iter().cloned().collect::<BTreeSet<_>>(), known);
    assert_eq!(entries.len(), known.len(), "one entry for each");
}

#[test]
fn what_troubleshooting_quotes_is_what_the_operator_says() {
    let code: String = below(&root().join("src"), ".rs").iter().map(|path| read(path)).collect();
    let page = read(&root().join("docs/troubleshooting.md"));
    let quotes: Vec<_> = page.lines().filter_map(|line| line.strip_prefix("> ")).collect();
    assert!(quotes.len() > 20, "{quotes:?}");
    // An ellipsis stands for what is filled in; one or two letters between two of them say nothing.
    for part in quotes.iter().flat_map(|quote| quote.split('…')).map(str::trim).filter(|part| part.len() > 2)
    {
        assert!(code.contains(part), "the operator does not say: {part}");
    }
}

/// The anchors of a page, as GitHub makes them from its headings.
fn anchors(page: &str) -> BTreeSet<String> {
    let headings = outside_of_fences(page).into_iter().filter(|line| line.starts_with('#'));
    headings
        .map(|line| {
            let heading = line.trim_start_matches('#').trim().to_lowercase();
            let kept = |letter: &char| letter.is_alphanumeric() || matches!(letter, ' ' | '-' | '_');
            heading.chars().filter(kept).collect::<String>().replace(' ', "-")
        })
        .collect()
}

fn outside_of_fences(page: &str) -> Vec<&str> {
    let mut fenced = false;
    let mut lines = Vec::new();
    for line in page.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            lines.push(line);
        }
    }
    lines
}

#[test]
fn every_link_leads_somewhere() {
    let mut checked = 0;
    for path in pages() {
        let page = read(&path);
        // Between backticks is code, in which brackets mean something else.
        let text: String = outside_of_fences(&page).join("\n").split('`').step_by(2).collect();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if target.starts_with("http") || target.starts_with("mailto:") {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let file = if file.is_empty() { path.clone() } else { path.parent().unwrap().join(file) };
            assert!(file.exists(), "{}: {target} is not there", path.display());
            if !anchor.is_empty() {
                assert!(
                    anchors(&read(&file)).contains(anchor),
                    "{}: no heading for {target}",
                    path.display()
                );
            }
            checked += 1;
        }
    }
    assert!(checked > 50, "{checked} links");
}

//! The tables of fields: reads the schema of each definition.

use crate::cell;
use functiongraph_operator::{api, crds};
use serde_json::Value;
use std::error::Error;
use std::fmt::Write as _;

/// The kind that says everything which the cluster kind says too.
const BASE: &str = "FunctionGraphProvider";

/// The kind whose table leaves out what is in that of [`BASE`].
const CLUSTER: &str = "ClusterFunctionGraphProvider";

/// A field with more words than this has a page of its own for them: the reasons of conditions.
const MANY: usize = 20;

/// One field.
#[derive(Clone, PartialEq)]
struct Row {
    /// Its path, in bold if it is required.
    name: String,
    /// Type and bounds.
    shape: String,
    default: String,
    description: String,
}

/// The tables of all kinds.
///
/// # Errors
/// When a definition cannot be put as JSON, or the admission policy cannot be read.
pub fn section() -> Result<String, Box<dyn Error>> {
    let mut text = String::new();
    let (mut shared, mut shared_rules) = (Vec::new(), Vec::new());
    for definition in api::crds() {
        let definition = serde_json::to_value(definition)?;
        let kind = words(&definition["spec"]["names"]["kind"]);
        let version = &definition["spec"]["versions"][0];
        let root = &version["schema"]["openAPIV3Schema"];
        let short = words(&definition["spec"]["names"]["shortNames"][0]);
        let group = words(&definition["spec"]["group"]);
        let name = words(&version["name"]);
        put(
            &mut text,
            &format!(
                "\n## {kind}\n\n`{group}/{name}`, short name `{short}`. {}\n",
                cell(words(&root["description"]))
            ),
        );
        for part in ["spec", "status"] {
            let schema = &root["properties"][part];
            let mut rows = Vec::new();
            walk(schema, "", &mut rows);
            if kind == BASE {
                shared.extend(rows.clone());
            }
            if kind == CLUSTER {
                rows.retain(|row| !shared.contains(row));
                put(&mut text, &format!("\n### {part} of {kind}\n\nAs that of {BASE}"));
                put(&mut text, if rows.is_empty() { ".\n" } else { ", and:\n" });
            } else {
                put(&mut text, &format!("\n### {part} of {kind}\n"));
            }
            if !rows.is_empty() {
                put(&mut text, "\n| field | type | default | |\n|---|---|---|---|\n");
            }
            for Row { name, shape, default, description } in rows {
                put(&mut text, &format!("| {name} | {shape} | {default} | {description} |\n"));
            }
        }
        let mut rules = Vec::new();
        sentences(root, &mut rules);
        put(&mut text, &format!("\n### What the API server refuses of a {kind}\n\n"));
        if kind == BASE {
            shared_rules.clone_from(&rules);
        }
        if kind == CLUSTER {
            rules.retain(|rule| !shared_rules.contains(rule));
            put(&mut text, &format!("What it refuses of a {BASE}, and:\n\n"));
        }
        for rule in rules {
            put(&mut text, &format!("* {rule}\n"));
        }
        let refusals = refusals(words(&definition["metadata"]["name"]))?;
        if !refusals.is_empty() {
            put(&mut text, "\nAnd by its admission policy, when the object is updated:\n\n");
        }
        for refusal in refusals {
            put(&mut text, &format!("* {refusal}\n"));
        }
    }
    Ok(text)
}

/// What the admission policy of this name says when it refuses; nothing if there is none.
fn refusals(name: &str) -> Result<Vec<String>, Box<dyn Error>> {
    let mut found = Vec::new();
    for (_, text) in crds::files()? {
        let object: Value = serde_saphyr::from_str(&text)?;
        if object["kind"] == "ValidatingAdmissionPolicy" && object["metadata"]["name"] == name {
            let validations = object["spec"]["validations"].as_array().into_iter().flatten();
            // Markdown would take `<request id>` for a tag.
            found.extend(validations.map(|one| cell(words(&one["message"])).replace('<', "\\<")));
        }
    }
    Ok(found)
}

fn put(text: &mut String, more: &str) {
    // Writing into a string cannot fail.
    let _ = text.write_str(more);
}

fn words(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// A row for each property of a schema, and for those within it.
fn walk(schema: &Value, above: &str, rows: &mut Vec<Row>) {
    let required: Vec<&str> =
        schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let path = if above.is_empty() { name.clone() } else { format!("{above}.{name}") };
        let default = field.get("default").map(|value| format!("`{value}`")).unwrap_or_default();
        rows.push(Row {
            name: if required.contains(&name.as_str()) {
                format!("**`{path}`**")
            } else {
                format!("`{path}`")
            },
            shape: cell(&shape(field)),
            default,
            description: cell(words(&field["description"])),
        });
        walk(field, &path, rows);
        walk(&field["items"], &format!("{path}[]"), rows);
    }
}

/// The type with its bounds, as in `string (1 to 64)`.
fn shape(field: &Value) -> String {
    if let Some(values) = field["enum"].as_array() {
        if values.len() > MANY {
            return "a word: [troubleshooting](troubleshooting.md)".into();
        }
        let word = |value: &Value| value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
        let values = values.iter().filter(|value| !value.is_null());
        return values.map(|value| format!("`{}`", word(value))).collect::<Vec<_>>().join(", ");
    }
    let kind = words(&field["type"]);
    let bounds = match kind {
        "string" => ["minLength", "maxLength"],
        "array" => ["minItems", "maxItems"],
        _ => ["minimum", "maximum"],
    };
    let bounds = match bounds.map(|bound| field[bound].as_f64()) {
        [None, None] => String::new(),
        [Some(low), None] => format!(" ({low} or more)"),
        [None, Some(high)] => format!(" (at most {high})"),
        [Some(low), Some(high)] => format!(" ({low} to {high})"),
    };
    let pattern = field["pattern"].as_str().map(|pattern| format!(", `{pattern}`")).unwrap_or_default();
    match (kind, words(&field["format"])) {
        (_, "date-time") => "time".into(),
        ("array", _) => format!("list{bounds} of {}", shape(&field["items"])),
        ("object", _) if field["additionalProperties"]["type"] == "string" => "map of strings".into(),
        (kind, _) => format!("{kind}{bounds}{pattern}"),
    }
}

/// What the rules of a schema say when they refuse, each once.
fn sentences(schema: &Value, found: &mut Vec<String>) {
    for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
        let said = cell(words(&rule["message"]));
        if !found.contains(&said) {
            found.push(said);
        }
    }
    for field in schema["properties"].as_object().into_iter().flatten().map(|(_, field)| field) {
        sentences(field, found);
    }
    if schema["items"].is_object() {
        sentences(&schema["items"], found);
    }
}

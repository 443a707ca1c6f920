//! What a CRD says about its objects: which fields are kept, their defaults, their bounds, and the rules in CEL.
//!
//! Left out, because our CRDs have none of it: `allOf` and its relatives, embedded resources, lists that are maps.

use cel::objects::Map;
use cel::{Context, Env, Program};
use jiff::Timestamp;
use regex::Regex;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, LazyLock};

/// The schema of one value.
pub struct Schema {
    properties: BTreeMap<String, Schema>,
    items: Option<Box<Schema>>,
    rules: Vec<Rule>,
    pattern: Option<Regex>,
    /// All else, as the CRD has it.
    text: Value,
}

struct Rule {
    program: Program,
    message: String,
    /// Whether it compares with the value before, and so does not apply to a new one.
    compares: bool,
}

// === impl Schema ===

impl Schema {
    /// Reads a schema.
    pub fn of(text: &Value) -> Self {
        let properties = text["properties"].as_object().into_iter().flatten();
        let rules = text["x-kubernetes-validations"].as_array().into_iter().flatten();
        let pattern = text["pattern"].as_str().map(|pattern| Regex::new(pattern).expect("a pattern"));
        Self {
            properties: properties.map(|(name, schema)| (name.clone(), Self::of(schema))).collect(),
            items: text.get("items").map(|items| Box::new(Self::of(items))),
            rules: rules.map(Rule::of).collect(),
            pattern,
            text: text.clone(),
        }
    }

    /// Drops unknown fields and sets defaults.
    pub fn complete(&self, value: &mut Value) {
        match value {
            Value::Object(fields) if !self.is_free() => {
                fields.retain(|name, value| {
                    let known = self.properties.get(name);
                    known.is_some_and(|schema| !value.is_null() || schema.text["nullable"] == true)
                });
                for (name, schema) in &self.properties {
                    let default = schema.text.get("default");
                    if let Some(default) = default.filter(|_| fields.get(name).is_none_or(Value::is_null)) {
                        fields.insert(name.clone(), default.clone());
                    }
                    if let Some(value) = fields.get_mut(name) {
                        schema.complete(value);
                    }
                }
            }
            Value::Array(values) => {
                if let Some(schema) = &self.items {
                    for value in values {
                        schema.complete(value);
                    }
                }
            }
            _ => {}
        }
    }

    fn is_free(&self) -> bool {
        self.text["x-kubernetes-preserve-unknown-fields"] == true
    }

    /// What is wrong with a value, which was `old` before.
    pub fn faults(&self, value: &Value, old: Option<&Value>) -> Vec<String> {
        let mut faults = Vec::new();
        self.find_faults(value, old, "", &mut faults);
        faults
    }

    fn find_faults(&self, value: &Value, old: Option<&Value>, path: &str, faults: &mut Vec<String>) {
        // What has not changed was checked before.
        if old == Some(value) || (value.is_null() && self.text["nullable"] == true) {
            return;
        }
        if let Some(fault) = self.fault(value) {
            faults.push(format!("{path}: {fault}"));
            return;
        }
        // A map that is atomic is compared as a whole.
        let old_of = |name: &str| old.and_then(|old| old.get(name));
        for (name, schema) in &self.properties {
            if let Some(value) = value.get(name) {
                schema.find_faults(value, old_of(name), &format!("{path}.{name}"), faults);
            }
        }
        if let Some((schema, values)) = self.items.as_ref().zip(value.as_array()) {
            for (number, value) in values.iter().enumerate() {
                schema.find_faults(value, None, &format!("{path}[{number}]"), faults);
            }
        }
        if self.rules.is_empty() {
            return;
        }
        let (value, old) = (cel(value), old.map(cel));
        for rule in &self.rules {
            if let Some(fault) = rule.fault(&value, old.as_ref()) {
                faults.push(format!("{path}: {fault}"));
            }
        }
    }

    /// What is wrong with a value itself.
    fn fault(&self, value: &Value) -> Option<String> {
        let text = &self.text;
        let is_type = match text["type"].as_str() {
            Some("object") => value.is_object(),
            Some("array") => value.is_array(),
            Some("string") => value.is_string(),
            Some("integer") => value.is_i64() || value.is_u64(),
            Some("number") => value.is_number(),
            Some("boolean") => value.is_boolean(),
            _ => true,
        };
        if !is_type {
            return Some(format!("must be of type {}", text["type"]));
        }
        let values = text["enum"].as_array();
        if values.is_some_and(|values| !values.contains(value)) {
            return Some(format!("unsupported value {value}"));
        }
        let required = text["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
        if let Some(missing) = required.into_iter().find(|name| value.get(name).is_none()) {
            return Some(format!("{missing} is required"));
        }
        let size = match value {
            Value::String(text) => Some(text.chars().count()),
            Value::Array(values) => Some(values.len()),
            Value::Object(fields) => Some(fields.len()),
            _ => None,
        };
        let bound = |names: [&str; 3]| names.iter().find_map(|name| text[*name].as_u64());
        if let Some(size) = size.and_then(|size| u64::try_from(size).ok())
            && (bound(["maxLength", "maxItems", "maxProperties"]).is_some_and(|most| size > most)
                || bound(["minLength", "minItems", "minProperties"]).is_some_and(|least| size < least))
        {
            return Some("too long or too short".into());
        }
        if let Some(number) = value.as_f64()
            && (text["maximum"].as_f64().is_some_and(|most| number > most)
                || text["minimum"].as_f64().is_some_and(|least| number < least))
        {
            return Some("too large or too small".into());
        }
        let string = value.as_str()?;
        if self.pattern.as_ref().is_some_and(|pattern| !pattern.is_match(string)) {
            return Some("does not match the pattern".into());
        }
        let is_time = text["format"] == "date-time";
        (is_time && string.parse::<Timestamp>().is_err()).then(|| "must be a time".into())
    }
}

/// The functions of CEL.
static FUNCTIONS: LazyLock<Context<'static, 'static>> = LazyLock::new(|| Context::with_env(Arc::clone(&ENV)));

/// CEL as in Kubernetes: with optional values.
static ENV: LazyLock<Arc<Env>> = LazyLock::new(|| Arc::new(Env::stdlib().with_optional_support(true)));

// === impl Rule ===

impl Rule {
    fn of(text: &Value) -> Self {
        let rule = text["rule"].as_str().expect("a rule");
        Self {
            program: ENV.compile(rule).expect("a rule in CEL"),
            message: text["message"].as_str().unwrap_or(rule).to_owned(),
            compares: rule.contains("oldSelf"),
        }
    }

    fn fault(&self, value: &cel::Value, old: Option<&cel::Value>) -> Option<String> {
        let mut context = FUNCTIONS.new_inner_scope();
        context.add_variable_from_value("self", value.clone());
        if self.compares {
            context.add_variable_from_value("oldSelf", old?.clone());
        }
        match self.program.execute(&context) {
            Ok(cel::Value::Bool(true)) => None,
            Ok(_) => Some(self.message.clone()),
            Err(error) => Some(format!("{}: {error}", self.message)),
        }
    }
}

/// A value for CEL, with whole numbers as in Kubernetes: signed.
fn cel(value: &Value) -> cel::Value {
    match value {
        Value::Null => cel::Value::Null,
        Value::Bool(value) => cel::Value::Bool(*value),
        Value::Number(number) => match number.as_i64() {
            Some(number) => cel::Value::Int(number),
            None => cel::Value::Float(number.as_f64().unwrap_or(f64::INFINITY)),
        },
        Value::String(text) => text.as_str().into(),
        Value::Array(values) => cel::Value::List(values.iter().map(cel).collect::<Vec<_>>().into()),
        Value::Object(fields) => {
            let fields: HashMap<cel::objects::Key, cel::Value> =
                fields.iter().map(|(name, value)| (name.as_str().into(), cel(value))).collect();
            cel::Value::Map(Map { map: fields.into() })
        }
    }
}

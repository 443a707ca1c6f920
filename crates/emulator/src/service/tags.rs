//! `GET …/tags`, `POST …/tags/create` and `DELETE …/tags/delete`: the tags of a function.

use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::answer::Answer;
use crate::config::Function;
use crate::refusal::Refusal;
use crate::service::{Call, Work, done};

/// Under which the tags are kept among the attributes of a function. No field of the API has a colon.
const TAGS: &str = "tags:";

#[derive(Deserialize)]
struct Body {
    tags: Vec<Tag>,
}

/// One tag. To delete it, its key is enough.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
struct Tag {
    key: String,
    #[serde(default)]
    value: String,
}

/// All tags.
pub(super) fn list<'a>(call: &'a Call<'_>) -> Result<Work<'a>, Refusal> {
    let tags = tags(&call.target()?.attributes);
    Ok(done(Answer::json(StatusCode::OK, &json!({ "tags": tags, "sys_tags": [] }))))
}

/// Sets the given tags.
pub(super) fn create<'a>(call: &'a Call<'_>) -> Result<Work<'a>, Refusal> {
    put(call, Extend::extend)
}

/// Removes the given tags.
pub(super) fn delete<'a>(call: &'a Call<'_>) -> Result<Work<'a>, Refusal> {
    put(call, |_, _| {})
}

fn tags(attributes: &Map<String, Value>) -> Vec<Tag> {
    let kept = attributes.get(TAGS).cloned().unwrap_or_default();
    serde_json::from_value(kept).unwrap_or_default()
}

/// Takes the given tags away, and lets `add` add them again.
fn put<'a>(call: &'a Call<'_>, add: fn(&mut Vec<Tag>, Vec<Tag>)) -> Result<Work<'a>, Refusal> {
    let Body { tags: given } = call.object()?;
    let change = move |_: &mut Function, attributes: &mut Map<String, Value>| {
        let mut kept = tags(attributes);
        kept.retain(|tag| given.iter().all(|other| other.key != tag.key));
        add(&mut kept, given.clone());
        attributes.insert(TAGS.to_owned(), json!(kept));
        Ok(())
    };
    call.edit(change, |_| Answer::no_content())
}

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
    Ok(done(Answer::json(StatusCode::OK, &json!({ "tags": tags(call)?, "sys_tags": [] }))))
}

/// Sets the given tags.
pub(super) fn create<'a>(call: &'a Call<'_>) -> Result<Work<'a>, Refusal> {
    let Body { tags: new } = call.object()?;
    let mut kept = without(tags(call)?, &new);
    kept.extend(new);
    put(call, &kept)
}

/// Removes the given tags.
pub(super) fn delete<'a>(call: &'a Call<'_>) -> Result<Work<'a>, Refusal> {
    let Body { tags: gone } = call.object()?;
    put(call, &without(tags(call)?, &gone))
}

fn without(mut tags: Vec<Tag>, keys: &[Tag]) -> Vec<Tag> {
    tags.retain(|tag| keys.iter().all(|other| other.key != tag.key));
    tags
}

fn tags(call: &Call<'_>) -> Result<Vec<Tag>, Refusal> {
    let kept = call.target()?.attributes.get(TAGS).cloned().unwrap_or_default();
    Ok(serde_json::from_value(kept).unwrap_or_default())
}

fn put<'a>(call: &'a Call<'_>, tags: &[Tag]) -> Result<Work<'a>, Refusal> {
    let function = Function::clone(&call.target()?.function);
    let attributes = Map::from_iter([(TAGS.to_owned(), json!(tags) as Value)]);
    Ok(Box::pin(async move {
        call.state.functions.update(function, attributes);
        Answer::no_content()
    }))
}

//! Finds a project's id by its name. The name of a project is the name of its region.

use bytes::Bytes;
use http::{Method, Request};
use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::credentials::Credential;
use crate::endpoint::Endpoint;
use crate::request::Draft;
use crate::text::Shown;

use super::{LoginError, read};

/// Path of the list of projects.
const PATH: &str = "/v3/projects";

/// Ids that an error lists.
const MAX_CHOICES: usize = 8;

/// `GET /v3/projects?name=…` with the headers that the official SDK signs: no project and no content type.
pub(super) fn request(
    endpoint: &Endpoint,
    name: &str,
    credential: &Credential,
    signed_at: Timestamp,
) -> Result<Request<Bytes>, http::Error> {
    let query = vec![("name".to_owned(), name.to_owned())];
    let draft = Draft { query, ..Draft::new(Method::GET, PATH.to_owned()) };
    draft.finish(endpoint, None, credential, signed_at)
}

/// The id of the only project with that name.
pub(crate) fn only_one(
    fields: Option<Map<String, Value>>,
    name: &str,
    shown: &Shown,
) -> Result<String, LoginError> {
    let Some(Value::Array(projects)) = fields.and_then(|mut fields| fields.remove("projects")) else {
        return Err(LoginError::Malformed("it holds no list \"projects\"".into()));
    };
    let mut ids: Vec<String> = projects
        .into_iter()
        .filter_map(|project| match project {
            // The service filters by name. A proxy or an emulator might not.
            Value::Object(fields) if fields.get("name").is_none_or(|given| given == name) => Some(fields),
            _ => None,
        })
        .filter_map(|mut fields| read::take(&mut fields, &["id"]))
        .filter_map(|id| shown.id(id))
        .take(MAX_CHOICES)
        .collect();
    match (ids.pop(), ids.is_empty()) {
        (None, _) => Err(LoginError::NoProject(name.to_owned())),
        (Some(id), true) => Ok(id),
        (Some(id), false) => {
            ids.push(id);
            Err(LoginError::SeveralProjects { name: name.to_owned(), ids })
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const KEY: &str = "AKEXAMPLE0000000TEST";
    const SECRET: &str = "SKEXAMPLEKEY000000000000000000000000TEST";

    fn build(credential: &Credential) -> Request<Bytes> {
        let endpoint = "https://iam.eu-west-101.myhuaweicloud.eu".parse().unwrap();
        request(&endpoint, "eu-west-101", credential, "2024-01-02T03:04:05Z".parse().unwrap()).unwrap()
    }

    fn header<'a>(request: &'a Request<Bytes>, name: &str) -> Option<&'a str> {
        request.headers().get(name).map(|value| value.to_str().unwrap())
    }

    #[test]
    fn a_signed_look_up_equals_the_one_of_the_official_sdk() {
        let request = build(&Credential::access_key(KEY, SECRET, None).unwrap());
        assert_eq!(
            request.uri().to_string(),
            "https://iam.eu-west-101.myhuaweicloud.eu/v3/projects?name=eu-west-101"
        );
        // The vector iam_list_projects.
        assert_eq!(
            header(&request, "authorization"),
            Some(
                "SDK-HMAC-SHA256 Access=AKEXAMPLE0000000TEST, SignedHeaders=host;x-sdk-date, \
                 Signature=400e73bb35bb97260efb78a3c2fb4d8b901aa05593149e00ec11383c9f09c243"
            )
        );
        assert_eq!((header(&request, "content-type"), header(&request, "x-project-id")), (None, None));
    }

    #[test]
    fn temporary_keys_sign_their_token_and_tokens_sign_nothing() {
        let request = build(&Credential::access_key(KEY, SECRET, Some("canary".into())).unwrap());
        let authorization = header(&request, "authorization").unwrap();
        assert!(authorization.contains("SignedHeaders=host;x-sdk-date;x-security-token,"), "{authorization}");
        assert_eq!(header(&request, "x-security-token"), Some("canary"));
        assert!(!format!("{request:?}").contains("canary"));
        let request = build(&Credential::token("canary").unwrap());
        assert_eq!(
            (header(&request, "x-auth-token"), header(&request, "authorization")),
            (Some("canary"), None)
        );
        assert!(!format!("{request:?}").contains("canary"));
    }

    fn look_up(answer: &Value) -> Result<String, LoginError> {
        only_one(answer.as_object().cloned(), "eu-de", &Shown::default())
    }

    #[test]
    fn exactly_one_project_is_an_answer() {
        let of = |id: &str, name: &str| json!({"id": id, "name": name});
        let one = json!({"projects": [of("p1", "eu-de"), of("p2", "eu-de_team")], "links": {}});
        assert_eq!(look_up(&one), Ok("p1".into()));
        assert_eq!(look_up(&json!({"projects": [{"id": "p1"}]})), Ok("p1".into()));
        assert_eq!(look_up(&json!({"projects": []})), Err(LoginError::NoProject("eu-de".into())));
        let several = json!({"projects": [of("p1", "eu-de"), of("p2", "eu-de")]});
        let ids = vec!["p1".into(), "p2".into()];
        assert_eq!(look_up(&several), Err(LoginError::SeveralProjects { name: "eu-de".into(), ids }));
        for odd in [json!({}), json!({"projects": 1}), json!([])] {
            assert!(matches!(look_up(&odd), Err(LoginError::Malformed(_))));
        }
        let odd = json!({"projects": [1, {"id": 1}, {"id": "a b"}, {"id": "p", "name": 1}]});
        assert_eq!(look_up(&odd), Err(LoginError::NoProject("eu-de".into())));
    }
}

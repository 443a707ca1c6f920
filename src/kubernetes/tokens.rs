//! OIDC tokens of the Kubernetes cluster: of a ServiceAccount, or from a file of the kubelet.

use super::{Error, bounded, found};
use crate::api::names::is_object_name;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::PostParams;
use kube::config::AuthInfo;
use kube::{Api, Client};
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Lifetime of a requested token: the minimum of the API server. The operator exchanges the token at once.
const LIFETIME_SECONDS: i64 = 600;

/// Maximum length of a token in a file: the gateway refuses headers of more than 32 KB, and tokens are far smaller.
const MAX_TOKEN_BYTES: u64 = 32 * 1024;

/// A new token of a ServiceAccount, valid only for `audience`; `None` if the ServiceAccount does not exist.
pub async fn request(
    client: &Client,
    namespace: &str,
    service_account: &str,
    audience: &str,
) -> Result<Option<SecretString>, Error> {
    if !is_object_name(service_account) {
        return Ok(None);
    }
    let api: Api<ServiceAccount> = Api::namespaced(client.clone(), namespace);
    let spec = TokenRequestSpec {
        audiences: Some(vec![audience.to_owned()]),
        expiration_seconds: Some(LIFETIME_SECONDS),
        bound_object_ref: None,
    };
    let request = TokenRequest { spec: Some(spec), ..TokenRequest::default() };
    let parameters = PostParams::default();
    let made = bounded(api.create_token_request(service_account, &parameters, &request)).await;
    let Some(made) = found(made)? else { return Ok(None) };
    let token = made.status.and_then(|status| status.token).ok_or(Error::Incomplete("token"))?;
    Ok(Some(token.into()))
}

/// The current token in the file `name` of `folder`. The kubelet replaces it every hour.
///
/// The kubelet's files are links within their folder. A link that leads out of the folder is not followed.
pub fn from_file(folder: &Path, name: &str) -> io::Result<SecretString> {
    // The schema refuses such a name, but an older CRD may not.
    if name.is_empty() || name.starts_with('.') || name.contains(['/', '\\', '\0']) {
        return Err(odd("it is not a file name"));
    }
    let folder = folder.canonicalize()?;
    let path = folder.join(name).canonicalize()?;
    if !path.starts_with(&folder) {
        return Err(odd("it is a link out of the folder"));
    }
    read(&path)
}

/// The audiences of the operator's own token for the API server, from the token itself; empty if the token is missing
/// or names none.
pub fn own_audiences(auth: &AuthInfo) -> Vec<String> {
    let from_file = || auth.token_file.as_ref().and_then(|path| read(Path::new(path)).ok());
    let token = auth.token.as_ref().map(|token| token.expose_secret().to_owned().into()).or_else(from_file);
    token.map(|token: SecretString| audiences(token.expose_secret())).unwrap_or_default()
}

/// The audiences in a JWT. Does not verify its signature.
fn audiences(token: &str) -> Vec<String> {
    let claims = token.split('.').nth(1).and_then(|part| BASE64_URL_SAFE_NO_PAD.decode(part).ok());
    let claims: Option<Value> = claims.and_then(|claims| serde_json::from_slice(&claims).ok());
    let text = |value: &Value| value.as_str().map(ToOwned::to_owned);
    match claims.as_ref().and_then(|claims| claims.get("aud")) {
        Some(Value::Array(all)) => all.iter().filter_map(text).collect(),
        Some(one) => text(one).into_iter().collect(),
        None => Vec::new(),
    }
}

/// The token in a file that the platform team names.
pub fn read(path: &Path) -> io::Result<SecretString> {
    if !path.metadata()?.is_file() {
        return Err(odd("it is not a file"));
    }
    let mut text =
        Zeroizing::new(String::with_capacity(usize::try_from(MAX_TOKEN_BYTES).unwrap_or_default() + 1));
    File::open(path)?.take(MAX_TOKEN_BYTES + 1).read_to_string(&mut text)?;
    match text.trim() {
        "" => Err(odd("it is empty")),
        token if token.len() as u64 > MAX_TOKEN_BYTES => Err(odd("it is too large")),
        token => Ok(SecretString::from(token)),
    }
}

fn odd(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, why.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn t01_a_token_says_for_whom_it_was_made() {
        let of = |claims: &str| audiences(&format!("e30.{}.c2ln", BASE64_URL_SAFE_NO_PAD.encode(claims)));
        assert_eq!(of(r#"{"aud": ["https://a", "b"]}"#), ["https://a", "b"]);
        assert_eq!(of(r#"{"aud": "b"}"#), ["b"]);
        for nothing in ["{}", r#"{"aud": 1}"#, "[]", "no JSON"] {
            assert_eq!(of(nothing), Vec::<String>::new(), "{nothing}");
        }
        assert_eq!(audiences("not-a-jwt"), Vec::<String>::new());
    }

    #[test]
    fn a_token_is_read_again_through_the_links_of_the_kubelet() {
        let folder = tempfile::tempdir().unwrap();
        let write = |version: &str, token: &str| {
            fs::create_dir(folder.path().join(version)).unwrap();
            fs::write(folder.path().join(version).join("token"), token).unwrap();
            let _ = fs::remove_file(folder.path().join("..data"));
            symlink(version, folder.path().join("..data")).unwrap();
        };
        write("..1", "first\n");
        symlink("..data/token", folder.path().join("token")).unwrap();
        assert_eq!(from_file(folder.path(), "token").unwrap().expose_secret(), "first");
        write("..2", "second");
        assert_eq!(from_file(folder.path(), "token").unwrap().expose_secret(), "second");
    }

    #[test]
    fn nothing_outside_of_the_folder_is_read() {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("secret"), "secret").unwrap();
        let folder = outside.path().join("tokens");
        fs::create_dir(&folder).unwrap();
        symlink("../secret", folder.join("link")).unwrap();
        symlink(outside.path().join("secret"), folder.join("absolute")).unwrap();
        symlink("..", folder.join("up")).unwrap();
        fs::write(folder.join("empty"), " \n").unwrap();
        fs::write(folder.join("large"), "x".repeat(40_000)).unwrap();
        fs::write(folder.join(".hidden"), "secret").unwrap();
        let absolute = outside.path().join("secret");
        for name in [
            "../secret",
            "link",
            "absolute",
            "up",
            "up/secret",
            "..",
            ".",
            "",
            ".hidden",
            "empty",
            "large",
            "absent",
            absolute.to_str().unwrap(),
            "a\0b",
        ] {
            assert!(from_file(&folder, name).is_err(), "{name:?}");
        }
    }
}

//! Reads one Secret: `get` only, never cached, never listed or watched.

use super::{Error, named};
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use secrecy::zeroize::Zeroize;
use secrecy::{ExposeSecret, SecretString};
use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;

/// Keys the fingerprints: what one process calls a Secret's values says nothing outside of it.
static FINGERPRINTS: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// A Secret's values and a name for them.
pub struct Values {
    /// The values by key; what is empty or not valid UTF-8 counts as absent.
    pub by_key: BTreeMap<String, SecretString>,
    /// Changes whenever a value changes; a Secret that is only touched keeps it. Nothing can be learned from it.
    pub version: String,
    /// What the API server calls this state of it: for other replicas, who cannot compare the other name.
    pub resource_version: Option<String>,
    /// Whether its type is one of Kubernetes' own, such as that of a service account's token.
    pub is_of_kubernetes: bool,
}

/// The Secret `name` of `namespace`; `None` if there is none.
///
/// # Errors
/// When the API server did not answer, had trouble of its own, or does not allow it.
pub async fn read(client: &Client, namespace: &str, name: &str) -> Result<Option<Values>, Error> {
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let Some(secret) = named(&api, name).await? else { return Ok(None) };
    let is_of_kubernetes = secret.type_.is_some_and(|type_| {
        type_.starts_with("kubernetes.io/") || type_.starts_with("bootstrap.kubernetes.io/")
    });
    let mut by_key = BTreeMap::new();
    for (key, mut value) in secret.data.unwrap_or_default() {
        // A trailing newline is what `echo` and most editors leave; no credential ends in white space.
        if let Ok(text) = str::from_utf8(&value.0)
            && !text.trim().is_empty()
        {
            by_key.insert(key, SecretString::from(text.trim()));
        }
        value.0.zeroize();
    }
    let resource_version = secret.metadata.resource_version;
    Ok(Some(Values { version: version(&by_key), resource_version, by_key, is_of_kubernetes }))
}

fn version(by_key: &BTreeMap<String, SecretString>) -> String {
    let exposed: Vec<_> = by_key.iter().map(|(key, value)| (key, value.expose_secret())).collect();
    format!("{:016x}", FINGERPRINTS.hash_one(exposed))
}

/// A short name for public texts that belong to a credential: it changes when one of them does.
#[must_use]
pub fn name_of(texts: &[&str]) -> String {
    format!("{:016x}", FINGERPRINTS.hash_one(texts))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_have_one_name_and_others_another() {
        let of = |pairs: &[(&str, &str)]| {
            version(&pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).into())).collect())
        };
        assert_eq!(of(&[("a", "1"), ("b", "2")]), of(&[("b", "2"), ("a", "1")]));
        assert_ne!(of(&[("a", "1")]), of(&[("a", "2")]));
        assert_ne!(of(&[("a", "1")]), of(&[("a1", "")]));
        assert_ne!(of(&[("a", "1")]), of(&[("a", "1"), ("b", "2")]));
        assert_ne!(name_of(&["a", "b"]), name_of(&["ab", ""]));
    }
}

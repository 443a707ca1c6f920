//! Reads one Secret: only with `get`, without a cache, a list or a watch.

use super::{Error, named};
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use secrecy::zeroize::Zeroize;
use secrecy::{ExposeSecret, SecretString};
use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;

/// Keys the fingerprints, so that a fingerprint means nothing outside this process.
static FINGERPRINTS: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// The values of a Secret and their fingerprint.
pub struct Values {
    /// The values by key. An empty value or one that is not valid UTF-8 counts as absent.
    pub by_key: BTreeMap<String, SecretString>,
    /// Changes whenever a value changes, but not if the Secret is only touched. It reveals nothing about the values.
    pub version: String,
    /// The Secret's resourceVersion, for other replicas, which cannot compare fingerprints.
    pub resource_version: Option<String>,
    /// Whether its type is one of Kubernetes' own, such as a ServiceAccount token.
    pub is_of_kubernetes: bool,
}

/// The Secret `name` of `namespace`; `None` if it does not exist.
pub async fn read(client: &Client, namespace: &str, name: &str) -> Result<Option<Values>, Error> {
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let Some(secret) = named(&api, name).await? else { return Ok(None) };
    let is_of_kubernetes = secret.type_.is_some_and(|type_| {
        type_.starts_with("kubernetes.io/") || type_.starts_with("bootstrap.kubernetes.io/")
    });
    let mut by_key = BTreeMap::new();
    for (key, mut value) in secret.data.unwrap_or_default() {
        // `echo` and most editors add a newline at the end. No credential ends in white space.
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

/// A short name for the public texts of a credential. It changes when one of them does.
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

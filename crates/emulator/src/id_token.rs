//! Id tokens of external identity providers: reads and verifies their claims.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Requirements for a token; an absent one accepts any value.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Expected<'a> {
    pub(crate) issuer: Option<&'a str>,
    pub(crate) audience: Option<&'a str>,
    /// The key set. One of its keys must have signed the token.
    pub(crate) keys: Option<&'a Value>,
}

/// Claims of a token about its bearer.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Claims {
    #[serde(default)]
    iss: String,
    /// The subject.
    #[serde(default)]
    pub(crate) sub: String,
    /// The audience.
    #[serde(default)]
    pub(crate) aud: Audience,
    exp: f64,
    nbf: Option<f64>,
}

/// The audience of a token: one or several.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub(crate) enum Audience {
    /// No audience.
    #[default]
    None,
    /// One.
    One(String),
    /// Several.
    Many(Vec<String>),
}

/// Why a token is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Flaw {
    /// Not three parts of base64 with JSON.
    #[error("not a JSON web token with an expiry")]
    Malformed,
    /// Signed with a key that is not in the key set.
    #[error("signed with an unknown key or algorithm; use RS256 or ES256 and a key of the `jwks`")]
    Signature,
    /// Issued by another issuer.
    #[error("another issuer")]
    Issuer,
    /// For another audience.
    #[error("another audience")]
    Audience,
    /// Expired.
    #[error("expired")]
    Expired,
    /// Not valid yet.
    #[error("not valid yet")]
    NotYet,
}

/// A text that is no key set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a JSON web key set with an RSA or a P-256 key in it")]
pub struct KeySetError;

/// The header of a token.
#[derive(Deserialize)]
struct Head {
    alg: String,
    kid: Option<String>,
}

/// The keys that an identity provider signs with.
#[derive(Deserialize)]
struct KeySet {
    keys: Vec<Value>,
}

#[derive(Deserialize)]
struct NamedKey {
    kid: Option<String>,
    #[serde(flatten)]
    key: Key,
}

/// A public key, its numbers in base64.
#[derive(Deserialize)]
#[serde(tag = "kty")]
enum Key {
    #[serde(rename = "RSA")]
    Rsa { n: String, e: String },
    #[serde(rename = "EC")]
    Ec { crv: String, x: String, y: String },
}

/// The claims of a token that meets the requirements and is valid now.
pub(crate) fn check(token: &str, expected: Expected<'_>, now: Timestamp) -> Result<Claims, Flaw> {
    let (signed, signature) = token.rsplit_once('.').ok_or(Flaw::Malformed)?;
    let (head, claims) = signed.split_once('.').ok_or(Flaw::Malformed)?;
    let head: Head = part(head)?;
    let claims: Claims = part(claims)?;
    let signature = decode(signature).ok_or(Flaw::Malformed)?;
    if let Some(keys) = expected.keys {
        let keys = read_keys(keys).map_err(|_| Flaw::Signature)?;
        let named = |key: &&NamedKey| head.kid.is_none() || key.kid.is_none() || key.kid == head.kid;
        let good = |key: &NamedKey| key.key.verifies(&head.alg, signed.as_bytes(), &signature);
        if !keys.iter().filter(named).any(good) {
            return Err(Flaw::Signature);
        }
    }
    if expected.issuer.is_some_and(|issuer| issuer != claims.iss) {
        return Err(Flaw::Issuer);
    }
    if expected.audience.is_some_and(|audience| !claims.aud.includes(audience)) {
        return Err(Flaw::Audience);
    }
    let now = now.as_duration().as_secs_f64();
    if now >= claims.exp {
        return Err(Flaw::Expired);
    }
    if claims.nbf.is_some_and(|begin| now < begin) {
        return Err(Flaw::NotYet);
    }
    Ok(claims)
}

/// The usable keys of a set; at least one.
fn read_keys(set: &Value) -> Result<Vec<NamedKey>, KeySetError> {
    let set: KeySet = match set {
        // `kubectl get --raw /openid/v1/jwks` prints this format.
        Value::String(text) => serde_json::from_str(text),
        other => serde_json::from_value(other.clone()),
    }
    .map_err(|_| KeySetError)?;
    let keys: Vec<NamedKey> =
        set.keys.into_iter().filter_map(|key| serde_json::from_value(key).ok()).collect();
    if keys.is_empty() { Err(KeySetError) } else { Ok(keys) }
}

/// Whether a key set can be used.
pub(crate) fn check_keys(set: &Value) -> Result<(), KeySetError> {
    read_keys(set).map(drop)
}

fn decode(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

fn part<T: DeserializeOwned>(text: &str) -> Result<T, Flaw> {
    let json = decode(text).ok_or(Flaw::Malformed)?;
    serde_json::from_slice(&json).map_err(|_| Flaw::Malformed)
}

// === impl Audience ===

impl Audience {
    fn includes(&self, wanted: &str) -> bool {
        match self {
            Self::None => false,
            Self::One(one) => one == wanted,
            Self::Many(many) => many.iter().any(|one| one == wanted),
        }
    }

    /// The first audience.
    pub(crate) fn first(&self) -> &str {
        match self {
            Self::None => "",
            Self::One(one) => one,
            Self::Many(many) => many.first().map_or("", String::as_str),
        }
    }
}

// === impl Key ===

impl Key {
    /// Whether this key made the signature, with the algorithm of its type.
    fn verifies(&self, algorithm: &str, message: &[u8], signature: &[u8]) -> bool {
        let verified = match (self, algorithm) {
            (Self::Rsa { n, e }, "RS256") => decode(n).zip(decode(e)).and_then(|(n, e)| {
                let key = RsaPublicKeyComponents { n, e };
                key.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature).ok()
            }),
            (Self::Ec { crv, x, y }, "ES256") if crv == "P-256" => {
                decode(x).zip(decode(y)).and_then(|(x, y)| {
                    // The prefix of an uncompressed point.
                    let point = [&[4], x.as_slice(), y.as_slice()].concat();
                    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, signature).ok()
                })
            }
            _ => None,
        };
        verified.is_some()
    }
}

#[cfg(test)]
mod tests;

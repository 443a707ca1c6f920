//! Tokens signed here, and every flaw that a token can have.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
};
use serde_json::json;

use super::*;

const NOW: i64 = 1_800_000_000;

fn now() -> Timestamp {
    Timestamp::from_second(NOW).unwrap()
}

fn claims() -> Value {
    json!({"iss": "https://issuer", "sub": "somebody", "aud": ["cloud", "other"], "exp": NOW + 60})
}

fn expected(keys: Option<&Value>) -> Expected<'_> {
    Expected { issuer: Some("https://issuer"), audience: Some("cloud"), keys }
}

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A token whose signature is made by `sign`.
fn token(head: &Value, claims: &Value, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let signed = format!("{}.{}", encode(head.to_string()), encode(claims.to_string()));
    let signature = encode(sign(signed.as_bytes()));
    format!("{signed}.{signature}")
}

fn unsigned(claims: &Value) -> String {
    token(&json!({"alg": "RS256"}), claims, |_| Vec::new())
}

fn with(key: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[key] = value;
    claims
}

fn ec() -> (EcdsaKeyPair, Value) {
    let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let point = key.public_key().as_ref();
    let (x, y) = (encode(&point[1..33]), encode(&point[33..]));
    let jwk = json!({"kty": "EC", "crv": "P-256", "kid": "one", "use": "sig", "x": x, "y": y});
    (key, jwk)
}

fn sign_ec(key: &EcdsaKeyPair, message: &[u8]) -> Vec<u8> {
    key.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec()
}

#[test]
fn without_keys_only_the_claims_count() {
    let claimed = check(&unsigned(&claims()), expected(None), now()).unwrap();
    assert_eq!((claimed.sub.as_str(), claimed.aud.first()), ("somebody", "cloud"));
    let one = check(&unsigned(&with("aud", "cloud".into())), expected(None), now());
    assert_eq!(one.unwrap().aud, Audience::One("cloud".into()));
    let anything = Expected { issuer: None, audience: None, keys: None };
    assert!(check(&unsigned(&json!({"exp": NOW + 1})), anything, now()).is_ok());
}

#[test]
fn every_claim_that_is_configured_must_be_true() {
    let flaw = |claims: &Value| check(&unsigned(claims), expected(None), now()).unwrap_err();
    assert_eq!(flaw(&with("iss", "https://elsewhere".into())), Flaw::Issuer);
    assert_eq!(flaw(&with("aud", json!(["other"]))), Flaw::Audience);
    assert_eq!(flaw(&with("aud", Value::Null)), Flaw::Audience);
    assert_eq!(flaw(&with("exp", NOW.into())), Flaw::Expired);
    assert_eq!(flaw(&with("nbf", (NOW + 1).into())), Flaw::NotYet);
    assert_eq!(flaw(&with("exp", Value::Null)), Flaw::Malformed);
    for nonsense in ["", "a.b", "a.b.c", "..", "nonsense"] {
        assert_eq!(check(nonsense, expected(None), now()), Err(Flaw::Malformed), "{nonsense:?}");
    }
}

#[test]
fn a_signature_is_believed_only_with_its_own_key_and_algorithm() {
    let (key, jwk) = ec();
    let (other_key, other_jwk) = ec();
    let keys = json!({"keys": [{"kty": "oct", "k": "AAAA"}, jwk]});
    let known = expected(Some(&keys));
    let head = json!({"alg": "ES256", "kid": "one"});
    let good = token(&head, &claims(), |message| sign_ec(&key, message));
    assert!(check(&good, known, now()).is_ok());
    let forged = token(&head, &claims(), |message| sign_ec(&other_key, message));
    assert_eq!(check(&forged, known, now()), Err(Flaw::Signature));
    assert_eq!(check(&unsigned(&claims()), known, now()), Err(Flaw::Signature));
    for head in [json!({"alg": "none"}), json!({"alg": "HS256"}), json!({"alg": "ES256", "kid": "two"})] {
        let odd = token(&head, &claims(), |message| sign_ec(&key, message));
        assert_eq!(check(&odd, known, now()), Err(Flaw::Signature), "{head}");
    }
    let other_claims =
        good.replacen(&encode(claims().to_string()), &encode(with("sub", "x".into()).to_string()), 1);
    assert_eq!(check(&other_claims, known, now()), Err(Flaw::Signature));
    let text = json!({"keys": [other_jwk, jwk]}).to_string().into();
    assert!(check(&good, expected(Some(&text)), now()).is_ok(), "several keys, as text");
}

#[test]
fn rsa_keys_are_known_too() {
    let key = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    // PKCS #1: a sequence of two integers, n (with a zero in front) and e.
    let der = key.public_key().as_ref();
    let (n, e) = (&der[9..265], &der[267..]);
    let jwks = json!({"keys": [{"kty": "RSA", "alg": "RS256", "n": encode(n), "e": encode(e)}]});
    let sign = |message: &[u8]| {
        let mut signature = vec![0; key.public_modulus_len()];
        key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature).unwrap();
        signature
    };
    let good = token(&json!({"alg": "RS256", "kid": "any"}), &claims(), sign);
    assert!(check(&good, expected(Some(&jwks)), now()).is_ok());
    assert_eq!(check(&unsigned(&claims()), expected(Some(&jwks)), now()), Err(Flaw::Signature));
}

#[test]
fn a_set_without_a_usable_key_is_none() {
    assert!(check_keys(&json!({"keys": []})).is_err());
    assert!(check_keys(&json!({"keys": [{"kty": "oct", "k": "AAAA"}]})).is_err());
    assert!(check_keys(&"nonsense".into()).is_err());
    assert!(check_keys(&json!({"keys": [ec().1]})).is_ok());
}

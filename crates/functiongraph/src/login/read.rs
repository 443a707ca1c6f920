//! Reads answers of the identity services: tokens, keys and refusals, in every known spelling.

use http::HeaderMap;
use jiff::{Timestamp, civil, tz::TimeZone};
use secrecy::zeroize::Zeroize;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};

use crate::answer::{body, retry_after};
use crate::credentials::{Credential, CredentialError};
use crate::text::Shown;
use crate::transport::Seen;

use super::{Login, LoginError};

/// Header with a new token.
const X_SUBJECT_TOKEN: &str = "x-subject-token";

/// Headers with the id of the exchange: of IAM, and of the gateway before other services.
const TRACE_IDS: [&str; 2] = ["x-iam-trace-id", "x-request-id"];

/// Objects that access keys may be wrapped in.
const WRAPPERS: [&str; 2] = ["credential", "credentials"];

/// Spellings of the parts of access keys, as the official SDKs accept them.
const ACCESS: [&str; 3] = ["access", "accessKeyId", "access_key_id"];
const SECRET: [&str; 3] = ["secret", "secretAccessKey", "secret_access_key"];
const SECURITY_TOKEN: [&str; 3] = ["securitytoken", "securityToken", "security_token"];
const EXPIRY: [&str; 2] = ["expires_at", "expiration"];

/// Checks that the answer is a success. An error holds nothing that was `shown` to the server.
pub(crate) fn success(seen: Seen, shown: &Shown) -> Result<Seen, LoginError> {
    if (200..300).contains(&seen.status) { Ok(seen) } else { Err(refused(&seen, shown)) }
}

fn refused(seen: &Seen, shown: &Shown) -> LoginError {
    // A body that is not JSON is not from an identity service, so none of it is repeated.
    let body::Body { id, instance: _, code, message } = body::Body::read(&seen.body);
    let keep_id = |text| shown.id(text);
    let message = message.map(|text| shown.line(&text));
    LoginError::Refused {
        status: seen.status,
        code: code.and_then(keep_id),
        message: message.filter(|text| !text.is_empty()),
        gateway_request_id: TRACE_IDS
            .iter()
            .filter_map(|name| header(&seen.headers, name).map(str::to_owned))
            .chain(id)
            .find_map(keep_id),
        retry_after: retry_after::read(&seen.headers),
    }
}

/// Code and message, each after the separator that it needs.
pub(super) fn reason(code: Option<&str>, message: Option<&str>) -> String {
    [code, message].into_iter().flatten().flat_map(|text| [": ", text]).collect()
}

/// A new token of IAM, and its details from the body.
pub(crate) fn token(mut seen: Seen) -> Result<Login, LoginError> {
    let token = subject_token(&seen)?;
    // Only the header is required. The token stays valid if the body cannot be read.
    let mut about = match object(&mut seen).and_then(|mut fields| fields.remove("token")) {
        Some(Value::Object(about)) => about,
        _ => Map::new(),
    };
    let project_id = about.get_mut("project").and_then(Value::as_object_mut).and_then(|p| take(p, &["id"]));
    let credential = Credential::token(token).map_err(|error| unusable(&error))?;
    Ok(Login {
        expires_at: take(&mut about, &EXPIRY).and_then(|text| time(&text)),
        project_id: project_id.and_then(|id| Shown::credential(&credential).id(id)),
        credential,
    })
}

/// The new token alone.
pub(super) fn subject_token(seen: &Seen) -> Result<SecretString, LoginError> {
    match header(&seen.headers, X_SUBJECT_TOKEN).map(str::trim) {
        Some(token) if !token.is_empty() => Ok(token.into()),
        _ => Err(LoginError::Malformed("there is no token in the header X-Subject-Token".into())),
    }
}

/// Temporary access keys, bare or wrapped.
pub(crate) fn keys(mut seen: Seen) -> Result<Login, LoginError> {
    let mut fields = object(&mut seen)
        .ok_or_else(|| LoginError::Malformed("it is no JSON object, or not all of it".into()))?;
    let wrapped = WRAPPERS.iter().find_map(|name| match fields.remove(*name) {
        Some(Value::Object(inner)) => Some(inner),
        _ => None,
    });
    let mut fields = wrapped.unwrap_or(fields);
    let mut part = |names: &[&str]| {
        take(&mut fields, names).ok_or_else(|| LoginError::Malformed(format!("it holds no {:?}", names[0])))
    };
    let (id, secret) = (part(&ACCESS)?, SecretString::from(part(&SECRET)?));
    // Keys of a login are temporary, and useless without the security token.
    let security_token = SecretString::from(part(&SECURITY_TOKEN)?);
    Ok(Login {
        credential: Credential::access_key(id, secret, Some(security_token))
            .map_err(|error| unusable(&error))?,
        expires_at: take(&mut fields, &EXPIRY).and_then(|text| time(&text)),
        project_id: None,
    })
}

/// The body as a JSON object. Wipes the bytes of the body.
pub(crate) fn object(seen: &mut Seen) -> Option<Map<String, Value>> {
    let read = serde_json::from_slice(&seen.body);
    seen.body.as_mut().zeroize();
    match read {
        Ok(Value::Object(fields)) => Some(fields),
        _ => None,
    }
}

/// A body that is one short secret text. Wipes the bytes of the body.
pub(crate) fn text(mut seen: Seen) -> Result<SecretString, LoginError> {
    let read = std::str::from_utf8(&seen.body).map(|text| SecretString::from(text.trim()));
    seen.body.as_mut().zeroize();
    match read {
        Ok(text) if !text.expose_secret().is_empty() => Ok(text),
        _ => Err(LoginError::Malformed("it holds no token".into())),
    }
}

/// Takes a text by the first of its names that is present. An answer may use several spellings at once.
pub(super) fn take(fields: &mut Map<String, Value>, names: &[&str]) -> Option<String> {
    names.iter().find_map(|name| match fields.remove(*name) {
        Some(Value::String(text)) if !text.is_empty() => Some(text),
        _ => None,
    })
}

/// A time; without a zone it is UTC, as in the rest of the service.
fn time(text: &str) -> Option<Timestamp> {
    let in_utc = |time: civil::DateTime| time.to_zoned(TimeZone::UTC).ok().map(|time| time.timestamp());
    text.parse().ok().or_else(|| text.parse().ok().and_then(in_utc))
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn unusable(error: &CredentialError) -> LoginError {
    LoginError::Malformed(error.to_string())
}

#[cfg(test)]
mod tests;

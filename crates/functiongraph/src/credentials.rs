//! Credentials that authenticate a request: an access key signs it, a token is sent with it.

use secrecy::{ExposeSecret, SecretString};

/// Longest value accepted: the gateway refuses a header of more than 32 KB.
const MAX_LENGTH: usize = 32 * 1024;

/// An access key or a token.
///
/// # Guarantees
/// Every part is a valid header value, so building a request never fails because of its credential. Secrets are wiped
/// from memory when the last clone is dropped, and neither `Debug` nor an error shows them.
#[derive(Debug, Clone)]
pub struct Credential(Parts);

/// The parts of a [`Credential`]. The types of the secret parts do not show their content.
#[derive(Debug, Clone)]
pub(crate) enum Parts {
    /// Signs the request.
    AccessKey {
        /// Public id of the key.
        id: String,
        /// Secret key for the signature, never sent.
        secret: SecretString,
        /// Sent beside the signature when the key is temporary.
        security_token: Option<SecretString>,
    },
    /// Is sent with the request.
    Token(SecretString),
}

/// Type of a credential. The answers to the two types are read differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CredentialKind {
    /// An access key, permanent or temporary.
    AccessKey,
    /// A token of the identity service.
    Token,
}

/// Why a text cannot be part of a credential. Names the part and never shows its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// A part has no text.
    #[error("{0} is empty")]
    Empty(&'static str),
    /// A part is longer than any header may be.
    #[error("{0} is longer than {MAX_LENGTH} bytes")]
    TooLong(&'static str),
    /// A part holds a character that no key or token holds.
    #[error(
        "{0} holds a space, a line break or another character that cannot be sent in a header. Check for one at its end."
    )]
    Character(&'static str),
}

// === impl Credential ===

impl Credential {
    /// An access key; with a security token if the key is temporary.
    ///
    /// # Errors
    /// The first part that is empty, too long, or not a valid header value.
    pub fn access_key(
        id: impl Into<String>,
        secret: impl Into<SecretString>,
        security_token: Option<SecretString>,
    ) -> Result<Self, CredentialError> {
        let (id, secret) = (id.into(), secret.into());
        check("the access key id", &id)?;
        // The header separates its parts by commas.
        if id.contains(',') {
            return Err(CredentialError::Character("the access key id"));
        }
        check("the secret access key", secret.expose_secret())?;
        if let Some(token) = &security_token {
            check("the security token", token.expose_secret())?;
        }
        Ok(Self(Parts::AccessKey { id, secret, security_token }))
    }

    /// A token of the identity service, scoped to the project of the functions it is for.
    ///
    /// # Errors
    /// The token is empty, too long, or not a valid header value.
    pub fn token(token: impl Into<SecretString>) -> Result<Self, CredentialError> {
        let token = token.into();
        check("the token", token.expose_secret())?;
        Ok(Self(Parts::Token(token)))
    }

    /// The type of this credential.
    #[must_use]
    pub fn kind(&self) -> CredentialKind {
        match self.0 {
            Parts::AccessKey { .. } => CredentialKind::AccessKey,
            Parts::Token(_) => CredentialKind::Token,
        }
    }

    /// The secret parts, in any order.
    pub(crate) fn secrets(&self) -> Vec<&SecretString> {
        match &self.0 {
            Parts::AccessKey { secret, security_token, .. } => {
                [Some(secret), security_token.as_ref()].into_iter().flatten().collect()
            }
            Parts::Token(token) => vec![token],
        }
    }

    pub(crate) fn parts(&self) -> &Parts {
        &self.0
    }
}

fn check(part: &'static str, text: &str) -> Result<(), CredentialError> {
    if text.is_empty() {
        Err(CredentialError::Empty(part))
    } else if text.len() > MAX_LENGTH {
        Err(CredentialError::TooLong(part))
    } else if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        Err(CredentialError::Character(part))
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CANARY: &str = "canary-0123456789";

    fn temporary() -> Credential {
        Credential::access_key("AKID", "secret-key", Some(CANARY.into())).unwrap()
    }

    #[test]
    fn t08_debug_shows_no_secret() {
        let shown = format!("{:?} {:?}", temporary(), Credential::token(CANARY).unwrap());
        assert!(!shown.contains(CANARY) && !shown.contains("secret-key"), "{shown}");
        assert!(shown.contains("AKID"), "{shown}");
    }

    #[test]
    fn a_part_that_is_no_valid_header_value_is_refused() {
        for bad in ["", "a b", "a\n", "a\r\nX-Evil: 1", "a\0", "ä", "a\u{7f}"] {
            assert!(Credential::token(bad).is_err(), "{bad:?}");
            assert!(Credential::access_key(bad, "s", None).is_err(), "{bad:?}");
            assert!(Credential::access_key("i", bad, None).is_err(), "{bad:?}");
            assert!(Credential::access_key("i", "s", Some(bad.into())).is_err(), "{bad:?}");
        }
        assert_eq!(
            Credential::access_key("a,b", "s", None).unwrap_err(),
            CredentialError::Character("the access key id")
        );
        assert_eq!(Credential::token("x".repeat(32_769)).unwrap_err(), CredentialError::TooLong("the token"));
    }

    #[test]
    fn an_error_names_the_part_and_not_its_text() {
        let error = Credential::token(format!("{CANARY}\n")).unwrap_err();
        assert!(error.to_string().starts_with("the token holds"), "{error}");
        assert!(!format!("{error} {error:?}").contains(CANARY));
    }
}

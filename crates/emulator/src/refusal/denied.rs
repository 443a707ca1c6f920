//! Why the identity services refuse a login, each with its known format and message.

use http::StatusCode;

use crate::answer::Answer;
use crate::api::Source;

/// Why an identity service refuses a login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Denied {
    /// The body is malformed.
    InvalidBody,
    /// This parameter of the body is out of range.
    InvalidParameter(&'static str),
    /// No such user, or another password.
    WrongPassword,
    /// A missing, unusable or expired credential.
    Unauthenticated,
    /// There is no such endpoint or metadata.
    NotHere,
    /// The id token is invalid.
    IdToken,
    /// The id token is valid, but its bearer is not allowed.
    Forbidden,
    /// There is no agency with this URN.
    UnknownAgency(String),
    /// The type and the name of an unknown object.
    Unknown(&'static str, String),
}

impl Denied {
    /// The answer of one of the services.
    pub(super) fn answer(&self, source: Source) -> Answer {
        let (status, code, message) = self.parts();
        if source == Source::Sts {
            // The STS has no 401: an invalid token is an invalid parameter.
            let status = if status == StatusCode::UNAUTHORIZED { StatusCode::BAD_REQUEST } else { status };
            return Answer::sts(status, self.sts_code(), message);
        }
        match source {
            Source::Local => Answer::raw(status, Some("text/plain"), message),
            Source::Keystone => Answer::keystone(status, message),
            Source::Iam => Answer::iam(status, code, message),
            Source::Sts | Source::FunctionGraph => Answer::service(status, code, message),
        }
    }

    /// The code of the STS. The documents have one for an unknown agency, and the other as an example.
    fn sts_code(&self) -> &'static str {
        if matches!(self, Self::UnknownAgency(_)) { "STS5.1106" } else { "STS5.1001" }
    }

    fn parts(&self) -> (StatusCode, &'static str, String) {
        use StatusCode as S;
        match self {
            Self::InvalidBody => (S::BAD_REQUEST, "IAM.0011", "The request body is invalid".to_owned()),
            Self::InvalidParameter(name) => {
                (S::BAD_REQUEST, "IAM.0007", format!("Request parameter {name} is invalid."))
            }
            Self::WrongPassword => {
                (S::UNAUTHORIZED, "IAM.0001", "The username or password is wrong.".to_owned())
            }
            Self::IdToken | Self::Unauthenticated => {
                (S::UNAUTHORIZED, "IAM.0001", "The request you have made requires authentication.".to_owned())
            }
            Self::NotHere => (S::NOT_FOUND, "IAM.0004", "Not found.".to_owned()),
            Self::Forbidden => (
                S::FORBIDDEN,
                "IAM.0002",
                "You are not authorized to perform the requested action.".to_owned(),
            ),
            Self::UnknownAgency(urn) => {
                (S::NOT_FOUND, "IAM.0004", format!("the agency '{urn}' cannot be found"))
            }
            Self::Unknown(kind, name) => {
                (S::NOT_FOUND, "IAM.0004", format!("Could not find {kind}: {name}."))
            }
        }
    }
}

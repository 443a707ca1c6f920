//! Why the identity services refuse, each in the shape and in the words that it is known for.

use http::StatusCode;

use crate::answer::Answer;
use crate::api::Source;

/// Why an identity service refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Denied {
    /// The body is not what the API takes.
    InvalidBody,
    /// This parameter of the body is out of range.
    InvalidParameter(&'static str),
    /// No such user, or another password.
    WrongPassword,
    /// No credential that counts here, or one that is good no more.
    Unauthenticated,
    /// It is not what is asked for.
    NotHere,
    /// The id token is not believed.
    IdToken,
    /// It is believed, but its bearer may not come in.
    Forbidden,
    /// No agency is called so.
    UnknownAgency(String),
    /// What was asked for is not known: its kind, and how it was called.
    Unknown(&'static str, String),
}

impl Denied {
    /// The answer of one of the services.
    pub(super) fn answer(&self, source: Source) -> Answer {
        let (status, code, message) = self.parts();
        if source == Source::Sts {
            // It knows no 401: a token that is not believed is a parameter that is wrong.
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

    /// The code of the STS. Documented are the one of the agency, and the other as an example.
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

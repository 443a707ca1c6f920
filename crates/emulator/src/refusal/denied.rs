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
    /// What was asked for is not known: its kind, and how it was called.
    Unknown(&'static str, String),
}

impl Denied {
    /// The answer of one of the services.
    pub(super) fn answer(&self, source: Source) -> Answer {
        let (status, code, message) = self.parts();
        match source {
            Source::Keystone => Answer::keystone(status, message),
            Source::Iam => Answer::iam(status, code, message),
            Source::FunctionGraph => Answer::service(status, code, message),
        }
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
            Self::Unauthenticated => {
                (S::UNAUTHORIZED, "IAM.0001", "The request you have made requires authentication.".to_owned())
            }
            Self::Unknown(kind, name) => {
                (S::NOT_FOUND, "IAM.0004", format!("Could not find {kind}: {name}."))
            }
        }
    }
}

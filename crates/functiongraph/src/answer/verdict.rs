//! Classifies an answer: the event was accepted, it was refused, or the answer is ambiguous.

use super::Answer;
use crate::credentials::CredentialKind;
use crate::invocation::Kind;

/// "Access denied": the user is not on the list of users who may make a call.
const NOT_ON_THE_LIST: &str = "FSS.1118";

/// The meaning of an answer.
///
/// # Assumptions
/// 429 and 503 mean "not queued". The service's documents read so, but do not promise it. This is least certain for a
/// 503 from another server, so [`Verdict::Unavailable`] says who sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// The event is queued or was executed; see [`Answer::sync`] for the result. The id may be unknown. Sending it
    /// again would run the function twice.
    Accepted,
    /// Too many requests; the event was not queued. Send fewer requests, and try again later.
    Throttled,
    /// The function is switched off; the event was not queued. A person must switch it on.
    FunctionDisabled,
    /// Service unavailable; the event was presumably not queued. Try later.
    Unavailable {
        /// The body carries an error code of the service or its gateway, so the answer is not from a proxy.
        by_the_service: bool,
    },
    /// The credential was refused or is locked; the event was not queued. More than five failures in a row lock an
    /// access key for five minutes.
    Unauthenticated,
    /// The request is wrong or forbidden, and the same request will be refused again; the event was not queued. This
    /// includes `FSS.1118` (the user is not on the list of users who may make a call), despite its status 401.
    Refused,
    /// A redirect, which the client does not follow. No document of the service mentions one.
    Redirected,
    /// The event may have been queued or not.
    Ambiguous,
}

/// Meanings of a message beyond its code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Notice {
    /// The function is switched off.
    FunctionDisabled,
    /// The token was not accepted.
    InvalidToken,
    /// The access key failed too often.
    KeyLocked,
    /// The request was signed too long ago, or in the future.
    SignatureExpired,
}

impl Notice {
    /// The meaning of a message. Ignores case, because messages may change.
    pub(super) fn of(message: &str) -> Option<Self> {
        let message = message.to_lowercase();
        let says = |words: &[&str]| words.iter().all(|word| message.contains(word));
        let known = [
            (Self::KeyLocked, ["ak access failed to reach the limit"].as_slice()),
            (Self::InvalidToken, &["invalid token"]),
            (Self::SignatureExpired, &["signature", "expired"]),
            (Self::FunctionDisabled, &["function", "disabled"]),
        ];
        known.into_iter().find(|(_, words)| says(words)).map(|(notice, _)| notice)
    }
}

impl Answer {
    /// The meaning of this answer to an invocation of this kind with this kind of credential.
    #[must_use]
    pub fn verdict(&self, kind: Kind, credential: CredentialKind) -> Verdict {
        let expected = match kind {
            Kind::Async | Kind::Reserved => 202,
            Kind::Sync { .. } => 200,
        };
        if self.status == expected { Verdict::Accepted } else { self.failure(credential) }
    }

    /// The meaning of this answer to a call other than an invocation. Every success is [`Verdict::Accepted`]; for
    /// "the event", read the object of the call.
    #[must_use]
    pub fn verdict_of_call(&self, credential: CredentialKind) -> Verdict {
        if self.is_success() { Verdict::Accepted } else { self.failure(credential) }
    }

    /// The meaning of every answer except the expected success. The status decides. The body only refines a certain
    /// refusal; it never turns an ambiguous answer into a refusal.
    fn failure(&self, credential: CredentialKind) -> Verdict {
        match self.status {
            300..=399 => Verdict::Redirected,
            408 => Verdict::Ambiguous,
            400..=499 => self.refusal(credential),
            503 => Verdict::Unavailable { by_the_service: self.is_from_the_service() },
            // 5xx: the event may have been queued before the error occurred. 1xx and 2xx: only one other status means
            // success.
            _ => Verdict::Ambiguous,
        }
    }

    /// The exact kind of refusal.
    fn refusal(&self, credential: CredentialKind) -> Verdict {
        match self.status {
            // The gateway's own rate limit takes precedence.
            _ if self.has_gateway_code(&["0308"]) => Verdict::Throttled,
            401 if self.error_code.as_deref() == Some(NOT_ON_THE_LIST) => Verdict::Refused,
            401 => Verdict::Unauthenticated,
            403 if self.blames(credential) => Verdict::Unauthenticated,
            // Documented as "Function Disabled", with the code of every other 429.
            429 if self.says(Notice::FunctionDisabled) => Verdict::FunctionDisabled,
            429 => Verdict::Throttled,
            _ => Verdict::Refused,
        }
    }

    /// Whether a 403 is about the credential and not about the request.
    fn blames(&self, credential: CredentialKind) -> bool {
        let by_text = match credential {
            CredentialKind::AccessKey => self.says(Notice::KeyLocked),
            CredentialKind::Token => self.says(Notice::InvalidToken),
        };
        by_text || self.has_gateway_code(&["0301", "0305", "0307"])
    }

    /// Whether the signature was refused for its time: the clocks of the service and the caller differ by more than
    /// 15 minutes.
    #[must_use]
    pub fn is_about_the_clock(&self) -> bool {
        self.status == 401 && self.says(Notice::SignatureExpired)
    }

    /// Whether the service or its gateway sent this message. Their messages come with their codes. A message without
    /// such a code is from another server.
    fn says(&self, notice: Notice) -> bool {
        self.notice == Some(notice) && self.is_from_the_service()
    }

    /// Whether the error code is one of these codes of the gateway. The gateway spells its name in two ways.
    fn has_gateway_code(&self, numbers: &[&str]) -> bool {
        matches!(self.code_parts(), Some(("APIG" | "APIGW", number)) if numbers.contains(&number))
    }

    /// Whether the answer carries an error code of the service or its gateway, so it is not from a proxy.
    #[must_use]
    pub fn is_from_the_service(&self) -> bool {
        matches!(self.code_parts(), Some(("FSS" | "APIG" | "APIGW", _)))
    }

    /// Whether a failure speaks of the function: it carries a code of the service, not of its gateway. `FSS.0503` speaks
    /// of the service as a whole.
    #[must_use]
    pub fn is_about_the_function(&self) -> bool {
        matches!(self.code_parts(), Some(("FSS", number)) if number != "0503")
    }

    fn code_parts(&self) -> Option<(&str, &str)> {
        self.error_code.as_ref()?.split_once('.')
    }
}

//! What an answer means: was the event accepted, was it refused, or can nobody tell?

use super::Answer;
use crate::credentials::CredentialKind;
use crate::invocation::Kind;

/// "Access denied", said to a user who is not on the list of those who may make a call.
const NOT_ON_THE_LIST: &str = "FSS.1118";

/// The meaning of an answer.
///
/// # Assumptions
/// That 429 and 503 mean "not queued" is how the service's documents read; none promises it. It is weakest for a 503
/// that does not come from the service itself, so [`Verdict::Unavailable`] says which it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// The event is queued, or has been executed (how that ended is said by [`Answer::sync`]). The id may be unknown;
    /// sending again would run the function twice.
    Accepted,
    /// Too many requests; the event was not queued. Slow down, try later.
    Throttled,
    /// The function is switched off; the event was not queued. A person has to act.
    FunctionDisabled,
    /// Service unavailable; the event was presumably not queued. Try later.
    Unavailable {
        /// The body carries an error code of the service or its gateway, so it is not some proxy that answers.
        by_the_service: bool,
    },
    /// The credential was not accepted, or is locked; the event was not queued. More than five failures in a row lock
    /// an access key for five minutes.
    Unauthenticated,
    /// The request is wrong or forbidden and will stay so; the event was not queued. A user who is not on the list of
    /// those who may make a call is refused (`FSS.1118`), though the status is that of a wrong credential.
    Refused,
    /// The answer points elsewhere. Nothing in the service's documents does, and the redirect was not followed.
    Redirected,
    /// Nobody can tell from this answer whether the event was queued.
    Ambiguous,
}

/// What a message of the service can say beside its code.
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
    /// What a message says, in any case: messages are not stable.
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
    /// What this answer means, when it was given to an invocation of such a kind with such a credential.
    #[must_use]
    pub fn verdict(&self, kind: Kind, credential: CredentialKind) -> Verdict {
        let expected = match kind {
            Kind::Async | Kind::Reserved => 202,
            Kind::Sync { .. } => 200,
        };
        if self.status == expected { Verdict::Accepted } else { self.failure(credential) }
    }

    /// What this answer means, when it was given to a call that is not an invocation: every success is
    /// [`Verdict::Accepted`], and "the event" stands for whatever the call was to do.
    #[must_use]
    pub fn verdict_of_call(&self, credential: CredentialKind) -> Verdict {
        if self.is_success() { Verdict::Accepted } else { self.failure(credential) }
    }

    /// The meaning of everything that is not the success one waits for. The status decides: only of a certain refusal
    /// does the body say more, and it never makes a refusal of what may have been accepted.
    fn failure(&self, credential: CredentialKind) -> Verdict {
        match self.status {
            300..=399 => Verdict::Redirected,
            408 => Verdict::Ambiguous,
            400..=499 => self.refusal(credential),
            503 => Verdict::Unavailable { by_the_service: self.is_from_the_service() },
            // Of 5xx: the event may have been queued before things went wrong. Of 1xx and 2xx: the one answer that
            // means success is another.
            _ => Verdict::Ambiguous,
        }
    }

    /// Which refusal it is.
    fn refusal(&self, credential: CredentialKind) -> Verdict {
        match self.status {
            // The gateway's own rate limit comes before everything else.
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

    /// Whether a 403 is about the credential rather than about what was asked with it.
    fn blames(&self, credential: CredentialKind) -> bool {
        let by_text = match credential {
            CredentialKind::AccessKey => self.says(Notice::KeyLocked),
            CredentialKind::Token => self.says(Notice::InvalidToken),
        };
        by_text || self.has_gateway_code(&["0301", "0305", "0307"])
    }

    /// Whether the signature was refused for its time: the clocks of service and caller differ by more than 15 minutes.
    #[must_use]
    pub fn is_about_the_clock(&self) -> bool {
        self.status == 401 && self.says(Notice::SignatureExpired)
    }

    /// Whether the service or its gateway says so. Its messages come with its codes, so a message without one is
    /// somebody else's.
    fn says(&self, notice: Notice) -> bool {
        self.notice == Some(notice) && self.is_from_the_service()
    }

    /// Whether the error code is one of these of the gateway, which spells its name in two ways.
    fn has_gateway_code(&self, numbers: &[&str]) -> bool {
        matches!(self.code_parts(), Some(("APIG" | "APIGW", number)) if numbers.contains(&number))
    }

    fn is_from_the_service(&self) -> bool {
        matches!(self.code_parts(), Some(("FSS" | "APIG" | "APIGW", _)))
    }

    fn code_parts(&self) -> Option<(&str, &str)> {
        self.error_code.as_ref()?.split_once('.')
    }
}

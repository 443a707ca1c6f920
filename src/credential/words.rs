//! Why a credential cannot be used, in sentences for the provider's status.

use super::{Call, Failure, Lock, Proof, Source, Stop};
use crate::api::Reason;

/// How the message of an answer begins that is about the time of the signature.
pub const CLOCK_DIFFERS: &str =
    "the clock of the operator differs from the service's by more than 15 minutes";

/// What a provider says of a refusal, until the operator tries again.
pub fn refused(source: &Source, call: Call, said: &str) -> Stop {
    let (name, said) = (&source.name, said.trim_end_matches('.'));
    let message = match call {
        Call::Check if said.starts_with(CLOCK_DIFFERS) => {
            format!(
                "The service does not accept the signature, because {said}, and the operator tries again."
            )
        }
        Call::Check => format!("The service does not accept {name}: {said}. {}", source.remedy),
        Call::LogIn | Call::FindProject => {
            format!("The identity service does not accept {name}: {said}. {}", source.remedy)
        }
    };
    stop(Reason::CredentialsInvalid, message)
}

/// What a provider says while too many secrets of its principal were refused. It names no time that is left, which would
/// be another text at each reconcile.
pub fn locked(source: &Source) -> Stop {
    let who = match source.lock {
        Lock::Password => "user",
        Lock::AccessKey | Lock::None => "access key",
    };
    let message = format!(
        "The service refused several secrets of the same {who}. The operator does not try {} yet, because another failure could lock the {who}. It tries again up to {} minutes after the latest failure.",
        source.name,
        source.lock.window().as_secs() / 60 + 1
    );
    stop(Reason::CredentialsInvalid, message)
}

/// What a provider without a credential says of a call that failed.
pub fn failed(source: &Source, call: Call, failure: &Failure) -> Stop {
    let clause = |why: &str| why.trim_end_matches('.').to_owned();
    match failure {
        Failure::Obstacle(reason, message, _) | Failure::Unproven(reason, message, _) => {
            stop(*reason, message.clone())
        }
        Failure::Denied(said) if call == Call::FindProject => stop(
            Reason::CredentialsInvalid,
            format!(
                "The identity service refused to look up the project: {}. Set spec.projectID, or correct the cause.",
                clause(said)
            ),
        ),
        Failure::Denied(said) => refused(source, call, said),
        Failure::Passing(why, _) if call == Call::FindProject => stop(
            Reason::EndpointUnreachable,
            format!(
                "The operator cannot look up the project: {}. It tries again. You can set spec.projectID instead.",
                clause(why)
            ),
        ),
        Failure::Passing(why, _) => stop(
            Reason::EndpointUnreachable,
            format!("The operator cannot log in with {}: {}. It tries again.", source.name, clause(why)),
        ),
    }
}

pub fn stop(reason: Reason, message: String) -> Stop {
    Stop { reason, message, until: None }
}

impl Proof {
    /// What a provider that is ready says of its credential in this project.
    pub fn message(&self, project: &str) -> String {
        match self {
            Self::Accepted => format!(
                "FunctionGraph accepted the credential. The operator has read the list of functions of project {project}."
            ),
            Self::Restricted(said) => format!(
                "FunctionGraph accepted the credential and refused to list functions ({said}). Invoking needs no such permission. If invocations fail too, check spec.projectID and the permissions of the credential."
            ),
            Self::Unchecked { said, used: _ } => format!(
                "The credential could not be checked, because the endpoint does not know the list of functions ({said}). If invocations fail too, check spec.endpoint and spec.protocolVersion."
            ),
        }
    }
}

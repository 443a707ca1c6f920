//! Ways to a credential: each is asked once, and says until when the credential lives.
//!
//! | where | what is given | what comes back |
//! |---|---|---|
//! | [`Iam::password`] | an IAM user's name and password | a token of one project |
//! | [`Iam::token_for_id_token`] | an OIDC token, the id of an identity provider | a token of one project |
//! | [`Iam::keys_for_id_token`] | the same | temporary access keys |
//! | [`Sts::assume_with_oidc`] | an OIDC token, URNs of an identity provider and an agency (IAM 5) | temporary access keys |
//! | [`PodIdentity::login`] | the token of a Pod of CCE | temporary access keys |
//! | [`Metadata::login`] | nothing: who asks runs on the cloud server | temporary access keys |
//!
//! [`Iam::project_id`] finds the project of a region; [`renew_at`] says when to ask again.
//!
//! # Guarantees
//! * A request is written at most once, without redirects or proxies; at most 256 KiB of an answer are read.
//! * Secrets travel over TLS, but to pod identity and metadata, which know none: those are local ([`LocalUrl`]).
//! * No error and no `Debug` shows a secret, not even one that a server repeats.
//! * Bodies that hold secrets are wiped from the memory of this crate; copies in the buffers of the HTTP and TLS
//!   libraries are not in its power.
//!
//! [`LocalUrl`]: crate::LocalUrl

mod body;
mod exchange;
mod iam;
mod metadata;
mod pod_identity;
pub(crate) mod projects;
pub(crate) mod read;
mod renewal;
mod sts;

use std::time::Duration;

use jiff::Timestamp;

use crate::credentials::Credential;
use crate::error::SendError;
use crate::text::Clean;

pub use iam::{Iam, Project, User};
pub use metadata::Metadata;
pub use pod_identity::PodIdentity;
pub use renewal::renew_at;
pub use sts::{Agency, Sts};

/// What a login brought.
#[derive(Debug, Clone)]
pub struct Login {
    /// Authenticates requests from now on.
    pub credential: Credential,
    /// When it ends, if the answer said so legibly.
    pub expires_at: Option<Timestamp>,
    /// The project that it is for, if the answer said so; only tokens of a project do.
    pub project_id: Option<String>,
}

/// Why there is no credential, or no project.
///
/// All texts are on one line, short, and repeat nothing of the secrets that were sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoginError {
    /// The other side answered with something else than a success.
    #[error("refused with status {status}{}", read::reason(code.as_deref(), message.as_deref()))]
    Refused {
        /// HTTP status.
        status: u16,
        /// Code of the error, such as `IAM.0001`; some services repeat the status here.
        code: Option<String>,
        /// Message of the error, at most 1024 characters. Not a stable text.
        message: Option<Clean>,
        /// Id of the exchange, for support requests: from `X-IAM-Trace-Id`, else `X-Request-Id`, else the body.
        gateway_request_id: Option<String>,
        /// How long to wait before trying again, if the answer says so.
        retry_after: Option<Duration>,
    },
    /// A success that holds no usable credential, or no list of projects.
    #[error("the answer cannot be used: {0}")]
    Malformed(String),
    /// There is no project of this name, or this credential may not see it.
    #[error("there is no project {0:?} that this credential may see; give the project's id")]
    NoProject(String),
    /// There are several projects of this name.
    #[error("there are several projects {name:?}: give the id of one of them ({})", ids.join(", "))]
    SeveralProjects {
        /// The name that was asked for.
        name: String,
        /// Their ids, at most 8.
        ids: Vec<String>,
    },
    /// There is no answer.
    #[error(transparent)]
    Send(#[from] SendError),
}

// === impl LoginError ===

impl LoginError {
    /// Whether the same login would be refused again until somebody changes something: the credential, a permission,
    /// or what is asked for. Everything else (no answer, too many requests, a server in trouble, an answer that is
    /// none) may pass by itself.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        match self {
            // A redirect is not followed and says that the endpoint is not the right one. 408, 425 and 429 are about
            // the moment.
            Self::Refused { status, .. } => (300..500).contains(status) && !matches!(status, 408 | 425 | 429),
            Self::NoProject(_) | Self::SeveralProjects { .. } => true,
            Self::Malformed(_) | Self::Send(_) => false,
        }
    }

    /// Whether it is what was shown that is refused: a password, an OIDC token, an access key. Every other refusal may be
    /// about the place where it was shown, or somebody's slip in a policy, and takes nothing from a credential that was
    /// had before.
    #[must_use]
    pub fn is_of_credential(&self) -> bool {
        matches!(self, Self::Refused { status: 401, .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16) -> LoginError {
        LoginError::Refused {
            status,
            code: Some("IAM.0001".into()),
            message: Some(Clean::line("no")),
            gateway_request_id: None,
            retry_after: None,
        }
    }

    #[test]
    fn only_what_would_be_refused_again_is_a_refusal() {
        for status in [301, 307, 400, 401, 403, 404, 409] {
            assert!(refused(status).is_refusal(), "{status}");
            assert_eq!(refused(status).is_of_credential(), status == 401, "{status}");
        }
        for status in [408, 425, 429, 500, 502, 503, 504] {
            assert!(!refused(status).is_refusal(), "{status}");
        }
        assert!(LoginError::NoProject("eu-de".into()).is_refusal());
        assert!(LoginError::SeveralProjects { name: "eu-de".into(), ids: Vec::new() }.is_refusal());
        assert!(!LoginError::Malformed("no token".into()).is_refusal());
        assert!(!LoginError::Send(SendError::NotSent("Connection refused".into())).is_refusal());
    }

    #[test]
    fn an_error_says_what_to_do_on_one_line() {
        assert_eq!(refused(401).to_string(), "refused with status 401: IAM.0001: no");
        let several = LoginError::SeveralProjects { name: "eu-de".into(), ids: vec!["a".into(), "b".into()] };
        assert_eq!(
            several.to_string(),
            "there are several projects \"eu-de\": give the id of one of them (a, b)"
        );
    }
}

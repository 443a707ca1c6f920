//! Logins: each exchanges what you have for a credential, and says when the credential expires.
//!
//! | login | you give | you get |
//! |---|---|---|
//! | [`Iam::password`] | an IAM user's name and password | a token of one project |
//! | [`Iam::token_for_id_token`] | an OIDC token, the id of an identity provider | a token of one project |
//! | [`Iam::keys_for_id_token`] | the same | temporary access keys |
//! | [`Sts::assume_with_oidc`] | an OIDC token, URNs of an identity provider and an agency (IAM 5) | temporary access keys |
//! | [`PodIdentity::login`] | the token of a Pod of CCE | temporary access keys |
//! | [`Metadata::login`] | nothing; the process runs on the cloud server | temporary access keys |
//!
//! [`Iam::project_id`] finds the project of a region; [`renew_at`] says when to log in again.
//!
//! # Guarantees
//! * A request is written at most once, without redirects or proxies; at most 256 KiB of an answer are read.
//! * Secrets travel over TLS. Only pod identity and metadata have no TLS, and those must be local ([`LocalUrl`]).
//! * No error and no `Debug` shows a secret, even if the server repeats one.
//! * The crate wipes bodies with secrets from its own memory. It cannot wipe copies in the buffers of the HTTP and
//!   TLS libraries.
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

/// Result of a login.
#[derive(Debug, Clone)]
pub struct Login {
    /// Credential for the following requests.
    pub credential: Credential,
    /// When the credential expires, if the answer said so in a readable way.
    pub expires_at: Option<Timestamp>,
    /// The project of the credential. Only tokens of a project have one.
    pub project_id: Option<String>,
}

/// Why a login returned no credential, or a look-up no project.
///
/// All texts are on one line and short. None repeats a secret of the request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoginError {
    /// The server answered with an error.
    #[error("refused with status {status}{}", read::reason(code.as_deref(), message.as_deref()))]
    Refused {
        /// HTTP status.
        status: u16,
        /// Code of the error, such as `IAM.0001`; some services put the status here.
        code: Option<String>,
        /// Message of the error, at most 1024 characters. The text may change.
        message: Option<Clean>,
        /// Id of the exchange, for support requests: from `X-IAM-Trace-Id`, else `X-Request-Id`, else the body.
        gateway_request_id: Option<String>,
        /// How long to wait before the next login, if the answer says so.
        retry_after: Option<Duration>,
    },
    /// A success that holds no usable credential, or no list of projects.
    #[error("the answer cannot be used: {0}")]
    Malformed(String),
    /// No project has this name, or this credential may not see it.
    #[error("there is no project {0:?} that this credential may see; give the project's id")]
    NoProject(String),
    /// Several projects have this name.
    #[error("there are several projects {name:?}: give the id of one of them ({})", ids.join(", "))]
    SeveralProjects {
        /// The requested name.
        name: String,
        /// Their ids, at most 8.
        ids: Vec<String>,
    },
    /// There was no answer.
    #[error(transparent)]
    Send(#[from] SendError),
}

// === impl LoginError ===

impl LoginError {
    /// Whether the service will refuse the same login until somebody changes the credential, a permission or the
    /// request. Every other error may go away by itself: no answer, too many requests, a server error, a malformed
    /// answer.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        match self {
            // The client follows no redirect, so a redirect means a wrong endpoint. 408, 425 and 429 describe the
            // moment, not the request.
            Self::Refused { status, .. } => (300..500).contains(status) && !matches!(status, 408 | 425 | 429),
            Self::NoProject(_) | Self::SeveralProjects { .. } => true,
            Self::Malformed(_) | Self::Send(_) => false,
        }
    }

    /// Whether the server refused the credential itself: a password, an OIDC token or an access key. Any other
    /// refusal may come from a wrong endpoint or policy, and does not make an earlier credential invalid.
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

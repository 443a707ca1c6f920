//! Asks the API server whether the owner of a token may read the metrics, as the components of Kubernetes do.

use super::{Error, bounded, with_causes};
use crate::clock;
use http::StatusCode;
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, UserInfo};
use k8s_openapi::api::authorization::v1::{
    NonResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use kube::api::PostParams;
use kube::{Api, Client};
use sha2::{Digest, Sha256};
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// The path that a caller must be allowed to `get`.
const PATH: &str = "/metrics";

/// How long the operator uses an answer of the API server. A client whose rights end keeps its access for at most this long.
const VERDICT_TTL: Duration = Duration::from_secs(30);

/// How many verdicts the operator keeps. A new one replaces the oldest.
const MAX_VERDICTS: usize = 16;

/// Whether a caller may read the metrics; if not, the status to answer.
type Verdict = Result<(), StatusCode>;

/// The client for reviews, and the recent verdicts.
pub struct Reviews {
    client: Client,
    // One review at a time: callers without rights must not make the operator flood the API server.
    recent: Mutex<Vec<Recent>>,
}

struct Recent {
    token_digest: [u8; 32],
    verdict: Verdict,
    at: Instant,
}

// === impl Reviews ===

impl Reviews {
    pub fn new(client: Client) -> Self {
        Self { client, recent: Mutex::default() }
    }

    /// Whether the owner of this token may read the metrics.
    ///
    /// # Errors
    /// 401 if the token is invalid, 403 if its owner may not read the metrics, and 503 if the API server cannot check
    /// it.
    pub async fn may_read_metrics(&self, token: Option<String>) -> Verdict {
        let token = token.ok_or(StatusCode::UNAUTHORIZED)?;
        let token_digest: [u8; 32] = Sha256::digest(&token).into();
        let mut recent = self.recent.lock().await;
        recent.retain(|recent| recent.at.elapsed() < VERDICT_TTL);
        if let Some(recent) = recent.iter().find(|recent| recent.token_digest == token_digest) {
            return recent.verdict;
        }
        let verdict = match self.review(token).await {
            Ok(verdict) => verdict,
            Err(error) => {
                tracing::warn!(error = with_causes(&error), "cannot check who may read the metrics");
                return Err(StatusCode::SERVICE_UNAVAILABLE);
            }
        };
        if recent.len() >= MAX_VERDICTS {
            recent.remove(0);
        }
        recent.push(Recent { token_digest, verdict, at: clock::monotonic() });
        verdict
    }

    async fn review(&self, token: String) -> Result<Verdict, Error> {
        let Some(user) = self.owner(token).await? else { return Ok(Err(StatusCode::UNAUTHORIZED)) };
        let UserInfo { username, groups, uid, extra } = user;
        let attributes = NonResourceAttributes { path: Some(PATH.into()), verb: Some("get".into()) };
        let review = SubjectAccessReview {
            spec: SubjectAccessReviewSpec {
                user: username,
                groups,
                uid,
                extra,
                non_resource_attributes: Some(attributes),
                resource_attributes: None,
            },
            ..SubjectAccessReview::default()
        };
        let api: Api<SubjectAccessReview> = Api::all(self.client.clone());
        let answer = bounded(api.create(&PostParams::default(), &review)).await?;
        let allowed = answer.status.is_some_and(|status| status.allowed);
        Ok(if allowed { Ok(()) } else { Err(StatusCode::FORBIDDEN) })
    }

    /// The owner of a token, if the token is valid.
    async fn owner(&self, token: String) -> Result<Option<UserInfo>, Error> {
        let spec = TokenReviewSpec { token, audiences: None };
        let review = TokenReview { spec, ..TokenReview::default() };
        let api: Api<TokenReview> = Api::all(self.client.clone());
        let answer = bounded(api.create(&PostParams::default(), &review)).await?;
        let status = answer.status.unwrap_or_default();
        Ok(status.user.filter(|_| status.authenticated == Some(true)))
    }
}

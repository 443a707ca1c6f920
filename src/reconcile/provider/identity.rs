//! Calls to identity services: what is asked where for which source.

use super::source::Material;
use super::{ProviderCheck, unusable};
use crate::api::Reason;
use crate::api::provider::{Oidc, OidcMode};
use crate::args::Run;
use crate::clock;
use crate::kubernetes::tokens;
use crate::reconcile::halt::Halt;
use functiongraph::login::{Agency, Iam, Login, LoginError, Metadata, PodIdentity, Project, Sts, User};
use functiongraph::{ClientOptions, LocalUrl, regions};
use secrecy::SecretString;
use std::time::Duration;

/// No single call to an identity service may take longer.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// How long temporary keys are asked for, if the provider does not say: the rule of the official SDKs.
const KEYS_LIFETIME: Duration = Duration::from_hours(6);

/// The same at the security token service: what the official SDKs ask it for.
const STS_KEYS_LIFETIME: Duration = Duration::from_hours(1);

/// Why a login brought no credential.
#[derive(Debug)]
pub enum NoLogin {
    /// Nothing was sent.
    Halt(Halt),
    /// The service did not do it.
    Error(LoginError),
}

impl From<Halt> for NoLogin {
    fn from(halt: Halt) -> Self {
        Self::Halt(halt)
    }
}

impl From<LoginError> for NoLogin {
    fn from(error: LoginError) -> Self {
        Self::Error(error)
    }
}

impl ProviderCheck<'_> {
    pub(super) fn iam(&self) -> Result<Iam, Halt> {
        let destination = self.iam_destination()?;
        let options = destination.options(self.spec.ca_bundle.as_deref());
        Iam::new(destination.endpoint, options).map_err(|error| unusable("iamEndpoint", &error))
    }

    pub(super) async fn log_in(&self, material: &Material<'_>) -> Result<Login, NoLogin> {
        let login = match material {
            Material::Credential(credential) => {
                Login { credential: credential.clone(), expires_at: None, project_id: None }
            }
            Material::Password { domain, user, password } => {
                let user = User { domain, name: user, password };
                self.iam()?.password(user, self.project(), CALL_TIMEOUT).await?
            }
            Material::Oidc(oidc) => self.federated(oidc, &self.id_token(oidc).await?).await?,
            Material::PodIdentity => pod_identity(&self.context.options.flags).await?,
            Material::InstanceMetadata => metadata(&self.context.options.flags).await?,
        };
        if login.expires_at.is_some_and(|end| end <= clock::now()) {
            let why = "the credential that came back has ended already; is the clock of this machine right?";
            return Err(LoginError::Malformed(why.into()).into());
        }
        Ok(login)
    }

    /// The project that a token shall be for.
    fn project(&self) -> Project<'_> {
        self.spec.project_id.as_deref().map_or(Project::Name(&self.spec.region), Project::Id)
    }

    /// A login with an OIDC token, at IAM or at the security token service.
    async fn federated(&self, oidc: &Oidc, token: &SecretString) -> Result<Login, NoLogin> {
        let asked = oidc.duration_seconds.map(|seconds| Duration::from_secs(seconds.unsigned_abs()));
        if let Some(agency) = &oidc.sts {
            let agency = Agency {
                provider_urn: &agency.provider_urn,
                agency_urn: &agency.agency_urn,
                session_name: &agency.session_name,
            };
            let lifetime = asked.unwrap_or(STS_KEYS_LIFETIME);
            return Ok(self.sts()?.assume_with_oidc(agency, token, lifetime, CALL_TIMEOUT).await?);
        }
        let iam = self.iam()?;
        let idp = oidc.idp_id.as_deref().unwrap_or_default();
        Ok(match oidc.mode.unwrap_or_default() {
            OidcMode::Token => iam.token_for_id_token(idp, token, self.project(), CALL_TIMEOUT).await?,
            OidcMode::Keys | OidcMode::Other => {
                iam.keys_for_id_token(idp, token, asked.unwrap_or(KEYS_LIFETIME), CALL_TIMEOUT).await?
            }
        })
    }

    /// The security token service of a provider.
    fn sts(&self) -> Result<Sts, Halt> {
        let given = self.spec.sts_endpoint.as_deref();
        let destination = self.destination("stsEndpoint", given, regions::sts_endpoint)?;
        let options = destination.options(self.spec.ca_bundle.as_deref());
        Sts::new(destination.endpoint, options).map_err(|error| unusable("stsEndpoint", &error))
    }
}

/// The identity of the operator itself does not work; only the platform team can fix it.
fn no_identity(what: &str) -> NoLogin {
    Halt::Wait(Reason::CredentialsInvalid, format!("{what} The platform team must fix it.")).into()
}

/// The keys of the operator's own Pod.
async fn pod_identity(flags: &Run) -> Result<Login, NoLogin> {
    let (Some(url), Some(file)) = (&flags.pod_identity_url, &flags.pod_identity_token_file) else {
        return Err(no_identity(
            "The operator's Pod has no identity: CCE sets HC_CONTAINER_CREDENTIALS_FULL_URI and HC_CONTAINER_AUTHORIZATION_TOKEN_FILE where it has one.",
        ));
    };
    let url = url
        .parse::<LocalUrl>()
        .map_err(|error| no_identity(&format!("--pod-identity-url cannot be used: {error}.")))?;
    let service = PodIdentity::new(url, ClientOptions::default())
        .map_err(|error| no_identity(&format!("--pod-identity-url cannot be used: {error}.")))?;
    // Read for every login, because the kubelet replaces it.
    let file = file.clone();
    let token = tokio::task::spawn_blocking(move || tokens::read(&file)).await;
    let token = token.unwrap_or_else(|error| Err(std::io::Error::other(error))).map_err(|error| {
        no_identity(&format!("The file of --pod-identity-token-file cannot be read: {error}."))
    })?;
    Ok(service.login(&token, PodIdentity::TIMEOUT).await?)
}

/// The keys of the operator's own node.
async fn metadata(flags: &Run) -> Result<Login, NoLogin> {
    let odd =
        |error: &dyn std::error::Error| no_identity(&format!("--metadata-url cannot be used: {error}."));
    let url = flags.metadata_url.parse::<LocalUrl>().map_err(|error| odd(&error))?;
    let service = Metadata::new(url, ClientOptions::default()).map_err(|error| odd(&error))?;
    Ok(service.login(Metadata::TIMEOUT).await?)
}

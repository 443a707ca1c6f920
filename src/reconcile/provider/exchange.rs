//! One login: what is asked where for which source, and whether a failure may pass.

use super::Obstacle;
use super::destination::destination;
use super::source::{Material, id_token};
use crate::api::provider::{FunctionGraphProviderSpec, Oidc, OidcMode};
use crate::api::{AnyProvider, Reason};
use crate::clock;
use crate::context::{Context, OwnIdentity};
use crate::kubernetes::tokens;
use crate::reconcile::Error;
use functiongraph::login::{Agency, Iam, Login, LoginError, Metadata, PodIdentity, Project, Sts, User};
use functiongraph::{ClientOptions, LocalUrl, regions};
use secrecy::SecretString;
use std::time::Duration;

/// No single call to an identity service may take longer.
pub const CALL: Duration = Duration::from_secs(10);

/// How long temporary keys are asked for, if the provider does not say: the rule of the official SDKs.
const KEYS: Duration = Duration::from_hours(6);

/// The same at the security token service: what the official SDKs ask it for.
const STS_KEYS: Duration = Duration::from_hours(1);

/// Why there is no credential.
pub enum Failure {
    /// Something that stands in the way before anything is sent.
    Obstacle(Obstacle),
    /// It would be refused again.
    Refused {
        /// What was said.
        why: String,
        /// Whether that is about what was shown, and not about rights, names or addresses.
        of_credential: bool,
    },
    /// It may work later, and how long the service asked to wait.
    Passing(String, Option<Duration>),
}

impl From<LoginError> for Failure {
    fn from(error: LoginError) -> Self {
        let why = error.to_string();
        match &error {
            error if error.is_refusal() => Self::Refused { why, of_credential: error.is_of_credential() },
            LoginError::Refused { retry_after, .. } => Self::Passing(why, *retry_after),
            _ => Self::Passing(why, None),
        }
    }
}

/// The identity service of a provider.
pub fn iam(spec: &FunctionGraphProviderSpec, context: &Context) -> Result<Iam, Obstacle> {
    let derived = || regions::iam_endpoint(&spec.region);
    let place = destination("iamEndpoint", spec.iam_endpoint.as_deref(), derived, &context.options.reach)?;
    let options = place.options(spec.ca_bundle.as_deref());
    Iam::new(place.endpoint, options).map_err(|error| {
        let why = format!("spec.iamEndpoint or spec.caBundle cannot be used: {error}.");
        Obstacle(Reason::EndpointRefused, why)
    })
}

/// One login.
pub async fn exchange(
    provider: &AnyProvider,
    context: &Context,
    material: &Material<'_>,
) -> Result<Result<Login, Failure>, Error> {
    let login = match material {
        Material::Credential(credential) => {
            Ok(Login { credential: credential.clone(), expires_at: None, project_id: None })
        }
        Material::Password { domain, user, password } => {
            let user = User { domain, name: user, password };
            match iam(provider.spec(), context) {
                Ok(iam) => iam.password(user, project_of(provider.spec()), CALL).await.map_err(Failure::from),
                Err(obstacle) => Err(Failure::Obstacle(obstacle)),
            }
        }
        Material::Oidc(oidc) => match id_token(provider, context, oidc).await? {
            Ok(token) => federated(provider.spec(), context, oidc, &token).await,
            Err(obstacle) => Err(Failure::Obstacle(obstacle)),
        },
        Material::PodIdentity => pod_identity(&context.options.own_identity).await,
        Material::InstanceMetadata => metadata(&context.options.own_identity).await,
    };
    Ok(match login {
        Ok(login) if login.expires_at.is_some_and(|end| end <= clock::now()) => Err(Failure::Passing(
            "the credential that came back has ended already; is the clock of this machine right?".into(),
            None,
        )),
        login => login,
    })
}

/// The project that a token shall be for.
fn project_of(spec: &FunctionGraphProviderSpec) -> Project<'_> {
    spec.project_id.as_deref().map_or(Project::Name(&spec.region), Project::Id)
}

/// A login with an OIDC token, at IAM or at the security token service.
async fn federated(
    spec: &FunctionGraphProviderSpec,
    context: &Context,
    oidc: &Oidc,
    token: &SecretString,
) -> Result<Login, Failure> {
    let asked = oidc.duration_seconds.map(|seconds| Duration::from_secs(seconds.unsigned_abs()));
    if let Some(agency) = &oidc.sts {
        let agency = Agency {
            provider_urn: &agency.provider_urn,
            agency_urn: &agency.agency_urn,
            session_name: &agency.session_name,
        };
        let sts = sts(spec, context).map_err(Failure::Obstacle)?;
        return Ok(sts.assume_with_oidc(agency, token, asked.unwrap_or(STS_KEYS), CALL).await?);
    }
    let iam = iam(spec, context).map_err(Failure::Obstacle)?;
    let idp = oidc.idp_id.as_deref().unwrap_or_default();
    Ok(match oidc.mode.unwrap_or_default() {
        OidcMode::Token => iam.token_for_id_token(idp, token, project_of(spec), CALL).await?,
        OidcMode::Keys | OidcMode::Other => {
            iam.keys_for_id_token(idp, token, asked.unwrap_or(KEYS), CALL).await?
        }
    })
}

/// The security token service of a provider.
fn sts(spec: &FunctionGraphProviderSpec, context: &Context) -> Result<Sts, Obstacle> {
    let derived = || regions::sts_endpoint(&spec.region);
    let place = destination("stsEndpoint", spec.sts_endpoint.as_deref(), derived, &context.options.reach)?;
    let options = place.options(spec.ca_bundle.as_deref());
    Sts::new(place.endpoint, options).map_err(|error| {
        let why = format!("spec.stsEndpoint or spec.caBundle cannot be used: {error}.");
        Obstacle(Reason::EndpointRefused, why)
    })
}

/// What is wrong with the operator's own place in the cloud; the platform team mends it.
fn amiss(what: &str) -> Failure {
    Failure::Obstacle(Obstacle(Reason::CredentialsInvalid, format!("{what} The platform team must fix it.")))
}

/// The keys of the operator's own Pod.
async fn pod_identity(own: &OwnIdentity) -> Result<Login, Failure> {
    let (Some(url), Some(file)) = (&own.pod_identity_url, &own.pod_identity_token_file) else {
        return Err(amiss(
            "The operator's Pod has no identity: CCE sets HC_CONTAINER_CREDENTIALS_FULL_URI and HC_CONTAINER_AUTHORIZATION_TOKEN_FILE where it has one.",
        ));
    };
    let url = url
        .parse::<LocalUrl>()
        .map_err(|error| amiss(&format!("--pod-identity-url cannot be used: {error}.")))?;
    let service = PodIdentity::new(url, ClientOptions::default())
        .map_err(|error| amiss(&format!("--pod-identity-url cannot be used: {error}.")))?;
    // Read anew for every login: the kubelet replaces it.
    let file = file.clone();
    let token = tokio::task::spawn_blocking(move || tokens::read(&file)).await;
    let token = token
        .unwrap_or_else(|error| Err(std::io::Error::other(error)))
        .map_err(|error| amiss(&format!("The file of --pod-identity-token-file cannot be read: {error}.")))?;
    Ok(service.login(&token, PodIdentity::TIMEOUT).await?)
}

/// The keys of the operator's own node.
async fn metadata(own: &OwnIdentity) -> Result<Login, Failure> {
    let odd = |error: &dyn std::error::Error| amiss(&format!("--metadata-url cannot be used: {error}."));
    let url = own.metadata_url.parse::<LocalUrl>().map_err(|error| odd(&error))?;
    let service = Metadata::new(url, ClientOptions::default()).map_err(|error| odd(&error))?;
    Ok(service.login(Metadata::TIMEOUT).await?)
}

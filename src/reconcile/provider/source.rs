//! What a provider's credential is made from: values of a Secret, or an identity of the cluster.

use super::{Obstacle, PROBE, home, key_of};
use crate::api::provider::{Credentials, FunctionGraphProviderSpec, Oidc, OidcMode};
use crate::api::{AnyProvider, Reason};
use crate::context::Context;
use crate::context::providers::{KeyName, Origin, Refused, Subject};
use crate::kubernetes::secrets::{self, Values};
use crate::kubernetes::tokens;
use crate::reconcile::Error;
use functiongraph::Credential;
use secrecy::{ExposeSecret, SecretString};
use std::time::Duration;

/// A refused password is tried again after this long even if its Secret did not change: a user is locked for 15 minutes
/// after five failed logins within 15 minutes (IAM, account lockout, as it is by default), whoever makes them.
const PASSWORD_PROBE: Duration = Duration::from_mins(16);

/// What a credential is made from.
pub struct Source<'a> {
    /// Where it comes from.
    pub origin: Origin,
    /// What it is called across providers, if it is an access key from a Secret.
    pub key: Option<KeyName>,
    /// What it is called in messages.
    pub name: String,
    /// What to do if it is refused.
    pub remedy: String,
    /// What to do with it.
    pub material: Material<'a>,
}

/// What to do with a source.
pub enum Material<'a> {
    /// Use it as it is.
    Credential(Credential),
    /// Exchange a user's name and password for a token.
    Password {
        /// The account.
        domain: String,
        /// The user in it.
        user: String,
        /// The user's password.
        password: SecretString,
    },
    /// Exchange an OIDC token of this cluster.
    Oidc(&'a Oidc),
    /// Ask for the keys of the operator's own Pod.
    PodIdentity,
    /// Ask for the keys of the operator's own node.
    InstanceMetadata,
}

impl Source<'_> {
    /// What a check calls the credential.
    #[must_use]
    pub fn credential(&self) -> &str {
        Subject::credential(self.key.as_ref(), &self.origin.version)
    }

    /// How long to wait after a refusal, if nothing changes.
    #[must_use]
    pub fn pause(&self, step: Refused) -> Duration {
        match (&self.material, step) {
            (Material::Password { .. }, Refused::Login) => PASSWORD_PROBE,
            _ => PROBE,
        }
    }
}

impl Material<'_> {
    /// Whether a login is needed.
    #[must_use]
    pub fn is_exchanged(&self) -> bool {
        !matches!(self, Self::Credential(_))
    }
}

/// The kinds of credential that stand in a Secret.
#[derive(Clone, Copy)]
enum Kind {
    AccessKey,
    Token,
    Password,
}

/// Reads what a provider's credential is made from.
///
/// # Errors
/// When the API server did not answer.
pub async fn source<'a>(
    provider: &'a AnyProvider,
    context: &Context,
    endpoint: &str,
) -> Result<Result<Source<'a>, Obstacle>, Error> {
    let spec = provider.spec();
    let Credentials { access_key, token, password, oidc, pod_identity, instance_metadata } =
        &spec.credentials;
    let own = match (pod_identity, instance_metadata) {
        (Some(_), None) => Some(Material::PodIdentity),
        (None, Some(_)) => Some(Material::InstanceMetadata),
        (None, None) => None,
        (Some(_), Some(_)) => return Ok(Err(unsupported("the kind of credential in spec.credentials"))),
    };
    match (access_key, token, password, oidc, own) {
        (Some(of), None, None, None, None) => {
            from_secret(provider, context, endpoint, &of.secret_ref.name, Kind::AccessKey).await
        }
        (None, Some(of), None, None, None) => {
            from_secret(provider, context, endpoint, &of.secret_ref.name, Kind::Token).await
        }
        (None, None, Some(of), None, None) => {
            from_secret(provider, context, endpoint, &of.secret_ref.name, Kind::Password).await
        }
        (None, None, None, Some(oidc), None) => Ok(from_cluster(provider, context, oidc)),
        (None, None, None, None, Some(own)) => Ok(of_the_operator(provider, context, own)),
        _ => Ok(Err(unsupported("the kind of credential in spec.credentials"))),
    }
}

/// The operator's own identity, for a provider that the platform team lists.
fn of_the_operator<'a>(
    provider: &AnyProvider,
    context: &Context,
    material: Material<'a>,
) -> Result<Source<'a>, Obstacle> {
    let key = key_of(provider);
    if !context.options.own_identity.providers.iter().any(|listed| **listed == *key) {
        let why = format!(
            "The provider may not act as the operator itself: the platform team allows it with --own-identity-providers={key}."
        );
        return Err(Obstacle(Reason::AccessDenied, why));
    }
    let (name, place) = match material {
        Material::PodIdentity => {
            ("the operator's Pod identity", "the association of its ServiceAccount in CCE")
        }
        _ => ("the agency of the operator's node", "the agency of the node"),
    };
    Ok(Source {
        origin: Origin { version: surroundings(provider), resource_version: None },
        key: None,
        name: name.into(),
        remedy: format!("Correct {place}; it is tried again every five minutes."),
        material,
    })
}

/// What only a newer version can do.
pub fn unsupported(what: &str) -> Obstacle {
    let why = format!("This version of the operator does not know {what}: upgrade the operator.");
    Obstacle(Reason::Unsupported, why)
}

async fn from_secret<'a>(
    provider: &AnyProvider,
    context: &Context,
    endpoint: &str,
    name: &str,
    kind: Kind,
) -> Result<Result<Source<'a>, Obstacle>, Error> {
    let namespace = home(provider, context);
    let values = match secrets::read(&context.clients.calls, namespace, name).await {
        // Whoever writes providers need not be allowed to read Secrets: the token of a ServiceAccount, which has a
        // key `token` as well, is not theirs to send anywhere.
        Ok(Some(values)) if values.is_of_kubernetes => {
            let why = format!(
                "Secret {name} is of a type that Kubernetes itself uses: put the credential into one of type Opaque."
            );
            return Ok(Err(Obstacle(Reason::CredentialsInvalid, why)));
        }
        Ok(Some(values)) => values,
        Ok(None) => {
            let why = format!("Secret {name} does not exist in namespace {namespace}: create it.");
            return Ok(Err(Obstacle(Reason::SecretNotFound, why)));
        }
        Err(error) if error.is_forbidden() => {
            let why = format!(
                "The operator may not read Secret {name} in namespace {namespace}: grant it get on secrets."
            );
            return Ok(Err(Obstacle(Reason::CredentialsInvalid, why)));
        }
        Err(error) => return Err(error.into()),
    };
    let key = matches!(kind, Kind::AccessKey).then(|| key_name(&values, endpoint));
    Ok(material(&values, name, kind).map(|material| Source {
        origin: Origin {
            version: format!("{}{}", values.version, surroundings(provider)),
            resource_version: values.resource_version,
        },
        key,
        name: format!("the credential in Secret {name}"),
        remedy: format!(
            "Correct the Secret; it is read again every {} s.",
            context.options.secret_poll.as_secs()
        ),
        material,
    }))
}

/// What an access key is called: a salted name that says nothing outside of this process.
fn key_name(values: &Values, endpoint: &str) -> KeyName {
    let text = |key: &str| values.by_key.get(key).map(ExposeSecret::expose_secret).unwrap_or_default();
    let id = text("accessKeyID");
    KeyName {
        id: secrets::name_of(&[endpoint, id]),
        whole: secrets::name_of(&[endpoint, id, text("secretAccessKey"), text("securityToken")]),
    }
}

fn material<'a>(values: &Values, name: &str, kind: Kind) -> Result<Material<'a>, Obstacle> {
    let invalid = |why: String| Obstacle(Reason::CredentialsInvalid, why);
    let value = |key: &str| {
        values
            .by_key
            .get(key)
            .cloned()
            .ok_or_else(|| invalid(format!("Secret {name} has no key {key}: add it.")))
    };
    let credential = match kind {
        Kind::AccessKey => {
            let id = value("accessKeyID")?;
            let token = values.by_key.get("securityToken").cloned();
            Credential::access_key(id.expose_secret(), value("secretAccessKey")?, token)
        }
        Kind::Token => Credential::token(value("token")?),
        Kind::Password => {
            return Ok(Material::Password {
                domain: value("domainName")?.expose_secret().to_owned(),
                user: value("userName")?.expose_secret().to_owned(),
                password: value("password")?,
            });
        }
    };
    credential.map(Material::Credential).map_err(|error| invalid(format!("Secret {name}: {error}.")))
}

fn from_cluster<'a>(
    provider: &'a AnyProvider,
    context: &Context,
    oidc: &'a Oidc,
) -> Result<Source<'a>, Obstacle> {
    if oidc.mode == Some(OidcMode::Other) || oidc.sts.is_some() == oidc.idp_id.is_some() {
        return Err(unsupported("what spec.credentials.oidc asks for"));
    }
    let name = match (&oidc.service_account_ref, &oidc.projected_token_file) {
        (Some(account), None) => {
            if context.options.token_audience.is_none() {
                let why = "The operator makes no tokens of ServiceAccounts: the platform team sets --token-audience to the client id of the identity provider in IAM.";
                return Err(Obstacle(Reason::Unsupported, why.into()));
            }
            format!("the token of ServiceAccount {}", account.name)
        }
        (None, Some(file)) => {
            // The schema says the same; an older definition may not.
            if !matches!(provider, AnyProvider::Cluster(_)) {
                let why = "oidc.projectedTokenFile is only for a ClusterFunctionGraphProvider: use oidc.serviceAccountRef.";
                return Err(Obstacle(Reason::Unsupported, why.into()));
            }
            if context.options.token_folder.is_none() {
                let why = "The operator reads no token files: the platform team mounts a folder of projected tokens and names it with --token-folder.";
                return Err(Obstacle(Reason::Unsupported, why.into()));
            }
            format!("the token in file {file}")
        }
        (None, None) | (Some(_), Some(_)) => return Err(unsupported("what spec.credentials.oidc asks for")),
    };
    Ok(Source {
        origin: Origin { version: surroundings(provider), resource_version: None },
        key: None,
        name,
        remedy: "Correct spec.credentials.oidc, or the identity provider or agency in IAM; it is tried again every five minutes."
            .into(),
        material: Material::Oidc(oidc),
    })
}

/// What the spec says about credentials and where they are used, as a name that changes with it: a correction there
/// is as good a reason to try again as one in the Secret. A namesake that is made later shares nothing.
fn surroundings(provider: &AnyProvider) -> String {
    let FunctionGraphProviderSpec {
        region,
        project_id,
        endpoint,
        iam_endpoint,
        sts_endpoint,
        ca_bundle,
        credentials,
        ..
    } = provider.spec();
    let text = |part: &Option<String>| part.clone().unwrap_or_default();
    let credentials = format!("{credentials:?}");
    let parts = [project_id, endpoint, iam_endpoint, sts_endpoint, ca_bundle].map(text);
    let (uid, _) = provider.edition();
    let mut texts: Vec<&str> = vec![&uid, region, &credentials];
    texts.extend(parts.iter().map(String::as_str));
    secrets::name_of(&texts)
}

/// A token of this cluster to be exchanged, made or read now.
///
/// # Errors
/// When the API server did not answer.
pub async fn id_token(
    provider: &AnyProvider,
    context: &Context,
    oidc: &Oidc,
) -> Result<Result<SecretString, Obstacle>, Error> {
    let invalid = |why: String| Ok(Err(Obstacle(Reason::CredentialsInvalid, why)));
    if let (Some(file), Some(folder)) = (&oidc.projected_token_file, &context.options.token_folder) {
        let (folder, name) = (folder.clone(), file.clone());
        let read = tokio::task::spawn_blocking(move || tokens::from_file(&folder, &name)).await;
        let read = read.unwrap_or_else(|error| Err(std::io::Error::other(error)));
        return match read {
            Ok(token) => Ok(Ok(token)),
            Err(error) => {
                tracing::debug!(provider = %key_of(provider), %error, "a token file");
                invalid(format!(
                    "The token file {file} cannot be read from the operator's folder: {error}. The platform team mounts it."
                ))
            }
        };
    }
    let (Some(account), Some(audience)) = (&oidc.service_account_ref, &context.options.token_audience) else {
        return Ok(Err(unsupported("what spec.credentials.oidc asks for")));
    };
    let (name, namespace) = (&account.name, home(provider, context));
    match tokens::request(&context.clients.calls, namespace, name, audience).await {
        Ok(Some(token)) => Ok(Ok(token)),
        Ok(None) => {
            invalid(format!("ServiceAccount {name} does not exist in namespace {namespace}: create it."))
        }
        Err(error) if error.is_forbidden() => invalid(format!(
            "The operator may not make tokens of ServiceAccount {name} in namespace {namespace}: grant it create on serviceaccounts/token."
        )),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_password_rests_longer_than_the_window_in_which_failed_logins_are_counted() {
        let of = |material| Source {
            origin: Origin::default(),
            key: None,
            name: String::new(),
            remedy: String::new(),
            material,
        };
        let (domain, user) = (String::new(), String::new());
        let password = of(Material::Password { domain, user, password: "p".into() });
        assert!(password.pause(Refused::Login) > Duration::from_mins(15));
        // The password itself was good.
        assert_eq!(password.pause(Refused::Credential), PROBE);
        assert_eq!(of(Material::PodIdentity).pause(Refused::Login), PROBE);
    }
}

//! What a provider's credential is made from: values of a Secret, or an identity of the cluster.

use super::ProviderCheck;
use crate::api::provider::{Credentials, FunctionGraphProviderSpec, Oidc, OidcMode};
use crate::api::{AnyProvider, Reason};
use crate::credential::{self, Lock, Principal};
use crate::kubernetes::secrets::{self, Values};
use crate::kubernetes::tokens;
use crate::reconcile::halt::Halt;
use functiongraph::{Credential, Endpoint, regions};
use secrecy::{ExposeSecret, SecretString};
use std::sync::Arc;

/// What a credential is made from.
pub struct Source<'a> {
    /// The same by name, for the core.
    pub name: Arc<credential::Source>,
    /// What to do with it.
    pub material: Material<'a>,
}

/// What to do with a source.
pub enum Material<'a> {
    /// Use it as it is.
    Credential(Credential),
    /// Exchange a user's name and password for a token.
    Password { domain: String, user: String, password: SecretString },
    /// Exchange an OIDC token of this cluster.
    Oidc(&'a Oidc),
    /// Ask for the keys of the operator's own Pod.
    PodIdentity,
    /// Ask for the keys of the operator's own node.
    InstanceMetadata,
}

impl Material<'_> {
    pub fn is_exchanged(&self) -> bool {
        !matches!(self, Self::Credential(_))
    }
}

/// The kinds of credential that a Secret can hold.
#[derive(Clone, Copy)]
enum Kind {
    AccessKey,
    Token,
    Password,
}

impl<'a> ProviderCheck<'a> {
    /// Reads what the provider's credential is made from.
    pub(super) async fn source(&self, endpoint: &Endpoint) -> Result<Source<'a>, Halt> {
        let Credentials { access_key, token, password, oidc, pod_identity, instance_metadata } =
            &self.spec.credentials;
        match (access_key, token, password, oidc, pod_identity, instance_metadata) {
            (Some(of), None, None, None, None, None) => {
                self.secret_source(endpoint, &of.secret_ref.name, Kind::AccessKey).await
            }
            (None, Some(of), None, None, None, None) => {
                self.secret_source(endpoint, &of.secret_ref.name, Kind::Token).await
            }
            (None, None, Some(of), None, None, None) => {
                self.secret_source(endpoint, &of.secret_ref.name, Kind::Password).await
            }
            (None, None, None, Some(oidc), None, None) => self.oidc_source(endpoint, oidc),
            (None, None, None, None, Some(_), None) => self.own_source(endpoint, Material::PodIdentity),
            (None, None, None, None, None, Some(_)) => self.own_source(endpoint, Material::InstanceMetadata),
            _ => Err(unsupported("the kind of credential in spec.credentials")),
        }
    }

    /// The operator's own identity, for a provider that the platform team lists.
    fn own_source(&self, endpoint: &Endpoint, material: Material<'a>) -> Result<Source<'a>, Halt> {
        let key = self.key;
        if !self.context.options.flags.own_identity_providers.iter().any(|listed| *listed.trim() == ***key) {
            let why = format!(
                "The provider may not act as the operator itself: the platform team allows it with --own-identity-providers={key}."
            );
            return Err(Halt::Wait(Reason::AccessDenied, why));
        }
        let (name, cause) = match material {
            Material::PodIdentity => {
                ("the operator's Pod identity", "the association of its ServiceAccount in CCE")
            }
            _ => ("the agency of the operator's node", "the agency of the node"),
        };
        let remedy = format!("Correct {cause}. The operator tries again every five minutes.");
        let source = self.unlocked(endpoint, self.surroundings(), name.into(), remedy, &material);
        Ok(Source { name: Arc::new(source), material })
    }

    /// A source that no service is known to lock.
    fn unlocked(
        &self,
        endpoint: &Endpoint,
        version: String,
        name: String,
        remedy: String,
        material: &Material<'_>,
    ) -> credential::Source {
        let principal = Principal { id: version.clone(), secret: version.clone() };
        credential::Source {
            project_principal: principal.clone(),
            principal,
            version,
            resource_version: None,
            lock: Lock::None,
            destination: self.used_at(endpoint),
            is_exchanged: material.is_exchanged(),
            project: self.spec.project_id.clone(),
            name,
            remedy,
        }
    }

    /// Where a credential is used. Providers of one destination share a check of it.
    fn used_at(&self, endpoint: &Endpoint) -> String {
        let FunctionGraphProviderSpec { region, project_id, ca_bundle, protocol_version, proxy, .. } =
            self.spec;
        let project = project_id.as_ref().unwrap_or(region);
        let bundle = ca_bundle.as_deref().unwrap_or_default();
        let proxy = proxy.as_ref().map_or("", |proxy| &proxy.url);
        secrets::name_of(&[&endpoint.to_string(), project, bundle, &format!("{protocol_version:?}"), proxy])
    }

    async fn secret_source(&self, endpoint: &Endpoint, name: &str, kind: Kind) -> Result<Source<'a>, Halt> {
        let namespace = self.home();
        let values = match secrets::read(&self.context.clients.calls, namespace, name).await {
            // A user who may write providers may not be allowed to read Secrets. So the operator must not send the token
            // of a ServiceAccount, which has a key `token` too.
            Ok(Some(values)) if values.is_of_kubernetes => {
                let why = format!(
                    "Secret {name} is of a type that Kubernetes itself uses: put the credential into one of type Opaque."
                );
                return Err(Halt::Wait(Reason::CredentialsInvalid, why));
            }
            Ok(Some(values)) => values,
            Ok(None) => {
                let why = format!("Secret {name} does not exist in namespace {namespace}: create it.");
                return Err(Halt::Wait(Reason::SecretNotFound, why));
            }
            Err(error) if error.is_forbidden() => {
                let why = format!(
                    "The operator may not read Secret {name} in namespace {namespace}: grant it get on secrets."
                );
                return Err(Halt::Wait(Reason::CredentialsInvalid, why));
            }
            Err(error) => return Err(error.into()),
        };
        let material = material(&values, name, kind)?;
        let version = format!("{}{}", values.version, self.surroundings());
        let remedy = format!(
            "Correct the Secret. The operator reads it again every {} s.",
            self.context.options.flags.secret_poll_seconds
        );
        let name = format!("the credential in Secret {name}");
        let source = self.unlocked(endpoint, version, name, remedy, &material);
        let mut source = self.locked(source, &values, endpoint, kind)?;
        source.resource_version = values.resource_version;
        Ok(Source { name: Arc::new(source), material })
    }

    /// The source with whom FunctionGraph, or IAM, counts failures of a Secret's credential for, and whom IAM does when it
    /// is asked for the project; and by which rule. No service is known to lock a token.
    fn locked(
        &self,
        source: credential::Source,
        values: &Values,
        endpoint: &Endpoint,
        kind: Kind,
    ) -> Result<credential::Source, Halt> {
        let text = |key: &str| values.by_key.get(key).map(ExposeSecret::expose_secret).unwrap_or_default();
        let named = |public: &[&str], secret: &[&str]| Principal {
            id: secrets::name_of(public),
            secret: secrets::name_of(&[public, secret].concat()),
        };
        let iam = || Ok::<_, Halt>(cloud(&self.iam_destination()?.endpoint));
        let (principal, project_principal, lock) = match kind {
            Kind::AccessKey => {
                let secret = [text("secretAccessKey"), text("securityToken")];
                let in_cloud = |cloud: &str| named(&[cloud, text("accessKeyID")], &secret);
                let principal = in_cloud(&cloud(endpoint));
                let asks_for_project = self.spec.project_id.is_none();
                let project_principal = if asks_for_project { in_cloud(&iam()?) } else { principal.clone() };
                (principal, project_principal, Lock::AccessKey)
            }
            Kind::Password => {
                // In case IAM takes names without regard to case.
                let [domain, user] = ["domainName", "userName"].map(|key| text(key).to_lowercase());
                let principal = named(&[&iam()?, &domain, &user], &[text("password")]);
                (principal.clone(), principal, Lock::Password)
            }
            Kind::Token => return Ok(source),
        };
        Ok(credential::Source { principal, project_principal, lock, ..source })
    }

    fn oidc_source(&self, endpoint: &Endpoint, oidc: &'a Oidc) -> Result<Source<'a>, Halt> {
        let flags = &self.context.options.flags;
        if oidc.mode == Some(OidcMode::Other) || oidc.sts.is_some() == oidc.idp_id.is_some() {
            return Err(unsupported("what spec.credentials.oidc asks for"));
        }
        let name = match (&oidc.service_account_ref, &oidc.projected_token_file) {
            (Some(account), None) => {
                if flags.token_audience.is_none() {
                    let why = "The operator makes no tokens of ServiceAccounts: the platform team sets --token-audience to the client id of the identity provider in IAM.";
                    return Err(Halt::Wait(Reason::Unsupported, why.into()));
                }
                format!("the token of ServiceAccount {}", account.name)
            }
            (None, Some(file)) => {
                // The schema says the same; an older CRD may not.
                if !matches!(self.provider, AnyProvider::Cluster(_)) {
                    let why = "oidc.projectedTokenFile is only for a ClusterFunctionGraphProvider: use oidc.serviceAccountRef.";
                    return Err(Halt::Wait(Reason::Unsupported, why.into()));
                }
                if flags.token_folder.is_none() {
                    let why = "The operator reads no token files: the platform team mounts a folder of projected tokens and names it with --token-folder.";
                    return Err(Halt::Wait(Reason::Unsupported, why.into()));
                }
                format!("the token in file {file}")
            }
            (None, None) | (Some(_), Some(_)) => {
                return Err(unsupported("what spec.credentials.oidc asks for"));
            }
        };
        let remedy = "Correct spec.credentials.oidc, or the identity provider or agency in IAM. The operator tries again every five minutes.";
        let material = Material::Oidc(oidc);
        let source = self.unlocked(endpoint, self.surroundings(), name, remedy.into(), &material);
        Ok(Source { name: Arc::new(source), material })
    }

    /// What the spec says about credentials and where they are used, as a name that changes with it: a correction there
    /// is as good a reason to try again as one in the Secret. A later object of the same name shares nothing.
    fn surroundings(&self) -> String {
        let FunctionGraphProviderSpec {
            region,
            project_id,
            endpoint,
            iam_endpoint,
            sts_endpoint,
            ca_bundle,
            proxy,
            credentials,
            ..
        } = self.spec;
        let proxy = proxy.as_ref().map_or("", |proxy| &proxy.url);
        let credentials = format!("{credentials:?}");
        let (uid, _) = self.provider.edition();
        let parts = [project_id, endpoint, iam_endpoint, sts_endpoint, ca_bundle];
        let parts = parts.map(|part| part.as_deref().unwrap_or_default());
        secrets::name_of(&[&[&uid, region, &credentials, proxy], parts.as_slice()].concat())
    }

    /// A token of this cluster to be exchanged, made or read now.
    pub(super) async fn id_token(&self, oidc: &Oidc) -> Result<SecretString, Halt> {
        let (clients, flags) = (&self.context.clients, &self.context.options.flags);
        let invalid = |why: String| Err(Halt::Wait(Reason::CredentialsInvalid, why));
        if let (Some(file), Some(folder)) = (&oidc.projected_token_file, &flags.token_folder) {
            let (folder, name) = (folder.clone(), file.clone());
            let read = tokio::task::spawn_blocking(move || tokens::from_file(&folder, &name)).await;
            let read = read.unwrap_or_else(|error| Err(std::io::Error::other(error)));
            return match read {
                Ok(token) => Ok(token),
                Err(error) => {
                    tracing::debug!(provider = %self.key, %error, "a token file");
                    invalid(format!(
                        "The token file {file} cannot be read from the operator's folder: {error}. The platform team mounts it."
                    ))
                }
            };
        }
        let (Some(account), Some(audience)) = (&oidc.service_account_ref, &flags.token_audience) else {
            return Err(unsupported("what spec.credentials.oidc asks for"));
        };
        let (name, namespace) = (&account.name, self.home());
        match tokens::request(&clients.calls, namespace, name, audience).await {
            Ok(Some(token)) => Ok(token),
            Ok(None) => {
                invalid(format!("ServiceAccount {name} does not exist in namespace {namespace}: create it."))
            }
            Err(error) if error.is_forbidden() => invalid(format!(
                "The operator may not make tokens of ServiceAccount {name} in namespace {namespace}: grant it create on serviceaccounts/token."
            )),
            Err(error) => Err(error.into()),
        }
    }
}

/// The cloud that an endpoint belongs to: what an account, a user or an access key is known in.
fn cloud(endpoint: &Endpoint) -> String {
    match regions::cloud(endpoint.host()) {
        host if host == endpoint.host() => endpoint.to_string(),
        cloud => cloud.to_owned(),
    }
}

/// What only a newer version can do.
pub fn unsupported(what: &str) -> Halt {
    let why = format!("This version of the operator does not know {what}: upgrade the operator.");
    Halt::Wait(Reason::Unsupported, why)
}

fn material<'a>(values: &Values, name: &str, kind: Kind) -> Result<Material<'a>, Halt> {
    let invalid = |why: String| Halt::Wait(Reason::CredentialsInvalid, why);
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

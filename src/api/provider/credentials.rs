//! The types of credentials that a provider may use, and their sources.

use crate::api::names::{NO_OBJECT_NAME, OBJECT_NAME};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The credential. Set exactly one of the fields.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("[has(self.accessKey), has(self.token), has(self.password), has(self.oidc), has(self.podIdentity), has(self.instanceMetadata)].exists_one(given, given)").message("set exactly one credential: accessKey, token, password, oidc, podIdentity or instanceMetadata"))]
pub struct Credentials {
    /// An access key: the Secret's keys `accessKeyID`, `secretAccessKey` and, if temporary, `securityToken`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_key: Option<SecretSource>,

    /// An IAM token of the project: the Secret's key `token`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<SecretSource>,

    /// An IAM user, exchanged for tokens of the project: the Secret's keys `domainName` (the account),
    /// `userName` and `password`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<SecretSource>,

    /// A ServiceAccount token of the Kubernetes cluster, exchanged at an identity provider of IAM. Needs no stored
    /// secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oidc: Option<Oidc>,

    /// The operator's own identity as a Pod of CCE. The platform team must allow it for the provider, because the
    /// provider then acts as the operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_identity: Option<OwnIdentity>,

    /// The agency of the operator's node, from the metadata service. The platform team must allow it for the
    /// provider, because the provider then acts as that node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance_metadata: Option<OwnIdentity>,
}

/// Source of a secret value.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretSource {
    /// A Secret in the provider's own namespace; for a ClusterFunctionGraphProvider, in the operator's.
    pub secret_ref: ObjectName,
}

/// An object in the same namespace; for a ClusterFunctionGraphProvider, in the operator's.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectName {
    /// The object's name.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new(OBJECT_NAME).message(NO_OBJECT_NAME))]
    pub name: String,
}

/// The operator's own identity, which needs no fields.
#[derive(KubeSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnIdentity {}

/// An OIDC token of the Kubernetes cluster, and the service that exchanges it.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.serviceAccountRef) != has(self.projectedTokenFile)").message("set exactly one of oidc.serviceAccountRef and oidc.projectedTokenFile"))]
#[x_kube(validation = Rule::new("has(self.idpID) != has(self.sts)").message("set exactly one of oidc.idpID and oidc.sts"))]
#[x_kube(validation = Rule::new("!has(self.mode) || has(self.idpID)").message("oidc.mode needs oidc.idpID"))]
#[x_kube(validation = Rule::new("!has(self.durationSeconds) || !has(self.mode) || self.mode == 'Keys'").message("oidc.durationSeconds needs oidc.mode Keys: IAM sets the lifetime of a token"))]
pub struct Oidc {
    /// The ServiceAccount whose token the operator exchanges, in the provider's own namespace; for a
    /// ClusterFunctionGraphProvider, in the operator's. The token has the audience of the operator's
    /// --token-audience, and lives ten minutes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account_ref: Option<ObjectName>,

    /// The name of a file in the operator's folder for tokens, such as a projected volume. Only for a
    /// ClusterFunctionGraphProvider. The operator reads it before every exchange.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z0-9_-][A-Za-z0-9_.-]*$')").message("expected the name of a file, without a path: letters, digits, '_', '-' and inner dots"))]
    pub projected_token_file: Option<String>,

    /// The id of the identity provider in IAM.
    #[serde(default, rename = "idpID", skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(validation = Rule::new(super::ID).message("expected the id of an identity provider: letters, digits, '_' and '-'"))]
    pub idp_id: Option<String>,

    /// The result of the exchange; `Keys` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<OidcMode>,

    /// The trust agency to assume through the security token service (IAM 5), instead of `idpID`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sts: Option<Sts>,

    /// Lifetime of the temporary keys in seconds: 900 to 86,400. The operator renews them early. Default: 21,600 with
    /// `idpID`, 3,600 with `sts`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 900, max = 86_400))]
    pub duration_seconds: Option<i64>,
}

/// Result of the exchange at an identity provider.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OidcMode {
    /// Temporary access keys, which sign requests.
    #[default]
    Keys,
    /// A token of the project, which requests carry.
    Token,
    /// A value that this version does not know. The schema refuses it.
    #[serde(other)]
    #[schemars(skip)]
    Other,
}

/// A trust agency of the security token service.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sts {
    /// The URN of the OIDC identity provider.
    #[serde(rename = "providerURN")]
    #[schemars(length(min = 1, max = 1500))]
    pub provider_urn: String,

    /// The URN of the trust agency.
    #[serde(rename = "agencyURN")]
    #[schemars(length(min = 1, max = 1500))]
    pub agency_urn: String,

    /// The name of the session in audit logs. Default: `functiongraph-operator`.
    #[serde(default = "session_name")]
    #[schemars(length(min = 2, max = 64))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z0-9_=,.@-]+$')").message("a session name has letters, digits and the characters _=,.@-"))]
    pub session_name: String,
}

fn session_name() -> String {
    "functiongraph-operator".into()
}

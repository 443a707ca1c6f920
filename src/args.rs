//! The command line. Every flag has an environment variable and says when to change it.

mod hosts;

pub use hosts::HostPattern;

use crate::api::names::is_label;
use crate::telemetry::LogFormat;
use clap::{ArgAction, Args, Parser, Subcommand};
use ipnet::IpNet;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Submits FunctionGraph invocations from Kubernetes, each at most once, and writes the result into status.
#[derive(Debug, Parser)]
#[command(name = "functiongraph-operator", version, about, max_term_width = 100)]
pub struct Cli {
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the operator, in a cluster or against the current kubeconfig, until SIGTERM or Ctrl-C.
    ///
    /// On the first signal the operator starts no new attempts, finishes its requests and exits. On the second it
    /// exits at once. You may run any number of replicas: they share the work and never send twice.
    Run(Box<Run>),
    /// Print the custom resource definitions as YAML.
    ///
    /// Apply them with: functiongraph-operator crd | kubectl apply -f -
    Crd(Crd),
}

/// Flags of `crd`.
#[derive(Debug, Args)]
pub struct Crd {
    /// Write one file for each custom resource definition into this directory, instead of printing them.
    #[arg(long, env = "FUNCTIONGRAPH_OPERATOR_CRD_OUTPUT_DIR")]
    pub output_dir: Option<PathBuf>,
}

/// Flags of `run`.
#[derive(Clone, Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub struct Run {
    /// The kubeconfig to use. Leave it out in a cluster, and where KUBECONFIG or ~/.kube/config is the right one.
    #[arg(long, env = "FUNCTIONGRAPH_OPERATOR_KUBECONFIG")]
    pub kubeconfig: Option<PathBuf>,

    /// Serve only these namespaces, as in `team-a,team-b`, without cluster-scoped providers. Set it if the operator must
    /// not have permissions for the whole cluster. The operator ignores repeated names.
    #[arg(long, env = "FUNCTIONGRAPH_OPERATOR_NAMESPACES", value_delimiter = ',', value_parser = namespace)]
    pub namespaces: Vec<String>,

    /// The name of `--namespaces` in earlier versions. Without this check the operator would serve the whole cluster.
    #[arg(long, env = "FUNCTIONGRAPH_OPERATOR_NAMESPACE", hide = true, value_parser = renamed)]
    pub namespace: Option<String>,

    /// The operator's own namespace, with the Secrets of cluster-scoped providers. In a Pod it is the Pod's namespace,
    /// elsewhere that of the current context. Set it if the operator runs outside the cluster and these Secrets are in
    /// another namespace.
    #[arg(long, env = "FUNCTIONGRAPH_OPERATOR_OWN_NAMESPACE")]
    pub own_namespace: Option<String>,

    /// The name of the operator's Pod, which becomes the name of its Lease. The chart sets it. Leave it out elsewhere: the
    /// default is a name that no other process has.
    #[arg(long, env = "FUNCTIONGRAPH_OPERATOR_POD_NAME")]
    pub pod_name: Option<String>,

    /// The uid of the operator's Pod, so that Kubernetes deletes the Lease with the Pod. The chart sets it.
    #[arg(long, env = "FUNCTIONGRAPH_OPERATOR_POD_UID", requires = "pod_name")]
    pub pod_uid: Option<String>,

    /// More hosts that a provider's endpoint or proxy may use: exact names, names with `{region}` as one part, or suffixes with a
    /// leading dot, which allow every name below them. Set it for a partner cloud, or for an emulator, as in
    /// `localhost`. Only a host listed by its exact name may resolve to a loopback, link-local or refused address.
    #[arg(long, env = "FUNCTIONGRAPH_OPERATOR_ALLOWED_ENDPOINT_HOSTS", value_delimiter = ',')]
    pub allowed_endpoint_hosts: Vec<HostPattern>,

    /// Whether endpoints may use FunctionGraph, IAM and STS of Huawei Cloud, its European regions and Open Telekom
    /// Cloud. Set it to false to allow nothing but the hosts of --allowed-endpoint-hosts.
    #[arg(
        long,
        env = "FUNCTIONGRAPH_OPERATOR_DEFAULT_ENDPOINT_HOSTS",
        action = ArgAction::Set,
        default_value_t = true
    )]
    pub default_endpoint_hosts: bool,

    /// Networks that no endpoint may resolve into, in addition to loopback and link-local ones. Set the networks of
    /// the cluster's Services and Pods, as in `10.247.0.0/16,172.16.0.0/16`. Hosts listed by their exact name in
    /// --allowed-endpoint-hosts are exempt.
    #[arg(long, env = "FUNCTIONGRAPH_OPERATOR_REFUSED_NETWORKS", value_delimiter = ',')]
    pub refused_networks: Vec<IpNet>,

    /// Address of /healthz and /readyz. `[::]` serves IPv4 and IPv6, and IPv4 alone on a machine without IPv6. Change it
    /// if the port is in use. With port 0 the operator chooses a free port and logs it.
    #[arg(long, env = "FUNCTIONGRAPH_OPERATOR_PROBE_LISTEN", default_value = "[::]:8081")]
    pub probe_listen: SocketAddr,

    /// Address of /metrics. `[::]` serves IPv4 and IPv6, and IPv4 alone on a machine without IPv6. Change it if the port
    /// is in use. With port 0 the operator chooses a free port and logs it.
    #[arg(long, env = "FUNCTIONGRAPH_OPERATOR_METRICS_LISTEN", default_value = "[::]:8080")]
    pub metrics_listen: SocketAddr,

    /// Answer only scrapes with the bearer token of a user or ServiceAccount that may `get` the URL /metrics. The
    /// operator then needs `create` on tokenreviews and subjectaccessreviews.
    #[arg(long, env = "FUNCTIONGRAPH_OPERATOR_METRICS_AUTH")]
    pub metrics_auth: bool,

    /// Format of the log lines: JSON for machines, or text for people.
    #[arg(long, env = "FUNCTIONGRAPH_OPERATOR_LOG_FORMAT", value_enum, default_value_t = LogFormat::Json)]
    pub log_format: LogFormat,

    /// Log filter: a level, or a list as in `info,functiongraph_operator=debug`. Raise it to investigate a single
    /// problem. The operator never logs payloads or credentials at any level.
    #[arg(long, env = "FUNCTIONGRAPH_OPERATOR_LOG", default_value = "info,kube_runtime=warn")]
    pub log: String,

    /// Send a trace of each attempt to the OpenTelemetry collector with this base URL, as in `http://collector:4318`
    /// (OTLP over HTTP). If absent, `OTEL_EXPORTER_OTLP_ENDPOINT` applies; without both there are no traces.
    #[arg(long, env = "FUNCTIONGRAPH_OPERATOR_OTLP_ENDPOINT")]
    pub otlp_endpoint: Option<String>,

    /// Maximum number of objects that the operator processes at the same time. Three quarters of them may wait for answers,
    /// and no namespace may have more of these than it leaves free, so raise it if you use many providers with slow
    /// endpoints.
    #[arg(
        long,
        env = "FUNCTIONGRAPH_OPERATOR_MAX_CONCURRENT_RECONCILES",
        default_value_t = 1024,
        value_parser = clap::value_parser!(u16).range(1..)
    )]
    pub max_concurrent_reconciles: u16,

    /// How often, in seconds, the operator reads the Secret of a provider that is not ready. Lower it so that a corrected
    /// Secret counts sooner. Raise it if many providers wait for their Secrets, because each read is one API request.
    #[arg(
        long,
        env = "FUNCTIONGRAPH_OPERATOR_SECRET_POLL_SECONDS",
        default_value_t = 15,
        value_parser = clap::value_parser!(u64).range(1..=3600)
    )]
    pub secret_poll_seconds: u64,

    /// The audience of the ServiceAccount tokens that providers with `oidc.serviceAccountRef` exchange: the client id
    /// of the identity provider in IAM. Without it the operator creates no tokens. It must not be an audience that
    /// the API server accepts. The operator needs `create` on serviceaccounts/token for each such ServiceAccount.
    #[arg(
        long,
        env = "FUNCTIONGRAPH_OPERATOR_TOKEN_AUDIENCE",
        value_parser = clap::builder::NonEmptyStringValueParser::new()
    )]
    pub token_audience: Option<String>,

    /// The folder with the projected tokens that cluster-scoped providers with `oidc.projectedTokenFile` exchange.
    /// Without it the operator reads none. Mount nothing else there.
    #[arg(long, env = "FUNCTIONGRAPH_OPERATOR_TOKEN_FOLDER")]
    pub token_folder: Option<PathBuf>,

    /// The providers that may act as the operator itself (`podIdentity`, `instanceMetadata`): `namespace/name`, or
    /// `name` for a cluster-scoped provider. None if absent. Everybody who may edit such a provider can use the
    /// operator's identity in the cloud.
    #[arg(long, env = "FUNCTIONGRAPH_OPERATOR_OWN_IDENTITY_PROVIDERS", value_delimiter = ',')]
    pub own_identity_providers: Vec<String>,

    /// The URL that returns the keys of the operator's Pod. CCE sets the variable; do not change it.
    #[arg(long, env = "HC_CONTAINER_CREDENTIALS_FULL_URI")]
    pub pod_identity_url: Option<String>,

    /// The file with the token of the operator's Pod for that URL. CCE sets the variable; do not change it.
    #[arg(long, env = "HC_CONTAINER_AUTHORIZATION_TOKEN_FILE")]
    pub pod_identity_token_file: Option<PathBuf>,

    /// The URL of the node's metadata service. Change it for an emulator.
    #[arg(long, env = "FUNCTIONGRAPH_OPERATOR_METADATA_URL", default_value = "http://169.254.169.254")]
    pub metadata_url: String,

    /// Treat a 503 without an error code of FunctionGraph or its gateway as ambiguous. Set it if a proxy of your own
    /// may answer 503 after it has passed the request on.
    #[arg(long, env = "FUNCTIONGRAPH_OPERATOR_STRICT_503")]
    pub strict_503: bool,

    /// Before the first claim, mark each object with its uid in the annotation functiongraph.io/submitted-as. An
    /// object that was restored from a backup or copied then ends as Unknown instead of being sent again. Costs one
    /// more API write for each object, and needs `patch` on functioninvocations. The operator recognises objects that
    /// Velero restored without this.
    #[arg(long, env = "FUNCTIONGRAPH_OPERATOR_RESTORE_GUARD")]
    pub restore_guard: bool,

    /// Publish an Event for every accepted or executed invocation too. Set it if you follow invocations by their
    /// Events, for example with an event exporter. Costs one more API write for each.
    #[arg(long, env = "FUNCTIONGRAPH_OPERATOR_EVENTS_ON_SUCCESS")]
    pub events_on_success: bool,

    /// How many seconds a stopping operator may take to finish its requests. Set terminationGracePeriodSeconds of the
    /// Pod a few seconds higher.
    #[arg(
        long,
        env = "FUNCTIONGRAPH_OPERATOR_DRAIN_SECONDS",
        default_value_t = 100,
        value_parser = clap::value_parser!(u64).range(1..=3600)
    )]
    pub drain_seconds: u64,
}

fn namespace(text: &str) -> Result<String, &'static str> {
    let name = text.trim();
    let why = "expected names of namespaces, separated by commas: lower-case letters, digits and '-', at most 63 characters";
    if is_label(name) { Ok(name.to_owned()) } else { Err(why) }
}

/// Refuses the flag of earlier versions, unless it is empty, which meant the whole cluster.
fn renamed(text: &str) -> Result<String, &'static str> {
    let why = "it was replaced: use --namespaces or FUNCTIONGRAPH_OPERATOR_NAMESPACES, which take a list, and remove this one";
    if text.is_empty() { Ok(String::new()) } else { Err(why) }
}

// === impl Run ===

impl Run {
    /// All hosts that a provider's endpoint may use.
    pub fn allowed_hosts(&self) -> Vec<HostPattern> {
        let mut allowed = if self.default_endpoint_hosts { hosts::of_the_clouds() } else { Vec::new() };
        allowed.extend_from_slice(&self.allowed_endpoint_hosts);
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flag_of_earlier_versions_is_refused_with_its_new_name_and_never_means_the_whole_cluster() {
        let parse = |flag| Cli::try_parse_from(["functiongraph-operator", "run", flag]);
        let said = parse("--namespace=team").unwrap_err().to_string();
        assert!(said.contains("FUNCTIONGRAPH_OPERATOR_NAMESPACES"), "{said}");
        assert!(parse("--namespace=").is_ok());
    }

    fn namespaces(text: &str) -> Option<Vec<String>> {
        let flag = format!("--namespaces={text}");
        match Cli::try_parse_from(["functiongraph-operator", "run", &flag]).ok()?.command {
            Command::Run(run) => Some(run.namespaces),
            Command::Crd(_) => None,
        }
    }

    #[test]
    fn t10_a_list_of_namespaces_that_is_empty_or_misspelt_is_refused_and_never_means_the_whole_cluster() {
        assert_eq!(namespaces("team-a, team-b").unwrap(), ["team-a", "team-b"]);
        for wrong in ["", ",", "team-a,", "team-a,,team-b", "Team", "team.a", "*", "team-a team-b"] {
            assert_eq!(namespaces(wrong), None, "{wrong:?}");
        }
    }
}

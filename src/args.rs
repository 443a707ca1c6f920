//! The command line. Every flag has an environment name and says when to change it.

mod hosts;

pub use hosts::HostPattern;

use crate::api::names::is_label;
use clap::{Args, Parser, Subcommand, ValueEnum};
use ipnet::IpNet;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Submits FunctionGraph invocations from Kubernetes, each at most once, and keeps the truth in status.
#[derive(Debug, Parser)]
#[command(name = "functiongraph-operator", version, about, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the operator, in a cluster or against the current kubeconfig, until SIGTERM or Ctrl-C.
    ///
    /// On the first signal it claims nothing more, finishes what is on its way and ends; on the second it
    /// ends at once. Any number of replicas may run: they share the work and never send twice.
    Run(Box<Run>),
    /// Print the custom resource definitions as YAML.
    ///
    /// Apply them with: functiongraph-operator crd | kubectl apply -f -
    Crd(Crd),
}

/// Flags of `crd`.
#[derive(Debug, Args)]
pub struct Crd {
    /// Write one file for each definition into this directory instead of printing.
    #[arg(long, env = "FUNCTIONGRAPH_OPERATOR_CRD_OUTPUT_DIR")]
    pub output_dir: Option<PathBuf>,
}

/// Flags of `run`.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub struct Run {
    /// The kubeconfig to use. Leave it out in a cluster, and at a desk where KUBECONFIG or ~/.kube/config is
    /// the right one.
    #[arg(long, env = "FUNCTIONGRAPH_OPERATOR_KUBECONFIG")]
    pub kubeconfig: Option<PathBuf>,

    /// Serve these namespaces only, as in `team-a,team-b`, without cluster-scoped providers. Set it where the operator may
    /// have no rights in the whole cluster. One that is listed twice counts once.
    #[arg(long, env = "FUNCTIONGRAPH_OPERATOR_NAMESPACES", value_delimiter = ',', value_parser = namespace)]
    pub namespaces: Vec<String>,

    /// The operator's own namespace: the Secrets of cluster providers are read from it. Leave it out in a Pod;
    /// elsewhere it is that of the current context.
    #[arg(long, env = "FUNCTIONGRAPH_OPERATOR_OWN_NAMESPACE")]
    pub own_namespace: Option<String>,

    /// Hosts that the endpoint of a provider may name: names, names with `{region}` for one part that looks like a
    /// region, or suffixes with a leading dot, which admit every name below them. Change it for a partner cloud, or
    /// for an emulator, as in `localhost`. A name that stands here as it is may lead to any address.
    #[arg(
        long,
        env = "FUNCTIONGRAPH_OPERATOR_ALLOWED_ENDPOINT_HOSTS",
        value_delimiter = ',',
        default_value = hosts::OF_THE_CLOUDS
    )]
    pub allowed_endpoint_hosts: Vec<HostPattern>,

    /// Networks that no endpoint may lead to, beside loopback and link-local ones: give those of the cluster's Services
    /// and Pods, as in `10.247.0.0/16,172.16.0.0/16`. Names that --allowed-endpoint-hosts lists as they are may.
    #[arg(long, env = "FUNCTIONGRAPH_OPERATOR_REFUSED_NETWORKS", value_delimiter = ',')]
    pub refused_networks: Vec<IpNet>,

    /// Where /healthz and /readyz are served. Change it when the port is taken; port 0 takes any free one and logs
    /// which.
    #[arg(long, env = "FUNCTIONGRAPH_OPERATOR_PROBE_LISTEN", default_value = "0.0.0.0:8081")]
    pub probe_listen: SocketAddr,

    /// Where /metrics is served. Change it when the port is taken; port 0 takes any free one and logs which.
    #[arg(long, env = "FUNCTIONGRAPH_OPERATOR_METRICS_LISTEN", default_value = "0.0.0.0:8080")]
    pub metrics_listen: SocketAddr,

    /// Answer scrapes only if they carry the bearer token of somebody whom the cluster allows to `get` the URL /metrics.
    /// The operator then needs `create` on tokenreviews and subjectaccessreviews.
    #[arg(long, env = "FUNCTIONGRAPH_OPERATOR_METRICS_AUTH")]
    pub metrics_auth: bool,

    /// JSON log lines for machines, or text for people.
    #[arg(long, env = "FUNCTIONGRAPH_OPERATOR_LOG_FORMAT", value_enum, default_value_t = LogFormat::Json)]
    pub log_format: LogFormat,

    /// Which log lines: a level, or a list as in `info,functiongraph_operator=debug`. Raise it to follow a
    /// single problem; payloads and credentials are never logged at any level.
    #[arg(long, env = "FUNCTIONGRAPH_OPERATOR_LOG", default_value = "info,kube_runtime=warn")]
    pub log: String,

    /// Send a trace of each attempt to the OpenTelemetry collector with this base URL, as in `http://collector:4318`
    /// (OTLP over HTTP). None are made without. `OTEL_EXPORTER_OTLP_ENDPOINT` counts too.
    #[arg(long, env = "FUNCTIONGRAPH_OPERATOR_OTLP_ENDPOINT")]
    pub otlp_endpoint: Option<String>,

    /// How many objects are worked on at the same time. Each one that waits for an answer holds a place:
    /// raise it when many providers with slow endpoints are in use.
    #[arg(
        long,
        env = "FUNCTIONGRAPH_OPERATOR_MAX_CONCURRENT_RECONCILES",
        default_value_t = 1024,
        value_parser = clap::value_parser!(u16).range(1..)
    )]
    pub max_concurrent_reconciles: u16,

    /// How often, in seconds, the Secret of a provider that is not ready is read again. Lower it to recover
    /// sooner after a correction, at the price of one API read each time.
    #[arg(
        long,
        env = "FUNCTIONGRAPH_OPERATOR_SECRET_POLL_SECONDS",
        default_value_t = 15,
        value_parser = clap::value_parser!(u64).range(1..=3600)
    )]
    pub secret_poll_seconds: u64,

    /// The audience of the ServiceAccount tokens that providers with `oidc.serviceAccountRef` exchange: the client id of
    /// the identity provider in IAM. Without it none are made. It must not be one that the API server itself takes, and
    /// the operator needs `create` on serviceaccounts/token where it is used.
    #[arg(
        long,
        env = "FUNCTIONGRAPH_OPERATOR_TOKEN_AUDIENCE",
        value_parser = clap::builder::NonEmptyStringValueParser::new()
    )]
    pub token_audience: Option<String>,

    /// The folder with the projected tokens that cluster providers with `oidc.projectedTokenFile` exchange. Without it
    /// none are read. Mount nothing else there.
    #[arg(long, env = "FUNCTIONGRAPH_OPERATOR_TOKEN_FOLDER")]
    pub token_folder: Option<PathBuf>,

    /// The providers that may act as the operator itself (`podIdentity`, `instanceMetadata`): `namespace/name`, or
    /// `name` for one of the cluster. None if absent. Whoever may write such a provider has the operator's identity in
    /// the cloud.
    #[arg(long, env = "FUNCTIONGRAPH_OPERATOR_OWN_IDENTITY_PROVIDERS", value_delimiter = ',')]
    pub own_identity_providers: Vec<String>,

    /// Where the keys of the operator's Pod are handed out. CCE sets the variable; leave it alone.
    #[arg(long, env = "HC_CONTAINER_CREDENTIALS_FULL_URI")]
    pub pod_identity_url: Option<String>,

    /// The file with the token that the operator's Pod shows there. CCE sets the variable; leave it alone.
    #[arg(long, env = "HC_CONTAINER_AUTHORIZATION_TOKEN_FILE")]
    pub pod_identity_token_file: Option<PathBuf>,

    /// Where the metadata of the operator's node are. Change it for an emulator.
    #[arg(long, env = "FUNCTIONGRAPH_OPERATOR_METADATA_URL", default_value = "http://169.254.169.254")]
    pub metadata_url: String,

    /// Take a 503 that carries no code of FunctionGraph or its gateway as "may have been accepted". Set it
    /// where a proxy of your own stands in between and answers 503 after passing requests on.
    #[arg(long, env = "FUNCTIONGRAPH_OPERATOR_STRICT_503")]
    pub strict_503: bool,

    /// Mark each object with its uid, in the annotation functiongraph.io/submitted-as, before it is first claimed: one
    /// that was restored from a backup or copied then ends as Unknown instead of being sent again. Costs one more API
    /// write for each object, and needs `patch` on functioninvocations. Objects that Velero restored are known without it.
    #[arg(long, env = "FUNCTIONGRAPH_OPERATOR_RESTORE_GUARD")]
    pub restore_guard: bool,

    /// Publish an Event for every accepted invocation too. Costs one more API write for each.
    #[arg(long, env = "FUNCTIONGRAPH_OPERATOR_EVENTS_ON_SUCCESS")]
    pub events_on_success: bool,

    /// How many seconds a stopping operator may take to finish what is on its way. Keep
    /// terminationGracePeriodSeconds of the Pod a few seconds above it.
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

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For a terminal.
    Text,
}

#[cfg(test)]
mod tests {
    use super::*;

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

//! Starts and stops everything: clients, watches, controllers, the admin server, and the drain.

mod background;
mod begin;
mod control;
mod invocations;
mod members;
mod numbers;
mod ports;
mod providers;
mod watches;

use crate::api::{ClusterFunctionGraphProvider, FunctionGraphProvider, FunctionInvocation, ProviderKey};
use crate::args::Run;
use crate::context::failures::Failures;
use crate::context::followed::Followed;
use crate::context::grants::Namespaces;
use crate::context::journal::Journal;
use crate::context::lookups::Lookups;
use crate::context::memory::EventMemory;
use crate::context::notices::{Notices, WaitNotices};
use crate::context::providers::Providers;
use crate::context::{Carrier, Context, Options, Reach};
use crate::kubernetes::events::Events;
use crate::kubernetes::leases::Leases;
use crate::kubernetes::scope::Scope;
use crate::kubernetes::{Clients, tokens};
use crate::members::{Members, Membership};
use crate::metrics::Metrics;
use crate::traces::Traces;
use crate::{clock, telemetry};
use background::background;
use control::Shelf;
use futures::future;
use kube::Config;
use kube::config::{KubeConfigOptions, Kubeconfig};
use parking_lot::Mutex;
use ports::Ports;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use watches::{Served, Watches};

/// Why the operator cannot run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The log filter is malformed.
    #[error("--log is not a valid filter: give a level, or a list as in info,kube=debug")]
    Log(#[from] tracing_subscriber::filter::ParseError),
    /// The kubeconfig or the in-cluster configuration.
    #[error("no usable Kubernetes configuration: set KUBECONFIG or --kubeconfig, or run in a cluster")]
    Config(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The API server accepts this audience, so a token for the cloud would be valid in the cluster.
    #[error(
        "--token-audience={0} is an audience that the API server accepts: everybody who receives such a token could act as its ServiceAccount. Use the client id of the identity provider in IAM"
    )]
    Audience(String),
    /// No client can be built from the configuration.
    #[error("the Kubernetes configuration cannot be used")]
    Client(#[source] kube::Error),
    /// A port is not available.
    #[error("cannot listen on {address}: set {flag} to another address")]
    Listen {
        /// The flag of the address.
        flag: &'static str,
        /// The address.
        address: SocketAddr,
        /// The error of the system.
        source: std::io::Error,
    },
    /// The traces cannot be set up.
    #[error(
        "--otlp-endpoint cannot be used: set it to the base URL of a collector, as in http://collector:4318"
    )]
    Traces(#[source] opentelemetry_otlp::ExporterBuildError),
    /// The signal handlers cannot be installed.
    #[error("cannot install signal handlers")]
    Signals(#[source] std::io::Error),
    /// No random bits.
    #[error("the system has no random bits, and no claim is safe without them")]
    Randomness(#[source] getrandom::Error),
    /// A background part ended unexpectedly.
    #[error("a defect in the operator: its part \"{0}\" ended. Report it with the log lines above")]
    Defect(&'static str),
    /// The drain took too long.
    #[error("stopped with unfinished requests after {0} s; their objects become Unknown")]
    Drain(u64),
}

/// What the operator still lacks, for `/readyz`.
#[derive(Clone)]
struct Readiness(Arc<Mutex<Vec<String>>>);

impl Readiness {
    fn set(&self, missing: Vec<String>) {
        *self.0.lock() = missing;
    }

    fn get(&self) -> Vec<String> {
        self.0.lock().clone()
    }
}

/// Runs the operator until a signal.
pub async fn run(args: Run) -> Result<(), Error> {
    telemetry::start(&args.log, args.log_format)?;
    // A program that embeds the operator may have installed another provider already; then use that one.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let traces = traces(&args)?;
    let worlds = connect(&args).await?;
    let result = Box::pin(operate(args, worlds, traces.clone(), on_signals()?)).await;
    let _ = tokio::task::spawn_blocking(move || traces.stop()).await;
    result
}

/// The two outside worlds of an operator.
pub struct Worlds {
    /// The way to the API server.
    pub clients: Clients,
    /// The operator's own namespace.
    pub own_namespace: String,
    /// Carries requests to FunctionGraph another way than over the network.
    pub carrier: Option<Carrier>,
}

/// Runs one operator until `draining` is cancelled, and its drain. If the future is dropped, all of the operator ends at
/// once, as in a crash.
pub async fn operate(
    args: Run,
    Worlds { clients, own_namespace, carrier }: Worlds,
    traces: Traces,
    draining: CancellationToken,
) -> Result<(), Error> {
    let scope = Scope::of(&args.namespaces);
    let served = |namespace| Served { namespace, permitted: CancellationToken::new() };
    let served: Vec<_> = scope.parts().into_iter().map(served).collect();
    let watches = Watches::new(&clients, &served).map_err(Error::Client)?;
    let readiness = Readiness(Arc::new(Mutex::new(vec!["starting".into()])));
    let (checks, to_check) = mpsc::unbounded_channel();
    let stores = Stores::default();
    let (allowed_hosts, refused_networks) = (args.allowed_hosts(), args.refused_networks.clone());
    let reach = Reach { allowed_hosts, refused_networks, carrier };
    let options = Options { flags: args.clone(), reach, scope, own_namespace };
    let providers = Providers::new(checks, permits(args.max_concurrent_reconciles));
    let context = Arc::new(context(clients, options, traces, providers, &stores, draining.clone())?);
    let ports = Ports::listen(&args)?;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        holder = context.holder,
        probes = %ports.probe_address,
        metrics = %ports.metrics_address,
        "starting"
    );
    let missing = {
        let (readiness, watches) = (readiness.clone(), watches.clone());
        move || [readiness.get(), watches.silent()].concat()
    };
    let numbers = {
        let (context, missing, watches) = (Arc::clone(&context), missing.clone(), watches.clone());
        let (unfinished, unknown) = (stores.unfinished.reader.clone(), stores.unknown.reader.clone());
        move || numbers::text(&context, missing().is_empty(), &watches, &unfinished, &unknown)
    };
    let ports = ports.serve(&args, &context, missing, numbers);
    let member = members::leases(&context, &args).map_err(Error::Client)?;
    let work = work(&args, &context, &readiness, (served, watches), (stores, to_check), member);
    tokio::pin!(work);
    tokio::select! {
        () = &mut work => {}
        () = draining.cancelled() => {
            readiness.set(vec!["stopping".into()]);
            tracing::info!("stopping: starting no new attempts, finishing requests in progress");
            if tokio::time::timeout(Duration::from_secs(args.drain_seconds), work).await.is_err() {
                return Err(Error::Drain(args.drain_seconds));
            }
        }
    }
    ports.stop().await;
    tracing::info!("stopped");
    context.broken.get().map_or(Ok(()), |part| Err(Error::Defect(part)))
}

/// The stores that the watches write to and others read.
#[derive(Default)]
struct Stores {
    own: Shelf<FunctionGraphProvider>,
    of_the_cluster: Shelf<ClusterFunctionGraphProvider>,
    unfinished: Shelf<FunctionInvocation>,
    unknown: Shelf<FunctionInvocation>,
}

/// The number of requests that may be in flight. Each holds a reconcile; a quarter of them stays for everything else.
fn permits(max_concurrent_reconciles: u16) -> usize {
    (usize::from(max_concurrent_reconciles) * 3 / 4).max(1)
}

async fn connect(args: &Run) -> Result<Worlds, Error> {
    let configuration = configuration(args).await?;
    if let Some(audience) = &args.token_audience
        && tokens::own_audiences(&configuration.auth_info).contains(audience)
    {
        return Err(Error::Audience(audience.clone()));
    }
    let own_namespace = args.own_namespace.clone().unwrap_or_else(|| configuration.default_namespace.clone());
    let clients = Clients::new(configuration).map_err(Error::Client)?;
    Ok(Worlds { clients, own_namespace, carrier: None })
}

fn context(
    clients: Clients,
    options: Options,
    traces: Traces,
    providers: Providers,
    stores: &Stores,
    draining: CancellationToken,
) -> Result<Context, Error> {
    let holder = clock::holder().map_err(Error::Randomness)?;
    let cluster = stores.of_the_cluster.reader.clone();
    Ok(Context {
        events: Events::start(clients.calls.clone(), holder.clone()),
        clients,
        holder,
        members: watch::Sender::new(Members::default()),
        journal: Journal::default(),
        followed: Followed::default(),
        lookups: Lookups::default(),
        providers: Arc::new(providers),
        provider_store: stores.own.reader.clone(),
        cluster_provider_store: (options.scope == Scope::Cluster).then_some(cluster),
        namespaces: Namespaces::default(),
        metrics: Metrics::default(),
        traces,
        failures: Failures::default(),
        queue_notices: WaitNotices::new(1),
        waiting_events: WaitNotices::new(5),
        notices: Notices::default(),
        resolving: tokio::sync::Mutex::default(),
        event_memory: EventMemory::default(),
        draining,
        broken: OnceLock::new(),
        options,
    })
}

/// Runs all parts, from the first list to the end of the drain.
async fn work(
    args: &Run,
    context: &Arc<Context>,
    readiness: &Readiness,
    (served, watches): (Vec<Served>, Watches),
    (stores, to_check): (Stores, mpsc::UnboundedReceiver<ProviderKey>),
    member: (Leases, Membership),
) {
    let Stores { own, of_the_cluster, unfinished, unknown } = stores;
    let Some(later) = begin::wait(served, args.metrics_auth, context, readiness).await else { return };
    let later = background("namespaces", context, begin::take_up(later, Arc::clone(context)));
    let providers_listed = [own.listed.clone(), of_the_cluster.listed.clone()];
    let providers = providers::run(watches.clone(), own, of_the_cluster, to_check, Arc::clone(context));
    let providers = background("providers", context, providers);
    providers::first_check(providers_listed.each_ref(), context).await;
    let expiry = invocations::run_expiry(watches.expiring.clone(), Arc::clone(context));
    let expiry = background("expiry", context, expiry);
    let unknown = invocations::run_unknown(watches.unknown.clone(), unknown, Arc::clone(context));
    let unknown = background("unknown outcomes", context, unknown);
    let (store, listed) = (unfinished.reader.clone(), unfinished.listed.clone());
    let member = members::run(member, listed.clone(), Arc::clone(context));
    let member = background("members", context, member);
    let ready = async {
        listed.cancelled().await;
        readiness.set(Vec::new());
        tracing::info!(unfinished = store.len(), "working");
        future::pending::<()>().await;
    };
    let concurrency = args.max_concurrent_reconciles;
    let unfinished =
        invocations::run_unfinished(watches.unfinished, unfinished, concurrency, Arc::clone(context));
    tokio::select! { () = unfinished => {}, () = ready => {} }
    drop(later);
    let _ = tokio::join!(providers, expiry, unknown, member);
}

/// The endpoint for traces: the flag, or else OpenTelemetry's own variable.
fn traces(args: &Run) -> Result<Traces, Error> {
    let variable = || std::env::var("OTEL_EXPORTER_OTLP_ENDPOINT").ok();
    let endpoint = args.otlp_endpoint.clone().or_else(variable).filter(|endpoint| !endpoint.is_empty());
    endpoint.map_or_else(|| Ok(Traces::default()), |endpoint| Traces::to(&endpoint).map_err(Error::Traces))
}

async fn configuration(args: &Run) -> Result<Config, Error> {
    let Some(path) = &args.kubeconfig else {
        return Config::infer().await.map_err(|error| Error::Config(error.into()));
    };
    let file = Kubeconfig::read_from(path).map_err(|error| Error::Config(error.into()))?;
    Config::from_custom_kubeconfig(file, &KubeConfigOptions::default())
        .await
        .map_err(|error| Error::Config(error.into()))
}

/// The first SIGTERM or Ctrl-C starts the drain, the second exits at once.
fn on_signals() -> Result<CancellationToken, Error> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).map_err(Error::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::Signals)?;
    let draining = CancellationToken::new();
    let token = draining.clone();
    tokio::spawn(async move {
        let mut next = async || tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} };
        next().await;
        token.cancel();
        next().await;
        tracing::warn!("second signal: exiting at once");
        std::process::exit(130);
    });
    Ok(draining)
}

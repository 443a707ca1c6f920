//! Wires everything together: clients, watches, controllers, the admin server, and the way out.

mod providers;

use crate::api::FunctionInvocation;
use crate::api::invocation::{AttemptState, ProviderRef, RESOLVE};
use crate::args::{LogFormat, Run};
use crate::context::followed::{Followed, Owner};
use crate::context::grants::Namespaces;
use crate::context::journal::Journal;
use crate::context::lookups::Lookups;
use crate::context::providers::{Key, Providers, key};
use crate::context::{Context, Failures, Options, OwnIdentity};
use crate::gate::{Phase, Ticket};
use crate::kubernetes::events::Events;
use crate::kubernetes::{Clients, preflight};
use crate::metrics::{Metrics, Pace};
use crate::{admin, clock, reconcile, telemetry};
use futures::{Stream, StreamExt, future};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::runtime::controller::{self, Controller};
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Config, Resource, ResourceExt};
use providers::Shelf;
use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Objects in one page of a list: some hundred kilobytes with payloads of usual size.
const PAGE: u32 = 200;

/// How often it is checked again what was missing at the start.
const PREFLIGHT: Duration = Duration::from_secs(5);

/// Why the operator could not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The log filter.
    #[error("--log is not a filter")]
    Log(#[from] tracing_subscriber::filter::ParseError),
    /// The kubeconfig or the in-cluster configuration.
    #[error("no usable Kubernetes configuration: set KUBECONFIG or --kubeconfig, or run in a cluster")]
    Config(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The client built from it.
    #[error("the Kubernetes configuration cannot be used")]
    Client(#[source] kube::Error),
    /// The admin server.
    #[error("cannot listen on {0}: choose another --admin-listen")]
    Listen(std::net::SocketAddr, #[source] std::io::Error),
    /// Signals.
    #[error("signals cannot be handled")]
    Signals(#[source] std::io::Error),
    /// Randomness.
    #[error("the system gives no random bits, and without them no claim is safe")]
    Randomness(#[source] getrandom::Error),
    /// The drain took too long.
    #[error("gave up waiting for requests on their way after {0} s; their objects will say Unknown")]
    Drain(u64),
}

/// What keeps the operator from working, as `/readyz` tells it.
#[derive(Clone)]
struct Readiness(Arc<Mutex<Vec<String>>>);

impl Readiness {
    fn set(&self, missing: Vec<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = missing;
    }

    fn get(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Runs the operator until a signal.
///
/// # Errors
/// When it cannot start, or could not finish in time.
pub async fn run(args: Run) -> Result<(), Error> {
    telemetry::start(
        &args.log,
        match args.log_format {
            LogFormat::Json => telemetry::Format::Json,
            LogFormat::Text => telemetry::Format::Text,
        },
    )?;
    // Another one may be installed already by a program that embeds us; then that one is used.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let configuration = configuration(&args).await?;
    let own_namespace = args.own_namespace.clone().unwrap_or_else(|| configuration.default_namespace.clone());
    let clients = Clients::new(configuration).map_err(Error::Client)?;
    let holder = clock::holder().map_err(Error::Randomness)?;
    let draining = on_signals()?;
    let readiness = Readiness(Arc::new(Mutex::new(vec!["starting".into()])));

    let (provider_store, provider_writer) = reflector::store();
    let (cluster_provider_store, cluster_provider_writer) = reflector::store();
    let (invocation_store, invocation_writer) = reflector::store();
    let (inspect, to_inspect) = mpsc::unbounded_channel();
    let context = Arc::new(Context {
        events: Events::start(clients.calls.clone(), holder.clone()),
        clients: clients.clone(),
        holder: holder.clone(),
        since: clock::now(),
        journal: Journal::default(),
        followed: Followed::default(),
        lookups: Lookups::default(),
        providers: Arc::new(Providers::new(inspect)),
        provider_store: provider_store.clone(),
        cluster_provider_store: args.namespace.is_none().then(|| cluster_provider_store.clone()),
        namespaces: Namespaces::default(),
        metrics: Metrics::default(),
        failures: Failures::default(),
        draining: draining.clone(),
        options: options(&args, own_namespace),
    });
    let listener =
        TcpListener::bind(args.admin_listen).await.map_err(|e| Error::Listen(args.admin_listen, e))?;
    let address = listener.local_addr().map_or_else(|_| args.admin_listen.to_string(), |a| a.to_string());
    tracing::info!(version = env!("CARGO_PKG_VERSION"), holder, admin = address, "starting");
    let stop_admin = CancellationToken::new();
    let missing = {
        let readiness = readiness.clone();
        move || readiness.get()
    };
    let metrics = {
        let (context, store) = (Arc::clone(&context), invocation_store.clone());
        move || numbers(&context, &store)
    };
    let admin = tokio::spawn(admin::serve(listener, missing, metrics, stop_admin.clone()));

    let work = async {
        if !wait_for_preflight(&clients.calls, args.namespace.as_deref(), &readiness, &draining).await {
            return;
        }
        let watches = Watches { client: clients.watch.clone(), namespace: args.namespace.clone() };
        let invocations_listed = CancellationToken::new();
        let (own_listed, cluster_listed) = (CancellationToken::new(), CancellationToken::new());
        let providers = tokio::spawn(providers::run(
            watches.clone(),
            Shelf { writer: provider_writer, listed: own_listed.clone() },
            Shelf { writer: cluster_provider_writer, listed: cluster_listed.clone() },
            to_inspect,
            Arc::clone(&context),
        ));
        providers::first_look([&own_listed, &cluster_listed], &context).await;
        let expiry = tokio::spawn(run_expiry(watches.clone(), Arc::clone(&context)));
        let unknown = tokio::spawn(run_unknown(watches.clone(), Arc::clone(&context)));
        let ready = async {
            invocations_listed.cancelled().await;
            readiness.set(Vec::new());
            tracing::info!(unfinished = invocation_store.len(), "working");
            future::pending::<()>().await;
        };
        let invocations = run_invocations(
            watches,
            (invocation_store.clone(), invocation_writer, invocations_listed.clone()),
            args.max_concurrent_reconciles,
            Arc::clone(&context),
        );
        tokio::select! { () = invocations => {}, () = ready => {} }
        let _ = tokio::join!(providers, expiry, unknown);
    };
    tokio::pin!(work);
    tokio::select! {
        () = &mut work => {}
        () = draining.cancelled() => {
            readiness.set(vec!["stopping".into()]);
            tracing::info!("stopping: nothing new is claimed, what is on its way is finished");
            if tokio::time::timeout(Duration::from_secs(args.drain_seconds), work).await.is_err() {
                return Err(Error::Drain(args.drain_seconds));
            }
        }
    }
    stop_admin.cancel();
    let _ = admin.await;
    tracing::info!("stopped");
    Ok(())
}

fn options(args: &Run, own_namespace: String) -> Options {
    Options {
        allowed_endpoint_hosts: args.allowed_endpoint_hosts.clone(),
        namespace: args.namespace.clone(),
        own_namespace,
        secret_poll: Duration::from_secs(args.secret_poll_seconds),
        token_audience: args.token_audience.clone(),
        token_folder: args.token_folder.clone(),
        own_identity: OwnIdentity {
            providers: args.own_identity_providers.clone(),
            pod_identity_url: args.pod_identity_url.clone(),
            pod_identity_token_file: args.pod_identity_token_file.clone(),
            metadata_url: args.metadata_url.clone(),
        },
        strict_503: args.strict_503,
        events_on_success: args.events_on_success,
    }
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

/// The first SIGTERM or Ctrl-C begins the drain, the second ends the process at once.
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
        tracing::warn!("second signal: ending at once");
        std::process::exit(130);
    });
    Ok(draining)
}

/// Waits until nothing is missing; false if it is time to stop.
async fn wait_for_preflight(
    client: &Client,
    namespace: Option<&str>,
    readiness: &Readiness,
    draining: &CancellationToken,
) -> bool {
    loop {
        let missing = match preflight::missing(client, namespace).await {
            Ok(missing) if missing.is_empty() => {
                readiness.set(vec!["reading the objects".into()]);
                return true;
            }
            Ok(missing) => missing,
            Err(error) => {
                let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
                vec![format!("{error}: {cause}")]
            }
        };
        if readiness.get() != missing {
            for line in &missing {
                tracing::error!(missing = line, "cannot begin to work; checking again until it is there");
            }
            readiness.set(missing);
        }
        tokio::select! {
            () = draining.cancelled() => return false,
            () = tokio::time::sleep(PREFLIGHT) => {}
        }
    }
}

/// Where to watch.
#[derive(Clone)]
struct Watches {
    client: Client,
    namespace: Option<String>,
}

impl Watches {
    fn stream<K>(
        &self,
        fields: &str,
    ) -> impl Stream<Item = watcher::Result<watcher::Event<K>>> + Send + 'static
    where
        K: Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>,
        K: Clone + Debug + serde::de::DeserializeOwned + Send + 'static,
    {
        let api = match &self.namespace {
            Some(namespace) => Api::<K>::namespaced(self.client.clone(), namespace),
            None => Api::all(self.client.clone()),
        };
        slim(api, fields)
    }

    /// The same for a kind of the cluster; `None` where a single namespace is served.
    fn cluster_stream<K>(
        &self,
    ) -> Option<impl Stream<Item = watcher::Result<watcher::Event<K>>> + Send + 'static>
    where
        K: Resource<Scope = kube::core::ClusterResourceScope, DynamicType = ()>,
        K: Clone + Debug + serde::de::DeserializeOwned + Send + 'static,
    {
        self.namespace.is_none().then(|| slim(Api::<K>::all(self.client.clone()), ""))
    }
}

/// A watch that keeps what the decisions need.
fn slim<K>(
    api: Api<K>,
    fields: &str,
) -> impl Stream<Item = watcher::Result<watcher::Event<K>>> + Send + 'static + use<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + serde::de::DeserializeOwned + Send + 'static,
{
    let config = watcher::Config::default().page_size(PAGE).fields(fields);
    // Nothing else that the decisions need is in there, and copies of the payload are.
    watcher(api, config).default_backoff().modify(|object| {
        let metadata = object.meta_mut();
        metadata.managed_fields = None;
        metadata.labels = None;
        let resolve = metadata.annotations.as_mut().and_then(|all| all.remove_entry(RESOLVE));
        metadata.annotations = resolve.map(|entry| [entry].into());
    })
}

/// Looks at the events of a watch and cancels `listed` when the first list is in the store. The store's own
/// `wait_until_ready` wakes one waiter only, and that is the controller.
fn tell_when_listed<K>(listed: &CancellationToken) -> impl Fn(&watcher::Result<watcher::Event<K>>) + use<K> {
    let listed = listed.clone();
    move |event| {
        if matches!(event, Ok(watcher::Event::InitDone)) {
            listed.cancel();
        }
    }
}

/// Runs a controller to its end. One whose first list has not come when it is time to stop has begun nothing,
/// and kube-runtime would wait for that list for ever.
async fn until_drained(
    controller: impl Future<Output = ()>,
    listed: &CancellationToken,
    draining: &CancellationToken,
) {
    tokio::pin!(controller);
    tokio::select! {
        () = &mut controller => return,
        () = draining.cancelled() => {}
    }
    if listed.is_cancelled() {
        controller.await;
    }
}

async fn run_expiry(watches: Watches, context: Arc<Context>) {
    let ((reader, writer), listed) = (reflector::store(), CancellationToken::new());
    let stream = watches
        .stream::<FunctionInvocation>("status.outcome!=,spec.ttlSecondsAfterFinished!=")
        .modify(|object| object.spec.payload = None)
        .reflect(writer)
        .inspect(tell_when_listed(&listed))
        .applied_objects();
    let controller = Controller::for_stream(stream, reader)
        .with_config(controller::Config::default().concurrency(16))
        .graceful_shutdown_on(context.draining.clone().cancelled_owned())
        .run(
            reconcile::expire,
            |object, error, context| reconcile::retry_later(&object, error, &context),
            Arc::clone(&context),
        )
        .for_each(|result| watched(&context, result));
    until_drained(controller, &listed, &context.draining).await;
}

/// Objects in doubt are looked at when a person says something about them.
async fn run_unknown(watches: Watches, context: Arc<Context>) {
    let ((reader, writer), listed) = (reflector::store(), CancellationToken::new());
    let stream = watches
        .stream::<FunctionInvocation>("status.outcome=Unknown")
        .modify(|object| object.spec.payload = None)
        .reflect(writer)
        .inspect(tell_when_listed(&listed))
        .applied_objects();
    let controller = Controller::for_stream(stream, reader)
        .with_config(controller::Config::default().concurrency(16))
        .graceful_shutdown_on(context.draining.clone().cancelled_owned())
        .run(
            reconcile::settle,
            |object, error, context| reconcile::retry_later(&object, error, &context),
            Arc::clone(&context),
        )
        .for_each(|result| watched(&context, result));
    until_drained(controller, &listed, &context.draining).await;
}

async fn run_invocations(
    watches: Watches,
    (reader, writer, listed): (
        Store<FunctionInvocation>,
        reflector::store::Writer<FunctionInvocation>,
        CancellationToken,
    ),
    concurrency: u16,
    context: Arc<Context>,
) {
    // Settled objects leave this selection, and with it our memory. The payload is never kept: it is taken
    // from the answer to the claim.
    let stream = watches
        .stream::<FunctionInvocation>("status.outcome=")
        .modify(|object| object.spec.payload = None)
        .reflect(writer)
        .inspect(tell_when_listed(&listed))
        .applied_objects();
    let (call, mut called) = mpsc::unbounded_channel();
    let (call_list, called_lists) = mpsc::unbounded_channel();
    let pump = {
        let (providers, store, call) = (Arc::clone(&context.providers), reader.clone(), call.clone());
        let reference = |ticket: &Ticket| ObjectRef::new(&ticket.name).within(&ticket.namespace);
        tokio::spawn(async move {
            let wanted = |ticket: &Ticket| {
                reconcile::follow::is_for_a_list(ticket) || store.get(&reference(ticket)).is_some()
            };
            let call = |provider: &Key, ticket: Ticket| {
                // Nobody listens any more only when the process ends.
                if reconcile::follow::is_for_a_list(&ticket) {
                    let _ = call_list.send((Arc::clone(provider), ticket));
                } else {
                    let _ = call.send(reference(&ticket));
                }
            };
            providers.pump(wanted, call).await;
        })
    };
    let follower = {
        let (context, store) = (Arc::clone(&context), reader.clone());
        let reference = |owner: &Owner| ObjectRef::new(&owner.name).within(&owner.namespace);
        tokio::spawn(async move {
            let wanted = |owner: &Owner| {
                store.get(&reference(owner)).is_some_and(|object| object.uid().as_ref() == Some(&owner.uid))
            };
            let tell = |owner: Owner| drop(call.send(reference(&owner)));
            reconcile::follow::run(context, called_lists, wanted, tell).await;
        })
    };
    let called = futures::stream::poll_fn(move |cx| called.poll_recv(cx));
    let controller = Controller::for_stream(stream, reader)
        .with_config(controller::Config::default().concurrency(concurrency))
        .reconcile_on(called)
        .graceful_shutdown_on(context.draining.clone().cancelled_owned())
        .run(
            reconcile::reconcile,
            |object, error, context| reconcile::retry_later(&object, error, &context),
            Arc::clone(&context),
        )
        .for_each(|result| watched(&context, result));
    until_drained(controller, &listed, &context.draining).await;
    pump.abort();
    follower.abort();
}

/// Counts what the controllers report: the errors of single objects are told where they happen.
fn watched<K: Resource, E>(
    context: &Context,
    result: Result<(ObjectRef<K>, controller::Action), controller::Error<E, watcher::Error>>,
) -> impl Future<Output = ()> + use<K, E>
where
    E: std::error::Error + 'static,
    K::DynamicType: Clone,
{
    match result {
        // A deleted or settled object, gone before its turn: nothing to do.
        Ok(_) | Err(controller::Error::ObjectNotFound(_) | controller::Error::ReconcilerFailed(..)) => {}
        Err(controller::Error::QueueError(error)) => {
            context.metrics.watch_broke();
            tracing::warn!(%error, "a watch broke; it is taken up again");
        }
        Err(error) => tracing::warn!(%error, "controller"),
    }
    future::ready(())
}

/// The metrics as of now.
fn numbers(context: &Context, unfinished: &Store<FunctionInvocation>) -> String {
    let paces: Vec<Pace> = context
        .providers
        .states()
        .into_iter()
        .map(|(provider, state)| Pace {
            provider: provider.to_string(),
            in_flight: state.in_flight,
            waiting: state.waiting,
            held: !matches!(state.phase, Phase::Open | Phase::Probing),
            rate: state.rate,
        })
        .collect();
    let now = clock::now();
    let mut oldest: HashMap<String, f64> = HashMap::new();
    for object in unfinished.state() {
        // What was accepted is not pending any more: it may run for days.
        let attempt = object.status.as_ref().and_then(|status| status.attempt.as_ref());
        if attempt.and_then(|attempt| attempt.state) == Some(AttemptState::Accepted) {
            continue;
        }
        let ProviderRef { kind, name } = &object.spec.provider_ref;
        let provider = key(*kind, &object.namespace().unwrap_or_default(), name);
        let created = object.metadata.creation_timestamp.as_ref().map_or(now, |t| t.0);
        let age = now.duration_since(created).as_secs_f64();
        let entry = oldest.entry(provider.to_string()).or_insert(age);
        *entry = entry.max(age);
    }
    let followed: Vec<(Key, usize)> = context.followed.count().into_iter().collect();
    context.metrics.text(&paces, &oldest.into_iter().collect::<Vec<_>>(), &followed)
}

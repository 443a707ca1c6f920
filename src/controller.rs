//! Wires everything together: clients, watches, controllers, the admin server, and the way out.

use crate::api::{FunctionGraphProvider, FunctionInvocation};
use crate::args::{LogFormat, Run};
use crate::context::journal::Journal;
use crate::context::providers::Providers;
use crate::context::{Context, Failures, Options};
use crate::gate::Phase;
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

/// How long the first look at all providers may hold back the invocations. Whatever is not ready by then
/// is waited for like any other provider that is not ready.
const FIRST_LOOK: Duration = Duration::from_secs(10);

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
    let clients = Clients::new(configuration(&args).await?).map_err(Error::Client)?;
    let holder = clock::holder().map_err(Error::Randomness)?;
    let draining = on_signals()?;
    let readiness = Readiness(Arc::new(Mutex::new(vec!["starting".into()])));

    let (provider_store, provider_writer) = reflector::store();
    let (invocation_store, invocation_writer) = reflector::store();
    let (inspect, to_inspect) = mpsc::unbounded_channel();
    let context = Arc::new(Context {
        events: Events::start(clients.calls.clone(), holder.clone()),
        clients: clients.clone(),
        holder: holder.clone(),
        since: clock::now(),
        journal: Journal::default(),
        providers: Arc::new(Providers::new(inspect)),
        provider_store: provider_store.clone(),
        metrics: Metrics::default(),
        failures: Failures::default(),
        draining: draining.clone(),
        options: Options {
            allowed_endpoint_hosts: args.allowed_endpoint_hosts.clone(),
            secret_poll: Duration::from_secs(args.secret_poll_seconds),
            strict_503: args.strict_503,
            events_on_success: args.events_on_success,
        },
    });
    let listener =
        TcpListener::bind(args.admin_listen).await.map_err(|e| Error::Listen(args.admin_listen, e))?;
    let address = listener.local_addr().map_or_else(|_| args.admin_listen.to_string(), |a| a.to_string());
    tracing::info!(version = env!("CARGO_PKG_VERSION"), holder, admin = address, "starting");
    let stop_admin = CancellationToken::new();
    let admin = tokio::spawn(admin::serve(
        listener,
        {
            let readiness = readiness.clone();
            move || readiness.get()
        },
        {
            let (context, store) = (Arc::clone(&context), invocation_store.clone());
            move || numbers(&context, &store)
        },
        stop_admin.clone(),
    ));

    let work = async {
        if !wait_for_preflight(&clients.calls, args.namespace.as_deref(), &readiness, &draining).await {
            return;
        }
        let watches = Watches { client: clients.watch.clone(), namespace: args.namespace.clone() };
        let (providers_listed, invocations_listed) = (CancellationToken::new(), CancellationToken::new());
        let providers = tokio::spawn(run_providers(
            watches.clone(),
            (provider_writer, providers_listed.clone()),
            to_inspect,
            Arc::clone(&context),
        ));
        first_look(&providers_listed, &context).await;
        let expiry = tokio::spawn(run_expiry(watches.clone(), Arc::clone(&context)));
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
        let _ = tokio::join!(providers, expiry);
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

/// Waits until each provider has been looked at once, so that a restart does not tell every waiting object
/// that its provider is not ready.
async fn first_look(listed: &CancellationToken, context: &Context) {
    let looked = async {
        listed.cancelled().await;
        loop {
            let unseen = context.provider_store.state().iter().any(|provider| {
                let key = reconcile::key(&provider.namespace().unwrap_or_default(), &provider.name_any());
                context.providers.is_unseen(&key)
            });
            if !unseen {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let _ = tokio::time::timeout(FIRST_LOOK, context.draining.run_until_cancelled(looked)).await;
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
        let config = watcher::Config::default().page_size(PAGE).fields(fields);
        // Nothing that the decisions need is in there, and copies of the payload are.
        watcher(api, config).default_backoff().modify(|object| {
            let metadata = object.meta_mut();
            metadata.managed_fields = None;
            metadata.annotations = None;
            metadata.labels = None;
        })
    }
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

async fn run_providers(
    watches: Watches,
    (writer, listed): (reflector::store::Writer<FunctionGraphProvider>, CancellationToken),
    mut to_inspect: mpsc::UnboundedReceiver<crate::context::providers::Key>,
    context: Arc<Context>,
) {
    let (reader, providers) = (writer.as_reader(), Arc::clone(&context.providers));
    let stream = watches
        .stream::<FunctionGraphProvider>("")
        .reflect(writer)
        .inspect(tell_when_listed(&listed))
        .inspect(move |event| {
            if let Ok(watcher::Event::Delete(provider)) = event {
                let namespace = provider.namespace().unwrap_or_default();
                providers.gone(&reconcile::key(&namespace, &provider.name_any()));
            }
        })
        .applied_objects();
    let asked = futures::stream::poll_fn(move |cx| to_inspect.poll_recv(cx)).filter_map(|key| {
        future::ready(key.split_once('/').map(|(namespace, name)| ObjectRef::new(name).within(namespace)))
    });
    let controller = Controller::for_stream(stream, reader)
        .with_config(controller::Config::default().concurrency(16))
        .reconcile_on(asked)
        .graceful_shutdown_on(context.draining.clone().cancelled_owned())
        .run(
            reconcile::inspect,
            |object, error, context| reconcile::retry_later(&object, error, &context),
            Arc::clone(&context),
        )
        .for_each(|result| watched(&context, result));
    until_drained(controller, &listed, &context.draining).await;
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
    let (call, called) = mpsc::unbounded_channel();
    let pump = {
        let (providers, store) = (Arc::clone(&context.providers), reader.clone());
        let reference = |ticket: &crate::gate::Ticket| ObjectRef::new(&ticket.name).within(&ticket.namespace);
        tokio::spawn(async move {
            let wanted = |ticket: &crate::gate::Ticket| store.get(&reference(ticket)).is_some();
            providers.pump(wanted, |ticket| drop(call.send(reference(&ticket)))).await;
        })
    };
    let mut called = called;
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
        let provider =
            reconcile::key(&object.namespace().unwrap_or_default(), &object.spec.provider_ref.name);
        let created = object.metadata.creation_timestamp.as_ref().map_or(now, |t| t.0);
        let age = now.duration_since(created).as_secs_f64();
        let entry = oldest.entry(provider.to_string()).or_insert(age);
        *entry = entry.max(age);
    }
    context.metrics.text(&paces, &oldest.into_iter().collect::<Vec<_>>())
}

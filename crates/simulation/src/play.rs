//! Plays one plan to its end.

use crate::api_server::store::{Change, Key, Result, Selector, Store};
use crate::history::History;
use crate::lock;
use crate::network::Process;
use crate::plan::{
    Act, CALM_AFTER, Cut, HOSTILE, Plan, SECRET_KEY, TEAM, TO_THE_END, When, access_key_id, base64, provider,
    secret, shared_provider,
};
use crate::promises::Promises;
use clap::Parser;
use functiongraph_emulator::{
    AccessKey, Action, Config, ErrorAnswer, Fault, Function, Identity, InProcess, Listing, User,
    When as Which,
};
use functiongraph_operator::args::{Cli, Command};
use functiongraph_operator::controller::{self, Worlds};
use functiongraph_operator::kubernetes::Clients;
use functiongraph_operator::{clock, traces::Traces};
use http::StatusCode;
use jiff::SignedDuration;
use kube::client::ClientBuilder;
use serde_json::{Value, json};
use std::collections::{BTreeSet, HashSet};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tower::service_fn;
use tower::util::BoxService;

/// The host of FunctionGraph.
const HOST: &str = "cloud.test";

/// The namespace of the operator.
const OPERATOR: &str = "operator";

/// The project of all functions.
const PROJECT: &str = "7aad83af3e8d42e99ac194e8419e2c9b";

/// After the end nobody writes for this long.
const STILL: Duration = Duration::from_mins(3);

/// A replica that has nothing to do sends no more requests in that time. It holds its Lease and looks at the Secrets of its
/// providers, which makes 90 requests in most simulations, and 120 at the most in those of seeds 1 to 300.
const RESTING_REQUESTS_MAX: usize = 200;

/// What concerns objects that are gone is forgotten by then: failures last ten minutes, and memory is swept every minute.
const FORGOTTEN: Duration = Duration::from_mins(12);

/// Everything but the replicas.
pub struct World {
    /// What happens in it.
    pub plan: Plan,
    /// What has happened.
    pub history: Arc<History>,
    /// The API server.
    pub store: Store,
    /// FunctionGraph.
    pub cloud: InProcess,
    /// What must hold.
    pub promises: Arc<Promises>,
    calm: AtomicBool,
    replicas: Vec<Mutex<Option<Handle>>>,
    /// The states in which attempts of an invocation were.
    reached: Mutex<HashSet<(Key, String)>>,
    /// The only acts and disturbances that happen, by their names; `None` for all.
    kept: Option<BTreeSet<String>>,
    /// Those that have happened.
    happened: Mutex<BTreeSet<String>>,
    /// How far the API server's clock is off, in seconds.
    clock: Arc<AtomicI64>,
    /// The number of requests of all replicas.
    requests: AtomicUsize,
}

/// How to end the process of a replica.
struct Handle {
    kill: mpsc::UnboundedSender<()>,
    draining: CancellationToken,
}

/// What a simulation has shown.
pub struct Played {
    /// Who did what.
    pub history: String,
    /// The first promise that was broken.
    pub broken: Option<String>,
    /// The number of invocations that were created.
    pub invocations: usize,
    /// The acts and disturbances that have happened, by their names.
    pub happened: BTreeSet<String>,
}

/// Plays a plan, or only the acts and disturbances of it that are `kept`. The process must have virtual time.
pub async fn play(plan: Plan, kept: Option<BTreeSet<String>>) -> Played {
    let world = World::new(plan, kept);
    for replica in 0..world.plan.replicas {
        tokio::spawn(run_replica(Arc::clone(&world), replica));
    }
    tokio::select! {
        biased;
        () = world.promises.broken.notified() => {}
        () = world.pass() => world.look_at_end().await,
    }
    let happened = std::mem::take(&mut *lock(&world.happened));
    Played {
        history: world.history.text(),
        broken: world.promises.first_broken(),
        invocations: world.promises.invocations(),
        happened,
    }
}

// === impl World ===

impl World {
    fn new(plan: Plan, kept: Option<BTreeSet<String>>) -> Arc<Self> {
        let history = Arc::new(History::new());
        let seconds = Duration::from_secs;
        let config = Config {
            region: "eu-de".into(),
            project_id: PROJECT.into(),
            functions: vec![
                Function { latency: seconds(2), ..Function::named("quick") },
                Function { latency: seconds(90), queue_latency: seconds(10), ..Function::named("slow") },
                Function::named("throttled"),
                Function::named("failing"),
                Function::named("hanging"),
            ],
            access_keys: [TEAM, HOSTILE, OPERATOR].map(access_key).into(),
            identity: Identity {
                users: [TEAM, HOSTILE, OPERATOR].map(user).into(),
                token_lifetime: plan.token_lifetime.unwrap_or_default(),
                ..Identity::default()
            },
            listing: Listing { lag: plan.list_lag, ..Listing::default() },
            ..Config::default()
        };
        let cloud = InProcess::new(&config).expect("a configuration");
        let error = |status| ErrorAnswer::of(status);
        for (function, action) in [
            ("throttled", Action::Status(error(StatusCode::TOO_MANY_REQUESTS))),
            ("failing", Action::AcceptThen(error(StatusCode::INTERNAL_SERVER_ERROR))),
            ("hanging", Action::Hang { accept: true }),
        ] {
            cloud.add_fault(Fault::new(Which::Forever, action).on(function));
        }
        let promises = Arc::new(Promises::new(Arc::clone(&history), cloud.clone()));
        let replicas = (0..plan.replicas).map(|_| Mutex::default()).collect();
        let (clock, since) = (Arc::new(AtomicI64::default()), (clock::now(), Arc::clone(&history)));
        let off = Arc::clone(&clock);
        // Steps of the wall clock are not its own.
        let store = Store::new(move || {
            let off = SignedDuration::from_secs(off.load(Ordering::Relaxed));
            since.0.saturating_add(since.1.passed()).and_then(|now| now.checked_add(off)).expect("a time")
        });
        let calm = AtomicBool::new(false);
        let (reached, happened) = (Mutex::default(), Mutex::default());
        let world = Arc::new(Self {
            plan,
            history,
            store,
            cloud,
            promises,
            calm,
            replicas,
            reached,
            kept,
            happened,
            clock,
            requests: AtomicUsize::new(0),
        });
        let observer = Arc::clone(&world);
        world.store.observe(move |change| {
            observer.promises.look_at(change);
            observer.react(change);
        });
        world.set_up();
        // The process was started with it.
        if world.plan.wall.is_some() {
            world.happens(WALL_STEP);
        }
        world
    }

    /// Whether an act or a disturbance happens that is planned.
    pub fn happens(&self, name: &str) -> bool {
        let happens = self.kept.as_ref().is_none_or(|kept| kept.contains(name));
        if happens {
            lock(&self.happened).insert(name.to_owned());
        }
        happens
    }

    /// A replica sends a request.
    pub fn count_request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// How many of a thousand requests are disturbed now.
    pub fn trouble(&self) -> u32 {
        let passed = self.history.passed();
        match self.plan.storms.iter().any(|storm| storm.contains(&passed)) {
            _ if self.calm.load(Ordering::Relaxed) => 0,
            true => 500,
            false => self.plan.trouble,
        }
    }

    /// Makes the providers and their Secrets, or makes them as they were.
    fn set_up(&self) {
        self.clock.store(0, Ordering::Relaxed);
        for namespace in [TEAM, HOSTILE, OPERATOR] {
            let AccessKey { id, secret: text, .. } = access_key(namespace);
            let User { domain, name, password } = user(namespace);
            let data = json!({
                "accessKeyID": base64(&id), "secretAccessKey": base64(&text),
                "domainName": base64(&domain), "userName": base64(&name), "password": base64(&password),
            });
            self.put(&secret(namespace), &json!({"data": data}));
        }
        let kind = if self.plan.token_lifetime.is_some() { "password" } else { "accessKey" };
        let url = format!("https://{HOST}");
        let mut spec = json!({
            "region": "eu-de", "projectID": PROJECT, "endpoint": url, "iamEndpoint": url,
            "credentials": {kind: {"secretRef": {"name": "key"}}},
            "lookup": {"enabled": self.plan.lookup},
            "limits": {"maxInFlight": 32, "maxRequestsPerSecond": 200},
        });
        for namespace in [TEAM, HOSTILE] {
            self.put(&provider(namespace), &json!({"spec": spec}));
        }
        spec["allowedNamespaces"] = json!({"names": [TEAM, HOSTILE]});
        self.put(&shared_provider(), &json!({"spec": spec}));
    }

    fn put(&self, key: &Key, object: &Value) {
        let created = self.store.create(key, object.clone());
        created.or_else(|_| self.store.patch(key, None, object)).expect("an object");
    }

    /// Whether a replica and the API server do not reach each other now.
    pub fn is_cut(&self, replica: usize, plural: &str) -> bool {
        let passed = self.history.passed();
        self.plan.cuts.iter().enumerate().any(|(number, Cut { replica: of, when, lease_only })| {
            let is_now = !self.calm.load(Ordering::Relaxed) && when.contains(&passed);
            *of == replica
                && is_now
                && (!lease_only || plural == "leases")
                && self.happens(&format!("cut {number}"))
        })
    }

    /// How far the clock of a replica's node is off now, in seconds.
    pub fn skew(&self, replica: usize) -> i64 {
        let (passed, is_calm) = (self.history.passed(), self.calm.load(Ordering::Relaxed));
        let skew =
            self.plan.skew.as_ref().filter(|skew| skew.replica == replica && skew.when.contains(&passed));
        skew.filter(|_| !is_calm && self.happens("clock of a node")).map_or(0, |skew| skew.by)
    }

    /// Lets everything happen that is planned, and then what is left.
    async fn pass(&self) {
        let began = Instant::from(clock::monotonic());
        let timed = self.plan.acts.iter().enumerate().filter_map(|(number, (when, _))| match when {
            When::At(at) => Some((*at, number)),
            When::After { .. } => None,
        });
        for (at, number) in timed.collect::<BTreeSet<_>>() {
            tokio::time::sleep_until(began + at).await;
            if at >= CALM_AFTER {
                self.calm();
            }
            self.act(number);
        }
        self.calm();
        let end = clock::monotonic() + TO_THE_END;
        let mut changes = self.promises.changes();
        loop {
            let requests = self.requests.load(Ordering::Relaxed);
            tokio::time::sleep(STILL).await;
            let requests = self.requests.load(Ordering::Relaxed) - requests;
            let is_still = std::mem::replace(&mut changes, self.promises.changes()) == changes;
            let is_over = is_still && Promises::unfinished(&self.store).is_empty();
            if is_over || clock::monotonic() >= end {
                if !is_still {
                    self.promises.break_one("nobody writes in the end", "somebody still does");
                }
                if is_over && requests > RESTING_REQUESTS_MAX * self.plan.replicas {
                    let about = format!("{requests} requests in {} s", STILL.as_secs());
                    self.promises.break_one("every replica rests in the end", &about);
                }
                return;
            }
        }
    }

    /// From here on all is as it should be.
    fn calm(&self) {
        if !self.calm.swap(true, Ordering::Relaxed) {
            self.set_up();
            self.history.note("world", "is calm from here on");
        }
    }

    /// Judges the end: the objects, and what each replica says of itself.
    async fn look_at_end(&self) {
        self.promises.look_at_end(&self.store, self.plan.is_peaceful);
        for replica in 0..self.plan.replicas {
            let mut metrics = scrape(scrape_address(replica)).await;
            if metrics.as_ref().is_ok_and(|text| !text.contains("operator_remembered 0")) {
                tokio::time::sleep(FORGOTTEN).await;
                metrics = scrape(scrape_address(replica)).await;
            }
            match metrics {
                Ok(text) => self.promises.look_at_metrics(&text, self.plan.replicas, &self.store),
                Err(error) => self.promises.break_one("every replica works in the end", &error.to_string()),
            }
        }
    }

    /// Begins what waits for the state that an invocation has reached.
    fn react(self: &Arc<Self>, change: &Change) {
        let state = change.after.as_ref().and_then(|after| after.pointer("/status/attempt/state"));
        let Some(state) = state.and_then(Value::as_str) else { return };
        if !lock(&self.reached).insert((change.key.clone(), state.to_owned())) {
            return;
        }
        for (number, (when, _)) in self.plan.acts.iter().enumerate() {
            let When::After { object, state: awaited, pause } = when else { continue };
            if *object == change.key && *awaited == state {
                let (world, pause) = (Arc::clone(self), *pause);
                tokio::spawn(async move {
                    tokio::time::sleep(pause).await;
                    if !world.calm.load(Ordering::Relaxed) {
                        world.act(number);
                    }
                });
            }
        }
    }

    fn act(&self, number: usize) {
        if !self.happens(&format!("act {number}")) {
            return;
        }
        let act = &self.plan.acts[number].1;
        let result = match act {
            Act::Create(key, object) => self.store.create(key, object.clone()).map(drop),
            Act::Change(key, change) => self.store.patch(key, None, change).map(drop),
            Act::Delete(key) => self.store.delete(key, &Value::Null),
            Act::Kill(replica) => {
                if let Some(handle) = &*lock(&self.replicas[*replica]) {
                    let _ = handle.kill.send(());
                }
                Ok(())
            }
            Act::Stop(replica) => {
                if let Some(handle) = &*lock(&self.replicas[*replica]) {
                    handle.draining.cancel();
                }
                Ok(())
            }
            Act::Compact => {
                self.store.compact();
                Ok(())
            }
            Act::LoseLeases => {
                let leases = self.store.list("leases", "", &Selector::default(), None, None);
                leases.and_then(|page| page.objects.iter().try_for_each(|lease| self.delete_lease(lease)))
            }
            Act::SetClock(seconds) => {
                self.clock.store(*seconds, Ordering::Relaxed);
                Ok(())
            }
            Act::Steal(thief, owner) => self.steal(thief, owner),
        };
        let refused = result.err().map(|refusal| format!(": refused, {}", refusal.2)).unwrap_or_default();
        self.history.note("somebody", format!("{act}{refused}"));
    }

    fn delete_lease(&self, lease: &Value) -> Result<()> {
        let text = |name: &str| lease["metadata"][name].as_str().unwrap_or_default().to_owned();
        self.store.delete(&("leases".into(), text("namespace"), text("name")), &Value::Null)
    }

    fn steal(&self, thief: &Key, owner: &Key) -> Result<()> {
        let owner = self.store.get(owner)?;
        let Some(id) = owner["status"]["requestID"].as_str() else { return Ok(()) };
        let change =
            json!({"metadata": {"annotations": {"functiongraph.io/resolve": format!("Accepted:{id}")}}});
        self.store.patch(thief, None, &change).map(drop)
    }
}

/// The name of the step of the wall clock.
pub const WALL_STEP: &str = "step of the wall clock";

/// The access key of a namespace's provider.
fn access_key(namespace: &str) -> AccessKey {
    AccessKey { id: access_key_id(namespace), secret: SECRET_KEY.into(), security_token: None }
}

/// The user of a namespace's provider.
fn user(namespace: &str) -> User {
    User { domain: "account".into(), name: namespace.into(), password: SECRET_KEY.into() }
}

/// Runs the processes of a replica, one after the other.
async fn run_replica(world: Arc<World>, replica: usize) {
    for start in 0.. {
        let (kill, mut killed) = mpsc::unbounded_channel();
        let draining = CancellationToken::new();
        *lock(&world.replicas[replica]) = Some(Handle { kill: kill.clone(), draining: draining.clone() });
        let process = Process::new(&world, replica, start, kill);
        let scrapes = format!("--metrics-listen={}", scrape_address(replica));
        world.history.note(&process.name, "starts");
        let arguments = ["functiongraph-operator", "run", "--probe-listen=127.0.0.1:0", &scrapes];
        let hosts = format!("--allowed-endpoint-hosts={HOST}");
        let Command::Run(args) = Cli::parse_from(arguments.into_iter().chain([hosts.as_str()])).command
        else {
            return;
        };
        let carrier = Some(process.carrier());
        let way = Arc::clone(&process);
        let clients = Clients::over(move |patience| {
            let process = Arc::clone(&way);
            let call = service_fn(move |request| Arc::clone(&process).call(request, patience));
            Ok(ClientBuilder::new(BoxService::new(call), "operator"))
        });
        let clients = clients.expect("clients");
        let worlds = Worlds { clients, own_namespace: OPERATOR.into(), carrier };
        let operator = Box::pin(controller::operate(*args, worlds, Traces::default(), draining));
        tokio::select! {
            biased;
            _ = killed.recv() => world.history.note(&process.name, "dies"),
            result = operator => world.history.note(&process.name, format!("ends: {result:?}")),
        }
        let pause = 500 + fastrand::Rng::with_seed(world.plan.seed + start).u64(..8000);
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }
}

/// Where a replica listens for scrapes: an address of this process alone.
fn scrape_address(replica: usize) -> SocketAddr {
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    (Ipv4Addr::new(127, 1 + high % 64, middle, low), 9000 + u16::try_from(replica).unwrap_or_default()).into()
}

async fn scrape(address: SocketAddr) -> io::Result<String> {
    let mut connection = TcpStream::connect(address).await?;
    connection.write_all(b"GET /metrics HTTP/1.1\r\nHost: replica\r\nConnection: close\r\n\r\n").await?;
    let mut text = String::new();
    connection.read_to_string(&mut text).await?;
    Ok(text)
}

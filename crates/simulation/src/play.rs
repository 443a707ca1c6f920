//! Plays one plan to its end.

use crate::api_server::store::{Change, Key, Store};
use crate::history::History;
use crate::lock;
use crate::network::Process;
use crate::plan::{Act, CALM_AFTER, Plan, SECRET_KEY, TEAM, TO_THE_END, When, base64, provider, secret};
use crate::promises::Promises;
use clap::Parser;
use functiongraph_emulator::{AccessKey, Config, Function, InProcess, Listing};
use functiongraph_operator::args::{Cli, Command};
use functiongraph_operator::controller::{self, Worlds};
use functiongraph_operator::kubernetes::Clients;
use functiongraph_operator::{clock, traces::Traces};
use kube::client::ClientBuilder;
use serde_json::{Value, json};
use std::collections::{BTreeSet, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tower::service_fn;
use tower::util::BoxService;

/// The host of FunctionGraph.
const HOST: &str = "cloud.test";

/// The access key that FunctionGraph accepts.
const ACCESS_KEY: &str = "ACCESSKEY00000000001";

/// The project of all functions.
const PROJECT: &str = "7aad83af3e8d42e99ac194e8419e2c9b";

/// After the end nobody writes for this long.
const STILL: Duration = Duration::from_mins(3);

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
    happened: Mutex<Vec<String>>,
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
    pub happened: Vec<String>,
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
        () = world.pass() => world.promises.look_at_end(&world.store),
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
            ],
            access_keys: vec![AccessKey {
                id: ACCESS_KEY.into(),
                secret: SECRET_KEY.into(),
                security_token: None,
            }],
            listing: Listing { lag: plan.list_lag, ..Listing::default() },
            ..Config::default()
        };
        let cloud = InProcess::new(&config).expect("a configuration");
        let promises = Arc::new(Promises::new(Arc::clone(&history), cloud.clone()));
        let replicas = (0..plan.replicas).map(|_| Mutex::default()).collect();
        let store = Store::new(clock::now);
        let calm = AtomicBool::new(false);
        let (reached, happened) = (Mutex::default(), Mutex::default());
        let world =
            Arc::new(Self { plan, history, store, cloud, promises, calm, replicas, reached, kept, happened });
        let observer = Arc::clone(&world);
        world.store.observe(move |change| {
            observer.promises.look_at(change);
            observer.react(change);
        });
        world.begin();
        world
    }

    /// Whether an act or a disturbance happens that is planned.
    pub fn happens(&self, name: &str) -> bool {
        let happens = self.kept.as_ref().is_none_or(|kept| kept.contains(name));
        if happens {
            lock(&self.happened).push(name.to_owned());
        }
        happens
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

    /// The provider and its Secret.
    fn begin(&self) {
        let data = json!({"accessKeyID": base64(ACCESS_KEY), "secretAccessKey": base64(SECRET_KEY)});
        self.store.create(&secret(TEAM), json!({"data": data})).expect("a Secret");
        let spec = json!({
            "region": "eu-de", "projectID": PROJECT, "endpoint": format!("https://{HOST}"),
            "credentials": {"accessKey": {"secretRef": {"name": "key"}}},
            "lookup": {"enabled": self.plan.lookup},
        });
        self.store.create(&provider(TEAM), json!({"spec": spec})).expect("a provider");
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
                self.calm.store(true, Ordering::Relaxed);
            }
            self.act(number);
        }
        self.calm.store(true, Ordering::Relaxed);
        self.history.note("world", "is calm from here on");
        let end = clock::monotonic() + TO_THE_END;
        let mut changes = self.promises.changes();
        loop {
            tokio::time::sleep(STILL).await;
            let is_still = std::mem::replace(&mut changes, self.promises.changes()) == changes;
            let is_over = is_still && Promises::unfinished(&self.store).is_empty();
            if is_over || clock::monotonic() >= end {
                if !is_still {
                    self.promises.break_one("nobody writes in the end", "somebody still does");
                }
                return;
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
        };
        let refused = result.err().map(|refusal| format!(": refused, {}", refusal.2)).unwrap_or_default();
        self.history.note("somebody", format!("{act}{refused}"));
    }
}

/// Runs the processes of a replica, one after the other.
async fn run_replica(world: Arc<World>, replica: usize) {
    for start in 0.. {
        let (kill, mut killed) = mpsc::unbounded_channel();
        let draining = CancellationToken::new();
        *lock(&world.replicas[replica]) = Some(Handle { kill: kill.clone(), draining: draining.clone() });
        let process = Process::new(&world, replica, start, kill);
        world.history.note(&process.name, "starts");
        let arguments =
            ["functiongraph-operator", "run", "--probe-listen=127.0.0.1:0", "--metrics-listen=127.0.0.1:0"];
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
        let worlds = Worlds { clients, own_namespace: "operator".into(), carrier };
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

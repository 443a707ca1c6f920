//! Plays one plan to its end.

use crate::api_server::store::{Key, Store};
use crate::history::History;
use crate::lock;
use crate::network::Process;
use crate::plan::{Act, CALM_AFTER, Plan, SECRET_KEY, TO_THE_END};
use crate::promises::{Promises, invocation};
use clap::Parser;
use functiongraph_emulator::{AccessKey, Config, Function, InProcess, Listing};
use functiongraph_operator::args::{Cli, Command};
use functiongraph_operator::controller::{self, Worlds};
use functiongraph_operator::kubernetes::Clients;
use functiongraph_operator::{clock, traces::Traces};
use kube::client::ClientBuilder;
use serde_json::{Value, json};
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
}

/// Plays a plan. The process must have virtual time.
pub async fn play(plan: Plan) -> Played {
    let world = World::new(plan);
    for replica in 0..world.plan.replicas {
        tokio::spawn(run_replica(Arc::clone(&world), replica));
    }
    tokio::select! {
        biased;
        () = world.promises.broken.notified() => {}
        () = world.pass() => world.promises.look_at_end(&world.store),
    }
    Played { history: world.history.text(), broken: world.promises.first_broken() }
}

// === impl World ===

impl World {
    fn new(plan: Plan) -> Arc<Self> {
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
                id: "ACCESSKEY00000000001".into(),
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
        let world = Arc::new(Self { plan, history, store, cloud, promises, calm, replicas });
        let promises = Arc::clone(&world.promises);
        world.store.observe(move |change| promises.look_at(change));
        world.begin();
        world
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
        let data =
            json!({"accessKeyID": "QUNDRVNTS0VZMDAwMDAwMDAwMDE=", "secretAccessKey": base64(SECRET_KEY)});
        let secret: Key = ("secrets".into(), "team".into(), "key".into());
        self.store.create(&secret, json!({"data": data})).expect("a Secret");
        let spec = json!({
            "region": "eu-de", "projectID": PROJECT, "endpoint": format!("https://{HOST}"),
            "credentials": {"accessKey": {"secretRef": {"name": "key"}}},
        });
        let provider: Key = ("functiongraphproviders".into(), "team".into(), "default".into());
        self.store.create(&provider, json!({"spec": spec})).expect("a provider");
    }

    /// Lets everything happen that is planned, and then what is left.
    async fn pass(&self) {
        let began = Instant::from(clock::monotonic());
        for (at, act) in &self.plan.acts {
            tokio::time::sleep_until(began + *at).await;
            if *at >= CALM_AFTER {
                self.calm.store(true, Ordering::Relaxed);
            }
            self.act(act);
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

    fn act(&self, act: &Act) {
        let result = match act {
            Act::Create(name, spec) => self.store.create(&invocation(name), json!({"spec": spec})).map(drop),
            Act::Change(name, change) => self.store.patch(&invocation(name), None, change).map(drop),
            Act::Delete(name) => self.store.delete(&invocation(name), &Value::Null),
            Act::ChangeSecret(text) => {
                let data = json!({"data": {"secretAccessKey": base64(text)}});
                self.store.patch(&("secrets".into(), "team".into(), "key".into()), None, &data).map(drop)
            }
            Act::ChangeProvider(change) => {
                let provider = ("functiongraphproviders".into(), "team".into(), "default".into());
                self.store.patch(&provider, None, change).map(drop)
            }
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

fn base64(text: &str) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(text)
}

//! Starting a control plane, ending it, and taking its API server away for a while.

use std::{
    env,
    fs::{self, Permissions},
    io,
    net::TcpListener,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use http::Uri;
use kube::Client;
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

use super::{
    IdentityError, ServerError, ToolError, User,
    identity::{self, Identity},
    server::{Launch, Server},
    tools::tool,
};

/// Longest wait for a server. It takes 2 s alone on two cores, and may take a minute on a busy machine.
const READY_WITHIN: Duration = Duration::from_mins(2);

/// Pause between two looks at a server that is not ready: short beside the 2 s it takes.
const POLL: Duration = Duration::from_millis(50);

/// Longest wait for one answer while polling: a server that just came up may accept and not answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Ports to try. Between finding a port free and the API server taking it, somebody else may take it.
const PORT_ATTEMPTS: usize = 5;

/// The controllers an operator's users rely on: deletion of namespaces and of owned objects, the `default`
/// service account of a namespace, the rules of `view`, `edit`, `admin`, which are gathered by label, and what the
/// expressions of an admission policy get wrong.
const CONTROLLERS: &str = "namespace-controller,garbage-collector-controller,serviceaccount-controller,\
                           clusterrole-aggregation-controller,validatingadmissionpolicy-status-controller";

/// What the API server keeps of requests.
const AUDIT_POLICY: &str = "audit-policy.yaml";

/// Where it keeps it.
const AUDIT_LOG: &str = "audit.log";

/// Why a control plane did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A program is not there.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// The temporary folder could not be made.
    #[error("cannot make a temporary folder")]
    Folder(#[source] io::Error),
    /// Keys and credentials could not be made.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// No port was free.
    #[error("cannot find a free port on 127.0.0.1")]
    Port(#[source] io::Error),
    /// A server could not be run or gave up.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// The client for the health check could not be made.
    #[error("cannot make a client for the API server")]
    Client(#[source] kube::Error),
    /// A server ran, and was not ready in time.
    #[error("{name} was not ready within {} s; the end of its log:\n{log}", READY_WITHIN.as_secs())]
    NotReady {
        /// The program.
        name: &'static str,
        /// The last lines of its log.
        log: String,
    },
}

/// What to start beside etcd and the API server.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Start kube-controller-manager for what an operator's users rely on: deleted namespaces and owned
    /// objects go away, namespaces have a `default` service account, the cluster roles `view`, `edit` and
    /// `admin` have rules. Start-up takes about two seconds longer.
    pub controller_manager: bool,
    /// Users beside the admin. They may do what RBAC objects grant them: at first, nothing.
    pub users: Vec<User>,
    /// Keep what everybody writes, Secrets and ServiceAccount tokens included: see [`ControlPlane::written`].
    pub audit: bool,
    /// More flags of the API server, for example `--feature-gates=WatchList=false`.
    pub apiserver_flags: Vec<String>,
}

/// A running control plane.
#[derive(Debug)]
pub struct ControlPlane {
    // Dropped in this order: clients of a server before the server, the folder last.
    servers: Mutex<Servers>,
    tools: Tools,
    pub(crate) identity: Identity,
    pub(crate) address: Uri,
    audit: bool,
    apiserver_flags: Vec<String>,
    folder: Folder,
}

#[derive(Debug)]
struct Servers {
    _controller_manager: Option<Server>,
    apiserver: Option<Server>,
    _etcd: Server,
}

#[derive(Debug)]
struct Tools {
    etcd: PathBuf,
    apiserver: PathBuf,
    kubectl: PathBuf,
}

/// The folder that everything lives in.
#[derive(Debug)]
struct Folder {
    dir: TempDir,
    keep: bool,
}

// === impl ControlPlane ===

impl ControlPlane {
    /// Starts one and waits until it can be used: the API answers and the namespace `default` is there, with
    /// its service account if there is a controller manager. Must be called within a Tokio runtime; the
    /// control plane does not depend on that runtime afterwards.
    ///
    /// # Errors
    ///
    /// When a program is missing (run `make tools`) or a server does not come up; then the error holds the
    /// last lines of its log.
    pub async fn start(options: Options) -> Result<Self, StartError> {
        install_crypto_provider();
        let Options { controller_manager, users, audit, apiserver_flags } = options;
        let tools = Tools::find()?;
        let controller_manager = controller_manager.then(|| tool("kube-controller-manager")).transpose()?;
        let folder = Folder::create().map_err(StartError::Folder)?;
        if audit {
            fs::write(folder.path().join(AUDIT_POLICY), include_str!("plane/audit.yaml"))
                .map_err(StartError::Folder)?;
        }
        let etcd = start_etcd(&tools, &folder).await?;
        let identity = Identity::create(folder.path(), users)?;
        let flags = [audit_flags(audit), apiserver_flags, environment_flags()].concat();
        let (apiserver, address) = start_on_a_free_port(&tools, &identity, &flags, &folder).await?;
        identity.write_kubeconfigs(&address)?;
        let controller_manager = match controller_manager {
            Some(program) => Some(start_controller_manager(&program, &identity, &address, &folder).await?),
            None => None,
        };

        let servers =
            Servers { _controller_manager: controller_manager, apiserver: Some(apiserver), _etcd: etcd };
        let servers = Mutex::new(servers);
        Ok(Self { servers, tools, identity, address, audit, apiserver_flags: flags, folder })
    }

    /// Ends all processes and removes the folder, as dropping it does.
    pub fn stop(self) {
        drop(self);
    }

    /// Kills the API server; connections to it break, its port refuses new ones, etcd keeps the data.
    pub fn stop_apiserver(&self) {
        let apiserver = self.servers().apiserver.take();
        drop(apiserver); // waits for the process, with the lock released
    }

    /// Starts the API server again on the same port with the same data, and waits until it is ready. One that
    /// still runs is stopped first.
    ///
    /// # Errors
    ///
    /// When it does not come up again.
    pub async fn start_apiserver(&self) -> Result<(), StartError> {
        self.stop_apiserver();
        let flags = &self.apiserver_flags;
        let apiserver =
            start_apiserver(&self.tools, &self.identity, &self.address, flags, &self.folder).await?;
        self.servers().apiserver = Some(apiserver);
        Ok(())
    }

    /// [`Self::stop_apiserver`], then [`Self::start_apiserver`].
    ///
    /// # Errors
    ///
    /// When it does not come up again.
    pub async fn restart_apiserver(&self) -> Result<(), StartError> {
        self.start_apiserver().await
    }

    /// The folder with logs, keys and data; removed with the control plane.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The file with what everybody has written, if [`Options::audit`] asked for it: an audit event of
    /// `audit.k8s.io/v1` a line, with the body of each create, update and patch as `requestObject`, also of those that
    /// were refused, and with each ServiceAccount token that was made in `responseObject`. A line may come a moment
    /// after the answer.
    #[must_use]
    pub fn written(&self) -> Option<PathBuf> {
        self.audit.then(|| self.folder().join(AUDIT_LOG))
    }

    pub(crate) fn kubectl_path(&self) -> &Path {
        &self.tools.kubectl
    }

    fn servers(&self) -> MutexGuard<'_, Servers> {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Tools ===

impl Tools {
    fn find() -> Result<Self, ToolError> {
        Ok(Self { etcd: tool("etcd")?, apiserver: tool("kube-apiserver")?, kubectl: tool("kubectl")? })
    }
}

// === impl Folder ===

impl Folder {
    fn create() -> io::Result<Self> {
        let keep = env::var_os("CONTROL_PLANE_KEEP").is_some();
        let dir = tempfile::Builder::new()
            .prefix("control-plane-")
            .permissions(Permissions::from_mode(0o700)) // keys and tokens are in it
            .disable_cleanup(keep)
            .tempdir()?;
        Ok(Self { dir, keep })
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn spawn(&self, name: &'static str, program: &Path, args: &[String]) -> Result<Server, ServerError> {
        Server::spawn(&Launch { name, program, args, folder: self.path(), remove_folder: !self.keep })
    }
}

/// rustls wants one provider per process; the first to ask for it decides.
fn install_crypto_provider() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // It fails when another thread was faster, and then there is one.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    }
}

/// etcd on socket files in its working folder: no port to race for, nothing for other users to connect to.
/// A socket's name must look like host:port; the advertised addresses are never dialled by a single member.
fn etcd_args() -> Vec<String> {
    [
        "--data-dir=etcd",
        "--listen-client-urls=unix://etcd:0",
        "--listen-peer-urls=unix://etcd:1",
        "--advertise-client-urls=http://localhost:1",
        "--initial-advertise-peer-urls=http://localhost:1",
        "--initial-cluster=default=http://localhost:1",
        "--unsafe-no-fsync", // the data need not survive the machine
        "--log-level=warn",
    ]
    .map(str::to_owned)
    .to_vec()
}

fn apiserver_args(address: &Uri, flags: &[String]) -> Vec<String> {
    let mut args = [
        "--etcd-servers=unix://etcd:0",
        "--bind-address=127.0.0.1",
        "--service-account-issuer=https://kubernetes.default.svc",
        "--authorization-mode=RBAC",
        "--service-cluster-ip-range=10.96.0.0/24",
        "--allow-privileged=true",
        "--endpoint-reconciler-type=none",            // nobody runs pods here
        "--disable-admission-plugins=ServiceAccount", // it would refuse pods until a controller has run
    ]
    .map(str::to_owned)
    .to_vec();
    args.extend([
        format!("--secure-port={}", address.port_u16().unwrap_or_default()),
        format!("--tls-cert-file={}", identity::SERVING_CERTIFICATE),
        format!("--tls-private-key-file={}", identity::SERVING_KEY),
        format!("--service-account-key-file={}", identity::SERVICE_ACCOUNT_PUBLIC_KEY),
        format!("--service-account-signing-key-file={}", identity::SERVICE_ACCOUNT_KEY),
        format!("--token-auth-file={}", identity::TOKENS),
    ]);
    args.extend_from_slice(flags);
    args
}

fn audit_flags(audit: bool) -> Vec<String> {
    if !audit {
        return Vec::new();
    }
    vec![
        format!("--audit-policy-file={AUDIT_POLICY}"),
        format!("--audit-log-path={AUDIT_LOG}"),
        "--audit-log-maxsize=100000".to_owned(), // MB; one file, so that nobody has to look for more
    ]
}

/// Flags of the API server from the environment.
fn environment_flags() -> Vec<String> {
    let flags = std::env::var("CONTROL_PLANE_FLAGS").unwrap_or_default();
    flags.split_whitespace().map(ToOwned::to_owned).collect()
}

async fn start_etcd(tools: &Tools, folder: &Folder) -> Result<Server, StartError> {
    let mut etcd = folder.spawn("etcd", &tools.etcd, &etcd_args())?;
    let socket = folder.path().join("etcd:0");
    until_ready(&mut etcd, async || socket.exists()).await?;
    Ok(etcd)
}

/// The API server on a port that was free a moment ago; another one if somebody else took it meanwhile.
async fn start_on_a_free_port(
    tools: &Tools,
    identity: &Identity,
    flags: &[String],
    folder: &Folder,
) -> Result<(Server, Uri), StartError> {
    let mut attempt = 1;
    loop {
        let address = free_address().map_err(StartError::Port)?;
        match start_apiserver(tools, identity, &address, flags, folder).await {
            Ok(apiserver) => return Ok((apiserver, address)),
            Err(StartError::Server(ServerError::Exited { log, .. }))
                if attempt < PORT_ATTEMPTS && log.contains("address already in use") =>
            {
                attempt += 1;
            }
            Err(error) => return Err(error),
        }
    }
}

fn free_address() -> io::Result<Uri> {
    let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
    format!("https://127.0.0.1:{port}").parse().map_err(io::Error::other)
}

async fn start_apiserver(
    tools: &Tools,
    identity: &Identity,
    address: &Uri,
    flags: &[String],
    folder: &Folder,
) -> Result<Server, StartError> {
    let client = health_client(identity, address)?;
    let args = apiserver_args(address, flags);
    let mut apiserver = folder.spawn("kube-apiserver", &tools.apiserver, &args)?;
    // The namespace appears a moment after the server calls itself ready.
    until_ready(&mut apiserver, async || {
        answers(&client, "/readyz").await && answers(&client, "/api/v1/namespaces/default").await
    })
    .await?;
    Ok(apiserver)
}

async fn start_controller_manager(
    program: &Path,
    identity: &Identity,
    address: &Uri,
    folder: &Folder,
) -> Result<Server, StartError> {
    let args = [
        format!("--kubeconfig={}", identity.admin_kubeconfig().display()),
        format!("--controllers={CONTROLLERS}"),
        "--leader-elect=false".to_owned(), // there is only one
        "--secure-port=0".to_owned(),      // nobody asks it anything
    ];
    let client = health_client(identity, address)?;
    let mut manager = folder.spawn("kube-controller-manager", program, &args)?;
    // It has no health check without a port; this account is the first thing it makes.
    until_ready(&mut manager, async || {
        answers(&client, "/api/v1/namespaces/default/serviceaccounts/default").await
    })
    .await?;
    Ok(manager)
}

/// A client that asks once: the polling is ours.
fn health_client(identity: &Identity, address: &Uri) -> Result<Client, StartError> {
    let mut config = identity.admin_config(address);
    config.default_retry = false;
    Client::try_from(config).map_err(StartError::Client)
}

/// Whether a GET of the path succeeds.
async fn answers(client: &Client, path: &str) -> bool {
    let Ok(request) = http::Request::get(path).body(Vec::new()) else { return false };
    matches!(timeout(ANSWER_WITHIN, client.request_text(request)).await, Ok(Ok(_)))
}

async fn until_ready(server: &mut Server, ready: impl AsyncFn() -> bool) -> Result<(), StartError> {
    let polling = async {
        while !ready().await {
            server.check()?;
            sleep(POLL).await;
        }
        Ok(())
    };
    match timeout(READY_WITHIN, polling).await {
        Ok(outcome) => outcome,
        Err(_) => Err(StartError::NotReady { name: server.name(), log: server.log_tail() }),
    }
}

//! A proxy in front of the API server that lets chosen calls about invocations and providers meet a fault.
//!
//! TLS on both sides, HTTP/1.1, one connection to the API server for each from the operator. Everything else
//! passes as it is, watches included, unless the operator is to be deaf.

use crate::stall::{Stall, Stalls, is_read};
use functiongraph_operator::api::condition::{Condition, ConditionType, Reason};
use functiongraph_operator::api::invocation::{AttemptState, FunctionInvocationStatus};
use futures::StreamExt;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::client::conn::http1::SendRequest;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use kube::config::Kubeconfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use testkit::control_plane::{ADMIN, ControlPlane};
use testkit::{plane, signal};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// The resources whose calls are told apart.
const RESOURCES: [&str; 3] = ["functioninvocations", "functiongraphproviders", "secrets"];

/// The file's name in the proxy's folder.
const KUBECONFIG: &str = "kubeconfig";

/// What a chosen write meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The operator is killed; the write does not arrive.
    KilledBefore,
    /// The write arrives, and the operator is killed before the answer.
    KilledAfter,
    /// The write arrives; the connection is cut instead of the answer.
    AnswerLost,
    /// The write arrives, and the answer so many seconds later.
    AnswerLate(u64),
    /// The write arrives so many seconds later, whether or not anybody still waits for its answer.
    ArrivesLate(u64),
    /// Another answer, and the write does not arrive.
    Refused(u16),
    /// The write arrives, and is answered like this.
    Committed(u16),
    /// Neither arrives; the connection stays open.
    Hang,
    /// Neither arrives; the connection is cut.
    Reset,
}

/// What a call does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Writes a claim into the status of an invocation.
    Claim,
    /// Writes any other status: with one attempt and no other fault, the record.
    Record,
    /// Says in a status what the invocation waits for, and is not the first write after a claim: that is the record. How
    /// often depends on the time that everything takes.
    Notice,
    /// Writes the annotation of the restore guard.
    Mark,
    /// Deletes an invocation.
    Delete,
    /// Reads one invocation.
    Get,
    /// Lists invocations, in pages.
    List,
    /// Begins a watch of invocations; a streamed list too.
    Watch,
    /// Lists providers, or begins a watch of them.
    Providers,
    /// Writes the status of a provider.
    ProviderStatus,
    /// Reads a Secret.
    Secret,
}

/// The call that met the fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    /// Its object; empty for lists and watches.
    pub name: String,
    /// What it does.
    pub kind: Kind,
}

/// Which call meets a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum At {
    /// This status write of invocations, counted from one over all objects. Notices do not count.
    StatusWrite(usize),
    /// This call of a kind, counted from one.
    Call(Kind, usize),
}

/// What the proxy has seen and what it is to do.
#[derive(Debug)]
struct Plan {
    faults: BTreeMap<At, Fault>,
    seen: BTreeMap<Kind, usize>,
    /// The first call that met a fault.
    hit: Option<Hit>,
    /// How many calls met one.
    met: usize,
    /// Whether the first fault makes the operator deaf.
    deafening: bool,
    /// Whether what changes is kept from the operator.
    deaf: watch::Sender<bool>,
    /// Whether what changes in providers is kept from the operator.
    deaf_to_providers: watch::Sender<bool>,
    /// How often the operator has read one provider.
    provider_reads: usize,
    /// Status writes of each object without notices, those included that did not arrive.
    writes: BTreeMap<String, usize>,
    /// What the last status write of each object did.
    last_writes: BTreeMap<String, Kind>,
    /// The operator to kill.
    victim: Option<u32>,
}

/// A running proxy. It ends with this value.
pub struct Proxy {
    /// What happens to lists and watches.
    pub reads: Stalls,
    plan: Arc<Mutex<Plan>>,
    folder: tempfile::TempDir,
    accepting: JoinHandle<()>,
}

/// The connection is to be cut.
#[derive(Debug, thiserror::Error)]
#[error("cut on purpose, or because the other side was")]
struct Cut;

pub type Body = UnsyncBoxBody<Bytes, hyper::Error>;

// === impl Proxy ===

impl Proxy {
    /// Starts one in which status writes, by their number from one on, meet faults.
    pub async fn start(faults: &[(usize, Fault)]) -> Self {
        Self::before(plane().await, faults).await
    }

    /// The same in front of another control plane.
    pub async fn before(plane: &ControlPlane, faults: &[(usize, Fault)]) -> Self {
        let faults = faults.iter().map(|&(number, fault)| (At::StatusWrite(number), fault));
        Self::with(plane, faults.collect()).await
    }

    /// Starts one in which any calls meet faults.
    pub async fn with(plane: &ControlPlane, faults: BTreeMap<At, Fault>) -> Self {
        let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(certified.signing_key.serialize_der()));
        let server = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![certified.cert.der().clone()], key)
            .expect("the certificate can be served");
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let plan = Plan {
            faults,
            seen: BTreeMap::new(),
            hit: None,
            met: 0,
            deafening: false,
            deaf: watch::Sender::new(false),
            deaf_to_providers: watch::Sender::new(false),
            provider_reads: 0,
            writes: BTreeMap::new(),
            last_writes: BTreeMap::new(),
            victim: None,
        };
        let plan = Arc::new(Mutex::new(plan));
        let reads = Stalls::default();
        let accepting = tokio::spawn(accept(
            listener,
            Arc::new(server).into(),
            Upstream::new(plane),
            Arc::clone(&plan),
            reads.clone(),
        ));
        let folder = tempfile::tempdir().expect("a folder for the kubeconfig");
        write_kubeconfig(plane, folder.path(), port, &certified.cert.pem());
        Self { reads, plan, folder, accepting }
    }

    /// The way to the API server through this proxy, as admin.
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join(KUBECONFIG)
    }

    /// The process to kill where the fault says so.
    pub fn aim(&self, pid: u32) {
        self.plan.lock().unwrap().victim = Some(pid);
    }

    /// From the first fault on, the operator's watches stay silent: it believes what it has seen last.
    pub fn deafen(&self) {
        self.plan.lock().unwrap().deafening = true;
    }

    /// The watches speak again, and tell what was kept back.
    pub fn undeafen(&self) {
        let mut plan = self.plan.lock().unwrap();
        plan.deafening = false;
        plan.deaf.send_replace(false);
        plan.deaf_to_providers.send_replace(false);
    }

    /// The watches of providers stay silent, or speak again and tell what was kept back.
    pub fn deafen_to_providers(&self, deaf: bool) {
        self.plan.lock().unwrap().deaf_to_providers.send_replace(deaf);
    }

    /// How often the operator has read one provider.
    pub fn provider_reads(&self) -> usize {
        self.plan.lock().unwrap().provider_reads
    }

    /// How often each kind of call was made, also those that did not arrive.
    pub fn calls(&self) -> BTreeMap<Kind, usize> {
        self.plan.lock().unwrap().seen.clone()
    }

    /// How many calls met a fault.
    pub fn met(&self) -> usize {
        self.plan.lock().unwrap().met
    }

    /// The first call that met a fault, once one has.
    pub fn hit(&self) -> Option<Hit> {
        self.plan.lock().unwrap().hit.clone()
    }

    /// How many status writes each object has taken, without notices.
    pub fn writes(&self) -> BTreeMap<String, usize> {
        self.plan.lock().unwrap().writes.clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// The admin's own kubeconfig, but for the address and the authority.
fn write_kubeconfig(plane: &ControlPlane, folder: &Path, port: u16, ca_pem: &str) {
    let real = plane.kubeconfig(ADMIN).expect("a kubeconfig");
    let mut config = Kubeconfig::read_from(real).expect("it can be read");
    let ca = folder.join("ca.crt");
    for cluster in config.clusters.iter_mut().filter_map(|cluster| cluster.cluster.as_mut()) {
        cluster.server = Some(format!("https://localhost:{port}"));
        cluster.certificate_authority = Some(ca.to_str().expect("a plain path").to_owned());
    }
    std::fs::write(ca, ca_pem).expect("a file");
    let text = serde_json::to_string(&config).expect("it can be written");
    std::fs::write(folder.join(KUBECONFIG), text).expect("a file");
}

async fn accept(
    listener: TcpListener,
    tls: TlsAcceptor,
    upstream: Upstream,
    plan: Arc<Mutex<Plan>>,
    reads: Stalls,
) {
    // Dropped with this task, and all connections with it.
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (tls, upstream, plan, reads) = (tls.clone(), upstream.clone(), Arc::clone(&plan), reads.clone());
        connections.spawn(async move {
            let _ = stream.set_nodelay(true);
            let (Ok(stream), Some(server)) = tokio::join!(tls.accept(stream), upstream.connect()) else {
                return;
            };
            let server = Arc::new(tokio::sync::Mutex::new(server));
            let service = service_fn(|request| {
                exchange(Arc::clone(&plan), reads.clone(), upstream.clone(), Arc::clone(&server), request)
            });
            // Ends with an error when the fault cuts it.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

/// The way on to the API server.
#[derive(Clone)]
struct Upstream {
    address: SocketAddr,
    tls: TlsConnector,
}

// === impl Upstream ===

impl Upstream {
    fn new(plane: &ControlPlane) -> Self {
        let config = plane.kube_config();
        let mut roots = RootCertStore::empty();
        for certificate in config.root_cert.expect("its authority") {
            roots.add(CertificateDer::from(certificate)).expect("a certificate");
        }
        let tls = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let port = config.cluster_url.port_u16().expect("a port");
        Self { address: ([127, 0, 0, 1], port).into(), tls: Arc::new(tls).into() }
    }

    /// A connection; none while the API server is away.
    async fn connect(&self) -> Option<SendRequest<Full<Bytes>>> {
        let stream = TcpStream::connect(self.address).await.ok()?;
        let _ = stream.set_nodelay(true);
        let name = ServerName::try_from("localhost").expect("a name");
        let stream = self.tls.connect(name, stream).await.ok()?;
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.ok()?;
        tokio::spawn(connection);
        Some(sender)
    }
}

type Server = Arc<tokio::sync::Mutex<SendRequest<Full<Bytes>>>>;

async fn exchange(
    plan: Arc<Mutex<Plan>>,
    reads: Stalls,
    upstream: Upstream,
    server: Server,
    request: Request<Incoming>,
) -> Result<Response<Body>, Cut> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(|_| Cut)?.to_bytes();
    let met = call(&head.method, &head.uri, &body).and_then(|hit| meet(&plan, hit));
    let watches = head.uri.query().is_some_and(|query| query.contains("watch="));
    let of_providers = head.uri.path().contains("/functiongraphproviders");
    if head.method == Method::GET && head.uri.path().contains("/functiongraphproviders/") {
        plan.lock().unwrap().provider_reads += 1;
    }
    let asked = is_read(&head.method, head.uri.path()).then(|| reads.asked(&head.uri));
    if asked == Some(Some(Stall::Answer)) {
        std::future::pending::<()>().await;
    }
    // One that is dropped in the middle of its answer takes its connection along.
    let server = match asked {
        Some(_) => Arc::new(upstream.connect().await.ok_or(Cut)?.into()),
        None => server,
    };
    let request = Request::from_parts(head, Full::new(body));
    let Some((fault, victim)) = met else {
        let answer = forward(server, request).await?;
        let deaf = {
            let plan = plan.lock().unwrap();
            if of_providers { plan.deaf_to_providers.subscribe() } else { plan.deaf.subscribe() }
        };
        let answer = if watches { muffled(answer, &deaf) } else { answer };
        return Ok(if let Some(stall) = asked { reads.answer(answer, stall) } else { answer });
    };
    match fault {
        Fault::KilledBefore => {
            signal(victim.expect("somebody to kill"), "KILL");
            Err(Cut)
        }
        Fault::KilledAfter => {
            collected(forward(server, request).await?).await?;
            signal(victim.expect("somebody to kill"), "KILL");
            Err(Cut)
        }
        Fault::AnswerLost => {
            collected(forward(server, request).await?).await?;
            Err(Cut)
        }
        Fault::AnswerLate(seconds) => {
            let answer = collected(forward(server, request).await?).await?;
            // The lateness is the fault.
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            Ok(answer)
        }
        Fault::ArrivesLate(seconds) => {
            // On its own: this exchange ends when the operator gives up on it.
            let arrival = tokio::spawn(async move {
                // The lateness is the fault.
                tokio::time::sleep(Duration::from_secs(seconds)).await;
                // A connection that has not been used for half a minute would be closed by the API server.
                let fresh = upstream.connect().await.ok_or(Cut)?;
                collected(forward(Arc::new(fresh.into()), request).await?).await
            });
            arrival.await.map_err(|_| Cut)?
        }
        Fault::Refused(status) => Ok(refusal(status)),
        Fault::Committed(status) => {
            collected(forward(server, request).await?).await?;
            Ok(refusal(status))
        }
        Fault::Hang => std::future::pending().await,
        Fault::Reset => Err(Cut),
    }
}

async fn forward(server: Server, request: Request<Full<Bytes>>) -> Result<Response<Body>, Cut> {
    let mut server = server.lock().await;
    server.ready().await.map_err(|_| Cut)?;
    let answer = server.send_request(request).await.map_err(|_| Cut)?;
    Ok(answer.map(BodyExt::boxed_unsync))
}

/// What a request does, if it is about invocations, providers or Secrets.
fn call(method: &Method, uri: &Uri, body: &[u8]) -> Option<Hit> {
    let mut parts = uri.path().split('/').skip_while(|part| !RESOURCES.contains(part));
    let (resource, name, subresource) = (parts.next()?, parts.next().unwrap_or_default(), parts.next());
    let watches = uri.query().is_some_and(|query| query.contains("watch="));
    let kind = match (resource, method.as_str(), name, subresource) {
        ("functioninvocations", "PATCH", _, Some("status")) => status_write(body),
        ("functioninvocations", "PATCH", _, None) => Kind::Mark,
        ("functioninvocations", "DELETE", ..) => Kind::Delete,
        ("functioninvocations", "GET", "", _) => {
            if watches {
                Kind::Watch
            } else {
                Kind::List
            }
        }
        ("functioninvocations", "GET", ..) => Kind::Get,
        ("functiongraphproviders", "GET", "", _) => Kind::Providers,
        ("functiongraphproviders", "PATCH", _, Some("status")) => Kind::ProviderStatus,
        ("secrets", "GET", ..) => Kind::Secret,
        _ => return None,
    };
    Some(Hit { name: name.to_owned(), kind })
}

/// What a write of an invocation's status does.
fn status_write(body: &[u8]) -> Kind {
    let mut object: Value = serde_json::from_slice(body).expect("JSON");
    let status =
        serde_json::from_value::<FunctionInvocationStatus>(object["status"].take()).unwrap_or_default();
    let ready = Condition::find(&status.conditions, ConditionType::Ready);
    let state = status.attempt.and_then(|attempt| attempt.state);
    match ready.map(|ready| ready.reason) {
        _ if state == Some(AttemptState::Claimed) => Kind::Claim,
        Some(Reason::Queued | Reason::WaitingForProvider | Reason::WaitingForPayload) => Kind::Notice,
        _ => Kind::Record,
    }
}

/// Counts a call; if it is the one, says what it meets.
fn meet(plan: &Mutex<Plan>, mut hit: Hit) -> Option<(Fault, Option<u32>)> {
    let mut plan = plan.lock().unwrap();
    if matches!(hit.kind, Kind::Claim | Kind::Record | Kind::Notice) {
        let last = plan.last_writes.insert(hit.name.clone(), hit.kind);
        if (last, hit.kind) == (Some(Kind::Claim), Kind::Notice) {
            hit.kind = Kind::Record;
        }
    }
    let seen = plan.seen.entry(hit.kind).or_default();
    *seen += 1;
    let mut at = vec![At::Call(hit.kind, *seen)];
    if matches!(hit.kind, Kind::Claim | Kind::Record) {
        *plan.writes.entry(hit.name.clone()).or_default() += 1;
        at.push(At::StatusWrite(plan.writes.values().sum()));
    }
    let fault = at.iter().find_map(|at| plan.faults.get(at).copied())?;
    plan.hit.get_or_insert(hit);
    plan.met += 1;
    if plan.deafening {
        plan.deaf.send_replace(true);
        plan.deaf_to_providers.send_replace(true);
    }
    Some((fault, plan.victim))
}

/// The whole of an answer.
async fn collected(answer: Response<Body>) -> Result<Response<Body>, Cut> {
    let (head, body) = answer.into_parts();
    let body = body.collect().await.map_err(|_| Cut)?.to_bytes();
    Ok(Response::from_parts(head, whole(body)))
}

fn whole(body: Bytes) -> Body {
    Full::new(body).map_err(|never| match never {}).boxed_unsync()
}

/// The answer to a watch, in pieces that are kept back while the operator is deaf.
fn muffled(answer: Response<Body>, deaf: &watch::Receiver<bool>) -> Response<Body> {
    answer.map(|body| {
        let deaf = deaf.clone();
        let pieces = body.into_data_stream().then(move |piece| {
            let mut deaf = deaf.clone();
            async move {
                // It fails when the proxy has ended, and then nobody listens.
                let _ = deaf.wait_for(|deaf| !deaf).await;
                piece.map(Frame::data)
            }
        });
        StreamBody::new(pieces).boxed_unsync()
    })
}

/// What the API server says in its own shape.
fn refusal(code: u16) -> Response<Body> {
    let reason = match code {
        400 => "BadRequest",
        403 => "Forbidden",
        404 => "NotFound",
        409 => "Conflict",
        410 => "Gone",
        413 => "RequestEntityTooLarge",
        422 => "Invalid",
        429 => "TooManyRequests",
        504 => "Timeout",
        503 => "ServiceUnavailable",
        _ => "InternalError",
    };
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "a fault of the test", "reason": reason, "code": code,
    });
    let mut answer = Response::new(whole(Bytes::from(status.to_string())));
    *answer.status_mut() = StatusCode::from_u16(code).expect("a status");
    let json = hyper::header::HeaderValue::from_static("application/json");
    answer.headers_mut().insert(hyper::header::CONTENT_TYPE, json);
    answer
}

//! The operator's own HTTP servers: `/healthz` and `/readyz` on one port, `/metrics` on another.
//!
//! Anybody who reaches a port may connect, so both are bounded: a connection carries one request and lives for seconds,
//! its buffers are small, and of too many connections the oldest ends that comes from where most come from. A kubelet
//! with its one connection is thus served while another address opens thousands.

mod connections;

use axum::Router;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::serve::Listener;
use connections::Connections;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// A client must have sent its request by then.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// A client must have read the answer by then: the time that Prometheus allows a scrape by default.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);

/// Connections for probes at a time: a kubelet opens two.
pub const PROBE_CONNECTIONS: usize = 32;

/// Connections for scrapes at a time: each may hold an answer of up to 2 MiB that its client does not read.
pub const METRICS_CONNECTIONS: usize = 8;

/// The headers of a request, a ServiceAccount's token included, take less.
const BUFFER_BYTES: usize = 16 * 1024;

/// What the kernel keeps of a connection that is not read. It doubles the figure.
const RECEIVE_BUFFER_BYTES: u32 = 16 * 1024;

/// Connections that wait to be accepted, which happens at once.
const BACKLOG: u32 = 128;

/// Listens on an address, with a small receive buffer for each connection.
///
/// # Errors
/// When the address cannot be had.
pub fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // A new process may take the port while connections to the old one end.
    socket.set_reuseaddr(true)?;
    socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Answers probes. `unready` names what keeps the operator from working.
pub fn probes(unready: impl Fn() -> Vec<String> + Clone + Send + Sync + 'static) -> Router {
    let readiness = || async move {
        let missing = unready();
        if missing.is_empty() {
            (StatusCode::OK, "ok\n".to_owned())
        } else {
            (StatusCode::SERVICE_UNAVAILABLE, missing.join("\n") + "\n")
        }
    };
    Router::new().route("/healthz", get(|| async { "ok\n" })).route("/readyz", get(readiness))
}

/// Answers scrapes with OpenMetrics text, if `allowed` finds nothing against a request with this bearer token.
pub fn metrics<Allowed>(
    text: impl Fn() -> String + Clone + Send + Sync + 'static,
    allowed: impl Fn(Option<String>) -> Allowed + Clone + Send + Sync + 'static,
) -> Router
where
    Allowed: Future<Output = Result<(), StatusCode>> + Send,
{
    let scrape = |headers: HeaderMap| async move {
        if let Err(refusal) = allowed(bearer_token(&headers)).await {
            return (refusal, [(WWW_AUTHENTICATE, "Bearer")]).into_response();
        }
        let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
        ([(CONTENT_TYPE, kind)], text()).into_response()
    };
    Router::new().route("/metrics", get(scrape))
}

fn bearer_token(headers: &HeaderMap) -> Option<String> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned())
}

/// Serves at most `max_connections` at a time until `stop`, which ends all of them.
pub async fn serve(mut listener: TcpListener, app: Router, max_connections: usize, stop: CancellationToken) {
    let mut connections = Connections::new(max_connections);
    loop {
        let (stream, peer) = tokio::select! {
            accepted = Listener::accept(&mut listener) => accepted,
            () = stop.cancelled() => return,
        };
        let task = tokio::spawn(connection(stream, app.clone()));
        connections.admit(peer.ip(), AbortOnDropHandle::new(task));
        // Lets connections that were ended give their buffers back before the next one is accepted.
        tokio::task::yield_now().await;
    }
}

/// Answers the one request of a connection.
async fn connection(stream: TcpStream, app: Router) {
    let request = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(BUFFER_BYTES)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(app));
    // Whatever ends it is the client's business.
    let _ = tokio::time::timeout(CONNECTION_TIMEOUT, request).await;
}

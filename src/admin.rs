//! The operator's own HTTP servers: `/healthz` and `/readyz` on one port, `/metrics` on another.
//!
//! Everybody who reaches a port may connect, so both are bounded. A connection carries one request and lives for
//! seconds, and its buffers are small. If there are too many connections, the oldest of the address with the most
//! connections ends. So a kubelet with its one connection is served while another address opens thousands.

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
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// Timeout for a client to send its request.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// Timeout for a client to read the answer: Prometheus' default timeout of a scrape.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);

/// Maximum number of connections for probes: a kubelet opens two.
pub const PROBE_CONNECTIONS: usize = 32;

/// Maximum number of connections for scrapes: each may hold an answer of up to 2 MiB that its client does not read.
pub const METRICS_CONNECTIONS: usize = 8;

/// The headers of a request, including a ServiceAccount's token, are smaller.
const BUFFER_BYTES: usize = 16 * 1024;

/// Kernel buffer for unread bytes of a connection. The kernel doubles the number.
const RECEIVE_BUFFER_BYTES: u32 = 16 * 1024;

/// Connections waiting to be accepted, which happens at once.
const BACKLOG: u32 = 128;

/// Listens on an address, with a small receive buffer for each connection. `[::]` stands for both families, and for IPv4
/// on a machine without IPv6.
pub fn listen(mut address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6().or_else(|error| {
            if !address.ip().is_unspecified() {
                return Err(error);
            }
            address.set_ip(Ipv4Addr::UNSPECIFIED.into());
            TcpSocket::new_v4()
        }),
    }?;
    // A new process may use the port before all connections of the old one have ended.
    socket.set_reuseaddr(true)?;
    socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Answers probes. `unready` returns what the operator still lacks.
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

/// Answers scrapes with OpenMetrics text, if `allowed` accepts the bearer token of the request.
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
        // Let ended connections free their buffers before the next one is accepted.
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
    // An error here is the client's.
    let _ = tokio::time::timeout(CONNECTION_TIMEOUT, request).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv6Addr;
    use tokio::net::TcpStream;

    #[tokio::test]
    async fn the_default_address_serves_each_family_that_the_machine_has() {
        let listener = listen((Ipv6Addr::UNSPECIFIED, 0).into()).unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_ok());
        if TcpSocket::new_v6().is_ok_and(|socket| socket.bind((Ipv6Addr::LOCALHOST, 0).into()).is_ok()) {
            assert!(TcpStream::connect((Ipv6Addr::LOCALHOST, port)).await.is_ok());
        }
    }
}

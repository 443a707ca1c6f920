//! Connections: with TLS or without, HTTP/1.1, and the ways in which an exchange can end without a proper answer.

use std::error::Error;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::answer::Reply;
use crate::api::{Door, Route};
use crate::clock;
use crate::refusal::Refusal;
use crate::request::Request;
use crate::service;
use crate::state::State;

/// Largest request that the gateway takes, in bytes: 12 MB.
const MAX_REQUEST: usize = 12 * 1024 * 1024;

/// A client that connects and then says nothing is given up after this time.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Pause after the system could not give us a connection (usually for want of file descriptors).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How connections come in.
#[derive(Clone)]
pub(crate) enum Entrance {
    /// To the cloud, with TLS.
    Cloud(TlsAcceptor),
    /// To what is next to a virtual machine or a pod, without.
    Local,
}

/// Accepts connections until `stop`; every connection ends with it.
pub(crate) async fn run(
    listener: TcpListener,
    entrance: Entrance,
    state: Arc<State>,
    stop: CancellationToken,
    connections: TaskTracker,
) {
    let accept = async {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let serve = connection(stream, entrance.clone(), Arc::clone(&state));
                    connections.spawn(stop.clone().run_until_cancelled_owned(serve));
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    };
    stop.run_until_cancelled(accept).await;
}

/// Serves one connection until it ends or is cut.
async fn connection(stream: TcpStream, entrance: Entrance, state: Arc<State>) {
    // Answers are small and awaited one by one: waiting for more to send would only delay them.
    let _ = stream.set_nodelay(true);
    match entrance {
        Entrance::Cloud(tls) => match timeout(HANDSHAKE, tls.accept(stream)).await {
            Ok(Ok(stream)) => {
                let no_linger = |stream: &TlsStream<TcpStream>| {
                    let _ = stream.get_ref().0.set_zero_linger();
                };
                exchanges(stream, Door::Cloud, state, no_linger).await;
            }
            Ok(Err(error)) => tracing::debug!(%error, "TLS handshake failed"),
            Err(_) => tracing::debug!("TLS handshake not finished in time"),
        },
        Entrance::Local => {
            let no_linger = |stream: &TcpStream| {
                let _ = stream.set_zero_linger();
            };
            exchanges(stream, Door::Local, state, no_linger).await;
        }
    }
}

/// Answers one request after the other; `no_linger` makes a reset of the end of the stream.
async fn exchanges<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    door: Door,
    state: Arc<State>,
    no_linger: impl Fn(&S),
) {
    let service = service_fn(|request| exchange(Arc::clone(&state), door, request));
    let mut connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    if let Err(error) = Pin::new(&mut connection).await {
        tracing::debug!(%error, "connection ended early");
        // Dropping the stream ends it without the goodbye of TLS; without lingering it is a reset besides.
        let cut = error.source().and_then(|source| source.downcast_ref::<Cut>());
        if cut == Some(&Cut::Reset) {
            no_linger(connection.into_parts().io.inner());
        }
    }
}

/// The connection is to be cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum Cut {
    /// Before an answer, by a reset.
    #[error("reset on purpose")]
    Reset,
    /// In the middle of an answer, whose beginning must arrive: a reset could overtake it.
    #[error("answer broken off on purpose")]
    Short,
}

/// One request and what comes of it.
async fn exchange(
    state: Arc<State>,
    door: Door,
    request: http::Request<Incoming>,
) -> Result<http::Response<AnswerBody>, Cut> {
    let gateway_id = clock::gateway_id();
    state.stats.seen();
    let (head, body) = request.into_parts();
    let mut line = LogLine { method: head.method.to_string(), route: None, status: 0, code: String::new() };
    let reply = match Limited::new(body, MAX_REQUEST).collect().await {
        Ok(body) => {
            let request = Request::new(head.method, &head.uri, head.headers, body.to_bytes());
            let (reply, route) = service::serve(&state, &request, door).await;
            line.route = route;
            reply
        }
        Err(error) if error.is::<LengthLimitError>() => {
            Reply::Answer(Refusal::RequestTooLarge.answer(clock::now()))
        }
        // The client went away in the middle of its request.
        Err(_) => Reply::Cut,
    };
    let (answer, whole) = match reply {
        Reply::Answer(answer) => (answer, true),
        Reply::Truncated(answer) => (answer, false),
        Reply::Cut => return Err(Cut::Reset),
        Reply::Silence => std::future::pending().await,
    };
    line.status = answer.status().as_u16();
    answer.code().clone_into(&mut line.code);
    state.stats.answered(line.status);
    let response = answer.into_response(&gateway_id);
    if whole { Ok(response.map(AnswerBody::whole)) } else { Ok(truncated(response)) }
}

/// One line in the log per request, also if the client goes away before the end: then without a status.
struct LogLine {
    method: String,
    route: Option<Route>,
    status: u16,
    code: String,
}

impl Drop for LogLine {
    fn drop(&mut self) {
        let Self { method, route, status, code } = self;
        let (api, function) = route
            .as_ref()
            .map_or(("", ""), |route| (route.api.name(), route.function.as_deref().unwrap_or("")));
        tracing::info!(method, api, function, status, code, "request");
    }
}

/// The announced length is that of the whole body, and half of it follows.
fn truncated(response: http::Response<Bytes>) -> http::Response<AnswerBody> {
    let (mut head, body) = response.into_parts();
    head.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    let half = body.slice(..body.len() / 2);
    http::Response::from_parts(head, AnswerBody { left: Some(half), end: End::AfterFlush })
}

/// A body in one piece that may break off.
struct AnswerBody {
    left: Option<Bytes>,
    end: End,
}

/// How a body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// As announced.
    Proper,
    /// With an error, once the connection has had its turn to write out what it has.
    AfterFlush,
    /// With an error, now.
    Now,
}

impl AnswerBody {
    fn whole(body: Bytes) -> Self {
        Self { left: Some(body).filter(|body| !body.is_empty()), end: End::Proper }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        if let Some(bytes) = self.left.take() {
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        match self.end {
            End::Proper => Poll::Ready(None),
            End::AfterFlush => {
                self.end = End::Now;
                context.waker().wake_by_ref();
                Poll::Pending
            }
            End::Now => Poll::Ready(Some(Err(Cut::Short))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.left.is_none() && self.end == End::Proper
    }

    fn size_hint(&self) -> SizeHint {
        match self.end {
            End::Proper => SizeHint::with_exact(self.left.as_ref().map_or(0, |body| body.len() as u64)),
            End::AfterFlush | End::Now => SizeHint::default(),
        }
    }
}

//! Connections with or without TLS, HTTP/1.1, and the ways in which an exchange can end without a proper answer.

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
use crate::api::{Port, Route};
use crate::clock;
use crate::refusal::Refusal;
use crate::request::Request;
use crate::service;
use crate::state::State;

/// Largest request that the gateway accepts, in bytes: 12 MB.
const MAX_REQUEST: usize = 12 * 1024 * 1024;

/// Timeout of the TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Pause after a failed accept, which is usually caused by a lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Transport of a listener.
#[derive(Clone)]
pub(crate) enum Transport {
    /// The cloud, with TLS.
    Cloud(TlsAcceptor),
    /// The cloud, without TLS.
    Plain,
    /// The services on a virtual machine or in a pod, without TLS.
    Local,
}

/// Accepts connections until `stop`; every connection ends with it.
pub(crate) async fn run(
    listener: TcpListener,
    transport: Transport,
    state: Arc<State>,
    stop: CancellationToken,
    connections: TaskTracker,
) {
    let accept = async {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let serve = connection(stream, transport.clone(), Arc::clone(&state));
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
async fn connection(stream: TcpStream, transport: Transport, state: Arc<State>) {
    // Answers are small and clients wait for each, so Nagle's algorithm would only delay them.
    let _ = stream.set_nodelay(true);
    match transport {
        Transport::Cloud(tls) => match timeout(HANDSHAKE_TIMEOUT, tls.accept(stream)).await {
            Ok(Ok(stream)) => {
                let no_linger = |stream: &TlsStream<TcpStream>| {
                    let _ = stream.get_ref().0.set_zero_linger();
                };
                exchanges(stream, Port::Cloud, "https", state, no_linger).await;
            }
            Ok(Err(error)) => tracing::debug!(%error, "TLS handshake failed"),
            Err(_) => tracing::debug!("TLS handshake not finished in time"),
        },
        Transport::Plain | Transport::Local => {
            let port = if matches!(transport, Transport::Plain) { Port::Cloud } else { Port::Local };
            let no_linger = |stream: &TcpStream| {
                let _ = stream.set_zero_linger();
            };
            exchanges(stream, port, "http", state, no_linger).await;
        }
    }
}

/// Answers the requests of a connection in their order. With `no_linger` the end of the stream is a reset.
async fn exchanges<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    port: Port,
    scheme: &'static str,
    state: Arc<State>,
    no_linger: impl Fn(&S),
) {
    let service =
        service_fn(|request: http::Request<Incoming>| exchange(Arc::clone(&state), port, scheme, request));
    let mut connection =
        http1::Builder::new().title_case_headers(true).serve_connection(TokioIo::new(stream), service);
    if let Err(error) = Pin::new(&mut connection).await {
        tracing::debug!(%error, "connection ended early");
        // Dropping the stream ends it without a TLS close; with no linger it is a reset.
        let cut = error.source().and_then(|source| source.downcast_ref::<Cut>());
        if cut == Some(&Cut::Reset) {
            no_linger(connection.into_parts().io.inner());
        }
    }
}

/// The reason to cut the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Cut {
    /// A reset before an answer.
    #[error("reset on purpose")]
    Reset,
    /// An end in the middle of an answer. The beginning must arrive, and a reset could overtake it.
    #[error("answer broken off on purpose")]
    Short,
}

/// Serves one request.
pub(crate) async fn exchange<B>(
    state: Arc<State>,
    port: Port,
    scheme: &'static str,
    request: http::Request<B>,
) -> Result<http::Response<AnswerBody>, Cut>
where
    B: Body<Error: Into<Box<dyn Error + Send + Sync>>>,
{
    let gateway_id = clock::gateway_id();
    state.stats.seen();
    let (head, body) = request.into_parts();
    let mut line = LogLine {
        method: head.method.to_string(),
        route: None,
        path: head.uri.path().to_owned(),
        status: 0,
        code: String::new(),
        why: None,
    };
    let reply = match Limited::new(body, MAX_REQUEST).collect().await {
        Ok(body) => {
            let request = Request::new(head.method, &head.uri, head.headers, body.to_bytes());
            let request = Request { scheme, ..request };
            let (reply, route) = service::serve(&state, &request, port).await;
            line.route = route;
            reply
        }
        Err(error) if error.is::<LengthLimitError>() => {
            Reply::Answer(Refusal::RequestTooLarge.answer(clock::now()))
        }
        // The client disconnected in the middle of its request.
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
    line.why = answer.why().map(str::to_owned);
    state.stats.answered(line.status);
    let response = answer.into_response(&gateway_id);
    if whole { Ok(response.map(AnswerBody::whole)) } else { Ok(truncated(response)) }
}

/// Logs one line for each request. If the client disconnects early, the line has no status.
struct LogLine {
    method: String,
    route: Option<Route>,
    path: String,
    status: u16,
    code: String,
    /// Why the answer is a refusal.
    why: Option<String>,
}

impl Drop for LogLine {
    fn drop(&mut self) {
        let Self { method, route, path, status, code, why } = self;
        let (api, function) =
            route.as_ref().map_or(("", ""), |route| (route.api.name(), route.function().unwrap_or("")));
        // The path says more than the API only if nobody knows it.
        let path = route.is_none().then_some(path);
        tracing::info!(method, api, function, path, status, code, why, "request");
    }
}

/// Announces the length of the whole body, and sends half of it.
fn truncated(response: http::Response<Bytes>) -> http::Response<AnswerBody> {
    let (mut head, body) = response.into_parts();
    head.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    let half = body.slice(..body.len() / 2);
    http::Response::from_parts(head, AnswerBody { left: Some(half), end: End::AfterFlush })
}

/// A body in one chunk, which may end early.
pub(crate) struct AnswerBody {
    left: Option<Bytes>,
    end: End,
}

/// How the body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// With the announced length.
    Proper,
    /// With an error, after the connection has had a chance to write its buffer.
    AfterFlush,
    /// With an error, at once.
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

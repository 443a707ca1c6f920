//! A server on loopback, usually with TLS, that follows a script and records its requests.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// A certificate authority of its own.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// Behaviour on every connection: answers `polite` requests with [`ACCEPTED`], then one request with each answer in
/// `before`, and the next one with `last` and `end`.
#[derive(Clone, Default)]
pub struct Script {
    /// Number of requests answered with [`ACCEPTED`] before the one under test.
    pub polite: usize,
    /// Complete answers to the following requests, one each.
    pub before: Vec<Vec<u8>>,
    /// Bytes written in answer to the request under test.
    pub last: Vec<u8>,
    /// How the connection ends after those bytes.
    pub end: End,
}

/// How a connection ends.
#[derive(Clone, Copy, Default)]
pub enum End {
    /// In an orderly way.
    #[default]
    Close,
    /// By a TCP reset.
    Reset,
    /// Never.
    Hang,
    /// Never: sends chunk after chunk until the client stops reading.
    Flood,
    /// Like `Flood`, with these bytes.
    Repeat(&'static [u8]),
    /// Never: sends one byte at a time.
    Drip,
}

/// A connection, with or without TLS.
trait Wire: AsyncRead + AsyncWrite + Unpin {
    /// Makes the connection end with a TCP reset.
    fn reset(&self);
}

/// A running server; it stops with the runtime of its test.
pub struct Server {
    scheme: &'static str,
    port: u16,
    requests: Arc<Mutex<Vec<Request>>>,
    written: Arc<AtomicUsize>,
    connections: watch::Receiver<Connections>,
}

/// Numbers of opened and ended connections.
#[derive(Clone, Copy, Default)]
pub struct Connections {
    pub opened: usize,
    pub ended: usize,
}

/// A request as received.
#[derive(Clone)]
pub struct Request {
    /// Request line and headers.
    pub head: String,
    /// Body, of its declared length.
    pub body: Vec<u8>,
}

/// A complete answer to an invocation.
pub const ACCEPTED: &[u8] =
    b"HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nX-Request-Id: gw-1\r\nContent-Length: 21\r\n\r\n\
      {\"request_id\":\"id-1\"}";

// === impl Authority ===

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        Self(CertifiedIssuer::self_signed(params, key).expect("a certificate"))
    }

    /// Its certificate.
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// A server configuration with a certificate for `name`.
    fn config(&self, name: &str, expired: bool) -> ServerConfig {
        let mut params = CertificateParams::new([name.to_owned()]).expect("a name");
        if expired {
            params.not_after = date_time_ymd(2020, 1, 1);
        }
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.0).expect("a certificate");
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("TLS versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .expect("a usable certificate");
        // Offer HTTP/2 too, so that the client decides.
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        config
    }
}

// === impl Server ===

impl Server {
    /// A server for `localhost`.
    pub async fn start(authority: &Authority, script: Script) -> Self {
        Self::start_as(authority, "localhost", false, script).await
    }

    /// A server whose certificate is for `name`, and perhaps expired.
    pub async fn start_as(authority: &Authority, name: &str, expired: bool, script: Script) -> Self {
        let config = authority.config(name, expired);
        Self::listen(Some(TlsAcceptor::from(Arc::new(config))), script).await
    }

    /// A server without TLS.
    pub async fn start_plain(script: Script) -> Self {
        Self::listen(None, script).await
    }

    async fn listen(acceptor: Option<TlsAcceptor>, script: Script) -> Self {
        let scheme = if acceptor.is_some() { "https" } else { "http" };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (count, connections) = watch::channel(Connections::default());
        let seen = Arc::clone(&requests);
        let written = Arc::new(AtomicUsize::new(0));
        let flood = Arc::clone(&written);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                count.send_modify(|count| count.opened += 1);
                let (acceptor, script, seen, count) =
                    (acceptor.clone(), script.clone(), Arc::clone(&seen), count.clone());
                let written = Arc::clone(&flood);
                tokio::spawn(async move {
                    match acceptor {
                        None => serve(stream, &script, &seen, &written).await,
                        // A client that refuses the certificate ends the handshake.
                        Some(acceptor) => {
                            if let Ok(stream) = acceptor.accept(stream).await {
                                serve(stream, &script, &seen, &written).await;
                            }
                        }
                    }
                    count.send_modify(|count| count.ended += 1);
                });
            }
        });
        Self { scheme, port, requests, written, connections }
    }

    pub fn url(&self) -> String {
        format!("{}://localhost:{}", self.scheme, self.port)
    }

    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Bytes of the endless answer that the network and the client have taken.
    pub fn written(&self) -> usize {
        self.written.load(Ordering::Relaxed)
    }

    pub fn connections(&self) -> Connections {
        *self.connections.borrow()
    }

    /// Waits until this many connections are over.
    pub async fn ended(&mut self, connections: usize) {
        self.connections.wait_for(|count| count.ended >= connections).await.expect("the server runs");
    }
}

impl Wire for TcpStream {
    fn reset(&self) {
        let _ = self.set_zero_linger();
    }
}

impl Wire for TlsStream<TcpStream> {
    fn reset(&self) {
        self.get_ref().0.reset();
    }
}

async fn serve(mut stream: impl Wire, script: &Script, seen: &Mutex<Vec<Request>>, written: &AtomicUsize) {
    let polite = std::iter::repeat_n(ACCEPTED, script.polite);
    let mut before = polite.chain(script.before.iter().map(Vec::as_slice));
    while let Some(request) = Request::read(&mut stream).await {
        seen.lock().unwrap_or_else(PoisonError::into_inner).push(request);
        if let Some(answer) = before.next() {
            let _ = stream.write_all(answer).await;
            continue;
        }
        let _ = stream.write_all(&script.last).await;
        let _ = stream.flush().await;
        match script.end {
            End::Close => {
                let _ = stream.shutdown().await;
            }
            End::Reset => stream.reset(),
            // Until the client closes the connection.
            End::Hang => while stream.read(&mut [0; 64]).await.is_ok_and(|read| read > 0) {},
            End::Flood => while stream.write_all(&chunk()).await.is_ok() {},
            End::Repeat(bytes) => {
                while stream.write_all(bytes).await.is_ok() {
                    written.fetch_add(bytes.len(), Ordering::Relaxed);
                }
            }
            End::Drip => {
                while stream.write_all(b"x").await.is_ok() && stream.flush().await.is_ok() {
                    // The test is about slowness.
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        }
        return;
    }
}

fn chunk() -> Vec<u8> {
    [b"1000\r\n".as_slice(), &[b'x'; 0x1000], b"\r\n"].concat()
}

// === impl Request ===

impl Request {
    async fn read(stream: &mut impl Wire) -> Option<Self> {
        let mut bytes = Vec::new();
        while !bytes.ends_with(b"\r\n\r\n") {
            bytes.push(stream.read_u8().await.ok()?);
        }
        let mut request = Self { head: String::from_utf8(bytes).ok()?, body: Vec::new() };
        let length = request.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        request.body.resize(length, 0);
        stream.read_exact(&mut request.body).await.ok()?;
        Some(request)
    }

    /// The headers, names in lower case.
    pub fn headers(&self) -> Vec<(String, &str)> {
        let lines = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        lines.map(|(name, value)| (name.to_ascii_lowercase(), value)).collect()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers().into_iter().find(|(header, _)| header == name).map(|(_, value)| value)
    }
}

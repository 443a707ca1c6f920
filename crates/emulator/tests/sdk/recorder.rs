//! A server that records every request, and answers each with an empty success.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::thread;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// Ends the connection, so that there is never more than one.
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\
                        Connection: close\r\n\r\n{}";

/// A running server; it stops with the test.
pub struct Recorder {
    pub url: String,
    pub ca_pem: String,
    requests: Receiver<Recorded>,
}

/// A request as received.
#[derive(Debug)]
pub struct Recorded {
    pub method: String,
    pub path: String,
    pub query: String,
    /// Names in lower case, in their order.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Recorder {
    pub fn start() -> Self {
        let mut params = CertificateParams::default();
        // Not the server's name, or OpenSSL takes the certificate for its own authority.
        params.distinguished_name.push(DnType::CommonName, "authority of the recorder");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let certificate = certificate.signed_by(&key, &authority).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
            )
            .unwrap();

        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
        let (keep, requests) = mpsc::channel();
        let config = Arc::new(config);
        thread::spawn(move || {
            for connection in listener.incoming() {
                let recorded = record(connection.unwrap(), Arc::clone(&config));
                if keep.send(recorded).is_err() {
                    break; // the test is over
                }
            }
        });
        Self { url, ca_pem: authority.pem(), requests }
    }

    /// The next request that was received and answered.
    pub fn next(&self) -> Recorded {
        self.requests.recv().unwrap()
    }
}

fn record(connection: TcpStream, config: Arc<ServerConfig>) -> Recorded {
    let mut stream = BufReader::new(StreamOwned::new(ServerConnection::new(config).unwrap(), connection));
    let mut line = || {
        let mut line = String::new();
        stream.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    };
    let request_line = line();
    let [method, target, "HTTP/1.1"] = *request_line.split(' ').collect::<Vec<_>>() else {
        panic!("not a request: {request_line}");
    };
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut headers = Vec::new();
    loop {
        let line = line();
        let Some((name, value)) = line.split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let recorded = Recorded {
        method: method.to_owned(),
        path: path.to_owned(),
        query: query.to_owned(),
        headers,
        body: Vec::new(),
    };
    let mut body = vec![0; recorded.header("content-length").map_or(0, |length| length.parse().unwrap())];
    stream.read_exact(&mut body).unwrap();
    let stream = stream.get_mut();
    stream.write_all(ANSWER).unwrap();
    stream.conn.send_close_notify();
    stream.flush().unwrap();
    Recorded { body, ..recorded }
}

impl Recorded {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

//! An emulator with a few functions, and a plain HTTP client that trusts it.

use std::sync::Arc;

use functiongraph::{Answer, Client, ClientOptions, Credential, Invocation, Kind, Protocol, SendError};
use functiongraph_emulator::{AccessKey, Action, Config, Emulator, Fault, Function, When};
use http::HeaderMap;
use jiff::Timestamp;
use reqwest::{ClientBuilder, RequestBuilder, Response};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::Value;

pub const PROJECT: &str = "7aad83af3e8d42e99ac194e8419e2c9b";
pub const TOKEN: &str = "good-token";

/// A running emulator and a client that trusts it.
pub struct Place {
    pub emulator: Emulator,
    pub http: reqwest::Client,
}

/// A completely received answer.
#[derive(Debug)]
pub struct Seen {
    pub status: u16,
    pub headers: HeaderMap,
    pub reason: Option<String>,
    pub text: String,
}

/// Functions `hello` (version v1, alias prod, dynamic memory) and `off` (disabled), a token, a key and a temporary key.
pub fn config() -> Config {
    let mut hello = Function::named("hello");
    hello.versions = vec!["v1".into()];
    hello.aliases.insert("prod".into(), "v1".into());
    hello.dynamic_memory = true;
    let mut off = Function::named("off");
    off.disabled = true;
    Config {
        functions: vec![hello, off],
        tokens: vec![TOKEN.into()],
        access_keys: vec![
            AccessKey { id: "AK".into(), secret: "SK".into(), security_token: None },
            AccessKey { id: "TEMPORARY".into(), secret: "SK".into(), security_token: Some("st".into()) },
        ],
        ..Config::default()
    }
}

pub fn fault(when: When, action: Action) -> Fault {
    Fault::new(when, action)
}

#[expect(clippy::disallowed_methods, reason = "the emulator compares with the real clock")]
pub fn now() -> Timestamp {
    Timestamp::now()
}

/// A client that trusts only one authority.
pub fn client(ca_pem: &str, change: impl FnOnce(ClientBuilder) -> ClientBuilder) -> reqwest::Client {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca_pem.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let builder = reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy();
    change(builder).build().unwrap()
}

impl Place {
    pub async fn new() -> Self {
        Self::with(config()).await
    }

    pub async fn with(config: Config) -> Self {
        let emulator = Emulator::start(config).await.unwrap();
        let http = client(emulator.ca_pem(), |builder| builder);
        Self { emulator, http }
    }

    /// The URL of an API of a function.
    pub fn url(&self, function: &str, api: &str) -> String {
        format!("{}/v2/{PROJECT}/fgs/functions/{function}/{api}", self.emulator.url())
    }

    /// The URL of an API of the project.
    pub fn project_url(&self, api: &str) -> String {
        format!("{}/v2/{PROJECT}/fgs/{api}", self.emulator.url())
    }

    /// A submission with a valid token.
    pub fn submission(&self, function: &str, event: &str) -> RequestBuilder {
        self.post(function, "invocations-async", event)
    }

    /// A call of an API that accepts an event, with a valid token.
    pub fn post(&self, function: &str, api: &str, event: &str) -> RequestBuilder {
        self.http.post(self.url(function, api)).header("X-Auth-Token", TOKEN).body(event.to_owned())
    }

    /// The same in API v1.0.
    pub fn post_v1(&self, function: &str, api: &str, event: &str) -> RequestBuilder {
        let url = format!("{}/v1.0/{PROJECT}/fss/functions/{function}/{api}", self.emulator.url());
        self.http.post(url).header("X-Auth-Token", TOKEN).body(event.to_owned())
    }

    /// A `GET` of the project with a valid token.
    pub async fn get_project(&self, api: &str) -> Seen {
        Seen::of(self.http.get(self.project_url(api)).header("X-Auth-Token", TOKEN)).await
    }

    /// A `GET` of a function with a valid token.
    pub async fn get(&self, function: &str, api: &str) -> Seen {
        Seen::of(self.http.get(self.url(function, api)).header("X-Auth-Token", TOKEN)).await
    }

    /// Submits an event with a valid token.
    pub async fn submit(&self, function: &str, event: &str) -> Seen {
        Seen::of(self.submission(function, event)).await
    }

    /// The client that the operator uses.
    pub fn client(&self) -> Client {
        let ca_bundle_pem = Some(self.emulator.ca_pem().to_owned());
        let options = ClientOptions { ca_bundle_pem, ..ClientOptions::default() };
        Client::new(self.emulator.url().parse().unwrap(), options).unwrap()
    }

    /// Submits `{}` with the client that the operator uses.
    pub async fn submit_with(&self, credential: Credential, at: Timestamp) -> Result<Answer, SendError> {
        let client = self.client();
        let urn = format!("urn:fss:eu-de:{PROJECT}:function:default:hello:!prod").parse().unwrap();
        let (kind, protocol) = (Kind::Async, Protocol::V2);
        let event = "{}".into();
        let invocation = Invocation { urn: &urn, kind, protocol, event, instance_memory_mb: None };
        client.invoke(invocation, &credential, at, std::time::Duration::from_secs(10)).await
    }
}

impl Seen {
    pub async fn of(request: RequestBuilder) -> Self {
        Self::read(request.send().await.unwrap()).await
    }

    pub async fn read(response: Response) -> Self {
        let phrase = response.extensions().get::<hyper::ext::ReasonPhrase>();
        Self {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            reason: phrase.map(|phrase| String::from_utf8(phrase.as_bytes().to_vec()).unwrap()),
            text: response.text().await.unwrap(),
        }
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// Status, code and message of an error.
    pub fn error(&self) -> (u16, String, String) {
        let json = self.json();
        let text = |key: &str| json[key].as_str().unwrap().to_owned();
        (self.status, text("error_code"), text("error_msg"))
    }

    /// Whether this is the error with these three parts.
    #[track_caller]
    pub fn assert_error(&self, status: u16, code: &str, message: &str) {
        assert_eq!(self.error(), (status, code.to_owned(), message.to_owned()));
    }
}

//! An emulator with a function, and an SDK that knows where it is.

use functiongraph_emulator::{AccessKey, Config, Emulator, Function};
use reqwest::Certificate;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::driver::{Language, Sdk};

pub const PROJECT: &str = "7aad83af3e8d42e99ac194e8419e2c9b";

const TOKEN: &str = "token";

pub struct Place {
    pub emulator: Emulator,
    pub sdk: Sdk,
    language: Language,
    home: TempDir,
}

/// The URN of a function, and of one of its versions or aliases.
pub fn urn(function: &str) -> String {
    format!("urn:fss:eu-de:{PROJECT}:function:default:{function}")
}

/// Parameters of a call for the function `hello`.
pub fn hello(mut parameters: Value) -> Value {
    parameters["function_urn"] = urn("hello:latest").into();
    parameters
}

/// The same as [`hello`] for a call that has no other parameters.
pub fn only_hello() -> Value {
    hello(json!({}))
}

impl Place {
    /// With a function `hello` that has a version `v1` and an alias `prod`, and two access keys.
    pub async fn new(language: Language, change: impl FnOnce(&mut Function)) -> Self {
        Self::with(language, |config| change(&mut config.functions[0])).await
    }

    /// The same with changes of the whole configuration.
    pub async fn with(language: Language, change: impl FnOnce(&mut Config)) -> Self {
        let mut hello = Function::named("hello");
        hello.versions = vec!["v1".into()];
        hello.aliases.insert("prod".into(), "v1".into());
        let access_keys = vec![
            AccessKey { id: "AK".into(), secret: "SK".into(), security_token: None },
            AccessKey { id: "TEMPORARY".into(), secret: "SK".into(), security_token: Some("st".into()) },
        ];
        let tokens = vec![TOKEN.into()];
        let mut config = Config { functions: vec![hello], access_keys, tokens, ..Config::default() };
        change(&mut config);
        let emulator = Emulator::start(config).await.unwrap();
        let home = tempfile::tempdir().unwrap();
        let credentials = [("SDK_AK", "AK"), ("SDK_SK", "SK")];
        let sdk = start(language, &home, emulator.ca_pem(), &emulator.url(), &credentials);
        Self { emulator, sdk, language, home }
    }

    /// Puts a file into the home of the SDKs, and gives its path.
    pub fn file(&self, name: &str, content: &str) -> String {
        let path = self.home.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// The home of the SDKs.
    pub fn home(&self) -> &TempDir {
        &self.home
    }

    /// Another user of the same SDK, with these credentials.
    pub fn other(&self, credentials: &[(&str, &str)]) -> Sdk {
        start(self.language, &self.home, self.emulator.ca_pem(), &self.emulator.url(), credentials)
    }

    /// What the emulator answers to a `GET` of a path behind `/v2/{project_id}/fgs/`, with no SDK in between.
    pub async fn raw(&self, path: &str) -> Value {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default(); // an error if it is there already
        let authority = Certificate::from_pem(self.emulator.ca_pem().as_bytes()).unwrap();
        let http = reqwest::Client::builder().tls_certs_only([authority]).no_proxy().build().unwrap();
        let url = format!("{}/v2/{PROJECT}/fgs/{path}", self.emulator.url());
        let answer = http.get(url).header("X-Auth-Token", TOKEN).send().await.unwrap();
        serde_json::from_str(&answer.text().await.unwrap()).unwrap()
    }

    /// Submits an event, and gives the id of the request.
    pub fn submit(&mut self) -> String {
        let fields = self.sdk.done(202, "AsyncInvokeFunction", &hello(json!({"body": {"k": "v"}})));
        fields["request_id"].as_str().unwrap().to_owned()
    }
}

/// Starts an SDK that trusts this authority and calls this endpoint.
pub fn start(
    language: Language,
    home: &TempDir,
    ca_pem: &str,
    endpoint: &str,
    credentials: &[(&str, &str)],
) -> Sdk {
    let ca = home.path().join("ca.crt");
    // Not written again, because another SDK of this place may be reading it.
    if !ca.exists() {
        std::fs::write(&ca, ca_pem).unwrap();
    }
    let ca = ca.to_str().unwrap();
    let place =
        [("SDK_CA", ca), ("NODE_EXTRA_CA_CERTS", ca), ("SDK_ENDPOINT", endpoint), ("SDK_PROJECT", PROJECT)];
    Sdk::start(language, home.path(), &[&place, credentials].concat())
}

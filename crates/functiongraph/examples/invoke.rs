//! Sends one event to a function and says what is known of it, without an account in the cloud:
//!
//! ```console
//! $ cargo run -p functiongraph-emulator       # in another terminal
//! $ cargo run -p functiongraph --example invoke -- https://localhost:8443 .functiongraph-emulator/ca.crt
//! ```

use functiongraph::{
    Client, ClientOptions, Credential, FunctionUrn, Invocation, Kind, Protocol, SendError, Verdict,
};
use std::error::Error;
use std::time::Duration;

const FUNCTION: &str = "urn:fss:eu-de:7aad83af3e8d42e99ac194e8419e2c9b:function:default:hello";

/// Sends the event once. `authority` is the PEM of the certificate authority of the endpoint.
///
/// # Errors
/// The endpoint is not one, or the authority is not PEM.
pub async fn run(endpoint: &str, authority: String) -> Result<String, Box<dyn Error>> {
    let urn: FunctionUrn = FUNCTION.parse()?;
    let options = ClientOptions { ca_bundle_pem: Some(authority), ..ClientOptions::default() };
    let client = Client::new(endpoint.parse()?, options)?;
    // The key that the emulator knows.
    let credential =
        Credential::access_key("EMULATORACCESSKEY001", "emulator-secret-key-0000000000000000001", None)?;
    let invocation = Invocation {
        urn: &urn,
        kind: Kind::Async,
        protocol: Protocol::V2,
        event: br#"{"picture":"cat.png"}"#.as_slice().into(),
        instance_memory_mb: None,
    };
    #[expect(clippy::disallowed_methods, reason = "an example has no clock of its own")]
    let now = jiff::Timestamp::now();
    Ok(match client.invoke(invocation, &credential, now, Duration::from_secs(30)).await {
        Ok(answer) => match answer.verdict(Kind::Async, credential.kind()) {
            Verdict::Accepted => {
                format!("accepted as {}", answer.request_id.unwrap_or("(id unknown)".into()))
            }
            verdict => format!("{verdict:?}: {} {:?}", answer.status, answer.error_message),
        },
        Err(SendError::NotSent(cause)) => format!("not sent, and safe to send again: {cause}"),
        Err(SendError::Interrupted(cause) | SendError::TimedOut(cause)) => {
            format!("sending again may run it twice: {cause}")
        }
    })
}

#[tokio::main]
#[expect(clippy::print_stdout, reason = "an example shows its result")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let endpoint = arguments.next().unwrap_or("https://localhost:8443".into());
    let authority = arguments.next().unwrap_or(".functiongraph-emulator/ca.crt".into());
    let pem = std::fs::read_to_string(&authority)
        .map_err(|error| format!("{authority}: {error}. Start the emulator in this folder first"))?;
    println!("{}", run(&endpoint, pem).await?);
    Ok(())
}

//! Logs in with a user's password, executes a function with the token, and shows its result:
//!
//! ```console
//! $ cargo run -p functiongraph-emulator       # in another terminal
//! $ cargo run -p functiongraph --example login -- https://localhost:8443 .functiongraph-emulator/ca.crt
//! ```

use functiongraph::login::{Iam, Project, User};
use functiongraph::{Client, ClientOptions, FunctionUrn, Invocation, Kind, Protocol};
use std::error::Error;
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(30);

/// Logs in, calls the function and waits for its result. The emulator is both services on one endpoint.
///
/// # Errors
/// The login or the invocation is refused, or there is no answer.
pub async fn run(endpoint: &str, authority: String) -> Result<String, Box<dyn Error>> {
    let options = ClientOptions { ca_bundle_pem: Some(authority), ..ClientOptions::default() };
    let iam = Iam::new(endpoint.parse()?, options.clone())?;
    let user = User { domain: "emulator", name: "ci", password: &"emulator-password".into() };
    let login = iam.password(user, Project::Name("eu-de"), TIMEOUT).await?;

    let project = login.project_id.ok_or("the token names no project")?;
    let urn: FunctionUrn = format!("urn:fss:eu-de:{project}:function:default:hello").parse()?;
    let client = Client::new(endpoint.parse()?, options)?;
    let kind = Kind::Sync { log_tail: false };
    let event = br#"{"picture":"cat.png"}"#.as_slice().into();
    let invocation = Invocation { urn: &urn, kind, protocol: Protocol::V2, event, instance_memory_mb: None };
    #[expect(clippy::disallowed_methods, reason = "an example has no clock of its own")]
    let now = jiff::Timestamp::now();
    let answer = client.invoke(invocation, &login.credential, now, TIMEOUT).await?;
    let result = answer.sync.ok_or_else(|| format!("{} {:?}", answer.status, answer.error_message))?;
    Ok(result.body.to_string())
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

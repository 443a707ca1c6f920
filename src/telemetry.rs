//! Logs: JSON for machines or text for people, on standard error.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON object a line.
    Json,
    /// For a terminal.
    Text,
}

/// Starts logging. `filter` is a level or a list as in `info,kube=debug`.
///
/// # Errors
/// When `filter` is not such a list.
pub fn start(filter: &str, format: Format) -> Result<(), ParseError> {
    // On a decode error kube's client logs the whole body at WARN, Secrets included: never let it.
    let guarded = format!("{filter},kube_client::client=error");
    let filter = EnvFilter::try_new(guarded)?;
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        Format::Json => subscriber.json().flatten_event(true).init(),
        Format::Text => subscriber.init(),
    }
    Ok(())
}

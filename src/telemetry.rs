//! Logs: JSON for machines or text for people, on standard error. The content of bodies is kept out at every level.

use clap::ValueEnum;
use std::any::Any;
use std::io::IsTerminal;
use tracing::{Dispatch, Level, Metadata};
use tracing_subscriber::filter::{EnvFilter, ParseError, filter_fn};
use tracing_subscriber::fmt::{MakeWriter, layer};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// kube's client logs the whole body of an answer that it cannot decode here, at WARN, even a Secret.
const KUBE_BODIES: &str = "kube_client::client";

/// kube's client logs every failed request here, without the cause. The operator logs it with the cause.
const KUBE_FAILURES: &str = "kube_client::client::builder";

/// Format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people, with colors on a terminal.
    Text,
}

/// Starts logging. `filter` is a level or a list as in `info,kube=debug`. Whatever the filter is, kube's client logs
/// nothing below ERROR, and other crates nothing at TRACE.
pub fn start(filter: &str, format: LogFormat) -> Result<(), ParseError> {
    subscriber(filter, format, std::io::stderr().is_terminal(), std::io::stderr)?.init();
    std::panic::set_hook(Box::new(|panic| {
        let location = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(
            location,
            what = constant_text_of(panic.payload()),
            "a defect in the operator: it panicked. Report it with this log line"
        );
    }));
    Ok(())
}

/// The text of a panic that may be logged: only a constant text. A formatted text may repeat the data being
/// processed, as the message about a cut inside a character does.
fn constant_text_of(payload: &dyn Any) -> &'static str {
    payload.downcast_ref::<&'static str>().copied().unwrap_or("left out, because it may hold a secret")
}

/// Writes lines to `writer`. Text has colors only on a terminal: in a file they are noise.
fn subscriber<W>(
    filter: &str,
    format: LogFormat,
    is_terminal: bool,
    writer: W,
) -> Result<Dispatch, ParseError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    // A separate filter. In one list the more specific directive wins, and the list is the user's.
    let shown = tracing_subscriber::registry().with(filter_fn(is_harmless)).with(EnvFilter::try_new(filter)?);
    let lines = layer().with_writer(writer);
    Ok(match format {
        LogFormat::Json => shown.with(lines.json().flatten_event(true)).into(),
        LogFormat::Text => shown.with(lines.with_ansi(is_terminal)).into(),
    })
}

/// Whether a line may be logged at all.
fn is_harmless(metadata: &Metadata<'_>) -> bool {
    let (target, level) = (metadata.target(), *metadata.level());
    let is_of = |module: &str| {
        target.strip_prefix(module).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    };
    if is_of(KUBE_BODIES) {
        return level == Level::ERROR && target != KUBE_FAILURES;
    }
    // At TRACE other crates log the data that they process, and may log more in their next release.
    level != Level::TRACE || is_of("functiongraph_operator") || is_of("functiongraph")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t08_only_a_constant_text_of_a_panic_is_logged() {
        let secret = String::from("canary-é");
        let panic = std::panic::catch_unwind(|| secret[..8].len()).unwrap_err();
        assert!(panic.downcast_ref::<String>().is_some_and(|text| text.contains("canary")));
        assert!(!constant_text_of(&*panic).contains("canary"));
        let panic = std::panic::catch_unwind(|| panic!("impossible")).unwrap_err();
        assert_eq!(constant_text_of(&*panic), "impossible");
    }
    use k8s_openapi::api::core::v1::Secret;
    use kube::client::Body;
    use kube::{Api, Client};
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Written {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    async fn logged(filter: &str, format: LogFormat, what: impl AsyncFnOnce()) -> String {
        let written = Written::default();
        let writer = written.clone();
        let dispatch = subscriber(filter, format, false, move || writer.clone()).unwrap();
        let default = tracing::dispatcher::set_default(&dispatch);
        what().await;
        drop(default);
        written.text()
    }

    /// A Secret that kube's client cannot decode.
    async fn read_a_spoilt_secret() {
        let service = tower::service_fn(async |_: http::Request<Body>| {
            let secret = r#"{"kind": "Secret", "data": {"key": "Y2FuYXJ5"}, "type": 5}"#;
            Ok::<_, io::Error>(http::Response::new(Body::from(secret.as_bytes().to_vec())))
        });
        let secrets: Api<Secret> = Api::default_namespaced(Client::new(service, "default"));
        tracing::info_span!("asking", who = "me").in_scope(|| tracing::trace!("still here"));
        assert!(secrets.get("key").await.is_err());
    }

    #[tokio::test]
    async fn the_body_that_kube_cannot_decode_is_not_logged_whatever_the_user_asks_for() {
        for filter in [
            "trace",
            "info,kube_client::client=trace",
            "off,kube_client=trace,functiongraph_operator=trace",
            "trace,kube_client::client[{who}]=trace",
            "[asking]=trace,trace",
        ] {
            for format in [LogFormat::Json, LogFormat::Text] {
                let log = logged(filter, format, read_a_spoilt_secret).await;
                assert!(!log.contains("Y2FuYXJ5"), "{filter}: {log}");
                assert!(log.contains("still here") || filter.starts_with("info"), "{filter}: {log}");
            }
        }
    }

    #[tokio::test]
    async fn other_crates_log_nothing_at_trace_and_the_operator_does() {
        let log = logged("trace", LogFormat::Text, async || {
            tracing::trace!(target: "hyper::proto::h1::io", "theirs");
            tracing::debug!(target: "hyper::proto::h1::io", "their summary");
            tracing::trace!(target: "functiongraph", "ours");
            tracing::trace!(target: "functiongraph_others", "a stranger");
            tracing::error!(target: "kube_client::client::body", "their failure");
            tracing::error!(target: "kube_client::client::builder", "theirs without a cause");
        })
        .await;
        let heard = ["their summary", "ours", "their failure"];
        assert!(heard.iter().all(|words| log.contains(words)), "{log}");
        assert!(!log.contains("theirs") && !log.contains("a stranger"), "{log}");
    }

    #[test]
    fn text_has_colors_on_a_terminal_and_nowhere_else() {
        for is_terminal in [true, false] {
            let written = Written::default();
            let writer = written.clone();
            let dispatch = subscriber("info", LogFormat::Text, is_terminal, move || writer.clone()).unwrap();
            tracing::dispatcher::with_default(&dispatch, || tracing::info!(field = 1, "a line"));
            let text = written.text();
            assert_eq!(text.contains('\u{1b}'), is_terminal, "{text:?}");
            assert!(text.contains("a line"), "{text:?}");
        }
    }

    #[test]
    fn a_malformed_filter_is_refused() {
        assert!(subscriber("info,=,[", LogFormat::Json, false, io::stderr).is_err());
    }
}

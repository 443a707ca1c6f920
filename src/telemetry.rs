//! Logs: JSON for machines or text for people, on standard error. What a body holds is kept out at every level.

use std::any::Any;
use tracing::{Dispatch, Level, Metadata};
use tracing_subscriber::filter::{EnvFilter, ParseError, filter_fn};
use tracing_subscriber::fmt::{MakeWriter, layer};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Where kube's client logs the whole body of an answer that it cannot decode: at WARN, Secrets included.
const KUBE_BODIES: &str = "kube_client::client";

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON object a line.
    Json,
    /// For a terminal.
    Text,
}

/// Starts logging. `filter` is a level or a list as in `info,kube=debug`. Whatever it says, kube's client logs
/// nothing below ERROR, and other crates nothing at TRACE.
///
/// # Errors
/// When `filter` is not such a list.
pub fn start(filter: &str, format: Format) -> Result<(), ParseError> {
    subscriber(filter, format, std::io::stderr)?.init();
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(
            place,
            what = words_of(panic.payload()),
            "a defect in the operator: it panicked; please report it"
        );
    }));
    Ok(())
}

/// What may be told of a panic: the words of whoever wrote the line, if they are nothing else. A text that was put together
/// may repeat what was being worked on (that about a cut in the middle of a character does).
fn words_of(payload: &dyn Any) -> &'static str {
    payload.downcast_ref::<&'static str>().copied().unwrap_or("left out, because it may hold what is secret")
}

fn subscriber<W>(filter: &str, format: Format, writer: W) -> Result<Dispatch, ParseError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    // A filter of its own: of two directives in one list the more precise wins, and the list is the user's.
    let shown = tracing_subscriber::registry().with(filter_fn(is_harmless)).with(EnvFilter::try_new(filter)?);
    let lines = layer().with_writer(writer);
    Ok(match format {
        Format::Json => shown.with(lines.json().flatten_event(true)).into(),
        Format::Text => shown.with(lines).into(),
    })
}

/// Whether a line may be shown to whoever asks for it.
fn is_harmless(metadata: &Metadata<'_>) -> bool {
    let (target, level) = (metadata.target(), *metadata.level());
    let is_of = |module: &str| {
        target.strip_prefix(module).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    };
    if is_of(KUBE_BODIES) {
        return level == Level::ERROR;
    }
    // At TRACE others tell what passes through their hands, and may tell more with their next release.
    level != Level::TRACE || is_of("functiongraph_operator") || is_of("functiongraph")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t08_what_a_panic_says_is_told_only_if_nothing_was_put_into_it() {
        let secret = String::from("canary-é");
        let panic = std::panic::catch_unwind(|| secret[..8].len()).unwrap_err();
        assert!(panic.downcast_ref::<String>().is_some_and(|text| text.contains("canary")));
        assert!(!words_of(&*panic).contains("canary"));
        let panic = std::panic::catch_unwind(|| panic!("impossible")).unwrap_err();
        assert_eq!(words_of(&*panic), "impossible");
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

    /// What is logged with this filter while something is done.
    async fn logged(filter: &str, format: Format, what: impl AsyncFnOnce()) -> String {
        let written = Written::default();
        let writer = written.clone();
        let dispatch = subscriber(filter, format, move || writer.clone()).unwrap();
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
            for format in [Format::Json, Format::Text] {
                let log = logged(filter, format, read_a_spoilt_secret).await;
                assert!(!log.contains("Y2FuYXJ5"), "{filter}: {log}");
                assert!(log.contains("still here") || filter.starts_with("info"), "{filter}: {log}");
            }
        }
    }

    #[tokio::test]
    async fn others_are_not_heard_at_the_lowest_level_and_we_are() {
        let log = logged("trace", Format::Text, async || {
            tracing::trace!(target: "hyper::proto::h1::io", "theirs");
            tracing::debug!(target: "hyper::proto::h1::io", "their summary");
            tracing::trace!(target: "functiongraph", "ours");
            tracing::trace!(target: "functiongraph_others", "a stranger");
            tracing::error!(target: "kube_client::client::builder", "their failure");
        })
        .await;
        let heard = ["their summary", "ours", "their failure"];
        assert!(heard.iter().all(|words| log.contains(words)), "{log}");
        assert!(!log.contains("theirs") && !log.contains("a stranger"), "{log}");
    }

    #[test]
    fn a_filter_that_is_none_is_refused() {
        assert!(subscriber("info,=,[", Format::Json, io::stderr).is_err());
    }
}

//! Optional traces: one span for each attempt, sent to an OpenTelemetry collector. They may name objects; payloads, texts
//! of the service and credentials are not in them.

use jiff::Timestamp;
use opentelemetry::trace::{Span as _, SpanBuilder, SpanKind, Status, TracerProvider as _};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{ExporterBuildError, Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider, Span};
use std::time::{Duration, SystemTime};

/// How long the collector may take to answer: what OpenTelemetry's exporters give it by default.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a stopping process waits for a collector that is slow.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Where spans go; nowhere by default.
#[derive(Default)]
pub struct Traces(Option<(SdkTracerProvider, SdkTracer)>);

/// What an attempt is about.
pub struct About<'a> {
    /// `namespace/name`, or `name` for a provider of the cluster.
    pub provider: &'a str,
    /// The object's namespace.
    pub namespace: &'a str,
    /// The object's name.
    pub name: &'a str,
    /// The attempt's number.
    pub number: i64,
}

/// One attempt. Dropped, it ends.
#[derive(Default)]
pub struct AttemptSpan(Option<Box<Span>>);

/// What talks to the collector: like everything else it follows no redirect and heeds no proxy of the environment, because
/// the headers of `OTEL_EXPORTER_OTLP_HEADERS` may be secret.
///
/// It is made on a thread of its own: it starts a runtime, which must not be done within ours.
fn http_client() -> Result<reqwest::blocking::Client, ExporterBuildError> {
    let made = std::thread::spawn(|| {
        let client = reqwest::blocking::Client::builder().timeout(PATIENCE).no_proxy();
        client.redirect(reqwest::redirect::Policy::none()).build()
    });
    let why = match made.join() {
        Ok(Ok(client)) => return Ok(client),
        Ok(Err(error)) => error.to_string(),
        Err(_) => "it could not be made".into(),
    };
    Err(ExporterBuildError::InternalFailure(format!("HTTP client: {why}")))
}

// === impl Traces ===

impl Traces {
    /// Sends to a collector, by its base URL, as in `http://collector:4318`. Further settings are those of
    /// OpenTelemetry: `OTEL_EXPORTER_OTLP_HEADERS`, `OTEL_RESOURCE_ATTRIBUTES`, `OTEL_TRACES_SAMPLER`.
    ///
    /// # Errors
    /// When the URL is none.
    pub fn to(endpoint: &str) -> Result<Self, ExporterBuildError> {
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(http_client()?)
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(format!("{}/v1/traces", endpoint.trim_end_matches('/')))
            .build()?;
        let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
        let resource =
            Resource::builder().with_service_name("functiongraph-operator").with_attribute(version).build();
        let provider =
            SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build();
        let tracer = provider.tracer("functiongraph-operator");
        Ok(Self(Some((provider, tracer))))
    }

    /// The span of an attempt that began a moment ago, and has just been claimed.
    #[must_use]
    pub fn attempt(&self, about: &About<'_>, began: Timestamp) -> AttemptSpan {
        let Some((_, tracer)) = &self.0 else { return AttemptSpan(None) };
        let span = SpanBuilder::from_name("attempt")
            .with_kind(SpanKind::Client)
            .with_start_time(SystemTime::from(began))
            .with_attributes([
                KeyValue::new("functiongraph.provider", about.provider.to_owned()),
                KeyValue::new("k8s.namespace.name", about.namespace.to_owned()),
                KeyValue::new("functiongraph.invocation", about.name.to_owned()),
                KeyValue::new("functiongraph.attempt", about.number),
            ]);
        AttemptSpan(Some(Box::new(span.start_with_context(tracer, &Context::new()))))
    }

    /// Sends what is left. Blocks, for a few seconds at most; what cannot be sent is lost.
    pub fn stop(&self) {
        if let Some((provider, _)) = &self.0
            && let Err(error) = provider.shutdown_with_timeout(LAST_WORDS)
        {
            tracing::warn!(%error, "the last traces could not be sent");
        }
    }
}

// === impl AttemptSpan ===

impl AttemptSpan {
    /// A step is done: `prepared`, `claimed`, `sent`, `answered`, `recorded`, or `handed back`.
    pub fn step(&mut self, name: &'static str, at: Timestamp) {
        if let Some(span) = &mut self.0 {
            span.add_event_with_timestamp(name, SystemTime::from(at), Vec::new());
        }
    }

    /// What the exchange came to.
    pub fn came_to(&mut self, http_status: Option<u16>, class: &'static str) {
        let Some(span) = &mut self.0 else { return };
        span.set_attribute(KeyValue::new("functiongraph.class", class));
        if let Some(status) = http_status {
            span.set_attribute(KeyValue::new("http.response.status_code", i64::from(status)));
        }
        if class != "Accepted" {
            span.set_status(Status::error(class));
        }
    }

    /// The id of its trace, if there is one that is kept.
    #[must_use]
    pub fn trace_id(&self) -> Option<String> {
        let context = self.0.as_ref()?.span_context();
        context.is_sampled().then(|| context.trace_id().to_string())
    }
}

//! Optional traces: one span for each attempt, sent to an OpenTelemetry collector. Spans may name objects. They hold
//! no payloads, no texts of FunctionGraph and no credentials.

use jiff::Timestamp;
use opentelemetry::trace::{Span as _, SpanBuilder, SpanKind, Status, TracerProvider as _};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{ExporterBuildError, Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider, Span};
use std::time::{Duration, SystemTime};

/// Timeout for the collector: the default of OpenTelemetry's exporters.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a stopping process waits for a slow collector.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);

/// Exporter of spans; none by default.
#[derive(Clone, Default)]
pub struct Traces(Option<(SdkTracerProvider, SdkTracer)>);

/// Subject of an attempt.
pub(crate) struct About<'a> {
    /// `namespace/name`, or `name` for a cluster-scoped provider.
    pub provider: &'a str,
    /// The object's namespace.
    pub namespace: &'a str,
    /// The object's name.
    pub name: &'a str,
    /// The attempt's number.
    pub number: i64,
}

/// One attempt. Its span ends when it is dropped.
#[derive(Default)]
pub(crate) struct AttemptSpan(Option<Box<Span>>);

/// The HTTP client for the collector. It follows no redirects and uses no proxy of the environment, because the
/// headers in `OTEL_EXPORTER_OTLP_HEADERS` may be secret.
///
/// It is built on a separate thread, because it starts a runtime, which must not happen inside another one.
fn http_client() -> Result<reqwest::blocking::Client, ExporterBuildError> {
    let made = std::thread::spawn(|| {
        let client = reqwest::blocking::Client::builder().timeout(EXPORT_TIMEOUT).no_proxy();
        client.redirect(reqwest::redirect::Policy::none()).build()
    });
    let why = match made.join() {
        Ok(Ok(client)) => return Ok(client),
        Ok(Err(error)) => error.to_string(),
        Err(_) => "its thread panicked".into(),
    };
    Err(ExporterBuildError::InternalFailure(format!("HTTP client: {why}")))
}

// === impl Traces ===

impl Traces {
    /// Sends to the collector with this base URL, as in `http://collector:4318`. Other settings come from
    /// OpenTelemetry's variables: `OTEL_EXPORTER_OTLP_HEADERS`, `OTEL_RESOURCE_ATTRIBUTES`, `OTEL_TRACES_SAMPLER`.
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

    /// The span of an attempt that started a moment ago and has just been claimed.
    pub(crate) fn attempt(&self, about: &About<'_>, began: Timestamp) -> AttemptSpan {
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

    /// Sends the remaining spans. Blocks for a few seconds at most, then drops the rest.
    pub(crate) fn stop(&self) {
        if let Some((provider, _)) = &self.0
            && let Err(error) = provider.shutdown_with_timeout(SHUTDOWN_TIMEOUT)
        {
            tracing::warn!(%error, "cannot send the last traces");
        }
    }
}

// === impl AttemptSpan ===

impl AttemptSpan {
    /// A step is finished: `prepared`, `claimed`, `sent`, `answered`, `recorded`, or `handed back`.
    pub fn step(&mut self, name: &'static str, at: Timestamp) {
        if let Some(span) = &mut self.0 {
            span.add_event_with_timestamp(name, SystemTime::from(at), Vec::new());
        }
    }

    /// The result of the exchange.
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

    /// The id of its trace, if the trace is sampled.
    pub fn trace_id(&self) -> Option<String> {
        let context = self.0.as_ref()?.span_context();
        context.is_sampled().then(|| context.trace_id().to_string())
    }
}

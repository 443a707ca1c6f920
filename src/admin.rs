//! The operator's own HTTP server: `/healthz`, `/readyz`, `/metrics`.

use axum::Router;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Serves until `stop`. `unready` names what keeps the operator from working, `metrics` gives OpenMetrics text.
///
/// # Errors
/// When the listener breaks.
pub async fn serve(
    listener: TcpListener,
    unready: impl Fn() -> Vec<String> + Clone + Send + Sync + 'static,
    metrics: impl Fn() -> String + Clone + Send + Sync + 'static,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let app = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route(
            "/readyz",
            get(move || async move {
                let missing = unready();
                if missing.is_empty() {
                    (StatusCode::OK, "ok\n".to_owned())
                } else {
                    (StatusCode::SERVICE_UNAVAILABLE, missing.join("\n") + "\n")
                }
            }),
        )
        .route(
            "/metrics",
            get(move || async move {
                let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
                ([(CONTENT_TYPE, kind)], metrics()).into_response()
            }),
        );
    axum::serve(listener, app).with_graceful_shutdown(stop.cancelled_owned()).await
}

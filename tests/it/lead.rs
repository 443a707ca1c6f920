//! Leads every provider to an emulator as it is created or changed, whatever endpoints it names: a webhook of the API
//! server. So a manifest for the real cloud can be applied as it is, and never reaches the real cloud.

use functiongraph_emulator::Emulator;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use k8s_openapi::ByteString;
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};
use std::convert::Infallible;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// Begins to lead, and gives the object that makes the API server ask.
pub async fn lead_to(emulator: &Emulator) -> Value {
    let url = emulator.url();
    let fields =
        [("endpoint", &*url), ("iamEndpoint", &url), ("stsEndpoint", &url), ("caBundle", emulator.ca_pem())];
    let patch: Vec<_> = fields
        .into_iter()
        .map(|(field, value)| json!({"op": "add", "path": format!("/spec/{field}"), "value": value}))
        .collect();
    let patch = ByteString(serde_json::to_vec(&patch).unwrap());

    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(certified.signing_key.serialize_der()));
    let config = ServerConfig::builder().with_no_client_auth();
    let config = config.with_single_cert(vec![certified.cert.der().clone()], key).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("https://localhost:{}/", listener.local_addr().unwrap().port());
    tokio::spawn(serve(listener, TlsAcceptor::from(Arc::new(config)), patch));
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": "lead"},
        "webhooks": [{
            "name": "lead.example.com", "admissionReviewVersions": ["v1"], "sideEffects": "None",
            "clientConfig": {"url": address, "caBundle": ByteString(certified.cert.pem().into_bytes())},
            "rules": [{
                "apiGroups": ["functiongraph.io"], "apiVersions": ["*"], "operations": ["CREATE", "UPDATE"],
                "resources": ["functiongraphproviders", "clusterfunctiongraphproviders"],
            }],
        }],
    })
}

async fn serve(listener: TcpListener, tls: TlsAcceptor, patch: ByteString) {
    while let Ok((stream, _)) = listener.accept().await {
        let (tls, patch) = (tls.clone(), patch.clone());
        tokio::spawn(async move {
            let Ok(stream) = tls.accept(stream).await else { return };
            let answer = service_fn(|request| answer(request, &patch));
            // The API server closes connections as it likes.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
        });
    }
}

async fn answer(request: Request<Incoming>, patch: &ByteString) -> Result<Response<Full<Bytes>>, Infallible> {
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let review: Value = serde_json::from_slice(&body).unwrap();
    let review = json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "response": {
            "uid": review["request"]["uid"], "allowed": true, "patchType": "JSONPatch", "patch": patch,
        },
    });
    Ok(Response::new(Full::from(review.to_string())))
}

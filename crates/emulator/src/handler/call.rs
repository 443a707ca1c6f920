//! One HTTP request to the user's server.

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::MAX_RESULT;

/// The answer to an event.
#[derive(Debug)]
pub(super) enum Answer {
    /// A result.
    Success(Bytes),
    /// Any status that is no success, and the body.
    Failure(StatusCode, Bytes),
    /// A result that the service does not accept.
    TooLarge,
}

/// Why there is no answer.
pub(super) type Error = Box<dyn std::error::Error + Send + Sync>;

/// `POST /invoke` with an event.
pub(super) async fn invoke(
    authority: &str,
    headers: &[(&'static str, String)],
    event: &Bytes,
) -> Result<Answer, Error> {
    let (status, body) = match post(authority, "/invoke", headers, event.clone()).await {
        Ok(answered) => answered,
        Err(error) if error.is::<LengthLimitError>() => return Ok(Answer::TooLarge),
        Err(error) => return Err(error),
    };
    Ok(if status.is_success() { Answer::Success(body) } else { Answer::Failure(status, body) })
}

/// `POST /init`, which a server without an initialization may not have.
pub(super) async fn init(authority: &str, headers: &[(&'static str, String)]) -> Result<(), Error> {
    let (status, body) = post(authority, "/init", headers, Bytes::new()).await?;
    let absent = [StatusCode::NOT_FOUND, StatusCode::METHOD_NOT_ALLOWED].contains(&status);
    if status.is_success() || absent {
        return Ok(());
    }
    Err(format!("POST /init was answered with {status}: {}", String::from_utf8_lossy(&body).trim()).into())
}

async fn post(
    authority: &str,
    path: &str,
    headers: &[(&'static str, String)],
    body: Bytes,
) -> Result<(StatusCode, Bytes), Error> {
    let stream = TcpStream::connect(authority).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let mut request = Request::post(path)
        .header(header::HOST, authority)
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::CONNECTION, "close");
    for (name, value) in headers {
        request = request.header(*name, value);
    }
    let request = request.body(Full::new(body))?;
    let exchange = async {
        let answer = sender.send_request(request).await?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), MAX_RESULT).collect().await?;
        Ok((status, body.to_bytes()))
    };
    // Both in one task, so that nothing is left behind when it is cancelled.
    let (answer, _) = tokio::join!(exchange, connection);
    answer
}

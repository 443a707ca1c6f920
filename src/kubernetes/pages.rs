//! Reads lists in pages of a bounded number of bytes. If a page becomes too large, the client requests it again with
//! fewer objects. After a small page the next one is larger.

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Request, Response, Uri};
use http_body_util::{BodyExt, Either, Full};
use kube::client::Body;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll};
use tower::{BoxError, Service, ServiceExt};

/// Number of objects in the first page.
pub const FIRST_PAGE_OBJECTS: u32 = 5;

/// Maximum number of objects in a page: larger pages are hardly faster.
const MAX_PAGE_OBJECTS: u32 = 200;

/// Maximum size of a page with more than one object, in bytes. kube has its text in memory twice while it decodes it.
const MAX_PAGE_BYTES: usize = 1 << 20;

/// A service of the client that chooses the number of objects in a page.
#[derive(Clone)]
pub struct Pages<S> {
    inner: S,
    /// Number of objects in the next page.
    limit: Arc<AtomicU32>,
}

// === impl Pages ===

impl<S> Pages<S> {
    /// Wraps `inner`, a service that allows concurrent calls.
    pub fn before(inner: S) -> Self {
        Self { inner, limit: Arc::new(AtomicU32::new(FIRST_PAGE_OBJECTS)) }
    }
}

impl<S, B> Service<Request<Body>> for Pages<S>
where
    S: Service<Request<Body>, Response = Response<B>, Error = BoxError> + Clone + Send + 'static,
    S::Future: Send,
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static,
{
    type Response = Response<Either<B, Full<Bytes>>>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let Self { inner, limit } = self.clone();
        Box::pin(async move {
            if limited(request.uri(), FIRST_PAGE_OBJECTS).is_none() {
                return Ok(inner.oneshot(request).await?.map(Either::Left));
            }
            let (head, _) = request.into_parts();
            loop {
                let objects = limit.load(Ordering::Relaxed);
                let mut page = Request::from_parts(head.clone(), Body::empty());
                *page.uri_mut() = limited(&head.uri, objects).ok_or("not a page of a list")?;
                let (parts, body) = inner.clone().oneshot(page).await?.into_parts();
                let budget = if objects == 1 { usize::MAX } else { MAX_PAGE_BYTES };
                if let Some(text) = collected(body, budget).await? {
                    if text.len() < MAX_PAGE_BYTES / 4 {
                        limit.store((objects * 2).min(MAX_PAGE_OBJECTS), Ordering::Relaxed);
                    }
                    return Ok(Response::from_parts(parts, Either::Right(Full::from(text))));
                }
                limit.store((objects / 4).max(1), Ordering::Relaxed);
            }
        })
    }
}

/// The request for the same page with at most `objects` objects. `None` if the request is not for a page of a list.
fn limited(uri: &Uri, objects: u32) -> Option<Uri> {
    let (path, query) = uri.path_and_query()?.as_str().split_once('?')?;
    let (before, after) = query.split_once("&limit=")?;
    let after = after.trim_start_matches(|c: char| c.is_ascii_digit());
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = format!("{path}?{before}&limit={objects}{after}").parse().ok();
    Uri::from_parts(parts).ok()
}

/// The complete body; `None` if it is larger than the limit.
async fn collected<B>(mut body: B, budget: usize) -> Result<Option<Vec<u8>>, BoxError>
where
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    // Always allocate the same size, so that the allocator reuses the memory for the next page. Unwritten pages use
    // none.
    let mut text = Vec::with_capacity(2 * MAX_PAGE_BYTES);
    while let Some(frame) = body.frame().await {
        if let Some(data) = frame.map_err(Into::into)?.data_ref() {
            if data.len() > budget - text.len() {
                return Ok(None);
            }
            text.extend_from_slice(data);
        }
    }
    Ok(Some(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pages_of_lists_are_given_another_size() {
        let with = |uri: &str| limited(&uri.parse().unwrap(), 7).map(|uri| uri.to_string());
        let page = "/apis/a/v1/things?&fieldSelector=x%3D&limit=5&continue=abc";
        assert_eq!(with(page).unwrap(), "/apis/a/v1/things?&fieldSelector=x%3D&limit=7&continue=abc");
        assert_eq!(with("/apis/a/v1/things?&limit=5").unwrap(), "/apis/a/v1/things?&limit=7");
        assert_eq!(with("/apis/a/v1/things?&watch=true&timeoutSeconds=60"), None);
        assert_eq!(with("/readyz"), None);
    }
}

//! Lists and watches that the API server, or a load balancer before it, accepts and does not answer to the end.

use crate::proxy::Body;
use futures::{FutureExt, StreamExt, stream};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use hyper::{Method, Response, Uri};
use std::sync::{Arc, Mutex};
use tokio::sync::watch;

/// Where an answer stops, for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stall {
    /// Before its first byte.
    Answer,
    /// After its headers.
    Body,
    /// In the middle of the first piece of its body.
    Piece,
}

/// What happens to the answers that are being sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Flows,
    /// Nothing comes any more, and the connection stays open.
    Silent,
    /// It ends as a watch does whose time is over.
    Ends,
}

/// What happens to lists and watches of our objects, and what was asked for.
#[derive(Clone)]
pub struct Stalls(Arc<Mutex<State>>);

struct State {
    /// What meets the requests that come now. What has met one holds it for ever.
    stall: Option<Stall>,
    /// Whether streamed lists are spared.
    sparing: bool,
    /// Only requests with this text meet it.
    only: &'static str,
    stalled: usize,
    /// The paths and queries that were asked for.
    asked: Vec<String>,
    /// The answers that were begun since the last change of fate.
    fate: watch::Sender<Fate>,
}

/// Whether a request is a list or a watch of our objects.
pub fn is_read(method: &Method, path: &str) -> bool {
    let kind = path.rsplit('/').next().unwrap_or_default();
    method == Method::GET && ["functioninvocations", "functiongraphproviders"].contains(&kind)
}

// === impl Stalls ===

impl Default for Stalls {
    fn default() -> Self {
        let fate = watch::Sender::new(Fate::Flows);
        let state = State { stall: None, sparing: false, only: "", stalled: 0, asked: Vec::new(), fate };
        Self(Arc::new(Mutex::new(state)))
    }
}

impl Stalls {
    /// From now on requests stop there; with `None`, new ones are answered again.
    pub fn stall(&self, stall: Option<Stall>) {
        self.0.lock().unwrap().stall = stall;
    }

    /// Streamed lists never stop: what is read instead of them does.
    pub fn spare_streamed_lists(&self) {
        self.0.lock().unwrap().sparing = true;
    }

    /// Requests without this text never stop.
    pub fn only(&self, text: &'static str) {
        self.0.lock().unwrap().only = text;
    }

    /// How many requests have stopped.
    pub fn stalled(&self) -> usize {
        self.0.lock().unwrap().stalled
    }

    /// What is being answered falls silent, as behind a router that has forgotten the connection.
    pub fn silence(&self) {
        self.end_as(Fate::Silent);
    }

    /// What is being answered ends, so that it is asked for again.
    pub fn end(&self) {
        self.end_as(Fate::Ends);
    }

    fn end_as(&self, fate: Fate) {
        let mut state = self.0.lock().unwrap();
        state.fate.send_replace(fate);
        state.fate = watch::Sender::new(Fate::Flows);
    }

    /// What was asked for.
    pub fn requests(&self) -> Vec<String> {
        self.0.lock().unwrap().asked.clone()
    }

    /// Notes a request, and says what it meets.
    pub fn asked(&self, uri: &Uri) -> Option<Stall> {
        let mut state = self.0.lock().unwrap();
        let request = uri.path_and_query().map(ToString::to_string).unwrap_or_default();
        let spared = state.sparing && request.contains("sendInitialEvents=");
        let stall = state.stall.filter(|_| !spared && request.contains(state.only));
        state.asked.push(request);
        state.stalled += usize::from(stall.is_some());
        stall
    }

    /// The answer as far as it gets.
    pub fn answer(&self, answer: Response<Body>, stall: Option<Stall>) -> Response<Body> {
        let mut fate = self.0.lock().unwrap().fate.subscribe();
        answer.map(|body| {
            let last = fate.clone();
            let changed = async move {
                let _ = fate.wait_for(|fate| *fate != Fate::Flows).await;
            };
            let rest = async move {
                if *last.borrow() == Fate::Silent {
                    std::future::pending::<()>().await;
                }
                stream::empty()
            };
            let frames = body.into_data_stream().map(|piece| piece.map(Frame::data));
            match stall {
                None => {
                    let rest = rest.flatten_stream();
                    StreamBody::new(frames.take_until(Box::pin(changed)).chain(rest)).boxed_unsync()
                }
                Some(Stall::Piece) => {
                    let half = frames
                        .take(1)
                        .map(|piece| piece.map(|frame| frame.map_data(|data| data.slice(..data.len() / 2))));
                    StreamBody::new(half.chain(stream::pending())).boxed_unsync()
                }
                Some(_) => StreamBody::new(frames.take(0).chain(stream::pending())).boxed_unsync(),
            }
        })
    }
}

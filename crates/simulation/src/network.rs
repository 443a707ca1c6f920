//! The ways between a replica, the API server and FunctionGraph, and what happens to requests on them.

use crate::api_server::requests::{Answer, Request, Verb, Watch, event, failure};
use crate::api_server::store::Refusal;
use crate::lock;
use crate::play::World;
use bytes::Bytes;
use fastrand::Rng;
use functiongraph::{Carried, Carrier, SendError, sign};
use functiongraph_emulator::{Action, ErrorAnswer, Fault, OddBody, When};
use functiongraph_operator::clock;
use futures::{FutureExt, StreamExt, stream};
use http::{Response, StatusCode, header};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use jiff::SignedDuration;
use kube::client::{Body, DynBody};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tower::BoxError;

/// The operator risks three refused logins of a user, and one more with the password that IAM accepted last: IAM locks a
/// user after five.
const REFUSED_LOGINS_MAX: usize = 4;

/// One process of a replica, as the network sees it.
pub struct Process {
    /// The name of the replica.
    pub name: String,
    replica: usize,
    world: Arc<World>,
    /// How many processes of the replica there were before.
    start: u64,
    /// The number of requests by what they are about.
    requests: Mutex<HashMap<String, usize>>,
    /// How often IAM has refused its logins, by user.
    refused_logins: Mutex<HashMap<String, usize>>,
    /// What kills it.
    kill: mpsc::UnboundedSender<()>,
    /// How far its API server's clock is off.
    skew: SignedDuration,
}

/// What happens to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It is answered.
    Served,
    /// There is no connection.
    Refused,
    /// It never arrives, and nobody says so.
    Lost,
    /// It arrives when its sender has given up.
    Late,
    /// The connection breaks before the answer.
    AnswerReset,
    /// The answer never arrives.
    AnswerLost,
    /// Something in between answers with this status, and it does not arrive.
    Instead(u16),
    /// It arrives, and something in between answers with this status.
    After(u16),
    /// Its sender dies before it arrives.
    DiesBefore,
    /// Its sender dies when it has arrived.
    DiesAfter,
    /// It is answered, and then the reconcile of its sender panics.
    Panics,
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Served => Ok(()),
            other => write!(f, " [{other:?}]"),
        }
    }
}

/// What chance does to one request.
struct Chance {
    name: String,
    rng: Rng,
    world: Arc<World>,
}

type KubernetesAnswer = Response<Box<DynBody>>;

// === impl Process ===

impl Process {
    /// A process of a replica.
    pub fn new(world: &Arc<World>, replica: usize, start: u64, kill: mpsc::UnboundedSender<()>) -> Arc<Self> {
        let mut rng = Rng::with_seed(world.plan.seed.wrapping_mul(1000) + replica as u64 * 100 + start);
        let skew = SignedDuration::from_millis(rng.i64(-1500..1500));
        Arc::new(Self {
            name: format!("replica-{replica}"),
            replica,
            world: Arc::clone(world),
            start,
            requests: Mutex::default(),
            refused_logins: Mutex::default(),
            kill,
            skew,
        })
    }

    /// Chance for a request. It depends only on what the request is about and how many there were before it.
    fn chance(self: &Arc<Self>, about: &str) -> Chance {
        let mut requests = lock(&self.requests);
        let number = requests.entry(about.to_owned()).or_default();
        *number += 1;
        let name = format!("{}.{} {about} {number}", self.name, self.start);
        let mut hasher = DefaultHasher::new();
        (self.world.plan.seed, &name).hash(&mut hasher);
        Chance { name, rng: Rng::with_seed(hasher.finish()), world: Arc::clone(&self.world) }
    }

    async fn die<T>(&self) -> T {
        let _ = self.kill.send(());
        std::future::pending().await
    }

    /// Sends a request to the API server.
    pub async fn call(
        self: Arc<Self>,
        request: http::Request<Body>,
        patience: Duration,
    ) -> Result<KubernetesAnswer, BoxError> {
        self.world.count_request();
        let (head, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let request = Request::of(&head, &body);
        let fates: &[Fate] = if request.writes() {
            &[
                Fate::Refused,
                Fate::Lost,
                Fate::Late,
                Fate::AnswerReset,
                Fate::AnswerLost,
                Fate::Instead(429),
                Fate::Instead(500),
                Fate::Instead(403),
                Fate::After(504),
                Fate::DiesBefore,
                Fate::DiesAfter,
            ]
        } else {
            &[Fate::Refused, Fate::Lost, Fate::AnswerReset, Fate::Instead(500), Fate::Instead(503)]
        };
        if self.world.is_cut(self.replica, &request.key.0) {
            return silence(patience).await;
        }
        let mut chance = self.chance(&request.to_string());
        let fate = chance.fate(fates, matches!(request.verb, Verb::Review | Verb::Describe));
        let (there, back) = (chance.way(), chance.way());
        let (answered, answer) = oneshot::channel();
        match fate {
            Fate::Refused => return Err(broken("connection refused").into()),
            Fate::Lost => {
                self.world.history.note(&self.name, format!("{request}{fate}"));
                return silence(patience).await;
            }
            Fate::DiesBefore => {
                self.world.history.note(&self.name, format!("{request}{fate}"));
                return self.die().await;
            }
            Fate::Instead(status) => {
                tokio::time::sleep(there).await;
                self.world.history.note(&self.name, format!("{request}{fate}"));
                return Ok(self.instead(status));
            }
            _ => {}
        }
        let (process, late) = (Arc::clone(&self), Duration::from_millis(15_000 + chance.rng.u64(..30_000)));
        tokio::spawn(async move {
            tokio::time::sleep(if fate == Fate::Late { late } else { there }).await;
            let answer = request.answer(&process.world.store);
            process.note(&request, fate, &answer);
            if fate == Fate::DiesAfter {
                let _ = process.kill.send(());
                return;
            }
            let watch_follows = matches!(answer, Answer::Watch(_));
            let answer = match answer {
                Answer::Object(status, object) => process.receive(status, &object),
                Answer::Watch(watch) => process.head(StatusCode::OK, Box::new(process.watch(watch, chance))),
            };
            if !watch_follows {
                tokio::time::sleep(back).await;
            }
            let _ = answered.send(answer);
        });
        match fate {
            Fate::AnswerLost | Fate::Late | Fate::DiesAfter => silence(patience).await,
            Fate::AnswerReset => {
                let _ = answer.await;
                Err(broken("connection reset").into())
            }
            Fate::After(status) => {
                let _ = answer.await;
                Ok(self.instead(status))
            }
            _ => Ok(answer.await?),
        }
    }

    fn note(&self, request: &Request, fate: Fate, answer: &Answer) {
        let Answer::Object(status, object) = answer else { return };
        if request.writes() && !["events", "leases"].contains(&request.key.0.as_str()) {
            let mut line = format!("{request}{fate} -> {}", status.as_u16());
            if status.is_success() {
                line += &summary(object);
            } else {
                line = format!("{line} {}", object["message"].as_str().unwrap_or_default());
            }
            self.world.history.note(&self.name, line);
        }
        if *status == StatusCode::UNPROCESSABLE_ENTITY {
            self.world
                .promises
                .break_one("no write breaks the API server's rules", &object["message"].to_string());
        }
    }

    fn instead(&self, status: u16) -> KubernetesAnswer {
        let reason = match status {
            403 => "Forbidden",
            429 => "TooManyRequests",
            500 => "InternalError",
            503 => "ServiceUnavailable",
            _ => "Timeout",
        };
        let refusal = Refusal(status, reason, format!("something in between answered {status}"));
        let status = StatusCode::from_u16(status).expect("a status");
        self.receive(status, &failure(&refusal))
    }

    fn receive(&self, status: StatusCode, object: &Value) -> KubernetesAnswer {
        let body = Full::from(object.to_string()).map_err(|never| match never {});
        self.head(status, Box::new(body))
    }

    /// An answer with the time of the API server's clock.
    fn head(&self, status: StatusCode, body: Box<DynBody>) -> KubernetesAnswer {
        let date = self.world.store.now() + self.skew;
        let date = date.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
        let answer = Response::builder().status(status).header(header::DATE, date);
        answer.header(header::CONTENT_TYPE, "application/json").body(body).expect("an answer")
    }

    /// The events of a watch, each after a while.
    fn watch(
        &self,
        watch: Watch,
        mut chance: Chance,
    ) -> impl http_body::Body<Data = Bytes, Error = BoxError> + Send + Unpin + use<> {
        let now = Instant::from(clock::monotonic());
        let end = now + watch.timeout;
        let breaks_after = Duration::from_millis(chance.rng.u64(..60_000));
        let breaks = chance.strikes(1000, self.world.trouble(), "breaks").then(|| now + breaks_after);
        let world = Arc::clone(&self.world);
        let events = stream::unfold(Some((watch, chance)), move |open| {
            let world = Arc::clone(&world);
            async move {
                let (mut watch, mut chance) = open?;
                loop {
                    watch.changed.borrow_and_update();
                    tokio::time::sleep(chance.lag()).await;
                    let lines = match watch.events(&world.store) {
                        Ok(events) => events,
                        Err(refusal) => {
                            return Some((Ok(frame(&[event("ERROR", &failure(&refusal))])), None));
                        }
                    };
                    if !lines.is_empty() {
                        return Some((Ok(frame(&lines)), Some((watch, chance))));
                    }
                    let broken_at = breaks.unwrap_or(end);
                    tokio::select! {
                        biased;
                        () = tokio::time::sleep_until(end.min(broken_at)) => {
                            if broken_at < end {
                                return Some((Err(BoxError::from(broken("connection reset"))), None));
                            }
                            let mark = watch.bookmark(&world.store, &json!({})).into_iter().collect::<Vec<_>>();
                            return Some((Ok(frame(&mark)), None));
                        }
                        _ = watch.changed.changed() => {}
                    }
                }
            }
        });
        StreamBody::new(events.boxed())
    }

    /// IAM has refused a login.
    fn count_refused_login(&self, user: &str) {
        let mut refused = lock(&self.refused_logins);
        let times = refused.entry(user.to_owned()).or_default();
        *times += 1;
        if *times > REFUSED_LOGINS_MAX {
            let about = format!("{times} refused logins of {user}");
            self.world.promises.break_one("no process has a user locked", &about);
        }
    }

    /// What carries this process's requests to FunctionGraph.
    pub fn carrier(self: &Arc<Self>) -> Carrier {
        let process = Arc::clone(self);
        Carrier::new(move |request| Arc::clone(&process).post(request).boxed() as Carried)
    }

    async fn post(
        self: Arc<Self>,
        mut request: http::Request<Bytes>,
    ) -> Result<Response<reqwest::Body>, SendError> {
        self.world.count_request();
        shift(&mut request, self.world.skew(self.replica));
        let interrupted = |why: &str| SendError::Interrupted(why.to_owned());
        let called = request.uri().path().rsplit('/').next().unwrap_or_default();
        let line = format!("{} {called}", request.method());
        let submits =
            request.method() == http::Method::POST && request.uri().path().ends_with("/invocations-async");
        let fates = [
            Fate::Refused,
            Fate::Lost,
            Fate::Late,
            Fate::AnswerReset,
            Fate::AnswerLost,
            Fate::Served,
            Fate::Served,
            Fate::DiesBefore,
            Fate::DiesAfter,
            if submits { Fate::Panics } else { Fate::Served },
        ];
        let (tag, user) = (tag(request.body()), user(request.body()));
        let mut chance = self.chance(&format!("{line} {tag}"));
        let fate = chance.fate(&fates, false);
        self.world.history.note(&self.name, format!("{line}{fate}"));
        let (there, back) = (chance.way(), chance.way());
        match fate {
            Fate::Refused => return Err(SendError::NotSent("connection refused".into())),
            Fate::Lost => return std::future::pending().await,
            Fate::DiesBefore => return self.die().await,
            _ => {}
        }
        let (answered, answer) = oneshot::channel();
        let (process, late) = (Arc::clone(&self), Duration::from_millis(chance.rng.u64(..20_000)));
        let fault = submits.then(|| chance.fault()).flatten();
        tokio::spawn(async move {
            tokio::time::sleep(if fate == Fate::Late { late } else { there }).await;
            if let Some(action) = fault {
                process.world.history.note("cloud", format!("has a fault: {action:?}"));
                process.world.cloud.add_fault(Fault::new(When::Next(1), action));
            }
            let answer = process.world.cloud.serve(request).await;
            process.world.promises.look_at_cloud();
            if let Some(user) = user
                && answer.as_ref().is_ok_and(|answer| answer.status() == StatusCode::UNAUTHORIZED)
            {
                process.count_refused_login(&user);
            }
            let what = answer.as_ref().map_or_else(ToString::to_string, |answer| answer.status().to_string());
            process.world.history.note("cloud", format!("answers {} {line}: {what}", process.name));
            if fate == Fate::DiesAfter {
                let _ = process.kill.send(());
                return;
            }
            tokio::time::sleep(back).await;
            let _ = answered.send(
                answer.map(|answer| answer.map(reqwest::Body::wrap)).map_err(|error| error.to_string()),
            );
        });
        match fate {
            Fate::AnswerLost | Fate::DiesAfter => std::future::pending().await,
            Fate::AnswerReset => {
                let _ = answer.await;
                Err(interrupted("connection reset"))
            }
            Fate::Panics => {
                let _ = answer.await;
                panic!("as planned")
            }
            _ => match answer.await {
                Ok(Ok(answer)) => Ok(answer),
                Ok(Err(why)) => Err(interrupted(&why)),
                Err(_) => Err(interrupted("connection reset")),
            },
        }
    }
}

// === impl Chance ===

impl Chance {
    /// Whether something strikes that does so in `trouble` of `of` cases.
    fn strikes(&mut self, of: u32, trouble: u32, what: &str) -> bool {
        self.rng.u32(..of) < trouble && self.world.happens(&format!("{} {what}", self.name))
    }

    fn fate(&mut self, fates: &[Fate], rarely: bool) -> Fate {
        // A start takes thirty reads, and each may fail.
        let of = if rarely { 10_000 } else { 1000 };
        let enabled = |number: usize| self.world.plan.fates & (1 << number) != 0;
        let possible = (0..).zip(fates).filter(|(number, _)| enabled(*number)).map(|(_, fate)| *fate);
        let fate = self.rng.choice(possible.collect::<Vec<_>>()).unwrap_or(Fate::Served);
        let (trouble, what) = (self.world.trouble(), format!("{fate:?}"));
        if fate != Fate::Served && self.strikes(of, trouble, &what) { fate } else { Fate::Served }
    }

    /// The time that a request takes on its way.
    fn way(&mut self) -> Duration {
        let (slow, fast) = (self.rng.u64(..4000), 1 + self.rng.u64(..8));
        let is_slow = self.world.trouble() > 0 && self.strikes(50, 1, "is slow");
        Duration::from_millis(if is_slow { slow } else { fast })
    }

    /// How far behind an event of a watch is.
    fn lag(&mut self) -> Duration {
        let plan = &self.world.plan;
        let (every, late) = (plan.watch_lags_every, plan.watch_lag.as_millis());
        let late = self.rng.u64(..=u64::try_from(late).unwrap_or_default());
        let short = self.rng.u64(..30);
        let is_late = late > 0 && self.world.trouble() > 0 && self.strikes(u32::from(every), 1, "lags");
        Duration::from_millis(if is_late { short + late } else { short })
    }

    /// What FunctionGraph does to a request.
    fn fault(&mut self) -> Option<Action> {
        let error = |status: u16| ErrorAnswer::of(StatusCode::from_u16(status).expect("a status"));
        let actions = [
            Action::Status(error(429)),
            Action::Status(error(503)),
            Action::Status(error(404)),
            Action::Status(error(500)),
            Action::AcceptThen(error(504)),
            Action::AcceptThen(error(500)),
            Action::DropBefore,
            Action::DropAfter,
            Action::TruncatedBody,
            Action::OddBody { kind: OddBody::NoId },
            Action::Hang { accept: true },
            Action::Hang { accept: false },
            Action::Delay(Duration::from_secs(20)),
        ];
        let action = self.rng.choice(actions)?;
        self.strikes(1000, self.world.trouble() * 2, &format!("{action:?}")).then_some(action)
    }
}

/// Makes a request one of a node whose clock is off by this number of seconds. Only its time changes: FunctionGraph refuses
/// that before it looks at the signature.
fn shift(request: &mut http::Request<Bytes>, off: i64) {
    let date = request.headers().get(sign::X_SDK_DATE).and_then(|date| sign::parse_date(date.to_str().ok()?));
    let Some(date) = date.filter(|_| off != 0) else { return };
    let date = sign::format_date(date + SignedDuration::from_secs(off));
    request.headers_mut().insert(sign::X_SDK_DATE, date.parse().expect("a header"));
}

/// What the event of an invocation says of it.
fn tag(event: &[u8]) -> String {
    let event: Value = serde_json::from_slice(event).unwrap_or_default();
    event["tag"].as_str().unwrap_or_default().to_owned()
}

/// The user that a login is for.
fn user(body: &[u8]) -> Option<String> {
    let body: Value = serde_json::from_slice(body).ok()?;
    Some(body.pointer("/auth/identity/password/user/name")?.as_str()?.to_owned())
}

fn frame(lines: &[String]) -> Frame<Bytes> {
    Frame::data(lines.concat().into())
}

fn broken(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, why.to_owned())
}

/// No answer, until the client has waited for as long as it waits for bytes.
async fn silence<T>(patience: Duration) -> Result<T, BoxError> {
    tokio::time::sleep(patience).await;
    Err(io::Error::new(io::ErrorKind::TimedOut, "no answer").into())
}

/// What an object says of its attempt.
fn summary(object: &Value) -> String {
    let status = &object["status"];
    let (number, state) = (&status["attempt"]["number"], &status["attempt"]["state"]);
    let reasons: Vec<_> = status["conditions"].as_array().into_iter().flatten().collect();
    let ready = reasons.iter().find(|condition| condition["type"] == "Ready");
    let reason = ready.map(|ready| ready["reason"].to_string()).unwrap_or_default();
    format!(" attempt {number} {state} outcome {} {reason}", status["outcome"])
}

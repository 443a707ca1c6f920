//! The user's code behind a function: servers that speak the protocol of event functions in container images.
//!
//! Such a server gets `POST /init` once, and `POST /invoke` with every event. It runs already (`forward`), or the emulator
//! starts one process for each instance (`run`).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::config::{Failure, Function};

mod call;
mod instance;
mod process;
use instance::Instance;

/// Largest result that the service accepts, in bytes: 6 MB.
const MAX_RESULT: usize = 6 * 1024 * 1024;

/// Most characters of a function's own words in a message.
const MESSAGE: usize = 500;

/// The codes of the service.
const TIMED_OUT: (i64, &str) = (4010, "function invocation timeout");
const NOT_INITIALIZED: i64 = 4201;
const INITIALIZATION_TIMED_OUT: (i64, &str) = (4211, "function initialization timeout");
const RAISED: i64 = 4002;
const TOO_LARGE: (i64, &str) = (4004, "the result is larger than 6 MB");

/// One run that the emulator has to carry out.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    pub(crate) request_id: String,
    /// The number of the instance that it runs on.
    pub(crate) instance: u64,
    pub(crate) event: Bytes,
    pub(crate) version: String,
    /// Memory of this run, in MB.
    pub(crate) memory: u32,
}

/// What came of a run.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Report {
    pub(crate) failure: Option<Failure>,
    pub(crate) output: Output,
}

/// What a run left behind.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Output {
    pub(crate) result: Bytes,
    pub(crate) log: String,
}

/// The servers of one function.
#[derive(Debug)]
pub(crate) struct Handler {
    function: Arc<Function>,
    place: Place,
    instances: Mutex<Instances>,
}

/// Where a function belongs.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) region: String,
    pub(crate) project_id: String,
}

/// Instances by their number, with the number of their runs, and those that run nothing.
#[derive(Debug, Default)]
struct Instances {
    busy: HashMap<u64, (Arc<Instance>, usize)>,
    idle: Vec<Arc<Instance>>,
}

/// An instance for the time of a run.
struct Lease<'h> {
    handler: &'h Handler,
    number: u64,
    instance: Arc<Instance>,
    end: End,
}

/// How a run ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// It was cancelled. Its process may still work on it, so it is killed unless others run there.
    Cancelled,
    /// The process is of no use any more.
    Broken,
    /// The process is ready for the next one.
    Completed,
}

impl Handler {
    pub(crate) fn new(function: Arc<Function>, place: Place) -> Self {
        Self { function, place, instances: Mutex::default() }
    }

    /// Whether this is the handler of a function as it is declared now.
    pub(crate) fn fits(&self, function: &Function) -> bool {
        *self.function == *function
    }

    /// Carries out a run.
    pub(crate) async fn run(&self, job: &Job) -> Report {
        let mut lease = self.lease(job.instance);
        let attempt = self.attempt(&lease.instance, job).await;
        lease.end = if attempt.is_ok() { End::Completed } else { End::Broken };
        attempt.unwrap_or_else(|broken| broken)
    }

    /// What a server answered; an error if it is of no use any more.
    async fn attempt(&self, instance: &Instance, job: &Job) -> Result<Report, Report> {
        let ready = tokio::time::timeout(self.function.init_timeout, instance.ready(self, job)).await;
        let server = match ready {
            Ok(Ok(server)) => server,
            Ok(Err(message)) => return Err(failed(NOT_INITIALIZED, &message, instance.log_since(0).await)),
            Err(_) => {
                let (code, message) = INITIALIZATION_TIMED_OUT;
                return Err(failed(code, message, instance.log_since(0).await));
            }
        };
        let headers = self.headers(job);
        let answered = call::invoke(&server.authority, &headers, &job.event);
        let answered = tokio::time::timeout(self.function.timeout, answered).await;
        let log = instance.log_since(server.mark).await;
        match answered {
            Ok(Ok(call::Answer::Success(result))) => {
                Ok(Report { failure: None, output: Output { result, log } })
            }
            Ok(Ok(call::Answer::TooLarge)) => Ok(failed(TOO_LARGE.0, TOO_LARGE.1, log)),
            Ok(Ok(call::Answer::Failure(status, body))) => {
                let text = String::from_utf8_lossy(&body);
                let text: String = text.trim().chars().take(MESSAGE).collect();
                let failure = Failure::new(RAISED, &format!("the function answered {status}: {text}"));
                Ok(Report { failure: Some(failure), output: Output { result: body, log } })
            }
            Ok(Err(error)) => Err(failed(RAISED, &instance.why(&error).await, log)),
            Err(_) => Err(failed(TIMED_OUT.0, TIMED_OUT.1, log)),
        }
    }

    /// A server that runs already is one instance.
    fn lease(&self, number: u64) -> Lease<'_> {
        let number = if self.function.forward.is_some() { 0 } else { number };
        let mut instances = self.instances.lock();
        let Instances { busy, idle } = &mut *instances;
        let (instance, runs) = busy.entry(number).or_insert_with(|| (idle.pop().unwrap_or_default(), 0));
        *runs += 1;
        Lease { handler: self, number, instance: Arc::clone(instance), end: End::Cancelled }
    }

    /// The headers that the service sends with every request.
    fn headers(&self, job: &Job) -> Vec<(&'static str, String)> {
        let Function { name, package, timeout, .. } = &*self.function;
        vec![
            ("x-cff-request-id", job.request_id.clone()),
            ("x-cff-memory", job.memory.to_string()),
            ("x-cff-timeout", timeout.as_secs().to_string()),
            ("x-cff-func-version", job.version.clone()),
            ("x-cff-func-name", name.clone()),
            ("x-cff-project-id", self.place.project_id.clone()),
            ("x-cff-package", package.clone()),
            ("x-cff-region", self.place.region.clone()),
        ]
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        let mut instances = self.handler.instances.lock();
        let Instances { busy, idle } = &mut *instances;
        let Some((_, runs)) = busy.get_mut(&self.number) else { return };
        *runs -= 1;
        if self.end == End::Broken || self.end == End::Cancelled && *runs == 0 {
            self.instance.kill();
        }
        if *runs == 0 && busy.remove(&self.number).is_some() && self.end == End::Completed {
            idle.push(Arc::clone(&self.instance));
        }
    }
}

fn failed(code: i64, message: &str, log: String) -> Report {
    Report { failure: Some(Failure::new(code, message)), output: Output { result: Bytes::new(), log } }
}

/// How long the emulator waits before it tries again to connect to a process that has just started.
const CONNECT_PAUSE: Duration = Duration::from_millis(10);

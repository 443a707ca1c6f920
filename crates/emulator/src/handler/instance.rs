//! One instance: a process that is started and initialized when it is first needed, or a server that runs already.

use parking_lot::Mutex as Lock;
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use super::process::Process;
use super::{CONNECT_PAUSE, Handler, Job, call};

/// One instance.
#[derive(Debug, Default)]
pub(super) struct Instance {
    /// The server, once it is ready.
    server: Mutex<Option<Server>>,
    /// The process, if the emulator started it.
    process: Lock<Option<Process>>,
}

/// A server that is ready.
#[derive(Debug, Clone)]
pub(super) struct Server {
    pub(super) authority: String,
    /// The length of the log before the run.
    pub(super) mark: usize,
}

impl Instance {
    /// Starts and initializes the server, unless that was done before.
    pub(super) async fn ready(&self, handler: &Handler, job: &Job) -> Result<Server, String> {
        let mut server = self.server.lock().await;
        if let Some(server) = &*server {
            return Ok(Server { mark: self.mark(), ..server.clone() });
        }
        let authority = match (&handler.function.forward, &handler.function.run) {
            (_, Some(run)) => {
                let (process, authority) = Process::start(run).map_err(|error| error.to_string())?;
                let ended = process.ended();
                *self.process.lock() = Some(process);
                if !listens(&authority, &ended).await {
                    return Err(self.how_it_ended().await);
                }
                authority
            }
            (Some(url), None) => authority(url).to_owned(),
            (None, None) => return Err("the function has no code".to_owned()),
        };
        call::init(&authority, &handler.headers(job)).await.map_err(|error| error.to_string())?;
        *server = Some(Server { authority: authority.clone(), mark: 0 });
        // What the initialization logged belongs to the first run.
        Ok(Server { authority, mark: 0 })
    }

    /// Kills the process. The next run starts and initializes another.
    pub(super) fn kill(&self) {
        self.process.lock().take();
        // While it is locked, another run makes it ready, and has its own end.
        if let Ok(mut server) = self.server.try_lock() {
            *server = None;
        }
    }

    fn mark(&self) -> usize {
        self.process.lock().as_ref().map_or(0, Process::logged)
    }

    /// What the process logged since its log had this length.
    pub(super) async fn log_since(&self, mark: usize) -> String {
        let log = self.process.lock().as_ref().map(Process::log);
        match log {
            Some(log) => log.since(mark).await,
            None => String::new(),
        }
    }

    /// Why a request has no answer.
    pub(super) async fn why(&self, error: &call::Error) -> String {
        let ended = self.process.lock().as_ref().map(Process::ended);
        match ended {
            // The end of the connection may be seen before that of the process.
            Some(ended) if tokio::time::timeout(CONNECT_PAUSE * 10, ended.cancelled()).await.is_ok() => {
                self.how_it_ended().await
            }
            _ => format!("no answer from the function: {error}"),
        }
    }

    async fn how_it_ended(&self) -> String {
        let process = self.process.lock().take();
        let Some(mut process) = process else { return "the function's process was killed".to_owned() };
        let status = process.status().await;
        *self.process.lock() = Some(process);
        status.map_or_else(
            || "the function's process ended".to_owned(),
            |status| format!("the function's process ended: {status}"),
        )
    }
}

/// Waits until a server listens; false if its process ends before.
async fn listens(authority: &str, ended: &CancellationToken) -> bool {
    while TcpStream::connect(authority).await.is_err() {
        if ended.is_cancelled() {
            return false;
        }
        tokio::time::sleep(CONNECT_PAUSE).await;
    }
    true
}

/// The authority of a URL that the configuration has checked.
fn authority(url: &str) -> &str {
    url.trim_start_matches("http://").trim_end_matches('/')
}

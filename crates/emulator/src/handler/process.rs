//! A process of the user's code, its log and its end.

use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::config::Run;

/// Most bytes of a log that are kept, counted from its end.
const MAX_LOG: usize = 1024 * 1024;

/// How many ports are tried before the emulator gives up.
const PORTS_TRIED: usize = 100;

/// A running process. It is killed, with all processes that it started, when this is dropped.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    /// The process and all that it started.
    group: Option<Pid>,
    log: Log,
    ended: CancellationToken,
}

/// The standard output and the standard error of a process.
#[derive(Debug, Clone)]
pub(super) struct Log {
    text: Arc<Mutex<Text>>,
    /// Asks the reader to answer when it has read what is there.
    flush: mpsc::UnboundedSender<oneshot::Sender<()>>,
}

/// The end of a log, and the length of what came before.
#[derive(Debug, Default)]
struct Text {
    before: usize,
    kept: Vec<u8>,
}

impl Process {
    /// Starts a process, and gives the authority at which it will listen.
    pub(super) fn start(run: &Run) -> io::Result<(Self, String)> {
        let port = match run.port {
            Some(port) => port,
            None => free_port()?,
        };
        let words: Vec<String> =
            run.command.iter().map(|word| word.replace("{port}", &port.to_string())).collect();
        let [program, arguments @ ..] = words.as_slice() else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env("PORT", port.to_string())
            // Otherwise a log would arrive after the result.
            .env("PYTHONUNBUFFERED", "1")
            .envs(&run.env)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        if let Some(directory) = &run.directory {
            command.current_dir(directory);
        }
        let mut child = command
            .spawn()
            .map_err(|error| io::Error::new(error.kind(), format!("cannot start {program:?}: {error}")))?;
        let group = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        let (flush, flushes) = mpsc::unbounded_channel();
        let log = Log { text: Arc::default(), flush };
        let ended = CancellationToken::new();
        if let (Some(out), Some(err)) = (child.stdout.take(), child.stderr.take()) {
            tokio::spawn(read(out, err, Arc::clone(&log.text), flushes, ended.clone()));
        }
        Ok((Self { child, group, log, ended }, format!("127.0.0.1:{port}")))
    }

    /// The length of the log so far.
    pub(super) fn logged(&self) -> usize {
        self.log.text.lock().end()
    }

    pub(super) fn log(&self) -> Log {
        self.log.clone()
    }

    /// Cancelled when the process and all that it started have closed their output, which they do at their end.
    pub(super) fn ended(&self) -> CancellationToken {
        self.ended.clone()
    }

    /// The status of a process that has closed its output; none if it goes on without.
    pub(super) async fn status(&mut self) -> Option<ExitStatus> {
        tokio::time::timeout(Duration::from_secs(1), self.child.wait()).await.ok()?.ok()
    }
}

/// A port at which nobody listens.
fn free_port() -> io::Result<u16> {
    let mut tried = Err(io::ErrorKind::AddrInUse.into());
    for _ in 0..PORTS_TRIED {
        let port = clock::server_port();
        tried = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map(|_| port);
        if tried.is_ok() {
            break;
        }
    }
    tried
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(group) = self.group {
            // An error means that they have ended.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

impl Log {
    /// What was logged since the log had this length, as far as it is kept.
    pub(super) async fn since(&self, mark: usize) -> String {
        let (done, flushed) = oneshot::channel();
        if self.flush.send(done).is_ok() {
            let _ = flushed.await;
        }
        let text = self.text.lock();
        let start = mark.saturating_sub(text.before).min(text.kept.len());
        String::from_utf8_lossy(&text.kept[start..]).trim_end().to_owned()
    }
}

impl Text {
    fn end(&self) -> usize {
        self.before + self.kept.len()
    }

    fn push(&mut self, bytes: &[u8]) {
        self.kept.extend_from_slice(bytes);
        let surplus = self.kept.len().saturating_sub(MAX_LOG);
        self.kept.drain(..surplus);
        self.before += surplus;
    }
}

/// Reads both outputs until they end. What is there is read before a flush is answered.
async fn read(
    mut out: impl AsyncRead + Unpin,
    mut err: impl AsyncRead + Unpin,
    text: Arc<Mutex<Text>>,
    mut flushes: mpsc::UnboundedReceiver<oneshot::Sender<()>>,
    ended: CancellationToken,
) {
    let _ended = ended.drop_guard();
    let (mut of_out, mut of_err) = ([0; 4096], [0; 4096]);
    let (mut more_out, mut more_err) = (true, true);
    while more_out || more_err {
        tokio::select! {
            biased;
            read = out.read(&mut of_out), if more_out => match read {
                Ok(length) if length > 0 => text.lock().push(&of_out[..length]),
                _ => more_out = false,
            },
            read = err.read(&mut of_err), if more_err => match read {
                Ok(length) if length > 0 => text.lock().push(&of_err[..length]),
                _ => more_err = false,
            },
            Some(done) = flushes.recv() => { let _ = done.send(()); }
        }
    }
}

//! One server process on a leash: it ends when told to, when dropped, and when its owner dies.

use std::{
    fs::File,
    io::{self, Write as _},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
};

use crate::process::tail;

/// The shell that holds the leash. A parent-death signal would need unsafe code and exists on Linux only;
/// the end of a pipe is noticed on every POSIX system.
const LEASH: &str = include_str!("server/leash.sh");

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The process could not be created.
    #[error("cannot run {name}")]
    Spawn {
        /// The program.
        name: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// It ran and gave up before it was ready.
    #[error("{name} ended before it was ready ({status}); the end of its log:\n{log}")]
    Exited {
        /// The program.
        name: &'static str,
        /// How it ended.
        status: ExitStatus,
        /// The last lines of its log.
        log: String,
    },
}

/// A running server.
#[derive(Debug)]
pub(crate) struct Server {
    name: &'static str,
    shell: Child,
    leash: Option<ChildStdin>,
    log: PathBuf,
}

/// What to run and where.
#[derive(Debug)]
pub(crate) struct Launch<'a> {
    /// Short name, for errors and for the log file.
    pub(crate) name: &'static str,
    /// The program.
    pub(crate) program: &'a Path,
    /// Its arguments.
    pub(crate) args: &'a [String],
    /// Working folder; takes the log `<name>.log`.
    pub(crate) folder: &'a Path,
    /// Remove the folder when the owner dies.
    pub(crate) remove_folder: bool,
}

// === impl Server ===

impl Server {
    /// Starts the process. It has a process group of its own: Ctrl-C on the terminal reaches the owner, who
    /// may still need the server to end well.
    pub(crate) fn spawn(launch: &Launch<'_>) -> Result<Self, ServerError> {
        let &Launch { name, program, args, folder, remove_folder } = launch;
        let spawn = || {
            let log = folder.join(format!("{name}.log"));
            let output = File::options().create(true).append(true).open(&log)?;
            let mut shell = Command::new("sh")
                .args(["-c", LEASH, "leash"])
                .arg(if remove_folder { folder.as_os_str() } else { "".as_ref() })
                .arg(program)
                .args(args)
                .current_dir(folder)
                .stdin(Stdio::piped())
                .stdout(output.try_clone()?)
                .stderr(output)
                .process_group(0)
                .spawn()?;
            let leash = shell.stdin.take();
            Ok(Self { name, shell, leash, log })
        };
        spawn().map_err(|source| ServerError::Spawn { name, source })
    }

    /// Fails if the process has ended.
    pub(crate) fn check(&mut self) -> Result<(), ServerError> {
        let ended = self.shell.try_wait();
        match ended.map_err(|source| ServerError::Spawn { name: self.name, source })? {
            None => Ok(()),
            Some(status) => Err(ServerError::Exited { name: self.name, status, log: self.log_tail() }),
        }
    }

    /// The name it was started under.
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// The last lines of the log.
    pub(crate) fn log_tail(&self) -> String {
        tail(&self.log)
    }
}

impl Drop for Server {
    /// Kills the process and waits until it is gone: a matter of milliseconds.
    fn drop(&mut self) {
        if let Some(mut leash) = self.leash.take() {
            // It fails when the server has ended by itself, and then there is nothing to stop.
            let _ = leash.write_all(b"stop\n");
        }
        let _ = self.shell.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn shell(folder: &Path, script: &str) -> Server {
        let args = ["-c".to_owned(), script.to_owned()];
        let program = Path::new("sh");
        let launch = Launch { name: "server", program, args: &args, folder, remove_folder: false };
        Server::spawn(&launch).unwrap()
    }

    fn until<T>(mut condition: impl FnMut() -> Option<T>) -> T {
        loop {
            if let Some(value) = condition() {
                return value;
            }
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_server_that_gives_up_is_reported_with_the_end_of_its_log() {
        let folder = tempfile::tempdir().unwrap();
        let mut server = shell(folder.path(), "seq 100; echo out of luck >&2; exit 3");
        let error = until(|| server.check().err()).to_string();
        assert!(error.starts_with("server ended before it was ready (exit status: 3)"), "{error}");
        assert!(error.ends_with("99\n100\nout of luck") && !error.contains("\n80\n"), "{error}");
    }

    #[test]
    fn a_dropped_server_is_gone_and_leaves_its_folder_to_the_owner() {
        let folder = tempfile::tempdir().unwrap();
        let server = shell(folder.path(), "echo $$ > pid; exec sleep 1000");
        let pid =
            until(|| fs::read_to_string(folder.path().join("pid")).ok().filter(|pid| pid.ends_with('\n')));
        let alive =
            || Command::new("sh").args(["-c", &format!("kill -0 {pid}")]).output().unwrap().status.success();
        assert!(alive());
        drop(server);
        assert!(!alive());
        assert!(folder.path().exists());
    }
}

//! Ways into a running control plane: clients, kubeconfigs, kubectl.

use std::{
    io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use kube::{Client, Config};
use tokio::io::AsyncWriteExt as _;

use super::{ControlPlane, ToolError, tool};

/// How `kubectl apply -o name` begins the name of a CRD.
const CRD: &str = "customresourcedefinition.apiextensions.k8s.io/";

/// Why there was no way in.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// Nobody of that name is among the options.
    #[error("the control plane was started without a user {0}")]
    UnknownUser(String),
    /// The client could not be made.
    #[error("cannot make a client for the API server")]
    Client(#[from] kube::Error),
    /// kubectl could not be run.
    #[error("cannot run kubectl")]
    Run(#[from] io::Error),
    /// kubectl failed; this is what it said.
    #[error("kubectl {verb}: {said}")]
    Failed {
        /// What it was asked to do.
        verb: String,
        /// Its standard error.
        said: String,
    },
}

impl ControlPlane {
    /// A client with all rights. Clients belong to the Tokio runtime they are made in: one per test.
    ///
    /// # Errors
    ///
    /// When TLS cannot be set up.
    pub fn client(&self) -> Result<Client, AccessError> {
        Ok(Client::try_from(self.kube_config())?)
    }

    /// A client with the rights of a user.
    ///
    /// # Errors
    ///
    /// When the user was not among the options, or TLS cannot be set up.
    pub fn client_as(&self, user: &str) -> Result<Client, AccessError> {
        Ok(Client::try_from(self.kube_config_as(user)?)?)
    }

    /// Client configuration with all rights.
    #[must_use]
    pub fn kube_config(&self) -> Config {
        self.identity.admin_config(&self.address)
    }

    /// Client configuration with the rights of a user.
    ///
    /// # Errors
    ///
    /// When the user was not among the options.
    pub fn kube_config_as(&self, user: &str) -> Result<Config, AccessError> {
        let config = self.identity.config(user, &self.address);
        config.ok_or_else(|| AccessError::UnknownUser(user.to_owned()))
    }

    /// Path of a kubeconfig with the rights of a user, [`super::ADMIN`] or one of the options.
    ///
    /// # Errors
    ///
    /// When the user was not among the options.
    pub fn kubeconfig(&self, user: &str) -> Result<PathBuf, AccessError> {
        let path = self.identity.kubeconfig(user).map(Path::to_owned);
        path.ok_or_else(|| AccessError::UnknownUser(user.to_owned()))
    }

    /// kubectl with all rights. For Tokio: `tokio::process::Command::from(plane.kubectl())`.
    #[must_use]
    pub fn kubectl(&self) -> Command {
        self.command(self.kubectl_path())
    }

    /// Helm with all rights.
    ///
    /// # Errors
    ///
    /// When it is not there (run `make tools`).
    pub fn helm(&self) -> Result<Command, ToolError> {
        tool("helm").map(|path| self.command(&path))
    }

    /// Applies objects (one or more YAML documents) with all rights and, if there are CRDs among them, waits
    /// until those are served. Objects of a new kind go into a later call.
    ///
    /// # Errors
    ///
    /// When kubectl cannot be run or the API server refuses an object; the error says why.
    pub async fn apply_yaml(&self, yaml: &str) -> Result<(), AccessError> {
        let applied = self.run_kubectl(&["apply", "--server-side", "-o", "name", "-f", "-"], yaml).await?;
        let crds: Vec<&str> = applied.lines().filter(|name| name.starts_with(CRD)).collect();
        if !crds.is_empty() {
            let wait = ["wait", "--for=condition=Established", "--timeout=60s"];
            self.run_kubectl(&[&wait, crds.as_slice()].concat(), "").await?;
        }
        Ok(())
    }

    async fn run_kubectl(&self, args: &[&str], input: &str) -> Result<String, AccessError> {
        let mut child = tokio::process::Command::from(self.kubectl())
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            // It fails when kubectl gives up early; its own words say more.
            let _ = stdin.write_all(input.as_bytes()).await;
        }
        let output = child.wait_with_output().await?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(AccessError::Failed { verb: args.first().copied().unwrap_or_default().to_owned(), said })
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env("KUBECONFIG", self.identity.admin_kubeconfig());
        // kubectl remembers a server's API by its address, and ports come back.
        command.env("KUBECACHEDIR", self.folder().join("kubectl-cache"));
        command
    }
}

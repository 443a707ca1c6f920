//! Finds the programs that `make tools` built, or those of a Kubernetes distribution.

use std::{
    env,
    fmt::Write as _,
    fs, io,
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

/// The pins that name the folder: every checkout with the same pins shares one set of programs.
const PINS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tools/go.sum");

/// Bytes of the hash in the folder's name (12 hex digits); `tools/build.sh` uses the same.
const HASH_BYTES: usize = 6;

/// Why a program was not found.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// Nobody has built it yet.
    #[error("{name} is in none of {}: run `make tools`", display(.searched))]
    Missing {
        /// The program asked for.
        name: String,
        /// The folders looked at, in order.
        searched: Vec<PathBuf>,
    },
    /// The folder's name could not be computed.
    #[error("cannot read the pins of the tools in {PINS}")]
    Pins(#[source] io::Error),
    /// There is no place for a cache.
    #[error("neither XDG_CACHE_HOME nor HOME is set: set one, or CONTROL_PLANE_TOOLS")]
    NoHome,
}

/// Path of a program: `etcd`, `kube-apiserver`, `kube-controller-manager`, `kubectl`, `helm` or `kubeconform`.
///
/// # Errors
///
/// When it is in neither of the two folders; the text says what to run.
pub fn tool(name: &str) -> Result<PathBuf, ToolError> {
    let mut folders: Vec<PathBuf> =
        env::var_os("KUBEBUILDER_ASSETS").map(PathBuf::from).into_iter().collect();
    folders.push(built_tools()?);
    find(name, folders)
}

fn find(name: &str, folders: Vec<PathBuf>) -> Result<PathBuf, ToolError> {
    folders
        .iter()
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
        .ok_or_else(|| ToolError::Missing { name: name.to_owned(), searched: folders })
}

fn built_tools() -> Result<PathBuf, ToolError> {
    if let Some(folder) = env::var_os("CONTROL_PLANE_TOOLS") {
        return Ok(folder.into());
    }
    let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = set("XDG_CACHE_HOME")
        .or_else(|| set("HOME").map(|home| home.join(".cache")))
        .ok_or(ToolError::NoHome)?;
    let pins = fs::read(Path::new(PINS)).map_err(ToolError::Pins)?;
    Ok(cache.join("functiongraph-operator").join(format!("tools-{}", short_hash(&pins))))
}

fn short_hash(pins: &[u8]) -> String {
    Sha256::digest(pins).iter().take(HASH_BYTES).fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}"); // a String takes every write
        hex
    })
}

fn display(folders: &[PathBuf]) -> String {
    folders.iter().map(|folder| folder.display().to_string()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_folder_that_has_the_program_wins() {
        let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let folders = || vec![first.path().to_owned(), second.path().to_owned()];
        fs::write(second.path().join("etcd"), "").unwrap();
        assert_eq!(find("etcd", folders()).unwrap(), second.path().join("etcd"));
        fs::write(first.path().join("etcd"), "").unwrap();
        assert_eq!(find("etcd", folders()).unwrap(), first.path().join("etcd"));
    }

    #[test]
    fn a_missing_program_comes_with_the_way_to_get_it() {
        let error = find("etcd", vec!["/nowhere".into()]).unwrap_err();
        assert_eq!(error.to_string(), "etcd is in none of /nowhere: run `make tools`");
    }

    #[test]
    fn the_folder_is_named_like_sha256sum_would() {
        assert_eq!(short_hash(b""), "e3b0c44298fc");
    }
}

//! The user's code behind a function.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A program that the emulator starts, one process for each instance, on this machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Run {
    /// The program and its arguments. `{port}` in them becomes the port.
    pub command: Vec<String>,
    /// The port at which the program listens; absent: a free one for each process, in the variable `PORT`. With a fixed
    /// port there can be only one process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The working folder of the program, relative to that of the configuration file; absent: the latter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory: Option<PathBuf>,
    /// Variables in addition to those of the emulator.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
}

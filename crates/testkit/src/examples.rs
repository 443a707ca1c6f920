//! The manifests in `examples/`, the local FunctionGraph that they are applied to, and where each of them ends.

mod board;
mod manifests;
mod plan;

pub use board::{Board, Mismatch, Row};
pub use manifests::{Error, FOLDER, Manifests, list};
pub use plan::{Deed, Plan};

use functiongraph_emulator::{Config, ConfigError};
use std::path::Path;

/// The functions, faults and credentials that the examples use.
///
/// # Errors
/// When the file is not what it should be.
pub fn emulator_config() -> Result<Config, ConfigError> {
    let mut config = Config::from_yaml(include_str!("../../../examples/demo/emulator.yaml"))?;
    config.run_from(&Path::new(FOLDER).join("demo"));
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_can_be_handed_to_a_pod() {
        let config = emulator_config().unwrap();
        assert!(config.faults.len() > 5 && config.functions.iter().any(|function| function.run.is_some()));
        assert_eq!(Config::from_yaml(&serde_json::to_string(&config).unwrap()).unwrap(), config);
    }
}

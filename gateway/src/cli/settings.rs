//! Where the commands find the configuration, and through it the gate's directories.

use std::path::{Path, PathBuf};

use crate::config::{Config, Faults, LoadArgs, Loaded};

/// Loads the configuration with its drop-ins and the environment; the packaged file where none is named.
///
/// # Errors
/// All its faults at once.
pub fn load(file: Option<&Path>) -> Result<Loaded, Faults> {
    Config::load(&LoadArgs::of_process(file.map(Path::to_owned)))
}

/// The directory of the running gate's sockets.
///
/// # Errors
/// When the configuration has faults.
pub fn runtime_dir(file: Option<&Path>) -> Result<PathBuf, Faults> {
    Ok(load(file)?.config.gate.runtime_dir)
}

/// The directory of the journal.
///
/// # Errors
/// When the configuration has faults.
pub fn state_dir(file: Option<&Path>) -> Result<PathBuf, Faults> {
    Ok(load(file)?.config.gate.state_dir)
}

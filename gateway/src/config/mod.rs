//! The configuration: read whole, checked whole, reported whole.
//!
//! ```text
//!   built-in defaults ◄ segel.toml ◄ segel.d/*.toml ◄ SEGEL_SECTION__KEY      (the later one wins, key by key)
//!        keys.rs           └──────── source.rs, syntax.rs ─┐    │
//!                                                      layer.rs ┘  each layer checked by itself: types, ranges, names
//!                                                       merge.rs   laid over each other
//!                                                       rules.rs   what is missing, what contradicts itself
//!                                                      settings.rs the types the gate reads
//!
//!   gate.seals_file ──► register.rs ──► seals.rs ◄── seal_keys.rs ◄── gate.seal_keys       one file each, no layers
//! ```
//!
//! What must hold: a fault never hides another one; every fault has its file and line (or variable), key, value and
//! remedy; no input, however broken, panics or takes unbounded memory; a secret is never shown. A configuration
//! that loads is complete, in range and free of contradictions, so nobody behind it checks again.
//!
//! Tables merge over the layers and single values are replaced; no key of the main configuration is a list. The
//! register of seals (`gate.seals_file`) is one file and has no layers.

mod fault;
mod keys;
mod layer;
mod load;
mod mask;
mod merge;
mod names;
mod origin;
mod register;
mod rules;
mod seal_keys;
mod seals;
mod settings;
mod source;
mod suggest;
mod syntax;
mod units;

pub use fault::{FAULTS_MAX, Fault, Faults, Position};
pub use load::{DROP_IN_FOLDER, DROP_INS_MAX, LoadArgs, Loaded, MAIN_FILE};
pub use names::{GateId, Lane, NameError, OfficeCode, PasswordHash, SiteCode, TimeZoneName, TpsCode, Transport, UplinkUrl, UserName};
pub use origin::{InForce, Origin, Origins};
pub use seal_keys::{KEY_FILE_MAX_BYTES, KEY_FILES_MAX};
pub use seals::{RegisteredSeal, SealRegister};
pub use settings::{
    BleAdapter, BrokerSettings, ClockSettings, Config, Dialect, GateSettings, JournalSettings, LogFormat, LogLevel, LogSettings, ReadMode,
    Reader, ReopenSettings, SessionSettings, SimulatedAir, ThinningSettings, UhfReader, UplinkSettings,
};
pub use source::{CONFIG_FILE_MAX_BYTES, SEALS_FILE_MAX_BYTES};

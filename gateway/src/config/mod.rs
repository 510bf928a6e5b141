//! The configuration: read whole, checked whole, reported whole.
//!
//! ```text
//!   built-in defaults ◄ segel.toml ◄ segel.d/*.toml ◄ SEGEL_SECTION__KEY      (the later one wins, key by key)
//! ```

mod names;
mod seals;
mod settings;
mod units;

pub use names::{GateId, Lane, NameError, OfficeCode, PasswordHash, SiteCode, TimeZoneName, TpsCode, Transport, UplinkUrl, UserName};
pub use seals::{RegisteredSeal, SealKey, SealRegister};
pub use settings::{
    BleAdapter, BrokerSettings, ClockSettings, Config, Dialect, GateSettings, JournalSettings, LogFormat, LogLevel, LogSettings, ReadMode,
    Reader, ReopenSettings, SimulatedAir, ThinningSettings, UhfReader, UplinkSettings,
};

//! Room for the journal: foretold, watched, told.
//!
//! ```text
//!   statvfs (may hang) ─► Disk ─► Forecast ─┐
//!                                           ├─► Levels ─► the journal is told how much room there is
//!   journal's standing ─────────────────────┤       └───► STORAGE_LOW, _SCARCE, _FAILED (alarms), _RECOVERED (receipt)
//!                                           └─► Refusal ─► JOURNAL_REFUSED (alarm), when it can be recorded again
//! ```
//!
//! What must hold: a full disk is an alarm before it is a fact; each change is one event; whoever watches never waits for
//! the disk it watches; what cannot be recorded is shown at once, and recorded when it can be.
//!
//! Not here: who is refused what while room is scarce (the journal), and the disk of the archive.

pub mod disk;
pub mod forecast;
pub mod levels;
mod notices;
pub mod refusal;
pub mod timely;
mod watch;

pub(crate) use levels::INODES_LOW;
pub(crate) use watch::{ANSWER, COMMIT_WITHIN, LOOK};
pub use watch::{Limits, SpaceStanding, SpaceWatch};

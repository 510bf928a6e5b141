//! The archive: delivered events leave the database into sealed segments that need no program of ours to be read.
//!
//! ```text
//!   {archive_dir}/{site}-{gate}/{journal}/alarm-000000000001-000000050000.jsonl           the documents, one per line
//!                                         alarm-000000000001-000000050000.manifest.json   what they are, by digest
//!                                         alarm-000000000001-000000050000.manifest.json.sig   who vouches for it, later
//!
//!   journal ──Survey──► what is due ──seal──► .part ──► names ──read back──► put_away ──► rows deleted in small steps
//! ```
//!
//! What must hold: an event leaves the database only after its segment was written, made durable, and read back and
//! compared with its manifest; what nobody has confirmed, what is younger than the retention, and anything at all while
//! our clock is not to be trusted stays; a crash or a stop between any two steps loses nothing and the next run goes on;
//! nothing that holds documents is ever deleted from an archive.
//!
//! Not here: deleting rows (the journal does, after `put_away`), when to look ([`crate::gate`]), and signatures.

pub mod due;
pub mod errand;
mod error;
mod housekeeping;
mod lines;
mod manifest;
mod place;
mod round;
mod seal;
mod shelf;
#[cfg(test)]
mod tests;

pub use error::ArchiveError;
pub use housekeeping::{Busy, Demand, Housekeeping};
pub use manifest::{FORM, MANIFEST_MAX, Manifest, ManifestError, PROGRAM, SegmentName};
pub use place::{Medium, Place};
pub use round::{Archivist, Counting, Older};
pub use seal::{Order, Sealed, Step, seal};
pub use shelf::{ClassOnShelf, JournalOnShelf, Looked, ShelfFault, ShelfReport, verify, verify_into};

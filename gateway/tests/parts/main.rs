//! The parts of the gate, each against the real journal.

#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod commands;
mod forward_upstream;
mod ingest_judge;
mod ingest_seals;
mod ingest_task;
mod memory;
mod space_watch;
mod support;

//! The gate: what happens at it, kept where nothing is lost.

pub mod cli;
pub mod event;
pub mod journal;

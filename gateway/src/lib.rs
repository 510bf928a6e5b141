//! The gate: what a radio heard becomes an event, and an event reaches customs.

pub mod cli;
pub mod config;
pub mod container;
pub mod event;
pub mod journal;

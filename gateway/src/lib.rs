//! The gate: what a radio heard becomes an event, and an event reaches customs.
//!
//! [`gate`] wires the parts and reads as the diagram of the house; every other module is one part.

pub mod api;
pub mod archive;
pub mod cli;
pub mod clock;
pub mod commands;
pub mod config;
pub mod container;
pub mod daemon;
pub mod demo;
pub mod event;
pub mod forward;
pub mod gate;
pub mod health;
pub mod ingest;
pub mod journal;
pub mod seals;
pub mod sessions;
pub mod space;
pub mod status;

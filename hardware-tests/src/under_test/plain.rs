//! A plain SQLite writer that may be told to sync less than it promises: what a power cut must be able to catch.

use std::path::Path;

use clap::{Args, ValueEnum};
use rusqlite::{Connection, params};
use segel_hardware_tests::witness::Said;

/// How it writes.
#[derive(Debug, Args)]
pub(super) struct Order {
    /// When SQLite syncs.
    #[arg(long)]
    synchronous: Synchronous,
    /// Rows from this number on.
    #[arg(long, default_value_t = 1)]
    from: u64,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Synchronous {
    /// Never.
    Off,
    /// With a write-ahead log, at a checkpoint.
    Normal,
    /// At every commit.
    Full,
}

/// Writes one row after the other until it dies; says the number of each after its commit.
pub(super) fn run(dir: &Path, order: &Order) -> anyhow::Result<()> {
    let connection = Connection::open(dir.join("plain.db"))?;
    let synchronous = match order.synchronous {
        Synchronous::Off => "OFF",
        Synchronous::Normal => "NORMAL",
        Synchronous::Full => "FULL",
    };
    connection.execute_batch(&format!("PRAGMA journal_mode = WAL; PRAGMA synchronous = {synchronous};"))?;
    connection.execute_batch("CREATE TABLE IF NOT EXISTS row (number INTEGER PRIMARY KEY, text TEXT)")?;
    // Where a row can be, the name of the file is durable: the control is about rows.
    std::fs::File::open(dir)?.sync_all()?;
    for number in order.from.. {
        connection.execute("INSERT INTO row (number, text) VALUES (?1, ?2)", params![number.cast_signed(), "x".repeat(200)])?;
        Said::Noted("plain".to_owned(), number).say();
    }
    Ok(())
}

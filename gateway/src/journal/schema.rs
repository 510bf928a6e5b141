//! The tables, their version, and the settings of every connection.
//!
//! What must hold: the schema only ever grows; a journal of an older version is brought up to this one in a single
//! transaction when it is opened for writing, and read as it is by readers; one of a newer version is read when it says
//! that this version can, and never written. An auditor opens the file with any SQLite tool: `class` is 0 alarm, 1 receipt, 2 telemetry; `wall` is
//! milliseconds since 1970 UTC; `mono` milliseconds since the boot named in `boot`; `doc` the bytes as sent; `digest`
//! their SHA-256; `octets` the bytes of all documents of the class up to and including this one, so that what is held
//! is a subtraction and never a scan. Rows of `event` keep the order of recording in their rowid.
//!
//! Measured (release, ext4, 520-byte documents, 2 MiB cache, beside a bare file with fdatasync in the same run): a
//! single insert took 0.77 times the bare file with this table alone and 0.82 times with the index by subject, whether
//! the table has a rowid or not; the rowid form writes less and does not spill documents above a kilobyte. A larger
//! cache changed nothing. Through the writer's thread an append took 0.96 times the bare file (p50 206 us; p99 0.8 ms,
//! a checkpoint), pipelined telemetry reached 48,000 events/s, and the process stayed below 10 MB.

use rusqlite::Connection;

/// `SEGL`: which program's file this is.
pub(super) const APPLICATION_ID: i64 = 0x5345_474C;
/// The schema this version writes.
pub(super) const VERSION: i64 = 2;
/// The oldest version that can still read what this one writes; kept in the file, so that a later version can say it
/// to an earlier one.
const READABLE_FROM: i64 = 1;
/// Under this key of `meta`.
const READABLE_FROM_KEY: &str = "readable_from";
/// The database's name in the state directory.
pub(super) const FILE: &str = "journal.db";

/// Page cache of the writer in KiB. The rightmost pages of each tree are all it needs.
const WRITER_CACHE_KIB: i64 = 2048;
/// Page cache of a reader in KiB: it reads forward and comes back seldom.
const READER_CACHE_KIB: i64 = 512;
/// How long a connection waits for a foreign program's lock, in milliseconds. Nobody else has a reason to lock.
const BUSY_MS: u64 = 2_000;
/// The log is given back to the database file after so many pages of 4 KiB: bounds its size and the work after a crash.
const CHECKPOINT_PAGES: i64 = 1_000;
/// How SQLite numbers `synchronous = FULL`.
const SYNCHRONOUS_FULL: i64 = 2;
/// A log that grew beyond this many bytes behind a long reader is cut back to it.
const LOG_LIMIT_BYTES: i64 = 8 * 1024 * 1024;

/// The tables of version 1. Frozen: later versions add, none changes.
pub(super) const SCHEMA: &str = "\
CREATE TABLE meta (
  key TEXT NOT NULL PRIMARY KEY,
  value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE event (
  class INTEGER NOT NULL,
  seq INTEGER NOT NULL,
  id BLOB NOT NULL,
  boot BLOB NOT NULL,
  wall INTEGER NOT NULL,
  mono INTEGER NOT NULL,
  type TEXT NOT NULL,
  subject TEXT NOT NULL,
  container TEXT,
  doc BLOB NOT NULL,
  digest BLOB NOT NULL,
  octets INTEGER NOT NULL,
  PRIMARY KEY (class, seq)
) STRICT;
CREATE INDEX event_subject ON event (subject);
CREATE TABLE cursor (
  outlet TEXT NOT NULL,
  class INTEGER NOT NULL,
  seq INTEGER NOT NULL,
  skipped INTEGER NOT NULL,
  PRIMARY KEY (outlet, class)
) STRICT, WITHOUT ROWID;
CREATE TABLE dropped (
  class INTEGER NOT NULL PRIMARY KEY,
  last INTEGER NOT NULL,
  bytes INTEGER NOT NULL,
  digest BLOB NOT NULL
) STRICT;
CREATE TABLE note (
  kind TEXT NOT NULL,
  key TEXT NOT NULL,
  value BLOB NOT NULL,
  PRIMARY KEY (kind, key)
) STRICT, WITHOUT ROWID;
";

/// What version 2 adds: what went to the archive, and what was refused. Frozen: later versions add, none changes.
///
/// A row of `dropped` is the *front* of its class: the last number whose row is gone. Of everything up to it, `archived`
/// numbers are in segments and the others were dropped; `run` is the first number of the unbroken run of dropped ones
/// that ends at the front, 0 when the front was archived.
const GROWTH_2: &str = "\
ALTER TABLE dropped ADD COLUMN archived INTEGER NOT NULL DEFAULT 0;
ALTER TABLE dropped ADD COLUMN archived_bytes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE dropped ADD COLUMN run INTEGER NOT NULL DEFAULT 1;
CREATE TABLE segment (
  class INTEGER NOT NULL,
  first INTEGER NOT NULL,
  last INTEGER NOT NULL,
  count INTEGER NOT NULL,
  bytes INTEGER NOT NULL,
  octets INTEGER NOT NULL,
  digest BLOB NOT NULL,
  name TEXT NOT NULL,
  manifest BLOB NOT NULL,
  place TEXT NOT NULL,
  PRIMARY KEY (class, first)
) STRICT, WITHOUT ROWID;
CREATE TABLE refused (
  class INTEGER NOT NULL PRIMARY KEY,
  count INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
";

/// Brings the tables of version `from` up to this version, within the caller's transaction.
pub(super) fn grow(connection: &Connection, from: i64) -> Result<(), rusqlite::Error> {
    if from < 2 {
        connection.execute_batch(GROWTH_2)?;
    }
    connection.execute(
        "INSERT INTO meta (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        rusqlite::params![READABLE_FROM_KEY, READABLE_FROM.to_string()],
    )?;
    connection.pragma_update(None, "user_version", VERSION)
}

/// Whether this version can read a file of `version`: its own, older ones, and newer ones that say so.
pub(super) fn can_read(connection: &Connection, version: i64) -> Result<bool, rusqlite::Error> {
    use rusqlite::OptionalExtension as _;
    if version <= VERSION {
        return Ok(true);
    }
    let from: Option<String> =
        connection.query_row("SELECT value FROM meta WHERE key = ?1", [READABLE_FROM_KEY], |row| row.get(0)).optional()?;
    Ok(from.and_then(|from| from.parse::<i64>().ok()).is_some_and(|from| from <= VERSION))
}

/// Settings that touch no file, for one that may be anything.
pub(super) fn prepare_any(connection: &Connection) -> Result<(), rusqlite::Error> {
    connection.busy_timeout(std::time::Duration::from_millis(BUSY_MS))?;
    connection.execute_batch("PRAGMA trusted_schema = OFF;")
}

/// Settings of a file without a first page yet; later they could not be made, and trying would write.
pub(super) fn prepare_file(connection: &Connection) -> Result<(), rusqlite::Error> {
    connection.execute_batch("PRAGMA auto_vacuum = INCREMENTAL;")
}

/// Settings of the writing connection, once the file is known to be a journal. None of them writes to a journal that is there already.
pub(super) fn prepare_writer(connection: &Connection) -> Result<(), rusqlite::Error> {
    connection.execute_batch(&format!(
        "PRAGMA journal_mode = WAL;
         PRAGMA synchronous = FULL;
         PRAGMA temp_store = MEMORY;
         PRAGMA cache_size = -{WRITER_CACHE_KIB};
         PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES};
         PRAGMA journal_size_limit = {LOG_LIMIT_BYTES};"
    ))
}

/// Whether the file system took the settings the promise of durability rests on.
pub(super) fn is_durable(connection: &Connection) -> Result<bool, rusqlite::Error> {
    let mode: String = connection.query_row("PRAGMA journal_mode", [], |row| row.get(0))?;
    let synchronous: i64 = connection.query_row("PRAGMA synchronous", [], |row| row.get(0))?;
    Ok(mode == "wal" && synchronous == SYNCHRONOUS_FULL)
}

/// Settings of a reading connection.
pub(super) fn prepare_reader(connection: &Connection) -> Result<(), rusqlite::Error> {
    connection.busy_timeout(std::time::Duration::from_millis(BUSY_MS))?;
    connection.execute_batch(&format!(
        "PRAGMA query_only = ON;
         PRAGMA trusted_schema = OFF;
         PRAGMA temp_store = MEMORY;
         PRAGMA cache_size = -{READER_CACHE_KIB};"
    ))
}

/// Version of the tables, as it is now: a reader may have been open while they grew.
pub(super) fn version(connection: &Connection) -> Result<i64, rusqlite::Error> {
    connection.prepare_cached("PRAGMA user_version")?.query_row([], |row| row.get(0))
}

/// Identity and version in the file's header.
pub(super) fn header(connection: &Connection) -> Result<(i64, i64), rusqlite::Error> {
    let application = connection.query_row("PRAGMA application_id", [], |row| row.get(0))?;
    let version = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    Ok((application, version))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Do not change this test. Journals with this schema are in the field.
    #[test]
    fn the_schema_of_version_1_is_frozen() {
        assert_eq!(
            crate::event::Digest::of(SCHEMA.as_bytes()).to_string(),
            "0177510a16f2c4b31ea86f7751fa6f0a1ae201e1bff1e147c396ed9e5863b5eb"
        );
    }

    /// Do not change this test. Journals with this schema are in the field.
    #[test]
    fn what_version_2_adds_is_frozen() {
        assert_eq!(
            crate::event::Digest::of(GROWTH_2.as_bytes()).to_string(),
            "6d359d1167546062ab787d624adb63ce866881cdd240eae3a8e218b7e70375fa"
        );
    }
}

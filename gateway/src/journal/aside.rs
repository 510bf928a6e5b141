//! Setting a journal aside, whole, so that it stays evidence, and telling the next one what it succeeds.
//!
//! ```text
//!   journal.db …  ──1──► journal.condemned (why, where to) ──2──► parts renamed into journal.damaged-TIME/
//!                  ──3──► journal.condemned becomes journal.damaged-TIME.unclaimed ──► the new journal adopts it, then removes it
//! ```
//!
//! What must hold: killed between any two steps, the next opening goes on where this one was; the parts stay together
//! and nothing in them is changed; what was set aside is forgotten by nobody before the new journal has written it down.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;

use super::{JournalError, mark, schema};

/// What SQLite keeps beside a database: its log, the index of the log, and the journal of other modes.
const LOGS: [&str; 3] = ["-wal", "-shm", "-journal"];
/// The mark of a journal that is to be set aside: why, and where to.
const MARK: &str = "journal.condemned";
/// The end of the name of what tells the next journal that it succeeds one.
const UNCLAIMED: &str = ".unclaimed";
/// As many names are tried within one second.
const NAMES_MAX: u32 = 100;
/// More than this of a reason is not read.
const REASON_MAX: u64 = 2_000;
/// The reason when a mark gives none.
const WHILE_WRITING: &str = "it was found damaged while it was being written";

/// A journal that was set aside and that no other has taken note of yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unclaimed {
    /// Where it is.
    pub(super) to: PathBuf,
    /// Why, in one sentence.
    pub(super) reason: String,
}

/// Whether each part can be looked for. One that cannot be found because the disk fails is not a missing one, and nothing
/// may be concluded from it.
pub(super) fn look(dir: &Path) -> Result<(), JournalError> {
    for path in [""].iter().chain(&LOGS).map(|suffix| part(dir, suffix)) {
        path.try_exists().map_err(|source| JournalError::Place { path, source: Arc::new(source) })?;
    }
    Ok(())
}

/// Whether a log or index lies there without its database.
pub(super) fn is_orphaned(dir: &Path) -> bool {
    !part(dir, "").exists() && LOGS.iter().any(|suffix| part(dir, suffix).exists())
}

/// A part of the database that is no file, in words; nothing can be opened beside it.
pub(super) fn no_file(dir: &Path) -> Option<String> {
    let strange = |suffix: &&str| fs::metadata(part(dir, suffix)).is_ok_and(|found| !found.is_file());
    let suffix = [""].iter().chain(&LOGS).find(|suffix| strange(suffix))?;
    Some(format!("in the place of {}{suffix} is something that is no file", schema::FILE))
}

/// Whether the database is empty while its log is not: SQLite would take such a log for a leftover and delete it.
pub(super) fn is_emptied(dir: &Path) -> bool {
    let length = |suffix| fs::metadata(part(dir, suffix)).map_or(0, |file| file.len());
    part(dir, "").exists() && length("") == 0 && length("-wal") > 0
}

/// Whether the log is there.
pub(super) fn log(dir: &Path) -> mark::Log {
    if part(dir, "-wal").exists() { mark::Log::There } else { mark::Log::Missing }
}

/// Whether nothing is left in the log: it is empty, or gone.
pub(super) fn is_log_empty(dir: &Path) -> bool {
    match fs::metadata(part(dir, "-wal")) {
        Ok(log) => log.len() == 0,
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

/// Marks the journal there as one to be set aside, durably. A mark that is there already keeps its reason.
pub(super) fn condemn(dir: &Path, reason: Option<&str>) -> Result<(), JournalError> {
    if is_marked(dir) {
        return Ok(());
    }
    write(dir, reason.unwrap_or(WHILE_WRITING), None)
}

/// Whether the journal there is to be set aside.
pub(super) fn is_marked(dir: &Path) -> bool {
    dir.join(MARK).exists()
}

/// Moves the database with its log and its mark into a directory of its own, named by the time. A reason given before
/// wins.
pub(super) fn set_aside(dir: &Path, now: Timestamp, reason: &str) -> Result<Unclaimed, JournalError> {
    let (given, begun) = read(dir);
    let reason = given.unwrap_or_else(|| reason.to_owned());
    let begun = begun.filter(|to| to.is_dir() && !parts(dir).iter().any(|part| to.join(part).exists()));
    let to = match begun {
        Some(to) => to,
        None => {
            let to = new_directory(dir, now)?;
            if let Err(fault) = write(dir, &reason, Some(&to)) {
                // Nothing is in it yet.
                let _ = fs::remove_dir(&to);
                return Err(fault);
            }
            to
        }
    };
    for part in parts(dir) {
        let from = dir.join(&part);
        fs::rename(&from, to.join(&part)).map_err(|source| JournalError::Place { path: from, source: Arc::new(source) })?;
    }
    sync(&to)?;
    sync(dir)?;
    let (from, next) = (dir.join(MARK), unclaimed_name(&to));
    fs::rename(&from, &next).map_err(|source| JournalError::Place { path: from, source: Arc::new(source) })?;
    sync(dir)?;
    Ok(Unclaimed { to, reason })
}

/// What was set aside and is not adopted yet, the oldest first.
pub(super) fn unclaimed(dir: &Path) -> Vec<Unclaimed> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let mut names: Vec<_> = names.filter_map(|name| name.strip_suffix(UNCLAIMED).map(str::to_owned)).collect();
    names.sort();
    let found = |name: String| {
        let to = dir.join(name);
        let reason = text(&unclaimed_name(&to)).lines().next().unwrap_or(WHILE_WRITING).to_owned();
        Unclaimed { to, reason }
    };
    names.into_iter().map(found).collect()
}

/// The new journal has taken note of it.
pub(super) fn claimed(dir: &Path, unclaimed: &Unclaimed) -> Result<(), JournalError> {
    remove(&unclaimed_name(&unclaimed.to))?;
    sync(dir)
}

/// Removes a file that may be gone already.
pub(super) fn remove(path: &Path) -> Result<(), JournalError> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(JournalError::Place { path: path.to_owned(), source: Arc::new(source) })
        }
        _ => Ok(()),
    }
}

fn unclaimed_name(to: &Path) -> PathBuf {
    let mut name = to.as_os_str().to_owned();
    name.push(UNCLAIMED);
    PathBuf::from(name)
}

/// Names of what belongs to the journal and is there; the database first.
fn parts(dir: &Path) -> Vec<String> {
    let logs = LOGS.iter().map(|suffix| format!("{}{suffix}", schema::FILE));
    let all = [schema::FILE.to_owned()].into_iter().chain(logs).chain([mark::FILE.to_owned()]);
    all.filter(|name| dir.join(name).symlink_metadata().is_ok()).collect()
}

/// The reason and the place in the mark, as far as they can be read. Two lines; an empty mark gives neither.
fn read(dir: &Path) -> (Option<String>, Option<PathBuf>) {
    if !is_marked(dir) {
        return (None, None);
    }
    let text = text(&dir.join(MARK));
    let mut lines = text.lines().filter(|line| !line.is_empty());
    let reason = lines.next().map_or_else(|| WHILE_WRITING.to_owned(), str::to_owned);
    let to = lines.next().filter(|name| name.starts_with(STEM) && !name.contains('/')).map(|name| dir.join(name));
    (Some(reason), to)
}

fn text(path: &Path) -> String {
    let mut bytes = Vec::new();
    // What cannot be read gives no reason; that it is there says enough.
    let _ = fs::File::open(path).and_then(|file| file.take(REASON_MAX).read_to_end(&mut bytes));
    String::from_utf8_lossy(&bytes).into_owned()
}

fn write(dir: &Path, reason: &str, to: Option<&Path>) -> Result<(), JournalError> {
    let path = dir.join(MARK);
    let place = |source| JournalError::Place { path: path.clone(), source: Arc::new(source) };
    let name = to.and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let text = format!("{}\n{name}\n", reason.replace(['\n', '\r'], " "));
    // Beside it first: a mark that is there must not become empty, and lose its reason, by being written anew.
    let new = dir.join(format!("{MARK}.new"));
    let written = fs::File::create(&new).and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()));
    match written {
        Ok(()) => fs::rename(&new, &path).map_err(place)?,
        // Without the place a kill between two renames would leave database and log in two directories.
        Err(source) if to.is_some() => return Err(place(source)),
        // On a full disk an empty file can often still be made, and that it is there is what counts.
        Err(_) => fs::OpenOptions::new().create(true).append(true).open(&path).and_then(|file| file.sync_all()).map_err(place)?,
    }
    sync(dir)
}

fn part(dir: &Path, suffix: &str) -> PathBuf {
    dir.join(format!("{}{suffix}", schema::FILE))
}

/// How the name of a directory with a journal that was set aside begins.
const STEM: &str = "journal.damaged-";

fn new_directory(dir: &Path, now: Timestamp) -> Result<PathBuf, JournalError> {
    let stem = format!("{STEM}{}", now.strftime("%Y%m%dT%H%M%SZ"));
    let mut try_name = stem.clone();
    for number in 2..NAMES_MAX {
        let path = dir.join(&try_name);
        match fs::create_dir(&path) {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => try_name = format!("{stem}-{number}"),
            Err(source) => return Err(JournalError::Place { path, source: Arc::new(source) }),
        }
    }
    let source = Arc::new(io::Error::other("too many damaged journals within one second"));
    Err(JournalError::Place { path: dir.join(stem), source })
}

/// Makes the directory of the journal if it is missing, durably: what is acknowledged in it must not vanish with its name.
pub(super) fn make(dir: &Path) -> Result<(), JournalError> {
    let missing: Vec<_> = dir.ancestors().take_while(|path| !path.as_os_str().is_empty() && !path.exists()).collect();
    fs::create_dir_all(dir).map_err(|source| JournalError::Place { path: dir.to_owned(), source: Arc::new(source) })?;
    let parent = |path: &Path| path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned();
    if missing.is_empty() {
        // An earlier life may have made it and been killed before this. One that is old may lie in what is not ours to open.
        drop(sync(&parent(dir)));
    }
    for made in missing {
        sync(&parent(made))?;
    }
    Ok(())
}

/// Makes names in this directory durable.
pub(super) fn sync(dir: &Path) -> Result<(), JournalError> {
    let place = |source| JournalError::Place { path: dir.to_owned(), source: Arc::new(source) };
    fs::File::open(dir).and_then(|directory| directory.sync_all()).map_err(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_moved_before_it_is_written_down_where_to() {
        let dir = tempfile::tempdir().unwrap();
        for file in ["journal.db", "journal.db-wal"] {
            fs::write(dir.path().join(file), "evidence").unwrap();
        }
        // In its place nothing can be written.
        let barred = dir.path().join(format!("{MARK}.new"));
        fs::create_dir(&barred).unwrap();
        assert!(set_aside(dir.path(), Timestamp::UNIX_EPOCH, "it is damaged").is_err());
        let names = || fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect::<Vec<_>>();
        assert!(!names().iter().any(|name| name.starts_with(STEM)), "nothing is left lying about: {:?}", names());
        assert_eq!(parts(dir.path()), ["journal.db", "journal.db-wal"]);
        fs::remove_dir(barred).unwrap();
        let Unclaimed { to, .. } = set_aside(dir.path(), Timestamp::UNIX_EPOCH, "it is damaged").unwrap();
        assert_eq!(parts(&to), ["journal.db", "journal.db-wal"], "together");
    }
}

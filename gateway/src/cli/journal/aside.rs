//! Journals that were set aside as damaged, beside the one in use.

use std::path::{Path, PathBuf};

use super::say;

/// What their directories' names begin with.
const PREFIX: &str = "journal.damaged-";

/// Says where the set-aside journals are, when there are any: what somebody looks for may be there.
pub(super) fn mention(dir: &Path) {
    for aside in list(dir) {
        say(&format!("a journal that was set aside lies in {0}; look there with --state-dir {0}", aside.display()));
    }
}

fn list(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let mut found: Vec<_> = entries
        .flatten()
        .filter(|entry| entry.file_name().as_encoded_bytes().starts_with(PREFIX.as_bytes()))
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .collect();
    found.sort();
    found
}

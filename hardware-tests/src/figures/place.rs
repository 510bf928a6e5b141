//! Where the figures were taken: they mean nothing without it.

use std::{fmt, fs, path::Path, thread::available_parallelism};

/// The machine, the disk and how busy both are.
#[derive(Debug)]
pub(super) struct Place {
    cores: usize,
    processor: String,
    disk: String,
    dir: String,
}

impl Place {
    /// Of everything written under `dir`.
    pub(super) fn of(dir: &Path) -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let processor = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown");
        Self {
            cores: available_parallelism().map_or(0, usize::from),
            processor: processor.trim_start_matches([' ', '\t', ':']).to_owned(),
            disk: disk(dir),
            dir: dir.parent().unwrap_or(dir).display().to_string(),
        }
    }
}

/// The device and file system under `dir`: the longest mount point it lies below.
fn disk(dir: &Path) -> String {
    let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
    let words = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let below = words.filter(|words| words.len() > 2 && dir.starts_with(words[1]));
    match below.max_by_key(|words| words[1].len()) {
        Some(words) if words[2] == "tmpfs" => "tmpfs: NOTHING HERE IS DURABLE; name a disk in TMPDIR".to_owned(),
        Some(words) => format!("{} ({})", words[0], words[2]),
        None => "unknown".to_owned(),
    }
}

/// The load averages over 1, 5 and 15 minutes.
pub(super) fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').take(3).collect::<Vec<_>>().join(" ")
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let build = if cfg!(debug_assertions) { "NOT A RELEASE BUILD" } else { "release build" };
        write!(f, "{} cores ({}), load {}, disk {} under {}, {build}", self.cores, self.processor, load(), self.disk, self.dir)
    }
}

//! Where the figures were taken: they mean nothing without it.

use std::{fmt, fs, os::unix::fs::MetadataExt, path::Path, thread::available_parallelism};

/// The machine, the disk and how busy both are.
#[derive(Debug)]
pub(super) struct Place {
    cores: usize,
    processor: String,
    memory: String,
    kernel: String,
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
            memory: memory(),
            kernel: read_line("/proc/sys/kernel/osrelease"),
            disk: disk(dir),
            dir: dir.parent().unwrap_or(dir).display().to_string(),
        }
    }

    /// The same as lines of a page.
    pub(super) fn page(&self) -> String {
        let Self { cores, processor, memory, kernel, disk, dir } = self;
        format!(
            "- Machine: {cores} cores, {processor}, {memory} of memory, Linux {kernel}\n\
             - Disk: {disk}, under {dir}\n- {}, load at the start {}\n",
            build(),
            load()
        )
    }
}

fn memory() -> String {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = text.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.map_or_else(|| "an unknown amount".to_owned(), |kib| format!("{:.0} GB", kib as f64 * 1.024 / 1e6))
}

fn read_line(path: &str) -> String {
    fs::read_to_string(path).map_or_else(|_| "unknown".to_owned(), |text| text.trim().to_owned())
}

/// The device and file system under `dir` (the longest mount point it lies below), how it is mounted, and what the
/// kernel knows of the device.
fn disk(dir: &Path) -> String {
    let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
    let words = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let below = words.filter(|words| words.len() > 3 && dir.starts_with(words[1]));
    match below.max_by_key(|words| words[1].len()) {
        Some(words) if words[2] == "tmpfs" => "tmpfs: NOTHING HERE IS DURABLE; name a disk with --dir".to_owned(),
        Some(words) => format!("{} ({}, {}){}", words[0], words[2], words[3], device(dir)),
        None => "unknown".to_owned(),
    }
}

/// What the kernel says of the device under `dir`; nothing where it says nothing.
fn device(dir: &Path) -> String {
    let Some(device) = device_dir(dir) else { return String::new() };
    // A partition's own directory lies in that of the whole disk, which has these.
    let places = [device.clone(), format!("{device}/..")];
    let of = |name: &str| {
        let text = places.iter().find_map(|place| fs::read_to_string(format!("{place}/{name}")).ok())?;
        Some(text.trim().to_owned())
    };
    let mut told = String::new();
    if let Some(model) = of("device/model") {
        told.push_str(&format!(", {model}"));
    }
    if let Some(cache) = of("queue/write_cache") {
        told.push_str(&format!(", write cache: {cache}"));
    }
    told
}

/// The directory in `/sys` of the block device that holds `dir`; none for a file system without one.
pub(super) fn device_dir(dir: &Path) -> Option<String> {
    let number = fs::metadata(dir).ok()?.dev();
    let path = format!("/sys/dev/block/{}:{}", rustix::fs::major(number), rustix::fs::minor(number));
    Path::new(&path).exists().then_some(path)
}

/// The load averages over 1, 5 and 15 minutes.
pub(super) fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').take(3).collect::<Vec<_>>().join(" ")
}

fn build() -> &'static str {
    if cfg!(debug_assertions) { "NOT A RELEASE BUILD" } else { "release build" }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cores, processor, kernel, disk, dir, .. } = self;
        write!(f, "{cores} cores ({processor}), Linux {kernel}, load {}, disk {disk} under {dir}, {}", load(), build())
    }
}

//! A folder of configuration files to load, and the comparison with expected output.

use std::{
    fs,
    path::{Path, PathBuf},
};

use segel::{
    cli::{
        check::{self, Form},
        exit::Exit,
    },
    config::LoadArgs,
};

/// Enough to load: site, gate and a broker.
#[allow(dead_code, reason = "not every test starts from it")]
pub(crate) const MINIMAL: &str = "[gate]\nsite = \"idsrg\"\nid = \"g01\"\n[uplink]\nurl = \"mqtt://127.0.0.1:1884\"\n";

/// A folder with a main file, drop-ins and whatever else a test needs.
pub(crate) struct Folder {
    dir: tempfile::TempDir,
}

impl Folder {
    /// A folder with this main file.
    pub(crate) fn with(main: &str) -> Self {
        let folder = Self { dir: tempfile::tempdir().unwrap() };
        folder.write("segel.toml", main);
        folder
    }

    /// Writes one file, creating its folder.
    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    /// The path of a file in the folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// What to load: the main file of the folder and nothing of this process.
    pub(crate) fn args(&self) -> LoadArgs {
        LoadArgs::of_file(self.path("segel.toml"))
    }

    /// The report of `segel check`, the folder's name replaced by `DIR`.
    #[allow(dead_code, reason = "not every test prints")]
    pub(crate) fn check(&self, args: &LoadArgs, form: Form) -> (String, Exit) {
        let (text, exit) = check::report(args, form);
        (text.replace(self.dir.path().to_str().unwrap(), "DIR"), exit)
    }
}

/// Compares with `tests/config_snapshots/NAME`; with `UPDATE_SNAPSHOTS` set it is written instead.
#[allow(dead_code, reason = "not every test prints")]
pub(crate) fn matches_snapshot(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config_snapshots").join(name);
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        fs::write(&path, text).unwrap();
        return;
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    if expected == text {
        return;
    }
    let differs = expected.lines().zip(text.lines()).position(|(old, new)| old != new);
    let line = differs.unwrap_or_else(|| expected.lines().count().min(text.lines().count())) + 1;
    panic!("{} differs from line {line} on (UPDATE_SNAPSHOTS=1 rewrites it); it is now:\n{text}", path.display());
}

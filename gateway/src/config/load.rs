//! The one way from files and environment to a [`Config`].

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    fault::{Fault, Faults, Findings, Place},
    layer::Layer,
    merge::Merged,
    origin::Origins,
    register,
    rules::Rules,
    seal_keys,
    seals::SealRegister,
    settings::Config,
    source::{CONFIG_FILE_MAX_BYTES, Secrecy, SourceFile},
    syntax,
};

/// The main file of an installed gate.
pub const MAIN_FILE: &str = "/etc/segel/segel.toml";
/// The folder of drop-ins, beside the main file.
pub const DROP_IN_FOLDER: &str = "segel.d";
/// The most drop-ins read.
pub const DROP_INS_MAX: usize = 64;

/// What to load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadArgs {
    /// The main file.
    pub file: PathBuf,
    /// The environment; only variables that begin with `SEGEL_` are looked at.
    pub environment: Vec<(OsString, OsString)>,
}

impl LoadArgs {
    /// This file (or [`MAIN_FILE`]) and the environment of this process.
    #[must_use]
    pub fn of_process(file: Option<PathBuf>) -> Self {
        Self { environment: std::env::vars_os().collect(), ..Self::of_file(file.unwrap_or_else(|| MAIN_FILE.into())) }
    }

    /// This file, and nothing from the environment.
    #[must_use]
    pub fn of_file(file: impl Into<PathBuf>) -> Self {
        Self { file: file.into(), environment: Vec::new() }
    }

    /// With one more variable.
    #[must_use]
    pub fn with_variable(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }
}

/// A good configuration, and where it comes from.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// What the gate runs with.
    pub config: Config,
    /// Where every value of it comes from.
    pub origins: Origins,
    /// What was surprising; each has a place and a remedy as a fault has.
    pub warnings: Vec<Fault>,
}

impl Config {
    /// Reads, lays over each other and checks the main file, its drop-ins, the environment, the register of seals and
    /// their keys.
    ///
    /// # Errors
    /// [`Faults`] with every fault of every source; the gate must not start and starting again does not help.
    pub fn load(args: &LoadArgs) -> Result<Loaded, Faults> {
        let mut load = Load { findings: Findings::default(), merged: Merged::default(), whole: true, rank: 0 };
        let main = load.file(&args.file);
        let folder = args.file.parent().map_or_else(PathBuf::new, Path::to_owned);
        for path in load.drop_ins(&folder.join(DROP_IN_FOLDER)) {
            load.file(&path);
        }
        load.environment(&args.environment);
        load.finish(main, &folder)
    }
}

/// One load under way.
struct Load {
    findings: Findings,
    merged: Merged,
    /// Whether every file could be read and parsed whole; if not, nothing is called missing.
    whole: bool,
    rank: usize,
}

impl Load {
    /// Reads one file as the next layer; where to point for what stands nowhere.
    fn file(&mut self, path: &Path) -> Place {
        let rank = self.rank;
        self.rank += 1;
        match SourceFile::read(path, rank, Secrecy::Settings, CONFIG_FILE_MAX_BYTES) {
            Ok(file) => {
                let file = Arc::new(file);
                let trusted = syntax::parse(&file, &mut self.findings);
                self.whole &= trusted.whole;
                self.merged.layers.push(Layer::of_file(&file, &trusted.table(), &mut self.findings));
            }
            Err(fault) => {
                self.whole = false;
                self.findings.fault(*fault);
            }
        }
        Place::Whole { path: path.to_owned(), rank }
    }

    /// The drop-ins, in the order of their names.
    fn drop_ins(&mut self, folder: &Path) -> Vec<PathBuf> {
        let place = Place::Whole { path: folder.to_owned(), rank: self.rank };
        let entries = match std::fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Vec::new(),
            Err(error) => {
                self.whole = false;
                let problem = format!("the folder of drop-ins cannot be read: {error}");
                self.findings.fault(Fault::new(place, problem, "make it a folder segel may read, or remove it"));
                return Vec::new();
            }
        };
        let mut paths = Vec::new();
        for entry in entries {
            match entry {
                Ok(entry) => paths.push(entry.path()),
                Err(error) => {
                    self.whole = false;
                    let problem = format!("the folder of drop-ins cannot be read to its end: {error}");
                    self.findings.fault(Fault::new(place.clone(), problem, "repair the disk it is on"));
                    break;
                }
            }
        }
        let hidden = |path: &Path| path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "toml") && !hidden(path));
        paths.sort();
        if paths.len() > DROP_INS_MAX {
            let problem = format!("there are {} drop-ins; at most {DROP_INS_MAX} are read", paths.len());
            self.findings.fault(Fault::new(place, problem, "put settings that belong together into one file"));
            paths.truncate(DROP_INS_MAX);
        }
        paths
    }

    fn environment(&mut self, variables: &[(OsString, OsString)]) {
        let mut variables = variables.to_vec();
        variables.sort();
        self.merged.layers.push(Layer::of_environment(&variables, &mut self.findings));
    }

    fn finish(mut self, main: Place, folder: &Path) -> Result<Loaded, Faults> {
        let mut rules = Rules { merged: &self.merged, main: main.clone(), whole: self.whole, findings: &mut self.findings };
        rules.missing();
        rules.contradictions();
        let seals_file =
            self.merged.text("gate.seals_file").map(|path| folder.join(path)).map(|path| std::path::absolute(&path).unwrap_or(path));
        let mut entries = seals_file.as_ref().map(|path| register::read(path, self.rank, &mut self.findings)).unwrap_or_default();
        self.rank += 1;
        let seal_keys =
            self.merged.text("gate.seal_keys").map(|path| folder.join(path)).map(|path| std::path::absolute(&path).unwrap_or(path));
        if let Some(path) = &seal_keys {
            seal_keys::read(path, self.rank, &mut entries, &mut self.findings);
        }
        seal_keys::look_for_gaps(&entries, &mut self.findings);
        let seals = SealRegister::new(entries.into_iter().map(|entry| entry.seal).collect());
        let warnings = std::mem::take(&mut self.findings).finish(!self.whole)?;
        let mut config = self.merged.typed().map_err(|error| {
            // Every value was checked, so the table of keys and the types disagree: a defect, but not one to die of.
            let problem = format!("the configuration passed every check and still does not fit: {error}");
            let fault = Fault::new(main, problem, "report this as a defect of segel, with the file");
            Faults { faults: vec![fault], more: 0, warnings: Vec::new(), unread: false }
        })?;
        config.gate.seals_file = seals_file;
        config.gate.seal_keys = seal_keys;
        config.seals = seals;
        Ok(Loaded { config, origins: Origins::of(&self.merged), warnings })
    }
}

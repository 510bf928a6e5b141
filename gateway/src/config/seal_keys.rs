//! The keys and passwords of seals: a file or a directory of their own, named by `gate.seal_keys`.
//!
//! ```text
//!   a file                          a directory, one file per seal, named MAKER-NUMBER.toml
//!   [JT-8000620011]                   key = "32 hex digits"
//!   key = "32 hex digits"             password = "739164"
//!   password = "739164"
//! ```
//!
//! What must hold: nothing of a secret is ever shown, neither in a fault nor in what a developer prints; a file others may
//! read, or somebody else may change, is refused; of a directory only the files of that name are read, what they link to
//! only inside it, and all of it is bounded. A key for a seal nobody registered, a name that is no seal's and a seal whose
//! protocol lacks its key are warnings: the gate works for all other seals. A key given twice is a fault: nobody can say
//! which of the two is right.

use std::{
    collections::{BTreeMap, HashMap},
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use segel_drivers::{
    Hindrance, Password, SealId, SealKey,
    ble::{KnownSeal, protocol::Moment},
};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    fault::{Fault, Findings, Place},
    register::Entry,
    source::{SEALS_FILE_MAX_BYTES, Secrecy, SourceFile, foreign},
    suggest::nearest,
    syntax,
};

/// Longest file of one seal's key and password, in bytes: twenty times what both take.
pub const KEY_FILE_MAX_BYTES: u64 = 4 << 10;
/// Most files of keys in a directory: a port's whole stock of seals.
pub const KEY_FILES_MAX: usize = 10_000;
/// The dotted key of the setting.
const SETTING: &str = "gate.seal_keys";
/// What a seal has here.
const WORDS: [&str; 2] = ["key", "password"];
/// Permission bits by which others could put other keys into a directory.
const OTHERS_WRITE: u32 = 0o022;

/// Reads the keys and gives them to their seals; what is wrong goes to `findings`.
pub(super) fn read(path: &Path, rank: usize, entries: &mut [Entry], findings: &mut Findings) {
    let by_seal = entries.iter().enumerate().map(|(at, entry)| (entry.seal.id.clone(), at)).collect();
    let mut reading = Reading { rank, by_seal, entries, findings };
    if path.is_dir() { reading.directory(path) } else { reading.file(path) }
}

/// Warns of every seal whose protocol needs something it has not, or has something anybody knows.
pub(super) fn look_for_gaps(entries: &[Entry], findings: &mut Findings) {
    for entry in entries {
        let Some(gap) = gap(&entry.seal.known()) else { continue };
        let (problem, remedy) = match &gap {
            Hindrance::NoCredential { what } => (
                format!("a seal of protocol {} needs a {what} and has none", entry.seal.protocol),
                "add it to the file of `gate.seal_keys`; until then the seal is heard, and not asked what needs it",
            ),
            Hindrance::FactoryPassword => {
                (gap.to_string(), "change it at the seal and in `gate.seal_keys`; until then it is neither locked nor opened")
            }
            _ => (gap.to_string(), "until then the seal is heard, and not asked what needs it"),
        };
        findings.warn(Fault::new(entry.place.clone(), problem, remedy).key("seal.protocol").value(entry.seal.id.as_str()));
    }
}

/// What stands in the way of talking to a seal with what is known of it: asked of its protocol itself, so that the answer
/// here and the one at the lane are the same.
fn gap(seal: &KnownSeal) -> Option<Hindrance> {
    let protocol = seal.protocol.protocol();
    // Nothing is sent and nothing kept of these exchanges: the moment does not matter.
    let now = Moment { wall: SystemTime::UNIX_EPOCH, random: [0; 32] };
    let gaps = protocol.actions().iter().filter_map(|action| protocol.exchange(*action, seal, &now).err());
    gaps.into_iter()
        .find(|gap| matches!(gap, Hindrance::NoCredential { .. } | Hindrance::WrongCredential { .. } | Hindrance::FactoryPassword))
}

struct Reading<'a> {
    rank: usize,
    by_seal: HashMap<SealId, usize>,
    entries: &'a mut [Entry],
    findings: &'a mut Findings,
}

impl Reading<'_> {
    fn whole(&self, path: &Path) -> Place {
        Place::Whole { path: path.to_owned(), rank: self.rank }
    }

    fn fault(&mut self, place: Place, problem: impl Into<String>, remedy: impl Into<String>) {
        self.findings.fault(Fault::new(place, problem, remedy).key(SETTING));
    }

    fn warn(&mut self, place: Place, problem: impl Into<String>, remedy: impl Into<String>) {
        self.findings.warn(Fault::new(place, problem, remedy).key(SETTING));
    }

    /// One file for all seals: a table per seal.
    fn file(&mut self, path: &Path) {
        let file = SourceFile::read(path, self.rank, Secrecy::Keys, SEALS_FILE_MAX_BYTES);
        let Some(file) = self.secret_file(path, file) else { return };
        let trusted = syntax::parse(&file, self.findings);
        let table = trusted.table();
        for (name, value) in &table {
            let place = Place::text(&file, name.span());
            let (Ok(seal), DeValue::Table(fields)) = (name.get_ref().parse::<SealId>(), value.get_ref()) else {
                self.findings.fault(
                    Fault::new(
                        place,
                        "this is not the key of a seal",
                        "write a header [MAKER-NUMBER] and below it key = \"32 hex digits\"",
                    )
                    .key(SETTING)
                    .hide_value(),
                );
                continue;
            };
            self.seal(&file, &seal, fields, place);
        }
    }

    /// A directory with a file per seal.
    fn directory(&mut self, dir: &Path) {
        let Some((inside, paths)) = self.listed(dir) else { return };
        for path in paths {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let seal = name.strip_suffix(".toml").and_then(|stem| stem.parse::<SealId>().ok());
            let Some(seal) = seal else {
                self.warn(self.whole(&path), "this is no file of a seal's key and is not read", "name it MAKER-NUMBER.toml, or remove it");
                continue;
            };
            let real = match fs::canonicalize(&path) {
                Ok(real) if real.starts_with(&inside) => real,
                Ok(_) => {
                    let remedy = "put the file itself there; links are followed only inside the directory";
                    self.warn(self.whole(&path), "this leads out of the directory and is not read", remedy);
                    continue;
                }
                Err(error) => {
                    self.fault(self.whole(&path), format!("the file cannot be found: {error}"), "repair the link, or remove it");
                    continue;
                }
            };
            // What was found inside is what is read, also when somebody puts a link there now.
            let file = SourceFile::read_found(&path, &real, self.rank, Secrecy::Keys, KEY_FILE_MAX_BYTES);
            let Some(file) = self.secret_file(&path, file) else { continue };
            let trusted = syntax::parse(&file, self.findings);
            let place = self.whole(&path);
            self.seal(&file, &seal, &trusted.table(), place);
        }
    }

    /// The directory itself, links resolved, and what is in it, in order.
    fn listed(&mut self, dir: &Path) -> Option<(PathBuf, Vec<PathBuf>)> {
        let unreadable = |error: io::Error| format!("the directory of keys cannot be read: {error}");
        let remedy = "let the user that runs segel read it, or name another one";
        let looked = fs::canonicalize(dir).and_then(|inside| Ok((fs::metadata(&inside)?, inside)));
        let (facts, inside) = match looked {
            Ok(looked) => looked,
            Err(error) => {
                self.fault(self.whole(dir), unreadable(error), remedy);
                return None;
            }
        };
        if facts.mode() & OTHERS_WRITE != 0 {
            let whose = if facts.mode() & 0o002 == 0 { "its group" } else { "everybody on this computer" };
            let problem = format!("{whose} may put keys into this directory (mode {:04o})", facts.mode() & 0o777);
            self.fault(self.whole(dir), problem, format!("chmod 0750 {}", dir.display()));
        }
        if let Some((problem, remedy)) = foreign(dir, facts.uid()) {
            self.fault(self.whole(dir), problem, remedy);
        }
        let mut paths = Vec::new();
        let entries = match fs::read_dir(&inside) {
            Ok(entries) => entries,
            Err(error) => {
                self.fault(self.whole(dir), unreadable(error), remedy);
                return None;
            }
        };
        for entry in entries.take(KEY_FILES_MAX + 1) {
            match entry {
                Ok(entry) => paths.push(dir.join(entry.file_name())),
                Err(error) => {
                    self.fault(self.whole(dir), unreadable(error), "repair the disk it is on");
                    break;
                }
            }
        }
        if paths.len() > KEY_FILES_MAX {
            self.fault(self.whole(dir), format!("there are more than {KEY_FILES_MAX} files"), "keep only those of seals this gate knows");
            return None;
        }
        paths.sort();
        Some((inside, paths))
    }

    /// A file of secrets: nobody else may read or change it.
    fn secret_file(&mut self, path: &Path, read: Result<SourceFile, Box<Fault>>) -> Option<Arc<SourceFile>> {
        let file = match read {
            Ok(file) => Arc::new(file),
            Err(fault) => {
                self.findings.fault(fault.key(SETTING));
                return None;
            }
        };
        for (problem, remedy) in file.exposures() {
            self.fault(self.whole(path), problem, remedy);
        }
        Some(file)
    }

    /// One seal's key and password.
    fn seal(&mut self, file: &Arc<SourceFile>, seal: &SealId, fields: &DeTable<'_>, place: Place) {
        for (word, _) in fields {
            let known = word.get_ref().as_ref();
            if !WORDS.contains(&known) {
                let remedy = nearest(known, WORDS)
                    .map_or_else(|| "remove it; a seal has `key` and `password` here".to_owned(), |near| format!("did you mean `{near}`?"));
                let fault = Fault::new(Place::text(file, word.span()), "there is no such key", remedy).key(SETTING).hide_value();
                self.findings.fault(fault);
            }
        }
        let fields: BTreeMap<&str, &Spanned<DeValue<'_>>> = fields.iter().map(|(word, value)| (word.get_ref().as_ref(), value)).collect();
        let key =
            fields.get("key").copied().and_then(|value| self.secret::<SealKey>(file, value, "key", "write its 16 bytes as 32 hex digits"));
        let remedy = "write 1 to 16 letters or digits";
        let password = fields.get("password").copied().and_then(|value| self.secret::<Password>(file, value, "password", remedy));
        if fields.is_empty() {
            self.warn(place, format!("neither a key nor a password is given for {seal}"), "write key = \"32 hex digits\", or remove it");
            return;
        }
        let Some(entry) = self.by_seal.get(seal).map(|at| &mut self.entries[*at]) else {
            let remedy = "add the seal to the file of `gate.seals_file`, correct its number here, or remove it";
            self.warn(place, format!("{seal} is not in the register of seals, so nothing is done with this"), remedy);
            return;
        };
        if let (Some(first), Some(_)) = (entry.key.clone(), &key) {
            let again = fields.get("key").map_or(place, |value| Place::text(file, value.span()));
            let fault = Fault::new(again, format!("the key of {seal} is given twice"), "keep one of the two, best this one");
            self.findings.fault(fault.key(SETTING).hide_value().also(first, "it was first given here"));
            return;
        }
        let credentials = &mut entry.seal.credentials;
        credentials.key = key.or_else(|| credentials.key.take());
        credentials.password = password;
    }

    /// A secret of the right form; a wrong one is not repeated.
    fn secret<T: std::str::FromStr>(
        &mut self,
        file: &Arc<SourceFile>,
        value: &Spanned<DeValue<'_>>,
        what: &str,
        remedy: &str,
    ) -> Option<T> {
        let parsed = match value.get_ref() {
            DeValue::String(text) => text.parse().ok(),
            _ => None,
        };
        if parsed.is_none() {
            let place = Place::text(file, value.span());
            self.findings
                .fault(Fault::new(place, format!("this is no {what} of a seal"), format!("{remedy}, in quotes")).key(SETTING).hide_value());
        }
        parsed
    }
}

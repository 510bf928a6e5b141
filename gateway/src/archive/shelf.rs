//! Whether an archive is whole and unchanged, from its files alone: no journal, no daemon, no configuration.
//!
//! What is looked at: every manifest's form; every segment's bytes, digests and numbers against its manifest; that a
//! class's segments follow each other by number, by digest and by the digest of the manifest before; and, over all
//! documents of a journal, that what is missing is accounted for (dropped telemetry, by its `GAP`). A segment without a
//! manifest, a manifest without a segment and files that belong to nothing are named. What interrupted runs left
//! (`.part`, `.leftover`) is named and is no fault.
//!
//! Signatures are counted, not verified. The newest manifest of each class is told with its digest: whoever has that
//! from elsewhere (the `ARCHIVED` receipt at customs) knows that nothing was taken off the end.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    ops::ControlFlow,
    path::{Path, PathBuf},
};

use serde::Serialize;

use super::{
    ArchiveError, Manifest, lines,
    manifest::{Kind, MANIFEST_MAX, SegmentName},
    seal::{LEFTOVER, PART},
};
use crate::event::{
    Class, Digest, JournalId, Seq,
    chain::{ChainCheck, Hole},
};

/// Folders between the directory given and a journal's: the archive, the gate, the journal.
const DEPTH: usize = 2;
/// Files of one folder looked at: three for each segment of ten thousand million events.
const FILES_MAX: usize = 600_000;
/// Faults and leftovers listed one by one.
const LISTED_MAX: usize = 100;
/// What a detached signature of a manifest is called.
const SIGNATURE: &str = ".sig";

/// How far a verification is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Looked {
    /// Bytes of segments read.
    pub bytes: u64,
    /// Bytes of segments there are.
    pub total: u64,
}

/// Something in the archive that is not as it was sealed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ShelfFault {
    /// The file or folder.
    pub path: PathBuf,
    /// What is wrong, and what to do.
    pub what: String,
}

/// One class of one journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ClassOnShelf {
    /// The class.
    pub class: Class,
    /// Segments with a manifest.
    pub segments: u64,
    /// Documents they hold, as their manifests say.
    pub documents: u64,
    /// Length of their files in bytes, as their manifests say.
    pub bytes: u64,
    /// The first number.
    pub first: Seq,
    /// The last number.
    pub last: Seq,
    /// Digest of the last document.
    pub digest: Digest,
    /// SHA-256 of the newest manifest.
    pub manifest: Digest,
    /// Manifests with a signature beside them.
    pub signatures: u64,
}

/// One journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct JournalOnShelf {
    /// The gate it belongs to, as `/site/gate`.
    pub source: String,
    /// The journal.
    pub journal: JournalId,
    /// Its folder.
    pub folder: PathBuf,
    /// Its classes.
    pub classes: Vec<ClassOnShelf>,
}

/// What a verification found.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ShelfReport {
    /// The journals.
    pub journals: Vec<JournalOnShelf>,
    /// What is wrong; the first hundred.
    pub faults: Vec<ShelfFault>,
    /// How much is wrong.
    pub fault_count: u64,
    /// What interrupted runs left; no fault, and may be deleted by hand. The first hundred.
    pub leftovers: Vec<PathBuf>,
    /// Whether it was told to stop before it had seen everything.
    pub stopped: bool,
}

impl ShelfReport {
    /// Whether everything was looked at and nothing is wrong.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.fault_count == 0 && !self.stopped
    }

    fn fault(&mut self, path: &Path, what: impl Into<String>) {
        self.fault_count += 1;
        if self.faults.len() < LISTED_MAX {
            self.faults.push(ShelfFault { path: path.to_owned(), what: what.into() });
        }
    }

    fn leftover(&mut self, path: PathBuf) {
        if self.leftovers.len() < LISTED_MAX {
            self.leftovers.push(path);
        }
    }
}

/// Verifies the archive in `dir`: the archive directory, one gate's folder in it, or one journal's. `watch` is called
/// now and then and may stop it. Documents missing without a reason are faults.
///
/// # Errors
/// When the directory is not there or cannot be read.
pub fn verify(dir: &Path, watch: &mut dyn FnMut(Looked) -> ControlFlow<()>) -> Result<ShelfReport, ArchiveError> {
    let mut check = ChainCheck::new();
    let mut report = verify_into(dir, &mut check, watch)?;
    let chains = check.finish();
    for chain in &chains.chains {
        let folder =
            report.journals.iter().find(|journal| journal.journal == chain.journal).map_or_else(|| dir.to_owned(), |j| j.folder.clone());
        for Hole { first, last } in &chain.holes_unexplained {
            let what = format!("{} {first} to {last} are missing: bring the segments that hold them", chain.class);
            report.fault(&folder, what);
        }
    }
    Ok(report)
}

/// As [`verify`], and feeds every document to `check` on the way, in order, so that a journal's rows may follow: the
/// archive and the database are one chain. What is missing is then told by `check` alone.
///
/// # Errors
/// When the directory is not there or cannot be read.
pub fn verify_into(
    dir: &Path,
    check: &mut ChainCheck,
    watch: &mut dyn FnMut(Looked) -> ControlFlow<()>,
) -> Result<ShelfReport, ArchiveError> {
    let mut report = ShelfReport::default();
    let mut folders = Vec::new();
    find(dir, DEPTH, &mut folders, &mut report)?;
    let mut looked = Looked { bytes: 0, total: folders.iter().map(Folder::bytes).sum() };
    for folder in &folders {
        if folder.verify(check, &mut report, &mut looked, watch).is_break() {
            report.stopped = true;
            break;
        }
    }
    Ok(report)
}

/// One folder with segments: what its names say.
#[derive(Debug, Default)]
struct Folder {
    path: PathBuf,
    /// Length of each segment's file.
    documents: BTreeMap<SegmentName, u64>,
    manifests: BTreeSet<SegmentName>,
    signatures: BTreeSet<SegmentName>,
}

/// Looks for folders with segments, no deeper than `depth` below this one.
fn find(dir: &Path, depth: usize, folders: &mut Vec<Folder>, report: &mut ShelfReport) -> Result<(), ArchiveError> {
    let fault = |fault: std::io::Error| match fault.kind() {
        std::io::ErrorKind::NotFound => ArchiveError::Missing { dir: dir.to_owned() },
        _ => ArchiveError::of(dir, fault),
    };
    let mut folder = Folder { path: dir.to_owned(), ..Folder::default() };
    let mut below = BTreeSet::new();
    let mut unknown = Vec::new();
    for (number, entry) in fs::read_dir(dir).map_err(fault)?.enumerate() {
        let entry = entry.map_err(fault)?;
        if number == FILES_MAX {
            report.fault(dir, "it has too many files to be an archive of ours: verify its folders one by one");
            break;
        }
        let found = entry.metadata().map_err(fault)?;
        if found.is_dir() && depth > 0 {
            below.insert(entry.path());
        } else if !folder.take(&entry.file_name().to_string_lossy(), found.len()) {
            unknown.push(entry.path());
        }
    }
    let holds = !folder.documents.is_empty() || !folder.manifests.is_empty();
    for path in unknown {
        let ending = path.extension().and_then(|ending| ending.to_str());
        if ending.is_some_and(|ending| ending == PART || ending == LEFTOVER) {
            report.leftover(path);
        } else if path.file_name().is_none_or(|name| name != "lost+found") {
            report.fault(&path, "it belongs to no segment: move it out of the archive");
        }
    }
    if holds {
        folders.push(folder);
    }
    for dir in below {
        // The directory a file system keeps for its own repairs is nobody's archive.
        if dir.file_name().is_none_or(|name| name != "lost+found") {
            find(&dir, depth - 1, folders, report)?;
        }
    }
    Ok(())
}

impl Folder {
    /// Whether this file is part of a segment.
    fn take(&mut self, name: &str, length: u64) -> bool {
        if let Some((segment, Kind::Manifest)) = name.strip_suffix(SIGNATURE).and_then(SegmentName::of_file) {
            return self.signatures.insert(segment);
        }
        match SegmentName::of_file(name) {
            Some((segment, Kind::Documents)) => self.documents.insert(segment, length).is_none(),
            Some((segment, Kind::Manifest)) => self.manifests.insert(segment),
            None => false,
        }
    }

    fn bytes(&self) -> u64 {
        self.documents.values().sum()
    }

    fn verify(
        &self,
        check: &mut ChainCheck,
        report: &mut ShelfReport,
        looked: &mut Looked,
        watch: &mut dyn FnMut(Looked) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        for name in self.documents.keys().filter(|name| !self.manifests.contains(name)) {
            report.fault(
                &self.path.join(name.documents()),
                "its manifest is missing: bring it, or move the file away if an interrupted run left it",
            );
        }
        for name in self.signatures.iter().filter(|name| !self.manifests.contains(name)) {
            report.fault(&self.path.join(format!("{}{SIGNATURE}", name.manifest())), "the manifest it signs is missing: bring it");
        }
        let mut before: Option<Before> = None;
        for name in &self.manifests {
            let Some((manifest, digest)) = self.manifest(*name, report) else { continue };
            let same_chain = before.as_ref().is_some_and(|b| b.manifest.class == manifest.class && b.manifest.journal == manifest.journal);
            self.follows(*name, &manifest, before.as_ref().filter(|_| same_chain), report);
            self.count(&manifest, digest, self.signatures.contains(name), report);
            if let Some(length) = self.documents.get(name) {
                self.documents(&manifest, *length, check, report, looked, watch)?;
            } else {
                report.fault(&self.path.join(name.documents()), "it is missing, its manifest is there: bring it");
            }
            before = Some(Before { manifest, digest });
        }
        ControlFlow::Continue(())
    }

    /// The manifest of this name, if it is one.
    fn manifest(&self, name: SegmentName, report: &mut ShelfReport) -> Option<(Manifest, Digest)> {
        let path = self.path.join(name.manifest());
        let text = fs::File::open(&path).and_then(|file| {
            let mut text = Vec::new();
            std::io::Read::read_to_end(&mut std::io::Read::take(file, MANIFEST_MAX + 1), &mut text).map(|_| text)
        });
        match text.map(|text| Manifest::parse(&text).map(|manifest| (manifest, Digest::of(&text)))) {
            Ok(Ok((manifest, digest))) if manifest.name() == name => return Some((manifest, digest)),
            Ok(Ok((manifest, _))) => report.fault(&path, format!("it is the manifest of {}: put each under its own name", manifest.name())),
            Ok(Err(fault)) => report.fault(&path, fault.to_string()),
            Err(fault) => report.fault(&path, format!("it cannot be read: {fault}")),
        }
        None
    }

    /// Whether this segment can stand after that one.
    fn follows(&self, name: SegmentName, manifest: &Manifest, before: Option<&Before>, report: &mut ShelfReport) {
        let path = self.path.join(name.manifest());
        let Some(before) = before else {
            if manifest.previous_manifest != Digest::ZERO {
                report.fault(&path, format!("a segment before it, with the manifest {}, is missing: bring it", manifest.previous_manifest));
            } else if manifest.class != Class::Telemetry && manifest.first != Seq(1) {
                report.fault(&path, format!("it begins at {}, and nothing says what became of those before", manifest.first));
            }
            return;
        };
        let last = before.manifest.last;
        if manifest.first <= last {
            report.fault(
                &path,
                format!("it holds numbers that {} holds too: move the one away that an interrupted run left", before.manifest.name()),
            );
        } else if manifest.previous_manifest != before.digest {
            let gone = format!("it follows the manifest {}, and before it stands {}", manifest.previous_manifest, before.digest);
            let (first, last) = (last.next(), manifest.first.before());
            let what = if first > last {
                "one of them was changed".to_owned()
            } else {
                format!("a segment with {first} to {last} is missing: bring it")
            };
            report.fault(&path, format!("{gone}: {what}"));
        } else if manifest.first != last.next() && manifest.class != Class::Telemetry {
            report.fault(&path, format!("{} to {} are in no segment", last.next(), manifest.first.before()));
        } else if manifest.first == last.next() && manifest.prev != before.manifest.digest {
            report.fault(&path, format!("its first document does not follow the last of {}", before.manifest.name()));
        }
    }

    fn count(&self, manifest: &Manifest, digest: Digest, signed: bool, report: &mut ShelfReport) {
        let source = manifest.source.to_string();
        let known = report.journals.iter().position(|known| known.journal == manifest.journal && known.source == source);
        let journal = known.unwrap_or_else(|| {
            let folder = self.path.clone();
            report.journals.push(JournalOnShelf { source, journal: manifest.journal, folder, classes: Vec::new() });
            report.journals.len() - 1
        });
        let classes = &mut report.journals[journal].classes;
        let class = classes.iter().position(|known| known.class == manifest.class).unwrap_or_else(|| {
            classes.push(ClassOnShelf {
                class: manifest.class,
                segments: 0,
                documents: 0,
                bytes: 0,
                first: manifest.first,
                last: manifest.last,
                digest: manifest.digest,
                manifest: digest,
                signatures: 0,
            });
            classes.len() - 1
        });
        let class = &mut classes[class];
        class.segments += 1;
        class.documents += manifest.count;
        class.bytes += manifest.bytes;
        class.signatures += u64::from(signed);
        if manifest.last >= class.last {
            (class.last, class.digest, class.manifest) = (manifest.last, manifest.digest, digest);
        }
    }

    fn documents(
        &self,
        manifest: &Manifest,
        length: u64,
        check: &mut ChainCheck,
        report: &mut ShelfReport,
        looked: &mut Looked,
        watch: &mut dyn FnMut(Looked) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let path = self.path.join(manifest.name().documents());
        // Bytes are what a person waits for; how many a document has is only known on the average.
        let each = length / manifest.count.max(1);
        let end = looked.bytes + length;
        let feed = |line: &[u8]| {
            // What is no document is named with its line by the comparison.
            let _ = check.feed(line);
        };
        let compared = lines::compare(&path, manifest, feed, &mut |done| {
            looked.bytes = end.min(looked.bytes + done * each);
            watch(*looked)
        });
        looked.bytes = end;
        match compared {
            Err(fault) => report.fault(&path, format!("it cannot be read: {fault}")),
            Ok(None) => return ControlFlow::Break(()),
            Ok(Some(compared)) => compared.differences.into_iter().for_each(|what| report.fault(&path, what)),
        }
        ControlFlow::Continue(())
    }
}

/// The segment before.
struct Before {
    manifest: Manifest,
    digest: Digest,
}

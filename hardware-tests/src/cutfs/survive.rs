//! What a disk holds after the power went.

use std::{collections::BTreeSet, fmt};

use rand::{RngExt as _, rngs::StdRng};

use super::{
    disk::{Bytes, Change, Disk, File, Node, PAGE},
    image::Image,
};

/// What a disk writes as a whole or not at all, in bytes.
const SECTOR: usize = 512;

/// What becomes of everything that was not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cut {
    /// Nothing of it reached the disk.
    Nothing,
    /// All of it did.
    Everything,
    /// The first part of it did, in the order it was done.
    Prefix,
    /// Each page of each file is on disk as of some moment since the last sync, independent of the others; names and
    /// sizes as well.
    Pages,
    /// The same, and a page may be half of one moment and half of another, by sectors.
    Torn,
}

impl Cut {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Nothing, Self::Everything, Self::Prefix, Self::Pages, Self::Torn];
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Nothing => "nothing",
            Self::Everything => "everything",
            Self::Prefix => "prefix",
            Self::Pages => "pages",
            Self::Torn => "torn",
        })
    }
}

impl Disk {
    /// One of the contents that the disk may hold after a cut.
    pub(super) fn survivors(&self, how: Cut, chance: &mut StdRng) -> Image {
        let point = if how == Cut::Prefix { self.some_moment(chance) } else { 0 };
        // How much of it is lost differs from cut to cut: sometimes a single page, sometimes all but one.
        let luck = [0.05, 0.3, 0.5, 0.7, 0.95][chance.random_range(0..5)];
        let mut names = self.kept_names();
        for change in &self.names {
            let kept = match how {
                Cut::Nothing => false,
                Cut::Everything => true,
                Cut::Prefix => change.at <= point,
                Cut::Pages | Cut::Torn => chance.random_bool(luck),
            };
            if kept {
                change.make(&mut names);
            }
        }
        self.image(&names, |file| {
            let some = |wanted: &dyn Fn(&Change) -> bool| {
                let mut bytes = file.kept.clone();
                file.changes.iter().filter(|change| wanted(change)).for_each(|change| change.what.make(&mut bytes));
                bytes
            };
            match how {
                Cut::Nothing => file.kept.clone(),
                // A sync that failed may have written all the same.
                Cut::Everything => some(&|_| true),
                Cut::Prefix => some(&|change| !change.doomed && change.at <= point),
                Cut::Pages => by_pages(file, PAGE, luck, chance),
                Cut::Torn => by_pages(file, SECTOR, luck, chance),
            }
        })
    }

    /// A moment between two of the changes that are not synced.
    fn some_moment(&self, chance: &mut StdRng) -> u64 {
        let files = self.nodes.values().filter_map(|node| if let Node::File(file) = node { Some(file) } else { None });
        let mut moments: Vec<u64> = files.flat_map(|file| &file.changes).map(|change| change.at).collect();
        moments.extend(self.names.iter().map(|change| change.at));
        moments.sort_unstable();
        match chance.random_range(0..=moments.len()) {
            0 => 0,
            n => moments[n - 1],
        }
    }
}

/// A file whose pages are of different moments; with a `grain` smaller than a page, parts of pages as well.
fn by_pages(file: &File, grain: usize, luck: f64, chance: &mut StdRng) -> Vec<u8> {
    let changes: Vec<_> = file.changes.iter().filter(|change| !change.doomed).collect();
    let mut lengths = vec![file.kept.len()];
    for change in &changes {
        let before = lengths[lengths.len() - 1];
        lengths.push(match &change.what {
            Bytes::Written(offset, bytes) => before.max(offset + bytes.len()),
            Bytes::Length(length) => *length,
        });
    }
    let length = if chance.random_bool(luck) { lengths[changes.len()] } else { lengths[chance.random_range(0..lengths.len())] };
    let mut bytes = file.kept.clone();
    bytes.resize(length.max(file.kept.len()), 0);
    let touched: BTreeSet<usize> = changes.iter().flat_map(|change| touched(&change.what, bytes.len())).collect();
    for page in touched {
        let span = page * PAGE..((page + 1) * PAGE).min(bytes.len());
        if span.is_empty() {
            continue;
        }
        let here: Vec<_> = changes.iter().filter(|change| touches(&change.what, span.start)).collect();
        // Two moments: without tearing the page is of the second, with it each part is of one of them.
        let moments = [0, 0].map(|_: usize| if chance.random_bool(luck) { here.len() } else { chance.random_range(0..=here.len()) });
        let versions = moments.map(|moment| {
            let mut version = bytes[span.clone()].to_vec();
            here[..moment].iter().for_each(|change| make_in(&change.what, span.start, &mut version));
            version
        });
        for (part, [one, other]) in (span.start..span.end).step_by(grain).map(|at| (at, &versions)) {
            let end = (part + grain).min(span.end);
            let version = if grain < PAGE && chance.random_bool(0.5) { one } else { other };
            bytes[part..end].copy_from_slice(&version[part - span.start..end - span.start]);
        }
    }
    bytes.truncate(length);
    bytes
}

/// Pages that a change touches in a file of this length.
fn touched(what: &Bytes, length: usize) -> std::ops::Range<usize> {
    match what {
        Bytes::Written(offset, bytes) => offset / PAGE..(offset + bytes.len()).min(length).div_ceil(PAGE),
        Bytes::Length(from) => from / PAGE..length.div_ceil(PAGE),
    }
}

fn touches(what: &Bytes, start: usize) -> bool {
    match what {
        Bytes::Written(offset, bytes) => *offset < start + PAGE && offset + bytes.len() > start,
        Bytes::Length(from) => *from < start + PAGE,
    }
}

/// Makes the part of a change that lies in the page beginning at `start`.
fn make_in(what: &Bytes, start: usize, page: &mut [u8]) {
    match what {
        Bytes::Written(offset, bytes) => {
            let (from, to) = ((*offset).max(start), (offset + bytes.len()).min(start + page.len()));
            if from < to {
                page[from - start..to - start].copy_from_slice(&bytes[from - offset..to - offset]);
            }
        }
        // What is beyond the length is gone; what is written there later begins with zeros.
        Bytes::Length(from) => {
            let gone = from.saturating_sub(start).min(page.len());
            page[gone..].fill(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use rand::SeedableRng as _;

    use super::*;
    use crate::cutfs::disk::ROOT;

    fn name() -> &'static OsStr {
        OsStr::new("a")
    }

    /// A disk with one file of two synced pages of ones, and both overwritten since, first by twos, then by threes.
    fn written() -> Disk {
        let mut disk = Disk::of(&Image::default().with("a", vec![1; 2 * PAGE]));
        let ino = disk.lookup(ROOT, name()).expect("it is there");
        disk.write(ino, 0, &vec![2; 2 * PAGE]);
        disk.write(ino, 0, &vec![3; 2 * PAGE]);
        disk
    }

    fn outcomes(disk: &Disk, how: Cut) -> BTreeSet<Option<Vec<u8>>> {
        let after = |seed| disk.survivors(how, &mut StdRng::seed_from_u64(seed)).file("a").map(<[u8]>::to_vec);
        (0..400).map(after).collect()
    }

    #[test]
    fn what_was_not_synced_may_be_lost_and_what_was_is_kept() {
        let whole = |n: u8| Some(vec![n; 2 * PAGE]);
        let disk = written();
        assert_eq!(outcomes(&disk, Cut::Nothing), BTreeSet::from([whole(1)]));
        assert_eq!(outcomes(&disk, Cut::Everything), BTreeSet::from([whole(3)]));
        assert_eq!(outcomes(&disk, Cut::Prefix), BTreeSet::from([whole(1), whole(2), whole(3)]));
        let mut synced = written();
        let ino = synced.lookup(ROOT, name()).expect("it is there");
        synced.sync(ino);
        for how in Cut::ALL {
            assert_eq!(outcomes(&synced, how), BTreeSet::from([whole(3)]), "{how}");
        }
    }

    #[test]
    fn pages_are_of_any_moment_and_a_torn_page_of_two() {
        let pages = outcomes(&written(), Cut::Pages);
        assert_eq!(pages.len(), 9, "three moments of each of two pages");
        let is_whole = |bytes: &[u8]| bytes.iter().all(|byte| *byte == bytes[0]);
        assert!(pages.iter().flatten().all(|bytes| bytes.chunks(PAGE).all(is_whole)));
        let torn = outcomes(&written(), Cut::Torn);
        assert!(torn.iter().flatten().any(|bytes| !bytes.chunks(PAGE).all(is_whole)), "a page of two moments");
        assert!(torn.iter().flatten().all(|bytes| bytes.chunks(SECTOR).all(is_whole)), "a sector never is");
    }

    #[test]
    fn a_name_is_durable_with_its_directory_and_not_with_its_file() {
        let mut disk = Disk::of(&Image::default());
        let ino = disk.create(ROOT, name(), 0o644);
        disk.write(ino, 0, b"x");
        disk.sync(ino);
        assert_eq!(outcomes(&disk, Cut::Nothing), BTreeSet::from([None]));
        assert_eq!(outcomes(&disk, Cut::Pages), BTreeSet::from([None, Some(b"x".to_vec())]));
        disk.sync_directory(ROOT);
        assert_eq!(outcomes(&disk, Cut::Nothing), BTreeSet::from([Some(b"x".to_vec())]));

        disk.rename((ROOT, name()), (ROOT, OsStr::new("b")));
        let after = disk.survivors(Cut::Nothing, &mut StdRng::seed_from_u64(1));
        assert!(after.file("a").is_some() && after.file("b").is_none(), "a rename that was not synced is undone");
        for seed in 0..50 {
            let after = disk.survivors(Cut::Torn, &mut StdRng::seed_from_u64(seed));
            assert_eq!(after.paths().count(), 1, "a rename is made as a whole or not at all");
        }
    }

    #[test]
    fn a_shorter_length_may_be_lost_and_leaves_no_old_bytes_when_it_is_kept() {
        let mut disk = Disk::of(&Image::default().with("a", vec![1; 2 * PAGE]));
        let ino = disk.lookup(ROOT, name()).expect("it is there");
        disk.set_length(ino, 100);
        disk.set_length(ino, 2 * PAGE);
        assert_eq!(disk.file(ino).expect("it is there").now[100..], vec![0; 2 * PAGE - 100]);
        let pages = outcomes(&disk, Cut::Pages);
        assert!(pages.contains(&Some(vec![1; 2 * PAGE])) && pages.len() > 3, "{} outcomes", pages.len());
        assert!(pages.iter().flatten().all(|bytes| bytes[..100] == [1; 100]), "what was never changed is there");
    }

    #[test]
    fn what_a_failed_sync_gave_up_is_not_made_durable_by_the_next() {
        let mut disk = written();
        let ino = disk.lookup(ROOT, name()).expect("it is there");
        disk.fail_sync(ino);
        let outcome = |how| outcomes(&disk, how).into_iter().flatten().map(|bytes| bytes[0]).collect::<Vec<_>>();
        assert_eq!((outcome(Cut::Nothing), outcome(Cut::Prefix), outcome(Cut::Everything)), (vec![1], vec![1], vec![3]), "nobody knows");
        disk.sync(ino);
        for how in Cut::ALL {
            assert_eq!(outcomes(&disk, how), BTreeSet::from([Some(vec![1; 2 * PAGE])]), "{how}");
        }
        disk.write(ino, 0, &[4; PAGE]);
        disk.sync(ino);
        let after = outcomes(&disk, Cut::Nothing);
        assert_eq!(after, BTreeSet::from([Some([vec![4; PAGE], vec![1; PAGE]].concat())]), "written anew it is");
    }

    #[test]
    fn space_is_taken_by_pages_and_given_back() {
        let mut disk = Disk::of(&Image::default());
        let ino = disk.create(ROOT, name(), 0o644);
        assert_eq!(disk.would_take(ino, PAGE - 1, 2), 2 * PAGE as u64);
        disk.write(ino, PAGE - 1, b"xy");
        assert_eq!((disk.used(), disk.would_take(ino, 0, 2 * PAGE)), (2 * PAGE as u64, 0));
        disk.reserve(ino, 0, 10 * PAGE);
        assert_eq!(disk.used(), 10 * PAGE as u64);
        disk.set_length(ino, 0);
        assert_eq!(disk.used(), 0);
        disk.write(ino, 0, b"x");
        disk.unlink(ROOT, name());
        assert_eq!(disk.used(), 0);
    }
}

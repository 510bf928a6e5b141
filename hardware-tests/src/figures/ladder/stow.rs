//! How delivered events are put away, behind two calls: the archive's own way stands here and nowhere else in the bench.

use std::{
    fs::File,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context;
use segel::{
    clock::Clock,
    event::{Assurance, Class, Digest, Draft, EventType, Seq, Subject},
    forward::UPLINK,
    journal::{Entry, Journal, JournalReader, Segment},
};
use serde_json::json;
use tokio::{task::spawn_blocking, time::timeout};

/// What is done, in the words of the table.
pub(super) const WAY: &str = "written to segments and put away";
/// Events in a segment.
const SEGMENT: u64 = 50_000;
/// Events and bytes read at a time.
const PAGE: (usize, usize) = (512, 256 * 1024);
/// Upkeep makes a step within this.
const STALLED: Duration = Duration::from_secs(60);

/// Puts away everything the uplink's cursor has passed.
pub(super) async fn archive(journal: &Journal, dir: &Path, place: &Path) -> anyhow::Result<()> {
    for class in Class::ALL {
        let until = JournalReader::open(dir)?.cursor(&UPLINK, *class)?;
        let mut front = Seq::NONE;
        while front < until {
            let last = Seq(until.0.min(front.0 + SEGMENT));
            let (dir, place) = (dir.to_owned(), place.to_owned());
            let segment = spawn_blocking(move || seal(&dir, &place, *class, front, last)).await??;
            let body = json!({ "name": segment.name });
            let stamp = Clock::new(Duration::from_secs(86_400), None).now();
            let draft = Draft::new(Class::Receipt, EventType::DeviceStatus, Subject::gateway(), stamp, Assurance::Own, &body)?;
            front = segment.last;
            journal.put_away(segment, Entry::new(draft)).await?;
        }
    }
    Ok(())
}

/// Deletes what is left of their rows and gives the pages back.
pub(super) async fn compact(journal: &Journal, _dir: &Path, _place: &Path) -> anyhow::Result<()> {
    let mut standing = journal.standing();
    journal.hurry_upkeep().await?;
    while standing.borrow_and_update().upkeep.hurried {
        timeout(STALLED, standing.changed()).await.context("upkeep makes no step any more")??;
    }
    Ok(())
}

fn seal(dir: &Path, place: &Path, class: Class, front: Seq, last: Seq) -> anyhow::Result<Segment> {
    let reader = JournalReader::open(dir)?;
    let name = format!("{}-{:012}-{:012}", class.as_str(), front.next().0, last.0);
    let path: PathBuf = place.join(format!("{name}.jsonl"));
    let mut file = BufWriter::new(File::create(&path)?);
    let (mut at, mut bytes, mut digest) = (front, 0, Digest::ZERO);
    while at < last {
        for record in reader.after(class, at, PAGE.0.min(usize::try_from(last.0 - at.0)?), PAGE.1)? {
            file.write_all(&record.doc)?;
            file.write_all(b"\n")?;
            (at, bytes, digest) = (record.seq, bytes + record.doc.len() as u64, Digest::of(&record.doc));
        }
    }
    file.into_inner()?.sync_all()?;
    let (count, manifest, place) = (last.0 - front.0, Digest::of(name.as_bytes()), place.display().to_string());
    Ok(Segment { class, first: front.next(), last, count, bytes, digest, name, manifest, place })
}

//! What the gate is made of, read out of the journal it just opened; nothing of it runs yet.
//!
//! What must hold: a place in the journal that cannot be read at the start must not stop the gate for ever. What seems
//! damaged is read once more over new connections, because memory and cables fail too; if it stays, the journal is
//! condemned, and the next start sets it aside and begins a new one.

use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock};

use sd_notify::NotifyState;
use segel_drivers::{Heard, Report, ble::session::Desks};
use segel_mqtt_bridge::broker::Broker;
use tokio::sync::{mpsc, watch};

use super::keeper::{self, Keeper};
use super::{GateError, REPORTS_MAX, newest_wall, radios, upstream};
use crate::archive::Housekeeping;
use crate::clock::{Clock, Mark};
use crate::config::Config;
use crate::event::Source;
use crate::health;
use crate::ingest::{CLOCK_NOTE, Ingest, Judge, Memory, Recalled};
use crate::journal::{Journal, JournalError, JournalReader, NOTES_MAX};
use crate::sessions::Sessions;
use crate::space::{Limits, SpaceStanding, SpaceWatch};
use crate::status::Board;

/// How much longer than usual a start may take when states are rebuilt: ten minutes read some ten million events.
const REBUILD_EXTENSION_US: u32 = 600_000_000;

/// The parts, connected.
pub(super) struct Made {
    pub(super) clock: Clock,
    pub(super) reports: mpsc::Sender<Report>,
    pub(super) ingest: Ingest,
    pub(super) board: Arc<Mutex<Board>>,
    pub(super) space: SpaceWatch,
    pub(super) space_view: watch::Receiver<SpaceStanding>,
    pub(super) noticing: Noticing,
    pub(super) run_id: String,
    pub(super) link: Option<upstream::Link>,
    pub(super) broker: Arc<OnceLock<Arc<Broker>>>,
    pub(super) housekeeping: Housekeeping,
    pub(super) keeper: Keeper,
    pub(super) desks: Desks,
    pub(super) sessions: Arc<Sessions>,
}

/// The task that records what the watch on the disk finds.
type Noticing = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Makes the parts; a journal in which something cannot be read a second time either is condemned.
///
/// # Errors
/// [`GateError`] when the configuration names something unusable or the journal cannot be read.
pub(super) async fn make(config: &Config, source: &Source, journal: &Journal) -> Result<Made, GateError> {
    match Made::new(config, source, journal).await {
        Err(GateError::Journal(fault)) if fault.bars_reading() => {
            tracing::warn!(%fault, "something in the journal cannot be read at the start: it is read once more");
        }
        other => return other,
    }
    let again = Made::new(config, source, journal).await;
    if let Err(GateError::Journal(fault)) = &again
        && fault.bars_reading()
    {
        journal.condemn_as(fault);
    }
    again
}

impl Made {
    async fn new(config: &Config, source: &Source, journal: &Journal) -> Result<Self, GateError> {
        let reader = journal.reader()?;
        let clock = Clock::new(config.clock.holdover, newest_wall(&reader)?);
        let mark = clock_mark(&reader)?;
        drop(reader);
        let memory = recall(journal).await?;
        let (reports, reported) = mpsc::channel::<Report>(REPORTS_MAX);
        let judge = Judge::new(radios::thinning(config), radios::known(config), &memory, Heard::now());
        let (ingest, ingest_view) = Ingest::new(reported, judge, clock.clone(), journal.clone(), mark);
        let board = Board::new(source.clone(), clock.clone(), journal, ingest_view)?;
        let (space, space_view, noticing) = watch_space(config, journal, &clock)?;
        let run_id = uuid::Uuid::new_v4().simple().to_string();
        let broker = Arc::new(OnceLock::new());
        let link = upstream::uplink(config, source, journal, &clock, &run_id)?;
        let standing = link.as_ref().map(|link| link.standing.clone());
        let board = board.with_space(space_view.clone()).with_uplink(standing).with_broker(Arc::clone(&broker));
        let board = Arc::new(Mutex::new(board));
        let housekeeping = keeper::housekeeping(config, source, journal, &clock);
        let retention = (!config.journal.retention.is_zero()).then_some(config.journal.retention);
        let keeper = Keeper::new(housekeeping.archivist().clone(), clock.clone(), retention, config.journal.archive_every)?;
        let noticing: Noticing = Box::pin(noticing);
        let desks = radios::desks(config);
        let sessions = Sessions::new(desks.clone(), config, journal.clone(), clock.clone());
        Ok(Self { clock, reports, ingest, board, space, space_view, noticing, run_id, link, broker, housekeeping, keeper, desks, sessions })
    }
}

/// The watch on the journal's disk, what it shows, and the task that records what it finds.
fn watch_space(
    config: &Config,
    journal: &Journal,
    clock: &Clock,
) -> Result<(SpaceWatch, watch::Receiver<SpaceStanding>, impl Future<Output = ()> + Send + 'static), GateError> {
    let settings = &config.journal;
    let limits =
        Limits { warn_bytes: settings.space_warn_bytes, scarce_bytes: settings.space_scarce_bytes, warn_ahead: settings.space_warn_ahead };
    let fault = |fault: std::io::Error| GateError::Configuration(format!("no thread to watch the disk can be had: {fault}"));
    SpaceWatch::new(config.gate.state_dir.clone(), journal, clock.clone(), limits).map_err(fault)
}

/// Where an earlier run left the clocks; what cannot be read is as good as none.
fn clock_mark(reader: &JournalReader) -> Result<Option<Mark>, JournalError> {
    let note = reader.note(CLOCK_NOTE.0, CLOCK_NOTE.1)?;
    Ok(note.and_then(|note| serde_json::from_slice(&note).ok()))
}

/// What earlier runs knew; rebuilt from the events where the notes of it are missing or of another form.
async fn recall(journal: &Journal) -> Result<Memory, GateError> {
    let reader = journal.reader()?;
    // A rebuild reads the whole journal, once; the supervisor must not take that for a hang.
    health::tell(&[NotifyState::ExtendTimeoutUsec(REBUILD_EXTENSION_US)]);
    let recalled = tokio::task::spawn_blocking(move || Memory::recall(&reader)).await;
    match recalled.expect("reading rows and JSON does not panic")? {
        Recalled::Kept(memory) => Ok(memory),
        Recalled::Rebuilt(memory, notes) => {
            if !memory.seals.is_empty() {
                tracing::info!(seals = memory.seals.len(), "last known states are rebuilt from the events");
            }
            // The note that says which form they have comes last.
            for some in notes.chunks(NOTES_MAX) {
                journal.keep(some.to_vec()).await?;
            }
            Ok(memory)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::config::LoadArgs;
    use crate::event::{Assurance, BootId, Class, ClockQuality, Draft, EventType, Stamp, Subject};
    use crate::journal::{Beginning, Entry, Filter, JournalConfig, Note};

    /// Rots a closed journal like this: the first start ends with damage, the next ones work.
    async fn the_start_after_the_next_works(rot: impl FnOnce(&Path)) {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().display();
        let file = dir.path().join("segel.toml");
        let text = format!(
            "[gate]\nsite = \"idsrg\"\nid = \"g01\"\nstate_dir = \"{place}/state\"\nruntime_dir = \"{place}/run\"\n\
             [uplink]\nenabled = false\n[broker]\nenabled = false\n"
        );
        std::fs::write(&file, text).unwrap();
        let config = Config::load(&LoadArgs::of_file(&file)).unwrap().config;
        let (state, source) = (dir.path().join("state"), Source::new("idsrg", "g01").unwrap());
        let (journal, _) = Journal::open(&state, JournalConfig::default(), source.clone()).unwrap();
        let stamp =
            Stamp { wall: jiff::Timestamp::UNIX_EPOCH, monotonic_ms: 1, boot: BootId(uuid::Uuid::nil()), clock: ClockQuality::Untrusted };
        for note in ["a", "b"] {
            let draft = Draft::new(Class::Alarm, EventType::ForcedOpen, Subject::gateway(), stamp, Assurance::Own, &serde_json::json!({}));
            journal.append(Entry::new(draft.unwrap()).with(Note::keep(CLOCK_NOTE.0, CLOCK_NOTE.1, note))).await.unwrap();
        }
        journal.close().await.unwrap();
        rot(&state.join("journal.db"));

        let stopped = CancellationToken::new();
        stopped.cancel();
        let fault = Box::pin(super::super::run(config.clone(), stopped.clone())).await.unwrap_err();
        assert!(matches!(&fault, GateError::Journal(fault) if fault.is_damage()), "{fault:?}");
        assert!(state.join("journal.condemned").exists(), "the next start must know");
        Box::pin(super::super::run(config, stopped)).await.unwrap();
        let (journal, opening) = Journal::open(&state, JournalConfig::default(), source).unwrap();
        assert_eq!(opening.beginning, Beginning::Resumed, "the new journal goes on");
        let reader = journal.reader().unwrap();
        let told = |class, kind| reader.tail(&Filter { class: Some(class), kind: Some(kind), ..Filter::default() }, 10).unwrap().len();
        assert_eq!(told(Class::Alarm, EventType::JournalSetAside), 1, "what was set aside is known to the new one");
        journal.close().await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_note_that_cannot_be_read_at_the_start_costs_one_start() {
        the_start_after_the_next_works(|path| {
            let connection = rusqlite::Connection::open(path).unwrap();
            let number = |sql| usize::try_from(connection.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap()).unwrap();
            let page = number("PRAGMA page_size");
            let at = (number("SELECT rootpage FROM sqlite_schema WHERE name = 'note'") - 1) * page;
            drop(connection);
            let mut bytes = std::fs::read(path).unwrap();
            bytes[at..at + page].fill(0xA5);
            std::fs::write(path, bytes).unwrap();
        })
        .await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn one_of_the_last_rows_that_cannot_be_read_at_the_start_costs_one_start() {
        the_start_after_the_next_works(|path| {
            let connection = rusqlite::Connection::open(path).unwrap();
            assert_eq!(connection.execute("UPDATE event SET subject = '' WHERE seq = 1", []).unwrap(), 1);
        })
        .await;
    }
}

//! What customs tells the gate: kept on disk before it is acknowledged, answered by a receipt.
//!
//! This version executes no command. It says so in a receipt that names the command and goes up like every other
//! receipt, so that whoever sent it knows the gate has it and will not act on it. A command that comes again is
//! recognised by its `id` and bytes (or, without an id, by its bytes) across restarts and is neither recorded nor answered
//! twice; other bytes under an id that was answered are refused by a receipt of their own.
//!
//! A command is done only when its receipt can be kept: [`Voucher`] is the one way to that, and the journal gives none
//! while it cannot promise a receipt. Then the command is refused with the reason. That refusal is a receipt too: where
//! it can be kept it is, and stands; where it cannot, the command stays unacknowledged and has one answer when it can.

use std::sync::{Mutex, PoisonError};

use segel_mqtt_bridge::uplink::{Delivery, Inbox, InboxError};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;

use crate::{
    clock::Clock,
    event::{Assurance, Class, Draft, EventType, Subject},
    ingest::note_json,
    journal::{Entry, Journal, JournalReader, JournalStanding, NoReceipt},
};

/// The kind of note an answered command is kept under.
pub const NOTE: &str = "command";
/// Longest id of a command, in characters; a ULID has 26, a UUID 36.
const ID_MAX: usize = 64;
/// The text of a command is kept in the event while it takes at most this many bytes there, escapes included; of a longer
/// one only the digest is.
const TEXT_MAX: usize = 4_096;
/// Of a topic this many characters are kept; ours has a third of that.
const TOPIC_MAX: usize = 200;
/// Hex digits of a digest that tell two commands apart where one stands for an id.
const SHORT_DIGEST: usize = 32;

/// Takes commands from the uplink into the journal.
#[derive(Debug)]
pub struct Commands {
    journal: Journal,
    reader: Mutex<JournalReader>,
    standing: watch::Receiver<JournalStanding>,
    clock: Clock,
    /// One command at a time, so that the same command twice at once is still answered once.
    turn: tokio::sync::Mutex<()>,
}

/// What a command must at least say.
#[derive(Deserialize)]
struct Envelope {
    id: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Received<'a> {
    command_id: &'a str,
    topic: &'a str,
    bytes: usize,
    sha256: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    retained: bool,
    duplicate: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Refused<'a> {
    command_id: &'a str,
    sha256: &'a str,
    status: &'static str,
    code: &'static str,
    text_en: &'static str,
    text_id: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// That the journal can keep the receipt of what is about to be done. Whatever executes a command asks for one first
/// and holds it while it does; there is no other way to make one.
#[derive(Debug)]
pub struct Voucher {
    _given: (),
}

impl Voucher {
    /// A voucher, if the journal can promise a receipt now.
    ///
    /// # Errors
    /// Why it cannot, in a sentence for the person at the gate.
    pub fn ask(standing: &JournalStanding) -> Result<Self, NoReceipt> {
        standing.vouches_for_a_receipt().map(|()| Self { _given: () })
    }
}

/// What is kept of an answered command.
#[derive(Serialize, Deserialize)]
struct Answered {
    sha256: String,
    receipt: String,
    code: String,
}

/// Why a command is refused.
#[derive(Debug, Clone)]
enum Refusal {
    NotSupported,
    NoReceipt(NoReceipt),
    Malformed,
    TooLong,
    Retained,
    IdReused,
}

impl Refusal {
    /// What in particular, where there is something.
    fn reason(&self) -> Option<String> {
        match self {
            Self::NoReceipt(why) => Some(why.to_string()),
            Self::NotSupported | Self::Malformed | Self::TooLong | Self::Retained | Self::IdReused => None,
        }
    }

    /// Code, English, Indonesian.
    fn words(&self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::NotSupported => (
                "not_supported",
                "This gate does not execute commands yet. Nothing was done. Open the seal by hand under the conventional procedure.",
                "Gerbang ini belum menjalankan perintah. Tidak ada yang dilakukan. Buka segel secara manual sesuai prosedur.",
            ),
            Self::NoReceipt(_) => (
                "no_room_for_receipt",
                "The gate could not keep the proof of an opening. Nothing was done. Mend the reason and send a new command, or open the seal by hand under the conventional procedure.",
                "Gerbang tidak dapat menyimpan bukti pembukaan. Tidak ada yang dilakukan. Atasi penyebabnya lalu kirim perintah baru, atau buka segel secara manual sesuai prosedur.",
            ),
            Self::Malformed => (
                "malformed",
                "The command is not a JSON object with an id of at most 64 characters. Nothing was done. Send it again, corrected.",
                "Perintah bukan objek JSON dengan id paling panjang 64 karakter. Tidak ada yang dilakukan. Kirim ulang setelah diperbaiki.",
            ),
            Self::TooLong => (
                "too_long",
                "The command is longer than this gate takes. Nothing was done. Send a shorter one.",
                "Perintah lebih panjang daripada yang diterima gerbang ini. Tidak ada yang dilakukan. Kirim yang lebih pendek.",
            ),
            Self::IdReused => (
                "id_reused",
                "Another command with the same id was answered before. Nothing was done. Send it again with an id of its own.",
                "Perintah lain dengan id yang sama sudah dijawab. Tidak ada yang dilakukan. Kirim ulang dengan id tersendiri.",
            ),
            Self::Retained => (
                "retained",
                "The command was stored on the broker (retain=1) and may be old. Nothing was done. Send it again without retain.",
                "Perintah tersimpan di broker (retain=1) dan mungkin sudah lama. Tidak ada yang dilakukan. Kirim ulang tanpa retain.",
            ),
        }
    }
}

/// What becomes of a command that is new, well-formed and fresh: the one place from which one will be done, and never
/// without a voucher.
fn decide(voucher: Result<Voucher, NoReceipt>) -> Refusal {
    match voucher {
        Ok(Voucher { .. }) => Refusal::NotSupported,
        Err(why) => Refusal::NoReceipt(why),
    }
}

impl Commands {
    /// An inbox on this journal.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn new(journal: Journal, clock: Clock) -> Result<Self, crate::journal::JournalError> {
        let (reader, standing) = (Mutex::new(journal.reader()?), journal.standing());
        Ok(Self { journal, reader, standing, clock, turn: tokio::sync::Mutex::default() })
    }

    fn answered(&self, key: &str) -> Result<Option<Answered>, InboxError> {
        let reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        let note = reader.note(NOTE, key).map_err(not_kept)?;
        Ok(note.and_then(|note| serde_json::from_slice(&note).ok()))
    }

    /// What becomes of a command under an id: the key its answer is kept under, and how it is refused; `None` when it
    /// has been answered.
    fn judge(&self, id: &str, digest: &str, refusal: Refusal) -> Result<Option<(String, Refusal)>, InboxError> {
        let answered_as = |key: &str| self.answered(key);
        match answered_as(id)? {
            None => Ok(Some((id.to_owned(), refusal))),
            // Refused because it had waited on the broker, and now sent anew, as the refusal asked.
            Some(before)
                if before.sha256 == digest && before.code == Refusal::Retained.words().0 && !matches!(refusal, Refusal::Retained) =>
            {
                Ok(Some((id.to_owned(), refusal)))
            }
            Some(before) if before.sha256 == digest => Ok(None),
            Some(_) => {
                let key = format!("{id}#{}", &digest[..SHORT_DIGEST]);
                Ok(answered_as(&key)?.is_none().then_some((key, Refusal::IdReused)))
            }
        }
    }

    /// Both events, made before anything is awaited.
    fn entries(&self, id: &str, key: &str, digest: &str, delivery: &Delivery, refusal: &Refusal) -> Result<Vec<Entry>, InboxError> {
        let stamp = self.clock.now();
        let subject = Subject::command(id).map_err(not_kept)?;
        let text = std::str::from_utf8(&delivery.payload).ok().filter(|text| fits(text));
        let topic: String = delivery.topic.chars().take(TOPIC_MAX).collect();
        let received = Received {
            command_id: id,
            topic: &topic,
            bytes: delivery.length,
            sha256: digest,
            text,
            retained: delivery.retained,
            duplicate: delivery.duplicate,
        };
        let (code, text_en, text_id) = refusal.words();
        let refused = Refused { command_id: id, sha256: digest, status: "refused", code, text_en, text_id, reason: refusal.reason() };
        let received =
            Draft::new(Class::Receipt, EventType::CommandReceived, subject.clone(), stamp, Assurance::Own, &received).map_err(not_kept)?;
        let refused = Draft::new(Class::Receipt, EventType::CommandRefused, subject, stamp, Assurance::Own, &refused).map_err(not_kept)?;
        let answered = Answered { sha256: digest.to_owned(), receipt: refused.id.to_string(), code: code.to_owned() };
        let note = note_json(NOTE, key, &answered);
        Ok(vec![Entry::new(received), Entry::new(refused).with(note)])
    }
}

impl Inbox for Commands {
    async fn receive(&self, delivery: Delivery) -> Result<(), InboxError> {
        let standing = self.standing.borrow().clone();
        if let Some(fault) = &standing.refusing {
            // Not even the refusal can be kept: it is offered again, and answered when it can be.
            return Err(not_kept(NoReceipt::Refusing(fault.clone())));
        }
        let digest = hex::encode(Sha256::digest(&delivery.payload));
        let (id, refusal) = match serde_json::from_slice::<Envelope>(&delivery.payload) {
            Ok(Envelope { id }) if is_id(&id) => (id, if delivery.retained { Refusal::Retained } else { decide(Voucher::ask(&standing)) }),
            _ if delivery.length > delivery.payload.len() => (format!("sha256-{}", &digest[..SHORT_DIGEST]), Refusal::TooLong),
            _ => (format!("sha256-{}", &digest[..SHORT_DIGEST]), Refusal::Malformed),
        };
        let _turn = self.turn.lock().await;
        let Some((key, refusal)) = self.judge(&id, &digest, refusal)? else {
            tracing::info!(command = id, "a command came again; it has been answered");
            return Ok(());
        };
        let entries = self.entries(&id, &key, &digest, &delivery, &refusal)?;
        self.journal.append_all(entries).await.map_err(not_kept)?;
        tracing::info!(command = id, code = refusal.words().0, "a command was refused");
        Ok(())
    }
}

/// Whether a text may stand in an event: control characters take six bytes each there.
fn fits(text: &str) -> bool {
    text.len() <= TEXT_MAX && serde_json::to_string(text).is_ok_and(|escaped| escaped.len() <= TEXT_MAX)
}

fn is_id(id: &str) -> bool {
    !id.is_empty() && id.len() <= ID_MAX && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:".contains(&b))
}

fn not_kept(fault: impl std::fmt::Display) -> InboxError {
    InboxError::NotKept(fault.to_string())
}

//! The words on the wire: classes, kinds of event and degrees of belief.
//!
//! Words come from DCSA Track & Trace 3.0.0 where it has them, from the seal makers' alarm tables where they agree on
//! a meaning, and are our own extension where neither speaks; each says which. A word is never reused for another
//! meaning, because documents of past years are still read.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A text that is no word of this vocabulary.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{word}` is no {what}: one of {known}")]
pub struct UnknownWord {
    pub(super) what: &'static str,
    pub(super) word: String,
    pub(super) known: String,
}

/// Writes an enum whose variants have one word each on the wire.
macro_rules! words {
    ($(#[$outer:meta])* $name:ident, $what:literal { $($(#[$doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$outer])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum $name { $($(#[$doc])* #[serde(rename = $word)] $variant,)+ }

        impl $name {
            /// Every word, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word on the wire.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.pad(self.as_str()) }
        }

        impl FromStr for $name {
            type Err = UnknownWord;
            fn from_str(word: &str) -> Result<Self, Self::Err> {
                match word {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(UnknownWord { what: $what, word: word.chars().take(40).collect(), known: [$($word),+].join(", ") }),
                }
            }
        }
    };
}
pub(super) use words;

words! {
    /// Which queue an event belongs to, the most urgent first. Each class has its own numbers and its own chain.
    Class, "class of event" {
        /// Somebody has to act: tampering, a forced or cut seal, a loss. Never dropped.
        Alarm = "alarm",
        /// What became of a command or a passage. Never dropped.
        Receipt = "receipt",
        /// Everything else. The oldest is dropped when its quota is full, and a `GAP` says so.
        Telemetry = "telemetry",
    }
}

words! {
    /// How far an event can be believed. A claim is not evidence.
    Assurance, "degree of assurance" {
        /// The gate saw it itself (its own start, its own clock, its own door contact).
        Own = "own",
        /// A tag was read: something with that number was here, its state is unknown.
        Presence = "presence",
        /// An advertisement anybody could have sent or played back.
        Claim = "claim",
        /// An advertisement whose code was verified with the seal's key and whose counter went forward.
        Keyed = "keyed",
        /// An advertisement that was played back: its counter is not above the last one.
        Doubtful = "doubtful",
        /// What a seal said over a session in which it proved itself.
        Evidence = "evidence",
    }
}

words! {
    /// What happened.
    EventType, "type of event" {
        /// A container came in through the gate. DCSA T&T 3.0.0, equipment event `GTIN`, spelt out.
        GatedIn = "GATED_IN",
        /// A container left through the gate. DCSA T&T 3.0.0, equipment event `GTOT`, spelt out.
        GatedOut = "GATED_OUT",
        /// A sign of life with a place. DCSA T&T 3.0.0, IoT event.
        Breadcrumb = "BREADCRUMB",
        /// State of a device (battery, versions, faults). DCSA T&T 3.0.0, IoT event.
        DeviceStatus = "DEVICE_STATUS",
        /// A door was opened. DCSA T&T 3.0.0, IoT event.
        DoorOpened = "DOOR_OPENED",
        /// A door was closed. DCSA T&T 3.0.0, IoT event.
        DoorClosed = "DOOR_CLOSED",
        /// A seal was set. Seal makers' lock records (HHD 0x0002 and on, Jointech P45).
        Sealed = "SEALED",
        /// A seal was opened with authority. Seal makers' lock records (HHD, Jointech P45).
        Unsealed = "UNSEALED",
        /// The shackle was opened while sealed. HHD 0x000F, Jointech and TT alarms.
        ForcedOpen = "FORCED_OPEN",
        /// Rope, rod or wire was cut. Jointech 0x08, HHD 0x0011, TT 04.
        ShackleCut = "SHACKLE_CUT",
        /// The seal's own housing was opened. Jointech 0x10xx, HHD 0x0010, TT 0x74.
        CoverOpened = "COVER_OPENED",
        /// A seal was opened by its emergency means. TT 0x95, HHD; the word is our own.
        EmergencyOpened = "EMERGENCY_OPENED",
        /// A wrong password or key was tried at a seal. TT 0x93, HHD 0x0013, Jointech alarm bits; the word is our own.
        WrongPassword = "WRONG_PASSWORD",
        /// A seal stood open for too long. TT 0x99, Jointech long-unlocked; the word is our own.
        OpenTooLong = "OPEN_TOO_LONG",
        /// A seal's motor is stuck. HHD 0x0018 and 0x0019; the word is our own.
        MotorStuck = "MOTOR_STUCK",
        /// A seal was closed and not sealed, or sealed by hand. HHD 0x0014; the word is our own.
        LocallySealed = "LOCALLY_SEALED",
        /// A sealing was called off. Seal makers' lock records; the word is our own.
        SealingCancelled = "SEALING_CANCELLED",
        /// A seal started anew: battery changed, or reset. Own extension.
        SealRestarted = "SEAL_RESTARTED",
        /// A seal's clock was set. Own extension.
        SealTimeSet = "SEAL_TIME_SET",
        /// A seal's log was full and lost entries. Own extension.
        LogLost = "LOG_LOST",
        /// A seal says that something is wrong without saying what. Own extension.
        SealAbnormal = "SEAL_ABNORMAL",
        /// A battery is low. Jointech, HHD 0x0012 and 0x0017.
        LowBattery = "LOW_BATTERY",
        /// A seal or reader is no longer heard. HHD 0x0059, Jointech peripheral status.
        CommsLost = "COMMS_LOST",
        /// It is heard again. HHD 0x0059, Jointech peripheral status.
        CommsRestored = "COMMS_RESTORED",
        /// A tag was read at a reader. Own extension: it proves presence and nothing more.
        TagSeen = "TAG_SEEN",
        /// A seal says it was tampered with, without saying how. Own extension.
        Tampered = "TAMPERED",
        /// A seal's counter fell back to its beginning (battery changed, or a copy). Own extension.
        CounterReset = "COUNTER_RESET",
        /// An advertisement was not believed (wrong code, played back). Own extension.
        AdvertRefused = "ADVERT_REFUSED",
        /// A reader fails or works again; the body says which. Own extension.
        ReaderTrouble = "READER_TROUBLE",
        /// A seal refused to open. Jointech P45 source 2, HHD 0x000B; the word is our own.
        UnlockRejected = "UNLOCK_REJECTED",
        /// A command arrived and is on disk; nothing is said about doing it. Own extension.
        CommandReceived = "COMMAND_RECEIVED",
        /// A command will not be done, and why. Own extension.
        CommandRefused = "COMMAND_REFUSED",
        /// Somebody asked for a seal to be locked, drained or set; on disk before anything is sent to it. Own extension.
        ActionIntended = "ACTION_INTENDED",
        /// What became of that: the outcome, how it is known, where the time went. Own extension.
        ActionEnded = "ACTION_ENDED",
        /// This program started. Own extension.
        GatewayStarted = "GATEWAY_STARTED",
        /// This program stopped in order. Own extension.
        GatewayStopped = "GATEWAY_STOPPED",
        /// The wall clock jumped. Own extension.
        ClockStepped = "CLOCK_STEPPED",
        /// A damaged journal was set aside and a new one begun. Own extension.
        JournalSetAside = "JOURNAL_SET_ASIDE",
        /// A stretch of a class is sealed in the archive and leaves the database; the body has its digests. Own extension.
        Archived = "ARCHIVED",
        /// The archive cannot be written: what is due stays in the database. Own extension.
        ArchiveFailing = "ARCHIVE_FAILING",
        /// The archive can be written again. Own extension.
        ArchiveWorking = "ARCHIVE_WORKING",
        /// An event of this journal is not what was written any more, or the journal itself is damaged. Own extension.
        JournalDamaged = "JOURNAL_DAMAGED",
        /// An event that was recorded in a journal set aside, and not delivered: what it was. Own extension.
        CarriedOver = "CARRIED_OVER",
        /// All that could be read of a journal set aside is carried over: how much, and how much not. Own extension.
        CarryOverEnded = "CARRY_OVER_ENDED",
        /// The journal could not be written for a while; recorded when it can be again. Own extension.
        JournalRefused = "JOURNAL_REFUSED",
        /// The journal's disk will be full soon. Own extension.
        StorageLow = "STORAGE_LOW",
        /// It is nearly full: telemetry is refused and counted. Own extension.
        StorageScarce = "STORAGE_SCARCE",
        /// It is read-only or does not answer. Own extension.
        StorageFailed = "STORAGE_FAILED",
        /// It has room again; the body says what was refused meanwhile. Own extension.
        StorageRecovered = "STORAGE_RECOVERED",
        /// Events of this class were dropped: which, how many, and the digest of the last. Own extension.
        Gap = "GAP",
    }
}

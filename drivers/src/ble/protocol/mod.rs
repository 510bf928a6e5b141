//! The protocols seals speak, all behind one trait.
//!
//! ```text
//!   advertisement ─► Protocol::advert ─► what it says, and how that was protected
//!
//!   session ── Begin ───────────────► Exchange::step ──► Write {bytes, effect}
//!           ── Written / Notified ──►                ──► Listen {within}
//!           ── Silence / Reread ────►                ──► Reread | Tell | Store | End
//! ```
//!
//! An [`Exchange`] is the whole of one action in the seal's own protocol, without I/O, clock or randomness of its own:
//! it is told what came and says what to do next. The session carries it out, with deadlines, and is the only one that
//! decides what happens when the line breaks.
//!
//! What must hold: a step that can make the seal move says so ([`Effect::Moves`]), because the session sends such a
//! step once in the life of a request and never again; an exchange built for [`Action::ReadState`] has none; no input,
//! however broken, panics, loops for ever or grows memory; a check that does not fit is an error and never ignored.

mod bthome;
mod eseal;
mod g_series;
mod nokelock;
#[cfg(test)]
mod rehearsal;
mod segel_v1;
mod tt;

use std::{
    fmt,
    str::FromStr,
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    Action, AdvertRefusal, Hindrance, Memory, Protection, Rejection, SealEvent, SealId, SealReading, SealStatus, Security, ble::KnownSeal,
    ble::air::Payload,
};

pub use bthome::Bthome;
pub use eseal::EsealBd;
pub use g_series::GSeries;
pub use nokelock::NokeLock;
pub use segel_v1::SegelSeal;
pub use tt::Tt;

/// The protocols by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProtocolName {
    /// BTHome v2 advertisements.
    Bthome,
    /// TOTARGET TT-Series BLE-ELOCK A7.
    #[serde(rename = "tt")]
    TtElock,
    /// G-Series (IMZ / Bander V11).
    #[serde(rename = "g")]
    GSeries,
    /// NokeLock / Oklok.
    #[serde(rename = "nokelock")]
    NokeLock,
    /// ESealBD, a container e-seal.
    #[serde(rename = "eseal")]
    EsealBd,
    /// the segel open seal protocol v1.
    #[serde(rename = "segel")]
    Segel,
}

impl ProtocolName {
    /// Every protocol.
    pub const ALL: &'static [Self] = &[Self::Bthome, Self::TtElock, Self::GSeries, Self::NokeLock, Self::EsealBd, Self::Segel];

    /// The word for it in the register and on the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bthome => "bthome",
            Self::TtElock => "tt",
            Self::GSeries => "g",
            Self::NokeLock => "nokelock",
            Self::EsealBd => "eseal",
            Self::Segel => "segel",
        }
    }

    /// The protocol itself.
    #[must_use]
    pub fn protocol(self) -> &'static dyn Protocol {
        match self {
            Self::Bthome => &Bthome,
            Self::TtElock => &Tt,
            Self::GSeries => &GSeries,
            Self::NokeLock => &NokeLock,
            Self::EsealBd => &EsealBd,
            Self::Segel => &SegelSeal,
        }
    }
}

impl fmt::Display for ProtocolName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// No such protocol.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no protocol of a seal: one of {known}", known = ProtocolName::ALL.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", "))]
pub struct UnknownProtocol(String);

impl FromStr for ProtocolName {
    type Err = UnknownProtocol;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.iter().find(|name| name.as_str() == word);
        found.copied().ok_or_else(|| UnknownProtocol(word.chars().take(40).collect()))
    }
}

/// How well a protocol protects, and why that is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rating {
    /// How well.
    pub security: Security,
    /// Why, in one sentence for the person who chooses seals.
    pub reason: &'static str,
}

/// What an advertisement says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advertised {
    /// Its measurements; empty where being heard is all there is.
    pub reading: SealReading,
    /// How that was protected.
    pub protection: Protection,
}

/// Where on the seal to write and where its answers come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ports {
    /// It has no connections.
    None,
    /// Characteristics by name. `write` and `notify` may be the same.
    Fixed {
        /// The service they are in.
        service: Uuid,
        /// Where to write.
        write: Uuid,
        /// Where answers come from.
        notify: Uuid,
        /// Whether the seal acknowledges each write.
        ack: WriteAck,
        /// Longest piece written at once, in bytes; longer frames are cut.
        piece: usize,
    },
    /// The maker fixed none: the first pair of a writable and a notifying characteristic within one service that is not
    /// one of the Bluetooth SIG's own (16-bit).
    AnyPair {
        /// Longest piece written at once, in bytes.
        piece: usize,
    },
}

/// Whether the seal acknowledges writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteAck {
    /// Each write is answered (ATT Write Request).
    Acknowledged,
    /// None is (ATT Write Command).
    Unacknowledged,
}

/// The moment an exchange is built for; all time and chance it will ever know.
#[derive(Debug, Clone)]
pub struct Moment {
    /// Wall time as this machine believes it.
    pub wall: SystemTime,
    /// Fresh random bytes from the operating system.
    pub random: [u8; 32],
}

/// What came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input<'a> {
    /// The connection stands and answers are listened for. Comes first and once.
    Begin,
    /// The bytes of the last [`Step::Write`] were taken.
    Written,
    /// A notification.
    Notified(&'a [u8]),
    /// The value asked for by [`Step::Reread`].
    Reread(&'a [u8]),
    /// Nothing came within the time of the last [`Step::Listen`].
    Silence,
    /// What [`Step::Tell`] told has been passed on.
    Told,
    /// What [`Step::Store`] handed over is on disk.
    OnDisk,
    /// What [`Step::Store`] handed over is not on disk and will not be: end without confirming it.
    NotOnDisk,
    /// Somebody more urgent waits: end at the next safe point. Comes in place of [`Input::OnDisk`].
    OnDiskAndHurry,
}

/// What a write can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Nothing moves by it; it may be sent again on another connection.
    Harmless,
    /// The seal may move. Sent once in the life of a request.
    Moves,
    /// The seal deletes stored events that are on disk here. Harmless to repeat.
    Confirms,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Write these bytes; answered by [`Input::Written`] (or earlier by [`Input::Notified`]).
    Write {
        /// What.
        bytes: Vec<u8>,
        /// What it can do.
        effect: Effect,
    },
    /// Wait for a notification.
    Listen {
        /// For how long; then [`Input::Silence`].
        within: Duration,
    },
    /// Read the characteristic answers come from: a notification may have been lost. Answered by [`Input::Reread`].
    Reread,
    /// Pass on what the seal told by itself (it is not deleted there); answered by [`Input::Told`].
    Tell {
        /// What.
        events: Vec<SealEvent>,
        /// Live, or out of its log.
        memory: Memory,
    },
    /// Hand over stored events and wait until they are on disk; answered by [`Input::OnDisk`], [`Input::NotOnDisk`] or
    /// [`Input::OnDiskAndHurry`].
    Store {
        /// What, at most a few dozen at a time.
        events: Vec<SealEvent>,
        /// Out of which log.
        log: u32,
    },
    /// The exchange is over.
    End(Said),
}

/// How an exchange ended, as far as the seal's words go.
#[derive(Debug, Clone, PartialEq)]
pub enum Said {
    /// Its state.
    Status(SealStatus),
    /// It says that it did what was asked.
    Did,
    /// It stood so already; nothing that moves it was sent, or it says that nothing moved.
    Already(Option<SealStatus>),
    /// It refuses.
    Refused(Rejection),
    /// It says no, and may have moved all the same, or said it to somebody else: no proof that nothing moved.
    Doubtful(Rejection),
    /// Its log is empty, or the drain was interrupted; so many were confirmed.
    Drained(u32),
    /// Its clock is set.
    TimeSet,
    /// It did not answer in the exchange's time.
    Nothing,
    /// It cannot go on for a reason on this side or in what the seal sent; asking again changes nothing.
    Cannot(Hindrance),
}

/// One action with one seal, step by step.
pub trait Exchange: Send {
    /// What to do, given what came.
    fn step(&mut self, input: Input<'_>) -> Step;

    /// What is going on now, in a word for the person who waits.
    fn stage(&self) -> Stage {
        Stage::Talking
    }

    /// The state it read before its first step that moves the seal, where it read one: a seal that says no and stands
    /// otherwise than before did move.
    fn before(&self) -> Option<&SealStatus> {
        None
    }

    /// How many stored events the seal still holds, where a drain knows it at its end.
    fn remaining(&self) -> Option<u32> {
        None
    }

    /// An exchange that reads the state and knows which command this one sent, so that it can fill
    /// [`SealStatus::did_ours`]. `None`: [`Action::ReadState`]'s own is as good.
    fn read_back(&self, now: &Moment) -> Option<Box<dyn Exchange>> {
        let _ = now;
        None
    }
}

/// What an exchange is at, for progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Seal and gate prove themselves.
    Authenticating,
    /// Nothing that has a word of its own. In [`Action::SetTime`] a write at this stage may set the clock.
    Talking,
}

/// A protocol seals speak.
pub trait Protocol: Send + Sync + 'static {
    /// Its name.
    fn name(&self) -> ProtocolName;

    /// How well it protects, and why.
    fn rating(&self, seal: &KnownSeal) -> Rating;

    /// What it can do.
    fn actions(&self) -> &'static [Action];

    /// Where on the seal to write and to listen.
    fn ports(&self) -> Ports;

    /// Whether it advertises in service data under this UUID, so that the bare fact of being heard adds nothing.
    fn service_data(&self) -> Option<Uuid> {
        None
    }

    /// Whether this ATT error means "later": nothing was taken, and the same may be written again after a second.
    fn says_later(&self, att: u8) -> bool {
        let _ = att;
        false
    }

    /// What an advertisement of a registered seal says; `None` when it is nothing of this protocol and says nothing.
    ///
    /// [`Payload::Bare`] (the seal was heard, whatever it said) is `Some` for protocols that advertise no state.
    ///
    /// # Errors
    /// The reason it may not be believed.
    fn advert(&self, seal: &KnownSeal, frame: &crate::ble::AirFrame) -> Option<Result<Advertised, AdvertRefusal>> {
        let _ = seal;
        match frame.payload {
            Payload::Bare => Some(Ok(Advertised { reading: SealReading::default(), protection: Protection::Plain })),
            _ => None,
        }
    }

    /// Begins an action.
    ///
    /// # Errors
    /// [`Hindrance`]: it cannot be done with what is known of this seal; nothing was sent.
    fn exchange(&self, action: Action, seal: &KnownSeal, now: &Moment) -> Result<Box<dyn Exchange>, Hindrance>;
}

/// The number a seal calls itself by: registered apart, or the number part of its identity.
#[must_use]
pub fn device_number(seal: &KnownSeal) -> &str {
    let from_id = |id: &SealId| id.as_str().split_once('-').map_or(0, |(maker, _)| maker.len() + 1);
    seal.credentials.device_number.as_deref().unwrap_or_else(|| &seal.seal.as_str()[from_id(&seal.seal)..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_protocol_is_found_by_its_name_and_has_a_reason_for_its_rating() {
        let seal = KnownSeal::new("SGL-1".parse().unwrap(), ProtocolName::Bthome);
        for name in ProtocolName::ALL {
            assert_eq!(name.as_str().parse(), Ok(*name));
            assert_eq!(name.protocol().name(), *name);
            assert!(name.protocol().rating(&seal).reason.len() > 20, "{name}");
        }
        let error = "zigbee".parse::<ProtocolName>().unwrap_err().to_string();
        assert!(error.contains("bthome"), "{error}");
    }
}

//! What a reader says, typed.
//!
//! A frame that is whole and makes no sense is [`Unreadable`], never half a list of tags: the check has fitted, so
//! the bytes are as the reader sent them and the layout is not the one we were told (`dialect`).

use super::{Dialect, Frame, code};
use crate::Epc;

/// How many bytes of TID a reader adds to an EPC in FastID mode (manual 1.14, section 8.2.1).
const FAST_ID_TID: usize = 12;

/// A frame that is whole and cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("answer {code:02X} status {status:02X} does not have the layout of {dialect:?}; check `dialect` of this reader")]
pub struct Unreadable {
    /// The command it answers.
    pub code: u8,
    /// Its status byte; 0 when it has none.
    pub status: u8,
    /// The layout tried.
    pub dialect: Dialect,
}

/// Who a reader is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReaderInfo {
    /// Firmware, major and minor.
    pub firmware: (u8, u8),
    /// The maker's type byte.
    pub kind: u8,
    /// Transmit power in dBm as set.
    pub power_dbm: u8,
    /// The reader's own limit for one inventory, in steps of 100 ms.
    pub scan_time: u8,
    /// Antennas in use, one bit each, lowest bit antenna 1; 0 where the reader does not say.
    pub antennas: u8,
}

impl ReaderInfo {
    /// What the maker calls this type.
    #[must_use]
    pub fn kind_name(&self) -> &'static str {
        match self.kind {
            0x03 | 0x08 => "RRU9803M",
            0x09 => "UHFReader18",
            0x0C => "UHFReader288M",
            0x0F | 0x10 => "UHFReader86",
            0x16 => "RRU9883M",
            0x20 => "UHFReader288MP",
            0x8B => "UHFReader288 ADV",
            _ => "UHF reader",
        }
    }

    /// The layout this type is known to speak; `None` for a type we do not know.
    #[must_use]
    pub fn dialect(&self) -> Option<Dialect> {
        match self.kind {
            0x09 => Some(Dialect::UhfReader18),
            0x0C | 0x20 | 0x8B => Some(Dialect::UhfReader288),
            _ => None,
        }
    }
}

impl std::fmt::Display for ReaderInfo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (major, minor) = self.firmware;
        write!(f, "{} (type {:02X}) fw {major}.{minor:02}, {} dBm", self.kind_name(), self.kind, self.power_dbm)
    }
}

/// One tag in an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagEntry {
    /// What the tag calls itself.
    pub epc: Epc,
    /// The chip's own number, where the reader was told to add it (FastID).
    pub tid: Option<[u8; FAST_ID_TID]>,
    /// Antenna, counted from 1; `None` where the reader does not say or names several at once.
    pub antenna: Option<u8>,
    /// Signal strength as a raw byte of unknown unit.
    pub rssi_raw: Option<u8>,
}

/// How an inventory ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InventoryEnd {
    /// It is complete.
    Complete,
    /// Its time was over; what was found is told.
    TimeOver,
    /// More frames of the same inventory follow.
    MoreFollows,
    /// The reader's memory is full; what was found is told.
    MemoryFull,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// To [`super::Command::Info`].
    Info(ReaderInfo),
    /// To an inventory: the tags of this frame.
    Inventory {
        /// How it ended.
        end: InventoryEnd,
        /// The tags; none when the field is empty.
        tags: Vec<TagEntry>,
    },
    /// The numbers of the inventory before; nothing the gate needs.
    Statistics {
        /// Tags read in all, repeats included.
        total: u32,
    },
    /// A tag in real-time mode.
    Realtime(TagEntry),
    /// The reader lives and has seen no tag.
    Heartbeat {
        /// Counts up by one each time.
        packet: u32,
        /// The reader's own antenna states, uninterpreted.
        antennas: [u8; 8],
        /// Tags read in all since the reader started.
        total: u32,
    },
    /// A setting was taken.
    Done {
        /// The command it answers.
        code: u8,
    },
    /// An antenna is missing or mismatched.
    AntennaFault {
        /// The command it answers.
        code: u8,
        /// Antenna, counted from 1, where the reader says it.
        antenna: Option<u8>,
    },
    /// The reader refuses or fails.
    Failed {
        /// The command it answers.
        code: u8,
        /// Its status byte.
        status: u8,
    },
}

/// Status byte of an antenna fault.
pub(crate) const STATUS_ANTENNA: u8 = 0xF8;
const STATUS_NO_TAG: u8 = 0xFB;
const STATUS_STATISTICS: u8 = 0x26;
const STATUS_HEARTBEAT: u8 = 0x28;

/// What a status byte means, in our words after the makers' manual.
#[must_use]
pub fn meaning(status: u8) -> &'static str {
    match status {
        0x05 => "wrong access password",
        0x09 => "kill failed",
        0x0A => "the kill password must not be zero",
        0x0B => "the tag does not know this command",
        0x0C => "the access password must not be zero",
        0x0D => "the tag is already protected from reading",
        0x0E => "the tag is not protected from reading",
        0x10 => "some bytes are locked",
        0x11 => "cannot lock",
        0x12 => "already locked, cannot be locked again",
        STATUS_ANTENNA => "antenna missing or mismatched: check its cable and connector",
        0xF9 => "the command could not be carried out",
        0xFA => "a tag is there but its signal is too poor",
        STATUS_NO_TAG => "no tag in the field",
        0xFC => "the tag reported an error",
        0xFD => "the command had a wrong length",
        0xFE => "the reader does not know this command",
        0xFF => "a parameter is out of range",
        _ => "a status the manual does not name",
    }
}

impl Answer {
    /// Reads a frame from a reader of this dialect.
    ///
    /// # Errors
    /// [`Unreadable`] when the frame has no status byte or not the layout its command and status ask for.
    pub fn read(frame: &Frame, dialect: Dialect) -> Result<Self, Unreadable> {
        let code = frame.code();
        let Some((&status, data)) = frame.body().split_first() else {
            return Err(Unreadable { code, status: 0, dialect });
        };
        let read = match (code, status) {
            (_, STATUS_ANTENNA) => Some(Self::AntennaFault { code, antenna: data.first().and_then(|&bits| antenna(bits)) }),
            (code::INFO, 0) => info(data),
            (code::INVENTORY, 0x01..=0x04) => inventory(status, data, dialect),
            (code::INVENTORY, STATUS_STATISTICS) => statistics(data),
            (code::INVENTORY, STATUS_NO_TAG) => Some(Self::Inventory { end: InventoryEnd::Complete, tags: Vec::new() }),
            (code::REALTIME, 0) => realtime(data),
            (code::REALTIME, STATUS_HEARTBEAT) => heartbeat(data),
            (_, 0) => Some(Self::Done { code }),
            _ => Some(Self::Failed { code, status }),
        };
        read.ok_or(Unreadable { code, status, dialect })
    }
}

/// The one antenna a bit field names.
fn antenna(bits: u8) -> Option<u8> {
    bits.is_power_of_two().then(|| u8::try_from(bits.trailing_zeros() + 1).expect("a byte has eight bits"))
}

fn info(data: &[u8]) -> Option<Answer> {
    // version (2), type, protocols, highest frequency, lowest frequency, power, scan time [, antennas, ...]
    let &[major, minor, kind, _protocols, _highest, _lowest, power_dbm, scan_time, ref rest @ ..] = data else { return None };
    let antennas = rest.first().copied().unwrap_or(0);
    Some(Answer::Info(ReaderInfo { firmware: (major, minor), kind, power_dbm, scan_time, antennas }))
}

fn inventory(status: u8, data: &[u8], dialect: Dialect) -> Option<Answer> {
    let (antenna, count, mut rest) = match dialect {
        Dialect::UhfReader18 => (None, *data.first()?, &data[1..]),
        Dialect::UhfReader288 => (antenna(*data.first()?), *data.get(1)?, &data[2..]),
    };
    let mut tags = Vec::with_capacity(usize::from(count).min(data.len()));
    for _ in 0..count {
        let (entry, after) = tag(rest, antenna, dialect)?;
        tags.push(entry);
        rest = after;
    }
    let end = match status {
        0x01 => InventoryEnd::Complete,
        0x02 => InventoryEnd::TimeOver,
        0x03 => InventoryEnd::MoreFollows,
        _ => InventoryEnd::MemoryFull,
    };
    rest.is_empty().then_some(Answer::Inventory { end, tags })
}

/// `len EPC` or `len EPC RSSI`; the highest bit of `len` says that a TID follows the EPC.
fn tag(data: &[u8], antenna: Option<u8>, dialect: Dialect) -> Option<(TagEntry, &[u8])> {
    let (&len, rest) = data.split_first()?;
    let (name, rest) = rest.split_at_checked(usize::from(len & 0x7F))?;
    let (epc, tid) = if len & 0x80 == 0 {
        (name, None)
    } else {
        let (epc, tid) = name.split_last_chunk::<FAST_ID_TID>()?;
        (epc, Some(*tid))
    };
    let (rssi_raw, rest) = match dialect {
        Dialect::UhfReader18 => (None, rest),
        Dialect::UhfReader288 => (Some(*rest.first()?), &rest[1..]),
    };
    Some((TagEntry { epc: Epc::new(epc).ok()?, tid, antenna, rssi_raw }, rest))
}

fn statistics(data: &[u8]) -> Option<Answer> {
    let &[_antenna, _rate_high, _rate_low, ref total @ ..] = data else { return None };
    Some(Answer::Statistics { total: u32::from_be_bytes(total.try_into().ok()?) })
}

fn realtime(data: &[u8]) -> Option<Answer> {
    let (entry, rest) = tag(data.get(1..)?, antenna(data[0]), Dialect::UhfReader288)?;
    rest.is_empty().then_some(Answer::Realtime(entry))
}

fn heartbeat(data: &[u8]) -> Option<Answer> {
    let data: &[u8; 16] = data.try_into().ok()?;
    let (packet, rest) = data.split_first_chunk::<4>()?;
    let (antennas, total) = rest.split_first_chunk::<8>()?;
    Some(Answer::Heartbeat { packet: u32::from_be_bytes(*packet), antennas: *antennas, total: u32::from_be_bytes(total.try_into().ok()?) })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str, dialect: Dialect) -> Result<Answer, Unreadable> {
        let frame = Frame::checked(&hex::decode(text).unwrap()).expect("the check fits");
        Answer::read(&frame, dialect)
    }

    fn built(code: u8, body: &str, dialect: Dialect) -> Result<Answer, Unreadable> {
        Answer::read(&Frame::new(0, code, &hex::decode(body).unwrap()), dialect)
    }

    fn entry(epc: &str, antenna: Option<u8>, rssi_raw: Option<u8>) -> TagEntry {
        TagEntry { epc: epc.parse().unwrap(), tid: None, antenna, rssi_raw }
    }

    use Dialect::{UhfReader18 as Old, UhfReader288 as New};
    use InventoryEnd::{Complete, MoreFollows};

    /// Captured from a device; do not change this test.
    #[test]
    fn a_reader_says_who_it_is() {
        let Ok(Answer::Info(info)) = read("1100210000160c034e001e0a01000000e651", New) else { panic!() };
        assert_eq!(info, ReaderInfo { firmware: (0, 22), kind: 0x0C, power_dbm: 30, scan_time: 10, antennas: 1 });
        assert_eq!(info.to_string(), "UHFReader288M (type 0C) fw 0.22, 30 dBm");
        assert_eq!(info.dialect(), Some(New));
    }

    /// Captured from devices; do not change this test.
    #[test]
    fn inventories_of_both_layouts_are_read() {
        let inventory = |end, tags| Ok(Answer::Inventory { end, tags });
        assert_eq!(
            read("1500010301010c0000000000000000000003136bb1a5", New),
            inventory(MoreFollows, vec![entry("000000000000000000000313", Some(1), Some(0x6B))])
        );
        assert_eq!(read("0d000103010104003230386da3d2", New), inventory(MoreFollows, vec![entry("00323038", Some(1), Some(0x6D))]));
        assert_eq!(read("0700010101001e4b", New), inventory(Complete, vec![]));
        assert_eq!(
            read("13000103010c0000000000000000000003133f39", Old),
            inventory(MoreFollows, vec![entry("000000000000000000000313", None, None)])
        );
        assert_eq!(
            read("20000103020c0000000000000000000003130c0000000000000000000003149ac9", Old),
            inventory(MoreFollows, vec![entry("000000000000000000000313", None, None), entry("000000000000000000000314", None, None)])
        );
    }

    /// Built after the manual, not yet seen from a device.
    #[test]
    fn real_time_tags_and_heartbeats_are_read() {
        assert_eq!(
            read("1400ee00010ce28069150000501d63e2784f6bf031", New),
            Ok(Answer::Realtime(entry("e28069150000501d63e2784f", Some(1), Some(0x6B))))
        );
        assert_eq!(
            read("1500ee2800000001000000000000000000000000c8f8", New),
            Ok(Answer::Heartbeat { packet: 1, antennas: [0; 8], total: 0 })
        );
    }

    #[test]
    fn an_antenna_is_counted_from_one_and_several_at_once_are_none() {
        assert_eq!(antenna(0x04), Some(3));
        assert_eq!(antenna(0x80), Some(8));
        assert_eq!(antenna(0x05), None);
        assert_eq!(antenna(0), None);
    }

    #[test]
    fn a_fast_id_entry_is_split_into_epc_and_tid() {
        let Ok(Answer::Inventory { tags, .. }) =
            built(1, "01 01 01 98 000000000000000000000313 e28069150000501d63e2784f 6b".replace(' ', "").as_str(), New)
        else {
            panic!()
        };
        assert_eq!(tags[0].epc, "000000000000000000000313".parse().unwrap());
        assert_eq!(hex::encode(tags[0].tid.unwrap()), "e28069150000501d63e2784f");
        assert!(built(1, "0101018b00000000000000000000036b", New).is_err(), "eleven bytes cannot hold a TID");
    }

    #[test]
    fn epcs_of_no_and_of_31_words_are_tags_and_longer_ones_are_not() {
        let with = |n: usize| built(1, &format!("010101{n:02x}{}6b", "ab".repeat(n)), New);
        for n in [0, 2, 4, 12, 16, 62] {
            let Ok(Answer::Inventory { tags, .. }) = with(n) else { panic!("{n}") };
            assert_eq!(tags[0].epc.as_bytes().len(), n);
        }
        assert!(with(63).is_err());
    }

    #[test]
    fn statuses_that_are_no_tags_keep_their_meaning() {
        assert_eq!(built(1, "fb", Old), Ok(Answer::Inventory { end: Complete, tags: vec![] }));
        assert_eq!(built(1, "26010002000000a3", New), Ok(Answer::Statistics { total: 0xA3 }));
        assert_eq!(built(1, "f80400", New), Ok(Answer::AntennaFault { code: 1, antenna: Some(3) }));
        assert_eq!(built(0xEE, "f8", New), Ok(Answer::AntennaFault { code: 0xEE, antenna: None }));
        assert_eq!(built(0x76, "00", New), Ok(Answer::Done { code: 0x76 }));
        assert_eq!(built(0x76, "fe", New), Ok(Answer::Failed { code: 0x76, status: 0xFE }));
        assert_eq!(meaning(0xFE), "the reader does not know this command");
    }

    #[test]
    fn a_list_that_does_not_fill_its_frame_is_no_list() {
        assert!(built(1, "", New).is_err(), "no status: our own echo, not an answer");
        for body in ["01", "0101", "010102", "01010104aabb6b", "0101010201026b00", "01ff"] {
            assert!(built(1, body, New).is_err(), "{body}");
        }
        assert!(read("13000103010c0000000000000000000003133f39", New).is_err(), "the other layout is not read as tags");
        assert!(built(0xEE, "28", New).is_err());
    }

    proptest! {
        #[test]
        fn no_frame_panics(code in prop::sample::select(vec![0x01u8, 0x21, 0x76, 0x78, 0xEE, 0x33]), body in prop::collection::vec(any::<u8>(), 0..240)) {
            let frame = Frame::new(0, code, &body);
            let _ = Answer::read(&frame, Old);
            let _ = Answer::read(&frame, New);
        }
    }
}

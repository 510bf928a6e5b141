//! How much room the journal has, and what it can promise: told by whoever watches the disk, found out by the writer.
//!
//! ```text
//!   Plenty ──told Scarce, or the disk was full──► Scarce: telemetry is refused and counted, alarms and receipts go on
//!     ▲                                              │ disk full: the reserve file is let go, they use its room
//!     └── told Plenty, and the reserve is there ◄────┘ nothing fits any more: commits fail, no receipt is vouched for
//! ```
//!
//! What must hold: before anything is promised that needs a receipt afterwards, [`JournalStanding::vouches_for_a_receipt`]
//! is asked; it says no in a sentence that a technician at the gate understands.

use crate::event::Class;

use super::JournalError;

/// Room that must be left in the reserve before a receipt is vouched for: an intent, a receipt and what an alarm needs
/// beside them take some tens of kilobytes of log.
pub(super) const RECEIPT_ROOM: u64 = 256 * 1024;

/// How much room there is on the journal's file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Room {
    /// Everything is recorded.
    #[default]
    Plenty,
    /// Telemetry is refused, so that alarms and receipts still find room.
    Scarce,
}

/// The file that keeps room for alarms and receipts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reserve {
    /// None is kept: the configuration wants none, or there was never enough room for it.
    #[default]
    Absent,
    /// It is there.
    Held {
        /// Its size in bytes.
        bytes: u64,
    },
    /// It was let go because the disk is full.
    Spent {
        /// Bytes of the file system still free.
        left: u64,
    },
}

/// What upkeep has still to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct UpkeepStanding {
    /// Rows that are in the archive and not deleted yet.
    pub to_trim: u64,
    /// Pages of the database file that hold nothing.
    pub free_pages: u64,
    /// Whether somebody asked for it to be done without pauses and it is not done yet.
    pub hurried: bool,
}

/// How the journal is, at one moment.
#[derive(Debug, Clone, Default)]
pub struct JournalStanding {
    /// The room that counts: what was told, or Scarce while the disk is full.
    pub room: Room,
    /// The reserve.
    pub reserve: Reserve,
    /// Set while commits fail: what the last one failed of.
    pub refusing: Option<JournalError>,
    /// Events refused for want of room since this journal began, per class. Only telemetry ever is.
    pub refused: [u64; Class::ALL.len()],
    /// Classes that hold more bytes than their quota though nothing of them is ever dropped.
    pub over_quota: Vec<Class>,
    /// What upkeep has still to do.
    pub upkeep: UpkeepStanding,
}

/// Why no receipt can be promised now.
#[derive(Debug, Clone, thiserror::Error)]
pub enum NoReceipt {
    /// Nothing can be written.
    #[error("the gate cannot record anything now, so it could not prove an opening: {0}")]
    Refusing(JournalError),
    /// The disk is full to the last.
    #[error(
        "the gate's disk is full ({left} bytes left), so it could not prove an opening: free space on the state directory's file system"
    )]
    Full {
        /// Bytes left.
        left: u64,
    },
    /// The class is beyond its quota.
    #[error(
        "the gate holds more {class} events than its quota allows, so it takes no new opening: archive delivered events, or raise the quota"
    )]
    Quota {
        /// Which class.
        class: Class,
    },
}

impl JournalStanding {
    /// Whether nobody who watches would see a difference.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        let why = |standing: &Self| standing.refusing.as_ref().map(std::mem::discriminant);
        (self.room, self.reserve, self.refused, self.upkeep) == (other.room, other.reserve, other.refused, other.upkeep)
            && self.over_quota == other.over_quota
            && why(self) == why(other)
    }

    /// Whether a receipt can be promised now.
    ///
    /// # Errors
    /// Why not, in words for the person at the gate.
    pub fn vouches_for_a_receipt(&self) -> Result<(), NoReceipt> {
        if let Some(error) = &self.refusing {
            return Err(NoReceipt::Refusing(error.clone()));
        }
        if let Reserve::Spent { left } = self.reserve
            && left < RECEIPT_ROOM
        {
            return Err(NoReceipt::Full { left });
        }
        self.over_quota.first().map_or(Ok(()), |class| Err(NoReceipt::Quota { class: *class }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receipt_is_vouched_for_only_while_it_could_be_kept() {
        let well = JournalStanding::default();
        assert!(well.vouches_for_a_receipt().is_ok());
        let refusing = JournalStanding { refusing: Some(JournalError::Closed), ..well.clone() };
        assert!(refusing.vouches_for_a_receipt().is_err());
        let spent = |left| JournalStanding { reserve: Reserve::Spent { left }, ..well.clone() };
        assert!(spent(RECEIPT_ROOM).vouches_for_a_receipt().is_ok(), "the reserve is for exactly this");
        assert!(spent(RECEIPT_ROOM - 1).vouches_for_a_receipt().is_err());
        let full = JournalStanding { over_quota: vec![Class::Receipt], ..well };
        assert!(full.vouches_for_a_receipt().unwrap_err().to_string().contains("receipt"));
    }
}

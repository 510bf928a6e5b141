//! What we say to a reader. Only what the gate needs: who are you, what is in the field, tell me by yourself.

use std::time::Duration;

use super::{Frame, code};

/// The step in which a UHFReader288 counts its heartbeat period (manual 1.14, section 8.4.25).
pub const HEARTBEAT_UNIT: Duration = Duration::from_secs(30);

/// The smallest number a heartbeat period can be, and the largest: seven bits, and zero switches it off.
const HEARTBEAT_STEPS: std::ops::RangeInclusive<u32> = 1..=127;

/// How long one inventory may take, in steps of 100 ms (3 to 255).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScanTime(u8);

impl ScanTime {
    /// The shortest time the makers' manual allows: 300 ms.
    pub const SHORTEST: Self = Self(3);

    /// From steps of 100 ms, raised to the shortest allowed.
    #[must_use]
    pub fn steps(steps: u8) -> Self {
        Self(steps.max(Self::SHORTEST.0))
    }

    /// As a duration.
    #[must_use]
    pub fn duration(self) -> Duration {
        Duration::from_millis(100) * u32::from(self.0)
    }
}

/// A command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Type, firmware, power, antennas.
    Info,
    /// One inventory by a UHFReader18.
    Inventory18,
    /// One inventory by a UHFReader288.
    Inventory288 {
        /// The first guess of 2^Q tags in the field, 0 to 15.
        q: u8,
        /// Gen2 session, 0 to 3.
        session: u8,
        /// Antenna, counted from 1 to 8.
        antenna: u8,
        /// When to give up.
        scan_time: ScanTime,
    },
    /// Send tags without being asked; the reader remembers this without power.
    RealtimeMode,
    /// Be silent until asked.
    AnswerMode,
    /// In real-time mode, say that you live when no tag was seen for `steps` of [`HEARTBEAT_UNIT`].
    Heartbeat {
        /// How many steps, 1 to 127.
        steps: u8,
    },
}

impl Command {
    /// The heartbeat command whose period is the shortest that is not below `period`, counted in `unit`
    /// ([`HEARTBEAT_UNIT`] for the readers we know).
    #[must_use]
    pub fn heartbeat(period: Duration, unit: Duration) -> Self {
        let steps = period.as_millis().div_ceil(unit.as_millis().max(1));
        let steps = u32::try_from(steps).unwrap_or(u32::MAX).clamp(*HEARTBEAT_STEPS.start(), *HEARTBEAT_STEPS.end());
        Self::Heartbeat { steps: u8::try_from(steps).expect("clamped to seven bits") }
    }

    /// The code its answer carries.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Info => code::INFO,
            Self::Inventory18 | Self::Inventory288 { .. } => code::INVENTORY,
            Self::RealtimeMode | Self::AnswerMode => code::MODE,
            Self::Heartbeat { .. } => code::HEARTBEAT,
        }
    }

    /// The frame that says this to the reader at `address`.
    #[must_use]
    pub fn frame(self, address: u8) -> Frame {
        match self {
            Self::Info | Self::Inventory18 => Frame::new(address, self.code(), &[]),
            Self::Inventory288 { q, session, antenna, scan_time } => {
                // q, session, mask (memory EPC, from bit 0, 0 bits long: all tags), target A, antenna, time
                let antenna = 0x80 | (antenna.clamp(1, 8) - 1);
                Frame::new(address, self.code(), &[q & 0x0F, session & 0x03, 1, 0, 0, 0, 0, antenna, scan_time.0])
            }
            Self::RealtimeMode => Frame::new(address, self.code(), &[1]),
            Self::AnswerMode => Frame::new(address, self.code(), &[0]),
            Self::Heartbeat { steps } => Frame::new(address, self.code(), &[0x80 | steps]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From the manual and from a client that works with devices; do not change this test.
    #[test]
    fn commands_are_the_bytes_a_reader_knows() {
        let said = |command: Command, address| hex::encode(command.frame(address).bytes());
        assert_eq!(said(Command::Info, 0xFF), "04ff211995");
        assert_eq!(said(Command::Info, 0x00), "040021d96a");
        assert_eq!(said(Command::Inventory18, 0xFF), "04ff011bb4");
        assert_eq!(said(Command::Inventory18, 0x00), "040001db4b");
        let inventory = Command::Inventory288 { q: 4, session: 0, antenna: 1, scan_time: ScanTime::steps(20) };
        assert_eq!(said(inventory, 0xFF), "0dff010400010000000080140d93");
        assert_eq!(said(Command::RealtimeMode, 0x00), "05007601ebd8");
        assert_eq!(said(Command::Heartbeat { steps: 30 }, 0x00), "0500789e852e");
    }

    #[test]
    fn a_heartbeat_period_is_rounded_up_to_what_the_reader_can_count() {
        let steps = |period, unit| Command::heartbeat(Duration::from_secs(period), Duration::from_secs(unit));
        assert_eq!(steps(30, 30), Command::Heartbeat { steps: 1 });
        assert_eq!(steps(31, 30), Command::Heartbeat { steps: 2 });
        assert_eq!(steps(0, 30), Command::Heartbeat { steps: 1 }, "zero would switch it off");
        assert_eq!(steps(1_000_000, 30), Command::Heartbeat { steps: 127 });
        assert_eq!(steps(1, 0), Command::Heartbeat { steps: 127 }, "a unit of nothing is no division by zero");
    }
}

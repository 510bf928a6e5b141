//! What can be told to go wrong, and how often.

use std::{collections::VecDeque, time::Duration};

use super::book::Delivered;

/// How often a fault strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Times {
    /// The next so many times.
    Next(u32),
    /// Until it is told otherwise.
    Always,
}

/// What a connection attempt meets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConnectFault {
    /// The link is made only after this.
    After(Duration),
    /// It is never made and the call never answered, until it is cancelled by a disconnect.
    Never,
    /// The call fails with `org.bluez.Error.Failed` and this text, e.g. `le-connection-abort-by-local`.
    Refused(String),
    /// The device's object vanishes in the middle of the call, which is never answered.
    Vanishes,
    /// The link is made and lost before the services are resolved.
    LostBeforeServices,
    /// The link is made and stays, and the services are never resolved.
    NeverResolved,
}

/// What a write meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteFault {
    /// Nothing: it goes well. For the writes before the one that is meant.
    Nothing,
    /// The seal refuses it with this ATT error; it does not get the bytes. With 05 and 0F BlueZ begins to pair: the
    /// call is not answered, and the device's object goes.
    AttError(u8),
    /// The link is lost before the answer: ATT error 0E.
    LinkLost(Delivered),
    /// The write is delivered and answered, and the link lost before any notification.
    LinkLostAfterwards,
    /// The call is never answered.
    Unanswered(Delivered),
}

/// What the notifications to one write meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotifyFault {
    /// None arrives.
    Lost,
    /// All but the one with this number (from 0) arrive.
    LostOne(usize),
    /// Each arrives twice.
    Twice,
    /// They arrive only after this.
    Late(Duration),
    /// They are merged, as gdbus does with changes of one property: only the last arrives.
    Merged,
}

/// What a call meets before anything else, whatever its member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Nothing happens, and nothing is answered.
    Never,
    /// It happens, and nothing is answered.
    Mute,
    /// It happens only after this.
    After(Duration),
    /// Nothing happens; this is answered.
    Error {
        /// The error's name, e.g. `org.bluez.Error.Failed`.
        name: String,
        /// Its text.
        text: String,
    },
}

impl Answer {
    /// `org.bluez.Error.Failed` with this text.
    #[must_use]
    pub fn failed(text: &str) -> Self {
        Self::Error { name: "org.bluez.Error.Failed".to_owned(), text: text.to_owned() }
    }

    /// An ATT error as BlueZ words it.
    #[must_use]
    pub fn att_error(code: u8) -> Self {
        Self::failed(&att_error(code))
    }
}

/// The text of an ATT error.
pub(super) fn att_error(code: u8) -> String {
    format!("Operation failed with ATT error: {code:#04x}")
}

/// Faults of one kind that wait to strike, the oldest first.
#[derive(Debug)]
pub(super) struct Armed<F>(VecDeque<(F, Times)>);

impl<F> Default for Armed<F> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<F: Clone> Armed<F> {
    pub(super) fn arm(&mut self, fault: F, times: Times) {
        self.0.push_back((fault, times));
    }

    pub(super) fn disarm(&mut self) {
        self.0.clear();
    }

    /// The fault that strikes now. One that is there until told otherwise gives way to one armed after it.
    pub(super) fn strike(&mut self) -> Option<F> {
        self.strike_if(|_| true)
    }

    /// The same among those that `fits` takes.
    pub(super) fn strike_if(&mut self, fits: impl Fn(&F) -> bool) -> Option<F> {
        self.0.retain(|(_, times)| *times != Times::Next(0));
        let counted = self.0.iter().position(|(fault, times)| fits(fault) && matches!(times, Times::Next(_)));
        let place = counted.or_else(|| self.0.iter().rposition(|(fault, _)| fits(fault)))?;
        let (fault, times) = self.0.get_mut(place)?;
        if let Times::Next(left) = times {
            *left -= 1;
        }
        Some(fault.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_strikes_as_often_as_was_said_and_before_one_that_always_does() {
        let mut armed = Armed::default();
        assert_eq!(armed.strike(), None);
        armed.arm('a', Times::Always);
        armed.arm('b', Times::Next(2));
        armed.arm('c', Times::Next(1));
        let struck: String = std::iter::from_fn(|| armed.strike()).take(5).collect();
        assert_eq!(struck, "bbcaa");
        assert_eq!(armed.strike_if(|fault| *fault != 'a'), None);
        armed.disarm();
        assert_eq!(armed.strike(), None);
    }
}

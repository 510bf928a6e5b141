//! The exit codes of every command, in one place, because units and scripts are written against them.
//!
//! A code is never given a second meaning: `systemd/` restarts on some and gives up on others
//! (`RestartPreventExitStatus=2 20`), and a technician looks them up.

use std::process::ExitCode;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// What was asked is done.
    Good = 0,
    /// Something failed that no other code names.
    Other = 1,
    /// The command line was wrong.
    Usage = 2,
    /// The gate understood and refused (a permit, a policy).
    Refused = 10,
    /// The seal refused, and nothing read afterwards says otherwise.
    Rejected = 11,
    /// Nothing that moves the seal was sent; asking again is safe.
    NotAttempted = 12,
    /// It was sent, and nobody knows what the seal did: look at it.
    Unknown = 13,
    /// The configuration has faults; starting again will not help.
    Configuration = 20,
    /// The journal cannot be opened or written.
    Journal = 21,
    /// A listener cannot be had: the address is in use or not ours.
    Listener = 22,
    /// Ctrl-C or SIGTERM ended it before it was done, as shells say it.
    Interrupted = 130,
}

impl Exit {
    /// The code as the operating system sees it.
    #[must_use]
    pub fn code(self) -> u8 {
        self as u8
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_frozen_do_not_change_this_test() {
        let all = [Exit::Good, Exit::Other, Exit::Usage, Exit::Refused, Exit::Configuration, Exit::Journal, Exit::Listener];
        assert_eq!(all.map(Exit::code), [0, 1, 2, 10, 20, 21, 22]);
    }

    #[test]
    fn the_codes_of_what_became_of_an_action_are_frozen_do_not_change_this_test() {
        assert_eq!([Exit::Rejected, Exit::NotAttempted, Exit::Unknown].map(Exit::code), [11, 12, 13]);
    }

    #[test]
    fn the_code_of_a_broken_off_command_is_frozen_do_not_change_this_test() {
        assert_eq!(Exit::Interrupted.code(), 130);
    }
}

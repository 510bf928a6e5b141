//! What became of a command that was written, from what the seal answered and how it stands afterwards.
//!
//! Columns: how the seal stands in what was read back (`as asked`, `otherwise`, or it does not say), and whether the
//! command of this request is the last one it did (`did` yes, no, or `?` where its protocol does not say).
//!
//! ```text
//!   answer ╲ read back  as asked did/?    as asked no   otherwise did  otherwise no/?   mute did   mute no    mute ?    nothing
//!   yes                 REPORTED+BACK     unknown       unknown        unknown          REP.+BACK  unknown    REPORTED  REPORTED
//!   no                  READ BACK / (1)   rejected      unknown        rejected         READ BACK  rejected   rejected  rejected
//!   doubtful no         READ BACK / (1)   rejected      unknown        rejected (3)     READ BACK  unknown    unknown   unknown
//!   stood so already    READ BACK / (2)   rejected      unknown        unknown          READ BACK  rejected   rejected  rejected
//!   none                READ BACK / (2)   unknown       unknown        unknown (3)      READ BACK  unknown    unknown   unknown
//! ```
//!
//! A no is doubtful ([`Said::Doubtful`], and an ATT application error, which nobody proves) when seals were seen to move
//! in spite of it or it may have been said to somebody else: it alone is never believed, and rejected needs a reading
//! that says so.
//!
//! (1) A no of a seal that stands as asked, where the protocol does not say whose command it was (some seals say no and
//! open all the same): done when it stood otherwise before the write, rejected when it stood so before, unknown when
//! nobody looked. (2) Likewise done when it stood otherwise before the write, else rejected where it says that it stood so
//! already, and unknown without an answer: it may have stood so for long. (3) Without an answer unknown. But rejected as [`Rejection::NeverTook`] when the seal says with proof
//! ([`Security::Authenticated`]) that the command was not its last *and* the connection it was sent on is gone, so that
//! it cannot arrive any more; on a connection that lives it may still be on its way.
//!
//! "Unknown" says both: what was answered and how it stands. A seal that says yes and stands otherwise may have been
//! opened and closed again; nobody here knows.

use crate::{
    Action, Evidence, LockClaim, Outcome, Rejection, SealStatus, Security,
    ble::{link::LinkFault, protocol::Said},
};

/// What the seal answered to the write that moves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// It did it.
    Yes,
    /// It refuses.
    No(Rejection),
    /// It says no, and that proves nothing.
    Doubtful(Rejection),
    /// It stood so already, it says.
    StoodSo,
    /// None that means anything; why.
    None(String),
}

impl Answer {
    /// What an exchange that ended after its write means.
    pub(super) fn of(said: &Said) -> Self {
        match said {
            Said::Did => Self::Yes,
            Said::Refused(cause) => Self::No(*cause),
            Said::Doubtful(cause) => Self::Doubtful(*cause),
            Said::Already(_) => Self::StoodSo,
            Said::Nothing => Self::None("the seal did not answer the command".to_owned()),
            Said::Cannot(why) => Self::None(format!("what the seal answered to the command: {why}")),
            Said::Status(_) | Said::Drained(_) | Said::TimeSet => Self::None("the seal answered something else to the command".to_owned()),
        }
    }

    /// What a connection that failed after the write, or by it, means.
    pub(super) fn of_fault(fault: &LinkFault) -> Self {
        match fault {
            // an application's error (Core 5.4, Vol 3, Part F, 3.4.1.1): the seal says that it did not take it, without proof
            LinkFault::Att(code @ 0x80..=0x9F) => Self::Doubtful(Rejection::Other { code: *code, meaning: "it refused the write" }),
            other => Self::None(format!("after the command was sent: {other}")),
        }
    }
}

/// What became of the connection the command was sent on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It was still there when the state was read.
    Lives,
    /// It was gone before.
    Gone,
}

/// What was read afterwards, or why nothing was.
pub(super) type Back = Result<SealStatus, String>;

/// Everything there is to judge by.
#[derive(Debug)]
pub(super) struct Evidenced {
    pub(super) action: Action,
    pub(super) answer: Answer,
    /// Read before the write, where the exchange did.
    pub(super) before: Option<SealStatus>,
    pub(super) back: Back,
    pub(super) fate: Fate,
}

/// How a seal stands, measured by what was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stands {
    AsAsked,
    Otherwise,
    Mute,
}

fn stands(action: Action, status: &SealStatus) -> Stands {
    let asked = match action {
        Action::Unlock => LockClaim::Unlocked,
        Action::Lock => LockClaim::Locked,
        Action::ReadState | Action::DrainLog | Action::SetTime => return Stands::Mute,
    };
    match status.reading.lock {
        Some(lock) if lock == asked => Stands::AsAsked,
        Some(_) => Stands::Otherwise,
        None => Stands::Mute,
    }
}

/// Whether reading once more, a little later, could say more: motors take a second or two.
pub(super) fn settled(action: Action, answer: &Answer, status: &SealStatus) -> bool {
    match (stands(action, status), status.did_ours) {
        (Stands::AsAsked, Some(true) | None) => true,
        (Stands::Mute, Some(true)) => true,
        (Stands::Mute, None) => *answer == Answer::Yes,
        _ => false,
    }
}

/// What became of it.
pub(super) fn judge(evidenced: Evidenced) -> Outcome {
    let Evidenced { action, answer, before, back, fate } = evidenced;
    let status = match back {
        Ok(status) => status,
        Err(why) => return without(answer, &why),
    };
    let stood_otherwise = before.as_ref().map(|before| stands(action, before) == Stands::Otherwise);
    let proven = status.security == Security::Authenticated;
    use Stands::{AsAsked, Mute, Otherwise};
    match (answer, stands(action, &status), status.did_ours) {
        (Answer::Yes, AsAsked, Some(true) | None) | (Answer::Yes, Mute, Some(true)) => done(Evidence::ReportedAndReadBack, Some(status)),
        (Answer::Yes, Mute, None) => done(Evidence::Reported, Some(status)),
        (Answer::Yes, ..) => unknown("the seal says that it did it", action, status),

        (_, AsAsked | Mute, Some(true)) => done(Evidence::ReadBack, Some(status)),

        (Answer::Doubtful(_) | Answer::None(_), Otherwise, Some(false)) if proven && fate == Fate::Gone => {
            rejected(Rejection::NeverTook, Some(status))
        }
        (Answer::Doubtful(cause), Mute, Some(false) | None) => unknown(&format!("the seal refused ({cause})"), action, status),

        (Answer::No(cause) | Answer::Doubtful(cause), Otherwise, Some(true)) => {
            unknown(&format!("the seal refused ({cause})"), action, status)
        }
        (Answer::No(cause) | Answer::Doubtful(cause), AsAsked, None) => match stood_otherwise {
            Some(true) => done(Evidence::ReadBack, Some(status)),
            Some(false) => rejected(cause, Some(status)),
            None => unknown(&format!("the seal refused ({cause})"), action, status),
        },
        (Answer::No(cause) | Answer::Doubtful(cause), ..) => rejected(cause, Some(status)),

        (Answer::StoodSo, AsAsked, None) if stood_otherwise == Some(true) => done(Evidence::ReadBack, Some(status)),
        (Answer::StoodSo, Otherwise, _) => unknown("the seal says that it stood so already", action, status),
        (Answer::StoodSo, ..) => rejected(Rejection::StoodSo, Some(status)),

        (Answer::None(_), AsAsked, None) if stood_otherwise == Some(true) => done(Evidence::ReadBack, Some(status)),
        (Answer::None(why), ..) => unknown(&why, action, status),
    }
}

/// Nothing could be read back.
fn without(answer: Answer, why: &str) -> Outcome {
    match answer {
        Answer::Yes => done(Evidence::Reported, None),
        Answer::No(cause) => rejected(cause, None),
        Answer::StoodSo => rejected(Rejection::StoodSo, None),
        Answer::Doubtful(cause) => unread(&format!("the seal refused ({cause}), which does not prove that it did not move"), why),
        Answer::None(none) => unread(&none, why),
    }
}

fn done(evidence: Evidence, status: Option<SealStatus>) -> Outcome {
    Outcome::Done { evidence, status, drained: 0, remaining: None, interrupted: None }
}

fn unread(answered: &str, why: &str) -> Outcome {
    Outcome::Unknown { why: format!("{answered}, and its state could not be read: {why}"), read_back: None }
}

fn rejected(cause: Rejection, read_back: Option<SealStatus>) -> Outcome {
    Outcome::Rejected { cause, read_back }
}

fn unknown(answered: &str, action: Action, status: SealStatus) -> Outcome {
    let stands = match stands(action, &status) {
        Stands::AsAsked => "it stands as asked",
        Stands::Otherwise => "it stands as if nothing had been done",
        Stands::Mute => "it does not say how it stands",
    };
    let whose = match status.did_ours {
        Some(true) => ", and says that this command was its last",
        Some(false) => ", and says that this command was not its last",
        None => "",
    };
    Outcome::Unknown { why: format!("{answered}; read afterwards, {stands}{whose}"), read_back: Some(status) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SealReading;

    fn status(action: Action, stands: Stands, did_ours: Option<bool>, security: Security) -> SealStatus {
        let (asked, other) = match action {
            Action::Unlock => (LockClaim::Unlocked, LockClaim::Locked),
            _ => (LockClaim::Locked, LockClaim::Unlocked),
        };
        let lock = match stands {
            Stands::AsAsked => Some(asked),
            Stands::Otherwise => Some(other),
            Stands::Mute => None,
        };
        let reading = SealReading { lock, ..SealReading::default() };
        SealStatus { reading, complaints: vec![], security, did_ours, stored: None, raw: vec![] }
    }

    /// The outcome in two letters: D both, d reported, b read back; R rejected, u unknown.
    fn short(outcome: &Outcome) -> &'static str {
        match outcome {
            Outcome::Done { evidence: Evidence::ReportedAndReadBack, status: Some(_), .. } => "both",
            Outcome::Done { evidence: Evidence::Reported, .. } => "said",
            Outcome::Done { evidence: Evidence::ReadBack, status: Some(_), .. } => "back",
            Outcome::Rejected { cause: Rejection::NeverTook, .. } => "never",
            Outcome::Rejected { .. } => "rej",
            Outcome::Unknown { .. } => "?",
            other => panic!("{other:?}"),
        }
    }

    /// Every combination. In a cell the three values of `did`: yes, no, not said. Weak protocol, connection alive.
    #[test]
    fn every_combination_of_answer_and_reading_is_judged() {
        use Stands::{AsAsked, Mute, Otherwise};
        let no = || Answer::No(Rejection::LowVoltage);
        let none = || Answer::None("the seal did not answer the command".to_owned());
        type Row = (fn() -> Option<Stands>, [[&'static str; 3]; 3], &'static str);
        // before the write it was read as: (nobody looked, otherwise, as asked)
        let table: [(&str, Answer, [Row; 3]); 5] = [
            (
                "yes",
                Answer::Yes,
                [
                    (|| None, [["both", "?", "both"], ["?", "?", "?"], ["both", "?", "said"]], "said"),
                    (|| Some(Otherwise), [["both", "?", "both"], ["?", "?", "?"], ["both", "?", "said"]], "said"),
                    (|| Some(AsAsked), [["both", "?", "both"], ["?", "?", "?"], ["both", "?", "said"]], "said"),
                ],
            ),
            (
                "no",
                no(),
                [
                    (|| None, [["back", "rej", "?"], ["?", "rej", "rej"], ["back", "rej", "rej"]], "rej"),
                    (|| Some(Otherwise), [["back", "rej", "back"], ["?", "rej", "rej"], ["back", "rej", "rej"]], "rej"),
                    (|| Some(AsAsked), [["back", "rej", "rej"], ["?", "rej", "rej"], ["back", "rej", "rej"]], "rej"),
                ],
            ),
            (
                "doubtful",
                Answer::Doubtful(Rejection::LowVoltage),
                [
                    (|| None, [["back", "rej", "?"], ["?", "rej", "rej"], ["back", "?", "?"]], "?"),
                    (|| Some(Otherwise), [["back", "rej", "back"], ["?", "rej", "rej"], ["back", "?", "?"]], "?"),
                    (|| Some(AsAsked), [["back", "rej", "rej"], ["?", "rej", "rej"], ["back", "?", "?"]], "?"),
                ],
            ),
            (
                "stood so",
                Answer::StoodSo,
                [
                    (|| None, [["back", "rej", "rej"], ["?", "?", "?"], ["back", "rej", "rej"]], "rej"),
                    (|| Some(Otherwise), [["back", "rej", "back"], ["?", "?", "?"], ["back", "rej", "rej"]], "rej"),
                    (|| Some(AsAsked), [["back", "rej", "rej"], ["?", "?", "?"], ["back", "rej", "rej"]], "rej"),
                ],
            ),
            (
                "none",
                none(),
                [
                    (|| None, [["back", "?", "?"], ["?", "?", "?"], ["back", "?", "?"]], "?"),
                    (|| Some(Otherwise), [["back", "?", "back"], ["?", "?", "?"], ["back", "?", "?"]], "?"),
                    (|| Some(AsAsked), [["back", "?", "?"], ["?", "?", "?"], ["back", "?", "?"]], "?"),
                ],
            ),
        ];
        for action in [Action::Unlock, Action::Lock] {
            for (word, answer, rows) in &table {
                for (before, cells, nothing) in rows {
                    let before = before().map(|stands| status(action, stands, None, Security::Weak));
                    let look = |back: Back, fate| {
                        short(&judge(Evidenced { action, answer: answer.clone(), before: before.clone(), back, fate })).to_owned()
                    };
                    for (stands, dids) in [AsAsked, Otherwise, Mute].into_iter().zip(cells) {
                        for (did, expected) in [Some(true), Some(false), None].into_iter().zip(dids) {
                            for fate in [Fate::Lives, Fate::Gone] {
                                let back = status(action, stands, did, Security::Weak);
                                let case = format!("{action} {word}, before {before:?}, {stands:?}, did {did:?}, {fate:?}");
                                assert_eq!(look(Ok(back), fate), *expected, "{case}");
                                // proof changes one cell alone
                                let proven = status(action, stands, did, Security::Authenticated);
                                let never =
                                    ["none", "doubtful"].contains(word) && stands == Otherwise && did == Some(false) && fate == Fate::Gone;
                                assert_eq!(look(Ok(proven), fate), if never { "never" } else { expected }, "{case}, proven");
                            }
                        }
                    }
                    assert_eq!(look(Err("out of reach".to_owned()), Fate::Gone), *nothing, "{action} {word}, nothing read");
                }
            }
        }
    }

    #[test]
    fn what_is_unknown_says_what_was_answered_and_how_it_stands() {
        let back = status(Action::Unlock, Stands::Otherwise, Some(true), Security::Weak);
        let outcome =
            judge(Evidenced { action: Action::Unlock, answer: Answer::Yes, before: None, back: Ok(back.clone()), fate: Fate::Lives });
        let Outcome::Unknown { why, read_back } = outcome else { panic!("{outcome:?}") };
        assert_eq!(read_back, Some(back));
        for part in ["says that it did it", "as if nothing had been done", "this command was its last"] {
            assert!(why.contains(part), "{why}");
        }
    }

    #[test]
    fn only_an_applications_att_error_is_a_refusal_and_a_doubtful_one() {
        assert!(matches!(Answer::of_fault(&LinkFault::Att(0x80)), Answer::Doubtful(Rejection::Other { code: 0x80, .. })));
        assert!(matches!(Answer::of_fault(&LinkFault::Att(0x9F)), Answer::Doubtful(_)));
        for code in [0x0E, 0x05, 0x7F, 0xA0, 0xFF] {
            assert!(matches!(Answer::of_fault(&LinkFault::Att(code)), Answer::None(_)), "{code:#x}");
        }
    }

    #[test]
    fn a_state_is_read_again_while_a_motor_may_still_run() {
        let read = |stands, did| status(Action::Unlock, stands, did, Security::Weak);
        assert!(settled(Action::Unlock, &Answer::Yes, &read(Stands::AsAsked, None)));
        assert!(settled(Action::Unlock, &Answer::Yes, &read(Stands::Mute, None)), "it will never say");
        assert!(!settled(Action::Unlock, &Answer::Yes, &read(Stands::Otherwise, None)));
        assert!(!settled(Action::Unlock, &Answer::Yes, &read(Stands::Otherwise, Some(true))));
        assert!(!settled(Action::Unlock, &Answer::No(Rejection::LowVoltage), &read(Stands::Otherwise, None)));
    }
}

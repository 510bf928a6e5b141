//! What a simulated seal can be told to do wrong.

/// One thing done wrong, until told otherwise.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Trick {
    /// Nothing: it does as it should.
    #[default]
    None,
    /// It never answers, and does nothing.
    Silent,
    /// It moves, and what it answers to that is lost.
    SilentWhenMoved,
    /// It does not move when told, and says so.
    Refuses,
    /// Each answer comes twice.
    AnswersTwice,
    /// Each answer has a flipped bit.
    Corrupt,
    /// Only what it answers to being moved has a flipped bit.
    CorruptWhenMoved,
    /// It answers each time with its answer of the time before.
    Late,
}

impl Trick {
    /// What goes out instead of an answer.
    pub(super) fn played(self, answer: Vec<u8>, moved: Moved, before: &mut Option<Vec<u8>>) -> Vec<Vec<u8>> {
        match (self, moved) {
            (Self::Silent, _) | (Self::SilentWhenMoved, Moved::Told) => Vec::new(),
            (Self::AnswersTwice, _) => vec![answer.clone(), answer],
            (Self::Corrupt, _) | (Self::CorruptWhenMoved, Moved::Told) => vec![flipped(answer)],
            (Self::Late, _) => before.replace(answer).into_iter().collect(),
            (Self::None | Self::SilentWhenMoved | Self::Refuses | Self::CorruptWhenMoved, _) => vec![answer],
        }
    }
}

/// Whether an answer is to a command to move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moved {
    /// It is.
    Told,
    /// It is to something else.
    No,
}

fn flipped(mut answer: Vec<u8>) -> Vec<u8> {
    let middle = answer.len() / 2;
    if let Some(byte) = answer.get_mut(middle) {
        *byte ^= 0x10;
    }
    answer
}

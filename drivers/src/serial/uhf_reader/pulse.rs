//! Whether a reader in real-time mode lives: when to ask it, and when it is dead.
//!
//! Its own heartbeat comes in steps of 30 s, which is too slow for a gate. So a reader that has said nothing for a
//! while is asked who it is. What must hold: one that has answered such a question and then leaves three in a row
//! without a word is dead, within seconds; one that never answers (not every firmware may, while it reads) is judged
//! by its own heartbeat alone; one that answers and no longer speaks by itself has left real-time mode, would see no
//! tag, and is dead too.
//!
//! A question is missed only when nothing at all was heard since. It neither asks nor reads: the session does, and
//! looks at the line before it lets time count.

use std::time::{Duration, Instant};

/// How many own heartbeats, or answers to questions, may be missing.
pub(super) const MISSED_MAX: u32 = 3;
/// Shortest silence before a question, whatever is configured: the line is the reader's.
const ASK_AFTER_MIN: Duration = Duration::from_millis(10);

/// What a frame of the reader is worth here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    /// It spoke by itself: a tag, a heartbeat, an antenna.
    Own,
    /// It said who it is.
    Answer,
    /// Anything else.
    Other,
}

/// What follows from a silence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Listen on.
    Wait,
    /// Ask it who it is.
    Ask,
    /// It is dead, and this is why.
    Dead(String),
}

/// The signs of life of one reader in one session.
#[derive(Debug)]
pub(super) struct Pulse {
    ask_after: Duration,
    answer_timeout: Duration,
    /// The period of its own heartbeat.
    own: Duration,
    /// When it last spoke by itself.
    spoke: Instant,
    /// Since when it is quiet: its last word, or the end of the last question.
    quiet: Instant,
    /// When it was asked, while that is open.
    asked: Option<Instant>,
    answered: Option<Instant>,
    missed: u32,
}

impl Pulse {
    /// It has just been put into real-time mode.
    pub(super) fn new(ask_after: Duration, answer_timeout: Duration, own: Duration, now: Instant) -> Self {
        let ask_after = ask_after.max(ASK_AFTER_MIN);
        Self { ask_after, answer_timeout, own, spoke: now, quiet: now, asked: None, answered: None, missed: 0 }
    }

    /// Until when to listen before asking for a [`Verdict`].
    pub(super) fn due(&self) -> Instant {
        let silent = self.spoke + self.silence();
        let next = self.asked.map_or(self.quiet + self.ask_after, |asked| asked + self.answer_timeout);
        if self.is_left_alone(next) { silent } else { silent.min(next) }
    }

    /// A whole frame came.
    pub(super) fn on_word(&mut self, word: Word, now: Instant) {
        self.quiet = now;
        self.missed = 0;
        match word {
            Word::Own => self.spoke = now,
            Word::Answer if self.asked.take().is_some() => self.answered = Some(now),
            Word::Answer | Word::Other => {}
        }
    }

    /// Nothing was on the line at `now`, which is not before [`Pulse::due`].
    pub(super) fn on_silence(&mut self, now: Instant) -> Verdict {
        let silence = self.silence();
        if now >= self.spoke + silence {
            let answered = self.answered.is_some_and(|at| at > self.spoke);
            return Verdict::Dead(if answered {
                format!("no tag and no heartbeat for {silence:?}, though it answered: it has left real-time mode; set up anew")
            } else {
                format!("no tag and no heartbeat for {silence:?}; check its power and its line")
            });
        }
        let Some(asked) = self.asked else {
            self.asked = Some(now);
            return Verdict::Ask;
        };
        if now < asked + self.answer_timeout {
            return Verdict::Wait;
        }
        self.asked = None;
        if self.quiet < asked {
            self.missed += 1;
            self.quiet = now;
        }
        if self.missed >= MISSED_MAX && self.answered.is_some() {
            return Verdict::Dead(format!("{MISSED_MAX} questions in a row unanswered, and no tag; check its power and its line"));
        }
        Verdict::Wait
    }

    /// Whether it seems not to answer while it reads, so that only its own heartbeat counts.
    pub(super) fn is_slow(&self) -> bool {
        self.answered.is_none() && self.missed >= MISSED_MAX
    }

    /// How long it may not speak by itself.
    pub(super) fn silence(&self) -> Duration {
        self.own * MISSED_MAX
    }

    /// A reader that answers and is late with its own heartbeat is not asked until that has come: should a question
    /// begin its count anew, it would never come. One that owes an answer is asked on.
    fn is_left_alone(&self, next: Instant) -> bool {
        self.asked.is_none() && self.missed == 0 && next > self.spoke + self.own * 3 / 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A reader on a clock of its own, in tenths of a second: at which tenths it speaks, and which questions (by
    /// their number) it answers.
    struct Bench {
        start: Instant,
        pulse: Pulse,
        questions: Vec<u64>,
    }

    impl Bench {
        fn new() -> Self {
            Self::asking_after(3)
        }

        fn asking_after(seconds: u64) -> Self {
            let start = Instant::now();
            let [ask_after, answer_timeout, own] = [seconds, 1, 30].map(Duration::from_secs);
            Self { start, pulse: Pulse::new(ask_after, answer_timeout, own, start), questions: Vec::new() }
        }

        /// Runs from one tenth to another (excluded); the tenth it was found dead at, and why.
        fn run(
            &mut self,
            tenths: std::ops::Range<u64>,
            own: impl Fn(u64) -> bool,
            answers: impl Fn(usize) -> bool,
        ) -> Option<(u64, String)> {
            for tenth in tenths {
                let now = self.start + Duration::from_millis(100) * u32::try_from(tenth).unwrap();
                if own(tenth) {
                    self.pulse.on_word(Word::Own, now);
                }
                if now < self.pulse.due() {
                    continue;
                }
                match self.pulse.on_silence(now) {
                    Verdict::Wait => {}
                    Verdict::Ask => {
                        self.questions.push(tenth);
                        if answers(self.questions.len()) {
                            self.pulse.on_word(Word::Answer, now);
                        }
                    }
                    Verdict::Dead(why) => return Some((tenth, why)),
                }
            }
            None
        }
    }

    fn never<N>(_: N) -> bool {
        false
    }

    fn always(_: usize) -> bool {
        true
    }

    fn beats(tenth: u64) -> bool {
        tenth > 0 && tenth.is_multiple_of(300)
    }

    #[test]
    fn a_reader_that_answered_is_dead_after_three_questions() {
        for died in [100, 299, 301, 5_000] {
            let mut bench = Bench::new();
            assert_eq!(bench.run(0..died, beats, always), None);
            let (at, why) = bench.run(died..100_000, never, never).unwrap();
            assert!(why.contains("3 questions in a row unanswered"), "{why}");
            assert!(at <= died + 3 * 40, "died at {died}, known at {at}");
        }
    }

    #[test]
    fn a_reader_that_owes_an_answer_is_asked_on_however_late_its_heartbeat_is() {
        let mut bench = Bench::asking_after(10);
        assert_eq!(bench.run(0..299, beats, always), None);
        let (at, why) = bench.run(299..100_000, never, never).unwrap();
        assert!(why.contains("3 questions in a row unanswered"), "{why}");
        assert!(at <= 299 + 3 * 110, "known at {at}");
    }

    #[test]
    fn only_questions_missed_in_a_row_count() {
        let mut bench = Bench::new();
        assert_eq!(bench.run(0..10_000, beats, |question| question % 3 == 1), None);
        assert!(bench.questions.len() > 100);
        // a tag while a question is open, and then nothing: three more are owed
        let mut bench = Bench::new();
        assert_eq!(bench.run(0..40, never, always), None);
        let asked = *bench.questions.last().unwrap() + 30;
        let (at, _) = bench.run(40..100_000, |tenth| tenth == asked + 5, never).unwrap();
        assert_eq!(bench.questions.iter().filter(|question| (asked + 5..at).contains(question)).count(), 3);
    }

    #[test]
    fn a_reader_that_never_answers_is_asked_in_vain_and_judged_by_its_heartbeat() {
        let mut bench = Bench::new();
        assert_eq!(bench.run(0..2_999, beats, never), None);
        assert!(bench.pulse.is_slow());
        assert!(bench.questions.len() > 50, "asked again and again");
        assert_eq!(bench.run(2_999..3_001, beats, never), None);
        let (at, why) = bench.run(3_001..100_000, never, never).unwrap();
        assert_eq!(at, 3_000 + 900);
        assert!(why.contains("no tag and no heartbeat for 90s; check"), "{why}");
    }

    #[test]
    fn a_reader_that_reads_tags_is_not_asked() {
        let mut bench = Bench::new();
        assert_eq!(bench.run(0..2_000, |tenth| tenth.is_multiple_of(20), always), None);
        assert_eq!(bench.questions, []);
    }

    #[test]
    fn a_word_of_any_kind_makes_up_for_a_missing_answer() {
        let mut bench = Bench::new();
        assert_eq!(bench.run(0..40, never, always), None);
        // a tag every 7.5 s: between two of them never three questions are left open
        assert_eq!(bench.run(40..10_000, |tenth| tenth.is_multiple_of(75), never), None);
    }

    #[test]
    fn a_reader_that_answers_and_has_left_real_time_mode_is_dead() {
        let (at, why) = Bench::new().run(0..100_000, never, always).unwrap();
        assert_eq!(at, 900);
        assert!(why.contains("it has left real-time mode"), "{why}");
    }

    #[test]
    fn a_reader_whose_heartbeat_is_put_off_by_every_question_still_comes_to_beat() {
        let mut bench = Bench::new();
        for _ in 0..20 {
            let from = bench.questions.last().map_or(0, |last| last + 300);
            // until it is left alone, and then one period on
            assert_eq!(bench.run(from..from + 700, |tenth| tenth == from && from > 0, always), None);
            assert!(bench.questions.last().unwrap() + 300 < from + 900, "its beat comes in time");
        }
    }

    #[test]
    fn an_answer_to_nothing_does_not_count_as_one() {
        let mut bench = Bench::new();
        bench.pulse.on_word(Word::Answer, bench.start);
        let (at, _) = bench.run(0..100_000, never, never).unwrap();
        assert_eq!(at, 900, "late words of the greeting prove nothing about real-time mode");
    }
}

//! Long work on a thread of its own, so that Ctrl-C is answered at once whatever that work waits for: a database that
//! checks itself for minutes, a pipe that brings nothing.
//!
//! What must hold: the work only reads. When it is left, it is left where it is, and the process ends soon after.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use super::progress::{Bar, Unit};
use crate::cli::interrupt::Interrupt;

/// How often is looked whether the work was done or interrupted: too short to notice, too long to cost.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// How far work is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) done: u64,
    pub(super) total: u64,
}

/// How work ended.
#[derive(Debug)]
pub(super) enum Ended<T> {
    /// It was done.
    Done(T),
    /// It was interrupted when it was so far.
    Interrupted(Step),
}

enum Word<T> {
    Step(Step),
    Done(T),
}

/// Tells how far the work is.
pub(super) type Tell<'a> = &'a mut dyn FnMut(Step);

/// Does `work` while watching for an interrupt, and shows how far it is.
///
/// # Errors
/// When the work failed or the system gives no thread.
pub(super) fn work<T: Send + 'static>(
    interrupt: &Interrupt,
    unit: Unit,
    doing: &'static str,
    work: impl FnOnce(Tell<'_>) -> anyhow::Result<T> + Send + 'static,
) -> anyhow::Result<Ended<T>> {
    let (words, heard) = mpsc::sync_channel(1);
    let worker = std::thread::Builder::new().name(doing.to_owned()).spawn(move || {
        let done = work(&mut |step| {
            // Full: the last step was not looked at yet, and this one is missed by nobody.
            let _ = words.try_send(Word::Step(step));
        });
        // Nobody listens any more when the work was interrupted.
        let _ = words.send(Word::Done(done));
    })?;
    let bar = Bar::new(unit, 0, doing);
    let mut last = Step::default();
    loop {
        if interrupt.is_told() {
            return Ok(Ended::Interrupted(last));
        }
        match heard.recv_timeout(LOOK_EVERY) {
            Ok(Word::Step(step)) => {
                last = step;
                bar.show(step.done, step.total);
            }
            Ok(Word::Done(done)) => {
                drop(bar);
                return done.map(Ended::Done);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                drop(bar);
                match worker.join() {
                    Err(panic) => std::panic::resume_unwind(panic),
                    Ok(()) => anyhow::bail!("the work ended without an answer: this is a defect, please report it"),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_that_hangs_is_left_when_interrupted_and_says_how_far_it_came() {
        let interrupt = Interrupt::default();
        let told = interrupt.clone();
        let (_held, hangs) = mpsc::channel::<()>();
        let ended = work(&interrupt, Unit::Events, "hanging", move |tell| {
            tell(Step { done: 7, total: 10 });
            told.tell();
            hangs.recv()?;
            Ok(())
        });
        // The step may have come after the interrupt was seen; it is never more than was done.
        assert!(matches!(ended.unwrap(), Ended::Interrupted(Step { done: 0 | 7, .. })));
    }

    #[test]
    fn work_that_fails_hands_on_its_error() {
        let ended: anyhow::Result<Ended<()>> = work(&Interrupt::default(), Unit::Bytes, "failing", |_| anyhow::bail!("the reason"));
        assert_eq!(ended.unwrap_err().to_string(), "the reason");
    }
}

//! Asking something that may hang: on a thread of its own, with a deadline.
//!
//! A file system whose device has died keeps whoever asks it in the kernel for minutes or for ever. Here only one thread
//! ever waits for it: as long as it has not come back, nothing more is asked, and every question is answered with "not in
//! time". The thread is never joined, so that it holds up no stop.

use std::{
    io,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    time::{Duration, Instant},
};

/// Somebody who is asked and may not come back.
#[derive(Debug)]
pub struct Timely<T> {
    questions: SyncSender<()>,
    answers: Receiver<T>,
    /// A question is out.
    waiting: bool,
}

impl<T: Send + 'static> Timely<T> {
    /// Asks `look` on a thread of this name.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub fn new(name: &str, mut look: impl FnMut() -> T + Send + 'static) -> io::Result<Self> {
        let (questions, asked) = sync_channel(1);
        let (answer, answers) = sync_channel(1);
        let work = move || {
            while asked.recv().is_ok() {
                if answer.send(look()).is_err() {
                    break;
                }
            }
        };
        std::thread::Builder::new().name(name.to_owned()).spawn(work)?;
        Ok(Self { questions, answers, waiting: false })
    }

    /// The answer as it is now, or none within this time. Blocks that long at most.
    pub fn ask(&mut self, within: Duration) -> Option<T> {
        let deadline = Instant::now() + within;
        if self.waiting {
            // The answer to an old question is an old answer.
            self.answers.recv_timeout(within).ok()?;
            self.waiting = false;
        }
        self.questions.try_send(()).ok()?;
        self.waiting = true;
        let answer = self.answers.recv_timeout(deadline.saturating_duration_since(Instant::now())).ok()?;
        self.waiting = false;
        Some(answer)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Condvar, Mutex};

    use super::*;

    const SHORT: Duration = Duration::from_millis(20);
    const LONG: Duration = Duration::from_secs(20);

    #[test]
    fn what_hangs_is_asked_once_and_answers_anew_when_it_is_back() {
        let gate = Arc::new((Mutex::new(true), Condvar::new()));
        let (held, mut number) = (Arc::clone(&gate), 0);
        let mut timely = Timely::new("test", move || {
            number += 1;
            if number > 1 {
                let (hangs, bell) = &*held;
                drop(bell.wait_while(hangs.lock().unwrap(), |hangs| *hangs).unwrap());
            }
            number
        })
        .unwrap();
        assert_eq!(timely.ask(LONG), Some(1));
        for _ in 0..3 {
            assert_eq!(timely.ask(SHORT), None);
        }
        *gate.0.lock().unwrap() = false;
        gate.1.notify_all();
        assert_eq!(timely.ask(LONG), Some(3), "the second look is old by now, and there was no third while it hung");
    }

    #[test]
    fn who_dies_while_answering_is_silent_from_then_on() {
        let mut timely = Timely::<u8>::new("test", || panic!("as the test wants")).unwrap();
        assert_eq!((timely.ask(SHORT), timely.ask(SHORT)), (None, None));
    }
}

//! Keeps one radio alive: lets it listen, says once that it is down and why, and opens it again with backoff.
//!
//! Each radio is kept by a task of its own: one that hangs, panics or waits for its device does so alone. They meet
//! only in the bounded channel behind their [`Ear`]s.
//!
//! What must hold: the dead device is given back before it is opened again ([`Radio::listen`] has returned, or was
//! dropped); the pauses grow to a cap and start small again only after the radio has worked for a while, so that a
//! reader that comes and goes is not hammered; every change is logged once; when the gate stops, the radio is
//! dropped within the same moment.
//!
//! It cannot notice a radio that hangs inside `listen`: each radio owes its own deadlines.

use std::{panic::AssertUnwindSafe, time::Duration};

use futures_util::FutureExt;
use tokio_util::sync::CancellationToken;

use crate::{Ear, Radio, RadioFault};

/// How long to wait before opening a radio again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// The first pause.
    pub first: Duration,
    /// The longest pause.
    pub cap: Duration,
    /// A radio that was up for this long starts again with the first pause.
    pub stable: Duration,
}

impl Default for Patience {
    /// Half a second, doubled up to ten: an adapter plugged in again is heard within ten seconds.
    fn default() -> Self {
        Self { first: Duration::from_millis(500), cap: Duration::from_secs(10), stable: Duration::from_secs(60) }
    }
}

/// The pauses of one radio.
#[derive(Debug)]
struct Pauses {
    patience: Patience,
    next: Duration,
}

impl Pauses {
    fn new(patience: Patience) -> Self {
        Self { patience, next: patience.first }
    }

    /// The pause after a session that was up for `up`, `None` if it never came up.
    fn after(&mut self, up: Option<Duration>) -> Duration {
        if up.is_some_and(|up| up >= self.patience.stable) {
            self.next = self.patience.first;
        }
        let pause = self.next.min(self.patience.cap);
        self.next = (pause * 2).min(self.patience.cap);
        pause
    }
}

/// Keeps `radio` alive until `stop` is cancelled or nobody listens any more. Run it in a task of its own.
pub async fn keep<R: Radio>(mut radio: R, ear: Ear, patience: Patience, stop: CancellationToken) {
    let mut pauses = Pauses::new(patience);
    let kept = async {
        loop {
            let fault = session(&mut radio, &ear).await;
            let up = ear.up_for();
            if matches!(fault, RadioFault::Stopped) || ear.down(fault.to_string()).await.is_err() {
                return;
            }
            tokio::time::sleep(pauses.after(up)).await;
        }
    };
    let _ = stop.run_until_cancelled(kept).await;
}

/// One session; a panic in it is a fault like any other, and costs this radio alone.
async fn session<R: Radio>(radio: &mut R, ear: &Ear) -> RadioFault {
    let device = radio.id().to_string();
    match AssertUnwindSafe(radio.listen(ear)).catch_unwind().await {
        Ok(fault) => fault,
        Err(panic) => {
            let what = panic.downcast_ref::<&str>().map(ToString::to_string).or_else(|| panic.downcast_ref::<String>().cloned());
            let what = what.unwrap_or_else(|| "no message".to_owned());
            RadioFault::Gone { device, reason: format!("a fault in segel itself ({what}); please report it") }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;
    use crate::{ReaderId, Report, Sighting, Standing};

    const SECOND: Duration = Duration::from_secs(1);
    const QUICK: Patience = Patience { first: SECOND, cap: Duration::from_secs(8), stable: Duration::from_secs(60) };

    #[test]
    fn pauses_grow_to_their_cap_and_start_again_after_a_stable_time() {
        let mut pauses = Pauses::new(QUICK);
        let seconds: Vec<u64> = (0..6).map(|_| pauses.after(None).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 8, 8]);
        assert_eq!(pauses.after(Some(59 * SECOND)).as_secs(), 8, "up, but not for long");
        assert_eq!(pauses.after(Some(60 * SECOND)).as_secs(), 1);
    }

    /// Comes up and then does what it is made for.
    struct Fake {
        id: ReaderId,
        end: End,
        sessions: u32,
    }

    #[derive(Clone, Copy)]
    enum End {
        Panics,
        FailsAlike,
        Hangs,
    }

    impl Fake {
        fn new(end: End) -> Self {
            Self { id: "gate-in-1".parse().unwrap(), end, sessions: 0 }
        }
    }

    impl Radio for Fake {
        fn id(&self) -> &ReaderId {
            &self.id
        }

        async fn listen(&mut self, ear: &Ear) -> RadioFault {
            self.sessions += 1;
            match self.end {
                End::Panics => {
                    let _ = ear.up(format!("session {}", self.sessions)).await;
                    panic!("a mistake")
                }
                End::FailsAlike if self.sessions < 5 => RadioFault::Open { device: "x".into(), reason: "not there".into() },
                End::FailsAlike => RadioFault::Stopped,
                End::Hangs => std::future::pending().await,
            }
        }
    }

    fn ear() -> (Ear, mpsc::Receiver<Report>) {
        let (reports, heard) = mpsc::channel(32);
        (Ear::new("gate-in-1".parse().unwrap(), reports), heard)
    }

    fn soon() -> Patience {
        Patience { first: Duration::from_millis(1), cap: Duration::from_millis(2), stable: SECOND }
    }

    fn standing(report: Option<Report>) -> Standing {
        let Some(Report { sighting: Sighting::Standing(standing), .. }) = report else { panic!("{report:?}") };
        standing
    }

    #[tokio::test]
    async fn a_radio_that_panics_is_down_and_is_opened_again() {
        let (ear, mut heard) = ear();
        let stop = CancellationToken::new();
        let kept = tokio::spawn(keep(Fake::new(End::Panics), ear, soon(), stop.clone()));
        assert_eq!(standing(heard.recv().await), Standing::Up { detail: "session 1".into() });
        let Standing::Down { reason } = standing(heard.recv().await) else { panic!() };
        assert!(reason.contains("a mistake"), "{reason}");
        assert_eq!(standing(heard.recv().await), Standing::Up { detail: "session 2".into() });
        stop.cancel();
        kept.await.unwrap();
    }

    #[tokio::test]
    async fn a_radio_that_cannot_be_opened_is_reported_once_however_often_it_is_tried() {
        let (ear, mut heard) = ear();
        keep(Fake::new(End::FailsAlike), ear, soon(), CancellationToken::new()).await;
        assert_eq!(standing(heard.recv().await), Standing::Down { reason: "cannot open x: not there".into() });
        assert!(heard.recv().await.is_none());
    }

    #[tokio::test]
    async fn a_radio_that_hangs_is_dropped_when_the_gate_stops() {
        let (ear, mut heard) = ear();
        let stop = CancellationToken::new();
        let kept = tokio::spawn(keep(Fake::new(End::Hangs), ear, soon(), stop.clone()));
        stop.cancel();
        tokio::time::timeout(10 * SECOND, kept).await.expect("dropped at once").unwrap();
        assert!(heard.recv().await.is_none(), "the radio's ear is gone too");
    }
}

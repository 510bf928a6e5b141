//! The stop flag of long work: told by Ctrl-C or SIGTERM, asked between two pieces of work.
//!
//! What must hold: the first signal only sets the flag, so that whoever works can put things in order, say how far it
//! came and end with [`Exit::Interrupted`]; a second one ends the program at once, because
//! a disk that hangs must not hold a person. A closed terminal (SIGHUP) is left to the system: `nohup` has its own say.

use std::io;
use std::process;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::exit::Exit;

/// Whether the work is to end; copies share the flag.
#[derive(Debug, Clone, Default)]
pub struct Interrupt {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    flag: AtomicBool,
    told: Mutex<bool>,
    bell: Condvar,
}

impl Interrupt {
    /// Takes SIGINT and SIGTERM from now on, for the rest of the process.
    ///
    /// # Errors
    /// When the system gives no pipe, thread or signal.
    pub fn listen() -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        // Taken here and not on the thread: whoever returns from this call is sure to be told.
        let (by_key, by_system) = {
            let _inside = runtime.enter();
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
        };
        let interrupt = Self::default();
        let told = interrupt.clone();
        std::thread::Builder::new().name("interrupt".to_owned()).spawn(move || runtime.block_on(told.watch(by_key, by_system)))?;
        Ok(interrupt)
    }

    async fn watch(self, mut by_key: Signal, mut by_system: Signal) {
        loop {
            tokio::select! {
                _ = by_key.recv() => {}
                _ = by_system.recv() => {}
            }
            if self.is_told() {
                process::exit(Exit::Interrupted.code().into());
            }
            self.tell();
        }
    }

    /// Sets the flag and wakes whoever waits.
    pub fn tell(&self) {
        self.shared.flag.store(true, Ordering::SeqCst);
        *self.shared.told.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.shared.bell.notify_all();
    }

    /// Whether the work is to end.
    #[must_use]
    pub fn is_told(&self) -> bool {
        self.shared.flag.load(Ordering::SeqCst)
    }

    /// The flag itself, for work that knows nothing of commands.
    #[must_use]
    pub fn flag(&self) -> &AtomicBool {
        &self.shared.flag
    }

    /// Waits so long, or until told; says whether the work is to end.
    #[must_use]
    pub fn wait(&self, longest: Duration) -> bool {
        let told = self.shared.told.lock().unwrap_or_else(PoisonError::into_inner);
        let (told, _) = self.shared.bell.wait_timeout_while(told, longest, |told| !*told).unwrap_or_else(PoisonError::into_inner);
        *told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_waits_is_woken_when_told_and_stays_told() {
        let interrupt = Interrupt::default();
        assert!(!interrupt.wait(Duration::from_millis(1)) && !interrupt.is_told());
        let teller = interrupt.clone();
        let telling = std::thread::spawn(move || teller.tell());
        assert!(interrupt.wait(Duration::from_secs(60)));
        telling.join().unwrap();
        assert!(interrupt.is_told() && interrupt.flag().load(Ordering::SeqCst) && interrupt.wait(Duration::ZERO));
    }
}

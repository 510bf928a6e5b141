//! Counts the panics of the library's own tasks, which nobody else would hear of: each may have left a match rule on
//! the bus.

use std::{
    cell::RefCell,
    panic,
    sync::{Arc, Once, atomic::Ordering},
};

use crate::Tally;

thread_local! {
    static TALLY: RefCell<Option<Arc<Tally>>> = const { RefCell::new(None) };
}

static HOOK: Once = Once::new();

/// From now on panics on this thread are counted there. What was done about panics before is still done.
pub(super) fn count_in(tally: &Arc<Tally>) {
    TALLY.set(Some(Arc::clone(tally)));
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            // not there any more while a thread ends
            let _ = TALLY.try_with(|tally| {
                if let Ok(tally) = tally.try_borrow()
                    && let Some(tally) = &*tally
                {
                    tally.panics.fetch_add(1, Ordering::Relaxed);
                }
            });
            before(info);
        }));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_on_the_thread_is_counted_and_one_elsewhere_is_not() {
        let tally = Arc::new(Tally::default());
        let counted = Arc::clone(&tally);
        let ours = std::thread::spawn(move || {
            count_in(&counted);
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async {
                let task = tokio::spawn(async { panic!("as the library does") });
                assert!(task.await.is_err());
            });
        });
        ours.join().unwrap();
        assert!(std::thread::spawn(|| panic!("somebody else")).join().is_err());
        assert_eq!(tally.panics.load(Ordering::Relaxed), 1);
    }
}

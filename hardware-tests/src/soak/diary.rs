//! What was done, what was in trouble when, and what was found to be wrong: shared by everything that runs at once.
//!
//! The gate is *calm* while nothing is in trouble and a look found it well since: only then is its speed judged.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use jiff::{Timestamp, ToSpan};

use super::plan::Act;

/// What is found wrong is listed up to here.
const BROKEN_MAX: usize = 40;
/// What follows from a trouble may be said this many seconds after it has ended.
const AFTERMATH_S: i64 = 45;

/// The diary.
#[derive(Debug, Default)]
pub(super) struct Diary {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    done: BTreeMap<Act, u64>,
    troubles: Vec<(Act, Timestamp, Option<Timestamp>)>,
    calm: Option<u64>,
    periods: u64,
    broken: Vec<String>,
    beyond: u64,
    counts: BTreeMap<&'static str, u64>,
}

/// Something is in trouble as long as this lives.
#[derive(Debug)]
#[must_use = "the trouble is over when this is dropped"]
pub(super) struct Trouble<'a> {
    diary: &'a Diary,
    number: usize,
}

impl Drop for Trouble<'_> {
    fn drop(&mut self) {
        let mut inner = self.diary.lock();
        inner.troubles[self.number].2 = Some(Timestamp::now());
    }
}

impl Diary {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// This was done; it troubles nobody.
    pub(super) fn did(&self, act: Act) {
        *self.lock().done.entry(act).or_default() += 1;
    }

    /// This is being done, and what it troubles is in trouble until the answer is dropped.
    pub(super) fn trouble(&self, act: Act) -> Trouble<'_> {
        self.did(act);
        let mut inner = self.lock();
        inner.calm = None;
        inner.troubles.push((act, Timestamp::now(), None));
        Trouble { diary: self, number: inner.troubles.len() - 1 }
    }

    /// A look found the gate well.
    pub(super) fn well(&self) {
        let mut inner = self.lock();
        if inner.calm.is_none() && inner.troubles.iter().all(|(.., to)| to.is_some()) {
            inner.periods += 1;
            inner.calm = Some(inner.periods);
        }
    }

    /// Which calm period this is, if one is.
    pub(super) fn calm(&self) -> Option<u64> {
        self.lock().calm
    }

    /// Whether one of these is in trouble now, or was a moment ago.
    pub(super) fn explains(&self, acts: &[Act], at: Timestamp) -> bool {
        let reaches = |to: Timestamp| to.saturating_add(AFTERMATH_S.seconds()).is_ok_and(|end| at <= end);
        let holds = |(act, from, to): &(Act, Timestamp, Option<Timestamp>)| acts.contains(act) && *from <= at && to.is_none_or(reaches);
        self.lock().troubles.iter().any(holds)
    }

    /// This must not be.
    pub(super) fn breaks(&self, what: impl Into<String>) {
        let what = what.into();
        eprintln!("BROKEN: {what}");
        let mut inner = self.lock();
        if inner.broken.len() < BROKEN_MAX {
            inner.broken.push(what);
        } else {
            inner.beyond += 1;
        }
    }

    /// So many more of this were counted.
    pub(super) fn count(&self, what: &'static str, more: u64) {
        *self.lock().counts.entry(what).or_default() += more;
    }

    /// Everything that must not be.
    pub(super) fn broken(&self) -> Vec<String> {
        let inner = self.lock();
        let beyond = (inner.beyond > 0).then(|| format!("and {} more", inner.beyond));
        inner.broken.iter().cloned().chain(beyond).collect()
    }

    /// How often this was done.
    pub(super) fn times(&self, act: Act) -> u64 {
        self.lock().done.get(&act).copied().unwrap_or(0)
    }

    /// Everything counted.
    pub(super) fn counts(&self) -> BTreeMap<&'static str, u64> {
        self.lock().counts.clone()
    }

    /// How many calm periods there were.
    pub(super) fn periods(&self) -> u64 {
        self.lock().periods
    }
}

//! How long a long test is, and by which seed: short in CI, long at night, repeatable always.

/// How often something is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Length {
    /// In CI and wherever nothing else is said.
    pub ci: usize,
    /// With `SEGEL_NIGHTLY=1`.
    pub nightly: usize,
}

impl Length {
    /// How often this time.
    #[must_use]
    pub fn now(self) -> usize {
        if std::env::var("SEGEL_NIGHTLY").is_ok_and(|wish| wish == "1") { self.nightly } else { self.ci }
    }
}

/// The seed of this run: `SEGEL_SEED`, or any.
#[must_use]
pub fn seed() -> u64 {
    std::env::var("SEGEL_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random)
}

//! Room for the journal: foretold, watched, told.

pub mod disk;
pub mod forecast;
pub mod levels;
pub mod timely;

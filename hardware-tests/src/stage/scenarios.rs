//! What must be so on every stage.

mod scanning;

pub use scanning::*;

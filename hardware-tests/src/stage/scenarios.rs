//! What must be so on every stage.

mod endurance;
mod scanning;
mod sessions;

pub use endurance::*;
pub use scanning::*;
pub use sessions::*;

//! The other side, for tests and the demo: a small broker as customs runs one, and a network line that can fail.
//!
//! Both are real peers on TCP ports of this machine; nothing inside the link is replaced. They can be told to
//! misbehave in the ways seen in the field. They are no products: the broker keeps everything it hears, without bounds.

pub mod customs;
pub mod line;
pub mod monitor;

pub use customs::{Ack, CustomsBroker, CustomsError, CustomsTls, Grant, Reading, Received, Sendoff};
pub use line::{Direction, Line, Weather};
pub use monitor::Monitor;

//! How far long work is: a bar on standard error, and only where that is a terminal.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Drawn at most so many times a second.
const DRAWN_PER_SECOND: u8 = 5;
/// What the bar counts.
#[derive(Debug, Clone, Copy)]
pub(super) enum Unit {
    /// Events.
    Events,
    /// Bytes of a file.
    Bytes,
}

/// A bar that takes itself away when the work ends, however it ends.
#[derive(Debug)]
pub(super) struct Bar {
    bar: ProgressBar,
}

impl Bar {
    /// A bar for `total` of these.
    pub(super) fn new(unit: Unit, total: u64, doing: &'static str) -> Self {
        let counts = match unit {
            Unit::Events => "{human_pos} of {human_len} events",
            Unit::Bytes => "{bytes} of {total_bytes}",
        };
        let form = format!("{{msg}} {{wide_bar}} {counts}, {{eta}} left");
        let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr_with_hz(DRAWN_PER_SECOND));
        bar.set_style(ProgressStyle::with_template(&form).expect("the form is one of two, and both are well formed"));
        bar.set_message(doing);
        Self { bar }
    }

    /// So much is done, of so much: the whole may grow while the work goes on.
    pub(super) fn show(&self, done: u64, total: u64) {
        self.bar.set_length(total.max(done));
        self.bar.set_position(done);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_the_bar_are_well_formed() {
        for unit in [Unit::Events, Unit::Bytes] {
            Bar::new(unit, 10, "checking").show(5, 10);
        }
    }
}

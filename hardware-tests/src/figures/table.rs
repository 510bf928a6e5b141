//! The table: one row per figure, what it is held against, and what was aimed at.

use std::fmt;

/// Whether a target was met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Met,
    Missed,
    /// There is no target; the figure is for the reader.
    Told,
}

impl From<bool> for Verdict {
    fn from(met: bool) -> Self {
        if met { Self::Met } else { Self::Missed }
    }
}

/// One figure.
#[derive(Debug)]
pub(super) struct Row {
    figure: String,
    value: String,
    baseline: String,
    ratio: Option<f64>,
    target: String,
    verdict: Verdict,
}

impl Row {
    /// A figure that stands alone.
    pub(super) fn new(figure: impl Into<String>, value: impl Into<String>) -> Self {
        Self {
            figure: figure.into(),
            value: value.into(),
            baseline: String::new(),
            ratio: None,
            target: String::new(),
            verdict: Verdict::Told,
        }
    }

    /// The same beside its baseline; `ratio` is the figure over the baseline.
    pub(super) fn beside(mut self, baseline: impl Into<String>, ratio: f64) -> Self {
        (self.baseline, self.ratio) = (baseline.into(), Some(ratio));
        self
    }

    /// The same with a word beside it that is no baseline.
    pub(super) fn told_beside(mut self, word: impl Into<String>) -> Self {
        self.baseline = word.into();
        self
    }

    /// The same with what was aimed at.
    pub(super) fn aims(mut self, target: impl Into<String>, verdict: impl Into<Verdict>) -> Self {
        (self.target, self.verdict) = (target.into(), verdict.into());
        self
    }

    fn cells(&self) -> [String; 6] {
        let verdict = match self.verdict {
            Verdict::Met => "met",
            Verdict::Missed => "MISSED",
            Verdict::Told => "",
        };
        let ratio = self.ratio.map(|ratio| format!("{ratio:.2}")).unwrap_or_default();
        [self.figure.clone(), self.value.clone(), self.baseline.clone(), ratio, self.target.clone(), verdict.to_owned()]
    }
}

/// All figures.
#[derive(Debug, Default)]
pub(super) struct Table(Vec<Row>);

impl Table {
    /// Adds the figures of one part; they are printed at once too, so that a long run can be watched.
    pub(super) fn extend(&mut self, rows: Vec<Row>) {
        for row in &rows {
            eprintln!("  {}", row.cells().map(|cell| cell.trim().to_owned()).join(" | "));
        }
        self.0.extend(rows);
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = ["FIGURE", "SEGEL", "BESIDE IT", "RATIO", "TARGET", ""].map(str::to_owned);
        let lines: Vec<_> = std::iter::once(head).chain(self.0.iter().map(Row::cells)).collect();
        let width = |column: usize| lines.iter().map(|cells| cells[column].chars().count()).max().unwrap_or(0);
        let widths: [usize; 6] = std::array::from_fn(width);
        for cells in &lines {
            let line: Vec<_> = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
            writeln!(f, "{}", line.join("  ").trim_end())?;
        }
        Ok(())
    }
}

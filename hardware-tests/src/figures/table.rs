//! The table: one row per figure, what it is held against, and what was aimed at.

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

    /// The same with a word behind the figure.
    pub(super) fn noted(mut self, word: impl AsRef<str>) -> Self {
        self.value = format!("{} {}", self.value, word.as_ref());
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

/// The names of the columns.
const HEAD: [&str; 6] = ["FIGURE", "SEGEL", "BESIDE IT", "RATIO", "TARGET", ""];

/// How the table reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Columns of text, for a terminal.
    Text,
    /// For a page.
    Markdown,
}

/// All figures, under headings where there are several kinds of them.
#[derive(Debug, Default)]
pub(super) struct Table(Vec<(String, Vec<Row>)>);

impl Table {
    /// What is added from now on stands under this heading.
    pub(super) fn heading(&mut self, heading: impl Into<String>) {
        self.0.push((heading.into(), Vec::new()));
    }

    /// Adds the figures of one part; they are printed at once too, so that a long run can be watched.
    pub(super) fn extend(&mut self, rows: Vec<Row>) {
        for row in &rows {
            eprintln!("  {}", row.cells().map(|cell| cell.trim().to_owned()).join(" | "));
        }
        if self.0.is_empty() {
            self.heading("");
        }
        if let Some((_, under)) = self.0.last_mut() {
            under.extend(rows);
        }
    }

    /// The table in this form.
    pub(super) fn shown(&self, form: Form) -> String {
        let mut text = String::new();
        for (heading, rows) in &self.0 {
            match form {
                Form::Text => text.push_str(&columns(heading, rows)),
                Form::Markdown => text.push_str(&markdown(heading, rows)),
            }
            text.push('\n');
        }
        text
    }
}

fn columns(heading: &str, rows: &[Row]) -> String {
    let lines: Vec<_> = std::iter::once(HEAD.map(str::to_owned)).chain(rows.iter().map(Row::cells)).collect();
    let width = |column: usize| lines.iter().map(|cells| cells[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; 6] = std::array::from_fn(width);
    let mut text = String::new();
    if !heading.is_empty() {
        text = format!("{heading}\n\n");
    }
    for cells in &lines {
        let line: Vec<_> = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        text.push_str(line.join("  ").trim_end());
        text.push('\n');
    }
    text
}

fn markdown(heading: &str, rows: &[Row]) -> String {
    let line = |cells: &[String; 6]| format!("| {} |\n", cells.iter().map(|cell| cell.replace('|', "\\|")).collect::<Vec<_>>().join(" | "));
    let mut text = String::new();
    if !heading.is_empty() {
        text = format!("### {heading}\n\n");
    }
    text.push_str(&line(&HEAD.map(str::to_lowercase)));
    text.push_str("|---|---|---|---|---|---|\n");
    rows.iter().for_each(|row| text.push_str(&line(&row.cells())));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_a_heading_a_line_per_figure_and_no_cell_too_many() {
        let mut table = Table::default();
        table.heading("ten events");
        table.extend(vec![
            Row::new("append", "1 ms").beside("2 ms bare | file", 0.5).aims("at most 1.3 x", true),
            Row::new("size", "3 GB").told_beside("a word"),
        ]);
        let text = table.shown(Form::Markdown);
        assert!(text.starts_with("### ten events\n\n| figure | segel |"), "{text}");
        assert!(text.contains("| append | 1 ms | 2 ms bare \\| file | 0.50 | at most 1.3 x | met |"), "{text}");
        let cells = |line: &str| line.replace("\\|", "").matches('|').count();
        assert!(text.lines().filter(|line| line.starts_with('|')).all(|line| cells(line) == 7), "{text}");
    }

    #[test]
    fn figures_without_a_heading_are_a_table_all_the_same() {
        let mut table = Table::default();
        table.extend(vec![Row::new("append", "1 ms")]);
        assert!(table.shown(Form::Text).starts_with("FIGURE"), "{}", table.shown(Form::Text));
    }
}

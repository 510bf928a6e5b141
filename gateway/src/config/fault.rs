//! A fault: what is wrong, where it stands, what was given, and what to write instead.
//!
//! Faults are collected, never thrown: a person who repairs a file wants all of them at once. What is printed has
//! passed [`super::mask`]. The number kept is bounded; the rest is counted.

use std::{fmt, ops::Range, path::PathBuf, sync::Arc};

use annotate_snippets::{AnnotationKind, Group, Level, Origin as Named, Renderer, Snippet};
use serde::Serialize;

use super::{
    mask::{self, HIDDEN},
    source::SourceFile,
};

/// The most faults kept of one load; a person repairs no more in one go.
pub const FAULTS_MAX: usize = 200;
/// The longest line shown, in bytes; of a longer one only the place is named.
const LINE_MAX: usize = 400;
/// The longest value shown, in characters.
const VALUE_MAX: usize = 80;

/// Where something stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// In a file, at these bytes.
    Text { file: Arc<SourceFile>, span: Range<usize> },
    /// A file as a whole.
    Whole { path: PathBuf, rank: usize },
    /// A variable of the environment.
    Environment { name: String },
}

impl Place {
    /// In a file, at these bytes.
    pub(super) fn text(file: &Arc<SourceFile>, span: Range<usize>) -> Self {
        Self::Text { file: Arc::clone(file), span }
    }

    fn order(&self) -> (usize, usize) {
        match self {
            Self::Text { file, span } => (file.rank, span.start),
            Self::Whole { rank, .. } => (*rank, 0),
            Self::Environment { .. } => (usize::MAX, 0),
        }
    }
}

/// One thing wrong, or in a warning one thing surprising.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    place: Place,
    also: Vec<(Place, String)>,
    key: Option<String>,
    value: Option<String>,
    hidden: bool,
    problem: String,
    remedy: String,
}

impl Fault {
    pub(super) fn new(place: Place, problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { place, also: Vec::new(), key: None, value: None, hidden: false, problem: problem.into(), remedy: remedy.into() }
    }

    pub(super) fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(clean(&key.into()));
        self
    }

    /// What was given, as it was written.
    pub(super) fn value(mut self, value: &str) -> Self {
        self.value = Some(clean(value));
        self
    }

    /// What was given is a secret, or may be one.
    pub(super) fn hide_value(mut self) -> Self {
        self.value = None;
        self.hidden = true;
        self
    }

    pub(super) fn also(mut self, place: Place, why: impl Into<String>) -> Self {
        self.also.push((place, why.into()));
        self
    }

    /// The file, the line and the column, each where there is one.
    #[must_use]
    pub fn position(&self) -> Position {
        Position::of(&self.place)
    }

    /// The dotted key, where one is concerned.
    #[must_use]
    pub fn dotted_key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    /// What is wrong.
    #[must_use]
    pub fn problem(&self) -> &str {
        &self.problem
    }

    /// What to do.
    #[must_use]
    pub fn remedy(&self) -> &str {
        &self.remedy
    }

    /// As a person reads it: the line, a caret, what was given and what to do.
    fn render(&self, level: Level<'_>) -> String {
        let mut group = element(Group::with_title(level.primary_title(&self.problem)), &self.place, None);
        for (place, why) in &self.also {
            group = element(group, place, Some(why));
        }
        let mut given = Vec::new();
        if let Place::Environment { name } = &self.place {
            given.push(format!("environment variable `{name}`"));
        }
        given.extend(self.key.as_ref().map(|key| format!("key `{key}`")));
        given.extend(self.value.as_ref().map(|value| format!("value `{value}`")));
        given.extend(self.hidden.then(|| "value not shown".to_owned()));
        if !given.is_empty() {
            group = group.element(Level::NOTE.message(given.join(", ")));
        }
        group = group.element(Level::HELP.message(&self.remedy));
        Renderer::plain().render(&[group])
    }
}

/// A text made fit to be shown: bounded, and without anything a terminal obeys.
fn clean(text: &str) -> String {
    let mut shown: String =
        text.chars().take(VALUE_MAX).flat_map(|c| if c.is_control() { c.escape_debug().collect() } else { vec![c] }).collect();
    if text.chars().nth(VALUE_MAX).is_some() {
        shown.push_str("...");
    }
    shown
}

/// Adds what is to be seen at a place.
fn element<'a>(group: Group<'a>, place: &'a Place, why: Option<&'a str>) -> Group<'a> {
    match place {
        Place::Whole { path, .. } => group.element(Named::path(path.display().to_string())),
        Place::Environment { name } => match why {
            Some(why) => group.element(Level::NOTE.message(format!("{why}: environment variable `{name}`"))),
            None => group,
        },
        Place::Text { file, span } => {
            let line = file.line(span.start);
            let number = file.line_number(span.start);
            let path = file.path.display().to_string();
            if line.len() > LINE_MAX {
                return group.element(
                    Named::path(path).line(number).char_column(file.text[line.start..boundary(&file.text, span.start)].chars().count() + 1),
                );
            }
            let mut text = file.text[line.clone()].to_owned();
            let mut start = boundary(&text, span.start.saturating_sub(line.start));
            let mut end = boundary(&text, span.end.saturating_sub(line.start)).max(start);
            if let Some(cut) = mask::cut(file, &line).filter(|cut| *cut < text.trim_end().len()) {
                text.truncate(cut);
                if !text.is_empty() && !text.ends_with(' ') {
                    text.push(' ');
                }
                let shown = text.len();
                text.push_str(HIDDEN);
                (start, end) = (start.min(shown), if end > cut { text.len() } else { end });
            }
            let kind = if why.is_some() { AnnotationKind::Context } else { AnnotationKind::Primary };
            let snippet = Snippet::source(text).line_start(number).path(path).annotation(kind.span(start..end).label(why));
            group.element(snippet)
        }
    }
}

/// The next place at or before `at` where a character begins.
fn boundary(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// Where a fault stands, for programs.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Position {
    /// The file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The line, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// The column in characters, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<usize>,
    /// The variable of the environment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
}

impl Position {
    fn of(place: &Place) -> Self {
        match place {
            Place::Environment { name } => Self { environment: Some(name.clone()), ..Self::default() },
            Place::Whole { path, .. } => Self { file: Some(path.display().to_string()), ..Self::default() },
            Place::Text { file, span } => {
                let before = &file.text[file.line(span.start).start..boundary(&file.text, span.start)];
                Self {
                    file: Some(file.path.display().to_string()),
                    line: Some(file.line_number(span.start)),
                    column: Some(before.chars().count() + 1),
                    environment: None,
                }
            }
        }
    }
}

/// A fault as a program reads it.
impl Serialize for Fault {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Form<'a> {
            #[serde(flatten)]
            position: Position,
            #[serde(skip_serializing_if = "Option::is_none")]
            key: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            value: Option<&'a str>,
            problem: &'a str,
            remedy: &'a str,
            #[serde(skip_serializing_if = "Vec::is_empty")]
            also: Vec<Position>,
        }
        Form {
            position: self.position(),
            key: self.key.as_deref(),
            value: self.value.as_deref(),
            problem: &self.problem,
            remedy: &self.remedy,
            also: self.also.iter().map(|(place, _)| Position::of(place)).collect(),
        }
        .serialize(to)
    }
}

/// Everything wrong with a configuration, in the order of the files and their lines; never empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Faults {
    /// What stops the start, at most [`FAULTS_MAX`].
    pub faults: Vec<Fault>,
    /// How many more there are.
    pub more: usize,
    /// What was surprising besides.
    pub warnings: Vec<Fault>,
    /// A file could not be read to its end, so nothing was called missing and more may come.
    pub unread: bool,
}

impl std::error::Error for Faults {}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for fault in &self.faults {
            writeln!(f, "{}\n", fault.render(Level::ERROR))?;
        }
        for warning in &self.warnings {
            writeln!(f, "{}\n", warning.render(Level::WARNING))?;
        }
        match self.faults.len() + self.more {
            1 => f.write_str("the configuration has 1 fault"),
            all => write!(f, "the configuration has {all} faults"),
        }?;
        if self.more > 0 {
            write!(f, "; the first {} are shown", self.faults.len())?;
        }
        if self.unread {
            f.write_str("; what is missing is looked for when every file can be read to its end")?;
        }
        Ok(())
    }
}

/// A warning as a person reads it.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(Level::WARNING))
    }
}

/// Collects faults and warnings while a configuration is read.
#[derive(Debug, Default)]
pub(super) struct Findings {
    faults: Vec<Fault>,
    more: usize,
    warnings: Vec<Fault>,
}

impl Findings {
    pub(super) fn fault(&mut self, fault: Fault) {
        if self.faults.len() < FAULTS_MAX {
            self.faults.push(fault);
        } else {
            self.more += 1;
        }
    }

    pub(super) fn warn(&mut self, warning: Fault) {
        if self.warnings.len() < FAULTS_MAX {
            self.warnings.push(warning);
        }
    }

    /// The warnings when nothing is wrong, everything otherwise.
    ///
    /// `unread` as in [`Faults::unread`].
    pub(super) fn finish(mut self, unread: bool) -> Result<Vec<Fault>, Faults> {
        self.faults.sort_by_key(|fault| fault.place.order());
        self.warnings.sort_by_key(|fault| fault.place.order());
        if self.faults.is_empty() {
            return Ok(self.warnings);
        }
        Err(Faults { faults: self.faults, more: self.more, warnings: self.warnings, unread })
    }
}

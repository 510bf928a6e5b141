//! Walking along the journal in pieces: back from the end, forward from the front, and on from what was shown.
//!
//! ```text
//!   front ──────────────────────────────────────────────► end
//!     forth: a piece, let go, a piece ...   ◄── back: a piece, let go, a piece ...
//!                                                          onward: what came since, by number, of each class
//! ```
//!
//! What must hold: a piece looks at a bounded number of events and holds no state of the database afterwards, so that a
//! walk may take hours beside a gate that records; an event's document is read only where the event passes the filter;
//! the narrowest index gives the order, nothing is sorted. A walk on from what was shown goes by number and not by
//! place, because a journal that was made smaller has the same numbers in other places.
//!
//! Not here: what is done with the events.

use jiff::Timestamp;
use rusqlite::types::Value;
use rusqlite::{OptionalExtension as _, params_from_iter};

use super::reader::{COLUMNS, JournalReader, class, record};
use super::store::{self, seq, signed};
use super::{JournalError, Record};
use crate::event::{Class, EventType, Seq, Subject};

/// Most events one piece looks at: some ten milliseconds, and the log can be given back between two pieces.
const LOOKS: usize = 4096;
/// Bytes of documents in one piece.
const PIECE_BYTES: usize = 512 * 1024;
/// Events of one class in one piece of [`JournalReader::onward`].
const ONWARD: usize = 256;

/// Which events are wanted; all of them by default.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Of this class only.
    pub class: Option<Class>,
    /// Of this kind only.
    pub kind: Option<EventType>,
    /// About this subject only.
    pub subject: Option<Subject>,
    /// Not before this wall time.
    pub since: Option<Timestamp>,
    /// Not after this wall time.
    pub until: Option<Timestamp>,
    /// Not below this number.
    pub first: Option<Seq>,
    /// Not above this number.
    pub last: Option<Seq>,
}

impl Filter {
    /// Whether every event passes.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        let Self { class, kind, subject, since, until, first, last } = self;
        class.is_none() && kind.is_none() && subject.is_none() && since.is_none() && until.is_none() && first.is_none() && last.is_none()
    }

    /// Whether a walk looks at every event of the classes it wants, and so sees each hole.
    #[must_use]
    pub const fn sees_holes(&self) -> bool {
        self.subject.is_none()
    }

    /// The column a walk goes along, what stands before its condition, and that value.
    fn track(&self) -> (&'static str, &'static str, &'static str, Option<Value>) {
        match (&self.subject, self.class) {
            (Some(subject), _) => ("rowid", "INDEXED BY event_subject", "subject = ?1 AND", Some(subject.as_str().to_owned().into())),
            (None, Some(class)) => ("seq", "", "class = ?1 AND", Some((class as i64).into())),
            (None, None) => ("rowid", "NOT INDEXED", "?1 IS NULL AND", None),
        }
    }

    /// What an event must be to pass; its values follow after `values`.
    fn passes(&self, values: &mut Vec<Value>) -> String {
        let mut text = String::from("1");
        let mut only = |condition: &str, value: Value| {
            values.push(value);
            text.push_str(&format!(" AND {condition} ?{}", values.len()));
        };
        if let Some(class) = self.class {
            only("class =", (class as i64).into());
        }
        if let Some(kind) = self.kind {
            only("type =", kind.as_str().to_owned().into());
        }
        if let Some(subject) = &self.subject {
            only("subject =", subject.as_str().to_owned().into());
        }
        if let Some(since) = self.since {
            only("wall >=", since.as_millisecond().into());
        }
        if let Some(until) = self.until {
            only("wall <=", until.as_millisecond().into());
        }
        if let Some(first) = self.first {
            only("seq >=", signed(first.0).into());
        }
        if let Some(last) = self.last {
            only("seq <=", signed(last.0).into());
        }
        text
    }
}

/// A place in the order of recording, over all classes. It holds until the database is written anew as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Place(i64);

/// The numbers of one class that are in the database: those after `front`, up to `head`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Extent {
    /// The last number whose event is not held any more; [`Seq::NONE`] when all are.
    pub front: Seq,
    /// The last number recorded.
    pub head: Seq,
}

/// What the journal held at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Moment {
    by_class: [Extent; Class::ALL.len()],
    end: Place,
}

impl Moment {
    /// What there was of this class.
    #[must_use]
    pub const fn of(&self, class: Class) -> Extent {
        self.by_class[class as usize]
    }

    /// A moment with these fronts and heads, for tests of what is made of one.
    #[cfg(test)]
    pub(crate) fn of_numbers(numbers: [(u64, u64); Class::ALL.len()]) -> Self {
        Self { by_class: numbers.map(|(front, head)| Extent { front: Seq(front), head: Seq(head) }), end: Place::default() }
    }

    /// Events held, of all classes or of one.
    #[must_use]
    pub fn held(&self, class: Option<Class>) -> u64 {
        let wanted = Class::ALL.iter().filter(|c| class.is_none_or(|class| class == **c));
        wanted.map(|class| self.of(*class)).map(|extent| extent.head.0.saturating_sub(extent.front.0)).sum()
    }
}

/// A walk under way: its filter and how far it came.
#[derive(Debug, Clone)]
pub struct Walk {
    filter: Filter,
    at: i64,
}

impl Walk {
    /// A walk back from the last event there was at that moment.
    #[must_use]
    pub fn back(filter: Filter, from: &Moment) -> Self {
        let at = Self::last(&filter, from).saturating_add(1);
        Self { filter, at }
    }

    /// A walk forward from the first event held.
    #[must_use]
    pub fn forth(filter: Filter) -> Self {
        let at = if filter.track().0 == "seq" { filter.first.map_or(0, |first| signed(first.before().0)) } else { 0 };
        Self { filter, at }
    }

    /// Whether a walk forward has passed everything there was at that moment.
    #[must_use]
    pub fn has_passed(&self, moment: &Moment) -> bool {
        self.at >= Self::last(&self.filter, moment)
    }

    fn last(filter: &Filter, moment: &Moment) -> i64 {
        match (filter.track().0, filter.class) {
            ("seq", Some(class)) => {
                let head = moment.of(class).head;
                signed(filter.last.map_or(head, |last| last.min(head)).0)
            }
            _ => moment.end.0,
        }
    }
}

/// A piece of a walk back.
#[derive(Debug, Clone)]
pub struct Glance {
    /// The events that pass, the newest first.
    pub places: Vec<Place>,
    /// Events looked at; none: the front is reached.
    pub looked: u64,
    /// The latest wall time among those looked at.
    pub latest: Option<Timestamp>,
}

/// An event a walk forward came by.
#[derive(Debug, Clone)]
pub struct Passed {
    /// Its class.
    pub class: Class,
    /// Its number.
    pub seq: Seq,
    /// Its document, where it passes the filter.
    pub doc: Option<Vec<u8>>,
}

/// How far somebody was shown each class; where to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reached {
    by_class: [Seq; Class::ALL.len()],
}

impl Reached {
    /// Everything up to that moment.
    #[must_use]
    pub fn until(moment: &Moment) -> Self {
        Self { by_class: moment.by_class.map(|extent| extent.head) }
    }

    /// The same, with everything of `class` up to `seq` counted as shown, and nothing after it.
    pub fn skip_to(&mut self, class: Class, seq: Seq) {
        self.by_class[class as usize] = seq;
    }

    /// The last number shown or passed over.
    #[must_use]
    pub const fn of(&self, class: Class) -> Seq {
        self.by_class[class as usize]
    }
}

impl JournalReader {
    /// What the journal holds now.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn moment(&self) -> Result<Moment, JournalError> {
        let view = self.connection.unchecked_transaction()?;
        let chains = store::load(&view)?;
        let end = view
            .prepare_cached("SELECT rowid FROM event ORDER BY rowid DESC LIMIT 1")?
            .query_row([], |row| row.get(0))
            .optional()?
            .unwrap_or(0);
        view.finish()?;
        Ok(Moment { by_class: chains.map(|head| Extent { front: head.front, head: head.seq }), end: Place(end) })
    }

    /// The last `n` events that pass the filter, in the order of recording. Looks back as far as it must.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn tail(&self, filter: &Filter, n: usize) -> Result<Vec<Record>, JournalError> {
        let mut walk = Walk::back(filter.clone(), &self.moment()?);
        let mut records = Vec::new();
        loop {
            let glance = self.back(&mut walk, n - records.len())?;
            for place in glance.places {
                records.extend(self.at(place)?);
            }
            if glance.looked == 0 || records.len() == n {
                records.reverse();
                return Ok(records);
            }
        }
    }

    /// At most `limit` events recorded after `place` that pass the filter; moves the place behind the last of them. No
    /// event: nothing more passes now.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn since(&self, filter: &Filter, place: &mut Place, limit: usize) -> Result<Vec<Record>, JournalError> {
        let mut values = vec![place.0.into(), signed(limit as u64).into()];
        let passes = filter.passes(&mut values);
        let text = format!("SELECT {COLUMNS}, rowid FROM event NOT INDEXED WHERE rowid > ?1 AND {passes} ORDER BY rowid LIMIT ?2");
        let mut statement = self.connection.prepare_cached(&text)?;
        let rows = statement.query_map(params_from_iter(values), |row| Ok((row.get::<_, i64>(7)?, record(row)?)))?;
        let records = rows.collect::<Result<Vec<_>, _>>()?;
        *place = records.last().map_or(*place, |(row, _)| Place(*row));
        Ok(records.into_iter().map(|(_, record)| record).collect())
    }

    /// Looks at the piece before `walk`, until `want` events pass or the piece ends.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn back(&self, walk: &mut Walk, want: usize) -> Result<Glance, JournalError> {
        let (key, index, track, value) = walk.filter.track();
        let mut values = vec![value.unwrap_or(Value::Null), walk.at.into(), signed(LOOKS as u64).into()];
        let passes = walk.filter.passes(&mut values);
        let text = format!("SELECT {key}, rowid, wall, {passes} FROM event {index} WHERE {track} {key} < ?2 ORDER BY {key} DESC LIMIT ?3");
        let mut statement = self.connection.prepare_cached(&text)?;
        let mut rows = statement.query(params_from_iter(values))?;
        let mut glance = Glance { places: Vec::new(), looked: 0, latest: None };
        while glance.places.len() < want
            && let Some(row) = rows.next()?
        {
            walk.at = row.get(0)?;
            glance.looked += 1;
            glance.latest = glance.latest.max(Timestamp::from_millisecond(row.get(2)?).ok());
            if row.get(3)? {
                glance.places.push(Place(row.get(1)?));
            }
        }
        Ok(glance)
    }

    /// Tries `probes` places spread evenly over what lies before `walk`, from the last to the first, until one is not
    /// older than `since`; moves the walk back over those that were. False when all are older.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn probe(&self, walk: &mut Walk, since: Timestamp, probes: u32) -> Result<bool, JournalError> {
        let (key, index, track, value) = walk.filter.track();
        let value = value.unwrap_or(Value::Null);
        let text = format!("SELECT {key} FROM event {index} WHERE {track} {key} > ?2 ORDER BY {key} LIMIT 1");
        let first: Option<i64> = self.connection.prepare_cached(&text)?.query_row((&value, 0), |row| row.get(0)).optional()?;
        let Some(first) = first.filter(|first| *first < walk.at) else { return Ok(false) };
        let text = format!("SELECT {key}, wall FROM event {index} WHERE {track} {key} <= ?2 ORDER BY {key} DESC LIMIT 1");
        let mut statement = self.connection.prepare_cached(&text)?;
        let width = i128::from(walk.at - first);
        let mut older = walk.at;
        for probe in (0..probes).rev() {
            let at = first + i64::try_from(width * i128::from(probe) / i128::from(probes)).unwrap_or(0);
            let found: Option<(i64, i64)> = statement.query_row((&value, at), |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
            match found {
                Some((_, wall)) if wall >= since.as_millisecond() => {
                    walk.at = older;
                    return Ok(true);
                }
                Some((key, _)) => older = key,
                None => {}
            }
        }
        Ok(false)
    }

    /// The event at a place; none when it was dropped since.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn at(&self, place: Place) -> Result<Option<Record>, JournalError> {
        let mut statement = self.connection.prepare_cached(&format!("SELECT {COLUMNS} FROM event WHERE rowid = ?1"))?;
        Ok(statement.query_row([place.0], record).optional()?)
    }

    /// Whether anything at all is recorded about this subject.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn knows(&self, subject: &Subject) -> Result<bool, JournalError> {
        let mut statement = self.connection.prepare_cached("SELECT 1 FROM event WHERE subject = ?1 LIMIT 1")?;
        Ok(statement.exists([subject.as_str()])?)
    }

    /// The next piece of a walk forward; an empty one when nothing more is there.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn forth(&self, walk: &mut Walk) -> Result<Vec<Passed>, JournalError> {
        let (key, index, track, value) = walk.filter.track();
        let mut values = vec![value.unwrap_or(Value::Null), walk.at.into(), signed(LOOKS as u64).into()];
        let passes = walk.filter.passes(&mut values);
        let text = format!(
            "SELECT {key}, class, seq, CASE WHEN {passes} THEN doc END
             FROM event {index} WHERE {track} {key} > ?2 ORDER BY {key} LIMIT ?3"
        );
        let mut statement = self.connection.prepare_cached(&text)?;
        let mut rows = statement.query(params_from_iter(values))?;
        let mut passed = Vec::new();
        let mut bytes = 0;
        while bytes < PIECE_BYTES
            && let Some(row) = rows.next()?
        {
            walk.at = row.get(0)?;
            let doc: Option<Vec<u8>> = row.get(3)?;
            bytes += doc.as_ref().map_or(0, Vec::len);
            passed.push(Passed { class: class(row.get(1)?), seq: seq(row.get(2)?), doc });
        }
        Ok(passed)
    }

    /// The next piece of a walk forward, with the word of each event instead of its document.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn kinds(&self, walk: &mut Walk) -> Result<Vec<(Class, Seq, String)>, JournalError> {
        let (key, index, track, value) = walk.filter.track();
        let values = vec![value.unwrap_or(Value::Null), walk.at.into(), signed(LOOKS as u64).into()];
        let text = format!("SELECT {key}, class, seq, type FROM event {index} WHERE {track} {key} > ?2 ORDER BY {key} LIMIT ?3");
        let mut statement = self.connection.prepare_cached(&text)?;
        let mut rows = statement.query(params_from_iter(values))?;
        let mut kinds = Vec::new();
        while let Some(row) = rows.next()? {
            walk.at = row.get(0)?;
            kinds.push((class(row.get(1)?), seq(row.get(2)?), row.get(3)?));
        }
        Ok(kinds)
    }

    /// The next events after those shown, in the order of recording; those that pass are returned, those that do not
    /// are passed over. Whether there may be more at once is the second answer.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn onward(&self, filter: &Filter, shown: &mut Reached) -> Result<(Vec<Record>, bool), JournalError> {
        let view = self.connection.unchecked_transaction()?;
        let mut found = Vec::new();
        // Nothing behind the end of a piece that was cut off may be shown before the rest of that piece.
        let mut bound = i64::MAX;
        for class in Class::ALL.iter().filter(|c| filter.class.is_none_or(|class| class == **c)) {
            let mut values = vec![(*class as i64).into(), signed(shown.of(*class).0).into(), signed(ONWARD as u64).into()];
            let passes = filter.passes(&mut values);
            let text = format!("SELECT rowid, seq, {passes} FROM event WHERE class = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3");
            let mut statement = view.prepare_cached(&text)?;
            let piece = statement
                .query_map(params_from_iter(values), |row| Ok((row.get::<_, i64>(0)?, *class, seq(row.get(1)?), row.get::<_, bool>(2)?)))?
                .collect::<Result<Vec<_>, _>>()?;
            if let Some((row, ..)) = piece.last().filter(|_| piece.len() == ONWARD) {
                bound = bound.min(*row);
            }
            found.extend(piece);
        }
        found.sort_unstable_by_key(|(row, ..)| *row);
        let mut records = Vec::new();
        for (row, class, seq, passes) in found.into_iter().filter(|(row, ..)| *row <= bound) {
            shown.by_class[class as usize] = seq;
            if passes {
                records.extend(self.at(Place(row))?);
            }
        }
        view.finish()?;
        Ok((records, bound != i64::MAX))
    }
}

//! Topics: built and parsed here and nowhere else.
//!
//! ```text
//!   segel / 1 / {site} / {gate} / {class} / {key}        always six levels
//!           │     │        │        │         └ what it is about:  gateway, reader-1, seal-e2a900417731
//!           │     │        │        └ state meta tlm ev alarm cmd res
//!           │     └ UN/LOCODE, e.g. idtpp
//!           └ version of the scheme
//! ```
//!
//! What must hold: every level of a [`Topic`] is `[a-z0-9-]` and bounded, so a topic never needs escaping, never
//! holds a wildcard and is pure ASCII (rumqttd's router slices topics by bytes). The depth never varies, so that
//! `segel/1/+/+/alarm/+` is every alarm of every gate.
//!
//! A [`Filter`] is what somebody else asks for: any valid filter of MQTT 3.1.1, matched as section 4.7 says.

use std::fmt;
use std::str::FromStr;

/// The first two levels of every topic: the project and the version of the scheme.
pub const SCHEME: &str = "segel/1";
/// Longest site or gate in bytes. A UN/LOCODE has 5; the rest is room for a terminal's own suffix.
pub const MAX_PLACE: usize = 32;
/// Longest key in bytes: a seal's number has up to 35 characters and carries a word in front.
pub const MAX_KEY: usize = 64;
/// Longest filter in bytes that is accepted from a subscriber; twice what our longest topic needs.
pub const MAX_FILTER: usize = 512;

/// What a level of a topic is for; named in errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The site, a UN/LOCODE in lower case.
    Site,
    /// The gate within the site.
    Gate,
    /// What the message is about.
    Key,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Part::Site => "site",
            Part::Gate => "gate",
            Part::Key => "key",
        })
    }
}

/// Why a topic cannot be built or read; each says what to change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TopicError {
    /// A level is empty.
    #[error("the {part} of a topic is empty; give it at least one of a-z, 0-9 or '-'")]
    Empty {
        /// Which level.
        part: Part,
    },
    /// A level is longer than it may be.
    #[error("the {part} of a topic has {length} bytes; shorten it to {max}")]
    TooLong {
        /// Which level.
        part: Part,
        /// Its length in bytes.
        length: usize,
        /// The most it may have.
        max: usize,
    },
    /// A level holds a character that topics may not hold.
    #[error("the {part} of a topic holds {character:?}; use only a-z, 0-9 and '-'")]
    Character {
        /// Which level.
        part: Part,
        /// The first offending character.
        character: char,
    },
    /// The text is not of the scheme at all.
    #[error("not a topic of the form {SCHEME}/site/gate/class/key; look at who published it")]
    NotOurs,
    /// The class is none of ours.
    #[error("no such class of topic; use one of state, meta, tlm, ev, alarm, cmd, res")]
    Class,
}

/// What kind of message a topic carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    /// Last known state; retained.
    State,
    /// What this gate is: version, readers; retained.
    Meta,
    /// Flat numbers for dashboards; passing.
    Telemetry,
    /// Events, one document each; passing.
    Event,
    /// Alarms that stand; retained, cleared by an empty payload.
    Alarm,
    /// Commands to the gate; never retained.
    Command,
    /// Results of commands; passing.
    Outcome,
}

impl Class {
    /// Every class, in the order the scheme lists them.
    pub const ALL: [Class; 7] = [Class::State, Class::Meta, Class::Telemetry, Class::Event, Class::Alarm, Class::Command, Class::Outcome];

    /// The level as it stands in a topic.
    pub fn as_str(self) -> &'static str {
        match self {
            Class::State => "state",
            Class::Meta => "meta",
            Class::Telemetry => "tlm",
            Class::Event => "ev",
            Class::Alarm => "alarm",
            Class::Command => "cmd",
            Class::Outcome => "res",
        }
    }

    fn parse(text: &str) -> Result<Class, TopicError> {
        Class::ALL.into_iter().find(|class| class.as_str() == text).ok_or(TopicError::Class)
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where a gate stands: site and gate, both fit for a topic.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    site: String,
    gate: String,
}

impl Place {
    /// A place from its two names (`[a-z0-9-]`, 1 to [`MAX_PLACE`] bytes each); [`TopicError`] says what is wrong with which.
    pub fn new(site: &str, gate: &str) -> Result<Place, TopicError> {
        check(Part::Site, site, MAX_PLACE)?;
        check(Part::Gate, gate, MAX_PLACE)?;
        Ok(Place { site: site.to_owned(), gate: gate.to_owned() })
    }

    /// The site, e.g. `idtpp`.
    pub fn site(&self) -> &str {
        &self.site
    }

    /// The gate within the site, e.g. `g03`.
    pub fn gate(&self) -> &str {
        &self.gate
    }

    /// A topic of this place; the key must be `[a-z0-9-]`, 1 to [`MAX_KEY`] bytes.
    pub fn topic(&self, class: Class, key: &str) -> Result<Topic, TopicError> {
        check(Part::Key, key, MAX_KEY)?;
        let text = format!("{SCHEME}/{}/{}/{class}/{key}", self.site, self.gate);
        let key_at = text.len() - key.len();
        Ok(Topic { place: self.clone(), class, text, key_at })
    }

    /// The filter that asks for every key of one class at this place.
    pub fn every(&self, class: Class) -> Filter {
        Filter { text: format!("{SCHEME}/{}/{}/{class}/+", self.site, self.gate) }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.site, self.gate)
    }
}

/// One topic of the scheme; always valid.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Topic {
    place: Place,
    class: Class,
    text: String,
    key_at: usize,
}

impl Topic {
    /// The gate this topic belongs to.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// What kind of message it carries.
    pub fn class(&self) -> Class {
        self.class
    }

    /// What it is about.
    pub fn key(&self) -> &str {
        &self.text[self.key_at..]
    }

    /// The topic as it goes over the wire.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Topic {
    type Err = TopicError;

    fn from_str(text: &str) -> Result<Topic, TopicError> {
        let levels = text.strip_prefix(SCHEME).and_then(|rest| rest.strip_prefix('/')).ok_or(TopicError::NotOurs)?;
        let mut levels = levels.split('/');
        let (Some(site), Some(gate), Some(class), Some(key), None) =
            (levels.next(), levels.next(), levels.next(), levels.next(), levels.next())
        else {
            return Err(TopicError::NotOurs);
        };
        Place::new(site, gate)?.topic(Class::parse(class)?, key)
    }
}

fn check(part: Part, text: &str, max: usize) -> Result<(), TopicError> {
    if text.is_empty() {
        return Err(TopicError::Empty { part });
    }
    if text.len() > max {
        return Err(TopicError::TooLong { part, length: text.len(), max });
    }
    match text.chars().find(|c| !matches!(c, 'a'..='z' | '0'..='9' | '-')) {
        Some(character) => Err(TopicError::Character { part, character }),
        None => Ok(()),
    }
}

/// Why a filter is refused; each says what to ask for instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// The filter is empty.
    #[error("the filter is empty; ask for '#' to get everything")]
    Empty,
    /// The filter is too long.
    #[error("the filter has {0} bytes; shorten it to {MAX_FILTER}")]
    TooLong(usize),
    /// The filter holds U+0000, which MQTT forbids.
    #[error("the filter holds a null character; remove it")]
    Null,
    /// `#` or `+` stands where MQTT does not allow it.
    #[error("a wildcard must fill its level, and '#' must be the last; write a/+/b or a/#")]
    Wildcard,
    /// Shared subscriptions are MQTT 5 and not served.
    #[error("shared subscriptions are not served; subscribe without $share")]
    Shared,
}

/// A topic filter as a subscriber asks for it (MQTT 3.1.1, section 4.7).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Filter {
    text: String,
}

impl Filter {
    /// Checks the text of a filter; [`FilterError`] says why it is refused.
    pub fn parse(text: &str) -> Result<Filter, FilterError> {
        if text.is_empty() {
            return Err(FilterError::Empty);
        }
        if text.len() > MAX_FILTER {
            return Err(FilterError::TooLong(text.len()));
        }
        if text.contains('\0') {
            return Err(FilterError::Null);
        }
        if text == "$share" || text.starts_with("$share/") {
            return Err(FilterError::Shared);
        }
        let mut levels = text.split('/').peekable();
        while let Some(level) = levels.next() {
            let last = levels.peek().is_none();
            let alone = level.len() == 1;
            if (level.contains('#') && !(alone && last)) || (level.contains('+') && !alone) {
                return Err(FilterError::Wildcard);
            }
        }
        Ok(Filter { text: text.to_owned() })
    }

    /// The filter as it was asked for.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Does this filter ask for that topic? A filter that begins with a wildcard never matches a topic that begins
    /// with `$` (section 4.7.2).
    pub fn matches(&self, topic: &str) -> bool {
        if topic.starts_with('$') && self.text.starts_with(['#', '+']) {
            return false;
        }
        let mut levels = topic.split('/');
        for wanted in self.text.split('/') {
            match (wanted, levels.next()) {
                ("#", _) => return true,
                ("+", Some(_)) => {}
                (wanted, Some(level)) if wanted == level => {}
                _ => return false,
            }
        }
        levels.next().is_none()
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn here() -> Place {
        Place::new("idtpp", "g03").unwrap()
    }

    #[test]
    fn the_wire_form_is_frozen_do_not_change_this_test() {
        let texts: Vec<String> = Class::ALL.iter().map(|c| here().topic(*c, "seal-e2a9").unwrap().to_string()).collect();
        let frozen = ["state", "meta", "tlm", "ev", "alarm", "cmd", "res"].map(|c| format!("segel/1/idtpp/g03/{c}/seal-e2a9"));
        assert_eq!(texts, frozen);
        assert_eq!(here().every(Class::Command).as_str(), "segel/1/idtpp/g03/cmd/+");
    }

    #[test]
    fn every_fault_of_a_topic_is_named() {
        let long = "a".repeat(MAX_KEY + 1);
        let key = |key: &str| here().topic(Class::State, key).unwrap_err();
        assert_eq!(key(""), TopicError::Empty { part: Part::Key });
        assert_eq!(key(&long), TopicError::TooLong { part: Part::Key, length: MAX_KEY + 1, max: MAX_KEY });
        for (text, character) in
            [("Seal", 'S'), ("a.b", '.'), ("a/b", '/'), ("+", '+'), ("#", '#'), ("é", 'é'), ("a_b", '_'), ("a\0", '\0')]
        {
            assert_eq!(key(text), TopicError::Character { part: Part::Key, character });
        }
        assert_eq!(Place::new("", "g").unwrap_err(), TopicError::Empty { part: Part::Site });
        assert_eq!(Place::new("s", "G").unwrap_err(), TopicError::Character { part: Part::Gate, character: 'G' });
        for text in ["", "segel/1", "segel/1/", "segel/1/a/b/state", "segel/1/a/b/state/k/x", "segel/2/a/b/state/k", "segel/12/b/state/k"] {
            assert_eq!(text.parse::<Topic>().unwrap_err(), TopicError::NotOurs, "{text:?}");
        }
        assert_eq!("segel/1/a/b/boom/k".parse::<Topic>().unwrap_err(), TopicError::Class);
        assert_eq!("segel/1/a/b/cmd/".parse::<Topic>().unwrap_err(), TopicError::Empty { part: Part::Key });
    }

    #[test]
    fn filters_match_as_mqtt_3_1_1_section_4_7_says() {
        for (filter, topic, wanted) in [
            ("sport/tennis/player1/#", "sport/tennis/player1", true),
            ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", true),
            ("sport/#", "sport", true),
            ("sport/#", "sports", false),
            ("#", "a/b/c", true),
            ("sport/tennis/+", "sport/tennis/player1", true),
            ("sport/tennis/+", "sport/tennis/player1/ranking", false),
            ("sport/+", "sport", false),
            ("sport/+", "sport/", true),
            ("+/+", "/finance", true),
            ("/+", "/finance", true),
            ("+", "/finance", false),
            ("#", "$SYS/uptime", false),
            ("+/uptime", "$SYS/uptime", false),
            ("$SYS/#", "$SYS/uptime", true),
            ("$SYS/uptime", "$SYS/uptime", true),
            ("a/b", "a/b/c", false),
            ("a/b/c", "a/b", false),
            ("+/b/#", "a/b", true),
            ("é/+", "é/x", true),
        ] {
            assert_eq!(Filter::parse(filter).unwrap().matches(topic), wanted, "{filter} on {topic}");
        }
    }

    #[test]
    fn a_bad_filter_is_refused_with_its_reason() {
        for (text, fault) in [
            ("", FilterError::Empty),
            ("a/#/b", FilterError::Wildcard),
            ("a#", FilterError::Wildcard),
            ("a/b+", FilterError::Wildcard),
            ("++", FilterError::Wildcard),
            ("#/", FilterError::Wildcard),
            ("a\0b", FilterError::Null),
            ("$share/g/segel/#", FilterError::Shared),
            ("$share", FilterError::Shared),
        ] {
            assert_eq!(Filter::parse(text).unwrap_err(), fault, "{text:?}");
        }
        assert_eq!(Filter::parse(&"a".repeat(MAX_FILTER + 1)).unwrap_err(), FilterError::TooLong(MAX_FILTER + 1));
        assert!(Filter::parse("$shared/x").is_ok());
    }

    proptest! {
        #[test]
        fn what_is_built_is_read_back(site in "[a-z0-9-]{1,32}", gate in "[a-z0-9-]{1,32}", class in 0usize..7, key in "[a-z0-9-]{1,64}") {
            let place = Place::new(&site, &gate).unwrap();
            let topic = place.topic(Class::ALL[class], &key).unwrap();
            let read: Topic = topic.as_str().parse().unwrap();
            prop_assert_eq!(&read, &topic);
            prop_assert_eq!((read.place().site(), read.place().gate(), read.key()), (site.as_str(), gate.as_str(), key.as_str()));
            prop_assert!(place.every(topic.class()).matches(topic.as_str()));
            prop_assert!(Filter::parse(topic.as_str()).unwrap().matches(topic.as_str()));
        }

        #[test]
        fn no_text_makes_parsing_panic(text in ".{0,80}") {
            let topic = text.parse::<Topic>();
            if let Ok(topic) = topic { prop_assert_eq!(topic.as_str(), text.as_str()); }
            if let Ok(filter) = Filter::parse(&text) { let _ = filter.matches(&text); }
        }
    }
}

//! From the journal outwards: to customs ([`upstream`]) and to the monitors at the gate ([`local`]).
//!
//! Both read what is on disk and send those very bytes. Neither can hold the other up, and neither holds anything
//! that would be missed.

pub mod local;
pub mod order;
pub mod progress;
pub mod upstream;

use segel_mqtt_bridge::topic::{Class, Place, Topic};

use crate::{event::Source, journal::Outlet};

/// The outlet whose cursors and accounts are customs'.
pub const UPLINK: Outlet = Outlet::named("uplink");

/// The place of this gate in every topic.
#[must_use]
pub fn place(source: &Source) -> Place {
    Place::new(source.site(), source.gate()).expect("a source is made of the same letters as a topic, and no longer")
}

/// The topic of an event, locally and at customs: `segel/1/{site}/{gate}/ev/{type}`, e.g. `ev/forced-open`.
#[must_use]
pub fn event_topic(place: &Place, kind: &str) -> Topic {
    let key = kind.to_ascii_lowercase().replace('_', "-");
    let other = |_| place.topic(Class::Event, "other").expect("a fixed key of letters");
    place.topic(Class::Event, &key).unwrap_or_else(other)
}

/// The topic of the gateway itself in this class.
#[must_use]
pub fn gateway_topic(place: &Place, class: Class) -> Topic {
    place.topic(class, "gateway").expect("a fixed key of letters")
}

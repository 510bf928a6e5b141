//! What the objects of BTHome v2 are called, after bthome.io. Their lengths are the driver's.

/// How an object's value is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A number.
    Number {
        /// Digits behind the point.
        places: u32,
        /// What it counts.
        unit: &'static str,
        /// Whether it can be below 0.
        signed: bool,
    },
    /// 0 or 1.
    YesNo {
        /// What 0 is.
        no: &'static str,
        /// What 1 is.
        yes: &'static str,
    },
    /// UTF-8.
    Text,
    /// Anything.
    Bytes,
}

const fn plus(places: u32, unit: &'static str) -> Kind {
    Kind::Number { places, unit, signed: false }
}

const fn signed(places: u32, unit: &'static str) -> Kind {
    Kind::Number { places, unit, signed: true }
}

const fn either(no: &'static str, yes: &'static str) -> Kind {
    Kind::YesNo { no, yes }
}

/// The name of an object.
pub(super) fn name(id: u8) -> &'static str {
    entry(id).map_or("object without a name here", |(_, name, _)| name)
}

/// How its value is written.
pub(super) fn kind(id: u8) -> Kind {
    entry(id).map_or(Kind::Bytes, |(_, _, kind)| *kind)
}

fn entry(id: u8) -> Option<&'static (u8, &'static str, Kind)> {
    OBJECTS.iter().find(|(known, _, _)| *known == id)
}

/// What a seal can say, and what other sensors often do. The yes-or-no ones are exactly those the driver refuses when
/// they are neither; the others are told as the number they are.
const OBJECTS: &[(u8, &str, Kind)] = &[
    (0x00, "packet", plus(0, "")),
    (0x01, "battery", plus(0, " %")),
    (0x02, "temperature", signed(2, " °C")),
    (0x03, "humidity", plus(2, " %")),
    (0x04, "pressure", plus(2, " hPa")),
    (0x05, "illuminance", plus(2, " lx")),
    (0x06, "mass", plus(2, " kg")),
    (0x07, "mass", plus(2, " lb")),
    (0x08, "dew point", signed(2, " °C")),
    (0x09, "count", plus(0, "")),
    (0x0A, "energy", plus(3, " kWh")),
    (0x0B, "power", plus(2, " W")),
    (0x0C, "voltage", plus(3, " V")),
    (0x0F, "generic yes or no", plus(0, "")),
    (0x10, "power on", plus(0, "")),
    (0x11, "opening", either("closed", "open")),
    (0x12, "CO2", plus(0, " ppm")),
    (0x13, "TVOC", plus(0, "")),
    (0x14, "moisture", plus(2, " %")),
    (0x15, "battery low", either("no", "yes")),
    (0x16, "charging", either("no", "yes")),
    (0x17, "carbon monoxide", plus(0, "")),
    (0x18, "cold", plus(0, "")),
    (0x19, "connected", plus(0, "")),
    (0x1A, "door", either("closed", "open")),
    (0x1B, "garage door", either("closed", "open")),
    (0x1C, "gas", plus(0, "")),
    (0x1D, "heat", plus(0, "")),
    (0x1E, "light", plus(0, "")),
    (0x1F, "lock", either("locked", "unlocked")),
    (0x20, "wet", plus(0, "")),
    (0x21, "motion", either("no", "yes")),
    (0x22, "moving", either("no", "yes")),
    (0x23, "occupied", plus(0, "")),
    (0x24, "plugged in", plus(0, "")),
    (0x25, "present", plus(0, "")),
    (0x26, "problem", either("no", "yes")),
    (0x27, "running", plus(0, "")),
    (0x28, "safe", plus(0, "")),
    (0x29, "smoke", plus(0, "")),
    (0x2A, "sound", plus(0, "")),
    (0x2B, "tamper", either("no", "yes")),
    (0x2C, "vibration", either("no", "yes")),
    (0x2D, "window", either("closed", "open")),
    (0x2E, "humidity", plus(0, " %")),
    (0x2F, "moisture", plus(0, " %")),
    (0x3A, "button", plus(0, "")),
    (0x3C, "dimmer", plus(0, "")),
    (0x3D, "count", plus(0, "")),
    (0x3E, "count", plus(0, "")),
    (0x45, "temperature", signed(1, " °C")),
    (0x4A, "voltage", plus(1, " V")),
    (0x50, "its own time, seconds since 1970", plus(0, "")),
    (0x51, "acceleration", plus(3, " m/s²")),
    (0x53, "text", Kind::Text),
    (0x54, "raw bytes", Kind::Bytes),
    (0x57, "temperature", signed(0, " °C")),
];

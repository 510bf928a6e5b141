//! Eddystone UID and TLM beacons.

//! A simulated seal that speaks ESealBD.

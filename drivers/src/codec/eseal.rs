//! Frames of ESealBD.

//! Frames of NokeLock / Oklok.

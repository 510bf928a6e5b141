//! A simulated seal that speaks NokeLock / Oklok.

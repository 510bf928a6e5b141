//! A simulated seal that speaks G-Series (IMZ / Bander V11).

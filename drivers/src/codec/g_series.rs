//! Frames of G-Series (IMZ / Bander V11).

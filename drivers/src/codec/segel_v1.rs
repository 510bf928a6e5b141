//! Frames of the segel open seal protocol v1.

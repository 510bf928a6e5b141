//! A simulated seal that speaks the segel open seal protocol v1.

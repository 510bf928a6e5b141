//! A simulated seal that speaks TT-Series BLE-ELOCK A7.

//! Frames of TT-Series BLE-ELOCK A7.

//! What the maker's app stores in a seal: nine lines of text.
//!
//! The seal itself knows bytes and nothing else; another app may store anything. So lines are named only where there
//! are nine, and the bytes are always the evidence.

/// What the app writes, in its order, one line each, ended by CR LF except the last.
pub const STORED_NAMES: [&str; 9] =
    ["container", "owner", "freight", "origin", "destination", "vessel", "voyage", "reporting period", "NFC tag"];

/// The lines, where there are nine of them in UTF-8.
#[must_use]
pub fn stored_lines(bytes: &[u8]) -> Option<[&str; 9]> {
    let text = std::str::from_utf8(bytes).ok()?;
    let mut lines = text.split("\r\n");
    let nine: Vec<&str> = lines.by_ref().take(STORED_NAMES.len()).collect();
    if lines.next().is_some() {
        return None;
    }
    nine.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nine_lines_are_named_and_anything_else_is_bytes() {
        let text = "MSKU3874652\r\nPT Samudra\r\nkopi\r\nTanjung Priok\r\nRotterdam\r\nEver Given\r\n123W\r\n60\r\n04A1B2C3";
        let lines = stored_lines(text.as_bytes()).unwrap();
        assert_eq!((lines[0], lines[8]), ("MSKU3874652", "04A1B2C3"));
        assert_eq!(stored_lines("\r\n".repeat(8).as_bytes()), Some([""; 9]));
        for other in [&b""[..], b"\r\n", &b"\r\n".repeat(9), b"\xff\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n"] {
            assert_eq!(stored_lines(other), None, "{other:?}");
        }
    }
}

//! What of a line may be shown. Faults are printed, logged and pasted into tickets; secrets stand in the files.
//!
//! A line is cut at the first place from which a secret may follow, and the rest is not shown. The cut knows lines
//! and words only, no grammar, because it must also hold in a file that is no TOML at all.

use super::source::{Secrecy, SourceFile};

/// What stands for what is not shown.
pub(super) const HIDDEN: &str = "****";
/// The keys of the register that hold no secret.
const OPEN_SEAL_KEYS: [&str; 6] = ["id", "address", "protocol", "device_number", "epc", "container"];
/// What a seal has in the file of keys; what is behind it is never shown.
const KEY_WORDS: [&str; 2] = ["key", "password"];
/// Words after which a secret may follow in the configuration, in lower case.
const SECRET_WORDS: [&str; 8] = ["users", "pass", "pwd", "secret", "token", "credential", "argon2", "key"];

/// Whether a key of the configuration, known or not, may hold a secret.
pub(super) fn sensitive(key: &str) -> bool {
    let key = key.to_lowercase();
    !key.ends_with("_file") && SECRET_WORDS.iter().any(|word| key.contains(word))
}

/// The byte of the line (`line` is the range of one in `file`) from which nothing may be shown.
pub(super) fn cut(file: &SourceFile, line: &std::ops::Range<usize>) -> Option<usize> {
    let text = &file.text[line.clone()];
    let before = &file.text[..line.start];
    let inside = |quotes: &str| before.matches(quotes).count() % 2 == 1;
    if inside("\"\"\"") || inside("'''") {
        return Some(0);
    }
    match file.secrecy {
        Secrecy::Seals => cut_seal(text),
        Secrecy::Keys => cut_key(text),
        Secrecy::Settings => {
            let users = before.lines().rev().find(|line| line.trim_start().starts_with('[')).is_some_and(|head| head.contains("users"));
            if users && (text.contains('=') || !text.trim_start().starts_with('[')) {
                return Some(text.find('=').map_or(0, |at| at + 1));
            }
            cut_setting(text)
        }
    }
}

/// In the register only lines that begin with an open key or a header are shown, and those up to the word `key`.
fn cut_seal(text: &str) -> Option<usize> {
    let start = text.len() - text.trim_start().len();
    let word = word_end(text, start);
    let open = OPEN_SEAL_KEYS.contains(&&text[start..word]) || text[start..].starts_with("[[seal]]") || text.trim().is_empty();
    if open {
        // Nothing but one short value belongs on such a line.
        return find_word(text, "key").map(|at| word_end(text, at));
    }
    Some(if text[start..word].eq_ignore_ascii_case("key") || word - start <= "container".len() { word } else { start })
}

/// Of keys and passwords only the seal they belong to is shown, and which of the two it is.
fn cut_key(text: &str) -> Option<usize> {
    let trimmed = text.trim();
    let header = trimmed.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    if trimmed.is_empty() || header.is_some_and(|name| name.parse::<segel_drivers::SealId>().is_ok()) {
        return None;
    }
    let start = text.len() - text.trim_start().len();
    let end = word_end(text, start);
    Some(if KEY_WORDS.contains(&&text[start..end]) { end } else { 0 })
}

fn cut_setting(text: &str) -> Option<usize> {
    let words = SECRET_WORDS.iter().filter_map(|word| {
        let at = find_word(text, word)?;
        let end = word_end(text, at);
        let names_a_file = text[at..end].ends_with("_file") && text[end..].trim_start_matches([' ', '\t', '=', '"', '\'']).starts_with('/');
        (!names_a_file).then_some(end)
    });
    let login = text.find("://").filter(|at| text[*at..].contains('@')).map(|at| at + 3);
    words.chain(login).min()
}

fn find_word(text: &str, word: &str) -> Option<usize> {
    text.to_ascii_lowercase().find(word)
}

/// The end of the word that has a letter at `at`.
fn word_end(text: &str, at: usize) -> usize {
    text[at..].find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '-')).map_or(text.len(), |end| at + end)
}

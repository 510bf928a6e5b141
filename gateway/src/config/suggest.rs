//! "Did you mean": the word a person was looking for.

/// The candidate nearest to a word, if one is near enough to be meant.
pub(super) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase().replace('-', "_");
    let allowed = (word.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .filter_map(|candidate| {
            let plain = candidate.replace('-', "_");
            // A unit forgotten: `heartbeat` for `heartbeat_s`.
            let distance = if plain.strip_prefix(&word).is_some_and(|rest| rest.starts_with('_')) {
                1
            } else {
                strsim::damerau_levenshtein(&word, &plain)
            };
            (distance <= allowed).then_some((distance, candidate))
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn a_slip_of_the_finger_or_a_forgotten_unit_is_understood_and_nonsense_is_not() {
        let keys = ["baud", "heartbeat_s", "poll_interval_ms", "port"];
        assert_eq!(nearest("buad", keys), Some("baud"));
        assert_eq!(nearest("heartbeat", keys), Some("heartbeat_s"));
        assert_eq!(nearest("poll_interval_s", keys), Some("poll_interval_ms"));
        assert_eq!(nearest("Poll-Interval-ms", keys), Some("poll_interval_ms"));
        assert_eq!(nearest("colour", keys), None);
        assert_eq!(nearest("", keys), None);
    }
}

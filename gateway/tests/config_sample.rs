//! The sample files say the truth: they load, and every default in them is the one built in.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

mod config_bench;

use std::{collections::BTreeMap, fs, path::Path};

use config_bench::Folder;
use segel::config::{Config, InForce, LoadArgs, Loaded, Origin};

fn sample() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("conf/segel.toml")).unwrap()
}

fn load(args: &LoadArgs) -> Loaded {
    Config::load(args).unwrap_or_else(|faults| panic!("{faults}"))
}

#[test]
fn the_sample_files_load_without_faults() {
    let loaded = load(&LoadArgs::of_file(Path::new(env!("CARGO_MANIFEST_DIR")).join("conf/segel.toml")));
    assert_eq!(loaded.config.gate.site.as_str(), "idsrg");
    assert_eq!(loaded.config.uplink.client_id, "idsrg-g01");
    assert_eq!(loaded.config.readers.len(), 2);
    assert_eq!(loaded.config.seals.len(), 2);
}

/// Every key of the sample, dotted, with what is written behind it: `#key = value` (a default) and plain `key = value`.
fn written(text: &str, with_hash: bool) -> BTreeMap<String, String> {
    let mut section = String::new();
    let mut all = BTreeMap::new();
    for line in text.lines() {
        if let Some(header) = line.trim_start_matches('#').strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            header.clone_into(&mut section);
        }
        let (hash, rest) = line.strip_prefix('#').map_or((false, line), |rest| (true, rest));
        if hash == with_hash
            && !rest.starts_with(' ')
            && let Some((key, value)) = rest.split_once(" = ")
        {
            all.insert(format!("{section}.{key}"), value.to_owned());
        }
    }
    all
}

#[test]
fn every_default_in_the_sample_is_the_built_in_default_and_none_is_forgotten() {
    let text = sample();
    let folder = Folder::with(&text);
    folder.write("seals.toml", "");
    let in_force: BTreeMap<String, InForce> = load(&folder.args()).origins.iter().map(|(key, at)| (key.to_owned(), at.clone())).collect();
    let defaults = written(&text, true);
    assert!(defaults.len() > 30, "the sample was not understood: {defaults:?}");
    for (key, value) in &defaults {
        let at = in_force.get(key).unwrap_or_else(|| panic!("the sample shows `{key}`, which does not exist"));
        assert_eq!((&at.value, &at.origin), (value, &Origin::Default), "{key}");
    }
    let given = written(&text, false);
    for (key, at) in &in_force {
        // The client id is made from others, so the sample shows it as an example.
        let shown = defaults.contains_key(key) || given.contains_key(key) || key == "uplink.client_id";
        assert!(shown, "the sample does not show `{key}` = {}", at.value);
    }
}

#[test]
fn with_every_default_written_out_nothing_changes() {
    let text = sample();
    let plain = Folder::with(&text);
    let spelt: String = text
        .lines()
        .map(|line| if line.contains(" = ") && !line.starts_with("# ") { line.trim_start_matches('#') } else { line })
        .fold(String::new(), |all, line| all + line + "\n");
    let full = Folder::with(&spelt);
    plain.write("seals.toml", "");
    full.write("seals.toml", "");
    let (mut one, mut other) = (load(&plain.args()).config, load(&full.args()).config);
    (one.gate.seals_file, other.gate.seals_file) = (None, None);
    assert_eq!(one, other);
}

/// Whether a comment is a setting: one word, an equals sign, a value.
fn is_setting(comment: &str) -> bool {
    comment.trim_start().split_once(" = ").is_some_and(|(key, _)| key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'))
}

#[test]
fn examples_in_the_sample_are_accepted_too() {
    let text: String = sample()
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(rest) if rest.starts_with('[') => rest.to_owned(),
            Some(rest) if is_setting(rest) => rest.trim_start().to_owned(),
            _ => line.to_owned(),
        })
        .fold(String::new(), |all, line| all + &line + "\n");
    let folder = Folder::with(&text);
    folder.write("seals.toml", "");
    fs::create_dir(folder.path("seal-keys")).unwrap();
    let loaded = load(&folder.args());
    assert_eq!(loaded.config.readers.len(), 3);
    assert!(loaded.config.gate.seal_keys.is_some());
    assert_eq!(loaded.config.broker.users.len(), 1);
    assert!(loaded.config.uplink.password_file.is_some());
}

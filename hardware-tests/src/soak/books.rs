//! Customs' books, kept while events come in: which came when, whether any came in two forms, and the chain.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use segel::event::{
    Class, Digest,
    chain::{ChainCheck, ChainReport},
    document::Head,
};
use segel_mqtt_bridge::sim::CustomsBroker;

use super::diary::Diary;

/// What customs has.
#[derive(Debug, Default)]
pub(super) struct Books {
    taken: usize,
    chain: ChainCheck,
    events: HashMap<String, Entry>,
    /// Events that came again, with the same bytes.
    pub(super) repeats: u64,
}

/// One event in the books.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) digest: Digest,
    pub(super) class: Class,
    pub(super) word: String,
    pub(super) subject: String,
    /// When it first came, and in which calm period.
    pub(super) came: Instant,
    pub(super) calm: Option<u64>,
}

impl Books {
    /// Takes in what came since the last time.
    pub(super) async fn take_in(&mut self, customs: &CustomsBroker, diary: &Diary) {
        let mut new = Vec::new();
        let from = self.taken;
        // The condition holds at once; this is a look at what is there, not a wait.
        let looked = customs.until(Duration::from_secs(1), |seen| {
            new = seen[from..].to_vec();
            true
        });
        if let Err(fault) = looked.await {
            return diary.breaks(format!("customs' broker cannot be looked at: {fault}"));
        }
        self.taken += new.len();
        for message in new.iter().filter(|message| segel_hardware_tests::ledger::is_event(&message.topic)) {
            self.write_down(&message.payload, diary);
        }
    }

    fn write_down(&mut self, document: &[u8], diary: &Diary) {
        let head = match Head::parse(document) {
            Ok(head) => head,
            Err(fault) => return diary.breaks(format!("customs received what is no event: {fault}")),
        };
        // What it finds stands in its report.
        let _ = self.chain.feed(document);
        let entry = Entry {
            digest: Digest::of(document),
            class: head.class,
            word: head.word.to_string(),
            subject: head.subject.as_str().to_owned(),
            came: Instant::now(),
            calm: diary.calm(),
        };
        match self.events.get(&head.id.to_string()) {
            Some(before) if before.digest == entry.digest => self.repeats += 1,
            Some(_) => diary.breaks(format!("{} {} came again with other bytes", entry.word, head.id)),
            None => drop(self.events.insert(head.id.to_string(), entry)),
        }
    }

    /// The event of this id.
    pub(super) fn get(&self, id: &str) -> Option<&Entry> {
        self.events.get(id)
    }

    /// How many different events of a class came.
    pub(super) fn of_class(&self, class: Class) -> u64 {
        self.events.values().filter(|entry| entry.class == class).count() as u64
    }

    /// Different events of this word about this subject.
    pub(super) fn about(&self, word: &str, subject: &str) -> usize {
        self.events.values().filter(|entry| entry.word == word && entry.subject == subject).count()
    }

    /// The chain as far as received.
    pub(super) fn chain(&mut self) -> ChainReport {
        std::mem::take(&mut self.chain).finish()
    }
}

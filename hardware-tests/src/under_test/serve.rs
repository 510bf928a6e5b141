//! A conversation over standard input: one line asks, what follows is said, and a line that begins with `answer` ends it.
//!
//! ```text
//!   open                      open the journal             close            close it, writing what is in line
//!   append CLASS COUNT SIZE   so many, one after another   together A,B,..  one transaction of these classes
//!   retry                     what was refused, again      forget           give up what was refused
//!   standing                  room, reserve, refusing, vouched or not
//!   seen                      everything a reader finds, said as if it were acknowledged: somebody may have received it
//!   tell scarce | plenty      as whoever watches the disk  condemn          mark it as damaged
//! ```

use std::io::BufRead as _;

use segel::{
    event::{Class, Digest, Draft},
    journal::{Entry, Journal, JournalError, Recorded, Room},
};
use segel_hardware_tests::witness::{Said, draft};

use super::{Place, named, refused};

/// Answers until nobody asks any more.
pub(super) async fn run(place: &Place) -> anyhow::Result<()> {
    let mut server = Server { place, journal: None, made: u64::from(std::process::id()) * 1_000, refused: Vec::new() };
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let answer = match server.answer(&line).await {
            Ok(answer) => answer,
            Err(fault) => match fault.downcast_ref::<JournalError>() {
                Some(error) => format!("error {} {fault:#}", named(error)),
                None => format!("error Other {fault:#}"),
            },
        };
        Said::Answer(answer.replace('\n', " ")).say();
    }
    Ok(())
}

struct Server<'a> {
    place: &'a Place,
    journal: Option<Journal>,
    made: u64,
    /// What the journal did not take, in order.
    refused: Vec<Draft>,
}

impl Server<'_> {
    async fn answer(&mut self, line: &str) -> anyhow::Result<String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["open"] => {
                self.journal = Some(self.place.open()?);
                Ok("opened".to_owned())
            }
            ["close"] => {
                if let Some(journal) = self.journal.take() {
                    journal.close().await?;
                }
                Ok("closed".to_owned())
            }
            ["append", class, count, size] => {
                let (class, count, size): (Class, usize, usize) = (class.parse()?, count.parse()?, size.parse()?);
                for _ in 0..count {
                    let draft = self.draft(class, size);
                    self.append(draft).await?;
                }
                Ok(format!("{} refused", self.refused.len()))
            }
            ["together", classes] => {
                let mut drafts = Vec::new();
                for class in classes.split(',') {
                    drafts.push(self.draft(class.parse()?, 100));
                }
                self.together(drafts).await
            }
            ["retry"] => {
                for draft in std::mem::take(&mut self.refused) {
                    self.append(draft).await?;
                }
                Ok(format!("{} refused", self.refused.len()))
            }
            ["forget"] => {
                self.refused.clear();
                Ok("forgotten".to_owned())
            }
            ["standing"] => self.standing(),
            ["seen"] => self.seen(),
            ["tell", room] => {
                self.journal()?.tell_room(if room == "scarce" { Room::Scarce } else { Room::Plenty });
                Ok("told".to_owned())
            }
            ["condemn"] => {
                self.journal()?.condemn()?;
                Ok("condemned".to_owned())
            }
            _ => anyhow::bail!("`{line}` is no question"),
        }
    }

    fn journal(&self) -> anyhow::Result<&Journal> {
        self.journal.as_ref().ok_or_else(|| anyhow::anyhow!("the journal is not open"))
    }

    fn draft(&mut self, class: Class, size: usize) -> Draft {
        self.made += 1;
        let draft = draft(class, self.made, size);
        Said::Trying(class, draft.id).say();
        draft
    }

    async fn append(&mut self, draft: Draft) -> anyhow::Result<()> {
        match self.journal()?.append(Entry::new(draft.clone())).await {
            Ok(recorded) => Said::Recorded(recorded).say(),
            Err(error) => {
                refused(draft.class, draft.id, &error);
                self.refused.push(draft);
            }
        }
        Ok(())
    }

    async fn together(&mut self, drafts: Vec<Draft>) -> anyhow::Result<String> {
        let entries = drafts.iter().cloned().map(Entry::new).collect();
        match self.journal()?.append_all(entries).await {
            Ok(all) => all.into_iter().for_each(|recorded| Said::Recorded(recorded).say()),
            Err(error) => {
                for draft in drafts {
                    refused(draft.class, draft.id, &error);
                    self.refused.push(draft);
                }
            }
        }
        Ok(format!("{} refused", self.refused.len()))
    }

    fn seen(&self) -> anyhow::Result<String> {
        let reader = self.journal()?.reader()?;
        let mut count = 0;
        for class in Class::ALL {
            reader.each(*class, |record| {
                let digest = Digest::of(&record.doc);
                Said::Recorded(Recorded { class: *class, seq: record.seq, id: record.id, digest }).say();
                count += 1;
            })?;
        }
        Ok(format!("{count} seen"))
    }

    fn standing(&self) -> anyhow::Result<String> {
        let standing = self.journal()?.standing().borrow().clone();
        let refusing = standing.refusing.as_ref().map_or_else(|| "nothing".to_owned(), named);
        let vouches = standing.vouches_for_a_receipt().map_or_else(|no| format!("no: {no}"), |()| "yes".to_owned());
        let reserve = format!("{:?}", standing.reserve).split_whitespace().next().unwrap_or_default().to_owned();
        let refused = standing.refused[Class::Telemetry as usize];
        Ok(format!("room={:?} reserve={reserve} refusing={refusing} refused={refused} vouches={vouches}", standing.room))
    }
}

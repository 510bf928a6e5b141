//! What is printed at the end: a table of what was done, what came of it, and the verdict.

use std::{collections::BTreeSet, fmt, time::Duration};

use super::{
    alarms::Ways,
    diary::Diary,
    log::Said,
    looks::Seen,
    plan::{ACTS, Act, Plan},
};

/// What became of the events of one class.
#[derive(Debug)]
pub(super) struct Class {
    pub(super) name: &'static str,
    pub(super) recorded: u64,
    pub(super) delivered: u64,
    pub(super) pending: u64,
    pub(super) dropped: u64,
    pub(super) refused: u64,
    pub(super) archived: u64,
    pub(super) at_customs: u64,
}

/// Everything there is to say.
#[derive(Debug)]
pub(super) struct Report<'a> {
    pub(super) seed: u64,
    pub(super) plan: &'a Plan,
    pub(super) diary: &'a Diary,
    pub(super) left_out: BTreeSet<Act>,
    pub(super) classes: Vec<Class>,
    pub(super) repeats: u64,
    pub(super) ways: Ways,
    pub(super) seen: Seen,
    pub(super) said: Said,
    pub(super) took: Duration,
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\nSOAK of {} s, seed {}\n", self.took.as_secs(), self.seed)?;
        writeln!(f, "{:36}  {:>7}  {:>7}", "DONE TO THE GATE", "planned", "done")?;
        for act in ACTS.iter().map(|(act, ..)| *act).chain([Act::LineLongCut]) {
            let (planned, done) = (self.plan.times(act), self.diary.times(act));
            if self.left_out.contains(&act) {
                writeln!(f, "{:36}  {planned:>7}  LEFT OUT", act.name())?;
            } else if planned > 0 {
                writeln!(f, "{:36}  {planned:>7}  {done:>7}", act.name())?;
            }
        }
        let head = ["recorded", "delivered", "pending", "dropped", "refused", "archived", "at customs"];
        writeln!(f, "\n{:9}  {}", "EVENTS", head.map(|word| format!("{word:>10}")).join(" "))?;
        for class in &self.classes {
            let numbers = [class.recorded, class.delivered, class.pending, class.dropped, class.refused, class.archived, class.at_customs];
            writeln!(f, "{:9}  {}", class.name, numbers.map(|number| format!("{number:>10}")).join(" "))?;
        }
        writeln!(f, "repeats at customs, same id and bytes: {}", self.repeats)?;
        self.alarms(f)?;
        let seen = &self.seen;
        writeln!(
            f,
            "looks at the gate: {}, of them {} while it could not record; calm periods: {}",
            seen.looks,
            seen.refusals,
            self.diary.periods()
        )?;
        writeln!(f, "memory of the gate: worst {} kB, last {} kB", seen.worst_rss_kb, seen.last_rss_kb)?;
        for (what, times) in self.diary.counts() {
            writeln!(f, "{what}: {times}")?;
        }
        writeln!(f, "\nERRORS IN THE LOG (warnings: {})", self.said.warnings)?;
        for (message, (times, unexplained)) in &self.said.errors {
            writeln!(
                f,
                "{times:>6}  {message}{}",
                if *unexplained > 0 { format!("  ({unexplained} UNEXPLAINED)") } else { String::new() }
            )?;
        }
        let broken = self.diary.broken();
        if !broken.is_empty() {
            writeln!(f, "\nBROKEN")?;
            broken.iter().try_for_each(|what| writeln!(f, "- {what}"))?;
        }
        write!(f, "\n{} seed {}", if broken.is_empty() { "PASSED" } else { "FAILED" }, self.seed)
    }
}

impl Report<'_> {
    fn alarms(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let calm = &self.ways.calm;
        let at = |percent: usize| calm.get((calm.len().max(1) - 1) * percent / 100).copied().unwrap_or_default();
        writeln!(
            f,
            "\nseals forced open: {}, each one alarm at customs; in calm {}: bolt cutter to customs p50 {:.0?}, p99 {:.0?}, worst {:.0?}; with outages and deaths worst {:.1?}",
            self.ways.made,
            calm.len(),
            at(50),
            at(99),
            at(100),
            self.ways.worst
        )
    }
}

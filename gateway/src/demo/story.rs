//! What happens, told as it happens.

use std::time::{Duration, Instant};

use segel_drivers::Evidence;
use segel_mqtt_bridge::sim::{Received, Weather};
use tokio::time::sleep;

use super::{Pace, stage::Stage, technician, verdict};
use crate::{
    event::{Class, document::Head},
    sessions::{End, Errand, line::Word},
    status::Status,
};

/// What the gate has to do within this, it does within a fraction of it on an idle machine.
const PATIENCE: Duration = Duration::from_secs(30);
/// Beats between two lorries when the demo is left running.
const LORRY_EVERY: usize = 2;
/// How often each seal in range advertises.
const ADVERT_EVERY: Duration = Duration::from_millis(100);

/// The story and its stage.
#[derive(Debug)]
pub(super) struct Story {
    stage: Stage,
    pace: Pace,
    begun: Instant,
    in_range: usize,
    /// The technician has his seal in hand.
    in_hand: bool,
}

impl Story {
    pub(super) fn new(stage: Stage, pace: Pace) -> Self {
        Self { stage, pace, begun: Instant::now(), in_range: 0, in_hand: false }
    }

    /// Plays all acts; whether everything holds that must hold.
    pub(super) async fn play(&mut self) -> anyhow::Result<bool> {
        self.open().await?;
        self.lorries_pass().await?;
        self.seal_is_put_on().await?;
        self.line_is_cut().await?;
        self.seal_is_forced().await?;
        self.gateway_is_killed().await?;
        let returned = self.line_returns().await?;
        self.close(returned).await
    }

    /// Says where to look after a failure.
    pub(super) fn explain(&self, fault: &anyhow::Error) {
        self.say(&format!("The story broke off: {fault:#}"));
        if let Ok(log) = std::fs::read_to_string(self.stage.gateway.log()) {
            let tail: Vec<_> = log.lines().rev().take(15).collect();
            eprintln!("The gateway's last words:");
            tail.into_iter().rev().for_each(|line| eprintln!("  {line}"));
        }
    }

    async fn open(&mut self) -> anyhow::Result<()> {
        self.head("The gate opens");
        let status = self.stage.gateway.start().await?;
        let up = |s: &Status| s.readers.len() == 2 && s.uplink.as_ref().is_some_and(|l| l.phase == "up") && s.broker.is_some();
        let status = if up(&status) { status } else { self.stage.gateway.until(PATIENCE, up).await? };
        for reader in &status.readers {
            self.say(&format!("reader {:<8} {}", reader.reader, reader.detail));
        }
        self.stage.monitor.until(PATIENCE, |seen| seen.iter().any(|m| m.topic.ends_with("/state/gateway"))).await?;
        self.say("customs is connected, the terminal's monitor is watching");
        Ok(())
    }

    async fn lorries_pass(&mut self) -> anyhow::Result<()> {
        self.head("Lorries with sealed containers pass");
        for index in 0..3 {
            self.lorry_arrives(index).await?;
        }
        self.beats(2).await?;
        self.tell_counts().await
    }

    async fn seal_is_put_on(&mut self) -> anyhow::Result<()> {
        self.head("A technician puts a seal on");
        self.in_hand = true;
        let locked = self.ask_seal(Errand::Lock).await?;
        anyhow::ensure!(locked.outcome == Word::Done, "the seal was not locked: {locked:?}");
        let evidence = locked.evidence.map_or("no evidence", evidence);
        let spent = &locked.spent;
        self.say(&format!("locked once, {evidence}; connecting {} ms, talking {} ms", spent.connecting_ms, spent.talking_ms));
        let read = self.ask_seal(Errand::Read).await?;
        anyhow::ensure!(read.outcome == Word::Done, "the seal was not read: {read:?}");
        let (closings, held) = self.stage.hand_seal.closings_and_log();
        anyhow::ensure!(closings == 1, "its motor closed {closings} times");
        let drained = self.ask_seal(Errand::Drain).await?;
        let (_, left) = self.stage.hand_seal.closings_and_log();
        anyhow::ensure!(drained.outcome == Word::Done && left == 0, "its log was not handed over: {drained:?}");
        self.say(&format!("its {held} stored events are on disk here, so they are deleted there"));
        self.tell_counts().await
    }

    /// An order to the seal in the technician's hand; the seals go on advertising meanwhile.
    async fn ask_seal(&mut self, errand: Errand) -> anyhow::Result<End> {
        let run_dir = self.stage.dir.join("run");
        let asking = technician::ask(&run_dir, errand);
        tokio::pin!(asking);
        let (end, way) = loop {
            tokio::select! {
                end = &mut asking => break end?,
                advertised = self.seals_advertise() => advertised?,
            }
        };
        self.say(&way);
        Ok(end)
    }

    async fn line_is_cut(&mut self) -> anyhow::Result<()> {
        self.head("The line to customs is cut");
        self.stage.line.set(Weather::Cut);
        let status = self.stage.gateway.until(PATIENCE, |s| s.uplink.as_ref().is_some_and(|l| l.phase == "down")).await?;
        let reason = status.uplink.and_then(|link| link.reason).unwrap_or_default();
        self.say(&format!("the gate says: uplink down, {reason}"));
        self.lorry_arrives(3).await?;
        self.beats(3).await?;
        self.tell_counts().await
    }

    async fn seal_is_forced(&mut self) -> anyhow::Result<()> {
        self.head("A seal is forced open");
        let lorry = &mut self.stage.lorries[2];
        let (seal, container) = (lorry.seal.clone(), lorry.container);
        lorry.force_open();
        let alarmed = |seen: &[Received]| seen.iter().any(|m| m.topic.ends_with("/ev/forced-open"));
        self.beat().await?;
        self.stage.monitor.until(PATIENCE, alarmed).await?;
        self.say(&format!("ALARM on the terminal's monitor: {seal} on {container} forced open"));
        let at_customs = alarmed(&self.stage.customs.received());
        anyhow::ensure!(!at_customs, "the alarm passed a line that is cut");
        self.say("customs does not know yet: the line is down");
        self.beats(2).await?;
        self.tell_counts().await
    }

    async fn gateway_is_killed(&mut self) -> anyhow::Result<()> {
        self.head("The gateway is killed with SIGKILL, in the middle of everything");
        let before = self.stage.gateway.status().await?;
        self.stage.gateway.kill().await?;
        self.say(&format!("killed with {} events waiting for customs; the seals go on talking to nobody", pending(&before)));
        self.beats(2).await?;
        let after = self.stage.gateway.start().await?;
        let lost = before.accounts.iter().zip(&after.accounts).any(|(before, after)| after.recorded < before.recorded);
        anyhow::ensure!(!lost, "events that were on disk before the kill are gone after it");
        anyhow::ensure!(before.journal == after.journal, "the journal did not survive the kill");
        self.say(&format!("started again: {} events waiting, {} seals remembered", pending(&after), after.seals.known));
        self.lorry_arrives(4).await?;
        self.beats(3).await?;
        self.tell_counts().await
    }

    /// The number of messages customs had received before the line returned.
    async fn line_returns(&mut self) -> anyhow::Result<usize> {
        self.head("The line returns");
        let before = self.stage.customs.received().len();
        self.stage.line.set(Weather::Fair);
        let first_event = |seen: &[Received]| seen.iter().skip(before).find(|m| m.topic.contains("/ev/")).cloned();
        self.stage.customs.until(PATIENCE, |seen| first_event(seen).is_some()).await?;
        self.stage.customs.until(PATIENCE, |seen| seen.iter().skip(before).any(|m| m.topic.ends_with("/ev/forced-open"))).await?;
        let seen = self.stage.customs.received();
        let overtaken = overtaken_by(&seen[before..]);
        anyhow::ensure!(overtaken == 0, "{overtaken} messages that are no alarms came before the alarm");
        self.say("the alarm is at customs, ahead of everything that waited");
        self.lorry_arrives(5).await?;
        self.stage.gateway.until(PATIENCE, |s| pending(s) < 20).await?;
        let backlog = self.stage.customs.received().len() - before;
        self.say(&format!("the backlog has followed in order: {backlog} messages"));
        Ok(before)
    }

    async fn close(&mut self, returned: usize) -> anyhow::Result<bool> {
        self.head("The gate closes, and the books are compared");
        let stopped = self.stage.gateway.stop().await?;
        anyhow::ensure!(stopped.success(), "the gateway did not stop well: {stopped}");
        let received = self.stage.customs.received();
        let verdict = verdict::compare(&self.stage.dir.join("state"), &received, returned)?;
        print!("{verdict}");
        println!("The story took {} s.", self.begun.elapsed().as_secs());
        Ok(verdict.holds())
    }

    /// Leaves everything running until Ctrl-C.
    pub(super) async fn keep_running(&mut self) -> anyhow::Result<()> {
        self.head("Left running until Ctrl-C");
        self.stage.gateway.start().await?;
        println!("Watch it from another terminal:\n");
        println!("    mosquitto_sub -h 127.0.0.1 -p {} -t 'segel/#' -v", self.stage.broker_port);
        println!("    {} status --config {}\n", program(), self.stage.gateway.config().display());
        for index in (0..self.stage.lorries.len()).cycle() {
            self.lorry_arrives(index).await?;
            self.beats(LORRY_EVERY).await?;
        }
        Ok(())
    }

    /// Takes the stage down.
    pub(super) async fn strike(mut self) {
        if let Ok(stopped) = self.stage.gateway.stop().await {
            self.say(&format!("the gateway stopped: {stopped}"));
        }
    }

    async fn lorry_arrives(&mut self, index: usize) -> anyhow::Result<()> {
        self.in_range = self.in_range.max(index + 1);
        let lorry = &self.stage.lorries[index];
        self.say(&format!("lorry {:<10} container {}  seal {} locked", lorry.plate, lorry.container, lorry.seal));
        let epc = lorry.epc.clone();
        for (antenna, rssi) in [(1, 0x52), (1, 0x5A), (2, 0x60)] {
            self.stage.reader.show(epc.clone(), antenna, rssi).await?;
        }
        self.beat().await
    }

    /// One beat of the story; the seals go on advertising.
    async fn beat(&mut self) -> anyhow::Result<()> {
        let end = Instant::now() + self.pace.beat;
        loop {
            self.seals_advertise().await?;
            if Instant::now() >= end {
                return Ok(());
            }
        }
    }

    async fn beats(&mut self, beats: usize) -> anyhow::Result<()> {
        for _ in 0..beats {
            self.beat().await?;
        }
        Ok(())
    }

    async fn seals_advertise(&mut self) -> anyhow::Result<()> {
        for lorry in &mut self.stage.lorries[..self.in_range] {
            self.stage.air.send(&lorry.advertise())?;
        }
        if self.in_hand {
            self.stage.hand_seal.advertise(&self.stage.air)?;
        }
        sleep(ADVERT_EVERY).await;
        Ok(())
    }

    async fn tell_counts(&self) -> anyhow::Result<()> {
        let status = self.stage.gateway.status().await?;
        let recorded: u64 = status.accounts.iter().map(|a| a.recorded).sum();
        let monitor = self.stage.monitor.received().iter().filter(|m| m.topic.contains("/ev/")).count();
        let customs = self.stage.customs.received().iter().filter(|m| m.topic.contains("/ev/")).count();
        let alarm = status.oldest_undelivered_alarm_s.map_or_else(String::new, |age| format!("   oldest undelivered alarm {age} s"));
        self.say(&format!(
            "recorded {recorded}   shown to the monitor {monitor}   at customs {customs}   waiting {}{alarm}",
            pending(&status)
        ));
        Ok(())
    }

    fn head(&self, title: &str) {
        println!("\n── {title}");
    }

    fn say(&self, text: &str) {
        println!("{:>5.1} s  {text}", self.begun.elapsed().as_secs_f32());
    }
}

fn evidence(evidence: Evidence) -> &'static str {
    match evidence {
        Evidence::Reported => "as the seal reports",
        Evidence::ReadBack => "as its state reads",
        Evidence::ReportedAndReadBack => "as the seal reports and its state reads",
    }
}

fn pending(status: &Status) -> u64 {
    status.accounts.iter().map(|account| account.pending).sum()
}

/// How many events that are no alarms came before the forced-open alarm.
fn overtaken_by(received: &[Received]) -> usize {
    let before = received.iter().filter(|m| m.topic.contains("/ev/")).take_while(|m| !m.topic.ends_with("/ev/forced-open"));
    before.filter(|m| Head::parse(&m.payload).is_ok_and(|head| head.class != Class::Alarm)).count()
}

fn program() -> String {
    std::env::current_exe().map_or_else(|_| "segel".to_owned(), |path| path.display().to_string())
}

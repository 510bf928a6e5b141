//! Thousands of sessions in a row.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use segel_drivers::{Action, Outcome};

use crate::stage::{BusLoad, Listening, Stage};

/// Time for one session.
const WITHIN: Duration = Duration::from_secs(90);
/// Until a radio is up, and until it stops.
const SOON: Duration = Duration::from_secs(20);
/// Sessions until everything that is made once has been made.
const WARM: usize = 20;
/// Match rules the radio may hold at most beyond those it began with, while nothing is asked of it: a connection that is
/// being taken down has one of its own.
const RULES_MORE: u32 = 2;
/// Memory the process may have more at the end: what the allocator keeps, and a tenth of what 3,000 leaked sessions of a
/// few KiB would come to.
const GROWTH_KIB: u64 = 4096;

/// Sessions in a row leave no match rule, no link and no memory behind, and the scan goes on.
///
/// # Errors
/// When it is not so.
pub async fn sessions_in_a_row_leave_nothing_behind(stage: &mut impl Stage) -> anyhow::Result<()> {
    let seals = stage.seals();
    let beacon = stage.beacons().pop().context("a beacon")?;
    let mut radio = Listening::on(stage);
    radio.up(SOON).await?;
    let sessions = stage.sessions_in_a_row().now().max(WARM + 1);
    let (mut before, since) = (None, Instant::now());
    for number in 0..sessions {
        let seal = &seals[number % seals.len()];
        let ended = radio.ask(seal, Action::ReadState, WITHIN).await?;
        ensure!(matches!(ended.outcome, Outcome::Done { .. }), "session {number}: {ended:?}");
        if number == WARM {
            before = Some((BusLoad::now().await?, resident_kib()?));
        }
    }
    let (bus, memory) = before.context("more sessions than it takes to get warm")?;
    let (bus_now, memory_now) = (BusLoad::now().await?, resident_kib()?);
    println!("{sessions} sessions in {:?}; {bus:?}, then {bus_now:?}; {memory} KiB, then {memory_now} KiB", since.elapsed());
    ensure!(bus_now.match_rules <= bus.match_rules + RULES_MORE, "match rules leak: {bus:?}, then {bus_now:?}");
    ensure!(bus_now.connections <= bus.connections, "connections leak: {bus:?}, then {bus_now:?}");
    ensure!(memory_now <= memory + GROWTH_KIB, "memory grows: {memory} KiB, then {memory_now} KiB");
    radio.forget();
    radio.advert_of(beacon.address, SOON).await?;
    radio.stop(SOON).await
}

/// What of this process lies in memory.
fn resident_kib() -> anyhow::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

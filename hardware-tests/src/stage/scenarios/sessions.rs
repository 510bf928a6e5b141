//! Reading, opening and closing seals, whatever happens on the way.
//!
//! What must hold in each: the motor of the seal ran as often as the outcome says, and never twice for one request.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use segel_drivers::{Action, Ended, Evidence, Hindrance, LockClaim, Outcome};

use crate::stage::{Listening, Stage, StagedSeal, WriteFate};

/// Time for one request. Everything that goes wrong here is over well within it.
const WITHIN: Duration = Duration::from_secs(90);
/// Time for a request to a seal that is not there.
const NOT_THERE: Duration = Duration::from_secs(5);
/// Until a radio is up.
const SOON: Duration = Duration::from_secs(20);
/// How long a radio may take to stop.
const STOPPED: Duration = Duration::from_secs(10);
/// How often a change is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// An ATT error the protocol gives a command with a wrong code.
const WRONG_CODE: u8 = 0x83;
/// An ATT error the protocol gives a seal that cannot do anything.
const NOT_A_FRAME: u8 = 0x80;

/// A radio that has heard its first seal.
async fn hearing(stage: &impl Stage) -> anyhow::Result<(Listening, StagedSeal)> {
    let seal = stage.seals().into_iter().next().context("a seal that can be connected to")?;
    let mut radio = Listening::on(stage);
    radio.up(SOON).await?;
    Ok((radio, seal))
}

/// Unlocks the first seal while its writes meet these fates, and holds the outcome against what the motor did.
async fn unlock(stage: &mut impl Stage, fates: &[WriteFate]) -> anyhow::Result<(Ended, u32)> {
    let (mut radio, seal) = hearing(stage).await?;
    let before = stage.life(seal.address).await?.openings;
    stage.next_writes(seal.address, fates).await?;
    let ended = radio.ask(&seal, Action::Unlock, WITHIN).await?;
    stage.forget_fates(seal.address).await?;
    let opened = stage.life(seal.address).await?.openings - before;
    match &ended.outcome {
        Outcome::Done { .. } => ensure!(opened == 1, "it says done and opened {opened} times: {ended:?}"),
        Outcome::NotAttempted { .. } | Outcome::Already { .. } => ensure!(opened == 0, "it says nothing was sent and it opened: {ended:?}"),
        Outcome::Rejected { .. } => ensure!(opened == 0, "it says refused and it opened: {ended:?}"),
        Outcome::Unknown { .. } => ensure!(opened <= 1, "it opened {opened} times: {ended:?}"),
    }
    // And the line is free: the next request is served.
    let read = radio.ask(&seal, Action::ReadState, WITHIN).await?;
    ensure!(matches!(read.outcome, Outcome::Done { .. }), "afterwards it cannot be read: {read:?}");
    ensure!(stage.life(seal.address).await?.openings - before == opened, "it opened afterwards");
    radio.stop(STOPPED).await?;
    Ok((ended, opened))
}

fn evidence(ended: &Ended) -> anyhow::Result<Evidence> {
    match &ended.outcome {
        Outcome::Done { evidence, .. } => Ok(*evidence),
        other => anyhow::bail!("it was done, and is said to be {other:?}"),
    }
}

/// # Errors
/// When it is not so.
pub async fn a_seal_is_read_opened_and_closed(stage: &mut impl Stage) -> anyhow::Result<()> {
    let (mut radio, seal) = hearing(stage).await?;
    let before = stage.life(seal.address).await?;
    let read = radio.ask(&seal, Action::ReadState, WITHIN).await?;
    let Outcome::Done { status: Some(status), .. } = &read.outcome else { anyhow::bail!("{read:?}") };
    ensure!(status.reading.lock == Some(LockClaim::Locked), "{status:?}");
    for action in [Action::Unlock, Action::Lock, Action::SetTime] {
        let ended = radio.ask(&seal, action, WITHIN).await?;
        ensure!(matches!(ended.outcome, Outcome::Done { .. }), "{action}: {ended:?}");
    }
    let already = radio.ask(&seal, Action::Lock, WITHIN).await?;
    ensure!(matches!(already.outcome, Outcome::Already { .. }), "{already:?}");
    let after = stage.life(seal.address).await?;
    ensure!((after.openings, after.closings) == (before.openings + 1, before.closings + 1), "{before:?}, then {after:?}");
    radio.stop(STOPPED).await
}

/// # Errors
/// When it is not so.
pub async fn a_log_is_drained_once(stage: &mut impl Stage) -> anyhow::Result<()> {
    let (mut radio, seal) = hearing(stage).await?;
    for action in [Action::Unlock, Action::Lock] {
        radio.ask(&seal, action, WITHIN).await?;
    }
    radio.take_told();
    let ended = radio.ask(&seal, Action::DrainLog, WITHIN).await?;
    let told = radio.take_told();
    let Outcome::Done { drained, .. } = ended.outcome else { anyhow::bail!("{ended:?}") };
    ensure!(drained >= 2 && drained as usize == told.len(), "{drained} confirmed, {} told", told.len());
    let numbers: Vec<_> = told.iter().filter_map(|event| event.number).collect();
    ensure!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1) && numbers.len() == told.len(), "{numbers:?}");
    let again = radio.ask(&seal, Action::DrainLog, WITHIN).await?;
    ensure!(matches!(again.outcome, Outcome::Done { drained: 0, .. }) && radio.take_told().is_empty(), "{again:?}");
    radio.stop(STOPPED).await
}

/// # Errors
/// When it is not so.
pub async fn a_refused_command_opens_nothing(stage: &mut impl Stage) -> anyhow::Result<()> {
    let (ended, opened) = unlock(stage, &[WriteFate::Fine, WriteFate::Att(WRONG_CODE)]).await?;
    ensure!(opened == 0 && !matches!(ended.outcome, Outcome::Done { .. }), "{ended:?}");
    Ok(())
}

/// # Errors
/// When it is not so.
pub async fn a_refused_greeting_opens_nothing_that_is_not_said(stage: &mut impl Stage) -> anyhow::Result<()> {
    unlock(stage, &[WriteFate::Att(NOT_A_FRAME)]).await.map(drop)
}

/// # Errors
/// When it is not so.
pub async fn a_link_lost_after_the_seal_acted_is_read_back(stage: &mut impl Stage) -> anyhow::Result<()> {
    let (ended, _) = unlock(stage, &[WriteFate::Fine, WriteFate::LostAfter]).await?;
    ensure!(evidence(&ended)? == Evidence::ReadBack, "{ended:?}");
    Ok(())
}

/// # Errors
/// When it is not so.
pub async fn a_link_lost_before_the_answer_is_read_back(stage: &mut impl Stage) -> anyhow::Result<()> {
    let (ended, _) = unlock(stage, &[WriteFate::Fine, WriteFate::LostBeforeReply]).await?;
    ensure!(evidence(&ended)? == Evidence::ReadBack, "{ended:?}");
    Ok(())
}

/// # Errors
/// When it is not so.
pub async fn a_command_lost_on_the_way_is_not_sent_again(stage: &mut impl Stage) -> anyhow::Result<()> {
    let (ended, opened) = unlock(stage, &[WriteFate::Fine, WriteFate::LostBefore]).await?;
    ensure!(opened == 0 && !matches!(ended.outcome, Outcome::Done { .. }), "{ended:?}");
    Ok(())
}

/// # Errors
/// When it is not so.
pub async fn a_command_nobody_answers_is_not_sent_again(stage: &mut impl Stage) -> anyhow::Result<()> {
    let (ended, opened) = unlock(stage, &[WriteFate::Fine, WriteFate::Unanswered]).await?;
    ensure!(opened == 0 && !matches!(ended.outcome, Outcome::Done { .. }), "{ended:?}");
    Ok(())
}

/// # Errors
/// When it is not so.
pub async fn notifications_that_are_lost_doubled_or_late_do_no_harm(stage: &mut impl Stage) -> anyhow::Result<()> {
    use WriteFate::{Fine, Late, Mute, Twice};
    for fates in [[Mute, Fine], [Fine, Mute], [Twice, Twice], [Late(500), Late(1500)]] {
        let (ended, _) = unlock(stage, &fates).await?;
        evidence(&ended).with_context(|| format!("{fates:?}"))?;
        stage.mend().await?;
        relock(stage).await?;
    }
    Ok(())
}

/// # Errors
/// When it is not so.
pub async fn a_link_lost_while_connecting_is_tried_again(stage: &mut impl Stage) -> anyhow::Result<()> {
    let seal = stage.seals().into_iter().next().context("a seal")?;
    stage.vanish_while_connecting(seal.address).await?;
    let (ended, _) = unlock(stage, &[]).await?;
    ensure!(ended.spent.attempts >= 2, "{ended:?}");
    evidence(&ended).map(drop)
}

/// # Errors
/// When it is not so.
pub async fn a_seal_that_is_not_there_is_not_attempted(stage: &mut impl Stage) -> anyhow::Result<()> {
    let seal = stage.seals().into_iter().next().context("a seal")?;
    stage.take_away(seal.address).await?;
    let mut radio = Listening::on(stage);
    radio.up(SOON).await?;
    let ended = radio.ask(&seal, Action::Unlock, NOT_THERE).await?;
    ensure!(
        matches!(ended.outcome, Outcome::NotAttempted { why: Hindrance::NotHeard { .. } | Hindrance::NoConnection { .. } }),
        "{ended:?}"
    );
    stage.bring_back(seal.address).await?;
    let ended = radio.ask(&seal, Action::ReadState, WITHIN).await?;
    ensure!(matches!(ended.outcome, Outcome::Done { .. }), "{ended:?}");
    radio.stop(STOPPED).await
}

/// # Errors
/// When it is not so.
pub async fn sessions_go_on_after_power_off_removal_and_the_death_of_bluez(stage: &mut impl Stage) -> anyhow::Result<()> {
    let (mut radio, seal) = hearing(stage).await?;
    for what in 0..3 {
        let read = radio.ask(&seal, Action::ReadState, WITHIN).await?;
        ensure!(matches!(read.outcome, Outcome::Done { .. }), "before {what}: {read:?}");
        match what {
            0 => stage.power_off().await?,
            1 => {
                stage.pull().await?;
                stage.plug().await?;
            }
            _ => {
                stage.kill_bluez().await?;
                stage.start_bluez().await?;
            }
        }
        let before = stage.life(seal.address).await?;
        let (wanted, counted): (_, fn(&crate::stage::Life) -> u32) =
            if what % 2 == 0 { (Action::Unlock, |life| life.openings) } else { (Action::Lock, |life| life.closings) };
        let mut ended = radio.ask(&seal, wanted, WITHIN).await?;
        if matches!(ended.outcome, Outcome::NotAttempted { .. }) {
            // Nothing was sent, so that it may be asked again as soon as the seal is heard again.
            radio.forget();
            radio.advert_of(seal.address, SOON).await?;
            ended = radio.ask(&seal, wanted, WITHIN).await?;
        }
        let after = stage.life(seal.address).await?;
        ensure!(matches!(ended.outcome, Outcome::Done { .. }), "after {what}: {ended:?}");
        ensure!(counted(&after) == counted(&before) + 1, "after {what}: {before:?}, then {after:?}");
    }
    radio.stop(STOPPED).await
}

/// # Errors
/// When it is not so.
pub async fn all_seals_are_read_when_all_are_asked_at_once(stage: &mut impl Stage) -> anyhow::Result<()> {
    let (mut radio, _) = hearing(stage).await?;
    let seals = stage.seals();
    ensure!(seals.len() >= 12, "twelve seals are wanted, {} are there", seals.len());
    let ended = radio.ask_all(&seals, Action::ReadState, WITHIN).await?;
    for (seal, ended) in seals.iter().zip(ended) {
        ensure!(matches!(ended.outcome, Outcome::Done { .. }), "{}: {ended:?}", seal.address);
    }
    radio.stop(STOPPED).await?;
    for seal in &seals {
        disconnected(stage, seal).await?;
    }
    Ok(())
}

/// Whoever asks is answered before the disconnect, so that it may take a moment more.
async fn disconnected(stage: &mut impl Stage, seal: &StagedSeal) -> anyhow::Result<()> {
    let since = Instant::now();
    loop {
        let life = stage.life(seal.address).await?;
        if !life.connected && life.connections >= 1 {
            return Ok(());
        }
        ensure!(since.elapsed() < STOPPED, "{} is left connected: {life:?}", seal.address);
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn relock(stage: &mut impl Stage) -> anyhow::Result<()> {
    let (mut radio, seal) = hearing(stage).await?;
    let ended = radio.ask(&seal, Action::Lock, WITHIN).await?;
    ensure!(matches!(ended.outcome, Outcome::Done { .. } | Outcome::Already { .. }), "{ended:?}");
    radio.stop(STOPPED).await
}

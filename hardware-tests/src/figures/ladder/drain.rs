//! The front of the full journal to customs' broker, as the gate sends it, beside publishers that keep nothing.

use super::{
    super::{
        drain::{Customs, forget_cursors},
        events, plain,
        sample::{middle, per_second, rate, thousands},
        table::Row,
    },
    ground::Ground,
    link::Link,
};

/// At most so many of the events leave in a round.
const FRONT: usize = 1_000_000;
/// Different messages the plain publisher sends over and over.
const DIFFERENT: usize = 50_000;
/// How often all take their turn.
const ROUNDS: usize = 5;
/// Of the plain publisher's rate at least.
const TARGET: f64 = 0.9;

/// The rows of this part.
pub(super) async fn run(ground: &Ground<'_>) -> anyhow::Result<Vec<Row>> {
    let many = ground.size.0.min(ground.plan.of(FRONT));
    let (dir, scratch) = (ground.journal("drain")?, ground.scratch("drain")?);
    let customs = Customs::open(&scratch).await?;
    let messages = events::messages(&dir, many.min(DIFFERENT))?;
    let lines = plain::lines(scratch.join("lines"), &messages, many)?;
    let (mut ours, mut plainly, mut piped) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        forget_cursors(&dir)?;
        let (journal, _) = events::open(&dir)?;
        let link = Link::start(&journal, customs.address())?;
        ours.push(link.drained(many).await?);
        link.end().await?;
        journal.close().await?;
        plainly.push(rate(many, plain::rumqttc(customs.address(), &messages, many).await?));
        if let Some(took) = plain::mosquitto_pub(customs.address(), &lines).await? {
            piped.push(rate(many, took));
        }
    }
    std::fs::remove_file(lines)?;
    let ratio = |beside: &[f64]| middle(ours.iter().zip(beside).map(|(ours, beside)| ours / beside).collect());
    let (to_plainly, to_piped) = (ratio(&plainly), ratio(&piped));
    let ours = middle(ours);
    let row = |rate: f64, ratio: f64, beside: &str| {
        let row = Row::new(format!("drain of {} events to {}", thousands(many as f64), customs.name()), per_second(ours));
        row.beside(format!("{} {beside}", per_second(rate)), ratio)
    };
    let mut rows =
        vec![row(middle(plainly), to_plainly, "plain rumqttc, QoS 1").aims(format!("at least {TARGET} x"), to_plainly >= TARGET)];
    if !piped.is_empty() {
        rows.push(row(middle(piped), to_piped, "mosquitto_pub -l -q 1"));
    }
    Ok(rows)
}

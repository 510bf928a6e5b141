//! The line to customs and customs' own broker, and all that can be wrong with them.

use std::time::Duration;

use rand::{RngExt, SeedableRng, rngs::StdRng};
use rumqttc::ConnectReturnCode;
use segel_mqtt_bridge::sim::{Ack, CustomsBroker, Line, Reading, Weather, line::Direction};
use tokio::time::{Instant, sleep, sleep_until};

use super::{
    diary::Diary,
    plan::{Act, Plan, Step, Track},
};

/// What follows from a line that snapped takes about this long.
const MOMENT: Duration = Duration::from_millis(300);

/// Does to the line what is planned.
pub(super) async fn line(line: &Line, plan: &Plan, begin: Instant, diary: &Diary) {
    for Step { at, act, lasts, seed } in plan.on(Track::Line) {
        sleep_until(begin + at).await;
        let mut chance = StdRng::seed_from_u64(seed);
        let _trouble = diary.trouble(act);
        match act {
            Act::LineCut | Act::LineLongCut => line.set(Weather::Cut),
            Act::LineSwallows => line.set(Weather::BlackHole),
            Act::LineSlow => line.set(Weather::Slow(Duration::from_millis(chance.random_range(5..200)))),
            Act::LineCutInAPacket if chance.random() => line.cut_after(Direction::Up, chance.random_range(1..40_000)),
            Act::LineCutInAPacket => line.cut_after(Direction::Down, chance.random_range(1..400)),
            _ => line.snap(),
        }
        let instant = matches!(act, Act::LineSnaps | Act::LineCutInAPacket);
        sleep(if instant { MOMENT } else { lasts }).await;
        line.set(Weather::Fair);
    }
}

/// Does to customs' broker what is planned.
pub(super) async fn customs(customs: &CustomsBroker, plan: &Plan, begin: Instant, diary: &Diary) {
    for Step { at, act, lasts, seed } in plan.on(Track::Customs) {
        sleep_until(begin + at).await;
        let mut chance = StdRng::seed_from_u64(seed);
        let _trouble = diary.trouble(act);
        match act {
            Act::CustomsForgetsSessions => {
                customs.forget_sessions();
                customs.hang_up();
            }
            Act::CustomsHangsUpAmidEvents => customs.drop_after(chance.random_range(1..20)),
            Act::CustomsSleeps => customs.reading(Reading::Asleep),
            Act::CustomsWithholdsAcks => customs.acks(Ack::Withheld),
            Act::CustomsShufflesAcks => customs.acks(Ack::Shuffled(chance.random_range(2..9))),
            Act::CustomsRefuses => {
                customs.answer_connect(ConnectReturnCode::ServiceUnavailable);
                customs.hang_up();
            }
            _ => customs.hang_up(),
        }
        sleep(lasts).await;
        customs.reading(Reading::Awake);
        customs.acks(Ack::AtOnce);
        customs.answer_connect(ConnectReturnCode::Success);
    }
}

//! Seals over Bluetooth on a stage that can be broken: the same scenarios on the real stack and on the emulated one.
//!
//! `SEGEL_BLUEZ=real` says that this process runs in the guest of `hardware-tests/bluez-uml`, beside the real
//! bluetoothd; there the scenarios share one machine and go one after the other.

use libtest_mimic::{Arguments, Failed, Trial};
use segel_hardware_tests::{
    bluez::again::on_private_bus,
    peers::on_runtime,
    stage::{Emulated, Guest, Stage, scenarios},
};

/// Runs each scenario on the guest's stage, mended before and after.
macro_rules! real {
    ($($scenario:ident),* $(,)?) => {
        vec![$(Trial::test(stringify!($scenario), || on_runtime(async {
            let mut stage = Guest::enter().await?;
            stage.mend().await?;
            let end = scenarios::$scenario(&mut stage).await;
            stage.mend().await?;
            end
        }))),*]
    };
}

/// Runs each scenario before an emulated BlueZ of its own, in a process of its own.
macro_rules! emulated {
    ($($scenario:ident),* $(,)?) => {
        vec![$(on_private_bus(stringify!($scenario), async |bus| {
            let end = async { scenarios::$scenario(&mut Emulated::on(bus)?).await };
            if let Err(fault) = end.await {
                panic!("{fault:#}");
            }
        })),*]
    };
}

/// The scenarios of both stages.
macro_rules! on_every_stage {
    ($stage:ident) => {
        $stage![
            every_seal_is_heard_with_the_protection_it_has,
            a_seal_out_of_reach_is_heard_again_when_it_is_back,
            an_adapter_switched_off_is_switched_on_again,
            adapter_return_resumes_the_scan_without_restart,
            an_adapter_away_for_long_is_reported_once_and_heard_again,
            bluez_killed_and_started_again_is_heard_again,
            radios_that_come_and_go_leave_nothing_on_the_bus,
            a_seal_is_read_opened_and_closed,
            a_log_is_drained_once,
            a_refused_command_opens_nothing,
            a_refused_greeting_opens_nothing_that_is_not_said,
            a_link_lost_after_the_seal_acted_is_read_back,
            a_link_lost_before_the_answer_is_read_back,
            a_command_lost_on_the_way_is_not_sent_again,
            a_command_nobody_answers_is_not_sent_again,
            notifications_that_are_lost_doubled_or_late_do_no_harm,
            a_link_lost_while_connecting_is_tried_again,
            a_seal_that_is_not_there_is_not_attempted,
            sessions_go_on_after_power_off_removal_and_the_death_of_bluez,
            all_seals_are_read_when_all_are_asked_at_once,
            sessions_in_a_row_leave_nothing_behind,
        ]
    };
}

fn main() {
    let mut arguments = Arguments::from_args();
    let trials: Vec<Trial> = match std::env::var("SEGEL_BLUEZ").as_deref() {
        Ok("real") => {
            arguments.test_threads = Some(1);
            let mut trials = on_every_stage!(real);
            trials.extend(real![a_stick_that_tells_each_seal_once_a_scan_is_enough]);
            trials
        }
        Ok(other) => {
            let fault = format!("SEGEL_BLUEZ={other}: only `real` is known");
            vec![Trial::test("stage", || Err(Failed::from(fault)))]
        }
        Err(_) => on_every_stage!(emulated),
    };
    libtest_mimic::run(&arguments, trials).exit();
}

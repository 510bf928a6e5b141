//! Seals over Bluetooth on a stage that can be broken: the same scenarios on the real stack and on the emulated one.
//!
//! `SEGEL_BLUEZ=real` says that this process runs in the guest of `hardware-tests/bluez-uml`, beside the real
//! bluetoothd; there the scenarios share one machine and go one after the other.

use libtest_mimic::{Arguments, Failed, Trial};
use segel_hardware_tests::{
    peers::on_runtime,
    stage::{Guest, Stage, scenarios},
};

/// Runs each scenario of the list on a mended stage of the given kind.
macro_rules! on_stage {
    ($enter:expr, $($scenario:ident),* $(,)?) => {
        vec![$(Trial::test(stringify!($scenario), || on_runtime(async {
            let mut stage = $enter.await?;
            stage.mend().await?;
            let end = scenarios::$scenario(&mut stage).await;
            stage.mend().await?;
            end
        }))),*]
    };
}

fn main() {
    let mut arguments = Arguments::from_args();
    let trials: Vec<Trial> = match std::env::var("SEGEL_BLUEZ").as_deref() {
        Ok("real") => {
            arguments.test_threads = Some(1);
            on_stage![
                Guest::enter(),
                every_seal_is_heard_with_the_protection_it_has,
                a_seal_out_of_reach_is_heard_again_when_it_is_back,
                an_adapter_switched_off_is_switched_on_again,
                adapter_return_resumes_the_scan_without_restart,
                an_adapter_away_for_long_is_reported_once_and_heard_again,
                bluez_killed_and_started_again_is_heard_again,
                a_stick_that_tells_each_seal_once_a_scan_is_enough,
                radios_that_come_and_go_leave_nothing_on_the_bus,
            ]
        }
        Ok(other) => vec![Trial::test("stage", {
            let other = other.to_owned();
            move || Err(Failed::from(format!("SEGEL_BLUEZ={other}: only `real` is known")))
        })],
        Err(_) => Vec::new(),
    };
    libtest_mimic::run(&arguments, trials).exit();
}

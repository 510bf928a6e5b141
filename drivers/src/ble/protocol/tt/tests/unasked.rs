//! What comes in the middle of a command, damaged, from another lock, twice, or not at all.

use super::*;

#[test]
fn a_heartbeat_in_the_middle_is_told_and_answered_and_the_command_goes_on() {
    for action in [Action::ReadState, Action::Lock, Action::SetTime] {
        for travel in [Travel::Whole, Travel::Cut(7), Travel::Joined, Travel::Early] {
            let mut lock = with(&[Trouble::HeartbeatFirst, Trouble::AnswersTwice]);
            let played = play(&mut *Tt.exchange(action, &seal("739164"), &moment()).unwrap(), &mut lock, travel);
            assert!(matches!(played.said(), Said::Did | Said::Status(_) | Said::TimeSet), "{:?}", played.said);
            assert_eq!((played.words().as_slice(), lock.heartbeats_answered()), ([SealWord::Heartbeat].as_slice(), 1));
            assert_eq!((played.moves(), played.written.len()), (usize::from(action.moves()), 2));
            assert_eq!(hex::encode(&played.written[1].0), "010b01207e03e91a070f0a1e0029", "{action} {travel:?}");
        }
    }
}

#[test]
fn a_late_second_answer_to_our_command_is_no_news_and_no_answer_to_the_next() {
    let mut exchange = Tt.exchange(Action::ReadState, &seal("739164"), &moment()).unwrap();
    let _ = exchange.step(Input::Begin);
    assert!(matches!(exchange.step(Input::Notified(&frame(0x90, Source::Bluetooth))), Step::Listen { .. }));
    assert!(matches!(exchange.step(Input::Notified(&frame(0x62, Source::Bluetooth))), Step::End(Said::Status(_))));
}

#[test]
fn an_alarm_in_the_middle_is_told_and_the_command_goes_on() {
    for (alarm, word) in
        [(Alarm::Broken, SealWord::ForcedOpen), (Alarm::RodCut, SealWord::ShackleCut), (Alarm::Opened, SealWord::ForcedOpen)]
    {
        let mut lock = with(&[Trouble::AlarmFirst(alarm)]);
        let played = run(Action::Lock, &mut lock);
        assert_eq!((played.said(), played.words()), (&Said::Did, vec![word]));
        assert_eq!(played.told[0].raw[0], alarm.code());
    }
}

#[test]
fn an_alarm_in_a_heartbeat_is_told() {
    let played = run(Action::ReadState, &mut with(&[Trouble::HeartbeatFirst, Trouble::ShellOpen]));
    assert_eq!(played.words(), [SealWord::Heartbeat, SealWord::CoverOpened]);
    assert_eq!(played.told[0].device_time, Some(1_784_111_400));
}

#[test]
fn what_somebody_does_at_the_keyboard_is_told_and_is_not_our_doing() {
    let mut lock = sealed_with(&[Trouble::KeyboardFirst]);
    let played = run(Action::Unlock, &mut lock);
    assert_eq!((played.said(), played.words()), (&Said::Did, vec![SealWord::Unsealed]));
    lock.trouble(Trouble::Silent);
    let mut exchange = Tt.exchange(Action::Unlock, &seal("739164"), &moment()).unwrap();
    let _ = exchange.step(Input::Begin);
    let unlocked = frame(0x90, Source::Keyboard);
    assert!(matches!(exchange.step(Input::Notified(&unlocked)), Step::Tell { memory: Memory::Live, .. }));
    assert!(matches!(exchange.step(Input::Told), Step::Listen { .. }));
    assert_eq!(exchange.step(Input::Silence), Step::End(Said::Nothing), "nothing was said of our command");
}

#[test]
fn a_refusal_after_somebody_used_the_keyboard_counts_only_if_nothing_better_comes() {
    let begin = |code| {
        let mut exchange = Tt.exchange(Action::Unlock, &seal("739164"), &moment()).unwrap();
        let _ = exchange.step(Input::Begin);
        assert!(matches!(exchange.step(Input::Notified(&frame(code, Source::Keyboard))), Step::Tell { .. } | Step::Listen { .. }));
        assert!(matches!(exchange.step(Input::Told), Step::Listen { .. }));
        exchange
    };
    assert_eq!(begin(0x93).step(Input::Silence), Step::End(Said::Doubtful(Rejection::WrongPassword)));
    assert_eq!(begin(0x91).step(Input::Silence), Step::End(Said::Doubtful(Rejection::StoodSo)), "somebody else's answer proves nothing");
    assert_eq!(begin(0x93).step(Input::Notified(&frame(0x90, Source::Bluetooth))), Step::End(Said::Did));
}

#[test]
fn a_damaged_answer_is_an_error_and_nothing_of_it_is_used() {
    for action in [Action::ReadState, Action::Lock, Action::SetTime] {
        for travel in [Travel::Whole, Travel::Cut(3), Travel::Early] {
            let mut lock = with(&[Trouble::CorruptNext]);
            let played = play(&mut *Tt.exchange(action, &seal("739164"), &moment()).unwrap(), &mut lock, travel);
            let Said::Cannot(Hindrance::Unintelligible(why)) = played.said() else { panic!("{:?}", played.said) };
            assert!(why.contains("check"), "{why}");
            assert!(played.told.is_empty() && played.moves() <= 1);
        }
    }
}

#[test]
fn an_answer_that_is_cut_off_is_an_error_once_the_time_is_over() {
    let mut exchange = Tt.exchange(Action::Lock, &seal("739164"), &moment()).unwrap();
    let _ = exchange.step(Input::Begin);
    let answer = frame(0x80, Source::Bluetooth);
    assert!(matches!(exchange.step(Input::Notified(&answer[..9])), Step::Listen { .. }));
    assert!(matches!(exchange.step(Input::Silence), Step::End(Said::Cannot(Hindrance::Unintelligible(_)))));
}

#[test]
fn the_answer_of_another_lock_is_refused() {
    let mut lock = with(&[Trouble::AnswersAs("83181002".parse().unwrap())]);
    let played = run(Action::Lock, &mut lock);
    let Said::Cannot(Hindrance::WrongCredential { what: "device number", detail }) = played.said() else { panic!("{:?}", played.said) };
    assert!(detail.contains("83181002"));
}

#[test]
fn silence_is_nothing_and_nothing_is_written_again() {
    let mut lock = with(&[Trouble::Silent]);
    let played = run(Action::Lock, &mut lock);
    assert_eq!((played.said(), played.written.len(), lock.closings()), (&Said::Nothing, 1, 1), "it did it all the same");
    let mut stuck = with(&[Trouble::MotorStuck]);
    assert_eq!(run(Action::Lock, &mut stuck).said(), &Said::Nothing);
    let Some(Said::Status(status)) = run(Action::ReadState, &mut stuck).said else { panic!("its state can be read") };
    assert_eq!((status.complaints, status.reading.lock), (vec![SealWord::Abnormal], None));
}

//! UHF readers at the wire: emulated readers behind pseudo-terminals, the daemon's own radio on the other side.

mod bench;

use std::sync::atomic::Ordering;

use bench::{DEADLINE, HEARTBEAT, Kept, configured, epc, kept, plug_in};
use segel_drivers::{
    Sighting, Trouble,
    codec::uhf::Dialect::{UhfReader18, UhfReader288},
    serial::{Mode, UhfReader, UhfReaderConfig},
    sim::{EmulatedReader, reader::EmulatedReaderConfig},
};

#[tokio::test]
async fn a_tag_is_reported_with_its_antenna_and_the_bytes_that_said_so() {
    let directory = tempfile::tempdir().unwrap();
    let reader = plug_in(directory.path(), "gate-in-1", UhfReader288);
    let mut radio = kept(directory.path(), "gate-in-1", UhfReader288);
    assert_eq!(radio.up().await, "UHFReader288M (type 0C) fw 0.22, 30 dBm");
    reader.show(epc(1), 3, 0x6B).await.unwrap();
    let tag = radio.tag().await;
    assert_eq!((tag.epc, tag.antenna, tag.rssi_raw), (epc(1), Some(3), Some(0x6B)));
    assert_eq!(tag.raw[..4], [0x14, 0x00, 0xEE, 0x00]);
}

#[tokio::test]
async fn readers_that_are_asked_report_the_same_tags() {
    for dialect in [UhfReader18, UhfReader288] {
        let directory = tempfile::tempdir().unwrap();
        let reader = plug_in(directory.path(), "gate-in-1", dialect);
        let config = UhfReaderConfig { mode: Mode::Poll, ..configured(directory.path(), "gate-in-1", dialect) };
        let mut radio = Kept::new(UhfReader::new(config));
        radio.up().await;
        for number in 0..3 {
            reader.show(epc(number), 1, 0x6B).await.unwrap();
        }
        for number in 0..3 {
            assert_eq!(radio.tag().await.epc, epc(number), "{dialect:?}");
        }
    }
}

#[tokio::test]
async fn unplugged_reader_is_reported_once_and_reopened() {
    let directory = tempfile::tempdir().unwrap();
    let reader = plug_in(directory.path(), "gate-in-1", UhfReader288);
    let mut radio = kept(directory.path(), "gate-in-1", UhfReader288);
    for round in 0..3 {
        radio.up().await;
        reader.show(epc(round), 1, 0x6B).await.unwrap();
        assert_eq!(radio.tag().await.epc, epc(round));
        reader.unplug().await.unwrap();
        let reason = radio.down().await;
        assert!(reason.contains("hung up"), "{reason}");
        let reason = radio.down().await;
        assert!(reason.contains("no such device"), "once more because the reason is another: {reason}");
        // many more attempts fail alike before it is plugged in again: the next thing heard is that it is up
        tokio::time::sleep(HEARTBEAT).await;
        reader.replug().await.unwrap();
    }
    radio.up().await;
    assert_eq!(radio.tally.opened.load(Ordering::Relaxed), 4);
}

#[tokio::test]
async fn a_reader_that_stops_its_heartbeat_is_reported_dead() {
    let directory = tempfile::tempdir().unwrap();
    let reader = plug_in(directory.path(), "gate-in-1", UhfReader288);
    let mut radio = kept(directory.path(), "gate-in-1", UhfReader288);
    radio.up().await;
    // no tag for longer than three heartbeats: the heartbeats alone keep it up
    let frames = radio.tally.frames.load(Ordering::Relaxed);
    tokio::time::timeout(DEADLINE, async {
        while radio.tally.frames.load(Ordering::Relaxed) < frames + 5 {
            tokio::time::sleep(HEARTBEAT / 10).await;
        }
    })
    .await
    .expect("five heartbeats");
    assert!(radio.heard.is_empty(), "a heartbeat is no news");
    reader.go_silent().await.unwrap();
    let reason = radio.down().await;
    assert!(reason.contains("no tag and no heartbeat"), "{reason}");
    reader.speak().await.unwrap();
    while !matches!(radio.next().await, Sighting::Standing(segel_drivers::Standing::Up { .. })) {}
    reader.show(epc(7), 1, 0x6B).await.unwrap();
    assert_eq!(radio.tag().await.epc, epc(7));
}

/// Waits until `more` frames were understood beyond those so far.
async fn frames(radio: &Kept, more: u64) {
    let enough = radio.tally.frames.load(Ordering::Relaxed) + more;
    tokio::time::timeout(DEADLINE, async {
        while radio.tally.frames.load(Ordering::Relaxed) < enough {
            tokio::time::sleep(HEARTBEAT / 100).await;
        }
    })
    .await
    .expect("frames in time");
}

#[tokio::test]
async fn a_reader_that_dies_in_realtime_mode_is_known_within_seconds() {
    let directory = tempfile::tempdir().unwrap();
    // its own heartbeat as real as it is: three of them are beyond the deadline of this test
    let own = EmulatedReaderConfig::new(directory.path().join("gate-in-1"), UhfReader288);
    assert!(own.heartbeat_unit * 3 > DEADLINE);
    let config = UhfReaderConfig {
        heartbeat: HEARTBEAT / 20,
        heartbeat_unit: own.heartbeat_unit,
        ..configured(directory.path(), "gate-in-1", UhfReader288)
    };
    let reader = EmulatedReader::plug_in(own).unwrap();
    let mut radio = Kept::new(UhfReader::new(config));
    radio.up().await;
    // tags among questions and answers
    for number in 0..10 {
        frames(&radio, u64::from(number % 3)).await;
        reader.show(epc(number), 1, 0x6B).await.unwrap();
        assert_eq!(radio.tag().await.epc, epc(number));
    }
    frames(&radio, 3).await;
    assert!(radio.heard.is_empty(), "an answer is no news");
    reader.go_silent().await.unwrap();
    let reason = radio.down().await;
    assert!(reason.contains("is silent: 3 questions in a row unanswered"), "{reason}");
}

#[tokio::test]
async fn a_reader_that_does_not_answer_while_reading_is_judged_by_its_own_heartbeat() {
    let directory = tempfile::tempdir().unwrap();
    let own = HEARTBEAT * 2;
    let emulated =
        EmulatedReaderConfig { heartbeat_unit: own, ..EmulatedReaderConfig::new(directory.path().join("gate-in-1"), UhfReader288) };
    let reader = EmulatedReader::plug_in(emulated).unwrap();
    reader.deaf_while_reading().await.unwrap();
    // three questions fit between two of its heartbeats
    let config = UhfReaderConfig {
        heartbeat: HEARTBEAT / 20,
        heartbeat_unit: own,
        answer_timeout: HEARTBEAT / 2,
        ..configured(directory.path(), "gate-in-1", UhfReader288)
    };
    let mut radio = Kept::new(UhfReader::new(config));
    radio.up().await;
    frames(&radio, 2).await;
    assert!(radio.heard.is_empty(), "it lives");
    reader.show(epc(1), 1, 0x6B).await.unwrap();
    assert_eq!(radio.tag().await.epc, epc(1));
    reader.go_silent().await.unwrap();
    let reason = radio.down().await;
    assert!(reason.contains("no tag and no heartbeat for 6s; check"), "{reason}");
}

#[tokio::test]
async fn a_reader_that_answers_and_has_left_realtime_mode_is_set_up_anew() {
    let directory = tempfile::tempdir().unwrap();
    let reader = plug_in(directory.path(), "gate-in-1", UhfReader288);
    let config = UhfReaderConfig { heartbeat: HEARTBEAT / 10, ..configured(directory.path(), "gate-in-1", UhfReader288) };
    let mut radio = Kept::new(UhfReader::new(config));
    radio.up().await;
    reader.forget_mode().await.unwrap();
    reader.show(epc(1), 1, 0x6B).await.unwrap();
    let reason = radio.down().await;
    assert!(reason.contains("it has left real-time mode"), "{reason}");
    radio.up().await;
    assert_eq!(radio.tag().await.epc, epc(1));
}

#[tokio::test]
async fn a_polled_reader_that_stops_answering_is_reported_dead() {
    let directory = tempfile::tempdir().unwrap();
    let reader = plug_in(directory.path(), "gate-in-1", UhfReader18);
    let mut radio = kept(directory.path(), "gate-in-1", UhfReader18);
    radio.up().await;
    reader.go_silent().await.unwrap();
    let reason = radio.down().await;
    assert!(reason.contains("unanswered"), "{reason}");
}

#[tokio::test]
async fn frames_survive_one_byte_writes_and_noise_between_them() {
    let directory = tempfile::tempdir().unwrap();
    let reader = plug_in(directory.path(), "gate-in-1", UhfReader288);
    let mut radio = kept(directory.path(), "gate-in-1", UhfReader288);
    radio.up().await;
    reader.chunk(1).await.unwrap();
    for number in 0..20 {
        // a length byte that promises 255 bytes, one that promises fewer than there are, and bytes that are no length
        reader.noise([&[0xFF, 0x02][..], &[0x10, 0x11, 0x13], &[0x00; 7]][usize::from(number % 3)]).await.unwrap();
        if number % 5 == 4 {
            reader.corrupt_next().await.unwrap();
            reader.show(epc(200), 1, 0x6B).await.unwrap();
        }
        reader.show(epc(number), 1, 0x6B).await.unwrap();
        assert_eq!(radio.tag().await.epc, epc(number), "no frame is lost to the noise before it");
    }
    assert!(radio.tally.bad_checks.load(Ordering::Relaxed) >= 4);
    assert!(radio.tally.skipped_bytes.load(Ordering::Relaxed) >= 20);
}

#[tokio::test]
async fn one_readers_fault_never_delays_anothers_reads() {
    let directory = tempfile::tempdir().unwrap();
    let (silent, gone, well) = ("gate-in-1", "gate-in-2", "gate-in-3");
    let readers = [silent, gone, well].map(|name| plug_in(directory.path(), name, UhfReader288));
    let mut radios = [silent, gone, well].map(|name| kept(directory.path(), name, UhfReader288));
    for radio in &mut radios {
        radio.up().await;
    }
    readers[0].go_silent().await.unwrap();
    readers[1].unplug().await.unwrap();
    radios[1].down().await;
    let mut told = 0;
    // until the silent one is found dead, every tag of the third is heard before the next one passes
    while radios[0].heard.is_empty() {
        readers[2].show(epc(told), 1, 0x6B).await.unwrap();
        assert_eq!(radios[2].tag().await.epc, epc(told));
        told = told.wrapping_add(1);
        tokio::task::yield_now().await;
    }
    // By its own heartbeat or by an unanswered question, whichever comes first.
    let reason = radios[0].down().await;
    assert!(reason.contains("is silent"), "{reason}");
    assert!(told > 10, "the third went on meanwhile");
}

#[tokio::test]
async fn a_bad_antenna_is_told_once_and_not_with_every_inventory() {
    let directory = tempfile::tempdir().unwrap();
    let reader = plug_in(directory.path(), "gate-in-1", UhfReader288);
    let config = UhfReaderConfig { mode: Mode::Poll, ..configured(directory.path(), "gate-in-1", UhfReader288) };
    let mut radio = Kept::new(UhfReader::new(config));
    radio.up().await;
    reader.antenna_fault().await.unwrap();
    assert_eq!(radio.next().await, Sighting::Trouble(Trouble::Antenna { antenna: Some(1), status: 0xF8 }));
    let frames = radio.tally.frames.load(Ordering::Relaxed);
    while radio.tally.frames.load(Ordering::Relaxed) < frames + 10 {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    reader.antenna_repaired().await.unwrap();
    reader.show(epc(1), 1, 0x6B).await.unwrap();
    assert_eq!(radio.tag().await.epc, epc(1), "nothing else was told in between");
}

#[tokio::test]
async fn a_reader_of_the_other_dialect_is_named_and_not_misread() {
    let directory = tempfile::tempdir().unwrap();
    let _reader = plug_in(directory.path(), "gate-in-1", UhfReader18);
    let mut radio = kept(directory.path(), "gate-in-1", UhfReader288);
    let reason = radio.down().await;
    assert!(reason.contains("it says it is a UHFReader18; correct `dialect`"), "{reason}");
}

#[tokio::test]
async fn a_reader_at_another_address_is_not_ours() {
    let directory = tempfile::tempdir().unwrap();
    let reader = plug_in(directory.path(), "gate-in-1", UhfReader288);
    let config = UhfReaderConfig { address: 5, answer_timeout: HEARTBEAT / 4, ..configured(directory.path(), "gate-in-1", UhfReader288) };
    let mut radio = Kept::new(UhfReader::new(config));
    let reason = radio.down().await;
    assert!(reason.contains("does not say who it is at 57600 baud, address 5"), "{reason}");
    // somebody else's reader on the same line
    let stray = segel_drivers::codec::uhf::Frame::new(9, 0xEE, &[0, 1, 2, 0xAB, 0xCD, 0x6B]);
    while radio.tally.foreign.load(Ordering::Relaxed) == 0 {
        reader.noise(stray.bytes()).await.unwrap();
        tokio::time::sleep(HEARTBEAT / 20).await;
    }
    assert!(radio.heard.is_empty(), "its tag is not told as ours");
}

#[tokio::test]
async fn a_port_that_is_taken_says_so_and_is_had_when_it_is_free() {
    let directory = tempfile::tempdir().unwrap();
    let _reader = plug_in(directory.path(), "gate-in-1", UhfReader288);
    let taken = segel_drivers::serial::Port::open(&directory.path().join("gate-in-1"), 57_600).await.unwrap();
    let mut radio = kept(directory.path(), "gate-in-1", UhfReader288);
    let reason = radio.down().await;
    assert!(reason.contains("another program has it open"), "{reason}");
    drop(taken);
    radio.up().await;
}

#[tokio::test]
async fn a_line_that_gives_back_what_we_say_is_no_trouble() {
    for mode in [Mode::Realtime, Mode::Poll] {
        let directory = tempfile::tempdir().unwrap();
        let reader = plug_in(directory.path(), "gate-in-1", UhfReader288);
        reader.echo().await.unwrap();
        let config = UhfReaderConfig { mode, ..configured(directory.path(), "gate-in-1", UhfReader288) };
        let mut radio = Kept::new(UhfReader::new(config));
        radio.up().await;
        reader.show(epc(1), 1, 0x6B).await.unwrap();
        assert_eq!(radio.tag().await.epc, epc(1), "no trouble is told before it");
        assert_eq!(radio.tally.not_understood.load(Ordering::Relaxed), 0);
    }
}

#[tokio::test]
async fn a_line_that_hangs_up_inside_a_frame_begins_clean() {
    let directory = tempfile::tempdir().unwrap();
    let reader = plug_in(directory.path(), "gate-in-1", UhfReader288);
    let mut radio = kept(directory.path(), "gate-in-1", UhfReader288);
    radio.up().await;
    // a frame cut in its middle, and what would complete it after the line is back
    let frame = segel_drivers::codec::uhf::Frame::new(0, 0xEE, &[0, 1, 2, 0xAB, 0xCD, 0x6B]);
    reader.noise(&frame.bytes()[..6]).await.unwrap();
    reader.unplug().await.unwrap();
    radio.down().await;
    reader.replug().await.unwrap();
    loop {
        // the reason may have changed while it was gone
        if matches!(radio.standing().await, segel_drivers::Standing::Up { .. }) {
            break;
        }
    }
    reader.noise(&frame.bytes()[6..]).await.unwrap();
    reader.show(epc(1), 1, 0x6B).await.unwrap();
    assert_eq!(radio.tag().await.epc, epc(1), "the two halves are no tag");
}

#[tokio::test]
async fn a_reader_left_in_real_time_mode_that_hears_nothing_else_is_had_back() {
    let directory = tempfile::tempdir().unwrap();
    let reader = plug_in(directory.path(), "gate-in-1", UhfReader288);
    reader.deaf_while_reading().await.unwrap();
    for round in 0..2 {
        // the second time it is still in the mode the first one left it in
        let mut radio = kept(directory.path(), "gate-in-1", UhfReader288);
        radio.up().await;
        reader.show(epc(round), 1, 0x6B).await.unwrap();
        assert_eq!(radio.tag().await.epc, epc(round));
    }
}

#[tokio::test]
async fn frames_of_another_layout_are_complained_of_once_and_never_read_as_tags() {
    let directory = tempfile::tempdir().unwrap();
    let reader = plug_in(directory.path(), "gate-in-1", UhfReader288);
    let mut radio = kept(directory.path(), "gate-in-1", UhfReader288);
    radio.up().await;
    // a tag without its signal strength
    let frame = segel_drivers::codec::uhf::Frame::new(0, 0xEE, &[0, 1, 2, 0xAB, 0xCD]);
    for _ in 0..5 {
        reader.noise(frame.bytes()).await.unwrap();
    }
    reader.show(epc(1), 1, 0x6B).await.unwrap();
    let Sighting::Trouble(Trouble::ReaderError { meaning, .. }) = radio.next().await else { panic!() };
    assert!(meaning.contains("tags may go unseen"), "{meaning}");
    assert_eq!(radio.tag().await.epc, epc(1));
    assert_eq!(radio.tally.not_understood.load(Ordering::Relaxed), 5);
}

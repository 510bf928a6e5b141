//! The conversation with one monitor after CONNACK: the thin shell of I/O around [`Monitor`].
//!
//! What must hold: one task, no unbounded buffer, every wait has an end; a monitor that takes nothing is cut off and
//! delays nobody, because the router hands to each tap on its own.

use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::core::Core;
use super::monitor::{End, Monitor};
use super::spine::{Drawn, Lease};
use super::wire;

/// How long what is already queued may still be written when the broker closes.
const FAREWELL: Duration = Duration::from_secs(1);
/// When there is no deadline at all, look again after this long.
const IDLE: Duration = Duration::from_secs(3600);

/// What a connection brings into the conversation.
pub(super) struct Admitted<'a, S> {
    pub(super) core: &'a Core,
    pub(super) stream: S,
    /// Bytes that arrived together with CONNECT.
    pub(super) early: BytesMut,
    pub(super) lease: Lease,
    pub(super) leave: &'a CancellationToken,
    /// Number of the last message before this monitor's tap was ready.
    pub(super) seen: u64,
    /// As the client asked, in seconds; 0 for none.
    pub(super) keepalive: u16,
}

/// Serves one monitor until it ends.
pub(super) async fn serve<S: AsyncRead + AsyncWrite>(admitted: Admitted<'_, S>) -> End {
    let Admitted { core, stream, mut early, mut lease, leave, seen, keepalive } = admitted;
    let gone = lease.gone().clone();
    let mut monitor = Monitor::new(core.limits, seen);
    let (mut reader, mut writer) = tokio::io::split(stream);
    let mut clock = Clock::new(keepalive, core.limits.stall);
    let mut unflushed = false;
    let mut farewell: Option<(u64, Instant)> = None;
    loop {
        if let Err(end) = read_all(core, &mut monitor, &mut early) {
            // answers given before the end are worth one try
            let _ = tokio::time::timeout(FAREWELL, writer.write_all_buf(monitor.out())).await;
            return end;
        }
        monitor.fill();
        let pending = unflushed || !monitor.out().is_empty();
        clock.pending(pending, monitor.may_read());
        if let Some((goal, until)) = farewell
            && ((monitor.is_through(goal) && !unflushed) || Instant::now() >= until)
        {
            let _ = tokio::time::timeout_at(until, part(&mut reader, &mut writer, &mut early)).await;
            return End::Closing;
        }
        let wake = farewell.map_or(clock.next(), |(_, until)| until.min(clock.next()));
        let may_read = monitor.may_read();
        tokio::select! {
            // in this order, so that after a pause of the whole machine nobody is judged before what lay ready is taken
            biased;
            () = leave.cancelled() => return End::TakenOver,
            () = gone.cancelled() => return End::RouterGone,
            () = core.closing.cancelled(), if farewell.is_none() => farewell = Some((core.last(), Instant::now() + FAREWELL)),
            wrote = write_some(&mut writer, monitor.out()), if pending => match wrote {
                Ok(left) => {
                    unflushed = left;
                    clock.taken();
                }
                Err(_) => return End::Vanished,
            },
            read = reader.read_buf(&mut early), if may_read => match read {
                Ok(1..) => clock.heard(),
                Ok(0) | Err(_) => return End::Vanished,
            },
            drawn = lease.tap().draw() => {
                match drawn {
                    Ok(Drawn::Message(message)) => {
                        lease.spine().saw(&message);
                        if let Err(end) = monitor.on_message(&message) {
                            return end;
                        }
                    }
                    Ok(Drawn::Paused) => if lease.tap().wake().await.is_err() {
                        return End::RouterGone;
                    },
                    Ok(Drawn::Nothing) => {}
                    Err(_) => return End::RouterGone,
                }
                // the router's channel does not take part in tokio's fairness
                tokio::task::coop::consume_budget().await;
            }
            () = tokio::time::sleep_until(wake) => if let Some(end) = clock.over() {
                return end;
            },
        }
    }
}

/// Says that nothing more comes, and stays until the monitor has hung up: an acknowledgement that meets a closed socket
/// resets the connection, and with it goes what the monitor has not read yet.
async fn part<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(reader: &mut R, writer: &mut W, late: &mut BytesMut) -> std::io::Result<()> {
    writer.shutdown().await?;
    loop {
        late.clear();
        if reader.read_buf(late).await? == 0 {
            return Ok(());
        }
    }
}

fn read_all(core: &Core, monitor: &mut Monitor, bytes: &mut BytesMut) -> Result<(), End> {
    while monitor.may_read() {
        let Some(packet) = wire::next(bytes, core.limits.packet_bytes)? else { return Ok(()) };
        monitor.on_packet(packet, || core.snapshot())?;
    }
    Ok(())
}

/// Writes some bytes, or flushes when there are none; true when a flush is still to come.
async fn write_some<W: AsyncWrite + Unpin>(writer: &mut W, out: &mut BytesMut) -> std::io::Result<bool> {
    if out.is_empty() {
        writer.flush().await?;
        return Ok(false);
    }
    match writer.write_buf(out).await? {
        0 => Err(std::io::ErrorKind::WriteZero.into()),
        _ => Ok(true),
    }
}

/// The two clocks of a conversation: how long the monitor was silent, and how long it took nothing.
struct Clock {
    /// One and a half times the keepalive (section 3.1.2.10).
    silence: Option<Duration>,
    stall: Duration,
    heard: Instant,
    /// Since when something has been waiting without any of it being taken.
    waiting: Option<Instant>,
}

impl Clock {
    fn new(keepalive: u16, stall: Duration) -> Clock {
        let silence = (keepalive > 0).then(|| Duration::from_millis(u64::from(keepalive) * 1500));
        Clock { silence, stall, heard: Instant::now(), waiting: None }
    }

    fn heard(&mut self) {
        self.heard = Instant::now();
    }

    fn taken(&mut self) {
        self.waiting = None;
    }

    fn pending(&mut self, pending: bool, may_read: bool) {
        if !pending {
            self.waiting = None;
        } else if self.waiting.is_none() {
            self.waiting = Some(Instant::now());
        }
        if !may_read {
            // we do not listen, so its silence proves nothing; the other clock runs
            self.heard = Instant::now();
        }
    }

    fn next(&self) -> Instant {
        let silent = self.silence.map(|silence| self.heard + silence);
        let stalled = self.waiting.map(|since| since + self.stall);
        [silent, stalled].into_iter().flatten().min().unwrap_or_else(|| Instant::now() + IDLE)
    }

    fn over(&self) -> Option<End> {
        let now = Instant::now();
        if self.waiting.is_some_and(|since| now >= since + self.stall) {
            return Some(End::TooSlow);
        }
        self.silence.is_some_and(|silence| now >= self.heard + silence).then_some(End::Silent)
    }
}

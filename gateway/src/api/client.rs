//! The asking side of the local API.

use std::{path::Path, path::PathBuf, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Request, Response, StatusCode, body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::{
    net::UnixStream,
    task::JoinHandle,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use segel_drivers::SealId;
use serde::de::DeserializeOwned;

use super::{ANSWER_DEADLINE, ApiError, Ask, AskSeal, CalledOff, SOCKET};
use crate::{
    archive::{Demand, Older, errand::Line},
    config::SEALS_FILE_MAX_BYTES,
    sessions::{self, CallOff, End, Errand, list::SealLine},
    status::Status,
};

/// Longest answer a client takes, in bytes; a status of 200 readers has some 60 KiB.
const ANSWER_MAX: usize = 1024 * 1024;
/// Longest list of seals, in bytes: sixteen times what the register may have, for a seal's line is some 700 bytes and its
/// entry in the register no less than 60.
const LIST_MAX: usize = 128 << 20;
const _: () = assert!(LIST_MAX as u64 == 16 * SEALS_FILE_MAX_BYTES);
/// As many seals as the register may hold are read, written and sent within this.
const LIST_DEADLINE: Duration = Duration::from_secs(30);
/// Pause before an order that the gate does not find under way is called off once more: its end is about to come.
const CALL_OFF_AGAIN: Duration = Duration::from_millis(500);
/// Longest line of a long answer, in bytes; it holds some digests and a path.
const LINE_MAX: usize = 64 * 1024;
/// The gate sends a line every two seconds; after this long without one it is stuck.
const LINE_DEADLINE: Duration = Duration::from_secs(20);

/// Asks the gate at this runtime directory how it is.
///
/// # Errors
/// When nobody answers there, or not in time, or not with a status.
pub async fn ask_status(runtime_dir: &Path) -> Result<Status, ApiError> {
    get(runtime_dir, "/v1/status", (ANSWER_MAX, ANSWER_DEADLINE)).await
}

/// Asks the gate at this runtime directory what it knows of its seals.
///
/// # Errors
/// When nobody answers there, or not in time, or not with a list.
pub async fn ask_seals(runtime_dir: &Path) -> Result<Vec<SealLine>, ApiError> {
    get(runtime_dir, "/v1/seals", (LIST_MAX, LIST_DEADLINE)).await
}

async fn get<T: DeserializeOwned>(runtime_dir: &Path, route: &str, bounds: (usize, Duration)) -> Result<T, ApiError> {
    ask(runtime_dir, Request::get(route).header("host", "segel").body(Full::default()), bounds).await
}

/// A question with one answer.
async fn ask<T: DeserializeOwned>(
    runtime_dir: &Path,
    request: hyper::http::Result<Request<Full<Bytes>>>,
    (most, deadline): (usize, Duration),
) -> Result<T, ApiError> {
    let asking = async {
        let asked = Asked::send(runtime_dir, request).await?;
        asked.whole(most).await
    };
    let path = runtime_dir.join(SOCKET);
    let answer = |reason: String| ApiError::Answer { path: path.clone(), reason };
    let (code, body) = timeout(deadline, asking).await.map_err(|_| answer(format!("none within {} s", deadline.as_secs())))??;
    if code != StatusCode::OK {
        return Err(answer(format!("{code}: {}", String::from_utf8_lossy(&body))));
    }
    serde_json::from_slice(&body).map_err(|error| answer(error.to_string()))
}

/// Asks the gate at this runtime directory for long work, and tells every line of its answer; returns the last one.
/// When `stop` says so the connection is closed, the gate stops at its next safe point, and there is no last line.
///
/// # Errors
/// When nobody answers there, the gate refuses or is at such work already, or falls silent.
pub async fn demand(
    runtime_dir: &Path,
    demand: Demand,
    stop: &CancellationToken,
    mut tell: impl FnMut(&Line),
) -> Result<Option<Line>, ApiError> {
    let (route, ask) = match demand {
        Demand::Archive(older) => ("/v1/journal/archive", Some(Ask { older_than_s: seconds(older) })),
        Demand::Compact => ("/v1/journal/compact", None),
    };
    let body = ask.map_or_else(Bytes::new, |ask| Bytes::from(serde_json::to_vec(&ask).expect("a number always becomes JSON")));
    let request = Request::post(route).header("host", "segel").header("content-type", "application/json").body(Full::from(body));
    let mut lines = Lines::<Line>::of(runtime_dir, request).await?;
    let mut last = None;
    loop {
        let line = tokio::select! {
            line = lines.next() => line?,
            () = stop.cancelled() => return Ok(None),
        };
        let Some(line) = line else { break };
        tell(&line);
        last = Some(line);
    }
    match last {
        Some(Line::Archived(_) | Line::Compacted(_) | Line::Failed { .. }) => Ok(last),
        _ => Err(lines.asked.answer("it ended before it said how".to_owned())),
    }
}

/// What is asked of a seal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// The seal.
    pub seal: SealId,
    /// What.
    pub errand: Errand,
    /// By when it must be done or not begun.
    pub within: Duration,
}

/// How an order went, as far as whoever asked stayed to see it.
#[derive(Debug, Clone, PartialEq)]
pub enum Ordered {
    /// It ended.
    Ended(End),
    /// It was to be called off, and was past that.
    GoesOn {
        /// Its name in the journal.
        command: String,
    },
    /// It was broken off before the gate had named it; the gate calls off what nobody waits for.
    Left,
}

/// Asks something of a seal of the gate at this runtime directory, and tells every line. When `stop` says so it is called
/// off; where that is too late it goes on without us.
///
/// # Errors
/// When nobody answers there, the gate refuses, or falls silent.
pub async fn order(
    runtime_dir: &Path,
    order: &Order,
    stop: &CancellationToken,
    mut tell: impl FnMut(&sessions::Line),
) -> Result<Ordered, ApiError> {
    let body = serde_json::to_vec(&AskSeal { within_s: order.within.as_secs() }).expect("a number always becomes JSON");
    let request = Request::post(format!("/v1/seals/{}/{}", order.seal, order.errand.as_str()));
    let request = request.header("host", "segel").header("content-type", "application/json").body(Full::from(body));
    let mut lines = tokio::select! {
        lines = Lines::<sessions::Line>::of(runtime_dir, request) => lines?,
        () = stop.cancelled() => return Ok(Ordered::Left),
    };
    let (mut command, mut called_off, mut pause) = (None::<String>, false, Duration::ZERO);
    let may_go_on = |command: &Option<String>, fault: ApiError| match command {
        Some(command) => ApiError::MayGoOn { command: command.clone(), reason: fault.to_string() },
        None => fault,
    };
    loop {
        let line = tokio::select! {
            line = lines.next() => line.map_err(|fault| may_go_on(&command, fault))?,
            () = after(stop, pause), if !called_off => {
                let Some(name) = command.clone() else { return Ok(Ordered::Left) };
                let request = Request::post(format!("/v1/actions/{name}/call-off")).header("host", "segel").body(Full::default());
                let asked = ask::<CalledOff>(runtime_dir, request, (ANSWER_MAX, ANSWER_DEADLINE)).await;
                match asked.map_err(|fault| may_go_on(&command, fault))?.outcome {
                    CallOff::GoesOn => return Ok(Ordered::GoesOn { command: name }),
                    // Its last line says so.
                    CallOff::CalledOff => called_off = true,
                    // It has ended, and its last line is on its way; or it is between two states.
                    CallOff::NotUnderWay => pause = CALL_OFF_AGAIN,
                }
                continue;
            }
        };
        match line {
            Some(sessions::Line::Ended(end)) => return Ok(Ordered::Ended(end)),
            Some(line) => {
                if let sessions::Line::Accepted { command: name, .. } = &line {
                    command = Some(name.clone());
                }
                tell(&line);
            }
            None => return Err(may_go_on(&command, lines.asked.answer("it ended before it said how".to_owned()))),
        }
    }
}

/// Once told to stop, and this much later.
async fn after(stop: &CancellationToken, pause: Duration) {
    stop.cancelled().await;
    sleep(pause).await;
}

/// A long answer, line by line.
struct Lines<L> {
    asked: Asked,
    rest: Vec<u8>,
    kind: std::marker::PhantomData<fn() -> L>,
}

impl<L: DeserializeOwned> Lines<L> {
    async fn of(runtime_dir: &Path, request: hyper::http::Result<Request<Full<Bytes>>>) -> Result<Self, ApiError> {
        let path = runtime_dir.join(SOCKET);
        let answer = |reason: String| ApiError::Answer { path: path.clone(), reason };
        let asking = timeout(ANSWER_DEADLINE, Asked::send(runtime_dir, request));
        let asked = asking.await.map_err(|_| answer(format!("none within {} s", ANSWER_DEADLINE.as_secs())))??;
        if asked.response.status() == StatusCode::OK {
            return Ok(Self { asked, rest: Vec::new(), kind: std::marker::PhantomData });
        }
        let (code, body) =
            timeout(ANSWER_DEADLINE, asked.whole(ANSWER_MAX)).await.map_err(|_| answer("it was not finished".to_owned()))??;
        let reason = String::from_utf8_lossy(&body).into_owned();
        let refused = matches!(code, StatusCode::CONFLICT | StatusCode::NOT_FOUND | StatusCode::FORBIDDEN) && !reason.is_empty();
        Err(if refused { ApiError::Refused { reason } } else { answer(format!("{code}: {reason}")) })
    }

    /// The next line; none when there are no more. Safe to cancel.
    async fn next(&mut self) -> Result<Option<L>, ApiError> {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                return serde_json::from_slice(&line).map(Some).map_err(|fault| self.asked.answer(fault.to_string()));
            }
            if self.rest.len() > LINE_MAX {
                return Err(self.asked.answer("a line without end".to_owned()));
            }
            let frame = timeout(LINE_DEADLINE, self.asked.response.frame()).await;
            let frame = frame.map_err(|_| self.asked.answer(format!("it was silent for {} s", LINE_DEADLINE.as_secs())))?;
            let Some(frame) = frame else { return Ok(None) };
            if let Ok(bytes) = frame.map_err(|fault| self.asked.answer(format!("it broke off: {fault}")))?.into_data() {
                self.rest.extend_from_slice(&bytes);
            }
        }
    }
}

/// As the API counts it: whole seconds, and 0 for all.
fn seconds(older: Older) -> u64 {
    match older {
        Older::All => 0,
        Older::Ripe(than) | Older::Than(than) => than.as_secs().max(1),
    }
}

/// A question that is being answered. Dropped, the connection is closed.
struct Asked {
    path: PathBuf,
    response: Response<Incoming>,
    driver: JoinHandle<hyper::Result<()>>,
}

impl Asked {
    async fn send(runtime_dir: &Path, request: hyper::http::Result<Request<Full<Bytes>>>) -> Result<Self, ApiError> {
        let path = runtime_dir.join(SOCKET);
        let stream = UnixStream::connect(&path).await.map_err(|source| ApiError::Connect { path: path.clone(), source })?;
        let answer = |reason: String| ApiError::Answer { path: path.clone(), reason };
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|fault| answer(fault.to_string()))?;
        let driver = tokio::spawn(connection);
        let request = request.expect("a fixed path and fixed headers are a request");
        match sender.send_request(request).await {
            Ok(response) => Ok(Self { path, response, driver }),
            Err(fault) => {
                driver.abort();
                Err(answer(fault.to_string()))
            }
        }
    }

    fn answer(&self, reason: String) -> ApiError {
        ApiError::Answer { path: self.path.clone(), reason }
    }

    async fn whole(mut self, most: usize) -> Result<(StatusCode, Bytes), ApiError> {
        let code = self.response.status();
        let body = Limited::new(self.response.body_mut(), most).collect().await;
        let body = body.map_err(|fault| ApiError::Answer { path: self.path.clone(), reason: fault.to_string() })?;
        Ok((code, body.to_bytes()))
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::{
        Json, Router,
        body::Body,
        http,
        routing::{get, post},
    };
    use futures_util::stream;
    use tokio::net::UnixListener;

    use super::*;

    fn serve(router: Router) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(dir.path().join(SOCKET)).unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        dir
    }

    fn lock() -> Order {
        Order { seal: "SGL-1".parse().unwrap(), errand: Errand::Lock, within: Duration::from_secs(20) }
    }

    /// Takes every order under a name, and never says how it ends.
    async fn taken() -> Body {
        let line = r#"{"line":"accepted","command":"c-1","seal":"SGL-1","action":"lock"}"#;
        let first = stream::iter([Ok::<_, std::convert::Infallible>(Bytes::from(format!("{line}\n")))]);
        Body::from_stream(futures_util::StreamExt::chain(first, stream::pending()))
    }

    #[tokio::test]
    async fn five_thousand_registered_seals_are_listed() {
        let one = serde_json::json!({
            "seal": "SGL-1", "protocol": "nokelock", "security": "weak", "reason": "r".repeat(300), "heardAgoMs": null, "rssiDbm": null,
            "adapter": null, "presence": null, "says": {}, "complaints": [], "sealCondition": null, "assurance": null,
            "contradictsEvidence": [], "eventDateTime": null, "container": null, "hasKey": false, "hasPassword": false, "storedEvents": null,
        });
        let all = vec![one; 5_000];
        assert!(serde_json::to_vec(&all).unwrap().len() > ANSWER_MAX);
        let dir = serve(Router::new().route("/v1/seals", get(|| async { Json(all) })));
        assert_eq!(ask_seals(dir.path()).await.unwrap().len(), 5_000);
    }

    #[tokio::test]
    async fn a_call_off_that_fails_names_the_order_and_says_that_it_may_go_on() {
        let off = post(|| async { http::StatusCode::INTERNAL_SERVER_ERROR });
        let dir = serve(Router::new().route("/v1/seals/{seal}/{errand}", post(taken)).route("/v1/actions/{command}/call-off", off));
        let stop = CancellationToken::new();
        let fault = order(dir.path(), &lock(), &stop, |_| stop.cancel()).await.unwrap_err();
        assert!(matches!(&fault, ApiError::MayGoOn { command, .. } if command == "c-1"), "{fault}");
    }

    #[tokio::test]
    async fn what_was_not_found_under_way_is_called_off_again() {
        let asked = std::sync::Arc::new(AtomicUsize::new(0));
        let off = post(move || async move {
            let outcome = if asked.fetch_add(1, Ordering::SeqCst) == 0 { CallOff::NotUnderWay } else { CallOff::GoesOn };
            Json(CalledOff { outcome })
        });
        let dir = serve(Router::new().route("/v1/seals/{seal}/{errand}", post(taken)).route("/v1/actions/{command}/call-off", off));
        let stop = CancellationToken::new();
        let ended = timeout(Duration::from_secs(15), order(dir.path(), &lock(), &stop, |_| stop.cancel())).await.unwrap();
        assert_eq!(ended.unwrap(), Ordered::GoesOn { command: "c-1".to_owned() });
    }

    #[tokio::test]
    async fn an_order_can_be_left_before_it_has_a_name() {
        let dir = serve(Router::new().route("/v1/seals/{seal}/{errand}", post(std::future::pending::<http::StatusCode>)));
        let stop = CancellationToken::new();
        stop.cancel();
        assert_eq!(order(dir.path(), &lock(), &stop, |_| {}).await.unwrap(), Ordered::Left);
    }
}

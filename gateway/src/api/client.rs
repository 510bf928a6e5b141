//! The asking side of the local API.

use std::{path::Path, path::PathBuf, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Request, Response, StatusCode, body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::{net::UnixStream, task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;

use super::{ANSWER_DEADLINE, ApiError, Ask, SOCKET};
use crate::{
    archive::{Demand, Older, errand::Line},
    status::Status,
};

/// Longest answer a client takes, in bytes; a status of 200 readers has some 60 KiB.
const ANSWER_MAX: usize = 1024 * 1024;
/// Longest line of a long answer, in bytes; it holds some digests and a path.
const LINE_MAX: usize = 64 * 1024;
/// The gate sends a line every two seconds; after this long without one it is stuck.
const LINE_DEADLINE: Duration = Duration::from_secs(20);

/// Asks the gate at this runtime directory how it is.
///
/// # Errors
/// When nobody answers there, or not in time, or not with a status.
pub async fn ask_status(runtime_dir: &Path) -> Result<Status, ApiError> {
    let request = Request::get("/v1/status").header("host", "segel").body(Full::default());
    let asking = async {
        let asked = Asked::send(runtime_dir, request).await?;
        asked.whole().await
    };
    let path = runtime_dir.join(SOCKET);
    let answer = |reason: String| ApiError::Answer { path: path.clone(), reason };
    let (code, body) =
        timeout(ANSWER_DEADLINE, asking).await.map_err(|_| answer(format!("none within {} s", ANSWER_DEADLINE.as_secs())))??;
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
    let path = runtime_dir.join(SOCKET);
    let answer = |reason: String| ApiError::Answer { path: path.clone(), reason };
    let asking = timeout(ANSWER_DEADLINE, Asked::send(runtime_dir, request));
    let mut asked = asking.await.map_err(|_| answer(format!("none within {} s", ANSWER_DEADLINE.as_secs())))??;
    if asked.response.status() != StatusCode::OK {
        let (code, body) = timeout(ANSWER_DEADLINE, asked.whole()).await.map_err(|_| answer("it was not finished".to_owned()))??;
        let reason = String::from_utf8_lossy(&body).into_owned();
        return Err(if code == StatusCode::CONFLICT { ApiError::Refused { reason } } else { answer(format!("{code}: {reason}")) });
    }
    let mut rest = Vec::new();
    let mut last = None;
    loop {
        let frame = tokio::select! {
            frame = timeout(LINE_DEADLINE, asked.response.frame()) => frame,
            () = stop.cancelled() => return Ok(None),
        };
        let frame = frame.map_err(|_| answer(format!("it was silent for {} s", LINE_DEADLINE.as_secs())))?;
        let Some(frame) = frame else { break };
        let Ok(bytes) = frame.map_err(|fault| answer(format!("it broke off: {fault}")))?.into_data() else { continue };
        rest.extend_from_slice(&bytes);
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = rest.drain(..=end).collect();
            let line: Line = serde_json::from_slice(&line).map_err(|fault| answer(fault.to_string()))?;
            tell(&line);
            last = Some(line);
        }
        if rest.len() > LINE_MAX {
            return Err(answer("a line without end".to_owned()));
        }
    }
    match last {
        Some(Line::Archived(_) | Line::Compacted(_) | Line::Failed { .. }) => Ok(last),
        _ => Err(answer("it ended before it said how".to_owned())),
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

    async fn whole(mut self) -> Result<(StatusCode, Bytes), ApiError> {
        let code = self.response.status();
        let body = Limited::new(self.response.body_mut(), ANSWER_MAX).collect().await;
        let body = body.map_err(|fault| ApiError::Answer { path: self.path.clone(), reason: fault.to_string() })?;
        Ok((code, body.to_bytes()))
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

//! The seals over the socket: the list, and what may be asked of one, told line by line while it goes on.
//!
//! What must hold: an unlock cannot be expressed here; whoever goes away calls off what was not written yet; who asked is
//! what the system says of the other end, never what it says of itself.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::{ConnectInfo, DefaultBodyLimit, Path, State, connect_info::Connected},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
    serve::IncomingStream,
};
use futures_util::stream;
use segel_drivers::SealId;
use serde::{Deserialize, Serialize};
use tokio::{net::UnixListener, time::timeout};

use super::long::SIGN_OF_LIFE;
use crate::{
    journal::JournalReader,
    sessions::{CallOff, Errand, Line, NoErrand, Order, Refusal, Sessions, WITHIN, Who, list::SealLine},
};

/// Longest body of a question about a seal, in bytes: it holds one number.
const BODY_MAX: usize = 4 << 10;

/// What somebody asks of a seal beside the word in the address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AskSeal {
    /// By when it must be done or not begun, in seconds from now.
    #[serde(default = "usual")]
    pub within_s: u64,
}

fn usual() -> u64 {
    WITHIN.1.as_secs()
}

impl Default for AskSeal {
    fn default() -> Self {
        Self { within_s: usual() }
    }
}

/// What became of calling something off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CalledOff {
    /// In one word.
    pub outcome: CallOff,
}

/// The other end of the socket, as the system knows it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer(Who);

impl Connected<IncomingStream<'_, UnixListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, UnixListener>) -> Self {
        let peer = stream.io().peer_cred().ok();
        Self(Who { uid: peer.as_ref().map(tokio::net::unix::UCred::uid), pid: peer.as_ref().and_then(tokio::net::unix::UCred::pid) })
    }
}

/// What the routes need.
#[derive(Debug, Clone)]
pub(super) struct Seals {
    pub(super) sessions: Arc<Sessions>,
    pub(super) reader: Arc<Mutex<JournalReader>>,
}

/// The routes.
pub(super) fn routes(seals: Seals) -> Router {
    Router::new()
        .route("/v1/seals", get(list))
        .route("/v1/seals/{seal}/{errand}", post(ask))
        .route("/v1/actions/{command}/call-off", post(call_off))
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .with_state(seals)
}

async fn list(State(seals): State<Seals>) -> Result<Json<Vec<SealLine>>, (StatusCode, String)> {
    let fault = |reason: String| (StatusCode::INTERNAL_SERVER_ERROR, reason);
    let read = tokio::task::spawn_blocking(move || seals.sessions.list(&seals.reader.lock().unwrap_or_else(PoisonError::into_inner)));
    read.await.map_err(|error| fault(error.to_string()))?.map(Json).map_err(|error| fault(error.to_string()))
}

async fn ask(
    State(seals): State<Seals>,
    ConnectInfo(Peer(who)): ConnectInfo<Peer>,
    Path((seal, errand)): Path<(String, String)>,
    body: Bytes,
) -> Response {
    let refuse = |code: StatusCode, why: String| (code, why).into_response();
    let errand = match errand.parse::<Errand>() {
        Ok(errand) => errand,
        Err(why @ NoErrand::Unlock) => return refuse(StatusCode::FORBIDDEN, why.to_string()),
        Err(why @ NoErrand::Unknown(_)) => return refuse(StatusCode::NOT_FOUND, why.to_string()),
    };
    let seal = match seal.parse::<SealId>() {
        Ok(seal) => seal,
        Err(why) => return refuse(StatusCode::NOT_FOUND, why.to_string()),
    };
    let ask = if body.is_empty() { Ok(AskSeal::default()) } else { serde_json::from_slice::<AskSeal>(&body) };
    let within = match ask {
        Ok(ask) => Duration::from_secs(ask.within_s),
        Err(why) => return refuse(StatusCode::BAD_REQUEST, format!("the body is not {{\"within_s\": 120}}: {why}")),
    };
    match seals.sessions.begin(Order { seal, errand, within, who }).await {
        Ok(lines) => streamed(lines),
        Err(why) => refuse(code(&why), why.to_string()),
    }
}

fn code(why: &Refusal) -> StatusCode {
    match why {
        Refusal::UnknownSeal(_) => StatusCode::NOT_FOUND,
        Refusal::Within => StatusCode::BAD_REQUEST,
        Refusal::NoReceipt(_) | Refusal::NotKept(_) | Refusal::Busy | Refusal::Stopping => StatusCode::CONFLICT,
    }
}

fn streamed(lines: tokio::sync::mpsc::Receiver<Line>) -> Response {
    let lines = stream::unfold(lines, |mut lines| async {
        let line = match timeout(SIGN_OF_LIFE, lines.recv()).await {
            Ok(line) => line?,
            Err(_) => Line::Waiting,
        };
        let mut text = serde_json::to_vec(&line).expect("names, numbers and texts always become JSON");
        text.push(b'\n');
        Some((Ok::<_, Infallible>(Bytes::from(text)), lines))
    });
    ([(header::CONTENT_TYPE, "application/jsonl")], Body::from_stream(lines)).into_response()
}

async fn call_off(State(seals): State<Seals>, Path(command): Path<String>) -> Json<CalledOff> {
    Json(CalledOff { outcome: seals.sessions.call_off(&command).await })
}

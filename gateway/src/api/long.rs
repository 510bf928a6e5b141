//! Long work asked for over the socket, told line by line while it goes on.
//!
//! What must hold: whoever goes away stops it, at the next safe point; the answer's last line says how it ended; a
//! line comes at least every few seconds, so that a client knows the gate lives and the gate that the client does.

use std::{convert::Infallible, time::Duration};

use axum::{
    Json,
    body::{Body, Bytes},
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use futures_util::stream;
use serde::{Deserialize, Serialize};
use tokio::{sync::mpsc, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::archive::{
    Demand, Housekeeping, Older,
    errand::{Errand, LINES, Line},
};

/// A line is sent at least this often.
pub(super) const SIGN_OF_LIFE: Duration = Duration::from_secs(2);

/// What the long work needs.
#[derive(Debug, Clone)]
pub(super) struct Long {
    pub(super) housekeeping: Housekeeping,
    pub(super) stop: CancellationToken,
}

/// What somebody asks to be archived.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ask {
    /// Delivered events older than this, in seconds; 0 or absent for all that are delivered.
    #[serde(default)]
    pub older_than_s: u64,
}

impl Ask {
    /// Which events that are.
    #[must_use]
    pub const fn older(self) -> Older {
        if self.older_than_s == 0 { Older::All } else { Older::Than(Duration::from_secs(self.older_than_s)) }
    }
}

pub(super) async fn archive(State(long): State<Long>, ask: Option<Json<Ask>>) -> Response {
    let ask = ask.map_or_else(Ask::default, |Json(ask)| ask);
    begin(&long, Demand::Archive(ask.older()))
}

pub(super) async fn compact(State(long): State<Long>) -> Response {
    begin(&long, Demand::Compact)
}

fn begin(long: &Long, demand: Demand) -> Response {
    let turn = match long.housekeeping.begin() {
        Ok(turn) => turn,
        Err(busy) => return (StatusCode::CONFLICT, busy.to_string()).into_response(),
    };
    let (listener, lines) = mpsc::channel(LINES);
    let errand = Errand::prompt(long.stop.clone(), listener);
    let housekeeping = long.housekeeping.clone();
    tokio::spawn(async move { housekeeping.perform(turn, demand, &errand).await });
    let lines = stream::unfold(lines, |mut lines| async {
        let line = match timeout(SIGN_OF_LIFE, lines.recv()).await {
            Ok(line) => line?,
            Err(_) => Line::Waiting,
        };
        let mut text = serde_json::to_vec(&line).expect("numbers, digests and texts always become JSON");
        text.push(b'\n');
        Some((Ok::<_, Infallible>(Bytes::from(text)), lines))
    });
    ([(header::CONTENT_TYPE, "application/jsonl")], Body::from_stream(lines)).into_response()
}

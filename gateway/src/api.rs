//! The one local API: HTTP on a Unix socket in the runtime directory, for the command line and the page to come.
//!
//! ```text
//!   GET  /v1/status           -> Status
//!   POST /v1/journal/archive  {"older_than_s": 2592000}  -> lines of JSON, the last one says how it ended
//!   POST /v1/journal/compact  {}                         -> the same
//!   GET  /v1/seals                                       -> every registered seal
//!   POST /v1/seals/{id}/{read|lock|drain|set-time}  {"within_s": 120}  -> lines of JSON, the last one says how it ended
//!   POST /v1/actions/{command}/call-off                  -> called off, or it goes on
//! ```
//!
//! Whoever may open the socket (mode 0660: the service's user and group) may ask. Nothing recorded can be changed here;
//! the two long ones move what is delivered to the archive and give space back, one at a time. When the client goes
//! away they stop at the next safe point. A seal can be read, locked, drained and set; it cannot be opened from here.

mod client;
mod long;
mod seals;

use std::{
    io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    routing::{get, post},
};
use tokio::net::UnixListener;
use tokio_util::sync::CancellationToken;

pub use client::{Order, Ordered, ask_seals, ask_status, demand, order};
pub use long::Ask;
pub use seals::{AskSeal, CalledOff};

use crate::{
    archive::Housekeeping,
    journal::JournalReader,
    sessions::Sessions,
    status::{Board, Status},
};

/// The socket's name in the runtime directory.
pub const SOCKET: &str = "api.sock";
/// The daemon answers from memory and a few rows; after this long it is stuck.
pub(crate) const ANSWER_DEADLINE: Duration = Duration::from_secs(5);

/// Why the local API does not work.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The socket cannot be made.
    #[error("cannot listen on {path}: see that its directory exists, belongs to the service's user and has space")]
    Bind {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Nobody answers there.
    #[error("no gate answers at {path}: is `segel run` running, with this runtime_dir, and may you read its socket?")]
    Connect {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It answers something else.
    #[error("the gate at {path} gave no usable answer: {reason}; are daemon and command of the same version?")]
    Answer {
        /// The socket.
        path: PathBuf,
        /// What was wrong.
        reason: String,
    },
    /// It took an order, and what became of it was not heard here.
    #[error(
        "what became of {command} was not heard ({reason}); it may go on: look in the journal for ACTION_ENDED with this commandId, and at the seal"
    )]
    MayGoOn {
        /// Its name in the journal.
        command: String,
        /// What was wrong.
        reason: String,
    },
    /// It understood and will not.
    #[error("the gate refuses: {reason}")]
    Refused {
        /// Why, and what to do.
        reason: String,
    },
}

/// The serving side.
#[derive(Debug)]
pub struct Api {
    listener: UnixListener,
    path: PathBuf,
    board: Arc<Mutex<Board>>,
    housekeeping: Housekeeping,
    seals: seals::Seals,
}

impl Api {
    /// Binds the socket, replacing one that a killed process left behind.
    ///
    /// The journal's lock has been taken by then, so a socket that is there belongs to nobody.
    ///
    /// # Errors
    /// When the socket cannot be made.
    pub fn bind(
        runtime_dir: &Path,
        board: Arc<Mutex<Board>>,
        housekeeping: Housekeeping,
        (sessions, reader): (Arc<Sessions>, JournalReader),
    ) -> Result<Self, ApiError> {
        let path = runtime_dir.join(SOCKET);
        let fault = |source| ApiError::Bind { path: path.clone(), source };
        std::fs::create_dir_all(runtime_dir).map_err(fault)?;
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(fault(error)),
            _ => {}
        }
        let listener = UnixListener::bind(&path).map_err(fault)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o660)).map_err(fault)?;
        let seals = seals::Seals { sessions, reader: Arc::new(Mutex::new(reader)) };
        Ok(Self { listener, path, board, housekeeping, seals })
    }

    /// Answers until told to stop; what is long then ends at its next safe point.
    pub async fn run(self, stop: CancellationToken) {
        let long = long::Long { housekeeping: self.housekeeping, stop: stop.clone() };
        let router = Router::new().route("/v1/status", get(status)).with_state(self.board).merge(
            Router::new()
                .route("/v1/journal/archive", post(long::archive))
                .route("/v1/journal/compact", post(long::compact))
                .with_state(long),
        );
        let router = router.merge(seals::routes(self.seals)).into_make_service_with_connect_info::<seals::Peer>();
        let serving = axum::serve(self.listener, router).with_graceful_shutdown(stop.cancelled_owned());
        if let Err(fault) = serving.await {
            tracing::error!(%fault, "the local API has ended");
        }
        if let Err(fault) = std::fs::remove_file(&self.path) {
            tracing::debug!(%fault, "the socket was gone already");
        }
    }
}

async fn status(State(board): State<Arc<Mutex<Board>>>) -> Result<Json<Status>, (StatusCode, String)> {
    let fault = |reason: String| (StatusCode::INTERNAL_SERVER_ERROR, reason);
    let read = tokio::task::spawn_blocking(move || board.lock().unwrap_or_else(PoisonError::into_inner).status());
    let status = read.await.map_err(|error| fault(error.to_string()))?;
    status.map(Json).map_err(|error| fault(error.to_string()))
}

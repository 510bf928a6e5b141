//! The one local API: HTTP on a Unix socket in the runtime directory, for the command line and the page to come.
//!
//! `GET /v1/status` answers with a [`Status`]. Whoever may open the socket (mode 0660: the service's user and group)
//! may ask; nothing can be changed here.

use std::{
    io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{Json, Router, extract::State, http::StatusCode, routing::get};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{UnixListener, UnixStream},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use crate::status::{Board, Status};

/// The socket's name in the runtime directory.
pub const SOCKET: &str = "api.sock";
/// Longest answer a client takes, in bytes; a status of 200 readers has some 60 KiB.
const ANSWER_MAX: usize = 1024 * 1024;
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
}

/// The serving side.
#[derive(Debug)]
pub struct Api {
    listener: UnixListener,
    path: PathBuf,
    board: Arc<Mutex<Board>>,
}

impl Api {
    /// Binds the socket, replacing one that a killed process left behind.
    ///
    /// The journal's lock has been taken by then, so a socket that is there belongs to nobody.
    ///
    /// # Errors
    /// When the socket cannot be made.
    pub fn bind(runtime_dir: &Path, board: Arc<Mutex<Board>>) -> Result<Self, ApiError> {
        let path = runtime_dir.join(SOCKET);
        let fault = |source| ApiError::Bind { path: path.clone(), source };
        std::fs::create_dir_all(runtime_dir).map_err(fault)?;
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(fault(error)),
            _ => {}
        }
        let listener = UnixListener::bind(&path).map_err(fault)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o660)).map_err(fault)?;
        Ok(Self { listener, path, board })
    }

    /// Answers until told to stop.
    pub async fn run(self, stop: CancellationToken) {
        let router = Router::new().route("/v1/status", get(status)).with_state(self.board);
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

/// Asks the gate at this runtime directory how it is.
///
/// # Errors
/// When nobody answers there, or not in time, or not with a status.
pub async fn ask_status(runtime_dir: &Path) -> Result<Status, ApiError> {
    let path = runtime_dir.join(SOCKET);
    let stream = UnixStream::connect(&path).await.map_err(|source| ApiError::Connect { path: path.clone(), source })?;
    let answer = |reason: String| ApiError::Answer { path: path.clone(), reason };
    let asked = timeout(ANSWER_DEADLINE, ask(stream, "/v1/status")).await;
    let (code, body) = asked.map_err(|_| answer(format!("none within {} s", ANSWER_DEADLINE.as_secs())))?.map_err(&answer)?;
    if code != hyper::StatusCode::OK {
        return Err(answer(format!("{code}: {}", String::from_utf8_lossy(&body))));
    }
    serde_json::from_slice(&body).map_err(|error| answer(error.to_string()))
}

async fn ask(stream: UnixStream, path: &str) -> Result<(hyper::StatusCode, Vec<u8>), String> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| e.to_string())?;
    let driver = tokio::spawn(connection);
    let request = hyper::Request::get(path).header("host", "segel").body(Empty::<bytes::Bytes>::new()).map_err(|e| e.to_string())?;
    let response = sender.send_request(request).await.map_err(|e| e.to_string())?;
    let code = response.status();
    let body = Limited::new(response.into_body(), ANSWER_MAX).collect().await.map_err(|e| e.to_string())?;
    driver.abort();
    Ok((code, body.to_bytes().to_vec()))
}

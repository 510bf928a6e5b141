//! The monitors' broker: started with the gate, and again until its address is free.
//!
//! A port in use must not keep the gate shut: it is said once, and tried again.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use segel_mqtt_bridge::broker::{Access, Broker, BrokerConfig, Limits, Users, server_config};
use tokio::{task::JoinHandle, time::sleep};
use tokio_util::sync::CancellationToken;

use super::GateError;
use crate::{config::Config, event::Source, forward::local::Local, journal::Journal};

/// How often a taken address is tried again.
const BIND_RETRY: Duration = Duration::from_secs(5);

/// Starts the broker, if there is to be one, and what shows it the journal.
pub(super) async fn start(
    config: &Config,
    source: &Source,
    journal: &Journal,
    broker: &Arc<OnceLock<Arc<Broker>>>,
    stop: &CancellationToken,
) -> Result<Option<JoinHandle<()>>, GateError> {
    if !config.broker.enabled {
        return Ok(None);
    }
    let broker_config = broker_config(config)?;
    let first = bind(&broker_config).await;
    if let Err(fault) = &first {
        tracing::error!(%fault, "monitors cannot connect; the gate works without them and tries again");
    }
    let (source, journal, broker, stop) = (source.clone(), journal.clone(), Arc::clone(broker), stop.clone());
    Ok(Some(tokio::spawn(async move {
        let bound = match first {
            Ok(bound) => Some(bound),
            Err(_) => bind_later(&broker_config, &stop).await,
        };
        let Some(bound) = bound.map(Arc::new) else { return };
        let _ = broker.set(Arc::clone(&bound));
        match Local::new(&journal, Arc::clone(&bound), &source) {
            Ok(local) => local.run(stop.clone()).await,
            Err(fault) => tracing::error!(%fault, "the monitors cannot be shown anything"),
        }
        stop.cancelled().await;
        bound.close().await;
    })))
}

async fn bind(config: &BrokerConfig) -> Result<Broker, segel_mqtt_bridge::broker::BrokerError> {
    Broker::bind(config.clone()).await
}

async fn bind_later(config: &BrokerConfig, stop: &CancellationToken) -> Option<Broker> {
    loop {
        tokio::select! {
            () = sleep(BIND_RETRY) => {}
            () = stop.cancelled() => return None,
        }
        if let Ok(bound) = bind(config).await {
            return Some(bound);
        }
    }
}

fn broker_config(config: &Config) -> Result<BrokerConfig, GateError> {
    let settings = &config.broker;
    let fault = |fault: String| GateError::Configuration(format!("[broker] {fault}"));
    let access = if settings.users.is_empty() {
        Access::Anyone
    } else {
        let users = settings.users.iter().map(|(user, hash)| (user.as_str().to_owned(), hash.expose().to_owned()));
        Access::Users(Users::new(users).map_err(|e| fault(e.to_string()))?)
    };
    let tls = match (&settings.tls_cert_file, &settings.tls_key_file) {
        (Some(cert), Some(key)) => Some(server_config(cert, key).map_err(|e| fault(e.to_string()))?),
        _ => None,
    };
    let limits = Limits { clients: settings.max_clients as usize, payload_bytes: settings.max_payload_bytes as usize, ..Limits::default() };
    Ok(BrokerConfig { listen: settings.listen, access, tls, limits })
}

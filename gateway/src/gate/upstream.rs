//! From the configuration to the link to customs.

use segel_mqtt_bridge::{
    backoff::BackoffConfig,
    tls::{IdentityFiles, TlsFiles},
    topic,
    uplink::{Announcement, Credentials, LinkStanding, Uplink, UplinkConfig},
};
use tokio::{
    sync::{oneshot, watch},
    task::JoinHandle,
};

use super::GateError;
use crate::{
    clock::Clock,
    commands::Commands,
    config::{Config, Transport, UplinkSettings},
    event::Source,
    forward::{
        gateway_topic, place,
        upstream::{Arrived, Upstream},
    },
    health::gateway_state,
    journal::Journal,
};

/// The link, and what can be seen of it.
pub(super) struct Link {
    pub(super) uplink: Uplink<Upstream, Commands>,
    pub(super) standing: watch::Receiver<LinkStanding>,
    pub(super) arrived: watch::Receiver<Arrived>,
}

/// The link, if there is to be one.
pub(super) fn uplink(config: &Config, source: &Source, journal: &Journal, clock: &Clock, run: &str) -> Result<Option<Link>, GateError> {
    let settings = &config.uplink;
    let Some(url) = settings.url.as_ref().filter(|_| settings.enabled) else {
        tracing::info!("the uplink is switched off: events stay in the journal");
        return Ok(None);
    };
    let place = place(source);
    let state = gateway_topic(&place, topic::Class::State);
    let announce = |status| Some(Announcement { topic: state.as_str().to_owned(), payload: gateway_state(status, run) });
    let link = UplinkConfig {
        credentials: credentials(settings)?,
        tls: (url.transport == Transport::Tls).then(|| tls(settings)),
        keep_alive: settings.keep_alive,
        connect_timeout: settings.connect_timeout,
        window: settings.window,
        command_filters: vec![place.every(topic::Class::Command).as_str().to_owned()],
        commands_in_progress: settings.inbox_limit as usize,
        birth: announce("ready"),
        will: announce("lost"),
        farewell: announce("disconnected"),
        backoff: BackoffConfig { floor: settings.backoff_first / 2, first: settings.backoff_first, cap: settings.backoff_cap },
        stable_after: settings.stable_after,
        ..UplinkConfig::new(url.host.clone(), url.port, settings.client_id.clone())
    };
    let outbox = Upstream::new(journal.clone(), source, settings.telemetry_share_percent)?;
    let inbox = Commands::new(journal.clone(), clock.clone())?;
    let faults = |faults: Vec<_>| GateError::Configuration(faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "));
    let arrived = outbox.arrived();
    let (uplink, standing) = Uplink::new(link, outbox, inbox).map_err(faults)?;
    Ok(Some(Link { uplink, standing, arrived }))
}

/// Runs the link on a thread of its own with a runtime of its own: its tasks hand each message to each other, and
/// between two threads that costs more than the message.
pub(super) fn start(link: impl Future<Output = ()> + Send + 'static) -> Result<JoinHandle<()>, GateError> {
    let fault = |fault: std::io::Error| GateError::Configuration(format!("no thread for the link to customs can be had: {fault}"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(fault)?;
    let (ended, end) = oneshot::channel();
    let run = move || {
        runtime.block_on(link);
        // Nobody waits any more when the gate has ended without it.
        let _ = ended.send(());
    };
    std::thread::Builder::new().name("uplink".to_owned()).spawn(run).map_err(fault)?;
    Ok(tokio::spawn(async move { drop(end.await) }))
}

fn credentials(settings: &UplinkSettings) -> Result<Option<Credentials>, GateError> {
    let Some(username) = settings.username.clone() else { return Ok(None) };
    let password = match &settings.password_file {
        None => String::new(),
        Some(file) => {
            let text = std::fs::read_to_string(file).map_err(|fault| {
                GateError::Configuration(format!("uplink.password_file {}: {fault}; let the service's user read it", file.display()))
            })?;
            text.lines().next().unwrap_or_default().to_owned()
        }
    };
    Ok(Some(Credentials { username, password }))
}

fn tls(settings: &UplinkSettings) -> TlsFiles {
    let identity = settings.cert_file.clone().zip(settings.key_file.clone());
    TlsFiles { ca: settings.ca_file.clone(), identity: identity.map(|(cert, key)| IdentityFiles { certificate: cert, key }) }
}

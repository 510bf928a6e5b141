//! What is logged, where, and in which form.
//!
//! Lines go to standard error, where the service supervisor takes them up. `auto` is text on a terminal and JSON
//! elsewhere. The MQTT libraries log the ordinary coming and going of clients as errors; what matters of it the broker
//! and the link log in their own words, so theirs are silenced.

use std::io::IsTerminal;

use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

use crate::config::{LogFormat, LogSettings};

/// Libraries whose own lines are left out.
const SILENCED: [&str; 3] = ["rumqttd=off", "rumqttc=off", "zbus=off"];

/// Starts logging.
///
/// # Errors
/// When logging was started before in this process.
pub fn start(settings: &LogSettings) -> anyhow::Result<()> {
    let directives = std::iter::once(settings.level.as_str()).chain(SILENCED).collect::<Vec<_>>().join(",");
    let registry = tracing_subscriber::registry().with(EnvFilter::try_new(directives)?);
    let terminal = std::io::stderr().is_terminal();
    let json = match settings.format {
        LogFormat::Json => true,
        LogFormat::Text => false,
        LogFormat::Auto => !terminal,
    };
    if json {
        registry.with(fmt::layer().json().flatten_event(true).with_writer(std::io::stderr)).try_init()?;
    } else {
        registry.with(fmt::layer().with_target(false).with_ansi(terminal).with_writer(std::io::stderr)).try_init()?;
    }
    Ok(())
}

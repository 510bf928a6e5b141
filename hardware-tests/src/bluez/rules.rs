//! Which client holds how many match rules, from what the bus is asked for.
//!
//! dbus-daemon tells nobody by itself, so a connection of its own watches what the others ask: a rule is counted when
//! it is added and no longer when it is removed, and a client's rules go with the client.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures_util::StreamExt;
use zbus::{Message, MessageStream};

const BUS: &str = "org.freedesktop.DBus";

/// The match rules each client of the bus holds; the emulated BlueZ itself is none.
#[derive(Debug, Clone, Default)]
pub struct Rules(Arc<Mutex<Seen>>);

#[derive(Debug, Default)]
struct Seen {
    held: BTreeMap<String, i64>,
    /// The emulator's own name on the bus.
    own: Option<String>,
}

impl Rules {
    /// By the client's unique name on the bus.
    #[must_use]
    pub fn held(&self) -> BTreeMap<String, i64> {
        let seen = self.seen();
        seen.held.iter().filter(|(client, _)| Some(*client) != seen.own.as_ref()).map(|(client, held)| (client.clone(), *held)).collect()
    }

    /// Of all clients together.
    #[must_use]
    pub fn total(&self) -> i64 {
        self.held().values().sum()
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn forget(&self) {
        *self.seen() = Seen::default();
    }

    /// Tells which of them is the emulator itself.
    pub(super) fn own(&self, name: Option<String>) {
        self.seen().own = name;
    }

    /// Watches the bus at `address` until the connection ends; ready once it watches.
    pub(super) async fn watch(&self, address: &str) -> zbus::Result<impl Future<Output = ()> + use<>> {
        let connection = zbus::connection::Builder::address(address).build().await?;
        let rules = [
            format!("type='method_call',interface='{BUS}',member='AddMatch'"),
            format!("type='method_call',interface='{BUS}',member='RemoveMatch'"),
            format!("type='signal',interface='{BUS}',member='NameOwnerChanged'"),
        ];
        // from before the first message on, or it would be missed
        let messages = MessageStream::from(&connection);
        let monitor = (rules.as_slice(), 0_u32);
        connection
            .call_method(Some(BUS), "/org/freedesktop/DBus", Some("org.freedesktop.DBus.Monitoring"), "BecomeMonitor", &monitor)
            .await?;
        let seen = self.clone();
        Ok(seen.follow(messages))
    }

    async fn follow(self, mut messages: MessageStream) {
        while let Some(Ok(message)) = messages.next().await {
            self.on_message(&message);
        }
    }

    fn on_message(&self, message: &Message) {
        let header = message.header();
        let sender = header.sender().map(ToString::to_string).unwrap_or_default();
        let held = &mut self.seen().held;
        match header.member().map(zbus::names::MemberName::as_str) {
            Some("AddMatch") => *held.entry(sender).or_default() += 1,
            Some("RemoveMatch") => *held.entry(sender).or_default() -= 1,
            Some("NameOwnerChanged") => {
                if let Ok((name, _, new)) = message.body().deserialize::<(String, String, String)>()
                    && new.is_empty()
                {
                    held.remove(&name);
                }
            }
            _ => {}
        }
    }
}

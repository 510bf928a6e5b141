//! The state of the emulated bluetoothd and what is before its antennas; no I/O.
//!
//! Calls come in, messages go out in order, and what takes time is due later. Everything that is due belongs to one
//! life of the daemon: what was begun before it died is never answered by its successor.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use segel_drivers::MacAddress;
use tokio::sync::{Notify, mpsc};
use zbus::{Message, message::Type};

use super::{
    adapter::Adapter,
    book::Book,
    fault::{Answer, Armed},
    path::Place,
    seal::Seal,
};

/// How long things take. The defaults suit tests; bluetoothd's own are told beside them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// From the call of `Connect` to the link; 150 ms to seconds in the field.
    pub connect: Duration,
    /// From the link to the services; 0.3 to 1 s.
    pub resolve: Duration,
    /// From the call of `Disconnect` to the end of the link; bluetoothd takes 2 s.
    pub disconnect: Duration,
    /// After the end of a link, how long a new one fails with `Input/output error`; the kernel takes up to 20 ms.
    pub settle: Duration,
    /// A write until it is answered; one or two connection intervals of 30 to 50 ms.
    pub write: Duration,
    /// The same of a reading.
    pub read: Duration,
    /// From the answer of a write to its notifications.
    pub notify: Duration,
    /// After the last advertisement, how long the object of a device stays; bluetoothd keeps it for 30 s.
    pub expiry: Duration,
    /// From a seal's demand to pair until the device's object goes; 30 s.
    pub pairing: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        let ms = Duration::from_millis;
        Self {
            connect: ms(10),
            resolve: ms(10),
            disconnect: ms(5),
            settle: ms(20),
            write: ms(2),
            read: ms(2),
            notify: ms(2),
            expiry: Duration::from_secs(30),
            pairing: Duration::from_secs(30),
        }
    }
}

/// What is done later.
type Job = Box<dyn FnOnce(&mut World) + Send>;

/// A call that waits for its answer.
#[derive(Debug, Clone)]
pub(super) struct Ticket {
    call: Message,
    life: u64,
    mute: bool,
}

impl Ticket {
    /// Who called.
    pub(super) fn client(&self) -> String {
        self.call.header().sender().map(ToString::to_string).unwrap_or_default()
    }

    /// Its arguments.
    pub(super) fn arguments<T: serde::de::DeserializeOwned + zbus::Type>(&self) -> Result<T, Refusal> {
        let arguments = self.call.body().deserialize_ignore_signature::<T>();
        arguments.map_err(|_| Refusal::new("org.freedesktop.DBus.Error.InvalidArgs", "Invalid arguments in method call"))
    }
}

/// An error a client is answered with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    name: String,
    text: String,
}

impl Refusal {
    pub(super) fn new(name: &str, text: &str) -> Self {
        Self { name: name.to_owned(), text: text.to_owned() }
    }

    pub(super) fn failed(text: &str) -> Self {
        Self::new("org.bluez.Error.Failed", text)
    }

    pub(super) fn not_ready() -> Self {
        Self::new("org.bluez.Error.NotReady", "Resource Not Ready")
    }

    pub(super) fn in_progress(text: &str) -> Self {
        Self::new("org.bluez.Error.InProgress", text)
    }

    pub(super) fn no_object() -> Self {
        Self::new("org.freedesktop.DBus.Error.UnknownObject", "the object does not exist")
    }
}

/// What is to be answered to a member, wherever below a path.
#[derive(Debug, Clone)]
pub(super) struct Rule {
    pub(super) member: String,
    pub(super) beneath: String,
    pub(super) answer: Answer,
}

/// Everything.
pub(super) struct World {
    pub(super) pace: Pace,
    pub(super) adapters: Vec<Adapter>,
    pub(super) seals: BTreeMap<MacAddress, Seal>,
    pub(super) rules: Armed<Rule>,
    pub(super) book: Book,
    /// Whether bluetoothd runs.
    pub(super) up: bool,
    life: u64,
    out: mpsc::UnboundedSender<Message>,
    wake: Arc<Notify>,
    due: BTreeMap<(Instant, u64), Job>,
    number: u64,
}

impl World {
    pub(super) fn new(out: mpsc::UnboundedSender<Message>, wake: Arc<Notify>) -> Self {
        Self {
            pace: Pace::default(),
            adapters: Vec::new(),
            seals: BTreeMap::new(),
            rules: Armed::default(),
            book: Book::default(),
            up: false,
            life: 0,
            out,
            wake,
            due: BTreeMap::new(),
            number: 0,
        }
    }

    /// A number nothing else has.
    pub(super) fn next_number(&mut self) -> u64 {
        self.number += 1;
        self.number
    }

    /// Does `job` after `wait`, unless bluetoothd dies before.
    pub(super) fn after(&mut self, wait: Duration, job: impl FnOnce(&mut Self) + Send + 'static) {
        let life = self.life;
        self.whatever_comes(wait, move |world| {
            if world.life == life {
                job(world);
            }
        });
    }

    /// Does `job` after `wait`, whether or not bluetoothd dies: for what seals do by themselves.
    pub(super) fn whatever_comes(&mut self, wait: Duration, job: impl FnOnce(&mut Self) + Send + 'static) {
        let at = (Instant::now() + wait, self.next_number());
        self.due.insert(at, Box::new(job));
        self.wake.notify_one();
    }

    /// Does what is due; when the next is.
    pub(super) fn on_due(&mut self, now: Instant) -> Option<Instant> {
        while let Some(entry) = self.due.first_entry() {
            if entry.key().0 > now {
                return Some(entry.key().0);
            }
            entry.remove()(self);
        }
        None
    }

    /// Sends a message, while somebody can.
    pub(super) fn send(&mut self, message: Message) {
        if self.up {
            let _ = self.out.send(message);
            self.wake.notify_one();
        }
    }

    pub(super) fn reply<B: serde::Serialize + zbus::DynamicType>(&mut self, ticket: &Ticket, body: &B) {
        if ticket.mute || ticket.life != self.life {
            return;
        }
        let reply = Message::method_return(&ticket.call.header()).build(body);
        self.send(reply.expect("what is answered here is well formed"));
    }

    pub(super) fn refuse(&mut self, ticket: &Ticket, refusal: &Refusal) {
        if ticket.mute || ticket.life != self.life {
            return;
        }
        let error = Message::error(&ticket.call.header(), refusal.name.as_str()).build(&(refusal.text.as_str(),));
        // a test may have named an error that is none
        match error {
            Ok(error) => self.send(error),
            Err(fault) => tracing::error!(%fault, name = refusal.name, "this is no name of an error; the call is not answered"),
        }
    }

    /// bluetoothd begins to run.
    pub(super) fn begin(&mut self) {
        self.life += 1;
        self.up = true;
        for adapter in 0..self.adapters.len() {
            self.announce(adapter);
        }
    }

    /// bluetoothd has died: it forgets everything, and tells nobody.
    pub(super) fn end(&mut self) {
        self.up = false;
        self.life += 1;
        for adapter in &mut self.adapters {
            adapter.forget();
        }
        for seal in self.seals.values_mut() {
            seal.linked = None;
        }
    }

    pub(super) fn on_message(&mut self, message: &Message) {
        match message.message_type() {
            Type::MethodCall => self.on_call(message),
            Type::Signal if message.header().member().is_some_and(|member| member.as_str() == "NameOwnerChanged") => {
                if let Ok((name, _, new)) = message.body().deserialize::<(String, String, String)>()
                    && new.is_empty()
                {
                    self.on_client_gone(&name);
                }
            }
            _ => {}
        }
    }

    fn on_call(&mut self, message: &Message) {
        let header = message.header();
        let path = header.path().map(ToString::to_string).unwrap_or_default();
        let member = header.member().map(ToString::to_string).unwrap_or_default();
        *self.book.calls.entry(member.clone()).or_default() += 1;
        let mut ticket = Ticket { call: message.clone(), life: self.life, mute: false };
        let rule = self.rules.strike_if(|rule| rule.member == member && path.starts_with(&rule.beneath));
        match rule.map(|rule| rule.answer) {
            None => self.act(&ticket),
            Some(Answer::Never) => {}
            Some(Answer::Mute) => {
                ticket.mute = true;
                self.act(&ticket);
            }
            Some(Answer::After(wait)) => self.after(wait, move |world| world.act(&ticket)),
            Some(Answer::Error { name, text }) => self.refuse(&ticket, &Refusal { name, text }),
        }
    }

    fn act(&mut self, ticket: &Ticket) {
        let call = ticket.call.clone();
        let header = call.header();
        let member = header.member().map(ToString::to_string).unwrap_or_default();
        let place = Place::of(header.path().map(zbus::ObjectPath::as_str).unwrap_or_default());
        let done = match (place, member.as_str()) {
            (Place::Root, "GetManagedObjects") => {
                let objects = self.objects();
                self.reply(ticket, &objects);
                Ok(())
            }
            (_, "Ping") => {
                self.reply(ticket, &());
                Ok(())
            }
            (place, "GetAll") => self.on_get_all(ticket, &place),
            (place, "Get") => self.on_get(ticket, &place),
            (place, "Introspect") => self.on_introspect(ticket, &place),
            (Place::Adapter(name), member) => self.on_adapter_call(ticket, &name, member),
            (Place::Device(name, address), "Connect") => self.on_connect(ticket, &name, address),
            (Place::Device(name, address), "Disconnect") => self.on_disconnect(ticket, &name, address),
            (Place::Gatt(name, address, handle), member) => self.on_gatt_call(ticket, (&name, address), handle, member),
            _ => Err(Refusal::new("org.freedesktop.DBus.Error.UnknownMethod", "no such method on that object")),
        };
        if let Err(refusal) = done {
            self.refuse(ticket, &refusal);
        }
    }
}

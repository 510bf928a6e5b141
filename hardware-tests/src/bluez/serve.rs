//! The emulated bluetoothd on the bus: a thread, a connection, a loop.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc as ack},
    thread::JoinHandle,
    time::Instant,
};

use futures_util::StreamExt;
use tokio::sync::{Notify, mpsc};
use zbus::{Connection, Message, MessageStream};

use super::{rules::Rules, world::World};

/// Why BlueZ cannot be emulated.
#[derive(Debug, thiserror::Error)]
pub enum BluezError {
    /// No thread, or no runtime on it.
    #[error("no thread for the emulated BlueZ; the machine has too many")]
    Thread(#[source] io::Error),
    /// The bus does not take it.
    #[error("the bus does not take the emulated BlueZ; see that it runs and that nobody else is `org.bluez` there")]
    Bus(#[source] zbus::Error),
    /// The thread has ended.
    #[error("the emulated BlueZ has ended with a fault of its own; please report it")]
    Ended,
}

/// The state, shared by the loop and what a test holds.
#[derive(Clone)]
pub(super) struct Shared(Arc<Mutex<World>>);

impl Shared {
    pub(super) fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

type Done = ack::Sender<Result<(), BluezError>>;

/// What the thread is told.
enum Order {
    Live(Done),
    Die(Done),
}

/// The thread of the emulated bluetoothd; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Daemon {
    orders: Option<mpsc::UnboundedSender<Order>>,
    thread: Option<JoinHandle<()>>,
}

impl Daemon {
    pub(super) fn spawn(address: &str, rules: Rules) -> Result<(Self, Shared), BluezError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(BluezError::Thread)?;
        let (orders, given) = mpsc::unbounded_channel();
        let (out, outgoing) = mpsc::unbounded_channel();
        let wake = Arc::new(Notify::new());
        let shared = Shared(Arc::new(Mutex::new(World::new(out, Arc::clone(&wake)))));
        let serving = Serving { address: address.to_owned(), shared: shared.clone(), given, outgoing, wake, rules };
        let thread = std::thread::Builder::new().name("bluetoothd".to_owned());
        let thread = thread.spawn(move || runtime.block_on(serving.run())).map_err(BluezError::Thread)?;
        Ok((Self { orders: Some(orders), thread: Some(thread) }, shared))
    }

    pub(super) fn live(&self) -> Result<(), BluezError> {
        self.order(Order::Live)
    }

    pub(super) fn die(&self) -> Result<(), BluezError> {
        self.order(Order::Die)
    }

    fn order(&self, order: impl FnOnce(Done) -> Order) -> Result<(), BluezError> {
        let (done, when_done) = ack::channel();
        let orders = self.orders.as_ref().ok_or(BluezError::Ended)?;
        orders.send(order(done)).map_err(|_| BluezError::Ended)?;
        when_done.recv().map_err(|_| BluezError::Ended)?
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        drop(self.orders.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Serving {
    address: String,
    shared: Shared,
    given: mpsc::UnboundedReceiver<Order>,
    outgoing: mpsc::UnboundedReceiver<Message>,
    wake: Arc<Notify>,
    rules: Rules,
}

impl Serving {
    async fn run(mut self) {
        while let Some(order) = self.given.recv().await {
            match order {
                Order::Live(done) => match self.connect().await {
                    Ok((connection, messages, watching)) => {
                        self.shared.world().begin();
                        let _ = done.send(Ok(()));
                        self.serve(&connection, messages, watching).await;
                        self.shared.world().end();
                        while self.outgoing.try_recv().is_ok() {}
                        let _ = connection.close().await;
                    }
                    Err(fault) => drop(done.send(Err(BluezError::Bus(fault)))),
                },
                Order::Die(done) => drop(done.send(Ok(()))),
            }
        }
    }

    async fn connect(&mut self) -> zbus::Result<(Connection, MessageStream, impl Future<Output = ()> + use<>)> {
        self.rules.forget();
        let watching = self.rules.watch(&self.address).await?;
        let connection = zbus::connection::Builder::address(self.address.as_str()).build().await?;
        self.rules.own(connection.unique_name().map(ToString::to_string));
        let messages = MessageStream::from(&connection);
        let rule = "type='signal',sender='org.freedesktop.DBus',member='NameOwnerChanged'";
        let bus = Some("org.freedesktop.DBus");
        connection.call_method(bus, "/org/freedesktop/DBus", bus, "AddMatch", &(rule,)).await?;
        connection.request_name("org.bluez").await?;
        Ok((connection, messages, watching))
    }

    /// Serves until it is told to die or the bus is gone.
    async fn serve(&mut self, connection: &Connection, mut messages: MessageStream, watching: impl Future<Output = ()>) {
        let mut watching = std::pin::pin!(watching);
        let mut watched = true;
        loop {
            let next = self.shared.world().on_due(Instant::now());
            while let Ok(message) = self.outgoing.try_recv() {
                if connection.send(&message).await.is_err() {
                    return;
                }
            }
            let due = async {
                match next {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                order = self.given.recv() => match order {
                    Some(Order::Live(done)) => drop(done.send(Ok(()))),
                    Some(Order::Die(done)) => {
                        self.shared.world().end();
                        let _ = done.send(Ok(()));
                        return;
                    }
                    None => return,
                },
                message = messages.next() => match message {
                    Some(Ok(message)) => self.shared.world().on_message(&message),
                    Some(Err(_)) | None => return,
                },
                () = self.wake.notified() => {}
                () = due => {}
                () = &mut watching, if watched => watched = false,
            }
        }
    }
}

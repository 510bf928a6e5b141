"""A seal one can connect to, and what can go wrong with it. The protocol is a subclass's.

Faults wait in a queue and are used up one by one, each by the next write (or, for `vanish`, the next connection):

  fine         nothing goes wrong with this one
  att CODE     the write is refused with this ATT error (0x80 to 0x9f; lower ones make bluetoothd start pairing)
  lose-before  the link is lost as the write arrives: it has no effect and no answer
  lose-after   the write has its effect, then the link is lost before it is answered
  lose-reply   the write has its effect and is answered; the link is lost before the notification
  hang         the write has no effect and is never answered
  mute         the write has its effect and is answered; the notification never comes
  twice        the notification comes twice
  late MS      the notification comes so much later
  vanish       the link is lost as soon as it stands, while services are being resolved
"""

import asyncio
import collections

from bumble import ll
from bumble.att import ATT_Error
from bumble.controller import Controller
from bumble.device import Device
from bumble.gatt import Characteristic, CharacteristicValue, Service
from bumble.host import Host
from bumble.transport.common import AsyncPipeSink

from air import NOT_CLAIMED, Sender

FAULTS = {"fine": 0, "att": 1, "lose-before": 0, "lose-after": 0, "lose-reply": 0, "hang": 0, "mute": 0, "twice": 0, "late": 1, "vanish": 0}
# Long enough for the link to stand on the other side, too short for its services to be resolved.
VANISH_AFTER = 0.003


class GattSeal(Sender):
    """One seal with a controller and a GATT server of its own."""

    def __init__(self, air, name, address, rssi, service, write, notify):
        super().__init__(air, address, rssi)
        self.name = name
        self.faults = collections.deque()
        self.writes = self.connections = 0
        self.link = None
        self.controller = Controller(name, link=air, public_address="00:00:00:00:00:00")
        self.controller.le_features &= ~NOT_CLAIMED
        self.device = Device(name=name, address=self.address, host=Host(self.controller, AsyncPipeSink(self.controller)))
        self.notify = Characteristic(
            notify,
            Characteristic.Properties.NOTIFY | Characteristic.Properties.READ,
            Characteristic.READABLE,
            CharacteristicValue(read=lambda _: self.value()),
        )
        written = Characteristic(
            write, Characteristic.Properties.WRITE, Characteristic.WRITEABLE, CharacteristicValue(write=self.on_write)
        )
        self.device.add_service(Service(service, [written, self.notify]))
        self.device.on("connection", self.on_connection)

    # What a protocol brings.

    def written(self, value):
        """A write arrived and nothing is in its way. Gives an object whose `after` says in how many seconds `finish` is due."""
        raise NotImplementedError

    def finish(self, answer, connected):
        """What `written` gave is due; gives the notifications, in order. It is due also when the link is gone by then."""
        raise NotImplementedError

    def value(self):
        """What reading the characteristic that notifies gives."""
        return b""

    def disconnected(self):
        """The link is gone; what a session held is void."""

    # The air.

    async def power_on(self):
        await self.device.power_on()
        await self.listen()

    async def listen(self):
        """Becomes connectable. The rhythm is ours, so Bumble's own timer is stopped."""
        if self.link is None:
            await self.device.start_advertising(auto_restart=False)
            timer = self.controller.le_legacy_advertiser.timer_handle
            if timer is not None:
                timer.cancel()

    def speak(self):
        if self.on_air and self.link is None and self.controller.le_legacy_advertiser.enabled and self.air.stick is not None:
            self.air.stick.on_ll_advertising_pdu(ll.AdvInd(self.address, self.advertisement()))

    def on_connection(self, connection):
        self.link = connection
        self.connections += 1
        connection.on("disconnection", self.on_disconnection)
        if self.faults and self.faults[0][0] == "vanish":
            self.faults.popleft()
            asyncio.get_running_loop().call_later(VANISH_AFTER, self.air.cut, self.controller)

    def on_disconnection(self, _reason):
        self.link = None
        self.disconnected()
        asyncio.ensure_future(self.listen())

    # Writes and their faults.

    async def on_write(self, connection, value):
        self.writes += 1
        fault, argument = (None, 0)
        if self.faults and self.faults[0][0] != "vanish":
            fault, argument = self.faults.popleft()
            print(f"{self.name}: {fault} {argument}", flush=True)
        if fault == "att":
            raise ATT_Error(argument)
        if fault == "lose-before":
            await self.lose()
        if fault == "hang":
            await asyncio.get_running_loop().create_future()
        answer = self.written(bytes(value))
        asyncio.ensure_future(self.answer(connection, answer, fault, argument))
        if fault == "lose-after":
            await self.lose()

    async def lose(self):
        self.air.cut(self.controller)
        # The write's response is never sent: there is nobody to send it to.
        await asyncio.get_running_loop().create_future()

    async def answer(self, connection, answer, fault, argument):
        if answer.after:
            await asyncio.sleep(answer.after)
        if fault == "lose-reply":
            self.air.cut(self.controller)
        notifications = self.finish(answer, self.link is connection)
        if fault == "mute":
            return
        if fault == "late":
            await asyncio.sleep(argument / 1000)
        for notification in notifications:
            for _ in range(2 if fault == "twice" else 1):
                if self.link is connection:
                    await self.device.notify_subscriber(connection, self.notify, notification)

    def add_fault(self, kind, argument=None):
        if kind not in FAULTS or (argument is not None) != bool(FAULTS[kind]):
            raise ValueError(f"{kind} {argument or ''}: one of {', '.join(FAULTS)}")
        self.faults.append((kind, int(argument, 0) if argument else 0))

    def tell(self):
        return {
            "kind": "gatt",
            "name": self.name,
            "connected": self.link is not None,
            "connections": self.connections,
            "writes": self.writes,
            "faults": [kind for kind, _ in self.faults],
        }


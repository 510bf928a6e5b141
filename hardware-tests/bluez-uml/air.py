"""The air between one USB stick and the seals: Bumble's controllers, corrected where Linux or a test minds.

What Bumble 0.0.236 does otherwise than a stick, and what is done here instead:

  claims extended advertising and LL privacy, but    claims neither, as an ordinary 4.x stick; else Linux waits for the
  answers with the plain connection complete         enhanced event, and every connect ends after four seconds
  ACL data comes from the sender's random address    from the address the connection was made with
  every report has RSSI -50 and repeats the          each seal has its own, with noise and losses, and its own scan
  advertisement as scan response                     response
  `filter duplicates` is ignored                     Air.duplicates: none, data, address
  a cancelled connect stays pending                  is forgotten and answered, as the specification has it
  a reset forgets nothing                            links, scan and the pending connect end
  no link is ever lost                               Air.cut: both sides learn of it as of a supervision timeout

There is no time on this air: an exchange takes a millisecond or two, where a radio takes 30 to 50.
"""

import asyncio
import os
import random

from bumble import hci, ll
from bumble.controller import Controller
from bumble.core import PhysicalTransport
from bumble.link import LocalLink

LOST = hci.HCI_ErrorCode.CONNECTION_TIMEOUT_ERROR
NOT_CLAIMED = (
    hci.LeFeatureMask.LL_PRIVACY
    | hci.LeFeatureMask.LE_EXTENDED_ADVERTISING
    | hci.LeFeatureMask.LE_PERIODIC_ADVERTISING
)
# First byte of what is said to /dev/vhci and not to the controller; second: an ordinary controller, please.
VENDOR_PACKET, PRIMARY = 0xFF, 0x00
# Longer than any HCI packet.
PACKET_BYTES = 4096


class Air(LocalLink):
    """Everything within reach of the stick."""

    def __init__(self):
        super().__init__()
        self.duplicates = "none"
        self.senders = {}
        self.stick = None

    def send_acl_data(self, sender, destination, transport, data):
        if transport != PhysicalTransport.LE:
            return super().send_acl_data(sender, destination, transport, data)
        connection = sender.le_connections.get(destination)
        receiver = self.find_le_controller(destination)
        if connection is not None and receiver is not None:
            source = connection.self_address
            asyncio.get_running_loop().call_soon(lambda: receiver.on_link_acl_data(source, transport, data))

    def send_ll_control_pdu(self, sender_address, receiver_address, packet):
        # The other side may have been cut off a moment ago.
        receiver = self.find_le_controller(receiver_address)
        if receiver is not None and sender_address in receiver.le_connections:
            super().send_ll_control_pdu(sender_address, receiver_address, packet)

    def cut(self, controller):
        """Loses every link of this controller, without a word from either side."""
        for connection in list(controller.le_connections.values()):
            peer = self.find_le_controller(connection.peer_address)
            back = peer and peer.le_connections.get(connection.self_address)
            controller.on_le_disconnected(connection, LOST)
            if back:
                peer.on_le_disconnected(back, LOST)

    def plug_in(self):
        """Puts the stick in: the kernel gets an adapter."""
        if self.stick is None:
            self.stick = Stick(self)

    def pull_out(self):
        """Pulls the stick out: the kernel's adapter goes, and every link with it."""
        if self.stick is not None:
            stick, self.stick = self.stick, None
            stick.leave()


class Stick(Controller):
    """The controller of the Linux side, behind /dev/vhci."""

    def __init__(self, air):
        super().__init__("stick", link=air, public_address="00:1A:7D:DA:71:13")
        self.le_features &= ~NOT_CLAIMED
        self.told = set()
        self.loop = asyncio.get_running_loop()
        self.device = os.open("/dev/vhci", os.O_RDWR | os.O_NONBLOCK)
        self.host = self
        os.write(self.device, bytes([VENDOR_PACKET, PRIMARY]))
        self.loop.add_reader(self.device, self.from_kernel)

    def leave(self):
        self.loop.remove_reader(self.device)
        os.close(self.device)
        self.device = None
        self.link.cut(self)
        self.link.remove_controller(self)

    def from_kernel(self):
        try:
            packet = os.read(self.device, PACKET_BYTES)
        except BlockingIOError:
            return
        if packet and packet[0] != VENDOR_PACKET:
            self.on_hci_packet(hci.HCI_Packet.from_bytes(packet))

    def send_hci_packet(self, packet):
        self.loop.call_soon(self.to_kernel, bytes(packet))

    def to_kernel(self, packet):
        if self.device is not None:
            os.write(self.device, packet)

    def on_hci_reset_command(self, command):
        self.link.cut(self)
        self.pending_le_connection = None
        self.le_scan_enable = False
        return super().on_hci_reset_command(command)

    def on_hci_le_set_scan_enable_command(self, command):
        # Each start of a scan is also a new start of the filter.
        self.told = set()
        return super().on_hci_le_set_scan_enable_command(command)

    def on_hci_le_set_scan_parameters_command(self, command):
        result = super().on_hci_le_set_scan_parameters_command(command)
        self.le_scan_type = command.le_scan_type
        return result

    def on_hci_le_create_connection_cancel_command(self, command):
        pending, self.pending_le_connection = self.pending_le_connection, None
        if pending is None:
            return hci.HCI_StatusReturnParameters(hci.HCI_ErrorCode.COMMAND_DISALLOWED_ERROR)
        cancelled = hci.HCI_LE_Connection_Complete_Event(
            status=hci.HCI_ErrorCode.UNKNOWN_CONNECTION_IDENTIFIER_ERROR,
            connection_handle=0,
            role=hci.Role.CENTRAL,
            peer_address_type=pending.peer_address_type,
            peer_address=pending.peer_address,
            connection_interval=0,
            peripheral_latency=0,
            supervision_timeout=0,
            central_clock_accuracy=0,
        )
        self.loop.call_soon(self.send_hci_packet, cancelled)
        return hci.HCI_StatusReturnParameters(hci.HCI_ErrorCode.SUCCESS)

    def on_ll_advertising_pdu(self, packet):
        sender = self.link.senders.get(str(getattr(packet, "advertiser_address", "")))
        if sender is None or not isinstance(packet, (ll.AdvInd, ll.AdvNonConnInd)) or random.random() < sender.loss:
            return
        connectable = isinstance(packet, ll.AdvInd)
        if self.le_scan_enable:
            self.report(sender, packet.advertiser_address, packet.data, connectable)
        pending = self.pending_le_connection
        if connectable and pending and pending.peer_address == packet.advertiser_address:
            self.create_le_connection(packet.advertiser_address)

    def report(self, sender, address, data, connectable):
        mark = {"data": (str(address), bytes(data)), "address": str(address)}.get(self.link.duplicates)
        if self.filter_duplicates and mark is not None:
            if mark in self.told:
                return
            self.told.add(mark)
        kinds = hci.HCI_LE_Advertising_Report_Event
        seen = [(kinds.EventType.ADV_IND if connectable else kinds.EventType.ADV_NONCONN_IND, bytes(data))]
        if connectable and self.le_scan_type:
            seen.append((kinds.EventType.SCAN_RSP, sender.scan_response))
        rssi = max(-127, min(20, round(random.gauss(sender.rssi, 2))))
        for kind, payload in seen:
            self.send_hci_packet(
                kinds([kinds.Report(event_type=kind, address_type=address.address_type, address=address, data=payload, rssi=rssi)])
            )


class Sender:
    """Whatever advertises: an address, a strength, a rhythm. Counts nothing and answers nothing."""

    interval = 0.1
    scan_response = b""
    loss = 0.0

    def __init__(self, air, address, rssi):
        self.air, self.rssi = air, rssi
        self.address = hci.Address(address, hci.Address.RANDOM_DEVICE_ADDRESS)
        self.on_air = True
        air.senders[str(self.address)] = self

    def advertisement(self):
        """What is said next."""
        raise NotImplementedError

    def speak(self):
        stick = self.air.stick
        if self.on_air and stick is not None:
            stick.on_ll_advertising_pdu(ll.AdvNonConnInd(self.address, self.advertisement()))

    async def run(self):
        await asyncio.sleep(random.random() * self.interval)
        while True:
            self.speak()
            # Advertisers shift each round by up to 10 ms, so that two never keep colliding.
            await asyncio.sleep(self.interval + random.random() * 0.01)

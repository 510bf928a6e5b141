"""Seals of the segel open seal protocol v1 on the air; the protocol itself is segel_v1.py."""

import hashlib
import time
import uuid

from bumble.att import ATT_Error

import segel_v1
from gatt_seal import GattSeal

# At least so often the advertisement's counter goes up (9).
COUNT_EVERY = 60.0


class SegelSeal(GattSeal):
    """One seal, number SGL-1001 and up, each with a key of its own."""

    def __init__(self, air, number):
        address = f"C0:DE:5E:00:{number >> 8:02X}:{number & 255:02X}"
        name = f"SGL-{1000 + number}"
        super().__init__(air, name, address, -50 - number % 30, segel_v1.SERVICE, segel_v1.REQUEST, segel_v1.ANSWER)
        key = hashlib.sha256(b"a key for the stage: " + name.encode()).digest()[:16]
        self.seal = segel_v1.Seal(key, name.encode(), time.monotonic())
        self.counted_at = time.monotonic()
        service = uuid.UUID(segel_v1.SERVICE).bytes[::-1]
        self.service_data = b"\x1b\x21" + service
        self.scan_response = b"\x11\x07" + service + bytes([len(name) + 1, 0x09]) + name.encode()

    def advertisement(self):
        if time.monotonic() - self.counted_at >= COUNT_EVERY:
            self.counted_at, self.seal.said = time.monotonic(), None
        return b"\x02\x01\x06" + self.service_data + self.seal.advertise()

    def written(self, value):
        try:
            return self.seal.write(value, time.monotonic())
        except segel_v1.Refused as refused:
            raise ATT_Error(refused.code) from None

    def finish(self, answer, connected):
        self.seal.finish(answer)
        if not connected:
            self.seal.forget()
        return [answer.value]

    def value(self):
        return self.seal.value

    def disconnected(self):
        self.seal.forget()

    def happen(self, what):
        self.seal.happen(what, time.monotonic())
        if what == "battery-change":
            self.air.cut(self.controller)

    def put(self, what, number):
        if what not in ("bolt", "shackle", "cut", "cover_open", "stuck", "battery", "battery_low", "room"):
            raise ValueError(f"{what} is nothing of a seal's")
        setattr(self.seal, what, number)

    def tell(self):
        seal, told = self.seal, super().tell()
        told.update(kind="segel", seal=self.name, key=seal.flash.key.hex(), openings=seal.openings, closings=seal.closings)
        told.update(wrong_codes=seal.wrong_codes, bolt=seal.bolt, stored=len(seal.flash.entries), next_number=seal.flash.next_number)
        return told

"""BTHome v2 seals: they only speak. Layout: bthome.io; checked with a known frame at start.

    devinfo | objects                                        plain
    devinfo | ciphertext | counter u32 LE | tag (4)          AES-128-CCM, nonce = address | D2 FC | devinfo | counter
    devinfo: bit 0 encrypted, bit 2 sleeps between reports, bits 5 to 7 version 2
    objects: 00 packet number, 01 battery %, 1F lock (0 locked), 2B tamper
"""

from cryptography.hazmat.primitives.ciphers.aead import AESCCM

from air import Sender

SERVICE = b"\xd2\xfc"
PLAIN, ENCRYPTED = 0x44, 0x45


def encrypt(key, address, counter, objects):
    count = counter.to_bytes(4, "little")
    nonce = address + SERVICE + bytes([ENCRYPTED]) + count
    sealed = AESCCM(key, tag_length=4).encrypt(nonce, objects, None)
    return bytes([ENCRYPTED]) + sealed[:-4] + count + sealed[-4:]


def check():
    key, address = bytes.fromhex("231d39c1d7cc1ab1aee224cd096db932"), bytes.fromhex("5448e68f80a5")
    frame = encrypt(key, address, 1, bytes.fromhex("0009015d1f002b01"))
    if frame.hex() != "450217c863f67628ee01000000c539fcd0":
        raise SystemExit(f"BTHome is encrypted wrongly: {frame.hex()}")


class BthomeSeal(Sender):
    """One seal; a new packet number or counter with every advertisement."""

    def __init__(self, air, number, key=None):
        super().__init__(air, f"C0:DE:0B:00:{number >> 8:02X}:{number & 255:02X}", -55 - number % 30)
        self.key, self.counter, self.battery, self.unlocked, self.tampered = key, 0, 93, 0, 0

    def advertisement(self):
        self.counter += 1
        objects = bytes([0x01, self.battery, 0x1F, self.unlocked, 0x2B, self.tampered])
        if self.key is None:
            data = bytes([PLAIN, 0x00, self.counter & 0xFF]) + objects
        else:
            data = encrypt(self.key, bytes(reversed(bytes(self.address))), self.counter, objects)
        service = bytes([len(data) + 3, 0x16]) + SERVICE + data
        return b"\x02\x01\x06" + service

    def put(self, what, number):
        if what not in ("battery", "unlocked", "tampered"):
            raise ValueError(f"{what} is nothing of a seal's")
        setattr(self, what, number)

    def tell(self):
        return {"kind": "bthome", "counter": self.counter, "key": self.key.hex() if self.key else None}

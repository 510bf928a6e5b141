"""A seal of the segel open seal protocol v1, built from docs/seal-protocol.md alone and by no other source.

    bytes in  ──► Seal.write ──► Answer(after so many seconds, the answer characteristic's new value) or Refused(ATT error)

No radio and no clock of its own: every call is told the time, in seconds. Section numbers are the document's. What the
flash holds and what a battery change takes away are two objects, as in 7.5. It does not end idle connections (1).
"""

import dataclasses
import hmac
import os
import struct

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESCCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.cmac import CMAC

# Section 1.
SERVICE = "3f480001-a39b-488d-8fd4-c6f37928d160"
REQUEST = "3f480002-a39b-488d-8fd4-c6f37928d160"
ANSWER = "3f480003-a39b-488d-8fd4-c6f37928d160"
FRAME = 20

HELLO, COMMAND, PENDING, CHALLENGE, RESULT = 0x01, 0x02, 0x80, 0x81, 0x82
NOTHING_YET = bytes([PENDING, 3, 0])
VERSION = 1
LOCK, UNLOCK, SET_TIME, DRAIN = 1, 2, 3, 4
NOT_A_FRAME, NO_VERSION, NO_CHALLENGE, WRONG_CODE, WAIT, BUSY = 0x80, 0x81, 0x82, 0x83, 0x84, 0x85
DONE, ALREADY, BATTERY_LOW, SHACKLE_OUT, STUCK, ALARM, FACTORY_KEY, BAD_BODY, INTERRUPTED, WRONG_LOG, NOT_TOLD = range(11)
UNLOCKED, LOCKED, BETWEEN = 0, 1, 2
FORCED, CUT, COVER, EMERGENCY, MOTOR, FAULT, CODES_TRIED = (1 << bit for bit in range(7))
SEALED, UNSEALED, FORCED_OPEN, SHACKLE_CUT, COVER_OPENED, WRONG_CODES = 1, 2, 3, 4, 5, 7
MOTOR_STUCK, RESTARTED, TIME_SET, LOG_LOST = 10, 13, 14, 15

CHALLENGE_LIVES = 10.0
AFTER_WRONG_CODE = 1.0
WRONG_CODE_ENTRIES_APART = 600.0
EARLIEST_TIME = 1577836800
HANDED_OVER_AT_ONCE = 10
COUNTER_MAX = 0xFFFFFFFF


# Section 2.


def cmac(key, data):
    code = CMAC(AES(key))
    code.update(data)
    return code.finalize()


def kdf(key, label, context):
    return cmac(key, b"\x01" + label + b"\x00" + context + (128).to_bytes(2, "big"))


def with_length(number):
    return bytes([len(number)]) + number


def session_key(key, gate_nonce, seal_nonce, number):
    return kdf(key, b"segel/1 session", gate_nonce + seal_nonce + with_length(number))


def advert_key(key, number):
    return kdf(key, b"segel/1 advert", with_length(number))


def nonce_key(key, number):
    return kdf(key, b"segel/1 nonce", with_length(number))


def ccm_nonce(kind):
    return bytes([kind]) + bytes(12)


def seal(session, kind, plaintext, additional):
    return AESCCM(session, tag_length=8).encrypt(ccm_nonce(kind), plaintext, additional)


def unseal(session, kind, sealed, additional):
    """The plaintext; None where the tag does not fit."""
    try:
        return AESCCM(session, tag_length=8).decrypt(ccm_nonce(kind), sealed, additional)
    except InvalidTag:
        return None


# Section 3.


def hello_frame(gate_nonce, lowest=VERSION, highest=VERSION):
    return bytes([HELLO, lowest, highest, 0]) + gate_nonce


def challenge_frame(session, hello, seal_nonce, status):
    head = bytes([CHALLENGE, 59, 0, VERSION]) + seal_nonce
    return head + seal(session, CHALLENGE, status, hello + head)


def command_frame(session, challenge, plaintext):
    return bytes([COMMAND]) + seal(session, COMMAND, plaintext, challenge + bytes([COMMAND]))


def result_frame(session, command, outcome, status, entries):
    plaintext = bytes([outcome, len(entries)]) + status + b"".join(entries)
    head = bytes([RESULT]) + (3 + len(plaintext) + 8).to_bytes(2, "little")
    return head + seal(session, RESULT, plaintext, command + head)


# Section 9.


def advertisement(key, b0, b1, counter):
    said = struct.pack("<BBI", b0, b1, counter)
    return said + cmac(key, said)[:4]


class Refused(Exception):
    """An ATT error; nothing was executed."""

    def __init__(self, code):
        super().__init__(f"ATT error {code:#04x}")
        self.code = code


@dataclasses.dataclass
class Answer:
    """The value the answer characteristic gets, after so many seconds. `finish` must then be called."""

    after: float
    value: bytes


@dataclasses.dataclass
class Flash:
    """7.5: survives a battery change."""

    key: bytes
    number: bytes
    log_id: int
    entries: list = dataclasses.field(default_factory=list)
    next_number: int = 1
    confirmed: int = 0
    last: tuple = (0, 0, bytes(8))
    starts: int = 0
    counter: int = 0
    trouble: int = 0


class Seal:
    """One seal. `move_takes` is its motor's time in seconds, `room` the log's."""

    def __init__(self, key, number, now, log_id=None, move_takes=0.2, room=200):
        self.flash = Flash(key, number, log_id or int.from_bytes(os.urandom(4), "little") | 1)
        self.move_takes, self.room = move_takes, room
        self.bolt, self.shackle, self.cut, self.cover_open, self.stuck = LOCKED, 1, 0, 0, 0
        self.battery, self.millivolts, self.centidegrees, self.battery_low = 87, 3600, 2150, 0
        self.openings = self.closings = self.wrong_codes = 0
        self.start(now)

    def start(self, now, why=1):
        """Power comes: 7.1, 7.3, 7.5."""
        self.flash.starts += 1
        self.nonces = 0
        self.started, self.clock_set, self.clock_ahead = now, False, 0
        self.handed_over = 0
        self.untold_wrong_codes, self.wrong_code_entry_at = 0, None
        self.forget()
        self.executing = False
        self.wrong_at = None
        # Section 9: from the ceiling that was written before.
        self.flash.counter += 1024 if self.flash.counter else 0
        self.said = None
        self.log(RESTARTED, bytes([why]), now)

    def set_key(self, key, log_id=None):
        """7.6, by the contacts inside: another K begins a new log; what nonces and counters are made of goes on."""
        if self.bolt != UNLOCKED:
            raise ValueError("K can be set only while the bolt is unlocked")
        if hmac.compare_digest(key, self.flash.key):
            return
        kept = {"starts": self.flash.starts, "counter": self.flash.counter}
        self.flash = Flash(key, self.flash.number, log_id or int.from_bytes(os.urandom(4), "little") | 1, **kept)
        self.flash.starts += 1
        self.nonces = self.handed_over = self.untold_wrong_codes = 0
        self.wrong_at = self.wrong_code_entry_at = self.said = None
        self.forget()

    def forget(self):
        """The connection ends, or never was: 3.5, 7.1."""
        self.challenge = None
        self.value = NOTHING_YET

    # 4

    def clock(self, now):
        return (int(now - self.started) + self.clock_ahead) & 0xFFFFFFFF

    def told(self):
        """The entries as they are told: overwritten ones as one LogLost (6.2)."""
        return self.flash.entries

    def status(self, now):
        entries = self.told()
        state = self.bolt | self.shackle << 2 | self.clock_set << 3 | (self.flash.key == bytes(16)) << 4
        state |= bool(self.battery_low) << 5 | (bool(entries) and entries[0][8] == LOG_LOST) << 6
        oldest = int.from_bytes(entries[0][:4], "little") if entries else self.flash.next_number
        action, result, reference = self.flash.last
        fixed = struct.pack(
            "<BBBHhIIIHBB",
            state,
            self.flash.trouble,
            self.battery,
            self.millivolts,
            self.centidegrees,
            self.clock(now),
            self.flash.log_id,
            oldest,
            len(entries),
            action,
            result,
        )
        return fixed + reference

    # 6

    def log(self, what, detail, now):
        entry = struct.pack("<IIBBBB", self.flash.next_number, self.clock(now), what, self.clock_set, self.battery, 0)
        self.flash.entries.append(entry + detail.ljust(8, b"\x00"))
        self.flash.next_number += 1
        stored = self.flash.entries
        real = len(stored) - (stored[0][8] == LOG_LOST)
        if real > self.room:
            first = 1 if stored[0][8] == LOG_LOST else 0
            overwritten = stored[first]
            number = int.from_bytes(overwritten[:4], "little")
            lost = struct.pack("<I", number - self.flash.confirmed)
            stored[: first + 1] = [overwritten[:8] + bytes([LOG_LOST, overwritten[9], overwritten[10], 0]) + lost.ljust(8, b"\x00")]

    def drain(self, log_id, confirm, most):
        """6.3: the outcome and what is handed over."""
        if log_id != self.flash.log_id:
            return WRONG_LOG, []
        if confirm > self.handed_over:
            return NOT_TOLD, []
        kept = [entry for entry in self.flash.entries if int.from_bytes(entry[:4], "little") > confirm]
        self.flash.confirmed = max(self.flash.confirmed, confirm)
        if kept and kept[0][8] == LOG_LOST:
            # It counts from the last confirmation on.
            lost = int.from_bytes(kept[0][:4], "little") - self.flash.confirmed
            kept[0] = kept[0][:12] + struct.pack("<I", lost).ljust(8, b"\x00")
        self.flash.entries = kept
        handed = kept[: min(most, HANDED_OVER_AT_ONCE)]
        if handed:
            self.handed_over = max(self.handed_over, int.from_bytes(handed[-1][:4], "little"))
        return DONE, handed

    def happen(self, what, now):
        """Something happens to the seal that nobody commanded."""
        if what == "cut":
            self.cut, self.flash.trouble = 1, self.flash.trouble | CUT
            self.log(SHACKLE_CUT, b"", now)
        elif what == "cover":
            self.cover_open, self.flash.trouble = 1, self.flash.trouble | COVER
            self.log(COVER_OPENED, b"", now)
        elif what == "forced":
            self.bolt, self.flash.trouble = UNLOCKED, self.flash.trouble | FORCED
            self.log(FORCED_OPEN, b"", now)
        elif what == "battery-change":
            self.start(now)
        else:
            raise ValueError(f"{what}: one of cut, cover, forced, battery-change")

    # 3, 7

    def write(self, frame, now):
        if len(frame) != FRAME or frame[0] not in (HELLO, COMMAND) or (frame[0] == HELLO and frame[3] != 0):
            raise Refused(NOT_A_FRAME)
        if self.executing:
            raise Refused(BUSY)
        if self.wrong_at is not None and now - self.wrong_at < AFTER_WRONG_CODE:
            raise Refused(WAIT)
        return self.hello(frame, now) if frame[0] == HELLO else self.command(frame, now)

    def nonce(self):
        made = struct.pack("<II", self.flash.starts, self.nonces) + os.urandom(8)
        self.nonces += 1
        return cmac(nonce_key(self.flash.key, self.flash.number), made)

    def hello(self, frame, now):
        if not frame[1] <= VERSION <= frame[2]:
            raise Refused(NO_VERSION)
        seal_nonce = self.nonce()
        session = session_key(self.flash.key, frame[4:], seal_nonce, self.flash.number)
        challenge = challenge_frame(session, frame, seal_nonce, self.status(now))
        self.challenge = (session, challenge, now)
        return Answer(0.0, challenge)

    def command(self, frame, now):
        challenge, self.challenge = self.challenge, None
        if challenge is None or now - challenge[2] > CHALLENGE_LIVES:
            raise Refused(NO_CHALLENGE)
        session, challenged, _ = challenge
        plaintext = unseal(session, COMMAND, frame[1:], challenged + frame[:1])
        if plaintext is None:
            self.on_wrong_code(now)
            raise Refused(WRONG_CODE)
        self.executing = True
        self.value = NOTHING_YET
        outcome, entries, moved = self.execute(plaintext[0], plaintext[1:], now)
        after = self.move_takes if moved else 0.0
        return Answer(after, result_frame(session, frame, outcome, self.status(now + after), entries))

    def finish(self, answer):
        """The answer stands."""
        self.executing = False
        self.value = answer.value

    def on_wrong_code(self, now):
        self.wrong_at = now
        self.wrong_codes += 1
        self.flash.trouble |= CODES_TRIED
        self.untold_wrong_codes += 1
        if self.wrong_code_entry_at is None or now - self.wrong_code_entry_at >= WRONG_CODE_ENTRIES_APART:
            self.log(WRONG_CODES, struct.pack("<I", self.untold_wrong_codes), now)
            self.untold_wrong_codes, self.wrong_code_entry_at = 0, now

    def execute(self, action, body, now):
        """5: the outcome, the entries handed over, whether the motor ran."""
        if action in (LOCK, UNLOCK):
            outcome, moved = self.move(action, body[:8], body[8:], now)
            return outcome, [], moved
        if action == SET_TIME:
            (seconds,) = struct.unpack("<I", body[:4])
            if any(body[4:]) or seconds < EARLIEST_TIME:
                return BAD_BODY, [], False
            before = self.clock(now)
            self.clock_ahead, self.clock_set = seconds - int(now - self.started), True
            self.log(TIME_SET, struct.pack("<I", before), now)
            return DONE, [], False
        if action == DRAIN:
            log_id, confirm, most, zero = struct.unpack("<IIBB", body)
            if zero:
                return BAD_BODY, [], False
            return *self.drain(log_id, confirm, most), False
        return BAD_BODY, [], False

    def move(self, action, reference, rest, now):
        wanted = LOCKED if action == LOCK else UNLOCKED
        if any(rest) or not any(reference):
            return BAD_BODY, False
        if hmac.compare_digest(reference, self.flash.last[2]):
            return ALREADY, False
        if action == LOCK and self.flash.key == bytes(16):
            return FACTORY_KEY, False
        if self.bolt == wanted:
            return ALREADY, False
        if action == LOCK and (self.cut or self.cover_open):
            return ALARM, False
        if action == LOCK and not self.shackle:
            return SHACKLE_OUT, False
        if self.battery_low:
            return BATTERY_LOW, False
        if self.stuck:
            self.flash.last = (action, STUCK, reference)
            self.flash.trouble |= MOTOR
            self.log(MOTOR_STUCK, reference, now)
            return STUCK, True
        now += self.move_takes
        self.bolt = wanted
        self.flash.last = (action, DONE, reference)
        if action == LOCK:
            self.closings += 1
            self.flash.trouble = 0
            self.log(SEALED, reference, now)
        else:
            self.openings += 1
            self.log(UNSEALED, reference, now)
        return DONE, True

    # 9

    def advertise(self):
        battery = self.battery // 5 if self.battery <= 100 else 31
        trouble = self.flash.trouble
        b0 = VERSION << 6 | battery
        b1 = (self.bolt == LOCKED) | (self.bolt == BETWEEN) << 1 | self.shackle << 2
        b1 |= bool(trouble & (FORCED | CUT | COVER | EMERGENCY)) << 3 | bool(self.battery_low) << 4
        b1 |= bool(trouble & (MOTOR | FAULT)) << 5 | bool(self.told()) << 6 | bool(self.clock_set) << 7
        if self.said != (b0, b1):
            self.said = (b0, b1)
            self.flash.counter = min(self.flash.counter + 1, COUNTER_MAX)
        return advertisement(advert_key(self.flash.key, self.flash.number), b0, b1, self.flash.counter)

#!/usr/bin/env python3
"""Recomputes every worked example of docs/seal-protocol.md with the seal that was built from that text alone.

    check_seal_protocol_vectors.py [DOCUMENT [VECTOR_FILE]]

Needs Python with `cryptography`. Four things must hold, or it ends with 1 and says which did not:

- document and vector file have the same examples, and none twice;
- every value follows from the inputs (keys, nonces, statuses, plaintexts) by sections 2, 3 and 9;
- a seal in the state an example begins with, given its frames, answers with its frames: checks, log, last command;
- a key set again brings back neither nonces nor counters (7.6).
"""

import json
import pathlib
import re
import struct
import sys

HERE = pathlib.Path(__file__).resolve().parent
REPO = HERE.parent.parent
sys.path.insert(0, str(HERE.parent / "bluez-uml"))

import segel_v1 as v1  # noqa: E402

EXCHANGES = ("read", "unlock", "lock", "set time", "drain", "confirm")
INPUTS = ("NG", "NS", "status in CHALLENGE", "command", "result")

checked = set()
faults = []


def of_the_document(path):
    """Section 11's `name  hex` lines; a line that begins with blanks goes on with the value before it."""
    text = pathlib.Path(path).read_text(encoding="utf-8")
    section = text.split("\n## 11.")[1].split("\n## 12.")[0]
    values, name = {}, None
    for block in re.findall(r"```text\n(.*?)```", section, re.S):
        for line in block.splitlines():
            if match := re.fullmatch(r"(\S.*?) {2,}([0-9a-f]+)", line):
                name = match[1]
                if name in values:
                    faults.append(f"{name}: twice in the document")
                values[name] = match[2]
            elif match := re.fullmatch(r" +([0-9a-f]+)", line):
                values[name] += match[1]
            elif line.strip():
                faults.append(f"a line of section 11 is neither a value nor more of one: {line}")
    return {name: bytes.fromhex(value) for name, value in values.items()}


def of_the_file(path):
    vectors = json.loads(pathlib.Path(path).read_text(encoding="utf-8"))["vectors"]
    values = {vector["name"]: bytes.fromhex(vector["hex"]) for vector in vectors}
    if len(values) != len(vectors):
        faults.append("the vector file has a name twice")
    return values


def same(name, computed, given):
    checked.add(name)
    if computed != given.get(name):
        faults.append(f"{name}: computed {computed.hex()}, given {given.get(name, b'').hex()}")


def by_formula(given):
    key, number = given["key"], given["number"]
    same("key", bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3c"), given)
    same("number", b"SGL-1003", given)
    same("advert key", v1.advert_key(key, number), given)
    same("nonce key", v1.nonce_key(key, number), given)
    for exchange in EXCHANGES:
        part = {what: given.get(f"{exchange}: {what}") for what in INPUTS}
        session = v1.session_key(key, part["NG"], part["NS"], number)
        hello = v1.hello_frame(part["NG"])
        challenge = v1.challenge_frame(session, hello, part["NS"], part["status in CHALLENGE"])
        same(f"{exchange}: session key", session, given)
        same(f"{exchange}: HELLO", hello, given)
        same(f"{exchange}: CHALLENGE", challenge, given)
        if part["command"] is not None:
            command = v1.command_frame(session, challenge, part["command"])
            outcome, count = part["result"][:2]
            status, entries = part["result"][2:33], part["result"][33:]
            split = [entries[at : at + 20] for at in range(0, len(entries), 20)]
            if count != len(split):
                faults.append(f"{exchange}: {count} entries are said and {len(split)} are there")
            same(f"{exchange}: COMMAND", command, given)
            same(f"{exchange}: RESULT", v1.result_frame(session, command, outcome, status, split), given)
        checked.update(f"{exchange}: {what}" for what in INPUTS if part[what] is not None)
    # Locked, shackle in place, 85 %, log not empty, clock set; counter 1025.
    advert = v1.advertisement(v1.advert_key(key, number), 1 << 6 | 85 // 5, 0b1100_0101, 1025)
    service = bytes.fromhex(v1.SERVICE.replace("-", ""))[::-1]
    same("advert", advert, given)
    same("ADV_IND", bytes.fromhex("0201061b21") + service + advert, given)
    same("SCAN_RSP", bytes.fromhex("1107") + service + bytes([1 + len(number), 0x09]) + number, given)
    same("nonce input", struct.pack("<II", 7, 3) + bytes.fromhex("0102030405060708"), given)
    same("nonce NS", v1.cmac(v1.nonce_key(key, number), given["nonce input"]), given)


def dress(seal, status, now):
    """Puts a seal into the state a status tells of. Entries it does not show are made up."""
    state, trouble, battery, millivolts, degrees, clock, log_id, oldest, stored, action, result = struct.unpack("<BBBHhIIIHBB", status[:23])
    seal.bolt, seal.shackle, seal.clock_set, seal.battery_low = state & 3, state >> 2 & 1, bool(state & 8), state >> 5 & 1
    seal.battery, seal.millivolts, seal.centidegrees = battery, millivolts, degrees
    seal.clock_ahead = clock - int(now - seal.started)
    flash = seal.flash
    flash.trouble, flash.log_id, flash.last = trouble, log_id, (action, result, status[23:])
    flash.next_number = oldest + stored
    flash.entries = [struct.pack("<IIBBBB8x", number, 0, v1.LOG_LOST if state & 64 and number == oldest else 17, 0, 0, 0) for number in range(oldest, oldest + stored)]


def by_the_seal(given):
    for exchange in EXCHANGES:
        part = {what: given.get(f"{exchange}: {what}") for what in (*INPUTS, "HELLO", "CHALLENGE", "COMMAND", "RESULT")}
        now = 1000.0
        seal = v1.Seal(given["key"], given["number"], now - 7)
        seal.nonce = lambda: part["NS"]
        dress(seal, part["status in CHALLENGE"], now)
        if exchange in ("drain", "confirm"):
            told = given["drain: result"][33:]
            seal.flash.entries = [told[at : at + 20] for at in range(0, len(told), 20)]
            seal.flash.confirmed = 1
            seal.handed_over = 42 if exchange == "confirm" else 0
        same(f"{exchange}: CHALLENGE", seal.write(part["HELLO"], now).value, given)
        if part["COMMAND"] is None:
            continue
        # The battery sags under the motor and time goes on between the two: taken from the example.
        after = part["result"][2:33]
        seal.battery, seal.millivolts, seal.centidegrees = struct.unpack("<BHh", after[2:7])
        passed = struct.unpack("<I", after[7:11])[0] - struct.unpack("<I", part["status in CHALLENGE"][7:11])[0]
        if exchange == "set time":
            passed = struct.unpack("<I", after[7:11])[0] - struct.unpack("<I", part["command"][1:5])[0]
        seal.move_takes = float(passed) if exchange == "unlock" else 0.0
        later = now if exchange == "unlock" else now + passed
        same(f"{exchange}: RESULT", seal.write(part["COMMAND"], later).value, given)


def must_be_refused(given):
    """`What must be refused`, and the ATT error each gets."""

    def expect(what, code, seal, frame, now):
        try:
            seal.write(frame, now)
        except v1.Refused as refused:
            if refused.code in code:
                return
        faults.append(f"{what}: not refused as it must be")

    hello, command = given["unlock: HELLO"], given["unlock: COMMAND"]
    either = (v1.NO_CHALLENGE, v1.WRONG_CODE)

    def fresh():
        seal = v1.Seal(given["key"], given["number"], 0.0)
        seal.nonce = lambda: given["unlock: NS"]
        dress(seal, given["unlock: status in CHALLENGE"], 10.0)
        if seal.write(hello, 10.0).value != given["unlock: CHALLENGE"]:
            faults.append("the unlock's CHALLENGE differs")
        return seal

    for bit in range(8, 160):
        changed = bytearray(command)
        changed[bit // 8] ^= 1 << bit % 8
        expect(f"bit {bit} of COMMAND changed", (v1.WRONG_CODE,), fresh(), bytes(changed), 10.0)
    seal = fresh()
    expect("more than 10 s later", (v1.NO_CHALLENGE,), seal, command, 20.1)
    seal = fresh()
    seal.forget()
    expect("on another connection", (v1.NO_CHALLENGE,), seal, command, 10.0)
    seal = fresh()
    seal.start(10.0)
    expect("after a power loss", (v1.NO_CHALLENGE,), seal, command, 10.0)
    seal = fresh()
    del seal.nonce
    seal.write(hello, 10.0)
    expect("after another HELLO with the same NG", either, seal, command, 10.0)
    seal = fresh()
    seal.finish(seal.write(command, 10.0))
    expect("a second time", either, seal, command, 10.5)
    if (seal.openings, seal.bolt) != (1, v1.UNLOCKED):
        faults.append("the unlock did not open exactly once")


def a_key_set_again(given):
    """7.6, with the poorest random generator there is."""
    genuine, v1.os.urandom = v1.os.urandom, bytes
    try:
        seal = v1.Seal(given["key"], given["number"], 0.0)
        seal.bolt = v1.UNLOCKED
        nonces, counters, log = [seal.nonce()], [seal.advertise()[2:6]], seal.flash.log_id
        seal.set_key(given["key"])
        if (seal.flash.log_id, seal.flash.starts, bool(seal.flash.entries)) != (log, 1, True):
            faults.append("setting the key that is set already changed something")
        for key in (bytes(range(16)), given["key"], bytes(range(16)), given["key"]):
            seal.set_key(key)
            nonces.append(seal.nonce())
            counters.append(seal.advertise()[2:6])
    finally:
        v1.os.urandom = genuine
    if len(set(nonces)) != len(nonces):
        faults.append("a nonce came again when a key was set again")
    told = [int.from_bytes(counter, "little") for counter in counters]
    if told != sorted(set(told)):
        faults.append(f"the counter of advertisements went back when a key was set again: {told}")


def main():
    document = sys.argv[1] if len(sys.argv) > 1 else REPO / "docs" / "seal-protocol.md"
    file = sys.argv[2] if len(sys.argv) > 2 else REPO / "drivers" / "tests" / "vectors" / "segel-v1.json"
    given, filed = of_the_document(document), of_the_file(file)
    for name in sorted(given.keys() | filed.keys()):
        if given.get(name) != filed.get(name):
            faults.append(f"{name}: document and vector file differ, or one has it not")
    by_formula(given)
    by_the_seal(given)
    must_be_refused(given)
    a_key_set_again(given)
    for name in sorted(given.keys() - checked):
        faults.append(f"{name}: no rule here computes it")
    for fault in faults:
        print(fault)
    print(f"{len(checked)} values checked, {len(faults)} faults")
    sys.exit(bool(faults))


main()

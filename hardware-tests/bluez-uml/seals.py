#!/usr/bin/env python3
"""The seals in the air of the guest, and the stick its kernel hears them with.

    seals.py --socket PATH [--bthome N] [--encrypted N] [--segel N] [--interval MS]

Commands come over the socket, a line each; each is answered by a line of JSON, with "error" in it if it was not done:

    list                         every seal's address
    tell ADDRESS                 what a seal is and what has happened to it
    fault ADDRESS KIND [NUMBER]  the next write goes wrong (kinds: gatt_seal.py)
    clear ADDRESS                no fault waits any more
    set ADDRESS NAME NUMBER      interval in ms, rssi, or a seal's own state (bthome: battery, unlocked, tampered; segel:
                                 battery, battery_low, bolt, shackle, cut, cover_open, stuck, room)
    happen ADDRESS WHAT          segel: cut, cover, forced, battery-change
    offline ADDRESS | all        says nothing and cannot be connected to; its link is lost
    online ADDRESS | all
    cut ADDRESS                  its link is lost now
    duplicates none | data | address      what the stick takes for the same advertisement
    pull | plug                  the stick out of the machine, and in again
"""

import argparse
import asyncio
import json
import os
import traceback

import bthome
from air import Air
from segel_seal import SegelSeal

# A key that can be told from the address, so that a test needs no list.
BTHOME_KEY = "5ea1b7b0b7b0b7b0b7b0b7b0b7b0"


def bthome_key(number):
    return bytes.fromhex(BTHOME_KEY + f"{number:04x}")


class Stage:
    """Air and seals, and what can be asked of them."""

    def __init__(self, options):
        self.air = Air()
        self.seals = {}
        for number in range(1, options.bthome + 1):
            self.add(bthome.BthomeSeal(self.air, number))
        for number in range(options.bthome + 1, options.bthome + options.encrypted + 1):
            self.add(bthome.BthomeSeal(self.air, number, bthome_key(number)))
        for number in range(1, options.segel + 1):
            self.add(SegelSeal(self.air, number))
        for seal in self.seals.values():
            seal.interval = options.interval / 1000

    def add(self, seal):
        self.seals[str(seal.address).split("/")[0]] = seal

    async def start(self):
        for seal in self.seals.values():
            if hasattr(seal, "power_on"):
                await seal.power_on()
            asyncio.ensure_future(seal.run())
        self.air.plug_in()

    def some(self, name):
        if name == "all":
            return list(self.seals.values())
        return [self.seals[name.upper()]]

    async def obey(self, words):
        match words:
            case ["list"]:
                return {"seals": list(self.seals)}
            case ["tell", name]:
                (seal,) = self.some(name)
                return seal.tell()
            case ["fault", name, kind, *number]:
                for seal in self.some(name):
                    seal.add_fault(kind, *number)
            case ["clear", name]:
                for seal in self.some(name):
                    seal.faults.clear()
            case ["set", name, what, number]:
                for seal in self.some(name):
                    if what == "interval":
                        seal.interval = int(number) / 1000
                    elif what == "rssi":
                        seal.rssi = int(number)
                    else:
                        seal.put(what, int(number))
            case ["happen", name, what]:
                for seal in self.some(name):
                    seal.happen(what)
            case ["offline", name]:
                for seal in self.some(name):
                    seal.on_air = False
                    self.cut(seal)
            case ["online", name]:
                for seal in self.some(name):
                    seal.on_air = True
            case ["cut", name]:
                for seal in self.some(name):
                    self.cut(seal)
            case ["duplicates", ("none" | "data" | "address") as what]:
                self.air.duplicates = what
            case ["pull"]:
                self.air.pull_out()
            case ["plug"]:
                self.air.plug_in()
            case _:
                raise ValueError(f"not a command: {' '.join(words)}")
        return {}

    def cut(self, seal):
        if hasattr(seal, "controller"):
            self.air.cut(seal.controller)

    async def converse(self, reader, writer):
        while line := await reader.readline():
            words = line.decode().split()
            try:
                answer = await self.obey(words)
            except Exception as fault:  # whatever it is, who asked must learn of it
                traceback.print_exc()
                answer = {"error": f"{type(fault).__name__}: {fault}"}
            print("command:", *words, answer.get("error", "done"), flush=True)
            writer.write(json.dumps(answer).encode() + b"\n")
            await writer.drain()
        writer.close()


def broken(_loop, context):
    """A fault in here must not pass for one of the stack: `run` looks for this word."""
    fault = context.get("exception")
    print("SEALS BROKEN:", context["message"], *traceback.format_exception(fault) if fault else (), flush=True)


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--socket", required=True)
    parser.add_argument("--bthome", type=int, default=3)
    parser.add_argument("--encrypted", type=int, default=1)
    parser.add_argument("--segel", type=int, default=2)
    parser.add_argument("--interval", type=int, default=200)
    options = parser.parse_args()
    bthome.check()
    asyncio.get_running_loop().set_exception_handler(broken)
    stage = Stage(options)
    await stage.start()
    # The socket appears when everything stands, and not before.
    await asyncio.start_unix_server(stage.converse, options.socket + ".new")
    os.rename(options.socket + ".new", options.socket)
    print("ready:", *stage.seals, flush=True)
    await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    asyncio.run(main())

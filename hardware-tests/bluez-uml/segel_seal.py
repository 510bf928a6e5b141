from gatt_seal import GattSeal
S="5ea10001-7e57-4a11-8b1e-0c0ffee00001"
class SegelSeal(GattSeal):
    def __init__(self, air, number):
        super().__init__(air, f"SEGEL{number}", f"C0:DE:5E:00:{number >> 8:02X}:{number & 255:02X}", -60, S, S.replace("5ea10001","5ea10002"), S.replace("5ea10001","5ea10003"))
    def advertisement(self):
        return b"\x02\x01\x06\x05\x16\x34\x12\x01\x02"
    def written(self, value):
        return [bytes(reversed(value))]

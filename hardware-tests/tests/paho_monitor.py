"""A monitor on paho-mqtt, for the tests at the wire.

    paho_monitor.py HOST PORT FILTER

Speaks MQTT 3.1.1, subscribes, and prints one JSON object per line for what it hears:

    {"said": "connected", "code": 0}
    {"said": "subscribed", "granted": [1]}
    {"said": "message", "topic": "...", "retain": true, "payload": "..."}
    {"said": "disconnected"}

A line "TOPIC PAYLOAD" on standard input is published with QoS 1. It does not come back after a disconnection, and
ends with its standard input.
"""

import json
import sys

import paho.mqtt.client as mqtt


def say(what, **more):
    print(json.dumps({"said": what, **more}), flush=True)


def on_connect(client, wanted, flags, code, *properties):
    say("connected", code=getattr(code, "value", code))
    client.subscribe(wanted, qos=1)


def on_subscribe(client, wanted, mid, granted, *properties):
    say("subscribed", granted=[getattr(code, "value", code) for code in granted])


def on_message(client, wanted, message):
    say("message", topic=message.topic, retain=bool(message.retain), payload=message.payload.decode())


def on_disconnect(client, wanted, *more):
    say("disconnected")
    client.disconnect()  # otherwise the loop would connect again


def main():
    host, port, wanted = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    options = {"client_id": "paho-monitor", "userdata": wanted, "protocol": mqtt.MQTTv311}
    if hasattr(mqtt, "CallbackAPIVersion"):  # paho-mqtt 2 wants to be told which callbacks these are
        client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, **options)
    else:
        client = mqtt.Client(**options)
    client.on_connect, client.on_subscribe = on_connect, on_subscribe
    client.on_message, client.on_disconnect = on_message, on_disconnect
    client.connect(host, port, keepalive=30)
    client.loop_start()
    for line in sys.stdin:
        topic, _, payload = line.rstrip("\n").partition(" ")
        client.publish(topic, payload, qos=1)
    client.disconnect()


main()

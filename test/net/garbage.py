#!/usr/bin/env python3
"""garbage.py ADDRESS SECONDS A_SECOND: what strangers send to an IKE port, so many datagrams a second.

Of each kind the first datagrams come from one source port, then from many, so that neither one peer's share nor
everybody's hides a line of the log that is not limited. Prints how many it sent.
"""
import os
import random
import socket
import struct
import sys
import time

random.seed(1)


def header(first, exchange, flags, length, version=0x20, spi_i=None, spi_r=bytes(8), message_id=0):
    return (spi_i or os.urandom(8)) + spi_r + struct.pack("!BBBBII", first, version, exchange, flags, message_id, length)


def payload(kind_of_next, body, critical=0):
    return struct.pack("!BBH", kind_of_next, critical, 4 + len(body)) + body


def proposal(encr, bits, group):
    transforms = (struct.pack("!BBHBBHHH", 3, 0, 12, 1, 0, encr, 0x800E, bits) + struct.pack("!BBHBBH", 3, 0, 8, 2, 0, 5)
                  + struct.pack("!BBHBBH", 0, 0, 8, 4, 0, group))
    return struct.pack("!BBHBBBB", 0, 0, 8 + len(transforms), 1, 1, 0, 3) + transforms


def first_request(encr=20, bits=256, group=31, extra=b"", first=33, **kind):
    body = extra + payload(34, proposal(encr, bits, group)) + payload(40, struct.pack("!HH", group, 0) + os.urandom(32)) \
        + payload(0, os.urandom(32))
    return header(first, 34, 0x08, 28 + len(body), **kind) + body


def spoilt():
    whole = bytearray(first_request())
    for _ in range(4):
        whole[random.randrange(28, len(whole))] ^= 1 << random.randrange(8)
    return bytes(whole)


def sealed(exchange):
    body = payload(35, os.urandom(60))
    return header(46, exchange, 0x08, 28 + len(body), spi_r=os.urandom(8), message_id=1) + body


KINDS = (
    lambda: os.urandom(random.randrange(1, 400)),
    lambda: first_request(version=0x10),
    lambda: first_request(version=0x30),
    lambda: first_request(encr=3, bits=128),
    lambda: first_request(extra=payload(33, b"", 0x80), first=200),
    lambda: first_request()[:random.randrange(28, 120)],
    spoilt,
    lambda: sealed(35),
    lambda: sealed(36),
    lambda: sealed(37),
    first_request,
)


def main():
    address, seconds, rate = sys.argv[1], float(sys.argv[2]), float(sys.argv[3])
    one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sent, start = 0, time.monotonic()
    while (now := time.monotonic() - start) < seconds:
        while sent < now * rate:
            many = one if now < seconds / 2 else socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            try:
                many.sendto(KINDS[sent % len(KINDS)](), (address, 500))
            except OSError:
                pass
            if many is not one:
                many.close()
            sent += 1
        time.sleep(0.01)
    print(sent)


main()

#!/usr/bin/env python3
"""libre_esp.py ADDRESS: ESP (RFC 4303, AES-GCM, tunnel mode, IPv4) for a libreswan on this host whose kernel has none.

libre_xfrm.c tells of pluto's SAs on the abstract socket "xfrm". Echo requests that come in on one of them are
answered on the newest SA outward, so that a ping shows whether both ends have the same keys and SPIs. One line
to stdout for each SA that comes or goes, and for each packet that does not open.
"""
import ipaddress
import select
import socket
import struct
import sys

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

NEWSA, DELSA, UPDSA = 0x10, 0x11, 0x1A
ATTRIBUTE_AEAD, USERSA_LEN, FLAG_ESN = 18, 224, 128


class Sa:
    def __init__(self, remote, spi, key, icv_len, esn):
        self.remote, self.spi, self.cipher, self.salt = remote, spi, AESGCM(key[:-4]), key[-4:]
        self.icv_len, self.esn, self.sent = icv_len, esn, 0

    def associated(self, sequence):
        return self.spi + (bytes(4) if self.esn else b"") + sequence

    def open(self, packet):
        sequence, iv = packet[4:8], packet[8:16]
        inner = self.cipher.decrypt(self.salt + iv, packet[16:], self.associated(sequence))
        return inner[:-2 - inner[-2]], inner[-1]

    def seal(self, inner):
        self.sent += 1
        sequence, iv = struct.pack("!I", self.sent), struct.pack("!Q", self.sent)
        pad = bytes(range(1, 1 + -(len(inner) + 2) % 4))
        plain = inner + pad + bytes((len(pad), 4))
        return self.spi + sequence + iv + self.cipher.encrypt(self.salt + iv, plain, self.associated(sequence))


def attributes(octets):
    while len(octets) >= 4:
        length, kind = struct.unpack_from("=HH", octets)
        if length < 4:
            return
        yield kind, octets[4:length]
        octets = octets[(length + 3) & ~3:]


def take(message, own, inward, outward):
    """One message for the kernel: an SA comes or goes."""
    kind, = struct.unpack_from("=H", message, 4)
    body = message[16:]
    if kind == DELSA:
        spi = body[16:20]
        if inward.pop(spi, None) or outward.pop(spi, None):
            print("gone", spi.hex(), flush=True)
        return
    remote, spi, flags = ipaddress.ip_address(body[56:60]), body[72:76], body[216]
    for name, value in attributes(body[USERSA_LEN:]):
        if name == ATTRIBUTE_AEAD:
            bits, icv = struct.unpack_from("=II", value, 64)
            side = inward if str(remote) == own else outward
            side.pop(spi, None)
            side[spi] = Sa(str(remote), spi, value[72:72 + bits // 8], icv // 8, bool(flags & FLAG_ESN))
            print("new", "in" if side is inward else "out", spi.hex(), flush=True)


def checksum(octets):
    total = sum(struct.unpack(f"!{len(octets) // 2}H", octets)) if len(octets) % 2 == 0 else 0
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def echo_reply(packet):
    """The answer to an echo request, or None."""
    head = (packet[0] & 15) * 4
    if packet[0] >> 4 != 4 or packet[9] != 1 or packet[head] != 8:
        return None
    icmp = bytes(4) + packet[head + 4:]
    icmp = struct.pack("!BBH", 0, 0, checksum(icmp + bytes(len(icmp) % 2))) + icmp[4:]
    ip = bytearray(packet[:head])
    ip[12:16], ip[16:20], ip[10:12] = packet[16:20], packet[12:16], bytes(2)
    ip[10:12] = struct.pack("!H", checksum(bytes(ip)))
    return bytes(ip) + icmp


def carry(datagram, raw, inward, outward):
    packet = datagram[(datagram[0] & 15) * 4:]
    sa = inward.get(packet[:4])
    if not sa:
        return
    try:
        inner, kind = sa.open(packet)
    except InvalidTag:
        print("does not open", packet[:4].hex(), flush=True)
        return
    reply = echo_reply(inner) if kind == 4 else None
    if reply and outward:
        out = next(reversed(outward.values()))
        raw.sendto(out.seal(reply), (out.remote, 0))


def main():
    own, inward, outward = sys.argv[1], {}, {}
    told = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    told.bind("\0xfrm")
    raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, 50)
    while True:
        for one in select.select((told, raw), (), ())[0]:
            if one is told:
                take(told.recv(4096), own, inward, outward)
            else:
                carry(raw.recv(65535), raw, inward, outward)


main()

#!/usr/bin/env python3
"""A long TCP connection that says whether it arrived whole, both ways at once.

    flow.py serve ADDRESS PORT KILOBYTES_A_SECOND
    flow.py call ADDRESS PORT KILOBYTES_A_SECOND STOP [FROM]

The caller ends when the file STOP appears, and the other side with it. Each side sends numbered blocks whose content follows from the number, at that rate, and checks each octet
of what comes. The last line is "sent N received N intact" or what went wrong; the status says the same."""

import hashlib
import os
import socket
import sys
import threading
import time

BLOCK = 8192


def block(side, number):
    seed = hashlib.sha256(f'{side} {number}'.encode()).digest()
    return seed * (BLOCK // len(seed))


def send(sock, side, ended, rate, result):
    begun, number = time.monotonic(), 0
    while not ended():
        sock.sendall(block(side, number))
        number += 1
        ahead = begun + number * BLOCK / (rate * 1000) - time.monotonic()
        if ahead > 0:
            time.sleep(ahead)
    sock.shutdown(socket.SHUT_WR)
    result['sent'] = number


def receive(sock, side, result):
    got, number = b'', 0
    while True:
        data = sock.recv(65536)
        if not data:
            break
        got += data
        while len(got) >= BLOCK:
            if got[:BLOCK] != block(side, number):
                result['wrong'] = f'block {number} is not what was sent'
                return
            got, number = got[BLOCK:], number + 1
    if got:
        result['wrong'] = f'{len(got)} octets at the end are no whole block'
    result['received'] = number


def guarded(result, function, *arguments):
    try:
        function(*arguments, result)
    except OSError as error:
        result['wrong'] = f'{function.__name__}: {error}'


def run(sock, own, other, stop, rate):
    result = {'sent': 0, 'received': 0}
    hearer = threading.Thread(target=guarded, args=(result, receive, sock, other))
    hearer.start()
    guarded(result, send, sock, own, lambda: not hearer.is_alive() or stop and os.path.exists(stop), rate)
    hearer.join()
    print('sent', result['sent'], 'received', result['received'], result.get('wrong', 'intact'), flush=True)
    return 'wrong' in result


def main():
    address, port = sys.argv[2], int(sys.argv[3])
    family = socket.AF_INET6 if ':' in address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    if sys.argv[1] == 'serve':
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((address, port))
        sock.listen(1)
        print('listening', flush=True)
        peer, _ = sock.accept()
        sys.exit(run(peer, 'server', 'client', None, int(sys.argv[4])))
    if len(sys.argv) > 6:
        sock.bind((sys.argv[6], 0))
    sock.connect((address, port))
    sys.exit(run(sock, 'client', 'server', sys.argv[5], int(sys.argv[4])))


main()

#!/usr/bin/env python3
"""doc/interop.md, the table of test/net/matrix.sh, made anew from itself and from what has been run.

  matrix_table.py merge DOC DIR            results: DIR/PEER-ROLE
  matrix_table.py missing DOC PEER ROLE    prints names that DOC lacks or says to fail: a|b|c

Stdin is the list of all cells, in order.

A result is a line "name|what it was|ok, refused or fails|detail"; a line of the list is
"PEER|ROLE|name|what it is". A cell with a new result takes it, one without keeps what DOC says, one
that is not in the list any more goes, and one that has never been run is named below its table.
"""
import os
import sys
import textwrap

TITLES = {
    'six': 'strongSwan 6.1.0', 'five': 'strongSwan 5.9.8', 'libre': 'libreswan 5.2', 'iked': 'OpenIKED 7.4',
}

HEAD = '''# Interoperability

Each line is a real run between Shrike and a program that others wrote, made by `test/net/matrix.sh`: connect, ping both
ways through the tunnel, do what the line says while pings run, look at the SAs on both sides, ping again. No ping may be lost
at a rekey; where addresses change, the line says how many were lost. A client network behind a router that does NAT, unless
the line says otherwise. strongSwan runs with its user-space data plane (kernel-libipsec: always ESP in UDP, no ESN, no AH), libreswan and OpenIKED with the ESP of
Debian 12's kernel, in a virtual machine that emulates the processor: times there say nothing.

Not in the tables: transport mode with strongSwan 6.1.0 and the kernel's ESP and AH, both roles, IPv4 and IPv6, with and without
a NAT before the client or the gateway, rekeys by either side (`test/net/transport_peer.sh`, all well); traffic flow
confidentiality with strongSwan and libreswan (`test/net/tfc.sh`); what a hostile libreswan does (doc/hostile.md); defaults on both
sides with libreswan 5.2 (`test/net/defaults.sh`, part of `./check`). Our offer begins with ML-KEM in types of transforms that
libreswan does not know: as responder it takes the proposal after that (its log: "proposal 2"), wants another group than our first guess
(ECP-256), and the tunnel, pings and rekeys by either side are well; so are they with libreswan as initiator, with its switch
`intermediate=yes`, too. A libreswan gateway with that switch (not its default) refuses our AUTH: it lets AUTH cover an exchange
that was agreed on and not held. Shrike names that when it is refused; `pq = off`, or no switch there, is the way out. Our IKE_SA_INIT
has 588 octets of UDP, 620 with that group, 1108 with MODP-4096 and a cookie: far enough from the 1232 that pass everywhere.

"refused" means that one side must not or cannot accept and does not, with what Shrike says of it; "fails" is a fault,
or a run that did not finish. This file is written by the script alone; `test/net/matrix.sh PEER ROLE PATTERN` runs some
lines anew and keeps the others.
'''


def read_doc(path):
    """What DOC says: (PEER-ROLE, name) -> (what, result)"""
    rows, section = {}, None
    sections = {f'{title}, Shrike is the {role}': f'{peer}-{role}'
                for peer, title in TITLES.items() for role in ('initiator', 'responder')}
    if not os.path.exists(path):
        return rows
    for line in open(path, encoding='utf-8'):
        if line.startswith('## '):
            section = sections.get(line[3:].strip())
        parts = line.strip().split(' | ')
        if section and len(parts) == 3 and parts[0].startswith('| ') and parts[0] not in ('| cell', '| ---'):
            rows[section, parts[0][2:]] = parts[1], parts[2].removesuffix(' |')
    return rows


def read_results(folder):
    rows = {}
    for peer in TITLES:
        for role in ('initiator', 'responder'):
            path = os.path.join(folder, f'{peer}-{role}')
            if os.path.exists(path):
                for line in open(path, encoding='utf-8'):
                    name, what, result, detail = line.rstrip('\n').split('|', 3)
                    rows[f'{peer}-{role}', name] = what, result + (f': {detail}' if detail else '')
    return rows


def table(title, cells, rows):
    have = [(name, *rows[at, name]) for at, name in cells if (at, name) in rows]
    missing = [name for at, name in cells if (at, name) not in rows]
    lines = [f'\n## {title}\n']
    if have:
        lines += ['| cell | what | result |', '| --- | --- | --- |']
        lines += [f'| {name} | {what} | {result} |' for name, what, result in have]
    if missing:
        lines += [''] * bool(have) + textwrap.wrap(f'Not run: {", ".join(missing)}.', 150, break_on_hyphens=False)
    return lines


def merge(cells, path, folder):
    rows = read_doc(path) | read_results(folder)
    results = [rows[cell][1] for cell in cells if cell in rows]
    count = {word: sum(result.startswith(word) for result in results) for word in ('ok', 'refused', 'fails')}
    lines = [HEAD, f'{len(results)} cells: {count["ok"]} ok, {count["refused"]} refused, {count["fails"]} fail. '
             f'{len(cells) - len(results)} more have not been run.']
    for peer, title in TITLES.items():
        for role in ('initiator', 'responder'):
            mine = [cell for cell in cells if cell[0] == f'{peer}-{role}']
            lines += table(f'{title}, Shrike is the {role}', mine, rows)
    with open(path + '.new', 'w', encoding='utf-8') as out:
        out.write('\n'.join(lines) + '\n')
    os.replace(path + '.new', path)


def missing(cells, path, peer, role):
    rows = read_doc(path)
    print('|'.join(name for at, name in cells if at == f'{peer}-{role}'
                   and rows.get((at, name), ('', 'fails'))[1].startswith('fails')))


def main():
    cells = []
    for line in sys.stdin:
        peer, role, name = line.rstrip('\n').split('|')[:3]
        cells.append((f'{peer}-{role}', name))
    {'merge': merge, 'missing': missing}[sys.argv[1]](cells, *sys.argv[2:])


main()

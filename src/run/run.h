/* run: processes. This is where ike, esp, net and the files meet; nothing below knows of the
 * others.
 *
 *   monitor  starts first, as root: reads the configuration, opens TUN and sockets, makes the
 * socket pairs, forks the children, then keeps CAP_NET_ADMIN only. Sets addresses, routes, DNS, nft
 * on request of `ike` (NET_UP, NET_DOWN); serves the control socket; restarts a child that died,
 * with backoff, and hands its neighbours a fresh socket pair. keys     loads private keys and PSKs,
 * then answers `ike`: sign, verify a PSK, admit and lease. ike      the engine, its UDP sockets,
 * and nothing else. esp      the data plane: TUN queues and UDP workers.
 *
 * A process boundary is a SOCK_SEQPACKET pair carrying the fixed-size structs of run/ipc.h. Each
 * child has its own uid, no capabilities, no_new_privs, a seccomp allow-list, an empty Landlock
 * ruleset, and is not dumpable (run/sandbox.c). If `ike` dies, `esp` goes on; if `esp` or `keys`
 * dies, `ike` is restarted with it where SAs would be lost; if `monitor` dies, its children see the
 * closed pair and end.
 */
#ifndef SHRIKE_RUN_H
#define SHRIKE_RUN_H

#include "conf/conf.h"

/* The memory of the command line, which children write their title over. Call it first. */
void run_title_room(int argc, char **argv);

/* Runs a gateway or a client tunnel until told to stop; takes conf. ready_fd: written one octet
 * when the control socket answers (-1 = none). Returns the program's exit code. */
int run_monitor(struct conf *conf, int ready_fd);

#endif

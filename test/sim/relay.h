/* A relay between the usual two that holds every datagram until it is told which one goes on, and
 * can say what is in it: for exchanges written out message by message. */
#ifndef SHRIKE_TEST_SIM_RELAY_H
#define SHRIKE_TEST_SIM_RELAY_H

#include "ike/internal.h"

#include "pair.h"

enum { RELAY_HELD = 32, RELAY_TEXT = 160 };

struct relay {
    struct pair *pair;
    struct sim_datagram *held[RELAY_HELD]; /* in the order they were sent */
    size_t count;
};

void relay_begin(struct relay *relay, struct pair *pair); /* from now on all is held */
void relay_end(struct relay *relay); /* what is held is lost; the network is as before */
/* The first held one of this host, a request or an answer; -1 = none. */
int relay_find(const struct relay *relay, const struct sim_host *from, bool response);
void relay_deliver(struct relay *relay, int at);
void relay_lose(struct relay *relay, int at);

/* What it says inside: "SA", "SA REKEY_SA", "DELETE", "N(TEMPORARY_FAILURE)", "" = empty. */
void relay_text(const struct relay *relay, int at, char text[static RELAY_TEXT]);
/* Its nonce; false when it has none. */
bool relay_nonce(const struct relay *relay, int at, uint8_t nonce[static WIRE_NONCE_MAX],
                 size_t *len);

/* The IKE SAs of a host, the one that carries the tunnel first, with their children:
 *   IKE SA: E established, e established but (not yet) nobody's, R rekeyed, D deleting,
 *           n being made; one that has ended and only repeats its last answer is not shown
 *   child:  c being made, u up, r replaced, d deleting, m deleting and deleted by the peer too; a
 *           capital letter: the one that the data plane sends with
 * "-" = nothing at all. */
void relay_state(const struct sim_host *host, char text[static RELAY_TEXT]);
/* Whatever one side would send now, the other one can open; true as well when a side has nothing
 * to send with but what still waits for its peer, or the other has closed the tunnel. */
bool relay_carries(const struct pair *pair);

#endif

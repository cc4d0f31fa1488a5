/* Every state an IKE SA can be in, and how to bring one into it. */
#ifndef SHRIKE_TEST_SIM_STAGES_H
#define SHRIKE_TEST_SIM_STAGES_H

#include "ike/internal.h"

#include "pair.h"

/* The SA under test: which host holds it and which state it is in. */
struct stage {
    const char *name;
    uint8_t state;
    bool client; /* the SA under test is the client's, else the gateway's */
};
enum { STAGES = 9 };
extern const struct stage stages[STAGES];

/* Brings the pair to the stage; returns the SPI that the host under test has given. */
uint64_t stage_reach(struct pair *p, const struct stage *stage);
/* The SA of this engine whose other end has this SPI, or that has it itself; 0 = any. */
struct sa *stage_sa(struct ike_engine *e, uint64_t spi_peer);
/* A filter: what stage_reach() has not let through goes on being lost. */
enum sim_fate stage_drop(struct sim *sim, struct sim_datagram *d);

#endif

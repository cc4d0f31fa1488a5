/* Apart from worlds.h: the crypto library has an ERR_STATE of its own. */
#ifndef SHRIKE_TEST_SIM_DULL_H
#define SHRIKE_TEST_SIM_DULL_H

#include <stdint.h>

void dull_random(uint64_t seed);

#endif

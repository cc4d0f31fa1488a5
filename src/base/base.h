/* base: what every folder stands on.
 *
 * Small types without policy: bounded cursors over bytes (buf), the list of local errors (err),
 * addresses and traffic selectors (addr), identities (identity), transforms and proposals as plain
 * numbers (transform), a keyed hash map (map), fixed-size object pools (slab), a deadline heap
 * (timer), secrets that are wiped (secret), budgets a second (budget), and the
 * log.
 *
 * Nothing here allocates behind the caller's back except slab and map, whose limits are given when
 * they are made. Nothing here reads a clock: time is an argument, microseconds on a monotonic clock
 * whose zero is nobody's business.
 *
 * Rules of thumb:
 *   - bytes that came from outside are read through `struct reader` only; failure is sticky and
 * checked once at the end;
 *   - functions that can fail return 0 or a negative `enum err`, and the compiler insists that the
 * result is used;
 *   - what held a secret is wiped with secret_wipe() before its memory is given back.
 */
#ifndef SHRIKE_BASE_H
#define SHRIKE_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MUST_USE               __attribute__((warn_unused_result))
#define ALWAYS_INLINE          static inline __attribute__((always_inline))
#define PRINTF_LIKE(at, first) __attribute__((format(printf, at, first)))
#define ARRAY_LEN(array)       (sizeof(array) / sizeof((array)[0]))

/* Microseconds on a monotonic clock. */
typedef uint64_t time_us;
#define TIME_SECOND      ((time_us)1000000)
#define TIME_MILLISECOND ((time_us)1000)
#define TIME_NEVER       UINT64_MAX

#include "base/err.h"
#include "base/buf.h"
#include "base/secret.h"
#include "base/addr.h"
#include "base/identity.h"
#include "base/transform.h"
#include "base/map.h"
#include "base/slab.h"
#include "base/timer.h"
#include "base/budget.h"
#include "base/log.h"

#endif

#include "crypto/keccak.h"

#include <endian.h>
#include <string.h>

enum { ROUNDS = 24, DOMAIN_SHA3 = 0x06, DOMAIN_SHAKE = 0x1f, RATE_MAX = 168 };

static const uint64_t constants[ROUNDS] = {
    0x0000000000000001, 0x0000000000008082, 0x800000000000808a, 0x8000000080008000,
    0x000000000000808b, 0x0000000080000001, 0x8000000080008081, 0x8000000000008009,
    0x000000000000008a, 0x0000000000000088, 0x0000000080008009, 0x000000008000000a,
    0x000000008000808b, 0x800000000000008b, 0x8000000000008089, 0x8000000000008003,
    0x8000000000008002, 0x8000000000000080, 0x000000000000800a, 0x800000008000000a,
    0x8000000080008081, 0x8000000000008080, 0x0000000080000001, 0x8000000080008008,
};

typedef uint64_t four __attribute__((vector_size(32)));

#define LANE  uint64_t
#define ROUND round_one
#include "crypto/keccak_round.h"
#undef LANE
#undef ROUND
#define LANE  four
#define ROUND round_four
#include "crypto/keccak_round.h"
#undef LANE
#undef ROUND

static uint64_t get_lane(const uint8_t *from)
{
    uint64_t lane;

    memcpy(&lane, from, sizeof(lane));
    return le64toh(lane);
}

static void put_lane(uint8_t *to, uint64_t lane)
{
    lane = htole64(lane);
    memcpy(to, &lane, sizeof(lane));
}

/* ---- one state ---- */

static void permute_one(uint64_t lanes[KECCAK_LANES])
{
    uint64_t a[KECCAK_LANES], e[KECCAK_LANES];

    memcpy(a, lanes, sizeof(a));
    for (int i = 0; i < ROUNDS; i += 2) {
        round_one(a, e, constants[i]);
        round_one(e, a, constants[i + 1]);
    }
    memcpy(lanes, a, sizeof(a));
}

static void absorb_block(uint64_t lanes[KECCAK_LANES], const uint8_t *block, size_t rate)
{
    for (size_t i = 0; i < rate / 8; i++)
        lanes[i] ^= get_lane(block + 8 * i);
    permute_one(lanes);
}

/* out_len is less than a block. */
static void hash(const struct bytes *parts, size_t count, size_t rate, uint8_t domain, uint8_t *out,
                 size_t out_len)
{
    uint64_t lanes[KECCAK_LANES] = {0};
    uint8_t block[RATE_MAX];
    size_t used = 0;

    for (size_t i = 0; i < count; i++)
        for (size_t at = 0; at < parts[i].len;) {
            size_t room = rate - used, left = parts[i].len - at, n = left < room ? left : room;

            memcpy(block + used, parts[i].at + at, n);
            at += n, used += n;
            if (used == rate) {
                absorb_block(lanes, block, rate);
                used = 0;
            }
        }
    memset(block + used, 0, rate - used);
    block[used] = domain;
    block[rate - 1] |= 0x80;
    absorb_block(lanes, block, rate);
    for (size_t i = 0; i < out_len / 8; i++)
        put_lane(out + 8 * i, lanes[i]);
    secret_wipe(block, sizeof(block));
    secret_wipe(lanes, sizeof(lanes));
}

void keccak_sha3_256(const struct bytes *parts, size_t count, uint8_t out[static 32])
{
    hash(parts, count, 136, DOMAIN_SHA3, out, 32);
}

void keccak_sha3_512(const struct bytes *parts, size_t count, uint8_t out[static 64])
{
    hash(parts, count, 72, DOMAIN_SHA3, out, 64);
}

void keccak_shake256(const struct bytes *parts, size_t count, uint8_t out[static 32])
{
    hash(parts, count, SHAKE256_RATE, DOMAIN_SHAKE, out, 32);
}

/* ---- four states ---- */

ALWAYS_INLINE void permute_four(struct keccak4 *k)
{
    four a[KECCAK_LANES], e[KECCAK_LANES];

    memcpy(a, k->lanes, sizeof(a));
    for (int i = 0; i < ROUNDS; i += 2) {
        round_four(a, e, constants[i]);
        round_four(e, a, constants[i + 1]);
    }
    memcpy(k->lanes, a, sizeof(a));
}

void keccak4_permute_plain(struct keccak4 *k)
{
    permute_four(k);
}

#ifdef __x86_64__
__attribute__((target("avx2"))) void keccak4_permute_avx2(struct keccak4 *k)
{
    permute_four(k);
}
#endif

void keccak4_absorb(struct keccak4 *k, const uint8_t *const in[KECCAK_FOUR], size_t len,
                    size_t rate)
{
    uint8_t block[RATE_MAX];

    memset(k, 0, sizeof(*k));
    for (size_t j = 0; j < KECCAK_FOUR; j++) {
        memset(block, 0, sizeof(block));
        memcpy(block, in[j], len);
        block[len] = DOMAIN_SHAKE;
        block[rate - 1] |= 0x80;
        for (size_t i = 0; i < rate / 8; i++)
            k->lanes[i][j] = get_lane(block + 8 * i);
    }
    secret_wipe(block, sizeof(block));
}

void keccak4_squeeze(struct keccak4 *k, keccak4_permute *permute, uint8_t *const out[KECCAK_FOUR],
                     size_t rate)
{
    permute(k);
    for (size_t j = 0; j < KECCAK_FOUR; j++)
        for (size_t i = 0; i < rate / 8 && out[j] != NULL; i++)
            put_lane(out[j] + 8 * i, k->lanes[i][j]);
}

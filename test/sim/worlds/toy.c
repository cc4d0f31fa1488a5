/* A key exchange for worlds in a hurry: Diffie-Hellman modulo 2^61 - 1, dressed up in the sizes of
 * the group that was asked for. It is worth nothing as a secret and costs a hundredth; all that the
 * engine does with it is the same. The linker puts it in the way (__wrap_), and it steps aside when
 * it is off. */
#include "worlds.h"

enum { DRESS = 8 };

struct toy {
    const struct kex_alg *alg;
    uint64_t exponent;
    bool answers;
    uint8_t value[KEX_PUBLIC_MAX];
};

int __wrap_kex_create(const struct kex_alg *alg, const struct random *random, struct kex **out);
const struct kex_alg *__wrap_kex_alg(const struct kex *kex);
int __wrap_kex_answer(const struct kex_alg *alg, const struct random *random, struct bytes peer,
                      struct kex **out);
struct bytes __wrap_kex_value(const struct kex *kex);
int __wrap_kex_derive(const struct kex *kex, struct bytes peer, uint8_t secret[KEX_SECRET_MAX]);
void __wrap_kex_free(struct kex *kex);
int __real_kex_create(const struct kex_alg *alg, const struct random *random, struct kex **out);
const struct kex_alg *__real_kex_alg(const struct kex *kex);
int __real_kex_answer(const struct kex_alg *alg, const struct random *random, struct bytes peer,
                      struct kex **out);
struct bytes __real_kex_value(const struct kex *kex);
int __real_kex_derive(const struct kex *kex, struct bytes peer, uint8_t secret[KEX_SECRET_MAX]);
void __real_kex_free(struct kex *kex);

static bool on;

void toy_kex(bool use)
{
    on = use;
}

static uint64_t power(uint64_t base, uint64_t exponent)
{
    const uint64_t p = (UINT64_C(1) << 61) - 1;
    uint64_t result = 1;
    for (base %= p; exponent > 0; exponent >>= 1) {
        if (exponent & 1)
            result = (uint64_t)((unsigned __int128)result * base % p);
        base = (uint64_t)((unsigned __int128)base * base % p);
    }
    return result;
}

static void dress(uint64_t value, uint8_t *out, size_t len)
{
    uint64_t state = value;
    for (size_t i = 0; i < len; i++)
        out[i] = i < DRESS ? (uint8_t)(value >> 8 * i) : (uint8_t)sim_random(&state);
}

static size_t value_len(const struct kex_alg *alg, bool answers)
{
    return answers ? alg->answer_len : alg->public_len;
}

static struct kex *make(const struct kex_alg *alg, const struct random *random, bool answers)
{
    struct toy *toy = calloc(1, sizeof(*toy));
    assert_non_null(toy);
    toy->alg = alg;
    toy->exponent = random_u64(random) | 1;
    toy->answers = answers;
    dress(power(37, toy->exponent), toy->value, value_len(alg, answers));
    return (struct kex *)toy;
}

int __wrap_kex_create(const struct kex_alg *alg, const struct random *random, struct kex **out)
{
    if (!on)
        return __real_kex_create(alg, random, out);
    *out = make(alg, random, false);
    return 0;
}

int __wrap_kex_answer(const struct kex_alg *alg, const struct random *random, struct bytes peer,
                      struct kex **out)
{
    if (!on)
        return __real_kex_answer(alg, random, peer, out);
    *out = make(alg, random, true);
    return 0;
}

const struct kex_alg *__wrap_kex_alg(const struct kex *kex)
{
    return on ? ((const struct toy *)kex)->alg : __real_kex_alg(kex);
}

struct bytes __wrap_kex_value(const struct kex *kex)
{
    const struct toy *toy = (const struct toy *)kex;
    if (!on)
        return __real_kex_value(kex);
    return (struct bytes){toy->value, value_len(toy->alg, toy->answers)};
}

int __wrap_kex_derive(const struct kex *kex, struct bytes peer, uint8_t secret[KEX_SECRET_MAX])
{
    const struct toy *toy = (const struct toy *)kex;
    uint8_t whole[KEX_PUBLIC_MAX];
    uint64_t value = 0;
    if (!on)
        return __real_kex_derive(kex, peer, secret);
    if (peer.len != value_len(toy->alg, !toy->answers))
        return ERR_KE;
    for (size_t i = 0; i < DRESS; i++)
        value |= (uint64_t)peer.at[i] << 8 * i;
    dress(value, whole, peer.len);
    if (memcmp(whole, peer.at, peer.len) != 0)
        return ERR_KE; /* damaged: not a point of the group */
    dress(power(value, toy->exponent), secret, toy->alg->secret_len);
    return 0;
}

void __wrap_kex_free(struct kex *kex)
{
    if (on)
        free(kex);
    else
        __real_kex_free(kex);
}

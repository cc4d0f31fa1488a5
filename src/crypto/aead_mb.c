/* The fast back end on x86: ipsec-mb. AES-GCM goes through the direct calls, one packet at a time,
 * which keep a modern core busy by themselves. ChaCha20-Poly1305 and CBC with HMAC go through the
 * job manager, which works on several packets at once in the lanes of a vector: the more packets
 * a call brings, the better it does.
 *
 * The MAC of encrypt-then-MAC must be contiguous for a job: with extended sequence numbers the high
 * half goes where the ICV is, or will be, and the ICV is put (back) there afterwards. */
#include "crypto/aead_form.h"

#ifdef HAVE_IPSEC_MB

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <intel-ipsec-mb.h>

/* The lanes count in 16 bits; longer messages are left to libcrypto. */
enum { JOB_MAX = 65000 };

/* The key schedules in use, 1 kB each: as many as fit the level-2 cache beside the packets. */
enum { SLOTS = 64 };

struct schedule {
    _Alignas(16) uint8_t encrypt[240], decrypt[240];
};

/* What a key expands to. The head's 16 octets let the powers of the GCM hash key, 240 octets into
 * the library's struct, begin on a cache line. */
struct slot {
    _Alignas(64) uint64_t serial; /* 0 = empty */
    uint64_t batch;               /* the last one that used it */
    union {
        struct gcm_key_data gcm;
        struct schedule cbc;
    };
};

/* What a job needs until it is done. */
struct work {
    _Alignas(16) uint8_t tag[AEAD_TAG_MAX];
    uint8_t nonce[16];
    uint8_t covered[4]; /* of the ICV, while esn_high stands there */
    struct aead_op *op;
};

struct mb {
    struct gcm_context_data gcm;
    IMB_MGR *mgr;
    uint64_t batch; /* counts calls */
    struct slot slots[SLOTS];
    struct work work[AEAD_BATCH];
};

/* ---- is it worth it ---- */

static pthread_once_t probe_once = PTHREAD_ONCE_INIT;
static bool usable;
static const char *name = "";

/* Below AVX2 libcrypto's code is as good; with a self-test that fails it is better. */
static void probe(void)
{
    IMB_MGR *mgr = alloc_mb_mgr(0);
    const uint64_t need = IMB_FEATURE_AESNI | IMB_FEATURE_PCLMULQDQ | IMB_FEATURE_AVX2;
    IMB_ARCH arch = IMB_ARCH_NONE;

    if (mgr == NULL)
        return;
    init_mb_mgr_auto(mgr, &arch);
    usable = imb_get_errno(mgr) == 0 && arch >= IMB_ARCH_AVX2 && (mgr->features & need) == need;
#ifdef IMB_FEATURE_AESNI_EMU
    usable = usable && (mgr->features & IMB_FEATURE_AESNI_EMU) == 0;
#endif
#ifdef IMB_FEATURE_SELF_TEST_PASS
    usable = usable && ((mgr->features & IMB_FEATURE_SELF_TEST) == 0 ||
                        (mgr->features & IMB_FEATURE_SELF_TEST_PASS) != 0);
#endif
    if (usable)
        name = arch == IMB_ARCH_AVX2                     ? "ipsec-mb, AVX2"
               : (mgr->features & IMB_FEATURE_VAES) != 0 ? "ipsec-mb, AVX-512 and VAES"
                                                         : "ipsec-mb, AVX-512";
    free_mb_mgr(mgr);
}

bool aead_mb_usable(void)
{
    pthread_once(&probe_once, probe);
    return usable;
}

const char *aead_mb_name(void)
{
    return aead_mb_usable() ? name : "";
}

/* ---- engines ---- */

bool aead_mb_create(struct aead_engine *engine)
{
    struct mb *mb = aligned_alloc(64, sizeof(*mb));
    IMB_ARCH arch;

    if (mb == NULL)
        return false;
    memset(mb, 0, sizeof(*mb));
    engine->mb = mb;
    mb->mgr = alloc_mb_mgr(0);
    if (mb->mgr == NULL)
        return false;
    init_mb_mgr_auto(mb->mgr, &arch);
    return imb_get_errno(mb->mgr) == 0;
}

void aead_mb_free(struct aead_engine *engine)
{
    struct mb *mb = engine->mb;

    if (mb == NULL)
        return;
    if (mb->mgr != NULL)
        free_mb_mgr(mb->mgr);
    secret_wipe(mb, sizeof(*mb));
    free(mb);
    engine->mb = NULL;
}

/* ---- key schedules ---- */

static void flush(IMB_MGR *mgr);

static void expand(IMB_MGR *mgr, struct slot *slot, const struct aead *aead)
{
    switch (aead->cipher) {
    case AEAD_AES128_GCM:
        IMB_AES128_GCM_PRE(mgr, aead->key, &slot->gcm);
        break;
    case AEAD_AES256_GCM:
        IMB_AES256_GCM_PRE(mgr, aead->key, &slot->gcm);
        break;
    case AEAD_AES128_CBC:
        IMB_AES_KEYEXP_128(mgr, aead->key, slot->cbc.encrypt, slot->cbc.decrypt);
        break;
    default:
        IMB_AES_KEYEXP_256(mgr, aead->key, slot->cbc.encrypt, slot->cbc.decrypt);
        break;
    }
}

/* Jobs of this batch may still be working with what a slot holds: they go first. */
static struct slot *slot_of(struct mb *mb, const struct aead *aead)
{
    struct slot *slot = &mb->slots[aead->serial % SLOTS];

    if (slot->serial != aead->serial) {
        if (slot->batch == mb->batch)
            flush(mb->mgr);
        expand(mb->mgr, slot, aead);
        slot->serial = aead->serial;
    }
    slot->batch = mb->batch;
    return slot;
}

/* ---- AES-GCM ---- */

static void gcm_run(struct mb *mb, struct aead_op *op, bool seal)
{
    const struct gcm_key_data *key = &slot_of(mb, op->aead)->gcm;
    bool small = op->aead->cipher == AEAD_AES128_GCM;
    IMB_MGR *mgr = mb->mgr;
    uint8_t nonce[12], tag[16];

    memcpy(nonce, op->aead->salt, 4);
    memcpy(nonce + 4, op->iv, 8);
    if (seal) {
        (small ? mgr->gcm128_enc : mgr->gcm256_enc)(key, &mb->gcm, op->text, op->text, op->text_len,
                                                    nonce, op->aad, op->aad_len, op->icv, 16);
        op->ok = true;
    } else {
        (small ? mgr->gcm128_dec : mgr->gcm256_dec)(key, &mb->gcm, op->text, op->text, op->text_len,
                                                    nonce, op->aad, op->aad_len, tag, 16);
        op->ok = secret_equal(tag, op->icv, 16);
    }
}

/* ---- jobs ---- */

/* A hash of one message cannot be spread over lanes, and one lane alone is slow: from this many
 * messages on, measured with AVX-512 against libcrypto with SHA extensions, jobs are faster. */
static bool enough(enum hash_kind mac, size_t messages)
{
    return messages >= (mac == HASH_SHA256 ? 6 : 3);
}

static bool fits_a_job(const struct aead_op *op)
{
    const struct aead *aead = op->aead;

    if (op->text_len == 0 || op->text_len > JOB_MAX)
        return false;
    if (aead->cipher == AEAD_CHACHA20)
        return true;
    if ((aead->cipher != AEAD_AES128_CBC && aead->cipher != AEAD_AES256_CBC) ||
        aead->mac < HASH_SHA256 || aead->mac > HASH_SHA512)
        return false;
    return op->iv == op->aad + op->aad_len && op->text == op->iv + 16 &&
           (!op->has_esn_high || op->icv == op->text + op->text_len);
}

static void chacha_job(IMB_JOB *job, struct work *w)
{
    const struct aead_op *op = w->op;

    memcpy(w->nonce, op->aead->salt, 4);
    memcpy(w->nonce + 4, op->iv, 8);
    job->cipher_mode = IMB_CIPHER_CHACHA20_POLY1305;
    job->hash_alg = IMB_AUTH_CHACHA20_POLY1305;
    job->enc_keys = job->dec_keys = op->aead->key;
    job->key_len_in_bytes = 32;
    job->iv = w->nonce;
    job->iv_len_in_bytes = 12;
    job->u.CHACHA20_POLY1305.aad = op->aad;
    job->u.CHACHA20_POLY1305.aad_len_in_bytes = op->aad_len;
    job->src = op->text;
    job->cipher_start_src_offset_in_bytes = job->hash_start_src_offset_in_bytes = 0;
    job->msg_len_to_hash_in_bytes = op->text_len;
    job->auth_tag_output_len_in_bytes = 16;
}

/* The high half as the last octets under the MAC. */
static size_t place_esn(struct work *w)
{
    struct aead_op *op = w->op;

    if (!op->has_esn_high)
        return 0;
    memcpy(w->covered, op->icv, 4);
    for (int i = 0; i < 4; i++)
        op->icv[i] = (uint8_t)(op->esn_high >> (24 - 8 * i));
    return 4;
}

static void cbc_job(IMB_JOB *job, struct work *w, const struct schedule *keys)
{
    const struct aead_op *op = w->op;
    const struct hmac_key *mac = &op->aead->mac_key->hmac;
    size_t before = (size_t)op->aad_len + 16;

    job->cipher_mode = IMB_CIPHER_CBC;
    job->hash_alg = op->aead->mac == HASH_SHA256   ? IMB_AUTH_HMAC_SHA_256
                    : op->aead->mac == HASH_SHA384 ? IMB_AUTH_HMAC_SHA_384
                                                   : IMB_AUTH_HMAC_SHA_512;
    job->enc_keys = keys->encrypt;
    job->dec_keys = keys->decrypt;
    job->key_len_in_bytes = op->aead->cipher == AEAD_AES128_CBC ? 16 : 32;
    job->iv = op->iv;
    job->iv_len_in_bytes = 16;
    job->u.HMAC._hashed_auth_key_xor_ipad = mac->inner;
    job->u.HMAC._hashed_auth_key_xor_opad = mac->outer;
    job->src = op->aad;
    job->cipher_start_src_offset_in_bytes = before;
    job->hash_start_src_offset_in_bytes = 0;
    job->msg_len_to_hash_in_bytes = before + op->text_len + place_esn(w);
    job->auth_tag_output_len_in_bytes = op->aead->icv_len;
}

static void finish(const IMB_JOB *job)
{
    struct work *w = job->user_data;
    struct aead_op *op = w->op;
    size_t len = op->aead->icv_len;
    bool done = job->status == IMB_STATUS_COMPLETED;

    if (aead_has_mac(op->aead) && op->has_esn_high)
        memcpy(op->icv, w->covered, 4);
    if (job->cipher_direction == IMB_DIR_ENCRYPT) {
        if (done)
            memcpy(op->icv, w->tag, len);
        op->ok = done;
    } else {
        op->ok = done && secret_equal(w->tag, op->icv, len);
    }
}

static void flush(IMB_MGR *mgr)
{
    for (IMB_JOB *job = IMB_FLUSH_JOB(mgr); job != NULL; job = IMB_FLUSH_JOB(mgr))
        finish(job);
}

/* The slot comes before the job: making room may flush. */
static void submit(struct mb *mb, struct work *w, bool seal)
{
    bool cbc = aead_has_mac(w->op->aead);
    const struct slot *slot = cbc ? slot_of(mb, w->op->aead) : NULL;
    IMB_JOB *job = IMB_GET_NEXT_JOB(mb->mgr);

    job->cipher_direction = seal ? IMB_DIR_ENCRYPT : IMB_DIR_DECRYPT;
    job->chain_order = seal ? IMB_ORDER_CIPHER_HASH : IMB_ORDER_HASH_CIPHER;
    if (cbc)
        cbc_job(job, w, &slot->cbc);
    else
        chacha_job(job, w);
    job->dst = w->op->text;
    job->msg_len_to_cipher_in_bytes = w->op->text_len;
    job->auth_tag_output = w->tag;
    job->user_data = w;
    for (job = IMB_SUBMIT_JOB(mb->mgr); job != NULL; job = IMB_GET_COMPLETED_JOB(mb->mgr))
        finish(job);
}

void aead_mb_run(struct aead_engine *engine, struct aead_op *ops, size_t count, bool seal)
{
    struct mb *mb = engine->mb;
    size_t jobs = 0, by_mac[MAC_KINDS] = {0};

    mb->batch++;
    for (size_t i = 0; i < count; i++)
        by_mac[ops[i].aead->mac]++;
    for (size_t i = 0; i < count && i < AEAD_BATCH; i++) {
        enum hash_kind mac = ops[i].aead->mac;

        if (ops[i].aead->cipher <= AEAD_AES256_GCM) {
            gcm_run(mb, &ops[i], seal);
        } else if (fits_a_job(&ops[i]) &&
                   (mac == HASH_NONE || engine->few || enough(mac, by_mac[mac]))) {
            struct work *w = &mb->work[jobs++];

            w->op = &ops[i];
            submit(mb, w, seal);
        } else {
            aead_ossl_run(engine, &ops[i], seal);
        }
    }
    if (jobs > 0)
        flush(mb->mgr);
}

#else /* built without it: nothing is ever expanded */

bool aead_mb_usable(void)
{
    return false;
}

const char *aead_mb_name(void)
{
    return "";
}

bool aead_mb_create(struct aead_engine *engine)
{
    (void)engine;
    return false;
}

void aead_mb_free(struct aead_engine *engine)
{
    (void)engine;
}

void aead_mb_run(struct aead_engine *engine, struct aead_op *ops, size_t count, bool seal)
{
    (void)engine, (void)ops, (void)count, (void)seal;
}

#endif

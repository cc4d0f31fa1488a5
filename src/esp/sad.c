/* Inbound SAs by SPI, and the making of SAs. */
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "esp/ah.h"
#include "esp/transport.h"

enum { ALIGN = 64, PATH_MTU_USUAL = 1500, GCM_OVERHEAD4 = 62, IP4_AND_UDP = 28, IP6_AND_UDP = 48 };

static struct sa *_Atomic *spi_chain(const struct esp_plane *plane, uint32_t spi)
{
    return &plane->spi_heads[(spi * UINT64_C(0x9e3779b97f4a7c15)) >> plane->spi_shift];
}

struct sa *sad_find(const struct esp_plane *plane, uint32_t spi)
{
    struct sa *sa = atomic_load_explicit(spi_chain(plane, spi), memory_order_acquire);
    while (sa && sa->spi_in != spi)
        sa = atomic_load_explicit(&sa->spi_next, memory_order_acquire);
    return sa;
}

void sad_link(struct esp_plane *plane, struct sa *sa)
{
    struct sa *_Atomic *head = spi_chain(plane, sa->spi_in);
    atomic_store_explicit(&sa->spi_next, atomic_load_explicit(head, memory_order_relaxed),
                          memory_order_relaxed);
    atomic_store_explicit(head, sa, memory_order_release);
    atomic_fetch_add_explicit(&plane->additions, 1, memory_order_release);
    sa->linked_in = true;
}

void sad_unlink(struct esp_plane *plane, struct sa *sa)
{
    if (!sa->linked_in)
        return;
    struct sa *_Atomic *link = spi_chain(plane, sa->spi_in);
    struct sa *at;
    while ((at = atomic_load_explicit(link, memory_order_relaxed)) != sa)
        link = &at->spi_next;
    atomic_store_explicit(link, atomic_load_explicit(&sa->spi_next, memory_order_relaxed),
                          memory_order_release);
    sa->linked_in = false;
}

void sa_raise(struct sa *sa, uint32_t flags)
{
    if (flags & ~atomic_load_explicit(&sa->flags, memory_order_relaxed))
        atomic_fetch_or_explicit(&sa->flags, flags, memory_order_release);
}

static bool reached(uint64_t value, uint64_t limit)
{
    return limit != 0 && value >= limit;
}

void sa_alarm(const struct esp_plane *plane, struct sa *sa, uint32_t flags)
{
    uint32_t before = atomic_fetch_or_explicit(&sa->flags, flags, memory_order_release);
    if ((flags & ~before) && plane->config.urgent)
        plane->config.urgent(plane->config.urgent_context);
}

static bool has(const struct sa *sa, uint32_t flag)
{
    return atomic_load_explicit(&sa->flags, memory_order_relaxed) & flag;
}

void sa_check_volume(const struct esp_plane *plane, struct sa *sa, uint64_t packets, uint64_t bytes)
{
    bool hard = reached(bytes, sa->hard_bytes) || reached(packets, sa->hard_packets);
    bool soft = reached(bytes, sa->soft_bytes) || reached(packets, sa->soft_packets);
    if (hard && !has(sa, SA_DEAD))
        sa_alarm(plane, sa, SA_DEAD | SA_SAY_HARD);
    else if (soft && !has(sa, SA_SOFT_SAID))
        sa_alarm(plane, sa, SA_SAY_SOFT | SA_SOFT_SAID);
}

uint16_t sa_fit(const struct sa *sa, const struct sa_path *path, uint32_t outer)
{
    uint32_t head = path->remote.ip.family == 6 ? IP6_AND_UDP : IP4_AND_UDP;
    if (!path->udp)
        head -= UDP_HEADER;
    head += 8u + sa->iv_len + sa->icv_len;
    if (sa->ah)
        head = ah_overhead(sa, path);
    if (outer < head + ESP_MTU_LEAST)
        return ESP_MTU_LEAST;
    if (sa->ah)
        return (uint16_t)(outer - head);
    return (uint16_t)((outer - head) / sa->align * sa->align - 2);
}

/* Link MTUs that are met in practice, less than 1500: PPPoE, tunnels, IPv6's least, old modems. */
void sa_shrink(struct sa *sa, const struct sa_path *path, uint32_t len)
{
    static const uint16_t usual[] = {1492, 1480, 1460, 1420, 1400, 1360, 1280, 1006, 680};
    uint32_t outer = len + (path->udp ? UDP_HEADER : 0);
    if (path->remote.ip.family == 6)
        outer += IP6_HEADER;
    else if (!sa->ah)
        outer += IP4_HEADER;
    uint16_t fits = ESP_MTU_LEAST;
    for (size_t i = 0; i < ARRAY_LEN(usual); i++) {
        if (usual[i] < outer) {
            fits = sa_fit(sa, path, outer > PATH_MTU_USUAL ? PATH_MTU_USUAL : usual[i]);
            break;
        }
    }
    if (fits < atomic_load_explicit(&sa->out_mtu, memory_order_relaxed))
        atomic_store_explicit(&sa->out_mtu, fits, memory_order_relaxed);
}

void sa_set_mtu(struct esp_plane *plane, struct sa *sa, const struct sa_path *path)
{
    uint32_t link = plane->config.device_mtu + (uint32_t)GCM_OVERHEAD4;
    uint16_t fits = sa_fit(sa, path, link > PATH_MTU_USUAL ? link : PATH_MTU_USUAL);
    uint16_t mtu = sa->mtu_wanted < fits ? sa->mtu_wanted : fits;
    sa->mtu_full = mtu < ESP_MTU_LEAST ? ESP_MTU_LEAST : mtu;
    sa->mtu_until = 0;
    atomic_store_explicit(&sa->out_mtu, sa->mtu_full, memory_order_relaxed);
}

struct sa_path *path_create(const struct endpoint *local, const struct endpoint *remote,
                            uint32_t interface, bool udp)
{
    struct sockaddr_storage to;
    socklen_t to_len = endpoint_to_sockaddr(remote, &to);
    struct sa_path *path = calloc(1, sizeof(*path) + sizeof(struct sockaddr_in6));
    if (!path)
        return NULL;
    path->to = (struct sockaddr_storage *)(void *)(path + 1);
    memcpy(path + 1, &to, to_len);
    path->to_len = to_len;
    path->udp = udp;
    path->interface = interface;
    path->local = local->ip;
    path->remote = *remote;
    return path;
}

static size_t round_up(size_t size)
{
    return (size + ALIGN - 1) / ALIGN * ALIGN;
}

static bool selectors_sane(const struct selector *list, uint8_t count)
{
    if (count == 0 || count > ESP_SELECTORS)
        return false;
    for (size_t i = 0; i < count; i++) {
        const struct selector *s = &list[i];
        if ((s->low.family != 4 && s->low.family != 6) || s->high.family != s->low.family ||
            ip_compare(&s->low, &s->high) > 0)
            return false;
    }
    return true;
}

/* Everything that is wrong with a request, before any memory is taken. */
static int check(const struct esp_sa_config *config, const struct encr_alg *encr,
                 const struct integ_alg *integ)
{
    if (config->ah && (config->encr != 0 || config->local.ip.family != config->remote.ip.family ||
                       ip_is_any(&config->local.ip)))
        return ERR_ARGUMENT;
    if (!encr || (encr->aead != (config->integ == 0)) || (config->integ != 0 && !integ))
        return ERR_UNSUPPORTED;
    size_t need = suite_encr_keymat(encr) + (integ ? integ->key_len : 0);
    if (config->keymat_len_in != need || config->keymat_len_out != need || need > ESP_KEYMAT_MAX ||
        config->spi_in < 256 || config->spi_out < 256 || config->window > ESP_WINDOW_MAX ||
        (config->remote.ip.family != 4 && config->remote.ip.family != 6) ||
        !selectors_sane(config->local_ts, config->local_count) ||
        !selectors_sane(config->remote_ts, config->remote_count) ||
        (config->transport && !transport_sane(config)))
        return ERR_ARGUMENT;
    return 0;
}

static int key_aeads(struct esp_plane *plane, const struct esp_sa_config *config,
                     const struct encr_alg *encr, const struct integ_alg *integ, struct aead *in,
                     struct aead *out)
{
    size_t encr_len = suite_encr_keymat(encr);
    int err = aead_init(in, plane->engine, encr, config->keymat_in, integ,
                        integ ? config->keymat_in + encr_len : NULL);
    if (err)
        return err;
    err = aead_init(out, plane->engine, encr, config->keymat_out, integ,
                    integ ? config->keymat_out + encr_len : NULL);
    if (err)
        aead_wipe(in);
    return err;
}

static void fill(struct sa *sa, const struct esp_plane *plane, const struct esp_sa_config *config)
{
    sa->spi_in = config->spi_in;
    sa->spi_out = config->spi_out;
    sa->worker = (uint16_t)(config->spi_in % plane->config.workers);
    sa->esn = config->esn;
    sa->tunnel = config->tunnel;
    sa->generation = config->generation;
    sa->soft_bytes = config->soft_bytes;
    sa->hard_bytes = config->hard_bytes;
    sa->soft_packets = config->soft_packets;
    sa->hard_packets = config->hard_packets;
    /* Numbers of 32 bits run out: ask for a rekey in good time. */
    if (!sa->esn && (sa->soft_packets == 0 || sa->soft_packets > UINT32_MAX / 16 * 15))
        sa->soft_packets = UINT32_MAX / 16 * 15;
    sa->mtu_wanted = config->mtu != 0 ? config->mtu : plane->config.device_mtu;
    atomic_init(&sa->flags, config->out_waits ? SA_OUT_WAITS : 0);
}

/* One block: the SA, its selectors, nodes and window, then the two keyed ciphers. */
int sad_create(struct esp_plane *plane, const struct esp_sa_config *config, struct sa **out)
{
    const struct encr_alg *encr =
        config->ah ? suite_encr(ENCR_NULL, 0) : suite_encr(config->encr, config->encr_bits);
    const struct integ_alg *integ = config->integ ? suite_integ(config->integ) : NULL;
    int err = check(config, encr, integ);
    if (err)
        return err;
    size_t locals = config->local_count * sizeof(struct selector);
    size_t remotes = config->remote_count * sizeof(struct selector);
    size_t nodes = config->remote_count * sizeof(struct spd_node);
    size_t bits = replay_words(config->window) * sizeof(uint64_t);
    size_t head = round_up(sizeof(struct sa) + bits + nodes + locals + remotes);
    size_t cipher = round_up(aead_size(encr, integ));
    struct sa *sa = aligned_alloc(ALIGN, head + 2 * cipher);
    struct sa_path *path =
        path_create(&config->local, &config->remote, config->interface, config->udp && !config->ah);
    if (!sa || !path) {
        free(sa);
        free(path);
        return ERR_MEMORY;
    }
    memset(sa, 0, head + 2 * cipher);
    uint8_t *base = (uint8_t *)sa, *at = (uint8_t *)(sa + 1);
    struct aead *in = (void *)(base + head), *to = (void *)(base + head + cipher);
    err = key_aeads(plane, config, encr, integ, in, to);
    if (err) {
        free(sa);
        free(path);
        return err;
    }
    fill(sa, plane, config);
    sa->size = (uint32_t)(head + 2 * cipher);
    sa->aead_in = in;
    sa->aead_out = to;
    sa->aead = encr->aead;
    sa->iv_counts = aead_iv_counts(in);
    sa->iv_len = (uint8_t)aead_iv_len(in);
    sa->icv_len = (uint8_t)aead_icv_len(in);
    sa->ah = config->ah;
    if (sa->ah) /* GMAC's IV stands in the field of the ICV (RFC 4543 section 4) */
        sa->icv_len = (uint8_t)(sa->icv_len + sa->iv_len);
    sa->transport = config->transport;
    sa->tfc = sa->ah || sa->transport ? 0 : config->tfc;
    sa->cover = config->cover && !sa->ah && !sa->transport;
    sa->rare = sa->ah || sa->transport || sa->tfc;
    sa->checksum_shift = config->transport ? transport_shift(config) : 0;
    sa->head_len = sa->ah ? ah_head_len(config->remote.ip.family, sa->icv_len)
                          : (uint8_t)(ESP_HEADER + sa->iv_len);
    sa->align = aead_block(in) < 4 ? 4 : (uint8_t)aead_block(in);
    replay_init(&sa->replay, config->window, (uint64_t *)(void *)at);
    sa->nodes = (struct spd_node *)(void *)(at + bits);
    sa->local_ts = memcpy(at + bits + nodes, config->local_ts, locals);
    sa->remote_ts = memcpy(at + bits + nodes + locals, config->remote_ts, remotes);
    sa->local_count = config->local_count;
    sa->remote_count = config->remote_count;
    atomic_init(&sa->path, path);
    sa_set_mtu(plane, sa, path);
    *out = sa;
    return 0;
}

void sa_free(struct sa *sa)
{
    free(atomic_load_explicit(&sa->path, memory_order_relaxed));
    secret_wipe(sa, sa->size);
    free(sa);
}

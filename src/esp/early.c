#include "esp/early.h"

#include <stdlib.h>
#include <string.h>

struct slot {
    struct esp_datagrams as;
    struct sockaddr_storage from;
    time_us came;
    uint32_t spi;
    bool empty, taken;
    uint8_t octets[EARLY_OCTETS];
};

struct early {
    uint32_t first, count, additions;
    bool open; /* packets of ours are with the caller */
    struct slot slots[EARLY_PACKETS];
};

struct early *early_create(void)
{
    struct early *early = malloc(sizeof(*early)); /* the slots stay untouched until they are used */
    if (early) {
        early->first = early->count = early->additions = 0;
        early->open = false;
    }
    return early;
}

void early_free(struct early *early)
{
    free(early);
}

static struct slot *slot_at(struct early *early, uint32_t i)
{
    return &early->slots[(early->first + i) % EARLY_PACKETS];
}

void early_keep(struct early *early, uint32_t spi, const uint8_t *packet, uint32_t len,
                const struct esp_datagrams *from, time_us now)
{
    if (len > EARLY_OCTETS || early->open)
        return;
    if (early->count == EARLY_PACKETS) {
        early->first = (early->first + 1) % EARLY_PACKETS;
        early->count--;
    }
    struct slot *slot = slot_at(early, early->count++);
    memcpy(slot->octets, packet, len);
    slot->from = *from->from;
    slot->as = *from;
    slot->as.data = slot->octets;
    slot->as.len = slot->as.stride = len;
    slot->as.from = &slot->from;
    slot->came = now;
    slot->spi = spi;
    slot->empty = slot->taken = false;
}

bool early_any(const struct early *early)
{
    return early->count > 0;
}

bool early_news(struct early *early, const struct esp_plane *plane)
{
    uint32_t additions = atomic_load_explicit(&plane->additions, memory_order_acquire);
    bool news = additions != early->additions;
    early->additions = additions;
    return news;
}

struct esp_datagrams *early_next(struct early *early, const struct esp_plane *plane,
                                 uint32_t *cursor)
{
    while (*cursor < early->count) {
        struct slot *slot = slot_at(early, (*cursor)++);
        if (slot->empty || slot->taken || !sad_find(plane, slot->spi))
            continue;
        slot->taken = early->open = true;
        return &slot->as;
    }
    return NULL;
}

void early_done(struct early *early, time_us now)
{
    early->open = false;
    for (uint32_t i = 0; i < early->count; i++) {
        struct slot *slot = slot_at(early, i);
        slot->empty |= slot->taken || now - slot->came > EARLY_LIFE;
    }
    while (early->count > 0 && slot_at(early, 0)->empty) {
        early->first = (early->first + 1) % EARLY_PACKETS;
        early->count--;
    }
}

int early_pause(const struct early *early, time_us now)
{
    if (early->count == 0)
        return -1;
    const struct slot *last = &early->slots[(early->first + early->count - 1) % EARLY_PACKETS];
    time_us age = now - last->came;
    return (int)(age / 2000) + 1; /* looks at 1, 2, 3, 5, 8, 13 ms and so on */
}

/* Collecting what ike and esp know, for the control socket. */
#include "run/monitor.h"

#include <stdlib.h>
#include <string.h>

enum { PATIENCE_MS = 2000, FRESH_SECONDS = 5, KEEP_SECONDS = 10 };

/* ---- the book */

static void empty(struct status_book *book)
{
    book->ike_count = book->child_count = book->esp_count = 0;
    book->ike_done = book->esp_done = false;
}

void status_ask(struct monitor *m, bool follow_up)
{
    struct status_book *book = &m->status;
    time_us now = run_now();
    bool fresh = book->collected_at && now - book->collected_at < FRESH_SECONDS * TIME_SECOND;
    if (book->under_way)
        return;
    if (follow_up && fresh) {
        control_status_ready(m);
        return;
    }
    empty(book);
    book->under_way = true;
    book->serial = ++m->serial;
    book->give_up_at = now + PATIENCE_MS * TIME_MILLISECOND;
    ipc_prepare(&m->message, IPC_STATUS_ASK, book->serial);
    book->ike_done = children_send(m, ROLE_IKE, &m->message) != 0;
    book->esp_done = children_send(m, ROLE_ESP, &m->message) != 0;
    status_tick(m, now);
}

/* Appends one entry; what does not fit into memory is not shown. */
static void append(void **list, size_t *count, size_t *room, size_t size, const void *entry)
{
    if (*count == *room) {
        size_t more = *room ? *room * 2 : 64;
        void *bigger = realloc(*list, more * size);
        if (!bigger)
            return;
        *list = bigger;
        *room = more;
    }
    memcpy((char *)*list + *count * size, entry, size);
    ++*count;
}
#define APPEND(book, name, entry)                                                                  \
    append((void **)&(book)->name, &(book)->name##_count, &(book)->name##_room,                    \
           sizeof(*(book)->name), (entry))

void status_take(struct monitor *m, const struct ipc_message *message)
{
    struct status_book *book = &m->status;
    if (!book->under_way || message->serial != book->serial)
        return;
    switch (message->kind) {
    case IPC_STATUS_IKE:
        APPEND(book, ike, &message->status_ike);
        break;
    case IPC_STATUS_CHILD:
        APPEND(book, child, &message->status_child);
        break;
    case IPC_STATUS_ESP:
        APPEND(book, esp, &message->status_esp);
        break;
    case IPC_STATUS_END_IKE:
        book->ike_end = message->end_ike;
        book->ike_done = true;
        break;
    case IPC_STATUS_END_ESP:
        book->esp_end = message->end_esp;
        book->esp_done = true;
        break;
    default:
        return;
    }
    status_tick(m, run_now());
}

static int by_tunnel(const void *a, const void *b)
{
    const struct ipc_status_ike *x = a, *y = b;
    if (x->tunnel != y->tunnel)
        return x->tunnel < y->tunnel ? -1 : 1;
    return (x->state > y->state) - (x->state < y->state);
}

static int by_tunnel_of_child(const void *a, const void *b)
{
    const struct ipc_status_child *x = a, *y = b;
    return (x->tunnel > y->tunnel) - (x->tunnel < y->tunnel);
}

static int by_spi(const void *a, const void *b)
{
    const struct esp_sa_status *x = a, *y = b;
    return (x->spi_in > y->spi_in) - (x->spi_in < y->spi_in);
}

static void sort(void *list, size_t count, size_t size, int (*compare)(const void *, const void *))
{
    if (count)
        qsort(list, count, size, compare);
}

/* While an IKE SA is rekeyed its tunnel has two; the one that lives on comes first. */
static void one_a_tunnel(struct status_book *book)
{
    size_t kept = 0;
    for (size_t i = 0; i < book->ike_count; i++)
        if (kept == 0 || book->ike[kept - 1].tunnel != book->ike[i].tunnel)
            book->ike[kept++] = book->ike[i];
    book->ike_count = kept;
}

void status_tick(struct monitor *m, time_us now)
{
    struct status_book *book = &m->status;
    if (!book->under_way && book->ike_room && now - book->collected_at > KEEP_SECONDS * TIME_SECOND)
        status_free(m);
    if (!book->under_way || (!(book->ike_done && book->esp_done) && now < book->give_up_at))
        return;
    sort(book->ike, book->ike_count, sizeof(*book->ike), by_tunnel);
    sort(book->child, book->child_count, sizeof(*book->child), by_tunnel_of_child);
    sort(book->esp, book->esp_count, sizeof(*book->esp), by_spi);
    one_a_tunnel(book);
    book->under_way = false;
    book->collected_at = now;
    control_status_ready(m);
}

void status_free(struct monitor *m)
{
    free(m->status.ike);
    free(m->status.child);
    free(m->status.esp);
    struct status_book kept = {.ike_end = m->status.ike_end, .esp_end = m->status.esp_end};
    m->status = kept;
}

/* ---- as JSON */

static void set_integer(json_t *object, const char *name, uint64_t value)
{
    json_object_set_new(object, name, json_integer((json_int_t)value));
}

static void set_text(json_t *object, const char *name, const char *text)
{
    if (text && text[0])
        json_object_set_new(object, name, json_string(text));
}

static void set_ip(json_t *object, const char *name, const struct ip *ip)
{
    char text[ADDR_TEXT];
    if (ip->family)
        set_text(object, name, ip_print(ip, text));
}

static void set_spi(json_t *object, const char *name, int digits, uint64_t spi)
{
    char text[24];
    snprintf(text, sizeof(text), "0x%0*llx", digits, (unsigned long long)spi);
    set_text(object, name, text);
}

static json_t *selectors_json(const struct selector *list, size_t count)
{
    json_t *out = json_array();
    char text[SELECTOR_TEXT];
    for (size_t i = 0; i < count && i < CONF_SELECTORS; i++)
        json_array_append_new(out, json_string(selector_print(&list[i], text)));
    return out;
}

static void add_volume(json_t *out, const struct esp_sa_status *esp)
{
    json_t *drops = json_object();
    json_object_set_new(out, "active", json_boolean(esp->active_out));
    set_integer(out, "age_s", esp->added / TIME_SECOND);
    set_integer(out, "in_bytes", esp->in_bytes);
    set_integer(out, "in_packets", esp->in_packets);
    set_integer(out, "out_bytes", esp->out_bytes);
    set_integer(out, "out_packets", esp->out_packets);
    set_integer(drops, "replay", esp->drop_replay);
    set_integer(drops, "integrity", esp->drop_integrity);
    set_integer(drops, "source", esp->drop_source);
    json_object_set_new(out, "drops", drops);
}

static json_t *child_json(const struct status_book *book, const struct ipc_status_child *child)
{
    json_t *out = json_object();
    struct esp_sa_status key = {.spi_in = child->spi_in};
    set_text(out, "name", child->name);
    set_spi(out, "spi_in", 8, child->spi_in);
    set_spi(out, "spi_out", 8, child->spi_out);
    set_text(out, "protocol", child->ah ? "ah" : "esp");
    set_text(out, "mode", child->transport ? "transport" : "tunnel");
    set_text(out, "suite", child->suite);
    set_text(out, "ke", child->kes);
    json_object_set_new(out, "local_ts", selectors_json(child->local_ts, child->local_count));
    json_object_set_new(out, "remote_ts", selectors_json(child->remote_ts, child->remote_count));
    const struct esp_sa_status *esp =
        book->esp_count ? bsearch(&key, book->esp, book->esp_count, sizeof(key), by_spi) : NULL;
    if (esp)
        add_volume(out, esp);
    return out;
}

static json_t *children_json(const struct status_book *book, uint64_t tunnel)
{
    json_t *out = json_array();
    size_t low = 0, high = book->child_count;
    while (low < high) { /* the first of this tunnel */
        size_t middle = low + (high - low) / 2;
        if (book->child[middle].tunnel < tunnel)
            low = middle + 1;
        else
            high = middle;
    }
    for (; low < book->child_count && book->child[low].tunnel == tunnel; low++)
        json_array_append_new(out, child_json(book, &book->child[low]));
    return out;
}

static void add_state(json_t *out, uint8_t state)
{
    char text[32];
    size_t i;
    const char *name = ike_state_name(state);
    for (i = 0; name[i] && i + 1 < sizeof(text); i++)
        text[i] = name[i] == '_'                     ? '-'
                  : name[i] >= 'A' && name[i] <= 'Z' ? (char)(name[i] + 32)
                                                     : name[i];
    text[i] = 0;
    set_text(out, "state", text);
}

static void add_recent(const struct monitor *m, json_t *out, uint64_t tunnel)
{
    for (size_t i = 0; i < MONITOR_RECENT; i++) {
        if (m->recent[i].tunnel != tunnel)
            continue;
        json_object_set_new(out, "established_ms", json_real(m->recent[i].elapsed_us / 1000.0));
        set_integer(out, "messages", m->recent[i].messages);
    }
}

static void add_times(json_t *out, const struct ipc_status_ike *sa)
{
    double since = (double)run_wall_clock(NULL) - (double)(sa->established_ago / TIME_SECOND);
    json_t *rekeys = json_object();
    if (sa->established_ago) {
        json_object_set_new(out, "since", json_real(since));
        set_integer(out, "age_s", sa->established_ago / TIME_SECOND);
    }
    set_integer(out, "idle_s", sa->heard_ago / TIME_SECOND);
    if (sa->rekey_in)
        set_integer(out, "rekey_in_s", sa->rekey_in / TIME_SECOND);
    set_integer(rekeys, "ike", sa->rekeys_ike);
    set_integer(rekeys, "child", sa->rekeys_child);
    json_object_set_new(out, "rekeys", rekeys);
    set_integer(out, "retransmissions", sa->retransmissions);
}

static json_t *tunnel_json(const struct monitor *m, const struct ipc_status_ike *sa)
{
    char text[IDENTITY_TEXT];
    json_t *out = json_object();
    set_integer(out, "id", sa->tunnel);
    set_text(out, "peer", sa->peer_name);
    set_text(out, "peer_id", sa->peer);
    set_text(out, "own_id", sa->own);
    add_state(out, sa->state);
    json_object_set_new(out, "initiator", json_boolean(sa->initiator));
    set_text(out, "local", endpoint_print(&sa->path.local, text));
    set_text(out, "remote", endpoint_print(&sa->path.remote, text));
    set_ip(out, "ip4", &sa->ip4);
    set_ip(out, "ip6", &sa->ip6);
    set_text(out, "suite", sa->suite);
    set_text(out, "nat",
             sa->nat_local ? (sa->nat_remote ? "both" : "local")
                           : (sa->nat_remote ? "remote" : "none"));
    json_object_set_new(out, "udp", json_boolean(sa->udp));
    set_spi(out, "spi_i", 16, sa->spi_i);
    set_spi(out, "spi_r", 16, sa->spi_r);
    add_times(out, sa);
    add_recent(m, out, sa->tunnel);
    json_object_set_new(out, "children", children_json(&m->status, sa->tunnel));
    return out;
}

json_t *status_tunnel(struct monitor *m, uint64_t tunnel)
{
    for (size_t i = 0; i < m->status.ike_count; i++)
        if (m->status.ike[i].tunnel == tunnel)
            return tunnel_json(m, &m->status.ike[i]);
    return NULL;
}

json_t *status_counters(const struct monitor *m)
{
    const struct esp_counters *e = &m->status.esp_end.counters;
    const struct ike_counters *k = &m->status.ike_end.counters;
    json_t *esp = json_object(), *ike = json_object(), *out = json_object();
#define X(name, help) set_integer(esp, #name, e->name);
    ESP_COUNTER_LIST(X)
#undef X
    set_integer(esp, "drop_out_queue", net_link_dropped(m->tun.index));
#define X(name, help) set_integer(ike, #name, k->name);
    IKE_COUNTER_LIST(X)
#undef X
    json_object_set_new(out, "esp", esp);
    json_object_set_new(out, "ike", ike);
    return out;
}

json_t *status_json(struct monitor *m, uint64_t after, size_t limit)
{
    const struct status_book *book = &m->status;
    json_t *out = json_object(), *tunnels = json_array();
    size_t shown = 0;
    bool more = false;
    for (size_t i = 0; i < book->ike_count && !more; i++) {
        if (book->ike[i].tunnel <= after)
            continue;
        more = shown == limit;
        if (!more)
            json_array_append_new(tunnels, tunnel_json(m, &book->ike[i]));
        shown++;
    }
    json_object_set_new(out, "tunnels", tunnels);
    set_integer(out, "tunnel_count", book->ike_count);
    if (more)
        json_object_set_new(out, "more_tunnels", json_true());
    json_object_set_new(out, "counters", status_counters(m));
    return out;
}

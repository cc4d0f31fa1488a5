#include "sim.h"

const struct sim_link sim_good_link = {.delay_min = 5 * TIME_MILLISECOND,
                                       .delay_max = 15 * TIME_MILLISECOND};
const struct sim_link sim_bad_link = {.loss = 300,
                                      .duplicate = 200,
                                      .delay_min = 10 * TIME_MILLISECOND,
                                      .delay_max = 200 * TIME_MILLISECOND,
                                      .late = 100,
                                      .late_max = 2 * TIME_SECOND};

enum { STEPS_MAX = 20000000, STILL_MAX = 100000 };

/* splitmix64 */
uint64_t sim_random(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

unsigned sim_below(uint64_t *state, unsigned limit)
{
    return limit ? (unsigned)(sim_random(state) % limit) : 0;
}

static void fill(void *context, void *to, size_t len)
{
    uint8_t *at = to;
    for (size_t i = 0; i < len; i++)
        at[i] = (uint8_t)(sim_random(context) >> 32);
}

static int64_t wall(void *context)
{
    const struct sim *sim = context;
    return SIM_WALL + (int64_t)(sim->now / TIME_SECOND) + sim->wall_shift;
}

struct sim *sim_create(uint64_t seed, const struct sim_link *link)
{
    struct sim *sim = calloc(1, sizeof(*sim));
    assert_non_null(sim);
    sim->seed = seed;
    sim->now = TIME_SECOND;
    sim->link = *link;
    sim->network_state = seed ^ 0x6e6574776f726b;
    sim->log_end = &sim->log;
    sim->trace = getenv("SIM_SEED") != NULL;
    log_set_level(sim->trace ? LEVEL_DEBUG : LEVEL_ERROR);
    return sim;
}

static bool before(const struct sim_event *a, const struct sim_event *b)
{
    return a->at != b->at ? a->at < b->at : a->serial < b->serial;
}

void sim_schedule(struct sim *sim, time_us at, enum sim_event_kind kind, struct sim_host *host,
                  void *data)
{
    if (sim->heap_count == sim->heap_room) {
        sim->heap_room = sim->heap_room ? 2 * sim->heap_room : 64;
        sim->heap = realloc(sim->heap, sim->heap_room * sizeof(*sim->heap));
        assert_non_null(sim->heap);
    }
    struct sim_event event = {at, sim->serial++, kind, host, data};
    size_t i = sim->heap_count++;
    for (; i > 0 && before(&event, &sim->heap[(i - 1) / 2]); i = (i - 1) / 2)
        sim->heap[i] = sim->heap[(i - 1) / 2];
    sim->heap[i] = event;
}

static struct sim_event take(struct sim *sim)
{
    struct sim_event first = sim->heap[0], last = sim->heap[--sim->heap_count];
    size_t i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= sim->heap_count)
            break;
        if (child + 1 < sim->heap_count && before(&sim->heap[child + 1], &sim->heap[child]))
            child++;
        if (!before(&sim->heap[child], &last))
            break;
        sim->heap[i] = sim->heap[child];
        i = child;
    }
    sim->heap[i] = last;
    return first;
}

static void drop_running(struct sim_host *host)
{
    if (host->running)
        memset(host->running, 0xdd, sizeof(*host->running));
    free(host->running);
    host->running = NULL;
}

static struct conf_tunnel *copy_conf(const struct sim_host *host)
{
    struct conf_tunnel *copy = malloc(sizeof(*copy));
    assert_non_null(copy);
    *copy = host->conf;
    return copy;
}

void sim_stop(struct sim_host *host)
{
    struct sim *sim = host->sim;
    ike_free(host->engine);
    host->engine = NULL;
    drop_running(host);
    sim_plane_free(host);
    host->leases = 0;
    if (host->book)
        lease_release_all(host->book, sim->now);
    host->net_downs = host->net_ups;
    for (size_t i = 0; i < sim->heap_count; i++) /* its questions went with it */
        if (sim->heap[i].host == host && sim->heap[i].kind == SIM_ANSWER)
            sim->heap[i].kind = SIM_NOTHING;
}

void sim_free(struct sim *sim)
{
    while (sim->heap_count > 0)
        free(take(sim).data);
    for (size_t i = 0; i < sim->host_count; i++) {
        struct sim_host *host = sim->hosts[i];
        if (host->engine)
            sim_stop(host);
        sim_plane_free(host);
        free(host->events);
        free(host->last_ask);
        free(host);
    }
    sim_log_clear(sim);
    free(sim->heap);
    free(sim);
}

static struct sim_host *add_host(struct sim *sim, const char *name, const char *ip)
{
    struct sim_host *host = calloc(1, sizeof(*host));
    assert_non_null(host);
    assert_true(sim->host_count < SIM_HOSTS);
    assert_true(ip_parse(ip, &host->ip));
    snprintf(host->name, sizeof(host->name), "%s", name);
    host->sim = sim;
    host->random_state = sim->seed * 31 + sim->host_count + 1;
    host->random = (struct random){fill, &host->random_state};
    sim->hosts[sim->host_count++] = host;
    return host;
}

struct sim_host *sim_script(struct sim *sim, const char *name, const char *ip,
                            void (*on_datagram)(struct sim_host *, const struct sim_datagram *))
{
    struct sim_host *host = add_host(sim, name, ip);
    host->on_datagram = on_datagram;
    return host;
}

void sim_proposals(struct sim_host *host, const char *ike, const char *esp)
{
    struct bytes bad;
    host->conf.ike_count = host->conf.esp_count = 1;
    if (suite_parse(ike, PROTOCOL_IKE, &host->conf.ike[0], &bad) != 0 ||
        suite_parse(esp, PROTOCOL_ESP, &host->conf.esp[0], &bad) != 0)
        fail_msg("%s or %s does not parse", ike, esp);
}

static struct sim_host *add_engine(struct sim *sim, const char *name, const char *ip)
{
    struct sim_host *host = add_host(sim, name, ip);
    struct conf_tunnel *c = &host->conf;
    char id[64];
    snprintf(c->name, sizeof(c->name), "%s", name);
    snprintf(id, sizeof(id), "%s.example.org", name);
    assert_true(identity_parse(id, &c->local_id));
    c->local_auth = c->remote_auth = CONF_AUTH_PSK;
    sim_proposals(host, "aes256gcm16-prfsha384-x25519", "aes256gcm16-x25519");
    c->pfs = c->esn = c->unique = true;
    c->ike_lifetime = 14400;
    c->child_lifetime = 3600;
    c->dpd = 10;
    c->idle_check = 26;
    c->keepalive = 20;
    c->roam = true;
    c->replay_window = 1024;
    c->max_tunnels = 64;
    c->fragment = 1280;
    return host;
}

struct sim_host *sim_client(struct sim *sim, const char *name, const char *ip)
{
    struct sim_host *host = add_engine(sim, name, ip);
    struct conf_tunnel *c = &host->conf;
    c->initiator = true;
    c->request_ip4 = c->request_ip6 = true;
    c->remote_ts[0] = selector_any(4);
    c->remote_ts[1] = selector_any(6);
    c->remote_ts_count = 2;
    return host;
}

struct sim_host *sim_gateway(struct sim *sim, const char *name, const char *ip)
{
    struct sim_host *host = add_engine(sim, name, ip);
    struct conf_tunnel *c = &host->conf;
    c->local_ts[0] = selector_any(4);
    c->local_ts[1] = selector_any(6);
    c->local_ts_count = 2;
    return host;
}

void sim_start(struct sim_host *host)
{
    host->setup.tunnel = host->running = copy_conf(host);
    host->setup.random = &host->random;
    host->setup.own_id = host->conf.local_id;
    host->setup.wall_clock = wall;
    host->setup.wall_context = host->sim;
    host->setup.id_base += 1000;
    host->engine = ike_create(&host->setup, host->sim->now);
    assert_non_null(host->engine);
}

int sim_reload(struct sim_host *host)
{
    struct conf_tunnel *next = copy_conf(host);
    struct ike_setup setup = host->setup;
    setup.tunnel = next;
    setup.own_id = host->conf.local_id;
    int err = ike_reload(host->engine, host->sim->now, &setup);
    if (err < 0) {
        free(next);
        return err;
    }
    drop_running(host);
    host->setup = setup;
    host->running = next;
    sim_drain(host);
    return 0;
}

static void keep_event(struct sim_host *host, const struct ike_event *event)
{
    static const struct {
        const char *word;
        bool redial;
    } kinds[] = {[IKE_EVENT_ESTABLISHED] = {"established", false},
                 [IKE_EVENT_FAILED] = {"failed", true},
                 [IKE_EVENT_DOWN] = {"down", true},
                 [IKE_EVENT_REKEYED_IKE] = {"rekeyed-ike", false},
                 [IKE_EVENT_REKEYED_CHILD] = {"rekeyed-child", false},
                 [IKE_EVENT_CHILD_UP] = {"child-up", false},
                 [IKE_EVENT_CHILD_DOWN] = {"child-down", false},
                 [IKE_EVENT_REFUSED] = {"refused", false},
                 [IKE_EVENT_RETRANSMIT] = {"retransmit", false},
                 [IKE_EVENT_MOVED] = {"moved", false}};
    assert_true(event->kind < ARRAY_LEN(kinds));
    assert_non_null(memchr(event->text, 0, sizeof(event->text)));
    if (host->sim->trace)
        printf("%9.3f  %s: %s %s %s\n", (double)host->sim->now / 1e6, host->name,
               kinds[event->kind].word, event->err ? err_word(event->err) : "", event->text);
    if (host->sim->on_event) {
        host->sim->on_event(host, event);
        return;
    }
    host->events = realloc(host->events, (host->event_count + 1) * sizeof(*event));
    assert_non_null(host->events);
    host->events[host->event_count++] = *event;
    if (host->redial && kinds[event->kind].redial && event->tunnel == host->tunnel)
        sim_after(host->sim, TIME_SECOND, host, IKE_INITIATE);
}

void sim_drain(struct sim_host *host)
{
    static struct ike_action action; /* large */
    for (unsigned count = 0; ike_next(host->engine, &action); count++) {
        assert_true(count < 10000);
        host->sim->changed = true;
        switch (action.kind) {
        case IKE_SEND:
            sim_send(host, &action.send.path, action.send.datagram);
            break;
        case IKE_ESP_ADD:
            sim_plane_add(host, &action.esp_add);
            break;
        case IKE_ESP_DEL:
            sim_plane_del(host, &action.esp_del);
            break;
        case IKE_ESP_MOVE:
            host->esp_moves++;
            host->esp_path = action.net.path;
            sim_plane_move(host, &action.net);
            break;
        case IKE_NET_UP:
            host->net_ups += !action.net.more;
            host->net = action.net;
            break;
        case IKE_NET_DOWN:
            host->net_downs++;
            break;
        case IKE_ASK:
            sim_keys_ask(host, action.ask);
            break;
        case IKE_EVENT:
            keep_event(host, &action.event);
            break;
        default:
            fail_msg("action %u", action.kind);
        }
    }
    SIM_CHECK(host->sim, ike_counters(host->engine)->illegal_moves == 0, "%s: an illegal move",
              host->name);
}

uint64_t sim_initiate(struct sim_host *from, const struct sim_host *to)
{
    struct ike_command command = {.kind = IKE_INITIATE, .path = sim_path(from, to, 500)};
    assert_int_equal(ike_command(from->engine, from->sim->now, &command, &from->tunnel), 0);
    sim_drain(from);
    return from->tunnel;
}

int sim_command(struct sim_host *host, uint32_t kind, uint64_t tunnel)
{
    struct ike_command command = {.kind = kind, .tunnel = tunnel};
    struct sim_view view;
    if (tunnel == 0 && (kind == IKE_CHECK || kind == IKE_CREATE_CHILD)) {
        sim_view(host, &view);
        command.tunnel = view.last.tunnel;
    }
    int err = ike_command(host->engine, host->sim->now, &command, NULL);
    sim_drain(host);
    return err;
}

void sim_after(struct sim *sim, time_us delay, struct sim_host *host, uint32_t command)
{
    uint32_t *kind = malloc(sizeof(*kind));
    assert_non_null(kind);
    *kind = command;
    sim_schedule(sim, sim->now + delay, SIM_COMMAND, host, kind);
}

static void command_event(struct sim_host *host, uint32_t kind)
{
    if (kind == IKE_INITIATE && host->redial)
        (void)sim_initiate(host, host->redial);
    else if (kind != IKE_INITIATE)
        (void)sim_command(host, kind, 0);
}

static void dispatch(struct sim *sim, const struct sim_event *event)
{
    switch (event->kind) {
    case SIM_DATAGRAM:
        sim_deliver(event->host, event->data);
        break;
    case SIM_ANSWER:
        ike_answer(event->host->engine, sim->now, event->data);
        break;
    case SIM_PACKET:
        sim_plane_packet(event->host, event->data);
        break;
    case SIM_TRAFFIC:
        sim_plane_traffic(sim);
        break;
    case SIM_CALL:
        ((struct sim_call *)event->data)->run(sim, event->data);
        break;
    case SIM_NOTHING:
        break;
    case SIM_COMMAND:
        command_event(event->host, *(const uint32_t *)event->data);
        break;
    }
}

/* The engine whose deadline comes first. */
static struct sim_host *next_deadline(const struct sim *sim, time_us *at)
{
    struct sim_host *host = NULL;
    *at = TIME_NEVER;
    for (size_t i = 0; i < sim->host_count; i++) {
        struct sim_host *h = sim->hosts[i];
        time_us deadline = h->engine ? ike_deadline(h->engine) : TIME_NEVER;
        if (deadline < *at) {
            *at = deadline;
            host = h;
        }
    }
    return host;
}

bool sim_step(struct sim *sim, time_us limit)
{
    time_us deadline;
    struct sim_host *due = next_deadline(sim, &deadline);
    time_us event = sim->heap_count ? sim->heap[0].at : TIME_NEVER;
    time_us next = deadline < event ? deadline : event;
    if (next > limit || next == TIME_NEVER) {
        sim->now = limit;
        return false;
    }
    if (next > sim->now)
        sim->now = next;
    if (event <= deadline) {
        struct sim_event e = take(sim);
        if (!e.host || e.host->engine || e.host->on_datagram)
            dispatch(sim, &e);
        if (e.host && e.host->engine)
            sim_drain(e.host);
        free(e.data);
    } else {
        ike_tick(due->engine, sim->now);
        sim_drain(due);
    }
    return true;
}

static bool never(struct sim *sim)
{
    (void)sim;
    return false;
}

bool sim_until(struct sim *sim, bool (*is_true)(struct sim *sim), time_us at_most)
{
    time_us limit = sim->now + at_most, still = sim->now;
    unsigned same = 0;
    if (is_true(sim))
        return true;
    for (unsigned steps = 0; sim_step(sim, limit); steps++) {
        same = sim->now == still ? same + 1 : 0;
        still = sim->now;
        SIM_CHECK(sim, same < STILL_MAX && steps < STEPS_MAX, "time stands still");
        if (!sim->changed)
            continue;
        sim->changed = false;
        if (is_true(sim))
            return true;
    }
    return is_true(sim);
}

void sim_run(struct sim *sim, time_us duration)
{
    (void)sim_until(sim, never, duration);
}

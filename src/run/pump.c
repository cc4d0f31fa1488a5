/* Draining the engine's queue of actions: see pump.h. */
#include "run/pump.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>

/* A peer repeats a request after half a second at the earliest. */
enum { ESP_WAIT_MS = 400, SEND_WAIT_MS = 1000, NET_WAIT_SECONDS = 2 };

/* Four zero octets tell IKE from ESP on the port they share, RFC 3948 section 2.2. */
static const uint8_t non_esp_marker[4];

struct held {
    struct ike_path path;
    uint32_t len;
};

static int socket_for(const struct pump *pump, const struct ike_path *path)
{
    const struct run_sockets *s = pump->sockets;
    for (size_t i = 0; i < s->count; i++) {
        bool same_family = s->ip[i].family == path->remote.ip.family;
        if (same_family && (ip_is_any(&s->ip[i]) || ip_is_any(&path->local.ip) ||
                            ip_equal(&s->ip[i], &path->local.ip)))
            return path->port == IKE_PORT_NATT ? s->group[i].ike_natt : s->group[i].ike_500;
    }
    return -1;
}

/* A gateway answers by its routes; a client has chosen the interface with the address. */
static uint32_t leave_by(const struct pump *pump, const struct ike_path *path)
{
    return pump->conf->gateway ? 0 : path->interface;
}

static void send_now(struct pump *pump, const struct ike_path *path, struct bytes datagram)
{
    char text[ADDR_TEXT];
    bool keepalive = datagram.len == 1; /* one octet of 0xff, sent as it is */
    bool marked = path->port == IKE_PORT_NATT && !keepalive;
    struct bytes marker = {non_esp_marker, marked ? sizeof(non_esp_marker) : 0};
    int fd = socket_for(pump, path);
    int result =
        fd < 0 ? ERR_NOT_FOUND
               : net_send(fd, marker, datagram, &path->local, &path->remote, leave_by(pump, path));
    /* A lost datagram: retransmission is the engine's. */
    if (result && budget_allows(&pump->unsent, run_now(), 5))
        log_debug("cannot send to %s: %s", endpoint_print(&path->remote, text),
                  err_sentence(result));
}

static void send_held(struct pump *pump)
{
    size_t at = 0;
    if (pump->net_wait_count > 0)
        return;
    while (at < pump->held_len) {
        struct held head;
        memcpy(&head, pump->held + at, sizeof(head));
        at += sizeof(head);
        send_now(pump, &head.path, (struct bytes){pump->held + at, head.len});
        at += head.len;
    }
    pump->held_len = 0;
}

static bool hold(struct pump *pump, const struct ike_send *send)
{
    struct held head = {.path = send->path, .len = (uint32_t)send->datagram.len};
    if (!pump->held)
        pump->held = malloc(PUMP_HELD_OCTETS);
    if (!pump->held || pump->held_len + sizeof(head) + head.len > PUMP_HELD_OCTETS)
        return false;
    memcpy(pump->held + pump->held_len, &head, sizeof(head));
    pump->held_len += sizeof(head);
    memcpy(pump->held + pump->held_len, send->datagram.at, head.len);
    pump->held_len += head.len;
    return true;
}

/* ---- esp */

static void refused(struct pump *pump, const struct ipc_added_one *one)
{
    log_warn("the data plane refused a child SA: %s", err_sentence(one->result));
    if (pump->fact_count < PUMP_FACTS)
        pump->facts[pump->fact_count++] =
            (struct esp_fact){.kind = ESP_FACT_HARD, .spi_in = one->spi_in, .tunnel = one->tunnel};
}

static void confirmed(struct pump *pump, const struct ipc_added *added)
{
    for (uint32_t i = 0; i < added->count && i < IPC_ADDED_MAX; i++) {
        if (pump->unconfirmed > 0)
            pump->unconfirmed--;
        if (added->at[i].result)
            refused(pump, &added->at[i]);
    }
}

static void keep_facts(struct pump *pump, const struct ipc_facts *facts)
{
    for (uint32_t i = 0; i < facts->count && i < IPC_FACTS_MAX; i++)
        if (pump->fact_count < PUMP_FACTS)
            pump->facts[pump->fact_count++] = facts->at[i];
}

void pump_read_esp(struct pump *pump)
{
    int result = 0;
    while (pump->fact_count < PUMP_FACTS / 2 &&
           (result = ipc_receive(pump->esp_fd, &pump->message, NULL)) == 0) {
        if (pump->message.kind == IPC_ESP_ADDED)
            confirmed(pump, &pump->message.added);
        else if (pump->message.kind == IPC_FACTS)
            keep_facts(pump, &pump->message.facts);
    }
    if (result == ERR_CLOSED) {
        pump->esp_gone = true; /* the monitor is about to end us too */
        pump->unconfirmed = 0;
    }
}

static void await_esp(struct pump *pump)
{
    time_us end = run_now() + ESP_WAIT_MS * TIME_MILLISECOND;
    pump_read_esp(pump);
    while (pump->unconfirmed > 0) {
        time_us now = run_now();
        struct pollfd fd = {.fd = pump->esp_fd, .events = POLLIN};
        if (now >= end || poll(&fd, 1, (int)((end - now) / TIME_MILLISECOND) + 1) < 0) {
            log_warn("the data plane is slow to confirm %u new SAs", pump->unconfirmed);
            pump->unconfirmed = 0;
            return;
        }
        pump_read_esp(pump);
    }
}

static void give_facts(struct pump *pump)
{
    static const uint32_t kinds[] = {
        [ESP_FACT_SOFT] = IKE_FACT_CHILD_SOFT, [ESP_FACT_HARD] = IKE_FACT_CHILD_HARD,
        [ESP_FACT_HEARD] = IKE_FACT_HEARD,     [ESP_FACT_SENT] = IKE_FACT_SENT,
        [ESP_FACT_STRAYED] = IKE_FACT_STRAYED, [ESP_FACT_UNKNOWN_SPI] = IKE_FACT_UNKNOWN_SPI,
    };
    size_t count = pump->fact_count;
    time_us now = run_now();
    for (size_t i = 0; i < count; i++) {
        const struct esp_fact *fact = &pump->facts[i];
        if (fact->kind >= ARRAY_LEN(kinds))
            continue;
        struct ike_fact known = {.kind = kinds[fact->kind],
                                 .spi_in = fact->spi_in,
                                 .tunnel = fact->tunnel,
                                 .sent = fact->sent,
                                 .remote = fact->remote,
                                 .stray_len = fact->stray_len};
        memcpy(known.stray, fact->stray, sizeof(known.stray));
        ike_fact(pump->engine, now, &known);
        pump_drain(pump);
    }
    /* More may have come while we drained. */
    memmove(pump->facts, pump->facts + count, (pump->fact_count - count) * sizeof(*pump->facts));
    pump->fact_count -= count;
}

/* What this batch has for the neighbours. One who is gone or stuck does not get it: then the
 * monitor is about to make both anew, or an SA waits in vain and its timer ends it. */
static void hand_over(struct outbox *box, int fd, const char *whom)
{
    if (!outbox_waits(box))
        return;
    int result = outbox_flush_wait(box, fd, SEND_WAIT_MS);
    if (result) {
        log_warn("messages did not reach the %s process: %s", whom, err_sentence(result));
        outbox_clear(box);
    }
}

void pump_hand_over(struct pump *pump)
{
    hand_over(&pump->to_keys, pump->keys_fd, "keys");
    hand_over(&pump->to_esp, pump->esp_fd, "esp");
}

static void end_tunnel(struct pump *pump, uint64_t tunnel)
{
    struct ike_command end = {.kind = IKE_DELETE, .tunnel = tunnel};
    if (ike_command(pump->engine, run_now(), &end, NULL) == 0)
        pump_drain(pump);
}

/* What was to be said meanwhile is not said: whoever asked asks again, or finds no tunnel. */
static void give_up_network(struct pump *pump)
{
    if (pump->net_wait_count == 0 || run_now() < pump->net_wait_end)
        return;
    log_warn("the monitor did not make the network ready for transport mode in time: %u tunnels "
             "end",
             pump->net_wait_count);
    pump->held_len = 0;
    while (pump->net_wait_count > 0)
        end_tunnel(pump, pump->net_waits[--pump->net_wait_count]);
}

void pump_settle(struct pump *pump)
{
    give_up_network(pump);
    for (unsigned round = 0; round < 4; round++) {
        pump_hand_over(pump);
        if (pump->unconfirmed > 0)
            await_esp(pump);
        send_held(pump);
        if (pump->fact_count == 0)
            return;
        give_facts(pump);
    }
    pump_hand_over(pump);
    await_esp(pump);
    send_held(pump);
}

static void to_esp(struct pump *pump)
{
    int result = pump->esp_gone ? ERR_CLOSED : outbox_put(&pump->to_esp, &pump->message);
    if (result == 0 && pump->message.kind == IPC_ESP_ADD)
        pump->unconfirmed++;
    else if (result)
        log_warn("%s did not reach the data plane: %s", ipc_kind_name(pump->message.kind),
                 err_sentence(result));
    ipc_wipe(&pump->message);
}

/* The engine knows the port by name only; the socket has the number. */
static uint16_t local_port(const struct pump *pump, const struct ike_path *path)
{
    for (size_t i = 0; i < pump->sockets->count; i++)
        if (pump->sockets->ip[i].family == path->remote.ip.family)
            return pump->sockets->group[i].port_natt;
    return path->local.port;
}

static void add_child(struct pump *pump, const struct ike_child *child)
{
    ipc_prepare(&pump->message, IPC_ESP_ADD, child->spi_in);
    run_child_config(child, pump->conf, pump->generation, &pump->message.esp_add);
    pump->message.esp_add.local.port = local_port(pump, &child->path);
    pump->message.esp_add.interface = leave_by(pump, &child->path);
    to_esp(pump);
}

static void delete_child(struct pump *pump, const struct ike_esp_del *del)
{
    ipc_prepare(&pump->message, IPC_ESP_DEL, del->spi_in);
    pump->message.esp_del =
        (struct ipc_esp_del){.tunnel = del->tunnel, .spi_in = del->spi_in, .linger = del->linger};
    to_esp(pump);
}

static void move_children(struct pump *pump, const struct ike_net *net)
{
    ipc_prepare(&pump->message, IPC_ESP_MOVE, 0);
    pump->message.esp_move = (struct ipc_esp_move){.tunnel = net->tunnel,
                                                   .local = net->path.local,
                                                   .remote = net->path.remote,
                                                   .interface = leave_by(pump, &net->path),
                                                   .udp = net->udp};
    pump->message.esp_move.local.port = local_port(pump, &net->path);
    to_esp(pump);
}

/* ---- keys */

/* As much of it as is in use. */
static void copy_question(struct ike_ask *to, const struct ike_ask *from)
{
    size_t octets = (size_t)from->own_len + from->peer_len;
    memcpy(to, from, offsetof(struct ike_ask, octets) + octets);
}

static void count_stay(struct pump *pump, const struct ike_answer *answer)
{
    for (size_t i = 0; i < IKE_STAYS; i++) {
        if (!answer->ticket || pump->stays[i] != answer->ticket)
            continue;
        pump->stays[i] = 0;
        pump->judged.stayed += answer->result == 0;
        pump->judged.ended += answer->result != 0;
        return;
    }
}

void pump_answer(struct pump *pump, const struct ike_answer *answer)
{
    if (pump->questions > 0)
        pump->questions--;
    count_stay(pump, answer);
    ike_answer(pump->engine, run_now(), answer);
    pump_drain(pump);
}

int pump_change_keys(struct pump *pump, int fd)
{
    int former = pump->keys_fd;
    ipc_prepare(&pump->message, IPC_LAST, 0);
    if (outbox_put(&pump->to_keys, &pump->message))
        log_debug("no memory for the last word to the former keys process");
    pump_hand_over(pump);
    pump->keys_fd = fd;
    pump->keys_gone = false;
    pump->questions = 0;
    memset(pump->stays, 0, sizeof(pump->stays));
    pump->judged = (struct ipc_judged){.stayed = 0};
    return former;
}

static void ask(struct pump *pump, const struct ike_ask *question)
{
    bool release = question->want & IKE_WANT_RELEASE;
    ipc_prepare(&pump->message, release ? IPC_RELEASE : IPC_ASK, 0);
    if (release)
        pump->message.release =
            (struct ipc_release){question->tunnel, question->renews, question->peer};
    else
        copy_question(&pump->message.ask, question);
    int result = pump->keys_gone ? ERR_CLOSED : outbox_put(&pump->to_keys, &pump->message);
    if (result == 0 && (question->want & IKE_WANT_STAY))
        pump->stays[pump->stay_next++ % IKE_STAYS] = question->ticket;
    if (result == 0 && !release)
        pump->questions++;
    else if (result)
        log_warn("a question did not reach the keys process: %s", err_sentence(result));
    ipc_wipe(&pump->message);
}

/* ---- monitor */

static void to_monitor(struct pump *pump)
{
    if (outbox_put(&pump->outbox, &pump->message))
        pump->lost_events++;
}

/* A gateway has its pools' routes from the start; only networks behind a peer need the monitor. */
static bool needs_network(const struct pump *pump)
{
    for (size_t i = 0; i < pump->conf->peer_count; i++)
        if (pump->conf->peers[i].network_count)
            return true;
    return !pump->conf->gateway || pump->conf->tunnel.transport;
}

void pump_init(struct pump *pump)
{
    pump->forwards_network = needs_network(pump);
}

/* No answer leaves before its traffic is kept from going beside; no more wait at once than can be
 * told apart. */
static void await_network(struct pump *pump, uint64_t tunnel)
{
    if (pump->net_wait_count == PUMP_NET_WAITS) {
        end_tunnel(pump, tunnel);
        return;
    }
    if (pump->net_wait_count == 0)
        pump->net_wait_end = run_now() + NET_WAIT_SECONDS * TIME_SECOND;
    pump->net_waits[pump->net_wait_count++] = tunnel;
}

static void network(struct pump *pump, enum ipc_kind kind, const struct ike_net *net)
{
    if (!pump->forwards_network)
        return;
    ipc_prepare(&pump->message, kind, 0);
    pump->message.net = *net;
    to_monitor(pump);
    if (kind == IPC_NET_UP && net->transport && !net->initiator)
        await_network(pump, net->tunnel);
}

void pump_net_done(struct pump *pump, const struct ipc_done *done)
{
    for (size_t i = pump->net_wait_count; i-- > 0;)
        if (pump->net_waits[i] == done->tunnel) {
            pump->net_waits[i] = pump->net_waits[--pump->net_wait_count];
            pump->net_wait_end = run_now() + NET_WAIT_SECONDS * TIME_SECOND; /* the next one's */
            break;
        }
    if (done->result)
        end_tunnel(pump, done->tunnel);
}

static void event(struct pump *pump, const struct ike_event *what)
{
    ipc_prepare(&pump->message, IPC_EVENT, 0);
    pump->message.event.what = *what;
    if (what->peer.type != IDENTITY_NONE)
        (void)cert_identity_print(&what->peer, pump->message.event.who);
    to_monitor(pump);
}

static void do_send(struct pump *pump, const struct ike_send *send)
{
    bool guarded = pump->net_wait_count == 0;
    if ((pump->unconfirmed > 0 || pump->held_len > 0 || !guarded) && (hold(pump, send) || !guarded))
        return; /* without room, it is asked for again */
    send_now(pump, &send->path, send->datagram);
}

void pump_drain(struct pump *pump)
{
    struct ike_action action;
    while (ike_next(pump->engine, &action)) {
        switch ((enum ike_action_kind)action.kind) {
        case IKE_SEND:
            do_send(pump, &action.send);
            break;
        case IKE_ESP_ADD:
            add_child(pump, &action.esp_add);
            secret_wipe(&action.esp_add, sizeof(action.esp_add));
            break;
        case IKE_ESP_DEL:
            delete_child(pump, &action.esp_del);
            break;
        case IKE_ESP_MOVE:
            move_children(pump, &action.net);
            break;
        case IKE_NET_UP:
            network(pump, IPC_NET_UP, &action.net);
            break;
        case IKE_NET_DOWN:
            network(pump, IPC_NET_DOWN, &action.net);
            break;
        case IKE_ASK:
            ask(pump, action.ask);
            break;
        case IKE_EVENT:
            event(pump, &action.event);
            break;
        }
    }
}

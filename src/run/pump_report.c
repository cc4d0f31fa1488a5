/* What the monitor wants to know of the engine's SAs. */
#include "run/pump.h"

#include <stdio.h>
#include <string.h>

struct report {
    struct pump *pump;
    uint32_t serial;
    time_us now;
};

static uint64_t ago(time_us now, time_us then)
{
    return then && now > then ? now - then : 0;
}

static void hand_over(const struct report *report)
{
    struct pump *pump = report->pump;
    if (outbox_send(&pump->outbox, pump->monitor_fd, &pump->message))
        log_debug("the monitor does not take our report");
}

static void report_child(const struct report *report, const struct ike_child *child)
{
    struct ipc_message *message = &report->pump->message;
    ipc_prepare(message, IPC_STATUS_CHILD, report->serial);
    struct ipc_status_child *out = &message->status_child;
    out->tunnel = child->tunnel;
    out->spi_in = child->spi_in;
    out->spi_out = child->spi_out;
    out->esn = child->esn;
    out->udp = child->udp;
    out->ah = child->ah;
    out->transport = child->transport;
    out->initiator = child->initiator;
    char kes[512];
    snprintf(out->kes, sizeof(out->kes), "%.*s", IPC_SUITE_TEXT - 1,
             ike_kes_print(&child->kes, kes));
    if (child->wish > 0 && child->wish <= report->pump->conf->tunnel.child_count)
        snprintf(out->name, sizeof(out->name), "%s",
                 report->pump->conf->tunnel.children[child->wish - 1].name);
    run_child_suite(child, out->suite);
    out->local_count = child->local_count;
    out->remote_count = child->remote_count;
    memcpy(out->local_ts, child->local_ts, sizeof(out->local_ts));
    memcpy(out->remote_ts, child->remote_ts, sizeof(out->remote_ts));
    hand_over(report);
}

static void report_sa(void *context, const struct ike_status *status)
{
    const struct report *report = context;
    struct ipc_message *message = &report->pump->message;
    char suite[512];
    ipc_prepare(message, IPC_STATUS_IKE, report->serial);
    struct ipc_status_ike *out = &message->status_ike;
    out->tunnel = status->tunnel;
    out->spi_i = status->spi_i;
    out->spi_r = status->spi_r;
    out->state = status->state;
    out->initiator = status->initiator;
    out->nat_local = status->nat_local;
    out->nat_remote = status->nat_remote;
    out->udp = status->udp;
    out->path = status->path;
    if (status->own.type != IDENTITY_NONE)
        (void)cert_identity_print(&status->own, out->own);
    if (status->peer.type != IDENTITY_NONE)
        (void)cert_identity_print(&status->peer, out->peer);
    memcpy(out->peer_name, status->peer_name, sizeof(out->peer_name));
    const struct transform *encr = proposal_find(&status->suite, TRANSFORM_ENCR);
    if (encr && encr->id) /* else nothing is agreed on yet */
        snprintf(out->suite, sizeof(out->suite), "%.*s", IPC_SUITE_TEXT - 1,
                 suite_print_proposal(&status->suite, suite));
    out->age = ago(report->now, status->created);
    out->established_ago = ago(report->now, status->established);
    out->heard_ago = ago(report->now, status->last_heard);
    out->rekey_in = status->rekey_at != TIME_NEVER && status->rekey_at > report->now
                        ? status->rekey_at - report->now
                        : 0;
    out->rekeys_ike = status->rekeys_ike;
    out->rekeys_child = status->rekeys_child;
    out->retransmissions = status->retransmissions;
    out->ip4 = status->ip4;
    out->ip6 = status->ip6;
    out->children = (uint32_t)status->child_count;
    hand_over(report);
    for (size_t i = 0; i < status->child_count; i++)
        report_child(report, &status->children[i]);
}

void pump_report(struct pump *pump, uint32_t serial)
{
    struct report report = {.pump = pump, .serial = serial, .now = run_now()};
    ike_walk(pump->engine, report_sa, &report);
    ipc_prepare(&pump->message, IPC_STATUS_END_IKE, serial);
    pump->message.end_ike.counters = *ike_counters(pump->engine);
    ike_usage(pump->engine, &pump->message.end_ike.usage);
    pump->message.end_ike.lost_events = pump->lost_events;
    hand_over(&report);
}

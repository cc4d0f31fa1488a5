/* Messages between processes: whole, of the right size, or refused. */
#include "run/ipc.h"
#include "run/outbox.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

static struct ipc_message out, in;

static void every_kind(void **state)
{
    int pair[2];
    (void)state;
    assert_int_equal(ipc_pair(pair), 0);
    for (uint32_t kind = IPC_NONE + 1; kind < IPC_KINDS; kind++) {
        ipc_prepare(&out, kind, kind * 3);
        memset((uint8_t *)&out + 8, (int)kind, ipc_size(kind) - 8);
        if (kind == IPC_ASK)
            out.ask.own_len = out.ask.peer_len = AUTH_OCTETS_MAX;
        assert_int_equal(ipc_send(pair[0], &out, -1), 0);
        memset(&in, 0, sizeof(in));
        assert_int_equal(ipc_receive(pair[1], &in, NULL), 0);
        assert_memory_equal(&in, &out, ipc_length(&out));
        assert_int_equal(in.serial, kind * 3);
    }
    assert_int_equal(ipc_receive(pair[1], &in, NULL), ERR_AGAIN);
    close(pair[0]);
    assert_int_equal(ipc_receive(pair[1], &in, NULL), ERR_CLOSED);
    assert_int_equal(ipc_send(pair[1], &out, -1), ERR_CLOSED);
    close(pair[1]);
}

static void wrong_sizes(void **state)
{
    int pair[2];
    (void)state;
    assert_int_equal(ipc_pair(pair), 0);
    for (uint32_t kind = 0; kind < IPC_KINDS + 3; kind++) {
        size_t right = ipc_size(kind);
        size_t sizes[] = {1, 4, 7, right - 1, right + 1, sizeof(out) + 100};
        static uint8_t octets[sizeof(out) + 100];
        for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
            if (sizes[i] == 0 || sizes[i] > sizeof(octets) || sizes[i] == right)
                continue;
            memcpy(octets, &kind, sizeof(kind));
            assert_int_equal(send(pair[0], octets, sizes[i], 0), sizes[i]);
            assert_int_equal(ipc_receive(pair[1], &in, NULL), ERR_SYNTAX);
        }
    }
    close(pair[0]);
    close(pair[1]);
}

/* A question says itself how long it is; what does not fit to that is refused. */
static void questions_that_lie(void **state)
{
    int pair[2];
    (void)state;
    assert_int_equal(ipc_pair(pair), 0);
    ipc_prepare(&out, IPC_ASK, 0);
    size_t bare = ipc_length(&out);
    out.ask.own_len = 10, out.ask.peer_len = 20;
    assert_int_equal(ipc_length(&out), bare + 30);
    for (size_t len = 1; len < bare + 64; len++) {
        assert_int_equal(send(pair[0], &out, len, 0), len);
        assert_int_equal(ipc_receive(pair[1], &in, NULL), len == bare + 30 ? 0 : ERR_SYNTAX);
    }
    out.ask.own_len = UINT16_MAX;
    assert_int_equal(ipc_length(&out), 0);
    assert_int_equal(ipc_send(pair[0], &out, -1), ERR_ARGUMENT);
    assert_int_equal(send(pair[0], &out, sizeof(out), 0), sizeof(out));
    assert_int_equal(ipc_receive(pair[1], &in, NULL), ERR_SYNTAX);
    close(pair[0]);
    close(pair[1]);
}

/* Two where one belongs: a process that was taken over must not fill its neighbour's table. */
static void two_descriptors_are_closed(void **state)
{
    union {
        char space[CMSG_SPACE(2 * sizeof(int))];
        struct cmsghdr align;
    } control = {0};
    int pair[2], ends[2], got, next;
    (void)state;
    assert_int_equal(ipc_pair(pair), 0);
    assert_int_equal(pipe(ends), 0);
    ipc_prepare(&out, IPC_PEER, 0);
    struct iovec part = {.iov_base = &out, .iov_len = ipc_size(IPC_PEER)};
    struct msghdr header = {.msg_iov = &part,
                            .msg_iovlen = 1,
                            .msg_control = control.space,
                            .msg_controllen = sizeof(control.space)};
    struct cmsghdr *c = CMSG_FIRSTHDR(&header);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(ends));
    memcpy(CMSG_DATA(c), ends, sizeof(ends));
    int before = dup(pair[0]); /* the lowest number that is free */
    close(before);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(sendmsg(pair[0], &header, 0), (ssize_t)part.iov_len);
        assert_int_equal(ipc_receive(pair[1], &in, &got), 0);
        assert_int_equal(got, -1);
    }
    next = dup(pair[0]);
    assert_int_equal(next, before);
    close(next);
    for (int i = 0; i < 2; i++) {
        close(ends[i]);
        close(pair[i]);
    }
}

static void descriptors(void **state)
{
    int pair[2], got, ends[2];
    char octet = 'x', back = 0;
    (void)state;
    assert_int_equal(ipc_pair(pair), 0);
    assert_int_equal(pipe(ends), 0);
    ipc_prepare(&out, IPC_PEER, 1);
    assert_int_equal(ipc_send(pair[0], &out, ends[1]), 0);
    assert_int_equal(ipc_send(pair[0], &out, -1), 0);
    assert_int_equal(ipc_send(pair[0], &out, ends[1]), 0);
    assert_int_equal(ipc_receive(pair[1], &in, &got), 0);
    assert_true(got >= 0);
    assert_int_equal(write(got, &octet, 1), 1);
    assert_int_equal(read(ends[0], &back, 1), 1);
    assert_int_equal(back, 'x');
    close(got);
    assert_int_equal(ipc_receive(pair[1], &in, &got), 0);
    assert_int_equal(got, -1);
    /* One that nobody asked for is closed, not leaked. */
    int next = dup(0);
    close(next);
    assert_int_equal(ipc_receive(pair[1], &in, NULL), 0);
    int again = dup(0);
    assert_int_equal(again, next);
    close(again);
    close(ends[0]);
    close(ends[1]);
    close(pair[0]);
    close(pair[1]);
}

/* What does not fit waits, in order, and nothing is lost or mixed. */
static void outbox_keeps_order(void **state)
{
    enum { COUNT = 20000 };
    struct outbox box = {0};
    int pair[2], small = 4096;
    uint32_t expected = 0;
    (void)state;
    assert_int_equal(ipc_pair(pair), 0);
    assert_int_equal(setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)), 0);
    for (uint32_t i = 0; i < COUNT; i++) {
        ipc_prepare(&out, i % 3 ? IPC_COMMAND_DONE : IPC_EVENT, i);
        assert_int_equal(outbox_send(&box, pair[0], &out), 0);
    }
    assert_true(outbox_waits(&box));
    while (expected < COUNT) {
        while (ipc_receive(pair[1], &in, NULL) == 0) {
            assert_int_equal(in.serial, expected);
            assert_int_equal(in.kind, expected % 3 ? IPC_COMMAND_DONE : IPC_EVENT);
            expected++;
        }
        (void)!outbox_flush(&box, pair[0], 1);
    }
    assert_false(outbox_waits(&box));
    outbox_free(&box);
    close(pair[0]);
    close(pair[1]);
}

static void outbox_is_bounded(void **state)
{
    struct outbox box = {0};
    int pair[2], result = 0;
    (void)state;
    assert_int_equal(ipc_pair(pair), 0);
    ipc_prepare(&out, IPC_ASK, 0);
    out.ask.own_len = out.ask.peer_len = AUTH_OCTETS_MAX;
    for (unsigned i = 0; i < 20000 && result == 0; i++)
        result = outbox_send(&box, pair[0], &out);
    assert_int_equal(result, ERR_LIMIT);
    assert_true(box.len <= OUTBOX_LIMIT);
    close(pair[1]);
    assert_int_equal(outbox_flush(&box, pair[0], 1), ERR_CLOSED);
    outbox_free(&box);
    close(pair[0]);
}

/* The first of a storm goes at once, the others together after a pause. */
static void outbox_waits_for_company(void **state)
{
    struct outbox box = {0};
    int pair[2];
    time_us now = TIME_SECOND;
    (void)state;
    assert_int_equal(ipc_pair(pair), 0);
    ipc_prepare(&out, IPC_EVENT, 0);
    assert_int_equal(outbox_due(&box), TIME_NEVER);
    assert_int_equal(outbox_put(&box, &out), 0);
    assert_true(outbox_due(&box) <= now);
    assert_int_equal(outbox_flush(&box, pair[0], now), 0);
    assert_int_equal(outbox_put(&box, &out), 0);
    assert_int_equal(outbox_put(&box, &out), 0);
    assert_int_equal(outbox_due(&box), now + OUTBOX_PAUSE_US);
    assert_int_equal(outbox_flush(&box, pair[0], now + OUTBOX_PAUSE_US), 0);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(ipc_receive(pair[1], &in, NULL), 0);
    assert_int_equal(ipc_receive(pair[1], &in, NULL), ERR_AGAIN);
    outbox_free(&box);
    close(pair[0]);
    close(pair[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind),
        cmocka_unit_test(wrong_sizes),
        cmocka_unit_test(questions_that_lie),
        cmocka_unit_test(descriptors),
        cmocka_unit_test(two_descriptors_are_closed),
        cmocka_unit_test(outbox_keeps_order),
        cmocka_unit_test(outbox_is_bounded),
        cmocka_unit_test(outbox_waits_for_company),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

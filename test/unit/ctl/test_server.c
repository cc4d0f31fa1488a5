/* A server and its clients over a real socket, in one thread: the test says who moves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* cmocka.h needs the four above */
#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "ctl/ctl.h"

static char dir[] = "/tmp/shrike-ctl-XXXXXX", path[128], why[256];

/* ---- a handler that remembers ---- */

static struct {
    struct ctl_server *server;
    struct ctl_client_ref ref[64]; /* of each call, in order */
    char method[64][32];
    size_t calls;
} seen;

static void handler(void *context, struct ctl_client_ref client, const char *method,
                    json_t *parameters, bool more)
{
    (void)more;
    assert_ptr_equal(context, &seen);
    assert_true(json_is_object(parameters));
    seen.ref[seen.calls % 64] = client;
    snprintf(seen.method[seen.calls++ % 64], 32, "%s", method);
    if (!strcmp(method, "Echo"))
        assert_int_equal(ctl_reply(seen.server, client, json_incref(parameters), false), 0);
    else if (!strcmp(method, "Refuse"))
        assert_int_equal(ctl_error(seen.server, client, "NotFound", NULL), 0);
}

static int open_server(void **state)
{
    (void)state;
    memset(&seen, 0, sizeof seen);
    seen.server = ctl_listen(path, handler, &seen, why);
    if (!seen.server)
        fail_msg("%s", why);
    return 0;
}

static int close_server(void **state)
{
    (void)state;
    ctl_close(seen.server);
    assert_int_equal(access(path, F_OK), -1);
    return 0;
}

static void serve(void)
{
    for (int i = 0; i < 20; i++)
        ctl_serve(seen.server);
}

/* ---- a raw client ---- */

static int dial(void)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    snprintf(a.sun_path, sizeof a.sun_path, "%.100s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
    serve();
    return fd;
}

static void put(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text) + 1, MSG_NOSIGNAL), (ssize_t)strlen(text) + 1);
    serve();
}

/* What has come: "" = nothing, "closed" = the end. */
static const char *get(int fd)
{
    static char text[1 << 16];
    size_t used = 0;
    for (;;) {
        char c;
        ssize_t n = recv(fd, &c, 1, MSG_DONTWAIT);
        if (n < 0 && errno == ECONNRESET)
            n = 0;
        if (n == 0 && !used)
            return "closed";
        if (n <= 0 || !c || used + 1 == sizeof text)
            break;
        text[used++] = c;
    }
    text[used] = 0;
    return text;
}

#define ECHO(n)     "{\"method\":\"org.shrike.Echo\",\"parameters\":{\"n\":" #n "}}"
#define REPLY(n)    "{\"parameters\":{\"n\":" #n "}}"
#define WAITS(name) "{\"method\":\"org.shrike." name "\"}"
#define STREAM      "{\"method\":\"org.shrike.Stream\",\"more\":true}"

static json_t *n_is(int n)
{
    return json_pack("{s:i}", "n", n);
}

/* ---- the tests ---- */

static void calls_are_answered_in_order(void **state)
{
    (void)state;
    int fd = dial();
    char both[] = ECHO(1) "\0" ECHO(2) "\0" ECHO(3);
    assert_int_equal(send(fd, both, sizeof both, 0), sizeof both);
    serve();
    assert_string_equal(get(fd), REPLY(1));
    assert_string_equal(get(fd), REPLY(2));
    assert_string_equal(get(fd), REPLY(3));
    assert_string_equal(get(fd), "");
    close(fd);
    serve();
}

static void a_later_answer_holds_up_the_next_call(void **state)
{
    (void)state;
    int fd = dial();
    char both[] = WAITS("Later") "\0" ECHO(2);
    assert_int_equal(send(fd, both, sizeof both, 0), sizeof both);
    serve();
    assert_int_equal(seen.calls, 1);
    assert_string_equal(seen.method[0], "Later");
    assert_true(ctl_alive(seen.server, seen.ref[0]));
    assert_string_equal(get(fd), "");
    assert_int_equal(ctl_reply(seen.server, seen.ref[0], n_is(1), false), 0);
    assert_false(ctl_alive(seen.server, seen.ref[0]));
    assert_int_equal(ctl_reply(seen.server, seen.ref[0], n_is(1), false), ERR_CLOSED);
    serve();
    assert_string_equal(get(fd), REPLY(1));
    assert_string_equal(get(fd), REPLY(2));
    close(fd);
}

static void octet_by_octet_is_fine(void **state)
{
    (void)state;
    int fd = dial();
    static const char text[] = ECHO(5);
    for (size_t i = 0; i < sizeof text; i++) {
        assert_string_equal(get(fd), "");
        assert_int_equal(send(fd, text + i, 1, 0), 1);
        serve();
    }
    assert_string_equal(get(fd), REPLY(5));
    close(fd);
}

static void a_stream_goes_on_until_its_last(void **state)
{
    (void)state;
    int fd = dial();
    put(fd, STREAM);
    assert_int_equal(ctl_reply(seen.server, seen.ref[0], n_is(1), true), 0);
    assert_int_equal(ctl_reply(seen.server, seen.ref[0], n_is(2), true), 0);
    assert_string_equal(get(fd), "{\"parameters\":{\"n\":1},\"continues\":true}");
    assert_string_equal(get(fd), "{\"parameters\":{\"n\":2},\"continues\":true}");
    /* a new call replaces it */
    put(fd, ECHO(3));
    assert_false(ctl_alive(seen.server, seen.ref[0]));
    assert_int_equal(ctl_reply(seen.server, seen.ref[0], n_is(9), true), ERR_CLOSED);
    assert_string_equal(get(fd), REPLY(3));
    put(fd, STREAM);
    assert_int_equal(ctl_reply(seen.server, seen.ref[2], n_is(4), false), 0);
    assert_string_equal(get(fd), REPLY(4));
    assert_int_equal(ctl_reply(seen.server, seen.ref[2], n_is(5), false), ERR_CLOSED);
    close(fd);
}

static void errors_have_names(void **state)
{
    (void)state;
    int fd = dial();
    put(fd, WAITS("Refuse"));
    assert_string_equal(get(fd), "{\"error\":\"org.shrike.NotFound\",\"parameters\":{}}");
    put(fd, "{\"method\":\"org.varlink.service.GetInfo\"}");
    assert_non_null(strstr(get(fd), "org.shrike.MethodNotFound"));
    put(fd, ECHO(1));
    assert_string_equal(get(fd), REPLY(1));
    close(fd);
}

static void nonsense_ends_only_its_connection(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "", "x", "[]", "{}", "{\"method\":7}", "{\"method\":\"org.shrike.Echo\",\"parameters\":7}"};
    int good = dial();
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        int fd = dial();
        put(fd, bad[i]);
        assert_string_equal(get(fd), "closed");
        close(fd);
    }
    put(good, ECHO(1));
    assert_string_equal(get(good), REPLY(1));
    close(good);
}

static void endless_messages_end_the_connection(void **state)
{
    (void)state;
    int fd = dial();
    char junk[4096];
    memset(junk, ' ', sizeof junk);
    size_t sent = 0;
    while (sent < 2 * CTL_MESSAGE_MAX) {
        ssize_t n = send(fd, junk, sizeof junk, MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN)
            break;
        sent += n > 0 ? (size_t)n : 0;
        serve();
    }
    assert_true(sent <= CTL_MESSAGE_MAX + (1 << 19));
    close(fd);
}

static void a_client_that_does_not_read_is_let_go(void **state)
{
    (void)state;
    int fd = dial();
    put(fd, STREAM);
    char *text = malloc(100001);
    memset(text, 'x', 100000);
    text[100000] = 0;
    int err = 0, n = 0;
    while (!err && n++ < 1000) {
        err = ctl_reply(seen.server, seen.ref[0], json_pack("{s:s}", "t", text), true);
        ctl_serve(seen.server);
    }
    assert_int_equal(err, ERR_CLOSED);
    assert_true(n < 60);
    free(text);
    close(fd);
}

static void a_slow_reader_gets_everything(void **state)
{
    (void)state;
    int fd = dial();
    put(fd, STREAM);
    char *text = malloc(50001);
    memset(text, 'x', 50000);
    text[50000] = 0;
    for (int i = 0; i < 40; i++) /* 2 MB, more than a socket holds */
        assert_int_equal(ctl_reply(seen.server, seen.ref[0], json_pack("{s:s}", "t", text), i < 39),
                         0);
    size_t messages = 0;
    for (int i = 0; i < 100000 && messages < 40; i++) {
        char buffer[8192];
        ssize_t n = recv(fd, buffer, sizeof buffer, MSG_DONTWAIT);
        for (ssize_t j = 0; j < n; j++)
            messages += !buffer[j];
        ctl_serve(seen.server);
    }
    assert_int_equal(messages, 40);
    free(text);
    close(fd);
}

static void too_large_answers_become_errors(void **state)
{
    (void)state;
    int fd = dial();
    put(fd, WAITS("Later"));
    char *text = malloc(CTL_MESSAGE_MAX + 1);
    memset(text, 'x', CTL_MESSAGE_MAX);
    text[CTL_MESSAGE_MAX] = 0;
    assert_int_equal(ctl_reply(seen.server, seen.ref[0], json_pack("{s:s}", "t", text), false), 0);
    assert_non_null(strstr(get(fd), "org.shrike.Internal"));
    free(text);
    close(fd);
}

static void who_has_gone_is_not_answered(void **state)
{
    (void)state;
    int fd = dial();
    put(fd, WAITS("Later"));
    close(fd);
    serve();
    assert_false(ctl_alive(seen.server, seen.ref[0]));
    assert_int_equal(ctl_reply(seen.server, seen.ref[0], NULL, false), ERR_CLOSED);
    /* the slot's next owner is not taken for the old one */
    fd = dial();
    put(fd, WAITS("Later"));
    assert_int_equal(seen.ref[1].slot, seen.ref[0].slot);
    assert_int_equal(ctl_reply(seen.server, seen.ref[0], NULL, false), ERR_CLOSED);
    assert_string_equal(get(fd), "");
    close(fd);
    struct ctl_client_ref wild = {.slot = 1000, .serial = 1};
    assert_false(ctl_alive(seen.server, wild));
    assert_int_equal(ctl_reply(seen.server, wild, NULL, false), ERR_CLOSED);
}

static void a_half_closed_client_gets_its_answer(void **state)
{
    (void)state;
    int fd = dial();
    put(fd, WAITS("Later"));
    shutdown(fd, SHUT_WR);
    serve();
    assert_true(ctl_alive(seen.server, seen.ref[0]));
    assert_int_equal(ctl_reply(seen.server, seen.ref[0], n_is(1), false), 0);
    serve();
    assert_string_equal(get(fd), REPLY(1));
    assert_string_equal(get(fd), "closed");
    close(fd);
}

static void the_33rd_client_is_turned_away(void **state)
{
    (void)state;
    int fd[CTL_CLIENTS_MAX + 1];
    for (size_t i = 0; i < ARRAY_LEN(fd); i++)
        fd[i] = dial();
    assert_string_equal(get(fd[CTL_CLIENTS_MAX]), "closed");
    close(fd[0]);
    serve();
    int again = dial();
    put(again, ECHO(1));
    assert_string_equal(get(again), REPLY(1));
    close(again);
    for (size_t i = 1; i < ARRAY_LEN(fd); i++)
        close(fd[i]);
    serve();
}

static void the_socket_is_private_and_single(void **state)
{
    (void)state;
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_null(ctl_listen(path, handler, &seen, why));
    assert_non_null(strstr(why, "running already"));
    assert_int_equal(access(path, F_OK), 0);
}

static void a_dead_socket_file_is_replaced(void **state)
{
    (void)state;
    char dead[128];
    snprintf(dead, sizeof dead, "%s/sub/dead.sock", dir);
    struct ctl_server *s = ctl_listen(dead, handler, &seen, why);
    assert_non_null(s);
    ctl_close(s);
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    snprintf(a.sun_path, sizeof a.sun_path, "%.100s", dead);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    close(fd); /* the file stays, nobody listens */
    s = ctl_listen(dead, handler, &seen, why);
    assert_non_null(s);
    ctl_close(s);
    snprintf(dead, sizeof dead, "%s/sub", dir);
    rmdir(dead);
    char long_path[300];
    memset(long_path, 'a', sizeof long_path - 1);
    long_path[sizeof long_path - 1] = 0;
    assert_null(ctl_listen(long_path, handler, &seen, why));
    assert_non_null(strstr(why, "too long"));
    assert_null(ctl_listen("/proc/no/x.sock", handler, &seen, why));
}

/* ---- the blocking client, with a server in a thread ---- */

static void *serve_for_ever(void *stop)
{
    while (!__atomic_load_n((bool *)stop, __ATOMIC_ACQUIRE)) {
        ctl_serve(seen.server);
        usleep(1000);
    }
    return NULL;
}

static void the_client_side_calls_and_waits(void **state)
{
    (void)state;
    bool stop = false, continues;
    int err;
    json_t *reply;
    char *error;
    pthread_t thread;
    assert_null(ctl_connect("/nonexistent/x.sock", &err));
    assert_int_equal(err, ERR_NOT_FOUND);
    assert_int_equal(pthread_create(&thread, NULL, serve_for_ever, &stop), 0);
    struct ctl_call *call = ctl_connect(path, &err);
    assert_non_null(call);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(ctl_send(call, "Echo", n_is(i), false), 0);
        assert_int_equal(ctl_receive(call, 5000, &reply, &error, &continues), 0);
        assert_null(error);
        assert_false(continues);
        assert_int_equal(json_integer_value(json_object_get(reply, "n")), i);
        json_decref(reply);
    }
    assert_int_equal(ctl_send(call, "Refuse", NULL, false), 0);
    assert_int_equal(ctl_receive(call, 5000, &reply, &error, &continues), 0);
    assert_string_equal(error, "org.shrike.NotFound");
    free(error);
    json_decref(reply);
    assert_int_equal(ctl_send(call, "Later", NULL, false), 0);
    assert_int_equal(ctl_receive(call, 30, &reply, &error, &continues), ERR_TIMEOUT);
    ctl_hang_up(call);
    __atomic_store_n(&stop, true, __ATOMIC_RELEASE);
    pthread_join(thread, NULL);
}

static int make_dir(void **state)
{
    (void)state;
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/test.sock", dir);
    return 0;
}

static int remove_dir(void **state)
{
    (void)state;
    return rmdir(dir);
}

#define WITH_SERVER(test) cmocka_unit_test_setup_teardown(test, open_server, close_server)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_SERVER(calls_are_answered_in_order),
        WITH_SERVER(a_later_answer_holds_up_the_next_call),
        WITH_SERVER(octet_by_octet_is_fine),
        WITH_SERVER(a_stream_goes_on_until_its_last),
        WITH_SERVER(errors_have_names),
        WITH_SERVER(nonsense_ends_only_its_connection),
        WITH_SERVER(endless_messages_end_the_connection),
        WITH_SERVER(a_client_that_does_not_read_is_let_go),
        WITH_SERVER(a_slow_reader_gets_everything),
        WITH_SERVER(too_large_answers_become_errors),
        WITH_SERVER(who_has_gone_is_not_answered),
        WITH_SERVER(a_half_closed_client_gets_its_answer),
        WITH_SERVER(the_33rd_client_is_turned_away),
        WITH_SERVER(the_socket_is_private_and_single),
        cmocka_unit_test(a_dead_socket_file_is_replaced),
        WITH_SERVER(the_client_side_calls_and_waits),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}

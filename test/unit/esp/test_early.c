/* Packets that come before their SA. */
#include "pair.h"

#include "esp/early.h"

static uint8_t frame[ESP_FRAME_MAX];
static const struct make small = {
    .family = 4, .protocol = PROTO_UDP, .payload = 20, .source_port = 4, .destination_port = 5};

static time_us clock_value;
static time_us clock_now(void)
{
    return clock_value;
}

/* a has the SA, b does not yet; b's half of it is in *c. */
static struct pair *open_half(struct esp_sa_config *c)
{
    struct pair *pair = pair_open();
    struct esp_sa_config mine = pair_config(0);
    clock_value = 100 * TIME_SECOND;
    assert_int_equal(esp_add(pair->a.plane, &mine, 1), 0);
    *c = pair_mirror(&mine);
    return pair;
}

static void arrive(struct end *to, uint8_t *data, uint32_t len, struct sockaddr_storage *from)
{
    struct esp_datagrams d = {.data = data, .len = len, .stride = len, .udp = true, .from = from};
    esp_in_receive(to->in, &d, 1, clock_value);
}

/* The buffers of what came are overwritten, as a receiver does. */
static void carry_one(struct pair *pair)
{
    size_t len = make_frame(&small, frame);
    static uint8_t copy[2048];
    struct sockaddr_storage from = {0};
    end_clear(&pair->a);
    end_put(&pair->a, frame, len);
    assert_int_equal(pair->a.send_count, 1);
    memcpy(copy, pair->a.wire, pair->a.sends[0].len);
    from = pair->a.sends[0].to;
    arrive(&pair->b, copy, pair->a.sends[0].len, &from);
    memset(copy, 0xee, sizeof(copy));
    memset(&from, 0xee, sizeof(from));
}

static bool look(struct pair *pair, int *pause)
{
    return esp_in_early(pair->b.in, clock_now, pause);
}

static void are_opened_when_it_is_there(void **state)
{
    struct esp_sa_config c;
    struct pair *pair = open_half(&c);
    int pause = 0;
    (void)state;
    assert_false(look(pair, &pause));
    for (int i = 0; i < 3; i++)
        carry_one(pair);
    assert_true(look(pair, &pause));
    assert_int_equal(pause, 1);
    assert_int_equal(pair->b.frame_count, 0);
    assert_int_equal(esp_add(pair->b.plane, &c, 1), 0);
    clock_value += TIME_SECOND / 10;
    assert_false(look(pair, &pause));
    struct esp_counters k = end_counters(&pair->b);
    assert_int_equal(k.in_packets, 3);
    assert_int_equal(k.in_early, 3);
    assert_int_equal(k.drop_in_spi, 3);
    assert_false(look(pair, &pause));
    assert_int_equal(end_counters(&pair->b).in_packets, 3);
    pair_close(pair);
}

static void come_before_what_comes_later(void **state)
{
    struct esp_sa_config c;
    struct pair *pair = open_half(&c);
    int pause;
    (void)state;
    for (int i = 0; i < 3; i++)
        carry_one(pair);
    assert_int_equal(esp_add(pair->b.plane, &c, 1), 0);
    carry_one(pair);
    struct esp_counters k = end_counters(&pair->b);
    assert_int_equal(k.in_packets, 4);
    assert_int_equal(k.in_early, 3);
    assert_int_equal(k.drop_in_replay, 0);
    assert_false(look(pair, &pause));
    pair_close(pair);
}

static void are_checked_like_all_others(void **state)
{
    struct esp_sa_config c;
    struct pair *pair = open_half(&c);
    uint8_t twice[2048], forged[2048];
    int pause;
    (void)state;
    carry_one(pair);
    uint32_t len = pair->a.sends[0].len;
    memcpy(twice, pair->a.wire, len);
    memcpy(forged, pair->a.wire, len);
    forged[len - 1] ^= 1;
    arrive(&pair->b, twice, len, &pair->a.sends[0].to);
    arrive(&pair->b, forged, len, &pair->a.sends[0].to);
    arrive(&pair->b, twice, 8, &pair->a.sends[0].to); /* nothing but a header */
    assert_int_equal(esp_add(pair->b.plane, &c, 1), 0);
    assert_false(look(pair, &pause));
    struct esp_counters k = end_counters(&pair->b);
    assert_int_equal(k.in_packets, 1);
    assert_int_equal(k.drop_in_replay + k.drop_in_integrity, 2);
    assert_int_equal(k.drop_in_short, 1);
    pair_close(pair);
}

static void are_forgotten(void **state)
{
    struct esp_sa_config c;
    struct pair *pair = open_half(&c);
    int pause, looks = 0;
    (void)state;
    carry_one(pair);
    time_us since = clock_value;
    while (look(pair, &pause)) {
        assert_true(pause > 0);
        clock_value += (time_us)pause * 1000;
        assert_true(++looks < 30); /* a packet of a stranger must not keep us awake */
    }
    assert_true(clock_value - since >= EARLY_LIFE);
    assert_int_equal(esp_add(pair->b.plane, &c, 1), 0);
    carry_one(pair);
    assert_int_equal(end_counters(&pair->b).in_packets, 1);
    pair_close(pair);
}

static void give_way_to_newer_ones(void **state)
{
    struct esp_sa_config c;
    struct pair *pair = open_half(&c);
    uint8_t large[EARLY_OCTETS + 1] = {0};
    struct sockaddr_storage from = {.ss_family = AF_INET};
    int pause;
    (void)state;
    for (int i = 0; i < EARLY_PACKETS + 10; i++)
        carry_one(pair);
    arrive(&pair->b, large, sizeof(large), &from); /* is not kept, and takes nobody's place */
    assert_int_equal(esp_add(pair->b.plane, &c, 1), 0);
    assert_false(look(pair, &pause));
    assert_int_equal(end_counters(&pair->b).in_packets, EARLY_PACKETS);
    pair_close(pair);
}

/* One that has ended is not waited for. */
static void wait_for_no_dead_one(void **state)
{
    struct esp_sa_config c;
    struct pair *pair = open_half(&c);
    int pause;
    (void)state;
    c.hard_packets = 1;
    assert_int_equal(esp_add(pair->b.plane, &c, 1), 0);
    carry_one(pair);
    carry_one(pair);
    assert_int_equal(end_counters(&pair->b).drop_in_spi, 1);
    assert_false(look(pair, &pause));
    pair_close(pair);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(are_opened_when_it_is_there),
        cmocka_unit_test(come_before_what_comes_later),
        cmocka_unit_test(are_checked_like_all_others),
        cmocka_unit_test(are_forgotten),
        cmocka_unit_test(give_way_to_newer_ones),
        cmocka_unit_test(wait_for_no_dead_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

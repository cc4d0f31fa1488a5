/* ESP_TFC_PADDING_NOT_SUPPORTED (RFC 7296 3.10.1) in every message that makes a child SA: it holds
 * for that child, at the side that heard it, and not for the one that comes after it. */
#include "mangle.h"

/* The message on the wire gains the notify. */
static void gains_notify(struct pair *p)
{
    static const uint8_t notify[] = {0, 0, NOTIFY_ESP_TFC_PADDING_NOT_SUPPORTED >> 8,
                                     NOTIFY_ESP_TFC_PADDING_NOT_SUPPORTED & 0xff};
    struct text t, out;
    struct edit edit;
    mangle_open(p, &t);
    mangle_write(&t, mangle_nothing(&edit), &out);
    uint8_t *next = NULL;
    mangle_walk(&out);
    assert_true(out.chain.count > 0);
    for (size_t at = 0, i = 0; i < out.chain.count; i++) {
        next = out.octets + at;
        at += (size_t)(next[2] << 8 | next[3]);
    }
    mangle_put(&out, &next, PAYLOAD_NOTIFY, (struct bytes){notify, sizeof(notify)}, 0);
    mangle_close(p, &out);
}

/* What the data plane was told of the child that this side sends with: the newest. */
static bool takes_padding(const struct side *side)
{
    assert_true(side->child_count > 0);
    return !side->children[side->child_count - 1].no_tfc;
}

static void told_with(enum moment moment)
{
    struct pair *p = mangle_reach(moment);
    int hearer = p->wire[0].to;
    p->side[0].conf.tfc = p->side[1].conf.tfc = CONF_TFC_MTU;
    if (moment >= CHILD_REQUEST) {
        assert_true(takes_padding(&p->side[0]));
        assert_true(takes_padding(&p->side[1]));
    }
    gains_notify(p);
    pair_settle(p);
    pair_check_children(p, 1);
    assert_false(takes_padding(&p->side[hearer]));
    assert_true(takes_padding(&p->side[!hearer]));
    /* It is no property of the peer: the next child may be padded. */
    pair_command(p, 1, IKE_REKEY_CHILD);
    pair_settle(p);
    pair_check_children(p, 1);
    assert_true(takes_padding(&p->side[0]));
    assert_true(takes_padding(&p->side[1]));
    pair_finish(p);
}

static void each_message(void **state)
{
    (void)state;
    static const enum moment moments[] = {AUTH_REQUEST, AUTH_ANSWER, CHILD_REQUEST, CHILD_ANSWER};
    for (size_t i = 0; i < ARRAY_LEN(moments); i++)
        told_with(moments[i]);
}

/* We never say it: padding is taken off whatever it is. */
static void we_take_it(void **state)
{
    (void)state;
    static const enum moment moments[] = {AUTH_REQUEST, AUTH_ANSWER, CHILD_REQUEST, CHILD_ANSWER};
    for (size_t i = 0; i < ARRAY_LEN(moments); i++) {
        struct text t;
        struct wire_notify_view n;
        struct pair *p = mangle_reach(moments[i]);
        mangle_open(p, &t);
        assert_false(wire_notify_find(&t.chain, NOTIFY_ESP_TFC_PADDING_NOT_SUPPORTED, &n));
        pair_settle(p);
        pair_finish(p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_message),
        cmocka_unit_test(we_take_it),
    };
    if (crypto_init() != 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/base.h"

static void reads_what_is_there_and_no_more(void **state)
{
    (void)state;
    static const uint8_t data[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    struct reader r = reader_of(data, sizeof(data));
    assert_int_equal(reader_u8(&r), 1);
    assert_int_equal(reader_u16(&r), 0x0203);
    assert_int_equal(reader_u32(&r), 0x04050607);
    assert_int_equal(reader_u64(&r), 0x08090a0b0c0d0e0f);
    assert_true(reader_done(&r));
    assert_int_equal(reader_u8(&r), 0);
    assert_true(r.bad);
    assert_false(reader_done(&r));
}

/* Every reading function at every distance from the end: it fails exactly when it must, and stays
 * failed. */
static void failure_is_sticky(void **state)
{
    (void)state;
    static const uint8_t data[16] = {0xff};
    for (size_t have = 0; have <= 16; have++) {
        for (size_t want = 0; want <= 20; want++) {
            struct reader r = reader_of(data, have);
            struct bytes view = reader_bytes(&r, want);
            assert_int_equal(r.bad, want > have);
            assert_int_equal(view.len, want > have ? 0 : want);
            r = reader_of(data, have);
            struct reader sub = reader_sub(&r, want);
            assert_int_equal(sub.bad, want > have);
            if (want > have) {
                uint8_t copy[4] = {1, 1, 1, 1};
                reader_copy(&r, copy, sizeof(copy));
                assert_int_equal(copy[0] | copy[1] | copy[2] | copy[3], 0);
                assert_int_equal(reader_u16(&r), 0);
                assert_true(r.bad);
            }
        }
        struct reader r = reader_of(data, have);
        reader_u64(&r);
        assert_int_equal(r.bad, have < 8);
    }
}

static void writes_within_its_bounds(void **state)
{
    (void)state;
    uint8_t out[8];
    for (size_t cap = 0; cap <= sizeof(out); cap++) {
        memset(out, 0xaa, sizeof(out));
        struct writer w = writer_of(out, cap);
        writer_u8(&w, 1);
        writer_u16(&w, 0x0203);
        writer_u32(&w, 0x04050607);
        assert_int_equal(w.bad, cap < 7);
        assert_int_equal(writer_view(&w).len, cap < 7 ? 0 : 7);
        for (size_t i = cap; i < sizeof(out); i++)
            assert_int_equal(out[i], 0xaa);
    }
}

static void lengths_are_closed_later(void **state)
{
    (void)state;
    uint8_t out[16];
    struct writer w = writer_of(out, sizeof(out));
    writer_u8(&w, 9);
    size_t mark = writer_open16(&w);
    writer_u32(&w, 0);
    writer_close16(&w, mark, 1);
    assert_int_equal(out[2], 6);
    writer_patch_u16(&w, 6, 1);
    assert_true(w.bad);
}

/* One flipped bit anywhere, at every length. */
static void secrets_compare_whole(void **state)
{
    (void)state;
    uint8_t a[40] = {7}, b[40] = {7};
    for (size_t len = 0; len <= sizeof(a); len++) {
        assert_true(secret_equal(a, b, len));
        for (size_t bit = 0; bit < 8 * sizeof(a); bit++) {
            b[bit / 8] ^= (uint8_t)(1 << bit % 8);
            assert_int_equal(secret_equal(a, b, len), bit >= 8 * len);
            b[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_is_there_and_no_more),
        cmocka_unit_test(failure_is_sticky),
        cmocka_unit_test(writes_within_its_bounds),
        cmocka_unit_test(lengths_are_closed_later),
        cmocka_unit_test(secrets_compare_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

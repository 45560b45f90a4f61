/*
 * CRC-32C: known values, and each way to compute it against the definition
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/crc32c.h"

#define INIT UINT32_MAX

/* The polynomial, its bits in the order in which the CRC has them */
#define POLYNOMIAL 0x82f63b78

/* A bit at a time */
static uint32_t reference(uint32_t crc, const uint8_t *data, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        crc ^= data[i];
        for (int bit = 0; bit < 8; bit++) {
            crc = (crc >> 1) ^ (crc & 1 ? POLYNOMIAL : 0);
        }
    }
    return ~crc;
}

/* Those of RFC 3720, B.4, and the check value of the CRC catalogues */
static void check_known(void)
{
    static const uint8_t iscsi_read[48] = {
        0x01, 0xc0, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x14, 0x00, 0x00, 0x00, 0x00, 0x00, 0x04, 0x00,
        0x00, 0x00, 0x00, 0x14, 0x00, 0x00, 0x00, 0x18,
        0x28, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x02, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    };
    uint8_t buf[32];

    g_assert_cmphex(crc32c(INIT, (const uint8_t *)"123456789", 9), ==,
                    0xe3069283);
    g_assert_cmphex(crc32c(INIT, iscsi_read, sizeof(iscsi_read)), ==,
                    0xd9963a56);
    memset(buf, 0, sizeof(buf));
    g_assert_cmphex(crc32c(INIT, buf, sizeof(buf)), ==, 0x8a9136aa);
    memset(buf, 0xff, sizeof(buf));
    g_assert_cmphex(crc32c(INIT, buf, sizeof(buf)), ==, 0x62a8ab43);
    for (int i = 0; i < sizeof(buf); i++) {
        buf[i] = i;
    }
    g_assert_cmphex(crc32c(INIT, buf, sizeof(buf)), ==, 0x46dd794e);
    for (int i = 0; i < sizeof(buf); i++) {
        buf[i] = sizeof(buf) - 1 - i;
    }
    g_assert_cmphex(crc32c(INIT, buf, sizeof(buf)), ==, 0x113fdb5c);
}

static void fill(GRand *rand, uint8_t *buf, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        buf[i] = g_rand_int(rand);
    }
}

/*
 * All alignments and short lengths, from any value, in a buffer that has
 * nothing behind: what is read beyond it is seen by a sanitizer.
 */
static void check_lengths(GRand *rand)
{
    for (size_t align = 0; align < 16; align++) {
        for (size_t length = 0; length < 130; length++) {
            g_autofree uint8_t *buf = g_malloc(align + length);
            uint32_t init = g_rand_int(rand);

            fill(rand, buf, align + length);
            g_assert_cmphex(crc32c(init, buf + align, length), ==,
                            reference(init, buf + align, length));
        }
    }
}

/* What is in pieces has the same CRC as the whole. */
static void check_pieces(GRand *rand)
{
    size_t length = 64 * 1024 + 5;
    g_autofree uint8_t *buf = g_malloc(length);

    fill(rand, buf, length);
    for (int i = 0; i < 20; i++) {
        uint32_t whole = reference(INIT, buf, length);
        size_t a = g_rand_int_range(rand, 0, length);
        size_t b = g_rand_int_range(rand, a, length);
        struct iovec iov[] = {
            { .iov_base = buf, .iov_len = a },
            { .iov_base = buf + a, .iov_len = b - a },
            { .iov_base = buf + b, .iov_len = length - b },
        };
        uint32_t crc;

        g_assert_cmphex(crc32c(INIT, buf, length), ==, whole);
        crc = crc32c(INIT, buf, a);
        crc = crc32c(~crc, buf + a, b - a);
        crc = crc32c(~crc, buf + b, length - b);
        g_assert_cmphex(crc, ==, whole);
        g_assert_cmphex(iov_crc32c(INIT, iov, ARRAY_SIZE(iov)), ==, whole);
    }
}

static void test_crc32c(void)
{
    do {
        GRand *rand = g_rand_new_with_seed(1);

        check_known();
        check_lengths(rand);
        check_pieces(rand);
        g_rand_free(rand);
    } while (test_crc32c_next_accel());
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/crc32c/values", test_crc32c);

    return g_test_run();
}

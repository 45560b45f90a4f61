/*
 * Test of the checksums of data that was not flushed yet, in the zoned block
 * format driver
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "block/zoned-sums.h"
#include "zoned-zones-device.h"

/* A write of @bytes at byte @address of the device has succeeded. */
static bool write_data(ZonedSums *s, uint64_t address, uint32_t bytes)
{
    bool summed = zoned_sums_reserve(s, bytes);

    if (summed) {
        zoned_sums_add(s, &(ZonedLogSum) {
            .address = address,
            .bytes = bytes,
            .crc = address / SECTOR,
        });
    } else {
        zoned_sums_add_none(s);
    }
    return summed;
}

static void flush(ZonedSums *s)
{
    zoned_sums_flushed(s, zoned_sums_begin_flush(s));
}

/* Is there a sum of what was written at @address? */
static bool has_sum(const ZonedSums *s, uint64_t address)
{
    uint32_t n = 0;

    for (uint32_t j = 0; j < s->nr; j++) {
        if (s->sum[j].address == address) {
            g_assert_cmpuint(s->sum[j].crc, ==, address / SECTOR);
            n++;
        }
    }
    g_assert_cmpuint(n, <=, 1);
    return n;
}

/* So much is summed, and then nothing until the next flush. */
static void test_room(void)
{
    g_autofree ZonedSums *s = g_new(ZonedSums, 1);

    zoned_sums_init(s);
    g_assert_true(write_data(s, 0, ZONED_SUMS_BYTES));
    g_assert_false(write_data(s, ZONED_SUMS_BYTES, SECTOR));
    g_assert_cmpuint(s->unsummed, ==, s->generation);
    flush(s);
    g_assert_cmpuint(s->nr, ==, 0);
    g_assert_cmpuint(s->unsummed, ==, 0);

    /* What is too large lets nothing behind it be summed. */
    g_assert_true(write_data(s, 0, SECTOR));
    g_assert_false(write_data(s, SECTOR, ZONED_SUMS_BYTES));
    g_assert_false(write_data(s, SECTOR, SECTOR));
    g_assert_true(has_sum(s, 0));
    flush(s);

    /* As many as there can be */
    for (uint32_t j = 0; j < ZONED_SUMS_MAX; j++) {
        g_assert_true(write_data(s, j * SECTOR, SECTOR));
    }
    g_assert_cmpuint(s->nr, ==, ZONED_SUMS_MAX);
    g_assert_false(write_data(s, s->nr * SECTOR, SECTOR));
    flush(s);
    g_assert_true(write_data(s, 0, SECTOR));
}

/* A write takes its room when it begins, and gives it back if it fails. */
static void test_release(void)
{
    g_autofree ZonedSums *s = g_new(ZonedSums, 1);

    zoned_sums_init(s);
    g_assert_true(zoned_sums_reserve(s, ZONED_SUMS_BYTES - SECTOR));
    g_assert_false(zoned_sums_reserve(s, SECTOR));
    flush(s);
    g_assert_false(zoned_sums_reserve(s, SECTOR));
    zoned_sums_release(s, ZONED_SUMS_BYTES - SECTOR);
    g_assert_cmpuint(s->bytes, ==, 0);
    g_assert_true(zoned_sums_reserve(s, ZONED_SUMS_BYTES));
}

/* A flush covers what was written before it began. */
static void test_flush(void)
{
    g_autofree ZonedSums *s = g_new(ZonedSums, 1);
    uint64_t first, second;

    zoned_sums_init(s);
    write_data(s, 0, SECTOR);
    first = zoned_sums_begin_flush(s);
    write_data(s, 4096, SECTOR);
    second = zoned_sums_begin_flush(s);
    write_data(s, 8192, SECTOR);
    zoned_sums_flushed(s, first);
    g_assert_false(has_sum(s, 0));
    g_assert_true(has_sum(s, 4096));
    zoned_sums_flushed(s, second);
    g_assert_false(has_sum(s, 4096));
    g_assert_true(has_sum(s, 8192));

    /* One that fails covers nothing; what has no sum waits for its own. */
    zoned_sums_begin_flush(s);
    g_assert_true(has_sum(s, 8192));
    first = zoned_sums_begin_flush(s);
    zoned_sums_add_none(s);
    zoned_sums_flushed(s, first);
    g_assert_cmpuint(s->nr, ==, 0);
    g_assert_false(zoned_sums_reserve(s, SECTOR));
    flush(s);
    g_assert_true(zoned_sums_reserve(s, SECTOR));
}

/* What a reset or an error takes away has no sum any more. */
static void test_settle(void)
{
    ZonedGeometry geo = geometry(6 * ZONE_SIZE, ZONE_SIZE, CAPACITY, 1, 0, 0);
    g_autoptr(Device) d = device_new(&geo);
    g_autofree ZonedSums *s = g_new(ZonedSums, 1);

    zoned_sums_init(s);
    for (uint32_t i = 1; i <= 3; i++) {
        uint64_t start = i * ZONE_SIZE;

        for (uint64_t end = start; end < start + 4096; end += SECTOR) {
            zoned_zones_begin_write(&d->z, i, end, SECTOR);
            write_data(s, end, SECTOR);
        }
    }
    zoned_sums_settle(s, &d->z);
    g_assert_cmpuint(s->nr, ==, 24);
    zoned_zones_rollback(&d->z, 1, ZONE_SIZE + 2048, true);
    zoned_zones_mgmt(&d->z, BLK_ZO_RESET, 2, false);
    zoned_zones_mgmt(&d->z, BLK_ZO_FINISH, 3, false);
    zoned_sums_settle(s, &d->z);
    g_assert_cmpuint(s->nr, ==, 4 + 0 + 8);
    g_assert_true(has_sum(s, ZONE_SIZE + 2048 - SECTOR));
    g_assert_false(has_sum(s, ZONE_SIZE + 2048));
    g_assert_true(has_sum(s, 3 * ZONE_SIZE + 4096 - SECTOR));

    /* There is room for others. */
    g_assert_cmpuint(s->bytes, ==, s->nr * ZONED_SUMS_UNIT);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/zoned/sums/room", test_room);
    g_test_add_func("/zoned/sums/release", test_release);
    g_test_add_func("/zoned/sums/flush", test_flush);
    g_test_add_func("/zoned/sums/settle", test_settle);
    return g_test_run();
}

/*
 * QTest testcase for a zoned virtio-blk disk
 *
 * Nearly all of this is what a driver in a guest would not do.  After each of
 * its mistakes the VM must run and the device work, whatever werror says.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qemu/units.h"
#include "block/block-common.h"
#include "qobject/qdict.h"
#include "standard-headers/linux/virtio_config.h"
#include "virtio-blk-zoned-guest.h"

/* What all that is right gives */
static void test_basic(void)
{
    ZonedGuest *g = zoned_guest_start_usual(STOP);
    size_t zoned = offsetof(struct virtio_blk_config, zoned);
    uint64_t where;

    g_assert_cmpuint(zoned_guest_config(g, zoned), ==, ZONE);
    g_assert_cmpuint(zoned_guest_config(g, zoned + 4), ==, 2);
    g_assert_cmpuint(zoned_guest_config(g, zoned + 8), ==, 3);
    g_assert_cmpuint(zoned_guest_config(g, zoned + 12), ==, MAX_APPEND);
    g_assert_cmpuint(zoned_guest_config(g, zoned + 16), ==, 512);
    g_assert_cmpuint(zoned_guest_config(g, zoned + 20), ==, VIRTIO_BLK_Z_HM);

    assert_ok(zoned_guest_write(g, 5, 1));
    assert_ok(zoned_guest_read(g, 0, ZONE));
    assert_ok(zoned_guest_append(g, SEQ, 1, &where));
    g_assert_cmpuint(where, ==, SEQ);
    assert_ok(zoned_guest_write(g, SEQ + 1, 7));
    assert_ok(zoned_guest_append(g, SEQ, MAX_APPEND, &where));
    g_assert_cmpuint(where, ==, SEQ + 8);
    zoned_guest_assert_zone(g, SEQ, VIRTIO_BLK_ZS_IOPEN, SEQ + 24);
    assert_ok(zoned_guest_mgmt(g, VIRTIO_BLK_T_ZONE_OPEN, SEQ));
    zoned_guest_assert_zone(g, SEQ, VIRTIO_BLK_ZS_EOPEN, SEQ + 24);
    assert_ok(zoned_guest_mgmt(g, VIRTIO_BLK_T_ZONE_CLOSE, SEQ));
    zoned_guest_assert_zone(g, SEQ + 5, VIRTIO_BLK_ZS_CLOSED, SEQ + 24);
    assert_ok(zoned_guest_mgmt(g, VIRTIO_BLK_T_ZONE_FINISH, 8 * ZONE));
    zoned_guest_assert_zone(g, 8 * ZONE, VIRTIO_BLK_ZS_FULL, CAPACITY);
    assert_ok(zoned_guest_mgmt(g, VIRTIO_BLK_T_ZONE_RESET, 8 * ZONE));
    assert_ok(zoned_guest_mgmt(g, VIRTIO_BLK_T_ZONE_RESET_ALL, 0));
    zoned_guest_assert_usable(g);
    zoned_guest_stop(g);
}

static void test_merge_zones(void)
{
    ZonedGuest *g = zoned_guest_start(&(ZonedGuestOptions) {
        .image = zoned_image_new("zone_size=64k,zone_nr_conv=2", "512k"),
        .device = STOP,
    });
    ZonedRequest conv[] = { WRITE(0, 8), WRITE(8, 8), WRITE(16, 8) };
    ZonedRequest seq[] = { WRITE(SEQ + ZONE - 8, 8), WRITE(SEQ + ZONE, 8) };
    ZonedRequest reads[] = { READ(SEQ + ZONE - 8, 8), READ(SEQ + ZONE, 8) };
    uint8_t status[3];
    uint64_t merged = 0;

    /* A thread that polls may take the first before the others are there. */
    for (int i = 0; i < 1000 && !merged; i++) {
        zoned_guest_do_at_once(g, conv, 3, status);
        merged = zoned_guest_stat(g, "wr_merged");
    }
    g_assert_cmpuint(merged, >, 0);

    assert_ok(zoned_guest_write(g, SEQ, ZONE - 8));
    zoned_guest_do_at_once(g, seq, 2, status);
    assert_ok(status[0]);
    assert_ok(status[1]);
    zoned_guest_assert_stat(g, "wr_merged", merged);
    zoned_guest_do_at_once(g, reads, 2, status);
    assert_ok(status[0]);
    assert_ok(status[1]);
    zoned_guest_assert_stat(g, "rd_merged", 0);
    zoned_guest_stop(g);
}

/* A write that is refused does not take the one before it with it. */
static void test_merge_refused(void)
{
    ZonedGuest *g = zoned_guest_start_usual(STOP);
    ZonedRequest req[] = {
        WRITE(SEQ + ZONE_CAP - 8, 8), WRITE(SEQ + ZONE_CAP, 8),
    };
    uint8_t status[2];

    assert_ok(zoned_guest_write(g, SEQ, ZONE_CAP - 8));
    zoned_guest_do_at_once(g, req, 2, status);
    assert_ok(status[0]);
    assert_invalid(status[1]);
    zoned_guest_assert_zone(g, SEQ, VIRTIO_BLK_ZS_FULL, SEQ + ZONE);
    zoned_guest_stop(g);
}

static void test_sector_bounds(void)
{
    static const uint64_t beyond[] = {
        CAPACITY, CAPACITY + 1, 9 * ZONE, 1ull << 32, INT64_MAX / 512,
        INT64_MAX / 512 + 1, (1ull << 55) + SEQ, INT64_MAX,
        (1ull << 63) + SEQ, UINT64_MAX,
    };
    ZonedGuest *g = zoned_guest_start_usual(STOP);

    for (int i = 0; i < ARRAY_SIZE(beyond); i++) {
        ZonedRequest report = REPORT(beyond[i], 4096);

        for (int j = 0; j < NR_ZONE_OPS; j++) {
            assert_invalid(zoned_guest_mgmt(g, zoned_ops[j], beyond[i]));
        }
        assert_invalid(zoned_guest_append(g, beyond[i], 0, NULL));
        assert_invalid(zoned_guest_append(g, beyond[i], 1, NULL));
        assert_ioerr(zoned_guest_write(g, beyond[i], 1));
        assert_ioerr(zoned_guest_read(g, beyond[i], 1));
        if (beyond[i] != CAPACITY) {
            assert_invalid(zoned_guest_do(g, &report, NULL));
        }
    }
    assert_invalid(zoned_guest_append(g, 8 * ZONE, ZONE, NULL));
    assert_ioerr(zoned_guest_write(g, CAPACITY - 1, 2));
    assert_ioerr(zoned_guest_read(g, CAPACITY - 1, 2));
    /* The sector of this one is not used. */
    assert_ok(zoned_guest_mgmt(g, VIRTIO_BLK_T_ZONE_RESET_ALL, UINT64_MAX));
    zoned_guest_assert_usable(g);
    zoned_guest_stop(g);
}

/* Appends and operations name the first sector of a sequential zone. */
static void test_zone_address(void)
{
    static const uint64_t wrong[] = {
        0, 1, ZONE, SEQ + 1, SEQ + 8, SEQ + ZONE - 1, 8 * ZONE + 8,
        CAPACITY - 1,
    };
    ZonedGuest *g = zoned_guest_start_usual(STOP);

    for (int i = 0; i < ARRAY_SIZE(wrong); i++) {
        for (int j = 0; j < NR_ZONE_OPS; j++) {
            assert_invalid(zoned_guest_mgmt(g, zoned_ops[j], wrong[i]));
        }
        assert_invalid(zoned_guest_append(g, wrong[i], 1, NULL));
        assert_invalid(zoned_guest_append(g, wrong[i], 0, NULL));
    }
    zoned_guest_assert_usable(g);
    zoned_guest_stop(g);
}

/* Each mistake has its status, and none stops the VM. */
static void test_status(void)
{
    ZonedGuest *g = zoned_guest_start_usual(STOP);

    assert_ok(zoned_guest_write(g, SEQ, 8));
    assert_unaligned(zoned_guest_write(g, SEQ, 8));
    assert_unaligned(zoned_guest_write(g, SEQ + 16, 8));
    assert_invalid(zoned_guest_write(g, SEQ + 8, ZONE_CAP));
    assert_invalid(zoned_guest_append(g, SEQ, MAX_APPEND + 1, NULL));
    assert_ok(zoned_guest_mgmt(g, VIRTIO_BLK_T_ZONE_FINISH, SEQ));
    assert_invalid(zoned_guest_write(g, SEQ + 8, 8));
    assert_invalid(zoned_guest_append(g, SEQ, 8, NULL));
    assert_invalid(zoned_guest_mgmt(g, VIRTIO_BLK_T_ZONE_OPEN, SEQ));
    assert_invalid(zoned_guest_mgmt(g, VIRTIO_BLK_T_ZONE_CLOSE, SEQ));
    assert_invalid(zoned_guest_mgmt(g, VIRTIO_BLK_T_ZONE_CLOSE, SEQ + ZONE));

    zoned_guest_stop(g);
}

static void test_status_resources(void)
{
    ZonedGuest *g = zoned_guest_start_usual(STOP);

    for (int i = 3; i < 5; i++) {
        assert_ok(zoned_guest_mgmt(g, VIRTIO_BLK_T_ZONE_OPEN, i * ZONE));
        assert_ok(zoned_guest_write(g, i * ZONE, 8));
    }
    g_assert_cmpuint(zoned_guest_write(g, 5 * ZONE, 8), ==,
                     VIRTIO_BLK_S_ZONE_OPEN_RESOURCE);
    g_assert_cmpuint(zoned_guest_append(g, 5 * ZONE, 8, NULL), ==,
                     VIRTIO_BLK_S_ZONE_OPEN_RESOURCE);
    g_assert_cmpuint(zoned_guest_mgmt(g, VIRTIO_BLK_T_ZONE_OPEN, 5 * ZONE), ==,
                     VIRTIO_BLK_S_ZONE_OPEN_RESOURCE);

    assert_ok(zoned_guest_mgmt(g, VIRTIO_BLK_T_ZONE_CLOSE, 3 * ZONE));
    assert_ok(zoned_guest_write(g, 5 * ZONE, 8));
    g_assert_cmpuint(zoned_guest_write(g, 6 * ZONE, 8), ==,
                     VIRTIO_BLK_S_ZONE_ACTIVE_RESOURCE);
    g_assert_cmpuint(zoned_guest_append(g, 6 * ZONE, 8, NULL), ==,
                     VIRTIO_BLK_S_ZONE_ACTIVE_RESOURCE);
    g_assert_cmpuint(zoned_guest_mgmt(g, VIRTIO_BLK_T_ZONE_OPEN, 6 * ZONE), ==,
                     VIRTIO_BLK_S_ZONE_ACTIVE_RESOURCE);
    assert_ok(zoned_guest_mgmt(g, VIRTIO_BLK_T_ZONE_RESET_ALL, 0));
    zoned_guest_assert_usable(g);
    zoned_guest_stop(g);
}

static void test_accounting(void)
{
    ZonedGuest *g = zoned_guest_start_usual(STOP);

    assert_ok(zoned_guest_append(g, SEQ, 8, NULL));
    assert_ok(zoned_guest_append(g, SEQ, 3, NULL));
    assert_invalid(zoned_guest_append(g, 0, 8, NULL));
    assert_invalid(zoned_guest_append(g, CAPACITY, 0, NULL));
    assert_ok(zoned_guest_mgmt(g, VIRTIO_BLK_T_ZONE_FINISH, SEQ));
    assert_invalid(zoned_guest_append(g, SEQ, 1, NULL));

    zoned_guest_assert_stat(g, "zone_append_operations", 2);
    zoned_guest_assert_stat(g, "zone_append_bytes", 11 * 512);
    zoned_guest_assert_stat(g, "invalid_zone_append_operations", 2);
    zoned_guest_assert_stat(g, "failed_zone_append_operations", 1);
    zoned_guest_stop(g);
}

static void test_crossing(void)
{
    ZonedGuest *g = zoned_guest_start_usual(STOP);

    assert_ok(zoned_guest_read(g, ZONE - 8, 16));
    assert_ok(zoned_guest_write(g, ZONE - 8, 16));
    assert_ok(zoned_guest_read(g, SEQ + ZONE - 8, 8));
    for (int i = 2; i < NR_ZONES; i++) {
        assert_invalid(zoned_guest_read(g, i * ZONE - 8, 16));
        assert_invalid(zoned_guest_write(g, i * ZONE - 8, 16));
        assert_invalid(zoned_guest_read(g, 0, i * ZONE + 1));
    }
    zoned_guest_assert_stat(g, "invalid_rd_operations", 2 * (NR_ZONES - 2));
    zoned_guest_assert_stat(g, "invalid_wr_operations", NR_ZONES - 2);
    g_assert_cmpuint(zoned_guest_refused(g, "boundary"), ==, NR_ZONES - 2);
    zoned_guest_assert_usable(g);
    zoned_guest_stop(g);
}

static uint32_t announced_append(ZonedGuest *g)
{
    return zoned_guest_config(g, offsetof(struct virtio_blk_config,
                                          zoned.max_append_sectors));
}

/* The limit is less than a block. */
static void test_append_limit_small(void)
{
    ZonedGuest *g = zoned_guest_start(&(ZonedGuestOptions) {
        .image = zoned_image_new("zone_size=64k,max_append_sectors=7", "512k"),
        .device = STOP BLOCK_4K,
    });

    g_assert_cmpuint(announced_append(g), ==, 0);
    assert_unsupp(zoned_guest_append(g, SEQ, 7, NULL));
    assert_unsupp(zoned_guest_append(g, SEQ, 8, NULL));
    assert_ok(zoned_guest_write(g, SEQ, 8));
    zoned_guest_stop(g);
}

/* The limit is no whole number of blocks. */
static void test_append_limit_odd(void)
{
    ZonedGuest *g = zoned_guest_start(&(ZonedGuestOptions) {
        .image = zoned_image_new("zone_size=64k,max_append_sectors=20", "512k"),
        .device = STOP BLOCK_4K,
    });

    g_assert_cmpuint(announced_append(g), ==, 16);
    assert_invalid(zoned_guest_append(g, SEQ, 24, NULL));
    assert_ok(zoned_guest_append(g, SEQ, 16, NULL));
    zoned_guest_stop(g);
}

/* More than the block layer takes at once */
static void test_append_limit_large(void)
{
    ZonedGuest *g = zoned_guest_start(&(ZonedGuestOptions) {
        .image = zoned_image_new("zone_size=4G,max_append_sectors=8388608",
                                 "16G"),
        .device = STOP,
    });
    ZonedRequest req = APPEND(0, 64 * MiB / 512);

    g_assert_cmpuint(announced_append(g), ==, INT32_MAX / 512);
    req.repeat = 33;
    assert_invalid(zoned_guest_do(g, &req, NULL));
    zoned_guest_assert_zone(g, 0, VIRTIO_BLK_ZS_EMPTY, 0);
    assert_ok(zoned_guest_append(g, 0, 4096, NULL));
    zoned_guest_stop(g);
}

static void test_append_none(void)
{
    ZonedGuest *g = zoned_guest_start(&(ZonedGuestOptions) {
        .image = zoned_image_new("zone_size=64k,max_append_sectors=0", "512k"),
        .device = STOP,
    });
    ZonedRequest few = APPEND(SEQ, 0);

    few.out_len = 100;
    assert_unsupp(zoned_guest_append(g, SEQ, 1, NULL));
    assert_unsupp(zoned_guest_do(g, &few, NULL));
    zoned_guest_stop(g);
}

/* There is no sector to tell at which nothing was written. */
static void test_append_nothing(void)
{
    ZonedGuest *g = zoned_guest_start_usual(STOP);

    assert_invalid(zoned_guest_append(g, SEQ, 0, NULL));
    assert_ok(zoned_guest_write(g, SEQ + ZONE, 8));
    assert_invalid(zoned_guest_append(g, SEQ + ZONE, 0, NULL));
    assert_ok(zoned_guest_mgmt(g, VIRTIO_BLK_T_ZONE_FINISH, SEQ + ZONE));
    assert_invalid(zoned_guest_append(g, SEQ + ZONE, 0, NULL));
    zoned_guest_assert_stat(g, "invalid_zone_append_operations", 3);
    zoned_guest_assert_usable(g);
    zoned_guest_stop(g);
}

static void test_append_room(void)
{
    ZonedGuest *g = zoned_guest_start_usual(STOP);

    for (int i = 0; i < sizeof(uint64_t); i++) {
        ZonedRequest req = APPEND(SEQ, 8);

        req.in_len = i;
        assert_invalid(zoned_guest_do(g, &req, NULL));
    }
    zoned_guest_assert_usable(g);
    zoned_guest_stop(g);
}

/* The answer may lie in several segments. */
static void test_append_segments(void)
{
    ZonedGuest *g = zoned_guest_start_usual(STOP);
    ZonedRequest req = APPEND(SEQ, 8);
    uint64_t where;

    assert_ok(zoned_guest_write(g, SEQ, 8));
    req.in_segments = sizeof(uint64_t);
    assert_ok(zoned_guest_do(g, &req, &where));
    g_assert_cmpuint(le64_to_cpu(where), ==, SEQ + 8);
    zoned_guest_stop(g);
}

static void test_granularity(void)
{
    ZonedGuest *g = zoned_guest_start_usual(STOP BLOCK_4K);
    ZonedRequest few = WRITE(SEQ, 0);

    g_assert_cmpuint(zoned_guest_config(g, offsetof(struct virtio_blk_config,
                                                    zoned.write_granularity)),
                     ==, 4096);
    assert_unaligned(zoned_guest_write(g, SEQ, 1));
    assert_unaligned(zoned_guest_write(g, SEQ, 9));
    assert_unaligned(zoned_guest_write(g, SEQ + 1, 8));
    assert_unaligned(zoned_guest_append(g, SEQ, 1, NULL));
    assert_unaligned(zoned_guest_append(g, SEQ, 9, NULL));
    assert_ioerr(zoned_guest_write(g, 0, 1));
    assert_ioerr(zoned_guest_read(g, SEQ, 1));
    few.out_len = 100;
    assert_ioerr(zoned_guest_do(g, &few, NULL));
    assert_ok(zoned_guest_write(g, 0, 8));
    zoned_guest_assert_usable(g);
    zoned_guest_stop(g);
}

static void test_granularity_sector(void)
{
    ZonedGuest *g = zoned_guest_start_usual(STOP);
    ZonedRequest write = WRITE(SEQ, 0), append = APPEND(SEQ, 0);

    write.out_len = 1000;
    append.out_len = 1000;
    assert_ioerr(zoned_guest_do(g, &write, NULL));
    assert_unaligned(zoned_guest_do(g, &append, NULL));
    zoned_guest_assert_usable(g);
    zoned_guest_stop(g);
}

/* Why a second device, with larger blocks, cannot have the drive */
static void assert_refused(ZonedGuest *g, int block_size, const char *reason)
{
    QDict *error = qtest_qmp_assert_failure_ref(g->qts,
        "{ 'execute': 'device_add', 'arguments': {"
        " 'driver': 'virtio-blk-pci', 'drive': 'disk', 'share-rw': true,"
        " 'logical_block_size': %d, 'physical_block_size': %d } }",
        block_size, block_size);

    g_assert_cmpstr(qdict_get_str(error, "desc"), ==, reason);
    qobject_unref(error);
}

/* Zones that were written in smaller blocks, or end within a block */
static void test_granularity_zones(void)
{
    ZonedGuest *g = zoned_guest_start(&(ZonedGuestOptions) {
        .image = zoned_image_new("zone_size=64k,zone_capacity=52k,"
                                 "zone_nr_conv=1", "64M"),
        .device = STOP ",share-rw=on",
    });

    assert_refused(g, 8192, "the zone at byte 65536 of the drive, with capacity"
                   " 53248 and write pointer 65536, does not go with "
                   "logical_block_size 8192");
    assert_ok(zoned_guest_write(g, 900 * ZONE, 9));
    assert_refused(g, 4096, "the zone at byte 58982400 of the drive, with "
                   "capacity 53248 and write pointer 58987008, does not go with"
                   " logical_block_size 4096");
    zoned_guest_stop(g);
}

static ZonedRequest write_zeroes(struct virtio_blk_discard_write_zeroes *range,
                                 uint64_t sector, uint32_t sectors)
{
    *range = (struct virtio_blk_discard_write_zeroes) {
        .sector = cpu_to_le64(sector),
        .num_sectors = cpu_to_le32(sectors),
    };
    return (ZonedRequest) {
        .type = VIRTIO_BLK_T_WRITE_ZEROES,
        .out = range,
        .out_len = sizeof(*range),
    };
}

static void test_write_zeroes(void)
{
    static const struct {
        uint64_t sector;
        uint32_t sectors;
        uint8_t status;
    } tests[] = {
        { 0, 8, VIRTIO_BLK_S_OK },
        { SEQ - 8, 16, VIRTIO_BLK_S_ZONE_INVALID_CMD },
        { SEQ + 8, 8, VIRTIO_BLK_S_ZONE_UNALIGNED_WP },
        { SEQ, ZONE_CAP + 8, VIRTIO_BLK_S_ZONE_INVALID_CMD },
        { CAPACITY, 8, VIRTIO_BLK_S_IOERR },
        { 1ull << 55, 8, VIRTIO_BLK_S_IOERR },
        { 0, UINT32_MAX, VIRTIO_BLK_S_IOERR },
    };
    ZonedGuest *g = zoned_guest_start_usual(STOP);

    for (int i = 0; i < ARRAY_SIZE(tests); i++) {
        struct virtio_blk_discard_write_zeroes range;
        ZonedRequest req = write_zeroes(&range, tests[i].sector,
                                        tests[i].sectors);

        g_assert_cmpuint(zoned_guest_do(g, &req, NULL), ==, tests[i].status);
    }
    g_assert_cmpuint(zoned_guest_refused(g, "boundary"), ==, 2);
    g_assert_cmpuint(zoned_guest_refused(g, "unaligned"), ==, 1);
    zoned_guest_assert_usable(g);
    zoned_guest_stop(g);
}

/* Blocks that are not whole are refused as they are for a write. */
static void test_write_zeroes_granularity(void)
{
    static const struct {
        uint64_t sector;
        uint32_t sectors;
        uint8_t status;
    } tests[] = {
        { SEQ, 1, VIRTIO_BLK_S_ZONE_UNALIGNED_WP },
        { SEQ, 9, VIRTIO_BLK_S_ZONE_UNALIGNED_WP },
        { SEQ + 1, 8, VIRTIO_BLK_S_ZONE_UNALIGNED_WP },
        { CAPACITY - 1, 1, VIRTIO_BLK_S_ZONE_UNALIGNED_WP },
        { SEQ - 8, 16, VIRTIO_BLK_S_ZONE_INVALID_CMD },
        { 0, 1, VIRTIO_BLK_S_IOERR },
        { 1, 8, VIRTIO_BLK_S_IOERR },
        { CAPACITY + 1, 1, VIRTIO_BLK_S_IOERR },
        { 0, 8, VIRTIO_BLK_S_OK },
        { SEQ, 8, VIRTIO_BLK_S_OK },
    };
    ZonedGuest *g = zoned_guest_start_usual(STOP BLOCK_4K);

    for (int i = 0; i < ARRAY_SIZE(tests); i++) {
        struct virtio_blk_discard_write_zeroes range;
        ZonedRequest req = write_zeroes(&range, tests[i].sector,
                                        tests[i].sectors);

        g_assert_cmpuint(zoned_guest_do(g, &req, NULL), ==, tests[i].status);
    }
    zoned_guest_assert_zone(g, SEQ, VIRTIO_BLK_ZS_IOPEN, SEQ + 8);
    zoned_guest_stop(g);
}

static void test_read_only(void)
{
    ZonedGuest *g = zoned_guest_start(&(ZonedGuestOptions) {
        .image = zoned_image_new(IMAGE_OPTIONS, IMAGE_SIZE),
        .node = ",read-only=on",
        .device = STOP,
    });
    struct virtio_blk_discard_write_zeroes range;
    ZonedRequest zeroes = write_zeroes(&range, SEQ, 8);

    assert_ioerr(zoned_guest_write(g, 0, 8));
    assert_ioerr(zoned_guest_write(g, SEQ, 8));
    assert_ioerr(zoned_guest_write(g, SEQ - 8, 16));
    assert_ioerr(zoned_guest_append(g, SEQ, 8, NULL));
    assert_ioerr(zoned_guest_do(g, &zeroes, NULL));
    for (int i = 0; i < NR_ZONE_OPS; i++) {
        assert_ioerr(zoned_guest_mgmt(g, zoned_ops[i], SEQ));
    }
    assert_ioerr(zoned_guest_mgmt(g, VIRTIO_BLK_T_ZONE_RESET_ALL, 0));
    assert_ok(zoned_guest_read(g, SEQ, 8));
    zoned_guest_assert_zone(g, SEQ, VIRTIO_BLK_ZS_EMPTY, SEQ);
    zoned_guest_stop(g);
}

/* A type with a flag that is not its own is none. */
static void test_types(void)
{
    static const uint32_t types[] = {
        VIRTIO_BLK_T_ZONE_REPORT,
        VIRTIO_BLK_T_ZONE_OPEN,
        VIRTIO_BLK_T_ZONE_CLOSE,
        VIRTIO_BLK_T_ZONE_FINISH,
        VIRTIO_BLK_T_ZONE_RESET,
        VIRTIO_BLK_T_ZONE_RESET_ALL,
        VIRTIO_BLK_T_SECURE_ERASE,
    };
    ZonedGuest *g = zoned_guest_start_usual(STOP);
    ZonedRequest req = APPEND(SEQ, 1);

    /* The buffers suit any of them. */
    req.in_len = 128;
    assert_ok(zoned_guest_write(g, SEQ, 8));
    for (int i = 0; i < ARRAY_SIZE(types); i++) {
        if (types[i] != VIRTIO_BLK_T_SECURE_ERASE) {
            req.type = types[i] | VIRTIO_BLK_T_OUT;
            assert_unsupp(zoned_guest_do(g, &req, NULL));
        }
        req.type = types[i] | VIRTIO_BLK_T_BARRIER;
        assert_unsupp(zoned_guest_do(g, &req, NULL));
        req.type = types[i] | VIRTIO_BLK_T_OUT | VIRTIO_BLK_T_BARRIER;
        assert_unsupp(zoned_guest_do(g, &req, NULL));
    }
    req.type = VIRTIO_BLK_T_SECURE_ERASE;
    assert_unsupp(zoned_guest_do(g, &req, NULL));
    zoned_guest_assert_zone(g, SEQ, VIRTIO_BLK_ZS_IOPEN, SEQ + 8);

    assert_ok(zoned_guest_mgmt(g, VIRTIO_BLK_T_ZONE_RESET_ALL, SEQ));
    zoned_guest_assert_usable(g);
    zoned_guest_stop(g);
}

/* A driver that does not know zones cannot use the device. */
static void test_feature_modern(void)
{
    ZonedGuest *g = zoned_guest_start_usual(STOP);
    uint64_t features = qvirtio_get_features(g->dev);
    uint8_t status;

    g_assert_cmphex(features & (1ull << VIRTIO_BLK_F_ZONED), !=, 0);
    g_assert_cmphex(features & (1ull << VIRTIO_BLK_F_DISCARD), ==, 0);
    qvirtio_start_device(g->dev);
    g->dev->bus->set_features(g->dev,
                              features & ~(1ull << VIRTIO_BLK_F_ZONED));
    status = g->dev->bus->get_status(g->dev);
    g->dev->bus->set_status(g->dev, status | VIRTIO_CONFIG_S_FEATURES_OK);
    g_assert_cmphex(g->dev->bus->get_status(g->dev), ==, status);

    zoned_guest_setup(g, 0);
    zoned_guest_assert_usable(g);
    zoned_guest_stop(g);
}

/* A legacy driver cannot be turned away. */
static void test_feature_legacy(void)
{
    ZonedGuest *g = zoned_guest_start(&(ZonedGuestOptions) {
        .image = zoned_image_new(IMAGE_OPTIONS, IMAGE_SIZE),
        .device = STOP ",disable-modern=on,disable-legacy=off",
        .refuse = 1ull << VIRTIO_BLK_F_ZONED,
    });
    ZonedRequest report = REPORT(0, 128);

    assert_ok(zoned_guest_write(g, 0, 8));
    assert_ok(zoned_guest_write(g, SEQ, 8));
    assert_ioerr(zoned_guest_write(g, SEQ, 8));
    assert_ioerr(zoned_guest_read(g, SEQ - 8, 16));
    for (int i = 0; i < NR_ZONE_OPS; i++) {
        assert_unsupp(zoned_guest_mgmt(g, zoned_ops[i], SEQ));
    }
    assert_unsupp(zoned_guest_mgmt(g, VIRTIO_BLK_T_ZONE_RESET_ALL, 0));
    assert_unsupp(zoned_guest_append(g, SEQ, 8, NULL));
    assert_unsupp(zoned_guest_do(g, &report, NULL));
    zoned_guest_stop(g);
}

/* Gives the first zone, which has not been written, a condition. */
static void set_condition(const char *image, BlockZoneState condition)
{
    /* docs/interop/zoned.rst: the address is 0 */
    uint64_t entry = cpu_to_le64((uint64_t)condition << 60);
    int fd = open(image, O_WRONLY);

    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(pwrite(fd, &entry, sizeof(entry), 4096), ==,
                    sizeof(entry));
    close(fd);
}

static void assert_reset_all(const char *image, uint8_t state, uint64_t wp)
{
    ZonedGuest *g = zoned_guest_start(&(ZonedGuestOptions) {
        .image = image,
        .device = STOP,
    });

    assert_ok(zoned_guest_mgmt(g, VIRTIO_BLK_T_ZONE_RESET_ALL, 0));
    zoned_guest_assert_zone(g, 0, state, wp);
    assert_invalid(zoned_guest_mgmt(g, VIRTIO_BLK_T_ZONE_RESET, 0));
    zoned_guest_stop(g);
}

/* The only zone of a device is one that a reset of all zones leaves out. */
static void test_reset_only_zone(void)
{
    char *image = zoned_image_new("zone_size=64k", "64k");

    set_condition(image, BLK_ZS_RDONLY);
    assert_reset_all(image, VIRTIO_BLK_ZS_RDONLY, 0);
    set_condition(image, BLK_ZS_OFFLINE);
    assert_reset_all(image, VIRTIO_BLK_ZS_OFFLINE, 0);
    assert_reset_all(zoned_image_new("zone_size=64k,zone_nr_conv=1", "64k"),
                     VIRTIO_BLK_ZS_NOT_WP, ZONE);
}

static void test_order(void)
{
    ZonedGuest *g = zoned_guest_start_usual(STOP);
    ZonedRequest append[] = { WRITE(SEQ, 8), APPEND(SEQ, 8) };
    ZonedRequest finish[] = {
        WRITE(SEQ + 16, 8),
        { .type = VIRTIO_BLK_T_ZONE_FINISH, .sector = SEQ },
    };
    struct virtio_blk_discard_write_zeroes range;
    ZonedRequest zeroes[] = {
        WRITE(SEQ + ZONE, 8), write_zeroes(&range, SEQ + ZONE + 8, 8),
    };
    uint8_t status[2];

    zoned_guest_do_at_once(g, zeroes, 2, status);
    assert_ok(status[0]);
    assert_ok(status[1]);
    zoned_guest_do_at_once(g, append, 2, status);
    assert_ok(status[0]);
    assert_ok(status[1]);
    zoned_guest_do_at_once(g, finish, 2, status);
    assert_ok(status[0]);
    assert_ok(status[1]);
    assert_ok(zoned_guest_mgmt(g, VIRTIO_BLK_T_ZONE_RESET, SEQ));
    zoned_guest_assert_usable(g);
    zoned_guest_stop(g);
}

int main(int argc, char **argv)
{
    if (!zoned_guest_init(&argc, &argv)) {
        return g_test_run();
    }

    zoned_guest_add_test("virtio-blk-zoned/basic", test_basic);
    zoned_guest_add_test("virtio-blk-zoned/merge/zones", test_merge_zones);
    zoned_guest_add_test("virtio-blk-zoned/merge/refused", test_merge_refused);
    zoned_guest_add_test("virtio-blk-zoned/sector/bounds", test_sector_bounds);
    zoned_guest_add_test("virtio-blk-zoned/sector/zone", test_zone_address);
    zoned_guest_add_test("virtio-blk-zoned/status/mistakes", test_status);
    zoned_guest_add_test("virtio-blk-zoned/status/resources",
                         test_status_resources);
    zoned_guest_add_test("virtio-blk-zoned/accounting", test_accounting);
    zoned_guest_add_test("virtio-blk-zoned/crossing", test_crossing);
    zoned_guest_add_test("virtio-blk-zoned/append/limit-small",
                         test_append_limit_small);
    zoned_guest_add_test("virtio-blk-zoned/append/limit-odd",
                         test_append_limit_odd);
    zoned_guest_add_test("virtio-blk-zoned/append/limit-large",
                         test_append_limit_large);
    zoned_guest_add_test("virtio-blk-zoned/append/none", test_append_none);
    zoned_guest_add_test("virtio-blk-zoned/append/nothing",
                         test_append_nothing);
    zoned_guest_add_test("virtio-blk-zoned/append/room", test_append_room);
    zoned_guest_add_test("virtio-blk-zoned/append/segments",
                         test_append_segments);
    zoned_guest_add_test("virtio-blk-zoned/granularity/block",
                         test_granularity);
    zoned_guest_add_test("virtio-blk-zoned/granularity/sector",
                         test_granularity_sector);
    /* Devices that share a drive cannot have different iothreads. */
    qtest_add_func("virtio-blk-zoned/granularity/zones",
                   test_granularity_zones);
    zoned_guest_add_test("virtio-blk-zoned/write-zeroes", test_write_zeroes);
    zoned_guest_add_test("virtio-blk-zoned/write-zeroes/granularity",
                         test_write_zeroes_granularity);
    zoned_guest_add_test("virtio-blk-zoned/read-only", test_read_only);
    zoned_guest_add_test("virtio-blk-zoned/types", test_types);
    zoned_guest_add_test("virtio-blk-zoned/feature/modern",
                         test_feature_modern);
    zoned_guest_add_test("virtio-blk-zoned/feature/legacy",
                         test_feature_legacy);
    zoned_guest_add_test("virtio-blk-zoned/reset-only-zone",
                         test_reset_only_zone);
    zoned_guest_add_test("virtio-blk-zoned/order", test_order);

    return g_test_run();
}

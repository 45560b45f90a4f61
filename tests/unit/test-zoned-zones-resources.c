/*
 * Unit tests of the zone state machine of the zoned block format driver:
 * resources, writes that fail, and what is in the image
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/bitmap.h"
#include "qemu/bitops.h"
#include "zoned-zones-device.h"

/*
 * Resources.
 */
static void test_open_limit(void)
{
    g_autoptr(Device) d = device_with_limits(2, 0);

    g_assert_cmpint(mgmt(d, BLK_ZO_OPEN, 1), ==, 1);
    g_assert_cmpint(mgmt(d, BLK_ZO_OPEN, 2), ==, 1);
    g_assert_cmpuint(zoned_zones_nr_open(&d->z), ==, 2);

    /* Explicitly open zones are not closed for others. */
    put(d, 4, CLOSED, SECTOR);
    g_assert_cmpint(mgmt(d, BLK_ZO_OPEN, 3), ==, -ETOOMANYREFS);
    g_assert_cmpint(begin(d, 3, SECTOR), ==, -ETOOMANYREFS);
    g_assert_cmpint(mgmt(d, BLK_ZO_OPEN, 4), ==, -ETOOMANYREFS);
    g_assert_cmpint(begin(d, 4, SECTOR), ==, -ETOOMANYREFS);
    g_assert_cmpint(mgmt_all(d, BLK_ZO_OPEN), ==, -ETOOMANYREFS);
    check_zone(d, 1, EOPEN, 0);
    check_zone(d, 2, EOPEN, 0);
    check_zone(d, 3, EMPTY, 0);
    check_zone(d, 4, CLOSED, SECTOR);

    /* The open ones can still be used, also those of no resource finished. */
    write_zone(d, 1, SECTOR);
    g_assert_cmpint(mgmt(d, BLK_ZO_OPEN, 1), ==, 0);
    g_assert_cmpint(mgmt(d, BLK_ZO_FINISH, 3), ==, 1);
    g_assert_cmpint(mgmt(d, BLK_ZO_FINISH, 4), ==, 1);

    /* Closing, finishing, filling and resetting give a resource back. */
    g_assert_cmpint(mgmt(d, BLK_ZO_CLOSE, 1), ==, 1);
    g_assert_cmpint(mgmt(d, BLK_ZO_OPEN, 5), ==, 1);
    g_assert_cmpint(mgmt(d, BLK_ZO_OPEN, 1), ==, -ETOOMANYREFS);
    g_assert_cmpint(mgmt(d, BLK_ZO_FINISH, 5), ==, 1);
    g_assert_cmpint(mgmt(d, BLK_ZO_OPEN, 1), ==, 1);
    g_assert_cmpint(mgmt(d, BLK_ZO_RESET, 3), ==, 1);
    g_assert_cmpint(mgmt(d, BLK_ZO_OPEN, 3), ==, -ETOOMANYREFS);
    g_assert_cmpint(mgmt(d, BLK_ZO_RESET, 2), ==, 1);
    g_assert_cmpint(mgmt(d, BLK_ZO_OPEN, 3), ==, 1);
    g_assert_cmpint(mgmt(d, BLK_ZO_OPEN, 2), ==, -ETOOMANYREFS);
    write_zone(d, 1, CAPACITY - SECTOR);
    check_zone(d, 1, FULL, CAPACITY);
    g_assert_cmpint(mgmt(d, BLK_ZO_OPEN, 2), ==, 1);
    device_check_derived(d);
}

static void test_active_limit(void)
{
    g_autoptr(Device) d = device_with_limits(0, 3);

    g_assert_cmpint(begin(d, 1, SECTOR), >=, 0);
    g_assert_cmpint(mgmt(d, BLK_ZO_OPEN, 2), ==, 1);
    g_assert_cmpint(begin(d, 3, SECTOR), >=, 0);
    g_assert_cmpint(mgmt(d, BLK_ZO_CLOSE, 3), ==, 1);
    g_assert_cmpuint(zoned_zones_nr_active(&d->z), ==, 3);

    g_assert_cmpint(begin(d, 4, SECTOR), ==, -EOVERFLOW);
    g_assert_cmpint(mgmt(d, BLK_ZO_OPEN, 4), ==, -EOVERFLOW);
    check_zone(d, 1, IOPEN, SECTOR);
    check_zone(d, 4, EMPTY, 0);

    /* Zones that are active stay usable. */
    g_assert_cmpint(begin(d, 1, SECTOR), >=, 0);
    g_assert_cmpint(begin(d, 2, SECTOR), >=, 0);
    g_assert_cmpint(begin(d, 3, SECTOR), >=, 0);
    g_assert_cmpint(mgmt(d, BLK_ZO_OPEN, 1), ==, 1);
    /* What needs no resource works as well. */
    g_assert_cmpint(mgmt(d, BLK_ZO_FINISH, 4), ==, 1);
    check_zone(d, 4, FULL, 0);
    g_assert_cmpuint(d->z.nr_lingering, ==, 0);
    device_check_derived(d);
}

/* With both limits hit, the answer is that of the active ones. */
static void test_both_limits(void)
{
    g_autoptr(Device) d = device_with_limits(2, 2);

    g_assert_cmpint(mgmt(d, BLK_ZO_OPEN, 1), ==, 1);
    g_assert_cmpint(mgmt(d, BLK_ZO_OPEN, 2), ==, 1);
    g_assert_cmpint(mgmt(d, BLK_ZO_OPEN, 3), ==, -EOVERFLOW);
    g_assert_cmpint(begin(d, 3, SECTOR), ==, -EOVERFLOW);

    /* A closed zone needs no active resource. */
    write_zone(d, 1, SECTOR);
    g_assert_cmpint(mgmt(d, BLK_ZO_CLOSE, 1), ==, 1);
    g_assert_cmpint(begin(d, 3, SECTOR), ==, -EOVERFLOW);
    g_assert_cmpint(begin(d, 1, SECTOR), >=, 0);
    check_zone(d, 1, IOPEN, 2 * SECTOR);

    /* No zone is closed for a request that fails anyway. */
    g_assert_cmpint(begin(d, 3, SECTOR), ==, -EOVERFLOW);
    g_assert_cmpint(mgmt(d, BLK_ZO_OPEN, 3), ==, -EOVERFLOW);
    check_zone(d, 1, IOPEN, 2 * SECTOR);
}

/* A request that is refused for other reasons takes no resource. */
static void test_refused_takes_nothing(void)
{
    g_autoptr(Device) d = device_with_limits(1, 2);

    write_zone(d, 1, SECTOR);
    commit(d);
    g_assert_cmpint(begin(d, 2, SECTOR + 1), ==, -EINVAL);
    g_assert_cmpint(begin(d, 2, CAPACITY + SECTOR), ==, -ERANGE);
    g_assert_cmpint(zoned_zones_begin_write(&d->z, 2, 2 * ZONE_SIZE + SECTOR,
                                            SECTOR), ==, -EINVAL);
    g_assert_cmpint(mgmt(d, BLK_ZO_CLOSE, 2), ==, -EPERM);
    g_assert_cmpint(mgmt(d, BLK_ZO_OPEN, 0), ==, -EPERM);
    check_zone(d, 1, IOPEN, SECTOR);
    check_zone(d, 2, EMPTY, 0);
    g_assert_cmpuint(nr_dirty(d), ==, 0);
}

/* The implicitly open zone that was not written for longest is closed. */
static void test_implicit_close(void)
{
    g_autoptr(Device) d = device_with_limits(3, 0);

    write_zone(d, 1, SECTOR);
    write_zone(d, 2, SECTOR);
    write_zone(d, 3, SECTOR);

    /* Writes count, opening does not, and neither does what fails. */
    write_zone(d, 1, SECTOR);
    g_assert_cmpint(begin(d, 2, CAPACITY), ==, -ERANGE);
    g_assert_cmpint(mgmt(d, BLK_ZO_CLOSE, 4), ==, -EPERM);
    write_zone(d, 4, SECTOR);
    check_zone(d, 2, CLOSED, SECTOR);
    check_zone(d, 4, IOPEN, SECTOR);

    /* Order is now 3, 1, 4. */
    write_zone(d, 4, SECTOR);
    write_zone(d, 3, SECTOR);
    g_assert_cmpint(mgmt(d, BLK_ZO_OPEN, 5), ==, 1);
    check_zone(d, 1, CLOSED, 2 * SECTOR);
    check_zone(d, 5, EOPEN, 0);

    /* An explicitly open zone is out of the order, also with old writes. */
    g_assert_cmpint(mgmt(d, BLK_ZO_OPEN, 4), ==, 1);
    write_zone(d, 1, SECTOR);
    check_zone(d, 3, CLOSED, 2 * SECTOR);
    write_zone(d, 2, SECTOR);
    check_zone(d, 1, CLOSED, 3 * SECTOR);
    check_zone(d, 2, IOPEN, 2 * SECTOR);
    check_zone(d, 4, EOPEN, 2 * SECTOR);

    g_assert_cmpint(mgmt(d, BLK_ZO_OPEN, 2), ==, 1);
    g_assert_cmpint(begin(d, 1, SECTOR), ==, -ETOOMANYREFS);

    /* Once closed and written again, it is at the end of the order. */
    g_assert_cmpint(mgmt(d, BLK_ZO_CLOSE, 2), ==, 1);
    g_assert_cmpint(mgmt(d, BLK_ZO_CLOSE, 4), ==, 1);
    write_zone(d, 2, SECTOR);
    write_zone(d, 4, SECTOR);
    write_zone(d, 1, SECTOR);
    check_zone(d, 2, CLOSED, 3 * SECTOR);
    check_zone(d, 4, IOPEN, 3 * SECTOR);
}

/* A zone that stops to be active keeps its resource until a commit. */
static void test_unsettled(void)
{
    static const BlockZoneOp ops[] = { BLK_ZO_FINISH, BLK_ZO_RESET };

    for (int o = 0; o < ARRAY_SIZE(ops); o++) {
        g_autoptr(Device) d = device_with_limits(0, 2);

        write_zone(d, 1, SECTOR);
        write_zone(d, 2, SECTOR);
        g_assert_cmpint(mgmt(d, ops[o], 1), ==, 1);
        g_assert_cmpuint(d->z.nr_lingering, ==, 1);
        g_assert_cmpuint(zoned_zones_nr_active(&d->z), ==, 1);
        g_assert_cmpint(begin(d, 3, SECTOR), ==, -EAGAIN);
        g_assert_cmpint(mgmt(d, BLK_ZO_OPEN, 3), ==, -EAGAIN);
        check_zone(d, 3, EMPTY, 0);
        /* Zones that are active need nothing. */
        write_zone(d, 2, SECTOR);
        commit(d);
        g_assert_cmpint(begin(d, 3, SECTOR), >=, 0);
        check_zone(d, 3, IOPEN, SECTOR);
        g_assert_cmpint(begin(d, 4, SECTOR), ==, -EOVERFLOW);
    }
}

static void test_unsettled_more(void)
{
    g_autoptr(Device) d = device_with_limits(1, 3);

    /* Without anything active, all resources can be unsettled. */
    for (int i = 1; i <= 3; i++) {
        write_zone(d, i, CAPACITY);
        g_assert_cmpuint(d->z.nr_lingering, ==, i);
    }
    g_assert_cmpint(begin(d, 4, SECTOR), ==, -EAGAIN);
    commit(d);

    /* A commit is asked for before the open limit is looked at. */
    write_zone(d, 4, SECTOR);
    g_assert_cmpint(mgmt(d, BLK_ZO_OPEN, 5), ==, 1);
    check_zone(d, 4, CLOSED, SECTOR);
    g_assert_cmpint(mgmt(d, BLK_ZO_RESET, 4), ==, 1);
    g_assert_cmpint(mgmt(d, BLK_ZO_RESET, 3), ==, 1);
    g_assert_cmpint(mgmt(d, BLK_ZO_RESET, 2), ==, 1);
    g_assert_cmpuint(d->z.nr_lingering, ==, 1);
    g_assert_cmpint(begin(d, 2, SECTOR), ==, -ETOOMANYREFS);
    g_assert_cmpint(mgmt(d, BLK_ZO_CLOSE, 5), ==, 1);
    check_zone(d, 5, EMPTY, 0);
    g_assert_cmpuint(d->z.nr_lingering, ==, 2);
    g_assert_cmpint(mgmt(d, BLK_ZO_OPEN, 5), ==, 1);
    g_assert_cmpint(mgmt(d, BLK_ZO_OPEN, 2), ==, -EAGAIN);
    g_assert_cmpint(begin(d, 2, SECTOR), ==, -EAGAIN);
    commit(d);
    g_assert_cmpint(mgmt(d, BLK_ZO_OPEN, 2), ==, -ETOOMANYREFS);
}

/* Without a limit of active zones there is nothing to wait for. */
static void test_unsettled_unlimited(void)
{
    g_autoptr(Device) d = device_with_limits(2, 0);

    for (int n = 0; n < 100; n++) {
        write_zone(d, 1 + n % 5, SECTOR);
        g_assert_cmpint(mgmt(d, BLK_ZO_RESET, 1 + n % 5), ==, 1);
    }
    device_check_derived(d);
}

/*
 * Writes that fail.
 */
static void test_rollback(void)
{
    static const BlockZoneState from[] = { EMPTY, IOPEN, EOPEN, CLOSED };

    for (int c = 0; c < ARRAY_SIZE(from); c++) {
        g_autoptr(Device) d = device_with_limits(2, 3);
        uint64_t wp = from[c] == EMPTY ? 0 : 5 * SECTOR;
        BlockZoneState open = from[c] == EOPEN ? EOPEN : IOPEN;
        bool opens = from[c] == EMPTY || from[c] == CLOSED;

        /* The last of three: the first has opened the zone. */
        put(d, 1, from[c], wp);
        begin_ok(d, 1, SECTOR, opens);
        begin_ok(d, 1, 2 * SECTOR, false);
        begin_ok(d, 1, 4 * SECTOR, false);
        rollback(d, 1, wp + 3 * SECTOR, false);
        check_zone(d, 1, open, wp + 3 * SECTOR);

        /* The first, and what is behind it: it is as if none had been sent. */
        begin_ok(d, 1, 8 * SECTOR, false);
        rollback(d, 1, wp, opens);
        check_zone(d, 1, from[c], wp);
        g_assert_cmpuint(d->z.nr_lingering, ==, from[c] == EMPTY);
        g_assert_cmpuint(nr_dirty(d), ==, 1);

        write_zone(d, 1, SECTOR);
        check_zone(d, 1, open, wp + SECTOR);
    }
}

/* The first write of a zone fails: its resources are free for another. */
static void test_rollback_resources(void)
{
    g_autoptr(Device) d = device_with_limits(1, 1);

    begin_ok(d, 1, SECTOR, true);
    rollback(d, 1, 0, true);
    check_zone(d, 1, EMPTY, 0);
    g_assert_cmpuint(zoned_zones_nr_active(&d->z), ==, 0);
    /* The image may say that it is active, until the next commit. */
    g_assert_cmpint(begin(d, 2, SECTOR), ==, -EAGAIN);
    zoned_zones_free_lingering(&d->z, zoned_zones_nr_lingering(&d->z));
    begin_ok(d, 2, SECTOR, true);
}

/* What became of the zone by others, after a write opened it, stays. */
static void test_rollback_opened(void)
{
    g_autoptr(Device) d = device_with_limits(2, 2);

    /* It was opened explicitly. */
    begin_ok(d, 1, SECTOR, true);
    g_assert_cmpint(mgmt(d, BLK_ZO_OPEN, 1), ==, 1);
    rollback(d, 1, 0, true);
    check_zone(d, 1, EOPEN, 0);

    /* It was closed, and opened by another write that fails as well. */
    begin_ok(d, 2, SECTOR, true);
    g_assert_cmpint(mgmt(d, BLK_ZO_CLOSE, 2), ==, 1);
    begin_ok(d, 2, SECTOR, true);
    rollback(d, 2, SECTOR, true);
    check_zone(d, 2, CLOSED, SECTOR);
    begin_ok(d, 2, SECTOR, true);
    rollback(d, 2, 0, true);
    check_zone(d, 2, EMPTY, 0);
}

/* A write that would have filled the zone: it never was FULL. */
static void test_rollback_fill(void)
{
    g_autoptr(Device) d = device_with_limits(1, 1);

    g_assert_cmpint(mgmt(d, BLK_ZO_OPEN, 1), ==, 1);
    begin_ok(d, 1, CAPACITY - SECTOR, false);
    begin_ok(d, 1, SECTOR, false);
    rollback(d, 1, CAPACITY - SECTOR, false);
    check_zone(d, 1, EOPEN, CAPACITY - SECTOR);
    zoned_zones_end_write(&d->z, 1, ZONE_SIZE + CAPACITY - SECTOR);
    check_zone(d, 1, EOPEN, CAPACITY - SECTOR);
    write_zone(d, 1, SECTOR);
    check_zone(d, 1, FULL, CAPACITY);
}

/* A zone that was closed while the write was in flight. */
static void test_rollback_closed(void)
{
    g_autoptr(Device) d = device_with_limits(2, 2);

    begin_ok(d, 1, SECTOR, true);
    begin_ok(d, 1, SECTOR, false);
    g_assert_cmpint(mgmt(d, BLK_ZO_CLOSE, 1), ==, 1);
    check_zone(d, 1, CLOSED, 2 * SECTOR);
    rollback(d, 1, SECTOR, false);
    check_zone(d, 1, CLOSED, SECTOR);
    g_assert_cmpuint(d->z.nr_lingering, ==, 0);

    /* Nothing is left: not CLOSED, and no resource taken. */
    rollback(d, 1, 0, true);
    check_zone(d, 1, EMPTY, 0);
    g_assert_cmpuint(zoned_zones_nr_active(&d->z), ==, 0);
    g_assert_cmpuint(d->z.nr_lingering, ==, 1);
}

/* Failing does not make a zone look recently written, or the reverse. */
static void test_rollback_order(void)
{
    g_autoptr(Device) d = device_with_limits(2, 0);

    write_zone(d, 1, SECTOR);
    write_zone(d, 2, SECTOR);
    begin_ok(d, 1, SECTOR, false);
    rollback(d, 1, SECTOR, false);
    write_zone(d, 3, SECTOR);
    check_zone(d, 1, IOPEN, SECTOR);
    check_zone(d, 2, CLOSED, SECTOR);
}

/*
 * Opening an image.
 */
static void check_load_ext(BlockZoneState cond, uint64_t written,
                           bool ext_valid, bool keep_open,
                           BlockZoneState expected)
{
    for (uint32_t limit = 0; limit < 3; limit++) {
        g_autoptr(Device) d = device_with_limits(limit, limit);

        load(d, 2, cond, written, ext_valid, keep_open);
        check_zone(d, 2, expected, written);
        g_assert_cmpint(zoned_zones_ext_valid(&d->z, 2), ==, ext_valid);
        g_assert_cmpuint(zoned_zones_nr_active(&d->z), ==, is_active(expected));
        g_assert_cmpuint(nr_dirty(d), ==, 0);
        g_assert_cmpuint(d->z.nr_lingering, ==, 0);
    }
}

static void check_load(BlockZoneState cond, uint64_t written, bool keep_open,
                       BlockZoneState expected)
{
    check_load_ext(cond, written, false, keep_open, expected);
}

static void test_load(void)
{
    for (int keep_open = 0; keep_open < 2; keep_open++) {
        check_load(EMPTY, 0, keep_open, EMPTY);
        check_load(CLOSED, SECTOR, keep_open, CLOSED);
        check_load(CLOSED, CAPACITY - SECTOR, keep_open, CLOSED);
        check_load(CLOSED, 0, keep_open, EMPTY);
        check_load(FULL, 0, keep_open, FULL);
        check_load(FULL, SECTOR, keep_open, FULL);
        check_load(FULL, CAPACITY, keep_open, FULL);
        check_load(RDONLY, SECTOR, keep_open, RDONLY);
        check_load(OFFLINE, SECTOR, keep_open, OFFLINE);
    }
    check_load(IOPEN, SECTOR, false, CLOSED);
    check_load(EOPEN, SECTOR, false, CLOSED);
    check_load(IOPEN, 0, false, EMPTY);
    check_load(EOPEN, 0, false, EMPTY);
    check_load(IOPEN, SECTOR, true, IOPEN);
    check_load(EOPEN, SECTOR, true, EOPEN);
    check_load(IOPEN, 0, true, IOPEN);
    check_load(EOPEN, 0, true, EOPEN);
}

static void test_load_extended(void)
{
    for (int keep_open = 0; keep_open < 2; keep_open++) {
        check_load_ext(CLOSED, SECTOR, true, keep_open, CLOSED);
        check_load_ext(CLOSED, 0, true, keep_open, CLOSED);
        check_load_ext(FULL, 0, true, keep_open, FULL);
        check_load_ext(FULL, CAPACITY, true, keep_open, FULL);
        check_load_ext(RDONLY, 0, true, keep_open, RDONLY);
        check_load_ext(OFFLINE, SECTOR, true, keep_open, OFFLINE);
    }
    check_load_ext(IOPEN, SECTOR, true, false, CLOSED);
    check_load_ext(EOPEN, SECTOR, true, false, CLOSED);
    check_load_ext(IOPEN, 0, true, false, CLOSED);
    check_load_ext(EOPEN, 0, true, false, CLOSED);
    check_load_ext(IOPEN, 0, true, true, IOPEN);
    check_load_ext(EOPEN, 0, true, true, EOPEN);
}

/* Zones are closed for others in the same order. */
static void check_order(const Device *a, const Device *b)
{
    const ZonedLruLink *la = QTAILQ_FIRST(&a->z.implicit);
    const ZonedLruLink *lb = QTAILQ_FIRST(&b->z.implicit);

    for (; la && lb; la = QTAILQ_NEXT(la, next), lb = QTAILQ_NEXT(lb, next)) {
        g_assert_cmpuint(la - a->z.lru, ==, lb - b->z.lru);
    }
    g_assert_null(la);
    g_assert_null(lb);
}

/* A run of zones is loaded like each of them, for the first time or again. */
static void check_load_run(BlockZoneState cond, uint64_t written,
                           bool ext_valid, bool keep_open, bool again)
{
    ZonedGeometry geo = geometry(NR_ZONES * ZONE_SIZE, ZONE_SIZE, CAPACITY, 1,
                                 2, 4);
    g_autoptr(Device) one = device_new(&geo);
    g_autoptr(Device) run = device_new(&geo);
    ZonedEntry entry = {
        .cond = cond,
        .end = 2 * ZONE_SIZE + written,
        .ext_valid = ext_valid,
    };

    if (!again) {
        zoned_zones_destroy(&one->z);
        zoned_zones_destroy(&run->z);
        g_assert_true(zoned_zones_init(&one->z, &geo, geo.nr_zones));
        g_assert_true(zoned_zones_init(&run->z, &geo, geo.nr_zones));
        for (uint32_t i = 0; i < 2; i++) {
            load_new(one, i);
            load_new(run, i);
        }
    }
    for (uint32_t j = 0; j < 3; j++) {
        load(one, 2 + j, cond, written, ext_valid, keep_open);
    }
    zoned_zones_load(&run->z, 2, 3, &entry, keep_open);
    g_assert_cmpuint(run->z.nr_loaded, ==, one->z.nr_loaded);
    load_new(one, 5);
    load_new(run, 5);

    g_assert_cmpmem(run->z.zone, NR_ZONES * sizeof(uint64_t), one->z.zone,
                    NR_ZONES * sizeof(uint64_t));
    g_assert_cmpmem(run->z.nr, sizeof(run->z.nr), one->z.nr,
                    sizeof(one->z.nr));
    g_assert_cmpuint(run->z.nr_loaded, ==, NR_ZONES);
    g_assert_cmpuint(nr_dirty(run), ==, nr_dirty(one));
    check_order(run, one);
}

static void test_load_run(void)
{
    for (int bits = 0; bits < 8; bits++) {
        bool ext_valid = bits & 1;
        bool keep_open = bits & 2;
        bool again = bits & 4;

        if (!ext_valid) {
            check_load_run(EMPTY, 0, false, keep_open, again);
        }
        check_load_run(CLOSED, SECTOR, ext_valid, keep_open, again);
        check_load_run(IOPEN, 0, ext_valid, keep_open, again);
        check_load_run(IOPEN, SECTOR, ext_valid, keep_open, again);
        check_load_run(EOPEN, SECTOR, ext_valid, keep_open, again);
        check_load_run(FULL, 0, ext_valid, keep_open, again);
        check_load_run(FULL, CAPACITY, ext_valid, keep_open, again);
        check_load_run(RDONLY, SECTOR, ext_valid, keep_open, again);
        check_load_run(OFFLINE, SECTOR, ext_valid, keep_open, again);
    }
}

/* Zones stay open as long as there are resources. */
static void test_load_keep_open(void)
{
    g_autoptr(Device) d = device_with_limits(2, 0);

    load(d, 1, EOPEN, 0, false, true);
    load(d, 2, IOPEN, SECTOR, false, true);
    load(d, 3, IOPEN, SECTOR, false, true);
    load(d, 4, EOPEN, 0, false, true);
    check_zone(d, 1, EOPEN, 0);
    check_zone(d, 2, IOPEN, SECTOR);
    check_zone(d, 3, CLOSED, SECTOR);
    check_zone(d, 4, EMPTY, 0);

    /* What is implicitly open can be closed for others. */
    write_zone(d, 5, SECTOR);
    check_zone(d, 2, CLOSED, SECTOR);
}

/* What was open before the image is loaded again takes no resource. */
static void test_load_again(void)
{
    g_autoptr(Device) d = device_with_limits(2, 2);

    g_assert_cmpint(mgmt(d, BLK_ZO_OPEN, 4), ==, 1);
    write_zone(d, 5, SECTOR);
    for (int n = 0; n < 2; n++) {
        zoned_zones_begin_load(&d->z);
        g_assert_cmpuint(nr_dirty(d), ==, 0);
        load(d, 1, EOPEN, 0, false, true);
        load(d, 2, EMPTY, 0, false, true);
        load(d, 3, FULL, 0, false, true);
        load(d, 4, EMPTY, 0, false, true);
        load(d, 5, IOPEN, SECTOR, false, true);
        check_zone(d, 1, EOPEN, 0);
        check_zone(d, 4, EMPTY, 0);
        check_zone(d, 5, IOPEN, SECTOR);
        g_assert_cmpuint(nr_dirty(d), ==, 0);
    }
}

/*
 * What has to be written back.
 */
static void test_dirty(void)
{
    const uint32_t n = ZONED_ZONES_PER_BLOCK;
    ZonedGeometry geo = geometry((2 * n + 1) * 4096, 4096, 4096, 1, 0, 0);
    g_autoptr(Device) d = device_new(&geo);

    put(d, 1, CLOSED, SECTOR);
    put(d, n, EOPEN, SECTOR);
    put(d, 2 * n, FULL, SECTOR);
    commit(d);

    /* What changes nothing, or is not yet to be written back */
    g_assert_cmpint(mgmt(d, BLK_ZO_OPEN, n), ==, 0);
    g_assert_cmpint(mgmt(d, BLK_ZO_CLOSE, 1), ==, 0);
    g_assert_cmpint(mgmt(d, BLK_ZO_FINISH, 2 * n), ==, 0);
    g_assert_cmpint(mgmt(d, BLK_ZO_RESET, 2), ==, 0);
    g_assert_cmpint(mgmt(d, BLK_ZO_RESET, 0), ==, -EPERM);
    g_assert_cmpint(begin(d, n, SECTOR), >=, 0);
    device_check_derived(d);
    g_assert_cmpuint(nr_dirty(d), ==, 0);

    zoned_zones_end_write(&d->z, n, n * 4096ULL + 2 * SECTOR);
    g_assert_cmpuint(nr_dirty(d), ==, 1);
    g_assert_true(hbitmap_get(d->z.dirty, n));
    write_zone(d, 2 * n - 1, SECTOR);
    g_assert_cmpuint(nr_dirty(d), ==, 2);
    device_check_derived(d);

    g_assert_cmpint(mgmt(d, BLK_ZO_RESET, 2 * n), ==, 1);
    g_assert_cmpuint(nr_dirty(d), ==, 3);
    g_assert_true(hbitmap_get(d->z.dirty, 2 * n));
    zoned_zones_mark_dirty(&d->z, 2 * n);
    g_assert_cmpuint(nr_dirty(d), ==, 3);
    zoned_zones_mark_dirty(&d->z, 0);
    g_assert_cmpuint(nr_dirty(d), ==, 4);
    g_assert_true(hbitmap_get(d->z.dirty, 0));
    device_check_derived(d);
}

/* What a commit takes is dirty no more. */
static void test_dirty_take(void)
{
    const uint32_t n = ZONED_ZONES_PER_BLOCK;
    static const uint32_t dirty[] = { 0, 1, 3, n - 1, n, 2 * n + 7 };
    ZonedGeometry geo = geometry(3 * n * 4096, 4096, 4096, 1, 0, 0);
    g_autoptr(Device) d = device_new(&geo);
    uint32_t zones[ARRAY_SIZE(dirty)];

    g_assert_cmpuint(zoned_zones_take_dirty(&d->z, 0, 3 * n - 1, zones, 1), ==,
                     0);
    for (int j = 0; j < ARRAY_SIZE(dirty); j++) {
        zoned_zones_mark_dirty(&d->z, dirty[j]);
    }

    /* Those of a range, however many it has */
    g_assert_cmpuint(zoned_zones_take_dirty(&d->z, 1, 3, zones, 9), ==, 2);
    g_assert_cmpuint(zones[0], ==, 1);
    g_assert_cmpuint(zones[1], ==, 3);
    g_assert_cmpuint(nr_dirty(d), ==, 4);
    g_assert_cmpuint(zoned_zones_take_dirty(&d->z, 1, 3, zones, 9), ==, 0);
    g_assert_cmpuint(zoned_zones_take_dirty(&d->z, 2, 3 * n - 1, zones, 2), ==,
                     2);
    g_assert_cmpuint(zones[0], ==, n - 1);
    g_assert_cmpuint(zones[1], ==, n);
    g_assert_cmpuint(nr_dirty(d), ==, 2);
    device_check_derived(d);

    /* One of them changes, and all are taken. */
    zoned_zones_mark_dirty(&d->z, n);
    g_assert_cmpuint(zoned_zones_take_dirty(&d->z, 0, 3 * n - 1, zones, 9), ==,
                     3);
    g_assert_cmpuint(zones[0], ==, 0);
    g_assert_cmpuint(zones[1], ==, n);
    g_assert_cmpuint(zones[2], ==, 2 * n + 7);
    g_assert_false(zoned_zones_is_dirty(&d->z));
    device_check_derived(d);
}

/* A zone that is closed for another one has to be written back as well. */
static void test_dirty_implicit_close(void)
{
    const uint32_t n = ZONED_ZONES_PER_BLOCK;
    ZonedGeometry geo = geometry(2 * n * 4096, 4096, 4096, 0, 1, 0);
    g_autoptr(Device) d = device_new(&geo);

    write_zone(d, 0, SECTOR);
    commit(d);
    g_assert_cmpint(mgmt(d, BLK_ZO_OPEN, n), ==, 1);
    g_assert_cmpuint(nr_dirty(d), ==, 2);
    check_zone(d, 0, CLOSED, SECTOR);
}

/*
 * What changes after a generation has ended belongs to a later one, whether it
 * is dirty already or not.
 */
static void test_generation(void)
{
    const uint32_t n = ZONED_ZONES_PER_BLOCK;
    ZonedGeometry geo = geometry(3 * n * 4096, 4096, 4096, 1, 0, 0);
    g_autoptr(Device) d = device_new(&geo);
    uint32_t zone;

    for (uint32_t bit = 0; bit < 3; bit++) {
        g_assert_cmpuint(zoned_zones_last_change(&d->z, bit), ==, 1);
    }
    g_assert_cmpuint(zoned_zones_end_generation(&d->z), ==, 1);
    g_assert_cmpuint(zoned_zones_last_change(&d->z, 1), ==, 1);

    /* A zone that is dirty changes again. */
    write_zone(d, n, SECTOR);
    g_assert_cmpuint(zoned_zones_last_change(&d->z, 1), ==, 2);
    g_assert_cmpuint(zoned_zones_end_generation(&d->z), ==, 2);
    write_zone(d, n, SECTOR);
    g_assert_cmpuint(zoned_zones_last_change(&d->z, 1), ==, 3);
    device_check_derived(d);

    /* A commit is no change. */
    g_assert_cmpuint(zoned_zones_end_generation(&d->z), ==, 3);
    device_clear_dirty(d);
    g_assert_cmpuint(zoned_zones_last_change(&d->z, 1), ==, 3);
    device_check_derived(d);

    /* What was clean because of that is noted when it is written. */
    write_zone(d, 2 * n, SECTOR);
    write_zone(d, n, SECTOR);
    g_assert_cmpuint(zoned_zones_last_change(&d->z, 0), ==, 1);
    g_assert_cmpuint(zoned_zones_last_change(&d->z, 1), ==, 4);
    g_assert_cmpuint(zoned_zones_last_change(&d->z, 2), ==, 4);
    device_check_derived(d);

    /* Within a generation, what a commit has taken is dirty again. */
    g_assert_cmpuint(zoned_zones_take_dirty(&d->z, n, 2 * n - 1, &zone, 1), ==,
                     1);
    write_zone(d, n, SECTOR);
    g_assert_true(hbitmap_get(d->z.dirty, n));
    device_check_derived(d);

    /* Another image: whatever is in it, it has changed. */
    g_assert_cmpuint(zoned_zones_end_generation(&d->z), ==, 4);
    zoned_zones_begin_load(&d->z);
    for (uint32_t i = 0; i < 3 * n; i++) {
        load_new(d, i);
    }
    for (uint32_t bit = 0; bit < 3; bit++) {
        g_assert_cmpuint(zoned_zones_last_change(&d->z, bit), ==, 5);
    }
}

/* A device of @n zones of 4 KiB that can get three blocks of them */
static Device *growing_device(uint32_t n, uint32_t max_open)
{
    const uint32_t max_zones = 3 * ZONED_ZONES_PER_BLOCK;
    ZonedGeometry geo = geometry(n * 4096ULL, 4096, 4096, 1, max_open, 0);
    Device *d = g_new0(Device, 1);

    g_assert_true(zoned_zones_init(&d->z, &geo, max_zones));
    zoned_zones_begin_load(&d->z);
    for (uint32_t i = 0; i < n; i++) {
        load_new(d, i);
    }
    commit(d);
    return d;
}

static void resize(Device *d, uint32_t n)
{
    ZonedGeometry geo = d->z.geo;

    if (n > geo.nr_zones) {
        zoned_zones_add(&d->z, n - geo.nr_zones);
    } else {
        zoned_zones_drop(&d->z, geo.nr_zones - n);
    }
    geo.nr_zones = n;
    geo.size = n * geo.zone_size;
    zoned_zones_resize(&d->z, &geo);
    device_check_derived(d);
}

static void test_resize(void)
{
    const uint32_t n = ZONED_ZONES_PER_BLOCK;
    g_autoptr(Device) d = growing_device(n - 2, 2);

    write_zone(d, n - 3, SECTOR);
    commit(d);
    resize(d, n);
    g_assert_cmpuint(nr_dirty(d), ==, 2);
    check_zone(d, n - 3, IOPEN, SECTOR);
    check_zone(d, n - 1, EMPTY, 0);
    write_zone(d, n - 1, 4096);
    check_zone(d, n - 1, FULL, 4096);

    /* All new zones */
    commit(d);
    resize(d, 2 * n + 1);
    g_assert_cmpuint(nr_dirty(d), ==, n + 1);
    check_zone(d, 2 * n, EMPTY, 0);
    g_assert_cmpint(mgmt(d, BLK_ZO_OPEN, 2 * n), ==, 1);
    g_assert_cmpint(mgmt(d, BLK_ZO_CLOSE, 2 * n), ==, 1);

    /* Zones that go take their dirty bits with them, and nothing else. */
    write_zone(d, n - 3, SECTOR);
    resize(d, n);
    g_assert_cmpuint(nr_dirty(d), ==, 1);
    g_assert_cmpuint(d->z.nr[EMPTY], ==, n - 3);
    check_zone(d, n - 1, FULL, 4096);
    check_zone(d, n - 3, IOPEN, 2 * SECTOR);
}

/* With another number of zones, it is another device for those who watch it. */
static void test_resize_generation(void)
{
    const uint32_t n = ZONED_ZONES_PER_BLOCK;
    g_autoptr(Device) d = growing_device(2 * n, 0);

    g_assert_cmpuint(zoned_zones_end_generation(&d->z), ==, 1);
    resize(d, 2 * n + 1);
    for (uint32_t bit = 0; bit < 3; bit++) {
        g_assert_cmpuint(zoned_zones_last_change(&d->z, bit), ==, 2);
    }
    write_zone(d, 2 * n, SECTOR);
    g_assert_cmpint(mgmt(d, BLK_ZO_RESET, 2 * n), ==, 1);
    g_assert_cmpuint(zoned_zones_end_generation(&d->z), ==, 2);
    resize(d, 2 * n - 1);
    for (uint32_t bit = 0; bit < 2; bit++) {
        g_assert_cmpuint(zoned_zones_last_change(&d->z, bit), ==, 3);
    }
    /* The zone that was gone is written like any other. */
    resize(d, 2 * n + 1);
    g_assert_cmpuint(zoned_zones_end_generation(&d->z), ==, 3);
    write_zone(d, 2 * n, SECTOR);
    g_assert_cmpuint(zoned_zones_last_change(&d->z, 2), ==, 4);
    device_check_derived(d);
}

/* Who has waited for a zone that has gone is refused, and takes nothing. */
static void test_resize_late(void)
{
    g_autoptr(Device) d = growing_device(8, 2);

    resize(d, 6);
    g_assert_cmpint(begin(d, 7, SECTOR), ==, -EPERM);
    g_assert_cmpint(mgmt(d, BLK_ZO_OPEN, 6), ==, -EPERM);
    g_assert_cmpint(mgmt(d, BLK_ZO_RESET, 7), ==, -EPERM);
    device_check_derived(d);
    resize(d, 8);
    check_zone(d, 7, EMPTY, 0);
    write_zone(d, 7, SECTOR);
    check_zone(d, 7, IOPEN, SECTOR);
}

static void test_set_limits(void)
{
    g_autoptr(Device) d = growing_device(8, 0);

    write_zone(d, 2, SECTOR);
    write_zone(d, 1, SECTOR);
    g_assert_true(zoned_zones_set_limits(&d->z, 2, 3));
    device_check_derived(d);
    write_zone(d, 3, SECTOR);
    check_zone(d, 1, CLOSED, SECTOR);
    check_zone(d, 2, IOPEN, SECTOR);
    g_assert_cmpint(begin(d, 4, SECTOR), ==, -EOVERFLOW);
    g_assert_true(zoned_zones_set_limits(&d->z, 0, 0));
    device_check_derived(d);
    write_zone(d, 4, SECTOR);
    check_zone(d, 4, IOPEN, SECTOR);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    g_test_add_func("/zoned/zones/limits/open", test_open_limit);
    g_test_add_func("/zoned/zones/limits/active", test_active_limit);
    g_test_add_func("/zoned/zones/limits/both", test_both_limits);
    g_test_add_func("/zoned/zones/limits/refused", test_refused_takes_nothing);
    g_test_add_func("/zoned/zones/limits/implicit-close", test_implicit_close);
    g_test_add_func("/zoned/zones/unsettled/keeps", test_unsettled);
    g_test_add_func("/zoned/zones/unsettled/more", test_unsettled_more);
    g_test_add_func("/zoned/zones/unsettled/unlimited",
                    test_unsettled_unlimited);
    g_test_add_func("/zoned/zones/rollback/conditions", test_rollback);
    g_test_add_func("/zoned/zones/rollback/resources",
                    test_rollback_resources);
    g_test_add_func("/zoned/zones/rollback/opened", test_rollback_opened);
    g_test_add_func("/zoned/zones/rollback/fill", test_rollback_fill);
    g_test_add_func("/zoned/zones/rollback/closed", test_rollback_closed);
    g_test_add_func("/zoned/zones/rollback/order", test_rollback_order);
    g_test_add_func("/zoned/zones/load/conditions", test_load);
    g_test_add_func("/zoned/zones/load/extended", test_load_extended);
    g_test_add_func("/zoned/zones/load/run", test_load_run);
    g_test_add_func("/zoned/zones/load/keep-open", test_load_keep_open);
    g_test_add_func("/zoned/zones/load/again", test_load_again);
    g_test_add_func("/zoned/zones/dirty/bits", test_dirty);
    g_test_add_func("/zoned/zones/dirty/take", test_dirty_take);
    g_test_add_func("/zoned/zones/dirty/implicit-close",
                    test_dirty_implicit_close);
    g_test_add_func("/zoned/zones/resize/zones", test_resize);
    g_test_add_func("/zoned/zones/generation", test_generation);
    g_test_add_func("/zoned/zones/resize/generation", test_resize_generation);
    g_test_add_func("/zoned/zones/resize/late", test_resize_late);
    g_test_add_func("/zoned/zones/resize/limits", test_set_limits);
    return g_test_run();
}

/*
 * Unit tests of the zone state machine of the zoned block format driver
 *
 * The first part goes through the rules one by one.  The second part applies
 * random operations to the state machine and to a model of it: one struct per
 * zone, with what the state machine packs into words in fields of their own,
 * and with counts and orders that are looked for whenever they are needed.
 *
 *   ZONED_TEST_SEED    repeats a failure: the seed that it printed
 *   ZONED_TEST_STEPS   steps of each random test
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/bitmap.h"
#include "qemu/bitops.h"
#include "block/zoned-zones.h"
#include "zoned-random.h"

#define SECTOR 512ULL
#define CONV_BIT (1ULL << 63)

static const BlockZoneState all_conds[] = {
    BLK_ZS_NOT_WP, BLK_ZS_EMPTY, BLK_ZS_IOPEN, BLK_ZS_EOPEN, BLK_ZS_CLOSED,
    BLK_ZS_RDONLY, BLK_ZS_FULL, BLK_ZS_OFFLINE,
};

static bool is_active(BlockZoneState cond)
{
    return cond == BLK_ZS_IOPEN || cond == BLK_ZS_EOPEN ||
           cond == BLK_ZS_CLOSED;
}

/*
 * A device under test.
 */
typedef struct Device {
    ZonedZones z;
    uint64_t *wp;
} Device;

static ZonedGeometry geometry(uint64_t size, uint64_t zone_size,
                              uint64_t capacity, uint32_t nr_conv,
                              uint32_t max_open, uint32_t max_active)
{
    return (ZonedGeometry) {
        .size = size,
        .zone_size = zone_size,
        .zone_capacity = capacity,
        .nr_zones = DIV_ROUND_UP(size, zone_size),
        .nr_conv = nr_conv,
        .max_open = max_open,
        .max_active = max_active,
    };
}

static Device *device_new(const ZonedGeometry *geo)
{
    Device *d = g_new0(Device, 1);

    d->wp = g_new0(uint64_t, geo->nr_zones);
    g_assert_true(zoned_zones_init(&d->z, geo, d->wp));
    for (uint32_t i = 0; i < geo->nr_zones; i++) {
        zoned_zones_load_new(&d->z, i);
    }
    return d;
}

static void device_free(Device *d)
{
    zoned_zones_destroy(&d->z);
    g_free(d->wp);
    g_free(d);
}

G_DEFINE_AUTOPTR_CLEANUP_FUNC(Device, device_free)

/* Six zones of 64 KiB, of which 48 KiB can be written; the first is special. */
#define ZONE_SIZE (64 * KiB)
#define CAPACITY (48 * KiB)
#define NR_ZONES 6

static Device *device_with_limits(uint32_t max_open, uint32_t max_active)
{
    ZonedGeometry geo = geometry(NR_ZONES * ZONE_SIZE, ZONE_SIZE, CAPACITY, 1,
                                 max_open, max_active);

    return device_new(&geo);
}

/* Gives zone @i the condition @cond, with @written bytes in it. */
static void put(Device *d, uint32_t i, BlockZoneState cond, uint64_t written)
{
    zoned_zones_load(&d->z, i, cond, i * d->z.geo.zone_size + written, false,
                     true);
    g_assert_cmpint(zoned_zones_cond(&d->z, i), ==, cond);
}

/* The same, with a valid descriptor extension. */
static void put_extended(Device *d, uint32_t i, BlockZoneState cond,
                         uint64_t written)
{
    zoned_zones_load(&d->z, i, cond, i * d->z.geo.zone_size + written, true,
                     true);
    g_assert_cmpint(zoned_zones_cond(&d->z, i), ==, cond);
}

/* A write of @bytes at the write pointer of zone @i, as far as it begins. */
static int begin(Device *d, uint32_t i, uint64_t bytes)
{
    return zoned_zones_begin_write(&d->z, i, zoned_zones_end(&d->z, i), bytes);
}

/* The same; it must succeed, and says whether it has opened the zone. */
static void begin_ok(Device *d, uint32_t i, uint64_t bytes, bool opens)
{
    g_assert_cmpint(begin(d, i, bytes), ==, opens);
}

/* All writes from byte @written of zone @i have failed. */
static void rollback(Device *d, uint32_t i, uint64_t written, bool opened)
{
    zoned_zones_rollback(&d->z, i, i * ZONE_SIZE + written, opened);
}

/* The same, to its end; it must succeed. */
static void write_zone(Device *d, uint32_t i, uint64_t bytes)
{
    g_assert_cmpint(begin(d, i, bytes), >=, 0);
    zoned_zones_end_write(&d->z, i, zoned_zones_end(&d->z, i));
}

static int mgmt(Device *d, BlockZoneOp op, uint32_t i)
{
    return zoned_zones_mgmt(&d->z, op, i, false);
}

/* @op on the whole device, as the driver does it: it stops at an error. */
static int mgmt_all(Device *d, BlockZoneOp op)
{
    uint32_t nr_affected = zoned_zones_nr_affected(&d->z, op);
    uint32_t nr_changed = 0;

    for (uint32_t i = 0; i < d->z.geo.nr_zones; i++) {
        int ret = zoned_zones_mgmt(&d->z, op, i, true);

        if (ret < 0) {
            g_assert_cmpuint(nr_affected, >, 0);
            return ret;
        }
        nr_changed += ret;
    }
    if (op == BLK_ZO_OPEN) {
        /* A zone that is closed for another one may come later, or before. */
        g_assert_cmpint(nr_changed > 0, ==, nr_affected > 0);
    } else {
        g_assert_cmpuint(nr_changed, ==, nr_affected);
    }
    return 0;
}

static void clear_dirty(Device *d)
{
    bitmap_zero(d->z.dirty, DIV_ROUND_UP(d->z.geo.nr_zones,
                                         ZONED_ZONES_PER_DIRTY_BIT));
    d->z.nr_dirty = 0;
}

/* What the driver does when the table is in the image. */
static void commit(Device *d)
{
    clear_dirty(d);
    d->z.nr_lingering = 0;
}

/* Everything that the state machine derives from the zones agrees with them. */
static void check_derived(Device *d)
{
    const ZonedZones *z = &d->z;
    const ZonedGeometry *geo = &z->geo;
    uint32_t nr[16] = {};
    uint32_t linked = 0, dirty = 0;

    for (uint32_t i = 0; i < geo->nr_zones; i++) {
        BlockZoneState cond = zoned_zones_cond(z, i);
        uint64_t start = i * geo->zone_size;
        uint64_t limit = MIN(start + geo->zone_size, geo->size);
        uint64_t end = zoned_zones_end(z, i);

        nr[cond]++;
        if (zoned_zones_ext_valid(z, i)) {
            g_assert_cmpint(cond, !=, BLK_ZS_EMPTY);
            g_assert_cmpint(cond, !=, BLK_ZS_NOT_WP);
        }
        if (i < geo->nr_conv) {
            g_assert_cmpint(cond, ==, BLK_ZS_NOT_WP);
            g_assert_cmphex(end, ==, limit);
            g_assert_cmphex(d->wp[i], ==, limit | CONV_BIT);
        } else {
            g_assert_cmpint(cond, !=, BLK_ZS_NOT_WP);
            g_assert_cmphex(end, >=, start);
            g_assert_cmphex(end, <=, MIN(start + geo->zone_capacity, limit));
            g_assert_cmphex(d->wp[i], ==, cond == BLK_ZS_FULL ? limit : end);
        }
    }
    for (int cond = 0; cond < 16; cond++) {
        g_assert_cmpuint(z->nr[cond], ==, nr[cond]);
    }
    g_assert_cmpuint(zoned_zones_nr_open(z), ==,
                     nr[BLK_ZS_IOPEN] + nr[BLK_ZS_EOPEN]);
    g_assert_cmpuint(zoned_zones_nr_active(z), ==,
                     nr[BLK_ZS_IOPEN] + nr[BLK_ZS_EOPEN] + nr[BLK_ZS_CLOSED]);

    if (geo->max_open) {
        uint32_t prev = UINT32_MAX;

        for (uint32_t i = z->lru_first; i != UINT32_MAX; i = z->lru[i].next) {
            g_assert_cmpint(zoned_zones_cond(z, i), ==, BLK_ZS_IOPEN);
            g_assert_cmpuint(z->lru[i].prev, ==, prev);
            g_assert_cmpuint(linked, <, geo->nr_zones);
            linked++;
            prev = i;
        }
        g_assert_cmpuint(z->lru_last, ==, prev);
        g_assert_cmpuint(linked, ==, nr[BLK_ZS_IOPEN]);
        g_assert_cmpuint(zoned_zones_nr_open(z), <=, geo->max_open);
    }
    if (geo->max_active) {
        g_assert_cmpuint(zoned_zones_nr_active(z) + z->nr_lingering, <=,
                         geo->max_active);
    }
    g_assert_cmpint(zoned_zones_need_commit(z), ==,
                    geo->max_active && z->nr_lingering &&
                    zoned_zones_nr_active(z) + z->nr_lingering ==
                    geo->max_active);
    for (uint32_t b = 0;
         b < DIV_ROUND_UP(geo->nr_zones, ZONED_ZONES_PER_DIRTY_BIT); b++) {
        dirty += test_bit(b, z->dirty);
    }
    g_assert_cmpuint(z->nr_dirty, ==, dirty);
}

static void check_zone(Device *d, uint32_t i, BlockZoneState cond,
                       uint64_t written)
{
    g_assert_cmpint(zoned_zones_cond(&d->z, i), ==, cond);
    g_assert_cmphex(zoned_zones_end(&d->z, i), ==,
                    i * d->z.geo.zone_size + written);
    check_derived(d);
}

static void test_init(void)
{
    g_autoptr(Device) d = device_with_limits(2, 3);

    check_zone(d, 0, BLK_ZS_NOT_WP, ZONE_SIZE);
    for (uint32_t i = 1; i < NR_ZONES; i++) {
        check_zone(d, i, BLK_ZS_EMPTY, 0);
    }
    g_assert_cmpuint(d->z.nr_dirty, ==, 0);
    g_assert_cmpuint(d->z.nr_lingering, ==, 0);
    g_assert_cmpuint(zoned_zones_nr_active(&d->z), ==, 0);
}

/*
 * The transitions: what each operation does to a zone of each condition.
 */
enum { WRITE = 100, EXTEND };

typedef struct Transition {
    int op;                     /* BlockZoneOp, WRITE or EXTEND */
    BlockZoneState from;
    bool written;               /* has the zone data before? */
    int ret;                    /* of the operation on this zone */
    BlockZoneState to;
    /* As part of an operation on the whole device */
    int all_ret;
    BlockZoneState all_to;
} Transition;

#define Y true
#define N false
#define NOT_WP BLK_ZS_NOT_WP
#define EMPTY BLK_ZS_EMPTY
#define IOPEN BLK_ZS_IOPEN
#define EOPEN BLK_ZS_EOPEN
#define CLOSED BLK_ZS_CLOSED
#define RDONLY BLK_ZS_RDONLY
#define FULL BLK_ZS_FULL
#define OFFLINE BLK_ZS_OFFLINE

static const Transition transitions[] = {
    /* operation    from     data  alone            with all        */
    { WRITE,         NOT_WP,  Y,   -EPERM, NOT_WP },
    { WRITE,         EMPTY,   N,   0,      IOPEN },
    { WRITE,         IOPEN,   N,   0,      IOPEN },
    { WRITE,         IOPEN,   Y,   0,      IOPEN },
    { WRITE,         EOPEN,   N,   0,      EOPEN },
    { WRITE,         EOPEN,   Y,   0,      EOPEN },
    { WRITE,         CLOSED,  Y,   0,      IOPEN },
    { WRITE,         FULL,    N,   -EPERM, FULL },
    { WRITE,         FULL,    Y,   -EPERM, FULL },
    { WRITE,         RDONLY,  N,   -EPERM, RDONLY },
    { WRITE,         RDONLY,  Y,   -EPERM, RDONLY },
    { WRITE,         OFFLINE, N,   -EPERM, OFFLINE },
    { WRITE,         OFFLINE, Y,   -EPERM, OFFLINE },

    { EXTEND,        NOT_WP,  Y,   -EPERM, NOT_WP },
    { EXTEND,        EMPTY,   N,   0,      CLOSED },
    { EXTEND,        IOPEN,   N,   -EPERM, IOPEN },
    { EXTEND,        IOPEN,   Y,   -EPERM, IOPEN },
    { EXTEND,        EOPEN,   N,   -EPERM, EOPEN },
    { EXTEND,        EOPEN,   Y,   -EPERM, EOPEN },
    { EXTEND,        CLOSED,  Y,   -EPERM, CLOSED },
    { EXTEND,        FULL,    N,   -EPERM, FULL },
    { EXTEND,        FULL,    Y,   -EPERM, FULL },
    { EXTEND,        RDONLY,  N,   -EPERM, RDONLY },
    { EXTEND,        RDONLY,  Y,   -EPERM, RDONLY },
    { EXTEND,        OFFLINE, N,   -EPERM, OFFLINE },
    { EXTEND,        OFFLINE, Y,   -EPERM, OFFLINE },

    { BLK_ZO_OPEN,   NOT_WP,  Y,   -EPERM, NOT_WP,  0, NOT_WP },
    { BLK_ZO_OPEN,   EMPTY,   N,   1,      EOPEN,   0, EMPTY },
    { BLK_ZO_OPEN,   IOPEN,   N,   1,      EOPEN,   0, IOPEN },
    { BLK_ZO_OPEN,   IOPEN,   Y,   1,      EOPEN,   0, IOPEN },
    { BLK_ZO_OPEN,   EOPEN,   N,   0,      EOPEN,   0, EOPEN },
    { BLK_ZO_OPEN,   EOPEN,   Y,   0,      EOPEN,   0, EOPEN },
    { BLK_ZO_OPEN,   CLOSED,  Y,   1,      EOPEN,   1, EOPEN },
    { BLK_ZO_OPEN,   FULL,    N,   -EPERM, FULL,    0, FULL },
    { BLK_ZO_OPEN,   FULL,    Y,   -EPERM, FULL,    0, FULL },
    { BLK_ZO_OPEN,   RDONLY,  N,   -EPERM, RDONLY,  0, RDONLY },
    { BLK_ZO_OPEN,   RDONLY,  Y,   -EPERM, RDONLY,  0, RDONLY },
    { BLK_ZO_OPEN,   OFFLINE, N,   -EPERM, OFFLINE, 0, OFFLINE },
    { BLK_ZO_OPEN,   OFFLINE, Y,   -EPERM, OFFLINE, 0, OFFLINE },

    { BLK_ZO_CLOSE,  NOT_WP,  Y,   -EPERM, NOT_WP,  0, NOT_WP },
    { BLK_ZO_CLOSE,  EMPTY,   N,   -EPERM, EMPTY,   0, EMPTY },
    { BLK_ZO_CLOSE,  IOPEN,   N,   1,      EMPTY,   1, EMPTY },
    { BLK_ZO_CLOSE,  IOPEN,   Y,   1,      CLOSED,  1, CLOSED },
    { BLK_ZO_CLOSE,  EOPEN,   N,   1,      EMPTY,   1, EMPTY },
    { BLK_ZO_CLOSE,  EOPEN,   Y,   1,      CLOSED,  1, CLOSED },
    { BLK_ZO_CLOSE,  CLOSED,  Y,   0,      CLOSED,  0, CLOSED },
    { BLK_ZO_CLOSE,  FULL,    N,   -EPERM, FULL,    0, FULL },
    { BLK_ZO_CLOSE,  FULL,    Y,   -EPERM, FULL,    0, FULL },
    { BLK_ZO_CLOSE,  RDONLY,  N,   -EPERM, RDONLY,  0, RDONLY },
    { BLK_ZO_CLOSE,  RDONLY,  Y,   -EPERM, RDONLY,  0, RDONLY },
    { BLK_ZO_CLOSE,  OFFLINE, N,   -EPERM, OFFLINE, 0, OFFLINE },
    { BLK_ZO_CLOSE,  OFFLINE, Y,   -EPERM, OFFLINE, 0, OFFLINE },

    { BLK_ZO_FINISH, NOT_WP,  Y,   -EPERM, NOT_WP,  0, NOT_WP },
    { BLK_ZO_FINISH, EMPTY,   N,   1,      FULL,    0, EMPTY },
    { BLK_ZO_FINISH, IOPEN,   N,   1,      FULL,    1, FULL },
    { BLK_ZO_FINISH, IOPEN,   Y,   1,      FULL,    1, FULL },
    { BLK_ZO_FINISH, EOPEN,   N,   1,      FULL,    1, FULL },
    { BLK_ZO_FINISH, EOPEN,   Y,   1,      FULL,    1, FULL },
    { BLK_ZO_FINISH, CLOSED,  Y,   1,      FULL,    1, FULL },
    { BLK_ZO_FINISH, FULL,    N,   0,      FULL,    0, FULL },
    { BLK_ZO_FINISH, FULL,    Y,   0,      FULL,    0, FULL },
    { BLK_ZO_FINISH, RDONLY,  N,   -EPERM, RDONLY,  0, RDONLY },
    { BLK_ZO_FINISH, RDONLY,  Y,   -EPERM, RDONLY,  0, RDONLY },
    { BLK_ZO_FINISH, OFFLINE, N,   -EPERM, OFFLINE, 0, OFFLINE },
    { BLK_ZO_FINISH, OFFLINE, Y,   -EPERM, OFFLINE, 0, OFFLINE },

    { BLK_ZO_RESET,  NOT_WP,  Y,   -EPERM, NOT_WP,  0, NOT_WP },
    { BLK_ZO_RESET,  EMPTY,   N,   0,      EMPTY,   0, EMPTY },
    { BLK_ZO_RESET,  IOPEN,   N,   1,      EMPTY,   1, EMPTY },
    { BLK_ZO_RESET,  IOPEN,   Y,   1,      EMPTY,   1, EMPTY },
    { BLK_ZO_RESET,  EOPEN,   N,   1,      EMPTY,   1, EMPTY },
    { BLK_ZO_RESET,  EOPEN,   Y,   1,      EMPTY,   1, EMPTY },
    { BLK_ZO_RESET,  CLOSED,  Y,   1,      EMPTY,   1, EMPTY },
    { BLK_ZO_RESET,  FULL,    N,   1,      EMPTY,   1, EMPTY },
    { BLK_ZO_RESET,  FULL,    Y,   1,      EMPTY,   1, EMPTY },
    { BLK_ZO_RESET,  RDONLY,  N,   -EPERM, RDONLY,  0, RDONLY },
    { BLK_ZO_RESET,  RDONLY,  Y,   -EPERM, RDONLY,  0, RDONLY },
    { BLK_ZO_RESET,  OFFLINE, N,   -EPERM, OFFLINE, 0, OFFLINE },
    { BLK_ZO_RESET,  OFFLINE, Y,   -EPERM, OFFLINE, 0, OFFLINE },

    { BLK_ZO_OFFLINE, NOT_WP, Y,   -EPERM, NOT_WP,  0, NOT_WP },
    { BLK_ZO_OFFLINE, EMPTY,  N,   -EPERM, EMPTY,   0, EMPTY },
    { BLK_ZO_OFFLINE, IOPEN,  N,   -EPERM, IOPEN,   0, IOPEN },
    { BLK_ZO_OFFLINE, IOPEN,  Y,   -EPERM, IOPEN,   0, IOPEN },
    { BLK_ZO_OFFLINE, EOPEN,  N,   -EPERM, EOPEN,   0, EOPEN },
    { BLK_ZO_OFFLINE, EOPEN,  Y,   -EPERM, EOPEN,   0, EOPEN },
    { BLK_ZO_OFFLINE, CLOSED, Y,   -EPERM, CLOSED,  0, CLOSED },
    { BLK_ZO_OFFLINE, FULL,   N,   -EPERM, FULL,    0, FULL },
    { BLK_ZO_OFFLINE, FULL,   Y,   -EPERM, FULL,    0, FULL },
    { BLK_ZO_OFFLINE, RDONLY, N,   1,      OFFLINE, 1, OFFLINE },
    { BLK_ZO_OFFLINE, RDONLY, Y,   1,      OFFLINE, 1, OFFLINE },
    { BLK_ZO_OFFLINE, OFFLINE, N,  0,      OFFLINE, 0, OFFLINE },
    { BLK_ZO_OFFLINE, OFFLINE, Y,  0,      OFFLINE, 0, OFFLINE },
};

static void check_transition(const Transition *t, bool all, uint32_t limit)
{
    g_autoptr(Device) d = device_with_limits(limit, limit);
    uint32_t i = t->from == NOT_WP ? 0 : 2;
    uint64_t written = t->written ? 3 * SECTOR : 0;
    BlockZoneState to = all ? t->all_to : t->to;
    bool changed;
    int ret;

    if (t->from == NOT_WP) {
        written = ZONE_SIZE;
    } else {
        put(d, i, t->from, written);
    }

    if (t->op == WRITE) {
        ret = zoned_zones_begin_write(&d->z, i, i * ZONE_SIZE +
                                      (t->from == NOT_WP ? 0 : written),
                                      SECTOR);
        written += ret >= 0 ? SECTOR : 0;
        changed = t->from != to;
        if (ret >= 0) {
            g_assert_cmpint(ret, ==, changed);
            ret = 0;
        }
    } else if (t->op == EXTEND) {
        g_assert_cmpint(zoned_zones_may_extend(&d->z, i), ==, t->ret);
        ret = zoned_zones_extend(&d->z, i);
        changed = ret == 0;
    } else {
        ret = zoned_zones_mgmt(&d->z, t->op, i, all);
        written = t->op == BLK_ZO_RESET && ret == 1 ? 0 : written;
        changed = ret == 1;
    }
    g_assert_cmpint(ret, ==, all ? t->all_ret : t->ret);
    check_zone(d, i, to, written);
    g_assert_cmpint(zoned_zones_ext_valid(&d->z, i), ==,
                    t->op == EXTEND && ret == 0);
    for (uint32_t other = 1; other < NR_ZONES; other++) {
        if (other != i) {
            check_zone(d, other, BLK_ZS_EMPTY, 0);
        }
    }
    /* What changed has to be written back, and nothing else. */
    g_assert_cmpuint(d->z.nr_dirty, ==, changed);
    g_assert_cmpuint(d->z.nr_lingering, ==,
                     is_active(t->from) && !is_active(to));
}

static void test_transitions(void)
{
    for (int i = 0; i < ARRAY_SIZE(transitions); i++) {
        const Transition *t = &transitions[i];

        check_transition(t, false, 0);
        check_transition(t, false, 1);
        if (t->op < WRITE) {
            check_transition(t, true, 0);
            check_transition(t, true, 1);
        }
    }
}

/* Every operation meets every condition in the table above. */
static void test_transitions_complete(void)
{
    static const int ops[] = {
        WRITE, EXTEND, BLK_ZO_OPEN, BLK_ZO_CLOSE, BLK_ZO_FINISH, BLK_ZO_RESET,
        BLK_ZO_OFFLINE,
    };

    for (int o = 0; o < ARRAY_SIZE(ops); o++) {
        for (int c = 0; c < ARRAY_SIZE(all_conds); c++) {
            bool found = false;

            for (int i = 0; i < ARRAY_SIZE(transitions); i++) {
                found |= transitions[i].op == ops[o] &&
                         transitions[i].from == all_conds[c];
            }
            g_assert_true(found);
        }
    }
}

/*
 * Where a write may go.
 */
static void check_write(BlockZoneState cond, uint64_t written, uint64_t offset,
                        uint64_t bytes, int ret)
{
    g_autoptr(Device) d = device_with_limits(2, 3);
    uint32_t i = 1;

    put(d, i, cond, written);
    if (ret == 0) {
        ret = cond == EMPTY || cond == CLOSED;
    }
    g_assert_cmpint(zoned_zones_begin_write(&d->z, i, ZONE_SIZE + offset,
                                            bytes), ==, ret);
    if (ret < 0) {
        check_zone(d, i, cond, written);
        g_assert_cmpuint(d->z.nr_dirty, ==, 0);
    } else {
        check_zone(d, i, cond == EOPEN ? EOPEN : IOPEN, written + bytes);
    }
}

static void test_write_rules(void)
{
    static const BlockZoneState writable[] = { EMPTY, IOPEN, EOPEN, CLOSED };

    for (int c = 0; c < ARRAY_SIZE(writable); c++) {
        BlockZoneState cond = writable[c];
        uint64_t wp = cond == EMPTY ? 0 : 8 * SECTOR;
        uint64_t room = CAPACITY - wp;

        check_write(cond, wp, wp, SECTOR, 0);
        check_write(cond, wp, wp, 9 * SECTOR, 0);
        check_write(cond, wp, wp, room - SECTOR, 0);
        check_write(cond, wp, wp, room, 0);

        /* Not at the write pointer */
        check_write(cond, wp, wp + SECTOR, SECTOR, -EINVAL);
        check_write(cond, wp, CAPACITY - SECTOR, SECTOR, -EINVAL);
        if (wp) {
            check_write(cond, wp, wp - SECTOR, SECTOR, -EINVAL);
            check_write(cond, wp, 0, SECTOR, -EINVAL);
            check_write(cond, wp, 0, CAPACITY, -EINVAL);
        }

        /* No multiple of the write granularity */
        check_write(cond, wp, wp, 1, -EINVAL);
        check_write(cond, wp, wp, SECTOR - 1, -EINVAL);
        check_write(cond, wp, wp, SECTOR + 256, -EINVAL);
        check_write(cond, wp, wp + 256, SECTOR, -EINVAL);
        check_write(cond, wp, wp + 1, SECTOR - 1, -EINVAL);

        /* Beyond the capacity */
        check_write(cond, wp, wp, room + SECTOR, -ERANGE);
        check_write(cond, wp, wp, ZONE_SIZE, -ERANGE);
        check_write(cond, wp, wp, ZONE_SIZE * NR_ZONES, -ERANGE);
        check_write(cond, wp, wp, -SECTOR, -ERANGE);
        check_write(cond, wp, wp, -(ZONE_SIZE + wp), -ERANGE);
        check_write(cond, wp, CAPACITY, SECTOR, -ERANGE);
        check_write(cond, wp, CAPACITY + SECTOR, SECTOR, -ERANGE);
        check_write(cond, wp, ZONE_SIZE - SECTOR, SECTOR, -ERANGE);
        check_write(cond, wp, ZONE_SIZE - SECTOR, -SECTOR, -ERANGE);
    }
}

/* A zone becomes FULL when what fills it has completed, and not before. */
static void test_fill(void)
{
    static const BlockZoneState from[] = { EMPTY, IOPEN, EOPEN, CLOSED };

    for (int c = 0; c < ARRAY_SIZE(from); c++) {
        g_autoptr(Device) d = device_with_limits(1, 1);
        BlockZoneState open = from[c] == EOPEN ? EOPEN : IOPEN;
        uint64_t wp = from[c] == EMPTY ? 0 : SECTOR;
        uint64_t start = ZONE_SIZE;

        put(d, 1, from[c], wp);
        g_assert_cmpint(begin(d, 1, CAPACITY / 2 - wp), >=, 0);
        g_assert_cmpint(begin(d, 1, CAPACITY / 2), >=, 0);
        check_zone(d, 1, open, CAPACITY);
        g_assert_cmpint(begin(d, 1, SECTOR), ==, -ERANGE);

        zoned_zones_end_write(&d->z, 1, start + CAPACITY / 2);
        check_zone(d, 1, open, CAPACITY);
        zoned_zones_end_write(&d->z, 1, start + CAPACITY);
        check_zone(d, 1, FULL, CAPACITY);
        g_assert_cmphex(d->wp[1], ==, start + ZONE_SIZE);
        g_assert_cmpuint(zoned_zones_nr_active(&d->z), ==, 0);
        g_assert_cmpuint(d->z.nr_lingering, ==, 1);
        g_assert_cmpint(begin(d, 1, SECTOR), ==, -EPERM);
    }
}

/* A zone that is closed while writes to it are in flight. */
static void test_fill_closed(void)
{
    g_autoptr(Device) d = device_with_limits(1, 2);

    g_assert_cmpint(begin(d, 1, CAPACITY), >=, 0);
    g_assert_cmpint(mgmt(d, BLK_ZO_CLOSE, 1), ==, 1);
    check_zone(d, 1, CLOSED, CAPACITY);
    zoned_zones_end_write(&d->z, 1, ZONE_SIZE + CAPACITY);
    check_zone(d, 1, FULL, CAPACITY);

    /* By the device, for want of open resources */
    commit(d);
    g_assert_cmpint(begin(d, 2, CAPACITY), >=, 0);
    g_assert_cmpint(begin(d, 3, SECTOR), >=, 0);
    check_zone(d, 2, CLOSED, CAPACITY);
    zoned_zones_end_write(&d->z, 2, 2 * ZONE_SIZE + CAPACITY);
    check_zone(d, 2, FULL, CAPACITY);
    check_zone(d, 3, IOPEN, SECTOR);
}

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
    check_derived(d);
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
    check_derived(d);
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
    g_assert_cmpuint(d->z.nr_dirty, ==, 0);
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
    check_derived(d);
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
        g_assert_cmpuint(d->z.nr_dirty, ==, 1);

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
 * Descriptor extensions.
 */
static void extend(Device *d, uint32_t i)
{
    g_assert_cmpint(zoned_zones_may_extend(&d->z, i), ==, 0);
    g_assert_cmpint(zoned_zones_extend(&d->z, i), ==, 0);
}

static void check_extended(Device *d, uint32_t i, BlockZoneState cond,
                           uint64_t written)
{
    BlockZoneDescriptor desc;

    check_zone(d, i, cond, written);
    g_assert_true(zoned_zones_ext_valid(&d->z, i));
    zoned_zones_describe(&d->z, i, &desc);
    g_assert_true(desc.ext_valid);
}

static void check_not_extended(Device *d, uint32_t i, BlockZoneState cond,
                               uint64_t written)
{
    BlockZoneDescriptor desc;

    check_zone(d, i, cond, written);
    g_assert_false(zoned_zones_ext_valid(&d->z, i));
    zoned_zones_describe(&d->z, i, &desc);
    g_assert_false(desc.ext_valid);
}

/* An extension stays, whatever becomes of the zone, until it is reset. */
static void test_extension_stays(void)
{
    g_autoptr(Device) d = device_with_limits(2, 2);

    extend(d, 1);
    check_extended(d, 1, CLOSED, 0);
    g_assert_cmpint(mgmt(d, BLK_ZO_CLOSE, 1), ==, 0);
    check_extended(d, 1, CLOSED, 0);
    g_assert_cmpint(mgmt(d, BLK_ZO_OPEN, 1), ==, 1);
    check_extended(d, 1, EOPEN, 0);
    g_assert_cmpint(mgmt(d, BLK_ZO_CLOSE, 1), ==, 1);
    check_extended(d, 1, CLOSED, 0);
    g_assert_cmpuint(d->z.nr_lingering, ==, 0);

    write_zone(d, 1, SECTOR);
    check_extended(d, 1, IOPEN, SECTOR);
    g_assert_cmpint(mgmt(d, BLK_ZO_CLOSE, 1), ==, 1);
    check_extended(d, 1, CLOSED, SECTOR);
    write_zone(d, 1, CAPACITY - SECTOR);
    check_extended(d, 1, FULL, CAPACITY);
    g_assert_cmpint(zoned_zones_extend(&d->z, 1), ==, -EPERM);

    g_assert_cmpint(mgmt(d, BLK_ZO_RESET, 1), ==, 1);
    check_not_extended(d, 1, EMPTY, 0);
    extend(d, 1);
    g_assert_cmpint(mgmt(d, BLK_ZO_FINISH, 1), ==, 1);
    check_extended(d, 1, FULL, 0);
    commit(d);
    extend(d, 2);
    g_assert_cmpint(mgmt(d, BLK_ZO_RESET, 2), ==, 1);
    check_not_extended(d, 2, EMPTY, 0);
    g_assert_cmpuint(d->z.nr_lingering, ==, 1);
    check_extended(d, 1, FULL, 0);

    put_extended(d, 3, RDONLY, SECTOR);
    g_assert_cmpint(mgmt(d, BLK_ZO_OFFLINE, 3), ==, 1);
    check_extended(d, 3, OFFLINE, SECTOR);
}

/* A zone with an extension is CLOSED where others would be EMPTY. */
static void test_extension_unwritten(void)
{
    g_autoptr(Device) d = device_with_limits(1, 3);

    /* By a write that fails, after the zone was closed */
    extend(d, 1);
    begin_ok(d, 1, SECTOR, true);
    g_assert_cmpint(mgmt(d, BLK_ZO_CLOSE, 1), ==, 1);
    rollback(d, 1, 0, true);
    check_extended(d, 1, CLOSED, 0);

    /* By a write that fails */
    begin_ok(d, 1, SECTOR, true);
    rollback(d, 1, 0, true);
    check_extended(d, 1, CLOSED, 0);

    /* For want of open resources */
    g_assert_cmpint(mgmt(d, BLK_ZO_OPEN, 1), ==, 1);
    g_assert_cmpint(mgmt(d, BLK_ZO_CLOSE, 1), ==, 1);
    check_extended(d, 1, CLOSED, 0);
    g_assert_cmpuint(d->z.nr_lingering, ==, 0);
}

/* It needs an active resource, and no open one. */
static void test_extension_limits(void)
{
    g_autoptr(Device) d = device_with_limits(1, 3);

    g_assert_cmpint(mgmt(d, BLK_ZO_OPEN, 1), ==, 1);
    extend(d, 2);
    check_zone(d, 1, EOPEN, 0);
    extend(d, 3);
    g_assert_cmpint(zoned_zones_may_extend(&d->z, 4), ==, -EOVERFLOW);
    g_assert_cmpint(zoned_zones_extend(&d->z, 4), ==, -EOVERFLOW);
    check_not_extended(d, 4, EMPTY, 0);

    /* That of a zone which stops to be active is not free before a commit. */
    g_assert_cmpint(mgmt(d, BLK_ZO_RESET, 3), ==, 1);
    g_assert_cmpint(zoned_zones_may_extend(&d->z, 4), ==, -EAGAIN);
    g_assert_cmpint(zoned_zones_extend(&d->z, 4), ==, -EAGAIN);
    check_not_extended(d, 4, EMPTY, 0);
    commit(d);
    extend(d, 4);
    g_assert_cmpint(begin(d, 5, SECTOR), ==, -EOVERFLOW);
    check_extended(d, 4, CLOSED, 0);
}

/*
 * Geometry.
 */
static void test_conventional(void)
{
    ZonedGeometry geo = geometry(5 * ZONE_SIZE - 4096, ZONE_SIZE, CAPACITY, 5,
                                 1, 1);
    g_autoptr(Device) d = device_new(&geo);

    /* The capacity of a zone concerns sequential ones only. */
    check_zone(d, 0, NOT_WP, ZONE_SIZE);
    check_zone(d, 4, NOT_WP, ZONE_SIZE - 4096);
    for (uint32_t i = 0; i < 5; i++) {
        BlockZoneDescriptor desc;

        zoned_zones_describe(&d->z, i, &desc);
        g_assert_cmphex(desc.start, ==, i * ZONE_SIZE);
        g_assert_cmphex(desc.length, ==, i == 4 ? ZONE_SIZE - 4096 : ZONE_SIZE);
        g_assert_cmphex(desc.cap, ==, desc.length);
        g_assert_cmphex(desc.wp, ==, desc.start + desc.length);
        g_assert_cmpint(desc.type, ==, BLK_ZT_CONV);
        g_assert_cmpint(desc.state, ==, BLK_ZS_NOT_WP);
        g_assert_cmphex(d->wp[i], ==, desc.wp | CONV_BIT);
    }
    for (int op = BLK_ZO_OPEN; op <= BLK_ZO_OFFLINE; op++) {
        g_assert_cmpint(mgmt_all(d, op), ==, 0);
        g_assert_cmpint(mgmt(d, op, 4), ==, -EPERM);
    }
    g_assert_cmpuint(d->z.nr_dirty, ==, 0);
}

static void check_last_zone(uint64_t zone_size, uint64_t capacity,
                            uint64_t last_length, uint32_t nr_zones)
{
    ZonedGeometry geo = geometry((nr_zones - 1) * zone_size + last_length,
                                 zone_size, capacity, 0, 2, 2);
    g_autoptr(Device) d = device_new(&geo);
    uint32_t last = nr_zones - 1;
    uint64_t start = last * zone_size;
    uint64_t last_capacity = MIN(capacity, last_length);
    BlockZoneDescriptor desc;

    g_assert_cmpuint(geo.nr_zones, ==, nr_zones);
    g_assert_cmpint(begin(d, last, last_capacity + SECTOR), ==, -ERANGE);
    g_assert_cmpint(begin(d, last, last_capacity - SECTOR), >=, 0);
    zoned_zones_describe(&d->z, last, &desc);
    g_assert_cmphex(desc.start, ==, start);
    g_assert_cmphex(desc.length, ==, last_length);
    g_assert_cmphex(desc.cap, ==, last_capacity);
    g_assert_cmphex(desc.wp, ==, start + last_capacity - SECTOR);
    g_assert_cmpint(desc.type, ==, BLK_ZT_SWR);
    g_assert_cmpint(desc.state, ==, BLK_ZS_IOPEN);
    g_assert_cmpint(begin(d, last, 2 * SECTOR), ==, -ERANGE);
    write_zone(d, last, SECTOR);
    check_zone(d, last, FULL, last_capacity);
    zoned_zones_describe(&d->z, last, &desc);
    g_assert_cmphex(desc.wp, ==, geo.size);
    g_assert_cmphex(d->wp[last], ==, geo.size);
    g_assert_cmpint(mgmt(d, BLK_ZO_RESET, last), ==, 1);
    check_zone(d, last, EMPTY, 0);

    if (last) {
        commit(d);
        g_assert_cmpint(begin(d, last - 1, capacity + SECTOR), ==, -ERANGE);
        write_zone(d, last - 1, capacity);
        check_zone(d, last - 1, FULL, capacity);
        g_assert_cmphex(d->wp[last - 1], ==, start);
    }
}

static void test_geometries(void)
{
    /* A last zone of full size, of more and of less than the capacity */
    check_last_zone(ZONE_SIZE, CAPACITY, ZONE_SIZE, 5);
    check_last_zone(ZONE_SIZE, CAPACITY, CAPACITY + 4096, 5);
    check_last_zone(ZONE_SIZE, CAPACITY, CAPACITY, 5);
    check_last_zone(ZONE_SIZE, CAPACITY, CAPACITY - 4096, 5);
    check_last_zone(ZONE_SIZE, ZONE_SIZE, 4096, 5);
    /* Just one zone */
    check_last_zone(ZONE_SIZE, CAPACITY, ZONE_SIZE, 1);
    check_last_zone(4096, 4096, 4096, 1);
    /* No power of two */
    check_last_zone(12288, 12288, 12288, 7);
    check_last_zone(12288, 8192, 4096, 7);
    check_last_zone(96 * MiB + 4096, 77 * MiB, 4096, 1000);
    /* 4 GiB and more, up to what the format can say */
    check_last_zone(4 * GiB, 4 * GiB, 4 * GiB, 3);
    check_last_zone(4 * GiB + 4096, 4 * GiB + 4096, 4096, 3);
    check_last_zone(3 * TiB - 4096, 2 * TiB, 2 * TiB + 4096, 100);
    check_last_zone(1ULL << 58, 1ULL << 58, (1ULL << 58) - 4096, 2);
    check_last_zone(ZONED_MAX_SIZE, ZONED_MAX_SIZE, ZONED_MAX_SIZE, 1);
    check_last_zone(ZONED_MAX_SIZE, 4096, ZONED_MAX_SIZE, 1);
}

/*
 * Operations on the whole device.
 */
static void test_all_open(void)
{
    g_autoptr(Device) d = device_with_limits(3, 0);

    put(d, 1, IOPEN, SECTOR);
    put(d, 2, CLOSED, SECTOR);
    put(d, 3, FULL, SECTOR);
    put(d, 5, CLOSED, 2 * SECTOR);
    g_assert_cmpint(mgmt_all(d, BLK_ZO_OPEN), ==, 0);
    check_zone(d, 1, IOPEN, SECTOR);
    check_zone(d, 2, EOPEN, SECTOR);
    check_zone(d, 3, FULL, SECTOR);
    check_zone(d, 4, EMPTY, 0);
    check_zone(d, 5, EOPEN, 2 * SECTOR);

    /* It stops where resources end. */
    put(d, 3, CLOSED, SECTOR);
    put(d, 4, CLOSED, SECTOR);
    g_assert_cmpint(mgmt_all(d, BLK_ZO_OPEN), ==, -ETOOMANYREFS);
    check_zone(d, 1, CLOSED, SECTOR);
    check_zone(d, 3, EOPEN, SECTOR);
    check_zone(d, 4, CLOSED, SECTOR);
}

static void test_all_others(void)
{
    static const struct {
        BlockZoneOp op;
        BlockZoneState to[8];   /* of the zones below, in order */
    } tests[] = {
        { BLK_ZO_CLOSE, { EMPTY, CLOSED, CLOSED, CLOSED, FULL, RDONLY, OFFLINE,
                          EMPTY } },
        { BLK_ZO_FINISH, { EMPTY, FULL, FULL, FULL, FULL, RDONLY, OFFLINE,
                           FULL } },
        { BLK_ZO_RESET, { EMPTY, EMPTY, EMPTY, EMPTY, EMPTY, RDONLY, OFFLINE,
                          EMPTY } },
        { BLK_ZO_OFFLINE, { EMPTY, IOPEN, EOPEN, CLOSED, FULL, OFFLINE, OFFLINE,
                            EOPEN } },
    };
    static const BlockZoneState from[8] = {
        EMPTY, IOPEN, EOPEN, CLOSED, FULL, RDONLY, OFFLINE, EOPEN
    };
    ZonedGeometry geo = geometry(10 * ZONE_SIZE, ZONE_SIZE, CAPACITY, 2, 3, 4);

    for (int t = 0; t < ARRAY_SIZE(tests); t++) {
        g_autoptr(Device) d = device_new(&geo);

        for (int i = 0; i < 8; i++) {
            put(d, 2 + i, from[i], i == 0 || i == 7 ? 0 : i * SECTOR);
        }
        for (int again = 0; again < 2; again++) {
            g_assert_cmpint(mgmt_all(d, tests[t].op), ==, 0);
            for (int i = 0; i < 8; i++) {
                check_zone(d, 2 + i, tests[t].to[i],
                           tests[t].to[i] == EMPTY || i == 7 ? 0 : i * SECTOR);
            }
        }
    }
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

        zoned_zones_load(&d->z, 2, cond, 2 * ZONE_SIZE + written, ext_valid,
                         keep_open);
        check_zone(d, 2, expected, written);
        g_assert_cmpint(zoned_zones_ext_valid(&d->z, 2), ==, ext_valid);
        g_assert_cmpuint(zoned_zones_nr_active(&d->z), ==, is_active(expected));
        g_assert_cmpuint(d->z.nr_dirty, ==, 0);
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

/* A run of zones is loaded like each of them, for the first time or again. */
static void check_load_run(BlockZoneState cond, uint64_t written,
                           bool ext_valid, bool keep_open, bool again)
{
    ZonedGeometry geo = geometry(NR_ZONES * ZONE_SIZE, ZONE_SIZE, CAPACITY, 1,
                                 2, 4);
    g_autoptr(Device) one = device_new(&geo);
    g_autoptr(Device) run = device_new(&geo);
    uint64_t end = 2 * ZONE_SIZE + written;

    if (!again) {
        zoned_zones_destroy(&one->z);
        zoned_zones_destroy(&run->z);
        g_assert_true(zoned_zones_init(&one->z, &geo, one->wp));
        g_assert_true(zoned_zones_init(&run->z, &geo, run->wp));
        for (uint32_t i = 0; i < 2; i++) {
            zoned_zones_load_new(&one->z, i);
            zoned_zones_load_new(&run->z, i);
        }
    }
    for (uint32_t j = 0; j < 3; j++) {
        zoned_zones_load(&one->z, 2 + j, cond, end + j * ZONE_SIZE, ext_valid,
                         keep_open);
    }
    zoned_zones_load_run(&run->z, 2, 3, cond, end, ext_valid, keep_open);
    g_assert_cmpuint(run->z.nr_loaded, ==, one->z.nr_loaded);
    zoned_zones_load_new(&one->z, 5);
    zoned_zones_load_new(&run->z, 5);

    g_assert_cmpmem(run->z.zone, NR_ZONES * sizeof(uint64_t), one->z.zone,
                    NR_ZONES * sizeof(uint64_t));
    g_assert_cmpmem(run->wp, NR_ZONES * sizeof(uint64_t), one->wp,
                    NR_ZONES * sizeof(uint64_t));
    g_assert_cmpmem(run->z.nr, sizeof(run->z.nr), one->z.nr,
                    sizeof(one->z.nr));
    g_assert_cmpuint(run->z.nr_loaded, ==, NR_ZONES);
    g_assert_cmpuint(run->z.nr_dirty, ==, one->z.nr_dirty);
    g_assert_cmpuint(run->z.lru_first, ==, one->z.lru_first);
    g_assert_cmpuint(run->z.lru_last, ==, one->z.lru_last);
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

    zoned_zones_load(&d->z, 1, EOPEN, ZONE_SIZE, false, true);
    zoned_zones_load(&d->z, 2, IOPEN, 2 * ZONE_SIZE + SECTOR, false, true);
    zoned_zones_load(&d->z, 3, IOPEN, 3 * ZONE_SIZE + SECTOR, false, true);
    zoned_zones_load(&d->z, 4, EOPEN, 4 * ZONE_SIZE, false, true);
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
        g_assert_cmpuint(d->z.nr_dirty, ==, 0);
        zoned_zones_load(&d->z, 1, EOPEN, ZONE_SIZE, false, true);
        zoned_zones_load(&d->z, 2, EMPTY, 2 * ZONE_SIZE, false, true);
        zoned_zones_load(&d->z, 3, FULL, 3 * ZONE_SIZE, false, true);
        zoned_zones_load(&d->z, 4, EMPTY, 4 * ZONE_SIZE, false, true);
        zoned_zones_load(&d->z, 5, IOPEN, 5 * ZONE_SIZE + SECTOR, false, true);
        check_zone(d, 1, EOPEN, 0);
        check_zone(d, 4, EMPTY, 0);
        check_zone(d, 5, IOPEN, SECTOR);
        g_assert_cmpuint(d->z.nr_dirty, ==, 0);
    }
}

/*
 * What has to be written back.
 */
static void test_dirty(void)
{
    const uint32_t n = ZONED_ZONES_PER_DIRTY_BIT;
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
    check_derived(d);
    g_assert_cmpuint(d->z.nr_dirty, ==, 0);

    /* One bit for many zones */
    zoned_zones_end_write(&d->z, n, n * 4096ULL + 2 * SECTOR);
    g_assert_cmpuint(d->z.nr_dirty, ==, 1);
    g_assert_true(test_bit(1, d->z.dirty));
    write_zone(d, 2 * n - 1, SECTOR);
    g_assert_cmpuint(d->z.nr_dirty, ==, 1);
    check_derived(d);

    g_assert_cmpint(mgmt(d, BLK_ZO_RESET, 2 * n), ==, 1);
    g_assert_cmpuint(d->z.nr_dirty, ==, 2);
    g_assert_true(test_bit(2, d->z.dirty));
    zoned_zones_mark_dirty(&d->z, 2 * n);
    g_assert_cmpuint(d->z.nr_dirty, ==, 2);
    zoned_zones_mark_dirty(&d->z, 0);
    g_assert_cmpuint(d->z.nr_dirty, ==, 3);
    g_assert_true(test_bit(0, d->z.dirty));
    check_derived(d);
}

/* What a commit takes is dirty no more, unless it gives it back. */
static void test_dirty_take(void)
{
    const uint32_t n = ZONED_ZONES_PER_DIRTY_BIT;
    ZonedGeometry geo = geometry(3 * n * 4096, 4096, 4096, 1, 0, 0);
    g_autoptr(Device) d = device_new(&geo);
    unsigned long blocks[BITS_TO_LONGS(3)];

    g_assert_false(zoned_zones_is_dirty(&d->z));
    zoned_zones_mark_all_dirty(&d->z);
    g_assert_cmpuint(d->z.nr_dirty, ==, 3);

    /* Those of a range; what is taken is dirty no more. */
    g_assert_cmpuint(zoned_zones_take_dirty(&d->z, blocks, n, 2 * n - 1), ==,
                     1);
    g_assert_cmpuint(blocks[0], ==, 2);
    g_assert_cmpuint(d->z.dirty[0], ==, 5);
    g_assert_cmpuint(d->z.nr_dirty, ==, 2);
    zoned_zones_untake_dirty(&d->z, blocks);
    g_assert_cmpuint(d->z.nr_dirty, ==, 3);

    /* All of them, and once more when one is dirty again */
    g_assert_cmpuint(zoned_zones_take_dirty(&d->z, blocks, 0, 3 * n - 1), ==,
                     3);
    g_assert_false(zoned_zones_is_dirty(&d->z));
    zoned_zones_mark_dirty(&d->z, 2 * n);
    g_assert_cmpuint(zoned_zones_take_dirty(&d->z, blocks, 0, 2 * n - 1), ==,
                     0);
    g_assert_cmpuint(zoned_zones_take_dirty(&d->z, blocks, 0, 2 * n), ==, 1);
    g_assert_cmpuint(blocks[0], ==, 4);
}

/* A zone that is closed for another one has to be written back as well. */
static void test_dirty_implicit_close(void)
{
    const uint32_t n = ZONED_ZONES_PER_DIRTY_BIT;
    ZonedGeometry geo = geometry(2 * n * 4096, 4096, 4096, 0, 1, 0);
    g_autoptr(Device) d = device_new(&geo);

    write_zone(d, 0, SECTOR);
    commit(d);
    g_assert_cmpint(mgmt(d, BLK_ZO_OPEN, n), ==, 1);
    g_assert_cmpuint(d->z.nr_dirty, ==, 2);
    check_zone(d, 0, CLOSED, SECTOR);
}

/*
 * Random operations.
 */

/* Most writes in flight to one zone. */
#define MAX_IN_FLIGHT 6

/* Zones up to which everything is compared after each step. */
#define SMALL_DEVICE 64

/* One zone of the model.  Numbers of bytes count from its start. */
typedef struct ModelZone {
    bool conventional;
    uint64_t start;
    uint64_t length;
    uint64_t capacity;
    BlockZoneState cond;
    uint64_t written;           /* including writes in flight */
    bool extended;              /* has a valid descriptor extension */
    uint64_t last_write;        /* when, by the model's clock */

    /* The oldest first: begin, end, and whether it has opened the zone */
    uint64_t in_flight[MAX_IN_FLIGHT][3];
    int nr_in_flight;

    /* How often it stopped to be active since the last commit began */
    uint32_t stopped;
    /* The same, before the commit that is running began */
    uint32_t stopped_before;

    /* May the zone be active in the image, after a crash at this moment? */
    bool active_in_image;
    bool active_in_commit;
} ModelZone;

typedef struct Model {
    const char *name;
    ZonedRandom random;
    uint64_t step;
    char doing[200];

    uint32_t nr_zones;
    uint32_t max_open;
    uint32_t max_active;
    ModelZone *zone;
    bool *dirty;
    bool committing;
    uint64_t clock;

    Device *device;
} Model;

static void G_NORETURN G_GNUC_PRINTF(2, 3)
model_fail(Model *m, const char *fmt, ...)
{
    va_list ap;

    fprintf(stderr, "\nRandom test '%s', step %" PRIu64 ": %s\n", m->name,
            m->step, m->doing);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fprintf(stderr, "\nRepeat with: ZONED_TEST_SEED=%u ZONED_TEST_STEPS=%"
            PRIu64 " %s -p /zoned/zones/random/%s\n", m->random.seed,
            m->step + 1, g_get_prgname(), m->name);
    abort();
}

#define MUST_BE(m, what, i, got, want)                                    \
    do {                                                                  \
        uint64_t got_ = (got), want_ = (want);                            \
        if (got_ != want_) {                                              \
            model_fail(m, "zone %u: %s is 0x%" PRIx64 ", should be 0x%"   \
                       PRIx64, (uint32_t)(i), what, got_, want_);         \
        }                                                                 \
    } while (0)

static uint64_t pick(Model *m, uint64_t n)
{
    return random_below(&m->random, n);
}

static bool chance(Model *m, int percent)
{
    return pick(m, 100) < percent;
}

static void model_init(Model *m, const ZonedGeometry *geo)
{
    uint64_t start = 0;

    m->nr_zones = geo->nr_zones;
    m->max_open = geo->max_open;
    m->max_active = geo->max_active;
    m->zone = g_new0(ModelZone, m->nr_zones);
    m->dirty = g_new0(bool, m->nr_zones / ZONED_ZONES_PER_DIRTY_BIT + 1);
    m->committing = false;
    for (uint32_t i = 0; i < m->nr_zones; i++) {
        ModelZone *zone = &m->zone[i];

        zone->start = start;
        zone->length = geo->zone_size;
        if (zone->length > geo->size - start) {
            zone->length = geo->size - start;
        }
        start += zone->length;
        zone->capacity = geo->zone_capacity;
        if (zone->capacity > zone->length) {
            zone->capacity = zone->length;
        }
        zone->cond = EMPTY;
        if (i < geo->nr_conv) {
            zone->conventional = true;
            zone->capacity = zone->length;
            zone->cond = NOT_WP;
            zone->written = zone->length;
        }
    }
    g_assert_cmphex(start, ==, geo->size);
    m->device = device_new(geo);
}

static void model_destroy(Model *m)
{
    device_free(m->device);
    g_free(m->zone);
    g_free(m->dirty);
}

static uint32_t model_nr(Model *m, BlockZoneState cond)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < m->nr_zones; i++) {
        n += m->zone[i].cond == cond;
    }
    return n;
}

static uint32_t model_nr_open(Model *m)
{
    return model_nr(m, IOPEN) + model_nr(m, EOPEN);
}

static uint32_t model_nr_active(Model *m)
{
    return model_nr_open(m) + model_nr(m, CLOSED);
}

static uint32_t model_nr_lingering(Model *m)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < m->nr_zones; i++) {
        n += m->zone[i].stopped + m->zone[i].stopped_before;
    }
    return n;
}

static void model_change(Model *m, uint32_t i, BlockZoneState cond)
{
    ModelZone *zone = &m->zone[i];

    if (is_active(zone->cond) && !is_active(cond)) {
        zone->stopped++;
    }
    zone->cond = cond;
    m->dirty[i / ZONED_ZONES_PER_DIRTY_BIT] = true;
}

static void model_close(Model *m, uint32_t i)
{
    bool blank = !m->zone[i].written && !m->zone[i].extended;

    model_change(m, i, blank ? EMPTY : CLOSED);
}

static int model_check_active(Model *m, uint32_t i)
{
    if (m->max_active && m->zone[i].cond == EMPTY) {
        if (model_nr_active(m) >= m->max_active) {
            return -EOVERFLOW;
        }
        if (model_nr_active(m) + model_nr_lingering(m) >= m->max_active) {
            return -EAGAIN;
        }
    }
    return 0;
}

static int model_take_resources(Model *m, uint32_t i)
{
    ModelZone *oldest = NULL;
    int ret = model_check_active(m, i);

    if (ret < 0) {
        return ret;
    }
    if (m->max_open && model_nr_open(m) >= m->max_open) {
        for (uint32_t j = 0; j < m->nr_zones; j++) {
            ModelZone *zone = &m->zone[j];

            if (zone->cond == IOPEN &&
                (!oldest || zone->last_write < oldest->last_write)) {
                oldest = zone;
            }
        }
        if (!oldest) {
            return -ETOOMANYREFS;
        }
        model_close(m, oldest - m->zone);
    }
    return 0;
}

static int model_begin_write(Model *m, uint32_t i, uint64_t offset,
                             uint64_t bytes)
{
    ModelZone *zone = &m->zone[i];
    int ret;

    if (offset % 512 || bytes % 512) {
        return -EINVAL;
    }
    if (zone->cond == NOT_WP || zone->cond == FULL || zone->cond == RDONLY ||
        zone->cond == OFFLINE) {
        return -EPERM;
    }
    if (offset > zone->capacity || bytes > zone->capacity - offset) {
        return -ERANGE;
    }
    if (offset != zone->written) {
        return -EINVAL;
    }
    if (zone->cond == EMPTY || zone->cond == CLOSED) {
        ret = model_take_resources(m, i);
        if (ret < 0) {
            return ret;
        }
        model_change(m, i, IOPEN);
        ret = 1;
    } else {
        ret = 0;
    }
    zone->written += bytes;
    zone->last_write = m->clock++;
    return ret;
}

static int model_extend(Model *m, uint32_t i)
{
    ModelZone *zone = &m->zone[i];
    int ret;

    if (zone->cond != EMPTY) {
        return -EPERM;
    }
    ret = model_check_active(m, i);
    if (ret < 0) {
        return ret;
    }
    model_change(m, i, CLOSED);
    zone->extended = true;
    return 0;
}

static int model_mgmt(Model *m, BlockZoneOp op, uint32_t i, bool all)
{
    ModelZone *zone = &m->zone[i];
    int ret;

    if (op == BLK_ZO_OFFLINE) {
        if (zone->cond == RDONLY) {
            model_change(m, i, OFFLINE);
            return 1;
        }
        return all || zone->cond == OFFLINE ? 0 : -EPERM;
    }
    if (zone->cond == NOT_WP || zone->cond == RDONLY || zone->cond == OFFLINE) {
        return all ? 0 : -EPERM;
    }

    if (op == BLK_ZO_OPEN) {
        if (all && zone->cond != CLOSED) {
            return 0;
        }
        if (zone->cond == EOPEN) {
            return 0;
        }
        if (zone->cond == FULL) {
            return -EPERM;
        }
        if (zone->cond != IOPEN) {
            ret = model_take_resources(m, i);
            if (ret < 0) {
                return ret;
            }
        }
        model_change(m, i, EOPEN);
        return 1;
    }

    if (op == BLK_ZO_CLOSE) {
        if (zone->cond == CLOSED) {
            return 0;
        }
        if (zone->cond != IOPEN && zone->cond != EOPEN) {
            return all ? 0 : -EPERM;
        }
        model_close(m, i);
        return 1;
    }

    if (op == BLK_ZO_FINISH) {
        if (zone->cond == FULL || (all && zone->cond == EMPTY)) {
            return 0;
        }
        model_change(m, i, FULL);
        return 1;
    }

    g_assert_cmpint(op, ==, BLK_ZO_RESET);
    if (zone->cond == EMPTY) {
        return 0;
    }
    model_change(m, i, EMPTY);
    zone->written = 0;
    zone->extended = false;
    return 1;
}

/* Compares zone @i of the device with the model. */
static void compare_zone(Model *m, uint32_t i)
{
    ModelZone *zone = &m->zone[i];
    const ZonedZones *z = &m->device->z;
    uint64_t wp = zone->start + zone->written;
    BlockZoneDescriptor desc;

    if (zone->cond == FULL || zone->conventional) {
        wp = zone->start + zone->length;
    }
    MUST_BE(m, "condition", i, zoned_zones_cond(z, i), zone->cond);
    MUST_BE(m, "end", i, zoned_zones_end(z, i), zone->start + zone->written);
    MUST_BE(m, "wp[]", i, m->device->wp[i],
            zone->conventional ? wp | CONV_BIT : wp);

    zoned_zones_describe(z, i, &desc);
    MUST_BE(m, "start", i, desc.start, zone->start);
    MUST_BE(m, "length", i, desc.length, zone->length);
    MUST_BE(m, "capacity", i, desc.cap, zone->capacity);
    MUST_BE(m, "write pointer", i, desc.wp, wp);
    MUST_BE(m, "type", i, desc.type,
            zone->conventional ? BLK_ZT_CONV : BLK_ZT_SWR);
    MUST_BE(m, "described condition", i, desc.state, zone->cond);
    MUST_BE(m, "extension", i, zoned_zones_ext_valid(z, i), zone->extended);
    MUST_BE(m, "described extension", i, desc.ext_valid, zone->extended);
}

static void compare_counts(Model *m)
{
    const ZonedZones *z = &m->device->z;
    uint32_t nr_dirty = 0, nr_image = 0;

    for (int c = 0; c < ARRAY_SIZE(all_conds); c++) {
        MUST_BE(m, "number of zones with a condition", all_conds[c],
                z->nr[all_conds[c]], model_nr(m, all_conds[c]));
    }
    MUST_BE(m, "nr_open", 0, zoned_zones_nr_open(z), model_nr_open(m));
    MUST_BE(m, "nr_active", 0, zoned_zones_nr_active(z), model_nr_active(m));
    MUST_BE(m, "nr_lingering", 0, z->nr_lingering, model_nr_lingering(m));
    for (uint32_t i = 0; i < m->nr_zones; i += ZONED_ZONES_PER_DIRTY_BIT) {
        bool dirty = m->dirty[i / ZONED_ZONES_PER_DIRTY_BIT];

        MUST_BE(m, "dirty bit", i,
                test_bit(i / ZONED_ZONES_PER_DIRTY_BIT, z->dirty), dirty);
        nr_dirty += dirty;
    }
    MUST_BE(m, "nr_dirty", 0, z->nr_dirty, nr_dirty);

    /* Limits hold, also for whatever a crash leaves of the image. */
    if (m->max_open && zoned_zones_nr_open(z) > m->max_open) {
        model_fail(m, "too many open zones");
    }
    for (uint32_t i = 0; i < m->nr_zones; i++) {
        nr_image += m->zone[i].active_in_image ||
                    m->zone[i].active_in_commit || is_active(m->zone[i].cond);
    }
    if (m->max_active && nr_image > m->max_active) {
        model_fail(m, "%u zones may be active in the image", nr_image);
    }
}

static void compare(Model *m)
{
    for (uint32_t i = 0; i < m->nr_zones; i++) {
        compare_zone(m, i);
    }
    check_derived(m->device);
    compare_counts(m);
}

G_GNUC_PRINTF(2, 3)
static void doing(Model *m, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(m->doing, sizeof(m->doing), fmt, ap);
    va_end(ap);
}

/* What has changed is taken for a commit: it is no longer dirty. */
static void step_commit_begin(Model *m)
{
    doing(m, "commit begins");
    for (uint32_t i = 0; i < m->nr_zones; i++) {
        ModelZone *zone = &m->zone[i];

        zone->active_in_commit = is_active(zone->cond);
        zone->stopped_before = zone->stopped;
        zone->stopped = 0;
    }
    clear_dirty(m->device);
    memset(m->dirty, 0, m->nr_zones / ZONED_ZONES_PER_DIRTY_BIT + 1);
    m->committing = true;
}

/* It is in the image: what was unsettled when it began is settled. */
static void step_commit_end(Model *m)
{
    doing(m, "commit ends");
    for (uint32_t i = 0; i < m->nr_zones; i++) {
        ModelZone *zone = &m->zone[i];

        zone->active_in_image = zone->active_in_commit;
        zone->active_in_commit = false;
        zoned_zones_free_lingering(&m->device->z, zone->stopped_before);
        zone->stopped_before = 0;
    }
    m->committing = false;
}

/* The commit fails: any part of it may be in the image. */
static void step_commit_fail(Model *m)
{
    doing(m, "commit fails");
    for (uint32_t i = 0; i < m->nr_zones; i++) {
        ModelZone *zone = &m->zone[i];

        zone->active_in_image |= zone->active_in_commit;
        zone->active_in_commit = false;
        zone->stopped += zone->stopped_before;
        zone->stopped_before = 0;
        zoned_zones_mark_dirty(&m->device->z, i);
        m->dirty[i / ZONED_ZONES_PER_DIRTY_BIT] = true;
    }
    m->committing = false;
}

static void commit_all(Model *m)
{
    if (m->committing) {
        step_commit_end(m);
    }
    step_commit_begin(m);
    step_commit_end(m);
}

/* The oldest write in flight to zone @i completes. */
static void complete_write(Model *m, uint32_t i)
{
    ModelZone *zone = &m->zone[i];
    uint64_t stable = zone->in_flight[0][1];

    doing(m, "write to zone %u completes up to %" PRIu64, i, stable);
    zone->nr_in_flight--;
    memmove(zone->in_flight[0], zone->in_flight[1],
            zone->nr_in_flight * sizeof(zone->in_flight[0]));
    zoned_zones_end_write(&m->device->z, i, zone->start + stable);

    if (stable == zone->capacity) {
        model_change(m, i, FULL);
    }
    m->dirty[i / ZONED_ZONES_PER_DIRTY_BIT] = true;
}

/* Write number @n in flight to zone @i fails, and those behind it. */
static void fail_write(Model *m, uint32_t i, int n)
{
    ModelZone *zone = &m->zone[i];
    bool opened = false;

    doing(m, "write %d of %d in flight to zone %u fails", n,
          zone->nr_in_flight, i);
    for (int j = n; j < zone->nr_in_flight; j++) {
        opened |= zone->in_flight[j][2];
    }
    zone->written = zone->in_flight[n][0];
    zone->nr_in_flight = n;
    zoned_zones_rollback(&m->device->z, i, zone->start + zone->written,
                         opened);

    if (zone->cond == CLOSED || (zone->cond == IOPEN && opened)) {
        model_close(m, i);
    } else {
        model_change(m, i, zone->cond);
    }
}

static void wait_for_writes(Model *m, uint32_t i)
{
    ModelZone *zone = &m->zone[i];

    while (zone->nr_in_flight) {
        if (chance(m, 10)) {
            fail_write(m, i, pick(m, zone->nr_in_flight));
        } else {
            complete_write(m, i);
        }
    }
}

/* A length that makes zones of any size fill up now and then. */
static uint64_t random_bytes(Model *m, ModelZone *zone)
{
    uint64_t sectors = zone->capacity / SECTOR;
    uint64_t room = (zone->capacity - zone->written) / SECTOR;
    int kind = pick(m, 100);

    if (kind < 10) {
        return room * SECTOR;
    }
    if (kind < 13) {
        return (room + 1 + pick(m, sectors)) * SECTOR;
    }
    if (kind < 15) {
        return pick(m, sectors * SECTOR);
    }
    if (kind < 16) {
        return -SECTOR * pick(m, sectors);
    }
    return SECTOR * (1 + pick(m, 1 + sectors / 6));
}

static void step_write(Model *m, uint32_t i)
{
    ModelZone *zone = &m->zone[i];
    uint64_t offset = zone->written;
    uint64_t bytes = random_bytes(m, zone);
    int kind = pick(m, 100);
    int ret, expected;

    if (kind < 4) {
        offset = pick(m, zone->length);
    } else if (kind < 8) {
        offset = QEMU_ALIGN_DOWN(pick(m, zone->length), SECTOR);
    } else if (kind < 10) {
        offset += SECTOR;
    } else if (kind < 12 && offset) {
        offset -= SECTOR;
    }
    if (!bytes) {
        return;
    }
    if (zone->nr_in_flight == MAX_IN_FLIGHT) {
        complete_write(m, i);
    }

    doing(m, "write of %" PRIu64 " bytes at %" PRIu64 " of zone %u", bytes,
          offset, i);
    ret = zoned_zones_begin_write(&m->device->z, i, zone->start + offset,
                                  bytes);
    expected = model_begin_write(m, i, offset, bytes);
    MUST_BE(m, "result", i, ret, expected);
    if (ret >= 0) {
        zone->in_flight[zone->nr_in_flight][0] = offset;
        zone->in_flight[zone->nr_in_flight][1] = offset + bytes;
        zone->in_flight[zone->nr_in_flight][2] = ret;
        zone->nr_in_flight++;
    } else if (ret == -EAGAIN) {
        commit_all(m);
    }
}

static int do_mgmt(Model *m, BlockZoneOp op, uint32_t i, bool all)
{
    int ret, expected;

    if (op == BLK_ZO_FINISH || op == BLK_ZO_RESET) {
        wait_for_writes(m, i);
    }
    doing(m, "operation %d on zone %u%s", op, i, all ? " as part of all" : "");
    ret = zoned_zones_mgmt(&m->device->z, op, i, all);
    expected = model_mgmt(m, op, i, all);
    MUST_BE(m, "result", i, ret, expected);
    return ret;
}

static void step_mgmt(Model *m, BlockZoneOp op, uint32_t i)
{
    if (do_mgmt(m, op, i, false) == -EAGAIN) {
        commit_all(m);
        if (do_mgmt(m, op, i, false) == -EAGAIN) {
            model_fail(m, "no resource after a commit");
        }
    }
}

static int do_extend(Model *m, uint32_t i)
{
    int ret, expected;

    doing(m, "extend zone %u", i);
    ret = zoned_zones_may_extend(&m->device->z, i);
    MUST_BE(m, "result in advance", i, zoned_zones_extend(&m->device->z, i),
            ret);
    expected = model_extend(m, i);
    MUST_BE(m, "result", i, ret, expected);
    return ret;
}

static void step_extend(Model *m, uint32_t i)
{
    if (do_extend(m, i) == -EAGAIN) {
        commit_all(m);
        if (do_extend(m, i) == -EAGAIN) {
            model_fail(m, "no resource after a commit");
        }
    }
}

static void step_mgmt_all(Model *m, BlockZoneOp op)
{
    for (uint32_t i = 0; i < m->nr_zones; i++) {
        if (do_mgmt(m, op, i, true) < 0) {
            break;
        }
    }
}

/* The image is closed, or lost its power, and is opened again. */
static void step_reopen(Model *m)
{
    bool keep_open = chance(m, 50);
    ZonedGeometry geo = m->device->z.geo;
    uint32_t nr_open = 0;

    m->committing = false;
    doing(m, "reopen, zones %s open", keep_open ? "stay" : "do not stay");
    if (chance(m, 50)) {
        device_free(m->device);
        m->device = device_new(&geo);
    }
    zoned_zones_begin_load(&m->device->z);
    memset(m->dirty, 0, m->nr_zones / ZONED_ZONES_PER_DIRTY_BIT + 1);

    for (uint32_t i = 0; i < m->nr_zones; i++) {
        ModelZone *zone = &m->zone[i];
        int fate = pick(m, 100);

        if (zone->nr_in_flight) {
            zone->written = zone->in_flight[0][0];
            zone->nr_in_flight = 0;
        }
        /* Zones that fail, and zones that come back */
        if (zone->cond != NOT_WP && fate < 2) {
            zone->cond = fate ? RDONLY : OFFLINE;
        } else if ((zone->cond == RDONLY || zone->cond == OFFLINE) &&
                   fate < 50) {
            zone->cond = zone->written || zone->extended ? FULL : EMPTY;
        }

        if (!zone->conventional) {
            zoned_zones_load(&m->device->z, i, zone->cond,
                             zone->start + zone->written, zone->extended,
                             keep_open);
        }

        if (zone->cond == IOPEN || zone->cond == EOPEN) {
            if (keep_open && (!m->max_open || nr_open < m->max_open)) {
                nr_open++;
                zone->last_write = m->clock++;
            } else {
                zone->cond = CLOSED;
            }
        }
        if (zone->cond == CLOSED && !zone->written && !zone->extended) {
            zone->cond = EMPTY;
        }
        zone->stopped = 0;
        zone->stopped_before = 0;
        zone->active_in_image = is_active(zone->cond);
        zone->active_in_commit = false;
    }
}

/* A device with all zones FULL would be a dull one. */
static BlockZoneOp random_op(Model *m)
{
    static const BlockZoneOp ops[] = {
        BLK_ZO_OPEN, BLK_ZO_OPEN, BLK_ZO_OPEN, BLK_ZO_CLOSE, BLK_ZO_CLOSE,
        BLK_ZO_FINISH, BLK_ZO_RESET, BLK_ZO_RESET, BLK_ZO_OFFLINE,
    };

    return ops[pick(m, ARRAY_SIZE(ops))];
}

static void random_step(Model *m)
{
    int kind = pick(m, 1000);
    uint32_t i;

    if (m->nr_zones > SMALL_DEVICE) {
        /* Stay with a few zones, so that they fill and compete. */
        i = (m->step / 4096 * 199 + pick(m, 40) * 17) % m->nr_zones;
    } else {
        i = pick(m, m->nr_zones);
    }

    if (kind < 450 && m->zone[i].cond == FULL && chance(m, 70)) {
        step_mgmt(m, BLK_ZO_RESET, i);
    } else if (kind < 450 && m->zone[i].cond == EMPTY && chance(m, 20)) {
        step_extend(m, i);
    } else if (kind < 450) {
        step_write(m, i);
    } else if (kind < 700) {
        if (m->zone[i].nr_in_flight) {
            complete_write(m, i);
        }
    } else if (kind < 730) {
        if (m->zone[i].nr_in_flight) {
            fail_write(m, i, pick(m, m->zone[i].nr_in_flight));
        }
    } else if (kind < 930) {
        step_mgmt(m, random_op(m), i);
    } else if (kind < 935) {
        step_mgmt_all(m, pick(m, BLK_ZO_OFFLINE + 1));
    } else if (kind < 945) {
        step_extend(m, i);
    } else if (kind < 990) {
        if (m->committing) {
            step_commit_end(m);
        } else {
            step_commit_begin(m);
        }
    } else if (kind < 995) {
        if (m->committing) {
            step_commit_fail(m);
        }
    } else if (kind < 997) {
        step_reopen(m);
    }
    if (m->nr_zones > SMALL_DEVICE) {
        compare_zone(m, i);
    }
}

static void random_run(Model *m, const ZonedGeometry *geo, uint64_t steps)
{
    model_init(m, geo);
    for (uint64_t n = 0; n < steps; n++, m->step++) {
        random_step(m);
        /* All zones of a large device take their time. */
        if (m->nr_zones <= SMALL_DEVICE || m->step % 256 == 0) {
            compare(m);
        }
    }
    compare(m);
    model_destroy(m);
}

typedef struct RandomTest {
    const char *name;
    uint64_t steps;
    uint64_t size;
    uint64_t zone_size;
    uint64_t capacity;
    uint32_t nr_conv;
    uint32_t max_open;
    uint32_t max_active;
} RandomTest;

static const RandomTest random_tests[] = {
    { "no-limits", 900000, 12 * 64 * KiB, 64 * KiB, 64 * KiB, 0, 0, 0 },
    { "both-limits", 1500000, 16 * 64 * KiB, 64 * KiB, 48 * KiB, 1, 3, 5 },
    { "equal-limits", 900000, 9 * 16 * KiB, 16 * KiB, 8 * KiB, 0, 4, 4 },
    { "open-limit", 900000, 10 * 32 * KiB, 32 * KiB, 32 * KiB, 0, 2, 0 },
    { "active-limit", 900000, 10 * 32 * KiB, 32 * KiB, 32 * KiB, 0, 0, 3 },
    { "one-of-each", 600000, 5 * 8 * KiB, 8 * KiB, 4 * KiB, 0, 1, 1 },
    { "runt", 600000, 6 * 12 * KiB + 4 * KiB, 12 * KiB, 8 * KiB, 2, 2, 3 },
    { "one-zone", 150000, 16 * KiB, 16 * KiB, 12 * KiB, 0, 1, 1 },
    { "conventional", 60000, 3 * 16 * KiB, 16 * KiB, 16 * KiB, 3, 1, 1 },
    { "big-zones", 600000, 7 * (5 * GiB + 4 * KiB) - 4 * KiB, 5 * GiB + 4 * KiB,
      5 * GiB, 1, 2, 4 },
    { "biggest-zones", 600000, ZONED_MAX_SIZE, 1ULL << 56,
      (1ULL << 56) - 4 * KiB, 0, 2, 4 },
    { "many-zones", 300000, 1300 * 8 * KiB, 8 * KiB, 8 * KiB, 3, 14, 28 },
};

static void test_random(const void *opaque)
{
    const RandomTest *t = opaque;
    ZonedGeometry geo = geometry(t->size, t->zone_size, t->capacity,
                                 t->nr_conv, t->max_open, t->max_active);
    Model m = { .name = t->name, .random = random_start() };

    random_run(&m, &geo, random_steps(t->steps));
}

/* The geometry is random as well, and another one every few steps. */
static void test_random_geometry(void)
{
    const uint64_t steps = random_steps(1500000);
    Model m = { .name = "any", .random = random_start() };

    for (uint64_t done = 0; done < steps; done += 1000) {
        uint64_t unit = ZONED_ALIGNMENT << (chance(&m, 20) ? 30 : 0);
        uint64_t zone_size = unit * (1 + pick(&m, 8));
        uint64_t capacity = ZONED_ALIGNMENT *
            (1 + pick(&m, zone_size / ZONED_ALIGNMENT));
        uint64_t size = zone_size + unit * pick(&m, 60);
        uint32_t nr_zones = DIV_ROUND_UP(size, zone_size);
        uint32_t max_active = pick(&m, 6);
        uint32_t max_open = pick(&m, max_active ? max_active + 1 : 6);
        uint32_t nr_conv = chance(&m, 70) ? 0 : pick(&m, nr_zones + 1);
        ZonedGeometry geo = geometry(size, zone_size, capacity, nr_conv,
                                     max_open, max_active);

        random_run(&m, &geo, MIN(1000, steps - done));
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    g_test_add_func("/zoned/zones/init", test_init);
    g_test_add_func("/zoned/zones/transitions/table", test_transitions);
    g_test_add_func("/zoned/zones/transitions/complete",
                    test_transitions_complete);
    g_test_add_func("/zoned/zones/write/rules", test_write_rules);
    g_test_add_func("/zoned/zones/write/fill", test_fill);
    g_test_add_func("/zoned/zones/write/fill-closed", test_fill_closed);
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
    g_test_add_func("/zoned/zones/extension/stays", test_extension_stays);
    g_test_add_func("/zoned/zones/extension/unwritten",
                    test_extension_unwritten);
    g_test_add_func("/zoned/zones/extension/limits", test_extension_limits);
    g_test_add_func("/zoned/zones/geometry/conventional", test_conventional);
    g_test_add_func("/zoned/zones/geometry/last-zone", test_geometries);
    g_test_add_func("/zoned/zones/all/open", test_all_open);
    g_test_add_func("/zoned/zones/all/others", test_all_others);
    g_test_add_func("/zoned/zones/load/conditions", test_load);
    g_test_add_func("/zoned/zones/load/extended", test_load_extended);
    g_test_add_func("/zoned/zones/load/run", test_load_run);
    g_test_add_func("/zoned/zones/load/keep-open", test_load_keep_open);
    g_test_add_func("/zoned/zones/load/again", test_load_again);
    g_test_add_func("/zoned/zones/dirty/bits", test_dirty);
    g_test_add_func("/zoned/zones/dirty/take", test_dirty_take);
    g_test_add_func("/zoned/zones/dirty/implicit-close",
                    test_dirty_implicit_close);
    for (int i = 0; i < ARRAY_SIZE(random_tests); i++) {
        g_autofree char *path = g_strdup_printf("/zoned/zones/random/%s",
                                                random_tests[i].name);

        g_test_add_data_func(path, &random_tests[i], test_random);
    }
    g_test_add_func("/zoned/zones/random/any", test_random_geometry);

    return g_test_run();
}

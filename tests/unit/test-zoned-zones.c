/*
 * Unit tests of the zone state machine of the zoned block format driver: what
 * operations do to zones
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "zoned-zones-device.h"

static const BlockZoneState all_conds[] = {
    BLK_ZS_NOT_WP, BLK_ZS_EMPTY, BLK_ZS_IOPEN, BLK_ZS_EOPEN, BLK_ZS_CLOSED,
    BLK_ZS_RDONLY, BLK_ZS_FULL, BLK_ZS_OFFLINE,
};

static void test_init(void)
{
    g_autoptr(Device) d = device_with_limits(2, 3);

    check_zone(d, 0, BLK_ZS_NOT_WP, ZONE_SIZE);
    for (uint32_t i = 1; i < NR_ZONES; i++) {
        check_zone(d, i, BLK_ZS_EMPTY, 0);
    }
    g_assert_cmpuint(nr_dirty(d), ==, 0);
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

    { BLK_ZO_MAKE_RDONLY, NOT_WP, Y, -EPERM, NOT_WP, 0, NOT_WP },
    { BLK_ZO_MAKE_RDONLY, EMPTY, N, 1, RDONLY, 1, RDONLY },
    { BLK_ZO_MAKE_RDONLY, IOPEN, N, 1, RDONLY, 1, RDONLY },
    { BLK_ZO_MAKE_RDONLY, IOPEN, Y, 1, RDONLY, 1, RDONLY },
    { BLK_ZO_MAKE_RDONLY, EOPEN, N, 1, RDONLY, 1, RDONLY },
    { BLK_ZO_MAKE_RDONLY, EOPEN, Y, 1, RDONLY, 1, RDONLY },
    { BLK_ZO_MAKE_RDONLY, CLOSED, Y, 1, RDONLY, 1, RDONLY },
    { BLK_ZO_MAKE_RDONLY, FULL, N, 1, RDONLY, 1, RDONLY },
    { BLK_ZO_MAKE_RDONLY, FULL, Y, 1, RDONLY, 1, RDONLY },
    { BLK_ZO_MAKE_RDONLY, RDONLY, N, 0, RDONLY, 0, RDONLY },
    { BLK_ZO_MAKE_RDONLY, RDONLY, Y, 0, RDONLY, 0, RDONLY },
    { BLK_ZO_MAKE_RDONLY, OFFLINE, N, -EPERM, OFFLINE, 0, OFFLINE },
    { BLK_ZO_MAKE_RDONLY, OFFLINE, Y, -EPERM, OFFLINE, 0, OFFLINE },

    { BLK_ZO_MAKE_OFFLINE, NOT_WP, Y, -EPERM, NOT_WP, 0, NOT_WP },
    { BLK_ZO_MAKE_OFFLINE, EMPTY, N, 1, OFFLINE, 1, OFFLINE },
    { BLK_ZO_MAKE_OFFLINE, IOPEN, N, 1, OFFLINE, 1, OFFLINE },
    { BLK_ZO_MAKE_OFFLINE, IOPEN, Y, 1, OFFLINE, 1, OFFLINE },
    { BLK_ZO_MAKE_OFFLINE, EOPEN, N, 1, OFFLINE, 1, OFFLINE },
    { BLK_ZO_MAKE_OFFLINE, EOPEN, Y, 1, OFFLINE, 1, OFFLINE },
    { BLK_ZO_MAKE_OFFLINE, CLOSED, Y, 1, OFFLINE, 1, OFFLINE },
    { BLK_ZO_MAKE_OFFLINE, FULL, N, 1, OFFLINE, 1, OFFLINE },
    { BLK_ZO_MAKE_OFFLINE, FULL, Y, 1, OFFLINE, 1, OFFLINE },
    { BLK_ZO_MAKE_OFFLINE, RDONLY, N, 1, OFFLINE, 1, OFFLINE },
    { BLK_ZO_MAKE_OFFLINE, RDONLY, Y, 1, OFFLINE, 1, OFFLINE },
    { BLK_ZO_MAKE_OFFLINE, OFFLINE, N, 0, OFFLINE, 0, OFFLINE },
    { BLK_ZO_MAKE_OFFLINE, OFFLINE, Y, 0, OFFLINE, 0, OFFLINE },

    { BLK_ZO_RESTORE, NOT_WP, Y,   -EPERM, NOT_WP, 0, NOT_WP },
    { BLK_ZO_RESTORE, EMPTY,  N,   0,      EMPTY,  0, EMPTY },
    { BLK_ZO_RESTORE, IOPEN,  N,   0,      IOPEN,  0, IOPEN },
    { BLK_ZO_RESTORE, IOPEN,  Y,   0,      IOPEN,  0, IOPEN },
    { BLK_ZO_RESTORE, EOPEN,  N,   0,      EOPEN,  0, EOPEN },
    { BLK_ZO_RESTORE, EOPEN,  Y,   0,      EOPEN,  0, EOPEN },
    { BLK_ZO_RESTORE, CLOSED, Y,   0,      CLOSED, 0, CLOSED },
    { BLK_ZO_RESTORE, FULL,   N,   0,      FULL,   0, FULL },
    { BLK_ZO_RESTORE, FULL,   Y,   0,      FULL,   0, FULL },
    { BLK_ZO_RESTORE, RDONLY, N,   1,      EMPTY,  1, EMPTY },
    { BLK_ZO_RESTORE, RDONLY, Y,   1,      CLOSED, 1, CLOSED },
    { BLK_ZO_RESTORE, OFFLINE, N,  1,      EMPTY,  1, EMPTY },
    { BLK_ZO_RESTORE, OFFLINE, Y,  1,      CLOSED, 1, CLOSED },
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
    g_assert_cmpuint(nr_dirty(d), ==, changed);
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
        BLK_ZO_OFFLINE, BLK_ZO_MAKE_RDONLY, BLK_ZO_MAKE_OFFLINE,
        BLK_ZO_RESTORE,
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
        g_assert_cmpuint(nr_dirty(d), ==, 0);
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
 * Descriptor extensions.
 */
/* Gives zone @i the condition @cond, with a valid descriptor extension. */
static void put_extended(Device *d, uint32_t i, BlockZoneState cond,
                         uint64_t written)
{
    load(d, i, cond, written, true, true);
    g_assert_cmpint(zoned_zones_cond(&d->z, i), ==, cond);
}

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
    }
    for (int op = BLK_ZO_OPEN; op <= BLK_ZO_MAKE_OFFLINE; op++) {
        g_assert_cmpint(mgmt_all(d, op), ==, 0);
        g_assert_cmpint(mgmt(d, op, 4), ==, -EPERM);
    }
    g_assert_cmpuint(nr_dirty(d), ==, 0);
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
    g_assert_cmpint(mgmt(d, BLK_ZO_RESET, last), ==, 1);
    check_zone(d, last, EMPTY, 0);

    if (last) {
        commit(d);
        g_assert_cmpint(begin(d, last - 1, capacity + SECTOR), ==, -ERANGE);
        write_zone(d, last - 1, capacity);
        check_zone(d, last - 1, FULL, capacity);
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
        { BLK_ZO_MAKE_RDONLY, { RDONLY, RDONLY, RDONLY, RDONLY, RDONLY, RDONLY,
                                OFFLINE, RDONLY } },
        { BLK_ZO_MAKE_OFFLINE, { OFFLINE, OFFLINE, OFFLINE, OFFLINE, OFFLINE,
                                 OFFLINE, OFFLINE, OFFLINE } },
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

/* A zone that is restored becomes what its data says, if it may be active. */
static void test_restore(void)
{
    ZonedGeometry geo = geometry(10 * ZONE_SIZE, ZONE_SIZE, CAPACITY, 2, 0, 2);
    g_autoptr(Device) d = device_new(&geo);

    put(d, 2, RDONLY, CAPACITY);
    put(d, 3, OFFLINE, SECTOR);
    put(d, 4, OFFLINE, 0);
    put(d, 5, RDONLY, SECTOR);
    put(d, 6, CLOSED, SECTOR);
    put(d, 7, OFFLINE, SECTOR);

    g_assert_cmpint(zoned_zones_mgmt(&d->z, BLK_ZO_RESTORE, 2, false), ==, 1);
    check_zone(d, 2, FULL, CAPACITY);
    g_assert_cmpint(zoned_zones_mgmt(&d->z, BLK_ZO_RESTORE, 3, false), ==, 1);
    check_zone(d, 3, CLOSED, SECTOR);

    /* There are two active zones. */
    g_assert_cmpint(zoned_zones_mgmt(&d->z, BLK_ZO_RESTORE, 5, false), ==,
                    -EOVERFLOW);
    check_zone(d, 5, RDONLY, SECTOR);
    g_assert_cmpint(mgmt_all(d, BLK_ZO_RESTORE), ==, -EOVERFLOW);
    check_zone(d, 4, EMPTY, 0);
    check_zone(d, 7, OFFLINE, SECTOR);

    /* One stops to be so, but may still be active in the image. */
    g_assert_cmpint(zoned_zones_mgmt(&d->z, BLK_ZO_RESET, 6, false), ==, 1);
    g_assert_cmpint(zoned_zones_mgmt(&d->z, BLK_ZO_RESTORE, 5, false), ==,
                    -EAGAIN);
    check_zone(d, 5, RDONLY, SECTOR);
    zoned_zones_free_lingering(&d->z, 1);
    g_assert_cmpint(zoned_zones_mgmt(&d->z, BLK_ZO_RESTORE, 5, false), ==, 1);
    check_zone(d, 5, CLOSED, SECTOR);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    g_test_add_func("/zoned/zones/init", test_init);
    g_test_add_func("/zoned/zones/transitions/table", test_transitions);
    g_test_add_func("/zoned/zones/transitions/complete",
                    test_transitions_complete);
    g_test_add_func("/zoned/zones/restore", test_restore);
    g_test_add_func("/zoned/zones/write/rules", test_write_rules);
    g_test_add_func("/zoned/zones/write/fill", test_fill);
    g_test_add_func("/zoned/zones/write/fill-closed", test_fill_closed);
    g_test_add_func("/zoned/zones/extension/stays", test_extension_stays);
    g_test_add_func("/zoned/zones/extension/unwritten",
                    test_extension_unwritten);
    g_test_add_func("/zoned/zones/extension/limits", test_extension_limits);
    g_test_add_func("/zoned/zones/geometry/conventional", test_conventional);
    g_test_add_func("/zoned/zones/geometry/last-zone", test_geometries);
    g_test_add_func("/zoned/zones/all/open", test_all_open);
    g_test_add_func("/zoned/zones/all/others", test_all_others);
    return g_test_run();
}

/*
 * Unit tests of the zone state machine of the zoned block format driver: random
 * operations on it and on a model of it (zoned-zones-model.h)
 *
 *   ZONED_TEST_SEED    repeats a failure: the seed that it printed
 *   ZONED_TEST_STEPS   steps of each random test
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "zoned-zones-model.h"

/* Zones up to which everything is compared after each step. */
#define SMALL_DEVICE 64

static uint64_t pick(Model *m, uint64_t n)
{
    return random_below(&m->random, n);
}

static bool chance(Model *m, int percent)
{
    return pick(m, 100) < percent;
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
    device_clear_dirty(m->device);
    memset(m->dirty, 0, m->nr_zones * sizeof(m->dirty[0]));
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
        m->dirty[i] = true;
        model_note_change(m, i);
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
    m->dirty[i] = true;
    model_note_change(m, i);
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

    if (op == BLK_ZO_FINISH || op == BLK_ZO_RESET ||
        op == BLK_ZO_MAKE_RDONLY || op == BLK_ZO_MAKE_OFFLINE) {
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

/* Somebody asks what has changed, and may or may not remember what he saw. */
static void step_generation(Model *m)
{
    doing(m, "generation ends");
    MUST_BE(m, "generation", 0, zoned_zones_end_generation(&m->device->z),
            m->generation);
    if (chance(m, 50)) {
        model_see(m, m->generation);
    }
    m->generation++;
}

/* The device begins anew with its generations. */
static void new_device(Model *m)
{
    ZonedGeometry geo = m->device->z.geo;

    device_free(m->device);
    m->device = device_new(&geo);
    m->generation = 1;
    for (uint32_t i = 0; i < m->nr_zones; i++) {
        model_note_change(m, i);
    }
    model_see(m, 0);
}

/* The image is closed, or lost its power, and is opened again. */
static void step_reopen(Model *m)
{
    bool keep_open = chance(m, 50);
    uint32_t nr_open = 0;

    m->committing = false;
    doing(m, "reopen, zones %s open", keep_open ? "stay" : "do not stay");
    if (chance(m, 50)) {
        new_device(m);
    }
    zoned_zones_begin_load(&m->device->z);
    memset(m->dirty, 0, m->nr_zones * sizeof(m->dirty[0]));

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
            load(m->device, i, zone->cond, zone->written, zone->extended,
                 keep_open);
            model_note_change(m, i);
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

    if (pick(m, 100) == 0) {
        return BLK_ZO_RESTORE;
    }
    if (pick(m, 200) == 0) {
        return chance(m, 50) ? BLK_ZO_MAKE_RDONLY : BLK_ZO_MAKE_OFFLINE;
    }
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
    } else {
        step_generation(m);
    }
    if (m->nr_zones > SMALL_DEVICE) {
        model_compare_zone(m, i);
    }
}

static void random_run(Model *m, const ZonedGeometry *geo, uint64_t steps)
{
    model_init(m, geo);
    for (uint64_t n = 0; n < steps; n++, m->step++) {
        random_step(m);
        /* All zones of a large device take their time. */
        if (m->nr_zones <= SMALL_DEVICE || m->step % 256 == 0) {
            model_compare(m);
        }
    }
    model_compare(m);
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

    for (int i = 0; i < ARRAY_SIZE(random_tests); i++) {
        g_autofree char *path = g_strdup_printf("/zoned/zones/random/%s",
                                                random_tests[i].name);

        g_test_add_data_func(path, &random_tests[i], test_random);
    }
    g_test_add_func("/zoned/zones/random/any", test_random_geometry);
    return g_test_run();
}

/*
 * A model of the zone state machine of the zoned block format driver
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/bitops.h"
#include "zoned-zones-model.h"

void model_fail(const Model *m, const char *fmt, ...)
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

void model_init(Model *m, const ZonedGeometry *geo)
{
    uint64_t start = 0;

    m->nr_zones = geo->nr_zones;
    m->max_open = geo->max_open;
    m->max_active = geo->max_active;
    m->zone = g_new0(ModelZone, m->nr_zones);
    m->dirty = g_new0(bool, m->nr_zones);
    m->committing = false;
    m->last_change = g_new0(uint64_t,
                            m->nr_zones / ZONED_ZONES_PER_BLOCK + 1);
    m->generation = 1;
    m->seen = g_new0(BlockZoneDescriptor, m->nr_zones);
    for (uint32_t i = 0; i < m->nr_zones; i++) {
        model_note_change(m, i);
    }
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
    model_see(m, 0);
}

void model_destroy(Model *m)
{
    device_free(m->device);
    g_free(m->zone);
    g_free(m->dirty);
    g_free(m->last_change);
    g_free(m->seen);
}

void model_note_change(Model *m, uint32_t i)
{
    m->last_change[i / ZONED_ZONES_PER_BLOCK] = m->generation;
}

void model_see(Model *m, uint64_t generation)
{
    m->seen_generation = generation;
    for (uint32_t i = 0; i < m->nr_zones; i++) {
        zoned_zones_describe(&m->device->z, i, &m->seen[i]);
    }
}

static uint32_t model_nr(const Model *m, BlockZoneState cond)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < m->nr_zones; i++) {
        n += m->zone[i].cond == cond;
    }
    return n;
}

static uint32_t model_nr_open(const Model *m)
{
    return model_nr(m, IOPEN) + model_nr(m, EOPEN);
}

static uint32_t model_nr_active(const Model *m)
{
    return model_nr_open(m) + model_nr(m, CLOSED);
}

static uint32_t model_nr_lingering(const Model *m)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < m->nr_zones; i++) {
        n += m->zone[i].stopped + m->zone[i].stopped_before;
    }
    return n;
}

void model_change(Model *m, uint32_t i, BlockZoneState cond)
{
    ModelZone *zone = &m->zone[i];

    if (is_active(zone->cond) && !is_active(cond)) {
        zone->stopped++;
    }
    zone->cond = cond;
    m->dirty[i] = true;
    model_note_change(m, i);
}

void model_close(Model *m, uint32_t i)
{
    bool blank = !m->zone[i].written && !m->zone[i].extended;

    model_change(m, i, blank ? EMPTY : CLOSED);
}

static int model_check_active(const Model *m, uint32_t i)
{
    if (m->max_active && !is_active(m->zone[i].cond)) {
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

int model_begin_write(Model *m, uint32_t i, uint64_t offset, uint64_t bytes)
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

int model_extend(Model *m, uint32_t i)
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

/* Sequential zone @i is no longer READ ONLY or OFFLINE. */
static int model_restore(Model *m, uint32_t i)
{
    ModelZone *zone = &m->zone[i];
    BlockZoneState to = EMPTY;
    int ret;

    if (zone->cond != RDONLY && zone->cond != OFFLINE) {
        return 0;
    }
    if (zone->written == zone->capacity) {
        to = FULL;
    } else if (zone->written || zone->extended) {
        ret = model_check_active(m, i);
        if (ret < 0) {
            return ret;
        }
        to = CLOSED;
    }
    model_change(m, i, to);
    return 1;
}

int model_mgmt(Model *m, BlockZoneOp op, uint32_t i, bool all)
{
    ModelZone *zone = &m->zone[i];
    int ret;

    if (op == BLK_ZO_MAKE_RDONLY || op == BLK_ZO_MAKE_OFFLINE) {
        BlockZoneState to = op == BLK_ZO_MAKE_RDONLY ? RDONLY : OFFLINE;

        if (zone->cond == to) {
            return 0;
        }
        if (zone->cond == NOT_WP || zone->cond == OFFLINE) {
            return all ? 0 : -EPERM;
        }
        model_change(m, i, to);
        return 1;
    }
    if (op == BLK_ZO_RESTORE && zone->cond != NOT_WP) {
        return model_restore(m, i);
    }
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

void model_compare_zone(const Model *m, uint32_t i)
{
    const ModelZone *zone = &m->zone[i];
    const ZonedZones *z = &m->device->z;
    uint64_t wp = zone->start + zone->written;
    BlockZoneDescriptor desc;

    if (zone->cond == FULL || zone->conventional) {
        wp = zone->start + zone->length;
    }
    MUST_BE(m, "condition", i, zoned_zones_cond(z, i), zone->cond);
    MUST_BE(m, "end", i, zoned_zones_end(z, i), zone->start + zone->written);

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
    MUST_BE(m, "end of data", i, desc.data_end, zone->start + zone->written);
}

static bool is_same(const BlockZoneDescriptor *a, const BlockZoneDescriptor *b)
{
    return a->wp == b->wp && a->data_end == b->data_end &&
           a->state == b->state && a->ext_valid == b->ext_valid;
}

/* What has changed is known, but for writes that have not ended. */
static void compare_generations(const Model *m)
{
    const ZonedZones *z = &m->device->z;

    for (uint32_t i = 0; i < m->nr_zones; i++) {
        uint32_t bit = i / ZONED_ZONES_PER_BLOCK;
        BlockZoneDescriptor desc;

        MUST_BE(m, "last change", i, zoned_zones_last_change(z, bit),
                m->last_change[bit]);
        zoned_zones_describe(z, i, &desc);
        if (m->zone[i].nr_in_flight == 0 && !is_same(&desc, &m->seen[i]) &&
            zoned_zones_last_change(z, bit) <= m->seen_generation) {
            model_fail(m, "zone %u has changed since generation %" PRIu64, i,
                       m->seen_generation);
        }
    }
}

static void compare_counts(const Model *m)
{
    const ZonedZones *z = &m->device->z;
    uint32_t nr_dirty = 0, nr_image = 0;

    for (int cond = 0; cond < ARRAY_SIZE(z->nr); cond++) {
        MUST_BE(m, "number of zones with a condition", cond, z->nr[cond],
                model_nr(m, cond));
    }
    MUST_BE(m, "nr_open", 0, zoned_zones_nr_open(z), model_nr_open(m));
    MUST_BE(m, "nr_active", 0, zoned_zones_nr_active(z), model_nr_active(m));
    MUST_BE(m, "nr_lingering", 0, z->nr_lingering, model_nr_lingering(m));
    for (uint32_t i = 0; i < m->nr_zones; i++) {
        MUST_BE(m, "dirty zone", i, hbitmap_get(z->dirty, i), m->dirty[i]);
        nr_dirty += m->dirty[i];
    }
    MUST_BE(m, "dirty zones", 0, hbitmap_count(z->dirty), nr_dirty);

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

void model_compare(const Model *m)
{
    for (uint32_t i = 0; i < m->nr_zones; i++) {
        model_compare_zone(m, i);
    }
    device_check_derived(m->device);
    compare_counts(m);
    compare_generations(m);
}

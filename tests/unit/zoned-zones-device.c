/*
 * A device for unit tests of the zone state machine of the zoned block format
 * driver
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/bitmap.h"
#include "qemu/bitops.h"
#include "zoned-zones-device.h"

Device *device_new(const ZonedGeometry *geo)
{
    Device *d = g_new0(Device, 1);

    g_assert_true(zoned_zones_init(&d->z, geo, geo->nr_zones));
    for (uint32_t i = 0; i < geo->nr_zones; i++) {
        load_new(d, i);
    }
    return d;
}

void device_free(Device *d)
{
    zoned_zones_destroy(&d->z);
    g_free(d);
}

Device *device_with_limits(uint32_t max_open, uint32_t max_active)
{
    ZonedGeometry geo = geometry(NR_ZONES * ZONE_SIZE, ZONE_SIZE, CAPACITY, 1,
                                 max_open, max_active);

    return device_new(&geo);
}

int mgmt_all(Device *d, BlockZoneOp op)
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

void device_clear_dirty(Device *d)
{
    uint32_t n = d->z.geo.nr_zones;
    g_autofree uint32_t *taken = g_new(uint32_t, n);

    zoned_zones_take_dirty(&d->z, 0, n - 1, taken, n);
}

void device_check_derived(Device *d)
{
    const ZonedZones *z = &d->z;
    const ZonedGeometry *geo = &z->geo;
    uint32_t nr[16] = {};
    uint32_t linked = 0, nr_dirty = 0;

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
        } else {
            g_assert_cmpint(cond, !=, BLK_ZS_NOT_WP);
            g_assert_cmphex(end, >=, start);
            g_assert_cmphex(end, <=, MIN(start + geo->zone_capacity, limit));
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
        const ZonedLruLink *link;

        QTAILQ_FOREACH(link, &z->implicit, next) {
            g_assert_cmpint(zoned_zones_cond(z, link - z->lru), ==,
                            BLK_ZS_IOPEN);
            g_assert_cmpuint(linked, <, geo->nr_zones);
            linked++;
        }
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
         b < DIV_ROUND_UP(geo->nr_zones, ZONED_ZONES_PER_BLOCK); b++) {
        uint32_t first = b * ZONED_ZONES_PER_BLOCK;
        uint32_t end = first + ZONED_ZONES_PER_BLOCK;

        for (uint32_t i = first; i < end; i++) {
            bool dirty = i < geo->nr_zones && hbitmap_get(z->dirty, i);

            g_assert_true(dirty || !test_bit(i, z->noted));
            nr_dirty += dirty;
        }
        if (find_next_bit(z->noted, end, first) < end) {
            g_assert_cmpuint(zoned_zones_last_change(z, b), ==,
                             z->generation);
        }
        g_assert_cmpuint(zoned_zones_last_change(z, b), <=, z->generation);
    }
    g_assert_cmpuint(hbitmap_count(z->dirty), ==, nr_dirty);
}

void check_zone(Device *d, uint32_t i, BlockZoneState cond, uint64_t written)
{
    g_assert_cmpint(zoned_zones_cond(&d->z, i), ==, cond);
    g_assert_cmphex(zoned_zones_end(&d->z, i), ==,
                    i * d->z.geo.zone_size + written);
    device_check_derived(d);
}

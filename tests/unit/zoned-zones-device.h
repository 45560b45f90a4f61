/*
 * A device for unit tests of the zone state machine of the zoned block format
 * driver: the state machine, with what the block layer would have
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TESTS_UNIT_ZONED_ZONES_DEVICE_H
#define TESTS_UNIT_ZONED_ZONES_DEVICE_H

#include "block/zoned-zones.h"

#define SECTOR 512ULL

/* Six zones of 64 KiB, of which 48 KiB can be written; the first is special. */
#define ZONE_SIZE (64 * KiB)
#define CAPACITY (48 * KiB)
#define NR_ZONES 6

#define NOT_WP BLK_ZS_NOT_WP
#define EMPTY BLK_ZS_EMPTY
#define IOPEN BLK_ZS_IOPEN
#define EOPEN BLK_ZS_EOPEN
#define CLOSED BLK_ZS_CLOSED
#define RDONLY BLK_ZS_RDONLY
#define FULL BLK_ZS_FULL
#define OFFLINE BLK_ZS_OFFLINE

typedef struct Device {
    ZonedZones z;
} Device;

static inline bool is_active(BlockZoneState cond)
{
    return cond == BLK_ZS_IOPEN || cond == BLK_ZS_EOPEN ||
           cond == BLK_ZS_CLOSED;
}

static inline ZonedGeometry geometry(uint64_t size, uint64_t zone_size,
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

/* A device whose zones are EMPTY or conventional. */
Device *device_new(const ZonedGeometry *geo);
void device_free(Device *d);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(Device, device_free)

/* One of NR_ZONES zones, the first of which is conventional. */
Device *device_with_limits(uint32_t max_open, uint32_t max_active);

/* Nothing is dirty any more. */
void device_clear_dirty(Device *d);

/* Everything that the state machine derives from the zones agrees with them. */
void device_check_derived(Device *d);

/* The same, and zone @i has condition @cond and @written bytes. */
void check_zone(Device *d, uint32_t i, BlockZoneState cond, uint64_t written);

/* What the driver does when the table is in the image. */
static inline void commit(Device *d)
{
    device_clear_dirty(d);
    d->z.nr_lingering = 0;
}

/* The image says that zone @i has @written bytes, and that it is @cond. */
static inline void load(Device *d, uint32_t i, BlockZoneState cond,
                        uint64_t written, bool ext_valid, bool keep_open)
{
    ZonedEntry entry = {
        .cond = cond,
        .end = i * d->z.geo.zone_size + written,
        .ext_valid = ext_valid,
    };

    zoned_zones_load(&d->z, i, 1, &entry, keep_open);
}

/* It says that nothing was written to it. */
static inline void load_new(Device *d, uint32_t i)
{
    ZonedEntry entry = zoned_entry_new(&d->z.geo, i);

    zoned_zones_load(&d->z, i, 1, &entry, false);
}

/* Zones that are dirty. */
static inline uint32_t nr_dirty(const Device *d)
{
    return hbitmap_count(d->z.dirty);
}

/* Gives zone @i the condition @cond, with @written bytes in it. */
static inline void put(Device *d, uint32_t i, BlockZoneState cond,
                       uint64_t written)
{
    load(d, i, cond, written, false, true);
    g_assert_cmpint(zoned_zones_cond(&d->z, i), ==, cond);
}

/* A write of @bytes at the write pointer of zone @i, as far as it begins. */
static inline int begin(Device *d, uint32_t i, uint64_t bytes)
{
    return zoned_zones_begin_write(&d->z, i, zoned_zones_end(&d->z, i), bytes);
}

/* The same; it must succeed, and says whether it has opened the zone. */
static inline void begin_ok(Device *d, uint32_t i, uint64_t bytes, bool opens)
{
    g_assert_cmpint(begin(d, i, bytes), ==, opens);
}

/* All writes from byte @written of zone @i have failed. */
static inline void rollback(Device *d, uint32_t i, uint64_t written,
                            bool opened)
{
    zoned_zones_rollback(&d->z, i, i * ZONE_SIZE + written, opened);
}

/* A write of @bytes, to its end; it must succeed. */
static inline void write_zone(Device *d, uint32_t i, uint64_t bytes)
{
    g_assert_cmpint(begin(d, i, bytes), >=, 0);
    zoned_zones_end_write(&d->z, i, zoned_zones_end(&d->z, i));
}

static inline int mgmt(Device *d, BlockZoneOp op, uint32_t i)
{
    return zoned_zones_mgmt(&d->z, op, i, false);
}

/* @op on the whole device, as the driver does it: it stops at an error. */
int mgmt_all(Device *d, BlockZoneOp op);

#endif /* TESTS_UNIT_ZONED_ZONES_DEVICE_H */

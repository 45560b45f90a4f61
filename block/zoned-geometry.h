/*
 * zoned block format driver: the geometry of a zoned device
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef BLOCK_ZONED_GEOMETRY_H
#define BLOCK_ZONED_GEOMETRY_H

#include "qemu/units.h"
#include "block/block-common.h"

/* Smallest unit of a write to a sequential zone, in bytes. */
#define ZONED_WRITE_GRANULARITY 512

/* Zone sizes, zone capacities and the device size are multiples of this. */
#define ZONED_ALIGNMENT (4 * KiB)

/* Largest device in bytes: the zone table has 59 bits for an address. */
#define ZONED_MAX_SIZE ((UINT64_C(1) << 59) - ZONED_ALIGNMENT)

/* With zone descriptor extensions, it has one bit less. */
#define ZONED_MAX_SIZE_EXTENDED ((UINT64_C(1) << 58) - ZONED_ALIGNMENT)

/* A zone descriptor extension has a multiple of these bytes (NVMe ZNS). */
#define ZONED_EXTENSION_UNIT 64
#define ZONED_EXTENSION_MAX (255 * ZONED_EXTENSION_UNIT)

/*
 * Most zones an image may have.  A reader allocates memory for each of them,
 * so a header alone must not be able to ask for more than it can give.
 */
#define ZONED_MAX_ZONES (1u << 22)

/*
 * What a device is like.  All sizes in bytes.  Once it is created, only @size
 * and @nr_zones can change, and the three limits.
 *
 * Zones are numbered from 0; zone i starts at i * zone_size.  The conventional
 * zones come first.  The last zone is smaller than the others if @size is no
 * multiple of @zone_size.
 */
typedef struct ZonedGeometry {
    uint64_t size;
    uint64_t zone_size;
    uint64_t zone_capacity;
    uint32_t nr_zones;
    uint32_t nr_conv;
    uint32_t max_open;              /* zones; 0: no limit */
    uint32_t max_active;            /* zones; 0: no limit */
    uint32_t max_append_sectors;    /* 512-byte sectors */
    uint32_t zd_extension_size;     /* of each zone; 0: none */
} ZonedGeometry;

/* The zone that holds byte @offset of the device; @offset < size. */
static inline uint32_t zoned_zone_index(const ZonedGeometry *g,
                                        uint64_t offset)
{
    return offset / g->zone_size;
}

static inline bool zoned_zone_is_conv(const ZonedGeometry *g, uint32_t i)
{
    return i < g->nr_conv;
}

static inline uint64_t zoned_zone_start(const ZonedGeometry *g, uint32_t i)
{
    return i * g->zone_size;
}

/* The first byte behind zone @i. */
static inline uint64_t zoned_zone_limit(const ZonedGeometry *g, uint32_t i)
{
    return i == g->nr_zones - 1 ? g->size : (i + 1) * g->zone_size;
}

static inline uint64_t zoned_zone_length(const ZonedGeometry *g, uint32_t i)
{
    return zoned_zone_limit(g, i) - zoned_zone_start(g, i);
}

/* Bytes of zone @i that can be written; all of a conventional zone. */
static inline uint64_t zoned_zone_capacity(const ZonedGeometry *g, uint32_t i)
{
    uint64_t length = zoned_zone_length(g, i);

    return zoned_zone_is_conv(g, i) ? length : MIN(g->zone_capacity, length);
}

/*
 * The first byte of sequential zone @i that can never be written.  Each write
 * asks for it, so it is not computed from the capacity of the zone.
 */
static inline uint64_t zoned_zone_cap_limit(const ZonedGeometry *g, uint32_t i)
{
    return MIN(zoned_zone_start(g, i) + g->zone_capacity, g->size);
}

/* What an image says of a zone. */
typedef struct ZonedEntry {
    BlockZoneState cond;
    uint64_t end;               /* byte of the device, see zoned_zones_end() */
    bool ext_valid;             /* the descriptor extension has been set */
} ZonedEntry;

/* The entry of zone @i if nothing was ever written to it. */
static inline ZonedEntry zoned_entry_new(const ZonedGeometry *g, uint32_t i)
{
    return zoned_zone_is_conv(g, i)
           ? (ZonedEntry) { BLK_ZS_NOT_WP, zoned_zone_limit(g, i) }
           : (ZonedEntry) { BLK_ZS_EMPTY, zoned_zone_start(g, i) };
}

/* The end of the conventional zones. */
static inline uint64_t zoned_conv_limit(const ZonedGeometry *g)
{
    return MIN(g->nr_conv * g->zone_size, g->size);
}

#endif /* BLOCK_ZONED_GEOMETRY_H */

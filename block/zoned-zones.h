/*
 * zoned block format driver: the zone state machine
 *
 * Conditions and write pointers of all zones, and the accounting of open and
 * active zones.  Pure logic: no I/O, no coroutines.  This is the only code that
 * changes the condition of a zone.
 *
 * The caller serializes all calls (the driver holds its lock), except for
 * zoned_zones_cond(), zoned_zones_end(), zoned_zones_ext_valid(),
 * zoned_zones_describe() and zoned_zones_last_change(), which may be called any
 * time.
 *
 * A zone may have a descriptor extension: bytes that the image holds, and that
 * are valid from when they are set until the zone is reset.  A zone with a
 * valid one is never EMPTY: without data, it is CLOSED where others would be
 * EMPTY.
 *
 * Errors are those of the guest, and have errnos of their own so that they are
 * never taken for an error of the host (docs/devel/zoned-storage.rst):
 *
 *   -EINVAL        a write not at the write pointer, or not a multiple of
 *                  ZONED_WRITE_GRANULARITY
 *   -ERANGE        beyond the capacity of the zone
 *   -EPERM         the condition or the type of the zone does not allow it
 *   -EOVERFLOW     no active resource is left
 *   -ETOOMANYREFS  no open resource is left
 *
 * and one is for the caller alone:
 *
 *   -EAGAIN        commit the zone table, then try again, see @nr_lingering
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef BLOCK_ZONED_ZONES_H
#define BLOCK_ZONED_ZONES_H

#include "block/block-common.h"
#include "qemu/atomic.h"
#include "qemu/bitops.h"
#include "qemu/hbitmap.h"
#include "qemu/queue.h"
#include "zoned-geometry.h"

/* Zones that share a block of the zone table, and an entry of @changed. */
#define ZONED_ZONES_PER_BLOCK 512

/* A zone in the list of implicitly open zones. */
typedef struct ZonedLruLink {
    QTAILQ_ENTRY(ZonedLruLink) next;
} ZonedLruLink;

typedef struct ZonedZones {
    ZonedGeometry geo;

    /* Zones that there is memory for: as many as the device can get. */
    uint32_t max_zones;

    /*
     * One word a zone: the condition (BlockZoneState) in bits 63..60; in bit
     * 59 whether its descriptor extension is valid; below it the byte address
     * in the device up to which the zone was written.  For an open zone,
     * writes in flight are included.  One word, so that a reader without the
     * lock sees what belongs together.
     */
    uint64_t *zone;

    /* Zones that were ever loaded or added; others have no condition yet. */
    uint32_t nr_loaded;

    /* How many zones have this condition. */
    uint32_t nr[16];

    /*
     * Zones that stopped to be active, but may still be active in the image.
     * They keep their active resource until all of the table was committed:
     * otherwise a crash in the middle of a commit could leave an image with
     * more active zones than the limit allows.
     */
    uint32_t nr_lingering;

    /*
     * The implicitly open zones, least recently written first, and the links of
     * all zones.  Only valid (@lru is not NULL) if there is a limit of open
     * zones.
     */
    QTAILQ_HEAD(, ZonedLruLink) implicit;
    ZonedLruLink *lru;

    /* One bit for each zone that has changed since the bit was cleared */
    HBitmap *dirty;

    /*
     * For those who watch the zones, time is divided into generations, which
     * are numbered from 1 on.  For the zones of each block, the last one in
     * which one of them has changed.
     */
    uint64_t generation;
    uint64_t *changed;

    /*
     * Zones that are dirty and have changed in this generation: a further write
     * has nothing to note.
     */
    unsigned long *noted;
} ZonedZones;

/*
 * Sets up @z for a device like @geo, which may get up to @max_zones zones.  All
 * zones must then be loaded, in order.
 * Returns false if there is not enough memory.
 */
bool zoned_zones_init(ZonedZones *z, const ZonedGeometry *geo,
                      uint32_t max_zones);
void zoned_zones_destroy(ZonedZones *z);

/*
 * Prepares @z, which may have been used already, for loading all zones from an
 * image: no zone is open, none is dirty.
 */
void zoned_zones_begin_load(ZonedZones *z);

/*
 * Sets zone @i to what is in an image, @entry (validated by the caller), and
 * the @n - 1 zones behind it, which are of the same length, to the same: their
 * ends are zone_size bytes apart.  With @keep_open false, an open zone becomes
 * CLOSED, or EMPTY if nothing was written or set, as after a power cycle; else
 * it stays open as long as there are resources.
 */
void zoned_zones_load(ZonedZones *z, uint32_t i, uint32_t n,
                      const ZonedEntry *entry, bool keep_open);

/*
 * Prepares @n EMPTY zones behind those that there are.  They belong to the
 * device when zoned_zones_resize() says so.
 */
void zoned_zones_add(ZonedZones *z, uint32_t n);

/*
 * The last @n zones, which are EMPTY, are no more when zoned_zones_resize()
 * says so: until then, nobody looks at them or commits.  For those who still
 * come to them they are OFFLINE.
 */
void zoned_zones_drop(ZonedZones *z, uint32_t n);

/*
 * The device is now like @geo, which has another size: that of the zones that
 * were added or dropped.  A last zone that was smaller than the others, and is
 * no more, is EMPTY.
 */
void zoned_zones_resize(ZonedZones *z, const ZonedGeometry *geo);

/*
 * The device gets other limits of open and active zones, which are not below
 * what is open and active.  Nobody else uses @z meanwhile.
 * Returns false if there is not enough memory.
 */
bool zoned_zones_set_limits(ZonedZones *z, uint32_t max_open,
                            uint32_t max_active);

/*
 * May @bytes be written at byte @offset of the device, in sequential zone @i,
 * if there are resources?  Returns 0 or a negative errno.
 */
int zoned_zones_may_write(const ZonedZones *z, uint32_t i, uint64_t offset,
                          uint64_t bytes);

/*
 * Begins to write @bytes at byte @offset of the device, in sequential zone @i:
 * opens the zone if needed (implicitly closing the least recently written one)
 * and advances the write pointer.
 * Returns 1 if it has opened the zone, 0 if that was open, or a negative errno.
 */
int zoned_zones_begin_write(ZonedZones *z, uint32_t i, uint64_t offset,
                            uint64_t bytes);

/* All that can be written to zone @i was, and has completed: it is FULL. */
void zoned_zones_fill(ZonedZones *z, uint32_t i);

/*
 * Takes back what zoned_zones_begin_write() added at and behind byte @end; with
 * @opened, it has also opened the zone for one of these writes.  What became of
 * the zone since by other operations stays.
 */
void zoned_zones_rollback(ZonedZones *z, uint32_t i, uint64_t end, bool opened);

/*
 * Applies @op to zone @i.  With @all it is part of an operation on the whole
 * device, which skips zones that the operation does not apply to.
 * Returns 1 if the zone changed, 0 if it did not, or a negative errno.
 */
int zoned_zones_mgmt(ZonedZones *z, BlockZoneOp op, uint32_t i, bool all);

/*
 * May all CLOSED zones be opened?  ZBC: not if they, and those that are
 * explicitly open, are more than the limit; then none of them is.
 * Returns 0 or -ETOOMANYREFS.
 */
int zoned_zones_may_open_all(const ZonedZones *z);

/* How many zones @op changes if it is applied to the whole device. */
uint32_t zoned_zones_nr_affected(const ZonedZones *z, BlockZoneOp op);

/*
 * May the descriptor extension of zone @i be set now?
 * Returns 0 or a negative errno.
 */
int zoned_zones_may_extend(const ZonedZones *z, uint32_t i);

/*
 * The descriptor extension of EMPTY zone @i is in the image: it is valid, and
 * the zone is CLOSED.  Returns what zoned_zones_may_extend() does.
 */
int zoned_zones_extend(ZonedZones *z, uint32_t i);

/*
 * The condition of zone @i in an image that has its data up to byte @end of the
 * device: FULL if that is its capacity, even while the write that fills it can
 * still fail.
 */
BlockZoneState zoned_zones_image_cond(const ZonedZones *z, uint32_t i,
                                      uint64_t end);

/* Zones that are open, implicitly or explicitly. */
uint32_t zoned_zones_nr_open(const ZonedZones *z);

/* Does the next zone to become active need a commit, see @nr_lingering? */
bool zoned_zones_need_commit(const ZonedZones *z);

/* Zones that are active: open or CLOSED. */
uint32_t zoned_zones_nr_active(const ZonedZones *z);

/* Describes zone @i. */
void zoned_zones_describe(const ZonedZones *z, uint32_t i,
                          BlockZoneDescriptor *desc);

/* Is there a zone that is not as in the image? */
bool zoned_zones_is_dirty(const ZonedZones *z);

/*
 * Takes those of zones @first to @last that are dirty, in order and at most
 * @max of them, into @zones: they are dirty no more.  Returns how many these
 * are.
 */
uint32_t zoned_zones_take_dirty(ZonedZones *z, uint32_t first, uint32_t last,
                                uint32_t *zones, uint32_t max);

/*
 * Ends the generation, and returns its number.  What changes from now on
 * belongs to a later one.
 */
uint64_t zoned_zones_end_generation(ZonedZones *z);

/*
 * The generation in which a zone of block @block has changed last.  A write
 * counts when it ends, not when it begins.
 */
uint64_t zoned_zones_last_change(const ZonedZones *z, uint32_t block);

/* Zones whose active resource lingers, see @nr_lingering. */
uint32_t zoned_zones_nr_lingering(const ZonedZones *z);

/*
 * Of these, @n have been committed, and all other zones with them: their
 * resources are free.
 */
void zoned_zones_free_lingering(ZonedZones *z, uint32_t n);

#define ZONED_COND_SHIFT 60
#define ZONED_EXT_VALID (1ULL << 59)
#define ZONED_END_MASK (ZONED_EXT_VALID - 1)

/* The condition of zone @i. */
static inline BlockZoneState zoned_zones_cond(const ZonedZones *z, uint32_t i)
{
    return qatomic_read_u64(&z->zone[i]) >> ZONED_COND_SHIFT;
}

/*
 * The byte of the device up to which zone @i was written; the zone reads as
 * zeroes from there on.  The end of the zone if it is conventional.
 */
static inline uint64_t zoned_zones_end(const ZonedZones *z, uint32_t i)
{
    return qatomic_read_u64(&z->zone[i]) & ZONED_END_MASK;
}

/* Is the descriptor extension of zone @i valid? */
static inline bool zoned_zones_ext_valid(const ZonedZones *z, uint32_t i)
{
    return qatomic_read_u64(&z->zone[i]) & ZONED_EXT_VALID;
}

/* Marks zone @i as dirty, and notes that it has changed. */
void zoned_zones_note_dirty(ZonedZones *z, uint32_t i);

/* Marks zone @i as dirty.  Each write does this. */
static inline void zoned_zones_mark_dirty(ZonedZones *z, uint32_t i)
{
    if (!test_bit(i, z->noted)) {
        zoned_zones_note_dirty(z, i);
    }
}

/*
 * All writes to zone @i below byte @stable of the device have completed.  The
 * zone becomes FULL if that is its capacity.  Inline, as each write does this.
 */
static inline void zoned_zones_end_write(ZonedZones *z, uint32_t i,
                                         uint64_t stable)
{
    if (stable == zoned_zone_cap_limit(&z->geo, i)) {
        zoned_zones_fill(z, i);
    } else {
        zoned_zones_mark_dirty(z, i);
    }
}

#endif /* BLOCK_ZONED_ZONES_H */

/*
 * Copy data to a zoned node
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef BLOCK_ZONE_COPY_H
#define BLOCK_ZONE_COPY_H

#include "system/block-backend.h"

/*
 * What is written in a sequential zone ends at a multiple of this, behind the
 * last byte that is not zero.
 */
#define ZONE_COPY_ALIGNMENT (4 * KiB)

/* What describes the zones of a node, if the conventional ones come first. */
typedef struct ZoneLayout {
    BlockZoneInfo info;
    uint32_t nr_conv;
    uint64_t zone_capacity;     /* of sequential zones; or the zone size */
    int64_t nr_spare;           /* zones to be added; or -1 if not known */
} ZoneLayout;

/* Returns false, without an error, if there are no sequential zones. */
bool zone_layout_get(BlockBackend *blk, ZoneLayout *layout, Error **errp);

/*
 * Is the zone at @offset OFFLINE, so that it cannot be read?  @bytes are those
 * from @offset to its end.
 */
bool zone_is_offline(BlockBackend *blk, int64_t offset, int64_t *bytes);

/* Finds the first OFFLINE zone that has some of the bytes. */
bool zone_find_offline(BlockBackend *blk, int64_t offset, int64_t bytes,
                       BlockZoneDescriptor *zone);

/* Names it, or returns NULL if there is none.  The caller frees it. */
char *zone_describe_offline(BlockBackend *blk, int64_t offset, int64_t bytes);

/*
 * Does a zone have data at @offset, going by its write pointer?  It is the same
 * for @bytes.
 */
bool zone_has_data(BlockBackend *blk, int64_t offset, int64_t *bytes);

/*
 * Are the zones of two nodes the same: geometry, conditions (but for being open
 * or CLOSED), write pointers and descriptor extensions?  Returns 1 or 0, or a
 * negative errno with @errp set; what differs first is put into @difference,
 * for the caller to free.
 */
int zone_compare(BlockBackend *a, BlockBackend *b, char **difference,
                 Error **errp);

/*
 * How many zones of @blk have what a copy of the data alone does not keep, as a
 * list of words; empty if there are none.  The caller frees it.
 */
char *zone_states_describe(BlockBackend *blk);

/*
 * A copy to a zoned node.  Data comes in the order of its place in the node,
 * none of it across the end of a zone.
 */
typedef struct ZoneCopy ZoneCopy;

/*
 * Begins a copy to @target, all sequential zones of which must be EMPTY.  With
 * @fill, they are written up to their capacity even if only zeroes come.
 */
ZoneCopy *zone_copy_new(BlockBackend *target, bool fill, Error **errp);
void zone_copy_free(ZoneCopy *zc);

/*
 * The data will be all that of @source, which is not written meanwhile.  Zones
 * are to have the condition, the write pointer and the descriptor extension
 * that they have there; those that are open become CLOSED.  Fails if zones are
 * not the same in both, and says how they differ.
 */
bool zone_copy_keep(ZoneCopy *zc, BlockBackend *source, Error **errp);

/*
 * Zones that are kept come in several passes over all data: as long as a zone
 * is written it is active, so those that stay active come last.
 */
int zone_copy_nr_passes(const ZoneCopy *zc);
void zone_copy_begin_pass(ZoneCopy *zc, int pass);

/* Does the zone at @offset have no data to be copied in this pass? */
bool zone_copy_skips(const ZoneCopy *zc, int64_t offset);

/*
 * If zones are kept, how many bytes at @offset can have data, up to the write
 * pointer of the source's zone: behind that, a disk of the host may have
 * anything, or be unreadable.  If not, those up to the end of the zone.
 */
int64_t zone_copy_data_bytes(ZoneCopy *zc, int64_t offset);

/* Bytes from @offset to the end of the zone that holds it. */
int64_t zone_copy_bytes_in_zone(const ZoneCopy *zc, int64_t offset);

/*
 * Does the zone at @offset take data only by zone_copy_write(), and read as
 * zeroes where none was written?  Returns 1 or 0, or a negative errno.
 */
int coroutine_fn zone_copy_is_sequential(ZoneCopy *zc, int64_t offset,
                                         Error **errp);

/* Writes data to a sequential zone, and zeroes in the gap before it. */
int coroutine_fn zone_copy_write(ZoneCopy *zc, int64_t offset, int64_t bytes,
                                 const void *buf, Error **errp);

/*
 * All data of the sequential zone that zone_copy_is_sequential() was asked
 * about is there: the zone gets the rest of what it is to have.
 */
int coroutine_fn zone_copy_end_zone(ZoneCopy *zc, Error **errp);

/*
 * All data of all zones is there.  Only now zones become READ ONLY and OFFLINE;
 * when that is done, all of the copy is in the image.
 */
int zone_copy_end(ZoneCopy *zc, Error **errp);

/*
 * The copy has failed: sequential zones are EMPTY again, so that nobody takes
 * what is there for a whole copy.  Says so if that fails, too.
 */
void zone_copy_undo(ZoneCopy *zc);

#endif /* BLOCK_ZONE_COPY_H */

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
 * The copy has failed: sequential zones are EMPTY again, so that nobody takes
 * what is there for a whole copy.
 */
void zone_copy_undo(ZoneCopy *zc);

#endif /* BLOCK_ZONE_COPY_H */

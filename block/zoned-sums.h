/*
 * zoned block format driver: checksums of data that was not flushed yet
 *
 * A record in the log may speak of data that is not durable if it has the
 * checksums of that (zoned-commit.c).  So some of what is written is summed: as
 * long as it is little, and until the next flush.  Whatever else is written has
 * to be flushed in front of the record.  Pure bookkeeping: no I/O, no sums are
 * computed here.
 *
 * Time is divided into generations.  A flush covers what was written in those
 * that had ended when it began.
 *
 * The caller serializes all calls (the driver holds its lock).
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef BLOCK_ZONED_SUMS_H
#define BLOCK_ZONED_SUMS_H

#include "zoned-format.h"
#include "zoned-zones.h"

/*
 * So many bytes are summed between two flushes.  To sum and copy as many takes
 * a tenth of a millisecond, and a flush that is spared takes longer.
 */
#define ZONED_SUMS_BYTES (256 * KiB)

/* A write counts as a multiple of this many bytes. */
#define ZONED_SUMS_UNIT (1 * KiB)

#define ZONED_SUMS_MAX (ZONED_SUMS_BYTES / ZONED_SUMS_UNIT)

typedef struct ZonedSums {
    /* That of what is written now: they are numbered from 1 on. */
    uint64_t generation;

    /* That of the last data that has no sum and was not flushed; 0: none */
    uint64_t unsummed;

    /* What is summed or is to be, rounded up to units */
    uint64_t bytes;

    uint32_t nr;
    ZonedLogSum sum[ZONED_SUMS_MAX];
    uint64_t written[ZONED_SUMS_MAX];   /* the generation of its data */
} ZonedSums;

/* There is no data that was not flushed. */
void zoned_sums_init(ZonedSums *s);

/*
 * Is there data already that has to be flushed?  Then to sum the rest would not
 * help.  Each write asks for it; it may do so any time.
 */
static inline bool zoned_sums_are_over(const ZonedSums *s)
{
    return qatomic_read_u64(&s->unsummed);
}

/*
 * A write of @bytes begins.  If it is to be summed, takes the room for that and
 * returns true: then zoned_sums_add() or zoned_sums_release() must follow.
 */
bool zoned_sums_reserve(ZonedSums *s, uint64_t bytes);

/* That write of @bytes has failed. */
void zoned_sums_release(ZonedSums *s, uint64_t bytes);

/* It is in the file, with @sum. */
void zoned_sums_add(ZonedSums *s, const ZonedLogSum *sum);

/* Something is in the file that has no sum. */
static inline void zoned_sums_add_none(ZonedSums *s)
{
    qatomic_set_u64(&s->unsummed, s->generation);
}

/* A flush is to begin.  Returns what zoned_sums_flushed() asks for. */
uint64_t zoned_sums_begin_flush(ZonedSums *s);

/* It has succeeded, and @generation is what zoned_sums_begin_flush() said. */
void zoned_sums_flushed(ZonedSums *s, uint64_t generation);

/*
 * Forgets the sums of data that its zone does not have any more, as a write has
 * failed.  What a reset takes away goes with the flush of that.
 */
void zoned_sums_settle(ZonedSums *s, const ZonedZones *z);

#endif /* BLOCK_ZONED_SUMS_H */

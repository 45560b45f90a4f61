/*
 * zoned block format driver: what its parts share
 *
 * zoned.c             the BlockDriver
 * zoned-create.c      creation of images
 * zoned-check.c       qemu-img check
 * zoned-commit.c      write-back of the zone table
 * zoned-mgmt.c        zone management
 * zoned-inflight.c    the order of writes and zone operations
 * zoned-zones.c       the zone state machine; pure
 * zoned-format.c      the image format; pure
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef BLOCK_ZONED_H
#define BLOCK_ZONED_H

#include "block/block-io.h"
#include "block/block_int.h"
#include "qemu/memalign.h"
#include "zoned-format.h"
#include "zoned-zones.h"

typedef struct ZonedFlight ZonedFlight;
typedef struct ZonedExclusion ZonedExclusion;

/* A write or append to a sequential zone; lives as long as the request. */
typedef struct ZonedWrite {
    uint64_t offset;        /* byte of the device */
    uint64_t bytes;
    int ret;                /* what the file said, valid if @done */
    bool written;           /* the data is in the file, a commit counts it */
    bool done;              /* nothing is left to do, or it has failed */
    bool acknowledged;      /* @ret is the result of the write */
    Coroutine *co;          /* waits to be acknowledged; NULL: is running */
    QTAILQ_ENTRY(ZonedWrite) next;
} ZonedWrite;

/*
 * An operation that has zones @first to @last for itself: while it lasts, no
 * write to them and no other such operation begins.
 */
struct ZonedExclusion {
    uint32_t first;
    uint32_t last;
    CoQueue waiters;
    QLIST_ENTRY(ZonedExclusion) next;
};

/* Zones whose flights are allocated together. */
#define ZONED_ZONES_PER_CHUNK 512

typedef struct ZonedInflight {
    /*
     * For each zone what is in flight in it, NULL: nothing.  Most zones of a
     * large device are not written, so there is a chunk only for those that had
     * something in flight since the image was opened, and their neighbours.
     */
    ZonedFlight ***chunks;
    uint32_t nr_chunks;

    /* In how many zones something is in flight, or was lost. */
    uint32_t nr_flights;

    /* One that is free, so that a lone writer does not allocate every time. */
    ZonedFlight *spare;

    /* How often the node was drained. */
    uint64_t nr_drains;

    QLIST_HEAD(, ZonedExclusion) exclusions;
} ZonedInflight;

typedef struct ZonedCommit {
    /* A commit is writing; only one does at a time. */
    bool running;

    /* Those who wait for a commit to end, and how many have not gone on. */
    CoQueue waiters;
    uint32_t nr_waiting;

    /*
     * Commits of all changes are numbered as they begin: how many have begun,
     * and the last of them that has succeeded.
     */
    uint64_t nr_begun;
    uint64_t nr_done;

    /*
     * Resets that could not be made durable: in the image, the zone still has
     * its old data and descriptor extension.  These must not be overwritten in
     * place, so while not all of them are settled, writes to sequential zones
     * commit first, and so does who sets an extension.  The same goes for data
     * that was taken back, as the flush of a FUA write has failed: each zone
     * that it was in counts as a reset.
     */
    uint64_t nr_resets_failed;
    uint64_t nr_resets_settled;
} ZonedCommit;

typedef struct BDRVZonedState {
    ZonedHeader header;

    /* @header is not what is in the file, which is damaged; for a check only */
    bool header_rebuilt;

    /* Byte of the file at which the image starts (option "offset"). */
    uint64_t base;

    /*
     * Protects all below, except where zoned-zones.h says otherwise.  It is
     * held for a bounded number of instructions, never while something is read,
     * written or waited for; so others may spin.
     */
    QemuSpin lock;

    ZonedZones zones;
    ZonedInflight inflight;
    ZonedCommit commit;
} BDRVZonedState;

/* Where byte @offset of the device is in the file. */
static inline int64_t zoned_file_offset(const BDRVZonedState *s,
                                        uint64_t offset)
{
    return s->base + s->header.data_offset + offset;
}

/* May the image still have what a reset has taken away? */
static inline bool zoned_resets_unsettled(const BDRVZonedState *s)
{
    return s->commit.nr_resets_failed != s->commit.nr_resets_settled;
}

/*
 * An error of the file.  What the guest did wrong has errnos of its own
 * (zoned-zones.h), which must not come from anywhere else.
 */
int zoned_host_error(int ret);

/* True if @bs may change the image; else zone operations give -EACCES. */
bool zoned_is_writable(BlockDriverState *bs);

/* zoned-inflight.c */

/* What is done for all zones of a range gives up the lock after so many... */
#define ZONED_ZONES_PER_LOCK 512

/* ...and lets others run in its thread after so many. */
#define ZONED_ZONES_PER_TURN (64 * KiB)

/*
 * Called with the lock, when @nr zones of a range were dealt with: gives others
 * a chance, without the lock, if it is time for that.
 */
void coroutine_fn zoned_pause(BDRVZonedState *s, uint32_t nr);

bool zoned_inflight_init(ZonedInflight *in, uint32_t nr_zones);
void zoned_inflight_destroy(ZonedInflight *in);

/* The node is being drained. */
void zoned_inflight_drain_begin(BlockDriverState *bs);

/*
 * Begins write @w (offset and bytes set; with @append, offset is set here) to
 * sequential zone @i: waits for zone operations, checks the write, advances the
 * write pointer.  After success the caller writes the data and must then call
 * zoned_inflight_end().  Takes the lock.
 * Returns 0, an errno of zoned-zones.h, or the error of a commit or of an
 * earlier write of the same zone that this one relies on.
 */
int coroutine_fn GRAPH_RDLOCK
zoned_inflight_begin(BlockDriverState *bs, uint32_t i, bool append,
                     ZonedWrite *w);

/*
 * The data of @w, which is to be durable before it is acknowledged, is in the
 * file.  Waits until that of all earlier writes of the zone is, too, and makes
 * it durable.  Takes the lock.
 * Returns the result for zoned_inflight_end(), which must follow.
 */
int coroutine_fn GRAPH_RDLOCK
zoned_inflight_flush(BlockDriverState *bs, uint32_t i, ZonedWrite *w);

/*
 * @w is done with result @ret.  Waits until all earlier writes of the zone are
 * done, too.  Takes the lock.
 * Returns the result of the write: if an earlier one failed, its error.
 */
int coroutine_fn zoned_inflight_end(BlockDriverState *bs, uint32_t i,
                                    ZonedWrite *w, int ret);

/*
 * The byte of the device up to which zone @i has all data of its writes.  The
 * caller holds the lock.
 */
uint64_t zoned_inflight_stable(const BDRVZonedState *s, uint32_t i);

/*
 * Begins @ex: waits until no other exclusion holds one of its zones and, with
 * @drain, until nothing is in flight in them.  Takes the lock.
 */
void coroutine_fn zoned_exclusion_begin(BlockDriverState *bs,
                                        ZonedExclusion *ex, bool drain);
void coroutine_fn zoned_exclusion_end(BlockDriverState *bs, ZonedExclusion *ex);

/* zoned-commit.c */

void zoned_commit_init(ZonedCommit *commit);

/*
 * Makes all changes of the zone table that were complete before the call
 * durable, and the data that they speak of; does nothing if there are none.
 * Takes the lock.
 * Returns 0 or the error of the file; what could not be written stays dirty.
 */
int coroutine_fn GRAPH_RDLOCK zoned_co_commit(BlockDriverState *bs);

/*
 * The same for the changes of zones @first to @last alone; but for all if
 * others wait for a commit, if resets are unsettled, or if the next zone to
 * become active needs one.  An exclusion that has drained them holds the zones,
 * and each of them is EMPTY or claims no more data than it does in the file.
 */
int coroutine_fn GRAPH_RDLOCK zoned_co_commit_reset(BlockDriverState *bs,
                                                    uint32_t first,
                                                    uint32_t last);

/* zoned-mgmt.c */

/*
 * Applies @op to the zones in @len bytes at byte @offset of the device: all of
 * the device is "select all", see zoned_zones_mgmt().
 * Returns 0, an errno of zoned-zones.h, -EACCES if the image must not be
 * changed, or the error of the file.
 */
int coroutine_fn GRAPH_RDLOCK zoned_co_zone_mgmt(BlockDriverState *bs,
                                                 BlockZoneOp op,
                                                 int64_t offset, int64_t len);

/*
 * Sets the descriptor extension of the zone at @offset, see
 * bdrv_co_zone_set_extension().
 * Returns 0, an errno of zoned-zones.h, -EACCES if the image must not be
 * changed, or the error of the file; the zone then is EMPTY as before.
 */
int coroutine_fn GRAPH_RDLOCK
zoned_co_zone_set_extension(BlockDriverState *bs, int64_t offset,
                            QEMUIOVector *qiov);

/* Reads descriptor extensions, see bdrv_co_zone_get_extensions(). */
int coroutine_fn GRAPH_RDLOCK
zoned_co_zone_get_extensions(BlockDriverState *bs, int64_t offset,
                             unsigned int nr_zones, void *buf);

/* zoned-create.c */

extern QemuOptsList zoned_create_opts;

int coroutine_fn GRAPH_UNLOCKED zoned_co_create(BlockdevCreateOptions *opts,
                                                Error **errp);
int coroutine_fn GRAPH_UNLOCKED zoned_co_create_opts(BlockDriver *drv,
                                                     const char *filename,
                                                     QemuOpts *opts,
                                                     Error **errp);

/* zoned-check.c */

int coroutine_fn GRAPH_RDLOCK zoned_co_check(BlockDriverState *bs,
                                             BdrvCheckResult *result,
                                             BdrvCheckMode fix);

#endif /* BLOCK_ZONED_H */

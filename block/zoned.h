/*
 * zoned block format driver: what its parts share
 *
 * zoned.c             the BlockDriver
 * zoned-create.c      creation of images
 * zoned-check.c       qemu-img check
 * zoned-commit.c      write-back of the zone table
 * zoned-log.c         reading of the table and of the log in front of it
 * zoned-mgmt.c        zone management
 * zoned-resize.c      other sizes and limits of a device
 * zoned-inflight.c    the order of writes and zone operations
 * zoned-rules.c       zones that fail at a moment of their own
 * zoned-zones.c       the zone state machine; pure
 * zoned-sums.c        checksums of data that was not flushed yet; pure
 * zoned-format.c      the image format; pure
 *
 * The life of a write to a sequential zone, from zoned_co_pwritev_part():
 *
 *   zoned_inflight_begin()  waits while an operation has the zone for itself or
 *                           a write of it is failing, and behind those that
 *                           wait; then the state machine checks the write,
 *                           opens the zone if need be, and advances its WP
 *   write_file()            the data goes to its place, at the same time as
 *                           that of others, which the file completes in any
 *                           order
 *   zoned_inflight_flush()  only for FUA: waits for the data of those in front,
 *                           then flushes the node
 *   zoned_inflight_end()    waits until all in front are acknowledged
 *
 * Here A, B, C and D were begun in this order, and E waits for an operation:
 *
 *     zone start                                     WP
 *     |  acknowledged  |  A   |  B   |  C   |  D   |          E
 *                      |       \______________________ stable
 *                      |_______________________________ acknowledged
 *
 * Say that the data of A and C is in the file, that of B and D is not.
 *
 *   - A reader sees what is acknowledged, and zeroes behind it
 *     (zoned_inflight_acknowledged()).
 *   - A commit puts into the zone table what has no hole in front of it
 *     (zoned_inflight_stable()): A, but not C.
 *   - A is acknowledged as soon as it is done; C when B is.  If C is the last
 *     one that B waited for, it is acknowledged by B, and goes on behind it.
 *   - If B fails, B, C and D fail with the error of B, as soon as all three are
 *     done; so does E, which relies on them.  The WP goes back to where B
 *     began, the zone has the condition again that it had without them, and
 *     nothing remembers the failure.
 *   - A reset of the zone waits for all of them; what comes later waits for it.
 *
 * One spin lock (BDRVZonedState.lock) protects what changes.  It is never held
 * across I/O, an allocation, a trace, a wake or a wait; see there.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef BLOCK_ZONED_H
#define BLOCK_ZONED_H

#include "block/block-io.h"
#include "block/block_int.h"
#include "qemu/memalign.h"
#include "zoned-format.h"
#include "zoned-sums.h"
#include "zoned-zones.h"

typedef struct BDRVZonedState BDRVZonedState;
typedef struct ZonedFlight ZonedFlight;
typedef struct ZonedResumption ZonedResumption;

/* A coroutine that can wait for what others do.  Protected by the lock. */
typedef struct ZonedWaiter {
    Coroutine *co;
    bool waits;                 /* and nobody has decided to wake it */
    bool acknowledged;          /* it is that of a write which is */
    QSIMPLEQ_ENTRY(ZonedWaiter) next;   /* in a ZonedWakeList */
} ZonedWaiter;

/*
 * Those who are to be woken when the lock is free, in this order: to wake may
 * take a system call.
 */
typedef QSIMPLEQ_HEAD(, ZonedWaiter) ZonedWakeList;

/*
 * A write or append to a sequential zone; lives as long as the request.  The
 * caller sets the first three, and all else to 0.
 */
typedef struct ZonedWrite {
    uint64_t offset;        /* byte of the device; of an append: set by begin */
    uint64_t bytes;
    bool append;
    bool summed;            /* caller: room is reserved, and @crc is set */

    ZonedFlight *flight;    /* valid from begin to end */
    uint64_t ticket;        /* when it came, valid while it waits to begin */
    int ret;                /* what begin or end are to return */
    uint32_t crc;           /* the CRC-32C of the data */
    bool commits;           /* it is the first that waits, and has to commit */
    bool opened;            /* it has opened its zone implicitly */
    bool written;           /* the data is in the file, a commit counts it */
    bool flushes;           /* waits for the data of those in front */
    bool ruled;             /* its zone has a rule */
    bool triggers;          /* ...by which that fails when it is done */
    bool done;              /* nothing is left to do, or it has failed */
    bool acknowledged;      /* @ret is the result of the write */
    ZonedWaiter waiter;
    QTAILQ_ENTRY(ZonedWrite) next;
} ZonedWrite;

/*
 * An operation that has zones @first to @last for itself: what came before has
 * begun or, with @drain, is done; what comes later waits.  The caller sets the
 * first three, and all else to 0.
 */
typedef struct ZonedExclusion {
    uint32_t first;
    uint32_t last;
    bool drain;

    uint64_t ticket;                    /* when it came */
    struct ZonedExclusion *obstacle;    /* the earlier one that it waits for */
    ZonedWaiter waiter;
    QTAILQ_ENTRY(ZonedExclusion) next;
} ZonedExclusion;

/* Lists of flights, to find one by its zone; there are few at a time. */
#define ZONED_FLIGHT_BUCKETS 256

typedef struct ZonedInflight {
    /* Zones in which something is in flight or waits, all and by zone. */
    QLIST_HEAD(, ZonedFlight) flights;
    QLIST_HEAD(, ZonedFlight) buckets[ZONED_FLIGHT_BUCKETS];

    /* Flights to use again: as many as there ever were at a time. */
    QLIST_HEAD(, ZonedFlight) unused;

    /* In the order in which they came, those that still wait included. */
    QTAILQ_HEAD(, ZonedExclusion) exclusions;

    /* What has to wait takes one, to tell what came first. */
    uint64_t last_ticket;

    /* Those who are about to go on: one for each thread, or none. */
    QLIST_HEAD(, ZonedResumption) resumptions;

    /*
     * Writes that are acknowledged and wait to go on, in whatever thread, or
     * that let others go on before.  Atomic; rises under the lock.
     */
    uint32_t nr_resuming;
} ZonedInflight;

/* Somebody who wants changes of the zone table to be durable. */
typedef struct ZonedCommitRequest ZonedCommitRequest;

typedef struct ZonedCommit {
    /* A commit runs, or is about to; only one does at a time. */
    bool running;

    /* Those who came meanwhile; the first of them does the next for them all */
    QSIMPLEQ_HEAD(, ZonedCommitRequest) waiting;

    /*
     * Commits of all changes are numbered as they begin: how many have begun,
     * and the last of them that has succeeded.
     */
    uint64_t nr_begun;
    uint64_t nr_done;

    /*
     * What is in the image is in doubt until the commit of this number has
     * succeeded: see zoned_commit_doubt().
     */
    uint64_t needed;

    /* The next commit is a full one... */
    bool full;

    /* ...that writes the header, too: the file may have another one. */
    bool header_in_doubt;

    /* Only for the commit that runs: the log, and where its next record is, */
    uint64_t epoch;
    uint32_t next_block;

    /* a bit for each block of the table with a zone that the log names, */
    unsigned long *named;

    /* and what its last record had sums of when the image was opened. */
    ZonedLogSum *found;
    uint32_t nr_found;
} ZonedCommit;

/* By which a zone fails, see BlockZoneRule. */
typedef struct ZonedRule {
    uint32_t zone;
    ZoneRuleTrigger trigger;
    bool offline;               /* the zone becomes OFFLINE, not READ ONLY */
    bool fail;                  /* what triggers it fails */
    bool triggered;             /* the zone is about to fail */
    int error;                  /* of the last write that was to trigger it */
    uint64_t value;
    uint64_t count;
} ZonedRule;

/* To find one takes a look at all, with the lock. */
#define ZONED_MAX_RULES 256

typedef struct ZonedRules {
    uint32_t nr;
    ZonedRule rule[ZONED_MAX_RULES];
} ZonedRules;

struct BDRVZonedState {
    /*
     * Changes only in zoned_co_commit_resize(), when no write and no operation
     * is under way, and in zoned_amend_options(), when nobody else uses the
     * node.  Readers may see it change.
     */
    ZonedHeader header;

    /* @header is not what is in the file, which is damaged; for a check only */
    bool header_rebuilt;

    /* What the generations of this opening are called: more by this. */
    uint64_t first_generation;

    /* Byte of the file at which the image starts (option "offset"). */
    uint64_t base;

    /* Bytes that it may have, if @bounded (option "len"). */
    uint64_t len;
    bool bounded;

    /*
     * Protects all below, except where zoned-zones.h says otherwise.  It is
     * never held while something is read, written, allocated, traced (but for
     * the trace points of HBitmap), woken or waited for; what is done with it
     * grows with the number of requests in flight at most.  So others may spin.
     */
    QemuSpin lock;

    ZonedZones zones;
    ZonedInflight inflight;
    ZonedCommit commit;
    ZonedSums sums;
    ZonedRules rules;

    /*
     * Zones that a reset has emptied, but could not make so durably: their
     * blocks in the file were not given back.
     */
    HBitmap *undiscarded;
};

/* Where byte @offset of the device is in the file. */
static inline int64_t zoned_file_offset(const BDRVZonedState *s,
                                        uint64_t offset)
{
    return s->base + s->header.data_offset + offset;
}

/* Where block @block of the log is in the file. */
static inline int64_t zoned_log_offset(const BDRVZonedState *s, uint32_t block)
{
    return s->base + s->header.log_offset + (int64_t)block * ZONED_LOG_BLOCK;
}

/*
 * An error of the file.  What the guest did wrong has errnos of its own
 * (zoned-zones.h), which must not come from anywhere else.
 */
int zoned_host_error(int ret);

/* True if @bs may change the image; else zone operations give -EACCES. */
bool zoned_is_writable(BlockDriverState *bs);

/* zoned-inflight.c */

/* Lets all others go on that can in this thread.  Without the lock. */
void coroutine_fn zoned_take_turns(void);

/*
 * Waits until somebody wakes @me.  Called and returns with the lock, which is
 * released meanwhile.
 */
void coroutine_fn zoned_wait(BDRVZonedState *s, ZonedWaiter *me);

/* Adds @waiter to @wake, if it waits.  Called with the lock. */
void zoned_wake(ZonedWakeList *wake, ZonedWaiter *waiter);

/*
 * Wakes those of @wake, in their order; it is empty then.  They go on when
 * their thread is out of all coroutines, or in front of a write that is
 * acknowledged after them.  Takes the lock.
 */
void zoned_wake_some(BlockDriverState *bs, ZonedWakeList *wake);

/* The same; most of the time there are none, and each write asks for it. */
static inline void zoned_wake_all(BlockDriverState *bs, ZonedWakeList *wake)
{
    if (!QSIMPLEQ_EMPTY(wake)) {
        zoned_wake_some(bs, wake);
    }
}

void zoned_inflight_init(ZonedInflight *in);
void zoned_inflight_destroy(ZonedInflight *in);

/*
 * Begins write @w to sequential zone @i: waits for zone operations and for
 * those who came first, checks the write, advances the write pointer.  After
 * success the caller writes the data and must then call zoned_inflight_end().
 * Takes the lock.
 * Returns 0; an errno of zoned-zones.h; the error of a commit or of another
 * write of the same zone that this one relies on; or -ECANCELED if the zone has
 * to fail before: then the caller must call zoned_rules_apply() and try again.
 */
int coroutine_fn GRAPH_RDLOCK
zoned_inflight_begin(BlockDriverState *bs, uint32_t i, ZonedWrite *w);

/*
 * The data of @w, which is to be durable before it is acknowledged, is in the
 * file.  Waits until that of all earlier writes of the zone is, too, and makes
 * it durable.  Takes the lock.
 * Returns the result for zoned_inflight_end(), which must follow.
 */
int coroutine_fn GRAPH_RDLOCK
zoned_inflight_flush(BlockDriverState *bs, ZonedWrite *w);

/*
 * @w is done with result @ret.  Waits until all earlier writes of the zone are
 * done, too.  Takes the lock.
 * Returns the result of the write: if an earlier one failed, its error.
 */
int coroutine_fn zoned_inflight_end(BlockDriverState *bs, ZonedWrite *w,
                                    int ret);

/*
 * The byte of the device up to which zone @i has all data of its writes.
 * Called with the lock.
 */
uint64_t zoned_inflight_stable(const BDRVZonedState *s, uint32_t i);

/*
 * Sets in @bits those of the blocks with zones that have writes in flight.
 * Called with the lock.
 */
void zoned_inflight_find(const BDRVZonedState *s, unsigned long *bits);

/*
 * The byte of the device up to which all writes to zone @i are acknowledged.
 * Takes the lock.
 */
uint64_t zoned_inflight_acknowledged(BDRVZonedState *s, uint32_t i);

/*
 * Begins @ex: waits for what came before, exclusions that have one of its zones
 * and writes that wait to begin in one; with @drain, until nothing is in flight
 * in them.  Takes the lock.
 */
void coroutine_fn zoned_exclusion_begin(BlockDriverState *bs,
                                        ZonedExclusion *ex);

/* Ends @ex; begins writes that have waited for it.  Takes the lock. */
void coroutine_fn zoned_exclusion_end(BlockDriverState *bs, ZonedExclusion *ex);

/* zoned-commit.c */

void zoned_commit_init(ZonedCommit *commit, uint32_t max_zones);
void zoned_commit_destroy(ZonedCommit *commit);

/*
 * The image may have more than the driver knows of: data and descriptor
 * extensions of a zone that is EMPTY now, as a reset could not be made durable;
 * data that was taken back, as the flush of a FUA write has failed; or other
 * entries than those that were read, which may come from the cache of a process
 * that died before it flushed them.  None of it must be overwritten in place.
 * So until all is committed, writes to sequential zones commit first, and so
 * does who sets an extension.  Called with the lock.
 */
void zoned_commit_doubt(ZonedCommit *commit);

/* Is it so?  Called with the lock. */
static inline bool zoned_commit_in_doubt(const ZonedCommit *commit)
{
    return commit->nr_done < commit->needed;
}

/*
 * The header in the file may be another one than that of the node, or in a
 * cache only.  Called with the lock.
 */
void zoned_commit_doubt_header(ZonedCommit *commit);

/*
 * What was read from the image may be in a cache only: the next commit makes
 * all of it durable.  Called with the lock.
 */
void zoned_commit_take_over(BDRVZonedState *s);

/*
 * Since the image was opened, nobody has changed a zone or relied on what was
 * read, and the log is empty.  Nobody else uses the node.
 */
bool zoned_commit_is_idle(const BDRVZonedState *s);

/* The next commit leaves no record in the log.  Called with the lock. */
void zoned_commit_empty_log(BDRVZonedState *s);

/*
 * Makes all changes of zones that were complete before the call durable, and
 * the data that they speak of; does nothing if there are none.  Takes the lock.
 * Returns 0 or the error of the file.
 */
int coroutine_fn GRAPH_RDLOCK zoned_co_commit(BlockDriverState *bs);

/* The same, and all data that was written before the call. */
int coroutine_fn GRAPH_RDLOCK zoned_co_commit_and_flush(BlockDriverState *bs);

/*
 * The same for the changes of zones @first to @last alone; but for all if
 * others wait for a commit, if there is doubt, or if the next zone to become
 * active needs one.  An exclusion that has drained them holds the zones, and
 * each of them is EMPTY or claims no more data than it does in the file.
 */
int coroutine_fn GRAPH_RDLOCK zoned_co_commit_reset(BlockDriverState *bs,
                                                    uint32_t first,
                                                    uint32_t last);

/*
 * The device gets the size that @h has, which else is the header that there is:
 * commits all, then @h.  An exclusion holds all zones, and those that go are
 * EMPTY.  Takes the lock.
 * Returns 0 or the error of the file; the device then is as it was.
 */
int coroutine_fn GRAPH_RDLOCK zoned_co_commit_resize(BlockDriverState *bs,
                                                     const ZonedHeader *h);

/* zoned-log.c */

/*
 * Reads the zone table, with what the log says; the caller frees it with
 * qemu_vfree().  The log is that of BDRVZonedState.commit then.  No commit
 * runs.
 */
uint64_t * GRAPH_RDLOCK zoned_log_read(BlockDriverState *bs, Error **errp);

/*
 * Writes the data again that the last record had sums of when it was read.
 * Returns 0, or the error of the file; -EIO if that data has changed.
 */
int coroutine_fn GRAPH_RDLOCK zoned_log_rewrite_data(BlockDriverState *bs);

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

/* zoned-rules.c */

/*
 * Does sequential zone @i fail by its rule before @w is written, which could
 * begin otherwise if it is @valid?  Then the caller must call
 * zoned_rules_apply() and begin it again.  Called with the lock.
 */
bool zoned_rules_stop_write(BDRVZonedState *s, uint32_t i, const ZonedWrite *w,
                            bool valid);

/*
 * @w has begun, in sequential zone @i.  If it @w->triggers the rule, the caller
 * must call zoned_rules_apply() when it has succeeded.  Called with the lock.
 */
void zoned_rules_count_write(BDRVZonedState *s, uint32_t i, ZonedWrite *w);

/* @w, which is @w->ruled, has failed with @error.  Called with the lock. */
void zoned_rules_uncount_write(BDRVZonedState *s, uint32_t i,
                               const ZonedWrite *w, int error);

/*
 * Zone @i fails, if its rule says so when all writes in flight are done; the
 * rule is gone then.  If that cannot be made durable, a later commit does it.
 * Takes the lock.
 * Returns 0, or the error of the write that was to trigger the rule and has
 * failed: who waited for that relies on it.
 */
int coroutine_fn GRAPH_RDLOCK zoned_rules_apply(BlockDriverState *bs,
                                                uint32_t i);

/*
 * Zone @i, which is drained, is about to be reset, or has just been: it may
 * fail by its rule.  The first returns true if it has.  Called with the lock.
 */
bool zoned_rules_before_reset(BDRVZonedState *s, uint32_t i);
void zoned_rules_after_reset(BDRVZonedState *s, uint32_t i);

/* The device has become smaller.  Called with the lock. */
void zoned_rules_shrink(BDRVZonedState *s);

/* See BlockDriver.  Take the lock. */
bool GRAPH_RDLOCK zoned_rules_add(BlockDriverState *bs, const BlockZoneRule *r,
                                  Error **errp);
bool GRAPH_RDLOCK zoned_rules_remove(BlockDriverState *bs, uint64_t offset,
                                     Error **errp);
BlockZoneRuleList *zoned_rules_list(BlockDriverState *bs);

/* zoned-create.c */

extern QemuOptsList zoned_create_opts;

int coroutine_fn GRAPH_UNLOCKED zoned_co_create(BlockdevCreateOptions *opts,
                                                Error **errp);
int coroutine_fn GRAPH_UNLOCKED zoned_co_create_opts(BlockDriver *drv,
                                                     const char *filename,
                                                     QemuOpts *opts,
                                                     Error **errp);

/* The size of the file of an image with @opts; with that of @in_bs, if any. */
BlockMeasureInfo *zoned_measure(QemuOpts *opts, BlockDriverState *in_bs,
                                Error **errp);

/* zoned-resize.c */

extern QemuOptsList zoned_amend_opts;

/*
 * Gives the device another size, in whole zones: as many more as the tables
 * have room for, or fewer, if those at the end are EMPTY.  Takes the lock.
 * Returns 0 or a negative errno; the device then is as it was.
 */
int coroutine_fn GRAPH_RDLOCK
zoned_co_truncate(BlockDriverState *bs, int64_t offset, bool exact,
                  PreallocMode prealloc, BdrvRequestFlags flags, Error **errp);

/*
 * Gives the device the limits in @opts.  Nobody else uses the node.
 * Returns 0 or a negative errno; the device then is as it was.
 */
int GRAPH_RDLOCK zoned_amend_options(BlockDriverState *bs, QemuOpts *opts,
                                     BlockDriverAmendStatusCB *status_cb,
                                     void *cb_opaque, bool force,
                                     Error **errp);

/* zoned-check.c */

int coroutine_fn GRAPH_RDLOCK zoned_co_check(BlockDriverState *bs,
                                             BdrvCheckResult *result,
                                             BdrvCheckMode fix);

#endif /* BLOCK_ZONED_H */

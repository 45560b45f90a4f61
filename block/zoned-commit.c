/*
 * zoned block format driver: write-back of the zone table
 *
 * The rule: whatever a crash leaves of the file, the table in it must not claim
 * data that is not there.  So a commit
 *
 *   1. takes, under the lock, the address of each dirty zone below which the
 *      data of all writes is in the file;
 *   2. flushes the file: now all data below these addresses is durable;
 *   3. writes the dirty blocks of the table;
 *   4. flushes the file again: now the table is durable.
 *
 * An entry is 8 bytes and never crosses a sector, so a torn write of the table
 * leaves each entry either old or new, and both are true.  When something
 * fails, even the last flush, the blocks are dirty again: nobody knows what the
 * file has kept of them.
 *
 * What is read when the image is opened may be in a cache only, as the process
 * that wrote it may have died before its flush.  It is true, for the same
 * reason; but it is not durable, and the old entries may come back.  So all
 * blocks are dirty then, and there is doubt (zoned_commit_doubt()) until they
 * were written once by us: a flush alone would not do, as the block layer
 * leaves it out for a file that this process has not written, and a kernel that
 * once failed to write a page may not try again.
 *
 * Between 1 and 3 zones go on changing.  Writes only add data behind the
 * address that was taken, and what takes data away (reset) holds the zone to
 * itself until it is committed; so the address stays true.
 *
 * A reset takes data away and adds none, so its commit leaves out 2, and
 * changes nothing in the table but the entries of its own zones.  Of the
 * others in the same blocks, whose data may not be durable yet, it writes what
 * the file says already.  That is true, even if it comes from a commit that has
 * failed: an entry is written behind a flush of its data, and that data is not
 * overwritten while there is doubt.  And no zone becomes active by it.  A reset
 * of all zones leaves no others, so it is a commit of everything without 2.
 *
 * Those who come while a commit runs wait, and the first of them does the next
 * one for them all.  If that fails, it fails for them all.
 *
 * A device of another size is a commit with another header.  The header comes
 * last, and behind a flush, so the table has what it speaks of: zones that are
 * new are in the table before they are in the header, and those that go are
 * EMPTY in it.  Behind the last entry, up to the end of its block, the table
 * has those of EMPTY zones, so the block suits either header.  If the header
 * cannot be written, nobody knows which one the file has; so the next commit
 * writes it again, as does the first one of a process, which may have read it
 * from a cache.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/bitmap.h"
#include "zoned.h"
#include "trace.h"

/* Zones that are added or dropped without releasing the lock */
#define ZONES_PER_LOCK 4096

QEMU_BUILD_BUG_ON(ZONED_ZONES_PER_DIRTY_BIT * ZONED_ENTRY_SIZE !=
                  ZONED_TABLE_BLOCK);

struct ZonedCommitRequest {
    bool all;                   /* all changes, or those of @first to @last? */
    uint32_t first;
    uint32_t last;

    /* While it waits: */
    bool leads;                 /* it is to do the next commit */
    int ret;                    /* else the result of who did it */
    ZonedWaiter waiter;
    QSIMPLEQ_ENTRY(ZonedCommitRequest) next;
};

/* What one commit writes. */
typedef struct CommitBatch {
    /* Those who are served with it, besides the one who does it. */
    QSIMPLEQ_HEAD(, ZonedCommitRequest) served;

    bool all;                   /* all changes, or those of @first to @last? */
    uint32_t first;
    uint32_t last;
    bool adds_data;             /* entries may claim data not yet flushed */
    unsigned long *blocks;      /* the blocks of the table that it writes */
    uint32_t nr_blocks;
    uint64_t *buf;              /* their contents, one behind the other */

    /*
     * If @all: its number, how many lingering resources it frees, and whether
     * it writes the header that there is.
     */
    uint64_t number;
    uint32_t nr_lingering;
    bool header;
} CommitBatch;

void zoned_commit_init(ZonedCommit *commit)
{
    *commit = (ZonedCommit) {};
    QSIMPLEQ_INIT(&commit->waiting);
}

void zoned_commit_doubt(ZonedCommit *commit)
{
    /* One that runs now may have begun before. */
    commit->needed = commit->nr_begun + 1;
}

void zoned_commit_doubt_header(ZonedCommit *commit)
{
    commit->header_in_doubt = true;
}

/* Blocks of the zone table. */
static uint32_t table_blocks(const BDRVZonedState *s)
{
    return DIV_ROUND_UP(s->header.geo.nr_zones, ZONED_ZONES_PER_DIRTY_BIT);
}

/* Where block @block of the table is in the file. */
static int64_t block_offset(const BDRVZonedState *s, uint32_t block)
{
    return s->base + s->header.table_offset +
           (int64_t)block * ZONED_TABLE_BLOCK;
}

/* The first zone of block @block. */
static uint32_t first_zone(uint32_t block)
{
    return block * ZONED_ZONES_PER_DIRTY_BIT;
}

/* How many zones block @block has. */
static uint32_t block_zones(const BDRVZonedState *s, uint32_t block)
{
    return MIN(ZONED_ZONES_PER_DIRTY_BIT,
               s->header.geo.nr_zones - first_zone(block));
}

/* What is behind the @n entries of block @block: zones to come are EMPTY. */
static void encode_spare(const BDRVZonedState *s, uint32_t block, uint32_t n,
                         uint64_t *raw)
{
    const ZonedGeometry *geo = &s->header.geo;
    uint32_t spare = s->zones.max_zones - first_zone(block);

    memset(raw, 0, ZONED_TABLE_BLOCK);
    for (uint32_t j = n; j < MIN(spare, ZONED_ZONES_PER_DIRTY_BIT); j++) {
        uint32_t i = first_zone(block) + j;

        raw[j] = zoned_entry_encode(geo, i, &(ZonedEntry) {
            .cond = BLK_ZS_EMPTY,
            .end = zoned_zone_start(geo, i),
        });
    }
}

/* Block @block of the table as it is now.  Takes the lock. */
static void encode_block(BDRVZonedState *s, uint32_t block, uint64_t *raw)
{
    uint32_t n = block_zones(s, block);

    encode_spare(s, block, n, raw);
    qemu_spin_lock(&s->lock);
    for (uint32_t j = 0; j < n; j++) {
        uint32_t i = first_zone(block) + j;
        uint64_t end = zoned_inflight_stable(s, i);
        ZonedEntry entry = {
            .cond = zoned_zones_image_cond(&s->zones, i, end),
            .end = end,
            .ext_valid = zoned_zones_ext_valid(&s->zones, i),
        };

        raw[j] = zoned_entry_encode(&s->header.geo, i, &entry);
    }
    qemu_spin_unlock(&s->lock);
}

/* Is zone @i one whose changes @batch makes durable? */
static bool is_in_batch(const CommitBatch *batch, uint32_t i)
{
    return i >= batch->first && i <= batch->last;
}

/*
 * Sets @raw, which is to be block @block, to what the file says of all zones
 * that are not in @batch.  If that is not what they are now, the block remains
 * dirty; else it is clean when all of it was written and flushed, and not
 * before: what was read may be in a cache only.  Takes the lock.
 */
static int coroutine_fn GRAPH_RDLOCK keep_others(BlockDriverState *bs,
                                                 const CommitBatch *batch,
                                                 uint32_t block, uint64_t *raw)
{
    BDRVZonedState *s = bs->opaque;
    uint32_t first = first_zone(block);
    uint32_t n = block_zones(s, block);
    bool differ = false;
    uint64_t *old;
    int ret;

    if (is_in_batch(batch, first) && is_in_batch(batch, first + n - 1)) {
        return 0;
    }
    old = qemu_try_blockalign(bs->file->bs, ZONED_TABLE_BLOCK);
    if (!old) {
        return -ENOMEM;
    }
    ret = bdrv_co_pread(bs->file, block_offset(s, block), ZONED_TABLE_BLOCK,
                        old, 0);
    if (ret == 0) {
        for (uint32_t j = 0; j < n; j++) {
            if (!is_in_batch(batch, first + j) && raw[j] != old[j]) {
                raw[j] = old[j];
                differ = true;
            }
        }
    }
    qemu_vfree(old);
    if (differ) {
        qemu_spin_lock(&s->lock);
        zoned_zones_mark_dirty(&s->zones, first);
        qemu_spin_unlock(&s->lock);
    }
    return ret;
}

/*
 * Moves what @batch is to write into it.  A zone that changes meanwhile is
 * dirty again, whatever the batch says of it.  Takes the lock.
 */
static int coroutine_fn GRAPH_RDLOCK take_batch(BlockDriverState *bs,
                                                CommitBatch *batch)
{
    BDRVZonedState *s = bs->opaque;
    uint32_t nr = table_blocks(s);
    uint64_t *raw;
    int ret = 0;

    batch->blocks = bitmap_try_new(nr);
    if (!batch->blocks) {
        return -ENOMEM;
    }
    qemu_spin_lock(&s->lock);
    batch->nr_blocks = zoned_zones_take_dirty(&s->zones, batch->blocks,
                                              batch->first, batch->last);
    qemu_spin_unlock(&s->lock);
    if (batch->nr_blocks == 0) {
        return 0;
    }

    batch->buf = qemu_try_blockalign(bs->file->bs, (size_t)batch->nr_blocks *
                                     ZONED_TABLE_BLOCK);
    if (!batch->buf) {
        return -ENOMEM;
    }
    raw = batch->buf;
    for (uint32_t b = find_first_bit(batch->blocks, nr); b < nr && ret == 0;
         b = find_next_bit(batch->blocks, nr, b + 1)) {
        encode_block(s, b, raw);
        ret = keep_others(bs, batch, b, raw);
        raw += ZONED_ZONES_PER_DIRTY_BIT;
    }
    return ret;
}

/* Writes @batch, a run of adjacent blocks at a time. */
static int coroutine_fn GRAPH_RDLOCK write_batch(BlockDriverState *bs,
                                                 const CommitBatch *batch)
{
    BDRVZonedState *s = bs->opaque;
    uint32_t nr = table_blocks(s);
    uint64_t *raw = batch->buf;
    uint32_t b = find_first_bit(batch->blocks, nr);

    while (b < nr) {
        uint32_t end = find_next_zero_bit(batch->blocks, nr, b);
        int64_t bytes = (int64_t)(end - b) * ZONED_TABLE_BLOCK;
        int ret = bdrv_co_pwrite(bs->file, block_offset(s, b), bytes, raw,
                                 0);

        if (ret < 0) {
            return ret;
        }
        raw += (size_t)(end - b) * ZONED_ZONES_PER_DIRTY_BIT;
        b = find_next_bit(batch->blocks, nr, end);
    }
    return 0;
}

static int coroutine_fn GRAPH_RDLOCK write_header(BlockDriverState *bs,
                                                  const ZonedHeader *h)
{
    BDRVZonedState *s = bs->opaque;
    uint8_t buf[ZONED_HEADER_SIZE];

    zoned_header_encode(h, buf);
    return bdrv_co_pwrite(bs->file, s->base, sizeof(buf), buf, 0);
}

/* Writes @batch, behind the data that it speaks of, and makes it durable. */
static int coroutine_fn GRAPH_RDLOCK commit_batch(BlockDriverState *bs,
                                                  const CommitBatch *batch)
{
    BDRVZonedState *s = bs->opaque;
    int ret = 0;

    if (batch->nr_blocks == 0 && !batch->header) {
        return 0;
    }
    if (batch->adds_data) {
        ret = bdrv_co_flush(bs->file->bs);
    }
    if (ret == 0) {
        ret = write_batch(bs, batch);
    }
    if (ret == 0 && batch->header) {
        ret = write_header(bs, &s->header);
    }
    if (ret == 0) {
        ret = bdrv_co_flush(bs->file->bs);
    }
    return ret;
}

/*
 * The table was committed and suits @h: makes that the header.  If it fails,
 * the file may have either.  Takes the lock.
 */
static int coroutine_fn GRAPH_RDLOCK commit_header(BlockDriverState *bs,
                                                   const ZonedHeader *h)
{
    BDRVZonedState *s = bs->opaque;
    int ret = write_header(bs, h);

    if (ret == 0) {
        ret = bdrv_co_flush(bs->file->bs);
    }
    if (ret < 0) {
        qemu_spin_lock(&s->lock);
        zoned_commit_doubt_header(&s->commit);
        qemu_spin_unlock(&s->lock);
    }
    return ret;
}

/*
 * Waits until @r may be committed.  Called and returns with the lock.
 * Returns false if somebody else has done it, with result @r->ret.
 */
static bool coroutine_fn wait_for_turn(BDRVZonedState *s, ZonedCommitRequest *r)
{
    ZonedCommit *commit = &s->commit;

    if (!commit->running) {
        commit->running = true;
        return true;
    }
    /* What runs now may have begun before our changes. */
    r->leads = false;
    QSIMPLEQ_INSERT_TAIL(&commit->waiting, r, next);
    zoned_wait(s, &r->waiter);
    return r->leads;
}

/*
 * Decides what is to be committed for @r, and for all who wait meanwhile.
 * Called with the lock.  Returns false if there is nothing to do.
 */
static bool begin_batch(BDRVZonedState *s, const ZonedCommitRequest *r,
                        CommitBatch *batch)
{
    ZonedCommit *commit = &s->commit;
    uint32_t last_zone = s->header.geo.nr_zones - 1;
    bool reset_all = !r->all && r->first == 0 && r->last == last_zone;

    QSIMPLEQ_INIT(&batch->served);
    QSIMPLEQ_CONCAT(&batch->served, &commit->waiting);
    batch->adds_data = r->all || !QSIMPLEQ_EMPTY(&batch->served) ||
                       zoned_commit_in_doubt(commit) ||
                       (zoned_zones_need_commit(&s->zones) && !reset_all);
    batch->all = batch->adds_data || reset_all;
    batch->first = batch->all ? 0 : r->first;
    batch->last = batch->all ? last_zone : r->last;
    if (batch->all) {
        batch->number = ++commit->nr_begun;
        batch->nr_lingering = zoned_zones_nr_lingering(&s->zones);
        batch->header = commit->header_in_doubt;
        commit->header_in_doubt = false;
    }
    return zoned_zones_is_dirty(&s->zones) || batch->header;
}

/*
 * @batch was committed with result @ret, or there was nothing to do: the image
 * has it all.  Called with the lock.
 */
static void end_batch(BDRVZonedState *s, CommitBatch *batch, int ret,
                      ZonedWakeList *wake)
{
    ZonedCommit *commit = &s->commit;
    ZonedCommitRequest *r;

    if (ret < 0) {
        commit->header_in_doubt |= batch->header;
        if (batch->blocks) {
            zoned_zones_untake_dirty(&s->zones, batch->blocks);
        }
    } else if (batch->all) {
        zoned_zones_free_lingering(&s->zones, batch->nr_lingering);
        commit->nr_done = batch->number;
    }

    while ((r = QSIMPLEQ_FIRST(&batch->served))) {
        QSIMPLEQ_REMOVE_HEAD(&batch->served, next);
        r->ret = ret;
        zoned_wake(wake, &r->waiter);
    }
    r = QSIMPLEQ_FIRST(&commit->waiting);
    if (r) {
        QSIMPLEQ_REMOVE_HEAD(&commit->waiting, next);
        r->leads = true;
        zoned_wake(wake, &r->waiter);
    } else {
        commit->running = false;
    }
}

/* Writes what @batch is to write. */
static int coroutine_fn GRAPH_RDLOCK run_batch(BlockDriverState *bs,
                                               CommitBatch *batch)
{
    int ret = take_batch(bs, batch);

    trace_zoned_commit_begin(bs, batch->all, batch->nr_blocks);
    if (ret == 0) {
        ret = commit_batch(bs, batch);
    }
    trace_zoned_commit_end(bs, ret);
    return ret;
}

/* @batch has ended with result @ret.  Called with the lock, and releases it. */
static void finish_batch(BlockDriverState *bs, CommitBatch *batch, int ret)
{
    BDRVZonedState *s = bs->opaque;
    ZonedWakeList wake = QSIMPLEQ_HEAD_INITIALIZER(wake);

    end_batch(s, batch, ret, &wake);
    qemu_spin_unlock(&s->lock);
    zoned_wake_all(bs, &wake);

    qemu_vfree(batch->buf);
    g_free(batch->blocks);
}

/* Commits what @r asks for, or more. */
static int coroutine_fn GRAPH_RDLOCK co_commit(BlockDriverState *bs,
                                               ZonedCommitRequest *r)
{
    BDRVZonedState *s = bs->opaque;
    CommitBatch batch = {};
    bool begun;
    int ret = 0;

    qemu_spin_lock(&s->lock);
    if (!wait_for_turn(s, r)) {
        qemu_spin_unlock(&s->lock);
        return r->ret;
    }
    begun = begin_batch(s, r, &batch);
    qemu_spin_unlock(&s->lock);

    if (begun) {
        ret = run_batch(bs, &batch);
    }
    qemu_spin_lock(&s->lock);
    finish_batch(bs, &batch, ret);
    return ret;
}

/*
 * The device gets the size that @h has.  Called with the lock, which is
 * released now and then.
 */
static void set_header(BDRVZonedState *s, const ZonedHeader *h)
{
    uint32_t n = s->header.geo.nr_zones;
    uint32_t new = h->geo.nr_zones;

    while (n != new) {
        if (n < new) {
            uint32_t some = MIN(new - n, ZONES_PER_LOCK);

            zoned_zones_add(&s->zones, some);
            n += some;
        } else {
            uint32_t some = MIN(n - new, ZONES_PER_LOCK);

            zoned_zones_drop(&s->zones, some);
            n -= some;
        }
        qemu_spin_unlock(&s->lock);
        qemu_spin_lock(&s->lock);
    }
    s->header = *h;
    zoned_zones_resize(&s->zones, &h->geo);
    zoned_rules_shrink(s);
}

int coroutine_fn zoned_co_commit_resize(BlockDriverState *bs,
                                        const ZonedHeader *h)
{
    BDRVZonedState *s = bs->opaque;
    ZonedCommitRequest r = { .all = true };
    ZonedHeader old = s->header;
    bool grows = h->geo.size > old.geo.size;
    CommitBatch batch = {};
    int ret;

    qemu_spin_lock(&s->lock);
    while (!wait_for_turn(s, &r)) {
        /* Somebody has committed for us, but not what we are about to change */
    }
    if (grows) {
        set_header(s, h);
    }
    begin_batch(s, &r, &batch);
    qemu_spin_unlock(&s->lock);

    ret = run_batch(bs, &batch);
    if (ret == 0) {
        ret = commit_header(bs, h);
    }

    qemu_spin_lock(&s->lock);
    if (grows && ret < 0) {
        set_header(s, &old);
    } else if (!grows && ret == 0) {
        set_header(s, h);
    }
    finish_batch(bs, &batch, ret);
    return ret;
}

int coroutine_fn zoned_co_commit(BlockDriverState *bs)
{
    ZonedCommitRequest r = { .all = true };

    return co_commit(bs, &r);
}

int coroutine_fn zoned_co_commit_reset(BlockDriverState *bs, uint32_t first,
                                       uint32_t last)
{
    ZonedCommitRequest r = { .first = first, .last = last };

    return co_commit(bs, &r);
}

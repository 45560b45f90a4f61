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
 * Between 1 and 3 zones go on changing.  Writes only add data behind the
 * address that was taken, and what takes data away (reset) holds the zone to
 * itself until it is committed; so the address stays true.
 *
 * A reset takes data away and adds none, so its commit leaves out 2, and
 * changes nothing in the table but the entries of its own zones.  Of the
 * others in the same blocks, whose data may not be durable yet, it writes what
 * the file says already.  That is true, even if it comes from a commit that has
 * failed: an entry is written behind a flush of its data, and that data is not
 * overwritten until the failure is settled.  And no zone becomes active by it.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/bitmap.h"
#include "zoned.h"
#include "trace.h"

QEMU_BUILD_BUG_ON(ZONED_ZONES_PER_DIRTY_BIT * ZONED_ENTRY_SIZE !=
                  ZONED_TABLE_BLOCK);

/* What one commit writes. */
typedef struct CommitBatch {
    bool all;                   /* all changes, or those of @first to @last? */
    uint32_t first;
    uint32_t last;
    unsigned long *blocks;      /* the blocks of the table that it writes */
    uint32_t nr_blocks;
    uint64_t *buf;              /* their contents, one behind the other */

    /* If @all: its number, and what it settles, see ZonedCommit, ZonedZones */
    uint64_t number;
    uint64_t nr_resets_failed;
    uint32_t nr_unsettled;
} CommitBatch;

void zoned_commit_init(ZonedCommit *commit)
{
    *commit = (ZonedCommit) {};
    qemu_co_queue_init(&commit->waiters);
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

/* Block @block of the table as it is now.  Takes the lock. */
static void encode_block(BDRVZonedState *s, uint32_t block, uint64_t *raw)
{
    uint32_t n = block_zones(s, block);

    memset(raw, 0, ZONED_TABLE_BLOCK);
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
    return batch->all || (i >= batch->first && i <= batch->last);
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

/* Moves the dirty blocks of @batch into it, without their contents. */
static void take_dirty_blocks(BDRVZonedState *s, CommitBatch *batch)
{
    ZonedZones *z = &s->zones;
    uint32_t nr = table_blocks(s);
    uint32_t nr_dirty = z->nr_dirty;

    bitmap_copy(batch->blocks, z->dirty, nr);
    if (!batch->all) {
        uint32_t end = batch->last / ZONED_ZONES_PER_DIRTY_BIT + 1;

        bitmap_clear(batch->blocks, 0,
                     batch->first / ZONED_ZONES_PER_DIRTY_BIT);
        bitmap_clear(batch->blocks, end, nr - end);
    }
    bitmap_andnot(z->dirty, z->dirty, batch->blocks, nr);
    z->nr_dirty = bitmap_count_one(z->dirty, nr);
    batch->nr_blocks = nr_dirty - z->nr_dirty;
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
    take_dirty_blocks(s, batch);
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

/* Gives back what could not be written; called with the lock. */
static void untake_batch(BDRVZonedState *s, const CommitBatch *batch)
{
    uint32_t nr = table_blocks(s);

    bitmap_or(s->zones.dirty, s->zones.dirty, batch->blocks, nr);
    s->zones.nr_dirty = bitmap_count_one(s->zones.dirty, nr);
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

/* Writes @batch, behind the data that it speaks of, and makes it durable. */
static int coroutine_fn GRAPH_RDLOCK commit_batch(BlockDriverState *bs,
                                                  const CommitBatch *batch)
{
    int ret = 0;

    if (batch->nr_blocks == 0) {
        return 0;
    }
    if (batch->all) {
        ret = bdrv_co_flush(bs->file->bs);
    }
    if (ret == 0) {
        ret = write_batch(bs, batch);
    }
    if (ret == 0) {
        ret = bdrv_co_flush(bs->file->bs);
    }
    return ret;
}

/*
 * Waits until @batch may be committed, which becomes a commit of everything if
 * that serves others, see zoned_co_commit_reset().  Called and returns with the
 * lock.  Returns false if there is nothing left to do.
 */
static bool coroutine_fn begin_commit(BDRVZonedState *s, CommitBatch *batch)
{
    ZonedCommit *commit = &s->commit;
    /* One that runs now may have begun before our changes. */
    uint64_t next = commit->nr_begun + 1;

    commit->nr_waiting++;
    while (commit->running && commit->nr_done < next) {
        qemu_co_queue_wait(&commit->waiters, &s->lock);
    }
    commit->nr_waiting--;

    if (commit->nr_done >= next) {
        return false;
    }
    if (s->zones.nr_dirty == 0) {
        /*
         * The image has it all.  So it has what resets have made durable and
         * not counted; and what they could not make durable, if another commit
         * did so before they had counted it.
         */
        s->zones.nr_unsettled = 0;
        commit->nr_resets_settled = commit->nr_resets_failed;
        return false;
    }
    if (commit->nr_waiting > 0 || zoned_resets_unsettled(s) ||
        zoned_zones_need_commit(&s->zones)) {
        batch->all = true;
    }
    if (batch->all) {
        batch->number = ++commit->nr_begun;
        batch->nr_resets_failed = commit->nr_resets_failed;
        batch->nr_unsettled = s->zones.nr_unsettled;
    }
    commit->running = true;
    return true;
}

/* @batch was committed with result @ret.  Called with the lock. */
static void coroutine_fn end_commit(BDRVZonedState *s, const CommitBatch *batch,
                                    int ret)
{
    ZonedCommit *commit = &s->commit;

    if (ret < 0 && batch->blocks) {
        untake_batch(s, batch);
    } else if (ret == 0 && batch->all) {
        s->zones.nr_unsettled -= batch->nr_unsettled;
        commit->nr_resets_settled = batch->nr_resets_failed;
        commit->nr_done = batch->number;
    }
    commit->running = false;
    qemu_co_queue_restart_all(&commit->waiters);
}

/* Commits what @batch says, or more. */
static int coroutine_fn GRAPH_RDLOCK co_commit(BlockDriverState *bs,
                                               CommitBatch *batch)
{
    BDRVZonedState *s = bs->opaque;
    bool begun;
    int ret;

    qemu_spin_lock(&s->lock);
    begun = begin_commit(s, batch);
    qemu_spin_unlock(&s->lock);
    if (!begun) {
        return 0;
    }

    ret = take_batch(bs, batch);
    trace_zoned_commit_begin(bs, batch->all, batch->nr_blocks);
    if (ret == 0) {
        ret = commit_batch(bs, batch);
    }
    trace_zoned_commit_end(bs, ret);

    qemu_spin_lock(&s->lock);
    end_commit(s, batch, ret);
    qemu_spin_unlock(&s->lock);

    qemu_vfree(batch->buf);
    g_free(batch->blocks);
    return ret;
}

int coroutine_fn zoned_co_commit(BlockDriverState *bs)
{
    CommitBatch batch = { .all = true };

    return co_commit(bs, &batch);
}

int coroutine_fn zoned_co_commit_reset(BlockDriverState *bs, uint32_t first,
                                       uint32_t last)
{
    CommitBatch batch = { .first = first, .last = last };

    return co_commit(bs, &batch);
}

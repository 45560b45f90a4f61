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
    unsigned long *blocks;      /* the blocks of the table that it writes */
    uint32_t nr_blocks;
    uint8_t *buf;               /* their contents, one behind the other */
    uint32_t nr_unsettled;      /* zones that it settles, see ZonedZones */
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

/* Block @block of the table as it is now.  Takes the lock. */
static void encode_block(BDRVZonedState *s, uint32_t block, uint8_t *buf)
{
    const ZonedGeometry *geo = &s->header.geo;
    uint32_t first = block * ZONED_ZONES_PER_DIRTY_BIT;
    uint32_t n = MIN(ZONED_ZONES_PER_DIRTY_BIT, geo->nr_zones - first);
    uint64_t *raw = (uint64_t *)buf;

    memset(buf, 0, ZONED_TABLE_BLOCK);
    qemu_spin_lock(&s->lock);
    for (uint32_t j = 0; j < n; j++) {
        uint32_t i = first + j;
        uint64_t end = zoned_inflight_stable(s, i);
        ZonedEntry entry = {
            .cond = zoned_zones_image_cond(&s->zones, i, end),
            .end = end,
            .ext_valid = zoned_zones_ext_valid(&s->zones, i),
        };

        raw[j] = zoned_entry_encode(geo, i, &entry);
    }
    qemu_spin_unlock(&s->lock);
}

/*
 * Moves all dirty blocks into @batch.  A zone that changes meanwhile is dirty
 * again, whatever the batch says of it.  Takes the lock.
 */
static int GRAPH_RDLOCK take_batch(BlockDriverState *bs, CommitBatch *batch)
{
    BDRVZonedState *s = bs->opaque;
    ZonedZones *z = &s->zones;
    uint32_t nr = table_blocks(s);
    uint8_t *p;

    batch->blocks = bitmap_try_new(nr);
    if (!batch->blocks) {
        return -ENOMEM;
    }
    qemu_spin_lock(&s->lock);
    batch->nr_blocks = z->nr_dirty;
    batch->nr_unsettled = z->nr_unsettled;
    bitmap_copy(batch->blocks, z->dirty, nr);
    bitmap_zero(z->dirty, nr);
    z->nr_dirty = 0;
    qemu_spin_unlock(&s->lock);

    batch->buf = qemu_try_blockalign(bs->file->bs, (size_t)batch->nr_blocks *
                                     ZONED_TABLE_BLOCK);
    if (!batch->buf) {
        return -ENOMEM;
    }
    p = batch->buf;
    for (uint32_t b = find_first_bit(batch->blocks, nr); b < nr;
         b = find_next_bit(batch->blocks, nr, b + 1)) {
        encode_block(s, b, p);
        p += ZONED_TABLE_BLOCK;
    }
    return 0;
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
    uint8_t *p = batch->buf;
    uint32_t b = find_first_bit(batch->blocks, nr);

    while (b < nr) {
        uint32_t end = find_next_zero_bit(batch->blocks, nr, b);
        int64_t bytes = (int64_t)(end - b) * ZONED_TABLE_BLOCK;
        int64_t offset = s->base + s->header.table_offset +
                         (int64_t)b * ZONED_TABLE_BLOCK;
        int ret = bdrv_co_pwrite(bs->file, offset, bytes, p, 0);

        if (ret < 0) {
            return ret;
        }
        p += bytes;
        b = find_next_bit(batch->blocks, nr, end);
    }
    return 0;
}

/* Writes @batch, behind the data that it speaks of, and makes it durable. */
static int coroutine_fn GRAPH_RDLOCK commit_batch(BlockDriverState *bs,
                                                  const CommitBatch *batch)
{
    int ret = bdrv_co_flush(bs->file->bs);

    if (ret == 0) {
        ret = write_batch(bs, batch);
    }
    if (ret == 0) {
        ret = bdrv_co_flush(bs->file->bs);
    }
    return ret;
}

int coroutine_fn zoned_co_commit(BlockDriverState *bs)
{
    BDRVZonedState *s = bs->opaque;
    ZonedCommit *commit = &s->commit;
    CommitBatch batch = {};
    uint64_t nr_resets_failed;
    int ret;

    qemu_spin_lock(&s->lock);
    while (commit->running) {
        /* It may have begun before our changes; the next one includes them. */
        qemu_co_queue_wait(&commit->waiters, &s->lock);
    }
    if (s->zones.nr_dirty == 0) {
        /*
         * The image has it all.  That is so for a reset, too, whose own commit
         * failed, and which another one made good before it was counted.
         */
        commit->nr_resets_settled = commit->nr_resets_failed;
        qemu_spin_unlock(&s->lock);
        return 0;
    }
    commit->running = true;
    nr_resets_failed = commit->nr_resets_failed;
    qemu_spin_unlock(&s->lock);

    ret = take_batch(bs, &batch);
    trace_zoned_commit_begin(bs, batch.nr_blocks);
    if (ret == 0) {
        ret = commit_batch(bs, &batch);
    }
    trace_zoned_commit_end(bs, ret);

    qemu_spin_lock(&s->lock);
    if (ret == 0) {
        s->zones.nr_unsettled -= batch.nr_unsettled;
        commit->nr_resets_settled = nr_resets_failed;
    } else if (batch.blocks) {
        untake_batch(s, &batch);
    }
    commit->running = false;
    qemu_co_queue_restart_all(&commit->waiters);
    qemu_spin_unlock(&s->lock);

    qemu_vfree(batch.buf);
    g_free(batch.blocks);
    return ret;
}

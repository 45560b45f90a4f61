/*
 * zoned block format driver: write-back of the zone table
 *
 * The rule: whatever a crash leaves of the file, the image in it must not claim
 * data that is not there.
 *
 * The image says what zones are like in its zone table and, in front of that,
 * in a log: records, each with the entries of zones that have changed.  What a
 * record says of a zone counts more than the table and the records before it.
 * A commit is one of two:
 *
 * A record, and one flush.  Under the lock it takes each dirty zone, up to the
 * address below which the data of all writes is in the file, with checksums of
 * what was not flushed of that data (zoned-sums.h).  The record is written
 * behind the one before, and a flush makes record and data durable at once.  If
 * there is data without a sum, a flush goes before, and the record needs no
 * sums.
 *
 * A full commit.  It takes the same, of all zones that are dirty or named in
 * the log; flushes the file; writes their blocks of the table; flushes; writes
 * the head of the log, with a new epoch; and flushes again.  The head is one
 * sector, and what is in it makes records of other epochs void: the log is
 * empty.
 *
 * A record is valid if it has the epoch of the head and the right checksum of
 * its own; it ends the log if not, and the last one counts only if the file has
 * the data that it has sums of.  So when the power fails:
 *
 *   - The last record is valid: all that it speaks of is there.  It is not: it
 *     was not durable, so nobody was told that it is, and the state before is
 *     intact, as nothing that is visible in that one is overwritten or
 *     discarded before the record that takes it away is durable (zoned-mgmt.c).
 *   - The data of earlier records needs no look: none is written before the
 *     flush of the one before has succeeded.
 *   - The table may have blocks of a full commit that has not ended.  It was
 *     flushed what they speak of; and what the log names, it overrides.  An
 *     entry is 8 bytes and never crosses a sector, so each is old or new.
 *   - No more zones are active than there may be, however entries of one commit
 *     and of the one before are mixed: see ZonedZones.nr_lingering.
 *
 * The sums are those of the bytes that were sent to the file: a guest may
 * change its buffer meanwhile, so what is summed is a copy (write_and_sum()).
 * Between the taking and the flush zones go on changing.  Writes only add data
 * behind the address that was taken, and what takes data away holds the zone to
 * itself until it is committed; so what was taken stays true.
 *
 * When anything fails, nobody knows what the file has, or will have, of the
 * record or the table.  It may be valid still.  So the next commit is a full
 * one, of all that was named, and no record of this epoch is ever written
 * again.  If data was taken back that a commit may have counted, or what was to
 * be durably gone may not be, there is doubt (zoned_commit_doubt()) until a
 * commit has succeeded that began later: nothing is overwritten meanwhile.
 *
 * What is read when the image is opened may be in a cache only, as the process
 * that wrote it may have died before its flush.  It is true; but it is not
 * durable, and what was before may come back.  To flush would not do, as the
 * block layer leaves that out for a file that this process has not written, and
 * a kernel that once failed to write a page may not try again.  So there is
 * doubt then, and the first commit takes over: it writes again the data that
 * the last record has sums of, if it still has these, and is a full one of all
 * blocks of the table, and of the header.  Another process may then rely on all
 * of it.  Who leaves the image to others, or closes it, empties the log.  Only
 * who closes it with an empty log, and has changed no zone and flushed nothing,
 * leaves it as it is: whoever opens it next is in doubt, too.
 *
 * Neither records nor the head are written with FUA.  Where that is emulated,
 * the next flush of the file is one more; and where it is not, an error of what
 * was written before may be told to it, and no more to the next flush.
 *
 * A reset takes data away and adds none.  So its record, if nobody waits for
 * more, names its zones alone, and needs no flush before, whatever is written
 * elsewhere.  No zone becomes active by it.  If a zone has failed by it, that
 * is in the record, too: with sums of its data, or behind a flush.
 *
 * Those who come while a commit runs wait, and the first of them does the next
 * one for them all.  If that fails, it fails for them all.
 *
 * A device of another size is a full commit, then another header.  The header
 * comes last, and behind a flush, so the table has what it speaks of, and the
 * log is empty: zones that are new are in the table before they are in the
 * header, and those that go are EMPTY in it.  If the full commit has to write
 * the header, it is the old one.  Behind the last entry, up to the end of its
 * block, the table has those of EMPTY zones, so the block suits either header.
 * If the new header cannot be written, nobody knows which one the file has; so
 * the next commit is a full one that writes the old one again.
 *
 * An image without a log is only written by a repair: all its commits are full
 * ones, without a head.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/bitmap.h"
#include "zoned.h"
#include "trace.h"

/* Zones that are taken, added or dropped without releasing the lock */
#define ZONES_PER_LOCK 512

QEMU_BUILD_BUG_ON(ZONED_ZONES_PER_BLOCK * ZONED_ENTRY_SIZE !=
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
    bool full;                  /* it writes the table, not a record */
    const ZonedHeader *header;  /* with this header, if that is in doubt */

    /* If @all: its number, and how many lingering resources it frees. */
    uint64_t number;
    uint32_t nr_lingering;

    /* Its flush covers what was written up to this generation. */
    uint64_t generation;

    /* A record: what it says, and how many blocks of the log it takes. */
    GArray *runs;               /* ZonedLogRun */
    ZonedLogSum sums[ZONED_SUMS_MAX];
    uint32_t nr_sums;
    uint32_t nr_blocks;
    bool adds_data;             /* a zone that it names is not EMPTY */
    bool unsummed;              /* data may be without a sum */
} CommitBatch;

void zoned_commit_init(ZonedCommit *commit, uint32_t max_zones)
{
    *commit = (ZonedCommit) {
        .named = bitmap_new(DIV_ROUND_UP(max_zones, ZONED_ZONES_PER_BLOCK)),
    };
    QSIMPLEQ_INIT(&commit->waiting);
}

void zoned_commit_destroy(ZonedCommit *commit)
{
    g_clear_pointer(&commit->named, g_free);
    g_clear_pointer(&commit->found, g_free);
}

void zoned_commit_doubt(ZonedCommit *commit)
{
    /* One that runs now may have begun before. */
    commit->needed = commit->nr_begun + 1;
}

void zoned_commit_doubt_header(ZonedCommit *commit)
{
    commit->header_in_doubt = commit->full = true;
}

/* Blocks of the zone table. */
static uint32_t table_blocks(const BDRVZonedState *s)
{
    return DIV_ROUND_UP(s->header.geo.nr_zones, ZONED_ZONES_PER_BLOCK);
}

void zoned_commit_take_over(BDRVZonedState *s)
{
    zoned_commit_doubt(&s->commit);
    zoned_commit_doubt_header(&s->commit);
    bitmap_set(s->commit.named, 0, table_blocks(s));
}

void zoned_commit_empty_log(BDRVZonedState *s)
{
    s->commit.full |= s->commit.next_block > 1;
}

bool zoned_commit_is_idle(const BDRVZonedState *s)
{
    return s->commit.nr_begun == 0 && s->commit.next_block == 1 &&
           !zoned_zones_is_dirty(&s->zones);
}

/* Where block @block of the table is in the file. */
static int64_t block_offset(const BDRVZonedState *s, uint32_t block)
{
    return s->base + s->header.table_offset +
           (int64_t)block * ZONED_TABLE_BLOCK;
}

/* The entry of zone @i, of what is in the file.  Called with the lock. */
static uint64_t encode_zone(const BDRVZonedState *s, uint32_t i)
{
    uint64_t end = zoned_inflight_stable(s, i);

    return zoned_entry_encode(&s->header.geo, i, &(ZonedEntry) {
        .cond = zoned_zones_image_cond(&s->zones, i, end),
        .end = end,
        .ext_valid = zoned_zones_ext_valid(&s->zones, i),
    });
}

/*
 * Block @block of the table as it is now; zones to come are EMPTY.  Takes the
 * lock.
 */
static void encode_block(BDRVZonedState *s, uint32_t block, uint64_t *raw)
{
    const ZonedGeometry *geo = &s->header.geo;
    uint32_t first = block * ZONED_ZONES_PER_BLOCK;
    uint32_t n = MIN(s->zones.max_zones - first, ZONED_ZONES_PER_BLOCK);

    memset(raw, 0, ZONED_TABLE_BLOCK);
    qemu_spin_lock(&s->lock);
    for (uint32_t j = 0; j < n; j++) {
        ZonedEntry new = zoned_entry_new(geo, first + j);

        raw[j] = first + j < geo->nr_zones
                 ? encode_zone(s, first + j)
                 : zoned_entry_encode(geo, first + j, &new);
    }
    qemu_spin_unlock(&s->lock);
}

/* Adds zone @i, with entry @value, to what @batch says of those before it. */
static void add_to_runs(const BDRVZonedState *s, CommitBatch *batch, uint32_t i,
                        uint64_t value)
{
    ZonedLogRun run = { .zone = i, .nr_zones = 1, .value = value };
    uint64_t zone_size = s->header.geo.zone_size;

    set_bit(i / ZONED_ZONES_PER_BLOCK, s->commit.named);
    if (batch->runs->len > 0) {
        ZonedLogRun *last = &g_array_index(batch->runs, ZonedLogRun,
                                           batch->runs->len - 1);

        if (i == last->zone + last->nr_zones &&
            value == last->value + last->nr_zones * zone_size) {
            last->nr_zones++;
            return;
        }
    }
    g_array_append_val(batch->runs, run);
}

/*
 * All zones were taken.  Adds what is summed of their data, for a record.  With
 * the lock, under which they were taken if they are not @many.
 */
static void take_sums(BDRVZonedState *s, CommitBatch *batch, bool many)
{
    const ZonedSums *sums = &s->sums;

    batch->generation = zoned_sums_begin_flush(&s->sums);
    batch->unsummed = many || sums->unsummed;
    for (uint32_t j = 0; j < sums->nr && !batch->unsummed; j++) {
        const ZonedLogSum *sum = &sums->sum[j];
        uint32_t i = zoned_zone_index(&s->header.geo, sum->address);

        if (i >= batch->first && i <= batch->last &&
            sum->address < zoned_inflight_stable(s, i)) {
            batch->sums[batch->nr_sums++] = *sum;
        }
    }
}

/*
 * Moves dirty zones, and what is summed of their data, into @batch.  A zone
 * that changes meanwhile is dirty again.  Takes the lock.
 */
static void take_changes(BDRVZonedState *s, CommitBatch *batch)
{
    uint32_t zones[ZONES_PER_LOCK];
    uint64_t raw[ZONES_PER_LOCK];
    uint32_t next = batch->first;
    uint32_t n;

    batch->runs = g_array_new(false, false, sizeof(ZonedLogRun));
    do {
        qemu_spin_lock(&s->lock);
        n = zoned_zones_take_dirty(&s->zones, next, batch->last, zones,
                                   ZONES_PER_LOCK);
        for (uint32_t j = 0; j < n; j++) {
            raw[j] = encode_zone(s, zones[j]);
            batch->adds_data |= zoned_zones_cond(&s->zones, zones[j]) !=
                                BLK_ZS_EMPTY;
        }
        if (n < ZONES_PER_LOCK) {
            take_sums(s, batch, next > batch->first);
        }
        qemu_spin_unlock(&s->lock);

        for (uint32_t j = 0; j < n; j++) {
            add_to_runs(s, batch, zones[j], le64_to_cpu(raw[j]));
            next = zones[j] + 1;
        }
    } while (n == ZONES_PER_LOCK);
}

/* Writes @batch as a record and makes it durable, with its data. */
static int coroutine_fn GRAPH_RDLOCK write_record(BlockDriverState *bs,
                                                  CommitBatch *batch)
{
    BDRVZonedState *s = bs->opaque;
    const ZonedCommit *commit = &s->commit;
    size_t bytes = (size_t)batch->nr_blocks * ZONED_LOG_BLOCK;
    uint8_t *buf = qemu_try_blockalign(bs->file->bs, bytes);
    int ret = 0;

    if (!buf) {
        return -ENOMEM;
    }
    if (batch->unsummed && batch->adds_data) {
        ret = bdrv_co_flush(bs->file->bs);
    }
    if (ret == 0) {
        zoned_log_record_encode(commit->epoch, commit->next_block,
                                (ZonedLogRun *)batch->runs->data,
                                batch->runs->len, batch->sums, batch->nr_sums,
                                buf);
        ret = bdrv_co_pwrite(bs->file, zoned_log_offset(s, commit->next_block),
                             bytes, buf, 0);
    }
    qemu_vfree(buf);
    return ret < 0 ? ret : bdrv_co_flush(bs->file->bs);
}

/* Writes the blocks of the table that are named; @buf has them. */
static int coroutine_fn GRAPH_RDLOCK write_table(BlockDriverState *bs,
                                                 const uint64_t *buf)
{
    BDRVZonedState *s = bs->opaque;
    const unsigned long *named = s->commit.named;
    uint32_t nr = table_blocks(s);
    uint32_t b = find_first_bit(named, nr);

    while (b < nr) {
        uint32_t end = find_next_zero_bit(named, nr, b);
        int64_t bytes = (int64_t)(end - b) * ZONED_TABLE_BLOCK;
        int ret = bdrv_co_pwrite(bs->file, block_offset(s, b), bytes, buf, 0);

        if (ret < 0) {
            return ret;
        }
        buf += (size_t)(end - b) * ZONED_ZONES_PER_BLOCK;
        b = find_next_bit(named, nr, end);
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

/* What the log says is in the table: empties it. */
static int coroutine_fn GRAPH_RDLOCK write_head(BlockDriverState *bs)
{
    BDRVZonedState *s = bs->opaque;
    uint8_t *buf;
    int ret;

    if (s->header.log_blocks == 0) {
        return 0;
    }
    if (s->commit.epoch == ZONED_LOG_MAX_EPOCH) {
        return -EOVERFLOW;
    }
    buf = qemu_try_blockalign(bs->file->bs, ZONED_LOG_BLOCK);
    if (!buf) {
        return -ENOMEM;
    }
    zoned_log_head_encode(s->commit.epoch + 1, buf);
    ret = bdrv_co_pwrite(bs->file, zoned_log_offset(s, 0), ZONED_LOG_BLOCK, buf,
                         0);
    qemu_vfree(buf);
    return ret < 0 ? ret : bdrv_co_flush(bs->file->bs);
}

/* Writes the table, @buf of it, behind the data that it speaks of. */
static int coroutine_fn GRAPH_RDLOCK write_full(BlockDriverState *bs,
                                                const ZonedHeader *header,
                                                const uint64_t *buf)
{
    BDRVZonedState *s = bs->opaque;
    int ret = bdrv_co_flush(bs->file->bs);

    if (ret == 0) {
        ret = write_table(bs, buf);
    }
    if (ret == 0 && s->commit.header_in_doubt) {
        ret = write_header(bs, header);
    }
    if (ret == 0) {
        ret = bdrv_co_flush(bs->file->bs);
    }
    return ret < 0 ? ret : write_head(bs);
}

/* Does @batch as a full commit of all zones.  Takes the lock. */
static int coroutine_fn GRAPH_RDLOCK commit_full(BlockDriverState *bs,
                                                 CommitBatch *batch)
{
    BDRVZonedState *s = bs->opaque;
    const unsigned long *named = s->commit.named;
    uint32_t nr = table_blocks(s);
    uint64_t *buf, *raw;
    int ret;

    ret = zoned_log_rewrite_data(bs);
    if (ret < 0) {
        return ret;
    }
    buf = raw = qemu_try_blockalign(bs->file->bs, ZONED_TABLE_BLOCK *
                                    bitmap_count_one(named, nr));
    if (!buf) {
        return -ENOMEM;
    }
    for (uint32_t b = find_first_bit(named, nr); b < nr;
         b = find_next_bit(named, nr, b + 1)) {
        encode_block(s, b, raw);
        raw += ZONED_ZONES_PER_BLOCK;
    }
    ret = write_full(bs, batch->header, buf);
    qemu_vfree(buf);
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

    QSIMPLEQ_INIT(&batch->served);
    QSIMPLEQ_CONCAT(&batch->served, &commit->waiting);
    batch->full = commit->full || commit->next_block == s->header.log_blocks;
    batch->all = r->all || !QSIMPLEQ_EMPTY(&batch->served) || batch->full ||
                 (r->first == 0 && r->last == last_zone) ||
                 zoned_commit_in_doubt(commit) ||
                 zoned_zones_need_commit(&s->zones);
    batch->first = batch->all ? 0 : r->first;
    batch->last = batch->all ? last_zone : r->last;
    batch->header = &s->header;
    if (batch->all) {
        batch->number = ++commit->nr_begun;
        batch->nr_lingering = zoned_zones_nr_lingering(&s->zones);
    }
    return zoned_zones_is_dirty(&s->zones) || commit->full;
}

/* @batch was committed.  Called with the lock. */
static void batch_succeeded(BDRVZonedState *s, const CommitBatch *batch)
{
    ZonedCommit *commit = &s->commit;

    zoned_sums_flushed(&s->sums, batch->generation);
    commit->next_block += batch->nr_blocks;
    if (batch->full) {
        bitmap_zero(commit->named, table_blocks(s));
        commit->full = commit->header_in_doubt = false;
        commit->epoch++;
        commit->next_block = MIN(1, s->header.log_blocks);
        commit->nr_found = 0;
    }
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
        commit->full = true;
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

/*
 * Writes what @batch is to write.  Returns 1 if a flush of the file that began
 * with it has succeeded, 0 if there was nothing to do.  Takes the lock.
 */
static int coroutine_fn GRAPH_RDLOCK run_batch(BlockDriverState *bs,
                                               CommitBatch *batch)
{
    BDRVZonedState *s = bs->opaque;
    int ret;

    take_changes(s, batch);
    if (!batch->full) {
        if (batch->runs->len == 0) {
            return 0;
        }
        batch->nr_blocks = DIV_ROUND_UP(
            zoned_log_record_size(batch->runs->len, batch->nr_sums),
            ZONED_LOG_BLOCK);
        batch->full = batch->nr_blocks >
                      s->header.log_blocks - s->commit.next_block;
    }
    trace_zoned_commit_begin(bs, batch->all, batch->full, batch->nr_blocks);
    ret = batch->full ? commit_full(bs, batch) : write_record(bs, batch);
    trace_zoned_commit_end(bs, ret);
    if (ret == 0) {
        qemu_spin_lock(&s->lock);
        batch_succeeded(s, batch);
        qemu_spin_unlock(&s->lock);
    }
    return ret < 0 ? ret : 1;
}

/* @batch has ended with result @ret.  Called with the lock, and releases it. */
static void finish_batch(BlockDriverState *bs, CommitBatch *batch, int ret)
{
    BDRVZonedState *s = bs->opaque;
    ZonedWakeList wake = QSIMPLEQ_HEAD_INITIALIZER(wake);

    end_batch(s, batch, ret, &wake);
    qemu_spin_unlock(&s->lock);
    zoned_wake_all(bs, &wake);

    if (batch->runs) {
        g_array_free(batch->runs, true);
    }
}

/*
 * Commits what @r asks for, or more.  Returns 1 if what was written to the file
 * before the call is durable now, 0 if there was nothing to commit.
 */
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
    s->commit.full = true;
    begin_batch(s, &r, &batch);
    batch.header = &old;
    qemu_spin_unlock(&s->lock);

    ret = run_batch(bs, &batch);
    if (ret >= 0) {
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

    return MIN(co_commit(bs, &r), 0);
}

int coroutine_fn zoned_co_commit_and_flush(BlockDriverState *bs)
{
    ZonedCommitRequest r = { .all = true };
    int ret = co_commit(bs, &r);

    return ret == 0 ? bdrv_co_flush(bs->file->bs) : MIN(ret, 0);
}

int coroutine_fn zoned_co_commit_reset(BlockDriverState *bs, uint32_t first,
                                       uint32_t last)
{
    ZonedCommitRequest r = { .first = first, .last = last };

    return MIN(co_commit(bs, &r), 0);
}

/*
 * A disk for tests of power cuts, below the zoned block format driver
 *
 * Each request is recorded when it is submitted and when it is done: that is
 * what decides whether a flush covers a write.  (blklogwrites has the order of
 * completions only.  A write that completes while a flush runs is in its log
 * in front of the flush, as if it were covered; so the log would hide what it
 * is to find.)
 *
 * What was submitted is in the cache at once, but for what a request that fails
 * or a process that dies has lost.  Only what a flush has covered is on the
 * disk, whoever has sent it; and when a flush fails, the cache may forget that
 * something was to be written, so that no later flush does it.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/bitmap.h"
#include "qemu/bitops.h"
#include "qapi/error.h"
#include "block/block_int.h"
#include "zoned-crash-disk.h"

/* A coroutine that waits until it is chosen to go on. */
typedef struct Parked {
    Coroutine *co;
    unsigned weight;
} Parked;

/*
 * Scheduling: whoever would wait parks, and one of the parked is chosen.
 */

void coroutine_fn disk_park(Disk *d, unsigned weight)
{
    Parked parked = { .co = qemu_coroutine_self(), .weight = weight };

    if (!d->parking) {
        return;
    }
    g_array_append_val(d->parked, parked);
    qemu_coroutine_yield();
}

void disk_wake_one(Disk *d)
{
    unsigned total = 0;
    unsigned chosen;
    Parked parked;
    guint i;

    for (i = 0; i < d->parked->len; i++) {
        total += g_array_index(d->parked, Parked, i).weight;
    }
    chosen = random_below(d->random, total);
    for (i = 0; ; i++) {
        parked = g_array_index(d->parked, Parked, i);
        if (chosen < parked.weight) {
            break;
        }
        chosen -= parked.weight;
    }
    g_array_remove_index_fast(d->parked, i);
    aio_co_enter(qemu_get_aio_context(), parked.co);
}

/*
 * The record.
 */

int64_t disk_now(const Disk *d)
{
    return d->events->len;
}

static void add_event(Disk *d, EventType type, Request *request)
{
    Event event = { .type = type, .request = request };

    g_array_append_val(d->events, event);
}

void disk_add_op(Disk *d, EventType type, JudgeOp *op)
{
    Event event = { .type = type, .op = op };

    g_array_append_val(d->events, event);
}

void disk_add_view(Disk *d, Content *view)
{
    Event event = { .type = EVENT_OPEN, .view = view };

    g_array_append_val(d->events, event);
    d->nr_old = d->requests->len;
}

void disk_forget(Disk *d)
{
    for (guint i = 0; i < d->events->len; i++) {
        g_free(g_array_index(d->events, Event, i).view);
    }
    g_array_set_size(d->events, 0);
    g_ptr_array_set_size(d->requests, 0);
    d->nr_old = 0;
}

void disk_describe_event(const Event *event, int64_t time, GString *text)
{
    static const char *const names[] = { "write", "discard", "flush" };
    const Request *q = event->request;

    switch (event->type) {
    case EVENT_SUBMIT:
    case EVENT_DONE:
        g_string_append_printf(text, "%6" PRId64 " %s %s sectors %u+%u", time,
                               event->type == EVENT_SUBMIT ? "submit" : "done",
                               names[q->type], q->first, q->nr);
        if (event->type == EVENT_DONE) {
            g_string_append_printf(text, ": %d%s", q->ret,
                                   q->dropped ? ", dropped later" : "");
        }
        g_string_append_printf(text, ", %ld lost",
                               bitmap_count_one(q->lost, q->nr));
        break;
    case EVENT_DIE:
    case EVENT_OPEN:
        g_string_append_printf(text, "%6" PRId64 " a process %s", time,
                               event->type == EVENT_DIE ? "dies" : "begins");
        break;
    default:
        g_string_append_printf(text, "%6" PRId64 " %s operation %" PRIu64,
                               time, event->type == EVENT_BEGIN ? "begin"
                                                                : "ack",
                               event->op->number);
    }
    g_string_append(text, "\n");
}

/*
 * Requests.
 */

static Request *request_new(Disk *d, RequestType type, int64_t offset,
                            int64_t bytes)
{
    Request *q = g_new0(Request, 1);

    g_assert(QEMU_IS_ALIGNED(offset | bytes, SECTOR));
    g_assert(offset + bytes <= (int64_t)d->nr_sectors * SECTOR);
    q->type = type;
    q->first = offset / SECTOR;
    q->nr = bytes / SECTOR;
    q->contents = g_new(Content, q->nr);
    q->applied = bitmap_new(q->nr);
    q->before = g_new(Content, q->nr);
    q->lost = bitmap_new(q->nr);
    q->author = qemu_coroutine_self();
    q->done = q->landed = JUDGE_NEVER;
    return q;
}

static void request_free(gpointer opaque)
{
    Request *q = opaque;

    g_free(q->contents);
    g_free(q->before);
    g_free(q->lost);
    g_free(q->applied);
    g_free(q);
}

/* Nobody waits any more for what becomes of @q. */
static void tell_one(Disk *d, Request *q)
{
    q->author = NULL;
    d->nr_untold -= q->untold;
    q->untold = false;
}

void disk_tell(Disk *d, const Coroutine *author)
{
    for (guint i = 0; i < d->requests->len; i++) {
        Request *q = g_ptr_array_index(d->requests, i);

        if (q->author == author) {
            tell_one(d, q);
        }
    }
}

bool disk_is_metadata(const Disk *d, uint32_t sector)
{
    return sector < d->table_limit ||
           (sector >= d->log_first && sector < d->log_limit);
}

/*
 * @flush is done.  If it has failed, the file may have dropped what it should
 * have made durable, as if it were not to be written any more.  A driver that
 * has the zones in memory can write them again, so nothing is lost, if whoever
 * has written what was dropped learns of a failure.  The driver does not have
 * the data and the extensions; so these are dropped only if the file goes on
 * failing, as file-posix does: then nobody relies on them, but for the next
 * process, which finds them in the cache.
 */
static void flush_done(Disk *d, const Request *flush)
{
    for (guint i = 0; i < d->requests->len; i++) {
        Request *q = g_ptr_array_index(d->requests, i);

        if (q->done < flush->submit && !q->durable && !q->dropped) {
            q->durable = flush->ret == 0;
            q->dropped = flush->ret < 0 &&
                         (d->gives_up || disk_is_metadata(d, q->first));
            q->untold = q->dropped && q->author;
            d->nr_untold += q->untold;
        }
    }
    if (flush->ret < 0) {
        disk_tell(d, flush->author);
        d->flush_failed = d->gives_up;
    }
}

/* Lets @q happen, which it takes over. */
static int coroutine_fn request_run(Disk *d, Request *q)
{
    bool fail = random_percent(d->random, d->fault_percent);
    int ret = fail ? (random_percent(d->random, 50) ? -EIO : -ENOSPC) : 0;

    if (d->off) {
        request_free(q);
        return 0;
    }
    for (uint32_t i = 0; i < q->nr; i++) {
        q->before[i] = d->file[q->first + i];
        if (!fail || random_percent(d->random, 50)) {
            d->file[q->first + i] = q->contents[i];
        } else {
            set_bit(i, q->lost);
        }
    }
    if (!d->recording) {
        request_free(q);
        return 0;
    }

    g_ptr_array_add(d->requests, q);
    q->submit = disk_now(d);
    add_event(d, EVENT_SUBMIT, q);
    disk_park(d, d->weight[q->type]);
    if (d->off) {
        return ret;
    }
    if (q->type == REQUEST_FLUSH && (d->flush_failed || d->nr_untold > 0)) {
        ret = -EIO;
    }
    q->ret = ret;
    q->done = q->landed = disk_now(d);
    add_event(d, EVENT_DONE, q);
    if (q->type == REQUEST_FLUSH) {
        flush_done(d, q);
    }
    q->durable |= q->fua && ret == 0;
    return ret;
}

/*
 * The node.
 */

/* The disk that all nodes are of; there is one at a time. */
static Disk *recorded;

static int coroutine_fn GRAPH_RDLOCK
recorder_co_preadv(BlockDriverState *bs, int64_t offset, int64_t bytes,
                   QEMUIOVector *qiov, BdrvRequestFlags flags)
{
    uint8_t buf[SECTOR];

    if (recorded->parking) {
        if (random_percent(recorded->random, recorded->fault_percent)) {
            return -EIO;
        }
        disk_park(recorded, recorded->weight[REQUEST__MAX]);
    }
    for (int64_t i = 0; i < bytes / SECTOR; i++) {
        content_to_bytes(recorded->file[offset / SECTOR + i], buf);
        qemu_iovec_from_buf(qiov, i * SECTOR, buf, SECTOR);
    }
    return 0;
}

static int coroutine_fn GRAPH_RDLOCK
recorder_co_pwritev(BlockDriverState *bs, int64_t offset, int64_t bytes,
                    QEMUIOVector *qiov, BdrvRequestFlags flags)
{
    Request *q = request_new(recorded, REQUEST_WRITE, offset, bytes);
    uint8_t buf[SECTOR] QEMU_ALIGNED(8);

    for (uint32_t i = 0; i < q->nr; i++) {
        qemu_iovec_to_buf(qiov, (size_t)i * SECTOR, buf, SECTOR);
        q->contents[i] = content_of_bytes(buf);
    }
    q->fua = flags & BDRV_REQ_FUA;
    return request_run(recorded, q);
}

static int coroutine_fn GRAPH_RDLOCK
recorder_co_pwrite_zeroes(BlockDriverState *bs, int64_t offset, int64_t bytes,
                          BdrvRequestFlags flags)
{
    Request *q;

    if (random_percent(recorded->random, 30)) {
        return -ENOTSUP;
    }
    q = request_new(recorded, REQUEST_WRITE, offset, bytes);
    for (uint32_t i = 0; i < q->nr; i++) {
        q->contents[i] = CONTENT_ZEROES;
    }
    return request_run(recorded, q);
}

/* What a discard leaves is anything; and it may do nothing. */
static int coroutine_fn GRAPH_RDLOCK
recorder_co_pdiscard(BlockDriverState *bs, int64_t offset, int64_t bytes)
{
    Disk *d = recorded;
    bool zeroes = random_percent(d->random, 30);
    Request *q;

    if (random_percent(d->random, 10)) {
        return -ENOTSUP;
    }
    q = request_new(d, REQUEST_DISCARD, offset, bytes);
    for (uint32_t i = 0; i < q->nr; i++) {
        q->contents[i] = zeroes ? CONTENT_ZEROES : disk_garbage(d);
    }
    return request_run(d, q);
}

static int coroutine_fn GRAPH_RDLOCK
recorder_co_flush_to_disk(BlockDriverState *bs)
{
    return request_run(recorded, request_new(recorded, REQUEST_FLUSH, 0, 0));
}

/* Like a block device: new sectors hold anything. */
static int coroutine_fn GRAPH_RDLOCK
recorder_co_truncate(BlockDriverState *bs, int64_t offset, bool exact,
                     PreallocMode prealloc, BdrvRequestFlags flags,
                     Error **errp)
{
    Disk *d = recorded;
    uint32_t nr = DIV_ROUND_UP(offset, SECTOR);

    d->file = g_renew(Content, d->file, nr);
    for (uint32_t i = d->nr_sectors; i < nr; i++) {
        d->file[i] = disk_garbage(d);
    }
    d->nr_sectors = nr;
    return 0;
}

static int64_t coroutine_fn GRAPH_RDLOCK
recorder_co_getlength(BlockDriverState *bs)
{
    return (int64_t)recorded->nr_sectors * SECTOR;
}

static void recorder_refresh_limits(BlockDriverState *bs, Error **errp)
{
    bs->bl.request_alignment = SECTOR;
    if (recorded->fragments) {
        bs->bl.max_transfer = 3 * SECTOR;
    }
}

static BlockDriver bdrv_recorder = {
    .format_name            = "recorder",

    .bdrv_co_preadv         = recorder_co_preadv,
    .bdrv_co_pwritev        = recorder_co_pwritev,
    .bdrv_co_pwrite_zeroes  = recorder_co_pwrite_zeroes,
    .bdrv_co_pdiscard       = recorder_co_pdiscard,
    .bdrv_co_flush_to_disk  = recorder_co_flush_to_disk,
    .bdrv_co_truncate       = recorder_co_truncate,
    .bdrv_co_getlength      = recorder_co_getlength,
    .bdrv_refresh_limits    = recorder_refresh_limits,
};

BlockDriverState *disk_open(Disk *d)
{
    BlockDriverState *bs;

    recorded = d;
    bs = bdrv_new_open_driver(&bdrv_recorder, NULL, BDRV_O_RDWR | BDRV_O_UNMAP,
                              &error_abort);
    bs->supported_write_flags = BDRV_REQ_FUA;
    return bs;
}

/*
 * The file.
 */

Disk *disk_new(ZonedRandom *random, bool fragments)
{
    Disk *d = g_new0(Disk, 1);

    d->random = random;
    d->fragments = fragments;
    d->events = g_array_new(false, false, sizeof(Event));
    d->requests = g_ptr_array_new_with_free_func(request_free);
    d->parked = g_array_new(false, false, sizeof(Parked));
    return d;
}

void disk_free(Disk *d)
{
    disk_forget(d);
    g_array_unref(d->events);
    g_ptr_array_unref(d->requests);
    g_array_unref(d->parked);
    g_free(d->file);
    g_free(d);
}

Content disk_garbage(Disk *d)
{
    return content_garbage(d->nr_garbage++);
}

void disk_prepend(Disk *d, uint32_t nr)
{
    d->file = g_renew(Content, d->file, d->nr_sectors + nr);
    memmove(d->file + nr, d->file, d->nr_sectors * sizeof(Content));
    for (uint32_t i = 0; i < nr; i++) {
        d->file[i] = disk_garbage(d);
    }
    d->nr_sectors += nr;
}

void disk_append(Disk *d, uint32_t nr)
{
    d->file = g_renew(Content, d->file, d->nr_sectors + nr);
    while (nr-- > 0) {
        d->file[d->nr_sectors++] = disk_garbage(d);
    }
}

Content *disk_copy(const Disk *d)
{
    return g_memdup2(d->file, d->nr_sectors * sizeof(Content));
}

/* Is a request that came behind number @k in sector @sector of the cache? */
static bool is_overwritten(const Disk *d, guint k, uint32_t sector)
{
    while (++k < d->requests->len) {
        const Request *q = g_ptr_array_index(d->requests, k);

        if (sector >= q->first && sector - q->first < q->nr &&
            !test_bit(sector - q->first, q->lost)) {
            return true;
        }
    }
    return false;
}

/* With a chance of @percent each, the cache loses sectors of request @k. */
static void lose_sectors(Disk *d, guint k, unsigned percent)
{
    Request *q = g_ptr_array_index(d->requests, k);

    for (uint32_t i = 0; i < q->nr; i++) {
        uint32_t sector = q->first + i;

        if (random_percent(d->random, percent) && !test_bit(i, q->lost) &&
            !is_overwritten(d, k, sector)) {
            d->file[sector] = q->before[i];
            set_bit(i, q->lost);
        }
    }
}

void disk_evict(Disk *d)
{
    for (guint k = d->requests->len; k-- > d->nr_old; ) {
        const Request *q = g_ptr_array_index(d->requests, k);

        if (q->dropped && random_percent(d->random, 50)) {
            lose_sectors(d, k, 50 + random_below(d->random, 2) * 50);
        }
    }
}

void disk_die(Disk *d)
{
    int64_t time = disk_now(d);

    d->off = true;
    add_event(d, EVENT_DIE, NULL);
    for (guint k = d->requests->len; k-- > 0; ) {
        Request *q = g_ptr_array_index(d->requests, k);

        tell_one(d, q);
        if (q->done != JUDGE_NEVER || q->type == REQUEST_FLUSH) {
            continue;
        }
        if (random_percent(d->random, 50)) {
            lose_sectors(d, k, 50 + random_below(d->random, 2) * 50);
        }
        q->done = q->landed = time;
    }
}

unsigned long *disk_find_given_up(const Disk *d)
{
    unsigned long *given_up = bitmap_new(d->nr_sectors);
    unsigned long *later = bitmap_new(d->nr_sectors);

    for (guint k = d->requests->len; k-- > 0; ) {
        const Request *q = g_ptr_array_index(d->requests, k);

        for (uint32_t i = 0; i < q->nr; i++) {
            uint32_t sector = q->first + i;

            if (!test_bit(i, q->lost) && !test_and_set_bit(sector, later) &&
                q->dropped) {
                set_bit(sector, given_up);
            }
        }
    }
    g_free(later);
    return given_up;
}

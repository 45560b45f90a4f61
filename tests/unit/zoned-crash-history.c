/*
 * The test of power cuts: a random history
 *
 * Workers do writes, appends, zone operations and flushes, many at a time; now
 * and then, zones at the end of the device go, and come back.  In some
 * histories, zones fail, at once or by a rule, and are made usable again.  In
 * some there are several processes, one after the other.  One dies in the
 * middle of what it does, or ends; the next one opens the image again and goes
 * on with what is in the file's cache: all that was submitted, less what was
 * still on its way when a process died.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/main-loop.h"
#include "block/block_int.h"
#include "zoned-crash.h"

/* Zones that a history works on */
#define MAX_HOT_ZONES 12

struct History {
    Run *run;
    uint32_t hot[MAX_HOT_ZONES];
    uint32_t nr_hot;
    unsigned ops_left;
    unsigned steps_left;        /* then the process dies */
    unsigned nr_running;        /* workers */
    GPtrArray *buffers;         /* Buffer, of writes that are under way */
    bool resizes;               /* one of them does */

    /* How it is made */
    unsigned resets_below;      /* of 100 operations, after the rarer ones */
    unsigned flushes_below;
    unsigned fua_percent;
};

History *history_new(Run *r)
{
    History *h = g_new0(History, 1);

    h->run = r;
    h->buffers = g_ptr_array_new();
    return h;
}

void history_free(History *h)
{
    g_ptr_array_unref(h->buffers);
    g_free(h);
}

/*
 * Operations.
 */

static BlockZoneDescriptor coroutine_fn describe(Run *r, uint32_t zone)
{
    unsigned int n = 1;
    BlockZoneDescriptor desc = {};

    blk_co_zone_report(r->blk, zone_start(r, zone), &n, &desc);
    return desc;
}

static uint64_t coroutine_fn zone_wp(Run *r, uint32_t zone)
{
    return describe(r, zone).wp;
}

/* Bytes of the device, which may be smaller than it was made */
static uint64_t size_now(const Run *r)
{
    return blk_bs(r->blk)->total_sectors * SECTOR;
}

static JudgeOp *begin(Run *r, JudgeOpType type, bool fua, uint64_t offset,
                      uint64_t bytes)
{
    JudgeOp *op = judge_op_begin(r->judge, type, fua, offset, bytes,
                                 disk_now(r->disk));

    disk_add_op(r->disk, EVENT_BEGIN, op);
    return op;
}

static void ack(Run *r, JudgeOp *op, int ret)
{
    bool host_error = ret == -EIO || ret == -ENOSPC;
    bool guest_error = ret == -EINVAL || ret == -ERANGE || ret == -EPERM ||
                       ret == -EOVERFLOW || ret == -ETOOMANYREFS;

    if (r->disk->off) {
        return;
    }
    disk_tell(r->disk, qemu_coroutine_self());
    if (ret > 0 || (ret < 0 && !guest_error &&
                    !(host_error && r->profile->faults))) {
        run_fail(r, "operation %" PRIu64 " (type %d, at %" PRIu64 "): "
                 "unexpected result %d\n", op->number, op->type, op->offset,
                 ret);
    }
    judge_op_ack(r->judge, op, ret, disk_now(r->disk));
    disk_add_op(r->disk, EVENT_ACK, op);
    rules_note(r, op);
}

/* What is written */
typedef struct Buffer {
    uint8_t *bytes;
    uint64_t nr_sectors;
    uint64_t number;            /* of the operation */
} Buffer;

/* The data of @op */
static Buffer *buffer_new(History *h, const JudgeOp *op)
{
    Buffer *b = g_new(Buffer, 1);

    *b = (Buffer) {
        .bytes = g_malloc(op->bytes),
        .nr_sectors = op->bytes / SECTOR,
        .number = op->number,
    };
    for (uint64_t i = 0; i < b->nr_sectors; i++) {
        content_to_bytes(content_data(b->number, i), b->bytes + i * SECTOR);
    }
    g_ptr_array_add(h->buffers, b);
    return b;
}

static void buffer_free(History *h, Buffer *b)
{
    g_ptr_array_remove_fast(h->buffers, b);
    g_free(b->bytes);
    g_free(b);
}

/* Somebody changes a part of what he has sent and was not told of yet. */
static void change_buffer(History *h)
{
    const Buffer *b;
    uint64_t i;

    if (h->buffers->len > 0) {
        b = g_ptr_array_index(h->buffers, below(h->run, h->buffers->len));
        i = below(h->run, b->nr_sectors);
        content_to_bytes(content_changed(content_data(b->number, i)),
                         b->bytes + i * SECTOR);
    }
}

static void coroutine_fn do_write(History *h, uint64_t offset, uint64_t bytes)
{
    Run *r = h->run;
    BdrvRequestFlags flags = percent(r, h->fua_percent) ? BDRV_REQ_FUA : 0;
    bool zeroes = percent(r, 15);
    JudgeOp *op = begin(r, zeroes ? JUDGE_OP_ZEROES : JUDGE_OP_WRITE,
                        flags, offset, bytes);
    Buffer *b;
    int ret;

    if (zeroes) {
        flags |= percent(r, 50) ? BDRV_REQ_MAY_UNMAP : 0;
        ret = blk_co_pwrite_zeroes(r->blk, offset, bytes, flags);
    } else {
        b = buffer_new(h, op);
        ret = blk_co_pwrite(r->blk, offset, bytes, b->bytes, flags);
        buffer_free(h, b);
    }
    ack(r, op, ret);
}

static void coroutine_fn do_append(History *h, uint32_t zone, uint64_t bytes)
{
    Run *r = h->run;
    BdrvRequestFlags flags = percent(r, h->fua_percent) ? BDRV_REQ_FUA : 0;
    int64_t offset = zone_start(r, zone);
    JudgeOp *op = begin(r, JUDGE_OP_APPEND, flags, offset, bytes);
    Buffer *b = buffer_new(h, op);
    QEMUIOVector qiov = QEMU_IOVEC_INIT_BUF(qiov, b->bytes, bytes);
    int ret;

    ret = blk_co_zone_append(r->blk, &offset, &qiov, flags);
    buffer_free(h, b);
    if (ret == 0) {
        op->offset = offset;
    }
    ack(r, op, ret);
}

static void coroutine_fn do_flush(Run *r)
{
    JudgeOp *op = begin(r, JUDGE_OP_FLUSH, false, 0, 0);

    ack(r, op, blk_co_flush(r->blk));
}

/* One zone, some, or, in @all of 100 cases, all of them */
static uint64_t choose_range(Run *r, uint64_t *offset, unsigned all)
{
    uint64_t bytes = r->geo.zone_size;

    if (percent(r, all) && size_now(r) == r->geo.size) {
        *offset = 0;
        bytes = r->geo.size;
    } else if (percent(r, 15) && !r->profile->certain) {
        bytes *= 1 + below(r, 4);
    }
    bytes = MIN(bytes, size_now(r) - *offset);
    if (bytes == size_now(r) && bytes < r->geo.size) {
        /* Only of one that is as it was made, the judge knows that it is all */
        bytes = r->geo.zone_size;
    }
    return bytes;
}

static void coroutine_fn do_mgmt(Run *r, uint32_t zone, BlockZoneOp zone_op,
                                 JudgeOpType type)
{
    uint64_t offset = zone_start(r, zone);
    uint64_t bytes = choose_range(r, &offset, r->profile->failing ? 12 : 5);
    JudgeOp *op = begin(r, type, false, offset, bytes);

    ack(r, op, blk_co_zone_mgmt(r->blk, zone_op, offset, bytes));
}

/* Makes some zones fail, or usable again; mostly what changes them */
static void coroutine_fn do_turn(Run *r, uint32_t zone)
{
    static const struct {
        BlockZoneOp zone_op;
        JudgeOpType type;
        unsigned all;
    } turns[] = {
        { BLK_ZO_RESTORE, JUDGE_OP_RESTORE, 5 },
        { BLK_ZO_MAKE_RDONLY, JUDGE_OP_RDONLY, 1 },
        { BLK_ZO_MAKE_OFFLINE, JUDGE_OP_OFFLINE, 1 },
        { BLK_ZO_OFFLINE, JUDGE_OP_OFFLINE },
    };
    BlockZoneState cond = describe(r, zone).state;
    bool failed = cond == BLK_ZS_RDONLY || cond == BLK_ZS_OFFLINE;
    unsigned what = failed && percent(r, 70) ? 0 : below(r, ARRAY_SIZE(turns));
    uint64_t offset = zone_start(r, zone);
    unsigned all = r->profile->certain ? 0 : turns[what].all;
    uint64_t bytes = choose_range(r, &offset, all);
    JudgeOp *op;

    if (turns[what].zone_op == BLK_ZO_OFFLINE) {
        /* That of all zones leaves out those that are not READ ONLY. */
        bytes = r->geo.zone_size;
    }
    bytes = MIN(bytes, size_now(r) - offset);
    op = begin(r, turns[what].type, true, offset, bytes);
    ack(r, op, blk_co_zone_mgmt(r->blk, turns[what].zone_op, offset, bytes));
}

static void coroutine_fn do_extend(Run *r, uint32_t zone)
{
    uint64_t offset = zone_start(r, zone);
    JudgeOp *op = begin(r, JUDGE_OP_EXTEND, false, offset, 0);
    g_autofree uint8_t *buf = g_malloc(r->geo.ext_size);
    QEMUIOVector qiov = QEMU_IOVEC_INIT_BUF(qiov, buf, r->geo.ext_size);

    judge_make_extension(r->judge, op->number, buf);
    ack(r, op, blk_co_zone_set_extension(r->blk, offset, &qiov));
}

/* By the driver itself: blk_co_pdiscard() is not the same in all versions. */
static void coroutine_fn do_discard(Run *r, uint64_t offset, uint64_t bytes)
{
    JudgeOp *op = begin(r, JUDGE_OP_DISCARD, false, offset, bytes);
    BlockDriverState *bs = blk_bs(r->blk);
    int ret;

    WITH_GRAPH_RDLOCK_GUARD() {
        ret = bs->drv->bdrv_co_pdiscard(bs, offset, bytes);
    }
    ack(r, op, ret);
}

static void coroutine_fn do_conv(History *h)
{
    Run *r = h->run;
    uint64_t limit = conv_limit(r);
    uint64_t offset = below(r, limit / SECTOR) * SECTOR;
    uint64_t bytes = MIN((1 + below(r, 8)) * SECTOR, limit - offset);

    if (percent(r, 3) && !r->profile->certain) {
        do_discard(r, offset, bytes);
    } else {
        do_write(h, offset, bytes);
    }
}

/* Writes to a sequential zone, mostly what it can take. */
static void coroutine_fn do_zone_write(History *h, uint32_t zone, bool append)
{
    Run *r = h->run;
    uint64_t wp = zone_wp(r, zone);
    uint64_t room = zone_room(r, zone, wp);
    uint64_t bytes = (1 + below(r, percent(r, 80) ? 4 : 16)) * SECTOR;

    if (percent(r, 10)) {
        bytes = room;
    }
    if (percent(r, 95)) {
        bytes = MIN(bytes, room);
    }
    if (percent(r, 3)) {
        wp = MIN(zone_start(r, zone) +
                 below(r, r->geo.zone_size / SECTOR) * SECTOR,
                 size_now(r) - SECTOR);
    }
    bytes = MIN(bytes, size_now(r) - wp);
    if (append) {
        bytes = MIN(bytes, r->geo.max_append_sectors * SECTOR);
    }
    if (bytes == 0) {
        do_mgmt(r, zone, BLK_ZO_RESET, JUDGE_OP_RESET);
    } else if (append) {
        do_append(h, zone, bytes);
    } else {
        do_write(h, wp, bytes);
    }
    if (rules_are_applied(r, zone) && !r->disk->off) {
        /* It finds out that the zone has failed, whatever has become of it. */
        do_mgmt(r, zone, BLK_ZO_RESET, JUDGE_OP_RESET);
    }
}

/* Zones that the device would have if those at its end that are EMPTY went */
static uint32_t coroutine_fn used_zones(Run *r)
{
    uint32_t n = size_now(r) / r->geo.zone_size;

    while (n > MAX(r->geo.nr_conv, 1) && zone_wp(r, n - 1) ==
                                         zone_start(r, n - 1)) {
        n--;
    }
    return n;
}

/* Only of whole zones */
static void coroutine_fn do_resize(History *h)
{
    Run *r = h->run;
    uint32_t least = percent(r, 80) ? used_zones(r) : MAX(r->geo.nr_conv, 1);
    uint64_t size = r->geo.size;
    JudgeOp *op;

    if (size_now(r) == size) {
        size = (least + below(r, r->geo.nr_zones - least + 1)) *
               r->geo.zone_size;
    }
    /*
     * Who waits to take the device over has told others of its size; and zones
     * that go take their rules with them.
     */
    if (h->resizes || r->standby || r->rules->len > 0 || size == size_now(r) ||
        r->geo.size % r->geo.zone_size) {
        do_flush(r);
        return;
    }
    h->resizes = true;
    op = begin(r, JUDGE_OP_RESIZE, false, 0, size);
    ack(r, op, blk_co_truncate(r->blk, size, false, PREALLOC_MODE_OFF, 0,
                               NULL));
    h->resizes = false;
}

/* Something that makes zones fail, or usable again: maybe nothing of that */
static bool coroutine_fn do_failing(History *h, uint32_t zone)
{
    Run *r = h->run;
    unsigned what = below(r, 100);
    BlockZoneState cond = describe(r, zone).state;
    bool failed = cond == BLK_ZS_RDONLY || cond == BLK_ZS_OFFLINE;

    if (what < (failed ? 25 : 4)) {
        do_turn(r, zone);
    } else if (what < 8 && !failed && r->profile->rules && !h->resizes) {
        rules_add(r, zone, zone_wp(r, zone));
    } else {
        return false;
    }
    return true;
}

static void coroutine_fn do_something(History *h)
{
    Run *r = h->run;
    uint32_t zone = h->hot[below(r, h->nr_hot)];
    unsigned what = below(r, 100);

    if (zone_start(r, zone) >= size_now(r) || percent(r, 2)) {
        do_resize(h);
    } else if (r->profile->failing && do_failing(h, zone)) {
        return;
    } else if (r->geo.nr_conv && percent(r, 15)) {
        do_conv(h);
    } else if (r->geo.ext_size &&
               percent(r, zone_wp(r, zone) == zone_start(r, zone) ? 40 : 2)) {
        do_extend(r, zone);
    } else if (what < 3) {
        do_mgmt(r, zone, BLK_ZO_OPEN, JUDGE_OP_OPEN);
    } else if (what < 7) {
        do_mgmt(r, zone, BLK_ZO_CLOSE, JUDGE_OP_CLOSE);
    } else if (what < 11) {
        do_mgmt(r, zone, BLK_ZO_FINISH, JUDGE_OP_FINISH);
    } else if (what < h->resets_below) {
        do_mgmt(r, zone, BLK_ZO_RESET, JUDGE_OP_RESET);
    } else if (what < h->flushes_below) {
        do_flush(r);
    } else {
        do_zone_write(h, zone, percent(r, 50));
    }
}

static void coroutine_fn worker(void *opaque)
{
    History *h = opaque;
    Disk *disk = h->run->disk;

    while (h->ops_left > 0) {
        h->ops_left--;
        do_something(h);
        if (percent(h->run, 10)) {
            change_buffer(h);
        }
        disk_park(disk, disk->weight[REQUEST__MAX]);
    }
    h->nr_running--;
}

static void coroutine_fn flusher(void *opaque)
{
    History *h = opaque;

    do_flush(h->run);
    h->nr_running--;
}

/*
 * Processes.
 */

static void die(History *h)
{
    Run *r = h->run;

    h->ops_left = 0;
    judge_die(r->judge, disk_now(r->disk));
    disk_die(r->disk);
}

static void poll_all(void)
{
    while (aio_poll(qemu_get_aio_context(), false)) {
        /* More may be ready. */
    }
}

/* Starts @n coroutines and lets them run until they end or the process dies */
static bool run_coroutines(History *h, CoroutineEntry *entry, unsigned n)
{
    Disk *disk = h->run->disk;

    h->nr_running = n;
    disk->parking = true;
    for (unsigned i = 0; i < n; i++) {
        aio_co_enter(qemu_get_aio_context(), qemu_coroutine_create(entry, h));
    }
    poll_all();
    while (h->nr_running > 0) {
        if (h->steps_left-- == 0) {
            die(h);
            disk->parking = false;
        }
        if (disk->parked->len == 0) {
            run_fail(h->run, "%u operations hang\n", h->nr_running);
            return false;
        }
        disk_wake_one(disk);
        poll_all();
    }
    disk->parking = false;
    return true;
}

static void choose_zones(History *h)
{
    Run *r = h->run;

    h->nr_hot = 1 + below(r, MAX_HOT_ZONES);
    for (uint32_t i = 0; i < h->nr_hot; i++) {
        h->hot[i] = r->geo.nr_conv +
                    below(r, r->geo.nr_zones - r->geo.nr_conv);
    }
}

/* Chooses what the history is like. */
static void choose_history(History *h)
{
    static const unsigned weights[] = { 1, 4, 16, 64 };
    Run *r = h->run;

    choose_zones(h);
    for (int i = 0; i < ARRAY_SIZE(r->disk->weight); i++) {
        r->disk->weight[i] = weights[below(r, ARRAY_SIZE(weights))];
    }
    h->resets_below = 13 + below(r, 20);
    h->flushes_below = h->resets_below + 1 + below(r, 15);
    h->fua_percent = percent(r, 50) ? 0 : below(r, 30);
    h->ops_left = 20 + below(r, 120);
}

/* What a process of a history does, up to its end. */
static bool run_process(History *h, unsigned depth)
{
    Run *r = h->run;

    r->disk->fault_percent = r->profile->faults ? 1 + below(r, 15) : 0;
    return run_coroutines(h, worker, r->profile->certain ? 1 : depth);
}

/* The process that was is gone, and another one opens the device. */
static bool next_process(History *h, Entrance entrance)
{
    Run *r = h->run;
    g_autofree unsigned long *given_up = NULL;
    Content *view;

    if (percent(r, 50)) {
        disk_evict(r->disk);
    }
    given_up = disk_find_given_up(r->disk);
    view = disk_copy(r->disk);

    device_power_off(r);
    rules_forget(r);
    h->resizes = false;
    r->disk->flush_failed = false;
    h->steps_left = UINT_MAX;
    if (!judge_reopen(r->judge, view, given_up, disk_now(r->disk))) {
        g_free(view);
        return run_judgement_failed(r);
    }
    disk_add_view(r->disk, view);
    return device_open(r, entrance) &&
           device_check(r, entrance == ENTRANCE_ACTIVATE ||
                           entrance == ENTRANCE_STANDBY ? ACTIVATED : OPENED);
}

/* A process that dies, or ends, and what comes behind it. */
static bool run_mortal(History *h)
{
    Run *r = h->run;
    Entrance entrance = below(r, ENTRANCE__MAX);

    if (entrance == ENTRANCE_STANDBY && !device_open_standby(r)) {
        return false;
    }
    h->steps_left = percent(r, 80) ? below(r, 200) : UINT_MAX;
    r->disk->gives_up = percent(r, 50);
    if (!run_process(h, 1 + below(r, 8)) ||
        (!r->disk->off && percent(r, 50) && !run_coroutines(h, flusher, 1))) {
        return false;
    }
    if (!r->disk->off) {
        die(h);
    }
    r->disk->gives_up = false;
    if (!next_process(h, entrance)) {
        return false;
    }
    h->ops_left = 5 + below(r, 60);
    if (percent(r, 20)) {
        choose_zones(h);
    }
    return true;
}

bool history_run(History *h)
{
    Run *r = h->run;
    unsigned depth = 1 + below(r, percent(r, 50) ? 32 : 4);
    unsigned mortals = r->profile->processes ? 1 + below(r, 3) : 0;

    choose_history(h);
    r->start = disk_copy(r->disk);
    r->disk->recording = true;
    h->steps_left = UINT_MAX;
    while (mortals-- > 0) {
        if (!run_mortal(h)) {
            return false;
        }
    }
    if (!run_process(h, depth)) {
        return false;
    }
    /* So that at the end there is one image, and it holds everything. */
    r->disk->fault_percent = 0;
    if (!run_coroutines(h, flusher, 1)) {
        return false;
    }
    r->disk->recording = false;
    return !r->failure;
}

bool history_hangs(const History *h)
{
    return h->nr_running > 0;
}

/*
 * The stress test of the zoned block format driver: requests to a zone, and
 * what may come of them
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "system/block-backend.h"
#include "zoned-stress-file.h"
#include "zoned-stress-zone.h"

/*
 * Writes.
 */

typedef struct Op {
    Zone *z;
    unsigned begin;
    bool append;
    bool late;                  /* a reset or finish is in front of it */
    uint64_t offset;
    uint64_t bytes;
    uint64_t tag;
} Op;

static unsigned op_begin(Zone *z)
{
    unsigned now = tick();

    if (z->in_flight++ == 0) {
        z->busy_since = now;
    }
    return now;
}

static bool in_other_order(const Zone *z)
{
    return disturbed(&z->dev->drains, z->busy_since);
}

bool by_all_op(const Zone *z)
{
    return disturbed(&z->dev->all_ops, z->checked);
}

/* An open of all zones may have used them up. */
static bool open_zones_maybe_full(const Device *d)
{
    return d->open_zones.limit && qatomic_read(&d->all_ops.last_end);
}

static void write_done(const Op *op)
{
    Zone *z = op->z;

    if (op->late) {
        if (!in_other_order(z) && !file_fault_since(z->busy_since)) {
            fail("zone %u: a write behind a %s has succeeded", z->index,
                 z->closing == BLK_ZO_RESET ? "reset" : "finish");
        }
        z->unsure = z->failed = true;
        return;
    }
    if (z->unsure || (z->is_closing && in_other_order(z))) {
        z->unsure = z->failed = true;
        return;
    }
    if (op->offset != z->end) {
        fail("zone %u: a%s was acknowledged at %" PRIu64 ", and what was "
             "acknowledged before ends at %" PRIu64, z->index,
             op->append ? "n append" : " write", op->offset - z->start,
             z->end - z->start);
    }
    for (uint64_t p = op->offset; p < op->offset + op->bytes; p += SECTOR) {
        *tag_at(z, p) = op->tag;
    }
    z->end = op->offset + op->bytes;
    if (z->end == z->cap_limit) {
        resource_release(&z->dev->active_zones, &z->uses_active);
        resource_release(&z->dev->open_zones, &z->uses_open);
    }
}

/* May @op, which was not done, have the result @ret? */
static bool write_may_fail(const Op *op, int ret)
{
    Zone *z = op->z;

    switch (ret) {
    case -EINVAL:
        /*
         * Two writes were in the other order; or another one has failed, and
         * this one was not sent before that.  Or one in front of it was refused
         * for lack of resources, which may be told later.
         */
        if (by_all_op(z) || (op->late && z->closing == BLK_ZO_RESET)) {
            return true;
        }
        if (!op->append && !in_other_order(z) &&
            !file_fault_between(z->busy_since, op->begin)) {
            z->misplaced = op->offset;
        }
        return !op->append;
    case -EPERM:
        return (z->is_closing && z->closing == BLK_ZO_FINISH &&
                (op->late || in_other_order(z))) || by_all_op(z);
    case -ERANGE:
        return by_all_op(z);
    case -EOVERFLOW:
        return resource_maybe_full(&z->dev->active_zones, z->busy_since, 1) ||
               by_all_op(z);
    case -ETOOMANYREFS:
        return resource_maybe_full(&z->dev->open_zones, z->busy_since, 0) ||
               open_zones_maybe_full(z->dev);
    case -EIO:
    case -ENOSPC:
        return file_fault_since(z->busy_since);
    default:
        return false;
    }
}

static void op_end(const Op *op, int ret)
{
    Zone *z = op->z;

    if (by_all_op(z)) {
        z->unsure = z->failed = true;
    }
    if (ret == 0) {
        write_done(op);
    } else {
        if (!write_may_fail(op, ret)) {
            fail("zone %u: a%s of %" PRIu64 " at %" PRIu64 "%s has failed with "
                 "%d; acknowledged until %" PRIu64 ", sent until %" PRIu64
                 ", %u in flight%s%s", z->index,
                 op->append ? "n append" : " write", op->bytes,
                 op->offset - z->start, op->late ? " behind a reset or finish"
                 : "", ret, z->end - z->start, z->next - z->start, z->in_flight,
                 in_other_order(z) ? ", drained" : "",
                 file_fault_since(z->busy_since) ? ", something has failed"
                 : "");
        }
        z->failed = true;
        z->refused |= ret == -EOVERFLOW || ret == -ETOOMANYREFS;
    }
    z->in_flight--;
}

static int coroutine_fn send_write(Worker *w, Op *op, BdrvRequestFlags flags)
{
    BlockBackend *blk = op->z->dev->blk;
    g_autofree uint64_t *buf = g_malloc(op->bytes);
    QEMUIOVector qiov = QEMU_IOVEC_INIT_BUF(qiov, buf, op->bytes);
    int64_t offset = op->z->start;
    int ret;

    for (uint64_t i = 0; i < op->bytes / sizeof(*buf); i++) {
        buf[i] = op->tag;
    }
    if (op->append) {
        worker_begin(w, "append", op->offset, op->bytes);
        ret = blk_co_zone_append(blk, &offset, &qiov, flags);
        op->offset = ret == 0 ? offset : op->offset;
    } else if (op->tag == 0) {
        worker_begin(w, "write zeroes", op->offset, op->bytes);
        ret = blk_co_pwrite_zeroes(blk, op->offset, op->bytes, flags);
    } else {
        worker_begin(w, "write", op->offset, op->bytes);
        ret = blk_co_pwritev(blk, op->offset, op->bytes, &qiov, flags);
    }
    worker_end(w);
    return ret;
}

void coroutine_fn write_zone(Worker *w, Zone *z)
{
    uint64_t room = z->cap_limit - z->next;
    uint64_t bytes = (1 + below(MAX_WRITE / SECTOR)) * SECTOR;
    Op op = {
        .z = z,
        .late = z->is_closing,
        .offset = z->next,
    };
    int ret;

    if (z->in_flight == 0) {
        z->appends = percent(50);
    }
    op.append = z->appends;
    if (op.append) {
        bytes = MIN(bytes, z->dev->max_append_sectors * SECTOR);
    }
    op.bytes = MIN(bytes, room);
    op.tag = !op.append && percent(10) ? 0 : new_tag(z);
    if (!op.late) {
        z->next += op.bytes;
    }
    op.begin = op_begin(z);
    resource_use(&z->dev->active_zones, &z->uses_active);
    ret = send_write(w, &op, percent(10) ? BDRV_REQ_FUA : 0);
    op_end(&op, ret);
}

int coroutine_fn try_write(Worker *w, Zone *z, uint64_t offset, uint64_t bytes)
{
    Op op = { .z = z, .offset = offset, .bytes = bytes, .tag = new_tag(z) };
    int ret;

    op_begin(z);
    ret = send_write(w, &op, 0);
    z->in_flight--;
    if (ret == 0) {
        write_done(&op);
    }
    return ret;
}

/*
 * Zone operations on one zone.
 */

const char *zone_op_name(BlockZoneOp op)
{
    static const char *const names[] = {
        [BLK_ZO_OPEN] = "open",
        [BLK_ZO_CLOSE] = "close",
        [BLK_ZO_FINISH] = "finish",
        [BLK_ZO_RESET] = "reset",
    };

    return names[op];
}

/* May @zone_op on @z, which @was_full when it came, have the result @ret? */
static bool mgmt_may_return(Zone *z, BlockZoneOp zone_op, bool was_full,
                            int ret)
{
    bool full = z->full || z->end == z->cap_limit;
    bool maybe_full_then = full || z->next == z->cap_limit || z->is_closing;
    bool empty = z->end == z->start && !full;

    switch (ret) {
    case 0:
        return zone_op == BLK_ZO_RESET || zone_op == BLK_ZO_FINISH ||
               (!was_full && (zone_op == BLK_ZO_OPEN || !empty ||
                              z->maybe_open || z->next > z->start));
    case -EPERM:
        return (zone_op == BLK_ZO_OPEN && maybe_full_then) ||
               (zone_op == BLK_ZO_CLOSE && (maybe_full_then || empty));
    case -EOVERFLOW:
        return zone_op == BLK_ZO_OPEN && empty &&
               resource_maybe_full(&z->dev->active_zones, z->busy_since, 1);
    case -ETOOMANYREFS:
        return zone_op == BLK_ZO_OPEN &&
               (resource_maybe_full(&z->dev->open_zones, z->busy_since, 1) ||
                open_zones_maybe_full(z->dev));
    case -EIO:
    case -ENOSPC:
        return file_fault_since(z->busy_since);
    default:
        return false;
    }
}

static void empty_zone(Zone *z)
{
    memset(z->tags, 0, (z->cap_limit - z->start) / SECTOR * sizeof(*z->tags));
    z->end = z->next = z->start;
    z->full = z->maybe_open = false;
    z->life++;
}

/* @zone_op on @z has succeeded, and all that came before it is done. */
static void mgmt_done(Zone *z, BlockZoneOp zone_op)
{
    switch (zone_op) {
    case BLK_ZO_RESET:
        empty_zone(z);
        break;
    case BLK_ZO_FINISH:
        z->full = true;
        break;
    default:
        return;
    }
    resource_release(&z->dev->active_zones, &z->uses_active);
    resource_release(&z->dev->open_zones, &z->uses_open);
}

void coroutine_fn mgmt_zone(Worker *w, Zone *z, BlockZoneOp zone_op)
{
    bool closing = zone_op == BLK_ZO_RESET || zone_op == BLK_ZO_FINISH;
    bool alone = z->in_flight == 0;
    bool was_full = z->full || z->end == z->cap_limit;
    int ret;

    op_begin(z);
    if (alone) {
        z->held = true;
    } else if (closing) {
        z->is_closing = true;
        z->closing = zone_op;
    }
    z->resetting += zone_op == BLK_ZO_RESET;
    if (zone_op == BLK_ZO_OPEN) {
        resource_use(&z->dev->active_zones, &z->uses_active);
        resource_use(&z->dev->open_zones, &z->uses_open);
    }

    worker_begin(w, zone_op_name(zone_op), z->start, z->limit - z->start);
    ret = blk_co_zone_mgmt(z->dev->blk, zone_op, z->start,
                           z->limit - z->start);
    worker_end(w);

    if (by_all_op(z)) {
        z->unsure = z->failed = true;
    } else if (!mgmt_may_return(z, zone_op, was_full, ret) &&
               !(!alone && (in_other_order(z) || z->failed))) {
        fail("%s of zone %u, %s: %d; acknowledged until %" PRIu64 " of %" PRIu64
             "%s%s", zone_op_name(zone_op), z->index,
             alone ? "alone" : "with writes in flight", ret, z->end - z->start,
             z->cap_limit - z->start, z->full ? ", full" : "",
             z->maybe_open ? ", maybe open" : "");
    }
    z->maybe_open |= zone_op == BLK_ZO_OPEN;
    if (closing) {
        z->failed = true;
        if (ret < 0 || (!alone && in_other_order(z)) ||
            (!alone && file_fault_since(z->busy_since))) {
            z->unsure = true;
        }
        if (ret == 0 && !z->unsure) {
            mgmt_done(z, zone_op);
        }
    } else if (ret < 0) {
        z->failed = true;
    }
    if (zone_op == BLK_ZO_RESET) {
        z->life++;
        z->resetting--;
    }
    z->in_flight--;
    z->held &= !alone;
}

/*
 * Reads and flushes.
 */

void coroutine_fn read_zone(Worker *w, Zone *z)
{
    uint64_t offset = z->start +
                      below((z->limit - z->start) / SECTOR) * SECTOR;
    uint64_t bytes = MIN((1 + below(2 * MAX_WRITE / SECTOR)) * SECTOR,
                         z->limit - offset);
    g_autofree uint8_t *buf = g_malloc(bytes);
    bool certain = !z->resetting && !z->unsure;
    uint64_t durable_end = z->end;
    unsigned life = z->life;
    unsigned since = tick();
    int ret;

    worker_begin(w, "read", offset, bytes);
    ret = blk_co_pread(z->dev->blk, offset, bytes, buf, 0);
    worker_end(w);
    if (ret == -EIO && file_fault_since(since)) {
        return;
    }
    if (ret < 0) {
        fail("a read of zone %u has failed with %d", z->index, ret);
    }

    /* Whoever was acknowledged by now is to say so. */
    take_turns();
    take_turns();
    if (!certain || z->resetting || z->unsure || z->life != life ||
        by_all_op(z)) {
        return;
    }
    for (uint64_t p = offset; p < offset + bytes; p += SECTOR) {
        uint64_t tag = read_tag(z, buf, p - offset);
        uint64_t known = p < z->end ? *tag_at(z, p) : 0;

        if (tag != known && (tag || p < durable_end)) {
            fail("zone %u reads 0x%" PRIx64 " at %" PRIu64 ", not 0x%" PRIx64
                 "; acknowledged until %" PRIu64 ", then until %" PRIu64
                 ", sent until %" PRIu64, z->index, tag, p - z->start, known,
                 durable_end - z->start, z->end - z->start,
                 z->next - z->start);
        }
    }
}

void coroutine_fn flush_device(Worker *w, Device *d)
{
    unsigned since = tick();
    int ret;

    worker_begin(w, "flush", 0, 0);
    ret = blk_co_flush(d->blk);
    worker_end(w);
    if (ret < 0 &&
        !((ret == -EIO || ret == -ENOSPC) && file_fault_since(since))) {
        fail("a flush has failed with %d", ret);
    }
}

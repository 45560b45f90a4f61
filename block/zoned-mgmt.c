/*
 * zoned block format driver: zone management
 *
 * An operation takes the zones of its range for itself, applies the state
 * machine to them in order, and makes the result durable.  A reset then gives
 * the space of the zones back.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "zoned.h"
#include "trace.h"

/* A run of zones that a reset has emptied, in bytes of the device. */
typedef struct ZonedRun {
    uint64_t start;
    uint64_t end;
} ZonedRun;

/* Adds zone @i to @runs, whose zones all come before it. */
static void add_zone_to_runs(const ZonedGeometry *geo, GArray *runs, uint32_t i)
{
    ZonedRun run = {
        .start = zoned_zone_start(geo, i),
        .end = zoned_zone_limit(geo, i),
    };

    if (runs->len > 0) {
        ZonedRun *last = &g_array_index(runs, ZonedRun, runs->len - 1);

        if (last->end == run.start) {
            last->end = run.end;
            return;
        }
    }
    g_array_append_val(runs, run);
}

/*
 * Applies @op to zones *@i to @last in order, up to the first that refuses it,
 * which *@i is then.  The zones that have changed go into @changed.
 */
static int coroutine_fn mgmt_zones(BlockDriverState *bs, BlockZoneOp op,
                                   uint32_t *i, uint32_t last, bool all,
                                   GArray *changed)
{
    BDRVZonedState *s = bs->opaque;
    int ret = 0;

    qemu_spin_lock(&s->lock);
    for (; *i <= last; (*i)++) {
        if (*i % ZONED_ZONES_PER_LOCK == 0) {
            zoned_relock(s);
        }
        if (all && zoned_zone_is_conv(&s->header.geo, *i)) {
            continue;
        }
        ret = zoned_zones_mgmt(&s->zones, op, *i, all);
        if (ret < 0) {
            break;
        }
        if (ret > 0) {
            add_zone_to_runs(&s->header.geo, changed, *i);
        }
    }
    qemu_spin_unlock(&s->lock);
    return MIN(ret, 0);
}

/* Applies @op to the zones of @ex, committing first where a zone asks for it */
static int coroutine_fn GRAPH_RDLOCK
mgmt_exclusion(BlockDriverState *bs, BlockZoneOp op, const ZonedExclusion *ex,
               bool all, GArray *changed)
{
    uint32_t i = ex->first;
    int ret;

    while ((ret = mgmt_zones(bs, op, &i, ex->last, all, changed)) == -EAGAIN) {
        ret = zoned_co_commit(bs);
        if (ret < 0) {
            return zoned_host_error(ret);
        }
    }
    return ret;
}

/*
 * The zones of @runs are empty, and durably so: gives their space back.  What
 * the file does with a discard does not matter, as it is not read again.
 */
static void coroutine_fn GRAPH_RDLOCK discard_runs(BlockDriverState *bs,
                                                   const GArray *runs)
{
    BDRVZonedState *s = bs->opaque;

    for (guint j = 0; j < runs->len; j++) {
        const ZonedRun *run = &g_array_index(runs, ZonedRun, j);
        int64_t bytes = run->end - run->start;
        int ret = bdrv_co_pdiscard(bs->file, zoned_file_offset(s, run->start),
                                   bytes);

        trace_zoned_discard(bs, run->start, bytes, ret);
        bdrv_set_dirty(bs, run->start, bytes);
    }
}

/* Makes what @op did durable. */
static int coroutine_fn GRAPH_RDLOCK commit_mgmt(BlockDriverState *bs,
                                                 BlockZoneOp op,
                                                 const GArray *changed)
{
    BDRVZonedState *s = bs->opaque;
    int ret;

    if (op == BLK_ZO_OPEN) {
        /* After a power cycle, no zone is open. */
        return 0;
    }
    ret = zoned_co_commit(bs);
    if (op != BLK_ZO_RESET || changed->len == 0) {
        return ret;
    }
    if (ret == 0) {
        discard_runs(bs, changed);
    } else {
        qemu_spin_lock(&s->lock);
        s->commit.nr_resets_failed++;
        qemu_spin_unlock(&s->lock);
    }
    return ret;
}

/* An operation on zones is on whole zones of the device. */
static bool mgmt_range_valid(const ZonedGeometry *geo, int64_t offset,
                             int64_t len)
{
    return offset >= 0 && len > 0 && offset < geo->size &&
           len <= geo->size - offset && offset % geo->zone_size == 0 &&
           (len % geo->zone_size == 0 || offset + len == geo->size);
}

int coroutine_fn zoned_co_zone_mgmt(BlockDriverState *bs, BlockZoneOp op,
                                    int64_t offset, int64_t len)
{
    BDRVZonedState *s = bs->opaque;
    const ZonedGeometry *geo = &s->header.geo;
    g_autoptr(GArray) changed = NULL;
    ZonedExclusion ex;
    bool all = offset == 0 && len == geo->size && geo->nr_zones > 1;
    int ret, commit_ret;

    if (!zoned_is_writable(bs)) {
        return -EACCES;
    }
    if (!mgmt_range_valid(geo, offset, len)) {
        return -ERANGE;
    }

    changed = g_array_new(false, false, sizeof(ZonedRun));
    ex.first = zoned_zone_index(geo, offset);
    ex.last = zoned_zone_index(geo, offset + len - 1);
    zoned_exclusion_begin(bs, &ex, op == BLK_ZO_FINISH || op == BLK_ZO_RESET);
    ret = mgmt_exclusion(bs, op, &ex, all, changed);
    commit_ret = zoned_host_error(commit_mgmt(bs, op, changed));
    zoned_exclusion_end(bs, &ex);

    trace_zoned_mgmt(bs, op, ex.first, ex.last, ret, commit_ret);
    return commit_ret < 0 ? commit_ret : ret;
}

/*
 * zoned block format driver: zone management
 *
 * An operation takes the zones of its range for itself, applies the state
 * machine to them in order, and makes the result durable.  A reset then gives
 * the space of the zones back.
 *
 * A descriptor extension is written while the zone is EMPTY, when nothing
 * refers to it.  Then the zone becomes CLOSED with a valid extension, and that
 * is committed; a commit first flushes what was written before.  So a crash
 * leaves the zone EMPTY, or CLOSED with the whole extension.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/bitmap.h"
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

/* Where the descriptor extension of zone @i is in the file. */
static int64_t extension_offset(const BDRVZonedState *s, uint32_t i)
{
    return s->base + s->header.extension_offset +
           (uint64_t)i * s->header.geo.zd_extension_size;
}

static bool is_zone_start(const ZonedGeometry *geo, int64_t offset)
{
    return offset >= 0 && offset < geo->size && offset % geo->zone_size == 0;
}

/*
 * May the extension of zone @i be written?  With @written, it is, and the zone
 * gets it.
 */
static int coroutine_fn try_extend(BDRVZonedState *s, uint32_t i, bool written)
{
    int ret;

    qemu_spin_lock(&s->lock);
    if (written) {
        ret = zoned_zones_extend(&s->zones, i);
    } else if (zoned_resets_unsettled(s)) {
        ret = -EAGAIN;
    } else {
        ret = zoned_zones_may_extend(&s->zones, i);
    }
    qemu_spin_unlock(&s->lock);
    return ret;
}

/* The same, committing first where that is asked for. */
static int coroutine_fn GRAPH_RDLOCK extend_zone(BlockDriverState *bs,
                                                 uint32_t i, bool written)
{
    int ret;

    while ((ret = try_extend(bs->opaque, i, written)) == -EAGAIN) {
        ret = zoned_co_commit(bs);
        if (ret < 0) {
            return zoned_host_error(ret);
        }
    }
    return ret;
}

/*
 * Makes it durable that zone @i has its extension.  If that fails, the zone is
 * EMPTY again; but in the image it may not be, as after a reset that failed.
 */
static int coroutine_fn GRAPH_RDLOCK commit_extension(BlockDriverState *bs,
                                                      uint32_t i)
{
    BDRVZonedState *s = bs->opaque;
    int ret = zoned_co_commit(bs);

    if (ret < 0) {
        qemu_spin_lock(&s->lock);
        zoned_zones_mgmt(&s->zones, BLK_ZO_RESET, i, false);
        s->commit.nr_resets_failed++;
        qemu_spin_unlock(&s->lock);
    }
    return zoned_host_error(ret);
}

/* Zone @i is held by an exclusion. */
static int coroutine_fn GRAPH_RDLOCK set_extension(BlockDriverState *bs,
                                                   uint32_t i,
                                                   QEMUIOVector *qiov)
{
    BDRVZonedState *s = bs->opaque;
    int ret = extend_zone(bs, i, false);

    if (ret < 0) {
        return ret;
    }
    ret = bdrv_co_pwritev(bs->file, extension_offset(s, i), qiov->size, qiov,
                          0);
    if (ret < 0) {
        return zoned_host_error(ret);
    }
    ret = extend_zone(bs, i, true);
    return ret < 0 ? ret : commit_extension(bs, i);
}

int coroutine_fn zoned_co_zone_set_extension(BlockDriverState *bs,
                                             int64_t offset, QEMUIOVector *qiov)
{
    BDRVZonedState *s = bs->opaque;
    const ZonedGeometry *geo = &s->header.geo;
    ZonedExclusion ex;
    int ret;

    if (!zoned_is_writable(bs)) {
        return -EACCES;
    }
    if (!is_zone_start(geo, offset)) {
        return -ERANGE;
    }
    ex.first = ex.last = zoned_zone_index(geo, offset);
    /* No need to wait for writes: a zone that has any is not EMPTY. */
    zoned_exclusion_begin(bs, &ex, false);
    ret = set_extension(bs, ex.first, qiov);
    zoned_exclusion_end(bs, &ex);
    return ret;
}

/* Reads the extensions of @n zones, at most ZONED_ZONES_PER_LOCK. */
static int coroutine_fn GRAPH_RDLOCK get_extensions(BlockDriverState *bs,
                                                    uint32_t first, uint32_t n,
                                                    uint8_t *buf)
{
    BDRVZonedState *s = bs->opaque;
    size_t size = s->header.geo.zd_extension_size;
    DECLARE_BITMAP(valid, ZONED_ZONES_PER_LOCK) = {};
    int ret;

    /* Before they are read: what is set meanwhile may be there in part. */
    for (uint32_t j = 0; j < n; j++) {
        if (zoned_zones_ext_valid(&s->zones, first + j)) {
            set_bit(j, valid);
        }
    }
    if (!bitmap_empty(valid, n)) {
        ret = bdrv_co_pread(bs->file, extension_offset(s, first), n * size, buf,
                            0);
        if (ret < 0) {
            return zoned_host_error(ret);
        }
    }
    for (uint32_t j = 0; j < n; j++) {
        if (!test_bit(j, valid)) {
            memset(buf + j * size, 0, size);
        }
    }
    return 0;
}

int coroutine_fn zoned_co_zone_get_extensions(BlockDriverState *bs,
                                              int64_t offset,
                                              unsigned int nr_zones, void *buf)
{
    BDRVZonedState *s = bs->opaque;
    const ZonedGeometry *geo = &s->header.geo;
    uint8_t *p = buf;
    uint32_t i, n;

    if (!is_zone_start(geo, offset)) {
        return -ERANGE;
    }
    i = zoned_zone_index(geo, offset);
    if (nr_zones > geo->nr_zones - i) {
        return -ERANGE;
    }
    for (; nr_zones > 0; nr_zones -= n, i += n) {
        int ret;

        n = MIN(nr_zones, ZONED_ZONES_PER_LOCK);
        ret = get_extensions(bs, i, n, p);
        if (ret < 0) {
            return ret;
        }
        p += (size_t)n * geo->zd_extension_size;
    }
    return 0;
}

/*
 * zoned block format driver: zone management
 *
 * An operation takes the zones of its range for itself, applies the state
 * machine to them in order, and makes the result durable.  A reset then gives
 * the space of the zones back.
 *
 * A descriptor extension is written while the zone is EMPTY, when nothing
 * refers to it.  Then the zone becomes CLOSED with a valid extension, and all
 * is committed, behind a flush of what was written before.  So a crash leaves
 * the zone EMPTY, or CLOSED with the whole extension.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/bitmap.h"
#include "zoned.h"
#include "trace.h"

/* What is done for all zones of a range gives up the lock after so many... */
#define ZONES_PER_LOCK 512

/* ...and lets others run in its thread after so many. */
#define ZONES_PER_TURN (64 * KiB)

/* An operation on zones. */
typedef struct Mgmt {
    BlockZoneOp op;
    bool all;                   /* it is on the whole device */
    ZonedExclusion ex;
    uint32_t next;              /* the zone that comes next */
    bool durable;               /* the result is to be made durable */
    unsigned long *emptied;     /* a bit for each zone, from @ex.first on... */
    bool has_emptied;           /* ...that a reset has emptied; if there are */

    /* From the first zone to tell of to the last, in bytes; if @news_end */
    uint64_t news_start;
    uint64_t news_end;
    BlockZoneState cond;        /* of the first */
} Mgmt;

/*
 * Is there something to make durable when @op on zone @i has succeeded?  After
 * a power cycle, no zone is open; one that was opened and not written is EMPTY
 * then, whether it has been closed or not.
 */
static bool mgmt_is_durable(const ZonedZones *z, BlockZoneOp op, uint32_t i)
{
    switch (op) {
    case BLK_ZO_OPEN:
        return false;
    case BLK_ZO_CLOSE:
        return zoned_zones_cond(z, i) != BLK_ZS_EMPTY;
    default:
        return true;
    }
}

/*
 * Was zone @i emptied by a reset before, and its space not given back?  If it
 * has failed since, and so is not reset, it may hold data.  Called with the
 * lock.
 */
static bool is_undiscarded(const BDRVZonedState *s, uint32_t i)
{
    return hbitmap_get(s->undiscarded, i) &&
           zoned_zones_cond(&s->zones, i) == BLK_ZS_EMPTY;
}

static bool has_failed(BlockZoneState cond)
{
    return cond == BLK_ZS_RDONLY || cond == BLK_ZS_OFFLINE;
}

/*
 * Zone @i was @old: who watches the disk wants to hear of it if it has failed
 * or was restored.  There may be many: they are told of as one run.
 */
static void note_news(const BDRVZonedState *s, Mgmt *m, uint32_t i,
                      BlockZoneState old)
{
    BlockZoneState cond = zoned_zones_cond(&s->zones, i);

    if (cond == old || (!has_failed(cond) && !has_failed(old))) {
        return;
    }
    if (m->news_end == 0) {
        m->news_start = zoned_zone_start(&s->header.geo, i);
        m->cond = cond;
    }
    m->news_end = zoned_zone_limit(&s->header.geo, i);
}

/* Even if it could not be made durable: zones are as a report shows them. */
static void tell_news(BlockDriverState *bs, const Mgmt *m)
{
    if (m->news_end > 0) {
        bdrv_zone_changed(bs, m->news_start, m->news_end - m->news_start,
                          m->cond, m->op == BLK_ZO_OFFLINE);
    }
}

/*
 * Applies @m to its next zone.  Returns 0 or a negative errno.  Called with the
 * lock.
 */
static int mgmt_zone(BDRVZonedState *s, Mgmt *m)
{
    uint32_t i = m->next;
    BlockZoneState old = zoned_zones_cond(&s->zones, i);
    int ret;

    if (m->all && zoned_zone_is_conv(&s->header.geo, i)) {
        return 0;
    }
    if (m->op == BLK_ZO_RESET && zoned_rules_before_reset(s, i)) {
        m->durable = true;
    }
    ret = zoned_zones_mgmt(&s->zones, m->op, i, m->all);
    if (ret > 0 && m->op == BLK_ZO_RESET) {
        zoned_rules_after_reset(s, i);
    }
    note_news(s, m, i, old);
    if (ret < 0) {
        return ret;
    }
    m->durable |= mgmt_is_durable(&s->zones, m->op, i);
    if (m->op == BLK_ZO_RESET && (ret > 0 || is_undiscarded(s, i))) {
        set_bit(i - m->ex.first, m->emptied);
        m->has_emptied = true;
    }
    return 0;
}

/*
 * Applies @m to its next ZONES_PER_LOCK zones, or up to the first that refuses
 * it.  Takes the lock.
 */
static int mgmt_some_zones(BDRVZonedState *s, Mgmt *m)
{
    uint32_t n = MIN(m->ex.last - m->next + 1, ZONES_PER_LOCK);
    int ret = 0;

    qemu_spin_lock(&s->lock);
    while (n-- > 0 && (ret = mgmt_zone(s, m)) == 0) {
        m->next++;
    }
    qemu_spin_unlock(&s->lock);
    return ret;
}

/* Is there nothing that @m, on all zones, applies to?  Takes the lock. */
static bool mgmt_has_no_zone(BDRVZonedState *s, const Mgmt *m)
{
    bool none;

    qemu_spin_lock(&s->lock);
    none = zoned_zones_nr_affected(&s->zones, m->op) == 0 &&
           !(m->op == BLK_ZO_RESET && !hbitmap_empty(s->undiscarded));
    qemu_spin_unlock(&s->lock);
    return none;
}

/* Lets others have their turn, now and then, when @nr zones are done. */
static void coroutine_fn pause_after(uint32_t nr)
{
    if (nr % ZONES_PER_TURN == 0) {
        zoned_take_turns();
    }
}

/* Applies @m to zones in order, up to the first that refuses it. */
static int coroutine_fn mgmt_zones(BlockDriverState *bs, Mgmt *m)
{
    BDRVZonedState *s = bs->opaque;
    int ret = 0;

    if (m->all && mgmt_has_no_zone(s, m)) {
        /* There may be many.  What was done before may not be durable yet. */
        m->next = m->ex.last + 1;
        m->durable = true;
    }
    while (m->next <= m->ex.last && ret == 0) {
        ret = mgmt_some_zones(s, m);
        pause_after(m->next - m->ex.first);
    }
    return ret;
}

/* Adds the CLOSED zones of all to @closed. */
static void coroutine_fn find_closed(BlockDriverState *bs, GArray *closed)
{
    const BDRVZonedState *s = bs->opaque;

    for (uint32_t i = 0; i < s->header.geo.nr_zones; i++) {
        if (zoned_zones_cond(&s->zones, i) == BLK_ZS_CLOSED) {
            g_array_append_val(closed, i);
        }
        pause_after(i + 1);
    }
}

/*
 * Opens all zones that are CLOSED; others that are closed to make room for them
 * stay so.  All zones are held, so there is no other that becomes CLOSED or
 * open meanwhile.  Takes the lock.
 */
static int coroutine_fn mgmt_open_all(BlockDriverState *bs)
{
    BDRVZonedState *s = bs->opaque;
    g_autoptr(GArray) closed = g_array_new(false, false, sizeof(uint32_t));
    int ret;

    find_closed(bs, closed);
    qemu_spin_lock(&s->lock);
    ret = zoned_zones_may_open_all(&s->zones);
    qemu_spin_unlock(&s->lock);

    for (guint j = 0; j < closed->len && ret >= 0; j++) {
        qemu_spin_lock(&s->lock);
        ret = zoned_zones_mgmt(&s->zones, BLK_ZO_OPEN,
                               g_array_index(closed, uint32_t, j), true);
        qemu_spin_unlock(&s->lock);
        pause_after(j + 1);
    }
    return MIN(ret, 0);
}

/* Does @m, committing first where a zone asks for it. */
static int coroutine_fn GRAPH_RDLOCK mgmt_exclusion(BlockDriverState *bs,
                                                    Mgmt *m)
{
    int ret;

    if (m->all && m->op == BLK_ZO_OPEN) {
        return mgmt_open_all(bs);
    }
    while ((ret = mgmt_zones(bs, m)) == -EAGAIN) {
        ret = zoned_co_commit(bs);
        if (ret < 0) {
            return zoned_host_error(ret);
        }
    }
    return ret;
}

/*
 * Zones @first to @last were emptied.  If that is durable, gives their space
 * back, else notes that it is to be given back later.  What the file does with
 * a discard does not matter, as it is not read again.  Takes the lock.
 */
static void coroutine_fn GRAPH_RDLOCK
discard_zones(BlockDriverState *bs, uint32_t first, uint32_t last, bool durable)
{
    BDRVZonedState *s = bs->opaque;
    uint64_t start = zoned_zone_start(&s->header.geo, first);
    int64_t bytes = zoned_zone_limit(&s->header.geo, last) - start;

    if (durable) {
        int ret = bdrv_co_pdiscard(bs->file, zoned_file_offset(s, start),
                                   bytes);

        trace_zoned_discard(bs, start, bytes, ret);
    }
    qemu_spin_lock(&s->lock);
    if (!durable) {
        hbitmap_set(s->undiscarded, first, last - first + 1);
    } else if (!hbitmap_empty(s->undiscarded)) {
        hbitmap_reset(s->undiscarded, first, last - first + 1);
    }
    qemu_spin_unlock(&s->lock);
}

/*
 * Makes the reset @m durable, and gives back the space of its zones.  Takes the
 * lock.
 */
static int coroutine_fn GRAPH_RDLOCK commit_reset(BlockDriverState *bs,
                                                  const Mgmt *m)
{
    BDRVZonedState *s = bs->opaque;
    uint32_t n = m->ex.last - m->ex.first + 1;
    uint32_t i, end;
    int ret;

    /* The zone that has refused it may have failed by that. */
    ret = zoned_co_commit_reset(bs, m->ex.first, MIN(m->next, m->ex.last));
    if (ret < 0) {
        qemu_spin_lock(&s->lock);
        zoned_commit_doubt(&s->commit);
        qemu_spin_unlock(&s->lock);
    }
    for (i = find_first_bit(m->emptied, n); i < n;
         i = find_next_bit(m->emptied, n, end)) {
        end = find_next_zero_bit(m->emptied, n, i);
        discard_zones(bs, m->ex.first + i, m->ex.first + end - 1, ret == 0);
    }
    return ret;
}

/* Makes what @m did durable. */
static int coroutine_fn GRAPH_RDLOCK commit_mgmt(BlockDriverState *bs,
                                                 const Mgmt *m)
{
    if (!m->durable) {
        return 0;
    }
    return m->has_emptied ? commit_reset(bs, m) : zoned_co_commit(bs);
}

static bool is_zone_start(const ZonedGeometry *geo, int64_t offset)
{
    return offset >= 0 && offset < geo->size && offset % geo->zone_size == 0;
}

/* An operation on zones is on whole zones of the device. */
static bool mgmt_range_valid(const ZonedGeometry *geo, int64_t offset,
                             int64_t len)
{
    return is_zone_start(geo, offset) && len > 0 &&
           len <= geo->size - offset &&
           (len % geo->zone_size == 0 || offset + len == geo->size);
}

int coroutine_fn zoned_co_zone_mgmt(BlockDriverState *bs, BlockZoneOp op,
                                    int64_t offset, int64_t len)
{
    BDRVZonedState *s = bs->opaque;
    const ZonedGeometry *geo = &s->header.geo;
    Mgmt m = { .op = op };
    int ret, commit_ret;

    if (!zoned_is_writable(bs)) {
        return -EACCES;
    }
    if (!mgmt_range_valid(geo, offset, len)) {
        return -ERANGE;
    }

    m.all = offset == 0 && len == geo->size && geo->nr_zones > 1;
    m.ex.first = m.next = zoned_zone_index(geo, offset);
    m.ex.last = zoned_zone_index(geo, offset + len - 1);
    /* After others, a zone that can be written still can, from where it is. */
    m.ex.drain = op == BLK_ZO_FINISH || op == BLK_ZO_RESET ||
                 op == BLK_ZO_MAKE_RDONLY || op == BLK_ZO_MAKE_OFFLINE;
    m.emptied = bitmap_new(m.ex.last - m.ex.first + 1);

    zoned_exclusion_begin(bs, &m.ex);
    /* The device may have become smaller while we waited. */
    ret = m.ex.last < geo->nr_zones ? mgmt_exclusion(bs, &m) : -ERANGE;
    commit_ret = zoned_host_error(commit_mgmt(bs, &m));
    zoned_exclusion_end(bs, &m.ex);

    trace_zoned_mgmt(bs, op, m.ex.first, m.ex.last, ret, commit_ret);
    tell_news(bs, &m);
    g_free(m.emptied);
    return commit_ret < 0 ? commit_ret : ret;
}

/* Where the descriptor extension of zone @i is in the file. */
static int64_t extension_offset(const BDRVZonedState *s, uint32_t i)
{
    return s->base + s->header.extension_offset +
           (uint64_t)i * s->header.geo.zd_extension_size;
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
        /* It has no checksum. */
        zoned_sums_add_none(&s->sums);
        ret = zoned_zones_extend(&s->zones, i);
    } else if (zoned_commit_in_doubt(&s->commit)) {
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
        zoned_commit_doubt(&s->commit);
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
    ZonedExclusion ex = {};
    int ret;

    if (!zoned_is_writable(bs)) {
        return -EACCES;
    }
    if (!is_zone_start(geo, offset)) {
        return -ERANGE;
    }
    ex.first = ex.last = zoned_zone_index(geo, offset);
    /* No need to wait for writes: a zone that has any is not EMPTY. */
    zoned_exclusion_begin(bs, &ex);
    ret = set_extension(bs, ex.first, qiov);
    zoned_exclusion_end(bs, &ex);
    trace_zoned_set_extension(bs, ex.first, qiov->size, ret);
    return ret;
}

/* Reads the extensions of @n zones, at most ZONES_PER_LOCK. */
static int coroutine_fn GRAPH_RDLOCK get_extensions(BlockDriverState *bs,
                                                    uint32_t first, uint32_t n,
                                                    uint8_t *buf)
{
    BDRVZonedState *s = bs->opaque;
    size_t size = s->header.geo.zd_extension_size;
    DECLARE_BITMAP(valid, ZONES_PER_LOCK) = {};
    int ret = 0;

    /* Before they are read: what is set meanwhile may be there in part. */
    for (uint32_t j = 0; j < n; j++) {
        if (zoned_zones_ext_valid(&s->zones, first + j)) {
            set_bit(j, valid);
        }
    }
    if (!bitmap_empty(valid, n)) {
        ret = bdrv_co_pread(bs->file, extension_offset(s, first), n * size, buf,
                            0);
    }
    trace_zoned_get_extensions(bs, first, n, bitmap_count_one(valid, n), ret);
    if (ret < 0) {
        return zoned_host_error(ret);
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

        n = MIN(nr_zones, ZONES_PER_LOCK);
        ret = get_extensions(bs, i, n, p);
        if (ret < 0) {
            return ret;
        }
        p += (size_t)n * geo->zd_extension_size;
    }
    return 0;
}

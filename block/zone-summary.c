/*
 * How many zones of a node are in which condition, in ranges of them, for
 * programs that watch a node with many
 *
 * Zones are counted some thousand at a time; in between, the node is let go,
 * and whatever else the thread has to do comes first.  So nothing waits for all
 * of them to be counted, whatever their number.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/qapi-commands-block-core.h"
#include "qemu/bitmap.h"
#include "block/block.h"
#include "block/block_int.h"
#include "zone-changed.h"
#include "zone-query.h"

/* As many as are put into a reply in some milliseconds */
#define MAX_RANGES 256

/* Runs of zones that may have changed, in a reply */
#define MAX_CHANGED_RUNS 256

/* Zones that are counted before others have their turn: 100 microseconds */
#define ZONES_PER_TURN 4096

/* Of these, in one report */
#define ZONES_PER_REPORT 256

typedef struct RangeCount {
    bool wanted;            /* it is to be in the reply */
    uint32_t count[ZONE_CONDITION__MAX];
    uint64_t capacity;      /* both of sequential zones */
    uint64_t written;
} RangeCount;

/* Zones @first to @end - 1 */
typedef struct ZoneRun {
    uint32_t first;
    uint32_t end;
} ZoneRun;

typedef struct SummaryQuery {
    const char *node_name;
    uint64_t size;
    uint64_t zone_size;
    uint32_t nr_zones;
    uint32_t max_open;
    uint32_t max_active;

    /* What has changed since, if the node can tell */
    uint64_t since;
    bool has_changes;
    BlockZoneChanges changes;

    /* What is asked for: zones from @first on, in so many ranges */
    uint32_t first;
    uint32_t nr;
    uint32_t nr_ranges;
    RangeCount *ranges;

    /* Where to go on */
    uint32_t range;
    uint32_t zone;
    BlockZoneDescriptor zones[ZONES_PER_REPORT];
} SummaryQuery;

static void summary_query_free(SummaryQuery *q)
{
    g_free(q->changes.changed);
    g_free(q->ranges);
    g_free(q);
}

G_DEFINE_AUTOPTR_CLEANUP_FUNC(SummaryQuery, summary_query_free)

/* Range @i begins at this zone, which is where the one before has ended. */
static uint32_t range_start(const SummaryQuery *q, uint32_t i)
{
    return q->first + (uint64_t)i * q->nr / q->nr_ranges;
}

/* Where zone @i begins, or the last one ends. */
static uint64_t zone_start(const SummaryQuery *q, uint32_t i)
{
    return MIN(i * q->zone_size, q->size);
}

/* Takes the part of the node that is asked for, as whole zones. */
static bool set_window(SummaryQuery *q, uint64_t offset, bool has_length,
                       uint64_t length, Error **errp)
{
    if (offset >= q->size) {
        error_setg(errp, "Offset %" PRIu64 " is not below the end of node '%s'"
                   " at %" PRIu64, offset, q->node_name, q->size);
        return false;
    }
    if (!has_length) {
        length = q->size - offset;
    }
    if (length < 1 || length > q->size - offset) {
        error_setg(errp, "length is %" PRIu64 ", and node '%s' has 1 to %"
                   PRIu64 " bytes from offset %" PRIu64 " on", length,
                   q->node_name, q->size - offset, offset);
        return false;
    }
    q->first = offset / q->zone_size;
    q->nr = (offset + length - 1) / q->zone_size - q->first + 1;
    return true;
}

/* The end of the run of zones from @i that have changed or, as @i, have not. */
static uint32_t changed_until(const SummaryQuery *q, uint32_t i, bool *changed)
{
    const BlockZoneChanges *c = &q->changes;
    uint32_t last = q->first + q->nr;
    uint32_t bit;

    if (!c->changed) {
        *changed = true;
        return last;
    }
    bit = i / c->zones_per_bit;
    *changed = test_bit(bit, c->changed);
    bit = *changed ? find_next_zero_bit(c->changed, c->nr_bits, bit)
                   : find_next_bit(c->changed, c->nr_bits, bit);
    return MIN((uint64_t)bit * c->zones_per_bit, last);
}

/* Wants the ranges that have something of zones @i to @end - 1. */
static void want_ranges(SummaryQuery *q, uint32_t i, uint32_t end)
{
    uint32_t range = (uint64_t)(i - q->first) * q->nr_ranges / q->nr;

    while (range_start(q, range + 1) <= i) {
        range++;
    }
    for (; range < q->nr_ranges && range_start(q, range) < end; range++) {
        q->ranges[range].wanted = true;
    }
}

/* Decides which ranges are to be in the reply. */
static void set_ranges(SummaryQuery *q, uint32_t nr_ranges)
{
    uint32_t end;
    bool changed;

    q->nr_ranges = MIN(nr_ranges, q->nr);
    q->ranges = g_new0(RangeCount, q->nr_ranges);
    q->zone = q->first;
    for (uint32_t i = q->first; i < q->first + q->nr; i = end) {
        end = changed_until(q, i, &changed);
        if (changed) {
            want_ranges(q, i, end);
        }
    }
}

/* Asks @bs what it is, and what has changed. */
static int coroutine_fn GRAPH_RDLOCK
describe_node(SummaryQuery *q, BlockDriverState *bs)
{
    int64_t size = bdrv_co_getlength(bs);
    int ret;

    if (size < 0) {
        return size;
    }
    if (bs->bl.zoned == BLK_Z_NONE) {
        return -ENOTSUP;
    }
    q->size = size;
    q->zone_size = bs->bl.zone_size;
    q->nr_zones = DIV_ROUND_UP(size, q->zone_size);
    q->max_open = bs->bl.max_open_zones;
    q->max_active = bs->bl.max_active_zones;

    ret = bdrv_co_zone_changes(bs, q->since, &q->changes);
    q->has_changes = ret == 0;
    return ret == -ENOTSUP ? 0 : ret;
}

static void count_zone(RangeCount *range, const BlockZoneDescriptor *zone)
{
    range->count[zone_condition(zone->state)]++;
    if (zone->type != BLK_ZT_CONV) {
        range->capacity += zone->cap;
        range->written += zone_query_written(zone);
    }
}

/*
 * Counts some zones.  Returns 0 or a negative errno: -EAGAIN if the node has
 * other zones than before.
 */
static int coroutine_fn GRAPH_RDLOCK
count_some(SummaryQuery *q, BlockDriverState *bs)
{
    int budget = ZONES_PER_TURN;

    if (bs->bl.zone_size != q->zone_size || bdrv_co_getlength(bs) != q->size) {
        return -EAGAIN;
    }
    while (q->range < q->nr_ranges && budget > 0) {
        RangeCount *range = &q->ranges[q->range];
        uint32_t end = range_start(q, q->range + 1);
        unsigned int n = MIN(end - q->zone, ZONES_PER_REPORT);
        int ret;

        if (!range->wanted) {
            q->zone = end;
            q->range++;
            continue;
        }
        ret = bdrv_co_zone_report(bs, zone_start(q, q->zone), &n, q->zones);
        if (ret < 0) {
            return ret;
        }
        if (n == 0) {
            return -EAGAIN;
        }
        for (unsigned int i = 0; i < n; i++) {
            count_zone(range, &q->zones[i]);
        }
        budget -= n;
        q->zone += n;
        q->range += q->zone == end;
    }
    return 0;
}

/*
 * Does something with the node, which nobody can take away or move to another
 * thread meanwhile: describes it if it does not know yet what is to be counted.
 * Then others have their turn.
 */
static bool coroutine_fn take_turn(SummaryQuery *q, Error **errp)
{
    int ret = -ENOENT;

    WITH_GRAPH_RDLOCK_GUARD() {
        BlockDriverState *bs = bdrv_find_node(q->node_name);

        if (bs) {
            AioContext *old_ctx = bdrv_co_enter(bs);

            ret = q->ranges ? count_some(q, bs) : describe_node(q, bs);
            bdrv_co_leave(bs, old_ctx);
        }
    }
    switch (ret) {
    case 0:
        aio_co_schedule(qemu_get_current_aio_context(), qemu_coroutine_self());
        qemu_coroutine_yield();
        return true;
    case -ENOENT:
        error_setg(errp, "There is no node '%s'", q->node_name);
        return false;
    case -ENOTSUP:
        error_setg(errp, "Node '%s' has no zones", q->node_name);
        return false;
    case -EAGAIN:
        error_setg(errp, "The zones of node '%s' have become others while they "
                   "were counted", q->node_name);
        return false;
    default:
        error_setg_errno(errp, -ret, "Could not get the zones of node '%s'",
                         q->node_name);
        return false;
    }
}

static BlockZoneRange *range_reply(const SummaryQuery *q, uint32_t i)
{
    const RangeCount *range = &q->ranges[i];
    uint32_t first = range_start(q, i), end = range_start(q, i + 1);
    BlockZoneRange *reply = g_new(BlockZoneRange, 1);
    BlockZoneConditionCountList **tail = &reply->conditions;

    *reply = (BlockZoneRange) {
        .start = zone_start(q, first),
        .length = zone_start(q, end) - zone_start(q, first),
        .zones = end - first,
        .capacity = range->capacity,
        .written = range->written,
    };
    for (int cond = 0; cond < ZONE_CONDITION__MAX; cond++) {
        if (range->count[cond]) {
            BlockZoneConditionCount *count = g_new(BlockZoneConditionCount, 1);

            *count = (BlockZoneConditionCount) {
                .condition = cond,
                .count = range->count[cond],
            };
            QAPI_LIST_APPEND(tail, count);
        }
    }
    return reply;
}

static BlockZoneRangeList *ranges_reply(const SummaryQuery *q)
{
    BlockZoneRangeList *list = NULL, **tail = &list;

    for (uint32_t i = 0; i < q->nr_ranges; i++) {
        if (q->ranges[i].wanted) {
            QAPI_LIST_APPEND(tail, range_reply(q, i));
        }
    }
    return list;
}

/*
 * The runs of zones that may have changed.  Zones between them that have not
 * belong to them if they are no more than @gap.  Returns NULL if there are more
 * runs than a reply has.
 */
static GArray *changed_runs(const SummaryQuery *q, uint32_t gap)
{
    g_autoptr(GArray) runs = g_array_new(false, false, sizeof(ZoneRun));
    uint32_t end;
    bool changed;

    for (uint32_t i = q->first; i < q->first + q->nr; i = end) {
        ZoneRun *last = runs->len ? &g_array_index(runs, ZoneRun,
                                                   runs->len - 1) : NULL;

        end = changed_until(q, i, &changed);
        if (!changed) {
            continue;
        }
        if (last && i - last->end <= gap) {
            last->end = end;
        } else if (runs->len == MAX_CHANGED_RUNS) {
            return NULL;
        } else {
            ZoneRun run = { .first = i, .end = end };

            g_array_append_val(runs, run);
        }
    }
    return g_steal_pointer(&runs);
}

static BlockZoneRunList *changed_reply(const SummaryQuery *q)
{
    BlockZoneRunList *list = NULL, **tail = &list;
    g_autoptr(GArray) runs = changed_runs(q, 0);

    for (uint32_t gap = q->changes.zones_per_bit; !runs; gap *= 2) {
        runs = changed_runs(q, gap);
    }
    for (guint i = 0; i < runs->len; i++) {
        const ZoneRun *run = &g_array_index(runs, ZoneRun, i);
        BlockZoneRun *reply = g_new(BlockZoneRun, 1);

        *reply = (BlockZoneRun) {
            .start = zone_start(q, run->first),
            .length = zone_start(q, run->end) - zone_start(q, run->first),
            .zones = run->end - run->first,
        };
        QAPI_LIST_APPEND(tail, reply);
    }
    return list;
}

/* How many zones are open or active: as the node says, or counted if all are */
static void set_resources(const SummaryQuery *q, BlockZoneSummary *summary)
{
    uint64_t count[ZONE_CONDITION__MAX] = {};

    summary->has_open = summary->has_active = q->has_changes ||
                                              q->nr == q->nr_zones;
    if (q->has_changes) {
        summary->open = q->changes.nr_open;
        summary->active = q->changes.nr_active;
        return;
    }
    for (uint32_t i = 0; i < q->nr_ranges; i++) {
        for (int cond = 0; cond < ZONE_CONDITION__MAX; cond++) {
            count[cond] += q->ranges[i].count[cond];
        }
    }
    summary->open = count[ZONE_CONDITION_IMPLICITLY_OPEN] +
                    count[ZONE_CONDITION_EXPLICITLY_OPEN];
    summary->active = summary->open + count[ZONE_CONDITION_CLOSED];
}

static BlockZoneSummary *summary_reply(const SummaryQuery *q)
{
    BlockZoneSummary *summary = g_new(BlockZoneSummary, 1);
    bool partial = q->changes.changed;

    *summary = (BlockZoneSummary) {
        .size = q->size,
        .zone_length = q->zone_size,
        .zones = q->nr_zones,
        .max_open = q->max_open,
        .max_active = q->max_active,
        .has_generation = q->has_changes,
        .generation = q->changes.generation,
        .complete = !partial,
        .ranges = ranges_reply(q),
        .has_changed = partial,
        .changed = partial ? changed_reply(q) : NULL,
    };
    set_resources(q, summary);
    return summary;
}

BlockZoneSummary *coroutine_fn
qmp_query_block_zone_summary(const char *node_name,
                             bool has_offset, uint64_t offset,
                             bool has_length, uint64_t length,
                             bool has_ranges, uint32_t ranges,
                             bool has_since, uint64_t since, Error **errp)
{
    g_autoptr(SummaryQuery) q = g_new0(SummaryQuery, 1);

    q->node_name = node_name;
    q->since = since;
    if (!has_ranges) {
        ranges = 1;
    }
    if (ranges < 1 || ranges > MAX_RANGES) {
        error_setg(errp, "ranges is %" PRIu32 ", and a reply has 1 to %d",
                   ranges, MAX_RANGES);
        return NULL;
    }
    if (!take_turn(q, errp) ||
        !set_window(q, offset, has_length, length, errp)) {
        return NULL;
    }
    set_ranges(q, ranges);
    while (q->range < q->nr_ranges) {
        if (!take_turn(q, errp)) {
            return NULL;
        }
    }
    return summary_reply(q);
}

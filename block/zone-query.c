/*
 * What is known of the zones of a node, for people and programs that watch it
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/qapi-commands-block-core.h"
#include "qemu/cutils.h"
#include "qemu/qemu-print.h"
#include "block/block.h"
#include "block/block_int.h"
#include "zone-changed.h"
#include "zone-query.h"

/* Entries of a reply */
#define MAX_ENTRIES 256

/*
 * Zones that are looked at in one go: this takes some microseconds, after which
 * the thread may do something else.
 */
#define ZONES_PER_REPORT 256

typedef struct ZoneQuery {
    BlockDriverState *bs;
    uint64_t types;         /* a bit for each ZoneType that is asked for */
    uint64_t conditions;    /* the same for each ZoneCondition */
    uint32_t limit;         /* of entries */

    BlockZoneDescriptor last;       /* the zone that was added last */
    BlockZones *run;                /* the entry that it is in, or NULL */
    BlockZonesList **tail;
    uint32_t nr_entries;
} ZoneQuery;

static ZoneType zone_type(BlockZoneType type)
{
    switch (type) {
    case BLK_ZT_CONV:
        return ZONE_TYPE_CONVENTIONAL;
    case BLK_ZT_SWR:
        return ZONE_TYPE_SEQUENTIAL_WRITE_REQUIRED;
    case BLK_ZT_SWP:
        return ZONE_TYPE_SEQUENTIAL_WRITE_PREFERRED;
    }
    g_assert_not_reached();
}

/* Has a zone a write pointer in this condition, by the standards? */
static bool has_write_pointer(BlockZoneState state)
{
    switch (state) {
    case BLK_ZS_EMPTY:
    case BLK_ZS_IOPEN:
    case BLK_ZS_EOPEN:
    case BLK_ZS_CLOSED:
        return true;
    default:
        return false;
    }
}

uint64_t zone_query_written(const BlockZoneDescriptor *zone)
{
    uint64_t end = zone->data_end ?: zone->wp;

    return MIN(MAX(end, zone->start) - zone->start, zone->cap);
}

/* Is @zone the one behind the last, and just like it? */
static bool continues_run(const ZoneQuery *q, const BlockZoneDescriptor *zone)
{
    const BlockZoneDescriptor *last = &q->last;

    return q->run && zone->start == last->start + last->length &&
           zone->length == last->length && zone->cap == last->cap &&
           zone->type == last->type && zone->state == last->state &&
           zone->ext_valid == last->ext_valid &&
           zone->wp - zone->start == last->wp - last->start &&
           zone_query_written(zone) == zone_query_written(last);
}

/* Returns false if the reply has no room for @zone. */
static bool add_zone(ZoneQuery *q, const BlockZoneDescriptor *zone)
{
    if (!continues_run(q, zone)) {
        if (q->nr_entries == q->limit) {
            return false;
        }
        q->run = g_new(BlockZones, 1);
        *q->run = (BlockZones) {
            .start = zone->start,
            .length = zone->length,
            .capacity = zone->cap,
            .type = zone_type(zone->type),
            .condition = zone_condition(zone->state),
            .has_write_pointer = has_write_pointer(zone->state),
            .write_pointer = zone->wp,
            .has_written = zone->type != BLK_ZT_CONV,
            .written = zone_query_written(zone),
            .extension = zone->ext_valid,
        };
        QAPI_LIST_APPEND(q->tail, q->run);
        q->nr_entries++;
    }
    q->run->count++;
    q->last = *zone;
    return true;
}

/*
 * Adds the zones from @offset on.  Returns where to go on if the reply has no
 * room for more, and the end of the node if it has all; or a negative errno.
 */
static int64_t coroutine_fn GRAPH_RDLOCK
add_zones(ZoneQuery *q, int64_t offset, int64_t end)
{
    g_autofree BlockZoneDescriptor *zones = g_new(BlockZoneDescriptor,
                                                  ZONES_PER_REPORT);

    while (offset < end) {
        unsigned int nr_zones = ZONES_PER_REPORT;
        int ret = bdrv_co_zone_report(q->bs, offset, &nr_zones, zones);

        if (ret < 0) {
            return ret;
        }
        if (nr_zones == 0) {
            break;
        }
        for (unsigned int i = 0; i < nr_zones; i++) {
            BlockZoneDescriptor *zone = &zones[i];

            if ((q->types & BIT_ULL(zone_type(zone->type))) &&
                (q->conditions & BIT_ULL(zone_condition(zone->state))) &&
                !add_zone(q, zone)) {
                return zone->start;
            }
            offset = zone->start + zone->length;
        }
        /* Let others run. */
        aio_co_schedule(qemu_get_current_aio_context(), qemu_coroutine_self());
        qemu_coroutine_yield();
    }
    return end;
}

BlockZoneReport *coroutine_fn
qmp_query_block_zones(const char *node_name, bool has_offset, uint64_t offset,
                      bool has_limit, uint32_t limit,
                      bool has_types, ZoneTypeList *types,
                      bool has_conditions, ZoneConditionList *conditions,
                      Error **errp)
{
    g_autoptr(BlockZoneReport) report = g_new0(BlockZoneReport, 1);
    ZoneQuery q = {
        .types = has_types ? 0 : UINT64_MAX,
        .conditions = has_conditions ? 0 : UINT64_MAX,
        .limit = has_limit ? limit : MAX_ENTRIES,
        .tail = &report->zones,
    };
    AioContext *old_ctx;
    int64_t end, next;

    GRAPH_RDLOCK_GUARD();

    q.bs = bdrv_find_node(node_name);
    if (!q.bs) {
        error_setg(errp, "There is no node '%s'", node_name);
        return NULL;
    }
    if (q.limit < 1 || q.limit > MAX_ENTRIES) {
        error_setg(errp, "limit is %" PRIu32 ", and a reply has 1 to %d "
                   "entries", q.limit, MAX_ENTRIES);
        return NULL;
    }
    for (; types; types = types->next) {
        q.types |= BIT_ULL(types->value);
    }
    for (; conditions; conditions = conditions->next) {
        q.conditions |= BIT_ULL(conditions->value);
    }

    old_ctx = bdrv_co_enter(q.bs);
    end = bdrv_co_getlength(q.bs);
    if (end >= 0 && offset >= end) {
        error_setg(errp, "Offset %" PRIu64 " is not below the end of node '%s'"
                   " at %" PRId64, offset, node_name, end);
        next = -ERANGE;
    } else {
        next = end < 0 ? end : add_zones(&q, offset, end);
        if (next == -ENOTSUP) {
            error_setg(errp, "Node '%s' has no zones", node_name);
        } else if (next < 0) {
            error_setg_errno(errp, -next, "Could not get the zones of node "
                             "'%s'", node_name);
        }
    }
    bdrv_co_leave(q.bs, old_ctx);

    if (next < 0) {
        return NULL;
    }
    report->has_next = next < end;
    report->next = next;
    return g_steal_pointer(&report);
}

void zone_summary_add(ZoneSummary *summary, const BlockZonesList *zones)
{
    for (; zones; zones = zones->next) {
        const BlockZones *z = zones->value;

        summary->nr_zones += z->count;
        summary->count[z->condition] += z->count;
        summary->written += z->has_written ? z->written * z->count : 0;
    }
}

void zone_summary_dump(const ZoneSummary *summary)
{
    g_autofree char *written = size_to_str(summary->written);
    const char *separator = "";

    qemu_printf("%" PRIu64 " zones (", summary->nr_zones);
    for (int i = 0; i < ZONE_CONDITION__MAX; i++) {
        if (summary->count[i]) {
            qemu_printf("%s%" PRIu64 " %s", separator, summary->count[i],
                        ZoneCondition_str(i));
            separator = ", ";
        }
    }
    qemu_printf("), %s written to sequential ones\n", written);
}

void zones_dump_heading(void)
{
    qemu_printf("%-16s%10s  %-12s%-12s%-19s%s\n", "Offset", "Zones", "Length",
                "Capacity", "Condition", "Written");
}

void zones_dump(const BlockZonesList *zones)
{
    for (; zones; zones = zones->next) {
        const BlockZones *z = zones->value;

        qemu_printf("0x%-14" PRIx64 "%10" PRIu32 "  0x%-10" PRIx64
                    "0x%-10" PRIx64 "%-19s", z->start, z->count, z->length,
                    z->capacity, ZoneCondition_str(z->condition));
        if (z->has_written) {
            qemu_printf("0x%" PRIx64 "%s", z->written,
                        z->extension ? ", extension" : "");
        } else {
            qemu_printf("-");
        }
        qemu_printf("\n");
    }
}

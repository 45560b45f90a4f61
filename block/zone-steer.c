/*
 * Zones of a node that fail when they are told to, at once or by a rule
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/qapi-commands-block-core.h"
#include "block/block.h"
#include "block/block_int.h"

/* Zones that a command can set: as many as one of query-block-zones reports */
#define MAX_ZONES 256

/* Zones in a row that are to become what @condition says */
typedef struct ZoneSteer {
    BlockDriverState *bs;
    ZoneForcedCondition condition;
    unsigned int nr_zones;
    BlockZoneDescriptor zones[MAX_ZONES];       /* as they were before */
} ZoneSteer;

static BlockZoneOp zone_op(ZoneForcedCondition condition)
{
    switch (condition) {
    case ZONE_FORCED_CONDITION_READ_ONLY:
        return BLK_ZO_MAKE_RDONLY;
    case ZONE_FORCED_CONDITION_OFFLINE:
        return BLK_ZO_MAKE_OFFLINE;
    case ZONE_FORCED_CONDITION_BY_DATA:
        return BLK_ZO_RESTORE;
    default:
        g_assert_not_reached();
    }
}

/* Can @zone get the condition, resources aside? */
static bool check_zone(const ZoneSteer *zs, const BlockZoneDescriptor *zone,
                       Error **errp)
{
    if (zone->type == BLK_ZT_CONV) {
        error_setg(errp, "Zone at %" PRIu64 " is conventional, and only "
                   "sequential ones get another condition", zone->start);
        return false;
    }
    if (zone->state == BLK_ZS_OFFLINE &&
        zs->condition == ZONE_FORCED_CONDITION_READ_ONLY) {
        error_setg(errp, "Zone at %" PRIu64 " is OFFLINE, and cannot become "
                   "READ ONLY: set it to 'by-data' before", zone->start);
        return false;
    }
    return true;
}

/*
 * Gives @zs its zones, @count of them from that at @offset on, and looks
 * whether all of them can get the condition.
 */
static bool coroutine_fn GRAPH_RDLOCK
find_zones(ZoneSteer *zs, uint64_t offset, uint32_t count, Error **errp)
{
    const char *name = zs->bs->node_name;
    int64_t size = bdrv_co_getlength(zs->bs);
    int ret;

    if (size >= 0 && offset >= size) {
        error_setg(errp, "Offset %" PRIu64 " is not below the end of node '%s'"
                   " at %" PRId64, offset, name, size);
        return false;
    }
    zs->nr_zones = count;
    ret = size < 0 ? size : bdrv_co_zone_report(zs->bs, offset, &zs->nr_zones,
                                                zs->zones);
    if (ret == -ENOTSUP) {
        error_setg(errp, "Node '%s' has no zones", name);
        return false;
    }
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not get the zones of node '%s'",
                         name);
        return false;
    }
    if (zs->nr_zones < count) {
        error_setg(errp, "Node '%s' has only %u zones from offset %" PRIu64
                   " on, and count is %" PRIu32, name, zs->nr_zones, offset,
                   count);
        return false;
    }
    for (unsigned int i = 0; i < count; i++) {
        if (!check_zone(zs, &zs->zones[i], errp)) {
            return false;
        }
    }
    return true;
}

static int coroutine_fn GRAPH_RDLOCK set_zones(ZoneSteer *zs)
{
    const BlockZoneDescriptor *last = &zs->zones[zs->nr_zones - 1];
    int64_t start = zs->zones[0].start;

    return bdrv_co_zone_mgmt(zs->bs, zone_op(zs->condition), start,
                             last->start + last->length - start);
}

/* The last zones of @zs could not be restored: the others are as before. */
static void coroutine_fn GRAPH_RDLOCK undo_restore(ZoneSteer *zs)
{
    for (unsigned int i = 0; i < zs->nr_zones; i++) {
        const BlockZoneDescriptor *zone = &zs->zones[i];

        /* If the file fails, its errors have been reported already. */
        if (zone->state == BLK_ZS_RDONLY) {
            bdrv_co_zone_mgmt(zs->bs, BLK_ZO_MAKE_RDONLY, zone->start,
                              zone->length);
        } else if (zone->state == BLK_ZS_OFFLINE) {
            bdrv_co_zone_mgmt(zs->bs, BLK_ZO_MAKE_OFFLINE, zone->start,
                              zone->length);
        }
    }
}

/* Says why the zones of @zs could not be set. */
static void GRAPH_RDLOCK steer_error(const ZoneSteer *zs, int ret,
                                     Error **errp)
{
    const char *name = zs->bs->node_name;

    switch (ret) {
    case -ENOTSUP:
        error_setg(errp, "The zones of node '%s' (%s) cannot be set", name,
                   bdrv_get_format_name(zs->bs) ?: "no driver");
        break;
    case -EACCES:
        error_setg(errp, "Node '%s' is inactive, and its zones cannot be set",
                   name);
        break;
    case -EOVERFLOW:
        error_setg(errp, "Node '%s' has %" PRIu32 " active zones, as many as "
                   "it can have, and a zone that has data needs to be one of "
                   "them: reset or finish some before", name,
                   zs->bs->bl.max_active_zones);
        break;
    default:
        error_setg_errno(errp, -ret, "Could not set the zones of node '%s' "
                         "from %" PRIu64 " on", name, zs->zones[0].start);
    }
}

void coroutine_fn qmp_block_zone_set_condition(const char *node_name,
                                               uint64_t offset,
                                               bool has_count, uint32_t count,
                                               ZoneForcedCondition condition,
                                               Error **errp)
{
    g_autofree ZoneSteer *zs = g_new0(ZoneSteer, 1);
    AioContext *old_ctx;

    GRAPH_RDLOCK_GUARD();

    zs->condition = condition;
    zs->bs = bdrv_find_node(node_name);
    if (!zs->bs) {
        error_setg(errp, "There is no node '%s'", node_name);
        return;
    }
    if (!has_count) {
        count = 1;
    }
    if (count < 1 || count > MAX_ZONES) {
        error_setg(errp, "count is %" PRIu32 ", and 1 to %d zones can be set "
                   "at once", count, MAX_ZONES);
        return;
    }
    if (bdrv_is_read_only(zs->bs)) {
        error_setg(errp, "Node '%s' is read-only, and its zones cannot be set",
                   node_name);
        return;
    }

    old_ctx = bdrv_co_enter(zs->bs);
    if (find_zones(zs, offset, count, errp)) {
        int ret = set_zones(zs);

        if (ret == -EOVERFLOW) {
            undo_restore(zs);
        }
        if (ret < 0) {
            steer_error(zs, ret, errp);
        }
    }
    bdrv_co_leave(zs->bs, old_ctx);
}

/* The node, if its driver has rules. */
static BlockDriverState *GRAPH_RDLOCK find_ruled(const char *node_name,
                                                 Error **errp)
{
    BlockDriverState *bs = bdrv_find_node(node_name);

    if (!bs) {
        error_setg(errp, "There is no node '%s'", node_name);
        return NULL;
    }
    if (!bs->drv || !bs->drv->bdrv_zone_rules) {
        error_setg(errp, "Node '%s' (%s) has no rules for zones", node_name,
                   bdrv_get_format_name(bs) ?: "no driver");
        return NULL;
    }
    return bs;
}

void qmp_block_zone_add_rule(const char *node_name, BlockZoneRule *rule,
                             Error **errp)
{
    BlockDriverState *bs;

    GRAPH_RDLOCK_GUARD_MAINLOOP();

    bs = find_ruled(node_name, errp);
    if (bs) {
        bs->drv->bdrv_zone_add_rule(bs, rule, errp);
    }
}

void qmp_block_zone_remove_rule(const char *node_name, uint64_t offset,
                                Error **errp)
{
    BlockDriverState *bs;

    GRAPH_RDLOCK_GUARD_MAINLOOP();

    bs = find_ruled(node_name, errp);
    if (bs) {
        bs->drv->bdrv_zone_remove_rule(bs, offset, errp);
    }
}

BlockZoneRuleList *qmp_query_block_zone_rules(const char *node_name,
                                              Error **errp)
{
    BlockDriverState *bs;

    GRAPH_RDLOCK_GUARD_MAINLOOP();

    bs = find_ruled(node_name, errp);
    return bs ? bs->drv->bdrv_zone_rules(bs) : NULL;
}

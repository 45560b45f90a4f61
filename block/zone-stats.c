/*
 * What the users of a zoned node did with its zones
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/qapi-commands-block-core.h"
#include "block/block.h"
#include "block/block_int.h"

void bdrv_zone_count_op(BlockDriverState *bs, BlockZoneOp op)
{
    IO_CODE();

    switch (op) {
    case BLK_ZO_OPEN:
        stat64_add(&bs->zone_counters.opens, 1);
        break;
    case BLK_ZO_CLOSE:
        stat64_add(&bs->zone_counters.closes, 1);
        break;
    case BLK_ZO_FINISH:
        stat64_add(&bs->zone_counters.finishes, 1);
        break;
    case BLK_ZO_RESET:
        stat64_add(&bs->zone_counters.resets, 1);
        break;
    default:
        /* No user does it to use the zone. */
        break;
    }
}

void bdrv_zone_count_refusal(BlockDriverState *bs, int ret)
{
    BdrvZoneCounters *counters = &bs->zone_counters;

    IO_CODE();

    if (!bs->bl.has_zone_errnos) {
        return;
    }
    switch (ret) {
    case -EINVAL:
        stat64_add(&counters->unaligned, 1);
        break;
    case -ERANGE:
        stat64_add(&counters->boundary, 1);
        break;
    case -EPERM:
        stat64_add(&counters->condition, 1);
        break;
    case -EOVERFLOW:
        stat64_add(&counters->active_zones, 1);
        break;
    case -ETOOMANYREFS:
        stat64_add(&counters->open_zones, 1);
        break;
    default:
        /* An error of the host */
        break;
    }
}

BlockZoneStats *qmp_query_block_zone_stats(const char *node_name, Error **errp)
{
    BlockZoneStats *stats;
    BlockZoneRefusals *refused;
    BdrvZoneCounters *counters;
    BlockDriverState *bs;

    GRAPH_RDLOCK_GUARD_MAINLOOP();

    bs = bdrv_find_node(node_name);
    if (!bs) {
        error_setg(errp, "There is no node '%s'", node_name);
        return NULL;
    }
    if (bs->bl.zoned == BLK_Z_NONE) {
        error_setg(errp, "Node '%s' has no zones", node_name);
        return NULL;
    }

    counters = &bs->zone_counters;
    refused = g_new(BlockZoneRefusals, 1);
    *refused = (BlockZoneRefusals) {
        .unaligned = stat64_get(&counters->unaligned),
        .boundary = stat64_get(&counters->boundary),
        .condition = stat64_get(&counters->condition),
        .active_zones = stat64_get(&counters->active_zones),
        .open_zones = stat64_get(&counters->open_zones),
    };
    stats = g_new(BlockZoneStats, 1);
    *stats = (BlockZoneStats) {
        .opens = stat64_get(&counters->opens),
        .closes = stat64_get(&counters->closes),
        .finishes = stat64_get(&counters->finishes),
        .resets = stat64_get(&counters->resets),
        .appends = stat64_get(&counters->appends),
        .refused = refused,
    };
    return stats;
}

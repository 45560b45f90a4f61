/*
 * Who watches a node, and who uses it, hears that zones have changed
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qapi/qapi-events-block-core.h"
#include "block/block.h"
#include "block/block_int.h"
#include "zone-changed.h"

/* What the users of a node have not been told yet */
typedef struct ZoneChange {
    BlockDriverState *bs;
    int64_t offset;
    int64_t bytes;
} ZoneChange;

ZoneCondition zone_condition(BlockZoneState state)
{
    switch (state) {
    case BLK_ZS_NOT_WP:
        return ZONE_CONDITION_NOT_WRITE_POINTER;
    case BLK_ZS_EMPTY:
        return ZONE_CONDITION_EMPTY;
    case BLK_ZS_IOPEN:
        return ZONE_CONDITION_IMPLICITLY_OPEN;
    case BLK_ZS_EOPEN:
        return ZONE_CONDITION_EXPLICITLY_OPEN;
    case BLK_ZS_CLOSED:
        return ZONE_CONDITION_CLOSED;
    case BLK_ZS_RDONLY:
        return ZONE_CONDITION_READ_ONLY;
    case BLK_ZS_FULL:
        return ZONE_CONDITION_FULL;
    case BLK_ZS_OFFLINE:
        return ZONE_CONDITION_OFFLINE;
    }
    g_assert_not_reached();
}

bool bdrv_child_passes_zones(BdrvChild *c)
{
    BlockDriverState *parent = c->opaque;

    return parent->drv && parent->drv->supports_zoned_children &&
           (c->role & BDRV_CHILD_FILTERED);
}

/* Tells the users of @bs, also those above nodes that pass its zones on. */
static void GRAPH_RDLOCK tell_users(BlockDriverState *bs,
                                    const ZoneChange *change)
{
    BdrvChild *c;

    GLOBAL_STATE_CODE();

    QLIST_FOREACH(c, &bs->parents, next_parent) {
        if (!c->klass->parent_is_bds) {
            if (c->klass->zone_changed) {
                c->klass->zone_changed(c, change->offset, change->bytes);
            }
        } else if (bdrv_child_passes_zones(c)) {
            tell_users(c->opaque, change);
        }
    }
}

static void zone_changed_bh(void *opaque)
{
    g_autofree ZoneChange *change = opaque;

    GRAPH_RDLOCK_GUARD_MAINLOOP();

    tell_users(change->bs, change);
    bdrv_dec_in_flight(change->bs);
}

void bdrv_zone_changed(BlockDriverState *bs, int64_t offset, int64_t bytes,
                       BlockZoneState state, bool asked)
{
    ZoneChange *change;

    IO_CODE();

    qapi_event_send_block_zone_changed(bdrv_get_node_name(bs), offset, bytes,
                                       zone_condition(state));
    if (asked) {
        return;
    }

    /* Keeps the node until the main thread has told its users. */
    bdrv_inc_in_flight(bs);
    change = g_new(ZoneChange, 1);
    *change = (ZoneChange) { .bs = bs, .offset = offset, .bytes = bytes };
    aio_bh_schedule_oneshot(qemu_get_aio_context(), zone_changed_bh, change);
}

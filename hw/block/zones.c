/*
 * What a device model keeps of the zones of its drive
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/bitmap.h"
#include "qapi/error.h"
#include "hw/block/zones.h"
#include "system/block-backend.h"

/* Zones that are asked for at once */
#define ZONES_PER_REPORT 512

static bool check_conf(const BlockConf *conf, const BlockZoneInfo *info,
                       uint32_t block_size, Error **errp)
{
    if (blk_get_on_error(conf->blk, false) == BLOCKDEV_ON_ERROR_IGNORE) {
        error_setg(errp, "werror=ignore is not possible with a zoned drive: "
                   "after a write that was lost, each later one of its zone "
                   "would fail");
        return false;
    }
    if (info->zone_size % block_size) {
        error_setg(errp, "zones of %" PRIu64 " bytes are no multiple of "
                   "%s_block_size %" PRIu32, info->zone_size,
                   block_size == conf->logical_block_size ? "logical" :
                   "physical", block_size);
        return false;
    }
    return true;
}

/*
 * Does a zone of the drive consist of whole blocks, as far as it is written?
 * The device writes whole blocks: if the drive takes less, a write pointer may
 * lie within a block, or a zone end there, and could never become full.
 */
static bool check_blocks(const BlockConf *conf, const BlockZoneInfo *info,
                         const BlockZoneDescriptor *zone, uint32_t block_size,
                         Error **errp)
{
    if (info->write_granularity < block_size && zone->type == BLK_ZT_SWR &&
        (zone->cap % block_size || zone->wp % block_size)) {
        error_setg(errp, "the zone at byte %" PRIu64 " of the drive, with "
                   "capacity %" PRIu64 " and write pointer %" PRIu64 ", does "
                   "not go with %s_block_size %" PRIu32, zone->start,
                   zone->cap, zone->wp,
                   block_size == conf->logical_block_size ? "logical" :
                   "physical", block_size);
        return false;
    }
    return true;
}

BlockConfZones *blkconf_zones_new(const BlockConf *conf, uint32_t block_size,
                                  BlockConfZoneCheck *check, Error **errp)
{
    g_autoptr(BlockConfZones) zones = g_new0(BlockConfZones, 1);
    g_autofree BlockZoneDescriptor *descs =
        g_new(BlockZoneDescriptor, ZONES_PER_REPORT);
    bool is_zoned = blk_get_zone_info(conf->blk, &zones->info);
    uint64_t offset = 0;

    assert(is_zoned);
    if (!check_conf(conf, &zones->info, block_size, errp)) {
        return NULL;
    }
    zones->conventional = bitmap_new(zones->info.nr_zones);
    while (offset < zones->info.capacity) {
        unsigned int n = ZONES_PER_REPORT;
        int ret = blk_zone_report(conf->blk, offset, &n, descs);

        if (ret < 0 || n == 0) {
            error_setg_errno(errp, ret < 0 ? -ret : EIO,
                             "could not get the zones of the drive");
            return NULL;
        }
        for (unsigned int i = 0; i < n; i++) {
            if (!check_blocks(conf, &zones->info, &descs[i], block_size,
                              errp) ||
                (check && !check(conf, &descs[i], errp))) {
                return NULL;
            }
            if (descs[i].type == BLK_ZT_CONV) {
                set_bit(descs[i].start / zones->info.zone_size,
                        zones->conventional);
            }
        }
        offset = descs[n - 1].start + descs[n - 1].length;
    }
    return g_steal_pointer(&zones);
}

void blkconf_zones_free(BlockConfZones *zones)
{
    if (zones) {
        g_free(zones->conventional);
        g_free(zones);
    }
}

bool blkconf_is_seq_zone(const BlockConfZones *zones, uint64_t nr)
{
    return nr < zones->info.nr_zones && !test_bit(nr, zones->conventional);
}

static bool has_type(const BlockConfZones *zones, uint64_t offset,
                     uint64_t bytes, bool conventional)
{
    uint64_t first = offset / zones->info.zone_size;
    uint64_t end = (offset + bytes - 1) / zones->info.zone_size + 1;

    return (conventional ? find_next_bit(zones->conventional, end, first) :
            find_next_zero_bit(zones->conventional, end, first)) < end;
}

bool blkconf_crosses_zones(const BlockConfZones *zones, uint64_t offset,
                           uint64_t bytes)
{
    return offset / zones->info.zone_size !=
           (offset + bytes - 1) / zones->info.zone_size &&
           has_type(zones, offset, bytes, false);
}

bool blkconf_mixes_zones(const BlockConfZones *zones, uint64_t offset,
                         uint64_t bytes)
{
    return has_type(zones, offset, bytes, false) &&
           has_type(zones, offset, bytes, true);
}

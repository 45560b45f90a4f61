/*
 * What a device model keeps of the zones of its drive
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef HW_BLOCK_ZONES_H
#define HW_BLOCK_ZONES_H

#include "block/block-common.h"
#include "hw/block/block.h"

/*
 * What does not change as long as the device has this drive.  It is taken from
 * the node once, when the device is realized: a queue is handled in any thread,
 * at any time, and must not look into the node, which may be reopened
 * meanwhile.
 */
typedef struct BlockConfZones {
    BlockZoneInfo info;
    unsigned long *conventional; /* a bit for each zone */
} BlockConfZones;

/*
 * Checks one zone for a device, beyond what all devices need.  Returns false
 * with @errp set, in words that begin with the zone, if it cannot have it.
 */
typedef bool BlockConfZoneCheck(const BlockConf *conf,
                                const BlockZoneDescriptor *zone, Error **errp);

/*
 * Asks the drive of @conf, which is zoned, for its zones.  @block_size, in
 * bytes, is what the device takes writes to sequential zones in; @check may be
 * NULL.  Returns NULL if a device of this kind cannot have such a drive, or
 * not with this configuration.
 */
BlockConfZones *blkconf_zones_new(const BlockConf *conf, uint32_t block_size,
                                  BlockConfZoneCheck *check, Error **errp);

/* @zones may be NULL. */
void blkconf_zones_free(BlockConfZones *zones);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(BlockConfZones, blkconf_zones_free)

/* Is the zone with this number, of those that there are, not conventional? */
bool blkconf_is_seq_zone(const BlockConfZones *zones, uint64_t nr);

/*
 * Do @bytes (not 0) from byte @offset on lie in more than one zone, one of them
 * sequential?
 */
bool blkconf_crosses_zones(const BlockConfZones *zones, uint64_t offset,
                           uint64_t bytes);

/* Are zones of both kinds among those of @bytes (not 0) from @offset on? */
bool blkconf_mixes_zones(const BlockConfZones *zones, uint64_t offset,
                         uint64_t bytes);

#endif /* HW_BLOCK_ZONES_H */

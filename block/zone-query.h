/*
 * What is known of the zones of a node, for QMP and as text for people
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef BLOCK_ZONE_QUERY_H
#define BLOCK_ZONE_QUERY_H

#include "block/block-common.h"
#include "qapi/qapi-types-block-core.h"

/* Bytes of a sequential zone that were written. */
uint64_t zone_query_written(const BlockZoneDescriptor *zone);

/* How many zones there are, of which condition.  Starts zeroed. */
typedef struct ZoneSummary {
    uint64_t nr_zones;
    uint64_t count[ZONE_CONDITION__MAX];
    uint64_t written;       /* bytes of sequential zones */
} ZoneSummary;

/* Counts zones that were reported. */
void zone_summary_add(ZoneSummary *summary, const BlockZonesList *zones);

/* Print to the monitor, or to the standard output where there is none. */
void zone_summary_dump(const ZoneSummary *summary);
void zones_dump_heading(void);
void zones_dump(const BlockZonesList *zones);

#endif /* BLOCK_ZONE_QUERY_H */

/*
 * The condition of a zone, as QMP has it
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef BLOCK_ZONE_CHANGED_H
#define BLOCK_ZONE_CHANGED_H

#include "block/block-common.h"
#include "qapi/qapi-types-block-core.h"

ZoneCondition zone_condition(BlockZoneState state);

#endif /* BLOCK_ZONE_CHANGED_H */

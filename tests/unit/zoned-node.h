/*
 * Nodes of the zoned block format driver, on a node that a test has made
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TESTS_UNIT_ZONED_NODE_H
#define TESTS_UNIT_ZONED_NODE_H

#include "qapi/qapi-types-block-core.h"

/* Makes an image on node @file, with @options in which no file is named. */
void zoned_node_create(BlockDriverState *file,
                       const BlockdevCreateOptionsZoned *options);

/*
 * Opens the image at byte @base of node @file, which the node that is returned
 * then keeps.
 */
BlockDriverState *zoned_node_open(BlockDriverState *file, uint64_t base,
                                  int flags, Error **errp);

#endif /* TESTS_UNIT_ZONED_NODE_H */

/*
 * What filters for tests leave to the node that they filter
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TESTS_UNIT_ZONED_FILTER_H
#define TESTS_UNIT_ZONED_FILTER_H

#include "block/block_int.h"

static inline int coroutine_fn GRAPH_RDLOCK
filter_co_preadv(BlockDriverState *bs, int64_t offset, int64_t bytes,
                 QEMUIOVector *qiov, BdrvRequestFlags flags)
{
    return bdrv_co_preadv(bdrv_filter_child(bs), offset, bytes, qiov, flags);
}

static inline int coroutine_fn GRAPH_RDLOCK
filter_co_pwritev(BlockDriverState *bs, int64_t offset, int64_t bytes,
                  QEMUIOVector *qiov, BdrvRequestFlags flags)
{
    return bdrv_co_pwritev(bdrv_filter_child(bs), offset, bytes, qiov, flags);
}

#endif /* TESTS_UNIT_ZONED_FILTER_H */

/*
 * Nodes of the zoned block format driver, on a node that a test has made
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qobject/qdict.h"
#include "block/block.h"
#include "block/block_int.h"
#include "zoned-node.h"

typedef struct CreateCo {
    BlockdevCreateOptions *options;
    int ret;
} CreateCo;

static void coroutine_fn create_entry(void *opaque)
{
    CreateCo *co = opaque;
    BlockDriver *drv = bdrv_find_format("zoned");

    co->ret = drv->bdrv_co_create(co->options, &error_abort);
}

void zoned_node_create(BlockDriverState *file,
                       const BlockdevCreateOptionsZoned *options)
{
    BlockdevRef ref = {
        .type = QTYPE_QSTRING,
        .u.reference = (char *)bdrv_get_node_name(file),
    };
    BlockdevCreateOptions create = {
        .driver = BLOCKDEV_DRIVER_ZONED,
        .u.zoned = *options,
    };
    CreateCo co = { .options = &create, .ret = -EINPROGRESS };

    create.u.zoned.file = &ref;
    qemu_coroutine_enter(qemu_coroutine_create(create_entry, &co));
    while (co.ret == -EINPROGRESS) {
        aio_poll(qemu_get_aio_context(), true);
    }
    g_assert(co.ret == 0);
}

BlockDriverState *zoned_node_open(BlockDriverState *file, uint64_t base,
                                  int flags, Error **errp)
{
    QDict *options = qdict_new();

    qdict_put_str(options, "driver", "zoned");
    qdict_put_str(options, "file", bdrv_get_node_name(file));
    if (base) {
        qdict_put_int(options, "offset", base);
    }
    return bdrv_open(NULL, NULL, options, flags, errp);
}

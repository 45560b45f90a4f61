/*
 * QEMU NVM Express: management of zones of the drive
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "system/block-backend.h"
#include "zoned-node.h"
#include "trace.h"

static void nvme_zoned_mgmt_cb(void *opaque, int ret)
{
    NvmeRequest *req = opaque;

    ret = nvme_zoned_node_errno(req->ns, ret);
    if (ret == -EPERM) {
        req->status = NVME_ZONE_INVAL_TRANSITION | NVME_DNR;
    } else if (ret < 0) {
        req->status = nvme_zoned_node_status(ret, NVME_INTERNAL_DEV_ERROR);
    }
    nvme_misc_cb(req, ret);
}

/* An operation on all zones of a drive that has one */
typedef struct NvmeOnlyZone {
    NvmeRequest *req;
    BlockZoneOp op;
    unsigned int nr_zones;
    BlockZoneDescriptor zone;
} NvmeOnlyZone;

static void nvme_only_zone_cb(void *opaque, int ret)
{
    g_autofree NvmeOnlyZone *only = opaque;
    NvmeRequest *req = only->req;

    if (ret < 0 || !bdrv_zone_op_selects(only->op, only->zone.state)) {
        nvme_misc_cb(req, ret);
        return;
    }
    req->aiocb = blk_aio_zone_mgmt(req->ns->blkconf.blk, only->op, 0,
                                   req->ns->size, nvme_zoned_mgmt_cb, req);
}

/*
 * For the node, an operation on all of a drive with one zone is one on that
 * zone, whatever its condition.
 */
static BlockAIOCB *manage_only_zone(NvmeRequest *req, BlockZoneOp op)
{
    NvmeOnlyZone *only = g_new(NvmeOnlyZone, 1);

    *only = (NvmeOnlyZone) { .req = req, .op = op, .nr_zones = 1 };
    return blk_aio_zone_report(req->ns->blkconf.blk, 0, &only->nr_zones,
                               &only->zone, nvme_only_zone_cb, only);
}

static void manage_zones(NvmeRequest *req, BlockZoneOp op, uint64_t slba,
                         bool all)
{
    NvmeNamespace *ns = req->ns;

    trace_pci_nvme_zoned_node_mgmt(nvme_cid(req), op, slba, all);
    if (all && ns->num_zones == 1) {
        req->aiocb = manage_only_zone(req, op);
        return;
    }
    req->aiocb = blk_aio_zone_mgmt(ns->blkconf.blk, op,
                                   all ? 0 : nvme_l2b(ns, slba),
                                   all ? ns->size : nvme_l2b(ns, ns->zone_size),
                                   nvme_zoned_mgmt_cb, req);
}

/* A descriptor extension on its way to the node */
typedef struct NvmeZoneExtension {
    NvmeRequest *req;
    QEMUIOVector iov;
    uint8_t bytes[];
} NvmeZoneExtension;

static void nvme_zone_extension_cb(void *opaque, int ret)
{
    g_autofree NvmeZoneExtension *ext = opaque;

    qemu_iovec_destroy(&ext->iov);
    nvme_zoned_mgmt_cb(ext->req, ret);
}

static uint16_t set_extension(NvmeCtrl *n, NvmeRequest *req, uint64_t slba)
{
    NvmeNamespace *ns = req->ns;
    uint32_t size = ns->params.zd_extension_size;
    g_autofree NvmeZoneExtension *ext = g_malloc(sizeof(*ext) + size);
    uint16_t status;

    trace_pci_nvme_set_descriptor_extension(slba, slba / ns->zone_size);
    status = nvme_h2c(n, ext->bytes, size, req);
    if (status) {
        return status;
    }
    ext->req = req;
    qemu_iovec_init(&ext->iov, 1);
    qemu_iovec_add(&ext->iov, ext->bytes, size);
    req->aiocb = blk_aio_zone_set_extension(ns->blkconf.blk,
                                            nvme_l2b(ns, slba), &ext->iov,
                                            nvme_zone_extension_cb, ext);
    ext = NULL;
    return NVME_NO_COMPLETE;
}

/* Takes *@op from an action that is one on zones for the node, too. */
static bool action_op(uint8_t action, BlockZoneOp *op)
{
    switch (action) {
    case NVME_ZONE_ACTION_OPEN:
        *op = BLK_ZO_OPEN;
        return true;
    case NVME_ZONE_ACTION_CLOSE:
        *op = BLK_ZO_CLOSE;
        return true;
    case NVME_ZONE_ACTION_FINISH:
        *op = BLK_ZO_FINISH;
        return true;
    case NVME_ZONE_ACTION_RESET:
        *op = BLK_ZO_RESET;
        return true;
    case NVME_ZONE_ACTION_OFFLINE:
        *op = BLK_ZO_OFFLINE;
        return true;
    default:
        return false;
    }
}

/* Is this action one that the namespace has? */
static uint16_t check_action(const NvmeNamespace *ns,
                             const NvmeZoneSendCmd *cmd, bool all)
{
    BlockZoneOp op;

    if (action_op(cmd->zsa, &op)) {
        return op == BLK_ZO_OPEN && (cmd->zsflags & NVME_ZSFLAG_ZRWA_ALLOC) ?
               NVME_INVALID_ZONE_OP | NVME_DNR : NVME_SUCCESS;
    }
    if (cmd->zsa == NVME_ZONE_ACTION_ZRWA_FLUSH && !all) {
        return NVME_INVALID_ZONE_OP | NVME_DNR;
    }
    if (cmd->zsa == NVME_ZONE_ACTION_SET_ZD_EXT && !all &&
        ns->params.zd_extension_size) {
        return NVME_SUCCESS;
    }
    trace_pci_nvme_err_invalid_mgmt_action(cmd->zsa);
    return NVME_INVALID_FIELD | NVME_DNR;
}

uint16_t nvme_zoned_node_mgmt(NvmeCtrl *n, NvmeRequest *req, uint64_t slba,
                              bool all)
{
    NvmeNamespace *ns = req->ns;
    const NvmeZoneSendCmd *cmd = (const NvmeZoneSendCmd *)&req->cmd;
    uint16_t status = check_action(ns, cmd, all);
    BlockZoneOp op;

    if (status) {
        return status;
    }
    if (!all && slba != nvme_zone_start(ns, slba)) {
        trace_pci_nvme_err_unaligned_zone_cmd(cmd->zsa, slba,
                                              nvme_zone_start(ns, slba));
        return NVME_INVALID_FIELD | NVME_DNR;
    }
    status = nvme_zoned_node_check_writable(ns);
    if (status) {
        return status;
    }
    if (!action_op(cmd->zsa, &op)) {
        return set_extension(n, req, slba);
    }
    manage_zones(req, op, slba, all);
    return NVME_NO_COMPLETE;
}

/*
 * QEMU NVM Express: reads and writes of zones of the drive
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "system/block-backend.h"
#include "zoned-node.h"
#include "trace.h"

uint16_t nvme_zoned_node_check_read(NvmeNamespace *ns, uint64_t slba,
                                    uint32_t nlb)
{
    if (!ns->params.cross_zone_read &&
        slba + nlb > nvme_zone_start(ns, slba) + ns->zone_size) {
        trace_pci_nvme_err_zone_boundary(slba, nlb, nvme_zone_start(ns, slba) +
                                         ns->zone_size);
        return NVME_ZONE_BOUNDARY_ERROR | NVME_DNR;
    }
    return NVME_SUCCESS;
}

int nvme_zoned_node_errno(const NvmeNamespace *ns, int ret)
{
    return bdrv_is_zone_errno(ret) && !ns->zoned_node.has_errnos ? -EIO : ret;
}

uint16_t nvme_zoned_node_read_status(const NvmeNamespace *ns, int ret)
{
    /* No other condition keeps a zone from being read. */
    return nvme_zoned_node_errno(ns, ret) == -EPERM ?
           NVME_ZONE_OFFLINE | NVME_DNR : NVME_SUCCESS;
}

uint16_t nvme_zoned_node_check_writable(NvmeNamespace *ns)
{
    return blk_is_writable(ns->blkconf.blk) ?
           NVME_SUCCESS : NVME_NS_WRITE_PROTECTED | NVME_DNR;
}

uint16_t nvme_zoned_node_status(int ret, uint16_t other)
{
    switch (ret) {
    case -EINVAL:
        return NVME_ZONE_INVALID_WRITE | NVME_DNR;
    case -ERANGE:
        return NVME_ZONE_BOUNDARY_ERROR | NVME_DNR;
    case -EOVERFLOW:
        return NVME_ZONE_TOO_MANY_ACTIVE | NVME_DNR;
    case -ETOOMANYREFS:
        return NVME_ZONE_TOO_MANY_OPEN | NVME_DNR;
    case -EACCES:
        return NVME_NS_WRITE_PROTECTED | NVME_DNR;
    case -EFAULT:
        return NVME_DATA_TRAS_ERROR | NVME_DNR;
    default:
        return other;
    }
}

/* A write that the condition of its zone does not allow */
typedef struct NvmeZoneRefusal {
    NvmeRequest *req;
    int ret;
    BlockCompletionFunc *done;
    void *opaque;
    unsigned int nr_zones;
    BlockZoneDescriptor zone;
} NvmeZoneRefusal;

static uint16_t refusal_status(const BlockZoneDescriptor *zone)
{
    switch (zone->state) {
    case BLK_ZS_RDONLY:
        return NVME_ZONE_READ_ONLY | NVME_DNR;
    case BLK_ZS_OFFLINE:
        return NVME_ZONE_OFFLINE | NVME_DNR;
    default:
        /* It was full then, even if it was reset since. */
        return NVME_ZONE_FULL | NVME_DNR;
    }
}

static void nvme_zone_refusal_cb(void *opaque, int ret)
{
    g_autofree NvmeZoneRefusal *refusal = opaque;
    bool known = ret == 0 && refusal->nr_zones == 1;

    refusal->req->status = known ? refusal_status(&refusal->zone) :
                                   NVME_WRITE_FAULT;
    refusal->done(refusal->opaque, refusal->ret);
}

void nvme_zoned_node_write_failed(NvmeRequest *req, uint64_t slba, int ret,
                                  BlockAIOCB **aiocb,
                                  BlockCompletionFunc *done, void *opaque)
{
    NvmeNamespace *ns = req->ns;
    NvmeZoneRefusal *refusal;

    ret = nvme_zoned_node_errno(ns, ret);
    if (ret != -EPERM) {
        if (ret != -ECANCELED || !req->status) {
            req->status = nvme_zoned_node_status(ret, NVME_WRITE_FAULT);
        }
        done(opaque, ret);
        return;
    }

    refusal = g_new(NvmeZoneRefusal, 1);
    *refusal = (NvmeZoneRefusal) {
        .req = req,
        .ret = ret,
        .done = done,
        .opaque = opaque,
        .nr_zones = 1,
    };
    *aiocb = blk_aio_zone_report(ns->blkconf.blk, nvme_l2b(ns, slba),
                                 &refusal->nr_zones, &refusal->zone,
                                 nvme_zone_refusal_cb, refusal);
}

static uint64_t write_bytes(NvmeRequest *req)
{
    const NvmeRwCmd *rw = (const NvmeRwCmd *)&req->cmd;

    return nvme_l2b(req->ns, (uint64_t)le16_to_cpu(rw->nlb) + 1);
}

static void nvme_zoned_write_failed_cb(void *opaque, int ret)
{
    NvmeRequest *req = opaque;

    block_acct_failed(blk_get_stats(req->ns->blkconf.blk), &req->acct);
    trace_pci_nvme_err_aio(nvme_cid(req), strerror(-ret), req->status);
    nvme_enqueue_req_completion(nvme_cq(req), req);
}

static void nvme_zoned_write_cb(void *opaque, int ret)
{
    NvmeRequest *req = opaque;
    NvmeNamespace *ns = req->ns;
    const NvmeRwCmd *rw = (const NvmeRwCmd *)&req->cmd;

    if (ret < 0) {
        nvme_zoned_node_write_failed(req, le64_to_cpu(rw->slba), ret,
                                     &req->aiocb, nvme_zoned_write_failed_cb,
                                     req);
        return;
    }

    block_acct_done(blk_get_stats(ns->blkconf.blk), &req->acct);
    if (rw->opcode == NVME_CMD_ZONE_APPEND) {
        NvmeZonedResult *res = (NvmeZonedResult *)&req->cqe;

        res->slba = cpu_to_le64(req->append_offset / ns->lbasz);
    }
    nvme_enqueue_req_completion(nvme_cq(req), req);
}

BdrvRequestFlags nvme_zoned_node_write_flags(const NvmeRequest *req)
{
    const NvmeRwCmd *rw = (const NvmeRwCmd *)&req->cmd;

    return le16_to_cpu(rw->control) & NVME_RW_FUA ? BDRV_REQ_FUA : 0;
}

/* A DMAIOFunc for the data of the command @opaque */
static BlockAIOCB *write_data(int64_t offset, QEMUIOVector *iov,
                              BlockCompletionFunc *cb, void *cb_opaque,
                              void *opaque)
{
    NvmeRequest *req = opaque;
    BlockBackend *blk = req->ns->blkconf.blk;
    const NvmeRwCmd *rw = (const NvmeRwCmd *)&req->cmd;
    BdrvRequestFlags flags = nvme_zoned_node_write_flags(req);

    /*
     * Memory that cannot be had all at once would make several writes of it,
     * which others could come between.
     */
    if (iov->size != write_bytes(req)) {
        return blk_abort_aio_request(blk, cb, cb_opaque, -EFAULT);
    }
    if (rw->opcode == NVME_CMD_ZONE_APPEND) {
        req->append_offset = offset;
        return blk_aio_zone_append(blk, &req->append_offset, iov, flags, cb,
                                   cb_opaque);
    }
    return blk_aio_pwritev(blk, offset, iov, flags, cb, cb_opaque);
}

static uint16_t check_append(NvmeCtrl *n, NvmeNamespace *ns, uint64_t slba,
                             uint64_t bytes)
{
    if (slba != nvme_zone_start(ns, slba)) {
        trace_pci_nvme_err_append_not_at_start(slba, nvme_zone_start(ns, slba));
        return NVME_INVALID_FIELD | NVME_DNR;
    }
    /* What the controller says, which may be less than this drive can take */
    if (bytes > NVME_ZASL_UNIT << (n->zasl ?: n->params.mdts)) {
        trace_pci_nvme_err_zasl(bytes);
        return NVME_INVALID_FIELD | NVME_DNR;
    }
    return NVME_SUCCESS;
}

uint16_t nvme_zoned_node_write(NvmeCtrl *n, NvmeRequest *req)
{
    NvmeNamespace *ns = req->ns;
    BlockBackend *blk = ns->blkconf.blk;
    const NvmeRwCmd *rw = (const NvmeRwCmd *)&req->cmd;
    uint64_t slba = le64_to_cpu(rw->slba);
    uint64_t offset = nvme_l2b(ns, slba);
    uint64_t bytes = write_bytes(req);
    bool append = rw->opcode == NVME_CMD_ZONE_APPEND;
    bool zeroes = rw->opcode == NVME_CMD_WRITE_ZEROES;
    uint16_t status;

    status = nvme_zoned_node_check_writable(ns);
    if (!status && append) {
        status = check_append(n, ns, slba, bytes);
    }
    if (!status && !zeroes) {
        status = nvme_map_dptr(n, &req->sg, bytes, &req->cmd);
    }
    if (status) {
        return status;
    }

    block_acct_start(blk_get_stats(blk), &req->acct, bytes,
                     append ? BLOCK_ACCT_ZONE_APPEND : BLOCK_ACCT_WRITE);
    if (zeroes) {
        req->aiocb = blk_aio_pwrite_zeroes(
            blk, offset, bytes,
            BDRV_REQ_MAY_UNMAP | nvme_zoned_node_write_flags(req),
            nvme_zoned_write_cb, req);
    } else if (req->sg.flags & NVME_SG_DMA) {
        req->aiocb = dma_blk_io(&req->sg.qsg, offset, BDRV_SECTOR_SIZE,
                                write_data, req, nvme_zoned_write_cb, req,
                                DMA_DIRECTION_TO_DEVICE);
    } else {
        req->aiocb = write_data(offset, &req->sg.iov, nvme_zoned_write_cb, req,
                                req);
    }
    return NVME_NO_COMPLETE;
}

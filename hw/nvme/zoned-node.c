/*
 * QEMU NVM Express: a namespace whose zones are those of its drive
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/units.h"
#include "qapi/error.h"
#include "block/block_int.h"
#include "system/block-backend.h"

#include "zoned-node.h"
#include "trace.h"

/* The unit of ZASL, as CAP.MPSMIN has it */
#define ZASL_UNIT (4 * KiB)

/* Zones that are asked for at once: what a report takes stays small. */
#define ZONES_PER_REPORT 64

bool nvme_zoned_node_detect(BlockBackend *blk)
{
    BlockDriverState *bs = blk ? blk_bs(blk) : NULL;

    return bs && bs->bl.zoned == BLK_Z_HM;
}

/* An option that is not given is 0. */
static bool check_option(const char *option, uint64_t given, const char *what,
                         uint64_t drive, Error **errp)
{
    if (given && given != drive) {
        error_setg(errp, "%s=%" PRIu64 " contradicts the drive, whose %s is %"
                   PRIu64, option, given, what, drive);
        return false;
    }
    return true;
}

static bool check_options(const NvmeNamespace *ns, const BlockLimits *bl,
                          uint64_t zone_capacity, Error **errp)
{
    const NvmeNamespaceParams *p = &ns->params;

    return check_option("zoned.zone_size", p->zone_size_bs, "zone size",
                        bl->zone_size, errp) &&
           check_option("zoned.zone_capacity", p->zone_cap_bs, "zone capacity",
                        zone_capacity, errp) &&
           check_option("zoned.max_open", p->max_open_zones,
                        "limit of open zones (0: none)", bl->max_open_zones,
                        errp) &&
           check_option("zoned.max_active", p->max_active_zones,
                        "limit of active zones (0: none)",
                        bl->max_active_zones, errp) &&
           check_option("zoned.descr_ext_size", p->zd_extension_size,
                        "size of zone descriptor extensions", 0, errp);
}

/* What needs more than the zones of a block node have */
static bool check_features(const NvmeNamespace *ns, Error **errp)
{
    const NvmeNamespaceParams *p = &ns->params;

    if (p->ms) {
        error_setg(errp, "a zoned drive has no place for metadata (ms=%u)",
                   p->ms);
        return false;
    }
    if (p->zrwas || p->numzrwa || p->zrwafg != -1) {
        error_setg(errp, "a zoned drive has no zone random write areas "
                   "(zoned.zrwas, zoned.zrwafg, zoned.numzrwa)");
        return false;
    }
    if (ns->endgrp && ns->endgrp->fdp.enabled) {
        error_setg(errp, "a zoned drive cannot be in an FDP configuration");
        return false;
    }
    return true;
}

/* Can zones of this size and appends of this length be described? */
static bool check_limits(const NvmeNamespace *ns, const BlockLimits *bl,
                         Error **errp)
{
    uint64_t max_append = (uint64_t)bl->max_append_sectors * BDRV_SECTOR_SIZE;

    if (bl->zone_size % ns->lbasz) {
        error_setg(errp, "zones of %" PRIu64 " bytes are no multiple of "
                   "logical_block_size %zu", (uint64_t)bl->zone_size,
                   ns->lbasz);
        return false;
    }
    if (max_append < 2 * ZASL_UNIT) {
        error_setg(errp, "the drive's largest zone append, %" PRIu64 " bytes, "
                   "is less than NVMe can ask for, %" PRIu64 " bytes",
                   max_append, (uint64_t)(2 * ZASL_UNIT));
        return false;
    }
    return true;
}

/* A zone that a zoned namespace can have; all have the same @capacity. */
static bool check_zone(const NvmeNamespace *ns, const BlockLimits *bl,
                       const BlockZoneDescriptor *zone, uint64_t capacity,
                       Error **errp)
{
    if (zone->type != BLK_ZT_SWR) {
        error_setg(errp, "the zone at byte %" PRIu64 " of the drive is "
                   "conventional; an NVMe namespace has only sequential ones",
                   zone->start);
        return false;
    }
    if (zone->length != bl->zone_size) {
        error_setg(errp, "the zone at byte %" PRIu64 " of the drive has %"
                   PRIu64 " bytes, not %" PRIu64 " like the others; all zones "
                   "of an NVMe namespace have one size", zone->start,
                   zone->length, (uint64_t)bl->zone_size);
        return false;
    }
    if (zone->cap % ns->lbasz || zone->wp % ns->lbasz) {
        error_setg(errp, "the zone at byte %" PRIu64 " of the drive, with "
                   "capacity %" PRIu64 " and write pointer %" PRIu64 ", does "
                   "not go with logical_block_size %zu", zone->start, zone->cap,
                   zone->wp, ns->lbasz);
        return false;
    }
    if (zone->cap != capacity) {
        error_setg(errp, "the zone at byte %" PRIu64 " of the drive has "
                   "capacity %" PRIu64 ", not %" PRIu64 " like the first",
                   zone->start, zone->cap, capacity);
        return false;
    }
    return true;
}

/* Checks all zones; *@capacity is that of each. */
static bool check_zones(NvmeNamespace *ns, const BlockLimits *bl,
                        uint64_t *capacity, Error **errp)
{
    g_autofree BlockZoneDescriptor *zones =
        g_new(BlockZoneDescriptor, ZONES_PER_REPORT);
    uint64_t offset = 0;

    while (offset < ns->size) {
        unsigned int n = ZONES_PER_REPORT;
        int ret = blk_zone_report(ns->blkconf.blk, offset, &n, zones);

        if (ret < 0 || n == 0) {
            error_setg_errno(errp, ret < 0 ? -ret : EIO,
                             "could not get the zones of the drive");
            return false;
        }
        if (offset == 0) {
            *capacity = zones[0].cap;
        }
        for (unsigned int i = 0; i < n; i++) {
            if (!check_zone(ns, bl, &zones[i], *capacity, errp)) {
                return false;
            }
        }
        offset += n * (uint64_t)bl->zone_size;
    }
    return true;
}

/* The Identify Namespace data structure of the Zoned Namespace Command Set */
static NvmeIdNsZoned *describe_namespace(const NvmeNamespace *ns,
                                         const BlockLimits *bl)
{
    NvmeIdNsZoned *id = g_new0(NvmeIdNsZoned, 1);
    uint32_t max_open = bl->max_open_zones ?: bl->max_active_zones;

    /* 0's based; a limit of 0, which is none, gives FFFFFFFFh */
    id->mar = cpu_to_le32(bl->max_active_zones - 1);
    id->mor = cpu_to_le32(max_open - 1);
    id->ozcs = cpu_to_le16(ns->params.cross_zone_read ?
                           NVME_ID_NS_ZONED_OZCS_RAZB : 0);
    for (int i = 0; i < ns->nlbaf; i++) {
        id->lbafe[i].zsze = cpu_to_le64(bl->zone_size >> ns->id_ns.lbaf[i].ds);
    }
    return id;
}

bool nvme_zoned_node_setup(NvmeNamespace *ns, Error **errp)
{
    const BlockLimits *bl = &blk_bs(ns->blkconf.blk)->bl;
    uint64_t capacity;

    if (!check_features(ns, errp) || !check_limits(ns, bl, errp) ||
        !check_zones(ns, bl, &capacity, errp) ||
        !check_options(ns, bl, capacity, errp)) {
        return false;
    }

    ns->zone_size = bl->zone_size / ns->lbasz;
    ns->zone_capacity = capacity / ns->lbasz;
    ns->zone_size_log2 = is_power_of_2(ns->zone_size) ?
                         ctz64(ns->zone_size) : 0;
    ns->num_zones = ns->size / bl->zone_size;
    ns->zoned_node.zasl = 63 - clz64((uint64_t)bl->max_append_sectors *
                                     BDRV_SECTOR_SIZE / ZASL_UNIT);
    ns->id_ns_zoned = describe_namespace(ns, bl);
    ns->csi = NVME_CSI_ZONED;
    if (!blk_supports_write_perm(ns->blkconf.blk)) {
        ns->id_ns.nsattr |= NVME_ID_NS_NSATTR_WRITE_PROTECTED;
        ns->id_ns_ind.nsattr |= NVME_ID_NS_NSATTR_WRITE_PROTECTED;
    }
    return true;
}

uint8_t nvme_zoned_node_zasl(NvmeCtrl *n)
{
    uint8_t zasl = n->params.zasl;

    for (int i = 1; i <= NVME_MAX_NAMESPACES; i++) {
        NvmeNamespace *ns = nvme_subsys_ns(n->subsys, i);

        /* 0 is the limit that MDTS sets anyway. */
        if (ns && ns->zoned_node.present &&
            ns->zoned_node.zasl < (zasl ?: n->params.mdts)) {
            zasl = ns->zoned_node.zasl;
        }
    }
    return zasl;
}

static uint64_t zone_start(const NvmeNamespace *ns, uint64_t slba)
{
    return slba - slba % ns->zone_size;
}

uint16_t nvme_zoned_node_check_read(NvmeNamespace *ns, uint64_t slba,
                                    uint32_t nlb)
{
    if (!ns->params.cross_zone_read &&
        slba + nlb > zone_start(ns, slba) + ns->zone_size) {
        trace_pci_nvme_err_zone_boundary(slba, nlb, zone_start(ns, slba) +
                                         ns->zone_size);
        return NVME_ZONE_BOUNDARY_ERROR | NVME_DNR;
    }
    return NVME_SUCCESS;
}

uint16_t nvme_zoned_node_read_status(NvmeNamespace *ns, int ret)
{
    /* No other condition keeps a zone from being read. */
    return ns->zoned_node.present && ret == -EPERM ?
           NVME_ZONE_OFFLINE | NVME_DNR : NVME_SUCCESS;
}

uint16_t nvme_zoned_node_check_writable(NvmeNamespace *ns)
{
    return blk_is_writable(ns->blkconf.blk) ?
           NVME_SUCCESS : NVME_NS_WRITE_PROTECTED | NVME_DNR;
}

/* The status that an errno stands for; @other if none in particular. */
static uint16_t errno_status(int ret, uint16_t other)
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

    if (ret != -EPERM) {
        if (ret != -ECANCELED || !req->status) {
            req->status = errno_status(ret, NVME_WRITE_FAULT);
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

/* A DMAIOFunc for the data of the command @opaque */
static BlockAIOCB *write_data(int64_t offset, QEMUIOVector *iov,
                              BlockCompletionFunc *cb, void *cb_opaque,
                              void *opaque)
{
    NvmeRequest *req = opaque;
    BlockBackend *blk = req->ns->blkconf.blk;
    const NvmeRwCmd *rw = (const NvmeRwCmd *)&req->cmd;
    BdrvRequestFlags flags =
        le16_to_cpu(rw->control) & NVME_RW_FUA ? BDRV_REQ_FUA : 0;

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
    if (slba != zone_start(ns, slba)) {
        trace_pci_nvme_err_append_not_at_start(slba, zone_start(ns, slba));
        return NVME_INVALID_FIELD | NVME_DNR;
    }
    if (bytes > ZASL_UNIT << ns->zoned_node.zasl ||
        (n->params.zasl && bytes > (uint64_t)n->page_size << n->params.zasl)) {
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
            blk, offset, bytes, BDRV_REQ_MAY_UNMAP |
            (le16_to_cpu(rw->control) & NVME_RW_FUA ? BDRV_REQ_FUA : 0),
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

static void nvme_zoned_mgmt_cb(void *opaque, int ret)
{
    NvmeRequest *req = opaque;

    if (ret == -EPERM) {
        req->status = NVME_ZONE_INVAL_TRANSITION | NVME_DNR;
    } else if (ret < 0) {
        req->status = errno_status(ret, NVME_INTERNAL_DEV_ERROR);
    }
    nvme_misc_cb(req, ret);
}

/* Does an operation on all zones include those in this condition? */
static bool is_selected(BlockZoneOp op, BlockZoneState state)
{
    bool is_open = state == BLK_ZS_IOPEN || state == BLK_ZS_EOPEN;

    switch (op) {
    case BLK_ZO_OPEN:
        return state == BLK_ZS_CLOSED;
    case BLK_ZO_CLOSE:
        return is_open;
    case BLK_ZO_FINISH:
        return is_open || state == BLK_ZS_CLOSED;
    case BLK_ZO_RESET:
        return is_open || state == BLK_ZS_CLOSED || state == BLK_ZS_FULL;
    default:
        g_assert_not_reached();
    }
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

    if (ret < 0 || !is_selected(only->op, only->zone.state)) {
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

uint16_t nvme_zoned_node_mgmt(NvmeCtrl *n, NvmeRequest *req, uint64_t slba,
                              bool all)
{
    NvmeNamespace *ns = req->ns;
    const NvmeZoneSendCmd *cmd = (const NvmeZoneSendCmd *)&req->cmd;
    uint16_t status;
    BlockZoneOp op;

    switch (cmd->zsa) {
    case NVME_ZONE_ACTION_OPEN:
        op = BLK_ZO_OPEN;
        break;
    case NVME_ZONE_ACTION_CLOSE:
        op = BLK_ZO_CLOSE;
        break;
    case NVME_ZONE_ACTION_FINISH:
        op = BLK_ZO_FINISH;
        break;
    case NVME_ZONE_ACTION_RESET:
        op = BLK_ZO_RESET;
        break;
    case NVME_ZONE_ACTION_ZRWA_FLUSH:
        return (all ? NVME_INVALID_FIELD : NVME_INVALID_ZONE_OP) | NVME_DNR;
    default:
        trace_pci_nvme_err_invalid_mgmt_action(cmd->zsa);
        return NVME_INVALID_FIELD | NVME_DNR;
    }
    if (op == BLK_ZO_OPEN && (cmd->zsflags & NVME_ZSFLAG_ZRWA_ALLOC)) {
        return NVME_INVALID_ZONE_OP | NVME_DNR;
    }
    if (!all && slba != zone_start(ns, slba)) {
        trace_pci_nvme_err_unaligned_zone_cmd(cmd->zsa, slba,
                                              zone_start(ns, slba));
        return NVME_INVALID_FIELD | NVME_DNR;
    }
    status = nvme_zoned_node_check_writable(ns);
    if (status) {
        return status;
    }
    manage_zones(req, op, slba, all);
    return NVME_NO_COMPLETE;
}

/* A report under way; what is known of each zone goes right to the guest. */
typedef struct NvmeZoneReportAIOCB {
    BlockAIOCB common;
    BlockAIOCB *aiocb;
    NvmeRequest *req;
    int ret;

    NvmeZoneReportArgs args;
    uint64_t offset;            /* byte of the drive that comes next */
    uint64_t room;              /* zones that the guest's buffer still holds */
    uint64_t nr_matching;       /* zones that have passed the filter */
    uint64_t written;           /* bytes of the guest's buffer */

    unsigned int nr_zones;
    BlockZoneDescriptor zones[ZONES_PER_REPORT];
    NvmeZoneDescr descr[ZONES_PER_REPORT];
} NvmeZoneReportAIOCB;

static void nvme_zone_report_cancel(BlockAIOCB *aiocb)
{
    NvmeZoneReportAIOCB *iocb =
        container_of(aiocb, NvmeZoneReportAIOCB, common);

    iocb->ret = -ECANCELED;
    blk_aio_cancel_async(iocb->aiocb);
}

static const AIOCBInfo nvme_zone_report_aiocb_info = {
    .aiocb_size = sizeof(NvmeZoneReportAIOCB),
    .cancel_async = nvme_zone_report_cancel,
};

static bool matches_filter(uint8_t filter, BlockZoneState state)
{
    switch (filter) {
    case NVME_ZONE_REPORT_ALL:
        return true;
    case NVME_ZONE_REPORT_EMPTY:
        return state == BLK_ZS_EMPTY;
    case NVME_ZONE_REPORT_IMPLICITLY_OPEN:
        return state == BLK_ZS_IOPEN;
    case NVME_ZONE_REPORT_EXPLICITLY_OPEN:
        return state == BLK_ZS_EOPEN;
    case NVME_ZONE_REPORT_CLOSED:
        return state == BLK_ZS_CLOSED;
    case NVME_ZONE_REPORT_FULL:
        return state == BLK_ZS_FULL;
    case NVME_ZONE_REPORT_READ_ONLY:
        return state == BLK_ZS_RDONLY;
    case NVME_ZONE_REPORT_OFFLINE:
        return state == BLK_ZS_OFFLINE;
    default:
        return false;
    }
}

static NvmeZoneDescr describe_zone(const NvmeNamespace *ns,
                                   const BlockZoneDescriptor *zone)
{
    bool wp_valid = zone->state != BLK_ZS_FULL &&
                    zone->state != BLK_ZS_RDONLY &&
                    zone->state != BLK_ZS_OFFLINE;

    /* The block layer numbers conditions as the standard does. */
    return (NvmeZoneDescr) {
        .zt = NVME_ZONE_TYPE_SEQ_WRITE,
        .zs = zone->state << 4,
        .zcap = cpu_to_le64(zone->cap / ns->lbasz),
        .zslba = cpu_to_le64(zone->start / ns->lbasz),
        .wp = cpu_to_le64(wp_valid ? zone->wp / ns->lbasz : UINT64_MAX),
    };
}

/* Writes to byte @offset of the guest's buffer. */
static int write_guest(NvmeRequest *req, uint64_t offset, const void *buf,
                       size_t len)
{
    /*
     * Memory only: a device that is written to could wait for this very
     * request, as another controller of the namespace does when it is reset.
     */
    const MemTxAttrs attrs = { .memory = true };
    QEMUSGList *qsg = &req->sg.qsg;

    if (!(req->sg.flags & NVME_SG_DMA)) {
        qemu_iovec_from_buf(&req->sg.iov, offset, buf, len);
        return 0;
    }
    for (int i = 0; i < qsg->nsg && len; i++) {
        const ScatterGatherEntry *entry = &qsg->sg[i];
        uint64_t n;

        if (offset >= entry->len) {
            offset -= entry->len;
            continue;
        }
        n = MIN(len, entry->len - offset);
        if (dma_memory_write(qsg->as, entry->base + offset, buf, n, attrs)) {
            return -EFAULT;
        }
        buf += n;
        len -= n;
        offset = 0;
    }
    return 0;
}

static void finish_report(NvmeZoneReportAIOCB *iocb)
{
    NvmeRequest *req = iocb->req;

    if (iocb->ret == 0) {
        const NvmeZoneReportHeader header = {
            .nr_zones = cpu_to_le64(iocb->nr_matching),
        };

        iocb->ret = write_guest(req, 0, &header, sizeof(header));
    }
    if (iocb->ret == -EFAULT) {
        req->status = errno_status(iocb->ret, NVME_INTERNAL_DEV_ERROR);
    }
    iocb->common.cb(iocb->common.opaque, iocb->ret);
    qemu_aio_unref(iocb);
}

/* Filters the zones that were got; what passes goes to the guest. */
static int pass_zones(NvmeZoneReportAIOCB *iocb)
{
    unsigned int n = 0;
    size_t bytes;
    int ret;

    for (unsigned int i = 0; i < iocb->nr_zones; i++) {
        if (!matches_filter(iocb->args.filter, iocb->zones[i].state)) {
            continue;
        }
        if (iocb->room > 0) {
            iocb->descr[n++] = describe_zone(iocb->req->ns, &iocb->zones[i]);
            iocb->room--;
        } else if (iocb->args.partial) {
            break;
        }
        iocb->nr_matching++;
    }

    bytes = n * sizeof(iocb->descr[0]);
    ret = write_guest(iocb->req, iocb->written, iocb->descr, bytes);
    iocb->written += bytes;
    return ret;
}

static void nvme_zone_report_cb(void *opaque, int ret);

static void continue_report(NvmeZoneReportAIOCB *iocb)
{
    NvmeNamespace *ns = iocb->req->ns;

    if (iocb->ret < 0 || iocb->offset >= ns->size ||
        (iocb->args.partial && iocb->room == 0)) {
        finish_report(iocb);
        return;
    }
    iocb->nr_zones = ZONES_PER_REPORT;
    iocb->aiocb = blk_aio_zone_report(ns->blkconf.blk, iocb->offset,
                                      &iocb->nr_zones, iocb->zones,
                                      nvme_zone_report_cb, iocb);
}

static void nvme_zone_report_cb(void *opaque, int ret)
{
    NvmeZoneReportAIOCB *iocb = opaque;
    NvmeNamespace *ns = iocb->req->ns;

    if (iocb->ret == 0) {
        iocb->ret = ret < 0 ? ret : pass_zones(iocb);
    }
    /* No zones, which should not be, end the report, too. */
    iocb->offset = iocb->nr_zones ? nvme_l2b(ns, iocb->nr_zones * ns->zone_size)
                                    + iocb->offset : ns->size;
    continue_report(iocb);
}

uint16_t nvme_zoned_node_report(NvmeCtrl *n, NvmeRequest *req,
                                const NvmeZoneReportArgs *args)
{
    NvmeNamespace *ns = req->ns;
    NvmeZoneReportAIOCB *iocb;
    uint16_t status;

    status = nvme_map_dptr(n, &req->sg, args->bytes, &req->cmd);
    if (status) {
        return status;
    }

    iocb = blk_aio_get(&nvme_zone_report_aiocb_info, ns->blkconf.blk,
                       nvme_misc_cb, req);
    iocb->req = req;
    iocb->ret = 0;
    iocb->args = *args;
    iocb->offset = nvme_l2b(ns, zone_start(ns, args->slba));
    iocb->written = sizeof(NvmeZoneReportHeader);
    iocb->room = (args->bytes - sizeof(NvmeZoneReportHeader)) /
                 sizeof(NvmeZoneDescr);
    iocb->nr_matching = 0;

    trace_pci_nvme_zoned_node_report(nvme_cid(req), args->slba, args->filter,
                                     args->partial, args->bytes);
    req->aiocb = &iocb->common;
    continue_report(iocb);
    return NVME_NO_COMPLETE;
}

void nvme_zoned_node_close_zones(NvmeNamespace *ns)
{
    if (blk_is_writable(ns->blkconf.blk)) {
        blk_zone_mgmt(ns->blkconf.blk, BLK_ZO_CLOSE, 0, ns->size);
    }
}

/*
 * QEMU NVM Express: reports of zones of the drive
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qemu/units.h"
#include "system/block-backend.h"
#include "zoned-node.h"
#include "trace.h"

/*
 * Zones, and bytes, that are got at once.  An entry has at most as many bytes:
 * a zone descriptor of 64 and 255 times 64 for the extension.
 */
#define ZONES_PER_REPORT 64
#define BYTES_PER_REPORT (16 * KiB)

/* A report under way; what is known of each zone goes right to the guest. */
typedef struct NvmeZoneReportAIOCB {
    BlockAIOCB common;
    BlockAIOCB *aiocb;          /* of its batch; NULL if there is none */
    NvmeRequest *req;
    int ret;
    bool waiting;               /* for its turn */
    QTAILQ_ENTRY(NvmeZoneReportAIOCB) next;

    NvmeZoneReportArgs args;
    uint64_t offset;            /* byte of the drive that comes next */
    uint64_t room;              /* zones that the guest's buffer still holds */
    uint64_t nr_matching;       /* zones that have passed the filter */
    uint64_t written;           /* bytes of the guest's buffer */

    unsigned int max_zones;     /* to get at once while there is room */
    size_t extension_size;      /* 0: not asked for */
} NvmeZoneReportAIOCB;

/*
 * The reports of a namespace take turns, a batch of zones each, for which there
 * is memory once: a guest can have very many reports in flight.
 */
struct NvmeZoneReports {
    NvmeZoneReportAIOCB *turn;  /* whose batch this is; NULL: nobody's */
    QTAILQ_HEAD(, NvmeZoneReportAIOCB) waiting;

    /* What was got from the node */
    unsigned int nr_zones;
    BlockZoneDescriptor zones[ZONES_PER_REPORT];
    uint8_t extensions[BYTES_PER_REPORT];

    uint8_t entries[BYTES_PER_REPORT];  /* for the guest */
};

NvmeZoneReports *nvme_zoned_node_reports_new(void)
{
    NvmeZoneReports *reports = g_new0(NvmeZoneReports, 1);

    QTAILQ_INIT(&reports->waiting);
    return reports;
}

static NvmeZoneReports *reports_of(const NvmeZoneReportAIOCB *iocb)
{
    return iocb->req->ns->zoned_node.reports;
}

static void continue_report(void *opaque);

static void nvme_zone_report_cancel(BlockAIOCB *aiocb)
{
    NvmeZoneReportAIOCB *iocb =
        container_of(aiocb, NvmeZoneReportAIOCB, common);

    iocb->ret = -ECANCELED;
    if (iocb->waiting) {
        iocb->waiting = false;
        QTAILQ_REMOVE(&reports_of(iocb)->waiting, iocb, next);
        aio_bh_schedule_oneshot(qemu_get_current_aio_context(),
                                continue_report, iocb);
    } else if (iocb->aiocb) {
        blk_aio_cancel_async(iocb->aiocb);
    }
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
        .za = zone->ext_valid ? NVME_ZA_ZD_EXT_VALID : 0,
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

    if (!(req->sg.flags & NVME_SG_DMA)) {
        qemu_iovec_from_buf(&req->sg.iov, offset, buf, len);
        return 0;
    }
    return dma_buf_read_at(buf, offset, len, &req->sg.qsg, attrs) ?
           -EFAULT : 0;
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
        req->status = NVME_DATA_TRAS_ERROR | NVME_DNR;
    }
    iocb->common.cb(iocb->common.opaque, iocb->ret);
    qemu_aio_unref(iocb);
}

static size_t entry_size(const NvmeZoneReportAIOCB *iocb)
{
    return sizeof(NvmeZoneDescr) + iocb->extension_size;
}

/* Adds entry @n, of the zone that was got as number @i. */
static void add_entry(NvmeZoneReportAIOCB *iocb, unsigned int n, unsigned int i)
{
    NvmeZoneReports *reports = reports_of(iocb);
    NvmeZoneDescr descr = describe_zone(iocb->req->ns, &reports->zones[i]);
    uint8_t *entry = reports->entries + n * entry_size(iocb);

    memcpy(entry, &descr, sizeof(descr));
    if (iocb->extension_size) {
        memcpy(entry + sizeof(descr),
               reports->extensions + i * iocb->extension_size,
               iocb->extension_size);
    }
}

/* Filters the zones that were got; what passes goes to the guest. */
static int pass_zones(NvmeZoneReportAIOCB *iocb)
{
    const NvmeZoneReports *reports = reports_of(iocb);
    unsigned int n = 0;
    size_t bytes;
    int ret;

    for (unsigned int i = 0; i < reports->nr_zones; i++) {
        if (!matches_filter(iocb->args.filter, reports->zones[i].state)) {
            continue;
        }
        if (iocb->room > 0) {
            add_entry(iocb, n++, i);
            iocb->room--;
        } else if (iocb->args.partial) {
            break;
        }
        iocb->nr_matching++;
    }

    bytes = n * entry_size(iocb);
    ret = write_guest(iocb->req, iocb->written, reports->entries, bytes);
    iocb->written += bytes;
    return ret;
}

static void nvme_zone_report_cb(void *opaque, int ret);

/* Gets the next batch, of the report that has waited longest. */
static void next_turn(NvmeZoneReports *reports)
{
    NvmeZoneReportAIOCB *iocb = QTAILQ_FIRST(&reports->waiting);

    if (reports->turn || !iocb) {
        return;
    }
    QTAILQ_REMOVE(&reports->waiting, iocb, next);
    iocb->waiting = false;
    reports->turn = iocb;
    reports->nr_zones = iocb->room > 0 ? iocb->max_zones : ZONES_PER_REPORT;
    iocb->aiocb = blk_aio_zone_report(iocb->req->ns->blkconf.blk, iocb->offset,
                                      &reports->nr_zones, reports->zones,
                                      nvme_zone_report_cb, iocb);
}

/* A report begins, its batch is over, or it was cancelled while it waited. */
static void continue_report(void *opaque)
{
    NvmeZoneReportAIOCB *iocb = opaque;
    NvmeZoneReports *reports = reports_of(iocb);

    if (reports->turn == iocb) {
        reports->turn = NULL;
    }
    if (iocb->ret < 0 || iocb->offset >= iocb->req->ns->size ||
        (iocb->args.partial && iocb->room == 0)) {
        finish_report(iocb);
    } else {
        QTAILQ_INSERT_TAIL(&reports->waiting, iocb, next);
        iocb->waiting = true;
    }
    next_turn(reports);
}

/* All of a batch is there, or that failed. */
static void nvme_zone_batch_cb(void *opaque, int ret)
{
    NvmeZoneReportAIOCB *iocb = opaque;
    NvmeNamespace *ns = iocb->req->ns;

    if (iocb->ret == 0) {
        iocb->ret = ret < 0 ? ret : pass_zones(iocb);
    }
    iocb->offset += nvme_l2b(ns, reports_of(iocb)->nr_zones * ns->zone_size);
    iocb->aiocb = NULL;
    /*
     * This may run in the coroutine of the request.  If the next one were sent
     * from there, all that follow could be done in one go, and nothing else
     * meanwhile.  Until then, the turn is not over.
     */
    aio_bh_schedule_oneshot(qemu_get_current_aio_context(), continue_report,
                            iocb);
}

/* Does the guest get the extension of any zone that was got? */
static bool wants_extensions(const NvmeZoneReportAIOCB *iocb)
{
    const NvmeZoneReports *reports = reports_of(iocb);

    if (!iocb->extension_size || iocb->room == 0) {
        return false;
    }
    for (unsigned int i = 0; i < reports->nr_zones; i++) {
        if (matches_filter(iocb->args.filter, reports->zones[i].state)) {
            return true;
        }
    }
    return false;
}

static void nvme_zone_report_cb(void *opaque, int ret)
{
    NvmeZoneReportAIOCB *iocb = opaque;
    NvmeZoneReports *reports = reports_of(iocb);

    if (ret == 0 && reports->nr_zones == 0) {
        /* There should be some: do not ask for them without end. */
        ret = -EIO;
    }
    if (ret < 0 || iocb->ret < 0 || !wants_extensions(iocb)) {
        nvme_zone_batch_cb(iocb, ret);
        return;
    }
    iocb->aiocb = blk_aio_zone_get_extensions(iocb->req->ns->blkconf.blk,
                                              iocb->offset, reports->nr_zones,
                                              reports->extensions,
                                              nvme_zone_batch_cb, iocb);
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
    iocb->aiocb = NULL;
    iocb->req = req;
    iocb->ret = 0;
    iocb->waiting = false;
    iocb->args = *args;
    iocb->offset = nvme_l2b(ns, nvme_zone_start(ns, args->slba));
    iocb->written = sizeof(NvmeZoneReportHeader);
    iocb->extension_size = args->extended ? ns->params.zd_extension_size : 0;
    iocb->room = (args->bytes - sizeof(NvmeZoneReportHeader)) /
                 entry_size(iocb);
    iocb->nr_matching = 0;
    iocb->max_zones = MIN(ZONES_PER_REPORT,
                          MAX(1, BYTES_PER_REPORT / entry_size(iocb)));

    trace_pci_nvme_zoned_node_report(nvme_cid(req), args->slba, args->filter,
                                     args->partial, args->bytes);
    req->aiocb = &iocb->common;
    continue_report(iocb);
    return NVME_NO_COMPLETE;
}

/*
 * SCSI disks with zones: operations on zones
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "migration/qemu-file-types.h"
#include "scsi/constants.h"
#include "system/block-backend.h"
#include "system/runstate.h"

#include "scsi-disk-zoned.h"
#include "trace.h"

/*
 * An operation on zones under way: one zone after the other, as the node has
 * other rules for some conditions than ZBC; or on all of them.
 */
typedef struct SCSIZoneMgmt {
    SCSIDiskReq r;
    BlockZoneOp op;
    uint64_t offset;        /* byte of the drive where the next zone starts */
    uint64_t end;           /* ... and where the last one ends */
    bool all;
    bool active;            /* it is under way, or about to be */

    unsigned int nr_zones;
    BlockZoneDescriptor zone;

    bool has_parameters;    /* FORMAT UNIT: the HBA was asked for them */
    uint8_t parameters[8];
} SCSIZoneMgmt;

static SCSIDiskState *disk_of(const SCSIZoneMgmt *p)
{
    return DO_UPCAST(SCSIDiskState, qdev, p->r.req.dev);
}

/* The length of the zone at @p->offset */
static uint64_t zone_length(const SCSIZoneMgmt *p)
{
    const BlockZoneInfo *info = &disk_of(p)->zones->info;

    return MIN(info->zone_size, info->capacity - p->offset);
}

static void manage_next(SCSIZoneMgmt *p);

/*
 * Nothing is done behind the back of who has stopped the VM, to migrate it,
 * say.  It is begun anew when the VM goes on: scsi_req_retry() was called.
 */
static bool leave_if_stopped(SCSIZoneMgmt *p)
{
    if (runstate_is_running()) {
        return false;
    }
    p->active = false;
    return true;
}

static void manage_next_bh(void *opaque)
{
    SCSIZoneMgmt *p = opaque;
    BlockBackend *blk = p->r.req.dev->conf.blk;

    if (!p->r.req.io_canceled && !leave_if_stopped(p)) {
        manage_next(p);
    }
    scsi_req_unref(&p->r.req);
    blk_dec_in_flight(blk);
}

/* Not from the completion of a request: that could do all in one go. */
static void manage_next_later(SCSIZoneMgmt *p)
{
    scsi_req_ref(&p->r.req);
    blk_inc_in_flight(p->r.req.dev->conf.blk);
    aio_bh_schedule_oneshot(p->r.req.ctx, manage_next_bh, p);
}

static void complete_all(SCSIZoneMgmt *p)
{
    p->active = false;
    scsi_req_complete(&p->r.req, GOOD);
}

static void complete_one(SCSIZoneMgmt *p)
{
    p->offset = p->all ? p->end : p->offset + zone_length(p);
    if (p->offset < p->end) {
        manage_next_later(p);
    } else {
        complete_all(p);
    }
}

/* Asks for the zone at @p->offset; @cb has the caller's reference. */
static void ask_for_zone(SCSIZoneMgmt *p, BlockCompletionFunc *cb)
{
    p->nr_zones = 1;
    p->r.req.aiocb = blk_aio_zone_report(p->r.req.dev->conf.blk, p->offset,
                                         &p->nr_zones, &p->zone, cb, p);
}

/*
 * To be called by what was given to ask_for_zone().  Returns false if the zone
 * is not known, and the request is completed or will be begun anew.
 */
static bool has_got_zone(SCSIZoneMgmt *p, int ret)
{
    p->r.req.aiocb = NULL;
    if (ret == 0 && p->nr_zones == 0) {
        ret = -EIO;
    }
    p->active = ret == 0;
    return !scsi_disk_req_check_error(&p->r, ret, false);
}

/* Where ZBC has nothing against what is refused by ZNS, as by the node */
static bool is_no_change(BlockZoneOp op, BlockZoneState state)
{
    switch (op) {
    case BLK_ZO_OPEN:
        return state == BLK_ZS_FULL;
    case BLK_ZO_CLOSE:
        return state == BLK_ZS_FULL || state == BLK_ZS_EMPTY;
    default:
        return false;
    }
}

/* A condition that lasts, and in which no operation is possible */
static bool is_refused(BlockZoneState state)
{
    switch (state) {
    case BLK_ZS_NOT_WP:
    case BLK_ZS_RDONLY:
    case BLK_ZS_OFFLINE:
        return true;
    default:
        return false;
    }
}

static void scsi_zone_condition_cb(void *opaque, int ret)
{
    SCSIZoneMgmt *p = opaque;

    if (!has_got_zone(p, ret)) {
        /* There is no more to be done. */
    } else if (is_no_change(p->op, p->zone.state)) {
        complete_one(p);
    } else if (is_refused(p->zone.state)) {
        p->active = false;
        scsi_disk_zoned_complete_refused(&p->r, -EPERM, p->zone.state);
    } else {
        /* Another request has changed it meanwhile. */
        manage_next_later(p);
    }
    scsi_req_unref(&p->r.req);
}

/* The node refuses the operation for the condition of a zone: which? */
static void ask_for_condition(SCSIZoneMgmt *p)
{
    if (leave_if_stopped(p)) {
        scsi_req_unref(&p->r.req);
        return;
    }
    ask_for_zone(p, scsi_zone_condition_cb);
}

static void scsi_zone_mgmt_cb(void *opaque, int ret)
{
    SCSIZoneMgmt *p = opaque;
    int refused = scsi_disk_zoned_errno(disk_of(p), ret);

    p->r.req.aiocb = NULL;
    trace_scsi_disk_zoned_mgmt_done(p->r.req.tag, p->offset, ret);
    if (refused == -EPERM && !p->r.req.io_canceled) {
        ask_for_condition(p);
        return;
    }
    p->active = ret == 0;
    if (refused && !p->r.req.io_canceled) {
        scsi_disk_zoned_complete_refused(&p->r, refused, 0);
    } else if (!scsi_disk_req_check_error(&p->r, ret, false)) {
        complete_one(p);
    }
    scsi_req_unref(&p->r.req);
}

static void manage_next(SCSIZoneMgmt *p)
{
    uint64_t length = p->all ? p->end : zone_length(p);

    p->active = true;
    /* If the VM stops between two zones, all is begun anew later. */
    scsi_req_retry(&p->r.req);
    scsi_req_ref(&p->r.req);
    trace_scsi_disk_zoned_mgmt(p->r.req.tag, p->op, p->offset, length);
    p->r.req.aiocb = blk_aio_zone_mgmt(p->r.req.dev->conf.blk, p->op, p->offset,
                                       length, scsi_zone_mgmt_cb, p);
}

static void scsi_only_zone_cb(void *opaque, int ret)
{
    SCSIZoneMgmt *p = opaque;

    if (!has_got_zone(p, ret)) {
        /* There is no more to be done. */
    } else if (bdrv_zone_op_selects(p->op, p->zone.state)) {
        manage_next_later(p);
    } else {
        complete_all(p);
    }
    scsi_req_unref(&p->r.req);
}

/*
 * For the node, an operation on all of a drive with one zone is one on that
 * zone, whatever its condition.
 */
static void manage_only_zone(SCSIZoneMgmt *p)
{
    p->active = true;
    scsi_req_retry(&p->r.req);
    scsi_req_ref(&p->r.req);
    ask_for_zone(p, scsi_only_zone_cb);
}

static void manage_all(SCSIZoneMgmt *p)
{
    const BlockZoneInfo *info = &disk_of(p)->zones->info;

    p->all = true;
    p->offset = 0;
    p->end = info->capacity;
    if (info->nr_zones == 1) {
        manage_only_zone(p);
    } else {
        manage_next(p);
    }
}

static bool take_op(uint8_t service_action, BlockZoneOp *op)
{
    switch (service_action) {
    case ZO_CLOSE_ZONE:
        *op = BLK_ZO_CLOSE;
        return true;
    case ZO_FINISH_ZONE:
        *op = BLK_ZO_FINISH;
        return true;
    case ZO_OPEN_ZONE:
        *op = BLK_ZO_OPEN;
        return true;
    case ZO_RESET_WRITE_POINTER:
        *op = BLK_ZO_RESET;
        return true;
    default:
        return false;
    }
}

/* Takes the zones from the command; completes the request if there are none. */
static bool take_zones(SCSIZoneMgmt *p)
{
    const SCSICommand *cmd = &p->r.req.cmd;
    const SCSIDiskState *s = disk_of(p);
    const BlockZoneInfo *info = &s->zones->info;
    uint64_t count = lduw_be_p(&cmd->buf[12]) ?: 1;
    uint64_t first;

    if (cmd->lba >= info->capacity / s->qdev.blocksize) {
        scsi_check_condition(&p->r, SENSE_CODE(LBA_OUT_OF_RANGE));
        return false;
    }
    p->offset = cmd->lba * s->qdev.blocksize;
    first = p->offset / info->zone_size;
    if (p->offset % info->zone_size || !blkconf_is_seq_zone(s->zones, first)) {
        scsi_disk_zoned_invalid_field(&p->r, 2, -1);
        return false;
    }
    p->end = MIN(p->offset + count * info->zone_size, info->capacity);
    if (first + count > info->nr_zones ||
        blkconf_mixes_zones(s->zones, p->offset, p->end - p->offset)) {
        scsi_disk_zoned_invalid_field(&p->r, 12, -1);
        return false;
    }
    return true;
}

static bool check_writable(SCSIZoneMgmt *p)
{
    if (!blk_is_writable(p->r.req.dev->conf.blk)) {
        scsi_check_condition(&p->r, SENSE_CODE(WRITE_PROTECTED));
        return false;
    }
    return true;
}

static int32_t scsi_zone_mgmt_command(SCSIRequest *req, uint8_t *cdb)
{
    SCSIZoneMgmt *p = container_of(req, SCSIZoneMgmt, r.req);

    if (p->active) {
        /* The VM was stopped and goes on, and so does the operation. */
        scsi_req_retry(req);
        return 0;
    }
    if (!scsi_disk_zoned_check_available(&p->r)) {
        return 0;
    }
    if (!take_op(cdb[1] & 0x1f, &p->op)) {
        scsi_disk_zoned_invalid_field(&p->r, 1, 4);
        return 0;
    }
    if (cdb[14] & 1) {
        if (check_writable(p)) {
            manage_all(p);
        }
    } else if (take_zones(p) && check_writable(p)) {
        manage_next(p);
    }
    return 0;
}

const SCSIReqOps scsi_disk_zoned_mgmt_reqops = {
    .size         = sizeof(SCSIZoneMgmt),
    .send_command = scsi_zone_mgmt_command,
};

/* FORMAT UNIT resets all zones.  No disk here does what its parameters say. */
static int32_t scsi_zoned_format_command(SCSIRequest *req, uint8_t *cdb)
{
    SCSIZoneMgmt *p = container_of(req, SCSIZoneMgmt, r.req);

    if (p->active) {
        scsi_req_retry(req);
        return 0;
    }
    if (!scsi_disk_zoned_check_available(&p->r) || !check_writable(p)) {
        return 0;
    }
    p->op = BLK_ZO_RESET;
    if (req->cmd.xfer == 0) {
        manage_all(p);
    }
    assert(req->cmd.xfer <= sizeof(p->parameters));
    return -req->cmd.xfer;
}

static void scsi_zoned_format_write_data(SCSIRequest *req)
{
    SCSIZoneMgmt *p = container_of(req, SCSIZoneMgmt, r.req);

    if (!p->has_parameters) {
        p->has_parameters = true;
        scsi_req_data(req, req->cmd.xfer);
    } else if (p->active) {
        scsi_req_retry(req);
    } else {
        manage_all(p);
    }
}

static uint8_t *scsi_zoned_format_get_buf(SCSIRequest *req)
{
    return container_of(req, SCSIZoneMgmt, r.req)->parameters;
}

static void scsi_zoned_format_save(QEMUFile *f, SCSIRequest *req)
{
    qemu_put_byte(f, container_of(req, SCSIZoneMgmt, r.req)->has_parameters);
}

static void scsi_zoned_format_load(QEMUFile *f, SCSIRequest *req)
{
    SCSIZoneMgmt *p = container_of(req, SCSIZoneMgmt, r.req);

    p->op = BLK_ZO_RESET;
    p->has_parameters = qemu_get_byte(f);
}

const SCSIReqOps scsi_disk_zoned_format_reqops = {
    .size         = sizeof(SCSIZoneMgmt),
    .send_command = scsi_zoned_format_command,
    .write_data   = scsi_zoned_format_write_data,
    .get_buf      = scsi_zoned_format_get_buf,
    .save_request = scsi_zoned_format_save,
    .load_request = scsi_zoned_format_load,
};

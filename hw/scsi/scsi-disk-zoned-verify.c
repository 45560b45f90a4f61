/*
 * SCSI disks with zones: VERIFY
 *
 * As on other disks here, nothing is read.  But what the zones do not allow to
 * be read cannot be verified, either.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "scsi/constants.h"
#include "scsi/utils.h"
#include "system/block-backend.h"
#include "system/runstate.h"

#include "scsi-disk-zoned.h"
#include "trace.h"

/* Zones that are asked for at once */
#define ZONES_PER_BATCH 64

/* Conditions are looked at, batch by batch. */
typedef struct SCSIZoneVerify {
    SCSIDiskReq r;
    uint64_t offset;        /* byte of the drive that comes next */
    uint64_t end;
    bool active;            /* a batch is under way, or about to be */

    unsigned int nr_zones;
    BlockZoneDescriptor zones[ZONES_PER_BATCH];
} SCSIZoneVerify;

static void verify_next(SCSIZoneVerify *p);

/* Looks at the zones that were got; completes the request after the last. */
static void verify_batch(SCSIZoneVerify *p)
{
    for (unsigned int i = 0; i < p->nr_zones && p->offset < p->end; i++) {
        if (p->zones[i].state == BLK_ZS_OFFLINE) {
            p->active = false;
            scsi_check_condition(&p->r, SENSE_CODE(ZONE_IS_OFFLINE));
            return;
        }
        p->offset = p->zones[i].start + p->zones[i].length;
    }
    if (p->offset < p->end) {
        verify_next(p);
    } else {
        p->active = false;
        scsi_req_complete(&p->r.req, GOOD);
    }
}

static void scsi_zone_verify_bh(void *opaque)
{
    SCSIZoneVerify *p = opaque;
    BlockBackend *blk = p->r.req.dev->conf.blk;

    if (p->r.req.io_canceled) {
        /* It is completed. */
    } else if (!runstate_is_running()) {
        /* It is begun anew when the VM goes on: scsi_req_retry() was called. */
        p->active = false;
    } else {
        verify_batch(p);
    }
    scsi_req_unref(&p->r.req);
    blk_dec_in_flight(blk);
}

static void scsi_zone_verify_cb(void *opaque, int ret)
{
    SCSIZoneVerify *p = opaque;

    p->r.req.aiocb = NULL;
    if (ret == 0 && p->nr_zones == 0) {
        ret = -EIO;
    }
    p->active = ret == 0;
    if (!scsi_disk_req_check_error(&p->r, ret, false)) {
        /* Not from here: that could do all batches in one go. */
        scsi_req_ref(&p->r.req);
        blk_inc_in_flight(p->r.req.dev->conf.blk);
        aio_bh_schedule_oneshot(p->r.req.ctx, scsi_zone_verify_bh, p);
    }
    scsi_req_unref(&p->r.req);
}

static void verify_next(SCSIZoneVerify *p)
{
    p->active = true;
    scsi_req_retry(&p->r.req);
    scsi_req_ref(&p->r.req);
    p->nr_zones = ZONES_PER_BATCH;
    p->r.req.aiocb = blk_aio_zone_report(p->r.req.dev->conf.blk, p->offset,
                                         &p->nr_zones, p->zones,
                                         scsi_zone_verify_cb, p);
}

/* Takes the blocks from the command; completes the request if it is wrong. */
static bool take_blocks(SCSIZoneVerify *p)
{
    SCSIRequest *req = &p->r.req;
    const SCSIDiskState *s = DO_UPCAST(SCSIDiskState, qdev, req->dev);
    uint64_t capacity = s->zones->info.capacity / s->qdev.blocksize;
    uint64_t blocks = scsi_cdb_xfer(req->cmd.buf), bytes;

    if (req->cmd.buf[1] & 6) {
        /* BYTCHK: nothing is compared. */
        scsi_disk_zoned_invalid_field(&p->r, 1, 2);
        return false;
    }
    if (req->cmd.lba > capacity || blocks > capacity - req->cmd.lba) {
        scsi_check_condition(&p->r, SENSE_CODE(LBA_OUT_OF_RANGE));
        return false;
    }
    p->offset = req->cmd.lba * s->qdev.blocksize;
    bytes = blocks * s->qdev.blocksize;
    p->end = p->offset + bytes;
    if (bytes && blkconf_mixes_zones(s->zones, p->offset, bytes)) {
        scsi_check_condition(&p->r, SENSE_CODE(READ_INVALID_DATA));
        return false;
    }
    return true;
}

static int32_t scsi_zone_verify_command(SCSIRequest *req, uint8_t *cdb)
{
    SCSIZoneVerify *p = container_of(req, SCSIZoneVerify, r.req);

    if (p->active) {
        /* The VM was stopped and goes on, and so does the command. */
        scsi_req_retry(req);
    } else if (scsi_disk_zoned_check_available(&p->r) && take_blocks(p)) {
        trace_scsi_disk_zoned_verify(req->tag, p->offset, p->end - p->offset);
        if (p->offset < p->end) {
            verify_next(p);
        } else {
            scsi_req_complete(req, GOOD);
        }
    }
    return 0;
}

const SCSIReqOps scsi_disk_zoned_verify_reqops = {
    .size         = sizeof(SCSIZoneVerify),
    .send_command = scsi_zone_verify_command,
};

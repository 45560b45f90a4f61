/*
 * SCSI disks with zones: the disk, and its reads and writes
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qapi/error.h"
#include "block/block-io.h"
#include "scsi/constants.h"
#include "system/block-backend.h"
#include "system/runstate.h"

#include "scsi-disk-zoned.h"
#include "trace.h"

/* A zone that a ZBC disk can have */
static bool check_zone(const BlockConf *conf, const BlockZoneDescriptor *zone,
                       Error **errp)
{
    if (zone->cap != zone->length) {
        error_setg(errp, "the zone at byte %" PRIu64 " of the drive has "
                   "capacity %" PRIu64 " and %" PRIu64 " bytes; a SCSI disk "
                   "has only zones that can be written up to their end",
                   zone->start, zone->cap, zone->length);
        return false;
    }
    return true;
}

static bool check_conf(const SCSIDiskState *s, Error **errp)
{
    const BlockConf *conf = &s->qdev.conf;
    BlockZoneInfo info;

    blk_get_zone_info(conf->blk, &info);
    if (s->features & (1 << SCSI_DISK_F_REMOVABLE)) {
        error_setg(errp, "removable=on is not possible with a zoned drive");
        return false;
    }
    if (info.write_granularity > conf->physical_block_size) {
        error_setg(errp, "the drive takes writes in multiples of %" PRIu32
                   " bytes, which needs physical_block_size=%" PRIu32,
                   info.write_granularity, info.write_granularity);
        return false;
    }
    return true;
}

bool scsi_disk_zoned_realize(SCSIDiskState *s, Error **errp)
{
    const BlockConf *conf = &s->qdev.conf;

    if (!check_conf(s, errp)) {
        return false;
    }
    s->zones = blkconf_zones_new(conf, conf->physical_block_size, check_zone,
                                 errp);
    return s->zones;
}

void scsi_disk_zoned_unrealize(SCSIDiskState *s)
{
    blkconf_zones_free(s->zones);
    s->zones = NULL;
}

static int32_t scsi_zoned_invalid_opcode(SCSIRequest *req, uint8_t *buf)
{
    SCSIDiskReq *r = DO_UPCAST(SCSIDiskReq, req, req);

    scsi_check_condition(r, SENSE_CODE(INVALID_OPCODE));
    return 0;
}

/* What a disk with zones does not have */
static const SCSIReqOps scsi_zoned_invalid_opcode_reqops = {
    .size         = sizeof(SCSIDiskReq),
    .send_command = scsi_zoned_invalid_opcode,
};

const SCSIReqOps *scsi_disk_zoned_reqops(const uint8_t *cdb)
{
    switch (cdb[0]) {
    case ZBC_IN:
        return &scsi_disk_zoned_report_reqops;
    case ZBC_OUT:
        return &scsi_disk_zoned_mgmt_reqops;
    case FORMAT_UNIT:
        return &scsi_disk_zoned_format_reqops;
    case VERIFY_10:
    case VERIFY_12:
    case VERIFY_16:
        return &scsi_disk_zoned_verify_reqops;
    default:
        return scsi_disk_zoned_has_opcode(cdb[0]) ?
               NULL : &scsi_zoned_invalid_opcode_reqops;
    }
}

bool scsi_disk_zoned_check_available(SCSIDiskReq *r)
{
    if (!blk_is_available(r->req.dev->conf.blk)) {
        scsi_check_condition(r, SENSE_CODE(NO_MEDIUM));
        return false;
    }
    return true;
}

void scsi_disk_zoned_invalid_field(SCSIDiskReq *r, unsigned int byte, int bit)
{
    SCSIRequest *req = &r->req;

    scsi_req_build_sense(req, SENSE_CODE(INVALID_FIELD));
    /* Sense-key specific: valid, of the CDB; and the bit, if there is one */
    req->sense[15] = 0xc0 | (bit < 0 ? 0 : 0x08 | bit);
    stw_be_p(&req->sense[16], byte);
    scsi_req_complete(req, CHECK_CONDITION);
}

int scsi_disk_zoned_errno(const SCSIDiskState *s, int ret)
{
    return s->zones->info.has_zone_errnos && bdrv_is_zone_errno(ret) ? ret : 0;
}

/* What the condition of a zone does not allow */
static void complete_bad_state(SCSIDiskReq *r, BlockZoneState state)
{
    switch (state) {
    case BLK_ZS_RDONLY:
        scsi_check_condition(r, SENSE_CODE(ZONE_IS_READ_ONLY));
        break;
    case BLK_ZS_OFFLINE:
        scsi_check_condition(r, SENSE_CODE(ZONE_IS_OFFLINE));
        break;
    default:
        /* It was full then, even if it was reset since: byte 2 is the LBA. */
        scsi_disk_zoned_invalid_field(r, 2, -1);
        break;
    }
}

void scsi_disk_zoned_complete_refused(SCSIDiskReq *r, int ret,
                                      BlockZoneState state)
{
    switch (ret) {
    case -EINVAL:
        scsi_check_condition(r, SENSE_CODE(UNALIGNED_WRITE));
        break;
    case -ERANGE:
        scsi_check_condition(r, SENSE_CODE(WRITE_BOUNDARY));
        break;
    case -EPERM:
        complete_bad_state(r, state);
        break;
    case -EOVERFLOW:
    case -ETOOMANYREFS:
        scsi_check_condition(r, SENSE_CODE(INSUFFICIENT_ZONE_RESOURCES));
        break;
    case -EACCES:
        scsi_check_condition(r, SENSE_CODE(WRITE_PROTECTED));
        break;
    default:
        g_assert_not_reached();
    }
}

/* A write that the condition of its zone does not allow */
typedef struct SCSIZoneRefusal {
    SCSIDiskReq *r;
    unsigned int nr_zones;
    BlockZoneDescriptor zone;
} SCSIZoneRefusal;

static void scsi_zone_refusal_cb(void *opaque, int ret)
{
    g_autofree SCSIZoneRefusal *refusal = opaque;
    SCSIDiskReq *r = refusal->r;

    r->req.aiocb = NULL;
    if (ret == 0 && refusal->nr_zones == 0) {
        ret = -EIO;
    }
    if (!scsi_disk_req_check_error(r, ret, false)) {
        scsi_disk_zoned_complete_refused(r, -EPERM, refusal->zone.state);
    }
    scsi_req_unref(&r->req);
}

static void ask_for_condition(SCSIDiskReq *r)
{
    SCSIZoneRefusal *refusal;

    if (!runstate_is_running()) {
        /* It will be refused again when the VM goes on. */
        scsi_req_retry(&r->req);
        return;
    }
    refusal = g_new(SCSIZoneRefusal, 1);
    *refusal = (SCSIZoneRefusal) { .r = r, .nr_zones = 1 };
    scsi_req_ref(&r->req);
    r->req.aiocb = blk_aio_zone_report(r->req.dev->conf.blk,
                                       r->sector * BDRV_SECTOR_SIZE,
                                       &refusal->nr_zones, &refusal->zone,
                                       scsi_zone_refusal_cb, refusal);
}

bool scsi_disk_zoned_refused(SCSIDiskReq *r, int ret)
{
    SCSIDiskState *s = DO_UPCAST(SCSIDiskState, qdev, r->req.dev);
    bool is_read = r->req.cmd.mode == SCSI_XFER_FROM_DEV;

    ret = scsi_disk_zoned_errno(s, ret);
    if (ret == 0 || (is_read && ret != -EPERM)) {
        return false;
    }
    trace_scsi_disk_zoned_refused(r->req.tag, r->sector, ret);
    if (is_read) {
        /* No other condition keeps a zone from being read. */
        scsi_check_condition(r, SENSE_CODE(ZONE_IS_OFFLINE));
    } else if (ret == -EPERM) {
        ask_for_condition(r);
    } else {
        scsi_disk_zoned_complete_refused(r, ret, 0);
    }
    return true;
}

/*
 * With URSWRZ, a read may go over zones and above write pointers, but not from
 * a conventional zone to a sequential one, or back.
 */
bool scsi_disk_zoned_check_read(SCSIDiskReq *r)
{
    SCSIDiskState *s = DO_UPCAST(SCSIDiskState, qdev, r->req.dev);
    uint64_t offset = r->sector * BDRV_SECTOR_SIZE;
    uint64_t bytes = (uint64_t)r->sector_count * BDRV_SECTOR_SIZE;

    if (bytes > 0 && blkconf_mixes_zones(s->zones, offset, bytes)) {
        scsi_check_condition(r, SENSE_CODE(READ_INVALID_DATA));
        return false;
    }
    return true;
}

bool scsi_disk_zoned_check_write(SCSIDiskReq *r)
{
    SCSIDiskState *s = DO_UPCAST(SCSIDiskState, qdev, r->req.dev);
    const BlockConfZones *zones = s->zones;
    uint64_t offset = r->sector * BDRV_SECTOR_SIZE;
    uint64_t bytes = (uint64_t)r->sector_count * BDRV_SECTOR_SIZE;
    int ret = 0;

    if (bytes == 0) {
        return true;
    }
    if (blkconf_crosses_zones(zones, offset, bytes)) {
        ret = -ERANGE;
    } else if (((offset | bytes) & (s->qdev.conf.physical_block_size - 1)) &&
               blkconf_is_seq_zone(zones, offset / zones->info.zone_size)) {
        ret = -EINVAL;
    }
    if (ret < 0) {
        blk_zone_refused(s->qdev.conf.blk, ret);
        scsi_disk_zoned_complete_refused(r, ret, 0);
        return false;
    }
    return true;
}

bool scsi_disk_zoned_check_write_same(SCSIDiskReq *r, uint32_t nr_blocks)
{
    SCSIDiskState *s = DO_UPCAST(SCSIDiskState, qdev, r->req.dev);
    uint32_t sectors = s->qdev.blocksize / BDRV_SECTOR_SIZE;

    if (r->req.cmd.buf[1] & 0x08) {
        /* UNMAP */
        scsi_disk_zoned_invalid_field(r, 1, 3);
        return false;
    }
    if (nr_blocks > SCSI_WRITE_SAME_MAX / s->qdev.blocksize) {
        scsi_disk_zoned_invalid_field(
            r, r->req.cmd.buf[0] == WRITE_SAME_10 ? 7 : 10, -1);
        return false;
    }
    r->sector = r->req.cmd.lba * sectors;
    r->sector_count = nr_blocks * sectors;
    return scsi_disk_zoned_check_write(r);
}

void scsi_disk_zoned_limits(const SCSIDiskState *s, uint8_t *block_limits)
{
    /* Maximum and optimal UNMAP, and granularity: there is none. */
    memset(block_limits + 16, 0, 12);
    /*
     * MAXIMUM WRITE SAME LENGTH: what is written at once.  Of several writes,
     * one might fail, and the command could not be repeated at the same LBA.
     */
    stq_be_p(block_limits + 32, SCSI_WRITE_SAME_MAX / s->qdev.blocksize);
}

/* The Zoned Block Device Characteristics VPD page (B6h) */
int scsi_disk_zoned_vpd(const SCSIDiskState *s, uint8_t *outbuf)
{
    const BlockZoneInfo *info = &s->zones->info;
    const int length = 0x3c;

    memset(outbuf, 0, length);
    outbuf[0] = 1;                      /* URSWRZ */
    stl_be_p(&outbuf[4], UINT32_MAX);   /* optimal numbers: not reported */
    stl_be_p(&outbuf[8], UINT32_MAX);
    /* Zones that are open are active, too. */
    stl_be_p(&outbuf[12], info->max_open_zones ?: info->max_active_zones ?:
                          UINT32_MAX);
    outbuf[19] = 1;                     /* zone alignment: by their length */
    return length;
}

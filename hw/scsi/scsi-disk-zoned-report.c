/*
 * SCSI disks with zones: REPORT ZONES
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "migration/qemu-file-types.h"
#include "scsi/constants.h"
#include "system/block-backend.h"
#include "system/dma.h"
#include "system/runstate.h"

#include "scsi-disk-zoned.h"
#include "trace.h"

#define HEADER_SIZE 64
#define DESCRIPTOR_SIZE 64

/* Zones that are got, and go to the guest, at once */
#define ZONES_PER_BATCH 64

/* As often zeroes for the guest are written at once, a buffer of them */
#define ZEROES_PER_BATCH 16

/* What SAME says of the zones in a list */
enum {
    ZONES_MAY_DIFFER = 0,
    ZONES_ARE_ALIKE = 1,
    ZONES_HAVE_ONE_LENGTH = 3,
};

/*
 * A report under way.  What is known of a batch of zones goes right to the
 * guest, so that it takes little memory, however long it is.
 *
 * How many zones there will be is said in front of them.  Where the HBA takes
 * the data piece by piece, those that pass the filter are counted first; else
 * the header comes last.
 */
typedef struct SCSIZoneReport {
    SCSIDiskReq r;
    uint64_t start;         /* byte of the drive where the report starts */
    uint64_t offset;        /* ... and that comes next */
    uint8_t options;        /* REPORTING OPTIONS: which zones */
    bool partial;
    uint32_t room;          /* zones that the guest's buffer has room for */
    uint64_t nr_matching;   /* zones that have passed the filter */
    uint32_t nr_listed;     /* zones in the guest's buffer */
    uint32_t sent;          /* bytes that are there, or in @buf */
    bool counting;          /* nothing goes to the guest yet */
    bool counted;           /* @nr_matching is final */
    bool header_sent;
    bool active;            /* a batch is under way, or about to be */

    unsigned int nr_zones;
    BlockZoneDescriptor zones[ZONES_PER_BATCH];
    uint32_t len;           /* of what is in @buf */
    uint8_t buf[HEADER_SIZE + ZONES_PER_BATCH * DESCRIPTOR_SIZE];
} SCSIZoneReport;

static SCSIZoneReport *report_of(SCSIRequest *req)
{
    return container_of(req, SCSIZoneReport, r.req);
}

static SCSIDiskState *disk_of(const SCSIZoneReport *p)
{
    return DO_UPCAST(SCSIDiskState, qdev, p->r.req.dev);
}

static bool are_options_valid(uint8_t options)
{
    return options <= 0x07 || options == 0x10 || options == 0x11 ||
           options == 0x3e || options == 0x3f;
}

static bool matches(uint8_t options, const BlockZoneDescriptor *zone)
{
    switch (options) {
    case 0x00:  /* all */
    case 0x3e:  /* all but gaps, of which there are none */
        return true;
    case 0x01:
        return zone->state == BLK_ZS_EMPTY;
    case 0x02:
        return zone->state == BLK_ZS_IOPEN;
    case 0x03:
        return zone->state == BLK_ZS_EOPEN;
    case 0x04:
        return zone->state == BLK_ZS_CLOSED;
    case 0x05:
        return zone->state == BLK_ZS_FULL;
    case 0x06:
        return zone->state == BLK_ZS_RDONLY;
    case 0x07:
        return zone->state == BLK_ZS_OFFLINE;
    case 0x3f:
        return zone->state == BLK_ZS_NOT_WP;
    default:    /* RESET recommended, NON_SEQ: never so */
        return false;
    }
}

static bool wants_all(const SCSIZoneReport *p)
{
    return p->options == 0x00 || p->options == 0x3e;
}

static void describe_zone(const SCSIDiskState *s,
                          const BlockZoneDescriptor *zone, uint8_t *buf)
{
    uint32_t blocksize = s->qdev.blocksize;
    bool has_wp = zone->state == BLK_ZS_EMPTY || zone->state == BLK_ZS_IOPEN ||
                  zone->state == BLK_ZS_EOPEN || zone->state == BLK_ZS_CLOSED;

    /* The block layer numbers types and conditions as the standard does. */
    memset(buf, 0, DESCRIPTOR_SIZE);
    buf[0] = zone->type;
    buf[1] = zone->state << 4;
    stq_be_p(&buf[8], zone->length / blocksize);
    stq_be_p(&buf[16], zone->start / blocksize);
    stq_be_p(&buf[24], has_wp ? zone->wp / blocksize : UINT64_MAX);
}

static uint8_t same_zones(const SCSIDiskState *s)
{
    const BlockZoneInfo *info = &s->zones->info;

    if (info->capacity % info->zone_size) {
        return ZONES_MAY_DIFFER;
    }
    return blkconf_mixes_zones(s->zones, 0, info->capacity) ?
           ZONES_HAVE_ONE_LENGTH : ZONES_ARE_ALIKE;
}

static void describe_list(const SCSIZoneReport *p, uint8_t *buf)
{
    SCSIDiskState *s = disk_of(p);
    uint64_t nr = p->partial ? MIN(p->nr_matching, p->room) : p->nr_matching;

    memset(buf, 0, HEADER_SIZE);
    stl_be_p(&buf[0], MIN(nr * DESCRIPTOR_SIZE, UINT32_MAX));
    buf[4] = same_zones(s);
    stq_be_p(&buf[8], s->zones->info.capacity / s->qdev.blocksize - 1);
}

/* Adds what was got of the zones to what is known, and to @p->buf. */
static void take_zones(SCSIZoneReport *p)
{
    SCSIDiskState *s = disk_of(p);

    p->len = 0;
    for (unsigned int i = 0; i < p->nr_zones; i++) {
        const BlockZoneDescriptor *zone = &p->zones[i];

        p->offset = zone->start + zone->length;
        if (!matches(p->options, zone)) {
            continue;
        }
        if (!p->counted) {
            p->nr_matching++;
        }
        if (!p->counting && p->nr_listed < p->room) {
            describe_zone(s, zone, &p->buf[HEADER_SIZE + p->len]);
            p->len += DESCRIPTOR_SIZE;
            p->nr_listed++;
        }
    }
}

/* Is there nothing more to ask the drive for? */
static bool has_all(const SCSIZoneReport *p)
{
    if (p->offset >= disk_of(p)->zones->info.capacity) {
        return true;
    }
    if (p->counting) {
        return p->partial && p->nr_matching >= p->room;
    }
    return p->nr_listed >= p->room && (p->partial || p->counted);
}

static void scsi_zone_report_next(SCSIZoneReport *p);

static void scsi_zone_report_later(SCSIZoneReport *p);

/*
 * What is asked for is longer than the list: the rest is zeroes, as with other
 * commands of the disk.  (A transfer that ends early is nothing that all HBAs,
 * or their drivers, know how to handle.)  Prepares so much of them as fits.
 */
static void put_zeroes(SCSIZoneReport *p)
{
    p->len = MIN(sizeof(p->buf), p->r.req.cmd.xfer - p->sent);
    memset(p->buf, 0, p->len);
    p->sent += p->len;
}

static void write_guest(SCSIZoneReport *p, uint32_t offset, const void *buf,
                        uint32_t len)
{
    const MemTxAttrs attrs = { .memory = true };

    dma_buf_read_at(buf, offset, len, p->r.req.sg, attrs);
}

/* @p->buf holds @p->len bytes of zones, behind the room for a header. */
static void send_to_list(SCSIZoneReport *p)
{
    uint32_t xfer = p->r.req.cmd.xfer;

    if (!p->header_sent) {
        uint32_t end = HEADER_SIZE + p->nr_listed * DESCRIPTOR_SIZE;

        write_guest(p, end - p->len, p->buf + HEADER_SIZE, p->len);
        if (!has_all(p)) {
            scsi_zone_report_next(p);
            return;
        }
        describe_list(p, p->buf);
        write_guest(p, 0, p->buf, MIN(HEADER_SIZE, xfer));
        p->header_sent = true;
        p->sent = MIN(end, xfer);
    }
    for (int i = 0; i < ZEROES_PER_BATCH && p->sent < xfer; i++) {
        put_zeroes(p);
        write_guest(p, p->sent - p->len, p->buf, p->len);
    }
    if (p->sent < xfer) {
        scsi_zone_report_later(p);
        return;
    }
    p->r.req.residual = 0;
    p->active = false;
    scsi_req_complete(&p->r.req, GOOD);
}

/* Gives what is in the buffer to the HBA, which comes back for more. */
static void send_buffer(SCSIZoneReport *p)
{
    p->active = false;
    p->r.req.retry = false;
    scsi_req_data(&p->r.req, p->len);
}

/* The same as send_to_list() where the HBA has no list */
static void send_piecewise(SCSIZoneReport *p)
{
    if (p->counting) {
        if (has_all(p)) {
            p->counting = false;
            p->counted = true;
            p->offset = p->start;
        }
        scsi_zone_report_next(p);
        return;
    }
    if (p->len == 0 && p->header_sent && !has_all(p)) {
        scsi_zone_report_next(p);
        return;
    }
    if (p->header_sent) {
        memmove(p->buf, p->buf + HEADER_SIZE, p->len);
    } else {
        p->header_sent = true;
        describe_list(p, p->buf);
        p->len = MIN(p->len + HEADER_SIZE, p->r.req.cmd.xfer);
    }
    p->sent += p->len;
    if (p->len == 0) {
        put_zeroes(p);
    }
    if (p->len == 0) {
        scsi_req_complete(&p->r.req, GOOD);
    } else {
        send_buffer(p);
    }
}

static void scsi_zone_report_batch(void *opaque)
{
    SCSIZoneReport *p = opaque;
    BlockBackend *blk = p->r.req.dev->conf.blk;

    if (p->r.req.io_canceled) {
        /* The memory is the guest's again. */
    } else if (!runstate_is_running()) {
        /*
         * Nor is it written to when the VM has stopped.  When that goes on, so
         * does the report, with these zones.
         */
        p->active = false;
    } else {
        if (!p->header_sent || !has_all(p)) {
            take_zones(p);
        }
        if (p->r.req.sg) {
            send_to_list(p);
        } else {
            send_piecewise(p);
        }
    }
    scsi_req_unref(&p->r.req);
    blk_dec_in_flight(blk);
}

/*
 * If the next batch were asked for where one has been got, which may be in the
 * coroutine of that, all that follow could be done in one go, and nothing else
 * meanwhile.
 */
static void scsi_zone_report_later(SCSIZoneReport *p)
{
    p->active = true;
    scsi_req_retry(&p->r.req);
    scsi_req_ref(&p->r.req);
    blk_inc_in_flight(p->r.req.dev->conf.blk);
    aio_bh_schedule_oneshot(p->r.req.ctx, scsi_zone_report_batch, p);
}

static void scsi_zone_report_cb(void *opaque, int ret)
{
    SCSIZoneReport *p = opaque;

    p->r.req.aiocb = NULL;
    if (ret == 0 && p->nr_zones == 0) {
        /* There should be some: do not ask for them without end. */
        ret = -EIO;
    }
    p->active = ret == 0;
    if (scsi_disk_req_check_error(&p->r, ret, false)) {
        scsi_req_unref(&p->r.req);
        return;
    }
    scsi_zone_report_later(p);
    scsi_req_unref(&p->r.req);
}

static void scsi_zone_report_next(SCSIZoneReport *p)
{
    p->active = true;
    /* If the VM stops between two batches, the report is begun anew later. */
    scsi_req_retry(&p->r.req);
    scsi_req_ref(&p->r.req);
    p->nr_zones = ZONES_PER_BATCH;
    p->r.req.aiocb = blk_aio_zone_report(p->r.req.dev->conf.blk, p->offset,
                                         &p->nr_zones, p->zones,
                                         scsi_zone_report_cb, p);
}

/* Sets what follows from the command. */
static void parse_command(SCSIZoneReport *p)
{
    const SCSICommand *cmd = &p->r.req.cmd;
    SCSIDiskState *s = disk_of(p);

    p->options = cmd->buf[14] & 0x3f;
    p->partial = cmd->buf[14] & 0x80;
    p->start = QEMU_ALIGN_DOWN(cmd->lba * s->qdev.blocksize,
                               s->zones->info.zone_size);
    p->room = cmd->xfer < HEADER_SIZE ? 0 :
              (cmd->xfer - HEADER_SIZE) / DESCRIPTOR_SIZE;
}

static int32_t scsi_zone_report_command(SCSIRequest *req, uint8_t *cdb)
{
    SCSIZoneReport *p = report_of(req);
    const BlockZoneInfo *info = &disk_of(p)->zones->info;

    if (!scsi_disk_zoned_check_available(&p->r)) {
        return 0;
    }
    if ((cdb[1] & 0x1f) != ZI_REPORT_ZONES) {
        scsi_disk_zoned_invalid_field(&p->r, 1, 4);
        return 0;
    }
    if (!are_options_valid(cdb[14] & 0x3f)) {
        scsi_disk_zoned_invalid_field(&p->r, 14, 5);
        return 0;
    }
    if (req->cmd.lba >= info->capacity / disk_of(p)->qdev.blocksize) {
        scsi_check_condition(&p->r, SENSE_CODE(LBA_OUT_OF_RANGE));
        return 0;
    }
    parse_command(p);
    trace_scsi_disk_zoned_report(req->tag, req->cmd.lba, p->options,
                                 p->partial, req->cmd.xfer);
    p->offset = p->start;
    if (wants_all(p)) {
        p->nr_matching = info->nr_zones - p->start / info->zone_size;
        p->counted = true;
    } else {
        p->counting = !req->sg;
    }
    if (req->cmd.xfer == 0) {
        scsi_req_complete(req, GOOD);
    }
    return req->cmd.xfer;
}

static void scsi_zone_report_read_data(SCSIRequest *req)
{
    SCSIZoneReport *p = report_of(req);

    if (p->active) {
        /* The VM was stopped and goes on, and so does the report. */
        scsi_req_retry(req);
        return;
    }
    if (!p->header_sent || !has_all(p)) {
        scsi_zone_report_next(p);
    } else if (req->sg) {
        scsi_zone_report_later(p);
    } else if (p->sent < req->cmd.xfer) {
        put_zeroes(p);
        send_buffer(p);
    } else {
        scsi_req_complete(req, GOOD);
    }
}

static uint8_t *scsi_zone_report_get_buf(SCSIRequest *req)
{
    return report_of(req)->buf;
}

/* What is in the buffer, the HBA may be about to take. */
static void scsi_zone_report_save(QEMUFile *f, SCSIRequest *req)
{
    SCSIZoneReport *p = report_of(req);

    qemu_put_be64(f, p->offset);
    qemu_put_be64(f, p->nr_matching);
    qemu_put_be32(f, p->nr_listed);
    qemu_put_be32(f, p->sent);
    qemu_put_byte(f, p->counting);
    qemu_put_byte(f, p->counted);
    qemu_put_byte(f, p->header_sent);
    qemu_put_be32(f, p->len);
    qemu_put_buffer(f, p->buf, p->len);
}

static void scsi_zone_report_load(QEMUFile *f, SCSIRequest *req)
{
    SCSIZoneReport *p = report_of(req);

    parse_command(p);
    p->offset = qemu_get_be64(f);
    p->nr_matching = qemu_get_be64(f);
    p->nr_listed = qemu_get_be32(f);
    p->sent = MIN(qemu_get_be32(f), req->cmd.xfer);
    p->counting = qemu_get_byte(f);
    p->counted = qemu_get_byte(f);
    p->header_sent = qemu_get_byte(f);
    p->len = MIN(qemu_get_be32(f), sizeof(p->buf));
    qemu_get_buffer(f, p->buf, p->len);
}

const SCSIReqOps scsi_disk_zoned_report_reqops = {
    .size         = sizeof(SCSIZoneReport),
    .send_command = scsi_zone_report_command,
    .read_data    = scsi_zone_report_read_data,
    .get_buf      = scsi_zone_report_get_buf,
    .save_request = scsi_zone_report_save,
    .load_request = scsi_zone_report_load,
};

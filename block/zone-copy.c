/*
 * Copy data to a zoned node
 *
 * A sequential zone is written without gaps, from its start, and reads as
 * zeroes where nothing was written.  So zeroes are written only when data
 * follows in the same zone: it holds data up to its last byte that is not zero.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/cutils.h"
#include "qemu/units.h"
#include "zone-copy.h"

/* Zones that are looked at in one report. */
#define ZONES_PER_REPORT 1024

struct ZoneCopy {
    BlockBackend *target;
    BlockZoneInfo info;
    bool fill;

    /* The zone that data came for last, and up to where it is written. */
    BlockZoneDescriptor zone;
    int64_t written;
};

static const char *state_name(BlockZoneState state)
{
    switch (state) {
    case BLK_ZS_EMPTY:
        return "EMPTY";
    case BLK_ZS_IOPEN:
        return "IMPLICITLY OPEN";
    case BLK_ZS_EOPEN:
        return "EXPLICITLY OPEN";
    case BLK_ZS_CLOSED:
        return "CLOSED";
    case BLK_ZS_RDONLY:
        return "READ ONLY";
    case BLK_ZS_FULL:
        return "FULL";
    case BLK_ZS_OFFLINE:
        return "OFFLINE";
    default:
        return "NOT WRITE POINTER";
    }
}

static uint64_t zone_index(const ZoneCopy *zc, uint64_t offset)
{
    return offset / zc->info.zone_size;
}

static bool zone_is_empty(const BlockZoneDescriptor *zone)
{
    return zone->type == BLK_ZT_CONV || zone->state == BLK_ZS_EMPTY;
}

/* Are all sequential zones of the target EMPTY? */
static bool check_empty(const ZoneCopy *zc, Error **errp)
{
    g_autofree BlockZoneDescriptor *zones =
        g_new(BlockZoneDescriptor, ZONES_PER_REPORT);
    uint64_t offset = 0;

    while (offset < zc->info.capacity) {
        unsigned int nr_zones = ZONES_PER_REPORT;
        int ret = blk_zone_report(zc->target, offset, &nr_zones, zones);

        if (ret < 0) {
            error_setg_errno(errp, -ret, "Could not report the zones");
            return false;
        }
        for (unsigned int i = 0; i < nr_zones; i++) {
            if (!zone_is_empty(&zones[i])) {
                error_setg(errp, "Zone %" PRIu64 " (at byte %" PRIu64 ") is %s "
                           "and not EMPTY; reset it first",
                           zone_index(zc, zones[i].start), zones[i].start,
                           state_name(zones[i].state));
                return false;
            }
        }
        offset += nr_zones * zc->info.zone_size;
    }
    return true;
}

ZoneCopy *zone_copy_new(BlockBackend *target, bool fill, Error **errp)
{
    ZoneCopy *zc = g_new0(ZoneCopy, 1);

    zc->target = target;
    zc->fill = fill;
    if (!blk_get_zone_info(target, &zc->info)) {
        error_setg(errp, "There are no zones");
    } else if (check_empty(zc, errp)) {
        return zc;
    }
    g_free(zc);
    return NULL;
}

void zone_copy_free(ZoneCopy *zc)
{
    g_free(zc);
}

int64_t zone_copy_bytes_in_zone(const ZoneCopy *zc, int64_t offset)
{
    return zc->info.zone_size - offset % zc->info.zone_size;
}

/* The zone at @offset becomes zc->zone. */
static int coroutine_fn enter_zone(ZoneCopy *zc, int64_t offset, Error **errp)
{
    unsigned int nr_zones = 1;
    int ret;

    if (offset >= zc->zone.start &&
        offset < zc->zone.start + zc->zone.length) {
        return 0;
    }
    ret = blk_co_zone_report(zc->target, offset, &nr_zones, &zc->zone);
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not report zone %" PRIu64,
                         zone_index(zc, offset));
        return ret;
    }
    zc->written = zc->zone.start;
    return 0;
}

int coroutine_fn zone_copy_is_sequential(ZoneCopy *zc, int64_t offset,
                                         Error **errp)
{
    int ret = enter_zone(zc, offset, errp);

    return ret < 0 ? ret : zc->zone.type != BLK_ZT_CONV;
}

/* The byte behind the last block of @buf that has data. */
static int64_t data_end(int64_t offset, int64_t bytes, const uint8_t *buf)
{
    int64_t end = offset + bytes;

    while (end > offset) {
        int64_t block = MAX(offset, QEMU_ALIGN_DOWN(end - 1,
                                                    ZONE_COPY_ALIGNMENT));

        if (!buffer_is_zero(buf + (block - offset), end - block)) {
            break;
        }
        end = block;
    }
    return end;
}

/* A write to the zone has failed: names the limit, if one is to blame. */
static void set_write_error(const ZoneCopy *zc, int ret, Error **errp)
{
    if (ret == -EOVERFLOW && zc->info.has_zone_errnos) {
        error_setg(errp, "Zone %" PRIu64 " cannot be written: max_active_zones "
                   "is %" PRIu32 ", and as many zones are partly written",
                   zone_index(zc, zc->zone.start), zc->info.max_active_zones);
    } else {
        error_setg_errno(errp, -ret, "Could not write zone %" PRIu64,
                         zone_index(zc, zc->zone.start));
    }
}

/* Writes up to @end, zeroes if @buf is NULL. */
static int coroutine_fn write_up_to(ZoneCopy *zc, int64_t end, const void *buf,
                                    Error **errp)
{
    int64_t bytes = end - zc->written;
    int ret = 0;

    if (bytes > 0 && buf) {
        ret = blk_co_pwrite(zc->target, zc->written, bytes, buf, 0);
    } else if (bytes > 0) {
        ret = blk_co_pwrite_zeroes(zc->target, zc->written, bytes,
                                   BDRV_REQ_MAY_UNMAP);
    }
    if (ret < 0) {
        set_write_error(zc, ret, errp);
        return ret;
    }
    zc->written = MAX(zc->written, end);
    return 0;
}

int coroutine_fn zone_copy_write(ZoneCopy *zc, int64_t offset, int64_t bytes,
                                 const void *buf, Error **errp)
{
    int64_t end = data_end(offset, bytes, buf);
    int64_t limit;
    int ret = enter_zone(zc, offset, errp);

    if (ret < 0) {
        return ret;
    }
    limit = zc->zone.start + zc->zone.cap;
    if (end > offset && end > limit) {
        error_setg(errp, "Zone %" PRIu64 " cannot hold data up to byte %" PRId64
                   ": its capacity is %" PRIu64 " bytes and ends at byte %"
                   PRId64, zone_index(zc, offset), end, zc->zone.cap, limit);
        return -ERANGE;
    }
    if (zc->fill) {
        end = MAX(end, MIN(offset + bytes, limit));
    }
    if (end <= offset) {
        return 0;
    }
    ret = write_up_to(zc, offset, NULL, errp);
    return ret < 0 ? ret : write_up_to(zc, end, buf, errp);
}

void zone_copy_undo(ZoneCopy *zc)
{
    /* What was wrong is known already. */
    blk_zone_mgmt(zc->target, BLK_ZO_RESET, 0, zc->info.capacity);
}

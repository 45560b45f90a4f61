/*
 * zoned block format driver: other sizes and limits of a device
 *
 * Zones cannot move, and the tables end before the data.  So a device grows by
 * whole sequential zones, as many as the tables have room for, and shrinks by
 * EMPTY ones.  Who reads needs no lock for that: the arrays of all zones that
 * there can be are there from the start.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/error-report.h"
#include "qemu/option.h"
#include "block/snapshot.h"
#include "zoned.h"

QemuOptsList zoned_amend_opts = {
    .name = "zoned-amend-opts",
    .head = QTAILQ_HEAD_INITIALIZER(zoned_amend_opts.head),
    .desc = {
        {
            .name = BLOCK_OPT_Z_MAX_OPEN,
            .type = QEMU_OPT_NUMBER,
            .help = "Maximum number of open zones (0: no limit)",
        },
        {
            .name = BLOCK_OPT_Z_MAX_ACTIVE,
            .type = QEMU_OPT_NUMBER,
            .help = "Maximum number of active zones (0: no limit)",
        },
        {
            .name = BLOCK_OPT_Z_MAX_APPEND,
            .type = QEMU_OPT_NUMBER,
            .help = "Maximum size of a zone append in 512-byte sectors",
        },
        { /* end of list */ }
    }
};

/*
 * Gives @h the size of @size bytes; errors that any device has which is like it
 * and as large.
 */
static bool set_size(const BDRVZonedState *s, ZonedHeader *h, uint64_t size,
                     Error **errp)
{
    ZonedGeometry *geo = &h->geo;
    uint64_t nr_zones = size / geo->zone_size;
    uint64_t max_zones = s->zones.max_zones;

    if (nr_zones == 0) {
        error_setg(errp, "A zoned device keeps at least one whole zone, of %"
                   PRIu64 " bytes", geo->zone_size);
        return false;
    }
    if (size % geo->zone_size) {
        error_setg(errp, "A zoned device gets whole zones of %" PRIu64 " bytes:"
                   " use a size of %" PRIu64 " or %" PRIu64, geo->zone_size,
                   nr_zones * geo->zone_size, (nr_zones + 1) * geo->zone_size);
        return false;
    }
    if (nr_zones > max_zones) {
        error_setg(errp, "The zone table has no room for %" PRIu64 " zones: "
                   "the device can have %" PRIu64 ", which are %" PRIu64
                   " bytes%s", nr_zones, max_zones, max_zones * geo->zone_size,
                   nr_zones > zoned_max_zones(geo) ? ""
                   : "; an image with more is made with zone_nr_spare");
        return false;
    }
    if (nr_zones < geo->nr_conv) {
        error_setg(errp, "Zone %u is conventional, and only sequential ones "
                   "can go: the device keeps at least %" PRIu64 " bytes",
                   geo->nr_conv - 1, geo->nr_conv * geo->zone_size);
        return false;
    }
    geo->size = size;
    geo->nr_zones = nr_zones;
    if (s->bounded && s->len < h->data_offset + size) {
        error_setg(errp, "len %" PRIu64 " is too small for a device of %" PRIu64
                   " bytes, which needs %" PRIu64, s->len, size,
                   h->data_offset + size);
        return false;
    }
    return true;
}

/* Are zones from @first to the last one EMPTY? */
static bool check_empty(const BDRVZonedState *s, uint32_t first, Error **errp)
{
    const ZonedGeometry *geo = &s->header.geo;

    for (uint32_t i = first; i < geo->nr_zones; i++) {
        BlockZoneState cond = zoned_zones_cond(&s->zones, i);

        if (cond != BLK_ZS_EMPTY) {
            error_setg(errp, "Zone %u (%" PRIu64 " bytes at %" PRIu64 ") is %s,"
                       " and only EMPTY ones can go or become larger", i,
                       zoned_zone_length(geo, i), zoned_zone_start(geo, i),
                       bdrv_zone_state_name(cond));
            return false;
        }
    }
    return true;
}

/* Makes the file as long as header @h wants it, if it is shorter. */
static int coroutine_fn GRAPH_RDLOCK extend_file(BlockDriverState *bs,
                                                 const ZonedHeader *h,
                                                 PreallocMode prealloc,
                                                 Error **errp)
{
    BDRVZonedState *s = bs->opaque;
    int64_t needed = s->base + zoned_header_min_file_size(h);
    int64_t length = bdrv_co_getlength(bs->file->bs);

    if (length < 0) {
        error_setg_errno(errp, -length, "Could not get the file's length");
        return length;
    }
    if (prealloc == PREALLOC_MODE_METADATA) {
        prealloc = PREALLOC_MODE_OFF;
    }
    if (length >= needed && prealloc != PREALLOC_MODE_OFF) {
        error_setg(errp, "What the file has already, %" PRId64 " bytes, is not "
                   "preallocated: use preallocation=off", length);
        return -ENOTSUP;
    }
    if (length >= needed) {
        return 0;
    }
    return bdrv_co_truncate(bs->file, needed, false, prealloc, 0, errp);
}

static int coroutine_fn GRAPH_RDLOCK grow(BlockDriverState *bs,
                                          const ZonedHeader *h,
                                          PreallocMode prealloc, Error **errp)
{
    BDRVZonedState *s = bs->opaque;
    const ZonedGeometry *geo = &s->header.geo;
    uint32_t last = geo->nr_zones - 1;
    int ret;

    if (geo->size % geo->zone_size && !check_empty(s, last, errp)) {
        return -EINVAL;
    }
    ret = extend_file(bs, h, prealloc, errp);
    if (ret < 0) {
        return ret;
    }
    ret = zoned_co_commit_resize(bs, h);
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not write the zoned image");
    }
    return ret;
}

static int coroutine_fn GRAPH_RDLOCK shrink(BlockDriverState *bs,
                                            const ZonedHeader *h, Error **errp)
{
    BDRVZonedState *s = bs->opaque;
    int64_t old_length = s->base + zoned_header_min_file_size(&s->header);
    Error *local_err = NULL;
    int ret;

    if (!check_empty(s, h->geo.nr_zones, errp)) {
        return -EINVAL;
    }
    ret = zoned_co_commit_resize(bs, h);
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not write the zoned image");
        return ret;
    }
    /* What is behind the image may belong to others. */
    if (!s->bounded && bdrv_co_getlength(bs->file->bs) == old_length &&
        bdrv_co_truncate(bs->file, s->base + zoned_header_min_file_size(h),
                         false, PREALLOC_MODE_OFF, 0, &local_err) < 0) {
        warn_reportf_err(local_err, "The file keeps its length: ");
    }
    return 0;
}

/* All zones are excluded. */
static int coroutine_fn GRAPH_RDLOCK resize(BlockDriverState *bs, int64_t size,
                                            PreallocMode prealloc, Error **errp)
{
    BDRVZonedState *s = bs->opaque;
    ZonedHeader h = s->header;
    int ret;

    if (size == s->header.geo.size) {
        return 0;
    }
    if (!set_size(s, &h, size, errp)) {
        return -EINVAL;
    }
    ret = size > s->header.geo.size ? grow(bs, &h, prealloc, errp)
                                    : shrink(bs, &h, errp);
    if (ret == 0) {
        bs->total_sectors = size / BDRV_SECTOR_SIZE;
        bs->bl.nr_zones = h.geo.nr_zones;
    }
    return ret;
}

int coroutine_fn zoned_co_truncate(BlockDriverState *bs, int64_t offset,
                                   bool exact, PreallocMode prealloc,
                                   BdrvRequestFlags flags, Error **errp)
{
    BDRVZonedState *s = bs->opaque;
    ZonedExclusion ex = { .last = s->zones.max_zones - 1, .drain = true };
    int ret;

    zoned_exclusion_begin(bs, &ex);
    ret = resize(bs, offset, prealloc, errp);
    zoned_exclusion_end(bs, &ex);
    return ret;
}

/* Is the limit @limit of @what not below the @nr that there are? */
static bool check_limit(const char *what, uint32_t limit, uint32_t nr,
                        Error **errp)
{
    if (limit && limit < nr) {
        error_setg(errp, "max_%s_zones=%u is less than the %u zones that are "
                   "%s now", what, limit, nr, what);
        return false;
    }
    return true;
}

/* The value of option @name, which is @value if it was not given. */
static bool get_limit(QemuOpts *opts, const char *name, uint32_t *value,
                      Error **errp)
{
    uint64_t n = qemu_opt_get_number(opts, name, *value);

    if (n > UINT32_MAX) {
        error_setg(errp, "%s=%s is not a number between 0 and %" PRIu32, name,
                   qemu_opt_get(opts, name), UINT32_MAX);
        return false;
    }
    *value = n;
    return true;
}

static bool get_limits(QemuOpts *opts, ZonedGeometry *geo, Error **errp)
{
    return get_limit(opts, BLOCK_OPT_Z_MAX_OPEN, &geo->max_open, errp) &&
           get_limit(opts, BLOCK_OPT_Z_MAX_ACTIVE, &geo->max_active, errp) &&
           get_limit(opts, BLOCK_OPT_Z_MAX_APPEND, &geo->max_append_sectors,
                     errp);
}

/*
 * A snapshot in the node below has the limits that the image has now, with
 * which a disk with others would not go on.
 */
static bool GRAPH_RDLOCK check_snapshots(BlockDriverState *bs, Error **errp)
{
    g_autofree QEMUSnapshotInfo *snapshots = NULL;
    int nr = bdrv_snapshot_list(bs, &snapshots);

    if (nr <= 0) {
        return true;
    }
    error_setg(errp, "The node below has %d internal snapshots with the limits "
               "as they are, the first of them '%s': delete them before", nr,
               snapshots[0].name);
    return false;
}

int zoned_amend_options(BlockDriverState *bs, QemuOpts *opts,
                        BlockDriverAmendStatusCB *status_cb, void *cb_opaque,
                        bool force, Error **errp)
{
    BDRVZonedState *s = bs->opaque;
    ZonedHeader h = s->header;
    uint8_t buf[ZONED_HEADER_SIZE];
    int ret;

    if (!check_snapshots(bs, errp) || !get_limits(opts, &h.geo, errp) ||
        !zoned_geometry_validate(&h.geo, errp) ||
        !check_limit("open", h.geo.max_open, zoned_zones_nr_open(&s->zones),
                     errp) ||
        !check_limit("active", h.geo.max_active,
                     zoned_zones_nr_active(&s->zones), errp)) {
        return -EINVAL;
    }
    /*
     * What was read may be in a cache only.  Behind a power cut, zones would be
     * active again that count no more.
     */
    ret = bdrv_flush(bs);
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not write the zone table");
        return ret;
    }
    if (!zoned_zones_set_limits(&s->zones, h.geo.max_open, h.geo.max_active)) {
        error_setg(errp, "Not enough memory for %u zones", h.geo.nr_zones);
        return -ENOMEM;
    }
    zoned_header_encode(&h, buf);
    ret = bdrv_pwrite_sync(bs->file, s->base, sizeof(buf), buf, 0);
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not update the zoned image header");
        zoned_zones_set_limits(&s->zones, s->header.geo.max_open,
                               s->header.geo.max_active);
        zoned_commit_doubt_header(&s->commit);
        return ret;
    }
    s->header = h;
    bdrv_refresh_limits(bs, NULL, errp);
    return 0;
}

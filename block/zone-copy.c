/*
 * Copy data to a zoned node, and what is to be known of zones for that
 *
 * A sequential zone is written without gaps, from its start, and reads as
 * zeroes where nothing was written.  So zeroes are written only when data
 * follows in the same zone: it holds data up to its last byte that is not zero.
 *
 * If zones are kept, a zone gets its descriptor extension first, then its data,
 * zeroes up to the write pointer of the source, and at last its condition.  One
 * that is to be READ ONLY or OFFLINE is FULL until all zones have their data:
 * so it takes no active resource, and can be reset if something fails.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/qapi-types-block-core.h"
#include "qemu/cutils.h"
#include "qemu/error-report.h"
#include "qemu/units.h"
#include "zone-copy.h"

/* Zones that are looked at in one report. */
#define ZONES_PER_REPORT 1024

/* Passes over the data, if zones are kept and active ones have a limit */
enum {
    PASS_ALL = -1,
    PASS_INACTIVE,      /* zones that give their active resource back */
    PASS_ACTIVE,
    NR_PASSES
};

struct ZoneCopy {
    BlockBackend *target;
    BlockZoneInfo info;
    bool fill;

    /* If zones are kept: where from, and the BlockZoneState of each there */
    BlockBackend *source;
    uint8_t *states;
    int pass;

    /*
     * The zone that data came for last, up to where it is written, and what it
     * is in the source.
     */
    BlockZoneDescriptor zone;
    int64_t written;
    BlockZoneDescriptor source_zone;

    /* The zone of the source that was looked at last for what is to be read */
    BlockZoneDescriptor read_zone;
};

static uint64_t zone_index(const ZoneCopy *zc, uint64_t offset)
{
    return offset / zc->info.zone_size;
}

static bool is_active(BlockZoneState state)
{
    return state == BLK_ZS_IOPEN || state == BLK_ZS_EOPEN ||
           state == BLK_ZS_CLOSED;
}

static bool zone_is_empty(const BlockZoneDescriptor *zone)
{
    return zone->type == BLK_ZT_CONV || zone->state == BLK_ZS_EMPTY;
}

static bool report(BlockBackend *blk, int64_t offset, unsigned int *nr_zones,
                   BlockZoneDescriptor *zones, Error **errp)
{
    int ret;

    *nr_zones = ZONES_PER_REPORT;
    ret = blk_zone_report(blk, offset, nr_zones, zones);
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not report the zones at byte %"
                         PRId64, offset);
        return false;
    }
    return true;
}

/* How many zones can be added to @blk, or -1 if it is no image that says so. */
static int64_t nr_spare_zones(BlockBackend *blk)
{
    g_autoptr(ImageInfoSpecific) info = NULL;

    GRAPH_RDLOCK_GUARD_MAINLOOP();
    info = bdrv_get_specific_info(blk_bs(blk), NULL);
    return info && info->type == IMAGE_INFO_SPECIFIC_KIND_ZONED ?
           info->u.zoned.data->spare_zones : -1;
}

bool zone_layout_get(BlockBackend *blk, ZoneLayout *layout, Error **errp)
{
    g_autofree BlockZoneDescriptor *zones =
        g_new(BlockZoneDescriptor, ZONES_PER_REPORT);
    unsigned int nr_zones;

    *layout = (ZoneLayout) {};
    if (!blk_get_zone_info(blk, &layout->info) ||
        layout->info.model != BLK_Z_HM) {
        return false;
    }
    layout->zone_capacity = layout->info.zone_size;
    layout->nr_spare = nr_spare_zones(blk);
    while (layout->nr_conv < layout->info.nr_zones) {
        if (!report(blk, layout->nr_conv * layout->info.zone_size, &nr_zones,
                    zones, errp)) {
            return false;
        }
        for (unsigned int i = 0; i < nr_zones; i++, layout->nr_conv++) {
            if (zones[i].type != BLK_ZT_CONV) {
                /* That of a small last zone says nothing of others. */
                if (zones[i].length == layout->info.zone_size) {
                    layout->zone_capacity = zones[i].cap;
                }
                return true;
            }
        }
    }
    return true;
}

static void add_count(GString *list, uint32_t n, const char *what)
{
    if (n) {
        g_string_append_printf(list, "%s%" PRIu32 " %s", list->len ? ", " : "",
                               n, what);
    }
}

char *zone_states_describe(BlockBackend *blk)
{
    static const BlockZoneState states[] = {
        BLK_ZS_CLOSED, BLK_ZS_FULL, BLK_ZS_RDONLY, BLK_ZS_OFFLINE,
    };
    g_autofree BlockZoneDescriptor *zones =
        g_new(BlockZoneDescriptor, ZONES_PER_REPORT);
    GString *list = g_string_new(NULL);
    uint32_t nr[16] = {}, nr_extensions = 0;
    unsigned int nr_zones;
    BlockZoneInfo info;

    if (!blk_get_zone_info(blk, &info)) {
        info.nr_zones = 0;
    }
    for (uint32_t i = 0; i < info.nr_zones; i += nr_zones) {
        if (!report(blk, i * info.zone_size, &nr_zones, zones, NULL) ||
            nr_zones == 0) {
            break;
        }
        for (unsigned int j = 0; j < nr_zones; j++) {
            BlockZoneState state = zones[j].state;

            nr[is_active(state) ? BLK_ZS_CLOSED : state]++;
            nr_extensions += zones[j].ext_valid;
        }
    }
    for (int i = 0; i < ARRAY_SIZE(states); i++) {
        add_count(list, nr[states[i]], bdrv_zone_state_name(states[i]));
    }
    add_count(list, nr_extensions, "with a descriptor extension");
    return g_string_free(list, false);
}

static bool get_zone(BlockBackend *blk, int64_t offset,
                     BlockZoneDescriptor *zone)
{
    BlockZoneInfo info;
    unsigned int nr_zones = 1;

    return blk_get_zone_info(blk, &info) &&
        blk_zone_report(blk, offset, &nr_zones, zone) == 0 && nr_zones == 1;
}

bool zone_is_offline(BlockBackend *blk, int64_t offset, int64_t *bytes)
{
    BlockZoneDescriptor zone;

    if (!get_zone(blk, offset, &zone)) {
        return false;
    }
    *bytes = zone.start + zone.length - offset;
    return zone.state == BLK_ZS_OFFLINE;
}

bool zone_find_offline(BlockBackend *blk, int64_t offset, int64_t bytes,
                       BlockZoneDescriptor *zone)
{
    g_autofree BlockZoneDescriptor *zones =
        g_new(BlockZoneDescriptor, ZONES_PER_REPORT);
    int64_t end = offset + bytes;
    unsigned int nr_zones;
    BlockZoneInfo info;

    if (!blk_get_zone_info(blk, &info)) {
        return false;
    }
    while (offset < end && report(blk, offset, &nr_zones, zones, NULL) &&
           nr_zones > 0) {
        for (unsigned int i = 0; i < nr_zones && zones[i].start < end; i++) {
            if (zones[i].state == BLK_ZS_OFFLINE) {
                *zone = zones[i];
                return true;
            }
        }
        offset = zones[nr_zones - 1].start + zones[nr_zones - 1].length;
    }
    return false;
}

char *zone_describe_offline(BlockBackend *blk, int64_t offset, int64_t bytes)
{
    BlockZoneDescriptor zone;
    BlockZoneInfo info;

    if (!blk_get_zone_info(blk, &info) ||
        !zone_find_offline(blk, offset, bytes, &zone)) {
        return NULL;
    }
    return g_strdup_printf("zone %" PRIu64 " (at byte %" PRIu64 ") is OFFLINE",
                           zone.start / info.zone_size, zone.start);
}

/* The byte up to which the zone can hold data, going by its write pointer. */
static int64_t pointer_end(const BlockZoneDescriptor *zone)
{
    if (zone->state == BLK_ZS_EMPTY || zone->state == BLK_ZS_OFFLINE) {
        return zone->start;
    }
    return is_active(zone->state) ? zone->wp : zone->start + zone->cap;
}

bool zone_has_data(BlockBackend *blk, int64_t offset, int64_t *bytes)
{
    BlockZoneDescriptor zone;
    int64_t end;

    if (!get_zone(blk, offset, &zone)) {
        /* To read it shows what is wrong. */
        *bytes = BDRV_SECTOR_SIZE;
        return true;
    }
    end = pointer_end(&zone);
    if (offset < end) {
        *bytes = end - offset;
        return true;
    }
    *bytes = zone.start + zone.length - offset;
    return false;
}

/* Returns @name and both values if they differ, or NULL. */
static char *describe_difference(const char *name, uint64_t a, uint64_t b)
{
    return a == b ? NULL : g_strdup_printf("%s is %" PRIu64 " and %" PRIu64,
                                           name, a, b);
}

static char *compare_info(const BlockZoneInfo *a, const BlockZoneInfo *b)
{
    return describe_difference("zone size", a->zone_size, b->zone_size) ?:
        describe_difference("number of zones", a->nr_zones, b->nr_zones) ?:
        describe_difference("size of descriptor extensions",
                            a->zd_extension_size, b->zd_extension_size);
}

/*
 * That a zone is open is not kept by images, so it is as good as CLOSED; or as
 * EMPTY, if there is nothing in it.
 */
static BlockZoneState kept_state(const BlockZoneDescriptor *zone)
{
    if (!is_active(zone->state)) {
        return zone->state;
    }
    return zone->wp > zone->start || zone->ext_valid ? BLK_ZS_CLOSED
                                                     : BLK_ZS_EMPTY;
}

static char *compare_zones(const BlockZoneDescriptor *a,
                           const BlockZoneDescriptor *b)
{
    const char *state_a = bdrv_zone_state_name(kept_state(a));
    const char *state_b = bdrv_zone_state_name(kept_state(b));

    if (strcmp(state_a, state_b)) {
        return g_strdup_printf("condition is %s and %s", state_a, state_b);
    }
    return describe_difference("type", a->type, b->type) ?:
        describe_difference("length", a->length, b->length) ?:
        describe_difference("capacity", a->cap, b->cap) ?:
        /* Of other zones it means nothing, and disks of the host differ. */
        (is_active(a->state) && is_active(b->state) ?
         describe_difference("write pointer", a->wp, b->wp) : NULL) ?:
        describe_difference("number of descriptor extensions", a->ext_valid,
                            b->ext_valid);
}

/* Returns 1 if both have the same extension, 0 if not, or a negative errno. */
static int compare_extensions(BlockBackend *a, BlockBackend *b,
                              uint64_t offset, uint32_t size)
{
    g_autofree void *buf_a = g_malloc(size);
    g_autofree void *buf_b = g_malloc(size);
    int ret = blk_zone_get_extensions(a, offset, 1, buf_a);

    if (ret == 0) {
        ret = blk_zone_get_extensions(b, offset, 1, buf_b);
    }
    return ret < 0 ? ret : !memcmp(buf_a, buf_b, size);
}

/* The same for a zone as zone_compare() for all. */
static int compare_zone(BlockBackend *a, BlockBackend *b,
                        const BlockZoneInfo *info,
                        const BlockZoneDescriptor *zone_a,
                        const BlockZoneDescriptor *zone_b, char **difference,
                        Error **errp)
{
    g_autofree char *what = compare_zones(zone_a, zone_b);
    uint64_t i = zone_a->start / info->zone_size;

    if (!what && info->zd_extension_size && zone_a->ext_valid) {
        int ret = compare_extensions(a, b, zone_a->start,
                                     info->zd_extension_size);

        if (ret < 0) {
            error_setg_errno(errp, -ret, "Could not read the descriptor "
                             "extension of zone %" PRIu64, i);
            return ret;
        }
        if (!ret) {
            what = g_strdup("descriptor extensions differ");
        }
    }
    if (!what) {
        return 1;
    }
    *difference = g_strdup_printf("zone %" PRIu64 " (at byte %" PRIu64 "): %s",
                                  i, zone_a->start, what);
    return 0;
}

int zone_compare(BlockBackend *a, BlockBackend *b, char **difference,
                 Error **errp)
{
    g_autofree BlockZoneDescriptor *zones_a =
        g_new(BlockZoneDescriptor, ZONES_PER_REPORT);
    g_autofree BlockZoneDescriptor *zones_b =
        g_new(BlockZoneDescriptor, ZONES_PER_REPORT);
    BlockZoneInfo info, info_b;

    if (!blk_get_zone_info(a, &info) || !blk_get_zone_info(b, &info_b)) {
        error_setg(errp, "Only one of the disks has zones, or none");
        return -ENOTSUP;
    }
    *difference = compare_info(&info, &info_b);
    if (*difference) {
        return 0;
    }
    for (uint64_t i = 0; i < info.nr_zones; ) {
        unsigned int nr_a, nr_b;

        if (!report(a, i * info.zone_size, &nr_a, zones_a, errp) ||
            !report(b, i * info.zone_size, &nr_b, zones_b, errp)) {
            return -EIO;
        }
        if (MIN(nr_a, nr_b) == 0) {
            error_setg(errp, "There is no report of zone %" PRIu64, i);
            return -EIO;
        }
        for (unsigned int j = 0; j < MIN(nr_a, nr_b); j++, i++) {
            int ret = compare_zone(a, b, &info, &zones_a[j], &zones_b[j],
                                   difference, errp);

            if (ret <= 0) {
                return ret;
            }
        }
    }
    return 1;
}

/* Are all sequential zones of the target EMPTY? */
static bool check_empty(const ZoneCopy *zc, Error **errp)
{
    g_autofree BlockZoneDescriptor *zones =
        g_new(BlockZoneDescriptor, ZONES_PER_REPORT);
    uint64_t offset = 0;

    while (offset < zc->info.capacity) {
        unsigned int nr_zones;

        if (!report(zc->target, offset, &nr_zones, zones, errp)) {
            return false;
        }
        for (unsigned int i = 0; i < nr_zones; i++) {
            if (!zone_is_empty(&zones[i])) {
                error_setg(errp, "Zone %" PRIu64 " (at byte %" PRIu64 ") is %s "
                           "and not EMPTY; reset it first",
                           zone_index(zc, zones[i].start), zones[i].start,
                           bdrv_zone_state_name(zones[i].state));
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
    zc->pass = PASS_ALL;
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
    if (zc) {
        g_free(zc->states);
        g_free(zc);
    }
}

/* Is a value of the source the same in the target? */
static bool check_same(const char *name, uint64_t source, uint64_t target,
                       Error **errp)
{
    if (source != target) {
        error_setg(errp, "%s is %" PRIu64 " in the source and %" PRIu64
                   " in the target", name, source, target);
        return false;
    }
    return true;
}

/*
 * Is @zone of the source like @target_zone, and does its extension fit?  Those
 * who ask have checked that they start at the same byte.
 */
static bool check_same_zone(const ZoneCopy *zc, const BlockZoneInfo *info,
                            const BlockZoneDescriptor *zone,
                            const BlockZoneDescriptor *target_zone,
                            Error **errp)
{
    ERRP_GUARD();
    bool same;

    if ((zone->type == BLK_ZT_CONV) != (target_zone->type == BLK_ZT_CONV)) {
        error_setg(errp, "is %s in the source and %s in the target",
                   zone->type == BLK_ZT_CONV ? "conventional" : "sequential",
                   target_zone->type == BLK_ZT_CONV ? "conventional"
                                                    : "sequential");
        same = false;
    } else {
        same = check_same("its capacity", zone->cap, target_zone->cap, errp) &&
            (info->zd_extension_size == 0 || !zone->ext_valid ||
             check_same("the size of its descriptor extension",
                        info->zd_extension_size, zc->info.zd_extension_size,
                        errp));
    }
    if (!same) {
        error_prepend(errp, "zone %" PRIu64 ": ", zone_index(zc, zone->start));
    }
    return same;
}

/* Notes the states of the zones of @source, if they are like the target's. */
static bool read_source(ZoneCopy *zc, BlockBackend *source,
                        const BlockZoneInfo *info, Error **errp)
{
    g_autofree BlockZoneDescriptor *zones =
        g_new(BlockZoneDescriptor, ZONES_PER_REPORT);
    g_autofree BlockZoneDescriptor *target_zones =
        g_new(BlockZoneDescriptor, ZONES_PER_REPORT);
    unsigned int nr_zones, nr_target_zones;

    for (uint64_t i = 0; i < info->nr_zones; i += nr_zones) {
        uint64_t offset = i * info->zone_size;

        if (!report(source, offset, &nr_zones, zones, errp) ||
            !report(zc->target, offset, &nr_target_zones, target_zones,
                    errp)) {
            return false;
        }
        nr_zones = MIN(MIN(nr_zones, nr_target_zones), info->nr_zones - i);
        if (nr_zones == 0) {
            error_setg(errp, "there is no report of zone %" PRIu64, i);
            return false;
        }
        for (unsigned int j = 0; j < nr_zones; j++) {
            if (!check_same_zone(zc, info, &zones[j], &target_zones[j],
                                 errp)) {
                return false;
            }
            zc->states[i + j] = zones[j].state;
        }
    }
    return true;
}

bool zone_copy_keep(ZoneCopy *zc, BlockBackend *source, Error **errp)
{
    BlockZoneInfo info;

    if (!blk_get_zone_info(source, &info) || info.model != BLK_Z_HM) {
        error_setg(errp, "the source has no zones");
        return false;
    }
    if (!check_same("the zone size", info.zone_size, zc->info.zone_size,
                    errp) ||
        !check_same("the size of the disk", info.capacity, zc->info.capacity,
                    errp)) {
        return false;
    }
    zc->states = g_try_new(uint8_t, info.nr_zones);
    if (!zc->states) {
        error_setg(errp, "not enough memory for %" PRIu32 " zones",
                   info.nr_zones);
        return false;
    }
    if (!read_source(zc, source, &info, errp)) {
        g_clear_pointer(&zc->states, g_free);
        return false;
    }
    zc->source = source;
    return true;
}

int zone_copy_nr_passes(const ZoneCopy *zc)
{
    return zc->source && zc->info.max_active_zones ? NR_PASSES : 1;
}

void zone_copy_begin_pass(ZoneCopy *zc, int pass)
{
    zc->pass = zone_copy_nr_passes(zc) > 1 ? pass : PASS_ALL;
}

bool zone_copy_skips(const ZoneCopy *zc, int64_t offset)
{
    return zc->pass != PASS_ALL &&
           is_active(zc->states[zone_index(zc, offset)]) !=
           (zc->pass == PASS_ACTIVE);
}

int64_t zone_copy_data_bytes(ZoneCopy *zc, int64_t offset)
{
    BlockZoneDescriptor *zone = &zc->read_zone;

    if (!zc->source) {
        return zone_copy_bytes_in_zone(zc, offset);
    }
    if (offset < zone->start || offset >= zone->start + zone->length) {
        if (!get_zone(zc->source, offset, zone)) {
            /* To enter the zone fails, too, and says why. */
            zone->length = 0;
            return zone_copy_bytes_in_zone(zc, offset);
        }
    }
    return MAX(0, pointer_end(zone) - offset);
}

int64_t zone_copy_bytes_in_zone(const ZoneCopy *zc, int64_t offset)
{
    return zc->info.zone_size - offset % zc->info.zone_size;
}

/* What was done to the zone has failed: names the limit, if one is to blame. */
static void set_zone_error(const ZoneCopy *zc, int ret, Error **errp,
                           const char *what)
{
    uint64_t i = zone_index(zc, zc->zone.start);

    if (ret == -EOVERFLOW && zc->info.has_zone_errnos) {
        error_setg(errp, "Zone %" PRIu64 " cannot be written: max_active_zones "
                   "is %" PRIu32 ", and as many zones are partly written", i,
                   zc->info.max_active_zones);
    } else {
        error_setg_errno(errp, -ret, "Could not %s zone %" PRIu64, what, i);
    }
}

/* The zone gets the descriptor extension that it has in the source. */
static int coroutine_fn copy_extension(ZoneCopy *zc, Error **errp)
{
    size_t size = zc->info.zd_extension_size;
    g_autofree void *buf = g_malloc(size);
    QEMUIOVector qiov;
    int ret;

    ret = blk_co_zone_get_extensions(zc->source, zc->zone.start, 1, buf);
    if (ret == 0) {
        qemu_iovec_init_buf(&qiov, buf, size);
        ret = blk_co_zone_set_extension(zc->target, zc->zone.start, &qiov);
    }
    if (ret < 0) {
        set_zone_error(zc, ret, errp, "copy the descriptor extension of");
    }
    return ret;
}

/* Looks at the zone in the source. */
static int coroutine_fn enter_source_zone(ZoneCopy *zc, Error **errp)
{
    unsigned int nr_zones = 1;
    int ret = blk_co_zone_report(zc->source, zc->zone.start, &nr_zones,
                                 &zc->source_zone);

    if (ret < 0) {
        set_zone_error(zc, ret, errp, "report");
        return ret;
    }
    if (zc->info.zd_extension_size && zc->source_zone.ext_valid) {
        return copy_extension(zc, errp);
    }
    return 0;
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
    return zc->source ? enter_source_zone(zc, errp) : 0;
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
        set_zone_error(zc, ret, errp, "write");
        return ret;
    }
    zc->written = MAX(zc->written, end);
    return 0;
}

/*
 * The byte up to which the zone holds data in the source; @unknown if the
 * source does not say.
 */
static int64_t source_end(const ZoneCopy *zc, int64_t unknown)
{
    const BlockZoneDescriptor *zone = &zc->source_zone;
    int64_t end = zone->data_end;

    if (end == 0) {
        /* Only for these the write pointer must tell. */
        end = is_active(zone->state) || zone->state == BLK_ZS_EMPTY
              ? pointer_end(zone) : unknown;
    }
    return MIN(end, zone->start + zone->cap);
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
    if (zc->source) {
        end = MIN(end, source_end(zc, end));
    }
    limit = zc->zone.start + zc->zone.cap;
    if (end > offset && end > limit) {
        error_setg(errp, "Zone %" PRIu64 " cannot hold data up to byte %" PRId64
                   ": its capacity is %" PRIu64 " bytes and ends at byte %"
                   PRId64, zone_index(zc, offset), end, zc->zone.cap, limit);
        return -ERANGE;
    }
    if (zc->fill && !zc->source) {
        end = MAX(end, MIN(offset + bytes, limit));
    }
    if (end <= offset) {
        return 0;
    }
    ret = write_up_to(zc, offset, NULL, errp);
    return ret < 0 ? ret : write_up_to(zc, end, buf, errp);
}

/* Does a zone that is @state have to be FULL when its data is there? */
static bool ends_full(BlockZoneState state)
{
    return state == BLK_ZS_FULL || state == BLK_ZS_RDONLY ||
           state == BLK_ZS_OFFLINE;
}

int coroutine_fn zone_copy_end_zone(ZoneCopy *zc, Error **errp)
{
    int64_t limit = zc->zone.start + zc->zone.cap;
    int ret;

    if (!zc->source) {
        /* What came may have been less than a block. */
        return write_up_to(zc, MIN(ROUND_UP(zc->written, ZONE_COPY_ALIGNMENT),
                                   limit), NULL, errp);
    }
    ret = write_up_to(zc, source_end(zc, zc->written), NULL, errp);
    if (ret == 0 && ends_full(zc->source_zone.state) && zc->written < limit) {
        ret = blk_co_zone_mgmt(zc->target, BLK_ZO_FINISH, zc->zone.start,
                               zc->zone.length);
        if (ret < 0) {
            set_zone_error(zc, ret, errp, "finish");
        }
    }
    return ret;
}

/* Zones from @first to before @end become @state: READ ONLY or OFFLINE. */
static int make_zones(ZoneCopy *zc, uint64_t first, uint64_t end,
                      BlockZoneState state, Error **errp)
{
    uint64_t start = first * zc->info.zone_size;
    uint64_t limit = MIN(end * zc->info.zone_size, zc->info.capacity);
    BlockZoneOp op = state == BLK_ZS_RDONLY ? BLK_ZO_MAKE_RDONLY
                                            : BLK_ZO_MAKE_OFFLINE;
    int ret = blk_zone_mgmt(zc->target, op, start, limit - start);

    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not make zones %" PRIu64 " to %"
                         PRIu64 " %s", first, end - 1,
                         bdrv_zone_state_name(state));
    }
    return ret;
}

int zone_copy_end(ZoneCopy *zc, Error **errp)
{
    uint32_t nr_zones = zc->source ? zc->info.nr_zones : 0;
    int ret = blk_flush(zc->target);

    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not flush the zones");
        return ret;
    }
    for (uint32_t i = 0, end; i < nr_zones && ret == 0; i = end) {
        for (end = i + 1; end < nr_zones && zc->states[end] == zc->states[i];
             end++) {
            /* They become the same at once. */
        }
        if (zc->states[i] == BLK_ZS_RDONLY || zc->states[i] == BLK_ZS_OFFLINE) {
            ret = make_zones(zc, i, end, zc->states[i], errp);
        }
    }
    return ret;
}

void zone_copy_undo(ZoneCopy *zc)
{
    int ret = blk_zone_mgmt(zc->target, BLK_ZO_RESET, 0, zc->info.capacity);

    if (ret < 0) {
        error_report("Could not reset the zones of the target, which have a "
                     "part of the data: %s", strerror(-ret));
    }
}

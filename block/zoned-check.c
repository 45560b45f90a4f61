/*
 * zoned block format driver: qemu-img check
 *
 * The node was opened with BDRV_O_CHECK: the header is valid, or what was left
 * of it determined the rest (zoned_header_rebuild()), but the zones may be
 * anything.  Here table and log are read again, and each entry that cannot be
 * is reported with its zone and value.  What is in descriptor extensions is the
 * guest's, so any bytes are right there.
 *
 * A repair gives up no data.  An impossible entry becomes FULL up to the
 * capacity of the zone: all that may have been written can be read, and a reset
 * makes the zone new.  Zones that are active beyond the limit become FULL where
 * they are.  A file that is too short gets its length back.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/error-report.h"
#include "zoned.h"

/*
 * So many zones with the same fault are named, the others are counted: a header
 * of 512 bytes can ask for millions of zones whose entries are missing.
 */
#define MAX_ZONES_NAMED 16

/* What can be wrong with a zone. */
typedef enum ZoneFault {
    ZONE_ENTRY_IMPOSSIBLE,
    ZONE_BEYOND_LIMIT,
    ZONE_FAULT__MAX
} ZoneFault;

static const char *const zone_fault_texts[ZONE_FAULT__MAX] = {
    [ZONE_ENTRY_IMPOSSIBLE] = "have an impossible entry",
    [ZONE_BEYOND_LIMIT] = "are active beyond the limit",
};

typedef struct ZonedCheck {
    BlockDriverState *bs;
    BdrvCheckResult *result;
    bool fix;
    int64_t length;             /* of the file, in bytes */
    uint32_t nr_active;         /* active zones so far */
    uint32_t nr_faults[ZONE_FAULT__MAX];
} ZonedCheck;

/* Prints @err, which is freed, and that it is repaired if it is to be. */
static void print_corruption(const ZonedCheck *c, Error *err)
{
    fprintf(stderr, "%s %s\n", c->fix ? "Repairing" : "ERROR",
            error_get_pretty(err));
    error_free(err);
}

/* Reports @err, which is freed. */
static void report_corruption(ZonedCheck *c, Error *err)
{
    print_corruption(c, err);
    c->result->corruptions++;
}

/* Sets zone @i to @entry, which is what can be said about it. */
static void coroutine_fn repair_zone(ZonedCheck *c, uint32_t i,
                                     const ZonedEntry *entry)
{
    BDRVZonedState *s = c->bs->opaque;

    qemu_spin_lock(&s->lock);
    zoned_zones_load(&s->zones, i, 1, entry, false);
    zoned_zones_mark_dirty(&s->zones, i);
    qemu_spin_unlock(&s->lock);
}

static bool entry_is_active(const ZonedGeometry *geo, uint32_t i,
                            const ZonedEntry *entry)
{
    switch (entry->cond) {
    case BLK_ZS_IOPEN:
    case BLK_ZS_EOPEN:
    case BLK_ZS_CLOSED:
        return entry->end > zoned_zone_start(geo, i) || entry->ext_valid;
    default:
        return false;
    }
}

/* Up to where zone @i may hold data, if nothing else is known of it. */
static uint64_t possible_end(const ZonedCheck *c, uint32_t i)
{
    BDRVZonedState *s = c->bs->opaque;
    uint64_t start = zoned_zone_start(&s->header.geo, i);
    uint64_t end = zoned_zone_cap_limit(&s->header.geo, i);
    int64_t in_file = c->length - zoned_file_offset(s, start);

    if (s->header.incompatible_features & ZONED_INCOMPAT_SHORT_FILE) {
        /* There is nothing behind the end of the file. */
        in_file = MAX(QEMU_ALIGN_DOWN(in_file, ZONED_WRITE_GRANULARITY), 0);
        end = MIN(end, start + in_file);
    }
    return end;
}

/* What is wrong with zone @i, whose entry is @raw. */
static Error *zone_error(const ZonedCheck *c, uint32_t i, uint64_t raw)
{
    BDRVZonedState *s = c->bs->opaque;
    const ZonedGeometry *geo = &s->header.geo;
    ZonedEntry entry;
    Error *err = NULL;

    if (zoned_entry_decode(geo, i, raw, &entry, &err)) {
        error_setg(&err, "Zone %u is %s, but %u zones before it are active and "
                   "the limit is %u", i, bdrv_zone_state_name(entry.cond),
                   c->nr_active, geo->max_active);
    }
    return err;
}

/* Checks zone @i, whose entry is @raw. */
static void coroutine_fn check_zone(ZonedCheck *c, uint32_t i, uint64_t raw)
{
    BDRVZonedState *s = c->bs->opaque;
    const ZonedGeometry *geo = &s->header.geo;
    ZonedEntry entry;
    ZoneFault fault;

    if (!zoned_entry_decode(geo, i, raw, &entry, NULL)) {
        fault = ZONE_ENTRY_IMPOSSIBLE;
        entry.end = possible_end(c, i);
    } else if (entry_is_active(geo, i, &entry) && geo->max_active &&
               c->nr_active >= geo->max_active) {
        fault = ZONE_BEYOND_LIMIT;
    } else {
        c->nr_active += entry_is_active(geo, i, &entry);
        return;
    }

    if (c->nr_faults[fault]++ < MAX_ZONES_NAMED) {
        print_corruption(c, zone_error(c, i, raw));
    }
    c->result->corruptions++;
    if (c->fix) {
        entry.cond = BLK_ZS_FULL;
        if (zoned_zone_is_conv(geo, i)) {
            entry = zoned_entry_new(geo, i);
        }
        repair_zone(c, i, &entry);
        c->result->corruptions_fixed++;
    }
}

/* Says of how many zones nothing was said. */
static void report_unnamed_zones(const ZonedCheck *c)
{
    for (int fault = 0; fault < ZONE_FAULT__MAX; fault++) {
        Error *err = NULL;

        if (c->nr_faults[fault] > MAX_ZONES_NAMED) {
            error_setg(&err, "%u more zones %s",
                       c->nr_faults[fault] - MAX_ZONES_NAMED,
                       zone_fault_texts[fault]);
            print_corruption(c, err);
        }
    }
}

/* The header in the file is damaged, but could be rebuilt in memory. */
static int coroutine_fn GRAPH_RDLOCK check_header(ZonedCheck *c)
{
    BDRVZonedState *s = c->bs->opaque;
    uint8_t buf[ZONED_HEADER_SIZE];
    Error *err = NULL;
    int ret;

    if (!s->header_rebuilt) {
        return 0;
    }
    error_setg(&err, "The header is damaged; what is left of it determines the "
               "rest");
    report_corruption(c, err);
    if (c->fix) {
        zoned_header_encode(&s->header, buf);
        ret = bdrv_co_pwrite(c->bs->file, s->base, sizeof(buf), buf, 0);
        if (ret < 0) {
            c->result->check_errors++;
            return ret;
        }
        c->result->corruptions_fixed++;
    }
    return 0;
}

static int coroutine_fn GRAPH_RDLOCK check_table(ZonedCheck *c)
{
    BDRVZonedState *s = c->bs->opaque;
    Error *err = NULL;
    QEMU_AUTO_VFREE uint64_t *raw = zoned_log_read(c->bs, &err);

    if (!raw) {
        error_report_err(err);
        c->result->check_errors++;
        return -EIO;
    }
    for (uint32_t i = 0; i < s->header.geo.nr_zones; i++) {
        check_zone(c, i, raw[i]);
    }
    report_unnamed_zones(c);
    return 0;
}

/* The least length of the file for what the header and the zones say. */
static int64_t needed_length(const BDRVZonedState *s)
{
    uint64_t needed = zoned_header_min_file_size(&s->header);

    for (uint32_t i = 0; i < s->header.geo.nr_zones; i++) {
        uint64_t end = zoned_zones_end(&s->zones, i);

        if (end > zoned_zone_start(&s->header.geo, i)) {
            needed = MAX(needed, s->header.data_offset + end);
        }
    }
    return s->base + needed;
}

static int coroutine_fn GRAPH_RDLOCK check_length(ZonedCheck *c)
{
    BDRVZonedState *s = c->bs->opaque;
    int64_t needed = needed_length(s);
    Error *err = NULL;
    Error *truncate_err = NULL;
    int ret;

    c->result->image_end_offset = needed;
    if (c->length >= needed) {
        return 0;
    }

    error_setg(&err, "The file has %" PRId64 " bytes and needs %" PRId64
               "; what is missing reads as zeroes", c->length, needed);
    report_corruption(c, err);
    if (c->fix) {
        ret = bdrv_co_truncate(c->bs->file, needed, false, PREALLOC_MODE_OFF, 0,
                               &truncate_err);
        if (ret < 0) {
            error_report_err(truncate_err);
            c->result->check_errors++;
            return ret;
        }
        c->result->corruptions_fixed++;
    }
    return 0;
}

int coroutine_fn GRAPH_RDLOCK zoned_co_check(BlockDriverState *bs,
                                             BdrvCheckResult *result,
                                             BdrvCheckMode fix)
{
    BDRVZonedState *s = bs->opaque;
    ZonedCheck c = {
        .bs = bs,
        .result = result,
        .fix = fix & BDRV_FIX_ERRORS,
        .length = bdrv_co_getlength(bs->file->bs),
    };
    int ret;

    if (c.length < 0) {
        result->check_errors++;
        return c.length;
    }
    ret = check_header(&c);
    if (ret == 0) {
        ret = check_table(&c);
    }
    if (ret == 0) {
        ret = check_length(&c);
    }
    if (ret == 0 && result->corruptions_fixed > 0) {
        qemu_spin_lock(&s->lock);
        zoned_commit_take_over(s);
        qemu_spin_unlock(&s->lock);
        ret = zoned_co_commit(bs);
        s->header_rebuilt = false;
    }
    return ret;
}

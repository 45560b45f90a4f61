/*
 * The test of power cuts: the device, which is the zoned driver on the disk
 *
 * What the driver says of an image is compared with what the judge reads in it.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qemu/crc32c.h"
#include "qemu/main-loop.h"
#include "qapi/error.h"
#include "block/block_int.h"
#include "zoned-crash.h"
#include "zoned-node.h"

/* Gives the image a log of a few blocks: it will be full soon. */
static void shorten_log(Run *r)
{
    uint8_t header[SECTOR];

    content_to_bytes(r->disk->file[0], header);
    stl_le_p(header + 128, 2 + below(r, 6));
    stl_le_p(header + 12, 0);
    stl_le_p(header + 12, crc32c(UINT32_MAX, header, sizeof(header)));
    r->disk->file[0] = content_of_bytes(header);
}

void device_create(Run *r)
{
    const JudgeGeometry *geo = &r->geo;
    BlockDriverState *file = disk_open(r->disk);
    BlockdevCreateOptionsZoned options = {
        .size = geo->size,
        .has_zone_size = true,
        .zone_size = geo->zone_size,
        .has_zone_capacity = true,
        .zone_capacity = geo->zone_capacity,
        .has_zone_nr_conv = true,
        .zone_nr_conv = geo->nr_conv,
        .has_max_open_zones = true,
        .max_open_zones = geo->max_open,
        .has_max_active_zones = true,
        .max_active_zones = geo->max_active,
        .has_max_append_sectors = true,
        .max_append_sectors = geo->max_append_sectors,
        .has_zd_extension_size = true,
        .zd_extension_size = geo->ext_size,
    };

    zoned_node_create(file, &options);
    bdrv_unref(file);
    if (percent(r, 70)) {
        shorten_log(r);
    }
    disk_prepend(r->disk, geo->base / SECTOR);
    /* What is behind the image stays there when the device shrinks. */
    disk_append(r->disk, 1);
}

/* A node of the driver, as a process opens it with @flags; or NULL */
static BlockDriverState *driver_open(Run *r, int flags)
{
    BlockDriverState *file = disk_open(r->disk);
    Error *err = NULL;
    BlockDriverState *bs = zoned_node_open(file, r->geo.base,
                                           BDRV_O_UNMAP | flags, &err);

    bdrv_unref(file);
    if (!bs) {
        run_fail(r, "the driver does not open the image: %s\n",
                 error_get_pretty(err));
        error_free(err);
    }
    return bs;
}

bool device_open(Run *r, Entrance entrance)
{
    static const int flags[] = {
        [ENTRANCE_OPEN] = BDRV_O_RDWR,
        [ENTRANCE_REOPEN] = 0,
        [ENTRANCE_ACTIVATE] = BDRV_O_RDWR | BDRV_O_INACTIVE,
    };
    BlockDriverState *bs = entrance == ENTRANCE_STANDBY
                           ? r->standby : driver_open(r, flags[entrance]);
    Error *err = NULL;

    r->standby = NULL;
    if (!bs) {
        return false;
    }
    if (entrance == ENTRANCE_REOPEN) {
        bdrv_reopen_set_read_only(bs, false, &err);
    } else if (entrance != ENTRANCE_OPEN) {
        bdrv_graph_rdlock_main_loop();
        bdrv_activate(bs, &err);
        bdrv_graph_rdunlock_main_loop();
    }
    if (err) {
        run_fail(r, "the driver does not let the image be written: %s\n",
                 error_get_pretty(err));
        error_free(err);
        bdrv_unref(bs);
        return false;
    }
    r->blk = blk_new(qemu_get_aio_context(), BLK_PERM_ALL, BLK_PERM_ALL);
    blk_insert_bs(r->blk, bs, &error_abort);
    bdrv_unref(bs);
    return true;
}

bool device_open_standby(Run *r)
{
    r->standby = driver_open(r, BDRV_O_RDWR | BDRV_O_INACTIVE);
    return r->standby;
}

void device_power_off(Run *r)
{
    r->disk->off = true;
    blk_unref(r->blk);
    r->blk = NULL;
    r->disk->off = false;
}

/*
 * Is @zone what the image says in @entry?  A zone that is open in the image is
 * closed when the image is opened.
 */
static bool zone_matches(const JudgeEntry *entry,
                         const BlockZoneDescriptor *zone, Moment moment)
{
    BlockZoneState cond = entry->cond;
    uint64_t wp = entry->address;

    if (cond == BLK_ZS_FULL) {
        wp = zone->start + zone->length;
    } else if (cond == BLK_ZS_RDONLY || cond == BLK_ZS_OFFLINE) {
        /* As it is. */
    } else if (moment != FLUSHED && cond != BLK_ZS_NOT_WP &&
               !(moment == ACTIVATED && cond == zone->state)) {
        cond = wp == zone->start && !entry->extended ? BLK_ZS_EMPTY
                                                     : BLK_ZS_CLOSED;
    }
    return zone->wp == wp && zone->state == cond &&
           zone->ext_valid == entry->extended;
}

/*
 * What the driver reads in zone @i is what is in the file up to @end; if it is
 * @offline, that is nothing.
 */
static bool check_zone_data(Run *r, uint32_t i, uint64_t end, bool offline)
{
    uint64_t start = i * r->geo.zone_size;
    uint64_t bytes = MIN(r->geo.zone_size, r->geo.size - start);
    g_autofree uint8_t *buf = g_malloc(bytes);
    int ret = blk_pread(r->blk, start, bytes, buf, 0);

    if (offline ? ret != -EPERM : ret < 0) {
        run_fail(r, "reading zone %u: %s\n", i, strerror(-ret));
        return false;
    }
    if (offline) {
        return true;
    }
    for (uint64_t p = start; p < start + bytes; p += SECTOR) {
        uint64_t sector = judge_data_sector(r->judge, p / SECTOR);
        Content expected = p < end ? r->disk->file[sector] : CONTENT_ZEROES;

        if (content_of_bytes(buf + p - start) != expected) {
            run_fail(r, "zone %u reads wrong at byte %" PRIu64 "\n", i,
                     p - start);
            return false;
        }
    }
    return true;
}

/* Extensions are those in the image where they are valid, else zeroes. */
static bool check_extensions(Run *r)
{
    size_t size = r->geo.ext_size;
    uint32_t n = judge_nr_zones(r->judge);
    g_autofree uint8_t *buf = g_malloc(n * size);
    g_autofree uint8_t *expected = g_malloc(size);
    int ret = blk_zone_get_extensions(r->blk, 0, n, buf);

    if (ret < 0) {
        run_fail(r, "reading extensions: %s\n", strerror(-ret));
        return false;
    }
    for (uint32_t i = 0; i < n; i++) {
        if (judge_entry(r->judge, i).extended) {
            judge_read_extension(r->judge, i, expected);
        } else {
            memset(expected, 0, size);
        }
        if (memcmp(buf + i * size, expected, size)) {
            run_fail(r, "zone %u has a wrong extension\n", i);
            return false;
        }
    }
    return true;
}

bool device_check(Run *r, Moment moment)
{
    unsigned n = r->geo.nr_zones;
    g_autofree BlockZoneDescriptor *zone = g_new(BlockZoneDescriptor, n);
    int ret = blk_zone_report(r->blk, 0, &n, zone);

    if (ret < 0 || n != judge_nr_zones(r->judge)) {
        run_fail(r, "zone report: %d, %u zones; the image has %u\n", ret, n,
                 judge_nr_zones(r->judge));
        return false;
    }
    for (uint32_t i = 0; i < n; i++) {
        JudgeEntry entry = judge_entry(r->judge, i);

        if (!zone_matches(&entry, &zone[i], moment)) {
            run_fail(r, "zone %u is reported with condition 0x%x and write "
                     "pointer %" PRIu64 "; in the image it has 0x%x and %"
                     PRIu64 "\n", i, zone[i].state, zone[i].wp, entry.cond,
                     entry.address);
            return false;
        }
        if (entry.address > zone[i].start &&
            !check_zone_data(r, i, entry.address,
                             entry.cond == BLK_ZS_OFFLINE)) {
            return false;
        }
    }
    return r->geo.ext_size == 0 || check_extensions(r);
}

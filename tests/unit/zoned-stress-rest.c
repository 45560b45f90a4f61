/*
 * The stress test of the zoned block format driver: exact results, while all
 * threads rest
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/qapi-types-block-core.h"
#include "block/block_int.h"
#include "system/block-backend.h"
#include "zoned-stress-zone.h"

static void coroutine_fn report_all(Device *d)
{
    unsigned n = d->nr_zones;
    int ret = blk_co_zone_report(d->blk, 0, &n, d->reported);

    if (ret < 0 || n != d->nr_zones) {
        fail("report: %d, %u zones", ret, n);
    }
    memset(d->nr_with, 0, sizeof(d->nr_with));
    for (uint32_t i = 0; i < d->nr_zones; i++) {
        d->nr_with[d->reported[i].state]++;
    }
}

static unsigned nr_open(const Device *d)
{
    return d->nr_with[BLK_ZS_IOPEN] + d->nr_with[BLK_ZS_EOPEN];
}

static unsigned nr_active(const Device *d)
{
    return nr_open(d) + d->nr_with[BLK_ZS_CLOSED];
}

static void coroutine_fn check_counts(Device *d)
{
    g_autoptr(ImageInfoSpecific) info = NULL;
    ImageInfoSpecificZoned *zoned;

    report_all(d);
    WITH_GRAPH_RDLOCK_GUARD() {
        info = bdrv_get_specific_info(blk_bs(d->blk), &error_abort);
    }
    zoned = info->u.zoned.data;
    if (zoned->open_zones != nr_open(d) ||
        zoned->empty_zones != d->nr_with[BLK_ZS_EMPTY] ||
        zoned->closed_zones != d->nr_with[BLK_ZS_CLOSED] ||
        zoned->full_zones != d->nr_with[BLK_ZS_FULL]) {
        fail("%u zones are said to be open, %u empty, %u closed, %u full; but "
             "%u, %u, %u, %u are", (unsigned)zoned->open_zones,
             (unsigned)zoned->empty_zones, (unsigned)zoned->closed_zones,
             (unsigned)zoned->full_zones, nr_open(d), d->nr_with[BLK_ZS_EMPTY],
             d->nr_with[BLK_ZS_CLOSED], d->nr_with[BLK_ZS_FULL]);
    }
    if ((d->open_zones.limit && nr_open(d) > d->open_zones.limit) ||
        (d->active_zones.limit && nr_active(d) > d->active_zones.limit)) {
        fail("%u zones are open and %u active, the limits are %u and %u",
             nr_open(d), nr_active(d), d->open_zones.limit,
             d->active_zones.limit);
    }
}

static void expect(const char *what, const Zone *z, int ret, int expected)
{
    const Device *d = z->dev;

    if (ret != expected) {
        fail("%s, zone %u at %" PRIu64 " of %" PRIu64 ": %d, not %d; %u zones "
             "are open and %u active, the limits are %u and %u", what, z->index,
             z->end - z->start, z->cap_limit - z->start, ret, expected,
             nr_open(d), nr_active(d), d->open_zones.limit,
             d->active_zones.limit);
    }
}

static int coroutine_fn try_append(Zone *z, int64_t offset, uint64_t bytes)
{
    g_autofree uint8_t *buf = g_malloc0(bytes);
    QEMUIOVector qiov = QEMU_IOVEC_INIT_BUF(qiov, buf, bytes);

    return blk_co_zone_append(z->dev->blk, &offset, &qiov, 0);
}

/* The errors of writes, and those of a lack of resources */
static void coroutine_fn check_errnos(Zone *z)
{
    Device *d = z->dev;
    const BlockZoneDescriptor *desc = &d->reported[z->index];
    bool needs_active = desc->state == BLK_ZS_EMPTY;
    bool needs_open = needs_active || desc->state == BLK_ZS_CLOSED;
    int expected = 0;

    expect("an append that is too long", z,
           try_append(z, z->start, (d->max_append_sectors + 1) * SECTOR),
           -ERANGE);
    expect("an append not to the start of the zone", z,
           try_append(z, z->start + SECTOR, SECTOR), -ERANGE);
    if (desc->state == BLK_ZS_FULL) {
        expect("a write to a FULL zone", z,
               try_write(d->worker, z, z->start, SECTOR), -EPERM);
        return;
    }
    if (z->cap_limit < d->size) {
        expect("a write across the capacity", z,
               try_write(d->worker, z, z->end, z->cap_limit - z->end + SECTOR),
               -ERANGE);
    }
    if (z->end + 2 * SECTOR <= z->cap_limit) {
        expect("a write behind the write pointer", z,
               try_write(d->worker, z, z->end + SECTOR, SECTOR), -EINVAL);
    }
    if (needs_active && d->active_zones.limit &&
        nr_active(d) == d->active_zones.limit) {
        expected = -EOVERFLOW;
    } else if (needs_open && d->open_zones.limit &&
               d->nr_with[BLK_ZS_EOPEN] == d->open_zones.limit) {
        expected = -ETOOMANYREFS;
    }
    expect("a write", z, try_write(d->worker, z, z->end, SECTOR), expected);
    report_all(d);
    settle_zone(z, desc);
}

/* Open and close of all zones: all or none */
static void coroutine_fn check_all_ops(Device *d)
{
    unsigned nr = d->nr_with[BLK_ZS_CLOSED] + d->nr_with[BLK_ZS_EOPEN];
    bool refused = d->open_zones.limit && nr > d->open_zones.limit;
    g_autofree BlockZoneDescriptor *before = g_memdup2(d->reported,
                                                       sizeof(d->reported));
    int ret = blk_co_zone_mgmt(d->blk, BLK_ZO_OPEN, 0, d->size);

    if (ret != (refused ? -ETOOMANYREFS : 0)) {
        fail("open of all zones: %d, where %u are closed or explicitly open, "
             "the limit is %u", ret, nr, d->open_zones.limit);
    }
    report_all(d);
    for (uint32_t i = 0; i < d->nr_zones; i++) {
        BlockZoneState expected = before[i].state;

        if (!refused && expected == BLK_ZS_CLOSED) {
            expected = BLK_ZS_EOPEN;
        }
        /* One that is implicitly open may have made room. */
        if (d->reported[i].state != expected &&
            !(!refused && expected == BLK_ZS_IOPEN &&
              d->reported[i].state == BLK_ZS_CLOSED)) {
            fail("zone %u has condition 0x%x after an open of all zones that "
                 "%s, and had 0x%x", i, d->reported[i].state,
                 refused ? "was refused" : "succeeded", before[i].state);
        }
    }
    ret = blk_co_zone_mgmt(d->blk, BLK_ZO_CLOSE, 0, d->size);
    report_all(d);
    if (ret < 0 || nr_open(d) > 0) {
        fail("close of all zones: %d, %u are open", ret, nr_open(d));
    }
}

static void coroutine_fn check_data(Zone *z)
{
    uint64_t bytes = z->limit - z->start;
    g_autofree uint8_t *buf = g_malloc(bytes);
    int ret = blk_co_pread(z->dev->blk, z->start, bytes, buf, 0);

    if (ret < 0) {
        fail("zone %u cannot be read: %d", z->index, ret);
    }
    for (uint64_t p = z->start; p < z->limit; p += SECTOR) {
        uint64_t tag = read_tag(z, buf, p - z->start);

        if (tag != (p < z->end ? *tag_at(z, p) : 0)) {
            fail("zone %u holds something else at %" PRIu64
                 "; acknowledged until %" PRIu64, z->index, p - z->start,
                 z->end - z->start);
        }
    }
}

/* All that was acknowledged is there. */
static void coroutine_fn check_entry(void *opaque)
{
    Device *d = opaque;
    int ret = blk_co_flush(d->blk);

    if (ret < 0) {
        fail("a flush without a fault: %d", ret);
    }
    for (uint32_t i = 0; i < d->nr_zones; i++) {
        if (d->zones[i].in_flight) {
            fail("zone %u: %u in flight at the end", i, d->zones[i].in_flight);
        }
        check_zone(d->worker, &d->zones[i]);
        check_data(&d->zones[i]);
    }
    check_counts(d);
    for (uint32_t i = 0; i < d->nr_zones; i++) {
        if (percent(30)) {
            check_errnos(&d->zones[i]);
        }
    }
    check_counts(d);
    if (percent(50)) {
        check_all_ops(d);
    }
    for (uint32_t i = 0; i < d->nr_zones; i++) {
        check_zone(d->worker, &d->zones[i]);
    }
    d->at_rest = false;
}

/* The device was opened again: zones that were open are closed. */
static void coroutine_fn reopened_entry(void *opaque)
{
    Device *d = opaque;
    g_autofree BlockZoneDescriptor *before = g_memdup2(d->reported,
                                                       sizeof(d->reported));

    check_counts(d);
    for (uint32_t i = 0; i < d->nr_zones; i++) {
        BlockZoneState state = before[i].state;

        if (state == BLK_ZS_IOPEN || state == BLK_ZS_EOPEN ||
            state == BLK_ZS_CLOSED) {
            state = before[i].wp == before[i].start ? BLK_ZS_EMPTY
                                                    : BLK_ZS_CLOSED;
        }
        if (d->reported[i].state != state ||
            d->reported[i].wp != before[i].wp) {
            fail("zone %u had condition 0x%x and write pointer %" PRIu64
                 "; opened again, it has 0x%x and %" PRIu64, i, before[i].state,
                 before[i].wp, d->reported[i].state, d->reported[i].wp);
        }
        settle_zone(&d->zones[i], &d->reported[i]);
        check_data(&d->zones[i]);
    }
    d->at_rest = false;
}

static void coroutine_fn flush_entry(void *opaque)
{
    Device *d = opaque;
    int ret = blk_co_flush(d->blk);

    if (ret < 0) {
        fail("the last flush: %d", ret);
    }
    report_all(d);
    d->at_rest = false;
}

/* Runs @entry, up to its end. */
static void run(Device *d, CoroutineEntry *entry)
{
    d->at_rest = true;
    qemu_coroutine_enter(qemu_coroutine_create(entry, d));
    while (d->at_rest) {
        aio_poll(qemu_get_aio_context(), true);
    }
}

void check_at_rest(Device *d)
{
    run(d, check_entry);
}

void flush_at_rest(Device *d)
{
    run(d, flush_entry);
}

void check_reopened(Device *d)
{
    run(d, reopened_entry);
}

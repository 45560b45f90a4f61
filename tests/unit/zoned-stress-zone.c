/*
 * The stress test of the zoned block format driver: what is known of a zone,
 * compared with the device
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "system/block-backend.h"
#include "zoned-stress-file.h"
#include "zoned-stress-zone.h"

/*
 * What disturbs.
 */

void disturb(Disturbance *d)
{
    tick();
    qatomic_inc(&d->active);
}

void calm_down(Disturbance *d)
{
    qatomic_set(&d->last_end, tick());
    qatomic_dec(&d->active);
}

bool disturbed(const Disturbance *d, unsigned since)
{
    return qatomic_read(&d->active) || qatomic_read(&d->last_end) >= since;
}

/*
 * Resources.
 */

void resource_use(Resource *resource, bool *used)
{
    if (!*used) {
        *used = true;
        QEMU_LOCK_GUARD(&resource->lock);
        resource->nr++;
    }
}

void resource_release(Resource *resource, bool *used)
{
    if (*used) {
        *used = false;
        QEMU_LOCK_GUARD(&resource->lock);
        if (resource->nr >= resource->limit) {
            resource->last_full = tick();
        }
        resource->nr--;
    }
}

bool resource_maybe_full(Resource *resource, unsigned since, unsigned wanted)
{
    QEMU_LOCK_GUARD(&resource->lock);
    return resource->limit &&
           (resource->nr >= resource->limit + wanted ||
            resource->last_full >= since);
}

/*
 * Zones.
 */

uint64_t read_tag(const Zone *z, const uint8_t *buf, uint64_t at)
{
    uint64_t tag, word;

    memcpy(&tag, buf + at, sizeof(tag));
    for (unsigned i = sizeof(tag); i < SECTOR; i += sizeof(tag)) {
        memcpy(&word, buf + at + i, sizeof(word));
        if (word != tag) {
            fail("zone %u: half a sector was read", z->index);
        }
    }
    return tag;
}

uint64_t new_tag(const Zone *z)
{
    static unsigned nr_tags;

    return (uint64_t)(z->index + 1) << 48 | qatomic_inc_fetch(&nr_tags);
}

/* Learns from the device, which has the zone as @desc, what it holds. */
static int coroutine_fn learn(Zone *z, const BlockZoneDescriptor *desc)
{
    g_autofree uint8_t *buf = g_malloc(z->limit - z->start);
    int ret = blk_co_pread(z->dev->blk, z->start, z->limit - z->start, buf, 0);

    if (ret < 0) {
        return ret;
    }
    z->life++;
    z->full = desc->state == BLK_ZS_FULL;
    z->end = z->full ? z->start : desc->wp;
    for (uint64_t p = z->start; p < z->cap_limit; p += SECTOR) {
        uint64_t tag = read_tag(z, buf, p - z->start);

        if (tag && tag >> 48 != z->index + 1) {
            fail("zone %u has data of none of its writes at byte %" PRIu64,
                 z->index, p - z->start);
        }
        *tag_at(z, p) = tag;
        if (z->full && tag) {
            z->end = p + SECTOR;
        } else if (tag && p >= z->end) {
            fail("zone %u has data behind its write pointer", z->index);
        }
    }
    return 0;
}

static void compare(Zone *z, const BlockZoneDescriptor *desc)
{
    bool full = z->full || z->end == z->cap_limit;
    uint64_t wp = full ? z->limit : z->end;

    if (desc->wp != wp || (desc->state == BLK_ZS_FULL) != full) {
        fail("zone %u has condition 0x%x and write pointer %" PRIu64 ", not %"
             PRIu64 "%s", z->index, desc->state, desc->wp - z->start,
             wp - z->start, full ? ", full" : "");
    }
    if (z->end == z->start && !full && !z->maybe_open &&
        desc->state != BLK_ZS_EMPTY) {
        fail("zone %u has condition 0x%x, but nothing was written to it",
             z->index, desc->state);
    }
    if ((z->end > z->start || full) && desc->state == BLK_ZS_EMPTY) {
        fail("zone %u is EMPTY, but was written", z->index);
    }
}

void settle_zone(Zone *z, const BlockZoneDescriptor *desc)
{
    bool open = desc->state == BLK_ZS_EOPEN;
    bool active = open || desc->state == BLK_ZS_IOPEN ||
                  desc->state == BLK_ZS_CLOSED;

    z->next = z->end;
    z->maybe_open = active && z->end == z->start;
    z->failed = z->refused = z->unsure = z->is_closing = false;
    z->misplaced = 0;
    if (active) {
        resource_use(&z->dev->active_zones, &z->uses_active);
    } else {
        resource_release(&z->dev->active_zones, &z->uses_active);
    }
    if (open) {
        resource_use(&z->dev->open_zones, &z->uses_open);
    } else {
        resource_release(&z->dev->open_zones, &z->uses_open);
    }
}

void coroutine_fn check_zone(Worker *w, Zone *z)
{
    unsigned since = tick();
    BlockZoneDescriptor desc;
    unsigned n = 1;
    int ret;

    if (z->misplaced && !z->refused) {
        fail("zone %u: a write at %" PRIu64 ", in order, has failed with "
             "EINVAL; acknowledged until %" PRIu64 ", sent until %" PRIu64,
             z->index, z->misplaced - z->start, z->end - z->start,
             z->next - z->start);
    }
    z->held = true;
    worker_begin(w, "report", z->start, 0);
    ret = blk_co_zone_report(z->dev->blk, z->start, &n, &desc);
    if (ret < 0 || n != 1) {
        fail("report of zone %u: %d, %u zones", z->index, ret, n);
    }
    if (disturbed(&z->dev->all_ops, z->checked)) {
        z->unsure = true;
    }
    if (z->unsure) {
        ret = learn(z, &desc);
        if (ret < 0 && !file_fault_since(since)) {
            fail("zone %u cannot be read: %d", z->index, ret);
        }
    } else {
        compare(z, &desc);
    }
    if (ret == 0 && !disturbed(&z->dev->all_ops, since)) {
        settle_zone(z, &desc);
        z->checked = since;
    } else {
        z->unsure = true;
    }
    worker_end(w);
    z->held = false;
}

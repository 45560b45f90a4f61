/*
 * zoned block format driver: the zone state machine
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/bitmap.h"
#include "zoned-zones.h"

/* The conditions of zones that are active, a bit each */
#define ACTIVE (BIT(BLK_ZS_IOPEN) | BIT(BLK_ZS_EOPEN) | BIT(BLK_ZS_CLOSED))

/*
 * What an operation does to a zone if it is not on the whole device, where
 * bdrv_zone_op_selects() says what it is for.
 */
static const struct {
    uint16_t others;            /* conditions that it changes then, bits */
    uint16_t keeps;             /* those with which it succeeds as it is */
    BlockZoneState result;      /* what it makes of the zone; see apply_op() */
} op_rules[] = {
    [BLK_ZO_OPEN] = {
        .others = BIT(BLK_ZS_EMPTY) | BIT(BLK_ZS_IOPEN),
        .keeps = BIT(BLK_ZS_EOPEN),
        .result = BLK_ZS_EOPEN,
    },
    [BLK_ZO_CLOSE] = {
        .keeps = BIT(BLK_ZS_CLOSED),
        .result = BLK_ZS_CLOSED,
    },
    [BLK_ZO_FINISH] = {
        .others = BIT(BLK_ZS_EMPTY),
        .keeps = BIT(BLK_ZS_FULL),
        .result = BLK_ZS_FULL,
    },
    [BLK_ZO_RESET] = {
        .keeps = BIT(BLK_ZS_EMPTY),
        .result = BLK_ZS_EMPTY,
    },
    [BLK_ZO_OFFLINE] = {
        .keeps = BIT(BLK_ZS_OFFLINE),
        .result = BLK_ZS_OFFLINE,
    },
    [BLK_ZO_MAKE_RDONLY] = {
        .keeps = BIT(BLK_ZS_RDONLY),
        .result = BLK_ZS_RDONLY,
    },
    [BLK_ZO_MAKE_OFFLINE] = {
        .keeps = BIT(BLK_ZS_OFFLINE),
        .result = BLK_ZS_OFFLINE,
    },
    [BLK_ZO_RESTORE] = {
        .keeps = BIT(BLK_ZS_EMPTY) | ACTIVE | BIT(BLK_ZS_FULL),
        .result = BLK_ZS_CLOSED,
    },
};

static bool cond_is_active(BlockZoneState cond)
{
    return BIT(cond) & ACTIVE;
}

uint32_t zoned_zones_nr_open(const ZonedZones *z)
{
    return z->nr[BLK_ZS_IOPEN] + z->nr[BLK_ZS_EOPEN];
}

uint32_t zoned_zones_nr_active(const ZonedZones *z)
{
    return zoned_zones_nr_open(z) + z->nr[BLK_ZS_CLOSED];
}

/* Zones @i to @i + @n - 1 change in this generation. */
static void note_change(ZonedZones *z, uint32_t i, uint32_t n)
{
    uint32_t last = (i + n - 1) / ZONED_ZONES_PER_BLOCK;

    for (uint32_t block = i / ZONED_ZONES_PER_BLOCK; block <= last; block++) {
        qatomic_set_u64(&z->changed[block], z->generation);
    }
}

/* What is known of zone @i. */
static ZonedEntry entry_of(const ZonedZones *z, uint32_t i)
{
    return (ZonedEntry) {
        .cond = zoned_zones_cond(z, i),
        .end = zoned_zones_end(z, i),
        .ext_valid = zoned_zones_ext_valid(z, i),
    };
}

/* Sets the words of @n zones of the same length, see zoned_zones_load(). */
static void set_words(ZonedZones *z, uint32_t i, uint32_t n,
                      const ZonedEntry *e)
{
    uint64_t word = (uint64_t)e->cond << ZONED_COND_SHIFT | e->end |
                    (e->ext_valid ? ZONED_EXT_VALID : 0);
    uint64_t zone_size = z->geo.zone_size;
    uint64_t *zones = &z->zone[i];

    note_change(z, i, n);
    for (uint32_t j = 0; j < n; j++) {
        qatomic_set_u64(&zones[j], word);
        word += zone_size;
    }
}

/* Zones @i to @i + @n - 1, which had no condition yet, get that of @e. */
static void add_zones(ZonedZones *z, uint32_t i, uint32_t n,
                      const ZonedEntry *e)
{
    z->nr_loaded = i + n;
    z->nr[e->cond] += n;
    set_words(z, i, n, e);
    for (uint32_t j = 0; z->lru && e->cond == BLK_ZS_IOPEN && j < n; j++) {
        QTAILQ_INSERT_TAIL(&z->implicit, &z->lru[i + j], next);
    }
}

/* Makes @e of zone @i; the one place where a zone gets another condition. */
static void set_zone(ZonedZones *z, uint32_t i, const ZonedEntry *e)
{
    BlockZoneState old = zoned_zones_cond(z, i);

    if (z->lru && old == BLK_ZS_IOPEN && e->cond != BLK_ZS_IOPEN) {
        QTAILQ_REMOVE(&z->implicit, &z->lru[i], next);
    }
    z->nr[old]--;
    z->nr[e->cond]++;
    set_words(z, i, 1, e);
    if (z->lru && old != BLK_ZS_IOPEN && e->cond == BLK_ZS_IOPEN) {
        QTAILQ_INSERT_TAIL(&z->implicit, &z->lru[i], next);
    }
}

/* The zone changes for good: it has to be written back. */
static void change_zone(ZonedZones *z, uint32_t i, const ZonedEntry *e)
{
    if (cond_is_active(zoned_zones_cond(z, i)) && !cond_is_active(e->cond)) {
        z->nr_lingering++;
    }
    set_zone(z, i, e);
    zoned_zones_mark_dirty(z, i);
}

bool zoned_zones_init(ZonedZones *z, const ZonedGeometry *geo,
                      uint32_t max_zones)
{
    uint32_t max_blocks = DIV_ROUND_UP(max_zones, ZONED_ZONES_PER_BLOCK);

    *z = (ZonedZones) {
        .geo = *geo,
        .max_zones = max_zones,
        .zone = g_try_new(uint64_t, max_zones),
        .dirty = hbitmap_alloc(max_zones, 0),
        .noted = bitmap_try_new(max_blocks * ZONED_ZONES_PER_BLOCK),
        .generation = 1,
        .changed = g_try_new0(uint64_t, max_blocks),
        .lru = geo->max_open ? g_try_new(ZonedLruLink, max_zones) : NULL,
    };
    QTAILQ_INIT(&z->implicit);
    if (!z->zone || !z->noted || !z->changed || (geo->max_open && !z->lru)) {
        zoned_zones_destroy(z);
        return false;
    }
    return true;
}

void zoned_zones_destroy(ZonedZones *z)
{
    g_clear_pointer(&z->zone, g_free);
    g_clear_pointer(&z->dirty, hbitmap_free);
    g_clear_pointer(&z->noted, g_free);
    g_clear_pointer(&z->changed, g_free);
    g_clear_pointer(&z->lru, g_free);
}

void zoned_zones_note_dirty(ZonedZones *z, uint32_t i)
{
    hbitmap_set(z->dirty, i, 1);
    set_bit(i, z->noted);
    note_change(z, i, 1);
}

uint64_t zoned_zones_end_generation(ZonedZones *z)
{
    uint32_t last = (z->geo.nr_zones - 1) / ZONED_ZONES_PER_BLOCK;

    for (uint32_t block = 0; block <= last; block++) {
        if (zoned_zones_last_change(z, block) == z->generation) {
            bitmap_clear(z->noted, block * ZONED_ZONES_PER_BLOCK,
                         ZONED_ZONES_PER_BLOCK);
        }
    }
    return z->generation++;
}

uint64_t zoned_zones_last_change(const ZonedZones *z, uint32_t block)
{
    return qatomic_read_u64(&z->changed[block]);
}

bool zoned_zones_is_dirty(const ZonedZones *z)
{
    return !hbitmap_empty(z->dirty);
}

uint32_t zoned_zones_take_dirty(ZonedZones *z, uint32_t first, uint32_t last,
                                uint32_t *zones, uint32_t max)
{
    int64_t start = first, count;
    uint32_t n = 0;

    while (n < max && hbitmap_next_dirty_area(z->dirty, start, last + 1ll,
                                              max - n, &start, &count)) {
        hbitmap_reset(z->dirty, start, count);
        bitmap_clear(z->noted, start, count);
        while (count-- > 0) {
            zones[n++] = start++;
        }
    }
    return n;
}

void zoned_zones_add(ZonedZones *z, uint32_t n)
{
    uint32_t i = z->nr_loaded;
    ZonedEntry e = { BLK_ZS_EMPTY, zoned_zone_start(&z->geo, i) };

    assert(n <= z->max_zones - i);
    add_zones(z, i, n, &e);
}

void zoned_zones_drop(ZonedZones *z, uint32_t n)
{
    uint32_t i = z->nr_loaded - n;
    ZonedEntry e = { BLK_ZS_OFFLINE, zoned_zone_start(&z->geo, i) };

    z->nr_loaded = i;
    z->nr[BLK_ZS_EMPTY] -= n;
    set_words(z, i, n, &e);
}

void zoned_zones_resize(ZonedZones *z, const ZonedGeometry *geo)
{
    uint32_t old = z->geo.nr_zones;
    uint32_t new = geo->nr_zones;

    assert(new == z->nr_loaded);
    z->geo = *geo;
    /* For those who watch it is another device. */
    note_change(z, 0, new);
    if (new < old) {
        hbitmap_reset(z->dirty, new, old - new);
        bitmap_clear(z->noted, new, old - new);
    } else if (new > old) {
        /* The table must have them before the header does. */
        hbitmap_set(z->dirty, old, new - old);
    }
}

bool zoned_zones_set_limits(ZonedZones *z, uint32_t max_open,
                            uint32_t max_active)
{
    if (max_open && !z->lru) {
        z->lru = g_try_new(ZonedLruLink, z->max_zones);
        if (!z->lru) {
            return false;
        }
        for (uint32_t i = 0; i < z->nr_loaded; i++) {
            if (zoned_zones_cond(z, i) == BLK_ZS_IOPEN) {
                QTAILQ_INSERT_TAIL(&z->implicit, &z->lru[i], next);
            }
        }
    } else if (!max_open) {
        g_clear_pointer(&z->lru, g_free);
        QTAILQ_INIT(&z->implicit);
    }
    z->geo.max_open = max_open;
    z->geo.max_active = max_active;
    return true;
}

uint32_t zoned_zones_nr_lingering(const ZonedZones *z)
{
    return z->nr_lingering;
}

void zoned_zones_free_lingering(ZonedZones *z, uint32_t n)
{
    assert(n <= z->nr_lingering);
    z->nr_lingering -= n;
}

void zoned_zones_begin_load(ZonedZones *z)
{
    for (uint32_t i = 0; zoned_zones_nr_open(z) > 0; i++) {
        ZonedEntry e = entry_of(z, i);

        if (e.cond == BLK_ZS_IOPEN || e.cond == BLK_ZS_EOPEN) {
            e.cond = BLK_ZS_CLOSED;
            set_zone(z, i, &e);
        }
    }
    hbitmap_reset_all(z->dirty);
    bitmap_zero(z->noted, z->max_zones);
    z->nr_lingering = 0;
}

/* What zone @i with @e is when it is closed: EMPTY without data or extension */
static BlockZoneState closed_cond(const ZonedZones *z, uint32_t i,
                                  const ZonedEntry *e)
{
    return e->end == zoned_zone_start(&z->geo, i) && !e->ext_valid
           ? BLK_ZS_EMPTY : BLK_ZS_CLOSED;
}

/* What may have to be closed, or had another condition before */
static void load_any(ZonedZones *z, uint32_t i, ZonedEntry e, bool keep_open)
{
    if (e.cond == BLK_ZS_IOPEN || e.cond == BLK_ZS_EOPEN) {
        bool room = !z->geo.max_open ||
                    zoned_zones_nr_open(z) < z->geo.max_open;

        if (!keep_open || !room) {
            e.cond = BLK_ZS_CLOSED;
        }
    }
    if (e.cond == BLK_ZS_CLOSED) {
        e.cond = closed_cond(z, i, &e);
    }
    if (i >= z->nr_loaded) {
        add_zones(z, i, 1, &e);
    } else {
        set_zone(z, i, &e);
    }
}

void zoned_zones_load(ZonedZones *z, uint32_t i, uint32_t n,
                      const ZonedEntry *entry, bool keep_open)
{
    ZonedEntry e = *entry;

    if (i >= z->nr_loaded && !cond_is_active(e.cond)) {
        add_zones(z, i, n, &e);
        return;
    }
    for (; n > 0; n--, i++, e.end += z->geo.zone_size) {
        load_any(z, i, e, keep_open);
    }
}

/* Closes open zone @i. */
static void close_zone(ZonedZones *z, uint32_t i)
{
    ZonedEntry e = entry_of(z, i);

    e.cond = closed_cond(z, i, &e);
    change_zone(z, i, &e);
}

bool zoned_zones_need_commit(const ZonedZones *z)
{
    uint32_t max_active = z->geo.max_active;
    uint32_t nr_active = zoned_zones_nr_active(z);

    return nr_active < max_active && z->nr_lingering >= max_active - nr_active;
}

/* Is there an active resource for zone @i, or does it have one? */
static int check_active_resource(const ZonedZones *z, uint32_t i)
{
    const ZonedGeometry *g = &z->geo;

    if (g->max_active && !cond_is_active(zoned_zones_cond(z, i))) {
        if (zoned_zones_nr_active(z) >= g->max_active) {
            return -EOVERFLOW;
        }
        if (zoned_zones_need_commit(z)) {
            return -EAGAIN;
        }
    }
    return 0;
}

/*
 * Takes what zone @i needs to become open: an open resource, and an active one
 * if it is not active.  With both exhausted, the answer is that of the active
 * one (ZBC and ZNS test it first).
 */
static int take_resources(ZonedZones *z, uint32_t i)
{
    const ZonedGeometry *g = &z->geo;
    int ret = check_active_resource(z, i);

    if (ret < 0) {
        return ret;
    }
    if (g->max_open && zoned_zones_nr_open(z) >= g->max_open) {
        ZonedLruLink *oldest = QTAILQ_FIRST(&z->implicit);

        if (!oldest) {
            return -ETOOMANYREFS;
        }
        close_zone(z, oldest - z->lru);
    }
    return 0;
}

/* Writes @bytes at the write pointer of open zone @i. */
static void advance_wp(ZonedZones *z, uint32_t i, BlockZoneState cond,
                       uint64_t bytes)
{
    qatomic_set_u64(&z->zone[i], z->zone[i] + bytes);
    if (z->lru && cond == BLK_ZS_IOPEN && QTAILQ_NEXT(&z->lru[i], next)) {
        /* It will be closed last of all. */
        QTAILQ_REMOVE(&z->implicit, &z->lru[i], next);
        QTAILQ_INSERT_TAIL(&z->implicit, &z->lru[i], next);
    }
}

/*
 * Opens zone @i, which is then written up to byte @end of the device.  On its
 * own, as few writes need it and the others would have to save registers: 6
 * instructions.
 */
static __attribute__((noinline)) int open_for_write(ZonedZones *z, uint32_t i,
                                                    uint64_t end)
{
    ZonedEntry e = { BLK_ZS_IOPEN, end, zoned_zones_ext_valid(z, i) };
    int ret = take_resources(z, i);

    if (ret < 0) {
        return ret;
    }
    change_zone(z, i, &e);
    return 1;
}

/* Inline: it takes 20 instructions off each write. */
static inline int check_write(const ZonedZones *z, uint32_t i, uint64_t offset,
                              uint64_t bytes)
{
    uint64_t cap_limit = zoned_zone_cap_limit(&z->geo, i);

    if (!QEMU_IS_ALIGNED(offset | bytes, ZONED_WRITE_GRANULARITY)) {
        return -EINVAL;
    }

    switch (zoned_zones_cond(z, i)) {
    case BLK_ZS_EMPTY:
    case BLK_ZS_IOPEN:
    case BLK_ZS_EOPEN:
    case BLK_ZS_CLOSED:
        break;
    default:
        return -EPERM;
    }

    if (offset > cap_limit || bytes > cap_limit - offset) {
        return -ERANGE;
    }
    return offset == zoned_zones_end(z, i) ? 0 : -EINVAL;
}

int zoned_zones_may_write(const ZonedZones *z, uint32_t i, uint64_t offset,
                          uint64_t bytes)
{
    return check_write(z, i, offset, bytes);
}

int zoned_zones_begin_write(ZonedZones *z, uint32_t i, uint64_t offset,
                            uint64_t bytes)
{
    BlockZoneState cond = zoned_zones_cond(z, i);
    int ret = check_write(z, i, offset, bytes);

    if (ret < 0) {
        return ret;
    }
    if (cond == BLK_ZS_EMPTY || cond == BLK_ZS_CLOSED) {
        return open_for_write(z, i, offset + bytes);
    }
    advance_wp(z, i, cond, bytes);
    return 0;
}

void zoned_zones_fill(ZonedZones *z, uint32_t i)
{
    ZonedEntry e = entry_of(z, i);

    e.cond = BLK_ZS_FULL;
    change_zone(z, i, &e);
}

void zoned_zones_rollback(ZonedZones *z, uint32_t i, uint64_t end, bool opened)
{
    ZonedEntry e = entry_of(z, i);

    assert(cond_is_active(e.cond) && end <= e.end);
    e.end = end;
    if ((e.cond == BLK_ZS_IOPEN && opened) || e.cond == BLK_ZS_CLOSED) {
        /* EMPTY if it was, or would have been if it was closed without them. */
        e.cond = closed_cond(z, i, &e);
    }
    change_zone(z, i, &e);
}

/* Applies @op to zone @i, which has a condition that it changes. */
static int apply_op(ZonedZones *z, BlockZoneOp op, uint32_t i)
{
    ZonedEntry e = entry_of(z, i);
    bool filled = e.end == zoned_zone_cap_limit(&z->geo, i);
    int ret = 0;

    e.cond = op_rules[op].result;
    if (op == BLK_ZO_RESET) {
        e = zoned_entry_new(&z->geo, i);
    } else if (op == BLK_ZO_RESTORE && filled) {
        e.cond = BLK_ZS_FULL;
    } else if (e.cond == BLK_ZS_CLOSED) {
        e.cond = closed_cond(z, i, &e);
    }

    if (op == BLK_ZO_OPEN && zoned_zones_cond(z, i) != BLK_ZS_IOPEN) {
        ret = take_resources(z, i);
    } else if (op == BLK_ZO_RESTORE && e.cond == BLK_ZS_CLOSED) {
        ret = check_active_resource(z, i);
    }
    if (ret < 0) {
        return ret;
    }
    change_zone(z, i, &e);
    return 1;
}

int zoned_zones_mgmt(ZonedZones *z, BlockZoneOp op, uint32_t i, bool all)
{
    BlockZoneState cond = zoned_zones_cond(z, i);

    assert(op < ARRAY_SIZE(op_rules));
    if (bdrv_zone_op_selects(op, cond) ||
        (!all && (op_rules[op].others & BIT(cond)))) {
        return apply_op(z, op, i);
    }
    return all || (op_rules[op].keeps & BIT(cond)) ? 0 : -EPERM;
}

int zoned_zones_may_open_all(const ZonedZones *z)
{
    uint64_t nr = (uint64_t)z->nr[BLK_ZS_CLOSED] + z->nr[BLK_ZS_EOPEN];

    return z->geo.max_open && nr > z->geo.max_open ? -ETOOMANYREFS : 0;
}

uint32_t zoned_zones_nr_affected(const ZonedZones *z, BlockZoneOp op)
{
    uint32_t n = 0;

    for (int cond = 0; cond < ARRAY_SIZE(z->nr); cond++) {
        n += bdrv_zone_op_selects(op, cond) ? z->nr[cond] : 0;
    }
    return n;
}

int zoned_zones_may_extend(const ZonedZones *z, uint32_t i)
{
    return zoned_zones_cond(z, i) == BLK_ZS_EMPTY ? check_active_resource(z, i)
                                                  : -EPERM;
}

int zoned_zones_extend(ZonedZones *z, uint32_t i)
{
    ZonedEntry e = { BLK_ZS_CLOSED, zoned_zone_start(&z->geo, i), true };
    int ret = zoned_zones_may_extend(z, i);

    if (ret == 0) {
        change_zone(z, i, &e);
    }
    return ret;
}

BlockZoneState zoned_zones_image_cond(const ZonedZones *z, uint32_t i,
                                      uint64_t end)
{
    BlockZoneState cond = zoned_zones_cond(z, i);

    return cond_is_active(cond) && end == zoned_zone_cap_limit(&z->geo, i)
           ? BLK_ZS_FULL : cond;
}

void zoned_zones_describe(const ZonedZones *z, uint32_t i,
                          BlockZoneDescriptor *desc)
{
    uint64_t word = qatomic_read_u64(&z->zone[i]);
    BlockZoneState cond = word >> ZONED_COND_SHIFT;

    *desc = (BlockZoneDescriptor) {
        .start = zoned_zone_start(&z->geo, i),
        .length = zoned_zone_length(&z->geo, i),
        .cap = zoned_zone_capacity(&z->geo, i),
        .wp = cond == BLK_ZS_FULL ? zoned_zone_limit(&z->geo, i)
                                  : word & ZONED_END_MASK,
        .type = zoned_zone_is_conv(&z->geo, i) ? BLK_ZT_CONV : BLK_ZT_SWR,
        .state = cond,
        .ext_valid = word & ZONED_EXT_VALID,
        .data_end = word & ZONED_END_MASK,
    };
}

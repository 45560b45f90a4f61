/*
 * The stress test of the zoned block format driver: a device and its zones
 *
 * Each zone belongs to one thread, which knows what the device has acknowledged
 * and so which results are possible.  All is compared with that: results and
 * their order, where appends land, what is read, write pointers, conditions and
 * resources.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TESTS_UNIT_ZONED_STRESS_ZONE_H
#define TESTS_UNIT_ZONED_STRESS_ZONE_H

#include "qemu/thread.h"
#include "block/block-common.h"
#include "zoned-stress.h"

#define MAX_ZONES 24
#define MAX_WRITE (16 * KiB)

typedef struct Device Device;

/* What can only be used up by so many zones, and how many may do so at most. */
typedef struct Resource {
    QemuMutex lock;
    unsigned limit;             /* 0: none */
    unsigned nr;
    unsigned last_full;         /* it was used up until then */
} Resource;

/* A zone: only its thread uses it, or the main thread when all others rest. */
typedef struct Zone {
    Device *dev;
    uint32_t index;
    uint64_t start;
    uint64_t cap_limit;
    uint64_t limit;
    uint64_t *tags;             /* of its sectors, what was acknowledged */
    uint64_t end;               /* up to here all was, and nothing behind it */
    uint64_t next;              /* up to here all was sent */
    bool full;                  /* by a finish */
    bool maybe_open;            /* explicitly */
    bool uses_active;
    bool uses_open;
    unsigned life;              /* resets, certain or not */

    unsigned in_flight;
    unsigned busy_since;        /* when something was in flight first */
    unsigned checked;           /* when it was compared with the device */
    bool appends;               /* what is in flight are appends */
    bool held;                  /* nothing else may begin */
    BlockZoneOp closing;        /* such an operation came behind the writes */
    bool is_closing;
    unsigned resetting;         /* resets in flight */
    bool failed;                /* something has failed: compare it */
    bool refused;               /* a write, for lack of resources */
    uint64_t misplaced;         /* a write there failed for its place, else 0 */
    bool unsure;                /* what it holds is to be learnt */
} Zone;

/* Something that goes on from time to time. */
typedef struct Disturbance {
    unsigned active;
    unsigned last_end;
} Disturbance;

struct Device {
    BlockBackend *blk;
    Worker *worker;             /* of the main thread */
    Zone zones[MAX_ZONES];
    unsigned nr_zones;
    uint64_t zone_size;
    uint64_t size;
    unsigned max_append_sectors;
    Resource active_zones;
    Resource open_zones;

    /* Requests wait while a node is drained, and then go on in any order. */
    Disturbance drains;

    /* Operations on all zones, by the main thread */
    Disturbance all_ops;

    /* What the device reported last, all other threads at rest */
    BlockZoneDescriptor reported[MAX_ZONES];
    unsigned nr_with[16];       /* how many zones have which condition */
    bool at_rest;               /* something of zoned-stress-rest.c runs */
};

/* zoned-stress-zone.c */

/* Something disturbs from now on; and no longer. */
void disturb(Disturbance *d);
void calm_down(Disturbance *d);

/* Has it gone on, at any time from @since? */
bool disturbed(const Disturbance *d, unsigned since);

/* Takes a part of @resource, if it is not @used; gives it back, if it is. */
void resource_use(Resource *resource, bool *used);
void resource_release(Resource *resource, bool *used);

/* Was it perhaps used up, after @since?  Not counting one who wants it. */
bool resource_maybe_full(Resource *resource, unsigned since, unsigned wanted);

/* What the zone holds at byte @offset of the device: a tag for each sector */
static inline uint64_t *tag_at(const Zone *z, uint64_t offset)
{
    return &z->tags[(offset - z->start) / SECTOR];
}

/* A tag that no other write has */
uint64_t new_tag(const Zone *z);

/* Byte @at of the zone whose data is at @buf: a tag, eight bytes of it */
uint64_t read_tag(const Zone *z, const uint8_t *buf, uint64_t at);

/* Nothing is in flight in @z: all that is known is what the device says. */
void settle_zone(Zone *z, const BlockZoneDescriptor *desc);

/* Compares @z, in which nothing is in flight, and goes on with what it is. */
void coroutine_fn check_zone(Worker *w, Zone *z);

/* zoned-stress-ops.c */

const char *zone_op_name(BlockZoneOp op);

/* Has an operation on all zones disturbed @z since it was compared? */
bool by_all_op(const Zone *z);

/* @z, which is not full, can take a write. */
void coroutine_fn write_zone(Worker *w, Zone *z);

void coroutine_fn mgmt_zone(Worker *w, Zone *z, BlockZoneOp zone_op);
void coroutine_fn read_zone(Worker *w, Zone *z);
void coroutine_fn flush_device(Worker *w, Device *d);

/*
 * Writes @bytes at @offset of @z, while all else rests; on success the zone has
 * them.  Returns what the device does.
 */
int coroutine_fn try_write(Worker *w, Zone *z, uint64_t offset, uint64_t bytes);

/* zoned-stress-rest.c */

/* While all threads rest: all that was acknowledged is there. */
void check_at_rest(Device *d);

/* Flushes the device, and notes what it reports. */
void flush_at_rest(Device *d);

/* It was opened again since: zones that were open are closed. */
void check_reopened(Device *d);

#endif /* TESTS_UNIT_ZONED_STRESS_ZONE_H */

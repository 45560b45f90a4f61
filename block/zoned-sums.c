/*
 * zoned block format driver: checksums of data that was not flushed yet
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "zoned-sums.h"

void zoned_sums_init(ZonedSums *s)
{
    s->generation = 1;
    s->unsummed = 0;
    s->bytes = 0;
    s->nr = 0;
}

bool zoned_sums_reserve(ZonedSums *s, uint64_t bytes)
{
    if (zoned_sums_are_over(s) || bytes > ZONED_SUMS_BYTES - s->bytes) {
        return false;
    }
    s->bytes += ROUND_UP(bytes, ZONED_SUMS_UNIT);
    return true;
}

void zoned_sums_release(ZonedSums *s, uint64_t bytes)
{
    s->bytes -= ROUND_UP(bytes, ZONED_SUMS_UNIT);
}

void zoned_sums_add(ZonedSums *s, const ZonedLogSum *sum)
{
    s->sum[s->nr] = *sum;
    s->written[s->nr] = s->generation;
    s->nr++;
}

uint64_t zoned_sums_begin_flush(ZonedSums *s)
{
    return s->generation++;
}

/* Forgets sum @j: the last one takes its place. */
static void drop(ZonedSums *s, uint32_t j)
{
    zoned_sums_release(s, s->sum[j].bytes);
    s->nr--;
    s->sum[j] = s->sum[s->nr];
    s->written[j] = s->written[s->nr];
}

void zoned_sums_flushed(ZonedSums *s, uint64_t generation)
{
    if (s->unsummed <= generation) {
        qatomic_set_u64(&s->unsummed, 0);
    }
    for (uint32_t j = s->nr; j-- > 0;) {
        if (s->written[j] <= generation) {
            drop(s, j);
        }
    }
}

void zoned_sums_settle(ZonedSums *s, const ZonedZones *z)
{
    for (uint32_t j = s->nr; j-- > 0;) {
        uint32_t i = zoned_zone_index(&z->geo, s->sum[j].address);

        if (s->sum[j].address >= zoned_zones_end(z, i)) {
            drop(s, j);
        }
    }
}

/*
 * Fuzzing the image format of the zoned block format driver
 *
 * An input is
 *
 *   byte 0        bit 0: leave the checksum of the header as it is; else it is
 *                 made right, as little would ever be accepted otherwise
 *   bytes 1-2     a byte of the header behind its fields (modulo their number),
 *   byte 3        and what it is set to
 *   bytes 4-123   the fields of the header; missing ones are 0
 *   then          a number of times: 4 bytes, the number of a zone (modulo the
 *                 number of zones), and 8 bytes, the entry of that zone
 *
 * Whatever the input, the module must come to the same judgement as the rules
 * of the specification in tests/unit/zoned-format-rules.h, say why if it
 * refuses, and keep what its header file promises if it accepts.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/error-report.h"
#include "block/zoned-format.h"
#include "tests/unit/zoned-format-rules.h"

#define CONTROL_SIZE 4
#define RECORD_SIZE 12

/* Stops with a message; the fuzzer keeps the input. */
#define MUST(what)                                                      \
    do {                                                                \
        if (!(what)) {                                                  \
            fprintf(stderr, "%s:%d: not true: %s\n", __func__, __LINE__, \
                    #what);                                             \
            abort();                                                    \
        }                                                               \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must_be_usable(const ZonedHeader *h)
{
    const ZonedGeometry *geo = &h->geo;
    unsigned __int128 end_of_zones =
        (unsigned __int128)geo->zone_size * geo->nr_zones;

    MUST(geo->nr_zones > 0 && geo->nr_zones <= ZONED_MAX_ZONES);
    MUST(geo->nr_conv <= geo->nr_zones);
    MUST(geo->size > 0 && geo->size <= ZONED_MAX_SIZE);
    MUST(end_of_zones >= geo->size);
    MUST(end_of_zones - geo->zone_size < geo->size);
    MUST(geo->zone_capacity > 0 && geo->zone_capacity <= geo->zone_size);
    MUST(h->table_offset >= ZONED_HEADER_SIZE);
    MUST(zoned_table_size(geo) >= (uint64_t)geo->nr_zones * ZONED_ENTRY_SIZE);
    MUST((unsigned __int128)h->table_offset + zoned_table_size(geo) <=
         h->data_offset);
    MUST((unsigned __int128)h->data_offset + geo->size <= INT64_MAX);
    MUST(zoned_header_min_file_size(h) >= h->data_offset);
    MUST(zoned_header_min_file_size(h) <= h->data_offset + geo->size);
}

static void try_entry(const ZonedHeader *h, const uint8_t *header, uint32_t i,
                      uint64_t raw)
{
    const ZonedGeometry *geo = &h->geo;
    uint64_t value = rules_get((const uint8_t *)&raw, 0, 8);
    ZonedEntry entry = { .cond = 5, .end = UINT64_MAX };
    Error *err = NULL;
    bool accepted = zoned_entry_decode(geo, i, raw, &entry, &err);

    MUST(accepted == rules_accept_entry(header, i, value));
    MUST(accepted == !err);
    if (!accepted) {
        MUST(error_get_pretty(err)[0]);
        error_free(err);
        return;
    }
    MUST(entry.end >= zoned_zone_start(geo, i));
    MUST(entry.end <= zoned_zone_start(geo, i) + zoned_zone_capacity(geo, i));
    MUST(entry.end <= geo->size);
    MUST((entry.cond == BLK_ZS_NOT_WP) == zoned_zone_is_conv(geo, i));
    MUST(strcmp(zoned_cond_name(entry.cond), "unknown"));
    MUST(zoned_entry_encode(geo, i, &entry) == raw);
}

/* Entry @raw for zone @i, and for the zones where things change */
static void try_zones(const ZonedHeader *h, const uint8_t *header, uint32_t i,
                      uint64_t raw)
{
    uint32_t nr_zones = h->geo.nr_zones;
    uint32_t nr_conv = h->geo.nr_conv;

    try_entry(h, header, i % nr_zones, raw);
    try_entry(h, header, 0, raw);
    try_entry(h, header, nr_zones - 1, raw);
    if (nr_conv > 0) {
        try_entry(h, header, nr_conv - 1, raw);
    }
    if (nr_conv < nr_zones) {
        try_entry(h, header, nr_conv, raw);
    }
}

static bool try_header(const uint8_t *header, ZonedHeader *h)
{
    uint8_t again[ZONED_HEADER_SIZE];
    Error *err = NULL;
    int ret = zoned_header_decode(h, header, &err);

    MUST(ret == 0 || ret == -EINVAL || ret == -ENOTSUP);
    MUST((ret == 0) == rules_accept_header(header));
    MUST((ret == 0) == !err);
    if (ret < 0) {
        MUST(error_get_pretty(err)[0]);
        error_free(err);
        return false;
    }
    MUST(zoned_header_probe(header, ZONED_HEADER_SIZE));
    MUST(zoned_geometry_validate(&h->geo, NULL));
    must_be_usable(h);
    zoned_header_encode(h, again);
    MUST(!memcmp(again, header, sizeof(again)));
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t control[CONTROL_SIZE] = {};
    g_autofree uint8_t *header = g_malloc0(ZONED_HEADER_SIZE);
    size_t n = MIN(size, CONTROL_SIZE);
    ZonedHeader h;

    /* The start of a file may be anything, and be short. */
    zoned_header_probe(data, size);

    memcpy(control, data, n);
    data += n;
    size -= n;
    n = MIN(size, AT_ZEROES);
    memcpy(header, data, n);
    data += n;
    size -= n;
    header[AT_ZEROES + rules_get(control, 1, 2) %
           (ZONED_HEADER_SIZE - AT_ZEROES)] = control[3];
    if (!(control[0] & 1)) {
        rules_fix_checksum(header);
    }

    if (try_header(header, &h)) {
        for (; size >= RECORD_SIZE; data += RECORD_SIZE, size -= RECORD_SIZE) {
            uint64_t raw;

            memcpy(&raw, data + 4, sizeof(raw));
            try_zones(&h, header, rules_get(data, 0, 4), raw);
        }
    }
    return 0;
}

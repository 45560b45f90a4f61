/*
 * Fuzzing the image format of the zoned block format driver
 *
 * An input is
 *
 *   byte 0        bit 0: leave the checksum of the header as it is, and bit 1:
 *                 the numbers of all and of sequential zones; else they are
 *                 made right, as little would ever be accepted otherwise
 *   bytes 1-2     a byte of the header behind its fields (modulo their number),
 *   byte 3        and what it is set to
 *   bytes 4-123   the fields of the header; missing ones are 0
 *   then          a number of times: 4 bytes, the number of a zone (modulo the
 *                 number of zones), and 8 bytes, its entry; this is also tried
 *                 for other zones and with other addresses
 *
 * Whatever the input, the module must come to the same judgement as the rules
 * of the specification in tests/unit/zoned-format-rules.h, say why if it
 * refuses, and keep what its header file promises if it accepts.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/bswap.h"
#include "block/zoned-format.h"
#include "tests/unit/zoned-format-rules.h"

#define CONTROL_SIZE 4
#define RECORD_SIZE 12

#define LEAVE_CHECKSUM 1
#define LEAVE_ZONES 2

/* Stops with a message; the fuzzer keeps the input. */
#define MUST(what)                                                      \
    do {                                                                \
        if (!(what)) {                                                  \
            fprintf(stderr, "%s:%d: not true: %s\n", __func__, __LINE__, \
                    #what);                                             \
            abort();                                                    \
        }                                                               \
    } while (0)

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
    if (geo->zd_extension_size) {
        MUST(geo->zd_extension_size % 64 == 0);
        MUST(geo->zd_extension_size <= 255 * 64);
        MUST(geo->size < 1ULL << 58);
        MUST(h->extension_offset >= h->table_offset + zoned_table_size(geo));
        MUST(zoned_extension_table_size(geo) >=
             (uint64_t)geo->nr_zones * geo->zd_extension_size);
        MUST((unsigned __int128)h->extension_offset +
             zoned_extension_table_size(geo) <= h->data_offset);
    } else {
        MUST(h->extension_offset == 0);
    }
    MUST(zoned_header_min_file_size(h) >= h->data_offset);
    MUST(zoned_header_min_file_size(h) <= h->data_offset + geo->size);
}

/* Making the message of a refusal costs much more than refusing: @explain. */
static void try_value(const ZonedHeader *h, const uint8_t *header, uint32_t i,
                      uint64_t value, bool explain)
{
    const ZonedGeometry *geo = &h->geo;
    uint64_t raw = cpu_to_le64(value);
    ZonedEntry entry = { .cond = 5, .end = UINT64_MAX };
    Error *err = NULL;
    bool accepted = zoned_entry_decode(geo, i, raw, &entry,
                                       explain ? &err : NULL);

    MUST(accepted == rules_accept_entry(header, i, value));
    MUST(!explain || accepted == !err);
    if (!accepted) {
        MUST(!explain || error_get_pretty(err)[0]);
        error_free(err);
        return;
    }
    MUST(entry.end >= zoned_zone_start(geo, i));
    MUST(entry.end <= zoned_zone_start(geo, i) + zoned_zone_capacity(geo, i));
    MUST(entry.end <= geo->size);
    MUST((entry.cond == BLK_ZS_NOT_WP) == zoned_zone_is_conv(geo, i));
    MUST(!entry.ext_valid || geo->zd_extension_size);
    MUST(!entry.ext_valid || (entry.cond != BLK_ZS_NOT_WP &&
                              entry.cond != BLK_ZS_EMPTY));
    MUST(strcmp(bdrv_zone_state_name(entry.cond), "unknown"));
    MUST(zoned_entry_encode(geo, i, &entry) == raw);
}

/* Entry @value, and the same with the addresses where judgements change */
static void try_entry(const ZonedHeader *h, const uint8_t *header, uint32_t i,
                      uint64_t value)
{
    const uint64_t address_mask =
        (1ULL << (h->geo.zd_extension_size ? 58 : 59)) - 1;
    const uint64_t edges[] = {
        zoned_zone_start(&h->geo, i), zoned_zone_cap_limit(&h->geo, i),
        zoned_zone_limit(&h->geo, i),
    };

    try_value(h, header, i, value, true);
    for (int e = 0; e < ARRAY_SIZE(edges); e++) {
        for (int sectors = -1; sectors <= 1; sectors++) {
            uint64_t address = (edges[e] + sectors * 512) & address_mask;

            try_value(h, header, i, (value & ~address_mask) | address, false);
        }
    }
}

/* Entry @value for zone @i, and for the zones where judgements change */
static void try_zones(const ZonedHeader *h, const uint8_t *header, uint32_t i,
                      uint64_t value)
{
    uint32_t nr_zones = h->geo.nr_zones;
    uint32_t nr_conv = h->geo.nr_conv;

    try_entry(h, header, i % nr_zones, value);
    try_entry(h, header, nr_zones - 1, value);
    if (nr_conv > 0) {
        try_entry(h, header, nr_conv - 1, value);
    }
    if (nr_conv < nr_zones) {
        try_entry(h, header, nr_conv, value);
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

/* As many zones as the sizes make */
static void fix_zones(uint8_t *header)
{
    uint64_t size = rules_get(header, AT_SIZE, 8);
    uint64_t zone_size = rules_get(header, AT_ZONE_SIZE, 8);
    uint64_t nr_zones = zone_size ? size / zone_size + !!(size % zone_size) : 0;

    rules_put(header, AT_NR_ZONES, 4, nr_zones);
    rules_put(header, AT_NR_SEQ, 4,
              nr_zones - rules_get(header, AT_NR_CONV, 4));
}

/* What libFuzzer calls */
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
    if (!(control[0] & LEAVE_ZONES)) {
        fix_zones(header);
    }
    if (!(control[0] & LEAVE_CHECKSUM)) {
        rules_fix_checksum(header);
    }

    if (try_header(header, &h)) {
        for (; size >= RECORD_SIZE; data += RECORD_SIZE, size -= RECORD_SIZE) {
            try_zones(&h, header, rules_get(data, 0, 4), rules_get(data, 4, 8));
        }
    }
    return 0;
}

/*
 * Fuzzing the image format of the zoned block format driver
 *
 * An input is
 *
 *   byte 0        bit 0: leave the checksum of the header as it is, and bit 1:
 *                 the numbers of all and of sequential zones; else they are
 *                 made right, as little would ever be accepted otherwise.
 *                 Bit 2: what comes then is a log, and bit 3: leave what names
 *                 it, and its checksum, and bit 4: its length
 *   bytes 1-2     a byte of the header behind its fields (modulo their number),
 *   byte 3        and what it is set to
 *   bytes 4-135   the fields of the header; missing ones are 0
 *   then          a number of times: 4 bytes, the number of a zone (modulo the
 *                 number of zones), and 8 bytes, its entry; this is also tried
 *                 for other zones and with other addresses
 *     or          a log from block 3 on, which is tried as a head, too
 *
 * Whatever the input, the module must come to the same judgement as the rules
 * of the specification in tests/unit/zoned-format-rules.h, say why if it
 * refuses, and keep what its header file promises if it accepts.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/bitmap.h"
#include "qemu/bswap.h"
#include "block/zoned-format.h"
#include "tests/unit/zoned-format-rules.h"

#define CONTROL_SIZE 4
#define RECORD_SIZE 12

#define LEAVE_CHECKSUM 1
#define LEAVE_ZONES 2
#define LOG 4
#define LEAVE_LOG_NAMES 8
#define LEAVE_LOG_LENGTH 16

#define EPOCH 5
#define BLOCK 3

/* Of devices with more, the rules would take too long. */
#define LOG_MOST_ZONES 65536

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
    uint64_t tables_end = h->log_blocks ? h->log_offset : h->data_offset;

    MUST(geo->nr_zones > 0 && geo->nr_zones <= ZONED_MAX_ZONES);
    MUST(geo->nr_conv <= geo->nr_zones);
    MUST(geo->size > 0 && geo->size <= ZONED_MAX_SIZE);
    MUST(end_of_zones >= geo->size);
    MUST(end_of_zones - geo->zone_size < geo->size);
    MUST(geo->zone_capacity > 0 && geo->zone_capacity <= geo->zone_size);
    MUST(h->table_offset >= ZONED_HEADER_SIZE);
    MUST(zoned_table_size(geo) >= (uint64_t)geo->nr_zones * ZONED_ENTRY_SIZE);
    MUST((unsigned __int128)h->table_offset + zoned_table_size(geo) <=
         tables_end);
    MUST((unsigned __int128)h->data_offset + geo->size <= INT64_MAX);
    if (geo->zd_extension_size) {
        MUST(geo->zd_extension_size % 64 == 0);
        MUST(geo->zd_extension_size <= 255 * 64);
        MUST(geo->size < 1ULL << 58);
        MUST(h->extension_offset >= h->table_offset + zoned_table_size(geo));
        MUST(zoned_extension_table_size(geo) >=
             (uint64_t)geo->nr_zones * geo->zd_extension_size);
        MUST((unsigned __int128)h->extension_offset +
             zoned_extension_table_size(geo) <= tables_end);
    } else {
        MUST(h->extension_offset == 0);
    }
    if (h->log_blocks) {
        MUST(h->log_blocks >= 2 && h->log_blocks <= ZONED_LOG_MAX_BLOCKS);
        MUST((unsigned __int128)h->log_offset +
             h->log_blocks * ZONED_LOG_BLOCK <= h->data_offset);
    } else {
        MUST(h->log_offset == 0);
    }
    MUST(zoned_header_max_zones(h) >= geo->nr_zones);
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

static void try_head(const uint8_t *buf, uint32_t control)
{
    g_autofree uint8_t *head = g_memdup2(buf, ZONED_LOG_HEAD_SIZE);
    g_autofree uint8_t *again = g_malloc(ZONED_LOG_BLOCK);
    uint64_t epoch;
    Error *err = NULL;

    if (!(control & LEAVE_LOG_NAMES)) {
        memcpy(head, "zlog", 4);
        rules_put(head, AT_LOG_CHECKSUM, 4, rules_head_checksum(head));
    }
    if (!zoned_log_head_decode(head, &epoch, &err)) {
        MUST(!rules_accept_head(head));
        MUST(error_get_pretty(err)[0]);
        error_free(err);
        return;
    }
    MUST(rules_accept_head(head));
    MUST(!err);
    zoned_log_head_encode(epoch, again);
    MUST(!memcmp(again, head, ZONED_LOG_HEAD_SIZE));
}

/* An accepted record: it is the same when encoded again. */
static void try_again(const ZonedLogRecord *record)
{
    uint32_t size = zoned_log_record_size(record->nr_runs, record->nr_sums);
    g_autofree ZonedLogRun *runs = g_new(ZonedLogRun, record->nr_runs);
    g_autofree ZonedLogSum *sums = g_new(ZonedLogSum, record->nr_sums);
    g_autofree uint8_t *again = g_malloc(record->nr_blocks * ZONED_LOG_BLOCK);

    MUST(size <= record->nr_blocks * ZONED_LOG_BLOCK);
    for (uint32_t i = 0; i < record->nr_runs; i++) {
        runs[i] = zoned_log_run(record, i);
    }
    for (uint32_t i = 0; i < record->nr_sums; i++) {
        sums[i] = zoned_log_sum(record, i);
    }
    zoned_log_record_encode(EPOCH, BLOCK, runs, record->nr_runs, sums,
                            record->nr_sums, again);
    MUST(!memcmp(again, record->buf, size));
}

/* It changes the entries of its zones, of some part of the table. */
static void try_apply(const ZonedHeader *h, const uint8_t *header,
                      const ZonedLogRecord *record, uint32_t first)
{
    uint32_t n = MIN(h->geo.nr_zones - first, 100);
    g_autofree uint64_t *raw = g_new0(uint64_t, n);
    g_autofree unsigned long *known = bitmap_new(n);
    uint32_t named = 0, changed = 0;

    for (uint32_t i = 0; i < record->nr_runs; i++) {
        ZonedLogRun run = zoned_log_run(record, i);
        uint32_t end = run.zone + run.nr_zones;

        named += MIN(end, first + n) - MIN(MAX(run.zone, first),
                                           MIN(end, first + n));
    }
    zoned_log_runs_apply(&h->geo, record, first, n, known, raw);
    for (uint32_t j = 0; j < n; j++) {
        changed += raw[j] != 0;
        MUST(!raw[j] ||
             rules_accept_entry(header, first + j, le64_to_cpu(raw[j])));
    }
    MUST(named == changed);
}

static void try_record(const ZonedHeader *h, const uint8_t *header,
                       const uint8_t *buf, uint32_t blocks)
{
    ZonedLogRecord record;
    Error *err = NULL;
    int ret = zoned_log_record_decode(h, EPOCH, BLOCK, buf, blocks, &record,
                                      &err);
    int expected = rules_accept_record(header, EPOCH, BLOCK, buf,
                                       blocks * ZONED_LOG_BLOCK);

    MUST(ret == (expected < 0 ? -EINVAL : expected));
    MUST((ret < 0) == !!err);
    if (ret < 0) {
        MUST(error_get_pretty(err)[0]);
        error_free(err);
    }
    if (ret <= 0) {
        return;
    }
    MUST(record.nr_blocks >= 1 && record.nr_blocks <= blocks);
    try_again(&record);
    for (uint32_t i = 0; i < record.nr_runs; i++) {
        try_apply(h, header, &record, zoned_log_run(&record, i).zone);
    }
    try_apply(h, header, &record, 0);
}

/* As many runs and sums as there is room for, in some proportion */
static void fix_length(uint8_t *buf, uint64_t size)
{
    uint64_t items = (size - AT_RECORD_ITEMS) / 16;
    uint64_t runs = rules_get(buf, AT_RECORD_RUNS, 4) % (items + 1);

    rules_put(buf, AT_RECORD_RUNS, 4, runs);
    rules_put(buf, AT_RECORD_SUMS, 4, items - runs);
    rules_put(buf, AT_RECORD_BYTES, 4, AT_RECORD_ITEMS + 16 * items);
}

static void try_log(const ZonedHeader *h, const uint8_t *header,
                    const uint8_t *data, size_t size, uint32_t control)
{
    uint32_t blocks = DIV_ROUND_UP(size, ZONED_LOG_BLOCK);
    g_autofree uint8_t *buf = g_malloc0(blocks * ZONED_LOG_BLOCK);

    if (blocks == 0 || h->geo.nr_zones > LOG_MOST_ZONES) {
        return;
    }
    memcpy(buf, data, size);
    try_head(buf, control);
    if (!(control & LEAVE_LOG_LENGTH) && size >= AT_RECORD_ITEMS) {
        fix_length(buf, size);
    }
    if (!(control & LEAVE_LOG_NAMES)) {
        memcpy(buf, "zrec", 4);
        rules_put(buf, AT_LOG_EPOCH, 8, EPOCH);
        rules_put(buf, AT_RECORD_BLOCK, 4, BLOCK);
        if (rules_get(buf, AT_RECORD_BYTES, 4) <= blocks * ZONED_LOG_BLOCK) {
            rules_put(buf, AT_LOG_CHECKSUM, 4, rules_record_checksum(buf));
        }
    }
    try_record(h, header, buf, blocks);
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

    if (!try_header(header, &h)) {
        return 0;
    }
    if (control[0] & LOG) {
        try_log(&h, header, data, size, control[0]);
    } else {
        for (; size >= RECORD_SIZE; data += RECORD_SIZE, size -= RECORD_SIZE) {
            try_zones(&h, header, rules_get(data, 0, 4), rules_get(data, 4, 8));
        }
    }
    return 0;
}

/*
 * A judge of what a power cut leaves of an image of the zoned format
 *
 * It reads an image as docs/interop/zoned.rst says, with no code of the driver
 * nor of another reader: a mistake that two have in common would not be seen.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/bitops.h"
#include "qemu/bswap.h"
#include "qemu/crc32c.h"
#include "qemu/units.h"
#include "zoned-judge.h"

/*
 * Contents.  The two highest bits say what the others mean:
 *
 *   00  zeroes
 *   01  data: the number of the operation, 16 bits of index in it, the highest
 *       of which says that the buffer was changed
 *   10  garbage: its number
 *   11  other bytes: where they are in @other_bytes
 */
#define CONTENT_KIND_SHIFT 62
#define CONTENT_DATA 1
#define CONTENT_GARBAGE 2
#define CONTENT_OTHER 3
#define CONTENT_INDEX_BITS 16
#define CONTENT_CHANGED ((Content)1 << (CONTENT_INDEX_BITS - 1))

#define WORDS (JUDGE_SECTOR / sizeof(uint64_t))

static GPtrArray *other_bytes;
static GHashTable *other_numbers;

static unsigned content_kind(Content content)
{
    return content >> CONTENT_KIND_SHIFT;
}

Content content_data(uint64_t op, uint32_t index)
{
    return (Content)CONTENT_DATA << CONTENT_KIND_SHIFT |
           op << CONTENT_INDEX_BITS | index;
}

Content content_changed(Content data)
{
    return data | CONTENT_CHANGED;
}

Content content_garbage(uint64_t number)
{
    return (Content)CONTENT_GARBAGE << CONTENT_KIND_SHIFT | number;
}

/* Word @i of the bytes of data or garbage; word 0 is the content itself. */
static uint64_t content_word(Content content, unsigned i)
{
    return content * (2 * i + 1) + i;
}

static guint other_hash(gconstpointer bytes)
{
    const uint64_t *word = bytes;
    uint64_t hash = 0;

    for (unsigned i = 0; i < WORDS; i++) {
        hash = (hash ^ word[i]) * 0x9e3779b97f4a7c15ULL;
        hash ^= hash >> 29;
    }
    return hash;
}

static gboolean other_equal(gconstpointer a, gconstpointer b)
{
    return !memcmp(a, b, JUDGE_SECTOR);
}

/* The content of bytes that say nothing of what they are. */
static Content content_of_other_bytes(const uint8_t *buf)
{
    gpointer number;

    if (!other_bytes) {
        other_bytes = g_ptr_array_new();
        other_numbers = g_hash_table_new(other_hash, other_equal);
    }
    if (!g_hash_table_lookup_extended(other_numbers, buf, NULL, &number)) {
        gpointer copy = g_memdup2(buf, JUDGE_SECTOR);

        number = GUINT_TO_POINTER(other_bytes->len);
        g_ptr_array_add(other_bytes, copy);
        g_hash_table_insert(other_numbers, copy, number);
    }
    return (Content)CONTENT_OTHER << CONTENT_KIND_SHIFT |
           GPOINTER_TO_UINT(number);
}

Content content_of_bytes(const uint8_t *buf)
{
    Content content = ldq_le_p(buf);
    bool zero = true;
    bool known = content_kind(content) == CONTENT_DATA ||
                 content_kind(content) == CONTENT_GARBAGE;

    for (unsigned i = 0; i < WORDS; i++) {
        uint64_t word = ldq_le_p(buf + i * sizeof(word));

        zero = zero && word == 0;
        known = known && word == content_word(content, i);
    }
    if (zero) {
        return CONTENT_ZEROES;
    }
    return known ? content : content_of_other_bytes(buf);
}

static const uint8_t *content_other_bytes(Content content)
{
    return g_ptr_array_index(other_bytes, (uint32_t)content);
}

void content_to_bytes(Content content, uint8_t *buf)
{
    switch (content_kind(content)) {
    case CONTENT_DATA:
    case CONTENT_GARBAGE:
        for (unsigned i = 0; i < WORDS; i++) {
            stq_le_p(buf + i * sizeof(uint64_t), content_word(content, i));
        }
        break;
    case CONTENT_OTHER:
        memcpy(buf, content_other_bytes(content), JUDGE_SECTOR);
        break;
    default:
        memset(buf, 0, JUDGE_SECTOR);
    }
}

void content_forget(void)
{
    for (guint i = 0; other_bytes && i < other_bytes->len; i++) {
        g_free(g_ptr_array_index(other_bytes, i));
    }
    g_clear_pointer(&other_bytes, g_ptr_array_unref);
    g_clear_pointer(&other_numbers, g_hash_table_unref);
}

static uint64_t content_op(Content content)
{
    return (content & ~((Content)3 << CONTENT_KIND_SHIFT)) >>
           CONTENT_INDEX_BITS;
}

static uint32_t content_index(Content content)
{
    return content & MAKE_64BIT_MASK(0, CONTENT_INDEX_BITS - 1);
}

/* Is @content sector @index of the data of operation @op, changed or not? */
static bool content_is_data(Content content, uint64_t op, uint32_t index)
{
    return content_kind(content) == CONTENT_DATA &&
           (content & ~CONTENT_CHANGED) == content_data(op, index);
}

/* The little-endian number of 64 bits at byte @at of a sector. */
static uint64_t content_number_at(Content content, unsigned at)
{
    switch (content_kind(content)) {
    case CONTENT_DATA:
    case CONTENT_GARBAGE:
        return content_word(content, at / sizeof(uint64_t));
    case CONTENT_OTHER:
        return ldq_le_p(content_other_bytes(content) + at);
    default:
        return 0;
    }
}

/*
 * The image format, from its specification.
 */

#define HEADER_LENGTH 512
#define CHECKSUM_AT 12
#define ENTRY_LENGTH 8
#define ENTRIES_PER_SECTOR (JUDGE_SECTOR / ENTRY_LENGTH)

#define LOG_BLOCK_LENGTH (4 * KiB)
#define LOG_BLOCK_SECTORS (LOG_BLOCK_LENGTH / JUDGE_SECTOR)
#define LOG_MOST_BLOCKS 4096
#define LOG_CHECKSUM_AT 4
#define LOG_EPOCH_AT 8
#define RECORD_ITEMS_AT 40
#define RECORD_ITEM_LENGTH 16

enum {
    COND_NOT_WP = 0x0,
    COND_EMPTY = 0x1,
    COND_IOPEN = 0x2,
    COND_EOPEN = 0x3,
    COND_CLOSED = 0x4,
    COND_RDONLY = 0xd,
    COND_FULL = 0xe,
    COND_OFFLINE = 0xf,
};

/* No sector has it: there is something that is not known. */
#define CONTENT_UNKNOWN content_garbage(MAKE_64BIT_MASK(0, CONTENT_KIND_SHIFT))

/* What is to be done about one zone. */
typedef struct JudgeZone {
    GPtrArray *writes;          /* JudgeOp, also what was found */
    GPtrArray *mgmt;            /* JudgeOp, that cover this zone */
    GPtrArray *extends;         /* JudgeOp, also the one that was found */
    GPtrArray *turns;           /* JudgeOp, by which it fails, or works again */
    bool varies;

    uint64_t entry;             /* in effect */
    uint64_t judged_entry;      /* that it had when the cut was judged */
    bool judged_active;
} JudgeZone;

/* A record of the log, and the sectors of the image that it was read from */
typedef struct JudgeRecord {
    uint32_t block;
    uint32_t length;
    uint32_t nr_runs;
    uint32_t nr_sums;
    uint32_t nr_sectors;
    Content *sectors;
    uint8_t *bytes;
} JudgeRecord;

struct Judge {
    JudgeGeometry geo;
    JudgeZone *zones;
    const Content *image;

    /* Sectors of the file, as the header says. */
    uint64_t table;
    uint64_t data;
    uint64_t ext;               /* a byte of the file, valid with extensions */
    uint64_t log;
    uint32_t log_blocks;
    uint32_t nr_zones;          /* of the device; those behind are EMPTY */
    Content header;             /* the one that these are from */

    /* What was last read of the log; the next image often has the same. */
    Content head;
    uint64_t epoch;
    GPtrArray *records;         /* JudgeRecord */

    /* The data areas and the extensions that the processes have found. */
    GPtrArray *found;
    uint32_t process;

    GPtrArray *ops;             /* JudgeOp, by their number */
    uint64_t first_number;      /* that of the first of @ops */
    GPtrArray *conv_writes;
    GPtrArray *flushes;
    GPtrArray *resizes;         /* also what was found */

    /* The cut that is judged. */
    int64_t now;
    GArray *varying;            /* uint32_t, zones */
    uint32_t fixed_active;      /* active zones among the others */

    GString *why;
    uint32_t why_zone;          /* UINT32_MAX: no zone */
};

static bool G_GNUC_PRINTF(3, 4)
fail(Judge *j, uint32_t zone, const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    g_string_vprintf(j->why, format, ap);
    va_end(ap);
    j->why_zone = zone;
    return false;
}

/* Finds the extensions; behind them the data may begin: @end. */
static bool read_extension_offset(Judge *j, const uint8_t *buf, uint64_t *end)
{
    uint64_t offset = ldq_le_p(buf + 112);

    if (ldl_le_p(buf + 92) != j->geo.ext_size) {
        return fail(j, UINT32_MAX, "the header is that of another device");
    }
    if (j->geo.ext_size ? offset < *end || offset % (4 * KiB) : offset != 0) {
        return fail(j, UINT32_MAX, "extensions at %" PRIu64, offset);
    }
    if (j->geo.ext_size) {
        j->ext = j->geo.base + offset;
        *end = offset + ROUND_UP(j->nr_zones * j->geo.ext_size, 4 * KiB);
    }
    return true;
}

/* Finds the log, which all images have that are written; the same. */
static bool read_log_offset(Judge *j, const uint8_t *buf, uint64_t *end)
{
    uint64_t offset = ldq_le_p(buf + 120);

    j->log_blocks = ldl_le_p(buf + 128);
    if (offset < *end || offset % LOG_BLOCK_LENGTH || j->log_blocks < 2 ||
        j->log_blocks > LOG_MOST_BLOCKS) {
        return fail(j, UINT32_MAX, "log of %u blocks at %" PRIu64,
                    j->log_blocks, offset);
    }
    j->log = (j->geo.base + offset) / JUDGE_SECTOR;
    *end = offset + j->log_blocks * LOG_BLOCK_LENGTH;
    return true;
}

/* Reads the size: all that the device can have, or some zones less. */
static bool read_size(Judge *j, const uint8_t *buf)
{
    const JudgeGeometry *geo = &j->geo;
    uint64_t size = ldq_le_p(buf + 40);

    j->nr_zones = ldl_le_p(buf + 64);
    return ldl_le_p(buf + 72) == j->nr_zones - geo->nr_conv &&
           (size == geo->size
            ? j->nr_zones == geo->nr_zones
            : size < geo->size && size == j->nr_zones * geo->zone_size &&
              j->nr_zones >= MAX(geo->nr_conv, 1));
}

/* Reads the header; what it says must be what the device was created with. */
static bool read_header(Judge *j)
{
    const JudgeGeometry *geo = &j->geo;
    Content content = j->image[geo->base / JUDGE_SECTOR];
    uint8_t buf[HEADER_LENGTH];
    uint32_t checksum;
    uint64_t table_offset, table_end, data_offset;

    if (content == j->header) {
        return true;
    }
    content_to_bytes(content, buf);
    if (memcmp(buf, "zone", 4)) {
        return fail(j, UINT32_MAX, "the header has no magic");
    }
    checksum = ldl_le_p(buf + CHECKSUM_AT);
    stl_le_p(buf + CHECKSUM_AT, 0);
    if (checksum != crc32c(UINT32_MAX, buf, HEADER_LENGTH)) {
        return fail(j, UINT32_MAX, "the header has a wrong checksum");
    }
    if (ldl_le_p(buf + 4) != 1 || ldl_le_p(buf + 8) != HEADER_LENGTH ||
        ldq_le_p(buf + 16) != 0 || ldq_le_p(buf + 24) != 0 ||
        ldq_le_p(buf + 32) != 0 ||
        ldq_le_p(buf + 48) != geo->zone_size ||
        ldq_le_p(buf + 56) != geo->zone_capacity ||
        ldl_le_p(buf + 68) != geo->nr_conv ||
        ldl_le_p(buf + 76) != geo->max_open ||
        ldl_le_p(buf + 80) != geo->max_active ||
        ldl_le_p(buf + 84) != geo->max_append_sectors ||
        ldl_le_p(buf + 88) != 1 || !read_size(j, buf)) {
        return fail(j, UINT32_MAX, "the header is that of another device");
    }
    for (unsigned i = 132; i < HEADER_LENGTH; i++) {
        if (buf[i]) {
            return fail(j, UINT32_MAX, "byte %u of the header is not zero", i);
        }
    }
    table_offset = ldq_le_p(buf + 96);
    data_offset = ldq_le_p(buf + 104);
    table_end = table_offset + ROUND_UP(j->nr_zones * ENTRY_LENGTH, 4 * KiB);
    if (!read_extension_offset(j, buf, &table_end) ||
        !read_log_offset(j, buf, &table_end)) {
        return false;
    }
    if (table_offset % (4 * KiB) || table_offset < 4 * KiB ||
        data_offset % MiB || data_offset < table_end) {
        return fail(j, UINT32_MAX, "table at %" PRIu64 ", data at %" PRIu64,
                    table_offset, data_offset);
    }
    j->table = (geo->base + table_offset) / JUDGE_SECTOR;
    j->data = (geo->base + data_offset) / JUDGE_SECTOR;
    j->header = content;
    j->head = CONTENT_UNKNOWN;
    return true;
}

static JudgeEntry split_entry(const Judge *j, uint64_t raw)
{
    return (JudgeEntry) {
        .cond = raw >> 60,
        .conv = raw >> 59 & 1,
        .extended = j->geo.ext_size && (raw >> 58 & 1),
        .address = raw & MAKE_64BIT_MASK(0, j->geo.ext_size ? 58 : 59),
    };
}

/* The entry that is in effect; see read_entries(). */
static JudgeEntry read_entry(const Judge *j, uint32_t i)
{
    if (i >= j->nr_zones) {
        return (JudgeEntry) {
            .cond = COND_EMPTY,
            .address = i * j->geo.zone_size,
        };
    }
    return split_entry(j, j->zones[i].entry);
}

uint64_t judge_extension_offset(const Judge *j, uint32_t i)
{
    return j->ext + (uint64_t)i * j->geo.ext_size;
}

void judge_read_extension(const Judge *j, uint32_t i, uint8_t *buf)
{
    uint64_t offset = judge_extension_offset(j, i);
    uint32_t left = j->geo.ext_size;
    uint8_t sector[JUDGE_SECTOR] QEMU_ALIGNED(8);

    while (left > 0) {
        uint32_t at = offset % JUDGE_SECTOR;
        uint32_t n = MIN(left, JUDGE_SECTOR - at);

        content_to_bytes(j->image[offset / JUDGE_SECTOR], sector);
        memcpy(buf, sector + at, n);
        buf += n;
        offset += n;
        left -= n;
    }
}

void judge_make_extension(const Judge *j, uint64_t op, uint8_t *buf)
{
    Content content = content_data(op, UINT16_MAX);

    for (unsigned i = 0; i < j->geo.ext_size / sizeof(uint64_t); i++) {
        stq_le_p(buf + i * sizeof(uint64_t), content_word(content, i));
    }
}

static uint64_t zone_start(const Judge *j, uint32_t i)
{
    return i * j->geo.zone_size;
}

/* The first byte behind what can be written of zone @i. */
static uint64_t zone_cap_limit(const Judge *j, uint32_t i)
{
    uint64_t room = i < j->geo.nr_conv ? j->geo.zone_size
                                       : j->geo.zone_capacity;

    return MIN(zone_start(j, i) + room, j->geo.size);
}

/* Is this entry one that the format allows for zone @i, and this driver? */
static bool check_entry(Judge *j, uint32_t i, const JudgeEntry *entry)
{
    uint64_t min = zone_start(j, i);
    uint64_t max = zone_cap_limit(j, i);
    bool conv = i < j->geo.nr_conv;

    switch (entry->cond) {
    case COND_NOT_WP:
        min = max;
        break;
    case COND_EMPTY:
        max = min;
        break;
    case COND_IOPEN:
    case COND_EOPEN:
    case COND_CLOSED:
        max -= JUDGE_SECTOR;
        break;
    case COND_FULL:
    case COND_RDONLY:
    case COND_OFFLINE:
        break;
    default:
        return fail(j, i, "condition 0x%x", entry->cond);
    }
    if (entry->extended && (conv || entry->cond == COND_EMPTY)) {
        return fail(j, i, "condition 0x%x with an extension", entry->cond);
    }
    if (entry->conv != conv || (entry->cond == COND_NOT_WP) != conv) {
        return fail(j, i, "condition 0x%x and conventional bit %d in a %s zone",
                    entry->cond, entry->conv,
                    conv ? "conventional" : "sequential");
    }
    if (entry->address < min || entry->address > max ||
        entry->address % JUDGE_SECTOR) {
        return fail(j, i, "condition 0x%x with address %" PRIu64, entry->cond,
                    entry->address);
    }
    return true;
}

static bool entry_is_active(const Judge *j, uint32_t i, const JudgeEntry *entry)
{
    return (entry->cond == COND_IOPEN || entry->cond == COND_EOPEN ||
            entry->cond == COND_CLOSED) &&
           (entry->address > zone_start(j, i) || entry->extended);
}

/*
 * The log.
 */

static void free_record(void *opaque)
{
    JudgeRecord *record = opaque;

    g_free(record->sectors);
    g_free(record->bytes);
    g_free(record);
}

/* Is the checksum of a head or record of @length bytes what it must be? */
static bool log_checksum_is_right(const uint8_t *buf, uint32_t length)
{
    g_autofree uint8_t *copy = g_memdup2(buf, length);

    stl_le_p(copy + LOG_CHECKSUM_AT, 0);
    return crc32c(UINT32_MAX, copy, length) ==
           (uint32_t)ldl_le_p(buf + LOG_CHECKSUM_AT);
}

static bool read_head(Judge *j)
{
    Content content = j->image[j->log];
    uint8_t buf[JUDGE_SECTOR];

    if (content == j->head) {
        return true;
    }
    content_to_bytes(content, buf);
    j->head = CONTENT_UNKNOWN;
    j->epoch = ldq_le_p(buf + LOG_EPOCH_AT);
    if (memcmp(buf, "zlog", 4) || !log_checksum_is_right(buf, sizeof(buf)) ||
        j->epoch == 0) {
        return fail(j, UINT32_MAX, "the log has no head");
    }
    for (unsigned i = LOG_EPOCH_AT + 8; i < sizeof(buf); i++) {
        if (buf[i]) {
            return fail(j, UINT32_MAX, "byte %u of the head is not zero", i);
        }
    }
    g_ptr_array_set_size(j->records, 0);
    j->head = content;
    return true;
}

/* The record at block @block, or NULL if the log ends there. */
static JudgeRecord *read_record(const Judge *j, uint32_t block)
{
    const Content *sectors = j->image + judge_log_sector(j, block);
    JudgeRecord *record;
    uint8_t buf[JUDGE_SECTOR];
    uint32_t length;

    if (block >= j->log_blocks || content_kind(*sectors) != CONTENT_OTHER) {
        return NULL;
    }
    content_to_bytes(*sectors, buf);
    length = ldl_le_p(buf + 20);
    if (memcmp(buf, "zrec", 4) || ldq_le_p(buf + LOG_EPOCH_AT) != j->epoch ||
        (uint32_t)ldl_le_p(buf + 16) != block || length < RECORD_ITEMS_AT ||
        length > (j->log_blocks - block) * LOG_BLOCK_LENGTH) {
        return NULL;
    }

    record = g_new0(JudgeRecord, 1);
    record->block = block;
    record->length = length;
    record->nr_runs = ldl_le_p(buf + 24);
    record->nr_sums = ldl_le_p(buf + 28);
    record->nr_sectors = DIV_ROUND_UP(length, JUDGE_SECTOR);
    record->sectors = g_memdup2(sectors, record->nr_sectors * sizeof(Content));
    record->bytes = g_malloc(record->nr_sectors * JUDGE_SECTOR);
    for (uint32_t i = 0; i < record->nr_sectors; i++) {
        content_to_bytes(sectors[i], record->bytes + i * JUDGE_SECTOR);
    }
    if (!log_checksum_is_right(record->bytes, length)) {
        free_record(record);
        return NULL;
    }
    return record;
}

/* A run, and behind the last one a sum */
static const uint8_t *record_item(const JudgeRecord *record, uint32_t i)
{
    return record->bytes + RECORD_ITEMS_AT + i * RECORD_ITEM_LENGTH;
}

/* Is a run one of zones that are there, from zone @first on? */
static bool check_run(Judge *j, const uint8_t *run, uint64_t *first)
{
    uint64_t zone = (uint32_t)ldl_le_p(run);
    uint64_t end = zone + (uint32_t)ldl_le_p(run + 4);
    uint64_t raw = ldq_le_p(run + 8);

    if (zone < *first || zone >= end || end > j->nr_zones) {
        return fail(j, UINT32_MAX, "a record is about zones %" PRIu64 " to %"
                    PRIu64, zone, end);
    }
    for (*first = end; zone < end; zone++, raw += j->geo.zone_size) {
        JudgeEntry entry = split_entry(j, raw);

        if (!check_entry(j, zone, &entry)) {
            return false;
        }
    }
    return true;
}

/* A record that is there must be right in all that it says. */
static bool check_record(Judge *j, const JudgeRecord *record)
{
    uint64_t size = MIN(j->nr_zones * j->geo.zone_size, j->geo.size);
    uint64_t first = 0, summed = 0;

    if (ldq_le_p(record->bytes + 32) != 0 ||
        record->length != RECORD_ITEMS_AT + RECORD_ITEM_LENGTH *
                          ((uint64_t)record->nr_runs + record->nr_sums)) {
        return fail(j, UINT32_MAX, "the record at block %u has a wrong length",
                    record->block);
    }
    for (uint32_t i = 0; i < record->nr_runs; i++) {
        if (!check_run(j, record_item(record, i), &first)) {
            return false;
        }
    }
    for (uint32_t i = 0; i < record->nr_sums; i++) {
        const uint8_t *sum = record_item(record, record->nr_runs + i);
        uint64_t address = ldq_le_p(sum);
        uint32_t length = ldl_le_p(sum + 8);

        summed += length;
        if (address % JUDGE_SECTOR || length % JUDGE_SECTOR || length == 0 ||
            address < j->geo.nr_conv * j->geo.zone_size || length > size ||
            address > size - length || summed > MiB) {
            return fail(j, UINT32_MAX, "the record at block %u has a sum of %u "
                        "bytes at %" PRIu64, record->block, length, address);
        }
    }
    return true;
}

/* Is the data there that the record has sums of? */
static bool has_its_data(const Judge *j, const JudgeRecord *record)
{
    for (uint32_t i = 0; i < record->nr_sums; i++) {
        const uint8_t *sum = record_item(record, record->nr_runs + i);
        uint64_t sector = ldq_le_p(sum) / JUDGE_SECTOR;
        uint32_t n = ldl_le_p(sum + 8) / JUDGE_SECTOR;
        uint32_t crc = UINT32_MAX;
        uint8_t buf[JUDGE_SECTOR];

        while (n-- > 0) {
            content_to_bytes(j->image[j->data + sector++], buf);
            crc = ~crc32c(crc, buf, sizeof(buf));
        }
        if (~crc != (uint32_t)ldl_le_p(sum + 12)) {
            return false;
        }
    }
    return true;
}

/* Reads the records, as far as they are not known already. */
static bool read_records(Judge *j)
{
    uint32_t block = 1;
    JudgeRecord *record;
    guint n;

    for (n = 0; n < j->records->len; n++) {
        record = g_ptr_array_index(j->records, n);
        if (memcmp(record->sectors, j->image + judge_log_sector(j, block),
                   record->nr_sectors * sizeof(Content))) {
            break;
        }
        block += DIV_ROUND_UP(record->length, LOG_BLOCK_LENGTH);
    }
    g_ptr_array_set_size(j->records, n);
    while ((record = read_record(j, block))) {
        g_ptr_array_add(j->records, record);
        if (!check_record(j, record)) {
            j->head = CONTENT_UNKNOWN;
            return false;
        }
        block += DIV_ROUND_UP(record->length, LOG_BLOCK_LENGTH);
    }
    return true;
}

static void apply_record(Judge *j, const JudgeRecord *record)
{
    for (uint32_t i = 0; i < record->nr_runs; i++) {
        const uint8_t *run = record_item(record, i);
        uint32_t zone = ldl_le_p(run);
        uint32_t n = ldl_le_p(run + 4);
        uint64_t raw = ldq_le_p(run + 8);

        for (; n > 0; n--, zone++, raw += j->geo.zone_size) {
            j->zones[zone].entry = raw;
        }
    }
}

/* Finds the entries that are in effect: of the zone table and of the log. */
static bool read_entries(Judge *j)
{
    guint n;

    if (!read_head(j) || !read_records(j)) {
        return false;
    }
    for (uint32_t i = 0; i < j->geo.nr_zones; i++) {
        j->zones[i].entry =
            content_number_at(j->image[j->table + i / ENTRIES_PER_SECTOR],
                              i % ENTRIES_PER_SECTOR * ENTRY_LENGTH);
    }
    n = j->records->len;
    if (n > 0 && !has_its_data(j, g_ptr_array_index(j->records, n - 1))) {
        n--;
    }
    for (guint k = 0; k < n; k++) {
        apply_record(j, g_ptr_array_index(j->records, k));
    }
    return true;
}

/*
 * The history.
 */

static bool is_guest_error(int ret)
{
    return ret == -EINVAL || ret == -ERANGE || ret == -EPERM ||
           ret == -EOVERFLOW || ret == -ETOOMANYREFS || ret == -EACCES;
}

/* It has had its effect, at some time between its begin and its ack. */
static bool op_surely_done(const JudgeOp *op)
{
    return op->ack != JUDGE_NEVER && op->ret == 0;
}

/* It may have had its effect: an error of the host came too late or too soon */
static bool op_maybe_done(const JudgeOp *op)
{
    return op->ack == JUDGE_NEVER || !is_guest_error(op->ret);
}

/* True if, in all orders that are possible, @a came before @b. */
static bool surely_before(const JudgeOp *a, const JudgeOp *b)
{
    return a->ack < b->begin;
}

/* Is it on zones, which it takes in order up to the first that refuses it? */
static bool is_mgmt(const JudgeOp *op)
{
    switch (op->type) {
    case JUDGE_OP_OPEN:
    case JUDGE_OP_CLOSE:
    case JUDGE_OP_FINISH:
    case JUDGE_OP_RESET:
    case JUDGE_OP_RDONLY:
    case JUDGE_OP_OFFLINE:
    case JUDGE_OP_RESTORE:
        return true;
    default:
        return false;
    }
}

/* The last zone that @op is on */
static uint32_t last_zone(const Judge *j, const JudgeOp *op)
{
    return (op->offset + op->bytes - 1) / j->geo.zone_size;
}

/* The same as op_maybe_done(), in zone @i: one behind it may have refused. */
static bool op_maybe_done_in(const Judge *j, const JudgeOp *op, uint32_t i)
{
    return op_maybe_done(op) || (is_mgmt(op) && i < last_zone(j, op));
}

static bool is_write(const JudgeOp *op)
{
    return op->type == JUDGE_OP_WRITE || op->type == JUDGE_OP_APPEND ||
           op->type == JUDGE_OP_ZEROES || op->type == JUDGE_OP_FOUND;
}

/* The operations on a zone, or none */
#define FOREACH_OP(op, list) \
    for (guint op##_i = 0; (list) && op##_i < (list)->len && \
         ((op) = g_ptr_array_index((list), op##_i), true); op##_i++)

static bool is_whole_device(const Judge *j, const JudgeOp *op)
{
    return op->offset == 0 && op->bytes == j->geo.size && j->geo.nr_zones > 1;
}

static bool is_failed(unsigned cond)
{
    return cond == COND_RDONLY || cond == COND_OFFLINE;
}

/* Has a zone the condition READ ONLY or OFFLINE by @op? */
static bool makes_fail(const JudgeOp *op)
{
    return op->type == JUDGE_OP_RDONLY || op->type == JUDGE_OP_OFFLINE ||
           (op->type == JUDGE_OP_FOUND && is_failed(op->cond));
}

/* Has @turn, one of the turns of zone @i, surely come between the two times? */
static bool turn_between(const JudgeOp *turn, int64_t after, int64_t before)
{
    return op_surely_done(turn) && turn->begin > after && turn->ack < before;
}

/*
 * May zone @i, which @fail has made fail, be usable again when @op comes?  What
 * was found there can say so itself.
 */
static bool maybe_works_again(const Judge *j, uint32_t i, const JudgeOp *fail,
                              const JudgeOp *op)
{
    const JudgeOp *turn;

    FOREACH_OP(turn, j->zones[i].turns) {
        if (!makes_fail(turn) && op_maybe_done_in(j, turn, i) &&
            !surely_before(turn, fail) && turn->begin <= op->ack) {
            return true;
        }
    }
    return false;
}

/* Is zone @i, which @fail has made fail, surely usable again at time @then? */
static bool surely_works_again(const Judge *j, uint32_t i, const JudgeOp *fail,
                               int64_t then)
{
    const JudgeOp *turn;

    FOREACH_OP(turn, j->zones[i].turns) {
        if (!makes_fail(turn) && turn_between(turn, fail->ack, then)) {
            return true;
        }
    }
    return false;
}

/* May zone @i be READ ONLY or OFFLINE while @op is under way? */
static bool maybe_failed_during(const Judge *j, uint32_t i, const JudgeOp *op)
{
    const JudgeOp *turn;

    FOREACH_OP(turn, j->zones[i].turns) {
        if (makes_fail(turn) && op_maybe_done_in(j, turn, i) &&
            turn->begin < op->ack &&
            !surely_works_again(j, i, turn, op->begin)) {
            return true;
        }
    }
    return false;
}

/* What has made zone @i fail, surely before @op and until behind it; or NULL */
static const JudgeOp *find_failure(const Judge *j, uint32_t i,
                                   const JudgeOp *op)
{
    const JudgeOp *turn;

    FOREACH_OP(turn, j->zones[i].turns) {
        if (makes_fail(turn) && op_surely_done(turn) &&
            surely_before(turn, op) && !maybe_works_again(j, i, turn, op)) {
            return turn;
        }
    }
    return NULL;
}

/*
 * The same as op_maybe_done_in() for a reset or a finish: none is done in a
 * zone that has failed.
 */
static bool change_maybe_done(const Judge *j, const JudgeOp *op, uint32_t i)
{
    return op_maybe_done_in(j, op, i) && !find_failure(j, i, op);
}

/*
 * The same as op_surely_done() for what the user of the device has sent, in
 * zone @i: an operation on all zones skips those that have failed.
 */
static bool op_surely_done_in(const Judge *j, const JudgeOp *op, uint32_t i)
{
    return op_surely_done(op) &&
           !(is_whole_device(j, op) && maybe_failed_during(j, i, op));
}

/* Was a FUA write of the zone in flight while @op was? */
static bool is_beside_fua(const Judge *j, const JudgeOp *op)
{
    const JudgeOp *other;

    FOREACH_OP(other, j->zones[op->zone].writes) {
        if (other->fua && !surely_before(other, op) &&
            !surely_before(op, other)) {
            return true;
        }
    }
    return false;
}

/*
 * Can data of this write be below a write pointer?  When a write fails, the
 * write pointer goes back to where it began; but if only the flush of a FUA
 * write has failed, it and those behind it may be in the image by then.
 */
static bool write_counts(const Judge *j, const JudgeOp *op)
{
    if (!op_maybe_done(op)) {
        return false;
    }
    return op->ack == JUDGE_NEVER || op->ret == 0 || op->killed ||
           is_beside_fua(j, op);
}

static void add_op(GPtrArray **list, JudgeOp *op)
{
    if (!*list) {
        *list = g_ptr_array_new();
    }
    g_ptr_array_add(*list, op);
}

static JudgeOp *new_op(Judge *j, JudgeOpType type, uint64_t offset,
                       uint64_t bytes)
{
    JudgeOp *op = g_new(JudgeOp, 1);

    *op = (JudgeOp) {
        .number = j->first_number + j->ops->len,
        .type = type,
        .offset = offset,
        .bytes = bytes,
        .zone = offset / j->geo.zone_size,
        .ack = JUDGE_NEVER,
        .durable = JUDGE_NEVER,
        .maybe_reset = JUDGE_NEVER,
        .surely_reset = JUDGE_NEVER,
        .unseen = JUDGE_NEVER,
        .process = j->process,
    };
    g_ptr_array_add(j->ops, op);
    return op;
}

JudgeOp *judge_op_begin(Judge *j, JudgeOpType type, bool fua, uint64_t offset,
                        uint64_t bytes, int64_t now)
{
    JudgeOp *op = new_op(j, type, offset, bytes);

    op->fua = fua;
    op->begin = now;
    switch (type) {
    case JUDGE_OP_FLUSH:
        g_ptr_array_add(j->flushes, op);
        break;
    case JUDGE_OP_RESIZE:
        g_ptr_array_add(j->resizes, op);
        break;
    case JUDGE_OP_CLOSE:
    case JUDGE_OP_FINISH:
    case JUDGE_OP_RESET:
    case JUDGE_OP_OPEN:
        for (uint32_t i = op->zone; i <= last_zone(j, op); i++) {
            add_op(&j->zones[i].mgmt, op);
        }
        break;
    case JUDGE_OP_RDONLY:
    case JUDGE_OP_OFFLINE:
    case JUDGE_OP_RESTORE:
        for (uint32_t i = op->zone; i <= last_zone(j, op); i++) {
            add_op(&j->zones[i].mgmt, op);
            add_op(&j->zones[i].turns, op);
        }
        break;
    case JUDGE_OP_EXTEND:
        add_op(&j->zones[op->zone].extends, op);
        break;
    default:
        if (op->zone < j->geo.nr_conv) {
            g_ptr_array_add(j->conv_writes, op);
        } else {
            add_op(&j->zones[op->zone].writes, op);
        }
        if (type == JUDGE_OP_APPEND) {
            op->offset = JUDGE_NOWHERE;
        }
    }
    return op;
}

void judge_op_ack(Judge *j, JudgeOp *op, int ret, int64_t now)
{
    op->ret = ret;
    op->ack = now;
}

void judge_die(Judge *j, int64_t now)
{
    JudgeOp *op;

    FOREACH_OP(op, j->ops) {
        if (op->ack == JUDGE_NEVER) {
            op->killed = true;
            judge_op_ack(j, op, -ECANCELED, now);
        }
    }
}

/* Was a zone found without anything in it? */
static bool is_found_empty(const JudgeOp *op)
{
    return op->type == JUDGE_OP_FOUND && op->bytes == 0 &&
           (op->cond == COND_EMPTY || op->cond == COND_IOPEN ||
            op->cond == COND_EOPEN);
}

/*
 * What promises that write @w is durable, once it is acknowledged?  Nothing of
 * another process: that one speaks of what it has found.  And a close speaks of
 * what there is in the zone; if there is nothing, of nothing.  A zone that is
 * made to fail, or usable again, durably has what was in it then.
 */
static bool op_settles(const JudgeOp *op, const JudgeOp *w)
{
    if (!op_surely_done(op) || !surely_before(w, op) ||
        op->process != w->process) {
        return false;
    }
    switch (op->type) {
    case JUDGE_OP_FLUSH:
    case JUDGE_OP_FINISH:
        return true;
    case JUDGE_OP_CLOSE:
        return !is_found_empty(w);
    case JUDGE_OP_RDONLY:
    case JUDGE_OP_OFFLINE:
    case JUDGE_OP_RESTORE:
        return op->fua;
    default:
        return false;
    }
}

/* Finds out what became of @w, a write or a turn, in zone @zone. */
static void follow_up(Judge *j, JudgeOp *w, const JudgeZone *zone)
{
    JudgeOp *op;

    if (op_surely_done(w)) {
        if (w->fua || w->type == JUDGE_OP_EXTEND) {
            w->durable = w->ack;
        }
        FOREACH_OP(op, j->flushes) {
            if (op_settles(op, w)) {
                w->durable = MIN(w->durable, op->ack);
            }
        }
    }
    if (!zone) {
        return;
    }
    FOREACH_OP(op, zone->mgmt) {
        if (op_surely_done(w) && op_settles(op, w)) {
            w->durable = MIN(w->durable, op->ack);
        }
        if (op->type == JUDGE_OP_RESET && change_maybe_done(j, op, w->zone) &&
            !surely_before(op, w)) {
            w->maybe_reset = MIN(w->maybe_reset, op->begin);
            if (op_surely_done_in(j, op, w->zone) && surely_before(w, op)) {
                w->surely_reset = MIN(w->surely_reset, op->ack);
            }
        }
    }
}

/*
 * A process has not seen @op: then it is gone as soon as that process has made
 * durable what it has seen.  Before, it may come back: the zone table has it,
 * and a record of the log, which is only in the cache, says what was before.
 */
static void follow_unseen(Judge *j, JudgeOp *op, const JudgeZone *zone)
{
    const JudgeOp *view;

    if (op->unseen == JUDGE_NEVER) {
        return;
    }
    FOREACH_OP(view, zone->writes) {
        if (view->type == JUDGE_OP_FOUND && view->begin >= op->unseen) {
            op->surely_reset = MIN(op->surely_reset, view->durable);
        }
    }
    op->maybe_reset = MIN(op->maybe_reset, op->unseen);
}

/* May zone @i have been made usable again while @op was under way? */
static bool was_maybe_restored_amid(const Judge *j, uint32_t i,
                                    const JudgeOp *op)
{
    const JudgeOp *turn;

    FOREACH_OP(turn, j->zones[i].turns) {
        if (turn->type == JUDGE_OP_RESTORE && op_maybe_done_in(j, turn, i) &&
            !surely_before(turn, op) && !surely_before(op, turn)) {
            return true;
        }
    }
    return false;
}

/*
 * Two writes of a zone without a reset between them, as far as can be known, do
 * not overlap and are acknowledged in the order of their addresses.  But one by
 * which the zone fails waits for that, even if it is usable again by then.
 */
static bool check_ack_order(Judge *j, uint32_t i, const JudgeOp *a,
                            const JudgeOp *b)
{
    const JudgeOp *low = a->offset < b->offset ? a : b;
    const JudgeOp *high = low == a ? b : a;
    const JudgeOp *op;

    if (a->unseen < b->begin) {
        return true;
    }
    FOREACH_OP(op, j->zones[i].mgmt) {
        if (op->type == JUDGE_OP_RESET && change_maybe_done(j, op, i) &&
            !(surely_before(op, a) && surely_before(op, b)) &&
            !(surely_before(a, op) && surely_before(b, op))) {
            return true;
        }
    }
    if (low->offset + low->bytes > high->offset) {
        return fail(j, i, "operations %" PRIu64 " and %" PRIu64 " were both "
                    "acknowledged to have written byte %" PRIu64, low->number,
                    high->number, high->offset);
    }
    if (low->ack > high->ack && !was_maybe_restored_amid(j, i, low)) {
        return fail(j, i, "operation %" PRIu64 " was acknowledged before %"
                    PRIu64 ", which lies in front of it", high->number,
                    low->number);
    }
    return true;
}

/* What was done in zone @i, was not done while it had surely failed. */
static bool check_usable(Judge *j, uint32_t i, const JudgeOp *op)
{
    const JudgeOp *turn;

    if (op->type == JUDGE_OP_FOUND || !op_surely_done_in(j, op, i)) {
        return true;
    }
    turn = find_failure(j, i, op);
    return !turn || fail(j, i, "operation %" PRIu64 " was done though the zone "
                         "had failed (operation %" PRIu64 ")", op->number,
                         turn->number);
}

/* The same for all that was done in zone @i */
static bool check_all_usable(Judge *j, uint32_t i)
{
    const JudgeZone *zone = &j->zones[i];
    const JudgeOp *op;

    FOREACH_OP(op, zone->writes) {
        if (!check_usable(j, i, op)) {
            return false;
        }
    }
    FOREACH_OP(op, zone->extends) {
        if (!check_usable(j, i, op)) {
            return false;
        }
    }
    FOREACH_OP(op, zone->mgmt) {
        if ((op->type == JUDGE_OP_OPEN || op->type == JUDGE_OP_CLOSE ||
             op->type == JUDGE_OP_FINISH || op->type == JUDGE_OP_RESET) &&
            !check_usable(j, i, op)) {
            return false;
        }
    }
    return true;
}

bool judge_end(Judge *j)
{
    JudgeOp *op, *other;

    FOREACH_OP(op, j->conv_writes) {
        follow_up(j, op, NULL);
    }
    for (uint32_t i = j->geo.nr_conv; i < j->geo.nr_zones; i++) {
        const JudgeZone *zone = &j->zones[i];

        FOREACH_OP(op, zone->writes) {
            follow_up(j, op, zone);
        }
        FOREACH_OP(op, zone->extends) {
            follow_up(j, op, zone);
        }
        FOREACH_OP(op, zone->turns) {
            follow_up(j, op, zone);
        }
        FOREACH_OP(op, zone->writes) {
            follow_unseen(j, op, zone);
        }
        FOREACH_OP(op, zone->extends) {
            follow_unseen(j, op, zone);
        }
        FOREACH_OP(op, zone->writes) {
            if (op->type == JUDGE_OP_FOUND || !op_surely_done(op)) {
                continue;
            }
            FOREACH_OP(other, zone->writes) {
                if (other->type == JUDGE_OP_FOUND || !op_surely_done(other)) {
                    continue;
                }
                if (other == op) {
                    break;
                }
                if (!check_ack_order(j, i, other, op)) {
                    return false;
                }
            }
        }
        if (!check_all_usable(j, i)) {
            return false;
        }
    }
    return true;
}

/*
 * A sequential zone.
 */

static Content device_sector(const Judge *j, uint64_t sector)
{
    return j->image[j->data + sector];
}

/* Is sector @sector of the device what @op has written there at @offset? */
static bool holds(const Judge *j, const JudgeOp *op, uint64_t offset,
                  uint64_t sector)
{
    Content content = device_sector(j, sector);

    switch (op->type) {
    case JUDGE_OP_FOUND:
        return content == op->data[sector];
    case JUDGE_OP_ZEROES:
        return content == CONTENT_ZEROES;
    default:
        return content_is_data(content, op->number,
                               sector - offset / JUDGE_SECTOR);
    }
}

/* A reset of zone @i that surely came between the two times. */
static bool reset_between(const Judge *j, uint32_t i, int64_t after,
                          int64_t before)
{
    const JudgeOp *op;

    FOREACH_OP(op, j->zones[i].mgmt) {
        if (op->type == JUDGE_OP_RESET && op_surely_done_in(j, op, i) &&
            after < op->begin && op->ack < before) {
            return true;
        }
    }
    return false;
}

/* The writes that make up the data of a zone, in the order of addresses. */
typedef struct Reading {
    uint32_t zone;
    JudgeEntry entry;
    const JudgeOp *extend;      /* that has set its extension, or NULL */

    /* Of those that were read so far. */
    int64_t last_begin;
    int64_t first_ack;
    int64_t first_unseen;

    /* How far a reading has come that failed, and why. */
    uint64_t *reached;
    const char **why;
} Reading;

static bool give_up(Reading *r, uint64_t position, const char *why)
{
    if (!*r->why || position >= *r->reached) {
        *r->reached = position;
        *r->why = why;
    }
    return false;
}

/*
 * May zone @i have been open, with nothing in it, when @finish came?  By a
 * write that has failed, or by an open: also by one that a later zone refused.
 * Or it was found so: a node that is activated keeps it open.
 */
static bool was_maybe_opened(const Judge *j, uint32_t i, const JudgeOp *finish)
{
    const JudgeOp *op;

    FOREACH_OP(op, j->zones[i].mgmt) {
        if (op->type == JUDGE_OP_OPEN && !surely_before(finish, op) &&
            !reset_between(j, i, op->ack, finish->begin)) {
            return true;
        }
    }
    FOREACH_OP(op, j->zones[i].writes) {
        bool may_open = op->type == JUDGE_OP_FOUND
            ? op->cond == COND_IOPEN || op->cond == COND_EOPEN
            : op_maybe_done(op) && !op_surely_done(op);

        if (may_open && !surely_before(finish, op) &&
            !reset_between(j, i, op->ack, finish->begin)) {
            return true;
        }
    }
    return false;
}

/*
 * Was zone @i, which @fail has made fail, durably made usable by now?  That it
 * was found so is not enough: this may be from a cache.
 */
static bool restored_by_now(const Judge *j, uint32_t i, const JudgeOp *fail)
{
    const JudgeOp *turn;

    FOREACH_OP(turn, j->zones[i].turns) {
        if (turn->type == JUDGE_OP_RESTORE &&
            turn_between(turn, fail->ack, j->now)) {
            return true;
        }
    }
    return false;
}

/* May it have been made so? */
static bool maybe_restored(const Judge *j, uint32_t i, const JudgeOp *fail)
{
    const JudgeOp *turn;

    FOREACH_OP(turn, j->zones[i].turns) {
        if (turn->type == JUDGE_OP_RESTORE && op_maybe_done_in(j, turn, i) &&
            turn->begin < j->now && !surely_before(turn, fail)) {
            return true;
        }
    }
    return false;
}

/*
 * Is the condition that @op has given to zone @i surely gone, as a later
 * process has made durable what it has found?
 */
static bool is_replaced_in(const Judge *j, uint32_t i, const JudgeOp *op)
{
    const JudgeOp *turn;

    FOREACH_OP(turn, j->zones[i].turns) {
        if (turn->type == JUDGE_OP_FOUND && turn->begin > op->begin &&
            turn->durable < j->now) {
            return true;
        }
    }
    return false;
}

/* Has zone @i surely failed since @op, and then become usable again? */
static bool surely_restored_since(const Judge *j, uint32_t i, const JudgeOp *op)
{
    const JudgeOp *turn;

    FOREACH_OP(turn, j->zones[i].turns) {
        if (makes_fail(turn) && turn_between(turn, op->ack, j->now) &&
            restored_by_now(j, i, turn)) {
            return true;
        }
    }
    return false;
}

/* May it be so? */
static bool maybe_restored_since(const Judge *j, uint32_t i, const JudgeOp *op)
{
    const JudgeOp *turn;

    FOREACH_OP(turn, j->zones[i].turns) {
        if (makes_fail(turn) && op_maybe_done_in(j, turn, i) &&
            !surely_before(turn, op) && turn->begin < j->now &&
            maybe_restored(j, i, turn)) {
            return true;
        }
    }
    return false;
}

/*
 * Can @finish have made this zone FULL, with what was read of it?  A finish of
 * the whole device skips zones that are EMPTY.
 */
static bool finish_is_possible(const Judge *j, const Reading *r,
                               const JudgeOp *finish)
{
    bool found_empty = is_whole_device(j, finish) &&
                       r->entry.address == zone_start(j, r->zone) &&
                       !r->entry.extended &&
                       !was_maybe_opened(j, r->zone, finish);

    return change_maybe_done(j, finish, r->zone) && finish->begin < j->now &&
           finish->ack > r->last_begin && !found_empty &&
           !is_replaced_in(j, r->zone, finish) &&
           !surely_restored_since(j, r->zone, finish) &&
           !reset_between(j, r->zone, finish->ack, j->now) &&
           !reset_between(j, r->zone, r->first_ack, finish->begin);
}

/* Can it be that the zone, with what was read of it, is FULL? */
static bool full_is_possible(const Judge *j, const Reading *r)
{
    const JudgeOp *op;

    if (r->entry.cond != COND_FULL ||
        r->entry.address == zone_cap_limit(j, r->zone)) {
        return true;
    }
    FOREACH_OP(op, j->zones[r->zone].mgmt) {
        if (op->type == JUDGE_OP_FINISH && finish_is_possible(j, r, op)) {
            return true;
        }
    }
    /* It may have been found so. */
    FOREACH_OP(op, j->zones[r->zone].writes) {
        if (op->type == JUDGE_OP_FOUND && op->cond == COND_FULL &&
            op->surely_reset >= j->now && r->last_begin <= op->begin &&
            !surely_restored_since(j, r->zone, op)) {
            return true;
        }
    }
    return false;
}

static bool read_on(const Judge *j, Reading r, uint64_t position);

/* Goes on with data of @op at @position. */
static bool read_op(const Judge *j, Reading r, const JudgeOp *op,
                    uint64_t position)
{
    uint64_t end = MIN(position + op->bytes, r.entry.address);

    if (op->begin >= j->now) {
        return give_up(&r, position, "data of an operation that has not begun");
    }
    if (!write_counts(j, op)) {
        return give_up(&r, position, "data of an operation that has failed");
    }
    if (op->surely_reset < j->now) {
        return give_up(&r, position, "data from before a reset");
    }
    if (op->ack < r.last_begin) {
        return give_up(&r, position, "data of an operation that came before "
                       "one whose data lies in front of it");
    }
    if (r.first_unseen < op->begin) {
        return give_up(&r, position, "data of a process that has not seen what "
                       "lies in front of it");
    }
    if (r.extend && r.extend->ack < op->begin && r.extend->ret < 0) {
        return give_up(&r, position, "data of an operation that came when the "
                       "extension had not been set");
    }
    if (reset_between(j, r.zone, r.first_ack, op->begin)) {
        return give_up(&r, position, "data from behind a reset, but in front "
                       "of it data from before that");
    }
    for (uint64_t p = position; p < end; p += JUDGE_SECTOR) {
        if (!holds(j, op, position, p / JUDGE_SECTOR)) {
            return give_up(&r, p, "the data of an operation is not complete");
        }
    }
    r.last_begin = MAX(r.last_begin, op->begin);
    r.first_ack = MIN(r.first_ack, op->ack);
    r.first_unseen = MIN(r.first_unseen, op->unseen);
    return read_on(j, r, end);
}

/* The operation of this history whose data @content is, or NULL. */
static const JudgeOp *find_op(const Judge *j, Content content)
{
    uint64_t i = content_op(content) - j->first_number;

    return content_kind(content) == CONTENT_DATA && i < j->ops->len
           ? g_ptr_array_index(j->ops, i) : NULL;
}

/* Can all from @position on be explained? */
static bool read_on(const Judge *j, Reading r, uint64_t position)
{
    const JudgeOp *op;
    Content content;

    if (position == r.entry.address) {
        return full_is_possible(j, &r) ||
               give_up(&r, position, "it is FULL, but neither filled nor "
                       "finished");
    }
    FOREACH_OP(op, j->zones[r.zone].writes) {
        if ((op->type == JUDGE_OP_FOUND || op->type == JUDGE_OP_ZEROES) &&
            op->offset == position && op->bytes > 0 &&
            read_op(j, r, op, position)) {
            return true;
        }
    }

    content = device_sector(j, position / JUDGE_SECTOR);
    op = find_op(j, content);
    if (!op) {
        return give_up(&r, position, content == CONTENT_ZEROES ?
                       "zeroes that nobody has written" :
                       content_kind(content) == CONTENT_DATA ?
                       "data of an earlier history" : "garbage");
    }
    if (op->zone != r.zone || !is_write(op)) {
        return give_up(&r, position, "data of another zone");
    }
    if (content_index(content) != 0 ||
        (op->offset != position && op->offset != JUDGE_NOWHERE)) {
        return give_up(&r, position, "data in a wrong place");
    }
    return read_op(j, r, op, position);
}

/* Is all there that @op has written to zone @i? */
static bool check_write(Judge *j, uint32_t i, const JudgeEntry *entry,
                        const JudgeOp *op)
{
    if (op->offset + op->bytes > entry->address) {
        return fail(j, i, "operation %" PRIu64 " is lost: the address is %"
                    PRIu64, op->number, entry->address);
    }
    for (uint64_t p = op->offset; p < op->offset + op->bytes;
         p += JUDGE_SECTOR) {
        if (!holds(j, op, op->offset, p / JUDGE_SECTOR)) {
            return fail(j, i, "operation %" PRIu64 " is lost at byte %" PRIu64,
                        op->number, p);
        }
    }
    return true;
}

/* Is all there that must be? */
static bool check_promises(Judge *j, uint32_t i, const JudgeEntry *entry)
{
    const JudgeOp *op;

    FOREACH_OP(op, j->zones[i].writes) {
        if (op->durable >= j->now || op->maybe_reset < j->now) {
            continue;
        }
        if (!check_write(j, i, entry, op)) {
            return false;
        }
        if (op->type == JUDGE_OP_FOUND && op->cond == COND_FULL &&
            entry->cond != COND_FULL && !is_failed(entry->cond) &&
            !maybe_restored_since(j, i, op)) {
            return fail(j, i, "it was FULL, but has condition 0x%x",
                        entry->cond);
        }
    }
    return true;
}

/* Was zone @i surely not EMPTY when @finish began, and ever since? */
static bool was_surely_written(const Judge *j, uint32_t i,
                               const JudgeOp *finish)
{
    const JudgeOp *op;

    FOREACH_OP(op, j->zones[i].writes) {
        if (op_surely_done(op) && op->bytes > 0 && surely_before(op, finish) &&
            op->maybe_reset >= j->now) {
            return true;
        }
    }
    FOREACH_OP(op, j->zones[i].extends) {
        if (op_surely_done(op) && surely_before(op, finish) &&
            op->maybe_reset >= j->now) {
            return true;
        }
    }
    return false;
}

/* What is finished stays FULL, but a finish of all skips what is empty. */
static bool check_finished(Judge *j, uint32_t i, const JudgeEntry *entry)
{
    const JudgeOp *op, *reset;

    if (entry->cond == COND_FULL || is_failed(entry->cond)) {
        return true;
    }
    FOREACH_OP(op, j->zones[i].mgmt) {
        bool required = op->type == JUDGE_OP_FINISH &&
                        op_surely_done_in(j, op, i) && op->ack < j->now &&
                        !maybe_restored_since(j, i, op);

        if (!required ||
            (is_whole_device(j, op) && !was_surely_written(j, i, op))) {
            continue;
        }
        FOREACH_OP(reset, j->zones[i].mgmt) {
            if (reset->type == JUDGE_OP_RESET &&
                change_maybe_done(j, reset, i) &&
                reset->begin < j->now && !surely_before(reset, op)) {
                required = false;
            }
        }
        if (required) {
            return fail(j, i, "it was finished (operation %" PRIu64 "), but "
                        "has condition 0x%x", op->number, entry->cond);
        }
    }
    return true;
}

/*
 * If it was @turn that has made zone @i fail: all writes were done before,
 * those included that were in flight then, and no more came.  Are they all
 * there?
 */
static bool check_failed_data(Judge *j, uint32_t i, const JudgeEntry *entry,
                              const JudgeOp *turn)
{
    const JudgeOp *op;

    FOREACH_OP(op, j->zones[i].writes) {
        if (op_surely_done(op) && op->maybe_reset >= j->now &&
            !maybe_works_again(j, i, turn, op) &&
            !check_write(j, i, entry, op)) {
            return false;
        }
    }
    return true;
}

/* Can it be that zone @i has the condition @cond by @turn? */
static bool turn_is_possible(const Judge *j, uint32_t i, const JudgeOp *turn,
                             unsigned cond)
{
    unsigned made = turn->type == JUDGE_OP_RDONLY ? COND_RDONLY :
                    turn->type == JUDGE_OP_OFFLINE ? COND_OFFLINE : turn->cond;

    return makes_fail(turn) && made == cond && turn->begin < j->now &&
           op_maybe_done_in(j, turn, i) && !is_replaced_in(j, i, turn) &&
           !restored_by_now(j, i, turn);
}

/* Zone @i is READ ONLY or OFFLINE: is there something that has made it so? */
static bool check_why_failed(Judge *j, uint32_t i, const JudgeEntry *entry)
{
    const JudgeOp *turn;

    fail(j, i, "nothing has given it condition 0x%x", entry->cond);
    FOREACH_OP(turn, j->zones[i].turns) {
        if (turn_is_possible(j, i, turn, entry->cond) &&
            check_failed_data(j, i, entry, turn)) {
            return true;
        }
    }
    return false;
}

/* What was made READ ONLY or OFFLINE is so, until it may be usable again. */
static bool check_turns(Judge *j, uint32_t i, const JudgeEntry *entry)
{
    const JudgeOp *turn;

    FOREACH_OP(turn, j->zones[i].turns) {
        bool rdonly = turn->type == JUDGE_OP_RDONLY ||
                      turn->cond == COND_RDONLY;

        if (makes_fail(turn) && op_surely_done(turn) &&
            turn->durable < j->now && !maybe_restored(j, i, turn) &&
            entry->cond != COND_OFFLINE &&
            !(rdonly && entry->cond == COND_RDONLY)) {
            return fail(j, i, "it had failed (operation %" PRIu64 "), but has "
                        "condition 0x%x", turn->number, entry->cond);
        }
    }
    return !is_failed(entry->cond) || check_why_failed(j, i, entry);
}

/* Is @ext what @op has set, or what was found? */
static bool holds_extension(const Judge *j, const JudgeOp *op,
                            const uint8_t *ext)
{
    g_autofree uint8_t *made = NULL;

    if (op->type == JUDGE_OP_FOUND) {
        return !memcmp(ext, op->ext + (size_t)op->zone * j->geo.ext_size,
                       j->geo.ext_size);
    }
    made = g_malloc(j->geo.ext_size);
    judge_make_extension(j, op->number, made);
    return !memcmp(ext, made, j->geo.ext_size);
}

/* Can the data of zone @i be explained, if @extend has set its extension? */
static bool read_zone(const Judge *j, uint32_t i, const JudgeEntry *entry,
                      const JudgeOp *extend, uint64_t *reached,
                      const char **why)
{
    Reading r = {
        .zone = i,
        .entry = *entry,
        .extend = extend,
        .last_begin = extend ? extend->begin : INT64_MIN,
        .first_ack = extend ? extend->ack : JUDGE_NEVER,
        .first_unseen = extend ? extend->unseen : JUDGE_NEVER,
        .reached = reached,
        .why = why,
    };

    return read_on(j, r, zone_start(j, i));
}

/* Has the zone an extension that it may have, and data that goes with it? */
static bool check_data(Judge *j, uint32_t i, const JudgeEntry *entry,
                       const uint8_t *ext)
{
    uint64_t reached = 0;
    const char *why = NULL;
    const JudgeOp *op;

    if (!ext && read_zone(j, i, entry, NULL, &reached, &why)) {
        return true;
    }
    FOREACH_OP(op, ext ? j->zones[i].extends : NULL) {
        if (op->begin < j->now && op_maybe_done(op) &&
            op->surely_reset >= j->now && holds_extension(j, op, ext) &&
            read_zone(j, i, entry, op, &reached, &why)) {
            return true;
        }
    }
    if (!why) {
        return fail(j, i, "its extension is none that was set");
    }
    return fail(j, i, "at byte %" PRIu64 " of the zone: %s",
                reached - zone_start(j, i), why);
}

/* Has the zone the extension that it must have, and data that it may have? */
static bool check_extension_and_data(Judge *j, uint32_t i,
                                     const JudgeEntry *entry)
{
    g_autofree uint8_t *ext = NULL;
    const JudgeOp *op;

    if (entry->extended) {
        ext = g_malloc(j->geo.ext_size);
        judge_read_extension(j, i, ext);
    }
    FOREACH_OP(op, j->zones[i].extends) {
        if (op->durable < j->now && op->maybe_reset >= j->now &&
            !(ext && holds_extension(j, op, ext))) {
            return fail(j, i, "the extension of operation %" PRIu64 " is lost",
                        op->number);
        }
    }
    return check_data(j, i, entry, ext);
}

/*
 * Conventional zones.
 */

static bool covers(const JudgeOp *op, uint64_t sector)
{
    uint64_t offset = sector * JUDGE_SECTOR;

    return offset >= op->offset && offset < op->offset + op->bytes &&
           !(op->type == JUDGE_OP_FOUND &&
             op->data[sector] == CONTENT_UNKNOWN);
}

/* Is there something durable in this sector that is surely newer than @op? */
static bool is_replaced(const Judge *j, const JudgeOp *op, uint64_t sector)
{
    const JudgeOp *newer;

    FOREACH_OP(newer, j->conv_writes) {
        if (is_write(newer) && newer->durable < j->now &&
            surely_before(op, newer) && covers(newer, sector)) {
            return true;
        }
    }
    return false;
}

static bool conv_sector_is_possible(const Judge *j, uint64_t sector)
{
    const JudgeOp *op;

    FOREACH_OP(op, j->conv_writes) {
        if (op->begin < j->now && covers(op, sector) &&
            (op->type == JUDGE_OP_DISCARD ||
             holds(j, op, op->offset, sector)) &&
            op_maybe_done(op) && !is_replaced(j, op, sector)) {
            return true;
        }
    }
    return false;
}

static bool check_conv_zone(Judge *j, uint32_t i)
{
    uint64_t first = zone_start(j, i) / JUDGE_SECTOR;
    uint64_t limit = zone_cap_limit(j, i) / JUDGE_SECTOR;

    for (uint64_t sector = first; sector < limit; sector++) {
        if (!conv_sector_is_possible(j, sector)) {
            return fail(j, i, "conventional sector %" PRIu64 " holds neither "
                        "what was last flushed nor something newer",
                        sector - first);
        }
    }
    return true;
}

/*
 * Judgements.
 */

/* Adds to @nr_active if zone @i is active. */
static bool check_zone(Judge *j, uint32_t i, uint32_t *nr_active)
{
    JudgeEntry entry = read_entry(j, i);

    if (!check_entry(j, i, &entry)) {
        return false;
    }
    *nr_active += entry_is_active(j, i, &entry);
    if (i < j->geo.nr_conv) {
        return check_conv_zone(j, i);
    }
    return check_promises(j, i, &entry) && check_finished(j, i, &entry) &&
           check_turns(j, i, &entry) &&
           check_extension_and_data(j, i, &entry);
}

/*
 * The size of the device.  A resize that was acknowledged is durable.  Of one
 * that has failed, or whose process has died, nobody knows; nor is what a
 * process has found durable.  But a flush makes the size durable that the
 * device has then.
 */

/* What has set the size last, as the process of @flush sees it; or NULL */
static const JudgeOp *size_at(const Judge *j, const JudgeOp *flush)
{
    const JudgeOp *op, *last = NULL;

    FOREACH_OP(op, j->resizes) {
        if (op->begin < flush->ack && op->ack > flush->begin) {
            return NULL;
        }
        if (surely_before(op, flush) && op_surely_done(op)) {
            last = op;
        }
    }
    return last;
}

/* Is it impossible that the image has the size that @op has set? */
static bool size_is_gone(const Judge *j, const JudgeOp *op)
{
    const JudgeOp *other;

    FOREACH_OP(other, j->resizes) {
        if (other->type == JUDGE_OP_RESIZE && op_surely_done(other) &&
            other->ack < j->now && surely_before(op, other)) {
            return true;
        }
    }
    FOREACH_OP(other, j->flushes) {
        if (op_surely_done(other) && other->ack < j->now &&
            surely_before(op, other)) {
            const JudgeOp *now = size_at(j, other);

            if (now && now->bytes != op->bytes) {
                return true;
            }
        }
    }
    return false;
}

static bool check_size(Judge *j)
{
    uint64_t size = MIN(j->nr_zones * j->geo.zone_size, j->geo.size);
    const JudgeOp *op;

    FOREACH_OP(op, j->resizes) {
        if (op->bytes == size && op->begin < j->now && op_maybe_done(op) &&
            !size_is_gone(j, op)) {
            return true;
        }
    }
    return fail(j, UINT32_MAX, "the device has %" PRIu64 " bytes", size);
}

static bool check_active(Judge *j, uint32_t nr_active)
{
    if (j->geo.max_active && nr_active > j->geo.max_active) {
        return fail(j, UINT32_MAX, "%u zones are active, the limit is %u",
                    nr_active, j->geo.max_active);
    }
    return true;
}

static void mark_varying(Judge *j, uint32_t i)
{
    if (i < j->geo.nr_zones && !j->zones[i].varies) {
        j->zones[i].varies = true;
        g_array_append_val(j->varying, i);
    }
}

uint64_t judge_table_limit(const Judge *j)
{
    return j->geo.ext_size ? j->ext / JUDGE_SECTOR : j->log;
}

/* The zones that sector @sector of the file belongs to */
static void mark_varying_sector(Judge *j, uint32_t sector)
{
    if (sector >= j->data) {
        mark_varying(j, (sector - j->data) * (uint64_t)JUDGE_SECTOR /
                        j->geo.zone_size);
    } else if (sector >= j->log) {
        /* Entries: judge_state() sees which have changed. */
    } else if (sector >= judge_table_limit(j)) {
        uint64_t at = (uint64_t)sector * JUDGE_SECTOR - j->ext;
        uint32_t last = (at + JUDGE_SECTOR - 1) / j->geo.ext_size;

        for (uint32_t i = at / j->geo.ext_size; i <= last; i++) {
            mark_varying(j, i);
        }
    } else if (sector < j->table) {
        /* The header: some zones may be there or not. */
        for (uint32_t i = j->geo.nr_conv; i < j->geo.nr_zones; i++) {
            mark_varying(j, i);
        }
    }
}

bool judge_cut(Judge *j, int64_t now, const Content *image,
               const uint32_t *varying, size_t n)
{
    for (guint k = 0; k < j->varying->len; k++) {
        j->zones[g_array_index(j->varying, uint32_t, k)].varies = false;
    }
    g_array_set_size(j->varying, 0);

    j->now = now;
    j->image = image;
    j->fixed_active = 0;
    if (!read_header(j) || !check_size(j) || !read_entries(j)) {
        return false;
    }
    for (size_t k = 0; k < n; k++) {
        mark_varying_sector(j, varying[k]);
    }
    for (uint32_t i = 0; i < j->geo.nr_zones; i++) {
        JudgeZone *zone = &j->zones[i];
        uint32_t active = 0;

        if (!zone->varies && !check_zone(j, i, &active)) {
            return false;
        }
        zone->judged_entry = zone->entry;
        zone->judged_active = active;
        j->fixed_active += active;
    }
    return check_active(j, j->fixed_active);
}

bool judge_state(Judge *j)
{
    uint32_t nr_active = j->fixed_active;

    if (!read_header(j) || !check_size(j) || !read_entries(j)) {
        return false;
    }
    for (uint32_t i = 0; i < j->geo.nr_zones; i++) {
        const JudgeZone *zone = &j->zones[i];

        if (zone->varies || zone->entry != zone->judged_entry) {
            nr_active -= zone->judged_active;
            if (!check_zone(j, i, &nr_active)) {
                return false;
            }
        }
    }
    return check_active(j, nr_active);
}

const char *judge_why(const Judge *j)
{
    return j->why->str;
}

uint32_t judge_nr_zones(const Judge *j)
{
    return j->nr_zones;
}

JudgeEntry judge_entry(const Judge *j, uint32_t i)
{
    return read_entry(j, i);
}

uint64_t judge_entry_offset(const Judge *j, uint32_t i)
{
    return j->table * JUDGE_SECTOR + (uint64_t)i * ENTRY_LENGTH;
}

uint64_t judge_log_sector(const Judge *j, uint32_t block)
{
    return j->log + block * LOG_BLOCK_SECTORS;
}

void judge_empty_log(const Judge *j, Content *image)
{
    for (uint32_t i = 0; i < j->nr_zones; i++) {
        Content *content = &image[j->table + i / ENTRIES_PER_SECTOR];
        uint8_t buf[JUDGE_SECTOR] QEMU_ALIGNED(8);

        content_to_bytes(*content, buf);
        stq_le_p(buf + i % ENTRIES_PER_SECTOR * ENTRY_LENGTH,
                 j->zones[i].entry);
        *content = content_of_bytes(buf);
    }
    image[judge_log_sector(j, 1)] = CONTENT_ZEROES;
}

uint64_t judge_data_sector(const Judge *j, uint64_t sector)
{
    return j->data + sector;
}

Judge *judge_new(const JudgeGeometry *geo)
{
    Judge *j = g_new0(Judge, 1);

    j->geo = *geo;
    j->zones = g_new0(JudgeZone, geo->nr_zones);
    j->ops = g_ptr_array_new_with_free_func(g_free);
    j->conv_writes = g_ptr_array_new();
    j->flushes = g_ptr_array_new();
    j->resizes = g_ptr_array_new();
    j->found = g_ptr_array_new_with_free_func(g_free);
    j->varying = g_array_new(false, false, sizeof(uint32_t));
    j->records = g_ptr_array_new_with_free_func(free_record);
    j->why = g_string_new("");
    return j;
}

static void forget_ops(Judge *j)
{
    for (uint32_t i = 0; i < j->geo.nr_zones; i++) {
        g_clear_pointer(&j->zones[i].writes, g_ptr_array_unref);
        g_clear_pointer(&j->zones[i].mgmt, g_ptr_array_unref);
        g_clear_pointer(&j->zones[i].extends, g_ptr_array_unref);
        g_clear_pointer(&j->zones[i].turns, g_ptr_array_unref);
    }
    j->first_number += j->ops->len;
    g_ptr_array_set_size(j->ops, 0);
    g_ptr_array_set_size(j->conv_writes, 0);
    g_ptr_array_set_size(j->flushes, 0);
    g_ptr_array_set_size(j->resizes, 0);
    g_ptr_array_set_size(j->found, 0);
    j->process = 0;
}

void judge_free(Judge *j)
{
    forget_ops(j);
    g_free(j->zones);
    g_ptr_array_unref(j->found);
    g_ptr_array_unref(j->ops);
    g_ptr_array_unref(j->conv_writes);
    g_ptr_array_unref(j->flushes);
    g_ptr_array_unref(j->resizes);
    g_array_unref(j->varying);
    g_ptr_array_unref(j->records);
    g_string_free(j->why, true);
    g_free(j);
}

/* All extensions of the image, also those that are not valid. */
static uint8_t *read_extensions(const Judge *j)
{
    uint8_t *ext = g_malloc((size_t)j->geo.nr_zones * j->geo.ext_size);

    for (uint32_t i = 0; j->geo.ext_size && i < j->geo.nr_zones; i++) {
        judge_read_extension(j, i, ext + (size_t)i * j->geo.ext_size);
    }
    return ext;
}

/*
 * The data of the image, without the sectors of conventional zones that are set
 * in @given_up: who takes the image over writes all else that a cache may have
 */
static Content *read_data(const Judge *j, const unsigned long *given_up)
{
    uint64_t n = j->geo.size / JUDGE_SECTOR;
    uint64_t nr_conv = MIN(n, j->geo.nr_conv * j->geo.zone_size / JUDGE_SECTOR);
    Content *data = g_memdup2(j->image + j->data, n * sizeof(Content));

    for (uint64_t sector = 0; given_up && sector < nr_conv; sector++) {
        if (test_bit(j->data + sector, given_up)) {
            data[sector] = CONTENT_UNKNOWN;
        }
    }
    return data;
}

/* Does the zone that was found, @zone with @entry, hold data of @op? */
static bool found_holds(const Judge *j, const JudgeEntry *entry,
                        const JudgeOp *op)
{
    bool anywhere = op->offset == JUDGE_NOWHERE;

    if (!anywhere) {
        return op->offset < entry->address &&
               holds(j, op, op->offset, op->offset / JUDGE_SECTOR);
    }
    for (uint64_t p = zone_start(j, op->zone); p < entry->address;
         p += JUDGE_SECTOR) {
        if (content_is_data(device_sector(j, p / JUDGE_SECTOR), op->number,
                            0)) {
            return true;
        }
    }
    return false;
}

/* A process begins at time @now: which operations on zone @i are not found? */
static void mark_unseen(Judge *j, uint32_t i, const JudgeEntry *entry,
                        const uint8_t *ext, int64_t now)
{
    JudgeOp *op;

    FOREACH_OP(op, j->zones[i].writes) {
        if (op->bytes > 0 && !found_holds(j, entry, op)) {
            op->unseen = MIN(op->unseen, now);
        }
    }
    FOREACH_OP(op, j->zones[i].extends) {
        if (!entry->extended ||
            !holds_extension(j, op, ext + (size_t)i * j->geo.ext_size)) {
            op->unseen = MIN(op->unseen, now);
        }
    }
}

/*
 * A process begins at time @now: @data and @ext are there, as if it had written
 * them just then.
 */
static JudgeOp *new_found(Judge *j, uint64_t offset, uint64_t bytes,
                          const Content *data, const uint8_t *ext, int64_t now)
{
    JudgeOp *op = new_op(j, JUDGE_OP_FOUND, offset, bytes);

    op->begin = op->ack = now;
    op->data = data;
    op->ext = ext;
    return op;
}

/* A process begins at time @now with j->image; see judge_reopen(). */
static bool find_image(Judge *j, const unsigned long *given_up, int64_t now)
{
    const JudgeGeometry *geo = &j->geo;
    Content *data;
    uint8_t *ext;

    if (!read_header(j) || !read_entries(j)) {
        return false;
    }
    data = read_data(j, given_up);
    g_ptr_array_add(j->found, data);
    ext = read_extensions(j);
    g_ptr_array_add(j->found, ext);

    g_ptr_array_add(j->resizes,
                    new_found(j, 0, MIN(j->nr_zones * geo->zone_size,
                                        geo->size), data, ext, now));
    if (geo->nr_conv) {
        g_ptr_array_add(j->conv_writes,
                        new_found(j, 0, MIN(geo->nr_conv * geo->zone_size,
                                            geo->size), data, ext, now));
    }
    for (uint32_t i = geo->nr_conv; i < geo->nr_zones; i++) {
        JudgeEntry entry = read_entry(j, i);
        uint64_t start = zone_start(j, i);
        JudgeOp *op;

        if (!check_entry(j, i, &entry)) {
            return false;
        }
        mark_unseen(j, i, &entry, ext, now);
        op = new_found(j, start, entry.address - start, data, ext, now);
        op->cond = entry.cond;
        add_op(&j->zones[i].writes, op);
        add_op(&j->zones[i].turns, op);
        if (entry.extended) {
            add_op(&j->zones[i].extends,
                   new_found(j, start, 0, data, ext, now));
        }
    }
    return true;
}

bool judge_start(Judge *j, const Content *image)
{
    JudgeOp *op;

    forget_ops(j);
    j->image = image;
    j->header = CONTENT_UNKNOWN;
    if (!find_image(j, NULL, -1)) {
        return false;
    }
    FOREACH_OP(op, j->ops) {
        op->durable = -1;
    }
    return true;
}

bool judge_reopen(Judge *j, const Content *image, const unsigned long *given_up,
                  int64_t now)
{
    j->image = image;
    j->now = now;
    j->process++;
    return find_image(j, given_up, now);
}

/*
 * For a person.
 */

static const char *const op_names[] = {
    [JUDGE_OP_WRITE] = "write",
    [JUDGE_OP_APPEND] = "append",
    [JUDGE_OP_ZEROES] = "write zeroes",
    [JUDGE_OP_DISCARD] = "discard",
    [JUDGE_OP_FLUSH] = "flush",
    [JUDGE_OP_OPEN] = "open",
    [JUDGE_OP_CLOSE] = "close",
    [JUDGE_OP_FINISH] = "finish",
    [JUDGE_OP_RESET] = "reset",
    [JUDGE_OP_RDONLY] = "make read only",
    [JUDGE_OP_OFFLINE] = "make offline",
    [JUDGE_OP_RESTORE] = "restore",
    [JUDGE_OP_EXTEND] = "set extension",
    [JUDGE_OP_RESIZE] = "resize",
    [JUDGE_OP_FOUND] = "found",
};

static void describe_op(const JudgeOp *op, GString *text)
{
    g_string_append_printf(text, "  operation %" PRIu64 ": %s%s ", op->number,
                           op_names[op->type],
                           op->fua ? " FUA" : "");
    if (op->offset == JUDGE_NOWHERE) {
        g_string_append_printf(text, "zone %u", op->zone);
    } else {
        g_string_append_printf(text, "%" PRIu64, op->offset);
    }
    g_string_append_printf(text, "+%" PRIu64 ", began %" PRId64, op->bytes,
                           op->begin);
    if (op->ack != JUDGE_NEVER) {
        g_string_append_printf(text, ", ack %" PRId64 ": %d", op->ack, op->ret);
    }
    if (op->durable != JUDGE_NEVER) {
        g_string_append_printf(text, ", durable at %" PRId64, op->durable);
    }
    if (op->unseen != JUDGE_NEVER) {
        g_string_append_printf(text, ", not found at %" PRId64, op->unseen);
    }
    g_string_append(text, "\n");
}

static void describe_content(Content content, GString *text)
{
    switch (content_kind(content)) {
    case CONTENT_DATA:
        g_string_append_printf(text, " %" PRIu64 ":%u", content_op(content),
                               content_index(content));
        break;
    case CONTENT_GARBAGE:
        g_string_append(text, " garbage");
        break;
    case CONTENT_OTHER:
        g_string_append(text, " other");
        break;
    default:
        g_string_append(text, " 0");
    }
}

void judge_describe(const Judge *j, GString *text)
{
    uint32_t i = j->why_zone;
    const JudgeOp *op;
    JudgeEntry entry;

    g_string_append_printf(text, "power cut at %" PRId64, j->now);
    if (i == UINT32_MAX) {
        g_string_append_printf(text, ": %s\n", j->why->str);
        return;
    }
    entry = read_entry(j, i);
    g_string_append_printf(text, ", zone %u (start %" PRIu64 ", capacity until "
                           "%" PRIu64 "): %s\n  entry: condition 0x%x, address "
                           "%" PRIu64 "%s\n  sectors:", i, zone_start(j, i),
                           zone_cap_limit(j, i), j->why->str, entry.cond,
                           entry.address, entry.extended ? ", extended" : "");
    for (uint64_t p = zone_start(j, i); p < zone_cap_limit(j, i);
         p += JUDGE_SECTOR) {
        describe_content(device_sector(j, p / JUDGE_SECTOR), text);
    }
    g_string_append(text, "\n");
    FOREACH_OP(op, i < j->geo.nr_conv ? j->conv_writes : j->zones[i].writes) {
        describe_op(op, text);
    }
    FOREACH_OP(op, j->zones[i].mgmt) {
        describe_op(op, text);
    }
    FOREACH_OP(op, j->zones[i].extends) {
        describe_op(op, text);
    }
    FOREACH_OP(op, j->flushes) {
        describe_op(op, text);
    }
    FOREACH_OP(op, j->resizes) {
        describe_op(op, text);
    }
}

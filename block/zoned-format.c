/*
 * zoned block format driver: the image format
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/bitmap.h"
#include "qemu/bswap.h"
#include "qemu/crc32c.h"
#include "qemu/cutils.h"
#include "zoned-format.h"

#define ZONED_MAGIC "zone"
#define ZONED_VERSION 1
#define ZONED_LOG_HEAD_MAGIC "zlog"
#define ZONED_LOG_RECORD_MAGIC "zrec"

/* The highest version and the largest header that there will ever be. */
#define ZONED_VERSION_MAX UINT8_MAX
#define ZONED_HEADER_SIZE_MAX (64 * KiB)

#define HEADER_MODEL_HOST_MANAGED 1

#define ENTRY_COND_SHIFT 60
#define ENTRY_CONV (1ULL << 59)
#define ENTRY_ADDRESS_MASK (ENTRY_CONV - 1)

/* In an image with extensions; else it is a bit of the address. */
#define ENTRY_EXT_VALID (1ULL << 58)

/* The header in the image; all numbers are little-endian. */
typedef struct QEMU_PACKED ZonedDiskHeader {
    uint8_t magic[4];
    uint32_t version;
    uint32_t header_length;
    uint32_t checksum;              /* CRC-32C of the header, with 0 here */
    uint64_t incompatible_features;
    uint64_t compatible_features;
    uint64_t autoclear_features;
    uint64_t size;
    uint64_t zone_size;
    uint64_t zone_capacity;
    uint32_t nr_zones;
    uint32_t nr_conv;
    uint32_t nr_seq;
    uint32_t max_open;
    uint32_t max_active;
    uint32_t max_append_sectors;
    uint32_t model;
    uint32_t zd_extension_size;
    uint64_t table_offset;
    uint64_t data_offset;
    uint64_t zd_extension_offset;
    uint64_t log_offset;
    uint32_t log_blocks;
    uint8_t zeroes[380];
} ZonedDiskHeader;

QEMU_BUILD_BUG_ON(sizeof(ZonedDiskHeader) != ZONED_HEADER_SIZE);

/* Where the numbers of a head of the log and of a record are, in bytes. */
enum {
    LOG_CHECKSUM = 4,
    LOG_EPOCH = 8,
    LOG_BLOCK = 16,
    LOG_BYTES = 20,
    LOG_NR_RUNS = 24,
    LOG_NR_SUMS = 28,
    LOG_ZEROES = 32,
    LOG_ITEMS = 40,         /* runs, then sums, of LOG_ITEM_SIZE bytes each */
};
#define LOG_ITEM_SIZE 16

static uint32_t header_checksum(const ZonedDiskHeader *disk)
{
    ZonedDiskHeader copy = *disk;

    copy.checksum = 0;
    return crc32c(0xffffffff, (const uint8_t *)&copy, sizeof(copy));
}

static bool extension_size_validate(const ZonedGeometry *geo, Error **errp)
{
    uint32_t size = geo->zd_extension_size;

    if (size > ZONED_EXTENSION_MAX || size % ZONED_EXTENSION_UNIT) {
        error_setg(errp, "Zone descriptor extensions of %u bytes are impossible"
                   ": use a multiple of %d up to %d, for example %d", size,
                   ZONED_EXTENSION_UNIT, ZONED_EXTENSION_MAX,
                   size > ZONED_EXTENSION_MAX
                   ? ZONED_EXTENSION_MAX
                   : (int)ROUND_UP(size, ZONED_EXTENSION_UNIT));
        return false;
    }
    if (size && geo->size > ZONED_MAX_SIZE_EXTENDED) {
        error_setg(errp, "A device of %" PRIu64 " bytes is too large for zone "
                   "descriptor extensions: use at most %" PRIu64 " bytes, or "
                   "no extensions", geo->size,
                   (uint64_t)ZONED_MAX_SIZE_EXTENDED);
        return false;
    }
    return true;
}

bool zoned_geometry_validate(const ZonedGeometry *geo, Error **errp)
{
    if (geo->size == 0 || geo->size > ZONED_MAX_SIZE) {
        error_setg(errp, "Device size %" PRIu64 " is not between 1 and %"
                   PRIu64 " bytes", geo->size, (uint64_t)ZONED_MAX_SIZE);
        return false;
    }
    if (geo->zone_size == 0) {
        error_setg(errp, "Zone size must not be zero");
        return false;
    }
    if (geo->zone_size > geo->size) {
        error_setg(errp, "Zone size %" PRIu64 " is larger than the device (%"
                   PRIu64 " bytes)", geo->zone_size, geo->size);
        return false;
    }
    if (geo->zone_capacity == 0 || geo->zone_capacity > geo->zone_size) {
        error_setg(errp, "Zone capacity %" PRIu64 " is not between 1 and the "
                   "zone size (%" PRIu64 " bytes)", geo->zone_capacity,
                   geo->zone_size);
        return false;
    }
    if (!QEMU_IS_ALIGNED(geo->size | geo->zone_size | geo->zone_capacity,
                         ZONED_ALIGNMENT)) {
        error_setg(errp, "Device size %" PRIu64 ", zone size %" PRIu64 " and "
                   "zone capacity %" PRIu64 " must all be multiples of %" PRIu64
                   " bytes", geo->size, geo->zone_size, geo->zone_capacity,
                   (uint64_t)ZONED_ALIGNMENT);
        return false;
    }
    if (DIV_ROUND_UP(geo->size, geo->zone_size) > ZONED_MAX_ZONES) {
        error_setg(errp, "A device of %" PRIu64 " bytes has more than %u zones "
                   "of %" PRIu64 " bytes; use larger zones", geo->size,
                   ZONED_MAX_ZONES, geo->zone_size);
        return false;
    }
    if (geo->nr_zones != DIV_ROUND_UP(geo->size, geo->zone_size)) {
        error_setg(errp, "%u zones of %" PRIu64 " bytes do not make a device "
                   "of %" PRIu64 " bytes", geo->nr_zones, geo->zone_size,
                   geo->size);
        return false;
    }
    if (geo->nr_conv > geo->nr_zones) {
        error_setg(errp, "%u conventional zones are more than the device has "
                   "zones (%u)", geo->nr_conv, geo->nr_zones);
        return false;
    }
    if (geo->max_active && geo->max_open > geo->max_active) {
        error_setg(errp, "Open zones are active: max_open_zones (%u) must not "
                   "be larger than max_active_zones (%u)", geo->max_open,
                   geo->max_active);
        return false;
    }
    return extension_size_validate(geo, errp);
}

/* Bytes of a table with @entry_size bytes for each of @nr_zones. */
static uint64_t table_size(uint32_t nr_zones, uint32_t entry_size)
{
    return ROUND_UP((uint64_t)nr_zones * entry_size, ZONED_TABLE_BLOCK);
}

uint64_t zoned_table_size(const ZonedGeometry *geo)
{
    return table_size(geo->nr_zones, ZONED_ENTRY_SIZE);
}

uint64_t zoned_extension_table_size(const ZonedGeometry *geo)
{
    return table_size(geo->nr_zones, geo->zd_extension_size);
}

/* The largest device that can have the extensions of @geo, in bytes. */
static uint64_t max_size(const ZonedGeometry *geo)
{
    return geo->zd_extension_size ? ZONED_MAX_SIZE_EXTENDED : ZONED_MAX_SIZE;
}

uint32_t zoned_max_zones(const ZonedGeometry *geo)
{
    return MAX(geo->nr_zones,
               MIN(max_size(geo) / geo->zone_size, ZONED_MAX_ZONES));
}

uint32_t zoned_header_max_zones(const ZonedHeader *h)
{
    const ZonedGeometry *geo = &h->geo;
    uint64_t tables_end = h->log_offset ?: h->data_offset;
    uint64_t table_end = h->extension_offset ?: tables_end;
    uint64_t n = (table_end - h->table_offset) / ZONED_ENTRY_SIZE;

    if (geo->zd_extension_size) {
        n = MIN(n, (tables_end - h->extension_offset) /
                   geo->zd_extension_size);
    }
    n = MIN(n, (INT64_MAX - h->data_offset) / geo->zone_size);
    return MAX(geo->nr_zones, MIN(n, zoned_max_zones(geo)));
}

uint64_t zoned_header_min_file_size(const ZonedHeader *h)
{
    if (h->incompatible_features & ZONED_INCOMPAT_SHORT_FILE) {
        return h->data_offset + zoned_conv_limit(&h->geo);
    }
    return h->data_offset + h->geo.size;
}

/* Data and log of a new image: the log ends where the data begins. */
static void place_data(ZonedHeader *h, uint64_t offset)
{
    h->data_offset = offset;
    h->log_offset = offset - ZONED_LOG_BLOCKS * ZONED_LOG_BLOCK;
    h->log_blocks = ZONED_LOG_BLOCKS;
}

void zoned_header_init(ZonedHeader *h, const ZonedGeometry *geo,
                       uint32_t reserve)
{
    uint32_t n = MIN((uint64_t)geo->nr_zones + reserve, zoned_max_zones(geo));
    uint64_t table_end = ZONED_TABLE_OFFSET + table_size(n, ZONED_ENTRY_SIZE);

    *h = (ZonedHeader) {
        .geo = *geo,
        .table_offset = ZONED_TABLE_OFFSET,
        .extension_offset = geo->zd_extension_size ? table_end : 0,
    };
    place_data(h, ROUND_UP(table_end + table_size(n, geo->zd_extension_size) +
                           ZONED_LOG_BLOCKS * ZONED_LOG_BLOCK,
                           ZONED_DATA_ALIGNMENT));
}

void zoned_header_align_data(ZonedHeader *h, uint64_t bytes)
{
    /* A whole number of them is not more than ZONED_MAX_SIZE. */
    if (bytes && bytes % ZONED_DATA_ALIGNMENT == 0 &&
        h->geo.zone_size % bytes == 0) {
        place_data(h, QEMU_ALIGN_UP(h->data_offset, bytes));
    }
}

void zoned_header_encode(const ZonedHeader *h, uint8_t *buf)
{
    const ZonedGeometry *geo = &h->geo;
    ZonedDiskHeader disk = {
        .magic = ZONED_MAGIC,
        .version = cpu_to_le32(ZONED_VERSION),
        .header_length = cpu_to_le32(ZONED_HEADER_SIZE),
        .incompatible_features = cpu_to_le64(h->incompatible_features),
        .compatible_features = cpu_to_le64(h->compatible_features),
        .autoclear_features = cpu_to_le64(h->autoclear_features),
        .size = cpu_to_le64(geo->size),
        .zone_size = cpu_to_le64(geo->zone_size),
        .zone_capacity = cpu_to_le64(geo->zone_capacity),
        .nr_zones = cpu_to_le32(geo->nr_zones),
        .nr_conv = cpu_to_le32(geo->nr_conv),
        .nr_seq = cpu_to_le32(geo->nr_zones - geo->nr_conv),
        .max_open = cpu_to_le32(geo->max_open),
        .max_active = cpu_to_le32(geo->max_active),
        .max_append_sectors = cpu_to_le32(geo->max_append_sectors),
        .model = cpu_to_le32(HEADER_MODEL_HOST_MANAGED),
        .zd_extension_size = cpu_to_le32(geo->zd_extension_size),
        .table_offset = cpu_to_le64(h->table_offset),
        .data_offset = cpu_to_le64(h->data_offset),
        .zd_extension_offset = cpu_to_le64(h->extension_offset),
        .log_offset = cpu_to_le64(h->log_offset),
        .log_blocks = cpu_to_le32(h->log_blocks),
    };

    disk.checksum = cpu_to_le32(header_checksum(&disk));
    memcpy(buf, &disk, sizeof(disk));
}

bool zoned_header_probe(const uint8_t *buf, size_t size)
{
    uint32_t version, length;

    if (size < ZONED_HEADER_SIZE ||
        memcmp(buf, ZONED_MAGIC, strlen(ZONED_MAGIC))) {
        return false;
    }
    version = ldl_le_p(buf + offsetof(ZonedDiskHeader, version));
    length = ldl_le_p(buf + offsetof(ZonedDiskHeader, header_length));
    if (version == ZONED_VERSION) {
        return length == ZONED_HEADER_SIZE;
    }
    /* What one to come may have has bytes that are 0, which no text has. */
    return version > 0 && version <= ZONED_VERSION_MAX &&
           length >= ZONED_HEADER_SIZE && length <= ZONED_HEADER_SIZE_MAX &&
           length % 8 == 0;
}

/* Is this an image that this code can read at all? */
static int check_identity(const ZonedDiskHeader *disk, Error **errp)
{
    uint32_t version = le32_to_cpu(disk->version);
    uint32_t length = le32_to_cpu(disk->header_length);
    uint32_t checksum = le32_to_cpu(disk->checksum);
    uint64_t incompatible = le64_to_cpu(disk->incompatible_features);
    uint32_t expected;

    if (memcmp(disk->magic, ZONED_MAGIC, sizeof(disk->magic))) {
        error_setg(errp, "Image is not in zoned format");
        return -EINVAL;
    }
    if (version > ZONED_VERSION) {
        error_setg(errp, "Unsupported zoned image version %u (the newest "
                   "supported one is %u)", version, ZONED_VERSION);
        return -ENOTSUP;
    }
    if (version != ZONED_VERSION || length != ZONED_HEADER_SIZE) {
        error_setg(errp, "Zoned image header is damaged: version %u, length "
                   "%u", version, length);
        return -EINVAL;
    }
    expected = header_checksum(disk);
    if (checksum != expected) {
        error_setg(errp, "Zoned image header is damaged: its checksum is 0x%08x"
                   " and should be 0x%08x", checksum, expected);
        return -EINVAL;
    }
    if (incompatible & ~ZONED_INCOMPAT_MASK) {
        error_setg(errp, "Unsupported zoned image features 0x%" PRIx64,
                   incompatible & ~ZONED_INCOMPAT_MASK);
        return -ENOTSUP;
    }
    if (le32_to_cpu(disk->model) != HEADER_MODEL_HOST_MANAGED) {
        error_setg(errp, "Unsupported zone model %u in zoned image",
                   le32_to_cpu(disk->model));
        return -ENOTSUP;
    }
    return 0;
}

/*
 * Does the table of extensions begin at or behind @limit?  Then its end becomes
 * @limit.
 */
static bool check_extension_table(const ZonedHeader *h, uint64_t *limit,
                                  Error **errp)
{
    uint64_t size = zoned_extension_table_size(&h->geo);
    uint64_t offset = h->extension_offset;

    if (size == 0) {
        if (offset) {
            error_setg(errp, "Zone descriptor extension offset %" PRIu64
                       " in zoned image, which has no extensions", offset);
        }
        return offset == 0;
    }
    if (offset < *limit || !QEMU_IS_ALIGNED(offset, ZONED_TABLE_BLOCK) ||
        offset > INT64_MAX - size) {
        error_setg(errp, "Zone descriptor extension offset %" PRIu64
                   " in zoned image is invalid", offset);
        return false;
    }
    *limit = offset + size;
    return true;
}

/* Is the log, if there is one, behind @limit and in front of the data? */
static bool check_log(const ZonedHeader *h, uint64_t limit, Error **errp)
{
    uint64_t offset = h->log_offset;

    if (h->log_blocks == 0 ? offset != 0
        : h->log_blocks < 2 || h->log_blocks > ZONED_LOG_MAX_BLOCKS ||
          !QEMU_IS_ALIGNED(offset, ZONED_LOG_BLOCK) ||
          offset < limit || offset > h->data_offset ||
          h->log_blocks > (h->data_offset - offset) / ZONED_LOG_BLOCK) {
        error_setg(errp, "Log of %u blocks at offset %" PRIu64 " in zoned image"
                   " is invalid", h->log_blocks, offset);
        return false;
    }
    return true;
}

/* Do the parts of the image follow one another, without overflow? */
static bool check_layout(const ZonedHeader *h, Error **errp)
{
    uint64_t table_size = zoned_table_size(&h->geo);
    uint64_t limit;

    if (h->table_offset < ZONED_HEADER_SIZE ||
        !QEMU_IS_ALIGNED(h->table_offset, ZONED_TABLE_BLOCK) ||
        h->table_offset > INT64_MAX - table_size) {
        error_setg(errp, "Zone table offset %" PRIu64 " in zoned image is "
                   "invalid", h->table_offset);
        return false;
    }
    limit = h->table_offset + table_size;
    if (!check_extension_table(h, &limit, errp)) {
        return false;
    }
    if (h->data_offset < limit ||
        !QEMU_IS_ALIGNED(h->data_offset, ZONED_DATA_ALIGNMENT) ||
        h->data_offset > INT64_MAX - h->geo.size) {
        error_setg(errp, "Data offset %" PRIu64 " in zoned image is invalid",
                   h->data_offset);
        return false;
    }
    return check_log(h, limit, errp);
}

int zoned_header_decode(ZonedHeader *h, const uint8_t *buf, Error **errp)
{
    ZonedDiskHeader disk;
    uint32_t nr_seq;
    int ret;

    memcpy(&disk, buf, sizeof(disk));
    ret = check_identity(&disk, errp);
    if (ret < 0) {
        return ret;
    }

    *h = (ZonedHeader) {
        .geo = {
            .size = le64_to_cpu(disk.size),
            .zone_size = le64_to_cpu(disk.zone_size),
            .zone_capacity = le64_to_cpu(disk.zone_capacity),
            .nr_zones = le32_to_cpu(disk.nr_zones),
            .nr_conv = le32_to_cpu(disk.nr_conv),
            .max_open = le32_to_cpu(disk.max_open),
            .max_active = le32_to_cpu(disk.max_active),
            .max_append_sectors = le32_to_cpu(disk.max_append_sectors),
            .zd_extension_size = le32_to_cpu(disk.zd_extension_size),
        },
        .incompatible_features = le64_to_cpu(disk.incompatible_features),
        .compatible_features = le64_to_cpu(disk.compatible_features),
        .autoclear_features = le64_to_cpu(disk.autoclear_features),
        .table_offset = le64_to_cpu(disk.table_offset),
        .extension_offset = le64_to_cpu(disk.zd_extension_offset),
        .data_offset = le64_to_cpu(disk.data_offset),
        .log_offset = le64_to_cpu(disk.log_offset),
        .log_blocks = le32_to_cpu(disk.log_blocks),
    };

    if (!zoned_geometry_validate(&h->geo, errp)) {
        error_prepend(errp, "Zoned image header is invalid: ");
        return -EINVAL;
    }
    nr_seq = le32_to_cpu(disk.nr_seq);
    if (nr_seq != h->geo.nr_zones - h->geo.nr_conv) {
        error_setg(errp, "Zoned image header is invalid: %u conventional and "
                   "%u sequential zones are not %u zones", h->geo.nr_conv,
                   nr_seq, h->geo.nr_zones);
        return -EINVAL;
    }
    if (!buffer_is_zero(disk.zeroes, sizeof(disk.zeroes))) {
        error_setg(errp, "Zoned image header is invalid: bytes %zu to %d are "
                   "not zero", offsetof(ZonedDiskHeader, zeroes),
                   ZONED_HEADER_SIZE - 1);
        return -EINVAL;
    }
    return check_layout(h, errp) ? 0 : -EINVAL;
}

static bool header_is_valid(const uint8_t *buf)
{
    ZonedHeader h;

    return zoned_header_decode(&h, buf, NULL) == 0;
}

/*
 * How the checksum changes if a byte of the header changes: CRCs are linear, so
 * only the change (XOR) counts, not what the bytes are.  @effect is that of a
 * change that has one byte less behind it; for the last byte, the change.
 */
static uint32_t effect_of_change(uint32_t effect)
{
    return crc32c(effect, &(uint8_t) { 0 }, 1) ^ 0xffffffff;
}

/*
 * Tries all changes of one byte that make the checksum right, which is wrong by
 * @wrong.  Returns how many make the header valid, and one of them.
 */
static unsigned find_change(uint8_t *buf, uint32_t wrong, unsigned *found_pos,
                            uint8_t *found_change)
{
    const unsigned checksum_pos = offsetof(ZonedDiskHeader, checksum);
    uint32_t effects[UINT8_MAX + 1];
    unsigned nr_found = 0;

    for (unsigned change = 0; change <= UINT8_MAX; change++) {
        effects[change] = change;
    }
    for (unsigned pos = ZONED_HEADER_SIZE; pos-- > 0; ) {
        unsigned in_checksum = pos - checksum_pos;

        for (unsigned change = 1; change <= UINT8_MAX; change++) {
            effects[change] = effect_of_change(effects[change]);
            if (wrong != (in_checksum < sizeof(uint32_t)
                          ? change << 8 * in_checksum : effects[change])) {
                continue;
            }
            buf[pos] ^= change;
            if (header_is_valid(buf)) {
                nr_found++;
                *found_pos = pos;
                *found_change = change;
            }
            buf[pos] ^= change;
        }
    }
    return nr_found;
}

bool zoned_header_rebuild(uint8_t *buf)
{
    ZonedDiskHeader disk;
    uint32_t wrong;
    unsigned pos;
    uint8_t change;

    memcpy(&disk, buf, sizeof(disk));
    memcpy(disk.magic, ZONED_MAGIC, sizeof(disk.magic));
    disk.version = cpu_to_le32(ZONED_VERSION);
    disk.header_length = cpu_to_le32(ZONED_HEADER_SIZE);
    disk.model = cpu_to_le32(HEADER_MODEL_HOST_MANAGED);
    memset(disk.zeroes, 0, sizeof(disk.zeroes));
    memcpy(buf, &disk, sizeof(disk));
    if (header_is_valid(buf)) {
        return true;
    }

    wrong = le32_to_cpu(disk.checksum) ^ header_checksum(&disk);
    if (find_change(buf, wrong, &pos, &change) != 1) {
        return false;
    }
    buf[pos] ^= change;
    return true;
}

uint64_t zoned_entry_encode(const ZonedGeometry *geo, uint32_t i,
                            const ZonedEntry *entry)
{
    uint64_t conv = zoned_zone_is_conv(geo, i) ? ENTRY_CONV : 0;
    uint64_t ext = entry->ext_valid ? ENTRY_EXT_VALID : 0;

    return cpu_to_le64((uint64_t)entry->cond << ENTRY_COND_SHIFT | conv | ext |
                       entry->end);
}

/* What the entry of a sequential zone may say. */
typedef struct EntryRules {
    /* The bit that says that the extension is valid, 0 if there is none. */
    uint64_t ext_bit;

    /*
     * Without and with a valid extension, for each condition: one more than the
     * bytes that may be written in the zone; 0 if it cannot have the condition.
     */
    uint64_t limits[2][16];
} EntryRules;

/* The rules for zone @i. */
static void entry_rules(const ZonedGeometry *geo, uint32_t i, EntryRules *rules)
{
    uint64_t capacity = MIN(geo->zone_capacity, zoned_zone_length(geo, i));
    uint64_t *limits = rules->limits[0];

    *rules = (EntryRules) {
        .ext_bit = geo->zd_extension_size ? ENTRY_EXT_VALID : 0,
    };
    limits[BLK_ZS_EMPTY] = 1;
    limits[BLK_ZS_IOPEN] = capacity - ZONED_WRITE_GRANULARITY + 1;
    limits[BLK_ZS_EOPEN] = capacity - ZONED_WRITE_GRANULARITY + 1;
    limits[BLK_ZS_CLOSED] = capacity - ZONED_WRITE_GRANULARITY + 1;
    limits[BLK_ZS_RDONLY] = capacity + 1;
    limits[BLK_ZS_FULL] = capacity + 1;
    limits[BLK_ZS_OFFLINE] = capacity + 1;

    memcpy(rules->limits[1], limits, sizeof(rules->limits[1]));
    rules->limits[1][BLK_ZS_EMPTY] = 0;
}

static uint64_t conv_value(const ZonedGeometry *geo, uint32_t i)
{
    return (uint64_t)BLK_ZS_NOT_WP << ENTRY_COND_SHIFT | ENTRY_CONV |
           zoned_zone_limit(geo, i);
}

/* Reads @value, an entry of a zone; true if zone @i may have it. */
static bool decode_value(const ZonedGeometry *geo, uint32_t i,
                         const EntryRules *rules, uint64_t value,
                         ZonedEntry *entry)
{
    BlockZoneState cond = value >> ENTRY_COND_SHIFT;
    bool ext_valid = value & rules->ext_bit;
    uint64_t end = value & ENTRY_ADDRESS_MASK & ~rules->ext_bit;

    *entry = (ZonedEntry) { .cond = cond, .end = end, .ext_valid = ext_valid };
    if (zoned_zone_is_conv(geo, i)) {
        return value == conv_value(geo, i);
    }
    return !(value & ENTRY_CONV) &&
           end - zoned_zone_start(geo, i) < rules->limits[ext_valid][cond] &&
           QEMU_IS_ALIGNED(end, ZONED_WRITE_GRANULARITY);
}

/*
 * Zone @i has the valid entry @value.  How many zones, of @n from there, are
 * like it?
 */
static uint32_t run_length(const ZonedGeometry *geo, uint32_t i, uint32_t n,
                           uint64_t value, const uint64_t *raw)
{
    /* The last zone has rules of its own: it may be smaller than the others. */
    uint32_t last = geo->nr_zones - 1;
    uint32_t limit = zoned_zone_is_conv(geo, i) ? MIN(geo->nr_conv, last)
                                                : last;
    uint32_t j;

    for (j = 1; j < n && i + j < limit; j++) {
        value += geo->zone_size;
        if (le64_to_cpu(raw[j]) != value) {
            break;
        }
    }
    return j;
}

uint32_t zoned_entries_decode(const ZonedGeometry *geo, uint32_t first,
                              uint32_t n, const uint64_t *raw,
                              ZonedEntryRun *runs)
{
    EntryRules rules;
    uint32_t last = geo->nr_zones - 1;
    uint32_t nr_runs = 0;

    entry_rules(geo, first, &rules);
    for (uint32_t j = 0; j < n; j += runs[nr_runs++].nr_zones) {
        uint32_t i = first + j;
        uint64_t value = le64_to_cpu(raw[j]);

        if (i == last) {
            entry_rules(geo, last, &rules);
        }
        if (!decode_value(geo, i, &rules, value, &runs[nr_runs].entry)) {
            break;
        }
        runs[nr_runs].nr_zones = run_length(geo, i, n - j, value, raw + j);
    }
    return nr_runs;
}

/* Says what is wrong with @value, which is no valid entry of zone @i. */
static void explain_value(const ZonedGeometry *geo, uint32_t i, uint64_t value,
                          const EntryRules *rules, const ZonedEntry *entry,
                          Error **errp)
{
    bool conv = zoned_zone_is_conv(geo, i);
    const char *type = conv ? "conventional" : "sequential";
    const char *name = bdrv_zone_state_name(entry->cond);

    if (conv != !!(value & ENTRY_CONV)) {
        error_setg(errp, "Zone %u is %s, but its entry 0x%016" PRIx64
                   " says otherwise", i, type, value);
    } else if (conv ? entry->cond != BLK_ZS_NOT_WP
                    : !rules->limits[0][entry->cond]) {
        error_setg(errp, "Zone %u is %s and cannot have condition 0x%x (%s)",
                   i, type, entry->cond, name);
    } else if (entry->ext_valid && (conv || !rules->limits[1][entry->cond])) {
        error_setg(errp, "Zone %u is %s and cannot have a valid descriptor "
                   "extension", i, name);
    } else {
        error_setg(errp, "Zone %u is %s and cannot be written up to byte %"
                   PRIu64 " (it starts at %" PRIu64 " and has a capacity of %"
                   PRIu64 " bytes)", i, name, entry->end,
                   zoned_zone_start(geo, i), zoned_zone_capacity(geo, i));
    }
}

bool zoned_entry_decode(const ZonedGeometry *geo, uint32_t i, uint64_t raw,
                        ZonedEntry *entry, Error **errp)
{
    uint64_t value = le64_to_cpu(raw);
    EntryRules rules;

    entry_rules(geo, i, &rules);
    if (!decode_value(geo, i, &rules, value, entry)) {
        explain_value(geo, i, value, &rules, entry, errp);
        return false;
    }
    return true;
}

/* CRC-32C of the first @bytes of a head or record, with 0 in its place. */
static uint32_t log_checksum(const uint8_t *buf, uint32_t bytes)
{
    uint8_t start[LOG_EPOCH] = {};
    uint32_t crc;

    memcpy(start, buf, LOG_CHECKSUM);
    crc = crc32c(0xffffffff, start, LOG_EPOCH);
    return crc32c(~crc, buf + LOG_EPOCH, bytes - LOG_EPOCH);
}

void zoned_log_head_encode(uint64_t epoch, uint8_t *buf)
{
    memset(buf, 0, ZONED_LOG_BLOCK);
    memcpy(buf, ZONED_LOG_HEAD_MAGIC, LOG_CHECKSUM);
    stq_le_p(buf + LOG_EPOCH, epoch);
    stl_le_p(buf + LOG_CHECKSUM, log_checksum(buf, ZONED_LOG_HEAD_SIZE));
}

bool zoned_log_head_decode(const uint8_t *buf, uint64_t *epoch, Error **errp)
{
    uint8_t expected[ZONED_LOG_BLOCK];

    *epoch = ldq_le_p(buf + LOG_EPOCH);
    zoned_log_head_encode(*epoch, expected);
    if (*epoch == 0 || *epoch > ZONED_LOG_MAX_EPOCH ||
        memcmp(buf, expected, ZONED_LOG_HEAD_SIZE)) {
        error_setg(errp, "Head of the log in zoned image is damaged");
        return false;
    }
    return true;
}

uint64_t zoned_log_newest_epoch(const uint8_t *buf, uint32_t blocks)
{
    uint64_t newest = 0;

    for (uint32_t i = 0; i < blocks; i++, buf += ZONED_LOG_BLOCK) {
        uint64_t epoch = ldq_le_p(buf + LOG_EPOCH);

        if ((i == 0 || !memcmp(buf, ZONED_LOG_RECORD_MAGIC, LOG_CHECKSUM)) &&
            epoch <= ZONED_LOG_MAX_EPOCH) {
            newest = MAX(newest, epoch);
        }
    }
    return newest;
}

uint32_t zoned_log_record_size(uint32_t nr_runs, uint32_t nr_sums)
{
    return LOG_ITEMS + (nr_runs + nr_sums) * LOG_ITEM_SIZE;
}

void zoned_log_record_encode(uint64_t epoch, uint32_t block,
                             const ZonedLogRun *runs, uint32_t nr_runs,
                             const ZonedLogSum *sums, uint32_t nr_sums,
                             uint8_t *buf)
{
    uint32_t bytes = zoned_log_record_size(nr_runs, nr_sums);
    uint8_t *p = buf + LOG_ITEMS;

    memset(buf, 0, ROUND_UP(bytes, ZONED_LOG_BLOCK));
    memcpy(buf, ZONED_LOG_RECORD_MAGIC, LOG_CHECKSUM);
    stq_le_p(buf + LOG_EPOCH, epoch);
    stl_le_p(buf + LOG_BLOCK, block);
    stl_le_p(buf + LOG_BYTES, bytes);
    stl_le_p(buf + LOG_NR_RUNS, nr_runs);
    stl_le_p(buf + LOG_NR_SUMS, nr_sums);
    for (uint32_t i = 0; i < nr_runs; i++, p += LOG_ITEM_SIZE) {
        stl_le_p(p, runs[i].zone);
        stl_le_p(p + 4, runs[i].nr_zones);
        stq_le_p(p + 8, runs[i].value);
    }
    for (uint32_t i = 0; i < nr_sums; i++, p += LOG_ITEM_SIZE) {
        stq_le_p(p, sums[i].address);
        stl_le_p(p + 8, sums[i].bytes);
        stl_le_p(p + 12, sums[i].crc);
    }
    stl_le_p(buf + LOG_CHECKSUM, log_checksum(buf, bytes));
}

ZonedLogRun zoned_log_run(const ZonedLogRecord *record, uint32_t i)
{
    const uint8_t *p = record->buf + zoned_log_record_size(i, 0);

    return (ZonedLogRun) { ldl_le_p(p), ldl_le_p(p + 4), ldq_le_p(p + 8) };
}

ZonedLogSum zoned_log_sum(const ZonedLogRecord *record, uint32_t i)
{
    const uint8_t *p = record->buf + zoned_log_record_size(record->nr_runs, i);

    return (ZonedLogSum) { ldq_le_p(p), ldl_le_p(p + 8), ldl_le_p(p + 12) };
}

/* Between a first and a last zone with valid entries, all are valid. */
static bool check_runs(const ZonedGeometry *geo, const ZonedLogRecord *record,
                       Error **errp)
{
    uint64_t next = 0;

    for (uint32_t i = 0; i < record->nr_runs; i++) {
        ZonedLogRun run = zoned_log_run(record, i);
        uint64_t last = (uint64_t)run.zone + run.nr_zones - 1;
        uint64_t value = run.value + (last - run.zone) * geo->zone_size;
        ZonedEntry entry;

        if (run.zone < next || run.nr_zones == 0 || last >= geo->nr_zones) {
            error_setg(errp, "Run of %u zones from zone %u on", run.nr_zones,
                       run.zone);
            return false;
        }
        if (!zoned_entry_decode(geo, run.zone, cpu_to_le64(run.value), &entry,
                                errp) ||
            !zoned_entry_decode(geo, last, cpu_to_le64(value), &entry, errp)) {
            return false;
        }
        next = last + 1;
    }
    return true;
}

static bool check_sums(const ZonedGeometry *geo, const ZonedLogRecord *record,
                       Error **errp)
{
    uint64_t summed = 0;

    for (uint32_t i = 0; i < record->nr_sums; i++) {
        ZonedLogSum sum = zoned_log_sum(record, i);

        summed += sum.bytes;
        if (sum.bytes == 0 || summed > ZONED_LOG_MAX_SUMMED ||
            !QEMU_IS_ALIGNED(sum.address | sum.bytes,
                             ZONED_WRITE_GRANULARITY) ||
            sum.address < zoned_conv_limit(geo) || sum.address >= geo->size ||
            sum.bytes > geo->size - sum.address) {
            error_setg(errp, "Checksum of %u bytes at %" PRIu64, sum.bytes,
                       sum.address);
            return false;
        }
    }
    return true;
}

int zoned_log_record_decode(const ZonedHeader *h, uint64_t epoch,
                            uint32_t block, const uint8_t *buf, uint32_t blocks,
                            ZonedLogRecord *record, Error **errp)
{
    uint32_t bytes = blocks ? ldl_le_p(buf + LOG_BYTES) : 0;

    if (bytes < LOG_ITEMS || bytes > (uint64_t)blocks * ZONED_LOG_BLOCK ||
        memcmp(buf, ZONED_LOG_RECORD_MAGIC, LOG_CHECKSUM) ||
        ldq_le_p(buf + LOG_EPOCH) != epoch ||
        ldl_le_p(buf + LOG_BLOCK) != block ||
        ldl_le_p(buf + LOG_CHECKSUM) != log_checksum(buf, bytes)) {
        return 0;
    }

    *record = (ZonedLogRecord) {
        .nr_blocks = DIV_ROUND_UP(bytes, ZONED_LOG_BLOCK),
        .nr_runs = ldl_le_p(buf + LOG_NR_RUNS),
        .nr_sums = ldl_le_p(buf + LOG_NR_SUMS),
        .buf = buf,
    };
    if (ldq_le_p(buf + LOG_ZEROES) || bytes != LOG_ITEMS + LOG_ITEM_SIZE *
        ((uint64_t)record->nr_runs + record->nr_sums)) {
        error_setg(errp, "%u runs and %u checksums in %u bytes",
                   record->nr_runs, record->nr_sums, bytes);
    } else if (check_runs(&h->geo, record, errp) &&
               check_sums(&h->geo, record, errp)) {
        return 1;
    }
    error_prepend(errp, "Record at block %u of the log in zoned image is "
                  "invalid: ", block);
    return -EINVAL;
}

void zoned_log_runs_apply(const ZonedGeometry *geo,
                          const ZonedLogRecord *record, uint64_t first,
                          uint64_t n, unsigned long *known, uint64_t *raw)
{
    for (uint32_t i = 0; i < record->nr_runs; i++) {
        ZonedLogRun run = zoned_log_run(record, i);
        uint64_t start = MAX(run.zone, first);
        uint64_t end = MIN((uint64_t)run.zone + run.nr_zones, first + n);

        for (uint64_t zone = start; zone < end; zone++) {
            zone = first + find_next_zero_bit(known, end - first, zone - first);
            if (zone < end) {
                set_bit(zone - first, known);
                raw[zone - first] = cpu_to_le64(
                    run.value + (zone - run.zone) * geo->zone_size);
            }
        }
    }
}

/*
 * The rules of docs/interop/zoned.rst, written down a second time
 *
 * This is what tests hold the image format module of the zoned block format
 * driver against: it reads bytes one by one as the specification names them,
 * and shares no code with the driver, down to the checksum, nor with another
 * reader of images.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TESTS_UNIT_ZONED_FORMAT_RULES_H
#define TESTS_UNIT_ZONED_FORMAT_RULES_H

#define RULES_HEADER_SIZE 512

/* Bytes of the header at which its fields are */
enum {
    AT_MAGIC = 0,
    AT_VERSION = 4,
    AT_HEADER_LENGTH = 8,
    AT_CHECKSUM = 12,
    AT_INCOMPATIBLE = 16,
    AT_COMPATIBLE = 24,
    AT_AUTOCLEAR = 32,
    AT_SIZE = 40,
    AT_ZONE_SIZE = 48,
    AT_ZONE_CAPACITY = 56,
    AT_NR_ZONES = 64,
    AT_NR_CONV = 68,
    AT_NR_SEQ = 72,
    AT_MAX_OPEN = 76,
    AT_MAX_ACTIVE = 80,
    AT_MAX_APPEND = 84,
    AT_MODEL = 88,
    AT_EXTENSION_SIZE = 92,
    AT_TABLE_OFFSET = 96,
    AT_DATA_OFFSET = 104,
    AT_EXTENSION_OFFSET = 112,
    AT_LOG_OFFSET = 120,
    AT_LOG_BLOCKS = 128,
    AT_ZEROES = 132,
};

/* Bytes of the head of the log, or of a record, at which its fields are */
enum {
    AT_LOG_MAGIC = 0,
    AT_LOG_CHECKSUM = 4,
    AT_LOG_EPOCH = 8,
    AT_HEAD_ZEROES = 16,
    AT_RECORD_BLOCK = 16,
    AT_RECORD_BYTES = 20,
    AT_RECORD_RUNS = 24,
    AT_RECORD_SUMS = 28,
    AT_RECORD_ZEROES = 32,
    AT_RECORD_ITEMS = 40,
};

static inline uint64_t rules_get(const uint8_t *buf, int at, int bytes)
{
    uint64_t value = 0;

    while (bytes--) {
        value = value << 8 | buf[at + bytes];
    }
    return value;
}

static inline void rules_put(uint8_t *buf, int at, int bytes, uint64_t value)
{
    for (int i = 0; i < bytes; i++) {
        buf[at + i] = value >> (8 * i);
    }
}

/* CRC-32C of @n bytes with zeroes in place of the checksum at @at */
static inline uint32_t rules_crc(const uint8_t *buf, uint64_t n, uint64_t at)
{
    static uint32_t table[256];
    uint32_t crc = 0xffffffff;

    if (!table[1]) {
        for (uint32_t i = 0; i < 256; i++) {
            uint32_t c = i;

            for (int bit = 0; bit < 8; bit++) {
                c = c & 1 ? c >> 1 ^ 0x82f63b78 : c >> 1;
            }
            table[i] = c;
        }
    }
    for (uint64_t i = 0; i < n; i++) {
        bool zero = i >= at && i < at + 4;

        crc = crc >> 8 ^ table[(crc ^ (zero ? 0 : buf[i])) & 0xff];
    }
    return ~crc;
}

static inline uint32_t rules_checksum(const uint8_t *buf)
{
    return rules_crc(buf, RULES_HEADER_SIZE, AT_CHECKSUM);
}

static inline void rules_fix_checksum(uint8_t *buf)
{
    rules_put(buf, AT_CHECKSUM, 4, rules_checksum(buf));
}

/* Does a reader accept this header? */
static inline bool rules_accept_header(const uint8_t *buf)
{
    const uint64_t max_int64 = 0x7fffffffffffffffULL;
    uint64_t size = rules_get(buf, AT_SIZE, 8);
    uint64_t zone_size = rules_get(buf, AT_ZONE_SIZE, 8);
    uint64_t capacity = rules_get(buf, AT_ZONE_CAPACITY, 8);
    uint64_t nr_zones = rules_get(buf, AT_NR_ZONES, 4);
    uint64_t nr_conv = rules_get(buf, AT_NR_CONV, 4);
    uint64_t nr_seq = rules_get(buf, AT_NR_SEQ, 4);
    uint64_t max_open = rules_get(buf, AT_MAX_OPEN, 4);
    uint64_t max_active = rules_get(buf, AT_MAX_ACTIVE, 4);
    uint64_t table_offset = rules_get(buf, AT_TABLE_OFFSET, 8);
    uint64_t data_offset = rules_get(buf, AT_DATA_OFFSET, 8);
    uint64_t ext_size = rules_get(buf, AT_EXTENSION_SIZE, 4);
    uint64_t ext_offset = rules_get(buf, AT_EXTENSION_OFFSET, 8);
    uint64_t log_offset = rules_get(buf, AT_LOG_OFFSET, 8);
    uint64_t log_blocks = rules_get(buf, AT_LOG_BLOCKS, 4);
    uint64_t table_end;

    if (buf[0] != 'z' || buf[1] != 'o' || buf[2] != 'n' || buf[3] != 'e' ||
        rules_get(buf, AT_VERSION, 4) != 1 ||
        rules_get(buf, AT_HEADER_LENGTH, 4) != 512 ||
        rules_get(buf, AT_CHECKSUM, 4) != rules_checksum(buf)) {
        return false;
    }
    if (rules_get(buf, AT_INCOMPATIBLE, 8) > 1 ||
        rules_get(buf, AT_MODEL, 4) != 1) {
        return false;
    }
    for (int i = AT_ZEROES; i < RULES_HEADER_SIZE; i++) {
        if (buf[i]) {
            return false;
        }
    }

    if (size == 0 || size > 0x7fffffffffff000ULL || size % 4096 ||
        zone_size == 0 || zone_size > size || zone_size % 4096 ||
        capacity == 0 || capacity > zone_size || capacity % 4096) {
        return false;
    }
    if (nr_zones == 0 || nr_zones > 4194304 ||
        (size - 1) / zone_size != nr_zones - 1 ||
        nr_conv > nr_zones || nr_seq > nr_zones ||
        nr_conv + nr_seq != nr_zones ||
        (max_active != 0 && max_open > max_active)) {
        return false;
    }

    if (table_offset < 512 || table_offset % 4096 || table_offset > max_int64) {
        return false;
    }
    table_end = table_offset + (nr_zones * 8 + 4095) / 4096 * 4096;
    if (ext_size == 0) {
        if (ext_offset != 0) {
            return false;
        }
    } else {
        if (ext_size % 64 || ext_size / 64 > 255 ||
            size > 0x3fffffffffff000ULL || ext_offset % 4096 ||
            ext_offset < table_end || ext_offset > max_int64) {
            return false;
        }
        table_end = ext_offset + (nr_zones * ext_size + 4095) / 4096 * 4096;
    }
    if (log_blocks == 0) {
        if (log_offset != 0) {
            return false;
        }
    } else {
        if (log_blocks == 1 || log_blocks > 4096 || log_offset % 4096 ||
            log_offset < table_end || log_offset > max_int64) {
            return false;
        }
        table_end = log_offset + log_blocks * 4096;
    }
    return table_end <= max_int64 && data_offset >= table_end &&
           data_offset % (1024 * 1024) == 0 && data_offset <= max_int64 &&
           size <= max_int64 - data_offset;
}

/*
 * Does a reader accept @value as the entry of zone @i?  @buf is the header, and
 * is valid.
 */
static inline bool rules_accept_entry(const uint8_t *buf, uint32_t i,
                                      uint64_t value)
{
    uint64_t size = rules_get(buf, AT_SIZE, 8);
    uint64_t zone_size = rules_get(buf, AT_ZONE_SIZE, 8);
    uint64_t capacity = rules_get(buf, AT_ZONE_CAPACITY, 8);
    uint64_t start = i * zone_size;
    uint64_t length = size - start < zone_size ? size - start : zone_size;
    bool conventional = i < rules_get(buf, AT_NR_CONV, 4);
    bool extensions = rules_get(buf, AT_EXTENSION_SIZE, 4) != 0;
    bool extended = extensions && (value >> 58 & 1);
    uint64_t address = value & (extensions ? 0x3ffffffffffffffULL
                                           : 0x7ffffffffffffffULL);
    uint64_t written = address - start;

    if ((value >> 59 & 1) != conventional) {
        return false;
    }
    if (conventional) {
        return value >> 60 == 0 && address == start + length && !extended;
    }
    if (capacity > length) {
        capacity = length;
    }
    if (address < start || address % 512) {
        return false;
    }
    switch (value >> 60) {
    case 1:
        return written == 0 && !extended;
    case 2:
    case 3:
    case 4:
        return written < capacity;
    case 13:
    case 14:
    case 15:
        return written <= capacity;
    default:
        return false;
    }
}

/* The checksum that a head of the log must have */
static inline uint32_t rules_head_checksum(const uint8_t *buf)
{
    return rules_crc(buf, 512, AT_LOG_CHECKSUM);
}

/* Does a reader accept this head of a log? */
static inline bool rules_accept_head(const uint8_t *buf)
{
    for (int i = AT_HEAD_ZEROES; i < 512; i++) {
        if (buf[i]) {
            return false;
        }
    }
    return buf[0] == 'z' && buf[1] == 'l' && buf[2] == 'o' && buf[3] == 'g' &&
           rules_get(buf, AT_LOG_EPOCH, 8) > 0 &&
           rules_get(buf, AT_LOG_EPOCH, 8) <= INT64_MAX &&
           rules_get(buf, AT_LOG_CHECKSUM, 4) == rules_head_checksum(buf);
}

/* The checksum that a record which says how long it is must have */
static inline uint32_t rules_record_checksum(const uint8_t *buf)
{
    return rules_crc(buf, rules_get(buf, AT_RECORD_BYTES, 4), AT_LOG_CHECKSUM);
}

static inline bool rules_accept_run(const uint8_t *header, const uint8_t *run,
                                    uint64_t *least)
{
    uint64_t zone_size = rules_get(header, AT_ZONE_SIZE, 8);
    uint64_t nr_zones = rules_get(header, AT_NR_ZONES, 4);
    uint64_t zone = rules_get(run, 0, 4);
    uint64_t n = rules_get(run, 4, 4);
    uint64_t value = rules_get(run, 8, 8);

    if (n < 1 || zone < *least || zone + n > nr_zones) {
        return false;
    }
    *least = zone + n;
    for (; zone < *least; zone++, value += zone_size) {
        if (!rules_accept_entry(header, zone, value)) {
            return false;
        }
    }
    return true;
}

/*
 * Is there a record at block @block of a log with @epoch, of which @buf has the
 * @n bytes from there to its end?  1: there is; 0: the log ends; -1: damage.
 */
static inline int rules_accept_record(const uint8_t *header, uint64_t epoch,
                                      uint32_t block, const uint8_t *buf,
                                      uint64_t n)
{
    uint64_t size = rules_get(header, AT_SIZE, 8);
    uint64_t zone_size = rules_get(header, AT_ZONE_SIZE, 8);
    uint64_t nr_conv = rules_get(header, AT_NR_CONV, 4);
    uint64_t bytes, runs, sums, summed = 0, least = 0;

    if (n == 0 || buf[0] != 'z' || buf[1] != 'r' || buf[2] != 'e' ||
        buf[3] != 'c' || rules_get(buf, AT_LOG_EPOCH, 8) != epoch ||
        rules_get(buf, AT_RECORD_BLOCK, 4) != block) {
        return 0;
    }
    bytes = rules_get(buf, AT_RECORD_BYTES, 4);
    if (bytes < 40 || bytes > n ||
        rules_get(buf, AT_LOG_CHECKSUM, 4) != rules_record_checksum(buf)) {
        return 0;
    }
    runs = rules_get(buf, AT_RECORD_RUNS, 4);
    sums = rules_get(buf, AT_RECORD_SUMS, 4);
    if (rules_get(buf, AT_RECORD_ZEROES, 8) ||
        (runs + sums) * 16 + 40 != bytes) {
        return -1;
    }
    buf += AT_RECORD_ITEMS;
    for (; runs > 0; runs--, buf += 16) {
        if (!rules_accept_run(header, buf, &least)) {
            return -1;
        }
    }
    for (; sums > 0; sums--, buf += 16) {
        uint64_t address = rules_get(buf, 0, 8);
        uint64_t length = rules_get(buf, 8, 4);

        summed += length;
        if (length == 0 || length % 512 || address % 512 ||
            address < nr_conv * zone_size || length > size ||
            address > size - length || summed > 1024 * 1024) {
            return -1;
        }
    }
    return 1;
}

#endif /* TESTS_UNIT_ZONED_FORMAT_RULES_H */

/*
 * zoned block format driver: the image format
 *
 * Encodes, decodes and validates the header, the entries of the zone table and
 * the log; docs/interop/zoned.rst is the specification.  Pure: no I/O, and the
 * only code that knows what the bytes of an image mean.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef BLOCK_ZONED_FORMAT_H
#define BLOCK_ZONED_FORMAT_H

#include "block/block-common.h"
#include "zoned-geometry.h"

/* Bytes of the header, at the start of the image. */
#define ZONED_HEADER_SIZE 512

/* Bytes of one entry of the zone table. */
#define ZONED_ENTRY_SIZE 8

/* The zone table is written in blocks of this many bytes. */
#define ZONED_TABLE_BLOCK (4 * KiB)

/* Where the zone table of a new image starts, in bytes. */
#define ZONED_TABLE_OFFSET (4 * KiB)

/* The data area starts at a multiple of this many bytes. */
#define ZONED_DATA_ALIGNMENT (1 * MiB)

/* The log is written in blocks of this many bytes; its head is in the first. */
#define ZONED_LOG_BLOCK (4 * KiB)
#define ZONED_LOG_HEAD_SIZE 512

/* Epochs begin with 1, and there are more than anybody can use. */
#define ZONED_LOG_MAX_EPOCH INT64_MAX

/* Blocks of the log of a new image, and the most that there can be. */
#define ZONED_LOG_BLOCKS 128
#define ZONED_LOG_MAX_BLOCKS 4096

/* The most bytes of data that a record can have checksums of. */
#define ZONED_LOG_MAX_SUMMED (1 * MiB)

/*
 * Incompatible feature: the file may end before the data area does, as it was
 * larger than the host allows for a file.  What is missing reads as zeroes.
 */
#define ZONED_INCOMPAT_SHORT_FILE UINT64_C(1)
#define ZONED_INCOMPAT_MASK ZONED_INCOMPAT_SHORT_FILE

/* What the header says. */
typedef struct ZonedHeader {
    ZonedGeometry geo;
    uint64_t incompatible_features;
    uint64_t compatible_features;
    uint64_t autoclear_features;
    uint64_t table_offset;      /* bytes from the start of the image */
    uint64_t extension_offset;  /* the same; 0: no extensions */
    uint64_t data_offset;       /* bytes from the start of the image */
    uint64_t log_offset;        /* the same; 0: no log */
    uint32_t log_blocks;        /* its length, ZONED_LOG_BLOCK bytes each */
} ZonedHeader;

/*
 * Zones in a row with the same condition, each written up to the same byte of
 * its own: their ends are zone_size bytes apart.
 */
typedef struct ZonedEntryRun {
    ZonedEntry entry;           /* of the first zone */
    uint32_t nr_zones;
} ZonedEntryRun;

/*
 * What a log record says of zones in a row: @value is the entry of the first in
 * host byte order; the others have the same, with addresses zone_size apart.
 */
typedef struct ZonedLogRun {
    uint32_t zone;
    uint32_t nr_zones;
    uint64_t value;
} ZonedLogRun;

/* What a log record says of data: the CRC-32C of bytes of the device. */
typedef struct ZonedLogSum {
    uint64_t address;
    uint32_t bytes;
    uint32_t crc;
} ZonedLogSum;

/* A valid record of the log, in the memory of who has read it. */
typedef struct ZonedLogRecord {
    uint32_t nr_blocks;
    uint32_t nr_runs;
    uint32_t nr_sums;
    const uint8_t *buf;
} ZonedLogRecord;

/*
 * Checks that @geo is a device that can exist; the error names the value, and
 * says what to write instead where that can be known.
 */
bool zoned_geometry_validate(const ZonedGeometry *geo, Error **errp);

/*
 * A header for a new image with the (valid) geometry @geo.  Its tables have
 * room for @reserve more zones, as far as such a device can have them.
 */
void zoned_header_init(ZonedHeader *h, const ZonedGeometry *geo,
                       uint32_t reserve);

/*
 * Lets the data of new image @h begin at a multiple of @bytes, if each zone has
 * a whole number of them: a file in objects of this size then has none that
 * belongs to two zones.  It may be any number.  The log stays in front of it.
 */
void zoned_header_align_data(ZonedHeader *h, uint64_t bytes);

/* Writes header @h to the ZONED_HEADER_SIZE bytes at @buf. */
void zoned_header_encode(const ZonedHeader *h, uint8_t *buf);

/* True if the @size bytes at @buf start like an image of this format. */
bool zoned_header_probe(const uint8_t *buf, size_t size);

/*
 * Reads the ZONED_HEADER_SIZE bytes at @buf.  Everything is validated: after
 * success, the tables and the data lie behind one another and all sums of
 * offsets and sizes fit into an int64_t.
 * Returns 0, -EINVAL if this is no image or a damaged one, or -ENOTSUP if it
 * needs a newer reader.
 */
int zoned_header_decode(ZonedHeader *h, const uint8_t *buf, Error **errp);

/*
 * Tries to restore the damaged header in the ZONED_HEADER_SIZE bytes at @buf,
 * and does so only if what is left determines it: fields that are the same in
 * all images, and one byte anywhere, if there is just one value of one byte
 * with which the header is valid and has its checksum.
 * Returns true if @buf is now a header that zoned_header_decode() accepts.
 */
bool zoned_header_rebuild(uint8_t *buf);

/* Bytes of the zone table, rounded up to whole blocks. */
uint64_t zoned_table_size(const ZonedGeometry *geo);

/* Bytes of the table of extensions, rounded up to whole blocks. */
uint64_t zoned_extension_table_size(const ZonedGeometry *geo);

/* The most zones that a device like @geo can have, in any image. */
uint32_t zoned_max_zones(const ZonedGeometry *geo);

/*
 * The most zones that an image with header @h can have: its tables cannot move,
 * so they end before what is behind them.
 */
uint32_t zoned_header_max_zones(const ZonedHeader *h);

/* The least length of the file for header @h, in bytes. */
uint64_t zoned_header_min_file_size(const ZonedHeader *h);

/* The entry for zone @i, as it is in the image. */
uint64_t zoned_entry_encode(const ZonedGeometry *geo, uint32_t i,
                            const ZonedEntry *entry);

/*
 * Reads @raw, the entry of zone @i as it is in the image, and validates it.
 * The error names the zone and what is wrong with it.
 */
bool zoned_entry_decode(const ZonedGeometry *geo, uint32_t i, uint64_t raw,
                        ZonedEntry *entry, Error **errp);

/*
 * Reads the entries of @n zones, the first of which is @first, up to one that
 * is not valid, into @runs, which has room for @n.  Most zones of a large
 * device are like their neighbours, so this is much faster than one by one.
 * Returns how many runs there are; the sum of their zones is @n if all entries
 * are valid.
 */
uint32_t zoned_entries_decode(const ZonedGeometry *geo, uint32_t first,
                              uint32_t n, const uint64_t *raw,
                              ZonedEntryRun *runs);

/* Writes a head of the log to the ZONED_LOG_BLOCK bytes at @buf. */
void zoned_log_head_encode(uint64_t epoch, uint8_t *buf);

/* Reads the ZONED_LOG_HEAD_SIZE bytes at @buf. */
bool zoned_log_head_decode(const uint8_t *buf, uint64_t *epoch, Error **errp);

/*
 * The largest epoch in a log, which has @blocks blocks: that of its head, or of
 * what looks like a record and may become one.  The next head must have a
 * larger one, so that nothing that is there does.
 */
uint64_t zoned_log_newest_epoch(const uint8_t *buf, uint32_t blocks);

/* Bytes of a record; it takes as many whole blocks as it needs. */
uint32_t zoned_log_record_size(uint32_t nr_runs, uint32_t nr_sums);

/*
 * Writes a record for block @block of the log to @buf, which has room for its
 * blocks.  It must be one that zoned_log_record_decode() accepts.
 */
void zoned_log_record_encode(uint64_t epoch, uint32_t block,
                             const ZonedLogRun *runs, uint32_t nr_runs,
                             const ZonedLogSum *sums, uint32_t nr_sums,
                             uint8_t *buf);

/*
 * Reads the log of an image with header @h from block @block on: at @buf are
 * the @blocks blocks up to its end, and @epoch is that of its head.  Everything
 * is validated but what the data is like; @record points into @buf.
 * Returns 1 if there is a record, 0 if the log ends here, or -EINVAL if what is
 * there was written as a record and is none.
 */
int zoned_log_record_decode(const ZonedHeader *h, uint64_t epoch,
                            uint32_t block, const uint8_t *buf, uint32_t blocks,
                            ZonedLogRecord *record, Error **errp);

/* Run @i of @record; they ascend and do not overlap. */
ZonedLogRun zoned_log_run(const ZonedLogRecord *record, uint32_t i);

/* Sum @i of @record. */
ZonedLogSum zoned_log_sum(const ZonedLogRecord *record, uint32_t i);

/*
 * Changes the entries of @n zones, the first of which is @first, to what
 * @record says of them.  @raw has them as they are in the image, and @known a
 * bit for each that stays as it is, as it was changed already: of several
 * records the last one counts, and comes first.
 */
void zoned_log_runs_apply(const ZonedGeometry *geo,
                          const ZonedLogRecord *record, uint64_t first,
                          uint64_t n, unsigned long *known, uint64_t *raw);

#endif /* BLOCK_ZONED_FORMAT_H */

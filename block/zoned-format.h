/*
 * zoned block format driver: the image format
 *
 * Encodes, decodes and validates the header and the entries of the zone table;
 * docs/interop/zoned.rst is the specification.  Pure: no I/O, and the only code
 * that knows what the bytes of an image mean.
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
} ZonedHeader;

/* What an entry of the zone table says. */
typedef struct ZonedEntry {
    BlockZoneState cond;
    uint64_t end;               /* byte of the device, see zoned_zones_end() */
    bool ext_valid;             /* the descriptor extension has been set */
} ZonedEntry;

/*
 * Zones in a row with the same condition, each written up to the same byte of
 * its own: their ends are zone_size bytes apart.
 */
typedef struct ZonedEntryRun {
    ZonedEntry entry;           /* of the first zone */
    uint32_t nr_zones;
} ZonedEntryRun;

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
 * belongs to two zones.  It may be any number.
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

/* The entry for zone @i. */
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


#endif /* BLOCK_ZONED_FORMAT_H */

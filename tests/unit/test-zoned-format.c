/*
 * Unit tests of the image format module of the zoned block format driver
 *
 *   ZONED_TEST_SEED    repeats a failure: the seed that it printed
 *   ZONED_TEST_STEPS   headers and entries of each random test
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/bitmap.h"
#include "qemu/bswap.h"
#include "block/zoned-format.h"
#include "zoned-format-rules.h"
#include "zoned-random.h"

#define CONV_BIT (1ULL << 59)
#define EXT_BIT (1ULL << 58)
#define ENTRY(cond, address) ((uint64_t)(cond) << 60 | (address))

/*
 * The example of docs/interop/zoned.rst: a conventional zone, four sequential
 * zones of 256 KiB with a capacity of 192 KiB, of which the last is a half one.
 */
static const ZonedGeometry example_geo = {
    .size = 1152 * KiB,
    .zone_size = 256 * KiB,
    .zone_capacity = 192 * KiB,
    .nr_zones = 5,
    .nr_conv = 1,
    .max_open = 2,
    .max_active = 3,
    .max_append_sectors = 128,
};

/* Its header; what is missing here is zero. */
static const uint8_t example_header[ZONED_HEADER_SIZE] = {
    0x7a, 0x6f, 0x6e, 0x65, 0x01, 0x00, 0x00, 0x00,     /* 0x00 */
    0x00, 0x02, 0x00, 0x00, 0x5f, 0x0e, 0xbb, 0x51,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,     /* 0x10 */
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,     /* 0x20 */
    0x00, 0x00, 0x12, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x04, 0x00, 0x00, 0x00, 0x00, 0x00,     /* 0x30 */
    0x00, 0x00, 0x03, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x05, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00,     /* 0x40 */
    0x04, 0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x00,
    0x03, 0x00, 0x00, 0x00, 0x80, 0x00, 0x00, 0x00,     /* 0x50 */
    0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x10, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,     /* 0x60 */
    0x00, 0x00, 0x10, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,     /* 0x70 */
    0x00, 0x00, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x80, 0x00, 0x00, 0x00,                             /* 0x80 */
};

/* The entries of its zones */
static const struct {
    uint8_t bytes[ZONED_ENTRY_SIZE];
    ZonedEntry entry;
} example_table[] = {
    { { 0x00, 0x00, 0x04, 0x00, 0x00, 0x00, 0x00, 0x08 },
      { BLK_ZS_NOT_WP, 256 * KiB } },
    { { 0x00, 0x00, 0x07, 0x00, 0x00, 0x00, 0x00, 0xe0 },
      { BLK_ZS_FULL, 448 * KiB } },
    { { 0x00, 0x10, 0x08, 0x00, 0x00, 0x00, 0x00, 0x40 },
      { BLK_ZS_CLOSED, 516 * KiB } },
    { { 0x00, 0x00, 0x0c, 0x00, 0x00, 0x00, 0x00, 0x10 },
      { BLK_ZS_EMPTY, 768 * KiB } },
    { { 0x00, 0x02, 0x10, 0x00, 0x00, 0x00, 0x00, 0x20 },
      { BLK_ZS_IOPEN, 1 * MiB + 512 } },
};

/* The same device with descriptor extensions of 128 bytes */
static ZonedGeometry extended_geo(void)
{
    ZonedGeometry geo = example_geo;

    geo.zd_extension_size = 128;
    return geo;
}

static ZonedGeometry geometry(uint64_t size, uint64_t zone_size,
                              uint64_t capacity, uint32_t nr_conv)
{
    return (ZonedGeometry) {
        .size = size,
        .zone_size = zone_size,
        .zone_capacity = capacity,
        .nr_zones = DIV_ROUND_UP(size, zone_size),
        .nr_conv = nr_conv,
    };
}

/* Geometries at the edges of what is valid */
static const ZonedGeometry *edge_geometries(int *n)
{
    static ZonedGeometry geos[17];

    *n = 0;
    geos[(*n)++] = example_geo;
    geos[(*n)++] = geometry(4096, 4096, 4096, 0);
    geos[(*n)++] = geometry(4096, 4096, 4096, 1);
    geos[(*n)++] = geometry(12288 * 7 + 4096, 12288, 8192, 3);
    geos[(*n)++] = geometry(12288 * 7 + 4096, 12288, 8192, 8);
    geos[(*n)++] = geometry(96 * MiB, 8 * MiB, 8 * MiB, 0);
    geos[(*n)++] = geometry(100 * TiB, 256 * MiB, 77 * MiB, 524);
    geos[(*n)++] = geometry(3 * (5 * GiB + 4096), 5 * GiB + 4096, 5 * GiB, 1);
    geos[(*n)++] = geometry(ZONED_MAX_SIZE, ZONED_MAX_SIZE, ZONED_MAX_SIZE, 0);
    geos[(*n)++] = geometry(ZONED_MAX_SIZE, ZONED_MAX_SIZE, 4096, 1);
    geos[(*n)++] = geometry(ZONED_MAX_SIZE, 1ULL << 37, 1ULL << 37, 1 << 21);
    geos[(*n)++] = geometry(ZONED_MAX_ZONES * 4096ULL, 4096, 4096, 0);
    geos[(*n)++] = geometry(ZONED_MAX_ZONES * 8192ULL - 4096, 8192, 8192, 99);
    geos[(*n)++] = extended_geo();
    geos[(*n)++] = geometry(ZONED_MAX_SIZE_EXTENDED, ZONED_MAX_SIZE_EXTENDED,
                            4096, 0);
    geos[(*n)++] = geometry(ZONED_MAX_SIZE_EXTENDED, 1ULL << 37, 1ULL << 37,
                            1 << 20);
    geos[(*n)++] = geometry(ZONED_MAX_ZONES * 4096ULL, 4096, 4096, 5);
    for (int i = *n - 3; i < *n; i++) {
        geos[i].zd_extension_size = ZONED_EXTENSION_MAX;
    }
    geos[5].max_open = geos[5].max_active = UINT32_MAX;
    geos[6].max_open = UINT32_MAX;
    geos[7].max_active = 1;
    geos[7].max_append_sectors = UINT32_MAX;
    g_assert_cmpint(*n, <=, ARRAY_SIZE(geos));
    return geos;
}

static void assert_same_geometry(const ZonedGeometry *a, const ZonedGeometry *b)
{
    g_assert_cmphex(a->size, ==, b->size);
    g_assert_cmphex(a->zone_size, ==, b->zone_size);
    g_assert_cmphex(a->zone_capacity, ==, b->zone_capacity);
    g_assert_cmpuint(a->nr_zones, ==, b->nr_zones);
    g_assert_cmpuint(a->nr_conv, ==, b->nr_conv);
    g_assert_cmpuint(a->max_open, ==, b->max_open);
    g_assert_cmpuint(a->max_active, ==, b->max_active);
    g_assert_cmpuint(a->max_append_sectors, ==, b->max_append_sectors);
    g_assert_cmpuint(a->zd_extension_size, ==, b->zd_extension_size);
}

static void assert_same_header(const ZonedHeader *a, const ZonedHeader *b)
{
    assert_same_geometry(&a->geo, &b->geo);
    g_assert_cmphex(a->incompatible_features, ==, b->incompatible_features);
    g_assert_cmphex(a->compatible_features, ==, b->compatible_features);
    g_assert_cmphex(a->autoclear_features, ==, b->autoclear_features);
    g_assert_cmphex(a->table_offset, ==, b->table_offset);
    g_assert_cmphex(a->extension_offset, ==, b->extension_offset);
    g_assert_cmphex(a->data_offset, ==, b->data_offset);
    g_assert_cmphex(a->log_offset, ==, b->log_offset);
    g_assert_cmpuint(a->log_blocks, ==, b->log_blocks);
}

/* A new image has its log right in front of the data. */
static void assert_new_log(const ZonedHeader *h)
{
    g_assert_cmphex(h->log_offset, ==, h->data_offset - 512 * KiB);
    g_assert_cmpuint(h->log_blocks, ==, 128);
}

/* What every user of an accepted header relies on */
static void assert_header_usable(const ZonedHeader *h)
{
    const ZonedGeometry *geo = &h->geo;
    uint64_t table_size = zoned_table_size(geo);
    uint64_t tables_end = h->log_blocks ? h->log_offset : h->data_offset;

    g_assert_cmpuint(geo->nr_zones, >, 0);
    g_assert_cmpuint(geo->nr_zones, <=, ZONED_MAX_ZONES);
    g_assert_cmpuint(geo->nr_conv, <=, geo->nr_zones);
    g_assert_cmphex(geo->size, >, 0);
    g_assert_cmphex(geo->size, <=, ZONED_MAX_SIZE);
    g_assert_cmphex(geo->zone_size * (geo->nr_zones - 1), <, geo->size);
    g_assert_cmphex(geo->size - geo->zone_size * (geo->nr_zones - 1), <=,
                    geo->zone_size);
    g_assert_cmphex(geo->zone_capacity, >, 0);
    g_assert_cmphex(geo->zone_capacity, <=, geo->zone_size);
    g_assert_cmphex(table_size, >=, geo->nr_zones * ZONED_ENTRY_SIZE);
    g_assert_cmphex(h->table_offset, >=, ZONED_HEADER_SIZE);
    g_assert_cmphex(h->table_offset, <=, INT64_MAX - table_size);
    g_assert_cmphex(tables_end, >=, h->table_offset + table_size);
    if (geo->zd_extension_size) {
        uint64_t ext_size = zoned_extension_table_size(geo);

        g_assert_cmpuint(geo->zd_extension_size, <=, ZONED_EXTENSION_MAX);
        g_assert_cmphex(geo->size, <=, ZONED_MAX_SIZE_EXTENDED);
        g_assert_cmphex(ext_size, >=,
                        (uint64_t)geo->nr_zones * geo->zd_extension_size);
        g_assert_cmphex(h->extension_offset, >=, h->table_offset + table_size);
        g_assert_cmphex(tables_end, >=, h->extension_offset + ext_size);
    } else {
        g_assert_cmphex(h->extension_offset, ==, 0);
    }
    if (h->log_blocks) {
        g_assert_cmpuint(h->log_blocks, >=, 2);
        g_assert_cmpuint(h->log_blocks, <=, ZONED_LOG_MAX_BLOCKS);
        g_assert_cmphex(h->data_offset - h->log_offset, >=,
                        h->log_blocks * ZONED_LOG_BLOCK);
    } else {
        g_assert_cmphex(h->log_offset, ==, 0);
    }
    g_assert_cmphex(h->data_offset, <=, INT64_MAX - geo->size);
    g_assert_cmphex(zoned_header_min_file_size(h), >=, h->data_offset);
    g_assert_cmphex(zoned_header_min_file_size(h), <=, INT64_MAX);
}

static void test_header_golden(void)
{
    uint8_t buf[ZONED_HEADER_SIZE];
    ZonedHeader h, decoded;

    zoned_header_init(&h, &example_geo, 0);
    memset(buf, 0xaa, sizeof(buf));
    zoned_header_encode(&h, buf);
    g_assert_cmpmem(buf, sizeof(buf), example_header, sizeof(example_header));

    g_assert_cmpint(zoned_header_decode(&decoded, example_header,
                                        &error_abort), ==, 0);
    assert_same_header(&decoded, &h);
    assert_same_geometry(&decoded.geo, &example_geo);
    g_assert_cmphex(decoded.table_offset, ==, 4096);
    g_assert_cmphex(decoded.data_offset, ==, 1 * MiB);
    g_assert_true(rules_accept_header(example_header));
}

static void test_header_round_trip(void)
{
    int n;
    const ZonedGeometry *geos = edge_geometries(&n);

    for (int i = 0; i < n; i++) {
        uint8_t buf[ZONED_HEADER_SIZE], again[ZONED_HEADER_SIZE];
        ZonedHeader h, decoded;

        g_assert_true(zoned_geometry_validate(&geos[i], &error_abort));
        zoned_header_init(&h, &geos[i], 0);
        zoned_header_encode(&h, buf);
        g_assert_cmpint(zoned_header_decode(&decoded, buf, &error_abort), ==,
                        0);
        assert_same_header(&decoded, &h);
        assert_same_geometry(&decoded.geo, &geos[i]);
        assert_header_usable(&decoded);
        g_assert_true(rules_accept_header(buf));
        zoned_header_encode(&decoded, again);
        g_assert_cmpmem(again, sizeof(again), buf, sizeof(buf));
    }
}

/* Where the parts of a new image are */
static void check_layout(uint32_t nr_zones, uint64_t table_size,
                         uint64_t data_offset)
{
    ZonedGeometry geo = geometry(nr_zones * 4096ULL, 4096, 4096, 0);
    ZonedHeader h;

    zoned_header_init(&h, &geo, 0);
    g_assert_cmphex(zoned_table_size(&geo), ==, table_size);
    g_assert_cmphex(h.table_offset, ==, 4096);
    g_assert_cmphex(h.data_offset, ==, data_offset);
    assert_new_log(&h);
    g_assert_cmphex(zoned_header_min_file_size(&h), ==, data_offset + geo.size);
}

static void test_layout(void)
{
    check_layout(1, 4096, 1 * MiB);
    check_layout(512, 4096, 1 * MiB);
    check_layout(513, 8192, 1 * MiB);
    check_layout(65024, 512 * KiB - 4096, 1 * MiB);
    check_layout(65025, 512 * KiB, 2 * MiB);
    check_layout(196096, 1536 * KiB - 4096, 2 * MiB);
    check_layout(196097, 1536 * KiB, 3 * MiB);
    check_layout(ZONED_MAX_ZONES, 32 * MiB, 33 * MiB);
}

/* How many zones a new image with @reserve can have, and where its data is */
static void check_reserve(const ZonedGeometry *geo, uint32_t reserve,
                          uint32_t max_zones, uint64_t data_offset)
{
    uint8_t buf[ZONED_HEADER_SIZE];
    ZonedHeader h, decoded;

    zoned_header_init(&h, geo, reserve);
    g_assert_cmpuint(zoned_header_max_zones(&h), ==, max_zones);
    g_assert_cmphex(h.data_offset, ==, data_offset);
    assert_new_log(&h);
    zoned_header_encode(&h, buf);
    g_assert_cmpint(zoned_header_decode(&decoded, buf, &error_abort), ==, 0);
    g_assert_cmpuint(zoned_header_max_zones(&decoded), ==, max_zones);
}

static void test_reserve(void)
{
    ZonedGeometry geo = geometry(100 * 4096, 4096, 4096, 0);

    /* There is room up to the log, whatever was asked for. */
    check_reserve(&geo, 0, 65024, 1 * MiB);
    check_reserve(&geo, 64924, 65024, 1 * MiB);
    check_reserve(&geo, 64925, 65024 + 131072, 2 * MiB);
    check_reserve(&geo, UINT32_MAX, ZONED_MAX_ZONES, 33 * MiB);

    /* As many as the extensions have room for, or the zone table */
    geo.zd_extension_size = 4096;
    check_reserve(&geo, 26, 126, 1 * MiB);
    check_reserve(&geo, 27, 382, 2 * MiB);
    check_reserve(&geo, 400, 512, 3 * MiB);
    geo.zd_extension_size = 64;
    geo.nr_zones = 512;
    geo.size = geo.nr_zones * 4096ULL;
    check_reserve(&geo, 0, 512, 1 * MiB);

    /* No device is so large. */
    geo = geometry(3ULL << 57, 1ULL << 57, 4096, 0);
    check_reserve(&geo, 100, 3, 1 * MiB);
    /* Its last zone is smaller than the others. */
    geo = geometry((3ULL << 57) + 4096, 1ULL << 57, 4096, 0);
    check_reserve(&geo, 100, 4, 1 * MiB);
}

static void check_aligned(const ZonedGeometry *geo, uint64_t bytes,
                          uint64_t data_offset)
{
    uint8_t buf[ZONED_HEADER_SIZE];
    ZonedHeader h, decoded;

    zoned_header_init(&h, geo, 0);
    zoned_header_align_data(&h, bytes);
    g_assert_cmphex(h.data_offset, ==, data_offset);
    assert_new_log(&h);
    zoned_header_encode(&h, buf);
    g_assert_cmpint(zoned_header_decode(&decoded, buf, &error_abort), ==, 0);
    g_assert_cmphex(decoded.data_offset, ==, data_offset);
}

/* Where the file has objects, none belongs to two zones if that can be. */
static void test_aligned_data(void)
{
    ZonedGeometry geo = geometry(96 * MiB, 12 * MiB, 12 * MiB, 0);

    check_aligned(&geo, 0, 1 * MiB);
    check_aligned(&geo, 64 * KiB, 1 * MiB);
    check_aligned(&geo, 1 * MiB + 512, 1 * MiB);
    check_aligned(&geo, 2 * MiB, 2 * MiB);
    check_aligned(&geo, 3 * MiB, 3 * MiB);
    check_aligned(&geo, 4 * MiB, 4 * MiB);
    check_aligned(&geo, 8 * MiB, 1 * MiB);
    check_aligned(&geo, 24 * MiB, 1 * MiB);

    geo = geometry(ZONED_MAX_SIZE, 1ULL << 58, 4096, 0);
    check_aligned(&geo, 1ULL << 58, 1ULL << 58);
}

/* The same with extensions, behind the zone table */
static void check_extended_layout(uint32_t nr_zones, uint32_t size,
                                  uint64_t extension_offset,
                                  uint64_t extension_table_size,
                                  uint64_t data_offset)
{
    ZonedGeometry geo = geometry(nr_zones * 4096ULL, 4096, 4096, 0);
    ZonedHeader h;

    geo.zd_extension_size = size;
    zoned_header_init(&h, &geo, 0);
    g_assert_cmphex(h.table_offset, ==, 4096);
    g_assert_cmphex(h.extension_offset, ==, extension_offset);
    g_assert_cmphex(zoned_extension_table_size(&geo), ==, extension_table_size);
    g_assert_cmphex(h.data_offset, ==, data_offset);
}

static void test_extended_layout(void)
{
    check_extended_layout(1, 0, 0, 0, 1 * MiB);
    check_extended_layout(1, 64, 8192, 4096, 1 * MiB);
    check_extended_layout(64, 64, 8192, 4096, 1 * MiB);
    check_extended_layout(65, 64, 8192, 8192, 1 * MiB);
    check_extended_layout(513, 128, 12288, 17 * 4096, 1 * MiB);
    check_extended_layout(15872, 64, 4096 + 31 * 4096, 248 * 4096, 2 * MiB);
    check_extended_layout(ZONED_MAX_ZONES, ZONED_EXTENSION_MAX,
                          32 * MiB + 4096, 65280 * (uint64_t)MiB,
                          65313 * (uint64_t)MiB);
}

/* A file that is too large for the host still has the conventional zones. */
static void test_short_file(void)
{
    ZonedGeometry geo = geometry(7 * MiB + 4096, 1 * MiB, 1 * MiB, 0);
    ZonedHeader h;

    zoned_header_init(&h, &geo, 0);
    h.incompatible_features = ZONED_INCOMPAT_SHORT_FILE;
    g_assert_cmphex(zoned_header_min_file_size(&h), ==, 1 * MiB);
    h.geo.nr_conv = 3;
    g_assert_cmphex(zoned_header_min_file_size(&h), ==, 4 * MiB);
    h.geo.nr_conv = 8;
    g_assert_cmphex(zoned_header_min_file_size(&h), ==, 8 * MiB + 4096);
}

static void test_probe(void)
{
    static const struct {
        uint32_t version;
        uint32_t length;
    } impossible[] = {
        { 0, 512 }, { 0, 1024 }, { 256, 512 }, { 1 << 24, 512 },
        { UINT32_MAX, 512 }, { 1, 0 }, { 1, 504 }, { 1, 520 }, { 1, 1024 },
        { 1, 1 << 24 | 512 }, { 2, 0 }, { 2, 511 }, { 2, 513 }, { 2, 516 },
        { 2, 64 * KiB + 8 }, { 2, 1 << 24 | 512 }, { 2, UINT32_MAX },
    };
    uint8_t buf[2 * ZONED_HEADER_SIZE] = {};

    memcpy(buf, example_header, sizeof(example_header));
    g_assert_true(zoned_header_probe(buf, sizeof(buf)));
    g_assert_true(zoned_header_probe(buf, ZONED_HEADER_SIZE));
    g_assert_false(zoned_header_probe(buf, ZONED_HEADER_SIZE - 1));
    g_assert_false(zoned_header_probe(buf, 0));

    /* Versions to come are images of this format, though unreadable. */
    for (int version = 2; version <= UINT8_MAX; version++) {
        rules_put(buf, AT_VERSION, 4, version);
        for (int length = 512; length <= 64 * KiB; length *= 2) {
            rules_put(buf, AT_HEADER_LENGTH, 4, length);
            g_assert_true(zoned_header_probe(buf, sizeof(buf)));
        }
        rules_put(buf, AT_HEADER_LENGTH, 4, 520);
        g_assert_true(zoned_header_probe(buf, sizeof(buf)));
    }

    /* But not versions and lengths that no image will have */
    for (int i = 0; i < ARRAY_SIZE(impossible); i++) {
        rules_put(buf, AT_VERSION, 4, impossible[i].version);
        rules_put(buf, AT_HEADER_LENGTH, 4, impossible[i].length);
        g_assert_false(zoned_header_probe(buf, sizeof(buf)));
    }
    memcpy(buf, example_header, sizeof(example_header));
    buf[0] = 'Z';
    g_assert_false(zoned_header_probe(buf, sizeof(buf)));
}

/* Files that happen to start with the same word */
static void test_probe_others(void)
{
    static const char *const texts[] = {
        "zone", "zone ", "zones\n", "zone files are text\n",
        "zone \"example.org\" {\n    type master;\n};\n",
        "zone\n\n\n\n\n\n\n\n\n\n\n\n", "zone\t1\t512\n", "zone\r\n512\r\n",
    };
    uint8_t buf[ZONED_HEADER_SIZE];
    ZonedRandom rng = random_start();

    for (int i = 0; i < ARRAY_SIZE(texts); i++) {
        /* What is behind it is zeroes, or goes on in the same way. */
        memset(buf, 0, sizeof(buf));
        memcpy(buf, texts[i], strlen(texts[i]));
        g_assert_false(zoned_header_probe(buf, sizeof(buf)));
        for (int j = strlen(texts[i]); j < sizeof(buf); j++) {
            buf[j] = texts[i][j % strlen(texts[i])];
        }
        g_assert_false(zoned_header_probe(buf, sizeof(buf)));
    }
    for (int n = 0; n < 100000; n++) {
        for (int j = 4; j < 16; j++) {
            buf[j] = random_bits(&rng);
        }
        g_assert_false(zoned_header_probe(buf, sizeof(buf)));
    }
}

/* An image with a damaged byte is one still, if its identity is not hurt. */
static void test_probe_damaged(void)
{
    uint8_t buf[ZONED_HEADER_SIZE];

    memcpy(buf, example_header, sizeof(buf));
    for (int pos = AT_CHECKSUM; pos < ZONED_HEADER_SIZE; pos++) {
        for (int value = 1; value <= UINT8_MAX; value++) {
            buf[pos] ^= value;
            g_assert_true(zoned_header_probe(buf, sizeof(buf)));
            buf[pos] ^= value;
        }
    }
}

/*
 * Headers that are refused: the example with some fields changed.
 */
typedef struct Change {
    int at;
    int bytes;
    uint64_t value;
} Change;

typedef struct Refusal {
    Change changes[9];
    int ret;
    const char *message;
} Refusal;

#define INVALID "Zoned image header is invalid: "
#define IMPOSSIBLE(size, better)                                             \
    "Zone descriptor extensions of " #size " bytes are impossible: use a "   \
    "multiple of 64 up to 16320, for example " #better
#define BAD_LOG(blocks, offset) \
    "Log of " #blocks " blocks at offset " #offset " in zoned image is invalid"
#define SIZE_RANGE " is not between 1 and 576460752303419392 bytes"

static const Refusal refusals[] = {
    /* Features and kinds of devices that are not known here */
    { { { AT_INCOMPATIBLE, 8, 2 } }, -ENOTSUP,
      "Unsupported zoned image features 0x2" },
    { { { AT_INCOMPATIBLE, 8, UINT64_MAX } }, -ENOTSUP,
      "Unsupported zoned image features 0xfffffffffffffffe" },
    { { { AT_MODEL, 4, 0 } }, -ENOTSUP,
      "Unsupported zone model 0 in zoned image" },
    { { { AT_MODEL, 4, 2 } }, -ENOTSUP,
      "Unsupported zone model 2 in zoned image" },
    { { { AT_MODEL, 4, UINT32_MAX } }, -ENOTSUP,
      "Unsupported zone model 4294967295 in zoned image" },

    /* Sizes */
    { { { AT_SIZE, 8, 0 } }, -EINVAL,
      INVALID "Device size 0" SIZE_RANGE },
    { { { AT_SIZE, 8, 1ULL << 59 } }, -EINVAL,
      INVALID "Device size 576460752303423488" SIZE_RANGE },
    { { { AT_SIZE, 8, UINT64_MAX } }, -EINVAL,
      INVALID "Device size 18446744073709551615" SIZE_RANGE },
    { { { AT_SIZE, 8, 1152 * KiB + 512 } }, -EINVAL,
      INVALID "Device size 1180160, zone size 262144 and zone capacity 196608 "
      "must all be multiples of 4096 bytes" },
    { { { AT_SIZE, 8, 256 * KiB - 4096 } }, -EINVAL,
      INVALID "Zone size 262144 is larger than the device (258048 bytes)" },
    { { { AT_ZONE_SIZE, 8, 0 } }, -EINVAL,
      INVALID "Zone size must not be zero" },
    { { { AT_ZONE_SIZE, 8, 1156 * KiB } }, -EINVAL,
      INVALID "Zone size 1183744 is larger than the device (1179648 bytes)" },
    { { { AT_ZONE_SIZE, 8, UINT64_MAX } }, -EINVAL,
      INVALID "Zone size 18446744073709551615 is larger than the device "
      "(1179648 bytes)" },
    { { { AT_ZONE_SIZE, 8, 256 * KiB + 2048 } }, -EINVAL,
      INVALID "Device size 1179648, zone size 264192 and zone capacity 196608 "
      "must all be multiples of 4096 bytes" },
    { { { AT_ZONE_CAPACITY, 8, 0 } }, -EINVAL,
      INVALID "Zone capacity 0 is not between 1 and the zone size "
      "(262144 bytes)" },
    { { { AT_ZONE_CAPACITY, 8, 260 * KiB } }, -EINVAL,
      INVALID "Zone capacity 266240 is not between 1 and the zone size "
      "(262144 bytes)" },
    { { { AT_ZONE_CAPACITY, 8, UINT64_MAX } }, -EINVAL,
      INVALID "Zone capacity 18446744073709551615 is not between 1 and the "
      "zone size (262144 bytes)" },
    { { { AT_ZONE_CAPACITY, 8, 512 } }, -EINVAL,
      INVALID "Device size 1179648, zone size 262144 and zone capacity 512 "
      "must all be multiples of 4096 bytes" },

    /* Numbers of zones */
    { { { AT_NR_ZONES, 4, 0 } }, -EINVAL,
      INVALID "0 zones of 262144 bytes do not make a device of 1179648 bytes" },
    { { { AT_NR_ZONES, 4, 4 }, { AT_NR_SEQ, 4, 3 } }, -EINVAL,
      INVALID "4 zones of 262144 bytes do not make a device of 1179648 bytes" },
    { { { AT_NR_ZONES, 4, 6 }, { AT_NR_SEQ, 4, 5 } }, -EINVAL,
      INVALID "6 zones of 262144 bytes do not make a device of 1179648 bytes" },
    { { { AT_SIZE, 8, (ZONED_MAX_ZONES + 1) * 4096ULL },
        { AT_ZONE_SIZE, 8, 4096 }, { AT_ZONE_CAPACITY, 8, 4096 },
        { AT_NR_ZONES, 4, ZONED_MAX_ZONES + 1 },
        { AT_NR_SEQ, 4, ZONED_MAX_ZONES },
        { AT_DATA_OFFSET, 8, 64 * MiB } }, -EINVAL,
      INVALID "A device of 17179873280 bytes has more than 4194304 zones of "
      "4096 bytes; use larger zones" },
    /* As many as 32 bits can count, and one more */
    { { { AT_SIZE, 8, (1ULL << 44) + 4096 }, { AT_ZONE_SIZE, 8, 4096 },
        { AT_ZONE_CAPACITY, 8, 4096 }, { AT_NR_ZONES, 4, 1 },
        { AT_NR_SEQ, 4, 0 } }, -EINVAL,
      INVALID "A device of 17592186048512 bytes has more than 4194304 zones of "
      "4096 bytes; use larger zones" },
    { { { AT_NR_CONV, 4, 6 } }, -EINVAL,
      INVALID "6 conventional zones are more than the device has zones (5)" },
    { { { AT_NR_CONV, 4, 6 }, { AT_NR_SEQ, 4, UINT32_MAX } }, -EINVAL,
      INVALID "6 conventional zones are more than the device has zones (5)" },
    { { { AT_NR_SEQ, 4, 5 } }, -EINVAL,
      INVALID "1 conventional and 5 sequential zones are not 5 zones" },
    { { { AT_NR_SEQ, 4, 3 } }, -EINVAL,
      INVALID "1 conventional and 3 sequential zones are not 5 zones" },
    { { { AT_NR_CONV, 4, 2 } }, -EINVAL,
      INVALID "2 conventional and 4 sequential zones are not 5 zones" },
    { { { AT_MAX_OPEN, 4, 4 } }, -EINVAL,
      INVALID "Open zones are active: max_open_zones (4) must not be larger "
      "than max_active_zones (3)" },
    { { { AT_MAX_OPEN, 4, UINT32_MAX }, { AT_MAX_ACTIVE, 4, 1 } }, -EINVAL,
      INVALID "Open zones are active: max_open_zones (4294967295) must not be "
      "larger than max_active_zones (1)" },

    /* Extensions */
    { { { AT_EXTENSION_SIZE, 4, 1 }, { AT_EXTENSION_OFFSET, 8, 8192 } },
      -EINVAL, INVALID IMPOSSIBLE(1, 64) },
    { { { AT_EXTENSION_SIZE, 4, 65 }, { AT_EXTENSION_OFFSET, 8, 8192 } },
      -EINVAL, INVALID IMPOSSIBLE(65, 128) },
    { { { AT_EXTENSION_SIZE, 4, 16384 }, { AT_EXTENSION_OFFSET, 8, 8192 } },
      -EINVAL, INVALID IMPOSSIBLE(16384, 16320) },
    { { { AT_EXTENSION_SIZE, 4, UINT32_MAX },
        { AT_EXTENSION_OFFSET, 8, 8192 } },
      -EINVAL, INVALID IMPOSSIBLE(4294967295, 16320) },
    { { { AT_SIZE, 8, EXT_BIT }, { AT_ZONE_SIZE, 8, EXT_BIT },
        { AT_NR_ZONES, 4, 1 }, { AT_NR_CONV, 4, 0 }, { AT_NR_SEQ, 4, 1 },
        { AT_EXTENSION_SIZE, 4, 64 }, { AT_EXTENSION_OFFSET, 8, 8192 } },
      -EINVAL, INVALID "A device of 288230376151711744 bytes is too large for "
      "zone descriptor extensions: use at most 288230376151707648 bytes, or no "
      "extensions" },
    { { { AT_EXTENSION_SIZE, 4, 64 } }, -EINVAL,
      "Zone descriptor extension offset 0 in zoned image is invalid" },
    { { { AT_EXTENSION_SIZE, 4, 64 }, { AT_EXTENSION_OFFSET, 8, 4096 } },
      -EINVAL,
      "Zone descriptor extension offset 4096 in zoned image is invalid" },
    { { { AT_EXTENSION_SIZE, 4, 64 }, { AT_EXTENSION_OFFSET, 8, 8704 } },
      -EINVAL,
      "Zone descriptor extension offset 8704 in zoned image is invalid" },
    { { { AT_EXTENSION_SIZE, 4, 64 }, { AT_EXTENSION_OFFSET, 8, -4096ULL } },
      -EINVAL, "Zone descriptor extension offset 18446744073709547520 in zoned "
      "image is invalid" },
    { { { AT_EXTENSION_SIZE, 4, 64 },
        { AT_EXTENSION_OFFSET, 8, (1ULL << 63) - 4096 } },
      -EINVAL, "Zone descriptor extension offset 9223372036854771712 in zoned "
      "image is invalid" },
    { { { AT_EXTENSION_SIZE, 4, 64 }, { AT_EXTENSION_OFFSET, 8, 1 * MiB } },
      -EINVAL, "Data offset 1048576 in zoned image is invalid" },
    { { { AT_EXTENSION_OFFSET, 8, 8192 } }, -EINVAL,
      "Zone descriptor extension offset 8192 in zoned image, which has no "
      "extensions" },

    /* Bytes that mean nothing yet */
    { { { 132, 1, 1 } }, -EINVAL,
      INVALID "bytes 132 to 511 are not zero" },
    { { { 300, 1, 0x80 } }, -EINVAL,
      INVALID "bytes 132 to 511 are not zero" },
    { { { 511, 1, 0xff } }, -EINVAL,
      INVALID "bytes 132 to 511 are not zero" },

    /* Offsets: misaligned, overlapping, overflowing */
    { { { AT_TABLE_OFFSET, 8, 0 } }, -EINVAL,
      "Zone table offset 0 in zoned image is invalid" },
    { { { AT_TABLE_OFFSET, 8, 512 } }, -EINVAL,
      "Zone table offset 512 in zoned image is invalid" },
    { { { AT_TABLE_OFFSET, 8, 4096 + 512 } }, -EINVAL,
      "Zone table offset 4608 in zoned image is invalid" },
    { { { AT_TABLE_OFFSET, 8, -4096ULL } }, -EINVAL,
      "Zone table offset 18446744073709547520 in zoned image is invalid" },
    { { { AT_TABLE_OFFSET, 8, 1ULL << 63 } }, -EINVAL,
      "Zone table offset 9223372036854775808 in zoned image is invalid" },
    { { { AT_TABLE_OFFSET, 8, (1ULL << 63) - 4096 } }, -EINVAL,
      "Zone table offset 9223372036854771712 in zoned image is invalid" },
    { { { AT_DATA_OFFSET, 8, 0 } }, -EINVAL,
      "Data offset 0 in zoned image is invalid" },
    { { { AT_DATA_OFFSET, 8, 8192 } }, -EINVAL,
      "Data offset 8192 in zoned image is invalid" },
    { { { AT_DATA_OFFSET, 8, 1 * MiB + 4096 } }, -EINVAL,
      "Data offset 1052672 in zoned image is invalid" },
    { { { AT_TABLE_OFFSET, 8, 1 * MiB } }, -EINVAL,
      "Data offset 1048576 in zoned image is invalid" },
    { { { AT_TABLE_OFFSET, 8, 16 * MiB } }, -EINVAL,
      "Data offset 1048576 in zoned image is invalid" },
    { { { AT_DATA_OFFSET, 8, -1 * (uint64_t)MiB } }, -EINVAL,
      "Data offset 18446744073708503040 in zoned image is invalid" },
    { { { AT_DATA_OFFSET, 8, 1ULL << 63 } }, -EINVAL,
      "Data offset 9223372036854775808 in zoned image is invalid" },
    { { { AT_DATA_OFFSET, 8, (1ULL << 63) - 1 * MiB } }, -EINVAL,
      "Data offset 9223372036853727232 in zoned image is invalid" },

    /* A log of no blocks that is somewhere, or too few, or too many */
    { { { AT_LOG_BLOCKS, 4, 0 } }, -EINVAL, BAD_LOG(0, 524288) },
    { { { AT_LOG_BLOCKS, 4, 1 } }, -EINVAL, BAD_LOG(1, 524288) },
    { { { AT_LOG_BLOCKS, 4, 129 } }, -EINVAL, BAD_LOG(129, 524288) },
    { { { AT_LOG_BLOCKS, 4, 4097 }, { AT_DATA_OFFSET, 8, 64 * MiB } }, -EINVAL,
      BAD_LOG(4097, 524288) },
    { { { AT_LOG_BLOCKS, 4, UINT32_MAX }, { AT_DATA_OFFSET, 8, 1ULL << 62 } },
      -EINVAL, BAD_LOG(4294967295, 524288) },

    /* One that is not between tables and data, or misaligned */
    { { { AT_LOG_OFFSET, 8, 0 } }, -EINVAL, BAD_LOG(128, 0) },
    { { { AT_LOG_OFFSET, 8, 4096 } }, -EINVAL, BAD_LOG(128, 4096) },
    { { { AT_LOG_OFFSET, 8, 8192 + 512 } }, -EINVAL, BAD_LOG(128, 8704) },
    { { { AT_LOG_OFFSET, 8, 528384 } }, -EINVAL, BAD_LOG(128, 528384) },
    { { { AT_LOG_OFFSET, 8, 1 * MiB } }, -EINVAL, BAD_LOG(128, 1048576) },
    { { { AT_LOG_OFFSET, 8, 2 * MiB } }, -EINVAL, BAD_LOG(128, 2097152) },
    { { { AT_LOG_OFFSET, 8, -4096ULL } }, -EINVAL,
      BAD_LOG(128, 18446744073709547520) },
    { { { AT_EXTENSION_SIZE, 4, 64 }, { AT_EXTENSION_OFFSET, 8, 8192 },
        { AT_LOG_OFFSET, 8, 8192 } }, -EINVAL, BAD_LOG(128, 8192) },
    { { { AT_EXTENSION_SIZE, 4, 64 }, { AT_EXTENSION_OFFSET, 8, 528384 } },
      -EINVAL, BAD_LOG(128, 524288) },
};

static void apply_changes(uint8_t *buf, const Change *change)
{
    for (; change->bytes; change++) {
        rules_put(buf, change->at, change->bytes, change->value);
    }
}

static void assert_refused(const uint8_t *buf, int ret, const char *message)
{
    ZonedHeader h;
    Error *err = NULL;

    g_assert_cmpint(zoned_header_decode(&h, buf, &err), ==, ret);
    g_assert_cmpstr(error_get_pretty(err), ==, message);
    error_free(err);
    /* Without anyone to tell */
    g_assert_cmpint(zoned_header_decode(&h, buf, NULL), ==, ret);
}

static void test_header_refused(void)
{
    for (int i = 0; i < ARRAY_SIZE(refusals); i++) {
        uint8_t buf[ZONED_HEADER_SIZE];

        memcpy(buf, example_header, sizeof(buf));
        apply_changes(buf, refusals[i].changes);
        rules_fix_checksum(buf);
        assert_refused(buf, refusals[i].ret, refusals[i].message);
        g_assert_false(rules_accept_header(buf));
    }
}

/* No image, another version, or damaged: found before anything is believed. */
static void test_header_identity(void)
{
    uint8_t buf[ZONED_HEADER_SIZE] = {};

    assert_refused(buf, -EINVAL, "Image is not in zoned format");
    for (int i = 0; i < 4; i++) {
        memcpy(buf, example_header, sizeof(buf));
        buf[i] ^= 0x20;
        rules_fix_checksum(buf);
        assert_refused(buf, -EINVAL, "Image is not in zoned format");
    }

    /* A newer version may have its checksum somewhere else. */
    memcpy(buf, example_header, sizeof(buf));
    rules_put(buf, AT_VERSION, 4, 2);
    assert_refused(buf, -ENOTSUP, "Unsupported zoned image version 2 (the "
                   "newest supported one is 1)");
    rules_put(buf, AT_HEADER_LENGTH, 4, 4096);
    assert_refused(buf, -ENOTSUP, "Unsupported zoned image version 2 (the "
                   "newest supported one is 1)");
    rules_put(buf, AT_VERSION, 4, UINT32_MAX);
    assert_refused(buf, -ENOTSUP, "Unsupported zoned image version 4294967295 "
                   "(the newest supported one is 1)");

    memcpy(buf, example_header, sizeof(buf));
    rules_put(buf, AT_VERSION, 4, 0);
    rules_fix_checksum(buf);
    assert_refused(buf, -EINVAL, "Zoned image header is damaged: version 0, "
                   "length 512");
    memcpy(buf, example_header, sizeof(buf));
    rules_put(buf, AT_HEADER_LENGTH, 4, 511);
    rules_fix_checksum(buf);
    assert_refused(buf, -EINVAL, "Zoned image header is damaged: version 1, "
                   "length 511");
    rules_put(buf, AT_HEADER_LENGTH, 4, 1024);
    rules_fix_checksum(buf);
    assert_refused(buf, -EINVAL, "Zoned image header is damaged: version 1, "
                   "length 1024");

    memcpy(buf, example_header, sizeof(buf));
    rules_put(buf, AT_CHECKSUM, 4, 0x12345678);
    assert_refused(buf, -EINVAL, "Zoned image header is damaged: its checksum "
                   "is 0x12345678 and should be 0x51bb0e5f");
    rules_put(buf, AT_CHECKSUM, 4, 0);
    assert_refused(buf, -EINVAL, "Zoned image header is damaged: its checksum "
                   "is 0x00000000 and should be 0x51bb0e5f");

    /* With a wrong checksum, what it says else does not matter. */
    memcpy(buf, example_header, sizeof(buf));
    rules_put(buf, AT_INCOMPATIBLE, 8, UINT64_MAX);
    rules_put(buf, AT_SIZE, 8, 0);
    g_assert_cmpint(zoned_header_decode(&(ZonedHeader) {}, buf, NULL), ==,
                    -EINVAL);
}

static void test_header_features(void)
{
    uint8_t buf[ZONED_HEADER_SIZE], again[ZONED_HEADER_SIZE];
    ZonedHeader h;

    for (int bit = 0; bit < 64; bit++) {
        memcpy(buf, example_header, sizeof(buf));
        rules_put(buf, AT_COMPATIBLE, 8, 1ULL << bit);
        rules_put(buf, AT_AUTOCLEAR, 8, UINT64_MAX >> bit);
        rules_fix_checksum(buf);
        g_assert_cmpint(zoned_header_decode(&h, buf, &error_abort), ==, 0);
        g_assert_cmphex(h.compatible_features, ==, 1ULL << bit);
        g_assert_cmphex(h.autoclear_features, ==, UINT64_MAX >> bit);
        zoned_header_encode(&h, again);
        g_assert_cmpmem(again, sizeof(again), buf, sizeof(buf));
        g_assert_true(rules_accept_header(buf));

        memcpy(buf, example_header, sizeof(buf));
        rules_put(buf, AT_INCOMPATIBLE, 8, 1ULL << bit);
        rules_fix_checksum(buf);
        g_assert_cmpint(zoned_header_decode(&h, buf, NULL), ==,
                        bit == 0 ? 0 : -ENOTSUP);
        g_assert_cmpint(rules_accept_header(buf), ==, bit == 0);
        if (bit == 0) {
            g_assert_cmphex(h.incompatible_features, ==,
                            ZONED_INCOMPAT_SHORT_FILE);
            zoned_header_encode(&h, again);
            g_assert_cmpmem(again, sizeof(again), buf, sizeof(buf));
        }
    }
}

/* Parts of the image may be further apart than QEMU puts them. */
static void test_header_other_layouts(void)
{
    static const struct {
        uint64_t table_offset;
        uint64_t data_offset;
        uint64_t log_offset;
        uint32_t log_blocks;
    } layouts[] = {
        { 8192, 1 * MiB },
        { 1 * MiB - 4096, 1 * MiB },
        { 1 * MiB, 2 * MiB },
        { 4096, 1 * TiB },
        { 1ULL << 62, (1ULL << 62) + 1 * MiB },
        { 4096, (1ULL << 63) - 3 * MiB },
        { (1ULL << 63) - 3 * MiB - 4096, (1ULL << 63) - 3 * MiB },
        { 8192, 1 * MiB, 12288, 2 },
        { 4096, 1 * MiB, 8192, 254 },
        { 4096, 1 * MiB, 1 * MiB - 8192, 2 },
        { 4096, 17 * MiB, 1 * MiB, 4096 },
        { 4096, (1ULL << 63) - 3 * MiB, 16384, 4096 },
        { 4096, (1ULL << 63) - 3 * MiB, (1ULL << 63) - 3 * MiB - 8192, 2 },
    };

    for (int i = 0; i < ARRAY_SIZE(layouts); i++) {
        uint8_t buf[ZONED_HEADER_SIZE];
        ZonedHeader h;

        memcpy(buf, example_header, sizeof(buf));
        rules_put(buf, AT_TABLE_OFFSET, 8, layouts[i].table_offset);
        rules_put(buf, AT_DATA_OFFSET, 8, layouts[i].data_offset);
        rules_put(buf, AT_LOG_OFFSET, 8, layouts[i].log_offset);
        rules_put(buf, AT_LOG_BLOCKS, 4, layouts[i].log_blocks);
        rules_fix_checksum(buf);
        g_assert_cmpint(zoned_header_decode(&h, buf, &error_abort), ==, 0);
        g_assert_cmphex(h.table_offset, ==, layouts[i].table_offset);
        g_assert_cmphex(h.data_offset, ==, layouts[i].data_offset);
        g_assert_cmphex(h.log_offset, ==, layouts[i].log_offset);
        g_assert_cmpuint(h.log_blocks, ==, layouts[i].log_blocks);
        assert_header_usable(&h);
        g_assert_true(rules_accept_header(buf));
    }
}

static void test_header_extensions(void)
{
    static const struct {
        uint32_t size;
        uint64_t offset;
        uint64_t data_offset;
    } tables[] = {
        { 64, 8192, 1 * MiB },
        { 16320, 8192, 1 * MiB },
        { 64, 1 * MiB - 4096, 1 * MiB },
        { 64, 1 * MiB, 2 * MiB },
        { 192, (1ULL << 63) - 3 * MiB - 4096, (1ULL << 63) - 3 * MiB },
    };

    for (int i = 0; i < ARRAY_SIZE(tables); i++) {
        uint8_t buf[ZONED_HEADER_SIZE], again[ZONED_HEADER_SIZE];
        ZonedHeader h;

        memcpy(buf, example_header, sizeof(buf));
        rules_put(buf, AT_EXTENSION_SIZE, 4, tables[i].size);
        rules_put(buf, AT_EXTENSION_OFFSET, 8, tables[i].offset);
        rules_put(buf, AT_DATA_OFFSET, 8, tables[i].data_offset);
        rules_put(buf, AT_LOG_OFFSET, 8, 0);
        rules_put(buf, AT_LOG_BLOCKS, 4, 0);
        rules_fix_checksum(buf);
        g_assert_true(rules_accept_header(buf));
        g_assert_cmpint(zoned_header_decode(&h, buf, &error_abort), ==, 0);
        g_assert_cmpuint(h.geo.zd_extension_size, ==, tables[i].size);
        g_assert_cmphex(h.extension_offset, ==, tables[i].offset);
        assert_header_usable(&h);
        zoned_header_encode(&h, again);
        g_assert_cmpmem(again, sizeof(again), buf, sizeof(buf));
    }
}

/* Any single bit that is wrong is noticed. */
static void test_header_bit_flips(void)
{
    int n;
    const ZonedGeometry *geos = edge_geometries(&n);

    for (int i = 0; i < n; i++) {
        uint8_t buf[ZONED_HEADER_SIZE];
        ZonedHeader h;

        zoned_header_init(&h, &geos[i], 0);
        zoned_header_encode(&h, buf);
        for (int bit = 0; bit < 8 * ZONED_HEADER_SIZE; bit++) {
            buf[bit / 8] ^= 1 << bit % 8;
            g_assert_cmpint(zoned_header_decode(&h, buf, NULL), <, 0);
            buf[bit / 8] ^= 1 << bit % 8;
        }
        g_assert_cmpint(zoned_header_decode(&h, buf, NULL), ==, 0);
    }
}

/* Damage that leaves no doubt about what the header was */
static void check_rebuilt(const uint8_t *damaged)
{
    uint8_t buf[ZONED_HEADER_SIZE];

    memcpy(buf, damaged, sizeof(buf));
    g_assert_cmpint(zoned_header_decode(&(ZonedHeader) {}, buf, NULL), <, 0);
    g_assert_true(zoned_header_rebuild(buf));
    g_assert_cmpmem(buf, sizeof(buf), example_header, sizeof(example_header));
}

static void test_header_rebuilt(void)
{
    uint8_t buf[ZONED_HEADER_SIZE];

    /* What is the same in all images */
    memcpy(buf, example_header, sizeof(buf));
    rules_put(buf, AT_MAGIC, 4, 0);
    rules_put(buf, AT_VERSION, 4, 0);
    rules_put(buf, AT_HEADER_LENGTH, 4, UINT32_MAX);
    rules_put(buf, AT_MODEL, 4, 7);
    memset(buf + AT_ZEROES, 0xaa, ZONED_HEADER_SIZE - AT_ZEROES);
    check_rebuilt(buf);

    /* Any byte */
    for (int pos = 0; pos < AT_ZEROES; pos++) {
        for (int change = 1 + pos % 17; change <= UINT8_MAX; change += 17) {
            memcpy(buf, example_header, sizeof(buf));
            if (change % 2) {
                rules_put(buf, AT_MAGIC, 4, 0);
            }
            if (pos >= AT_CHECKSUM || change % 2 == 0) {
                buf[pos] ^= change;
            }
            check_rebuilt(buf);
        }
    }
}

/* An attempt on any file must not take its time. */
static void test_header_rebuilt_fast(void)
{
    const int n = 20;
    clock_t begin = clock();
    double milliseconds;

    for (int i = 0; i < n; i++) {
        uint8_t buf[ZONED_HEADER_SIZE];

        memset(buf, 0xff - i, sizeof(buf));
        g_assert_false(zoned_header_rebuild(buf));
    }
    milliseconds = 1000.0 * (clock() - begin) / CLOCKS_PER_SEC / n;
    g_test_message("%g ms", milliseconds);
    g_assert_cmpfloat(milliseconds, <, 10);
}

/* Nothing is made up */
static void test_header_not_rebuilt(void)
{
    uint8_t buf[ZONED_HEADER_SIZE] = {};

    g_assert_false(zoned_header_rebuild(buf));

    /* Two bytes */
    memcpy(buf, example_header, sizeof(buf));
    buf[AT_SIZE + 2] ^= 1;
    buf[AT_NR_ZONES] ^= 1;
    g_assert_false(zoned_header_rebuild(buf));

    /* Undamaged, but impossible */
    memcpy(buf, example_header, sizeof(buf));
    rules_put(buf, AT_MAX_OPEN, 4, 4);
    rules_fix_checksum(buf);
    g_assert_false(zoned_header_rebuild(buf));
}

/*
 * Zone table entries.
 */
static uint64_t raw_entry(uint64_t value)
{
    uint64_t raw;

    rules_put((uint8_t *)&raw, 0, 8, value);
    return raw;
}

static void test_entry_golden(void)
{
    for (int i = 0; i < ARRAY_SIZE(example_table); i++) {
        ZonedEntry entry;
        uint64_t raw = zoned_entry_encode(&example_geo, i,
                                          &example_table[i].entry);

        g_assert_cmpmem(&raw, sizeof(raw), example_table[i].bytes, 8);
        g_assert_true(zoned_entry_decode(&example_geo, i, raw, &entry,
                                         &error_abort));
        g_assert_cmpint(entry.cond, ==, example_table[i].entry.cond);
        g_assert_cmphex(entry.end, ==, example_table[i].entry.end);
    }
}

/*
 * Reads @n entries, into @entries one by one.
 * Returns how many there are up to the first that is not valid.
 */
static uint32_t decode_entries(const ZonedGeometry *geo, uint32_t first,
                               uint32_t n, const uint64_t *raw,
                               ZonedEntry *entries)
{
    g_autofree ZonedEntryRun *runs = g_new(ZonedEntryRun, n);
    uint32_t nr_runs = zoned_entries_decode(geo, first, n, raw, runs);
    uint32_t done = 0;

    for (uint32_t i = 0; i < nr_runs; i++) {
        g_assert_cmpuint(runs[i].nr_zones, >, 0);
        g_assert_cmpuint(runs[i].nr_zones, <=, n - done);
        for (uint32_t j = 0; j < runs[i].nr_zones; j++) {
            entries[done] = runs[i].entry;
            entries[done++].end += j * geo->zone_size;
        }
    }
    return done;
}

/* Many entries are read up to the first that is not valid. */
static void test_entries(void)
{
    enum { NR = ARRAY_SIZE(example_table) };
    uint64_t raw[NR];
    ZonedEntry entries[NR];

    for (int i = 0; i < NR; i++) {
        raw[i] = zoned_entry_encode(&example_geo, i, &example_table[i].entry);
    }
    for (int first = 0; first < NR; first++) {
        for (int bad = first; bad <= NR; bad++) {
            uint64_t good_raw = bad < NR ? raw[bad] : 0;

            if (bad < NR) {
                raw[bad] ^= raw_entry(CONV_BIT);
            }
            g_assert_cmpuint(decode_entries(&example_geo, first, NR - first,
                                            raw + first, entries + first),
                             ==, bad - first);
            for (int i = first; i < bad; i++) {
                const ZonedEntry *expected = &example_table[i].entry;

                g_assert_cmpint(entries[i].cond, ==, expected->cond);
                g_assert_cmphex(entries[i].end, ==, expected->end);
            }
            if (bad < NR) {
                raw[bad] = good_raw;
            }
        }
    }
}

static void test_cond_name(void)
{
    static const struct {
        int cond;
        const char *name;
    } names[] = {
        { 0, "NOT WRITE POINTER" }, { 1, "EMPTY" }, { 2, "IMPLICITLY OPEN" },
        { 3, "EXPLICITLY OPEN" }, { 4, "CLOSED" }, { 13, "READ ONLY" },
        { 14, "FULL" }, { 15, "OFFLINE" }, { 5, "unknown" }, { 12, "unknown" },
    };

    for (int i = 0; i < ARRAY_SIZE(names); i++) {
        g_assert_cmpstr(bdrv_zone_state_name(names[i].cond), ==, names[i].name);
    }
}

/* Entries of the example that are refused */
static const struct {
    uint32_t zone;
    uint64_t value;
    const char *message;
} entry_refusals[] = {
    /* Not the type that zones of this number have */
    { 0, ENTRY(0, 0x40000),
      "Zone 0 is conventional, but its entry 0x0000000000040000 says "
      "otherwise" },
    { 0, ENTRY(14, 0x40000),
      "Zone 0 is conventional, but its entry 0xe000000000040000 says "
      "otherwise" },
    { 1, ENTRY(0, 0x80000 | CONV_BIT),
      "Zone 1 is sequential, but its entry 0x0800000000080000 says otherwise" },
    { 4, ENTRY(1, 0x100000 | CONV_BIT),
      "Zone 4 is sequential, but its entry 0x1800000000100000 says otherwise" },

    /* A condition that zones of this type cannot have, or none */
    { 0, ENTRY(1, CONV_BIT),
      "Zone 0 is conventional and cannot have condition 0x1 (EMPTY)" },
    { 0, ENTRY(4, 0x200 | CONV_BIT),
      "Zone 0 is conventional and cannot have condition 0x4 (CLOSED)" },
    { 0, ENTRY(13, 0x40000 | CONV_BIT),
      "Zone 0 is conventional and cannot have condition 0xd (READ ONLY)" },
    { 0, ENTRY(14, 0x40000 | CONV_BIT),
      "Zone 0 is conventional and cannot have condition 0xe (FULL)" },
    { 0, ENTRY(15, 0x40000 | CONV_BIT),
      "Zone 0 is conventional and cannot have condition 0xf (OFFLINE)" },
    { 0, ENTRY(7, 0x40000 | CONV_BIT),
      "Zone 0 is conventional and cannot have condition 0x7 (unknown)" },
    { 1, ENTRY(0, 0x40000),
      "Zone 1 is sequential and cannot have condition 0x0 (NOT WRITE "
      "POINTER)" },
    { 1, 0,
      "Zone 1 is sequential and cannot have condition 0x0 (NOT WRITE "
      "POINTER)" },
    { 1, ENTRY(5, 0x40000),
      "Zone 1 is sequential and cannot have condition 0x5 (unknown)" },
    { 1, ENTRY(12, 0x40000),
      "Zone 1 is sequential and cannot have condition 0xc (unknown)" },

    /* An address that is not in the zone, or not one of its condition */
    { 0, ENTRY(0, CONV_BIT),
      "Zone 0 is NOT WRITE POINTER and cannot be written up to byte 0 (it "
      "starts at 0 and has a capacity of 262144 bytes)" },
    { 0, ENTRY(0, 0x30000 | CONV_BIT),
      "Zone 0 is NOT WRITE POINTER and cannot be written up to byte 196608 (it "
      "starts at 0 and has a capacity of 262144 bytes)" },
    { 0, ENTRY(0, 0x80000 | CONV_BIT),
      "Zone 0 is NOT WRITE POINTER and cannot be written up to byte 524288 (it "
      "starts at 0 and has a capacity of 262144 bytes)" },
    { 1, ENTRY(1, 0),
      "Zone 1 is EMPTY and cannot be written up to byte 0 (it starts at 262144 "
      "and has a capacity of 196608 bytes)" },
    { 1, ENTRY(1, 0x40200),
      "Zone 1 is EMPTY and cannot be written up to byte 262656 (it starts at "
      "262144 and has a capacity of 196608 bytes)" },
    { 1, ENTRY(2, 0x3fe00),
      "Zone 1 is IMPLICITLY OPEN and cannot be written up to byte 261632 (it "
      "starts at 262144 and has a capacity of 196608 bytes)" },
    { 1, ENTRY(2, 0x70000),
      "Zone 1 is IMPLICITLY OPEN and cannot be written up to byte 458752 (it "
      "starts at 262144 and has a capacity of 196608 bytes)" },
    { 1, ENTRY(3, 0x70000),
      "Zone 1 is EXPLICITLY OPEN and cannot be written up to byte 458752 (it "
      "starts at 262144 and has a capacity of 196608 bytes)" },
    { 1, ENTRY(4, 0x70000),
      "Zone 1 is CLOSED and cannot be written up to byte 458752 (it starts at "
      "262144 and has a capacity of 196608 bytes)" },
    { 1, ENTRY(4, 0x40001),
      "Zone 1 is CLOSED and cannot be written up to byte 262145 (it starts at "
      "262144 and has a capacity of 196608 bytes)" },
    { 1, ENTRY(4, 0x40100),
      "Zone 1 is CLOSED and cannot be written up to byte 262400 (it starts at "
      "262144 and has a capacity of 196608 bytes)" },
    { 1, ENTRY(14, 0x70200),
      "Zone 1 is FULL and cannot be written up to byte 459264 (it starts at "
      "262144 and has a capacity of 196608 bytes)" },
    { 1, ENTRY(14, 0x80000),
      "Zone 1 is FULL and cannot be written up to byte 524288 (it starts at "
      "262144 and has a capacity of 196608 bytes)" },
    { 1, ENTRY(13, 0x70200),
      "Zone 1 is READ ONLY and cannot be written up to byte 459264 (it starts "
      "at 262144 and has a capacity of 196608 bytes)" },
    { 1, ENTRY(15, 0x3fe00),
      "Zone 1 is OFFLINE and cannot be written up to byte 261632 (it starts at "
      "262144 and has a capacity of 196608 bytes)" },
    { 1, ENTRY(14, CONV_BIT - 512),
      "Zone 1 is FULL and cannot be written up to byte 576460752303422976 (it "
      "starts at 262144 and has a capacity of 196608 bytes)" },

    /* The last zone is shorter than its capacity would be */
    { 4, ENTRY(14, 0x120200),
      "Zone 4 is FULL and cannot be written up to byte 1180160 (it starts at "
      "1048576 and has a capacity of 131072 bytes)" },
    { 4, ENTRY(4, 0x120000),
      "Zone 4 is CLOSED and cannot be written up to byte 1179648 (it starts at "
      "1048576 and has a capacity of 131072 bytes)" },
};

/* The same with descriptor extensions; bit 58 is not part of an address then */
static const struct {
    uint32_t zone;
    uint64_t value;
    const char *message;        /* NULL: it is accepted */
} extended_entries[] = {
    { 0, ENTRY(0, 0x40000 | CONV_BIT) },
    { 0, ENTRY(0, 0x40000 | CONV_BIT | EXT_BIT),
      "Zone 0 is NOT WRITE POINTER and cannot have a valid descriptor "
      "extension" },
    { 1, ENTRY(1, 0x40000) },
    { 1, ENTRY(1, 0x40000 | EXT_BIT),
      "Zone 1 is EMPTY and cannot have a valid descriptor extension" },
    { 1, ENTRY(2, 0x40000 | EXT_BIT) },
    { 1, ENTRY(3, 0x40200 | EXT_BIT) },
    { 1, ENTRY(4, 0x40000 | EXT_BIT) },
    { 1, ENTRY(4, 0x40000) },
    { 1, ENTRY(13, 0x40000 | EXT_BIT) },
    { 1, ENTRY(14, 0x70000 | EXT_BIT) },
    { 1, ENTRY(15, 0x40000 | EXT_BIT) },
    { 1, ENTRY(4, 0x70000 | EXT_BIT),
      "Zone 1 is CLOSED and cannot be written up to byte 458752 (it starts at "
      "262144 and has a capacity of 196608 bytes)" },
    { 1, ENTRY(5, 0x40000 | EXT_BIT),
      "Zone 1 is sequential and cannot have condition 0x5 (unknown)" },
    { 1, UINT64_MAX,
      "Zone 1 is sequential, but its entry 0xffffffffffffffff says otherwise" },
};

static void test_entry_extended(void)
{
    ZonedGeometry geo = extended_geo();
    uint8_t header[ZONED_HEADER_SIZE];
    ZonedHeader h;

    zoned_header_init(&h, &geo, 0);
    zoned_header_encode(&h, header);
    for (int i = 0; i < ARRAY_SIZE(extended_entries); i++) {
        uint32_t zone = extended_entries[i].zone;
        uint64_t value = extended_entries[i].value;
        const char *message = extended_entries[i].message;
        ZonedEntry entry;
        Error *err = NULL;

        g_assert_cmpint(rules_accept_entry(header, zone, value), ==, !message);
        g_assert_cmpint(zoned_entry_decode(&geo, zone, raw_entry(value), &entry,
                                           &err), ==, !message);
        g_assert_cmpint(entry.ext_valid, ==, !!(value & EXT_BIT));
        if (message) {
            g_assert_cmpstr(error_get_pretty(err), ==, message);
            error_free(err);
        } else {
            g_assert_cmphex(zoned_entry_encode(&geo, zone, &entry), ==,
                            raw_entry(value));
            g_assert_cmphex(entry.end, ==, value & (EXT_BIT - 1));
        }
    }
}

static void test_entry_refused(void)
{
    for (int i = 0; i < ARRAY_SIZE(entry_refusals); i++) {
        uint64_t raw = raw_entry(entry_refusals[i].value);
        ZonedEntry entry;
        Error *err = NULL;

        g_assert_false(zoned_entry_decode(&example_geo, entry_refusals[i].zone,
                                          raw, &entry, &err));
        g_assert_cmpstr(error_get_pretty(err), ==, entry_refusals[i].message);
        error_free(err);
        g_assert_false(zoned_entry_decode(&example_geo, entry_refusals[i].zone,
                                          raw, &entry, NULL));
        g_assert_false(rules_accept_entry(example_header,
                                          entry_refusals[i].zone,
                                          entry_refusals[i].value));
    }
}

/* The entries of zones in a row are read as far as they are valid. */
static void check_entries(const ZonedGeometry *geo, uint32_t first, uint32_t n,
                          const uint64_t *values, const uint8_t *header)
{
    g_autofree uint64_t *raw = g_new(uint64_t, n);
    g_autofree ZonedEntry *entries = g_new(ZonedEntry, n);
    uint32_t nr_valid = 0;

    for (uint32_t j = 0; j < n; j++) {
        raw[j] = raw_entry(values[j]);
        if (nr_valid == j && rules_accept_entry(header, first + j, values[j])) {
            nr_valid++;
        }
    }
    g_assert_cmpuint(decode_entries(geo, first, n, raw, entries), ==, nr_valid);
    for (uint32_t j = 0; j < nr_valid; j++) {
        g_assert_cmphex(zoned_entry_encode(geo, first + j, &entries[j]), ==,
                        raw[j]);
    }
}

/*
 * The same with up to three zones on each side of zone @i, which are like it,
 * or with @blank those in front of it are new.
 */
static void check_entry_of_many(const ZonedGeometry *geo, uint32_t i,
                                uint64_t value, bool blank,
                                const uint8_t *header)
{
    uint32_t first = i - MIN(i, 3);
    uint32_t n = MIN(i + 4, geo->nr_zones) - first;
    uint64_t values[7];

    for (uint32_t j = 0; j < n; j++) {
        uint32_t zone = first + j;
        bool conv = zoned_zone_is_conv(geo, zone);
        ZonedEntry entry = {
            .cond = conv ? BLK_ZS_NOT_WP : BLK_ZS_EMPTY,
            .end = conv ? zoned_zone_limit(geo, zone)
                        : zoned_zone_start(geo, zone),
        };

        values[j] = value + (int64_t)(zone - (int64_t)i) * geo->zone_size;
        if (blank && zone < i) {
            values[j] = le64_to_cpu(zoned_entry_encode(geo, zone, &entry));
        }
    }
    check_entries(geo, first, n, values, header);
}

/* Decodes @value, compares with the rules, and encodes it again. */
static void check_entry(const ZonedGeometry *geo, const uint8_t *header,
                        uint32_t i, uint64_t value)
{
    uint64_t raw = raw_entry(value);
    bool accept = rules_accept_entry(header, i, value);
    ZonedEntry entry = {};
    Error *err = NULL;

    if (zoned_entry_decode(geo, i, raw, &entry, &err) != accept) {
        fprintf(stderr, "Device of %" PRIu64 " bytes, zone size %" PRIu64
                ", capacity %" PRIu64 ", %u zones conventional: entry 0x%016"
                PRIx64 " of zone %u should be %s\n", geo->size, geo->zone_size,
                geo->zone_capacity, geo->nr_conv, value, i,
                accept ? "accepted" : "refused");
        abort();
    }
    check_entry_of_many(geo, i, value, true, header);
    check_entry_of_many(geo, i, value, false, header);
    if (accept) {
        g_assert_null(err);
        g_assert_cmphex(zoned_entry_encode(geo, i, &entry), ==, raw);
        g_assert_cmpuint(entry.cond, ==, value >> 60);
        g_assert_cmpint(entry.ext_valid, ==,
                        geo->zd_extension_size && (value & EXT_BIT));
        g_assert_cmphex(entry.end, >=, zoned_zone_start(geo, i));
        g_assert_cmphex(entry.end, <=, zoned_zone_limit(geo, i));
    } else {
        g_assert_nonnull(err);
        error_free(err);
    }
}

/* All conditions with all addresses, and some that are no multiple of 512 */
static void check_all_entries(const ZonedGeometry *geo)
{
    uint8_t header[ZONED_HEADER_SIZE];
    ZonedHeader h;

    zoned_header_init(&h, geo, 0);
    zoned_header_encode(&h, header);
    for (uint32_t i = 0; i < geo->nr_zones; i++) {
        for (uint64_t top = 0; top < 64; top++) {
            for (uint64_t a = 0; a <= geo->size + 512; a += 512) {
                check_entry(geo, header, i, top << 58 | a);
            }
            for (uint64_t a = 0; a < 8192; a++) {
                check_entry(geo, header, i,
                            top << 58 | (zoned_zone_start(geo, i) + a - 4096));
            }
            for (int bit = 0; bit < 58; bit++) {
                check_entry(geo, header, i, top << 58 | 1ULL << bit);
            }
        }
    }
}

static void test_entry_exhaustive(void)
{
    ZonedGeometry geo = extended_geo();

    check_all_entries(&example_geo);
    check_all_entries(&geo);
}

/* Entries at the edges of zones of all kinds of devices */
static void test_entry_edges(void)
{
    int n;
    const ZonedGeometry *geos = edge_geometries(&n);

    for (int g = 0; g < n; g++) {
        const ZonedGeometry *geo = &geos[g];
        uint32_t zones[] = {
            0, MIN(geo->nr_conv, geo->nr_zones - 1), geo->nr_zones / 2,
            geo->nr_zones - 1,
        };
        uint8_t header[ZONED_HEADER_SIZE];
        ZonedHeader h;

        zoned_header_init(&h, geo, 0);
        zoned_header_encode(&h, header);
        for (int j = 0; j < ARRAY_SIZE(zones); j++) {
            uint32_t i = zones[j];
            uint64_t edges[] = {
                0, zoned_zone_start(geo, i), zoned_zone_limit(geo, i),
                zoned_zone_start(geo, i) + geo->zone_capacity, geo->size,
                CONV_BIT / 2, CONV_BIT - 1,
            };

            for (int e = 0; e < ARRAY_SIZE(edges); e++) {
                for (int delta = -1024; delta <= 1024; delta += 256) {
                    for (uint64_t top = 0; top < 64; top++) {
                        uint64_t address = (edges[e] + delta) & (EXT_BIT - 1);

                        check_entry(geo, header, i, top << 58 | address);
                    }
                }
            }
        }
    }
}

/*
 * Random headers and entries.
 */

/* Numbers of all magnitudes, and more often those next to something round */
static uint64_t random_number(ZonedRandom *r)
{
    uint64_t x = random_bits(r) >> random_below(r, 64);

    switch (random_below(r, 4)) {
    case 0:
        return (1ULL << random_below(r, 64)) + random_below(r, 3) - 1;
    case 1:
        return QEMU_ALIGN_DOWN(x, 4096);
    case 2:
        return QEMU_ALIGN_DOWN(x, 1 * MiB);
    default:
        return x;
    }
}

/* A header that often is valid, and else is so but for a few fields */
static void random_header(ZonedRandom *r, uint8_t *buf)
{
    static const Change fields[] = {
        { AT_VERSION, 4 }, { AT_HEADER_LENGTH, 4 }, { AT_INCOMPATIBLE, 8 },
        { AT_COMPATIBLE, 8 }, { AT_AUTOCLEAR, 8 }, { AT_SIZE, 8 },
        { AT_ZONE_SIZE, 8 }, { AT_ZONE_CAPACITY, 8 }, { AT_NR_ZONES, 4 },
        { AT_NR_CONV, 4 }, { AT_NR_SEQ, 4 }, { AT_MAX_OPEN, 4 },
        { AT_MAX_ACTIVE, 4 }, { AT_MAX_APPEND, 4 }, { AT_MODEL, 4 },
        { AT_EXTENSION_SIZE, 4 }, { AT_TABLE_OFFSET, 8 },
        { AT_DATA_OFFSET, 8 }, { AT_EXTENSION_OFFSET, 8 },
        { AT_LOG_OFFSET, 8 }, { AT_LOG_BLOCKS, 4 },
    };
    uint64_t zone_units = 1 + random_below(r, 1ULL << random_below(r, 50));
    uint64_t zone_size = zone_units * 4096;
    uint64_t nr_zones = 1 + random_below(r, 1ULL << random_below(r, 24));
    uint64_t size = nr_zones * zone_size - random_below(r, 2) * 4096;
    uint64_t capacity = (1 + random_below(r, zone_units)) * 4096;
    uint64_t nr_conv = random_below(r, 3) ? 0
                                          : random_below(r, nr_zones + 1);
    ZonedGeometry geo = geometry(size, zone_size, capacity, nr_conv);
    ZonedHeader h;

    geo.max_active = random_below(r, 2) ? random_number(r) : 0;
    geo.max_open = random_below(r, geo.max_active + 1ULL);
    if (random_below(r, 3) == 0) {
        geo.zd_extension_size = ZONED_EXTENSION_UNIT *
                                (1 + random_below(r, 255));
    }
    zoned_header_init(&h, &geo, 0);
    zoned_header_encode(&h, buf);
    for (int n = random_below(r, 4); n > 0; n--) {
        const Change *f = &fields[random_below(r, ARRAY_SIZE(fields))];

        rules_put(buf, f->at, f->bytes, random_number(r));
    }
    if (random_below(r, 16) == 0) {
        buf[random_below(r, ZONED_HEADER_SIZE)] ^= 1 << random_below(r, 8);
    }
    if (random_below(r, 64)) {
        rules_fix_checksum(buf);
    }
}

static void fail_header(const uint8_t *buf, uint32_t seed, uint64_t step,
                        const char *what)
{
    fprintf(stderr, "Header %" PRIu64 " of seed %u %s:\n", step, seed, what);
    for (int i = 0; i < 128; i++) {
        fprintf(stderr, "%02x%c", buf[i], i % 16 == 15 ? '\n' : ' ');
    }
    abort();
}

static void test_header_random(void)
{
    ZonedRandom r = random_start();
    uint64_t steps = random_steps(300000), nr_accepted = 0;

    for (uint64_t step = 0; step < steps; step++) {
        uint8_t buf[ZONED_HEADER_SIZE], again[ZONED_HEADER_SIZE];
        ZonedHeader h;
        Error *err = NULL;
        bool accept;

        random_header(&r, buf);
        accept = rules_accept_header(buf);
        if ((zoned_header_decode(&h, buf, &err) == 0) != accept) {
            fail_header(buf, r.seed, step, accept ? "should be accepted"
                                                  : "should be refused");
        }
        if (!accept) {
            g_assert_nonnull(err);
            error_free(err);
            continue;
        }
        nr_accepted++;
        g_assert_null(err);
        assert_header_usable(&h);
        zoned_header_encode(&h, again);
        if (memcmp(buf, again, sizeof(buf))) {
            fail_header(buf, r.seed, step, "differs when encoded again");
        }
    }
    /* Neither all nor nothing, or the test would be worth little. */
    if (steps >= 1000) {
        g_assert_cmpuint(nr_accepted, >, steps / 10);
        g_assert_cmpuint(nr_accepted, <, steps / 10 * 9);
    }
}

static void test_entry_random(void)
{
    ZonedRandom r = random_start();
    uint64_t steps = random_steps(1000000);
    uint8_t header[ZONED_HEADER_SIZE];
    ZonedHeader h;

    for (uint64_t step = 0; step < steps; step++) {
        uint64_t value = random_below(&r, 32) << 59;
        uint32_t i;

        if (step % 64 == 0) {
            do {
                random_header(&r, header);
            } while (zoned_header_decode(&h, header, NULL) < 0);
        }
        i = random_below(&r, h.geo.nr_zones);
        if (random_below(&r, 8) == 0) {
            value |= random_number(&r) & (CONV_BIT - 1);
        } else {
            uint64_t address = zoned_zone_start(&h.geo, i) +
                               random_below(&r, h.geo.zone_size + 1);

            value |= random_below(&r, 8) ? QEMU_ALIGN_DOWN(address, 512)
                                         : address;
            value |= random_below(&r, 3) ? 0 : EXT_BIT;
        }
        check_entry(&h.geo, header, i, value);
    }
}

/*
 * The log.
 */

static const uint8_t example_log_head[16] = {
    0x7a, 0x6c, 0x6f, 0x67, 0x0d, 0xae, 0x49, 0x5f,
    0x07, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
};

/*
 * A record of the example at block 3: zone 1 is FULL, zones 2 and 3 are EMPTY,
 * and 4 KiB have a checksum.
 */
static const uint8_t example_record[88] = {
    0x7a, 0x72, 0x65, 0x63, 0x72, 0x29, 0x9d, 0x48,     /* 0x00 */
    0x07, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x03, 0x00, 0x00, 0x00, 0x58, 0x00, 0x00, 0x00,     /* 0x10 */
    0x02, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,     /* 0x20 */
    0x01, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x07, 0x00, 0x00, 0x00, 0x00, 0xe0,     /* 0x30 */
    0x02, 0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x08, 0x00, 0x00, 0x00, 0x00, 0x10,     /* 0x40 */
    0x00, 0x00, 0x04, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x10, 0x00, 0x00, 0x78, 0x56, 0x34, 0x12,     /* 0x50 */
};

#define EXAMPLE_EPOCH 7
#define EXAMPLE_BLOCK 3

static const ZonedLogRun example_runs[] = {
    { 1, 1, ENTRY(14, 0x70000) },
    { 2, 2, ENTRY(1, 0x80000) },
};

static const ZonedLogSum example_sums[] = { { 0x40000, 4096, 0x12345678 } };

static void test_log_head(void)
{
    uint8_t buf[ZONED_LOG_BLOCK];
    uint64_t epoch;

    memset(buf, 0xaa, sizeof(buf));
    zoned_log_head_encode(EXAMPLE_EPOCH, buf);
    g_assert_cmpmem(buf, sizeof(example_log_head), example_log_head,
                    sizeof(example_log_head));
    g_assert_true(buffer_is_zero(buf + sizeof(example_log_head),
                                 sizeof(buf) - sizeof(example_log_head)));
    g_assert_true(rules_accept_head(buf));

    /* What is behind it does not matter. */
    memset(buf + ZONED_LOG_HEAD_SIZE, 0xaa, sizeof(buf) - ZONED_LOG_HEAD_SIZE);
    g_assert_true(zoned_log_head_decode(buf, &epoch, &error_abort));
    g_assert_cmpuint(epoch, ==, EXAMPLE_EPOCH);

    for (int bit = 1; bit < 64; bit++) {
        zoned_log_head_encode(UINT64_MAX >> bit, buf);
        g_assert_true(zoned_log_head_decode(buf, &epoch, &error_abort));
        g_assert_cmphex(epoch, ==, UINT64_MAX >> bit);
        g_assert_true(rules_accept_head(buf));
    }
}

static void assert_head_refused(const uint8_t *buf)
{
    uint64_t epoch;
    Error *err = NULL;

    g_assert_false(rules_accept_head(buf));
    g_assert_false(zoned_log_head_decode(buf, &epoch, &err));
    g_assert_cmpstr(error_get_pretty(err), ==,
                    "Head of the log in zoned image is damaged");
    error_free(err);
    g_assert_false(zoned_log_head_decode(buf, &epoch, NULL));
}

static void test_log_head_refused(void)
{
    static const Change changes[] = {
        { AT_LOG_MAGIC, 1, 'Z' }, { AT_LOG_MAGIC + 3, 1, 'c' },
        { AT_LOG_EPOCH, 8, 0 }, { AT_LOG_EPOCH + 7, 1, 0x80 },
        { AT_HEAD_ZEROES, 1, 1 },
        { 300, 1, 0x80 }, { 511, 1, 0xff },
    };
    uint8_t buf[ZONED_LOG_BLOCK] = {};

    assert_head_refused(buf);
    memset(buf, 0xff, sizeof(buf));
    assert_head_refused(buf);
    for (int i = 0; i < ARRAY_SIZE(changes); i++) {
        zoned_log_head_encode(EXAMPLE_EPOCH, buf);
        rules_put(buf, changes[i].at, changes[i].bytes, changes[i].value);
        rules_put(buf, AT_LOG_CHECKSUM, 4, rules_head_checksum(buf));
        assert_head_refused(buf);
    }
    zoned_log_head_encode(EXAMPLE_EPOCH, buf);
    for (int bit = 0; bit < 8 * ZONED_LOG_HEAD_SIZE; bit++) {
        buf[bit / 8] ^= 1 << bit % 8;
        assert_head_refused(buf);
        buf[bit / 8] ^= 1 << bit % 8;
    }
}

/* A log from one of its blocks on, in memory that ends with it */
typedef struct Log {
    ZonedHeader h;
    uint8_t header[ZONED_HEADER_SIZE];
    uint64_t epoch;
    uint32_t block;
    uint32_t blocks;
    uint8_t *buf;
} Log;

static void log_init(Log *log, const ZonedGeometry *geo, uint64_t epoch,
                     uint32_t block, uint32_t blocks)
{
    *log = (Log) { .epoch = epoch, .block = block, .blocks = blocks };
    zoned_header_init(&log->h, geo, 0);
    zoned_header_encode(&log->h, log->header);
    log->buf = g_malloc(blocks * ZONED_LOG_BLOCK);
    memset(log->buf, 0xaa, blocks * ZONED_LOG_BLOCK);
}

static void log_init_example(Log *log, uint32_t blocks)
{
    log_init(log, &example_geo, EXAMPLE_EPOCH, EXAMPLE_BLOCK, blocks);
    memcpy(log->buf, example_record, sizeof(example_record));
}

static void log_destroy(Log *log)
{
    g_free(log->buf);
}

static void log_fix_checksum(Log *log)
{
    rules_put(log->buf, AT_LOG_CHECKSUM, 4, rules_record_checksum(log->buf));
}

/* Decodes, and compares with the rules. */
static int log_decode(const Log *log, ZonedLogRecord *record, Error **errp)
{
    int expected = rules_accept_record(log->header, log->epoch, log->block,
                                       log->buf, log->blocks * ZONED_LOG_BLOCK);
    int ret = zoned_log_record_decode(&log->h, log->epoch, log->block, log->buf,
                                      log->blocks, record, errp);

    g_assert_cmpint(ret, ==, expected < 0 ? -EINVAL : expected);
    return ret;
}

/* Encodes the same again; only what is behind it in its block may differ. */
static void assert_record_again(const Log *log, const ZonedLogRecord *record)
{
    uint32_t bytes = zoned_log_record_size(record->nr_runs, record->nr_sums);
    g_autofree ZonedLogRun *runs = g_new(ZonedLogRun, record->nr_runs);
    g_autofree ZonedLogSum *sums = g_new(ZonedLogSum, record->nr_sums);
    g_autofree uint8_t *again = g_malloc(record->nr_blocks * ZONED_LOG_BLOCK);

    g_assert_cmpuint(record->nr_blocks, ==, DIV_ROUND_UP(bytes, 4096));
    g_assert_cmpuint(record->nr_blocks, <=, log->blocks);
    for (uint32_t i = 0; i < record->nr_runs; i++) {
        runs[i] = zoned_log_run(record, i);
    }
    for (uint32_t i = 0; i < record->nr_sums; i++) {
        sums[i] = zoned_log_sum(record, i);
    }
    memset(again, 0x55, record->nr_blocks * ZONED_LOG_BLOCK);
    zoned_log_record_encode(log->epoch, log->block, runs, record->nr_runs, sums,
                            record->nr_sums, again);
    g_assert_cmpmem(again, bytes, log->buf, bytes);
    g_assert_true(buffer_is_zero(again + bytes, ROUND_UP(bytes, 4096) - bytes));
}

static void test_log_record(void)
{
    uint8_t buf[ZONED_LOG_BLOCK];
    ZonedLogRecord record;
    Log log;

    memset(buf, 0xaa, sizeof(buf));
    g_assert_cmpuint(zoned_log_record_size(2, 1), ==, sizeof(example_record));
    zoned_log_record_encode(EXAMPLE_EPOCH, EXAMPLE_BLOCK, example_runs, 2,
                            example_sums, 1, buf);
    g_assert_cmpmem(buf, sizeof(example_record), example_record,
                    sizeof(example_record));
    g_assert_true(buffer_is_zero(buf + sizeof(example_record),
                                 sizeof(buf) - sizeof(example_record)));

    /* The end of its block does not matter, nor what comes then. */
    for (uint32_t blocks = 1; blocks <= 3; blocks++) {
        log_init_example(&log, blocks);
        g_assert_cmpint(log_decode(&log, &record, &error_abort), ==, 1);
        g_assert_cmpuint(record.nr_blocks, ==, 1);
        g_assert_cmpuint(record.nr_runs, ==, 2);
        g_assert_cmpuint(record.nr_sums, ==, 1);
        for (int i = 0; i < 2; i++) {
            ZonedLogRun run = zoned_log_run(&record, i);

            g_assert_cmpuint(run.zone, ==, example_runs[i].zone);
            g_assert_cmpuint(run.nr_zones, ==, example_runs[i].nr_zones);
            g_assert_cmphex(run.value, ==, example_runs[i].value);
        }
        g_assert_cmphex(zoned_log_sum(&record, 0).address, ==, 0x40000);
        g_assert_cmpuint(zoned_log_sum(&record, 0).bytes, ==, 4096);
        g_assert_cmphex(zoned_log_sum(&record, 0).crc, ==, 0x12345678);
        assert_record_again(&log, &record);
        log_destroy(&log);
    }
}

/* Where no record of this epoch is, the log ends; that is no error. */
static void test_log_end(void)
{
    static const Change changes[] = {
        { AT_LOG_MAGIC, 4, 0 }, { AT_LOG_MAGIC + 3, 1, 'k' },
        { AT_LOG_EPOCH, 8, 0 }, { AT_LOG_EPOCH, 8, EXAMPLE_EPOCH - 1 },
        { AT_LOG_EPOCH, 8, EXAMPLE_EPOCH + 1 },
        { AT_LOG_EPOCH + 7, 1, 1 },
        { AT_RECORD_BLOCK, 4, EXAMPLE_BLOCK - 1 },
        { AT_RECORD_BLOCK, 4, EXAMPLE_BLOCK + 1 },
        { AT_RECORD_BYTES, 4, 0 }, { AT_RECORD_BYTES, 4, 39 },
        { AT_RECORD_BYTES, 4, 4097 }, { AT_RECORD_BYTES, 4, UINT32_MAX },
    };
    ZonedLogRecord record;
    Log log;

    for (int i = 0; i < ARRAY_SIZE(changes); i++) {
        log_init_example(&log, 1);
        rules_put(log.buf, changes[i].at, changes[i].bytes, changes[i].value);
        if (changes[i].at != AT_RECORD_BYTES) {
            log_fix_checksum(&log);
        }
        g_assert_cmpint(log_decode(&log, &record, &error_abort), ==, 0);
        log_destroy(&log);
    }

    log_init_example(&log, 1);
    for (int bit = 0; bit < 8 * ZONED_LOG_BLOCK; bit++) {
        log.buf[bit / 8] ^= 1 << bit % 8;
        g_assert_cmpint(log_decode(&log, &record, &error_abort), ==,
                        bit / 8 >= sizeof(example_record));
        log.buf[bit / 8] ^= 1 << bit % 8;
    }
    log.blocks = 0;
    g_assert_cmpint(log_decode(&log, &record, &error_abort), ==, 0);
    log_destroy(&log);
}

/* Records of the example with a right checksum, changed to what cannot be */
#define RUN(i) (AT_RECORD_ITEMS + 16 * (i))
#define SUM RUN(2)

static const Refusal record_refusals[] = {
    { { { AT_RECORD_RUNS, 4, 1 } }, 0, "1 runs and 1 checksums in 88 bytes" },
    { { { AT_RECORD_RUNS, 4, 1 << 28 } }, 0,
      "268435456 runs and 1 checksums in 88 bytes" },
    { { { AT_RECORD_SUMS, 4, (1 << 28) + 1 } }, 0,
      "2 runs and 268435457 checksums in 88 bytes" },
    { { { AT_RECORD_SUMS, 4, -1 } }, 0,
      "2 runs and 4294967295 checksums in 88 bytes" },
    { { { AT_RECORD_BYTES, 4, 87 } }, 0, "2 runs and 1 checksums in 87 bytes" },
    { { { AT_RECORD_BYTES, 4, 40 } }, 0, "2 runs and 1 checksums in 40 bytes" },
    { { { AT_RECORD_ZEROES, 1, 1 } }, 0,
      "2 runs and 1 checksums in 88 bytes" },
    { { { AT_RECORD_ZEROES + 7, 1, 0x80 } }, 0,
      "2 runs and 1 checksums in 88 bytes" },

    /* Zones that are none, or not in order */
    { { { RUN(0) + 4, 4, 0 } }, 0, "Run of 0 zones from zone 1 on" },
    { { { RUN(0), 4, 0 }, { RUN(0) + 4, 4, 0 } }, 0,
      "Run of 0 zones from zone 0 on" },
    { { { RUN(1), 4, 5 } }, 0, "Run of 2 zones from zone 5 on" },
    { { { RUN(1), 4, 5 }, { RUN(1) + 4, 4, 0 } }, 0,
      "Run of 0 zones from zone 5 on" },
    { { { RUN(1) + 4, 4, 4 } }, 0, "Run of 4 zones from zone 2 on" },
    { { { RUN(1) + 4, 4, UINT32_MAX } }, 0,
      "Run of 4294967295 zones from zone 2 on" },
    { { { RUN(1), 4, UINT32_MAX } }, 0,
      "Run of 2 zones from zone 4294967295 on" },
    { { { RUN(1), 4, 1 }, { RUN(1) + 8, 8, ENTRY(1, 0x40000) } }, 0,
      "Run of 2 zones from zone 1 on" },
    { { { RUN(0), 4, 2 }, { RUN(0) + 8, 8, ENTRY(1, 0x80000) },
        { RUN(1), 4, 1 }, { RUN(1) + 8, 8, ENTRY(1, 0x40000) } }, 0,
      "Run of 2 zones from zone 1 on" },

    /* Entries that are none */
    { { { RUN(0) + 8, 8, ENTRY(14, 0x80000) } }, 0,
      "Zone 1 is FULL and cannot be written up to byte 524288 (it starts at "
      "262144 and has a capacity of 196608 bytes)" },
    { { { RUN(1) + 8, 8, ENTRY(5, 0x80000) } }, 0,
      "Zone 2 is sequential and cannot have condition 0x5 (unknown)" },
    { { { RUN(0), 4, 0 } }, 0,
      "Zone 0 is conventional, but its entry 0xe000000000070000 says "
      "otherwise" },
    /* The first zone, and not the last */
    { { { RUN(1) + 4, 4, 3 }, { RUN(1) + 8, 8, ENTRY(14, 0xb0000) } }, 0,
      "Zone 4 is FULL and cannot be written up to byte 1245184 (it starts at "
      "1048576 and has a capacity of 131072 bytes)" },
    { { { RUN(0), 4, 0 }, { RUN(0) + 4, 4, 2 },
        { RUN(0) + 8, 8, ENTRY(0, 0x40000 | CONV_BIT) } }, 0,
      "Zone 1 is sequential, but its entry 0x0800000000080000 says otherwise" },

    /* Checksums of what is no data */
    { { { SUM, 8, 0x40001 } }, 0, "Checksum of 4096 bytes at 262145" },
    { { { SUM, 8, 0x40100 } }, 0, "Checksum of 4096 bytes at 262400" },
    { { { SUM, 8, 0x11f200 } }, 0, "Checksum of 4096 bytes at 1176064" },
    { { { SUM, 8, 0x120000 } }, 0, "Checksum of 4096 bytes at 1179648" },
    { { { SUM, 8, -4096ULL } }, 0,
      "Checksum of 4096 bytes at 18446744073709547520" },
    { { { SUM, 8, -512ULL } }, 0,
      "Checksum of 4096 bytes at 18446744073709551104" },
    { { { SUM + 8, 4, 0 } }, 0, "Checksum of 0 bytes at 262144" },
    { { { SUM + 8, 4, 256 } }, 0, "Checksum of 256 bytes at 262144" },
    { { { SUM + 8, 4, 513 } }, 0, "Checksum of 513 bytes at 262144" },
    { { { SUM, 8, 0 } }, 0, "Checksum of 4096 bytes at 0" },
    { { { SUM, 8, 0x3fe00 } }, 0, "Checksum of 4096 bytes at 261632" },
    { { { SUM + 8, 4, -512 } }, 0, "Checksum of 4294966784 bytes at 262144" },
};

static void test_log_record_refused(void)
{
    const char *prefix = "Record at block 3 of the log in zoned image is "
                         "invalid: ";

    for (int i = 0; i < ARRAY_SIZE(record_refusals); i++) {
        g_autofree char *message = g_strconcat(prefix,
                                               record_refusals[i].message,
                                               NULL);
        ZonedLogRecord record;
        Error *err = NULL;
        Log log;

        log_init_example(&log, 2);
        apply_changes(log.buf, record_refusals[i].changes);
        /* Without a right checksum, it is no record at all. */
        g_assert_cmpint(log_decode(&log, &record, &error_abort), ==, 0);
        log_fix_checksum(&log);
        g_assert_cmpint(log_decode(&log, &record, &err), ==, -EINVAL);
        g_assert_cmpstr(error_get_pretty(err), ==, message);
        error_free(err);
        g_assert_cmpint(log_decode(&log, &record, NULL), ==, -EINVAL);
        log_destroy(&log);
    }
}

/* What is at the edge of what can be */
static void test_log_record_edges(void)
{
    static const Change changes[][4] = {
        /* Up to the last zone, and a conventional one */
        { { RUN(1) + 4, 4, 3 } },
        { { RUN(1), 4, 4 }, { RUN(1) + 4, 4, 1 },
          { RUN(1) + 8, 8, ENTRY(14, 0x120000) } },
        { { RUN(0), 4, 0 }, { RUN(0) + 8, 8, ENTRY(0, 0x40000 | CONV_BIT) } },
        /* The end of the device, and as much as there may be */
        { { SUM, 8, 0x11f000 } },
        { { SUM, 8, 0x40000 }, { SUM + 8, 4, 0x120000 - 0x40000 } },
        { { SUM, 8, 0x40000 }, { SUM + 8, 4, 512 } },
        { { SUM + 12, 4, 0 } },
    };

    for (int i = 0; i < ARRAY_SIZE(changes); i++) {
        ZonedLogRecord record;
        Log log;

        log_init_example(&log, 1);
        apply_changes(log.buf, changes[i]);
        log_fix_checksum(&log);
        g_assert_cmpint(log_decode(&log, &record, &error_abort), ==, 1);
        assert_record_again(&log, &record);
        log_destroy(&log);
    }
}

/* Records of all lengths need what they need, and no block more. */
static void test_log_record_lengths(void)
{
    static const struct {
        uint32_t nr_runs;
        uint32_t nr_sums;
        uint32_t blocks;
    } records[] = {
        { 0, 0, 1 }, { 1, 0, 1 }, { 0, 1, 1 }, { 253, 0, 1 }, { 100, 153, 1 },
        { 254, 0, 2 }, { 0, 254, 2 }, { 509, 0, 2 }, { 510, 0, 3 },
        { 2048, 2048, 17 },
    };
    ZonedGeometry geo = geometry(2048 * 4096, 4096, 4096, 0);
    g_autofree ZonedLogRun *runs = g_new(ZonedLogRun, 2048);
    g_autofree ZonedLogSum *sums = g_new(ZonedLogSum, 2049);

    for (uint32_t i = 0; i < 2048; i++) {
        runs[i] = (ZonedLogRun) { i, 1, ENTRY(4, i * 4096 + 512) };
    }
    for (uint32_t i = 0; i <= 2048; i++) {
        sums[i] = (ZonedLogSum) { (2048 - i) * 512, 512, i };
    }
    for (int i = 0; i < ARRAY_SIZE(records); i++) {
        uint32_t blocks = records[i].blocks;
        ZonedLogRecord record;
        Log log;

        log_init(&log, &geo, UINT64_MAX, ZONED_LOG_MAX_BLOCKS - blocks, blocks);
        zoned_log_record_encode(log.epoch, log.block, runs, records[i].nr_runs,
                                sums, records[i].nr_sums, log.buf);
        g_assert_cmpint(log_decode(&log, &record, &error_abort), ==, 1);
        g_assert_cmpuint(record.nr_blocks, ==, blocks);
        assert_record_again(&log, &record);
        log.blocks--;
        g_assert_cmpint(log_decode(&log, &record, &error_abort), ==, 0);
        log_destroy(&log);
    }
}

/* Together, not more than a limit has checksums. */
static void test_log_record_summed(void)
{
    ZonedGeometry geo = geometry(4096 * 4096, 4096, 4096, 0);
    ZonedLogSum sums[3] = {
        { 0, 512 * KiB, 1 }, { 0, 512 * KiB, 2 }, { 4096, 512, 3 },
    };
    ZonedLogSum whole = { 4096, 1 * MiB, 4 };
    ZonedLogRecord record;
    Log log;

    log_init(&log, &geo, 1, 1, 1);
    zoned_log_record_encode(1, 1, NULL, 0, &whole, 1, log.buf);
    g_assert_cmpint(log_decode(&log, &record, &error_abort), ==, 1);
    whole.bytes += 512;
    zoned_log_record_encode(1, 1, NULL, 0, &whole, 1, log.buf);
    g_assert_cmpint(log_decode(&log, &record, NULL), ==, -EINVAL);
    zoned_log_record_encode(1, 1, NULL, 0, sums, 2, log.buf);
    g_assert_cmpint(log_decode(&log, &record, &error_abort), ==, 1);
    zoned_log_record_encode(1, 1, NULL, 0, sums, 3, log.buf);
    g_assert_cmpint(log_decode(&log, &record, NULL), ==, -EINVAL);
    log_destroy(&log);
}

/* A new head makes nothing valid that is in the log already. */
static void test_log_newest_epoch(void)
{
    g_autofree uint8_t *buf = g_malloc(4 * ZONED_LOG_BLOCK);

    g_assert_cmpuint(zoned_log_newest_epoch(buf, 0), ==, 0);
    memset(buf, 0xaa, 4 * ZONED_LOG_BLOCK);
    zoned_log_head_encode(5, buf);
    g_assert_cmpuint(zoned_log_newest_epoch(buf, 4), ==, 5);
    for (uint32_t block = 1; block < 4; block++) {
        for (uint64_t epoch = 4; epoch <= 6; epoch++) {
            uint8_t *record = buf + block * ZONED_LOG_BLOCK;

            zoned_log_record_encode(epoch, block, NULL, 0, NULL, 0, record);
            g_assert_cmpuint(zoned_log_newest_epoch(buf, 4), ==, MAX(epoch, 5));
            g_assert_cmpuint(zoned_log_newest_epoch(buf, block), ==, 5);
            memset(record, 0xaa, 4);
        }
    }
    zoned_log_record_encode(INT64_MAX, 1, NULL, 0, NULL, 0,
                            buf + 3 * ZONED_LOG_BLOCK);
    g_assert_cmpuint(zoned_log_newest_epoch(buf, 4), ==, INT64_MAX);
    /* That cannot become one. */
    zoned_log_record_encode(INT64_MAX + 1ULL, 1, NULL, 0, NULL, 0,
                            buf + 3 * ZONED_LOG_BLOCK);
    g_assert_cmpuint(zoned_log_newest_epoch(buf, 4), ==, 5);
}

/* Of @n zones, the entries @raw are as @expected, or as before if in @some. */
static void check_some_applied(const uint64_t *before, const uint64_t *expected,
                               int n, unsigned long some, unsigned long known,
                               const uint64_t *raw)
{
    for (int i = 0; i < n; i++) {
        bool applied = !test_bit(i, &some) && expected[i] != before[i];

        g_assert_cmphex(raw[i], ==, applied ? expected[i] : before[i]);
        g_assert_cmpint(test_bit(i, &known), ==,
                        applied || test_bit(i, &some));
    }
}

/* What a record says is put into any part of the zone table, but for some. */
static void test_log_apply(void)
{
    enum { NR = ARRAY_SIZE(example_table) };
    ZonedLogRecord record;
    uint64_t table[NR], expected[NR];
    Log log;

    log_init_example(&log, 1);
    g_assert_cmpint(log_decode(&log, &record, &error_abort), ==, 1);
    for (int i = 0; i < NR; i++) {
        table[i] = expected[i] = 0x0101010101010101ULL * i;
    }
    expected[1] = raw_entry(ENTRY(14, 0x70000));
    expected[2] = raw_entry(ENTRY(1, 0x80000));
    expected[3] = raw_entry(ENTRY(1, 0xc0000));
    for (int first = 0; first < NR; first++) {
        for (int n = 0; n <= NR - first; n++) {
            for (unsigned long some = 0; some < 1UL << n; some++) {
                g_autofree uint64_t *raw = g_memdup2(table + first, n * 8);
                unsigned long known = some;

                zoned_log_runs_apply(&example_geo, &record, first, n, &known,
                                     raw);
                check_some_applied(&table[first], &expected[first], n, some,
                                   known, raw);
            }
        }
    }
    log_destroy(&log);
}

/* A run that often is a valid one of zones from @zone on, and less than @n */
static ZonedLogRun random_run(ZonedRandom *r, const ZonedGeometry *geo,
                              uint32_t zone, uint32_t n)
{
    static const uint8_t conds[] = { 1, 1, 2, 3, 4, 13, 14, 14, 15 };
    uint8_t cond = conds[random_below(r, ARRAY_SIZE(conds))];
    uint64_t written = QEMU_ALIGN_DOWN(random_below(r, geo->zone_capacity),
                                       512);

    if (random_percent(r, 3)) {
        return (ZonedLogRun) { zone, random_number(r), random_number(r) };
    }
    if (random_percent(r, 5)) {
        cond = random_below(r, 16);
    }
    if (random_percent(r, 5)) {
        written += geo->zone_size;
    }
    return (ZonedLogRun) {
        .zone = zone,
        .nr_zones = 1 + random_below(r, n),
        .value = zone < geo->nr_conv
                 ? ENTRY(0, CONV_BIT | (zone + 1) * geo->zone_size)
                 : ENTRY(cond, zone * geo->zone_size +
                               (cond == 1 ? 0 : written)),
    };
}

static void random_record(ZonedRandom *r, Log *log)
{
    const ZonedGeometry *geo = &log->h.geo;
    ZonedLogRun runs[300];
    ZonedLogSum sums[20];
    uint64_t limit = random_percent(r, 1) ? 0 : zoned_conv_limit(geo);
    uint32_t nr_runs = 0, nr_sums = limit < geo->size ? random_below(r, 8) : 0;
    uint32_t zone = random_below(r, geo->nr_zones);

    while (zone < geo->nr_zones && nr_runs < ARRAY_SIZE(runs)) {
        uint32_t left = geo->nr_zones - zone;

        runs[nr_runs] = random_run(r, geo, zone, MIN(left, 20));
        if (random_percent(r, 1)) {
            break;
        }
        zone += runs[nr_runs++].nr_zones + random_below(r, 4);
    }
    for (uint32_t i = 0; i < nr_sums; i++) {
        uint64_t bytes = QEMU_ALIGN_UP(1 + random_below(r, 128 * KiB), 512);

        bytes = MIN(bytes, geo->size - limit);
        sums[i] = (ZonedLogSum) {
            .address = limit +
                QEMU_ALIGN_DOWN(random_below(r, geo->size - limit - bytes + 1),
                                random_percent(r, 1) ? 256 : 512),
            .bytes = bytes,
            .crc = random_bits(r),
        };
    }
    zoned_log_record_encode(log->epoch, log->block, runs, nr_runs, sums,
                            nr_sums, log->buf);
    for (int n = random_percent(r, 10); n > 0; n--) {
        log->buf[random_below(r, zoned_log_record_size(nr_runs, nr_sums))] ^=
            1 << random_below(r, 8);
        if (rules_get(log->buf, AT_RECORD_BYTES, 4) <= log->blocks * 4096) {
            log_fix_checksum(log);
        }
    }
}

/* The entries that an accepted record has, found one by one */
static void check_applied(const Log *log, const ZonedLogRecord *record)
{
    const ZonedGeometry *geo = &log->h.geo;
    g_autofree uint64_t *raw = g_new0(uint64_t, geo->nr_zones);
    g_autofree unsigned long *known = bitmap_new(geo->nr_zones);
    uint32_t run = 0, left = 0;
    uint64_t value = 0;

    zoned_log_runs_apply(geo, record, 0, geo->nr_zones, known, raw);
    for (uint32_t i = 0; i < geo->nr_zones; i++) {
        const uint8_t *p = log->buf + AT_RECORD_ITEMS + 16 * run;

        if (left == 0 && run < record->nr_runs && rules_get(p, 0, 4) == i) {
            left = rules_get(p, 4, 4);
            value = rules_get(p, 8, 8);
            run++;
        }
        g_assert_cmphex(raw[i], ==, left ? raw_entry(value) : 0);
        g_assert_true(!left ||
                      zoned_entry_decode(geo, i, raw[i], &(ZonedEntry) {},
                                         &error_abort));
        value += geo->zone_size;
        left -= left > 0;
    }
    g_assert_cmpuint(run, ==, record->nr_runs);
}

static void test_log_random(void)
{
    ZonedRandom r = random_start();
    uint64_t steps = random_steps(100000), count[3] = {};
    const ZonedGeometry geos[] = {
        example_geo, extended_geo(),
        geometry(500 * 8192 - 4096, 8192, 4096, 7),
        geometry(9 * 12288 + 4096, 12288, 8192, 0),
        geometry(12288 * 7 + 4096, 12288, 8192, 8),
        geometry(ZONED_MAX_SIZE, 1ULL << 55, 1ULL << 54, 1),
    };

    for (uint64_t step = 0; step < steps; step++) {
        ZonedLogRecord record;
        Log log;
        int ret;

        log_init(&log, &geos[random_below(&r, ARRAY_SIZE(geos))],
                 1 + random_bits(&r) / 2, 1 + random_below(&r, 4000), 2);
        random_record(&r, &log);
        ret = log_decode(&log, &record, NULL);
        if (ret == 1) {
            assert_record_again(&log, &record);
            check_applied(&log, &record);
        }
        count[MAX(ret, -1) + 1]++;
        log_destroy(&log);
    }
    for (int i = 0; i < 3 && steps >= 1000; i++) {
        g_assert_cmpuint(count[i], >, steps / 100);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    g_test_add_func("/zoned/format/header/golden", test_header_golden);
    g_test_add_func("/zoned/format/header/round-trip", test_header_round_trip);
    g_test_add_func("/zoned/format/header/layout", test_layout);
    g_test_add_func("/zoned/format/header/reserve", test_reserve);
    g_test_add_func("/zoned/format/header/aligned-data", test_aligned_data);
    g_test_add_func("/zoned/format/header/extended-layout",
                    test_extended_layout);
    g_test_add_func("/zoned/format/header/extensions", test_header_extensions);
    g_test_add_func("/zoned/format/header/other-layouts",
                    test_header_other_layouts);
    g_test_add_func("/zoned/format/header/short-file", test_short_file);
    g_test_add_func("/zoned/format/header/probe", test_probe);
    g_test_add_func("/zoned/format/header/probe-others", test_probe_others);
    g_test_add_func("/zoned/format/header/probe-damaged", test_probe_damaged);
    g_test_add_func("/zoned/format/header/identity", test_header_identity);
    g_test_add_func("/zoned/format/header/refused", test_header_refused);
    g_test_add_func("/zoned/format/header/features", test_header_features);
    g_test_add_func("/zoned/format/header/bit-flips", test_header_bit_flips);
    g_test_add_func("/zoned/format/header/rebuilt", test_header_rebuilt);
    g_test_add_func("/zoned/format/header/rebuilt-fast",
                    test_header_rebuilt_fast);
    g_test_add_func("/zoned/format/header/not-rebuilt",
                    test_header_not_rebuilt);
    g_test_add_func("/zoned/format/header/random", test_header_random);
    g_test_add_func("/zoned/format/entry/golden", test_entry_golden);
    g_test_add_func("/zoned/format/entry/many", test_entries);
    g_test_add_func("/zoned/format/entry/refused", test_entry_refused);
    g_test_add_func("/zoned/format/entry/extended", test_entry_extended);
    g_test_add_func("/zoned/format/entry/exhaustive", test_entry_exhaustive);
    g_test_add_func("/zoned/format/entry/edges", test_entry_edges);
    g_test_add_func("/zoned/format/entry/random", test_entry_random);
    g_test_add_func("/zoned/format/log/head", test_log_head);
    g_test_add_func("/zoned/format/log/head-refused", test_log_head_refused);
    g_test_add_func("/zoned/format/log/record", test_log_record);
    g_test_add_func("/zoned/format/log/end", test_log_end);
    g_test_add_func("/zoned/format/log/refused", test_log_record_refused);
    g_test_add_func("/zoned/format/log/edges", test_log_record_edges);
    g_test_add_func("/zoned/format/log/lengths", test_log_record_lengths);
    g_test_add_func("/zoned/format/log/summed", test_log_record_summed);
    g_test_add_func("/zoned/format/log/newest-epoch", test_log_newest_epoch);
    g_test_add_func("/zoned/format/log/apply", test_log_apply);
    g_test_add_func("/zoned/format/log/random", test_log_random);
    g_test_add_func("/zoned/format/condition-names", test_cond_name);

    return g_test_run();
}

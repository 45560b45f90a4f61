/*
 * QTest testcase for a zoned SCSI disk: REPORT ZONES
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qemu/units.h"
#include "scsi-zoned-guest.h"

#define HEADER 64
#define DESC 64
#define PARTIAL 0x80
#define FILLER 0x55

/* Zones of one page each */
#define MANY_ZONES (1 << 16)
#define MANY_ZONE 8

/* Does a condition pass a filter?  -1: there is no such filter */
static int passes(uint8_t options, uint8_t condition)
{
    static const uint8_t conditions[] = {
        [1] = EMPTY, IOPEN, EOPEN, CLOSED, FULL, READ_ONLY, OFFLINE,
    };

    switch (options) {
    case 0x00:
    case 0x3e:
        return true;
    case 0x01 ... 0x07:
        return condition == conditions[options];
    case 0x10:
    case 0x11:
        return false;
    case 0x3f:
        return condition == NOT_WP;
    default:
        return -1;
    }
}

/*
 * Asserts what is reported of the zones of scsi_guest_start_conditions(), in a
 * buffer of @len bytes, which is then as it was behind that.
 */
static void assert_report(ScsiGuest *g, uint64_t lba, uint8_t options,
                          uint32_t len, unsigned segments)
{
    ScsiRequest req = scsi_report(lba, options, len);
    g_autofree uint8_t *buf = g_malloc(HEADER + Z_NR * DESC);
    uint8_t header[HEADER] = {};
    uint32_t room = len < HEADER ? 0 : (len - HEADER) / DESC;
    uint32_t nr = 0, listed = 0, end;

    req.segments = segments;
    scsi_guest_queue(g, &req);
    qtest_memset(g->qts, req.data_addr, FILLER, len);
    scsi_guest_kick(g);
    assert_good(scsi_guest_wait(g, &req));
    memset(buf, FILLER, HEADER + Z_NR * DESC);
    qtest_memread(g->qts, req.data_addr, buf, MIN(len, HEADER + Z_NR * DESC));

    for (int i = lba / ZONE; i < Z_NR; i++) {
        ScsiZone zone;

        if (!passes(options & 0x3f, scsi_conditions[i])) {
            continue;
        }
        nr++;
        if (listed == room) {
            continue;
        }
        zone = scsi_parse_zone(&buf[HEADER + listed * DESC]);
        g_assert_cmpuint(zone.start, ==, i * ZONE);
        g_assert_cmpuint(zone.length, ==, ZONE);
        g_assert_cmpuint(zone.type, ==, i <= Z_CONV ? 1 : 2);
        g_assert_cmpuint(zone.condition, ==, scsi_conditions[i]);
        listed++;
    }
    if (options & PARTIAL) {
        nr = MIN(nr, room);
    }
    stl_be_p(header, nr * DESC);
    header[4] = 3;      /* all have one length */
    stq_be_p(&header[8], Z_NR * ZONE - 1);
    g_assert_cmpmem(buf, MIN(len, HEADER), header, MIN(len, HEADER));

    /* Behind the list are zeroes. */
    end = MIN(len, HEADER + listed * DESC);
    g_assert_cmpuint(g->last.residual, ==, 0);
    for (uint32_t i = end; i < len; i += i < end + 2 * DESC ? 1 : 509) {
        g_assert_cmphex(qtest_readb(g->qts, req.data_addr + i), ==, 0);
    }
    scsi_guest_free(g, &req);
}

static void test_options(void)
{
    ScsiGuest *g = scsi_guest_start_conditions();

    for (int options = 0; options <= 0xff; options++) {
        if (passes(options & 0x3f, EMPTY) < 0) {
            ScsiRequest req = scsi_report(0, options, 4096);

            assert_field(g, scsi_guest_do(g, &req, NULL), 14, 5);
        } else {
            assert_report(g, 0, options, 4096, 1);
        }
    }
    scsi_guest_stop(g);
}

static void test_length(void)
{
    static const uint32_t lengths[] = {
        0, 1, 4, 5, 8, 15, 16, 63, 64, 65, 127, 128, 129, 191, 192, 511, 512,
        HEADER + Z_NR * DESC - 1, HEADER + Z_NR * DESC,
        HEADER + Z_NR * DESC + 1, 4096, 65536, 65537, 1 * MiB,
    };
    static const uint8_t options[] = { 0x00, 0x01, 0x05, 0x10, 0x3e, 0x3f };
    ScsiGuest *g = scsi_guest_start_conditions();

    for (int i = 0; i < ARRAY_SIZE(lengths); i++) {
        for (int j = 0; j < ARRAY_SIZE(options); j++) {
            assert_report(g, 0, options[j], lengths[i], 1);
            assert_report(g, 0, options[j] | PARTIAL, lengths[i], 1);
            assert_report(g, 5 * ZONE, options[j], lengths[i], 1);
        }
    }
    scsi_guest_stop(g);
}

/* However the buffer is cut */
static void test_segments(void)
{
    ScsiGuest *g = scsi_guest_start_conditions();

    for (unsigned segments = 1; segments < 100; segments += 7) {
        assert_report(g, 0, 0x00, HEADER + 20 * DESC, segments);
        assert_report(g, 0, 0x01, HEADER + 2 * DESC + 1, segments);
        assert_report(g, 0, 0x00 | PARTIAL, HEADER + 3 * DESC - 1, segments);
    }
    scsi_guest_stop(g);
}

static void test_start(void)
{
    static const uint64_t lbas[] = {
        0, 1, ZONE - 1, ZONE, SEQ, SEQ + 5, Z_FULL * ZONE, (Z_NR - 1) * ZONE,
        Z_NR * ZONE - 1,
    };
    static const uint64_t beyond[] = {
        UINT64_MAX, 1ull << 63, 1ull << 55, 1ull << 32, Z_NR * ZONE + 1,
        Z_NR * ZONE,
    };
    ScsiGuest *g = scsi_guest_start_conditions();

    for (int i = 0; i < ARRAY_SIZE(lbas); i++) {
        assert_report(g, lbas[i], 0x00, 4096, 1);
        assert_report(g, lbas[i], 0x01, 4096, 1);
        assert_report(g, lbas[i], 0x3f | PARTIAL, 4096, 1);
    }
    for (int i = 0; i < ARRAY_SIZE(beyond); i++) {
        static const uint32_t lengths[] = { 0, 1, 64, 4096 };

        for (int j = 0; j < ARRAY_SIZE(lengths); j++) {
            ScsiRequest req = scsi_report(beyond[i], 0, lengths[j]);

            assert_scsi(scsi_guest_do(g, &req, NULL), S_OUT_OF_RANGE);
        }
    }
    scsi_guest_stop(g);
}

static void test_action(void)
{
    ScsiGuest *g = scsi_guest_start_conditions();

    for (int byte = 0; byte <= 0xff; byte++) {
        ScsiRequest req = scsi_report(0, 0, 128);

        req.cdb[1] = byte;
        if (byte & 0x1f) {
            assert_field(g, scsi_guest_do(g, &req, NULL), 1, 4);
            /* That comes first. */
            req = scsi_report(UINT64_MAX, 0x2a, 0);
            req.cdb[1] = byte;
            assert_field(g, scsi_guest_do(g, &req, NULL), 1, 4);
        } else {
            assert_good(scsi_guest_do(g, &req, NULL));
        }
    }
    scsi_guest_stop(g);
}

/* What is said of all zones, by the header */
static void test_same(void)
{
    static const struct {
        const char *options;
        const char *size;
        uint8_t same;
    } tests[] = {
        { "zone_size=64k", "512k", 1 },
        { "zone_size=64k,zone_nr_conv=8", "512k", 1 },
        { "zone_size=64k,zone_nr_conv=2", "512k", 3 },
        { "zone_size=64k", "544k", 0 },
        { "zone_size=64k,zone_nr_conv=2", "544k", 0 },
        { "zone_size=64k", "64k", 1 },
    };

    for (int i = 0; i < ARRAY_SIZE(tests); i++) {
        ScsiGuest *g = scsi_guest_start_image(tests[i].options, tests[i].size,
                                              STOP);
        ScsiRequest req = scsi_report(0, 0, HEADER);
        uint8_t buf[HEADER];

        assert_good(scsi_guest_do(g, &req, buf));
        g_assert_cmpuint(buf[4], ==, tests[i].same);
        g_assert_cmpuint(ldq_be_p(&buf[8]), ==,
                         atoi(tests[i].size) * 2 - 1);
        scsi_guest_stop(g);
    }
}

/* Descriptors of the usual image: the last zone is smaller. */
static void test_content(void)
{
    ScsiGuest *g = scsi_guest_start_usual(STOP);
    ScsiZone zone = scsi_zone(g, SCSI_LAST);

    g_assert_cmpuint(zone.length, ==, CAPACITY - SCSI_LAST);
    g_assert_cmpuint(zone.start, ==, SCSI_LAST);
    scsi_assert_zone(g, 0, NOT_WP, NO_WP);
    assert_good(scsi_write(g, SCSI_LAST, 8));
    scsi_assert_zone(g, CAPACITY - 1, IOPEN, SCSI_LAST + 8);
    assert_good(scsi_write(g, SCSI_LAST + 8, CAPACITY - SCSI_LAST - 8));
    scsi_assert_zone(g, SCSI_LAST, FULL, NO_WP);
    scsi_guest_stop(g);
}

static void test_large_blocks(void)
{
    ScsiGuest *g = scsi_guest_start_image("zone_size=64k,zone_nr_conv=1",
                                          "160k", STOP BLOCK_4K);
    ScsiRequest req = scsi_report(0, 0, HEADER + 3 * DESC);
    uint8_t buf[HEADER + 3 * DESC];

    assert_good(scsi_write(g, 16, 2));
    assert_good(scsi_guest_do(g, &req, buf));
    g_assert_cmpuint(ldl_be_p(buf), ==, 3 * DESC);
    g_assert_cmpuint(ldq_be_p(&buf[8]), ==, 39);
    for (int i = 0; i < 3; i++) {
        ScsiZone zone = scsi_parse_zone(&buf[HEADER + i * DESC]);

        g_assert_cmpuint(zone.start, ==, i * 16);
        g_assert_cmpuint(zone.length, ==, i == 2 ? 8 : 16);
        g_assert_cmpuint(zone.wp, ==, i == 0 ? NO_WP : i == 1 ? 18 : 32);
    }
    req = scsi_report(40, 0, 128);
    assert_scsi(scsi_guest_do(g, &req, NULL), S_OUT_OF_RANGE);
    scsi_guest_stop(g);
}

/*
 * A buffer can be larger than the guest's memory.  How long the report may be
 * says nothing of the memory that it takes on the host.
 */
static void test_memory(void)
{
    ScsiGuest *g = scsi_guest_start_usual(STOP);

    zoned_guest_limit_memory(&g->vm);
    for (uint8_t options = 0; options < 2; options++) {
        ScsiRequest req = scsi_report(0, options, 64 * MiB);

        req.repeat = 32;
        stl_be_p(&req.cdb[10], INT32_MAX);
        scsi_guest_queue(g, &req);
        scsi_guest_kick(g);
        assert_good(scsi_guest_wait(g, &req));
        g_assert_cmpuint(g->last.residual, ==, 0);
        /* The memory is there several times: the last has only zeroes. */
        g_assert_cmphex(qtest_readl(g->qts, req.data_addr), ==, 0);
        scsi_guest_free(g, &req);
    }
    /* No disk has transfers of 2 GiB. */
    for (uint64_t len = 1ull << 31; len <= UINT32_MAX; len += (1u << 31) - 1) {
        ScsiRequest req = scsi_report(0, 0, 64 * MiB);

        req.repeat = 64;
        stl_be_p(&req.cdb[10], len);
        assert_scsi(scsi_guest_do(g, &req, NULL), S_INVALID_FIELD);
    }
    scsi_assert_usable(g);
    scsi_guest_stop(g);
}

/* The HBA refuses a length that the guest has no room for. */
static void test_overrun(void)
{
    ScsiGuest *g = scsi_guest_start_usual(STOP);
    ScsiRequest req = scsi_report(0, 0, 128);

    stl_be_p(&req.cdb[10], 129);
    assert_scsi(scsi_guest_do(g, &req, NULL), SCSI_RESPONSE(1));
    req = scsi_report(0, 0, 128);
    req.out_len = 128;
    req.in_len = 0;
    assert_scsi(scsi_guest_do(g, &req, NULL), SCSI_RESPONSE(1));
    scsi_assert_usable(g);
    scsi_guest_stop(g);
}

static void test_many(void)
{
    ScsiGuest *g = scsi_guest_start_image("zone_size=4k", "256M", STOP);
    const uint32_t len = HEADER + MANY_ZONES * DESC;
    uint8_t desc[DESC];

    assert_good(scsi_write(g, 4711 * MANY_ZONE, MANY_ZONE));
    for (uint8_t options = 0; options < 2; options++) {
        ScsiRequest req = scsi_report(0, options, len);

        req.segments = 40;
        scsi_guest_queue(g, &req);
        scsi_guest_kick(g);
        assert_good(scsi_guest_wait(g, &req));
        g_assert_cmpuint(g->last.residual, ==, 0);
        g_assert_cmpuint(be32_to_cpu(qtest_readl(g->qts, req.data_addr)), ==,
                         (MANY_ZONES - options) * DESC);
        for (unsigned i = 0; i < MANY_ZONES - options; i += 487) {
            unsigned zone = i < 4711 ? i : i + options;

            qtest_memread(g->qts, req.data_addr + HEADER + i * DESC, desc,
                          DESC);
            g_assert_cmpuint(scsi_parse_zone(desc).start, ==,
                             zone * MANY_ZONE);
        }
        scsi_guest_free(g, &req);
        /* The others are counted. */
        req = scsi_report(0, options, 2 * DESC);
        scsi_guest_queue(g, &req);
        scsi_guest_kick(g);
        assert_good(scsi_guest_wait(g, &req));
        g_assert_cmpuint(be32_to_cpu(qtest_readl(g->qts, req.data_addr)), ==,
                         (MANY_ZONES - options) * DESC);
        scsi_guest_free(g, &req);
    }
    scsi_guest_stop(g);
}

int main(int argc, char **argv)
{
    if (!zoned_guest_init(&argc, &argv)) {
        return g_test_run();
    }

    scsi_guest_add_test("scsi-zoned-report/options", test_options);
    scsi_guest_add_test("scsi-zoned-report/length", test_length);
    scsi_guest_add_test("scsi-zoned-report/segments", test_segments);
    scsi_guest_add_test("scsi-zoned-report/start", test_start);
    scsi_guest_add_test("scsi-zoned-report/action", test_action);
    scsi_guest_add_test("scsi-zoned-report/same", test_same);
    scsi_guest_add_test("scsi-zoned-report/content", test_content);
    scsi_guest_add_test("scsi-zoned-report/large-blocks", test_large_blocks);
    scsi_guest_add_test("scsi-zoned-report/memory", test_memory);
    scsi_guest_add_test("scsi-zoned-report/overrun", test_overrun);
    scsi_guest_add_test("scsi-zoned-report/many", test_many);

    return g_test_run();
}

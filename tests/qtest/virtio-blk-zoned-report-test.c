/*
 * QTest testcase for a zoned virtio-blk disk: zone reports
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qemu/units.h"
#include "virtio-blk-zoned-guest.h"

#define HEADER sizeof(struct virtio_blk_zone_report)
#define DESC sizeof(struct virtio_blk_zone_descriptor)

/* Zones of one page each */
#define MANY_ZONES (1 << 20)
#define MANY_ZONE 8

static uint64_t nr_zones(ZonedGuest *g, const ZonedRequest *report)
{
    return le64_to_cpu(qtest_readq(g->qts, report->in_addr));
}

static struct virtio_blk_zone_descriptor
descriptor(ZonedGuest *g, const ZonedRequest *report, unsigned i)
{
    struct virtio_blk_zone_descriptor desc;

    qtest_memread(g->qts, report->in_addr + HEADER + i * DESC, &desc, DESC);
    return desc;
}

static void test_room(void)
{
    static const struct {
        uint64_t sector;
        size_t room;
        uint64_t zones;
    } tests[] = {
        { 0, HEADER, 0 },
        { 0, HEADER + 1, 0 },
        { 0, HEADER + DESC - 1, 0 },
        { 0, HEADER + DESC, 1 },
        { SEQ + 5, HEADER + 3 * DESC, 3 },
        { 0, HEADER + NR_ZONES * DESC, NR_ZONES },
        { 0, HEADER + (NR_ZONES + 1) * DESC, NR_ZONES },
        { CAPACITY - 1, HEADER + 2 * DESC, 1 },
        { CAPACITY, HEADER + 2 * DESC, 0 },
    };
    ZonedGuest *g = zoned_guest_start_usual(STOP);

    for (int i = 0; i < HEADER; i++) {
        ZonedRequest req = REPORT(0, i);

        assert_invalid(zoned_guest_do(g, &req, NULL));
    }
    for (int i = 0; i < ARRAY_SIZE(tests); i++) {
        ZonedRequest req = REPORT(tests[i].sector, tests[i].room);

        zoned_guest_queue(g, &req);
        qtest_memset(g->qts, req.in_addr, 0x55, req.in_len);
        zoned_guest_kick(g);
        assert_ok(zoned_guest_wait(g, &req));
        g_assert_cmpuint(nr_zones(g, &req), ==, tests[i].zones);
        for (size_t j = HEADER + tests[i].zones * DESC; j < req.in_len; j++) {
            g_assert_cmphex(qtest_readb(g->qts, req.in_addr + j), ==, 0x55);
        }
        zoned_guest_free(g, &req);
    }
    zoned_guest_assert_usable(g);
    zoned_guest_stop(g);
}

static void assert_desc(const struct virtio_blk_zone_descriptor *desc,
                        uint64_t start, uint64_t cap, uint8_t type,
                        uint8_t state, uint64_t wp)
{
    g_assert_cmpuint(le64_to_cpu(desc->z_start), ==, start);
    g_assert_cmpuint(le64_to_cpu(desc->z_cap), ==, cap);
    g_assert_cmpuint(le64_to_cpu(desc->z_wp), ==, wp);
    g_assert_cmpuint(desc->z_type, ==, type);
    g_assert_cmpuint(desc->z_state, ==, state);
    for (int i = 0; i < sizeof(desc->reserved); i++) {
        g_assert_cmpuint(desc->reserved[i], ==, 0);
    }
}

/* However the buffer is cut */
static void test_content(void)
{
    ZonedGuest *g = zoned_guest_start_usual(STOP);

    assert_ok(zoned_guest_write(g, SEQ, 8));
    assert_ok(zoned_guest_mgmt(g, VIRTIO_BLK_T_ZONE_OPEN, SEQ + ZONE));
    assert_ok(zoned_guest_mgmt(g, VIRTIO_BLK_T_ZONE_FINISH, 8 * ZONE));
    for (int segments = 1; segments < 100; segments += 7) {
        ZonedRequest req = REPORT(1, HEADER + 20 * DESC);
        struct virtio_blk_zone_descriptor desc[NR_ZONES];

        req.in_segments = segments;
        zoned_guest_queue(g, &req);
        zoned_guest_kick(g);
        assert_ok(zoned_guest_wait(g, &req));
        g_assert_cmpuint(nr_zones(g, &req), ==, NR_ZONES);
        for (int i = 0; i < NR_ZONES; i++) {
            desc[i] = descriptor(g, &req, i);
        }
        zoned_guest_free(g, &req);

        assert_desc(&desc[0], 0, ZONE, VIRTIO_BLK_ZT_CONV,
                    VIRTIO_BLK_ZS_NOT_WP, ZONE);
        assert_desc(&desc[2], SEQ, ZONE_CAP, VIRTIO_BLK_ZT_SWR,
                    VIRTIO_BLK_ZS_IOPEN, SEQ + 8);
        assert_desc(&desc[3], SEQ + ZONE, ZONE_CAP, VIRTIO_BLK_ZT_SWR,
                    VIRTIO_BLK_ZS_EOPEN, SEQ + ZONE);
        assert_desc(&desc[8], 8 * ZONE, ZONE / 2, VIRTIO_BLK_ZT_SWR,
                    VIRTIO_BLK_ZS_FULL, CAPACITY);
    }
    zoned_guest_stop(g);
}

static ZonedGuest *start_many(void)
{
    return zoned_guest_start(&(ZonedGuestOptions) {
        .image = zoned_image_new("zone_size=4k", "4G"),
        .device = STOP ",queue-size=1024",
        .args = "-m 512",
    });
}

/* How long it takes to report all zones to a buffer that is cut */
static gint64 time_report(ZonedGuest *g, unsigned segments)
{
    ZonedRequest req = REPORT(0, HEADER + MANY_ZONES * DESC);
    struct virtio_blk_zone_descriptor desc;
    gint64 start;

    req.in_segments = segments;
    zoned_guest_queue(g, &req);
    start = g_get_monotonic_time();
    zoned_guest_kick(g);
    assert_ok(zoned_guest_wait(g, &req));
    start = g_get_monotonic_time() - start;

    g_assert_cmpuint(nr_zones(g, &req), ==, MANY_ZONES);
    for (unsigned i = 0; i < MANY_ZONES; i += i < 5000 ? 487 : 104729) {
        desc = descriptor(g, &req, i);
        g_assert_cmpuint(le64_to_cpu(desc.z_start), ==, i * MANY_ZONE);
    }
    desc = descriptor(g, &req, MANY_ZONES - 1);
    g_assert_cmpuint(le64_to_cpu(desc.z_start), ==,
                     (MANY_ZONES - 1) * MANY_ZONE);
    zoned_guest_free(g, &req);
    return start;
}

/*
 * It takes as long whatever the number of segments, or nearly so.  On a busy
 * host any one report may take long; the shortest of enough of them do not.
 */
static void test_linear(void)
{
    ZonedGuest *g = start_many();
    gint64 one = INT64_MAX, many = INT64_MAX;

    for (int i = 0; i < 3 || (i < 100 && many >= 3 * one); i++) {
        one = MIN(one, time_report(g, 1));
        many = MIN(many, time_report(g, 1000));
    }
    g_test_message("1 segment: %" PRId64 " us, 1000 segments: %" PRId64 " us",
                   one, many);
    g_assert_cmpint(many, <, 3 * one);
    zoned_guest_stop(g);
}

/*
 * A buffer can be larger than the guest's memory.  How long the report may be
 * says nothing of the memory that it takes on the host.
 */
static void test_memory(void)
{
    ZonedGuest *g = zoned_guest_start_usual(STOP);
    ZonedRequest req = REPORT(0, 64 * MiB);

    zoned_guest_limit_memory(g);
    req.repeat = 250;
    zoned_guest_queue(g, &req);
    zoned_guest_kick(g);
    assert_ok(zoned_guest_wait(g, &req));
    g_assert_cmpuint(nr_zones(g, &req), ==, NR_ZONES);
    zoned_guest_free(g, &req);
    zoned_guest_assert_usable(g);
    zoned_guest_stop(g);
}

/*
 * The device is reset in the midst of a long report.  The report ends with it:
 * then the guest's memory is its own again.
 */
static void test_reset(void)
{
    ZonedGuest *g = start_many();
    unsigned nr_cut = 0;

    for (int i = 0; i < 10; i++) {
        ZonedRequest req = REPORT(0, HEADER + MANY_ZONES * DESC);

        zoned_guest_queue(g, &req);
        zoned_guest_kick(g);
        if (i % 2) {
            qtest_system_reset(g->qts);
        } else {
            qvirtio_reset(g->dev);
        }
        g_assert_true(zoned_guest_is_done(g, &req));
        nr_cut += nr_zones(g, &req) < MANY_ZONES;
        qtest_memset(g->qts, req.in_addr, 0x55, HEADER);
        qtest_writeb(g->qts, req.status_addr, 0x55);
        g_usleep(G_USEC_PER_SEC / 20);
        g_assert_cmphex(qtest_readb(g->qts, req.in_addr), ==, 0x55);
        g_assert_cmphex(qtest_readb(g->qts, req.status_addr), ==, 0x55);
        zoned_guest_free(g, &req);

        zoned_guest_setup(g, 0);
        for (int j = 0; j < 50; j++) {
            assert_ok(zoned_guest_read(g, 0, 8));
        }
        zoned_guest_assert_works(g);
    }
    g_assert_cmpuint(nr_cut, >, 0);
    zoned_guest_stop(g);
}

int main(int argc, char **argv)
{
    if (!zoned_guest_init(&argc, &argv)) {
        return g_test_run();
    }

    zoned_guest_add_test("virtio-blk-zoned-report/room", test_room);
    zoned_guest_add_test("virtio-blk-zoned-report/content", test_content);
    zoned_guest_add_test("virtio-blk-zoned-report/linear", test_linear);
    zoned_guest_add_test("virtio-blk-zoned-report/memory", test_memory);
    zoned_guest_add_test("virtio-blk-zoned-report/reset", test_reset);

    return g_test_run();
}

/*
 * QTest testcase for an ordinary virtio-blk disk: requests made by hand
 *
 * What a driver in a guest would not do, and what happens on the host in the
 * midst of a request.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "virtio-blk-zoned-guest.h"

/* A disk of zeroes; @rules of blkdebug say what fails. */
static ZonedGuest *start(const char *rules)
{
    g_autofree char *args = g_strdup_printf(
        "-drive if=none,id=disk,format=raw,file.driver=blkdebug,"
        "file.image.driver=null-co,file.image.size=1M,"
        "file.image.read-zeroes=on%s", rules);

    return zoned_guest_start(&(ZonedGuestOptions) {
        .no_image = true,
        .args = args,
        .device = STOP,
    });
}

/* The header of a request that is repeated shares a segment with the data. */
static void repeat_header(const char *rules, ZonedRequest *req)
{
    ZonedGuest *g = start(rules);

    req->shared = true;
    zoned_guest_queue(g, req);
    zoned_guest_kick(g);
    qtest_qmp_eventwait(g->qts, "STOP");
    g_assert_false(zoned_guest_is_done(g, req));
    qtest_qmp_assert_success(g->qts, "{ 'execute': 'cont' }");
    assert_ok(zoned_guest_wait(g, req));
    zoned_guest_assert_stat(g, "invalid_rd_operations", 0);
    zoned_guest_assert_stat(g, "invalid_wr_operations", 0);
    zoned_guest_stop(g);
}

static void test_repeat_header_write(void)
{
    ZonedRequest write = WRITE(8, 2);

    repeat_header(",file.inject-error.0.event=none"
                  ",file.inject-error.0.iotype=write"
                  ",file.inject-error.0.errno=28"
                  ",file.inject-error.0.once=on", &write);
}

static void test_repeat_header_read(void)
{
    ZonedRequest read = READ(8, 2);

    repeat_header(",file.inject-error.0.event=none"
                  ",file.inject-error.0.iotype=read"
                  ",file.inject-error.0.sector=8"
                  ",file.inject-error.0.errno=5"
                  ",file.inject-error.0.once=on", &read);
}

/* Requests of no data, which a disk of size 0 has room for */
static void test_no_medium(void)
{
    g_autofree char *answer = NULL;
    ZonedGuest *g = zoned_guest_start(&(ZonedGuestOptions) {
        .no_image = true,
        .args = "-drive if=none,id=disk,format=raw,file.driver=null-co,"
                "file.size=1M,file.read-zeroes=on",
    });

    answer = qtest_hmp(g->qts, "drive_del disk");
    g_assert_cmpstr(answer, ==, "");
    /* A thread that polls may take the first before the others are there. */
    for (int i = 0; i < 100; i++) {
        ZonedRequest writes[] = { WRITE(0, 0), WRITE(0, 0), WRITE(0, 0) };
        ZonedRequest reads[] = { READ(0, 0), READ(0, 0), READ(0, 0) };
        uint8_t status[3];

        zoned_guest_do_at_once(g, writes, 3, status);
        for (int j = 0; j < 3; j++) {
            assert_ioerr(status[j]);
        }
        zoned_guest_do_at_once(g, reads, 3, status);
        for (int j = 0; j < 3; j++) {
            assert_ioerr(status[j]);
        }
    }
    zoned_guest_stop(g);
}

/* The types of zone requests, with any flags */
static void test_zone_types(void)
{
    ZonedGuest *g = start("");
    ZonedRequest req = APPEND(0, 1);

    req.in_len = 128;
    for (uint32_t type = VIRTIO_BLK_T_SECURE_ERASE;
         type <= (VIRTIO_BLK_T_ZONE_RESET_ALL | VIRTIO_BLK_T_OUT); type++) {
        req.type = type;
        assert_unsupp(zoned_guest_do(g, &req, NULL));
        req.type = type | VIRTIO_BLK_T_BARRIER;
        assert_unsupp(zoned_guest_do(g, &req, NULL));
    }
    /* These are read and write for an ordinary disk. */
    req = (ZonedRequest) READ(0, 1);
    req.type |= VIRTIO_BLK_T_BARRIER;
    assert_ok(zoned_guest_do(g, &req, NULL));
    req = (ZonedRequest) WRITE(0, 1);
    req.type |= VIRTIO_BLK_T_BARRIER;
    assert_ok(zoned_guest_do(g, &req, NULL));
    zoned_guest_stop(g);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    zoned_guest_add_test("virtio-blk-raw/repeat-header/write",
                         test_repeat_header_write);
    zoned_guest_add_test("virtio-blk-raw/repeat-header/read",
                         test_repeat_header_read);
    zoned_guest_add_test("virtio-blk-raw/no-medium", test_no_medium);
    zoned_guest_add_test("virtio-blk-raw/zone-types", test_zone_types);

    return g_test_run();
}

/*
 * QTest testcase for a zoned virtio-blk disk: what happens on the host
 *
 * Errors of the file, block jobs, resets and migrations in the midst of what a
 * guest does.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qemu/timer.h"
#include "qobject/qdict.h"
#include "virtio-blk-zoned-guest.h"

#define INJECT ",inject-error.0.event=none,inject-error.0.iotype=write," \
               "inject-error.0.errno=28,inject-error.0.once=on,"         \
               "inject-error.0.sector="

/* A disk whose file fails as @rules of blkdebug say. */
static ZonedGuest *start_with_rules(const char *rules, const char *device)
{
    return zoned_guest_start(&(ZonedGuestOptions) {
        .image = zoned_image_new(IMAGE_OPTIONS, IMAGE_SIZE),
        .rules = rules,
        .device = device,
    });
}

/* The first write to a sector of the file fails, behind the take-over. */
static ZonedGuest *start_failing(int sector, const char *device)
{
    g_autofree char *rules = g_strdup_printf(
        ZONED_FAIL_LATER ",inject-error.0.iotype=write,"
        "inject-error.0.errno=28,inject-error.0.sector=%d", sector);

    return start_with_rules(rules, device);
}

/* There is no write cache, and the flush behind the first write fails. */
static ZonedGuest *start_failing_flush(void)
{
    return start_with_rules(ZONED_FAIL_LATER ",inject-error.0.iotype=flush,"
                            "inject-error.0.errno=22",
                            STOP ",write-cache=off");
}

/* The host fails some of the @n requests at @req; all succeed in the end. */
static void fail_and_repeat(ZonedGuest *g, ZonedRequest *req, int n)
{
    for (int i = 0; i < n; i++) {
        zoned_guest_queue(g, &req[i]);
    }
    zoned_guest_kick(g);
    zoned_guest_await_stop(g);
    zoned_guest_cont(g);
    for (int i = 0; i < n; i++) {
        assert_ok(zoned_guest_wait(g, &req[i]));
    }
}

/* The header of a request that is repeated shares a segment with the data. */
static void test_repeat_header(void)
{
    ZonedGuest *g = start_failing(ZONED_DATA_SECTOR + SEQ, STOP);
    g_autofree char *data = g_malloc(1024);
    ZonedRequest append = APPEND(SEQ, 2);
    ZonedRequest read = READ(SEQ, 2);
    uint64_t where;

    memset(data, 'z', 1024);
    append.out = data;
    append.shared = true;
    zoned_guest_queue(g, &append);
    zoned_guest_kick(g);
    zoned_guest_await_stop(g);
    g_assert_false(zoned_guest_is_done(g, &append));
    zoned_guest_cont(g);
    assert_ok(zoned_guest_wait(g, &append));
    qtest_memread(g->qts, append.in_addr, &where, sizeof(where));
    g_assert_cmpuint(le64_to_cpu(where), ==, SEQ);

    memset(data, 0, 1024);
    assert_ok(zoned_guest_do(g, &read, data));
    for (int i = 0; i < 1024; i++) {
        g_assert_cmpint(data[i], ==, 'z');
    }
    zoned_guest_stop(g);
}

/* What the host fails stops the VM, and then succeeds. */
static void test_host_error_append(void)
{
    ZonedGuest *g = start_failing(ZONED_DATA_SECTOR + SEQ, STOP);
    ZonedRequest req[] = { APPEND(SEQ, 8), APPEND(SEQ, 8), APPEND(SEQ, 8) };
    uint64_t where, places = 0;

    fail_and_repeat(g, req, 3);
    for (int i = 0; i < 3; i++) {
        qtest_memread(g->qts, req[i].in_addr, &where, sizeof(where));
        places |= 1 << (le64_to_cpu(where) - SEQ) / 8;
    }
    g_assert_cmphex(places, ==, 7);
    zoned_guest_assert_zone(g, SEQ, VIRTIO_BLK_ZS_IOPEN, SEQ + 24);
    zoned_guest_assert_stat(g, "zone_append_operations", 3);
    zoned_guest_assert_stat(g, "failed_zone_append_operations", 0);
    zoned_guest_stop(g);
}

static void test_host_error_mgmt(void)
{
    ZonedGuest *g = start_failing(ZONED_RECORD_SECTOR, STOP);
    ZonedRequest reset = { .type = VIRTIO_BLK_T_ZONE_RESET, .sector = SEQ };

    assert_ok(zoned_guest_write(g, SEQ, 8));
    fail_and_repeat(g, &reset, 1);
    zoned_guest_assert_usable(g);
    zoned_guest_stop(g);
}

/* What is done, but cannot be made durable, is not done; even a full zone. */
static void test_host_error_flush(void)
{
    ZonedGuest *g = start_failing_flush();
    ZonedRequest req[] = { WRITE(SEQ, 8), WRITE(SEQ + ZONE, 16) };

    fail_and_repeat(g, req, 2);
    zoned_guest_assert_zone(g, SEQ, VIRTIO_BLK_ZS_IOPEN, SEQ + 8);
    zoned_guest_assert_zone(g, SEQ + ZONE, VIRTIO_BLK_ZS_IOPEN,
                            SEQ + ZONE + 16);
    zoned_guest_stop(g);
}

static void test_host_error_flush_append(void)
{
    ZonedGuest *g = start_failing_flush();
    ZonedRequest append = APPEND(SEQ, 8);
    uint64_t where;

    fail_and_repeat(g, &append, 1);
    qtest_memread(g->qts, append.in_addr, &where, sizeof(where));
    g_assert_cmpuint(le64_to_cpu(where), ==, SEQ);
    zoned_guest_assert_zone(g, SEQ, VIRTIO_BLK_ZS_IOPEN, SEQ + 8);
    zoned_guest_stop(g);
}

static void test_host_error_flush_full(void)
{
    ZonedGuest *g = start_failing_flush();
    ZonedRequest write = WRITE(SEQ, ZONE_CAP);

    fail_and_repeat(g, &write, 1);
    zoned_guest_assert_zone(g, SEQ, VIRTIO_BLK_ZS_FULL, SEQ + ZONE);
    zoned_guest_stop(g);
}

/* What makes no difference after a power cycle needs no host. */
static void test_host_error_close(void)
{
    ZonedGuest *g = start_failing(ZONED_RECORD_SECTOR, STOP);

    assert_ok(zoned_guest_mgmt(g, VIRTIO_BLK_T_ZONE_OPEN, SEQ));
    assert_ok(zoned_guest_mgmt(g, VIRTIO_BLK_T_ZONE_CLOSE, SEQ));
    zoned_guest_assert_zone(g, SEQ, VIRTIO_BLK_ZS_EMPTY, SEQ);
    zoned_guest_stop(g);
}

/* A mistake of the guest never stops the VM, whatever there is to write back */
static void test_host_error_mistake(void)
{
    ZonedGuest *g = start_failing(ZONED_RECORD_SECTOR, STOP);

    assert_ok(zoned_guest_write(g, SEQ + ZONE, 8));
    assert_invalid(zoned_guest_mgmt(g, VIRTIO_BLK_T_ZONE_CLOSE, SEQ));
    zoned_guest_stop(g);
}

/*
 * More requests than are put into one batch when they are repeated; their
 * descriptors, four each, fit into the queue.
 */
#define MANY 60

static void queue_many(ZonedGuest *g, ZonedRequest *req)
{
    for (int i = 0; i < MANY; i++) {
        req[i] = (ZonedRequest) APPEND(SEQ, 1);
        zoned_guest_queue(g, &req[i]);
    }
    zoned_guest_kick(g);
}

/* All succeed, each at a place of its own, and there is no gap. */
static void wait_many(ZonedGuest *g, ZonedRequest *req)
{
    bool found[MANY] = {};

    for (int i = 0; i < MANY; i++) {
        uint64_t where;

        assert_ok(zoned_guest_wait(g, &req[i]));
        qtest_memread(g->qts, req[i].in_addr, &where, sizeof(where));
        where = le64_to_cpu(where) - SEQ;
        g_assert_cmpuint(where, <, MANY);
        g_assert_false(found[where]);
        found[where] = true;
    }
}

static void test_host_error_many(void)
{
    ZonedGuest *g = start_failing(ZONED_DATA_SECTOR + SEQ, STOP);
    ZonedRequest req[MANY];

    queue_many(g, req);
    zoned_guest_await_stop(g);
    zoned_guest_cont(g);
    wait_many(g, req);
    zoned_guest_assert_zone(g, SEQ, VIRTIO_BLK_ZS_IOPEN, SEQ + MANY);
    zoned_guest_stop(g);
}

/* Where the VM is not stopped, the guest is told. */
static void test_host_error_report(void)
{
    ZonedGuest *g = start_failing(ZONED_DATA_SECTOR + SEQ, "werror=report");

    assert_ioerr(zoned_guest_append(g, SEQ, 8, NULL));
    zoned_guest_assert_stat(g, "failed_zone_append_operations", 1);
    assert_ok(zoned_guest_mgmt(g, VIRTIO_BLK_T_ZONE_RESET, SEQ));
    zoned_guest_assert_usable(g);
    zoned_guest_stop(g);
}

/* A filter that hides the zones is refused; one below leaves them alone. */
static void test_filter(void)
{
    ZonedGuest *g = zoned_guest_start(&(ZonedGuestOptions) {
        .image = zoned_image_new(IMAGE_OPTIONS, IMAGE_SIZE),
        .device = STOP,
        .args = "-blockdev driver=null-co,node-name=target,size=1605632",
    });
    const char *mirror = "{ 'execute': 'blockdev-mirror', 'arguments': {"
                         " 'job-id': 'job', 'device': %s,"
                         " 'target': 'target', 'sync': 'none' } }";

    qobject_unref(qtest_qmp_assert_failure_ref(g->qts, mirror, "disk"));
    zoned_guest_assert_usable(g);

    qtest_qmp_assert_success(g->qts, mirror, "file");
    assert_ok(zoned_guest_append(g, SEQ, 1, NULL));
    for (int i = 0; i < NR_ZONE_OPS; i++) {
        assert_ok(zoned_guest_mgmt(g, zoned_ops[i], SEQ));
    }
    assert_ok(zoned_guest_mgmt(g, VIRTIO_BLK_T_ZONE_RESET_ALL, 0));
    zoned_guest_assert_zone(g, SEQ, VIRTIO_BLK_ZS_EMPTY, SEQ);
    zoned_guest_assert_usable(g);
    qtest_qmp_assert_success(g->qts,
                             "{ 'execute': 'block-job-cancel', 'arguments': {"
                             " 'device': 'job', 'force': true } }");
    qtest_qmp_eventwait(g->qts, "BLOCK_JOB_CANCELLED");
    zoned_guest_assert_usable(g);
    zoned_guest_stop(g);
}

static void test_no_medium(void)
{
    g_autofree char *args =
        g_strdup_printf("-drive if=none,id=disk,format=zoned,file=%s",
                        zoned_image_new(IMAGE_OPTIONS, IMAGE_SIZE));
    ZonedGuest *g = zoned_guest_start(&(ZonedGuestOptions) {
        .no_image = true,
        .args = args,
    });
    ZonedRequest report = REPORT(0, 128);
    g_autofree char *answer = NULL;

    zoned_guest_assert_usable(g);
    answer = qtest_hmp(g->qts, "drive_del disk");
    g_assert_cmpstr(answer, ==, "");
    zoned_guest_config(g, offsetof(struct virtio_blk_config, zoned));
    for (int i = 0; i < NR_ZONE_OPS; i++) {
        assert_unsupp(zoned_guest_mgmt(g, zoned_ops[i], SEQ));
    }
    assert_unsupp(zoned_guest_append(g, SEQ, 1, NULL));
    assert_unsupp(zoned_guest_do(g, &report, NULL));
    assert_ioerr(zoned_guest_write(g, SEQ, 8));
    assert_ioerr(zoned_guest_read(g, SEQ, 8));
    zoned_guest_stop(g);
}

/*
 * A disk whose node is like a host device in that any errno may come from the
 * host: it fails as @rules of blkdebug say.
 */
static ZonedGuest *start_like_host(const char *options, const char *size,
                                   const char *rules, const char *device)
{
    g_autofree char *args = g_strdup_printf(
        "-blockdev driver=zoned,node-name=zones,file.driver=file,"
        "file.filename=%s "
        "-blockdev driver=blkdebug,node-name=disk,image=zones%s",
        zoned_image_new(options, size), rules);

    return zoned_guest_start(&(ZonedGuestOptions) {
        .no_image = true,
        .args = args,
        .device = device,
    });
}

/* What such a disk fails is no mistake of the guest, whatever the errno is. */
static void test_host_like_stop(void)
{
    static const int errnos[] = {
        EINVAL, ERANGE, EPERM, EOVERFLOW, ETOOMANYREFS, EACCES,
    };

    for (int i = 0; i < ARRAY_SIZE(errnos); i++) {
        g_autoptr(GString) rules = g_string_new(NULL);
        ZonedRequest write = WRITE(SEQ, 8);
        ZonedRequest append = APPEND(SEQ + ZONE, 8);
        ZonedRequest reset = {
            .type = VIRTIO_BLK_T_ZONE_RESET,
            .sector = SEQ + 2 * ZONE,
        };
        ZonedGuest *g;

        for (int j = 0; j < 3; j++) {
            g_string_append_printf(rules,
                                   ",inject-error.%d.event=none"
                                   ",inject-error.%d.iotype=write"
                                   ",inject-error.%d.errno=%d"
                                   ",inject-error.%d.once=on"
                                   ",inject-error.%d.sector=%d",
                                   j, j, j, errnos[i], j, j, SEQ + j * ZONE);
        }
        g = start_like_host(IMAGE_OPTIONS, IMAGE_SIZE, rules->str, STOP);
        fail_and_repeat(g, &write, 1);
        zoned_guest_assert_zone(g, SEQ, VIRTIO_BLK_ZS_IOPEN, SEQ + 8);
        fail_and_repeat(g, &append, 1);
        zoned_guest_assert_zone(g, SEQ + ZONE, VIRTIO_BLK_ZS_IOPEN,
                                SEQ + ZONE + 8);
        fail_and_repeat(g, &reset, 1);
        zoned_guest_stop(g);
    }
}

static void test_host_like_report(void)
{
    ZonedGuest *g = start_like_host(IMAGE_OPTIONS, IMAGE_SIZE, "",
                                    "werror=report");

    /* Of these, the node says what it will. */
    assert_ioerr(zoned_guest_write(g, SEQ + 8, 8));
    assert_ioerr(zoned_guest_mgmt(g, VIRTIO_BLK_T_ZONE_CLOSE, SEQ));
    /* The device sees these itself. */
    assert_invalid(zoned_guest_write(g, SEQ - 8, 16));
    assert_invalid(zoned_guest_append(g, SEQ, MAX_APPEND + 1, NULL));
    zoned_guest_assert_usable(g);
    zoned_guest_stop(g);

    g = start_like_host("zone_size=64k,zone_nr_conv=1", "64k", "",
                        "werror=report");
    assert_ioerr(zoned_guest_mgmt(g, VIRTIO_BLK_T_ZONE_RESET_ALL, 0));
    zoned_guest_stop(g);
}

/* A reset of the machine drops what waits for the VM to go on. */
static void test_reset_stopped(void)
{
    ZonedGuest *g = start_failing(ZONED_DATA_SECTOR + SEQ, STOP);
    ZonedRequest req[MANY];

    queue_many(g, req);
    zoned_guest_await_stop(g);
    qtest_system_reset(g->qts);
    zoned_guest_cont(g);
    zoned_guest_setup(g, 0);
    assert_ok(zoned_guest_mgmt(g, VIRTIO_BLK_T_ZONE_RESET, SEQ));
    zoned_guest_assert_usable(g);
    zoned_guest_stop(g);
}

/* After that, an error of the host has no bearing on the guest's mistakes. */
static void test_reset_forgets(void)
{
    ZonedGuest *g = start_failing(ZONED_DATA_SECTOR + SEQ, STOP);
    ZonedRequest write = WRITE(SEQ, 8);

    zoned_guest_queue(g, &write);
    zoned_guest_kick(g);
    zoned_guest_await_stop(g);
    qtest_system_reset(g->qts);
    zoned_guest_cont(g);
    zoned_guest_setup(g, 0);
    assert_unaligned(zoned_guest_write(g, SEQ + 8, 8));
    assert_ok(zoned_guest_mgmt(g, VIRTIO_BLK_T_ZONE_RESET, SEQ));
    zoned_guest_assert_usable(g);
    zoned_guest_stop(g);
}

/* The file takes a tenth of a second for a write. */
static ZonedGuest *start_slow(void)
{
    g_autofree char *args = g_strdup_printf(
        "-object throttle-group,id=tg,x-iops-write=10 "
        "-blockdev driver=throttle,node-name=slow,throttle-group=tg,"
        "file.driver=file,file.filename=%s "
        "-blockdev driver=zoned,node-name=disk,file=slow",
        zoned_image_new("zone_size=64k", "512k"));

    return zoned_guest_start(&(ZonedGuestOptions) {
        .no_image = true,
        .args = args,
        .device = STOP,
    });
}

static void queue_slow(ZonedGuest *g)
{
    ZonedRequest req[] = {
        WRITE(0, 8), WRITE(8, 8), APPEND(ZONE, 8), APPEND(ZONE, 8),
        { .type = VIRTIO_BLK_T_ZONE_FINISH, .sector = 3 * ZONE },
        { .type = VIRTIO_BLK_T_ZONE_RESET, .sector = 0 },
        { .type = VIRTIO_BLK_T_FLUSH },
        REPORT(0, 4096), READ(4 * ZONE, 8), WRITE(0, 8),
    };

    for (int i = 0; i < ARRAY_SIZE(req); i++) {
        zoned_guest_queue(g, &req[i]);
    }
    zoned_guest_kick(g);
}

/* No request is left of those that were in flight, nor counted as such. */
static void assert_clean(ZonedGuest *g)
{
    qtest_qmp_assert_success(g->qts, "{ 'execute': 'qom-set', 'arguments': {"
                             " 'path': 'tg', 'property': 'limits',"
                             " 'value': { 'iops-write': 0 } } }");
    zoned_guest_setup(g, 0);
    for (int i = 0; i < 300; i++) {
        assert_ok(zoned_guest_read(g, 0, 8));
    }
    assert_ok(zoned_guest_mgmt(g, VIRTIO_BLK_T_ZONE_RESET_ALL, 0));
    zoned_guest_assert_zone(g, ZONE, VIRTIO_BLK_ZS_EMPTY, ZONE);
    zoned_guest_assert_works(g);
}

static void test_reset_machine(void)
{
    ZonedGuest *g = start_slow();

    queue_slow(g);
    qtest_system_reset(g->qts);
    assert_clean(g);
    zoned_guest_stop(g);
}

static void test_reset_device(void)
{
    ZonedGuest *g = start_slow();

    queue_slow(g);
    qvirtio_reset(g->dev);
    assert_clean(g);
    zoned_guest_stop(g);
}

static void migrate_to(ZonedGuest *from, ZonedGuest *to, const char *uri)
{
    qtest_qmp_assert_success(from->qts, "{ 'execute': 'migrate',"
                             " 'arguments': { 'uri': %s } }", uri);
    zoned_guest_wait_incoming(to);
}

/* Requests that have stopped the VM are repeated where it goes on. */
static void test_migration(void)
{
    g_autofree char *dir = g_dir_make_tmp("virtio-blk-zoned.XXXXXX", NULL);
    g_autofree char *uri = g_strdup_printf("unix:%s/socket", dir);
    g_autofree char *args = g_strdup_printf("-incoming %s", uri);
    g_autofree char *rules = g_strdup_printf(INJECT "%d",
                                             ZONED_DATA_SECTOR + SEQ);
    ZonedGuestOptions opts = {
        .image = zoned_image_new(IMAGE_OPTIONS, IMAGE_SIZE),
        .rules = rules,
        .device = STOP,
    };
    ZonedGuest *from = zoned_guest_start(&opts), *to;
    ZonedRequest req[MANY];

    opts.rules = NULL;
    opts.args = args;
    opts.incoming = true;
    to = zoned_guest_start(&opts);

    queue_many(from, req);
    zoned_guest_await_stop(from);
    migrate_to(from, to, uri);
    zoned_guest_cont(to);
    wait_many(to, req);
    zoned_guest_setup(to, 0);
    zoned_guest_assert_zone(to, SEQ, VIRTIO_BLK_ZS_IOPEN, SEQ + MANY);
    zoned_guest_stop(to);
    zoned_guest_end(from);
    rmdir(dir);
}

/* An append is as durable as a write where there is no write cache. */
static void test_append_stable(void)
{
    char *image = zoned_image_new(IMAGE_OPTIONS, IMAGE_SIZE);
    ZonedGuest *g = zoned_guest_start(&(ZonedGuestOptions) {
        .image = image,
        .device = STOP ",write-cache=off",
    });

    assert_ok(zoned_guest_append(g, SEQ, 8, NULL));
    g_assert_cmpuint(zoned_image_end(image, SEQ), ==, SEQ + 8);
    zoned_guest_stop(g);
}

/* Appends count as writes where these are throttled. */
static void test_throttle(void)
{
    ZonedGuest *g = zoned_guest_start_usual(NULL);
    ZonedRequest append = APPEND(SEQ, 1);

    qtest_qmp_assert_success(g->qts,
        "{ 'execute': 'block_set_io_throttle', 'arguments': {"
        " 'id': '/machine/peripheral/vd/virtio-backend',"
        " 'bps': 0, 'bps_rd': 0, 'bps_wr': 0,"
        " 'iops': 0, 'iops_rd': 0, 'iops_wr': 1 } }");
    assert_ok(zoned_guest_append(g, SEQ, 1, NULL));

    zoned_guest_queue(g, &append);
    zoned_guest_kick(g);
    qtest_clock_step(g->qts, NANOSECONDS_PER_SECOND / 2);
    /* The time that an append takes which does not wait */
    assert_ok(zoned_guest_read(g, SEQ, 1));
    assert_ok(zoned_guest_mgmt(g, VIRTIO_BLK_T_ZONE_FINISH, SEQ + ZONE));
    g_assert_false(zoned_guest_is_done(g, &append));

    qtest_clock_step(g->qts, NANOSECONDS_PER_SECOND / 2);
    assert_ok(zoned_guest_wait(g, &append));
    zoned_guest_free(g, &append);
    zoned_guest_stop(g);
}

/* Why a device does not start with an image of these options */
static void assert_refused(const char *options, const char *size,
                           int block_size, const char *reason)
{
    QTestState *qts = qtest_initf(
        "-machine pc -nodefaults -blockdev driver=zoned,node-name=disk,"
        "file.driver=file,file.filename=%s", zoned_image_new(options, size));
    QDict *error;

    error = qtest_qmp_assert_failure_ref(qts,
        "{ 'execute': 'device_add', 'arguments': {"
        " 'driver': 'virtio-blk-pci', 'drive': 'disk',"
        " 'logical_block_size': %d, 'physical_block_size': %d } }",
        block_size, block_size);
    g_assert_cmpstr(qdict_get_str(error, "desc"), ==, reason);
    qobject_unref(error);
    qtest_quit(qts);
}

static void test_described(void)
{
    assert_refused("zone_size=2T", "4T", 512,
                   "zones of 2199023255552 bytes are too large for virtio-blk");
    assert_refused("zone_size=12k", "120k", 8192,
                   "zones of 12288 bytes are no multiple of "
                   "logical_block_size 8192");
}

/* A write that is lost would make all later ones of its zone fail. */
static void test_ignore(void)
{
    QTestState *qts = qtest_initf(
        "-machine pc -nodefaults "
        "-blockdev driver=zoned,node-name=node,file.driver=file,"
        "file.filename=%s "
        "-drive if=none,id=drive,format=zoned,werror=ignore,file=%s "
        "-blockdev driver=null-co,node-name=ordinary,read-zeroes=on",
        zoned_image_new(IMAGE_OPTIONS, IMAGE_SIZE),
        zoned_image_new(IMAGE_OPTIONS, IMAGE_SIZE));
    /* What says so is the device or, as the device says nothing, the drive. */
    static const char *const devices[][2] = {
        { "node", "ignore" }, { "drive", "auto" }, { "drive", "ignore" },
    };

    for (int i = 0; i < ARRAY_SIZE(devices); i++) {
        QDict *error = qtest_qmp_assert_failure_ref(qts,
            "{ 'execute': 'device_add', 'arguments': {"
            " 'driver': 'virtio-blk-pci', 'drive': %s, 'werror': %s } }",
            devices[i][0], devices[i][1]);

        g_assert_cmpstr(qdict_get_str(error, "desc"), ==,
                        "werror=ignore is not possible with a zoned drive: "
                        "after a write that was lost, each later one of its "
                        "zone would fail");
        qobject_unref(error);
    }
    qtest_qmp_assert_success(qts, "{ 'execute': 'device_add', 'arguments': {"
                             " 'driver': 'virtio-blk-pci', 'drive': 'node',"
                             " 'rerror': 'ignore' } }");
    qtest_qmp_assert_success(qts, "{ 'execute': 'device_add', 'arguments': {"
                             " 'driver': 'virtio-blk-pci',"
                             " 'drive': 'ordinary', 'werror': 'ignore' } }");
    qtest_quit(qts);
}

int main(int argc, char **argv)
{
    if (!zoned_guest_init(&argc, &argv)) {
        return g_test_run();
    }

    zoned_guest_add_test("virtio-blk-zoned-host/error/header",
                         test_repeat_header);
    zoned_guest_add_test("virtio-blk-zoned-host/error/append",
                         test_host_error_append);
    zoned_guest_add_test("virtio-blk-zoned-host/error/mgmt",
                         test_host_error_mgmt);
    zoned_guest_add_test("virtio-blk-zoned-host/error/flush",
                         test_host_error_flush);
    zoned_guest_add_test("virtio-blk-zoned-host/error/flush/append",
                         test_host_error_flush_append);
    zoned_guest_add_test("virtio-blk-zoned-host/error/flush/full",
                         test_host_error_flush_full);
    zoned_guest_add_test("virtio-blk-zoned-host/error/close",
                         test_host_error_close);
    zoned_guest_add_test("virtio-blk-zoned-host/error/mistake",
                         test_host_error_mistake);
    zoned_guest_add_test("virtio-blk-zoned-host/error/many",
                         test_host_error_many);
    zoned_guest_add_test("virtio-blk-zoned-host/error/report",
                         test_host_error_report);
    zoned_guest_add_test("virtio-blk-zoned-host/like-host/stop",
                         test_host_like_stop);
    zoned_guest_add_test("virtio-blk-zoned-host/like-host/report",
                         test_host_like_report);
    zoned_guest_add_test("virtio-blk-zoned-host/filter", test_filter);
    zoned_guest_add_test("virtio-blk-zoned-host/no-medium", test_no_medium);
    zoned_guest_add_test("virtio-blk-zoned-host/reset/stopped",
                         test_reset_stopped);
    zoned_guest_add_test("virtio-blk-zoned-host/reset/forgets",
                         test_reset_forgets);
    zoned_guest_add_test("virtio-blk-zoned-host/reset/machine",
                         test_reset_machine);
    zoned_guest_add_test("virtio-blk-zoned-host/reset/device",
                         test_reset_device);
    zoned_guest_add_test("virtio-blk-zoned-host/migration", test_migration);
    zoned_guest_add_test("virtio-blk-zoned-host/append-stable",
                         test_append_stable);
    zoned_guest_add_test("virtio-blk-zoned-host/throttle", test_throttle);
    qtest_add_func("virtio-blk-zoned-host/described", test_described);
    qtest_add_func("virtio-blk-zoned-host/ignore", test_ignore);

    return g_test_run();
}

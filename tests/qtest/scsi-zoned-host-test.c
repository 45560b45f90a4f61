/*
 * QTest testcase for a zoned SCSI disk: what happens on the host
 *
 * Errors of the file, stops, resets, unplugging and migrations in the midst of
 * what a guest does.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qemu/units.h"
#include "qobject/qdict.h"
#include "standard-headers/linux/virtio_scsi.h"
#include "scsi-zoned-guest.h"

#define S_NO_SPACE SCSI_SENSE(DATA_PROTECT, 0x2707)
#define S_IO_ERROR SCSI_SENSE(ABORTED_COMMAND, 0x0006)
#define S_NO_MEDIUM SCSI_SENSE(NOT_READY, 0x3a00)

#define FUA 0x08

/* Zones of one page each */
#define MANY_ZONE 8
#define MANY_ZONES (1 << 16)

/* A disk whose file fails as @rules of blkdebug say */
static ScsiGuest *start_with_rules(const char *rules, const char *device)
{
    return scsi_guest_start(&(ScsiGuestOptions) {
        .vm.image = zoned_image_new(SCSI_IMAGE_OPTIONS, IMAGE_SIZE),
        .vm.rules = rules,
        .vm.device = device,
    });
}

/* The first write to a sector of the file fails, behind the take-over. */
static ScsiGuest *start_failing(int sector, const char *device)
{
    g_autofree char *rules = g_strdup_printf(
        ZONED_FAIL_LATER ",inject-error.0.iotype=write,"
        "inject-error.0.errno=28,inject-error.0.sector=%d", sector);

    return start_with_rules(rules, device);
}

/*
 * Rules: the first write to the second page of a conventional zone fails.  That
 * may come before the take-over.
 */
#define CONV_FAILS \
    ",inject-error.0.event=none,inject-error.0.iotype=write," \
    "inject-error.0.errno=28,inject-error.0.once=on,inject-error.0.sector=2056"

G_STATIC_ASSERT(ZONED_DATA_SECTOR + 8 == 2056);

/* The flush behind the first write of data fails. */
static ScsiGuest *start_failing_flush(const char *device)
{
    return start_with_rules(ZONED_FAIL_LATER ",inject-error.0.iotype=flush,"
                            "inject-error.0.errno=5", device);
}

/* The host fails some of the @n requests at @req; all succeed in the end. */
static void fail_and_repeat(ScsiGuest *g, ScsiRequest *req, int n)
{
    for (int i = 0; i < n; i++) {
        scsi_guest_queue(g, &req[i]);
    }
    scsi_guest_kick(g);
    zoned_guest_await_stop(&g->vm);
    zoned_guest_cont(&g->vm);
    for (int i = 0; i < n; i++) {
        assert_good(scsi_guest_wait(g, &req[i]));
        if (req[i].cdb[0] != 0x95) {
            g_assert_cmpuint(g->last.residual, ==, 0);
        }
    }
}

static void assert_bytes(ScsiGuest *g, uint64_t lba, uint32_t blocks,
                         uint8_t byte)
{
    ScsiRequest req = scsi_rw(g, READ_16, lba, blocks);
    g_autofree uint8_t *data = g_malloc(req.in_len);

    assert_good(scsi_guest_do(g, &req, data));
    for (size_t i = 0; i < req.in_len; i++) {
        g_assert_cmphex(data[i], ==, byte);
    }
}

/* A write of 8 blocks with this byte, by any command */
static ScsiRequest write_request(ScsiGuest *g, uint8_t opcode, uint64_t lba,
                                 const void *data)
{
    ScsiRequest req = scsi_rw(g, opcode, lba, 8);

    req.out = data;
    if (opcode == WRITE_SAME_10 || opcode == WRITE_SAME_16) {
        req.out_len = 512;
    }
    return req;
}

static const uint8_t writes[] = {
    WRITE_6, WRITE_10, WRITE_12, WRITE_16, WRITE_VERIFY_10, WRITE_VERIFY_12,
    WRITE_VERIFY_16, WRITE_SAME_10, WRITE_SAME_16,
};

/* What the host fails stops the VM, and then succeeds. */
static void test_error_write(void)
{
    uint8_t data[4096];

    memset(data, 'e', sizeof(data));
    for (int i = 0; i < ARRAY_SIZE(writes); i++) {
        ScsiGuest *g = start_failing(ZONED_DATA_SECTOR + SEQ, STOP);
        ScsiRequest req = write_request(g, writes[i], SEQ, data);

        fail_and_repeat(g, &req, 1);
        scsi_assert_zone(g, SEQ, IOPEN, SEQ + 8);
        assert_bytes(g, SEQ, 8, 'e');
        assert_bytes(g, SEQ + 8, 8, 0);
        scsi_assert_usable(g);
        scsi_guest_stop(g);
    }
}

static void test_error_write_same(void)
{
    ScsiGuest *g = start_with_rules(
        ",inject-error.0.event=none,inject-error.0.iotype=write-zeroes,"
        "inject-error.0.errno=28,inject-error.0.once=on,"
        "inject-error.0.sector=2304", STOP);
    ScsiRequest req = scsi_rw(g, WRITE_SAME_16, SEQ, 16);

    req.cdb[1] = NDOB;
    req.out_len = 0;
    fail_and_repeat(g, &req, 1);
    scsi_assert_zone(g, SEQ, IOPEN, SEQ + 16);
    scsi_guest_stop(g);
}

/* Where the VM is not stopped, the guest is told, and all is as before. */
static void test_error_report(void)
{
    uint8_t data[4096];

    memset(data, 'e', sizeof(data));
    for (int i = 0; i < ARRAY_SIZE(writes); i++) {
        ScsiGuest *g = start_failing(ZONED_DATA_SECTOR + SEQ,
                                     "werror=report,rerror=report");
        ScsiRequest req = write_request(g, writes[i], SEQ, data);

        assert_scsi(scsi_guest_do(g, &req, NULL), S_NO_SPACE);
        scsi_assert_zone(g, SEQ, EMPTY, SEQ);
        assert_good(scsi_guest_do(g, &req, NULL));
        scsi_assert_zone(g, SEQ, IOPEN, SEQ + 8);
        scsi_guest_stop(g);
    }
}

static const uint8_t durable_ops[] = { FINISH, RESET };

static void test_error_mgmt(void)
{
    for (int i = 0; i < ARRAY_SIZE(durable_ops); i++) {
        for (int all = 0; all < 2; all++) {
            ScsiGuest *g = start_failing(ZONED_RECORD_SECTOR, STOP);
            ScsiRequest req = scsi_zbc_out(durable_ops[i], SEQ, 2, all);

            assert_good(scsi_write(g, SEQ, 8));
            assert_good(scsi_write(g, SEQ + ZONE, 8));
            fail_and_repeat(g, &req, 1);
            for (uint64_t lba = SEQ; lba <= SEQ + ZONE; lba += ZONE) {
                if (durable_ops[i] == FINISH) {
                    scsi_assert_zone(g, lba, FULL, NO_WP);
                } else {
                    scsi_assert_zone(g, lba, EMPTY, lba);
                }
            }
            scsi_assert_usable(g);
            scsi_guest_stop(g);
        }
    }
}

static void test_error_mgmt_report(void)
{
    for (int i = 0; i < ARRAY_SIZE(durable_ops); i++) {
        ScsiGuest *g = start_failing(ZONED_RECORD_SECTOR, "werror=report");

        assert_good(scsi_write(g, SEQ, 8));
        assert_scsi(scsi_op(g, durable_ops[i], SEQ), S_NO_SPACE);
        assert_good(scsi_op(g, RESET, SEQ));
        scsi_assert_usable(g);
        scsi_guest_stop(g);
    }
}

static void test_error_format(void)
{
    static const uint8_t flags[] = { 0x00, 0x10, 0x30 };

    for (int i = 0; i < ARRAY_SIZE(flags); i++) {
        ScsiGuest *g = start_failing(ZONED_RECORD_SECTOR, STOP);
        ScsiRequest req = scsi_command(FORMAT_UNIT, i * 4, 0);

        req.cdb[1] = flags[i];
        assert_good(scsi_write(g, SEQ, 8));
        fail_and_repeat(g, &req, 1);
        scsi_assert_zone(g, SEQ, EMPTY, SEQ);
        scsi_guest_stop(g);
    }
}

static void test_error_read(void)
{
    static const char *const rules =
        ",inject-error.0.event=none,inject-error.0.iotype=read,"
        "inject-error.0.errno=5,inject-error.0.once=on,"
        "inject-error.0.sector=2304";
    uint8_t data[4096];
    ScsiGuest *g = start_with_rules(rules, STOP);
    ScsiRequest req = write_request(g, WRITE_16, SEQ, data);

    G_STATIC_ASSERT(ZONED_DATA_SECTOR + SEQ == 2304);
    memset(data, 'r', sizeof(data));
    assert_good(scsi_guest_do(g, &req, NULL));
    req = scsi_rw(g, READ_16, SEQ, 8);
    fail_and_repeat(g, &req, 1);
    for (int i = 0; i < sizeof(data); i += 511) {
        g_assert_cmphex(qtest_readb(g->qts, req.data_addr + i), ==, 'r');
    }
    scsi_guest_stop(g);

    g = start_with_rules(rules, "rerror=report");
    assert_good(scsi_write(g, SEQ, 8));
    assert_scsi(scsi_read(g, SEQ, 8), S_IO_ERROR);
    assert_good(scsi_read(g, SEQ, 8));
    scsi_guest_stop(g);
}

/* What is done, but cannot be made durable: the flush is repeated. */
static void test_error_flush(void)
{
    static const uint8_t opcodes[] = {
        WRITE_10, WRITE_12, WRITE_16, WRITE_VERIFY_10, WRITE_VERIFY_12,
        WRITE_VERIFY_16,
    };
    uint8_t data[4096];

    memset(data, 'f', sizeof(data));
    for (int i = 0; i < ARRAY_SIZE(opcodes); i++) {
        ScsiGuest *g = start_failing_flush(STOP);
        ScsiRequest req = write_request(g, opcodes[i], SEQ, data);

        req.cdb[1] = opcodes[i] == WRITE_10 || opcodes[i] == WRITE_12 ||
                     opcodes[i] == WRITE_16 ? FUA : 0;
        fail_and_repeat(g, &req, 1);
        scsi_assert_zone(g, SEQ, IOPEN, SEQ + 8);
        assert_bytes(g, SEQ, 8, 'f');
        assert_bytes(g, SEQ + 8, 8, 0);
        scsi_guest_stop(g);

        /*
         * Without a stop, the guest hears of it.  Whether the write stands is
         * up to whoever has flushed, this disk or the node.
         */
        g = start_failing_flush("werror=report");
        assert_scsi(scsi_guest_do(g, &req, NULL), S_IO_ERROR);
        if (scsi_zone(g, SEQ).condition == EMPTY) {
            assert_good(scsi_guest_do(g, &req, NULL));
        }
        scsi_assert_zone(g, SEQ, IOPEN, SEQ + 8);
        assert_bytes(g, SEQ, 8, 'f');
        scsi_guest_stop(g);
    }
}

static void test_error_synchronize(void)
{
    static const uint8_t opcodes[] = {
        SYNCHRONIZE_CACHE, SYNCHRONIZE_CACHE_16,
    };

    for (int i = 0; i < ARRAY_SIZE(opcodes); i++) {
        ScsiGuest *g = start_failing_flush(STOP);
        ScsiRequest req = scsi_command(opcodes[i], 0, 0);

        assert_good(scsi_write(g, SEQ, 8));
        fail_and_repeat(g, &req, 1);
        scsi_assert_zone(g, SEQ, IOPEN, SEQ + 8);
        scsi_guest_stop(g);
    }
}

/* There is no write cache. */
static void test_error_write_through(void)
{
    ScsiGuest *g = start_failing_flush(STOP ",write-cache=off");
    ScsiRequest req = scsi_rw(g, WRITE_16, SEQ, ZONE);

    fail_and_repeat(g, &req, 1);
    scsi_assert_zone(g, SEQ, FULL, NO_WP);
    scsi_guest_stop(g);
}

/* A mistake of the guest never stops the VM, whatever there is to write back */
static void test_error_mistake(void)
{
    ScsiGuest *g = start_failing(ZONED_RECORD_SECTOR, STOP);

    assert_good(scsi_write(g, SEQ + ZONE, 8));
    assert_scsi(scsi_write(g, SEQ + ZONE, 8), S_UNALIGNED_WRITE);
    assert_scsi(scsi_write(g, SEQ + ZONE + 8, ZONE), S_WRITE_BOUNDARY);
    assert_field(g, scsi_op(g, RESET, 0), 2, -1);
    assert_good(scsi_op(g, CLOSE, SEQ));
    scsi_guest_stop(g);
}

/* More than fit into one batch when they are repeated, to all zones */
#define MANY 40

static void queue_many(ScsiGuest *g, ScsiRequest *req)
{
    for (int i = 0; i < MANY; i++) {
        req[i] = i % 4 == 0 ? scsi_rw(g, WRITE_16, (i / 4) * 8, 8) :
                 i % 4 == 1 ? scsi_report(0, 0, 4096) :
                 i % 4 == 2 ? scsi_zbc_out(RESET, SEQ + i % 3 * ZONE, 0, 0) :
                              scsi_rw(g, READ_16, SEQ, 16);
        scsi_guest_queue(g, &req[i]);
    }
    scsi_guest_kick(g);
}

static void wait_many(ScsiGuest *g, ScsiRequest *req)
{
    for (int i = 0; i < MANY; i++) {
        assert_good(scsi_guest_wait(g, &req[i]));
    }
}

static void test_error_many(void)
{
    ScsiGuest *g = start_with_rules(CONV_FAILS, STOP);
    ScsiRequest req[MANY];

    queue_many(g, req);
    zoned_guest_await_stop(&g->vm);
    zoned_guest_cont(&g->vm);
    wait_many(g, req);
    scsi_assert_usable(g);
    scsi_guest_stop(g);
}

/*
 * A disk whose node is like a host device in that any errno may come from the
 * host: it fails as @rules of blkdebug say.
 */
static ScsiGuest *start_like_host(const char *rules, const char *device)
{
    g_autofree char *args = g_strdup_printf(
        "-blockdev driver=zoned,node-name=zones,file.driver=file,"
        "file.filename=%s "
        "-blockdev driver=blkdebug,node-name=disk,image=zones%s",
        zoned_image_new(SCSI_IMAGE_OPTIONS, IMAGE_SIZE), rules);

    return scsi_guest_start(&(ScsiGuestOptions) {
        .vm.no_image = true,
        .vm.args = args,
        .vm.device = device,
    });
}

/* What such a disk fails is no mistake of the guest, whatever the errno is. */
static void test_like_host_stop(void)
{
    static const int errnos[] = {
        EINVAL, ERANGE, EPERM, EOVERFLOW, ETOOMANYREFS, EACCES,
    };

    for (int i = 0; i < ARRAY_SIZE(errnos); i++) {
        g_autoptr(GString) rules = g_string_new(NULL);
        ScsiGuest *g;
        ScsiRequest write, reset;

        for (int j = 0; j < 2; j++) {
            g_string_append_printf(rules,
                                   ",inject-error.%d.event=none"
                                   ",inject-error.%d.iotype=write"
                                   ",inject-error.%d.errno=%d"
                                   ",inject-error.%d.once=on"
                                   ",inject-error.%d.sector=%d",
                                   j, j, j, errnos[i], j, j, SEQ + j * ZONE);
        }
        g = start_like_host(rules->str, STOP);
        write = scsi_rw(g, WRITE_16, SEQ, 8);
        reset = scsi_zbc_out(RESET, SEQ + ZONE, 0, 0);
        fail_and_repeat(g, &write, 1);
        scsi_assert_zone(g, SEQ, IOPEN, SEQ + 8);
        fail_and_repeat(g, &reset, 1);
        scsi_assert_usable(g);
        scsi_guest_stop(g);
    }
}

static void test_like_host_report(void)
{
    ScsiGuest *g = start_like_host("", "werror=report");

    /* Of these, the node says what it will. */
    g_assert_cmphex(scsi_write(g, SEQ + 8, 8), !=, SCSI_GOOD);
    g_assert_cmphex(scsi_op(g, OPEN, SEQ), ==, SCSI_GOOD);
    /* The disk sees these itself. */
    assert_scsi(scsi_write(g, SEQ - 8, 16), S_WRITE_BOUNDARY);
    assert_field(g, scsi_op(g, OPEN, 0), 2, -1);
    scsi_assert_usable(g);
    scsi_guest_stop(g);
}

/* A report fails, of all or in the midst. */
static void test_error_zones(void)
{
    static const char *const rules =
        ",inject-error.0.event=none,inject-error.0.iotype=read,"
        "inject-error.0.errno=5,inject-error.0.once=on,"
        "inject-error.0.sector=%d";
    /* A report begins there, when the guest asks; none does at the start. */
    const int many = (MANY_ZONES / 2 + 64) * MANY_ZONE;
    g_autofree char *first = g_strdup_printf(rules, SEQ);
    g_autofree char *middle = g_strdup_printf(rules, many);
    g_autofree char *args = g_strdup_printf(
        "-blockdev driver=zoned,node-name=zones,file.driver=file,"
        "file.filename=%s "
        "-blockdev driver=blkdebug,node-name=disk,image=zones%s",
        zoned_image_new("zone_size=4k", "256M"), middle);
    ScsiGuest *g = start_like_host(first, STOP);
    ScsiRequest req = scsi_report(SEQ, 0, 4096);

    fail_and_repeat(g, &req, 1);
    g_assert_cmpuint(be32_to_cpu(qtest_readl(g->qts, req.data_addr)), ==,
                     (NR_ZONES - 2) * 64);
    scsi_guest_stop(g);

    g = start_like_host(first, "rerror=report");
    assert_scsi(scsi_guest_do(g, &req, NULL), S_IO_ERROR);
    assert_good(scsi_guest_do(g, &req, NULL));
    scsi_guest_stop(g);

    g = scsi_guest_start(&(ScsiGuestOptions) {
        .vm.no_image = true,
        .vm.args = args,
        .vm.device = STOP,
    });
    req = scsi_report(0, 1, 64 + MANY_ZONES * 64);
    fail_and_repeat(g, &req, 1);
    g_assert_cmpuint(be32_to_cpu(qtest_readl(g->qts, req.data_addr)), ==,
                     MANY_ZONES * 64);
    for (int i = 0; i < MANY_ZONES; i += 487) {
        uint8_t desc[64];

        qtest_memread(g->qts, req.data_addr + 64 + i * 64, desc, 64);
        g_assert_cmpuint(scsi_parse_zone(desc).start, ==, i * MANY_ZONE);
    }
    scsi_guest_stop(g);
}

static void test_no_medium(void)
{
    g_autofree char *args =
        g_strdup_printf("-drive if=none,id=disk,format=zoned,file=%s",
                        zoned_image_new(SCSI_IMAGE_OPTIONS, IMAGE_SIZE));
    ScsiGuest *g = scsi_guest_start(&(ScsiGuestOptions) {
        .vm.no_image = true,
        .vm.args = args,
    });
    ScsiRequest req = scsi_report(0, 0, 4096);
    g_autofree char *answer = NULL;

    scsi_assert_usable(g);
    answer = qtest_hmp(g->qts, "drive_del disk");
    g_assert_cmpstr(answer, ==, "");
    assert_scsi(scsi_guest_do(g, &req, NULL), S_NO_MEDIUM);
    for (uint8_t action = CLOSE; action <= RESET; action++) {
        assert_scsi(scsi_op(g, action, SEQ), S_NO_MEDIUM);
        assert_scsi(scsi_op_all(g, action), S_NO_MEDIUM);
    }
    assert_scsi(scsi_write(g, SEQ, 8), S_NO_MEDIUM);
    assert_scsi(scsi_read(g, SEQ, 8), S_NO_MEDIUM);
    req = scsi_command(FORMAT_UNIT, 0, 0);
    assert_scsi(scsi_guest_do(g, &req, NULL), S_NO_MEDIUM);
    req = scsi_inquiry(0xb6, 64);
    assert_good(scsi_guest_do(g, &req, NULL));
    zoned_guest_assert_works(&g->vm);
    scsi_guest_end(g);
}

/* Thousands of zones, in a file that takes some time for a write */
static ScsiGuest *start_long(bool incoming, const char *image,
                             const char *more)
{
    g_autofree char *args = g_strdup_printf(
        "-object throttle-group,id=tg,x-iops-write=200 "
        "-blockdev driver=throttle,node-name=file,throttle-group=tg,"
        "file.driver=file,file.filename=%s "
        "-blockdev driver=zoned,node-name=disk,file=file -m 256 %s",
        image, more);

    return scsi_guest_start(&(ScsiGuestOptions) {
        .vm.no_image = true,
        .vm.args = args,
        .vm.device = STOP,
        .vm.incoming = incoming,
    });
}

static char *long_image(void)
{
    return zoned_image_new("zone_size=4k", "256M");
}

/* Requests of all kinds that take their time */
#define NR_LONG 10

static void queue_long(ScsiGuest *g, ScsiRequest *req)
{
    const uint64_t half = MANY_ZONES / 2 * MANY_ZONE;
    int n = 0;

    req[n++] = scsi_rw(g, WRITE_16, 0, 8);
    req[n++] = scsi_zbc_out(OPEN, half, 30000, 0);
    req[n++] = scsi_report(0, 0, 64 + MANY_ZONES * 64);
    req[n++] = scsi_zbc_out(RESET, 0x1000, 0, 0);
    req[n++] = scsi_report(0, 1, 128);
    req[n++] = scsi_rw(g, WRITE_VERIFY_16, 8, 8);
    req[n++] = scsi_zbc_out(FINISH, 0x2000, 100, 0);
    req[n++] = scsi_rw(g, READ_16, 0, 64);
    req[n++] = scsi_zbc_out(CLOSE, half, 20000, 0);
    req[n++] = scsi_command(SYNCHRONIZE_CACHE, 0, 0);
    g_assert_cmpint(n, ==, NR_LONG);
    for (int i = 0; i < n; i++) {
        scsi_guest_queue(g, &req[i]);
    }
    scsi_guest_kick(g);
}

static void unthrottle(ScsiGuest *g)
{
    qtest_qmp_assert_success(g->qts, "{ 'execute': 'qom-set', 'arguments': {"
                             " 'path': 'tg', 'property': 'limits',"
                             " 'value': { 'iops-write': 0 } } }");
}

/* All have succeeded, and there is what they have done. */
static void wait_long(ScsiGuest *g, ScsiRequest *req)
{
    for (int i = 0; i < NR_LONG; i++) {
        assert_good(scsi_guest_wait(g, &req[i]));
    }
    g_assert_cmpuint(be32_to_cpu(qtest_readl(g->qts, req[2].data_addr)), ==,
                     MANY_ZONES * 64);
    for (int i = 0; i < MANY_ZONES; i += 487) {
        uint8_t desc[64];

        qtest_memread(g->qts, req[2].data_addr + 64 + i * 64, desc, 64);
        g_assert_cmpuint(scsi_parse_zone(desc).start, ==, i * MANY_ZONE);
    }
}

static void assert_long_done(ScsiGuest *g)
{
    const uint64_t half = MANY_ZONES / 2 * MANY_ZONE;

    scsi_assert_zone(g, 0, FULL, NO_WP);
    scsi_assert_zone(g, 0x2000, FULL, NO_WP);
    scsi_assert_zone(g, 0x2000 + 99 * MANY_ZONE, FULL, NO_WP);
    scsi_assert_zone(g, 0x2000 + 100 * MANY_ZONE, EMPTY,
                     0x2000 + 100 * MANY_ZONE);
    /* These were either opened or closed last. */
    scsi_assert_zone(g, half + 29999 * MANY_ZONE, EOPEN,
                     half + 29999 * MANY_ZONE);
    scsi_assert_zone(g, half + 30000 * MANY_ZONE, EMPTY,
                     half + 30000 * MANY_ZONE);
}

/* Nothing is left of what was in flight; the disk is as good as new. */
static void assert_clean(ScsiGuest *g)
{
    unthrottle(g);
    for (int i = 0; i < 300; i++) {
        assert_good(scsi_read(g, 0, 8));
    }
    assert_good(scsi_op_all(g, RESET));
    scsi_assert_zone(g, 0, EMPTY, 0);
    assert_good(scsi_write(g, 0, 8));
    zoned_guest_assert_works(&g->vm);
}

/* No request of the guest's is forgotten by a reset of the disk. */
static void wait_reset(ScsiGuest *g, ScsiRequest *req)
{
    for (int i = 0; i < NR_LONG; i++) {
        uint32_t status = scsi_guest_wait(g, &req[i]);

        g_assert_true(status == SCSI_GOOD ||
                      status == SCSI_RESPONSE(VIRTIO_SCSI_S_RESET) ||
                      status == SCSI_RESPONSE(VIRTIO_SCSI_S_ABORTED) ||
                      status >> 16 == UNIT_ATTENTION);
    }
}

static void reset_by_tmf(uint32_t subtype)
{
    ScsiGuest *g = start_long(false, long_image(), "");

    for (int i = 0; i < 5; i++) {
        ScsiRequest req[NR_LONG];

        queue_long(g, req);
        g_usleep(i * 2000);
        g_assert_cmphex(scsi_guest_tmf(g, subtype, req[1].addr), ==,
                        VIRTIO_SCSI_S_OK);
        if (subtype == VIRTIO_SCSI_T_TMF_ABORT_TASK) {
            unthrottle(g);
        }
        wait_reset(g, req);
        for (int j = 0; j < NR_LONG; j++) {
            scsi_guest_free(g, &req[j]);
        }
        scsi_guest_take_attention(g);
        assert_good(scsi_op_all(g, RESET));
    }
    assert_clean(g);
    scsi_guest_stop(g);
}

static void test_reset_disk(void)
{
    reset_by_tmf(VIRTIO_SCSI_T_TMF_LOGICAL_UNIT_RESET);
}

static void test_reset_target(void)
{
    reset_by_tmf(VIRTIO_SCSI_T_TMF_I_T_NEXUS_RESET);
}

static void test_abort_all(void)
{
    reset_by_tmf(VIRTIO_SCSI_T_TMF_ABORT_TASK_SET);
}

static void test_abort_one(void)
{
    reset_by_tmf(VIRTIO_SCSI_T_TMF_ABORT_TASK);
}

/* The guest hears of a reset of its disk, and zones are as they were. */
static void test_reset_attention(void)
{
    ScsiGuest *g = scsi_guest_start_usual(STOP);

    assert_good(scsi_op(g, OPEN, SEQ));
    assert_good(scsi_write(g, SEQ + ZONE, 8));
    g_assert_cmphex(scsi_guest_tmf(g, VIRTIO_SCSI_T_TMF_LOGICAL_UNIT_RESET, 0),
                    ==, VIRTIO_SCSI_S_OK);
    g_assert_cmphex(scsi_op(g, CLOSE, SEQ) >> 8, ==,
                    SCSI_SENSE(UNIT_ATTENTION, 0x2900) >> 8);
    scsi_guest_take_attention(g);
    scsi_assert_zone(g, SEQ, EOPEN, SEQ);
    scsi_assert_zone(g, SEQ + ZONE, IOPEN, SEQ + ZONE + 8);
    scsi_assert_usable(g);
    scsi_guest_stop(g);
}

static void test_reset_machine(void)
{
    ScsiGuest *g = start_long(false, long_image(), "");

    for (int i = 0; i < 5; i++) {
        ScsiRequest req[NR_LONG];

        queue_long(g, req);
        g_usleep(i * 2000);
        qtest_system_reset(g->qts);
        scsi_guest_setup(g);
    }
    assert_clean(g);
    scsi_guest_stop(g);
}

static void test_reset_hba(void)
{
    ScsiGuest *g = start_long(false, long_image(), "");

    for (int i = 0; i < 5; i++) {
        ScsiRequest req[NR_LONG];

        queue_long(g, req);
        g_usleep(i * 2000);
        qvirtio_reset(g->vm.dev);
        scsi_guest_setup(g);
    }
    assert_clean(g);
    scsi_guest_stop(g);
}

/* A reset drops what waits for the VM to go on. */
static void test_reset_stopped(void)
{
    ScsiGuest *g = start_with_rules(CONV_FAILS, STOP);
    ScsiRequest req[MANY];

    queue_many(g, req);
    zoned_guest_await_stop(&g->vm);
    qtest_system_reset(g->qts);
    zoned_guest_cont(&g->vm);
    scsi_guest_setup(g);
    scsi_assert_usable(g);
    scsi_guest_stop(g);
}

static void test_unplug(void)
{
    ScsiGuest *g = start_long(false, long_image(), "");

    for (int i = 0; i < 5; i++) {
        ScsiRequest req[NR_LONG];

        queue_long(g, req);
        g_usleep(i * 2000);
        qtest_qmp_assert_success(g->qts, "{ 'execute': 'device_del',"
                                 " 'arguments': { 'id': 'sd' } }");
        qtest_qmp_eventwait(g->qts, "DEVICE_DELETED");
        scsi_guest_plug(g);
        scsi_guest_setup(g);
    }
    assert_clean(g);
    scsi_guest_stop(g);
}

static void stop(ScsiGuest *g)
{
    qtest_qmp_assert_success(g->qts, "{ 'execute': 'stop' }");
    zoned_guest_await_stop(&g->vm);
}

/* The VM stops, again and again, in the midst of what takes long. */
static void test_stop(void)
{
    ScsiGuest *g = start_long(false, long_image(), "");
    ScsiRequest req[NR_LONG];

    queue_long(g, req);
    for (int i = 0; i < 50; i++) {
        stop(g);
        zoned_guest_cont(&g->vm);
    }
    unthrottle(g);
    wait_long(g, req);
    assert_long_done(g);
    assert_clean(g);
    scsi_guest_stop(g);
}

/* While the VM is stopped, nothing happens to the guest's zones and memory. */
static void test_stopped(void)
{
    ScsiGuest *g = start_long(false, long_image(), "");
    ScsiRequest req[NR_LONG];
    bool done[NR_LONG];

    queue_long(g, req);
    stop(g);
    unthrottle(g);
    for (int i = 0; i < NR_LONG; i++) {
        done[i] = scsi_guest_is_done(g, &req[i]);
    }
    g_assert_false(done[1]);
    g_usleep(G_USEC_PER_SEC);
    for (int i = 0; i < NR_LONG; i++) {
        g_assert_cmpint(scsi_guest_is_done(g, &req[i]), ==, done[i]);
    }
    zoned_guest_cont(&g->vm);
    wait_long(g, req);
    assert_long_done(g);
    scsi_guest_stop(g);
}

/* The node is drained, again and again, in the midst of what takes long. */
static void test_drain(void)
{
    ScsiGuest *g = start_long(false, long_image(), "");
    ScsiRequest req[NR_LONG];

    queue_long(g, req);
    for (int i = 0; i < 50; i++) {
        qtest_qmp_assert_success(g->qts,
            "{ 'execute': 'blockdev-reopen', 'arguments': { 'options': ["
            " { 'driver': 'zoned', 'node-name': 'disk', 'file': 'file' }"
            " ] } }");
    }
    unthrottle(g);
    wait_long(g, req);
    assert_long_done(g);
    assert_clean(g);
    scsi_guest_stop(g);
}

/* QEMU ends. */
static void test_quit(void)
{
    for (int i = 0; i < 5; i++) {
        ScsiGuest *g = start_long(false, long_image(), "");
        ScsiRequest req[NR_LONG];

        queue_long(g, req);
        g_usleep(i * 2000);
        scsi_guest_end(g);
    }
}

/* Migrates to a file, and waits until that is done. */
static void migrate_to_file(ScsiGuest *g, const char *path)
{
    g_autofree char *uri = g_strdup_printf("file:%s", path);
    bool done;

    qtest_qmp_assert_success(g->qts, "{ 'execute': 'migrate',"
                             " 'arguments': { 'uri': %s } }", uri);
    do {
        QDict *answer = qtest_qmp_assert_success_ref(
            g->qts, "{ 'execute': 'query-migrate' }");
        const char *status = qdict_get_try_str(answer, "status");

        g_assert_cmpstr(status, !=, "failed");
        done = !g_strcmp0(status, "completed");
        qobject_unref(answer);
    } while (!done);
}

/* Has a VM come from that file. */
static void migrate_from_file(ScsiGuest *g, const char *path)
{
    g_autofree char *uri = g_strdup_printf("file:%s", path);

    qtest_qmp_assert_success(g->qts, "{ 'execute': 'migrate-incoming',"
                             " 'arguments': { 'uri': %s } }", uri);
    zoned_guest_wait_incoming(&g->vm);
}

/*
 * What is in flight when the VM is stopped goes on where it goes on, and not
 * where it was.
 */
static void test_migration(void)
{
    for (int i = 0; i < 4; i++) {
        g_autofree char *path = NULL;
        const char *image = long_image();
        ScsiGuest *from = start_long(false, image, ""), *to;
        ScsiRequest req[NR_LONG];
        int fd = g_file_open_tmp("scsi-zoned.XXXXXX", &path, NULL);

        g_assert_cmpint(fd, >=, 0);
        close(fd);
        queue_long(from, req);
        g_usleep(i * 3000);
        stop(from);
        unthrottle(from);
        migrate_to_file(from, path);

        to = start_long(true, image, "-incoming defer");
        migrate_from_file(to, path);
        zoned_guest_cont(&to->vm);
        unthrottle(to);
        scsi_guest_inherit(to, from);
        wait_long(to, req);
        scsi_guest_setup(to);
        assert_long_done(to);
        assert_clean(to);
        scsi_guest_stop(to);
        scsi_guest_end(from);
        unlink(path);
    }
}

/* Requests that have stopped the VM are repeated where it goes on. */
static void test_migration_error(void)
{
    g_autofree char *path = NULL;
    ScsiGuestOptions opts = {
        .vm.image = zoned_image_new(SCSI_IMAGE_OPTIONS, IMAGE_SIZE),
        .vm.rules = CONV_FAILS,
        .vm.device = STOP,
    };
    ScsiGuest *from = scsi_guest_start(&opts), *to;
    ScsiRequest req[MANY];
    int fd = g_file_open_tmp("scsi-zoned.XXXXXX", &path, NULL);

    g_assert_cmpint(fd, >=, 0);
    close(fd);
    queue_many(from, req);
    zoned_guest_await_stop(&from->vm);
    migrate_to_file(from, path);

    opts.vm.rules = NULL;
    opts.vm.args = "-incoming defer";
    opts.vm.incoming = true;
    to = scsi_guest_start(&opts);
    migrate_from_file(to, path);
    zoned_guest_cont(&to->vm);
    scsi_guest_inherit(to, from);
    wait_many(to, req);
    scsi_guest_setup(to);
    scsi_assert_usable(to);
    scsi_guest_stop(to);
    scsi_guest_end(from);
    unlink(path);
}

int main(int argc, char **argv)
{
    if (!zoned_guest_init(&argc, &argv)) {
        return g_test_run();
    }

    scsi_guest_add_test("scsi-zoned-host/error/write", test_error_write);
    scsi_guest_add_test("scsi-zoned-host/error/write-same",
                        test_error_write_same);
    scsi_guest_add_test("scsi-zoned-host/error/report", test_error_report);
    scsi_guest_add_test("scsi-zoned-host/error/mgmt", test_error_mgmt);
    scsi_guest_add_test("scsi-zoned-host/error/mgmt-report",
                        test_error_mgmt_report);
    scsi_guest_add_test("scsi-zoned-host/error/format", test_error_format);
    scsi_guest_add_test("scsi-zoned-host/error/read", test_error_read);
    scsi_guest_add_test("scsi-zoned-host/error/flush", test_error_flush);
    scsi_guest_add_test("scsi-zoned-host/error/synchronize",
                        test_error_synchronize);
    scsi_guest_add_test("scsi-zoned-host/error/write-through",
                        test_error_write_through);
    scsi_guest_add_test("scsi-zoned-host/error/mistake", test_error_mistake);
    scsi_guest_add_test("scsi-zoned-host/error/many", test_error_many);
    scsi_guest_add_test("scsi-zoned-host/error/zones", test_error_zones);
    scsi_guest_add_test("scsi-zoned-host/like-host/stop", test_like_host_stop);
    scsi_guest_add_test("scsi-zoned-host/like-host/report",
                        test_like_host_report);
    scsi_guest_add_test("scsi-zoned-host/no-medium", test_no_medium);
    scsi_guest_add_test("scsi-zoned-host/reset/disk", test_reset_disk);
    scsi_guest_add_test("scsi-zoned-host/reset/target", test_reset_target);
    scsi_guest_add_test("scsi-zoned-host/reset/attention",
                        test_reset_attention);
    scsi_guest_add_test("scsi-zoned-host/reset/machine", test_reset_machine);
    scsi_guest_add_test("scsi-zoned-host/reset/hba", test_reset_hba);
    scsi_guest_add_test("scsi-zoned-host/reset/stopped", test_reset_stopped);
    scsi_guest_add_test("scsi-zoned-host/abort/all", test_abort_all);
    scsi_guest_add_test("scsi-zoned-host/abort/one", test_abort_one);
    scsi_guest_add_test("scsi-zoned-host/unplug", test_unplug);
    scsi_guest_add_test("scsi-zoned-host/stop", test_stop);
    scsi_guest_add_test("scsi-zoned-host/stopped", test_stopped);
    scsi_guest_add_test("scsi-zoned-host/drain", test_drain);
    scsi_guest_add_test("scsi-zoned-host/quit", test_quit);
    scsi_guest_add_test("scsi-zoned-host/migration/in-flight",
                        test_migration);
    scsi_guest_add_test("scsi-zoned-host/migration/error",
                        test_migration_error);

    return g_test_run();
}

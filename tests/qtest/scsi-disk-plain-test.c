/*
 * QTest testcase for SCSI disks without zones: requests made by hand
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qemu/units.h"
#include "libqos/libqos-pc.h"
#include "scsi-zoned-guest.h"

#define FUA 0x08
#define SIZE (1 * MiB)

static void remove_file(void *path)
{
    unlink(path);
    g_free(path);
}

/* A sparse file, removed at exit */
static char *file_new(uint64_t size)
{
    char *path;
    int fd = g_file_open_tmp("scsi-disk-plain.XXXXXX", &path, NULL);

    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(ftruncate(fd, size), ==, 0);
    close(fd);
    g_test_queue_destroy(remove_file, path);
    return path;
}

/* A disk in a file of that format that fails as rules of blkdebug say */
static ScsiGuest *start_format(const char *format, const char *file,
                               const char *rules, const char *device)
{
    g_autofree char *args = g_strdup_printf(
        "-blockdev driver=blkdebug,node-name=file,image.driver=file,"
        "image.filename=%s%s -blockdev driver=%s,node-name=disk,file=file",
        file, rules, format);
    const char *block = strstr(device, "logical_block_size=");

    return scsi_guest_start(&(ScsiGuestOptions) {
        .vm.no_image = true,
        .vm.args = args,
        .vm.device = device,
        .block_size = block ? atoi(strchr(block, '=') + 1) : 512,
    });
}

static ScsiGuest *start(const char *file, const char *rules,
                        const char *device)
{
    return start_format("raw", file, rules, device);
}

static void write_bytes(ScsiGuest *g, uint64_t lba, uint32_t blocks,
                        uint8_t byte)
{
    ScsiRequest req = scsi_rw(g, WRITE_16, lba, blocks);
    g_autofree uint8_t *data = g_malloc(req.out_len);

    memset(data, byte, req.out_len);
    req.out = data;
    assert_good(scsi_guest_do(g, &req, NULL));
}

static void assert_bytes(ScsiGuest *g, uint64_t lba, uint32_t blocks,
                         uint8_t byte)
{
    ScsiRequest req = scsi_rw(g, READ_16, lba, blocks);
    g_autofree uint8_t *data = g_malloc(req.in_len);

    assert_good(scsi_guest_do(g, &req, data));
    g_assert_cmpuint(g->last.residual, ==, 0);
    for (size_t i = 0; i < req.in_len; i++) {
        g_assert_cmphex(data[i], ==, byte);
    }
}

/* Without data, WRITE SAME writes zeroes; with some, that. */
static void test_write_same(void)
{
    static const uint8_t opcodes[] = { WRITE_SAME_10, WRITE_SAME_16 };
    ScsiGuest *g = start(file_new(SIZE), "", STOP);

    for (int i = 0; i < ARRAY_SIZE(opcodes); i++) {
        write_bytes(g, 0, 64, 'o');
        assert_good(scsi_same(g, opcodes[i], 8, 8, NDOB, 0));
        assert_bytes(g, 0, 8, 'o');
        assert_bytes(g, 8, 8, 0);
        assert_bytes(g, 16, 8, 'o');
        assert_good(scsi_same(g, opcodes[i], 24, 8, 0, 0));
        assert_bytes(g, 24, 8, 0);
        assert_good(scsi_same(g, opcodes[i], 40, 8, 0, 's'));
        assert_bytes(g, 32, 8, 'o');
        assert_bytes(g, 40, 8, 's');
        assert_bytes(g, 48, 8, 'o');
        assert_scsi(scsi_same(g, opcodes[i], 0, 0, NDOB, 0),
                    S_INVALID_FIELD);
        assert_scsi(scsi_same(g, opcodes[i], SIZE / 512 - 1, 2, NDOB, 0),
                    S_OUT_OF_RANGE);
    }
    scsi_guest_stop(g);
}

/* More than 4 GiB: that is not taken modulo 4 GiB. */
static void test_write_same_large(void)
{
    const uint64_t size = 8 * GiB + MiB;
    const char *file = file_new(size);
    ScsiGuest *g = start(file, "", STOP BLOCK_4K);
    uint64_t end = 4 * GiB / 4096;

    /* Beyond what 4 GiB and a bit are modulo 4 GiB */
    write_bytes(g, 1, 1, 'l');
    write_bytes(g, end - 1, 4, 'l');
    assert_good(scsi_same(g, WRITE_SAME_16, 0, end + 1, 0, 0));
    assert_bytes(g, 1, 1, 0);
    assert_bytes(g, end - 1, 2, 0);
    assert_bytes(g, end + 1, 2, 'l');
    write_bytes(g, end - 1, 4, 'l');
    assert_good(scsi_same(g, WRITE_SAME_16, 0, end, NDOB, 0));
    assert_bytes(g, end - 1, 1, 0);
    assert_bytes(g, end, 3, 'l');
    scsi_guest_stop(g);
}

/*
 * Data that is not zero, for more than 1 TiB: the number of sectors does not
 * become negative.  The drive fails soon, so that it does not take long.
 */
static void test_write_same_huge(void)
{
    g_autofree char *args = g_strdup_printf(
        "-blockdev driver=null-co,node-name=null,size=%" PRIu64
        ",read-zeroes=on -blockdev driver=blkdebug,node-name=disk,image=null,"
        "inject-error.0.event=none,inject-error.0.iotype=write,"
        "inject-error.0.errno=5,inject-error.0.sector=8192", 4 * TiB);
    ScsiGuest *g = scsi_guest_start(&(ScsiGuestOptions) {
        .vm.no_image = true,
        .vm.args = args,
        .vm.device = "werror=report" BLOCK_4K,
        .block_size = 4096,
    });

    /* If it were negative, nothing would be written, or with a crash. */
    assert_scsi(scsi_same(g, WRITE_SAME_16, 0, TiB / 4096 + 1, 0, 'h'),
                SCSI_SENSE(ABORTED_COMMAND, 0x0006));
    assert_scsi(scsi_same(g, WRITE_SAME_16, 0, 2 * (TiB / 4096) + 1, 0, 'h'),
                SCSI_SENSE(ABORTED_COMMAND, 0x0006));
    assert_good(scsi_same(g, WRITE_SAME_16, 0, 100, 0, 'h'));
    scsi_guest_stop(g);
}

/* The guest has more data, or room, than its command asks for. */
static void test_excess(void)
{
    const uint64_t last = SIZE / 512 - 8;
    ScsiGuest *g = start(file_new(SIZE), "", STOP);
    g_autofree uint8_t *data = g_malloc(16 * 512);

    memset(data, 'x', 16 * 512);
    for (unsigned segments = 1; segments < 20; segments += 3) {
        ScsiRequest req = scsi_rw(g, WRITE_16, 64, 8);

        write_bytes(g, 64, 16, 'o');
        req.out = data;
        req.out_len = 16 * 512;
        req.segments = segments;
        assert_good(scsi_guest_do(g, &req, NULL));
        g_assert_cmpuint(g->last.residual, ==, 0);
        assert_bytes(g, 64, 8, 'x');
        assert_bytes(g, 72, 8, 'o');

        req = scsi_rw(g, READ_16, 64, 8);
        req.in_len = 16 * 512;
        req.segments = segments;
        scsi_guest_queue(g, &req);
        qtest_memset(g->qts, req.data_addr, 0x55, req.in_len);
        scsi_guest_kick(g);
        assert_good(scsi_guest_wait(g, &req));
        g_assert_cmpuint(g->last.residual, ==, 0);
        g_assert_cmphex(qtest_readb(g->qts, req.data_addr + 4095), ==, 'x');
        g_assert_cmphex(qtest_readb(g->qts, req.data_addr + 4096), ==, 0x55);
        scsi_guest_free(g, &req);

        /* Over the end of the disk */
        req = scsi_rw(g, WRITE_16, last, 8);
        req.out_len = 16 * 512;
        req.segments = segments;
        assert_good(scsi_guest_do(g, &req, NULL));
        req = scsi_rw(g, READ_16, last, 8);
        req.in_len = 16 * 512;
        req.segments = segments;
        assert_good(scsi_guest_do(g, &req, NULL));
    }
    scsi_guest_stop(g);
}

/* The host fails it, and it is repeated. */
static void fail_and_repeat(ScsiGuest *g, ScsiRequest *req)
{
    scsi_guest_queue(g, req);
    scsi_guest_kick(g);
    zoned_guest_await_stop(&g->vm);
    zoned_guest_cont(&g->vm);
    assert_good(scsi_guest_wait(g, req));
    g_assert_cmpuint(g->last.residual, ==, 0);
    scsi_guest_free(g, req);
}

static void test_repeat(void)
{
    ScsiGuest *g = start(file_new(SIZE),
                         ",inject-error.0.event=none,"
                         "inject-error.0.iotype=write,inject-error.0.errno=28,"
                         "inject-error.0.once=on,inject-error.0.sector=8,"
                         "inject-error.1.event=none,"
                         "inject-error.1.iotype=read,inject-error.1.errno=5,"
                         "inject-error.1.once=on,inject-error.1.sector=8",
                         STOP);
    ScsiRequest req = scsi_rw(g, WRITE_16, 8, 8);
    g_autofree uint8_t *data = g_malloc(req.out_len);

    memset(data, 'r', req.out_len);
    req.out = data;
    fail_and_repeat(g, &req);
    req = scsi_rw(g, READ_16, 8, 8);
    fail_and_repeat(g, &req);
    assert_bytes(g, 8, 8, 'r');
    assert_bytes(g, 16, 8, 0);
    scsi_guest_stop(g);
}

/*
 * What is written stays as it is when the flush behind it is repeated.  The
 * format has no FUA, so that there is such a flush; all blocks are there.
 */
static void test_repeat_flush(void)
{
    const char *file = file_new(SIZE);
    g_autofree uint8_t *data = NULL;
    ScsiRequest req;
    ScsiGuest *g;

    g_assert_true(mkimg(file, "qcow2 -o preallocation=metadata", SIZE / MiB));
    g = start_format("qcow2", file,
                     ",inject-error.0.event=none,"
                     "inject-error.0.iotype=flush,inject-error.0.errno=5,"
                     "inject-error.0.once=on", STOP);
    req = scsi_rw(g, WRITE_16, 8, 8);
    data = g_malloc(req.out_len);
    memset(data, 'f', req.out_len);
    req.out = data;
    req.cdb[1] = FUA;
    fail_and_repeat(g, &req);
    assert_bytes(g, 0, 8, 0);
    assert_bytes(g, 8, 8, 'f');
    assert_bytes(g, 16, 16, 0);
    scsi_guest_stop(g);
}

/* The flush in front of a read with FUA is repeated with it. */
static void test_repeat_read(void)
{
    ScsiGuest *g = start(file_new(SIZE),
                         ",inject-error.0.event=none,"
                         "inject-error.0.iotype=flush,inject-error.0.errno=5,"
                         "inject-error.0.once=on", STOP);
    ScsiRequest req = scsi_rw(g, WRITE_16, 8, 8);

    /* There must be something to be flushed. */
    assert_good(scsi_guest_do(g, &req, NULL));
    req = scsi_rw(g, READ_16, 8, 8);
    req.cdb[1] = FUA;
    fail_and_repeat(g, &req);
    zoned_guest_assert_stat(&g->vm, "flush_operations", 1);
    scsi_guest_stop(g);
}

/* ZBC OUT has no data: where others have its length, it has a count. */
static void test_no_zones(void)
{
    ScsiGuest *g = start(file_new(SIZE), "", STOP);
    ScsiRequest req = scsi_zbc_out(OPEN, 0, UINT16_MAX, 0);

    assert_scsi(scsi_guest_do(g, &req, NULL), S_INVALID_OPCODE);
    scsi_guest_stop(g);
}

/* The disk goes, and comes back, amid commands of many parts. */
static void test_unplug(void)
{
    ScsiGuest *g = start(file_new(16 * MiB), "", STOP);

    for (int i = 0; i < 20; i++) {
        ScsiRequest req[16];
        g_autofree uint8_t *data = g_malloc0(512);

        data[0] = 'u';
        for (int j = 0; j < ARRAY_SIZE(req); j++) {
            req[j] = scsi_rw(g, WRITE_SAME_16, 0, 16 * MiB / 512);
            req[j].out = data;
            req[j].out_len = 512;
            scsi_guest_queue(g, &req[j]);
        }
        scsi_guest_kick(g);
        g_usleep(i * 500);
        qtest_qmp_assert_success(g->qts, "{ 'execute': 'device_del',"
                                 " 'arguments': { 'id': 'sd' } }");
        qtest_qmp_eventwait(g->qts, "DEVICE_DELETED");
        scsi_guest_plug(g);
        scsi_guest_setup(g);
    }
    scsi_guest_stop(g);
}

/*
 * The disk goes while an iothread takes many commands from a queue: it has
 * found the disk for all of them before the first one is in the disk's list.
 */
static void test_unplug_queue(void)
{
    ScsiGuest *g = start(file_new(MiB), "", STOP);

    for (int i = 0; i < 20; i++) {
        ScsiRequest req[60];
        gint64 end;

        for (int j = 0; j < ARRAY_SIZE(req); j++) {
            req[j] = scsi_rw(g, READ_16, j, 1);
            req[j].in_len = 512;
            scsi_guest_queue(g, &req[j]);
        }
        qtest_qmp_send(g->qts, "{ 'execute': 'device_del',"
                       " 'arguments': { 'id': 'sd' } }");
        end = g_get_monotonic_time() + i * 10;
        while (g_get_monotonic_time() < end) {
            /* With less delay than g_usleep() has */
        }
        scsi_guest_kick(g);
        qobject_unref(qtest_qmp_receive(g->qts));
        qtest_qmp_eventwait(g->qts, "DEVICE_DELETED");
        scsi_guest_plug(g);
        scsi_guest_setup(g);
    }
    scsi_guest_stop(g);
}

/* What megasas is told by, and what it says when that is not done */
#define MFI_IQP 0x40
#define MFI_LD_READ 1
#define MFI_LD_WRITE 2
#define MFI_PD_SCSI_IO 4
#define MFI_PENDING 0xff

typedef struct Megasas {
    QOSState *qs;
    QPCIDevice *pci;
    QPCIBar bar;
    uint64_t frame;
} Megasas;

/* Sends a frame that has no data and no list of memory: its SCSI status */
static uint8_t megasas_do(Megasas *m, uint8_t frame_cmd, uint8_t blocks,
                          const uint8_t *cdb, uint8_t cdb_len)
{
    uint8_t frame[4096] = { frame_cmd, 0, MFI_PENDING };

    frame[6] = cdb_len;
    frame[16] = blocks;
    memcpy(&frame[32], cdb, cdb_len);
    qtest_memwrite(m->qs->qts, m->frame, frame, sizeof(frame));
    qpci_io_writel(m->pci, m->bar, MFI_IQP, m->frame);
    while (qtest_readb(m->qs->qts, m->frame + 2) == MFI_PENDING) {
        qtest_clock_step(m->qs->qts, 1000);
    }
    return qtest_readb(m->qs->qts, m->frame + 3);
}

/*
 * Commands without data, and such as should have some and do not: who lists no
 * memory gets nothing, and QEMU goes on.
 */
static void test_no_list(void)
{
    static const uint8_t ready[6] = { TEST_UNIT_READY };
    static const uint8_t cdbs[][10] = {
        { READ_10, [8] = 1 }, { WRITE_10, [8] = 1 }, { WRITE_10, FUA, [8] = 1 },
        { READ_6 }, { INQUIRY, [4] = 36 }, { WRITE_SAME_10, [8] = 1 },
        { UNMAP, [8] = 24 }, { MODE_SELECT_10, [8] = 8 },
    };
    Megasas m = {
        .qs = qtest_pc_boot("-machine pc -nodefaults -device megasas,addr=4 "
                            "-blockdev driver=null-co,node-name=disk,"
                            "size=1048576,read-zeroes=on "
                            "-device scsi-hd,drive=disk"),
    };

    m.pci = qpci_device_find(m.qs->pcibus, QPCI_DEVFN(4, 0));
    g_assert_nonnull(m.pci);
    qpci_device_enable(m.pci);
    m.bar = qpci_iomap(m.pci, 0, NULL);
    m.frame = guest_alloc(&m.qs->alloc, 4096);

    g_assert_cmphex(megasas_do(&m, MFI_PD_SCSI_IO, 0, ready, 6), ==, GOOD);
    for (int i = 0; i < ARRAY_SIZE(cdbs); i++) {
        megasas_do(&m, MFI_PD_SCSI_IO, 0, cdbs[i], 10);
        megasas_do(&m, MFI_LD_READ, i, cdbs[i], 0);
        megasas_do(&m, MFI_LD_WRITE, i, cdbs[i], 0);
    }
    g_assert_cmphex(megasas_do(&m, MFI_PD_SCSI_IO, 0, ready, 6), ==, GOOD);

    g_free(m.pci);
    qtest_shutdown(m.qs);
}

int main(int argc, char **argv)
{
    if (!zoned_guest_init(&argc, &argv)) {
        return g_test_run();
    }

    scsi_guest_add_test("scsi-disk-plain/write-same", test_write_same);
    scsi_guest_add_test("scsi-disk-plain/write-same-large",
                        test_write_same_large);
    scsi_guest_add_test("scsi-disk-plain/write-same-huge",
                        test_write_same_huge);
    scsi_guest_add_test("scsi-disk-plain/excess", test_excess);
    scsi_guest_add_test("scsi-disk-plain/repeat", test_repeat);
    scsi_guest_add_test("scsi-disk-plain/repeat-flush", test_repeat_flush);
    scsi_guest_add_test("scsi-disk-plain/repeat-read", test_repeat_read);
    scsi_guest_add_test("scsi-disk-plain/no-zones", test_no_zones);
    scsi_guest_add_test("scsi-disk-plain/unplug", test_unplug);
    zoned_guest_add_iothread_test("scsi-disk-plain/unplug-queue",
                                  test_unplug_queue);
    if (qtest_has_device("megasas")) {
        qtest_add_func("scsi-disk-plain/no-list", test_no_list);
    }

    return g_test_run();
}

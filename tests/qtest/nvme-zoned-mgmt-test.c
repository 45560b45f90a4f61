/*
 * QTest testcase for operations on zones of a zoned image, and reports of them,
 * through NVMe
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qemu/cutils.h"
#include "nvme-zns-guest.h"
#include "virtio-blk-zoned-guest.h"

/* More zones than are asked for at once, in a buffer of many pages */
static void test_many_zones(void)
{
    ZnsGuest *g = zns_start_image(&(ZnsMachine) {
        .image = zoned_image_new("zone_size=4k", "4M"),
    });
    NvmeZoneReportHeader header;
    NvmeZoneDescr descr;
    NvmeCmd cmd;

    for (int i = 1; i < 1024; i += 2) {
        assert_success(zns_manage(g, NVME_ZONE_ACTION_FINISH, i * 8));
    }
    assert_success(zns_do(g, zns_receive(g, 0, 0, false, ZNS_BUFFER)));
    qtest_memread(g->qts, g->buffer, &header, sizeof(header));
    g_assert_cmpuint(le64_to_cpu(header.nr_zones), ==, 1024);
    for (int i = 0; i < 1024; i++) {
        qtest_memread(g->qts, g->buffer + (i + 1) * sizeof(descr), &descr,
                      sizeof(descr));
        g_assert_cmpuint(le64_to_cpu(descr.zslba), ==, i * 8);
        g_assert_cmphex(descr.zs >> 4, ==, i % 2 ? NVME_ZONE_STATE_FULL :
                                                   NVME_ZONE_STATE_EMPTY);
    }

    cmd = zns_receive(g, 8, NVME_ZONE_REPORT_FULL, true,
                      sizeof(header) + 100 * sizeof(descr));
    assert_success(zns_do(g, cmd));
    qtest_memread(g->qts, g->buffer, &header, sizeof(header));
    g_assert_cmpuint(le64_to_cpu(header.nr_zones), ==, 100);
    qtest_memread(g->qts, g->buffer + 100 * sizeof(descr), &descr,
                  sizeof(descr));
    g_assert_cmpuint(le64_to_cpu(descr.zslba), ==, (1 + 2 * 99) * 8);
    zns_stop(g);
}

/* The guest's buffer is where there is no memory, or at a device. */
static void test_bad_memory(void)
{
    static const uint64_t bad[] = { 1ull << 40, 0xfee00000, 0xfec00000 };
    ZnsGuest *g = zns_start_usual("", "");

    for (int i = 0; i < ARRAY_SIZE(bad); i++) {
        NvmeCmd cmd = zns_receive(g, 0, 0, false, 4096);

        cmd.dptr.prp1 = cpu_to_le64(bad[i]);
        assert_status(zns_do(g, cmd), NVME_DATA_TRAS_ERROR);
        /* Only the second page is bad. */
        cmd = zns_receive(g, 0, 0, false, 4096);
        cmd.dptr.prp1 = cpu_to_le64(g->buffer + 4096 - 128);
        cmd.dptr.prp2 = cpu_to_le64(bad[i]);
        assert_status(zns_do(g, cmd), NVME_DATA_TRAS_ERROR);
    }
    zns_assert_usable(g);
    zns_stop(g);
}

/* A guest that knows nothing of the image's limits gets it all */
static void test_no_limits(void)
{
    ZnsGuest *g = zns_start_image(&(ZnsMachine) {
        .image = zoned_image_new("zone_size=64k", "512k"),
        .namespace = ",zoned=on,zoned.zone_size=64k",
    });
    g_autofree NvmeIdNsZoned *zoned = g_new(NvmeIdNsZoned, 1);

    zns_identify(g, NVME_ID_CNS_CS_NS, NVME_CSI_ZONED, zoned);
    g_assert_cmphex(le32_to_cpu(zoned->mor), ==, UINT32_MAX);
    g_assert_cmphex(le32_to_cpu(zoned->mar), ==, UINT32_MAX);
    for (int i = 0; i < 8; i++) {
        assert_success(zns_manage(g, NVME_ZONE_ACTION_OPEN, Z(i)));
    }
    zns_stop(g);
}

/* For a node, all of a device with one zone is that zone. */
static void test_one_zone(void)
{
    ZnsGuest *g = zns_start_image(&(ZnsMachine) {
        .image = zoned_image_new("zone_size=64k", "64k"),
    });

    assert_success(zns_manage_all(g, NVME_ZONE_ACTION_OPEN));
    assert_success(zns_manage_all(g, NVME_ZONE_ACTION_FINISH));
    assert_success(zns_manage_all(g, NVME_ZONE_ACTION_CLOSE));
    assert_zone(g, 0, EMPTY, Z(0));
    assert_success(zns_write(g, 0, 8));
    assert_success(zns_manage_all(g, NVME_ZONE_ACTION_CLOSE));
    assert_zone(g, 0, CLOSED, 8);
    assert_success(zns_manage_all(g, NVME_ZONE_ACTION_OPEN));
    assert_zone(g, 0, EXPLICITLY_OPEN, 8);
    assert_success(zns_manage_all(g, NVME_ZONE_ACTION_FINISH));
    assert_zone(g, 0, FULL, NO_WP);
    assert_success(zns_manage_all(g, NVME_ZONE_ACTION_CLOSE));
    assert_success(zns_manage_all(g, NVME_ZONE_ACTION_RESET));
    assert_zone(g, 0, EMPTY, Z(0));
    zns_stop(g);
}

/* A guest takes zones that can only be read offline, one or all, for good. */
static void test_offline(void)
{
    const char *image = zns_worn_image_new();
    ZnsGuest *g;

    zns_image_set_zone(image, 4, NVME_ZONE_STATE_READ_ONLY, Z(4));
    zns_image_set_zone(image, 5, NVME_ZONE_STATE_READ_ONLY, Z(5) + 8);
    g = zns_start_image(&(ZnsMachine) { .image = image });
    assert_success(zns_manage(g, NVME_ZONE_ACTION_OFFLINE, Z(1)));
    assert_zone(g, 1, OFFLINE, NO_WP);
    assert_status(zns_read(g, Z(1), 8), NVME_ZONE_OFFLINE);
    assert_success(zns_manage(g, NVME_ZONE_ACTION_OFFLINE, Z(2)));
    assert_status(zns_manage(g, NVME_ZONE_ACTION_OFFLINE, Z(3)),
                  NVME_ZONE_INVAL_TRANSITION);
    assert_status(zns_manage(g, NVME_ZONE_ACTION_OFFLINE, Z(4) + 1),
                  NVME_INVALID_FIELD);
    assert_zone(g, 4, READ_ONLY, NO_WP);
    assert_success(zns_manage_all(g, NVME_ZONE_ACTION_OFFLINE));
    assert_zone(g, 3, EMPTY, Z(3));
    assert_zone(g, 4, OFFLINE, NO_WP);
    assert_zone(g, 5, OFFLINE, NO_WP);
    zns_stop(g);

    g = zns_start_image(&(ZnsMachine) { .image = image });
    assert_zone(g, 1, OFFLINE, NO_WP);
    assert_zone(g, 5, OFFLINE, NO_WP);
    zns_assert_usable(g);
    zns_stop(g);
}

#define EXTENSION 128

static char *new_extended_image(void)
{
    return zoned_image_new("zone_size=64k,max_open_zones=2,max_active_zones=2,"
                           "zd_extension_size=128", ZNS_IMAGE_SIZE);
}

/* Sets the descriptor extension of a zone to bytes of a letter. */
static uint16_t extend(ZnsGuest *g, int zone, char letter)
{
    qtest_memset(g->qts, g->buffer, letter, EXTENSION);
    return zns_manage(g, NVME_ZONE_ACTION_SET_ZD_EXT, Z(zone));
}

/*
 * Asserts what an extended report says of all zones; *@letters has the letter
 * of each zone's extension, or a space for those without.
 */
static void assert_extensions(ZnsGuest *g, const char *letters)
{
    NvmeCmd cmd = zns_receive(g, 0, NVME_ZONE_REPORT_ALL, false, 8192);
    uint64_t addr = g->buffer + sizeof(NvmeZoneReportHeader);
    NvmeZoneDescr descr;
    char extension[EXTENSION];

    cmd.cdw13 |= cpu_to_le32(NVME_ZONE_REPORT_EXTENDED);
    qtest_memset(g->qts, g->buffer, 0xa5, 8192);
    assert_success(zns_do(g, cmd));
    for (int i = 0; i < ZNS_NR_ZONES; i++) {
        char letter = letters[i] == ' ' ? 0 : letters[i];

        qtest_memread(g->qts, addr, &descr, sizeof(descr));
        qtest_memread(g->qts, addr + sizeof(descr), extension, EXTENSION);
        g_assert_cmpuint(le64_to_cpu(descr.zslba), ==, Z(i));
        g_assert_cmphex(descr.za, ==, letter ? NVME_ZA_ZD_EXT_VALID : 0);
        g_assert_cmpint(extension[0], ==, letter);
        g_assert_cmpint(extension[EXTENSION - 1], ==, letter);
        addr += sizeof(descr) + EXTENSION;
    }
    g_assert_cmphex(qtest_readb(g->qts, addr), ==, 0xa5);
}

static void test_extension(void)
{
    const char *image = new_extended_image();
    ZnsGuest *g = zns_start_image(&(ZnsMachine) {
        .image = image,
        .namespace = ",zoned.descr_ext_size=128",
    });
    g_autofree NvmeIdNsZoned *zoned = g_new(NvmeIdNsZoned, 1);

    zns_identify(g, NVME_ID_CNS_CS_NS, NVME_CSI_ZONED, zoned);
    g_assert_cmpuint(zoned->lbafe[0].zdes, ==, EXTENSION / 64);
    assert_extensions(g, "        ");
    assert_success(extend(g, 1, 'a'));
    assert_zone(g, 1, CLOSED, Z(1));
    assert_status(extend(g, 1, 'b'), NVME_ZONE_INVAL_TRANSITION);
    assert_success(extend(g, 2, 'c'));
    assert_status(extend(g, 3, 'd'), NVME_ZONE_TOO_MANY_ACTIVE);
    assert_extensions(g, " ac     ");
    assert_success(zns_write(g, Z(1), 8));
    assert_success(zns_manage(g, NVME_ZONE_ACTION_FINISH, Z(1)));
    assert_success(zns_manage(g, NVME_ZONE_ACTION_OPEN, Z(2)));
    zns_stop(g);

    g = zns_start_image(&(ZnsMachine) { .image = image });
    assert_zone(g, 2, CLOSED, Z(2));
    assert_extensions(g, " ac     ");
    assert_success(zns_manage(g, NVME_ZONE_ACTION_RESET, Z(1)));
    assert_extensions(g, "  c     ");
    assert_success(extend(g, 1, 'e'));
    assert_extensions(g, " ec     ");
    zns_assert_usable(g);
    assert_extensions(g, "        ");
    zns_stop(g);
}

static void test_extension_refused(void)
{
    ZnsGuest *g = zns_start_image(&(ZnsMachine) {
        .image = new_extended_image(),
    });
    NvmeCmd cmd;

    assert_status(zns_manage_all(g, NVME_ZONE_ACTION_SET_ZD_EXT),
                  NVME_INVALID_FIELD);
    assert_status(zns_manage(g, NVME_ZONE_ACTION_SET_ZD_EXT, Z(1) + 1),
                  NVME_INVALID_FIELD);
    assert_status(zns_manage(g, NVME_ZONE_ACTION_SET_ZD_EXT, ZNS_BLOCKS),
                  NVME_LBA_RANGE);
    cmd = zns_send(g, NVME_ZONE_ACTION_SET_ZD_EXT, Z(1));
    cmd.dptr.prp1 = cpu_to_le64(1ull << 40);
    zns_do(g, cmd);
    assert_success(zns_manage(g, NVME_ZONE_ACTION_RESET, Z(1)));

    /* A buffer that ends in the midst of an entry */
    assert_success(extend(g, 1, 'a'));
    for (size_t len = 64; len <= 64 + 3 * (64 + EXTENSION); len += 4) {
        cmd = zns_receive(g, 0, NVME_ZONE_REPORT_ALL, true, len);
        cmd.cdw13 |= cpu_to_le32(NVME_ZONE_REPORT_EXTENDED);
        qtest_memset(g->qts, g->buffer, 0xa5, 4096);
        assert_success(zns_do(g, cmd));
        g_assert_cmpuint(qtest_readq(g->qts, g->buffer), ==,
                         (len - 64) / (64 + EXTENSION));
        g_assert_cmphex(qtest_readb(g->qts, g->buffer + len), ==, 0xa5);
    }
    zns_assert_usable(g);
    zns_stop(g);
}

/* Format NVM, with the format that the namespace has */
static uint16_t format(ZnsGuest *g, uint32_t nsid)
{
    NvmeCmd cmd = zns_command(g, NVME_ADM_CMD_FORMAT_NVM, 0);

    cmd.nsid = cpu_to_le32(nsid);
    return zns_admin(g, cmd);
}

/* A format resets what can be reset, and takes extensions and data. */
static void test_format(void)
{
    const char *image = new_extended_image();
    ZnsGuest *g;
    NvmeCmd other;
    uint8_t data[512];

    zns_image_set_zone(image, 5, NVME_ZONE_STATE_READ_ONLY, Z(5) + 8);
    zns_image_set_zone(image, 6, NVME_ZONE_STATE_OFFLINE, Z(6));
    g = zns_start_image(&(ZnsMachine) { .image = image });
    other = zns_command(g, NVME_ADM_CMD_FORMAT_NVM, 0);
    for (int i = 0; i < 2; i++) {
        qtest_memset(g->qts, g->buffer, 'f', 4096);
        assert_success(extend(g, 0, 'a'));
        assert_success(zns_write(g, Z(1), 8));
        assert_success(zns_manage(g, NVME_ZONE_ACTION_FINISH, Z(3)));
        /* Protection information needs metadata. */
        other.cdw10 = cpu_to_le32(1 << 5);
        assert_status(zns_admin(g, other), NVME_INVALID_FORMAT);
        assert_zone(g, 1, IMPLICITLY_OPEN, Z(1) + 8);

        assert_success(format(g, i ? NVME_NSID_BROADCAST : 1));
        for (int zone = 0; zone < 5; zone++) {
            assert_zone(g, zone, EMPTY, Z(zone));
        }
        assert_zone(g, 5, READ_ONLY, NO_WP);
        assert_zone(g, 6, OFFLINE, NO_WP);
        assert_extensions(g, "        ");
        assert_success(zns_read(g, Z(1), 8));
        qtest_memread(g->qts, g->buffer, data, sizeof(data));
        g_assert_true(buffer_is_zero(data, sizeof(data)));
    }
    zns_assert_usable(g);
    zns_stop(g);
}

/* A format that fails does not leave the namespace as one that is formatted. */
static void test_format_failed(void)
{
    g_autofree char *record = g_strdup_printf(
        ZONED_FAIL_LATER ",inject-error.0.iotype=write,inject-error.0.errno=5,"
        "inject-error.0.sector=%d", ZONED_RECORD_SECTOR);
    ZnsGuest *g = zns_start_image(&(ZnsMachine) {
        .image = zns_image_new(),
        .rules = record,
    });
    const char *image = zoned_image_new("zone_size=64k", "64k");

    assert_success(zns_write(g, Z(1), 8));
    assert_status(format(g, 1), NVME_INTERNAL_DEV_ERROR);
    assert_success(zns_read(g, Z(1), 8));
    assert_success(format(g, 1));
    assert_zone(g, 1, EMPTY, Z(1));
    zns_assert_usable(g);
    zns_stop(g);

    g = zns_start_image(&(ZnsMachine) {
        .image = zns_image_new(), .node = ",read-only=on",
    });
    assert_status(format(g, 1), NVME_NS_WRITE_PROTECTED);
    assert_success(zns_read(g, Z(1), 8));
    zns_stop(g);

    /* The only zone cannot be reset. */
    zns_image_set_zone(image, 0, NVME_ZONE_STATE_READ_ONLY, 8);
    g = zns_start_image(&(ZnsMachine) { .image = image });
    assert_success(format(g, 1));
    assert_zone(g, 0, READ_ONLY, NO_WP);
    zns_stop(g);
}

/* An extended report of all zones, with room for @room of them */
static NvmeCmd receive_extended(ZnsGuest *g, uint8_t filter, int room)
{
    NvmeCmd cmd = zns_receive(g, 0, filter, false,
                              64 + room * (64 + EXTENSION));

    cmd.cdw13 |= cpu_to_le32(NVME_ZONE_REPORT_EXTENDED);
    return cmd;
}

/* Where the file has the extensions: behind the table, in sectors */
#define EXTENSION_SECTOR 16

/* Extensions are not read in vain: they cannot be read here. */
static void test_extension_unread(void)
{
    ZnsGuest *g = zns_start_image(&(ZnsMachine) {
        .image = new_extended_image(),
        .rules = ",inject-error.0.event=none,inject-error.0.iotype=read,"
                 "inject-error.0.errno=5,inject-error.0.sector="
                 stringify(EXTENSION_SECTOR),
    });

    assert_success(extend(g, 0, 'a'));
    assert_status(zns_do(g, receive_extended(g, NVME_ZONE_REPORT_CLOSED, 1)),
                  NVME_INTERNAL_DEV_ERROR);
    /* No room */
    assert_success(zns_do(g, receive_extended(g, NVME_ZONE_REPORT_ALL, 0)));
    g_assert_cmpuint(qtest_readq(g->qts, g->buffer), ==, ZNS_NR_ZONES);
    /* No zone that passes the filter */
    assert_success(zns_do(g, receive_extended(g, NVME_ZONE_REPORT_FULL, 1)));
    g_assert_cmpuint(qtest_readq(g->qts, g->buffer), ==, 0);
    zns_assert_usable(g);
    zns_stop(g);
}

#define LONG_NR_ZONES (1024 * 1024)

/* So many zones that a report of all has thousands of batches */
static ZnsGuest *start_long(void)
{
    ZnsGuest *g = zns_start_image(&(ZnsMachine) {
        .image = zoned_image_new("zone_size=4k,zd_extension_size=128", "4G"),
    });

    /* It has to be read from the file: a report of it waits at first. */
    assert_success(extend(g, 0, 'a'));
    return g;
}

/* Can the first zone of a report be seen while that is under way? */
static bool is_seen_early(ZnsGuest *g)
{
    NvmeCmd cmd = receive_extended(g, NVME_ZONE_REPORT_ALL, 1);
    struct {
        NvmeZoneReportHeader header;
        NvmeZoneDescr zone;
    } report;

    qtest_memset(g->qts, g->buffer, 0, 4096);
    zns_submit(g, &g->io, &cmd);
    do {
        qtest_memread(g->qts, g->buffer, &report, sizeof(report));
    } while (!report.zone.zcap);
    assert_success(zns_wait(g, &g->io));
    g_assert_cmpuint(qtest_readq(g->qts, g->buffer), ==, LONG_NR_ZONES);
    return report.header.nr_zones == 0;
}

/* A report lets others have their turn: here, the test itself. */
static void test_long_report(void)
{
    ZnsGuest *g = start_long();
    bool seen = false;

    for (int i = 0; i < 10 && !seen; i++) {
        seen = is_seen_early(g);
    }
    g_assert_true(seen);
    zns_stop(g);
}

/* The most memory that QEMU has had, in KiB */
static unsigned long peak_memory(ZnsGuest *g)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/status",
                                            qtest_pid(g->qts));
    g_autofree char *status = NULL;
    const char *line;
    unsigned long kib;

    g_assert_true(g_file_get_contents(path, &status, NULL, NULL));
    line = strstr(status, "VmHWM:");
    g_assert_nonnull(line);
    g_assert_cmpint(qemu_strtoul(line + strlen("VmHWM:"), &line, 10, &kib), ==,
                    0);
    return kib;
}

#define NR_REPORTS 2000

/* However many reports are in flight: they have the memory of one. */
static void test_many_reports(void)
{
    ZnsGuest *g = start_long();
    NvmeCmd report = receive_extended(g, NVME_ZONE_REPORT_ALL, 1);
    ZnsQueue *q = zns_long_queue(g, NR_REPORTS + 1);
    unsigned long before = peak_memory(g);

    for (int i = 0; i < NR_REPORTS; i++) {
        zns_queue(g, q, &report);
    }
    zns_kick(g, q);
    /* Each report has had a batch, or is about to have one. */
    for (int i = 0; i < 100; i++) {
        assert_success(zns_read(g, 0, 8));
    }
    /* A fourth of what they would have if each had its own */
    g_assert_cmpuint(peak_memory(g) - before, <, NR_REPORTS * 35 / 4);
    zns_reset(g);
    zns_enable(g);
    assert_success(zns_read(g, 0, 8));
    zns_stop(g);
}

/* Such reports are aborted, or the controller is reset, between batches. */
static void test_long_report_cancel(void)
{
    ZnsGuest *g = start_long();
    NvmeCmd report = receive_extended(g, NVME_ZONE_REPORT_ALL, 1);
    NvmeCmd abort = { .opcode = NVME_ADM_CMD_ABORT };

    for (int i = 0; i < 5; i++) {
        abort.cdw10 = cpu_to_le32((uint32_t)zns_submit(g, &g->io, &report)
                                  << 16 | 1);
        assert_success(zns_admin(g, abort));
        zns_wait(g, &g->io);
        zns_submit(g, &g->io, &report);
        zns_submit(g, &g->io, &report);
        zns_reset(g);
        zns_enable(g);
    }
    assert_success(zns_read(g, 0, 8));
    zns_stop(g);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    qtest_add_func("nvme-zoned/many-zones", test_many_zones);
    qtest_add_func("nvme-zoned/bad-memory", test_bad_memory);
    qtest_add_func("nvme-zoned/no-limits", test_no_limits);
    qtest_add_func("nvme-zoned/one-zone", test_one_zone);
    qtest_add_func("nvme-zoned/offline", test_offline);
    qtest_add_func("nvme-zoned/extension", test_extension);
    qtest_add_func("nvme-zoned/extension-refused", test_extension_refused);
    qtest_add_func("nvme-zoned/extension-unread", test_extension_unread);
    qtest_add_func("nvme-zoned/long-report", test_long_report);
    qtest_add_func("nvme-zoned/long-report-cancel", test_long_report_cancel);
    qtest_add_func("nvme-zoned/many-reports", test_many_reports);
    qtest_add_func("nvme-zoned/format", test_format);
    qtest_add_func("nvme-zoned/format-failed", test_format_failed);
    return g_test_run();
}

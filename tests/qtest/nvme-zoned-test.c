/*
 * QTest testcase for NVMe namespaces whose zones are those of a zoned image
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "nvme-zns-rules.h"
#include "virtio-blk-zoned-guest.h"

static void test_worn(void)
{
    ZnsGuest *g = zns_start_image(&(ZnsMachine) {
        .image = zns_worn_image_new(),
        .namespace = ",zoned.cross_read=on",
    });

    assert_zone(g, 1, READ_ONLY, NO_WP);
    assert_zone(g, 2, OFFLINE, NO_WP);
    assert_success(zns_read(g, Z(1), 8));
    assert_status(zns_read(g, Z(2), 8), NVME_ZONE_OFFLINE);
    assert_status(zns_read(g, Z(1), ZNS_ZONE + 1), NVME_ZONE_OFFLINE);
    assert_status(zns_do(g, zns_rw(g, NVME_CMD_COMPARE, Z(2), 8)),
                  NVME_ZONE_OFFLINE);
    assert_status(zns_do(g, zns_rw(g, NVME_CMD_VERIFY, Z(2), 8)),
                  NVME_ZONE_OFFLINE);
    for (int zone = 1; zone <= 2; zone++) {
        uint16_t status = zone == 1 ? NVME_ZONE_READ_ONLY : NVME_ZONE_OFFLINE;

        assert_status(zns_write(g, Z(zone) + 8, 8), status);
        assert_status(zns_append(g, Z(zone), 8, NULL), status);
        assert_status(zns_do(g, zns_rw(g, NVME_CMD_WRITE_ZEROES, Z(zone), 8)),
                      status);
        assert_status(zns_manage(g, NVME_ZONE_ACTION_OPEN, Z(zone)),
                      NVME_ZONE_INVAL_TRANSITION);
        assert_status(zns_manage(g, NVME_ZONE_ACTION_CLOSE, Z(zone)),
                      NVME_ZONE_INVAL_TRANSITION);
        assert_status(zns_manage(g, NVME_ZONE_ACTION_FINISH, Z(zone)),
                      NVME_ZONE_INVAL_TRANSITION);
        assert_status(zns_manage(g, NVME_ZONE_ACTION_RESET, Z(zone)),
                      NVME_ZONE_INVAL_TRANSITION);
    }
    assert_success(zns_manage_all(g, NVME_ZONE_ACTION_RESET));
    assert_zone(g, 1, READ_ONLY, NO_WP);
    assert_zone(g, 2, OFFLINE, NO_WP);
    zns_assert_usable(g);
    zns_stop(g);
}

/* A copy from or to a zone that does not allow it */
static void test_worn_copy(void)
{
    ZnsGuest *g = zns_start_image(&(ZnsMachine) {
        .image = zns_worn_image_new(),
    });

    assert_status(zns_do(g, zns_copy(g, Z(2), 1, Z(3))), NVME_ZONE_OFFLINE);
    assert_success(zns_do(g, zns_copy(g, Z(1), 1, Z(3))));
    assert_status(zns_do(g, zns_copy(g, Z(1), 1, Z(1) + 8)),
                  NVME_ZONE_READ_ONLY);
    assert_status(zns_do(g, zns_copy(g, Z(1), 1, Z(2))), NVME_ZONE_OFFLINE);
    zns_assert_usable(g);
    zns_stop(g);
}

/* Commands that read do not cross zones, either. */
static void test_cross_compare(void)
{
    ZnsGuest *g = zns_start_usual("", "");

    assert_status(zns_do(g, zns_rw(g, NVME_CMD_COMPARE, Z(1) - 1, 2)),
                  NVME_ZONE_BOUNDARY_ERROR);
    assert_status(zns_do(g, zns_rw(g, NVME_CMD_VERIFY, Z(1) - 1, 2)),
                  NVME_ZONE_BOUNDARY_ERROR);
    zns_stop(g);
}

/* The guest's buffer is in the controller. */
static void test_controller_memory(void)
{
    ZnsGuest *g = zns_start_usual("", ",cmb_size_mb=2");
    QPCIBar memory = qpci_iomap(g->dev, 2, NULL);
    uint64_t where;

    /* Enabled, at the same address as for the guest */
    qpci_io_writel(g->dev, g->bar, NVME_REG_CMBMSC + 4, memory.addr >> 32);
    qpci_io_writel(g->dev, g->bar, NVME_REG_CMBMSC, memory.addr | 3);
    g->buffer = memory.addr;
    qtest_memset(g->qts, g->buffer, 'm', 4096);
    assert_success(zns_write(g, Z(1), 8));
    assert_success(zns_append(g, Z(1), 8, &where));
    g_assert_cmpuint(where, ==, Z(1) + 8);
    assert_zone(g, 1, IMPLICITLY_OPEN, Z(1) + 16);
    qtest_memset(g->qts, g->buffer, 0, 4096);
    assert_success(zns_read(g, Z(1) + 8, 8));
    g_assert_cmphex(qtest_readb(g->qts, g->buffer + 4095), ==, 'm');
    zns_assert_usable(g);
    zns_stop(g);
}

/* The image's limit of appends, where it is lower than MDTS */
static void test_image_append_limit(void)
{
    ZnsGuest *g = zns_start_image(&(ZnsMachine) {
        .image = zoned_image_new("zone_size=64k,max_append_sectors=40",
                                 "512k"),
    });

    zns_assert_append_limit(g);
    zns_stop(g);
}

/*
 * The limit is one for the controller: that of the namespace that can have
 * less.
 */
static void test_shared_append_limit(void)
{
    g_autofree char *args = g_strdup_printf(
        "-blockdev driver=zoned,node-name=small,file.driver=file,"
        "file.filename=%s " ZNS_DISK
        "-device nvme,id=nvme,serial=zoned,addr=4 "
        "-device nvme-ns,bus=nvme,drive=disk,nsid=1 "
        "-device nvme-ns,bus=nvme,drive=small,nsid=2",
        zoned_image_new("zone_size=64k,max_append_sectors=40", "512k"),
        zns_image_new());
    ZnsGuest *g = zns_start(args);

    zns_assert_append_limit(g);
    zns_stop(g);
}

/* Blocks of 4 KiB */
static void test_large_blocks(void)
{
    ZnsGuest *g = zns_start_usual(",logical_block_size=4096,"
                                  "physical_block_size=4096", "");
    g_autofree NvmeIdNs *ns = g_new(NvmeIdNs, 1);
    NvmeCmd append = zns_command(g, NVME_CMD_ZONE_APPEND, 4096);
    NvmeZoneDescr zone;

    zns_identify(g, NVME_ID_CNS_NS, 0, ns);
    g_assert_cmpuint(le64_to_cpu(ns->nsze), ==, ZNS_BLOCKS / 8);
    append.cdw10 = cpu_to_le32(Z(1) / 8);
    assert_success(zns_do(g, append));
    assert_success(zns_do(g, append));
    g_assert_cmpuint(le32_to_cpu(g->cqe.result), ==, Z(1) / 8 + 1);
    zone = zns_zone(g, Z(1) / 8);
    g_assert_cmpuint(le64_to_cpu(zone.zslba), ==, Z(1) / 8);
    g_assert_cmpuint(le64_to_cpu(zone.wp), ==, Z(1) / 8 + 2);
    g_assert_cmpuint(le64_to_cpu(zone.zcap), ==, ZNS_CAP / 8);
    zns_stop(g);
}

/* Asks for deallocation of a block, or only hints that it is not needed. */
static uint16_t manage_data(ZnsGuest *g, uint64_t slba, uint32_t attributes)
{
    NvmeDsmRange range = { .nlb = cpu_to_le32(1), .slba = cpu_to_le64(slba) };
    NvmeCmd cmd = zns_command(g, NVME_CMD_DSM, 0);

    qtest_memwrite(g->qts, g->list, &range, sizeof(range));
    cmd.dptr.prp1 = cpu_to_le64(g->list);
    cmd.cdw11 = cpu_to_le32(attributes);
    return zns_do(g, cmd);
}

static void test_read_only(void)
{
    ZnsGuest *g = zns_start_image(&(ZnsMachine) {
        .image = zns_worn_image_new(),
        .node = ",read-only=on",
    });
    g_autofree NvmeIdNs *ns = g_new(NvmeIdNs, 1);

    zns_identify(g, NVME_ID_CNS_NS, 0, ns);
    g_assert_cmpuint(ns->nsattr, ==, NVME_ID_NS_NSATTR_WRITE_PROTECTED);
    assert_success(zns_read(g, Z(1), 8));
    assert_zone(g, 3, EMPTY, Z(3));
    assert_status(zns_write(g, Z(3), 8), NVME_NS_WRITE_PROTECTED);
    assert_status(zns_append(g, Z(3), 8, NULL), NVME_NS_WRITE_PROTECTED);
    assert_status(zns_do(g, zns_rw(g, NVME_CMD_WRITE_ZEROES, Z(3), 8)),
                  NVME_NS_WRITE_PROTECTED);
    assert_status(manage_data(g, Z(1), NVME_DSMGMT_AD),
                  NVME_NS_WRITE_PROTECTED);
    assert_success(manage_data(g, Z(1), NVME_DSMGMT_IDR));
    assert_status(zns_manage(g, NVME_ZONE_ACTION_OPEN, Z(3)),
                  NVME_NS_WRITE_PROTECTED);
    assert_status(zns_manage_all(g, NVME_ZONE_ACTION_RESET),
                  NVME_NS_WRITE_PROTECTED);
    zns_shutdown(g);
    zns_reset(g);
    zns_enable(g);
    assert_zone(g, 3, EMPTY, Z(3));
    zns_stop(g);
}

#define FAIL_WRITE ZONED_FAIL_LATER ",inject-error.0.iotype=write," \
                   "inject-error.0.errno=5,inject-error.0.sector="

/*
 * A guest finds an error of the host in the status, and the zone as it is: also
 * changed, if only that was not made durable
 */
static void test_host_error(void)
{
    g_autofree char *data = g_strdup_printf(FAIL_WRITE "%d",
                                            ZONED_DATA_SECTOR + Z(1));
    g_autofree char *record = g_strdup_printf(FAIL_WRITE "%d",
                                              ZONED_RECORD_SECTOR);
    ZnsGuest *g = zns_start_image(&(ZnsMachine) {
        .image = zns_image_new(),
        .rules = data,
    });

    assert_status(zns_append(g, Z(1), 8, NULL), NVME_WRITE_FAULT);
    g_assert_cmpuint(le64_to_cpu(zns_zone(g, Z(1)).wp), ==, Z(1));
    assert_success(zns_append(g, Z(1), 8, NULL));
    zns_assert_usable(g);
    zns_stop(g);

    g = zns_start_image(&(ZnsMachine) {
        .image = zns_image_new(),
        .rules = record,
    });
    assert_success(zns_write(g, Z(1), 8));
    assert_status(zns_manage(g, NVME_ZONE_ACTION_FINISH, Z(1)),
                  NVME_INTERNAL_DEV_ERROR);
    assert_zone(g, 1, FULL, NO_WP);
    assert_success(zns_manage(g, NVME_ZONE_ACTION_FINISH, Z(1)));
    assert_zone(g, 1, FULL, NO_WP);
    zns_assert_usable(g);
    zns_stop(g);
}

/* An append with FUA that cannot be made durable is undone. */
static void test_host_error_append(void)
{
    g_autofree char *record = g_strdup_printf(FAIL_WRITE "%d",
                                              ZONED_RECORD_SECTOR);
    ZnsGuest *g = zns_start_image(&(ZnsMachine) {
        .image = zns_image_new(),
        .rules = record,
    });
    NvmeCmd append = zns_rw(g, NVME_CMD_ZONE_APPEND, Z(1), 8);

    append.cdw12 |= cpu_to_le32(ZNS_FUA);
    assert_status(zns_do(g, append), NVME_WRITE_FAULT);
    assert_zone(g, 1, EMPTY, Z(1));
    assert_success(zns_do(g, append));
    assert_zone(g, 1, IMPLICITLY_OPEN, Z(1) + 8);
    zns_assert_usable(g);
    zns_stop(g);
}

/* A copy with FUA fails if what it wrote cannot be made durable. */
static void test_host_error_copy(void)
{
    g_autofree char *record = g_strdup_printf(FAIL_WRITE "%d",
                                              ZONED_RECORD_SECTOR);
    ZnsGuest *g = zns_start_image(&(ZnsMachine) {
        .image = zns_image_new(),
        .rules = record,
    });
    NvmeCmd copy = zns_copy(g, Z(1), 4, Z(2));

    copy.cdw12 |= cpu_to_le32(ZNS_FUA);
    assert_success(zns_write(g, Z(1), 8));
    assert_status(zns_do(g, copy), NVME_WRITE_FAULT);
    zns_assert_usable(g);
    zns_stop(g);
}

/* A filter that hides the zones is refused; one below leaves them alone. */
static void test_filter(void)
{
    g_autofree char *args = NULL;
    g_autofree char *options = zns_machine_args(&(ZnsMachine) {
        .image = zns_image_new(),
    });
    const char *mirror = "{ 'execute': 'blockdev-mirror', 'arguments': {"
                         " 'job-id': 'job', 'device': %s,"
                         " 'target': 'target', 'sync': 'none' } }";
    ZnsGuest *g;

    args = g_strdup_printf("%s -blockdev driver=null-co,node-name=target,"
                           "size=%d", options,
                           (ZONED_DATA_SECTOR + ZNS_BLOCKS) * 512);
    g = zns_start(args);
    qobject_unref(qtest_qmp_assert_failure_ref(g->qts, mirror, "disk"));
    zns_assert_usable(g);

    qtest_qmp_assert_success(g->qts, mirror, "file");
    assert_success(zns_append(g, Z(1), 8, NULL));
    assert_zone(g, 1, IMPLICITLY_OPEN, Z(1) + 8);
    assert_success(zns_manage(g, NVME_ZONE_ACTION_OPEN, Z(1)));
    assert_zone(g, 1, EXPLICITLY_OPEN, Z(1) + 8);
    qtest_qmp_assert_success(g->qts,
                             "{ 'execute': 'block-job-cancel', 'arguments': {"
                             " 'device': 'job', 'force': true } }");
    qtest_qmp_eventwait(g->qts, "BLOCK_JOB_CANCELLED");
    assert_zone(g, 1, EXPLICITLY_OPEN, Z(1) + 8);
    zns_assert_usable(g);
    zns_stop(g);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    zns_add_rules("nvme-zoned", zns_start_usual);
    qtest_add_func("nvme-zoned/worn", test_worn);
    qtest_add_func("nvme-zoned/worn-copy", test_worn_copy);
    qtest_add_func("nvme-zoned/cross-compare", test_cross_compare);
    qtest_add_func("nvme-zoned/controller-memory", test_controller_memory);
    qtest_add_func("nvme-zoned/image-append-limit", test_image_append_limit);
    qtest_add_func("nvme-zoned/shared-append-limit", test_shared_append_limit);
    qtest_add_func("nvme-zoned/large-blocks", test_large_blocks);
    qtest_add_func("nvme-zoned/read-only", test_read_only);
    qtest_add_func("nvme-zoned/host-error", test_host_error);
    qtest_add_func("nvme-zoned/host-error-append", test_host_error_append);
    qtest_add_func("nvme-zoned/host-error-copy", test_host_error_copy);
    qtest_add_func("nvme-zoned/filter", test_filter);
    return g_test_run();
}

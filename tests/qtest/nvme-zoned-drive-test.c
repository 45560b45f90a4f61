/*
 * QTest testcase for a zoned image as the drive of an NVMe controller, which
 * has it as its own namespace and can be plugged in and out
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qobject/qdict.h"
#include "nvme-zns-guest.h"
#include "virtio-blk-zoned-guest.h"

#define PLUG_SLOT 5

static void test_drive(void)
{
    g_autofree char *args = g_strdup_printf(
        ZNS_DISK "-device nvme,serial=zoned,addr=4,drive=disk",
        zns_image_new());
    ZnsGuest *g = zns_start(args);
    g_autofree NvmeIdNsZoned *zoned = g_new(NvmeIdNsZoned, 1);
    uint64_t where;

    zns_identify(g, NVME_ID_CNS_CS_NS, NVME_CSI_ZONED, zoned);
    g_assert_cmpuint(le64_to_cpu(zoned->lbafe[0].zsze), ==, ZNS_ZONE);
    assert_success(zns_write(g, Z(1), 8));
    assert_success(zns_append(g, Z(1), 8, &where));
    g_assert_cmpuint(where, ==, Z(1) + 8);
    assert_zone(g, 1, IMPLICITLY_OPEN, Z(1) + 16);
    assert_success(zns_manage(g, NVME_ZONE_ACTION_OPEN, Z(0)));
    zns_reset(g);
    zns_enable(g);
    assert_zone(g, 0, EMPTY, Z(0));
    assert_zone(g, 1, CLOSED, Z(1) + 16);
    zns_assert_usable(g);
    zns_stop(g);
}

/* A machine to plug controllers into, with the node "drive" for them */
static ZnsGuest *start_with_drive(const char *image)
{
    ZnsGuest *g = zns_start_usual("", "");

    qtest_qmp_assert_success(
        g->qts, "{ 'execute': 'blockdev-add', 'arguments': {"
        " 'driver': 'zoned', 'node-name': 'drive',"
        " 'file': { 'driver': 'file', 'filename': %s } } }", image);
    return g;
}

static void remove_drive(ZnsGuest *g)
{
    qtest_qmp_assert_success(g->qts, "{ 'execute': 'blockdev-del',"
                             " 'arguments': { 'node-name': 'drive' } }");
}

static ZnsGuest *plug(ZnsGuest *g)
{
    qtest_qmp_device_add(g->qts, "nvme", "plugged", "{ 'serial': 'zoned',"
                         " 'addr': %s, 'drive': 'drive' }",
                         stringify(PLUG_SLOT));
    return zns_open(g, PLUG_SLOT);
}

static void unplug(ZnsGuest *g, ZnsGuest *plugged)
{
    zns_close(plugged);
    qpci_unplug_acpi_device_test(g->qts, "plugged", PLUG_SLOT);
}

/* The drive is free when its controller is gone, and no zone is open. */
static void test_unplug(void)
{
    ZnsGuest *g = start_with_drive(zns_image_new());
    ZnsGuest *plugged = plug(g);

    assert_success(zns_manage(plugged, NVME_ZONE_ACTION_OPEN, Z(0)));
    assert_success(zns_write(plugged, Z(1), 8));
    unplug(g, plugged);

    plugged = plug(g);
    assert_zone(plugged, 0, EMPTY, Z(0));
    assert_zone(plugged, 1, CLOSED, Z(1) + 8);
    zns_assert_usable(plugged);
    unplug(g, plugged);
    remove_drive(g);
    zns_stop(g);
}

/* A controller that is refused leaves nothing behind: the drive is free. */
static void test_refused(void)
{
    ZnsGuest *g = start_with_drive(zoned_image_new("zone_size=64k,"
                                                   "zone_nr_conv=1",
                                                   ZNS_IMAGE_SIZE));
    QDict *error;

    for (int i = 0; i < 2; i++) {
        error = qtest_qmp_assert_failure_ref(
            g->qts, "{ 'execute': 'device_add', 'arguments': {"
            " 'driver': 'nvme', 'id': 'plugged', 'serial': 'zoned',"
            " 'addr': %s, 'drive': 'drive' } }", stringify(PLUG_SLOT));
        g_assert_nonnull(strstr(qdict_get_str(error, "desc"),
                                "the drive is conventional"));
        qobject_unref(error);
    }
    remove_drive(g);
    zns_assert_usable(g);
    zns_stop(g);
}

/*
 * What a drive fails that, like a host device, has no errnos of its own for
 * mistakes of the guest is none, whatever the errno is.
 */
static void test_host_like(void)
{
    static const int errnos[] = {
        EINVAL, ERANGE, EPERM, EOVERFLOW, ETOOMANYREFS, EACCES,
    };

    for (int i = 0; i < ARRAY_SIZE(errnos); i++) {
        g_autofree char *args = g_strdup_printf(
            "-blockdev driver=zoned,node-name=zones,file.driver=file,"
            "file.filename=%s -blockdev driver=blkdebug,node-name=disk,"
            "image=zones,inject-error.0.event=none,inject-error.0.iotype=write,"
            "inject-error.0.errno=%d,inject-error.0.sector=%" PRIu64 ","
            "inject-error.1.event=none,inject-error.1.iotype=read,"
            "inject-error.1.errno=%d,inject-error.1.sector=%" PRIu64 " "
            "-device nvme,serial=zoned,addr=4,drive=disk",
            zns_image_new(), errnos[i], (uint64_t)Z(1), errnos[i],
            (uint64_t)Z(1));
        ZnsGuest *g = zns_start(args);
        NvmeCmd format = zns_command(g, NVME_ADM_CMD_FORMAT_NVM, 0);

        assert_status(zns_write(g, Z(1), 8), NVME_WRITE_FAULT);
        assert_status(zns_append(g, Z(1), 8, NULL), NVME_WRITE_FAULT);
        assert_status(zns_manage(g, NVME_ZONE_ACTION_FINISH, Z(1)),
                      NVME_INTERNAL_DEV_ERROR);
        assert_status(zns_read(g, Z(1), 8), NVME_UNRECOVERED_READ);
        assert_status(zns_admin(g, format), NVME_INTERNAL_DEV_ERROR);
        /* Of these, the node says what it will. */
        assert_status(zns_write(g, Z(0) + 8, 8), NVME_WRITE_FAULT);
        assert_status(zns_manage(g, NVME_ZONE_ACTION_CLOSE, Z(0)),
                      NVME_INTERNAL_DEV_ERROR);
        assert_success(zns_write(g, Z(0), 8));
        zns_stop(g);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    qtest_add_func("nvme-zoned/drive", test_drive);
    qtest_add_func("nvme-zoned/unplug", test_unplug);
    qtest_add_func("nvme-zoned/drive-refused", test_refused);
    qtest_add_func("nvme-zoned/host-like", test_host_like);
    return g_test_run();
}

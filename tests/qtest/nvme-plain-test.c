/*
 * QTest testcase for NVMe controllers with namespaces that are not zoned: what
 * is to hold for these, and was found with zoned ones
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qapi/error.h"
#include "qobject/qdict.h"
#include "qobject/qjson.h"
#include "qobject/qlist.h"
#include "nvme-zns-guest.h"
#include "virtio-blk-zoned-guest.h"

#define PLUG_SLOT 5

/* What has functions takes controller ids for them; of 256, in a subsystem. */
#define FUNCTIONS "'subsys': 'both', 'sriov_max_vfs': 8," \
                  " 'sriov_vq_flexible': 16, 'sriov_vi_flexible': 8"
#define MANY (256 / 8)

/* In the PCI hole of the machine, and of no device */
#define NOT_MEMORY 0xd0000000

#define PLAIN_DISK "-blockdev driver=null-co,node-name=disk,size=16777216," \
                   "read-zeroes=on "

static ZnsGuest *start_plain(void)
{
    return zns_start(PLAIN_DISK "-device nvme,id=nvme,serial=plain,addr=4 "
                     "-device nvme-ns,bus=nvme,drive=disk");
}

/* A copy of @nr ranges of @blocks blocks */
static NvmeCmd copy_ranges(ZnsGuest *g, int nr, uint32_t blocks)
{
    NvmeCmd cmd = zns_copy(g, 0, blocks, 4096);
    NvmeCopySourceRangeFormat0_2 range;

    qtest_memread(g->qts, g->list, &range, sizeof(range));
    for (int i = 0; i < nr; i++) {
        qtest_memwrite(g->qts, g->list + i * sizeof(range), &range,
                       sizeof(range));
    }
    cmd.cdw12 = cpu_to_le32(nr - 1);
    return cmd;
}

/* Nothing of a copy is accounted for that is refused at its first range. */
static void test_copy_refused(void)
{
    ZnsGuest *g = start_plain();

    assert_status(zns_do(g, copy_ranges(g, 1, 129)), NVME_CMD_SIZE_LIMIT);
    assert_status(zns_do(g, zns_copy(g, 16 * 2048, 1, 0)), NVME_LBA_RANGE);
    assert_success(zns_do(g, copy_ranges(g, 2, 8)));
    zns_stop(g);
}

/* Copies that have ranges to go are ended by a reset. */
static void test_copy_reset(void)
{
    ZnsGuest *g = start_plain();

    for (int i = 0; i < 20; i++) {
        NvmeCmd cmd = copy_ranges(g, 64, 2);

        for (int j = 0; j < 8; j++) {
            zns_submit(g, &g->io, &cmd);
        }
        zns_reset(g);
        zns_enable(g);
        assert_success(zns_read(g, 0, 8));
    }
    zns_stop(g);
}

static void add_drive(ZnsGuest *g)
{
    qtest_qmp_assert_success(
        g->qts, "{ 'execute': 'blockdev-add', 'arguments': {"
        " 'driver': 'null-co', 'node-name': 'drive', 'size': 1048576,"
        " 'read-zeroes': true } }");
}

static void remove_drive(ZnsGuest *g)
{
    qtest_qmp_assert_success(g->qts, "{ 'execute': 'blockdev-del',"
                             " 'arguments': { 'node-name': 'drive' } }");
}

/*
 * A controller is reset when its completion queue is full: nothing of the
 * commands that wait for room in it is left, or it could not be unplugged.
 */
static void test_reset_unposted(void)
{
    ZnsGuest *g = start_plain();
    ZnsGuest *plugged;
    NvmeCmd read;

    add_drive(g);
    qtest_qmp_device_add(g->qts, "nvme", "plugged", "{ 'serial': 'plugged',"
                         " 'addr': %s, 'drive': 'drive' }",
                         stringify(PLUG_SLOT));
    plugged = zns_open(g, PLUG_SLOT);
    read = zns_rw(plugged, NVME_CMD_READ, 0, 8);
    for (int i = 0; i < 100; i++) {
        /* No completion is taken from the queue. */
        zns_submit(plugged, &plugged->io, &read);
        assert_success(zns_admin(plugged, (NvmeCmd) {
            .opcode = NVME_ADM_CMD_GET_FEATURES,
            .cdw10 = cpu_to_le32(NVME_NUMBER_OF_QUEUES),
        }));
    }
    zns_reset(plugged);
    zns_close(plugged);
    zns_set_timeout(30);
    qpci_unplug_acpi_device_test(g->qts, "plugged", PLUG_SLOT);
    zns_set_timeout(0);
    remove_drive(g);
    zns_stop(g);
}

/*
 * What a command reads goes to where there is no memory, by the one bounce
 * buffer, and another one waits for that when the controller is reset.
 */
static void test_reset_bounce(void)
{
    ZnsGuest *g = zns_start("-blockdev driver=null-co,node-name=disk,"
                            "size=16777216,latency-ns=200000000 "
                            "-device nvme,id=nvme,serial=plain,addr=4 "
                            "-device nvme-ns,bus=nvme,drive=disk");
    NvmeCmd read = zns_rw(g, NVME_CMD_READ, 0, 8);

    read.dptr.prp1 = cpu_to_le64(NOT_MEMORY);
    zns_submit(g, &g->io, &read);
    zns_submit(g, &g->io, &read);
    zns_set_timeout(30);
    zns_reset(g);
    zns_enable(g);
    assert_success(zns_read(g, 0, 8));
    zns_set_timeout(0);
    zns_stop(g);
}

/* Asserts that a controller is refused, for a reason that has not changed. */
static void assert_refused(ZnsGuest *g, const char *why, const char *options)
{
    g_autofree char *command = g_strdup_printf(
        "{ 'execute': 'device_add', 'arguments': { 'driver': 'nvme',"
        " 'id': 'plugged', 'addr': '%d', %s } }", PLUG_SLOT, options);
    QObject *object = qobject_from_json(command, &error_abort);
    QDict *error = qtest_qmp_assert_failure_ref(g->qts, "%p", object);

    g_assert_cmpstr(qdict_get_str(error, "desc"), ==, why);
    qobject_unref(error);
}

static size_t count_unattached(ZnsGuest *g)
{
    QDict *answer = qtest_qmp(g->qts, "{ 'execute': 'qom-list',"
                              " 'arguments': { 'path': '/machine/unattached' }"
                              " }");
    size_t n = qlist_size(qdict_get_qlist(answer, "return"));

    qobject_unref(answer);
    return n;
}

/* A port of the loopback that nobody listens to, as long as @fd is open */
static int closed_port(int *fd)
{
    struct sockaddr_in addr = {
        .sin_family = AF_INET,
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    socklen_t len = sizeof(addr);

    *fd = socket(AF_INET, SOCK_STREAM, 0);
    g_assert_cmpint(*fd, >=, 0);
    g_assert_cmpint(bind(*fd, (struct sockaddr *)&addr, len), ==, 0);
    g_assert_cmpint(getsockname(*fd, (struct sockaddr *)&addr, &len), ==, 0);
    return ntohs(addr.sin_port);
}

/* Controllers that are refused leave nothing behind, wherever that happens. */
static void test_refused(void)
{
    ZnsGuest *g = zns_start(PLAIN_DISK "-device nvme-subsys,id=both "
                            "-device nvme,id=nvme,serial=plain,subsys=both,"
                            "addr=4 -device nvme-ns,bus=nvme,drive=disk "
                            "-object memory-backend-ram,id=pmr,size=1M");
    size_t unattached = count_unattached(g);
    int fd;
    g_autofree char *spdm = g_strdup_printf("'spdm_port': %d",
                                            closed_port(&fd));
    g_autofree char *spdm_functions = g_strdup_printf(
        "'serial': 'plain', " FUNCTIONS ", %s", spdm);
    g_autofree char *spdm_alone = g_strdup_printf(
        "'serial': 'plain', 'drive': 'drive', 'pmrdev': 'pmr', %s", spdm);

    add_drive(g);
    for (int i = 0; i < MANY; i++) {
        assert_refused(g, "cannot connect: Connection refused",
                       spdm_functions);
        assert_refused(g, "invalid controller serial",
                       "'serial': 'other', " FUNCTIONS);
    }
    for (int i = 0; i < 3; i++) {
        assert_refused(g, "cannot connect: Connection refused", spdm_alone);
        assert_refused(g, "mdts exceeds IOV_MAX",
                       "'serial': 'plain', 'pmrdev': 'pmr', 'mdts': 0");
        assert_refused(g,
                       "logical_block_size > physical_block_size not supported",
                       "'serial': 'plain', 'drive': 'drive',"
                       " 'logical_block_size': 4096,"
                       " 'physical_block_size': 512, 'pmrdev': 'pmr'");
    }
    g_assert_cmpuint(count_unattached(g), ==, unattached);
    remove_drive(g);

    qtest_qmp_device_add(g->qts, "nvme", "plugged", "{ 'serial': 'plain',"
                         " 'addr': %s, 'subsys': 'both',"
                         " 'pmrdev': 'pmr' }", stringify(PLUG_SLOT));
    zns_close(zns_open(g, PLUG_SLOT));
    assert_success(zns_read(g, 0, 8));
    close(fd);
    zns_stop(g);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    /* What is used before it is set, or after it is freed, is to show. */
    g_setenv("MALLOC_PERTURB_", "165", true);
    qtest_add_func("nvme-plain/copy-refused", test_copy_refused);
    qtest_add_func("nvme-plain/copy-reset", test_copy_reset);
    qtest_add_func("nvme-plain/reset-unposted", test_reset_unposted);
    qtest_add_func("nvme-plain/reset-bounce", test_reset_bounce);
    qtest_add_func("nvme-plain/refused", test_refused);
    return g_test_run();
}

/*
 * QTest testcase for zones of a zoned image, used through NVMe, when the
 * controller is reset or QEMU ends
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qobject/qdict.h"
#include "qobject/qlist.h"
#include "nvme-zns-guest.h"
#include "virtio-blk-zoned-guest.h"

static void test_reset(void)
{
    ZnsGuest *g = zns_start_usual("", "");

    assert_success(zns_manage(g, NVME_ZONE_ACTION_OPEN, Z(0)));
    assert_success(zns_write(g, Z(1), 8));
    zns_reset(g);
    zns_enable(g);
    assert_zone(g, 0, EMPTY, Z(0));
    assert_zone(g, 1, CLOSED, Z(1) + 8);
    zns_assert_usable(g);
    zns_stop(g);
}

/* Two controllers share a namespace; one of them is reset. */
static void test_reset_shared(void)
{
    g_autofree char *args = g_strdup_printf(
        ZNS_DISK ZNS_ONE ZNS_TWO " " ZNS_NS, zns_image_new());
    ZnsGuest *one = zns_start(args);
    ZnsGuest *two = zns_open(one, 5);

    assert_success(zns_manage(one, NVME_ZONE_ACTION_OPEN, Z(0)));
    assert_success(zns_write(two, Z(1), 8));
    zns_reset(one);
    assert_zone(two, 0, EXPLICITLY_OPEN, Z(0));
    assert_zone(two, 1, IMPLICITLY_OPEN, Z(1) + 8);
    zns_reset(two);
    zns_enable(one);
    assert_zone(one, 0, EMPTY, Z(0));
    assert_zone(one, 1, CLOSED, Z(1) + 8);
    zns_assert_usable(one);
    zns_close(two);
    zns_stop(one);
}

/* The same when they are shut down, which does not disable them */
static void test_shutdown_shared(void)
{
    g_autofree char *args = g_strdup_printf(
        ZNS_DISK ZNS_ONE ZNS_TWO " " ZNS_NS, zns_image_new());
    ZnsGuest *one = zns_start(args);
    ZnsGuest *two = zns_open(one, 5);

    assert_success(zns_manage(two, NVME_ZONE_ACTION_OPEN, Z(0)));
    assert_success(zns_write(two, Z(1), 8));
    zns_shutdown(one);
    assert_zone(two, 0, EXPLICITLY_OPEN, Z(0));
    assert_zone(two, 1, IMPLICITLY_OPEN, Z(1) + 8);
    /* What is shut down does not use the namespace. */
    zns_reset(two);
    zns_enable(two);
    assert_zone(two, 0, EMPTY, Z(0));
    assert_zone(two, 1, CLOSED, Z(1) + 8);
    assert_success(zns_manage(two, NVME_ZONE_ACTION_OPEN, Z(0)));
    zns_shutdown(two);
    zns_reset(one);
    zns_enable(one);
    assert_zone(one, 0, EMPTY, Z(0));
    zns_assert_usable(one);
    zns_close(two);
    zns_stop(one);
}

/* Detaches the namespace from a controller. */
static void detach(ZnsGuest *g, uint16_t controller)
{
    NvmeCmd cmd = zns_command(g, NVME_ADM_CMD_NS_ATTACHMENT, 0);

    cmd.dptr.prp1 = cpu_to_le64(g->list);
    cmd.cdw10 = cpu_to_le32(NVME_NS_ATTACHMENT_DETACH);
    qtest_memset(g->qts, g->list, 0, 4096);
    qtest_writew(g->qts, g->list, 1);
    qtest_writew(g->qts, g->list + 2, controller);
    assert_success(zns_admin(g, cmd));
}

/* What has zones open is detached when the controller is reset. */
static void test_reset_detached(void)
{
    g_autofree char *args = g_strdup_printf(
        ZNS_DISK ZNS_ONE ZNS_TWO " " ZNS_NS, zns_image_new());
    ZnsGuest *one = zns_start(args);
    ZnsGuest *two = zns_open(one, 5);

    assert_success(zns_manage(one, NVME_ZONE_ACTION_OPEN, Z(0)));
    assert_success(zns_write(one, Z(1), 8));
    detach(one, 0);
    zns_reset(one);
    assert_zone(two, 0, EXPLICITLY_OPEN, Z(0));
    /* To be enabled attaches it again. */
    zns_enable(one);
    detach(one, 0);
    detach(one, 1);
    zns_shutdown(one);
    zns_reset(two);
    zns_enable(two);
    assert_zone(two, 0, EMPTY, Z(0));
    assert_zone(two, 1, CLOSED, Z(1) + 8);
    zns_assert_usable(two);
    zns_close(two);
    zns_stop(one);
}

/* The commands that a controller has not completed when it is reset */
static void test_reset_in_flight(void)
{
    /* So many zones that the drive is asked for them again and again */
    ZnsGuest *g = zns_start_image(&(ZnsMachine) {
        .image = zoned_image_new("zone_size=64k", "64M"),
    });

    for (int round = 0; round < 20; round++) {
        NvmeCmd cmds[] = {
            zns_rw(g, NVME_CMD_ZONE_APPEND, Z(1), 4),
            zns_rw(g, NVME_CMD_WRITE, Z(1) + 1, 1),
            zns_receive(g, 0, 0, false, ZNS_BUFFER),
            zns_send(g, NVME_ZONE_ACTION_FINISH, Z(2)),
            zns_send(g, NVME_ZONE_ACTION_RESET, Z(1)),
            zns_rw(g, NVME_CMD_WRITE_ZEROES, Z(2), 1),
            zns_rw(g, NVME_CMD_READ, Z(1), 8),
            zns_send(g, NVME_ZONE_ACTION_RESET, Z(2)),
        };

        for (int i = 0; i < ARRAY_SIZE(cmds); i++) {
            zns_submit(g, &g->io, &cmds[i]);
        }
        zns_reset(g);
        zns_enable(g);
    }
    zns_assert_usable(g);
    zns_stop(g);
}

/* Commands are aborted, or their queue is deleted, while they are under way */
static void test_cancel(void)
{
    ZnsGuest *g = zns_start_usual("", "");
    NvmeCmd report = zns_receive(g, 0, 0, false, ZNS_BUFFER);
    NvmeCmd append = zns_rw(g, NVME_CMD_ZONE_APPEND, Z(1), 1);
    NvmeCmd full = zns_rw(g, NVME_CMD_WRITE, Z(3), 1);
    NvmeCmd abort = { .opcode = NVME_ADM_CMD_ABORT };
    NvmeCmd delete = {
        .opcode = NVME_ADM_CMD_DELETE_SQ,
        .cdw10 = cpu_to_le32(1),
    };

    assert_success(zns_manage(g, NVME_ZONE_ACTION_FINISH, Z(3)));
    for (int i = 0; i < 5; i++) {
        const NvmeCmd *cmds[] = { &report, &append, &full };

        for (int j = 0; j < ARRAY_SIZE(cmds); j++) {
            uint16_t cid = zns_submit(g, &g->io, cmds[j]);

            abort.cdw10 = cpu_to_le32((uint32_t)cid << 16 | 1);
            assert_success(zns_admin(g, abort));
            zns_wait(g, &g->io);
        }
    }
    for (int i = 0; i < 5; i++) {
        zns_submit(g, &g->io, &report);
        zns_submit(g, &g->io, &append);
        zns_submit(g, &g->io, &full);
    }
    assert_success(zns_admin(g, delete));
    zns_reset(g);
    zns_enable(g);
    zns_assert_usable(g);
    zns_stop(g);
}

/* QEMU starts again, and then the image has another kind of device. */
static void test_restart(void)
{
    const char *image = zns_image_new();
    ZnsGuest *g = zns_start_image(&(ZnsMachine) { .image = image });
    ZonedGuest *v;

    qtest_memset(g->qts, g->buffer, 'r', 4096);
    assert_success(zns_manage(g, NVME_ZONE_ACTION_OPEN, Z(0)));
    assert_success(zns_write(g, Z(1), 8));
    assert_success(zns_manage(g, NVME_ZONE_ACTION_FINISH, Z(2)));
    assert_success(zns_append(g, Z(3), 1, NULL));
    zns_stop(g);

    g = zns_start_image(&(ZnsMachine) { .image = image });
    assert_zone(g, 0, EMPTY, Z(0));
    assert_zone(g, 1, CLOSED, Z(1) + 8);
    assert_zone(g, 2, FULL, NO_WP);
    assert_zone(g, 3, CLOSED, Z(3) + 1);
    assert_success(zns_read(g, Z(1) + 7, 1));
    g_assert_cmphex(qtest_readb(g->qts, g->buffer + 511), ==, 'r');
    zns_stop(g);

    v = zoned_guest_start(&(ZonedGuestOptions) { .image = image });
    zoned_guest_assert_zone(v, Z(1), VIRTIO_BLK_ZS_CLOSED, Z(1) + 8);
    zoned_guest_assert_zone(v, Z(2), VIRTIO_BLK_ZS_FULL, Z(3));
    g_assert_cmpuint(zoned_guest_write(v, Z(1) + 8, 8), ==, VIRTIO_BLK_S_OK);
    zoned_guest_stop(v);

    g = zns_start_image(&(ZnsMachine) { .image = image });
    assert_zone(g, 1, CLOSED, Z(1) + 16);
    zns_assert_usable(g);
    zns_stop(g);
}

/* Starts QEMU with the image as it would be if the one that runs crashed now */
static ZnsGuest *start_crashed(const char *image)
{
    char *copy = zns_image_new();
    g_autofree char *data = NULL;
    gsize len;

    g_assert_true(g_file_get_contents(image, &data, &len, NULL));
    g_assert_true(g_file_set_contents(copy, data, len, NULL));
    return zns_start_image(&(ZnsMachine) { .image = copy });
}

/* Asserts that what @cmd, with FUA, writes to a zone is durable. */
static void assert_durable(ZnsGuest *g, const char *image, NvmeCmd cmd,
                           int zone, uint64_t pointer)
{
    ZnsGuest *crashed;

    cmd.cdw12 |= cpu_to_le32(ZNS_FUA);
    assert_success(zns_do(g, cmd));
    crashed = start_crashed(image);
    assert_zone(crashed, zone, CLOSED, pointer);
    zns_stop(crashed);
}

static void test_durable(void)
{
    const char *image = zns_image_new();
    ZnsGuest *g = zns_start_image(&(ZnsMachine) { .image = image });

    assert_durable(g, image, zns_rw(g, NVME_CMD_ZONE_APPEND, Z(1), 8), 1,
                   Z(1) + 8);
    assert_durable(g, image, zns_rw(g, NVME_CMD_WRITE, Z(2), 8), 2, Z(2) + 8);
    assert_durable(g, image, zns_rw(g, NVME_CMD_WRITE_ZEROES, Z(2) + 8, 8), 2,
                   Z(2) + 16);
    zns_stop(g);
}

/* All ranges of a copy are durable. */
static void test_durable_copy(void)
{
    const char *image = zns_image_new();
    ZnsGuest *g = zns_start_image(&(ZnsMachine) { .image = image });
    NvmeCmd copy = zns_copy(g, Z(1), 4, Z(2));
    NvmeCopySourceRangeFormat0_2 range;

    /* The same range once more */
    qtest_memread(g->qts, g->list, &range, sizeof(range));
    qtest_memwrite(g->qts, g->list + sizeof(range), &range, sizeof(range));
    copy.cdw12 |= cpu_to_le32(1);
    assert_success(zns_write(g, Z(1), 8));
    assert_durable(g, image, copy, 2, Z(2) + 8);
    zns_stop(g);
}

/* It takes one flush: here, what comes after some of them fails. */
static void test_copy_one_flush(void)
{
    ZnsGuest *g = zns_start_image(&(ZnsMachine) {
        .image = zns_image_new(),
        .rules = ",set-state.0.event=flush_to_disk,set-state.0.state=1,"
                 "set-state.0.new_state=2,"
                 "set-state.1.event=flush_to_disk,set-state.1.state=2,"
                 "set-state.1.new_state=3,"
                 "inject-error.0.event=flush_to_disk,inject-error.0.state=3,"
                 "inject-error.0.errno=5",
    });
    NvmeCmd copy = zns_copy(g, Z(1), 4, Z(2));
    NvmeCopySourceRangeFormat0_2 range;

    qtest_memread(g->qts, g->list, &range, sizeof(range));
    for (int i = 0; i < 8; i++) {
        qtest_memwrite(g->qts, g->list + i * sizeof(range), &range,
                       sizeof(range));
    }
    copy.cdw12 = cpu_to_le32(ZNS_FUA | 7);
    assert_success(zns_write(g, Z(1), 8));
    assert_success(zns_do(g, copy));
    assert_zone(g, 2, IMPLICITLY_OPEN, Z(2) + 32);
    zns_stop(g);
}

#define VM_STATE "-blockdev driver=qcow2,node-name=vm,file.driver=file," \
                 "file.filename=%s "

static char *qcow2_new(void)
{
    /* Its name will do. */
    char *path = zns_image_new();
    g_autofree char *line = g_strdup_printf(
        "%s create -q -f qcow2 %s 64M", getenv("QTEST_QEMU_IMG"), path);
    g_autoptr(GError) error = NULL;
    int status;

    g_spawn_command_line_sync(line, NULL, NULL, &status, &error);
    g_assert_no_error(error);
    g_assert_cmpint(status, ==, 0);
    return path;
}

/* Waits for a job to end.  Returns its error, or NULL. */
static char *wait_job(QTestState *qts, const char *id)
{
    char *error = NULL;

    for (;;) {
        QDict *answer = qtest_qmp(qts, "{ 'execute': 'query-jobs' }");
        QDict *job = qobject_to(QDict, qlist_peek(qdict_get_qlist(answer,
                                                                  "return")));
        bool is_over = g_str_equal(qdict_get_str(job, "status"), "concluded");

        if (is_over) {
            error = g_strdup(qdict_get_try_str(job, "error"));
        }
        qobject_unref(answer);
        if (is_over) {
            break;
        }
        g_usleep(1000);
    }
    qtest_qmp_assert_success(qts, "{ 'execute': 'job-dismiss',"
                             " 'arguments': { 'id': %s } }", id);
    return error;
}

/* An image with the snapshot "s" of a machine that has no NVMe controller */
static char *vm_state_new(void)
{
    char *image = qcow2_new();
    g_autofree char *args = g_strdup_printf("-machine pc -nodefaults " VM_STATE,
                                            image);
    QTestState *qts = qtest_init(args);

    qtest_qmp_assert_success(
        qts, "{ 'execute': 'snapshot-save', 'arguments': { 'job-id': 'save',"
        " 'tag': 's', 'vmstate': 'vm', 'devices': [ 'vm' ] } }");
    g_assert_null(wait_job(qts, "save"));
    qtest_quit(qts);
    return image;
}

/*
 * Loads that snapshot, which resets all devices while drives are drained.  With
 * a controller it fails then, as the machine of the snapshot had none.
 */
static void load_vm_state(ZnsGuest *g, bool with_controller)
{
    g_autofree char *error = NULL;

    zns_set_timeout(30);
    qtest_qmp_assert_success(
        g->qts, "{ 'execute': 'snapshot-load', 'arguments': {"
        " 'job-id': 'load', 'tag': 's', 'vmstate': 'vm',"
        " 'devices': [ 'vm' ] } }");
    error = wait_job(g->qts, "load");
    zns_set_timeout(0);
    if (with_controller) {
        /* QEMU 10.0, and later versions */
        g_assert_true(g_str_equal(error, "Error -22 while loading VM state") ||
                      strstr(error, "non-migratable device"));
    } else {
        g_assert_null(error);
    }
}

/* The machine is reset in a drained section: open zones are closed behind it */
static void test_load_snapshot(void)
{
    g_autofree char *args = g_strdup_printf(VM_STATE ZNS_DISK ZNS_ONE ZNS_NS,
                                            vm_state_new(), zns_image_new());
    ZnsGuest *g = zns_start(args);

    assert_success(zns_manage(g, NVME_ZONE_ACTION_OPEN, Z(0)));
    assert_success(zns_write(g, Z(1), 8));
    load_vm_state(g, true);
    qtest_qmp_assert_success(g->qts, "{ 'execute': 'cont' }");
    zns_reopen(g);
    assert_zone(g, 0, EMPTY, Z(0));
    assert_zone(g, 1, CLOSED, Z(1) + 8);
    zns_assert_usable(g);
    zns_stop(g);
}

/* A controller that is to be unplugged goes in such a reset. */
static void test_load_snapshot_unplug(void)
{
    g_autofree char *args = g_strdup_printf(
        VM_STATE ZNS_DISK "-device nvme,id=one,serial=zoned,addr=4,drive=disk",
        vm_state_new(), zns_image_new());
    ZnsGuest *g = zns_start(args);
    QTestState *qts = g->qts;

    assert_success(zns_manage(g, NVME_ZONE_ACTION_OPEN, Z(0)));
    qtest_qmp_assert_success(qts, "{ 'execute': 'device_del',"
                             " 'arguments': { 'id': 'one' } }");
    load_vm_state(g, false);
    qtest_qmp_eventwait(qts, "DEVICE_DELETED");
    qtest_qmp_assert_success(qts, "{ 'execute': 'blockdev-del',"
                             " 'arguments': { 'node-name': 'disk' } }");
    zns_stop_unplugged(g);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    qtest_add_func("nvme-zoned/reset", test_reset);
    qtest_add_func("nvme-zoned/reset-shared", test_reset_shared);
    qtest_add_func("nvme-zoned/shutdown-shared", test_shutdown_shared);
    qtest_add_func("nvme-zoned/reset-detached", test_reset_detached);
    qtest_add_func("nvme-zoned/reset-in-flight", test_reset_in_flight);
    qtest_add_func("nvme-zoned/cancel", test_cancel);
    qtest_add_func("nvme-zoned/restart", test_restart);
    qtest_add_func("nvme-zoned/load-snapshot", test_load_snapshot);
    qtest_add_func("nvme-zoned/load-snapshot-unplug",
                   test_load_snapshot_unplug);
    qtest_add_func("nvme-zoned/durable", test_durable);
    qtest_add_func("nvme-zoned/durable-copy", test_durable_copy);
    qtest_add_func("nvme-zoned/copy-one-flush", test_copy_one_flush);
    return g_test_run();
}

/*
 * QTest testcase for NVMe namespaces whose zones are those of a zoned image
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qobject/qdict.h"
#include "nvme-zns-rules.h"
#include "virtio-blk-zoned-guest.h"

/* The start of a zone, in blocks */
#define Z(i) ((i) * ZNS_ZONE)

#define ZNS_IMAGE_OPTIONS "zone_size=64k,zone_capacity=48k,max_open_zones=2," \
                          "max_active_zones=3"
#define ZNS_IMAGE_SIZE "512k"

/* Where the file has the zone table, and the data in sectors */
#define TABLE 4096
#define TABLE_SECTOR 8
#define DATA_SECTOR 2048

/* Parts of a machine whose two controllers share a namespace */
#define SHARED_ZONED "-blockdev driver=zoned,node-name=disk," \
                     "file.driver=file,file.filename=%s "
#define SHARED "-device nvme-subsys,id=both " \
               "-device nvme,id=one,serial=zoned,subsys=both,addr=4 "
#define SHARED_TWO "-device nvme,id=two,serial=zoned,subsys=both,addr=5"
#define SHARED_NS "-device nvme-ns,id=ns,bus=one,drive=disk"
#define SHARED_REFUSAL "zoned.auto_transition=off of controller 'two' " \
                       "contradicts namespace 'ns', whose drive closes zones"

static char *new_image(void)
{
    return zoned_image_new(ZNS_IMAGE_OPTIONS, ZNS_IMAGE_SIZE);
}

/* Options of the file's blkdebug node, the zoned node, namespace, controller */
typedef struct Start {
    const char *image;
    const char *rules;
    const char *node;
    const char *namespace;
    const char *controller;
} Start;

static const char *or_nothing(const char *options)
{
    return options ? options : "";
}

static char *machine_options(const Start *start)
{
    return g_strdup_printf(
        "-blockdev driver=blkdebug,node-name=file,image.driver=file,"
        "image.filename=%s%s "
        "-blockdev driver=zoned,node-name=disk,file=file%s "
        "-device nvme,id=nvme,serial=zoned,addr=4%s "
        "-device nvme-ns,id=ns,bus=nvme,drive=disk%s",
        start->image, or_nothing(start->rules), or_nothing(start->node),
        or_nothing(start->controller), or_nothing(start->namespace));
}

static ZnsGuest *start_image(const Start *start)
{
    g_autofree char *args = machine_options(start);

    return zns_start(args);
}

static ZnsGuest *start_usual(const char *namespace, const char *controller)
{
    return start_image(&(Start) {
        .image = new_image(),
        .namespace = namespace,
        .controller = controller,
    });
}

/* Sets a zone of an image to a condition, with data up to a block. */
static void set_zone(const char *image, int zone, uint64_t condition,
                     uint64_t end)
{
    uint64_t entry = cpu_to_le64(condition << 60 | end * 512);
    int fd = open(image, O_WRONLY);

    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(pwrite(fd, &entry, 8, TABLE + zone * 8), ==, 8);
    close(fd);
}

/* An image whose zone 1 is READ ONLY, with data, and zone 2 is OFFLINE */
static char *new_worn_image(void)
{
    char *image = new_image();

    set_zone(image, 1, NVME_ZONE_STATE_READ_ONLY, Z(1) + 8);
    set_zone(image, 2, NVME_ZONE_STATE_OFFLINE, Z(2));
    return image;
}

static void test_worn(void)
{
    ZnsGuest *g = start_image(&(Start) {
        .image = new_worn_image(),
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
    ZnsGuest *g = start_image(&(Start) { .image = new_worn_image() });

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
    ZnsGuest *g = start_usual("", "");

    assert_status(zns_do(g, zns_rw(g, NVME_CMD_COMPARE, Z(1) - 1, 2)),
                  NVME_ZONE_BOUNDARY_ERROR);
    assert_status(zns_do(g, zns_rw(g, NVME_CMD_VERIFY, Z(1) - 1, 2)),
                  NVME_ZONE_BOUNDARY_ERROR);
    zns_stop(g);
}

static void test_reset(void)
{
    ZnsGuest *g = start_usual("", "");

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
        SHARED_ZONED SHARED SHARED_TWO " " SHARED_NS, new_image());
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

/* The guest's buffer is in the controller. */
static void test_controller_memory(void)
{
    ZnsGuest *g = start_usual("", ",cmb_size_mb=2");
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

/* The commands that a controller has not completed when it is reset */
static void test_reset_in_flight(void)
{
    /* So many zones that the drive is asked for them again and again */
    ZnsGuest *g = start_image(&(Start) {
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
    ZnsGuest *g = start_usual("", "");
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

/* More zones than are asked for at once, in a buffer of many pages */
static void test_many_zones(void)
{
    ZnsGuest *g = start_image(&(Start) {
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
    ZnsGuest *g = start_usual("", "");

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

/* The image's limit of appends, where it is lower than MDTS */
static void test_image_append_limit(void)
{
    ZnsGuest *g = start_image(&(Start) {
        .image = zoned_image_new("zone_size=64k,max_append_sectors=40",
                                 "512k"),
    });
    g_autofree NvmeIdCtrlZoned *id = g_new(NvmeIdCtrlZoned, 1);

    zns_identify(g, NVME_ID_CNS_CS_CTRL, NVME_CSI_ZONED, id);
    g_assert_cmpuint(id->zasl, ==, 2);
    assert_success(zns_append(g, Z(1), 32, NULL));
    assert_status(zns_append(g, Z(1), 33, NULL), NVME_INVALID_FIELD);
    assert_zone(g, 1, IMPLICITLY_OPEN, Z(1) + 32);
    zns_stop(g);
}

/* A guest that knows nothing of the image's limits gets it all */
static void test_no_limits(void)
{
    ZnsGuest *g = start_image(&(Start) {
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
    ZnsGuest *g = start_image(&(Start) {
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

static void test_read_only(void)
{
    ZnsGuest *g = start_image(&(Start) {
        .image = new_worn_image(),
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

/* What QEMU prints for options that it must refuse */
static char *refusal(const char *options)
{
    /* If nothing else is wrong, this is: a controller without a serial */
    g_autofree char *line = g_strdup_printf(
        "%s -machine pc -accel qtest -nodefaults -display none %s "
        "-device nvme", getenv("QTEST_QEMU_BINARY"), options);
    g_autoptr(GError) error = NULL;
    char *message;
    int status;

    g_spawn_command_line_sync(line, NULL, &message, &status, &error);
    g_assert_no_error(error);
    g_assert_cmpint(status, !=, 0);
    return message;
}

static void assert_options_message(const char *options, const char *why)
{
    g_autofree char *message = refusal(options);

    if (!strstr(message, why)) {
        g_error("%s: expected '%s', not '%s'", options, why, message);
    }
}

static void assert_message(const Start *start, const char *why)
{
    g_autofree char *options = machine_options(start);

    assert_options_message(options, why);
}

static void assert_refused(const char *image, const char *namespace,
                           const char *why)
{
    Start start = { .image = image, .namespace = namespace };

    assert_message(&start, why);
}

static void test_contradiction(void)
{
    static const struct {
        const char *option;
        const char *why;
    } cases[] = {
        { ",zoned.zone_size=128k", "zoned.zone_size=131072 contradicts the "
          "drive, whose zone size is 65536" },
        { ",zoned=on,zoned.zone_size=128M", "zoned.zone_size=134217728 "
          "contradicts the drive, whose zone size is 65536" },
        { ",zoned.zone_capacity=64k", "zoned.zone_capacity=65536 contradicts "
          "the drive, whose zone capacity is 49152" },
        { ",zoned.max_open=1", "zoned.max_open=1 contradicts the drive, whose "
          "limit of open zones (0: none) is 2" },
        { ",zoned.max_active=2", "zoned.max_active=2 contradicts the drive, "
          "whose limit of active zones (0: none) is 3" },
        { ",zoned.descr_ext_size=64", "zoned.descr_ext_size=64 contradicts "
          "the drive, whose size of zone descriptor extensions is 0" },
        { ",zoned.zrwas=4k", "no zone random write areas" },
        { ",zoned.numzrwa=1", "no zone random write areas" },
        { ",zoned.zrwafg=4k", "no zone random write areas" },
        { ",ms=8", "no place for metadata (ms=8)" },
        /* What agrees is not refused. */
        { ",zoned=on,zoned.zone_size=64k,zoned.zone_capacity=48k,"
          "zoned.max_active=3", "serial property not set" },
        { ",zoned.max_open=2,zoned.max_active=3", "serial property not set" },
    };
    const char *image = new_image();

    for (int i = 0; i < ARRAY_SIZE(cases); i++) {
        assert_refused(image, cases[i].option, cases[i].why);
    }
}

/* The node closes zones, whatever the controller is told. */
static void test_auto_transition(void)
{
    Start start = {
        .image = new_image(),
        .controller = ",zoned.auto_transition=off",
    };

    assert_message(&start, "zoned.auto_transition=off contradicts the drive, "
                   "which is always on");
    start.controller = ",zoned.auto_transition=on";
    assert_message(&start, "serial property not set");
}

/* The same of another controller of the subsystem, which comes first or last */
static void test_auto_transition_shared(void)
{
    static const struct {
        const char *rest;
        const char *why;
    } cases[] = {
        { SHARED SHARED_NS " " SHARED_TWO ",zoned.auto_transition=off",
          SHARED_REFUSAL },
        { SHARED SHARED_TWO ",zoned.auto_transition=off " SHARED_NS,
          SHARED_REFUSAL },
        /* A guest can have a private namespace attached elsewhere. */
        { SHARED SHARED_NS ",shared=off " SHARED_TWO
          ",zoned.auto_transition=off", SHARED_REFUSAL },
        { SHARED SHARED_NS " " SHARED_TWO ",zoned.auto_transition=on",
          "serial property not set" },
    };
    const char *image = new_image();

    for (int i = 0; i < ARRAY_SIZE(cases); i++) {
        g_autofree char *options = g_strdup_printf(SHARED_ZONED "%s", image,
                                                   cases[i].rest);

        assert_options_message(options, cases[i].why);
    }
    /* Zones that are kept in memory can do without. */
    assert_options_message("-blockdev driver=null-co,node-name=disk,"
                           "size=1073741824 " SHARED SHARED_NS ",zoned=on "
                           SHARED_TWO ",zoned.auto_transition=off",
                           "serial property not set");
}

/* A controller is plugged into the subsystem of a namespace in use. */
static void test_auto_transition_hotplug(void)
{
    g_autofree char *args = g_strdup_printf(SHARED_ZONED SHARED SHARED_NS,
                                            new_image());
    ZnsGuest *one = zns_start(args);
    ZnsGuest *two;
    QDict *error;

    error = qtest_qmp_assert_failure_ref(
        one->qts, "{ 'execute': 'device_add', 'arguments': {"
        " 'driver': 'nvme', 'id': 'two', 'serial': 'zoned', 'subsys': 'both',"
        " 'addr': '5', 'zoned.auto_transition': false } }");
    g_assert_nonnull(strstr(qdict_get_str(error, "desc"), SHARED_REFUSAL));
    qobject_unref(error);

    /* Nothing is left of it. */
    qtest_qmp_device_add(one->qts, "nvme", "two", "{ 'serial': 'zoned',"
                         " 'subsys': 'both', 'addr': '5' }");
    two = zns_open(one, 5);
    assert_success(zns_write(two, Z(1), 8));
    assert_zone(one, 1, IMPLICITLY_OPEN, Z(1) + 8);
    zns_close(two);
    zns_assert_usable(one);
    zns_stop(one);
}

static void test_refused_image(void)
{
    char *unaligned = zoned_image_new("zone_size=64k", "512k");

    assert_refused(zoned_image_new("zone_size=64k,zone_nr_conv=1", "512k"), "",
                   "the zone at byte 0 of the drive is conventional");
    assert_refused(zoned_image_new("zone_size=64k", "544k"), "",
                   "the zone at byte 524288 of the drive has 32768 bytes, not "
                   "65536 like the others");
    assert_refused(zoned_image_new("zone_size=64k,max_append_sectors=8",
                                   "512k"), "",
                   "largest zone append, 4096 bytes, is less than NVMe can "
                   "ask for, 8192 bytes");
    assert_refused(zoned_image_new("zone_size=12k", "120k"),
                   ",logical_block_size=8192,physical_block_size=8192",
                   "zones of 12288 bytes are no multiple of "
                   "logical_block_size 8192");
    assert_refused(zoned_image_new("zone_size=16k,zone_capacity=12k", "160k"),
                   ",logical_block_size=8192,physical_block_size=8192",
                   "does not go with logical_block_size 8192");
    set_zone(unaligned, 3, NVME_ZONE_STATE_CLOSED, Z(3) + 1);
    assert_refused(unaligned, ",logical_block_size=4096,"
                   "physical_block_size=4096",
                   "the zone at byte 196608 of the drive, with capacity 65536 "
                   "and write pointer 197120, does not go with "
                   "logical_block_size 4096");
    assert_refused(unaligned, "", "serial property not set");
}

/* Blocks of 4 KiB */
static void test_large_blocks(void)
{
    ZnsGuest *g = start_usual(",logical_block_size=4096,"
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

/* QEMU starts again, and then the image has another kind of device. */
static void test_restart(void)
{
    const char *image = new_image();
    ZnsGuest *g = start_image(&(Start) { .image = image });
    ZonedGuest *v;

    qtest_memset(g->qts, g->buffer, 'r', 4096);
    assert_success(zns_manage(g, NVME_ZONE_ACTION_OPEN, Z(0)));
    assert_success(zns_write(g, Z(1), 8));
    assert_success(zns_manage(g, NVME_ZONE_ACTION_FINISH, Z(2)));
    assert_success(zns_append(g, Z(3), 1, NULL));
    zns_stop(g);

    g = start_image(&(Start) { .image = image });
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

    g = start_image(&(Start) { .image = image });
    assert_zone(g, 1, CLOSED, Z(1) + 16);
    zns_assert_usable(g);
    zns_stop(g);
}

/* Starts QEMU with the image as it would be if the one that runs crashed now */
static ZnsGuest *start_crashed(const char *image)
{
    char *copy = new_image();
    g_autofree char *data = NULL;
    gsize len;

    g_assert_true(g_file_get_contents(image, &data, &len, NULL));
    g_assert_true(g_file_set_contents(copy, data, len, NULL));
    return start_image(&(Start) { .image = copy });
}

/* Force Unit Access, in dword 12 of each command that writes */
#define FUA ((uint32_t)NVME_RW_FUA << 16)

/* Asserts that what @cmd, with FUA, writes to a zone is durable. */
static void assert_durable(ZnsGuest *g, const char *image, NvmeCmd cmd,
                           int zone, uint64_t pointer)
{
    ZnsGuest *crashed;

    cmd.cdw12 |= cpu_to_le32(FUA);
    assert_success(zns_do(g, cmd));
    crashed = start_crashed(image);
    assert_zone(crashed, zone, CLOSED, pointer);
    zns_stop(crashed);
}

static void test_durable(void)
{
    const char *image = new_image();
    ZnsGuest *g = start_image(&(Start) { .image = image });

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
    const char *image = new_image();
    ZnsGuest *g = start_image(&(Start) { .image = image });
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

/* A guest takes zones that can only be read offline, one or all, for good. */
static void test_offline(void)
{
    const char *image = new_worn_image();
    ZnsGuest *g;

    set_zone(image, 4, NVME_ZONE_STATE_READ_ONLY, Z(4));
    set_zone(image, 5, NVME_ZONE_STATE_READ_ONLY, Z(5) + 8);
    g = start_image(&(Start) { .image = image });
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

    g = start_image(&(Start) { .image = image });
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
    ZnsGuest *g = start_image(&(Start) {
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

    g = start_image(&(Start) { .image = image });
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
    ZnsGuest *g = start_image(&(Start) { .image = new_extended_image() });
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

#define FAIL_WRITE ",inject-error.0.event=none,inject-error.0.iotype=write," \
                   "inject-error.0.errno=5,inject-error.0.once=on,"         \
                   "inject-error.0.sector="

/* A guest finds an error of the host in the status, and the zone as it is. */
static void test_host_error(void)
{
    g_autofree char *data = g_strdup_printf(FAIL_WRITE "%d",
                                            DATA_SECTOR + Z(1));
    g_autofree char *table = g_strdup_printf(FAIL_WRITE "%d", TABLE_SECTOR);
    ZnsGuest *g = start_image(&(Start) { .image = new_image(), .rules = data });

    assert_status(zns_append(g, Z(1), 8, NULL), NVME_WRITE_FAULT);
    g_assert_cmpuint(le64_to_cpu(zns_zone(g, Z(1)).wp), ==, Z(1));
    assert_success(zns_append(g, Z(1), 8, NULL));
    zns_assert_usable(g);
    zns_stop(g);

    g = start_image(&(Start) { .image = new_image(), .rules = table });
    assert_success(zns_write(g, Z(1), 8));
    assert_status(zns_manage(g, NVME_ZONE_ACTION_FINISH, Z(1)),
                  NVME_INTERNAL_DEV_ERROR);
    assert_success(zns_manage(g, NVME_ZONE_ACTION_FINISH, Z(1)));
    assert_zone(g, 1, FULL, NO_WP);
    zns_assert_usable(g);
    zns_stop(g);
}

/* A copy with FUA fails if what it wrote cannot be made durable. */
static void test_host_error_copy(void)
{
    g_autofree char *table = g_strdup_printf(FAIL_WRITE "%d", TABLE_SECTOR);
    ZnsGuest *g = start_image(&(Start) {
        .image = new_image(),
        .rules = table,
    });
    NvmeCmd copy = zns_copy(g, Z(1), 4, Z(2));

    copy.cdw12 |= cpu_to_le32(FUA);
    assert_success(zns_write(g, Z(1), 8));
    assert_status(zns_do(g, copy), NVME_WRITE_FAULT);
    zns_assert_usable(g);
    zns_stop(g);
}

/* While a block job has put a filter above it, the node is out of reach. */
static void test_filter(void)
{
    g_autofree char *args = NULL;
    g_autofree char *options = machine_options(&(Start) {
        .image = new_image(),
    });
    ZnsGuest *g;

    args = g_strdup_printf("%s -blockdev driver=null-co,node-name=target,"
                           "size=%d", options, ZNS_BLOCKS * 512);
    g = zns_start(args);
    qtest_qmp_assert_success(g->qts,
                             "{ 'execute': 'blockdev-mirror', 'arguments': {"
                             " 'job-id': 'job', 'device': 'disk',"
                             " 'target': 'target', 'sync': 'none' } }");
    assert_status(zns_append(g, Z(1), 8, NULL), NVME_WRITE_FAULT);
    assert_status(zns_manage(g, NVME_ZONE_ACTION_OPEN, Z(1)),
                  NVME_INTERNAL_DEV_ERROR);
    assert_status(zns_do(g, zns_receive(g, 0, 0, false, 4096)),
                  NVME_INTERNAL_DEV_ERROR);
    assert_success(zns_write(g, Z(1), 8));
    assert_status(zns_write(g, Z(1), 8), NVME_ZONE_INVALID_WRITE);
    qtest_qmp_assert_success(g->qts,
                             "{ 'execute': 'block-job-cancel', 'arguments': {"
                             " 'device': 'job', 'force': true } }");
    qtest_qmp_eventwait(g->qts, "BLOCK_JOB_CANCELLED");
    assert_zone(g, 1, IMPLICITLY_OPEN, Z(1) + 8);
    zns_assert_usable(g);
    zns_stop(g);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    zns_add_rules("nvme-zoned", start_usual);
    qtest_add_func("nvme-zoned/worn", test_worn);
    qtest_add_func("nvme-zoned/worn-copy", test_worn_copy);
    qtest_add_func("nvme-zoned/cross-compare", test_cross_compare);
    qtest_add_func("nvme-zoned/reset", test_reset);
    qtest_add_func("nvme-zoned/reset-shared", test_reset_shared);
    qtest_add_func("nvme-zoned/reset-in-flight", test_reset_in_flight);
    qtest_add_func("nvme-zoned/controller-memory", test_controller_memory);
    qtest_add_func("nvme-zoned/cancel", test_cancel);
    qtest_add_func("nvme-zoned/many-zones", test_many_zones);
    qtest_add_func("nvme-zoned/bad-memory", test_bad_memory);
    qtest_add_func("nvme-zoned/image-append-limit", test_image_append_limit);
    qtest_add_func("nvme-zoned/no-limits", test_no_limits);
    qtest_add_func("nvme-zoned/one-zone", test_one_zone);
    qtest_add_func("nvme-zoned/read-only", test_read_only);
    qtest_add_func("nvme-zoned/contradiction", test_contradiction);
    qtest_add_func("nvme-zoned/auto-transition", test_auto_transition);
    qtest_add_func("nvme-zoned/auto-transition-shared",
                   test_auto_transition_shared);
    qtest_add_func("nvme-zoned/auto-transition-hotplug",
                   test_auto_transition_hotplug);
    qtest_add_func("nvme-zoned/refused-image", test_refused_image);
    qtest_add_func("nvme-zoned/large-blocks", test_large_blocks);
    qtest_add_func("nvme-zoned/restart", test_restart);
    qtest_add_func("nvme-zoned/durable", test_durable);
    qtest_add_func("nvme-zoned/durable-copy", test_durable_copy);
    qtest_add_func("nvme-zoned/offline", test_offline);
    qtest_add_func("nvme-zoned/extension", test_extension);
    qtest_add_func("nvme-zoned/extension-refused", test_extension_refused);
    qtest_add_func("nvme-zoned/host-error", test_host_error);
    qtest_add_func("nvme-zoned/host-error-copy", test_host_error_copy);
    qtest_add_func("nvme-zoned/filter", test_filter);
    return g_test_run();
}

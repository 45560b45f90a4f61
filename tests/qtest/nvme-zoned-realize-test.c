/*
 * QTest testcase for images and options that a zoned NVMe namespace cannot have
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/units.h"
#include "qemu/bswap.h"
#include "qobject/qdict.h"
#include "qobject/qlist.h"
#include "nvme-zns-guest.h"
#include "virtio-blk-zoned-guest.h"

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

static void assert_message(const ZnsMachine *machine, const char *why)
{
    g_autofree char *options = zns_machine_args(machine);

    assert_options_message(options, why);
}

static void assert_refused(const char *image, const char *namespace,
                           const char *why)
{
    ZnsMachine machine = { .image = image, .namespace = namespace };

    assert_message(&machine, why);
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
    const char *image = zns_image_new();

    for (int i = 0; i < ARRAY_SIZE(cases); i++) {
        assert_refused(image, cases[i].option, cases[i].why);
    }
}

static void assert_zone_size(QTestState *qts, const char *path, int64_t size)
{
    QDict *answer = qtest_qmp(qts, "{ 'execute': 'qom-get', 'arguments': {"
                              " 'path': %s, 'property': 'zoned.zone_size' } }",
                              path);

    g_assert_cmpint(qdict_get_int(answer, "return"), ==, size);
    qobject_unref(answer);
}

/*
 * The default of an option, which is that of zones in memory, is what it has
 * always been; given for all devices, it is given.
 */
static void test_default(void)
{
    g_autofree char *args = g_strdup_printf(
        "-machine pc -nodefaults " ZNS_DISK "-device nvme,id=one,serial=zoned "
        "-blockdev driver=null-co,node-name=null,size=536870912 "
        "-device nvme-ns,id=zoned,bus=one,drive=disk "
        "-device nvme-ns,id=plain,bus=one,drive=null", zns_image_new());
    g_autofree char *given = g_strdup_printf(
        "-global nvme-ns.zoned.zone_size=128M " ZNS_DISK ZNS_ONE ZNS_NS,
        zns_image_new());
    QTestState *qts = qtest_init(args);
    QDict *answer = qtest_qmp(qts, "{ 'execute': 'device-list-properties',"
                              " 'arguments': { 'typename': 'nvme-ns' } }");
    QList *properties = qdict_get_qlist(answer, "return");
    const QListEntry *entry;
    int found = 0;

    QLIST_FOREACH_ENTRY(properties, entry) {
        QDict *property = qobject_to(QDict, qlist_entry_obj(entry));

        if (g_str_equal(qdict_get_str(property, "name"), "zoned.zone_size")) {
            g_assert_cmpstr(qdict_get_str(property, "type"), ==, "size");
            g_assert_cmpint(qdict_get_int(property, "default-value"), ==,
                            128 * MiB);
            found++;
        }
    }
    g_assert_cmpint(found, ==, 1);
    qobject_unref(answer);
    assert_zone_size(qts, "/machine/peripheral/plain", 128 * MiB);
    assert_zone_size(qts, "/machine/peripheral/zoned", 128 * MiB);
    qtest_quit(qts);
    assert_options_message(given, "zoned.zone_size=134217728 contradicts the "
                           "drive, whose zone size is 65536");
}

/* The node closes zones, whatever the controller is told. */
static void test_auto_transition(void)
{
    ZnsMachine machine = {
        .image = zns_image_new(),
        .controller = ",zoned.auto_transition=off",
    };

    assert_message(&machine, "zoned.auto_transition=off contradicts the drive, "
                   "which is always on");
    machine.controller = ",zoned.auto_transition=on";
    assert_message(&machine, "serial property not set");
}

#define SHARED_REFUSAL "zoned.auto_transition=off of controller 'two' " \
                       "contradicts namespace 'ns', whose drive closes zones"

/* The same of another controller of the subsystem, which comes first or last */
static void test_auto_transition_shared(void)
{
    static const struct {
        const char *rest;
        const char *why;
    } cases[] = {
        { ZNS_ONE ZNS_NS " " ZNS_TWO ",zoned.auto_transition=off",
          SHARED_REFUSAL },
        { ZNS_ONE ZNS_TWO ",zoned.auto_transition=off " ZNS_NS,
          SHARED_REFUSAL },
        /* A guest can have a private namespace attached elsewhere. */
        { ZNS_ONE ZNS_NS ",shared=off " ZNS_TWO
          ",zoned.auto_transition=off", SHARED_REFUSAL },
        { ZNS_ONE ZNS_NS " " ZNS_TWO ",zoned.auto_transition=on",
          "serial property not set" },
    };
    const char *image = zns_image_new();

    for (int i = 0; i < ARRAY_SIZE(cases); i++) {
        g_autofree char *options = g_strdup_printf(ZNS_DISK "%s", image,
                                                   cases[i].rest);

        assert_options_message(options, cases[i].why);
    }
    /* Zones that are kept in memory can do without. */
    assert_options_message("-blockdev driver=null-co,node-name=disk,"
                           "size=1073741824 " ZNS_ONE ZNS_NS ",zoned=on "
                           ZNS_TWO ",zoned.auto_transition=off",
                           "serial property not set");
}

/* A controller is plugged into the subsystem of a namespace in use. */
static void test_auto_transition_hotplug(void)
{
    g_autofree char *args = g_strdup_printf(ZNS_DISK ZNS_ONE ZNS_NS,
                                            zns_image_new());
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
    zns_image_set_zone(unaligned, 3, NVME_ZONE_STATE_CLOSED, Z(3) + 1);
    assert_refused(unaligned, ",logical_block_size=4096,"
                   "physical_block_size=4096",
                   "the zone at byte 196608 of the drive, with capacity 65536 "
                   "and write pointer 197120, does not go with "
                   "logical_block_size 4096");
    assert_refused(unaligned, "", "serial property not set");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    qtest_add_func("nvme-zoned/contradiction", test_contradiction);
    qtest_add_func("nvme-zoned/default", test_default);
    qtest_add_func("nvme-zoned/auto-transition", test_auto_transition);
    qtest_add_func("nvme-zoned/auto-transition-shared",
                   test_auto_transition_shared);
    qtest_add_func("nvme-zoned/auto-transition-hotplug",
                   test_auto_transition_hotplug);
    qtest_add_func("nvme-zoned/refused-image", test_refused_image);
    return g_test_run();
}

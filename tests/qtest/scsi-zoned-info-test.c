/*
 * QTest testcase for a zoned SCSI disk: what it says of itself, and what cannot
 * be one
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qemu/units.h"
#include "qapi/error.h"
#include "qobject/qdict.h"
#include "qobject/qjson.h"
#include "scsi-zoned-guest.h"

#define ZBC_TYPE 0x14

#define ZBC_OUT_OPCODE 0x94
#define ZBC_IN_OPCODE 0x95
#define REPORT_OPCODES 0x0c

#define BLOCK_512E ",logical_block_size=512,physical_block_size=4096"

/* INQUIRY that succeeds, into @buf of 256 bytes, which is 0 behind that */
static void inquire(ScsiGuest *g, int page, uint16_t len, uint8_t *buf)
{
    ScsiRequest req = scsi_inquiry(page, len);

    memset(buf, 0, 256);
    assert_good(scsi_guest_do(g, &req, buf));
}

static void test_inquiry(void)
{
    ScsiGuest *g = scsi_guest_start_usual(STOP);
    uint8_t buf[256];
    ScsiRequest req;

    inquire(g, -1, 96, buf);
    g_assert_cmphex(buf[0], ==, ZBC_TYPE);
    g_assert_cmphex(buf[1], ==, 0);
    g_assert_cmpuint(buf[2], >=, 5);
    for (uint16_t len = 0; len < 96; len++) {
        uint8_t part[256];

        inquire(g, -1, len, part);
        /* The length says something else then. */
        part[4] = len > 4 ? buf[4] : 0;
        g_assert_cmpmem(part, len, buf, len);
    }
    /* A page, but no vital product data */
    req = scsi_inquiry(-1, 96);
    req.cdb[2] = 0xb6;
    assert_scsi(scsi_guest_do(g, &req, NULL), S_INVALID_FIELD);
    scsi_guest_stop(g);
}

/* The pages that are listed are there, and no others. */
static void test_vpd_pages(void)
{
    ScsiGuest *g = scsi_guest_start_usual(STOP ",serial=zoned");
    uint8_t list[256], buf[256];
    int next = 4;

    inquire(g, 0x00, 255, list);
    g_assert_cmphex(list[0], ==, ZBC_TYPE);
    for (int page = 0; page <= 0xff; page++) {
        if (next < 4 + lduw_be_p(&list[2]) && page == list[next]) {
            next++;
            inquire(g, page, 255, buf);
            g_assert_cmphex(buf[0], ==, ZBC_TYPE);
            g_assert_cmphex(buf[1], ==, page);
        } else {
            ScsiRequest req = scsi_inquiry(page, 255);

            g_assert_true(page != 0xb0 && page != 0xb1 && page != 0xb6);
            assert_scsi(scsi_guest_do(g, &req, NULL), S_INVALID_FIELD);
        }
    }
    g_assert_cmpint(next, ==, 4 + lduw_be_p(&list[2]));
    scsi_guest_stop(g);
}

static void test_vpd_limits(void)
{
    ScsiGuest *g = scsi_guest_start_usual(STOP);
    uint8_t buf[256];

    inquire(g, 0xb0, 255, buf);
    g_assert_cmphex(lduw_be_p(&buf[2]), ==, 0x3c);
    g_assert_cmphex(buf[4] & 1, ==, 1);                     /* WSNZ */
    for (int i = 20; i < 36; i++) {
        /* UNMAP, its granularity and alignment */
        g_assert_cmphex(buf[i], ==, 0);
    }
    g_assert_cmpuint(ldq_be_p(&buf[36]), ==, 512 * KiB / 512);
    scsi_guest_stop(g);

    g = scsi_guest_start_usual(STOP BLOCK_4K);
    inquire(g, 0xb0, 255, buf);
    g_assert_cmpuint(ldq_be_p(&buf[36]), ==, 512 * KiB / 4096);
    scsi_guest_stop(g);
}

static void test_vpd_characteristics(void)
{
    ScsiGuest *g = scsi_guest_start_usual(STOP ",rotation_rate=7200");
    uint8_t buf[256];

    inquire(g, 0xb1, 255, buf);
    g_assert_cmphex(lduw_be_p(&buf[2]), ==, 0x3c);
    g_assert_cmpuint(lduw_be_p(&buf[4]), ==, 7200);
    /* ZONED is for what is not host-managed. */
    g_assert_cmphex(buf[8] & 0x30, ==, 0);
    scsi_guest_stop(g);
}

static void test_vpd_zoned(void)
{
    static const struct {
        const char *options;
        uint32_t max_open;
    } tests[] = {
        { "zone_size=64k,max_open_zones=2,max_active_zones=3", 2 },
        { "zone_size=64k,max_open_zones=2", 2 },
        { "zone_size=64k,max_active_zones=3", 3 },
        { "zone_size=64k", UINT32_MAX },
    };

    for (int i = 0; i < ARRAY_SIZE(tests); i++) {
        ScsiGuest *g = scsi_guest_start_image(tests[i].options, "512k", STOP);
        uint8_t expected[256] = {
            ZBC_TYPE, 0xb6, 0, 0x3c, 1, [8] = 0xff, 0xff, 0xff, 0xff, 0xff,
            0xff, 0xff, 0xff, [23] = 1,
        };
        uint8_t buf[256];

        stl_be_p(&expected[16], tests[i].max_open);
        for (uint16_t len = 0; len < 70; len++) {
            memset(buf, 0, sizeof(buf));
            inquire(g, 0xb6, len, buf);
            g_assert_cmpmem(buf, len, expected, len);
        }
        scsi_guest_stop(g);
    }
}

static void assert_capacity(const char *device, uint64_t last,
                            uint8_t exponent)
{
    ScsiGuest *g = scsi_guest_start_usual(device);
    ScsiRequest req = scsi_command(READ_CAPACITY_10, 0, 8);
    uint8_t expected[32] = {}, buf[32];

    assert_good(scsi_guest_do(g, &req, buf));
    g_assert_cmpuint(ldl_be_p(buf), ==, last);
    g_assert_cmpuint(ldl_be_p(&buf[4]), ==, g->block_size);
    req.cdb[5] = 1;
    assert_scsi(scsi_guest_do(g, &req, NULL), S_INVALID_FIELD);

    stq_be_p(expected, last);
    stl_be_p(&expected[8], g->block_size);
    expected[12] = 0x10;                /* RC BASIS; no protection */
    expected[13] = exponent;            /* 14: no provisioning */
    for (uint32_t len = 0; len <= 32; len++) {
        req = scsi_command(SERVICE_ACTION_IN_16, 0, len);
        req.cdb[1] = SAI_READ_CAPACITY_16;
        req.cdb[13] = len;
        assert_good(scsi_guest_do(g, &req, buf));
        g_assert_cmpmem(buf, len, expected, len);
    }
    req.cdb[9] = 1;
    assert_scsi(scsi_guest_do(g, &req, NULL), S_INVALID_FIELD);
    scsi_guest_stop(g);
}

static void test_capacity(void)
{
    assert_capacity(STOP, CAPACITY - 1, 0);
    assert_capacity(STOP BLOCK_512E, CAPACITY - 1, 3);
    assert_capacity(STOP BLOCK_4K, CAPACITY / 8 - 1, 0);
}

/* The device-specific parameter of both commands */
static uint8_t mode_parameter(ScsiGuest *g)
{
    ScsiRequest req = scsi_command(MODE_SENSE, 0, 255);
    ScsiRequest req10 = scsi_command(MODE_SENSE_10, 0, 255);
    uint8_t buf[255], buf10[255];

    req.cdb[2] = req10.cdb[2] = 0x3f;
    req.cdb[4] = req10.cdb[8] = 255;
    assert_good(scsi_guest_do(g, &req, buf));
    assert_good(scsi_guest_do(g, &req10, buf10));
    g_assert_cmphex(buf[1], ==, 0);
    g_assert_cmphex(buf10[2], ==, 0);
    g_assert_cmphex(buf[2], ==, buf10[3]);
    return buf[2];
}

static void test_mode(void)
{
    ScsiGuest *g = scsi_guest_start_usual(STOP ",dpofua=off");
    ScsiRequest req = scsi_command(MODE_SENSE, 0, 64);
    uint8_t buf[64];

    g_assert_cmphex(mode_parameter(g), ==, 0);
    /* The write cache */
    req.cdb[1] = 8;
    req.cdb[2] = 8;
    req.cdb[4] = 64;
    assert_good(scsi_guest_do(g, &req, buf));
    g_assert_cmphex(buf[4] & 0x3f, ==, 8);
    g_assert_cmphex(buf[6] & 4, ==, 4);
    scsi_guest_stop(g);

    g = scsi_guest_start_usual(STOP ",dpofua=on");
    g_assert_cmphex(mode_parameter(g), ==, 0x10);
    scsi_guest_stop(g);

    g = scsi_guest_start(&(ScsiGuestOptions) {
        .vm.image = zoned_image_new(SCSI_IMAGE_OPTIONS, IMAGE_SIZE),
        .vm.node = ",read-only=on",
        .vm.device = STOP ",dpofua=off",
    });
    g_assert_cmphex(mode_parameter(g), ==, 0x80);
    scsi_guest_stop(g);
}

static ScsiRequest report_opcodes(uint8_t options, uint8_t opcode,
                                  uint16_t action, uint32_t len)
{
    ScsiRequest req = scsi_command(MAINTENANCE_IN, 0, len);

    req.cdb[1] = REPORT_OPCODES;
    req.cdb[2] = options;
    req.cdb[3] = opcode;
    stw_be_p(&req.cdb[4], action);
    stl_be_p(&req.cdb[6], len);
    return req;
}

/* How long its CDBs are */
static int cdb_length(uint8_t opcode)
{
    static const int lengths[] = { 6, 10, 10, 0, 16, 12, 0, 0 };

    return lengths[opcode >> 5];
}

/* What the disk says to a command with no more than its service action */
static uint32_t try_command(ScsiGuest *g, uint8_t opcode, uint8_t action)
{
    static const size_t lens[][2] = {
        { 0, 0 }, { 0, 1 * MiB }, { 1 * MiB, 0 },
    };
    uint32_t status = SCSI_RESPONSE(1);

    /* Some have data. */
    for (int i = 0; i < 3 && status == SCSI_RESPONSE(1); i++) {
        ScsiRequest req = scsi_command(opcode, lens[i][0], lens[i][1]);

        req.cdb[1] = action;
        status = scsi_guest_do(g, &req, NULL);
    }
    return status;
}

#define MAX_OPCODES 8192

/* A command of the list that is at @list; SERVICE ACTION is -1 for none. */
static bool is_listed(const uint8_t *list, bool timeouts, uint8_t opcode,
                      int action)
{
    uint32_t len = ldl_be_p(list);

    for (uint32_t i = 4; i < len + 4; i += timeouts ? 20 : 8) {
        const uint8_t *p = &list[i];
        bool has_action = p[5] & 1;

        g_assert_cmpint(lduw_be_p(&p[6]), ==, cdb_length(p[0]));
        g_assert_cmphex(p[5] & ~1, ==, timeouts ? 2 : 0);
        if (timeouts) {
            g_assert_cmpuint(lduw_be_p(&p[8]), ==, 10);
        }
        if (p[0] == opcode &&
            (action < 0 ? true : has_action && lduw_be_p(&p[2]) == action)) {
            return true;
        }
    }
    return false;
}

static bool has_actions(uint8_t opcode)
{
    return opcode == ZBC_IN_OPCODE || opcode == ZBC_OUT_OPCODE ||
           opcode == SERVICE_ACTION_IN_16 || opcode == MAINTENANCE_IN;
}

/* What is listed is there, and nothing else. */
static void test_opcodes(void)
{
    ScsiGuest *g = scsi_guest_start_usual(STOP);
    g_autofree uint8_t *list = g_malloc0(MAX_OPCODES);
    ScsiRequest req = report_opcodes(0, 0, 0, MAX_OPCODES);

    assert_good(scsi_guest_do(g, &req, list));
    for (int opcode = 0; opcode <= 0xff; opcode++) {
        bool listed = is_listed(list, false, opcode, -1);

        for (int action = 0; action < 32; action++) {
            uint32_t status = try_command(g, opcode, action);

            if (!has_actions(opcode)) {
                /* These bits are something else. */
                if (action == 0) {
                    g_test_message("%02x: %06x", opcode, status);
                    g_assert_cmpint(status != S_INVALID_OPCODE, ==, listed);
                }
            } else if (is_listed(list, false, opcode, action)) {
                g_assert_cmphex(status, !=, S_INVALID_OPCODE);
                /* It may be another field, but not the action. */
                g_assert_false(g->last.has_field && g->last.field == 1);
            } else {
                g_assert_cmphex(status, ==, S_INVALID_FIELD);
            }
        }
    }
    scsi_assert_usable(g);
    scsi_guest_stop(g);
}

/* All lengths of the list, with and without what is said of timeouts */
static void test_opcodes_length(void)
{
    static const uint32_t lengths[] = {
        0, 1, 3, 4, 5, 11, 12, 13, 100, 255, 512, 4096, MAX_OPCODES, 65536,
    };
    ScsiGuest *g = scsi_guest_start_usual(STOP);

    for (int timeouts = 0; timeouts < 2; timeouts++) {
        g_autofree uint8_t *list = g_malloc0(MAX_OPCODES);
        ScsiRequest req = report_opcodes(timeouts << 7, 0, 0, MAX_OPCODES);
        uint32_t all;

        assert_good(scsi_guest_do(g, &req, list));
        all = ldl_be_p(list) + 4;
        g_assert_true(is_listed(list, timeouts, ZBC_OUT_OPCODE, FINISH));
        g_assert_false(is_listed(list, timeouts, UNMAP, -1));
        for (int i = 0; i < ARRAY_SIZE(lengths); i++) {
            g_autofree uint8_t *part = g_malloc0(65536);

            req = report_opcodes(timeouts << 7, 0, 0, lengths[i]);
            assert_good(scsi_guest_do(g, &req, part));
            g_assert_cmpmem(part, MIN(lengths[i], all), list,
                            MIN(lengths[i], all));
        }
    }
    scsi_guest_stop(g);
}

/* One command, by all of the ways to ask for one */
static void test_opcodes_one(void)
{
    ScsiGuest *g = scsi_guest_start_usual(STOP);
    g_autofree uint8_t *list = g_malloc0(MAX_OPCODES);
    ScsiRequest req = report_opcodes(0, 0, 0, MAX_OPCODES);

    assert_good(scsi_guest_do(g, &req, list));
    for (int opcode = 0; opcode <= 0xff; opcode++) {
        bool known = is_listed(list, false, opcode, -1);

        for (int action = 0; action < 32; action++) {
            bool listed = has_actions(opcode) ?
                          is_listed(list, false, opcode, action) : known;

            for (int options = 1; options < 8; options++) {
                bool timeouts = action & 1;
                uint8_t buf[64] = {};
                uint32_t status;
                bool there;

                req = report_opcodes(timeouts << 7 | options, opcode, action,
                                     64);
                status = scsi_guest_do(g, &req, buf);
                if (options > 3 ||
                    (known && options == 1 && has_actions(opcode)) ||
                    (known && options == 2 && !has_actions(opcode))) {
                    assert_field(g, status, 2, 2);
                    continue;
                }
                assert_good(status);
                there = options == 3 && !has_actions(opcode) && action ?
                        false : listed;
                g_assert_cmphex(buf[1] & 7, ==, there ? 3 : 1);
                if (!there) {
                    continue;
                }
                g_assert_cmphex(buf[1] & 0x80, ==, timeouts << 7);
                g_assert_cmpint(lduw_be_p(&buf[2]), ==, cdb_length(opcode));
                g_assert_cmphex(buf[4], ==, opcode);
                if (has_actions(opcode)) {
                    g_assert_cmphex(buf[5] & 0x1f, ==, action);
                }
                if (timeouts) {
                    g_assert_cmpuint(lduw_be_p(&buf[4 + cdb_length(opcode)]),
                                     ==, 10);
                }
            }
            if (!has_actions(opcode) && action == 2) {
                break;
            }
        }
    }
    for (int action = 0; action < 32; action++) {
        req = report_opcodes(0, 0, 0, 64);
        req.cdb[1] = action;
        if (action != REPORT_OPCODES) {
            assert_field(g, scsi_guest_do(g, &req, NULL), 1, 4);
        }
    }
    scsi_guest_stop(g);
}

/* Asserts why scsi-hd, with more properties, does not take the node "disk". */
static void assert_refused(const char *node, const char *properties,
                           const char *reason)
{
    QTestState *qts = qtest_initf("-machine pc -nodefaults "
                                  "-device virtio-scsi-pci %s", node);
    QDict *device = qobject_to(QDict, qobject_from_json(properties,
                                                        &error_abort));
    QDict *error;

    qdict_put_str(device, "driver", "scsi-hd");
    qdict_put_str(device, "drive", "disk");
    error = qtest_qmp_assert_failure_ref(
        qts, "{ 'execute': 'device_add', 'arguments': %p }", device);
    g_assert_cmpstr(qdict_get_str(error, "desc"), ==, reason);
    qobject_unref(error);
    /* The node can be used for something else. */
    qtest_qmp_assert_success(qts, "{ 'execute': 'blockdev-del', 'arguments': {"
                             " 'node-name': 'disk' } }");
    qtest_quit(qts);
}

static char *node_args(const char *image)
{
    return zoned_guest_node_args(&(ZonedGuestOptions) { .image = image });
}

static void assert_image_refused(const char *options, const char *size,
                                 const char *properties, const char *reason)
{
    g_autofree char *node = node_args(zoned_image_new(options, size));

    assert_refused(node, properties, reason);
}

static void test_refused(void)
{
    assert_image_refused("zone_size=64k", "512k", "{ 'removable': true }",
                         "removable=on is not possible with a zoned drive");
    assert_image_refused("zone_size=64k,zone_capacity=48k,zone_nr_conv=1",
                         "512k", "{ }",
                         "the zone at byte 65536 of the drive has capacity "
                         "49152 and 65536 bytes; a SCSI disk has only zones "
                         "that can be written up to their end");
    assert_image_refused("zone_size=64k", "512k", "{ 'werror': 'ignore' }",
                         "werror=ignore is not possible with a zoned drive: "
                         "after a write that was lost, each later one of its "
                         "zone would fail");
    assert_image_refused("zone_size=12k", "120k",
                         "{ 'physical_block_size': 8192 }",
                         "zones of 12288 bytes are no multiple of "
                         "physical_block_size 8192");
    assert_image_refused("zone_size=12k", "120k",
                         "{ 'logical_block_size': 8192,"
                         " 'physical_block_size': 8192 }",
                         "zones of 12288 bytes are no multiple of "
                         "logical_block_size 8192");
}

/* Zones that end, or are written up to, within a physical block */
static void test_refused_pointer(void)
{
    const char *image = zoned_image_new("zone_size=64k", "512k");
    g_autofree char *node = node_args(image);
    ScsiGuest *g = scsi_guest_start(&(ScsiGuestOptions) { .vm.image = image });

    assert_good(scsi_write(g, 3 * ZONE, 9));
    scsi_guest_stop(g);
    assert_refused(node, "{ 'physical_block_size': 4096 }",
                   "the zone at byte 196608 of the drive, with capacity 65536 "
                   "and write pointer 201216, does not go with "
                   "physical_block_size 4096");
    assert_refused(node, "{ 'logical_block_size': 4096,"
                   " 'physical_block_size': 4096 }",
                   "the zone at byte 196608 of the drive, with capacity 65536 "
                   "and write pointer 201216, does not go with "
                   "logical_block_size 4096");
    g = scsi_guest_start(&(ScsiGuestOptions) { .vm.image = image });
    scsi_assert_zone(g, 3 * ZONE, CLOSED, 3 * ZONE + 9);
    assert_good(scsi_write(g, 3 * ZONE + 9, 7));
    scsi_guest_stop(g);
    g = scsi_guest_start(&(ScsiGuestOptions) {
        .vm.image = image,
        .vm.device = STOP BLOCK_512E,
    });
    scsi_assert_zone(g, 3 * ZONE, CLOSED, 3 * ZONE + 16);
    scsi_guest_stop(g);
}

int main(int argc, char **argv)
{
    if (!zoned_guest_init(&argc, &argv)) {
        return g_test_run();
    }

    scsi_guest_add_test("scsi-zoned-info/inquiry", test_inquiry);
    scsi_guest_add_test("scsi-zoned-info/vpd-pages", test_vpd_pages);
    scsi_guest_add_test("scsi-zoned-info/vpd-limits", test_vpd_limits);
    scsi_guest_add_test("scsi-zoned-info/vpd-characteristics",
                        test_vpd_characteristics);
    scsi_guest_add_test("scsi-zoned-info/vpd-zoned", test_vpd_zoned);
    scsi_guest_add_test("scsi-zoned-info/capacity", test_capacity);
    scsi_guest_add_test("scsi-zoned-info/mode", test_mode);
    scsi_guest_add_test("scsi-zoned-info/opcodes", test_opcodes);
    scsi_guest_add_test("scsi-zoned-info/opcodes-length", test_opcodes_length);
    scsi_guest_add_test("scsi-zoned-info/opcodes-one", test_opcodes_one);
    qtest_add_func("scsi-zoned-info/refused", test_refused);
    qtest_add_func("scsi-zoned-info/refused-pointer", test_refused_pointer);

    return g_test_run();
}

/*
 * QTest testcase for a zoned SCSI disk: operations on zones
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "scsi-zoned-guest.h"

static const uint8_t actions[] = { CLOSE, FINISH, OPEN, RESET };

/* Asserts the condition of a zone of the above and, with it, its pointer. */
static void assert_condition(ScsiGuest *g, int zone, uint8_t condition)
{
    bool has_data = zone != Z_EMPTY && zone != Z_EOPEN;
    uint64_t wp = (uint64_t)zone * ZONE;

    switch (condition) {
    case EMPTY:
        break;
    case IOPEN:
    case EOPEN:
    case CLOSED:
        wp += has_data ? Z_DATA : 0;
        break;
    default:
        wp = NO_WP;
        break;
    }
    scsi_assert_zone(g, zone * ZONE, condition, wp);
}

/* What an operation makes of them, one by one; and, with ALL, of all */
static const struct {
    uint8_t action;
    uint8_t after[Z_END];
    uint8_t after_all[Z_END];
} table[] = {
    {
        OPEN,
        { NOT_WP, NOT_WP, EOPEN, EOPEN, EOPEN, EOPEN, EOPEN, FULL, READ_ONLY,
          OFFLINE },
        { NOT_WP, NOT_WP, EMPTY, IOPEN, EOPEN, EOPEN, EOPEN, FULL, READ_ONLY,
          OFFLINE },
    }, {
        CLOSE,
        { NOT_WP, NOT_WP, EMPTY, CLOSED, EMPTY, CLOSED, CLOSED, FULL,
          READ_ONLY, OFFLINE },
        { NOT_WP, NOT_WP, EMPTY, CLOSED, EMPTY, CLOSED, CLOSED, FULL,
          READ_ONLY, OFFLINE },
    }, {
        FINISH,
        { NOT_WP, NOT_WP, FULL, FULL, FULL, FULL, FULL, FULL, READ_ONLY,
          OFFLINE },
        { NOT_WP, NOT_WP, EMPTY, FULL, FULL, FULL, FULL, FULL, READ_ONLY,
          OFFLINE },
    }, {
        RESET,
        { NOT_WP, NOT_WP, EMPTY, EMPTY, EMPTY, EMPTY, EMPTY, EMPTY, READ_ONLY,
          OFFLINE },
        { NOT_WP, NOT_WP, EMPTY, EMPTY, EMPTY, EMPTY, EMPTY, EMPTY, READ_ONLY,
          OFFLINE },
    },
};

static void assert_conditions(ScsiGuest *g, const uint8_t *conditions)
{
    for (int zone = 0; zone < Z_END; zone++) {
        assert_condition(g, zone, conditions[zone]);
    }
}

static void test_table(void)
{
    for (int i = 0; i < ARRAY_SIZE(table); i++) {
        ScsiGuest *g = scsi_guest_start_conditions();

        assert_conditions(g, scsi_conditions);
        for (int zone = 0; zone < Z_END; zone++) {
            uint32_t status = scsi_op(g, table[i].action, zone * ZONE);

            switch (scsi_conditions[zone]) {
            case NOT_WP:
                assert_field(g, status, 2, -1);
                break;
            case READ_ONLY:
                assert_scsi(status, S_ZONE_READ_ONLY);
                break;
            case OFFLINE:
                assert_scsi(status, S_ZONE_OFFLINE);
                break;
            default:
                assert_good(status);
                break;
            }
        }
        assert_conditions(g, table[i].after);
        scsi_guest_stop(g);
    }
}

static void test_table_all(void)
{
    for (int i = 0; i < ARRAY_SIZE(table); i++) {
        ScsiGuest *g = scsi_guest_start_conditions();

        assert_good(scsi_op_all(g, table[i].action));
        assert_conditions(g, table[i].after_all);
        scsi_guest_stop(g);
    }
}

/* With ALL, no other field matters. */
static void test_all_fields(void)
{
    static const uint64_t lbas[] = {
        0, 1, ZONE, SEQ, SEQ + 1, CAPACITY - 1, CAPACITY, UINT64_MAX,
    };
    static const uint16_t counts[] = { 0, 1, 100, UINT16_MAX };
    ScsiGuest *g = scsi_guest_start_usual(STOP);

    for (int i = 0; i < ARRAY_SIZE(lbas); i++) {
        for (int j = 0; j < ARRAY_SIZE(counts); j++) {
            ScsiRequest req = scsi_zbc_out(FINISH, lbas[i], counts[j], 0xff);

            assert_good(scsi_write(g, SEQ, 8));
            assert_good(scsi_guest_do(g, &req, NULL));
            scsi_assert_zone(g, SEQ, FULL, NO_WP);
            scsi_assert_zone(g, SEQ + ZONE, EMPTY, SEQ + ZONE);
            req = scsi_zbc_out(RESET, lbas[i], counts[j], 0x01);
            assert_good(scsi_guest_do(g, &req, NULL));
            scsi_assert_zone(g, SEQ, EMPTY, SEQ);
        }
    }
    scsi_assert_usable(g);
    scsi_guest_stop(g);
}

/* Neither ALL nor the action is in the bits that are reserved. */
static void test_reserved(void)
{
    ScsiGuest *g = scsi_guest_start_usual(STOP);
    ScsiRequest req = scsi_zbc_out(OPEN | 0xe0, SEQ, 0, 0xfe);

    assert_good(scsi_guest_do(g, &req, NULL));
    scsi_assert_zone(g, SEQ, EOPEN, SEQ);
    scsi_assert_zone(g, SEQ + ZONE, EMPTY, SEQ + ZONE);
    scsi_guest_stop(g);
}

static void test_action(void)
{
    ScsiGuest *g = scsi_guest_start_usual(STOP);

    for (int action = 0; action < 0x20; action++) {
        ScsiRequest all = scsi_zbc_out(action, 0, 0, 1);

        if (action >= CLOSE && action <= RESET) {
            continue;
        }
        assert_field(g, scsi_op(g, action, SEQ), 1, 4);
        assert_field(g, scsi_op(g, action, UINT64_MAX), 1, 4);
        assert_field(g, scsi_guest_do(g, &all, NULL), 1, 4);
    }
    scsi_assert_usable(g);
    scsi_guest_stop(g);
}

static void test_zone_id(void)
{
    ScsiGuest *g = scsi_guest_start_usual(STOP);

    for (int i = 0; i < ARRAY_SIZE(actions); i++) {
        static const uint64_t wrong[] = {
            0, 1, ZONE, ZONE + 7, SEQ - 1, SEQ + 1, SEQ + ZONE - 1,
            SCSI_LAST + 1, CAPACITY - 1,
        };
        static const uint64_t beyond[] = {
            CAPACITY, CAPACITY + 1, 9 * ZONE, 10 * ZONE, 1ull << 32,
            (1ull << 32) + SEQ, 1ull << 55, (1ull << 55) + SEQ,
            (1ull << 63) + SEQ, UINT64_MAX,
        };

        for (int j = 0; j < ARRAY_SIZE(wrong); j++) {
            assert_field(g, scsi_op(g, actions[i], wrong[j]), 2, -1);
            assert_field(g, scsi_op_count(g, actions[i], wrong[j], 3), 2, -1);
        }
        for (int j = 0; j < ARRAY_SIZE(beyond); j++) {
            assert_scsi(scsi_op(g, actions[i], beyond[j]), S_OUT_OF_RANGE);
            assert_scsi(scsi_op_count(g, actions[i], beyond[j], 2),
                        S_OUT_OF_RANGE);
        }
    }
    for (uint64_t lba = SEQ; lba < CAPACITY; lba += ZONE) {
        scsi_assert_zone(g, lba, EMPTY, lba);
    }
    scsi_assert_usable(g);
    scsi_guest_stop(g);
}

static void test_count(void)
{
    ScsiGuest *g = scsi_guest_start_image("zone_size=64k,zone_nr_conv=2",
                                          IMAGE_SIZE, STOP);
    const uint16_t nr = NR_ZONES - 2;

    for (uint16_t count = 0; count <= nr; count++) {
        assert_good(scsi_op_count(g, OPEN, SEQ, count));
        for (int i = 0; i < nr; i++) {
            scsi_assert_zone(g, SEQ + i * ZONE, i < MAX(count, 1) ? EOPEN :
                             EMPTY, SEQ + i * ZONE);
        }
        assert_good(scsi_op_count(g, CLOSE, SEQ, count));
        assert_good(scsi_op_count(g, FINISH, SEQ, count));
        for (int i = 0; i < nr; i++) {
            scsi_assert_zone(g, SEQ + i * ZONE, i < MAX(count, 1) ? FULL :
                             EMPTY, i < MAX(count, 1) ? NO_WP :
                             SEQ + i * ZONE);
        }
        /* All of these have nothing to do with a zone that is full. */
        assert_good(scsi_op_count(g, OPEN, SEQ, nr));
        assert_good(scsi_op_count(g, CLOSE, SEQ, nr));
        scsi_assert_zone(g, SEQ, FULL, NO_WP);
        assert_good(scsi_op_count(g, RESET, SEQ, nr));
    }
    for (int i = 0; i < ARRAY_SIZE(actions); i++) {
        static const uint16_t counts[] = { 1, 2, 0xff, 0x100, 0x1000 };

        for (int j = 0; j < ARRAY_SIZE(counts); j++) {
            assert_field(g, scsi_op_count(g, actions[i], SEQ, nr + counts[j]),
                         12, -1);
            assert_field(g, scsi_op_count(g, actions[i], SCSI_LAST,
                                          1 + counts[j]), 12, -1);
        }
        assert_field(g, scsi_op_count(g, actions[i], SEQ, UINT16_MAX), 12, -1);
        assert_good(scsi_op_count(g, actions[i], SCSI_LAST, 1));
    }
    assert_good(scsi_op_all(g, RESET));
    for (uint64_t lba = SEQ; lba < CAPACITY; lba += ZONE) {
        scsi_assert_zone(g, lba, EMPTY, lba);
    }
    scsi_assert_usable(g);
    scsi_guest_stop(g);
}

/* The first zone that fails is the last that is looked at. */
static void test_count_fails(void)
{
    ScsiGuest *g = scsi_guest_start_conditions();

    assert_scsi(scsi_op_count(g, RESET, Z_CLOSED * ZONE, 4),
                S_ZONE_READ_ONLY);
    assert_condition(g, Z_CLOSED, EMPTY);
    assert_condition(g, Z_FULL, EMPTY);
    assert_condition(g, Z_READ_ONLY, READ_ONLY);
    assert_condition(g, Z_OFFLINE, OFFLINE);
    assert_scsi(scsi_op_count(g, OPEN, Z_OFFLINE * ZONE, 2), S_ZONE_OFFLINE);
    scsi_assert_zone(g, Z_END * ZONE, EMPTY, Z_END * ZONE);
    scsi_guest_stop(g);
}

/* As many as the field can hold */
static void test_count_many(void)
{
    ScsiGuest *g = scsi_guest_start_image("zone_size=4k", "260M", STOP);
    const uint64_t zone = 8;

    assert_good(scsi_op_count(g, OPEN, zone, UINT16_MAX));
    scsi_assert_zone(g, 0, EMPTY, 0);
    scsi_assert_zone(g, zone, EOPEN, zone);
    scsi_assert_zone(g, UINT16_MAX * zone, EOPEN, UINT16_MAX * zone);
    scsi_assert_zone(g, (UINT16_MAX + 1) * zone, EMPTY,
                     (UINT16_MAX + 1) * zone);
    assert_good(scsi_op_count(g, CLOSE, zone, UINT16_MAX));
    scsi_assert_zone(g, zone, EMPTY, zone);
    scsi_assert_zone(g, UINT16_MAX * zone, EMPTY, UINT16_MAX * zone);
    scsi_guest_stop(g);
}

/* Two zones can be open, and three active. */
static void test_open_limit(void)
{
    ScsiGuest *g = scsi_guest_start_usual(STOP);

    assert_good(scsi_op(g, OPEN, SEQ));
    assert_good(scsi_op(g, OPEN, SEQ + ZONE));
    assert_scsi(scsi_op(g, OPEN, SEQ + 2 * ZONE), S_NO_RESOURCES);
    assert_scsi(scsi_write(g, SEQ + 2 * ZONE, 8), S_NO_RESOURCES);
    scsi_assert_zone(g, SEQ + 2 * ZONE, EMPTY, SEQ + 2 * ZONE);
    /* These need none. */
    assert_good(scsi_write(g, 0, 8));
    assert_good(scsi_write(g, SEQ, 8));
    assert_good(scsi_op(g, OPEN, SEQ));
    assert_good(scsi_op(g, FINISH, SEQ + 2 * ZONE));
    assert_good(scsi_op(g, RESET, SEQ + 2 * ZONE));
    /* What becomes full has its one back. */
    assert_good(scsi_write(g, SEQ + 8, ZONE - 8));
    scsi_assert_zone(g, SEQ, FULL, NO_WP);
    assert_good(scsi_op(g, OPEN, SEQ + 2 * ZONE));
    assert_scsi(scsi_op(g, OPEN, SEQ + 3 * ZONE), S_NO_RESOURCES);
    g_assert_cmpuint(zoned_guest_refused(&g->vm, "open-zones"), >, 0);
    scsi_guest_stop(g);
}

/* What is open only as it was written to is closed for another zone. */
static void test_implicit(void)
{
    ScsiGuest *g = scsi_guest_start_usual(STOP);

    assert_good(scsi_write(g, SEQ, 8));
    assert_good(scsi_write(g, SEQ + ZONE, 8));
    assert_good(scsi_write(g, SEQ + 2 * ZONE, 8));
    scsi_assert_zone(g, SEQ, CLOSED, SEQ + 8);
    assert_good(scsi_op(g, OPEN, SEQ));
    scsi_assert_zone(g, SEQ + ZONE, CLOSED, SEQ + ZONE + 8);
    /* No fourth zone can be active. */
    assert_scsi(scsi_write(g, SEQ + 3 * ZONE, 8), S_NO_RESOURCES);
    assert_scsi(scsi_op(g, OPEN, SEQ + 3 * ZONE), S_NO_RESOURCES);
    scsi_assert_zone(g, SEQ + 3 * ZONE, EMPTY, SEQ + 3 * ZONE);
    scsi_guest_stop(g);
}

/* Either all that are closed can be open, or none is opened. */
static void test_open_all_limit(void)
{
    ScsiGuest *g = scsi_guest_start_usual(STOP);

    for (int i = 0; i < 3; i++) {
        assert_good(scsi_write(g, SEQ + i * ZONE, 8));
        assert_good(scsi_op(g, CLOSE, SEQ + i * ZONE));
    }
    assert_scsi(scsi_op_all(g, OPEN), S_NO_RESOURCES);
    for (int i = 0; i < 3; i++) {
        scsi_assert_zone(g, SEQ + i * ZONE, CLOSED, SEQ + i * ZONE + 8);
    }
    assert_good(scsi_op(g, OPEN, SEQ));
    assert_scsi(scsi_op_all(g, OPEN), S_NO_RESOURCES);
    assert_good(scsi_op(g, RESET, SEQ + 2 * ZONE));
    assert_good(scsi_op_all(g, OPEN));
    scsi_assert_zone(g, SEQ + ZONE, EOPEN, SEQ + ZONE + 8);
    /* Nor does a count get more. */
    assert_good(scsi_op_all(g, RESET));
    assert_scsi(scsi_op_count(g, OPEN, SEQ, 3), S_NO_RESOURCES);
    scsi_assert_zone(g, SEQ + 2 * ZONE, EMPTY, SEQ + 2 * ZONE);
    /* To finish all takes no more than there is. */
    assert_good(scsi_op_all(g, RESET));
    for (int i = 0; i < 3; i++) {
        assert_good(scsi_write(g, SEQ + i * ZONE, 8));
    }
    assert_good(scsi_op_all(g, FINISH));
    for (int i = 0; i < 3; i++) {
        scsi_assert_zone(g, SEQ + i * ZONE, FULL, NO_WP);
    }
    scsi_guest_stop(g);
}

/* ALL of a drive with one zone does not touch what it does not apply to. */
static void test_one_zone(void)
{
    ScsiGuest *g = scsi_guest_start_image("zone_size=64k", "64k", STOP);

    for (int i = 0; i < ARRAY_SIZE(actions); i++) {
        assert_good(scsi_op_all(g, actions[i]));
        scsi_assert_zone(g, 0, EMPTY, 0);
    }
    assert_good(scsi_write(g, 0, 8));
    assert_good(scsi_op_all(g, OPEN));
    scsi_assert_zone(g, 0, IOPEN, 8);
    assert_good(scsi_op_all(g, CLOSE));
    scsi_assert_zone(g, 0, CLOSED, 8);
    assert_good(scsi_op_all(g, OPEN));
    scsi_assert_zone(g, 0, EOPEN, 8);
    assert_good(scsi_op_all(g, FINISH));
    for (int i = 0; i < ARRAY_SIZE(actions); i++) {
        if (actions[i] != RESET) {
            assert_good(scsi_op_all(g, actions[i]));
            scsi_assert_zone(g, 0, FULL, NO_WP);
        }
    }
    assert_good(scsi_op_all(g, RESET));
    scsi_assert_zone(g, 0, EMPTY, 0);
    scsi_set_zone(g, 0, "read-only");
    for (int i = 0; i < ARRAY_SIZE(actions); i++) {
        assert_good(scsi_op_all(g, actions[i]));
        assert_scsi(scsi_op(g, actions[i], 0), S_ZONE_READ_ONLY);
    }
    scsi_assert_zone(g, 0, READ_ONLY, NO_WP);
    scsi_guest_stop(g);

    g = scsi_guest_start_image("zone_size=64k,zone_nr_conv=1", "64k", STOP);
    for (int i = 0; i < ARRAY_SIZE(actions); i++) {
        assert_good(scsi_op_all(g, actions[i]));
        assert_field(g, scsi_op(g, actions[i], 0), 2, -1);
    }
    scsi_assert_zone(g, 0, NOT_WP, NO_WP);
    scsi_guest_stop(g);
}

/* Zones that are no power of two, of a disk with large blocks */
static void test_large_blocks(void)
{
    ScsiGuest *g = scsi_guest_start_image("zone_size=12k,zone_nr_conv=1",
                                          "56k", STOP BLOCK_4K);

    assert_field(g, scsi_op(g, OPEN, 0), 2, -1);
    assert_field(g, scsi_op(g, OPEN, 4), 2, -1);
    assert_good(scsi_op_count(g, OPEN, 3, 4));
    for (uint64_t lba = 3; lba < 14; lba += 3) {
        scsi_assert_zone(g, lba, EOPEN, lba);
        g_assert_cmpuint(scsi_zone(g, lba).length, ==, MIN(3, 14 - lba));
    }
    assert_good(scsi_write(g, 12, 1));
    scsi_assert_zone(g, 12, EOPEN, 13);
    assert_good(scsi_write(g, 13, 1));
    scsi_assert_zone(g, 12, FULL, NO_WP);
    assert_scsi(scsi_op(g, OPEN, 14), S_OUT_OF_RANGE);
    scsi_guest_stop(g);
}

/* A drive that is read-only has zones, and nothing changes them. */
static void test_read_only(void)
{
    ScsiGuest *g = scsi_guest_start(&(ScsiGuestOptions) {
        .vm.image = zoned_image_new(SCSI_IMAGE_OPTIONS, IMAGE_SIZE),
        .vm.node = ",read-only=on",
        .vm.device = STOP,
    });

    for (int i = 0; i < ARRAY_SIZE(actions); i++) {
        assert_scsi(scsi_op(g, actions[i], SEQ), S_WRITE_PROTECTED);
        assert_scsi(scsi_op_count(g, actions[i], SEQ, 2), S_WRITE_PROTECTED);
        assert_scsi(scsi_op_all(g, actions[i]), S_WRITE_PROTECTED);
        assert_field(g, scsi_op(g, actions[i], 0), 2, -1);
        assert_scsi(scsi_op(g, actions[i], CAPACITY), S_OUT_OF_RANGE);
    }
    assert_scsi(scsi_write(g, SEQ, 8), S_WRITE_PROTECTED);
    assert_scsi(scsi_write(g, 0, 8), S_WRITE_PROTECTED);
    assert_good(scsi_read(g, SEQ, 8));
    scsi_assert_zone(g, 0, NOT_WP, NO_WP);
    scsi_assert_zone(g, SEQ, EMPTY, SEQ);
    scsi_guest_stop(g);
}

int main(int argc, char **argv)
{
    if (!zoned_guest_init(&argc, &argv)) {
        return g_test_run();
    }

    scsi_guest_add_test("scsi-zoned/table", test_table);
    scsi_guest_add_test("scsi-zoned/table-all", test_table_all);
    scsi_guest_add_test("scsi-zoned/all-fields", test_all_fields);
    scsi_guest_add_test("scsi-zoned/reserved", test_reserved);
    scsi_guest_add_test("scsi-zoned/action", test_action);
    scsi_guest_add_test("scsi-zoned/zone-id", test_zone_id);
    scsi_guest_add_test("scsi-zoned/count", test_count);
    scsi_guest_add_test("scsi-zoned/count-fails", test_count_fails);
    scsi_guest_add_test("scsi-zoned/count-many", test_count_many);
    scsi_guest_add_test("scsi-zoned/open-limit", test_open_limit);
    scsi_guest_add_test("scsi-zoned/implicit", test_implicit);
    scsi_guest_add_test("scsi-zoned/open-all-limit", test_open_all_limit);
    scsi_guest_add_test("scsi-zoned/one-zone", test_one_zone);
    scsi_guest_add_test("scsi-zoned/large-blocks", test_large_blocks);
    scsi_guest_add_test("scsi-zoned/read-only", test_read_only);

    return g_test_run();
}

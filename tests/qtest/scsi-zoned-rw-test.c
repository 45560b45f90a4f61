/*
 * QTest testcase for a zoned SCSI disk: commands that read and write
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qemu/units.h"
#include "scsi-zoned-guest.h"

/* 512e: blocks of 512 bytes on a medium with 4096 */
#define BLOCK_512E ",logical_block_size=512,physical_block_size=4096"

#define DPO 0x10
#define FUA 0x08

static const uint8_t writes[] = {
    WRITE_6, WRITE_10, WRITE_12, WRITE_16, WRITE_VERIFY_10, WRITE_VERIFY_12,
    WRITE_VERIFY_16,
};
static const uint8_t reads[] = { READ_6, READ_10, READ_12, READ_16 };

/* Reads or writes zeroes by any of the commands. */
static uint32_t rw(ScsiGuest *g, uint8_t opcode, uint64_t lba, uint32_t blocks)
{
    ScsiRequest req = scsi_rw(g, opcode, lba, blocks);

    return scsi_guest_do(g, &req, NULL);
}

static uint32_t write_bytes(ScsiGuest *g, uint8_t opcode, uint64_t lba,
                            uint32_t blocks, uint8_t byte)
{
    ScsiRequest req = scsi_rw(g, opcode, lba, blocks);
    g_autofree uint8_t *data = g_malloc(req.out_len);

    memset(data, byte, req.out_len);
    req.out = data;
    return scsi_guest_do(g, &req, NULL);
}

/* Asserts that blocks read as this byte. */
static void assert_bytes(ScsiGuest *g, uint8_t opcode, uint64_t lba,
                         uint32_t blocks, uint8_t byte)
{
    ScsiRequest req = scsi_rw(g, opcode, lba, blocks);
    g_autofree uint8_t *data = g_malloc(req.in_len);

    assert_good(scsi_guest_do(g, &req, data));
    g_assert_cmpuint(g->last.residual, ==, 0);
    for (size_t i = 0; i < req.in_len; i++) {
        g_assert_cmphex(data[i], ==, byte);
    }
}

static void test_data(void)
{
    ScsiGuest *g = scsi_guest_start_usual(STOP);

    for (int i = 0; i < ARRAY_SIZE(writes); i++) {
        uint64_t lba = SEQ + i * 8;

        assert_good(write_bytes(g, writes[i], lba, 8, 'a' + i));
        scsi_assert_zone(g, SEQ, IOPEN, lba + 8);
        assert_good(write_bytes(g, writes[i], i * 8, 8, 'A' + i));
    }
    for (int i = 0; i < ARRAY_SIZE(writes); i++) {
        for (int j = 0; j < ARRAY_SIZE(reads); j++) {
            assert_bytes(g, reads[j], SEQ + i * 8, 8, 'a' + i);
            assert_bytes(g, reads[j], i * 8, 8, 'A' + i);
        }
    }
    /* READ (6) and WRITE (6) of 0 blocks are of 256. */
    assert_bytes(g, READ_6, SEQ + 4 * ZONE, 256, 0);
    scsi_guest_stop(g);
}

/* Where a write may not be */
static void test_write_rules(void)
{
    ScsiGuest *g = scsi_guest_start_usual(STOP);

    for (int i = 0; i < ARRAY_SIZE(writes); i++) {
        uint8_t op = writes[i];

        /* An empty zone */
        assert_scsi(rw(g, op, SEQ + 8, 8), S_UNALIGNED_WRITE);
        scsi_assert_zone(g, SEQ, EMPTY, SEQ);
        assert_scsi(rw(g, op, SEQ, ZONE + 8), S_WRITE_BOUNDARY);
        assert_scsi(rw(g, op, SEQ + 8, ZONE), S_WRITE_BOUNDARY);
        scsi_assert_zone(g, SEQ, EMPTY, SEQ);
        assert_scsi(rw(g, op, SCSI_LAST, ZONE / 2 + 1), S_OUT_OF_RANGE);

        /* One that is written to */
        assert_good(rw(g, op, SEQ, 16));
        assert_scsi(rw(g, op, SEQ, 8), S_UNALIGNED_WRITE);
        assert_scsi(rw(g, op, SEQ + 8, 16), S_UNALIGNED_WRITE);
        assert_scsi(rw(g, op, SEQ + 17, 1), S_UNALIGNED_WRITE);
        assert_scsi(rw(g, op, SEQ + 16, ZONE - 15), S_WRITE_BOUNDARY);
        scsi_assert_zone(g, SEQ, IOPEN, SEQ + 16);
        assert_good(scsi_op(g, CLOSE, SEQ));
        assert_scsi(rw(g, op, SEQ, 8), S_UNALIGNED_WRITE);
        scsi_assert_zone(g, SEQ, CLOSED, SEQ + 16);
        assert_good(rw(g, op, SEQ + 16, 1));
        scsi_assert_zone(g, SEQ, IOPEN, SEQ + 17);
        assert_good(scsi_op(g, OPEN, SEQ));
        assert_good(rw(g, op, SEQ + 17, 7));
        scsi_assert_zone(g, SEQ, EOPEN, SEQ + 24);

        /* One that is full */
        assert_good(rw(g, op, SEQ + 24, ZONE - 24));
        scsi_assert_zone(g, SEQ, FULL, NO_WP);
        assert_field(g, rw(g, op, SEQ, 8), 2, -1);
        assert_field(g, rw(g, op, SEQ + ZONE - 1, 1), 2, -1);
        assert_scsi(rw(g, op, SEQ + ZONE - 1, 2), S_WRITE_BOUNDARY);
        scsi_assert_zone(g, SEQ, FULL, NO_WP);
        scsi_assert_zone(g, SEQ + ZONE, EMPTY, SEQ + ZONE);

        /* Conventional ones, together, but not with sequential ones */
        assert_good(rw(g, op, ZONE - 8, 16));
        assert_scsi(rw(g, op, SEQ - 1, 2), S_WRITE_BOUNDARY);
        assert_good(rw(g, op, SEQ - 1, 1));

        /* Beyond the end */
        assert_scsi(rw(g, op, CAPACITY - 8, 9), S_OUT_OF_RANGE);
        assert_scsi(rw(g, op, CAPACITY, 1), S_OUT_OF_RANGE);
        assert_scsi(rw(g, op, CAPACITY + SEQ, 1), S_OUT_OF_RANGE);
        if (op >> 5 == 4) {
            assert_scsi(rw(g, op, UINT64_MAX, 1), S_OUT_OF_RANGE);
            assert_scsi(rw(g, op, UINT64_MAX, 2), S_OUT_OF_RANGE);
            assert_scsi(rw(g, op, (1ull << 55) + SEQ, 8), S_OUT_OF_RANGE);
            assert_scsi(rw(g, op, (1ull << 63) + SEQ, 8), S_OUT_OF_RANGE);
        }
        assert_good(scsi_op_all(g, RESET));
    }
    g_assert_cmpuint(zoned_guest_refused(&g->vm, "boundary"), ==,
                     5 * ARRAY_SIZE(writes));
    g_assert_cmpuint(zoned_guest_refused(&g->vm, "unaligned"), ==,
                     5 * ARRAY_SIZE(writes));
    scsi_assert_usable(g);
    scsi_guest_stop(g);
}

/* No blocks are no mistake, and change nothing. */
static void test_no_blocks(void)
{
    static const uint8_t opcodes[] = {
        WRITE_10, WRITE_12, WRITE_16, WRITE_VERIFY_10, WRITE_VERIFY_12,
        WRITE_VERIFY_16, READ_10, READ_12, READ_16,
    };
    static const uint64_t lbas[] = {
        0, 1, ZONE, SEQ - 1, SEQ, SEQ + 1, CAPACITY - 1, CAPACITY,
    };
    ScsiGuest *g = scsi_guest_start_usual(STOP);

    for (int i = 0; i < ARRAY_SIZE(opcodes); i++) {
        for (int j = 0; j < ARRAY_SIZE(lbas); j++) {
            assert_good(rw(g, opcodes[i], lbas[j], 0));
        }
        assert_scsi(rw(g, opcodes[i], CAPACITY + 1, 0), S_OUT_OF_RANGE);
    }
    scsi_assert_zone(g, SEQ, EMPTY, SEQ);
    assert_good(scsi_op(g, FINISH, SEQ));
    assert_good(rw(g, WRITE_16, SEQ, 0));
    scsi_guest_stop(g);
}

static void test_conditions(void)
{
    ScsiGuest *g = scsi_guest_start_conditions();

    for (int i = 0; i < ARRAY_SIZE(writes); i++) {
        uint8_t op = writes[i];

        assert_scsi(rw(g, op, Z_READ_ONLY * ZONE, 8), S_ZONE_READ_ONLY);
        assert_scsi(rw(g, op, Z_READ_ONLY * ZONE + Z_DATA, 8),
                    S_ZONE_READ_ONLY);
        assert_scsi(rw(g, op, Z_OFFLINE * ZONE, 8), S_ZONE_OFFLINE);
        assert_scsi(rw(g, op, Z_READ_ONLY * ZONE + 8, ZONE),
                    S_WRITE_BOUNDARY);
        assert_field(g, rw(g, op, Z_FULL * ZONE, 8), 2, -1);
    }
    for (int i = 0; i < ARRAY_SIZE(reads); i++) {
        uint8_t op = reads[i];

        assert_good(rw(g, op, Z_READ_ONLY * ZONE, ZONE));
        assert_scsi(rw(g, op, Z_OFFLINE * ZONE, 8), S_ZONE_OFFLINE);
        assert_scsi(rw(g, op, Z_OFFLINE * ZONE - 8, 16), S_ZONE_OFFLINE);
        assert_scsi(rw(g, op, Z_OFFLINE * ZONE + ZONE - 8, 16),
                    S_ZONE_OFFLINE);
    }
    scsi_assert_zone(g, Z_READ_ONLY * ZONE, READ_ONLY, NO_WP);
    scsi_assert_zone(g, Z_OFFLINE * ZONE, OFFLINE, NO_WP);
    scsi_guest_stop(g);
}

/* A read can be anywhere, but not in zones of both types. */
static void test_read(void)
{
    ScsiGuest *g = scsi_guest_start_usual(STOP);

    assert_good(write_bytes(g, WRITE_16, SEQ, 8, 'x'));
    assert_good(write_bytes(g, WRITE_16, SEQ + ZONE, ZONE, 'y'));
    for (int i = 0; i < ARRAY_SIZE(reads); i++) {
        uint8_t op = reads[i];

        assert_bytes(g, op, SEQ + 7, 1, 'x');
        assert_bytes(g, op, SEQ + 8, ZONE - 8, 0);
        assert_bytes(g, op, SEQ + ZONE, ZONE, 'y');
        assert_good(rw(g, op, SEQ + 7, 2));
        assert_good(rw(g, op, SEQ + ZONE - 1, 2));
        assert_good(rw(g, op, SEQ + 1, 255));
        assert_good(rw(g, op, ZONE - 1, 2));
        assert_scsi(rw(g, op, SEQ - 1, 2), S_INVALID_DATA);
        assert_scsi(rw(g, op, ZONE, 255), S_INVALID_DATA);
        assert_good(rw(g, op, CAPACITY - 1, 1));
        assert_scsi(rw(g, op, CAPACITY - 1, 2), S_OUT_OF_RANGE);
        assert_scsi(rw(g, op, CAPACITY, 1), S_OUT_OF_RANGE);
        assert_scsi(rw(g, op, SEQ + CAPACITY, 8), S_OUT_OF_RANGE);
        if (op >> 5 == 4) {
            assert_scsi(rw(g, op, UINT64_MAX, 2), S_OUT_OF_RANGE);
            assert_scsi(rw(g, op, (1ull << 55) + SEQ, 8), S_OUT_OF_RANGE);
        }
    }
    /* What was there is not there any more. */
    assert_good(scsi_op(g, RESET, SEQ + ZONE));
    assert_bytes(g, READ_16, SEQ + ZONE, ZONE, 0);
    scsi_guest_stop(g);
}

/* The bits of the second byte */
static void test_flags(void)
{
    ScsiGuest *g = scsi_guest_start_usual(STOP);
    uint64_t lba = SEQ;

    for (int flags = 0; flags <= 0xff; flags++) {
        ScsiRequest read = scsi_rw(g, READ_16, SEQ, 1);
        ScsiRequest write = scsi_rw(g, WRITE_16, lba, 1);

        read.cdb[1] = write.cdb[1] = flags;
        if (flags & 0xe0) {
            /* Protection information, which there is none of */
            assert_scsi(scsi_guest_do(g, &read, NULL), S_INVALID_FIELD);
            assert_scsi(scsi_guest_do(g, &write, NULL), S_INVALID_FIELD);
        } else {
            assert_good(scsi_guest_do(g, &read, NULL));
            assert_good(scsi_guest_do(g, &write, NULL));
            lba++;
        }
    }
    scsi_assert_zone(g, SEQ, IOPEN, lba);
    scsi_guest_stop(g);
}

static void test_durable(void)
{
    static const uint8_t opcodes[] = {
        WRITE_10, WRITE_12, WRITE_16, WRITE_VERIFY_10, WRITE_VERIFY_12,
        WRITE_VERIFY_16,
    };
    const char *image = zoned_image_new(SCSI_IMAGE_OPTIONS, IMAGE_SIZE);
    ScsiGuest *g = scsi_guest_start(&(ScsiGuestOptions) {
        .vm.image = image,
        .vm.device = STOP,
    });
    uint64_t lba = SEQ;
    ScsiRequest req;

    for (int i = 0; i < ARRAY_SIZE(opcodes); i++) {
        req = scsi_rw(g, opcodes[i], lba, 8);
        /* WRITE AND VERIFY needs no bit for that. */
        req.cdb[1] = opcodes[i] == WRITE_10 || opcodes[i] == WRITE_12 ||
                     opcodes[i] == WRITE_16 ? DPO | FUA : 0;
        assert_good(scsi_guest_do(g, &req, NULL));
        lba += 8;
        g_assert_cmpuint(zoned_image_end(image, SEQ), ==, lba);
    }

    assert_good(scsi_write(g, lba, 8));
    g_assert_cmpuint(zoned_image_end(image, SEQ), ==, lba);
    for (int i = 0; i < 2; i++) {
        /* Of which blocks does not matter. */
        req = scsi_rw(g, i ? SYNCHRONIZE_CACHE_16 : SYNCHRONIZE_CACHE,
                      i ? UINT64_MAX : 5, 7);
        req.out_len = 0;
        assert_good(scsi_guest_do(g, &req, NULL));
        lba += 8;
        g_assert_cmpuint(zoned_image_end(image, SEQ), ==, lba);
        assert_good(scsi_write(g, lba, 8));
    }
    /* Zone operations are durable without one. */
    assert_good(scsi_op(g, RESET, SEQ));
    g_assert_cmpuint(zoned_image_end(image, SEQ), ==, SEQ);
    scsi_guest_stop(g);
}

/* Parts of physical blocks, which only conventional zones take */
static void test_512e(void)
{
    ScsiGuest *g = scsi_guest_start_usual(STOP BLOCK_512E);

    for (int i = 0; i < ARRAY_SIZE(writes); i++) {
        uint8_t op = writes[i];

        for (uint32_t blocks = 1; blocks < 8; blocks++) {
            assert_scsi(rw(g, op, SEQ, blocks), S_UNALIGNED_WRITE);
            assert_scsi(rw(g, op, SEQ + blocks, 8), S_UNALIGNED_WRITE);
            assert_scsi(rw(g, op, SEQ + blocks, 8 - blocks),
                        S_UNALIGNED_WRITE);
        }
        scsi_assert_zone(g, SEQ, EMPTY, SEQ);
        assert_good(rw(g, op, SEQ, 8));
        assert_scsi(rw(g, op, SEQ + 8, 9), S_UNALIGNED_WRITE);
        assert_scsi(rw(g, op, SEQ + 8, 1), S_UNALIGNED_WRITE);
        scsi_assert_zone(g, SEQ, IOPEN, SEQ + 8);
        assert_scsi(rw(g, op, SEQ + 8, ZONE - 7), S_WRITE_BOUNDARY);
        assert_good(write_bytes(g, op, 3, 1, 'p'));
        assert_bytes(g, READ_16, 3, 1, 'p');
        assert_bytes(g, READ_16, 4, 1, 0);
        assert_good(rw(g, op, ZONE - 1, 2));
        assert_good(scsi_op(g, RESET, SEQ));
    }
    /* Reads need not be aligned, zones have no parts. */
    assert_good(scsi_read(g, SEQ + 3, 1));
    assert_good(scsi_read(g, SEQ + ZONE - 1, 2));
    assert_good(scsi_write(g, SEQ, ZONE));
    scsi_assert_zone(g, SEQ, FULL, NO_WP);
    scsi_guest_stop(g);
}

static void test_large_blocks(void)
{
    ScsiGuest *g = scsi_guest_start_usual(STOP BLOCK_4K);
    const uint64_t seq = SEQ / 8, zone = ZONE / 8, capacity = CAPACITY / 8;

    for (int i = 0; i < ARRAY_SIZE(writes); i++) {
        uint8_t op = writes[i];

        assert_good(write_bytes(g, op, seq, 1, 'l'));
        assert_bytes(g, READ_16, seq, 1, 'l');
        scsi_assert_zone(g, seq, IOPEN, seq + 1);
        assert_scsi(rw(g, op, seq, 1), S_UNALIGNED_WRITE);
        assert_scsi(rw(g, op, seq + 1, zone), S_WRITE_BOUNDARY);
        assert_good(rw(g, op, seq + 1, zone - 1));
        scsi_assert_zone(g, seq, FULL, NO_WP);
        assert_field(g, rw(g, op, seq, 1), 2, -1);
        assert_scsi(rw(g, op, capacity, 1), S_OUT_OF_RANGE);
        assert_scsi(rw(g, op, seq - 1, 2), S_WRITE_BOUNDARY);
        assert_good(rw(g, op, zone - 1, 2));
        assert_good(scsi_op(g, RESET, seq));
    }
    assert_scsi(scsi_read(g, seq - 1, 2), S_INVALID_DATA);
    assert_scsi(scsi_read(g, capacity - 1, 2), S_OUT_OF_RANGE);
    scsi_guest_stop(g);
}

static const uint8_t write_sames[] = { WRITE_SAME_10, WRITE_SAME_16 };

#define UNMAP_BIT 0x08

static void test_write_same(void)
{
    ScsiGuest *g = scsi_guest_start_usual(STOP);

    for (int i = 0; i < ARRAY_SIZE(write_sames); i++) {
        uint8_t op = write_sames[i];

        assert_good(scsi_same(g, op, SEQ, 8, 0, 's'));
        scsi_assert_zone(g, SEQ, IOPEN, SEQ + 8);
        assert_bytes(g, READ_16, SEQ, 8, 's');
        assert_good(scsi_same(g, op, SEQ + 8, 8, 0, 0));
        scsi_assert_zone(g, SEQ, IOPEN, SEQ + 16);
        assert_good(scsi_same(g, op, SEQ + 16, 8, NDOB, 0));
        scsi_assert_zone(g, SEQ, IOPEN, SEQ + 24);
        assert_bytes(g, READ_16, SEQ + 8, 16, 0);

        /* The rules of writes */
        assert_scsi(scsi_same(g, op, SEQ, 8, 0, 's'), S_UNALIGNED_WRITE);
        assert_scsi(scsi_same(g, op, SEQ, 8, NDOB, 0), S_UNALIGNED_WRITE);
        assert_scsi(scsi_same(g, op, SEQ + 25, 8, 0, 0), S_UNALIGNED_WRITE);
        assert_scsi(scsi_same(g, op, SEQ + 24, ZONE, 0, 's'),
                    S_WRITE_BOUNDARY);
        assert_scsi(scsi_same(g, op, SEQ + 24, ZONE, NDOB, 0),
                    S_WRITE_BOUNDARY);
        assert_scsi(scsi_same(g, op, SEQ - 1, 2, 0, 's'), S_WRITE_BOUNDARY);
        assert_scsi(scsi_same(g, op, CAPACITY - 1, 2, 0, 's'),
                    S_OUT_OF_RANGE);
        scsi_assert_zone(g, SEQ, IOPEN, SEQ + 24);
        assert_good(scsi_same(g, op, SEQ + 24, ZONE - 24, 0, 's'));
        scsi_assert_zone(g, SEQ, FULL, NO_WP);
        assert_field(g, scsi_same(g, op, SEQ, 8, 0, 's'), 2, -1);
        assert_field(g, scsi_same(g, op, SEQ, 8, NDOB, 0), 2, -1);

        /* Conventional zones */
        assert_good(scsi_same(g, op, ZONE - 4, 8, 0, 'c'));
        assert_bytes(g, READ_16, ZONE - 4, 8, 'c');
        assert_good(scsi_same(g, op, ZONE - 4, 4, NDOB, 0));
        assert_bytes(g, READ_16, ZONE - 4, 4, 0);
        assert_bytes(g, READ_16, ZONE, 4, 'c');

        /* What there is not */
        assert_field(g, scsi_same(g, op, 0, 8, UNMAP_BIT, 0), 1, 3);
        assert_field(g, scsi_same(g, op, 0, 8, UNMAP_BIT | NDOB, 0), 1, 3);
        assert_scsi(scsi_same(g, op, 0, 0, 0, 0), S_INVALID_FIELD);
        assert_scsi(scsi_same(g, op, 0, 0, NDOB, 0), S_INVALID_FIELD);
        assert_scsi(scsi_same(g, op, 0, 8, 0x02, 0), S_INVALID_FIELD);
        assert_scsi(scsi_same(g, op, 0, 8, 0x04, 0), S_INVALID_FIELD);
        assert_scsi(scsi_same(g, op, 0, 8, 0x10, 0), S_INVALID_FIELD);
        assert_good(scsi_op(g, RESET, SEQ));
    }
    scsi_assert_usable(g);
    scsi_guest_stop(g);

    g = scsi_guest_start_conditions();
    for (int i = 0; i < ARRAY_SIZE(write_sames); i++) {
        uint8_t op = write_sames[i];

        assert_scsi(scsi_same(g, op, Z_READ_ONLY * ZONE + Z_DATA, 8, 0, 1),
                    S_ZONE_READ_ONLY);
        assert_scsi(scsi_same(g, op, Z_READ_ONLY * ZONE + Z_DATA, 8, NDOB, 0),
                    S_ZONE_READ_ONLY);
        assert_scsi(scsi_same(g, op, Z_OFFLINE * ZONE, 8, 0, 1),
                    S_ZONE_OFFLINE);
    }
    scsi_guest_stop(g);
}

/* It is limited to what is written at once. */
static void test_write_same_limit(void)
{
    ScsiGuest *g = scsi_guest_start_image("zone_size=1M,zone_nr_conv=1", "4M",
                                          STOP);
    const uint64_t zone = 2048, limit = 512 * KiB / 512;

    for (int i = 0; i < ARRAY_SIZE(write_sames); i++) {
        uint8_t op = write_sames[i];
        int field = op == WRITE_SAME_10 ? 7 : 10;

        assert_good(scsi_same(g, op, zone, limit, 0, 'm'));
        scsi_assert_zone(g, zone, IOPEN, zone + limit);
        assert_bytes(g, READ_16, zone, limit, 'm');
        assert_good(scsi_same(g, op, zone + limit, limit, NDOB, 0));
        scsi_assert_zone(g, zone, FULL, NO_WP);
        assert_field(g, scsi_same(g, op, 2 * zone, limit + 1, 0, 'm'), field,
                     -1);
        assert_field(g, scsi_same(g, op, 2 * zone, limit + 1, NDOB, 0), field,
                     -1);
        assert_field(g, scsi_same(g, op, 0, limit + 1, 0, 'm'), field, -1);
        assert_scsi(scsi_same(g, op, 0, UINT16_MAX, 0, 'm'), S_OUT_OF_RANGE);
        scsi_assert_zone(g, 2 * zone, EMPTY, 2 * zone);
        assert_good(scsi_op(g, RESET, zone));
    }
    scsi_guest_stop(g);

    g = scsi_guest_start_image("zone_size=1M", "4M", STOP BLOCK_4K);
    assert_good(scsi_same(g, WRITE_SAME_16, 0, limit / 8, 0, 'm'));
    assert_field(g, scsi_same(g, WRITE_SAME_16, 256, limit / 8 + 1, 0, 'm'),
                 10, -1);
    scsi_guest_stop(g);

    g = scsi_guest_start_usual(STOP BLOCK_512E);
    assert_scsi(scsi_same(g, WRITE_SAME_16, SEQ, 1, 0, 'm'),
                S_UNALIGNED_WRITE);
    assert_scsi(scsi_same(g, WRITE_SAME_16, SEQ, 12, NDOB, 0),
                S_UNALIGNED_WRITE);
    assert_good(scsi_same(g, WRITE_SAME_16, SEQ, 16, 0, 'm'));
    assert_good(scsi_same(g, WRITE_SAME_16, 1, 3, 0, 'm'));
    scsi_guest_stop(g);
}

static const uint8_t verifies[] = { VERIFY_10, VERIFY_12, VERIFY_16 };

static uint32_t verify(ScsiGuest *g, uint8_t opcode, uint64_t lba,
                       uint32_t blocks)
{
    ScsiRequest req = scsi_rw(g, opcode, lba, blocks);

    req.out_len = 0;
    return scsi_guest_do(g, &req, NULL);
}

static void test_verify(void)
{
    ScsiGuest *g = scsi_guest_start_usual(STOP);

    for (int i = 0; i < ARRAY_SIZE(verifies); i++) {
        uint8_t op = verifies[i];

        for (uint8_t bytchk = 1; bytchk < 4; bytchk++) {
            ScsiRequest req = scsi_rw(g, op, SEQ, 8);

            req.cdb[1] = bytchk << 1;
            req.out_len = bytchk == 2 ? 0 : bytchk == 3 ? 512 : req.out_len;
            assert_field(g, scsi_guest_do(g, &req, NULL), 1, 2);
        }
        assert_good(verify(g, op, SEQ, 8));
        assert_good(verify(g, op, SEQ, 0));
        assert_good(verify(g, op, SEQ, CAPACITY - SEQ));
        assert_good(verify(g, op, CAPACITY, 0));
        assert_good(verify(g, op, 0, SEQ));
        assert_scsi(verify(g, op, SEQ - 1, 2), S_INVALID_DATA);
        assert_scsi(verify(g, op, SEQ, CAPACITY - SEQ + 1), S_OUT_OF_RANGE);
        assert_scsi(verify(g, op, CAPACITY, 1), S_OUT_OF_RANGE);
        assert_scsi(verify(g, op, CAPACITY + 1, 0), S_OUT_OF_RANGE);
    }
    assert_scsi(verify(g, VERIFY_16, UINT64_MAX - 1, 4), S_OUT_OF_RANGE);
    assert_scsi(verify(g, VERIFY_16, 0, UINT32_MAX), S_OUT_OF_RANGE);
    scsi_assert_zone(g, SEQ, EMPTY, SEQ);
    scsi_guest_stop(g);
}

/* What cannot be read cannot be verified. */
static void test_verify_conditions(void)
{
    ScsiGuest *g = scsi_guest_start_conditions();

    for (int i = 0; i < ARRAY_SIZE(verifies); i++) {
        uint8_t op = verifies[i];

        assert_good(verify(g, op, SEQ, Z_OFFLINE * ZONE - SEQ));
        assert_scsi(verify(g, op, Z_OFFLINE * ZONE, 8), S_ZONE_OFFLINE);
        assert_scsi(verify(g, op, Z_OFFLINE * ZONE - 8, 9), S_ZONE_OFFLINE);
        assert_scsi(verify(g, op, Z_OFFLINE * ZONE + ZONE - 1, 2),
                    S_ZONE_OFFLINE);
        assert_good(verify(g, op, Z_OFFLINE * ZONE + ZONE, ZONE));
    }
    scsi_guest_stop(g);
}

/* Zones that are not got at once */
static void test_verify_many(void)
{
    ScsiGuest *g = scsi_guest_start_image("zone_size=64k", "64m", STOP);
    const unsigned nr = 1024, bad = 777;

    assert_good(verify(g, VERIFY_16, 0, nr * ZONE));
    scsi_set_zone(g, bad * ZONE, "offline");
    assert_scsi(verify(g, VERIFY_16, 0, nr * ZONE), S_ZONE_OFFLINE);
    assert_good(verify(g, VERIFY_16, 0, bad * ZONE));
    assert_good(verify(g, VERIFY_16, (bad + 1) * ZONE, (nr - bad - 1) * ZONE));
    scsi_guest_stop(g);
}

static void test_unmap(void)
{
    ScsiGuest *g = scsi_guest_start_usual(STOP);
    uint8_t list[24] = { 0, 22, 0, 16, [11] = ZONE, [15] = 8 };
    ScsiRequest req = scsi_command(UNMAP, sizeof(list), 0);

    req.out = list;
    stw_be_p(&req.cdb[7], sizeof(list));
    assert_scsi(scsi_guest_do(g, &req, NULL), S_INVALID_OPCODE);
    req = scsi_command(UNMAP, 0, 0);
    assert_scsi(scsi_guest_do(g, &req, NULL), S_INVALID_OPCODE);
    scsi_assert_usable(g);
    scsi_guest_stop(g);
}

/* FORMAT UNIT resets what can be reset, whatever the parameters are. */
static void test_format(void)
{
    static const uint8_t flags[] = { 0x00, 0x10, 0x30, 0x17, 0x20, 0xc0 };

    for (int i = 0; i < ARRAY_SIZE(flags); i++) {
        size_t len = !(flags[i] & 0x10) ? 0 : flags[i] & 0x20 ? 8 : 4;
        ScsiGuest *g = scsi_guest_start_conditions();
        ScsiRequest req = scsi_command(FORMAT_UNIT, len, 0);

        assert_good(write_bytes(g, WRITE_16, 5, 1, 'f'));
        req.cdb[1] = flags[i];
        assert_good(scsi_guest_do(g, &req, NULL));
        for (uint64_t zone = 0; zone < Z_NR; zone++) {
            uint64_t lba = zone * ZONE;

            switch (zone) {
            case 0:
            case Z_CONV:
                scsi_assert_zone(g, lba, NOT_WP, NO_WP);
                break;
            case Z_READ_ONLY:
            case Z_OFFLINE:
                scsi_assert_zone(g, lba, scsi_conditions[zone], NO_WP);
                break;
            default:
                scsi_assert_zone(g, lba, EMPTY, lba);
                break;
            }
        }
        scsi_guest_stop(g);
    }
}

static void test_format_read_only(void)
{
    ScsiGuest *g = scsi_guest_start(&(ScsiGuestOptions) {
        .vm.image = zoned_image_new(SCSI_IMAGE_OPTIONS, IMAGE_SIZE),
        .vm.node = ",read-only=on",
    });
    ScsiRequest req = scsi_command(FORMAT_UNIT, 0, 0);

    assert_scsi(scsi_guest_do(g, &req, NULL), S_WRITE_PROTECTED);
    req = scsi_command(FORMAT_UNIT, 4, 0);
    req.cdb[1] = 0x10;
    assert_scsi(scsi_guest_do(g, &req, NULL), S_WRITE_PROTECTED);
    assert_scsi(scsi_same(g, WRITE_SAME_16, SEQ, 8, 0, 1), S_WRITE_PROTECTED);
    assert_scsi(scsi_same(g, WRITE_SAME_16, SEQ, 8, NDOB, 0),
                S_WRITE_PROTECTED);
    for (int i = 0; i < ARRAY_SIZE(writes); i++) {
        assert_scsi(rw(g, writes[i], SEQ, 8), S_WRITE_PROTECTED);
    }
    scsi_guest_stop(g);

    g = scsi_guest_start_image("zone_size=64k", "64k", STOP);
    assert_good(scsi_write(g, 0, 8));
    req = scsi_command(FORMAT_UNIT, 0, 0);
    assert_good(scsi_guest_do(g, &req, NULL));
    scsi_assert_zone(g, 0, EMPTY, 0);
    scsi_guest_stop(g);
}

/* The guest gives more data than the command has: no rule is broken by that. */
static void test_excess(void)
{
    static const char *const devices[] = { STOP, STOP BLOCK_512E };

    for (int i = 0; i < ARRAY_SIZE(devices); i++) {
        ScsiGuest *g = scsi_guest_start_usual(devices[i]);
        ScsiRequest req = scsi_rw(g, WRITE_16, SEQ - 8, 8);

        req.out_len += 16 * 512;
        scsi_guest_do(g, &req, NULL);
        scsi_assert_zone(g, SEQ, EMPTY, SEQ);
        req = scsi_rw(g, WRITE_16, SEQ, ZONE);
        req.out_len += 8 * 512;
        scsi_guest_do(g, &req, NULL);
        scsi_assert_zone(g, SEQ + ZONE, EMPTY, SEQ + ZONE);
        req = scsi_rw(g, WRITE_16, SCSI_LAST, ZONE / 2);
        req.out_len += 8 * 512 + 100;
        scsi_guest_do(g, &req, NULL);
        req = scsi_rw(g, READ_16, SEQ, 8);
        req.in_len += 700;
        scsi_guest_do(g, &req, NULL);
        scsi_assert_usable(g);
        scsi_guest_stop(g);
    }
}

int main(int argc, char **argv)
{
    if (!zoned_guest_init(&argc, &argv)) {
        return g_test_run();
    }

    scsi_guest_add_test("scsi-zoned-rw/data", test_data);
    scsi_guest_add_test("scsi-zoned-rw/write-rules", test_write_rules);
    scsi_guest_add_test("scsi-zoned-rw/no-blocks", test_no_blocks);
    scsi_guest_add_test("scsi-zoned-rw/conditions", test_conditions);
    scsi_guest_add_test("scsi-zoned-rw/read", test_read);
    scsi_guest_add_test("scsi-zoned-rw/flags", test_flags);
    scsi_guest_add_test("scsi-zoned-rw/durable", test_durable);
    scsi_guest_add_test("scsi-zoned-rw/512e", test_512e);
    scsi_guest_add_test("scsi-zoned-rw/large-blocks", test_large_blocks);
    scsi_guest_add_test("scsi-zoned-rw/write-same", test_write_same);
    scsi_guest_add_test("scsi-zoned-rw/write-same-limit",
                        test_write_same_limit);
    scsi_guest_add_test("scsi-zoned-rw/verify", test_verify);
    scsi_guest_add_test("scsi-zoned-rw/verify-conditions",
                        test_verify_conditions);
    scsi_guest_add_test("scsi-zoned-rw/verify-many", test_verify_many);
    scsi_guest_add_test("scsi-zoned-rw/unmap", test_unmap);
    scsi_guest_add_test("scsi-zoned-rw/format", test_format);
    scsi_guest_add_test("scsi-zoned-rw/format-read-only",
                        test_format_read_only);
    scsi_guest_add_test("scsi-zoned-rw/excess", test_excess);

    return g_test_run();
}

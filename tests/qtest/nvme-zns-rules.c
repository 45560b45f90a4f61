/*
 * What holds for every zoned NVMe namespace, wherever its zones are kept
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qemu/cutils.h"
#include "nvme-zns-rules.h"

static ZnsStart *start_namespace;

static ZnsGuest *start(void)
{
    return start_namespace("", "");
}

/* Fills a zone to its capacity. */
static void fill(ZnsGuest *g, int zone)
{
    assert_success(zns_write(g, Z(zone), ZNS_CAP));
}

static void test_identify(void)
{
    ZnsGuest *g = start();
    g_autofree NvmeIdNs *ns = g_new(NvmeIdNs, 1);
    g_autofree NvmeIdNsZoned *zoned = g_new(NvmeIdNsZoned, 1);
    uint8_t format;

    zns_identify(g, NVME_ID_CNS_NS, 0, ns);
    g_assert_cmpuint(le64_to_cpu(ns->nsze), ==, ZNS_BLOCKS);
    g_assert_cmpuint(ns->nsattr, ==, 0);
    format = NVME_ID_NS_FLBAS_INDEX(ns->flbas);
    g_assert_cmpuint(ns->lbaf[format].ds, ==, 9);
    g_assert_cmpuint(ns->lbaf[format].ms, ==, 0);

    zns_identify(g, NVME_ID_CNS_CS_NS, NVME_CSI_ZONED, zoned);
    g_assert_cmpuint(le32_to_cpu(zoned->mor), ==, ZNS_MAX_OPEN - 1);
    g_assert_cmpuint(le32_to_cpu(zoned->mar), ==, ZNS_MAX_ACTIVE - 1);
    g_assert_cmpuint(le16_to_cpu(zoned->ozcs), ==, 0);
    g_assert_cmpuint(le64_to_cpu(zoned->lbafe[format].zsze), ==, ZNS_ZONE);
    g_assert_cmpuint(zoned->lbafe[format].zdes, ==, 0);
    zns_stop(g);
}

static void test_write(void)
{
    ZnsGuest *g = start();

    assert_zone(g, 1, EMPTY, Z(1));
    assert_success(zns_write(g, Z(1), 8));
    assert_zone(g, 1, IMPLICITLY_OPEN, Z(1) + 8);
    assert_status(zns_write(g, Z(1), 8), NVME_ZONE_INVALID_WRITE);
    assert_status(zns_write(g, Z(1) + 16, 8), NVME_ZONE_INVALID_WRITE);
    assert_status(zns_write(g, Z(1) + 8, ZNS_CAP), NVME_ZONE_BOUNDARY_ERROR);
    assert_status(zns_write(g, Z(1) + 8, ZNS_ZONE), NVME_ZONE_BOUNDARY_ERROR);
    assert_zone(g, 1, IMPLICITLY_OPEN, Z(1) + 8);

    assert_success(zns_write(g, Z(1) + 8, ZNS_CAP - 8));
    assert_zone(g, 1, FULL, NO_WP);
    assert_status(zns_write(g, Z(1), 8), NVME_ZONE_FULL);
    assert_status(zns_write(g, Z(1) + ZNS_CAP, 8), NVME_ZONE_FULL);
    assert_status(zns_append(g, Z(1), 8, NULL), NVME_ZONE_FULL);
    zns_assert_usable(g);
    zns_stop(g);
}

static void test_bounds(void)
{
    static const uint64_t beyond[] = {
        ZNS_BLOCKS, ZNS_BLOCKS + ZNS_ZONE, 1ull << 32, UINT64_MAX / 512,
        UINT64_MAX / 512 + 1, 1ull << 63, UINT64_MAX - 7, UINT64_MAX,
    };
    ZnsGuest *g = start();

    for (int i = 0; i < ARRAY_SIZE(beyond); i++) {
        assert_status(zns_write(g, beyond[i], 8), NVME_LBA_RANGE);
        assert_status(zns_append(g, beyond[i], 8, NULL), NVME_LBA_RANGE);
        assert_status(zns_read(g, beyond[i], 8), NVME_LBA_RANGE);
        assert_status(zns_manage(g, NVME_ZONE_ACTION_OPEN, beyond[i]),
                      NVME_LBA_RANGE);
        assert_status(zns_manage(g, NVME_ZONE_ACTION_RESET, beyond[i]),
                      NVME_LBA_RANGE);
        assert_status(zns_do(g, zns_receive(g, beyond[i], 0, false, 4096)),
                      NVME_LBA_RANGE);
    }
    assert_status(zns_read(g, ZNS_BLOCKS - 1, 2), NVME_LBA_RANGE);
    zns_assert_usable(g);
    zns_stop(g);
}

static void test_write_zeroes(void)
{
    ZnsGuest *g = start();
    NvmeCmd zeroes = zns_rw(g, NVME_CMD_WRITE_ZEROES, Z(1), 8);

    assert_success(zns_do(g, zeroes));
    assert_zone(g, 1, IMPLICITLY_OPEN, Z(1) + 8);
    assert_status(zns_do(g, zeroes), NVME_ZONE_INVALID_WRITE);
    zeroes = zns_rw(g, NVME_CMD_WRITE_ZEROES, Z(1) + 8, ZNS_ZONE);
    assert_status(zns_do(g, zeroes), NVME_ZONE_BOUNDARY_ERROR);
    zeroes = zns_rw(g, NVME_CMD_WRITE_ZEROES, Z(1) + 8, ZNS_CAP - 8);
    assert_success(zns_do(g, zeroes));
    assert_zone(g, 1, FULL, NO_WP);
    assert_status(zns_do(g, zeroes), NVME_ZONE_FULL);
    zns_stop(g);
}

static void test_append(void)
{
    ZnsGuest *g = start();
    uint64_t where;

    assert_success(zns_append(g, Z(2), 8, &where));
    g_assert_cmpuint(where, ==, Z(2));
    assert_success(zns_append(g, Z(2), 1, &where));
    g_assert_cmpuint(where, ==, Z(2) + 8);
    assert_zone(g, 2, IMPLICITLY_OPEN, Z(2) + 9);
    assert_status(zns_append(g, Z(2) + 9, 8, NULL), NVME_INVALID_FIELD);
    assert_status(zns_append(g, Z(2), ZNS_CAP, NULL),
                  NVME_ZONE_BOUNDARY_ERROR);
    assert_success(zns_append(g, Z(2), ZNS_CAP - 9, &where));
    g_assert_cmpuint(where, ==, Z(2) + 9);
    assert_zone(g, 2, FULL, NO_WP);
    assert_status(zns_append(g, Z(2), 1, NULL), NVME_ZONE_FULL);
    zns_assert_usable(g);
    zns_stop(g);
}

static void test_append_limit(void)
{
    ZnsGuest *g = start_namespace("", ",zoned.zasl=2");

    zns_assert_append_limit(g);
    zns_stop(g);
}

static void test_manage(void)
{
    ZnsGuest *g = start();

    assert_status(zns_manage(g, NVME_ZONE_ACTION_CLOSE, Z(1)),
                  NVME_ZONE_INVAL_TRANSITION);
    assert_success(zns_manage(g, NVME_ZONE_ACTION_OPEN, Z(1)));
    assert_zone(g, 1, EXPLICITLY_OPEN, Z(1));
    assert_success(zns_manage(g, NVME_ZONE_ACTION_OPEN, Z(1)));
    assert_success(zns_write(g, Z(1), 8));
    assert_zone(g, 1, EXPLICITLY_OPEN, Z(1) + 8);
    assert_success(zns_manage(g, NVME_ZONE_ACTION_CLOSE, Z(1)));
    assert_zone(g, 1, CLOSED, Z(1) + 8);
    assert_success(zns_manage(g, NVME_ZONE_ACTION_CLOSE, Z(1)));
    assert_success(zns_write(g, Z(1) + 8, 8));
    assert_zone(g, 1, IMPLICITLY_OPEN, Z(1) + 16);
    assert_success(zns_manage(g, NVME_ZONE_ACTION_CLOSE, Z(1)));
    assert_success(zns_manage(g, NVME_ZONE_ACTION_OPEN, Z(1)));
    assert_zone(g, 1, EXPLICITLY_OPEN, Z(1) + 16);
    assert_success(zns_manage(g, NVME_ZONE_ACTION_FINISH, Z(1)));
    assert_zone(g, 1, FULL, NO_WP);
    assert_success(zns_manage(g, NVME_ZONE_ACTION_FINISH, Z(1)));
    assert_status(zns_manage(g, NVME_ZONE_ACTION_OPEN, Z(1)),
                  NVME_ZONE_INVAL_TRANSITION);
    assert_status(zns_manage(g, NVME_ZONE_ACTION_CLOSE, Z(1)),
                  NVME_ZONE_INVAL_TRANSITION);
    assert_success(zns_manage(g, NVME_ZONE_ACTION_RESET, Z(1)));
    assert_zone(g, 1, EMPTY, Z(1));
    assert_success(zns_manage(g, NVME_ZONE_ACTION_RESET, Z(1)));
    assert_success(zns_manage(g, NVME_ZONE_ACTION_FINISH, Z(1)));
    assert_zone(g, 1, FULL, NO_WP);
    zns_assert_usable(g);
    zns_stop(g);
}

/* Zones in every condition that a guest can bring about */
static void make_zones(ZnsGuest *g)
{
    assert_success(zns_write(g, Z(0), 8));
    assert_success(zns_manage(g, NVME_ZONE_ACTION_CLOSE, Z(0)));
    assert_success(zns_manage(g, NVME_ZONE_ACTION_OPEN, Z(1)));
    assert_success(zns_write(g, Z(2), 8));
    assert_success(zns_manage(g, NVME_ZONE_ACTION_FINISH, Z(3)));
}

static void test_manage_all(void)
{
    ZnsGuest *g = start();

    make_zones(g);
    assert_success(zns_write(g, Z(1), 8));
    assert_success(zns_manage_all(g, NVME_ZONE_ACTION_CLOSE));
    for (int i = 0; i < 3; i++) {
        assert_zone(g, i, CLOSED, Z(i) + 8);
    }
    assert_zone(g, 3, FULL, NO_WP);
    assert_success(zns_manage(g, NVME_ZONE_ACTION_RESET, Z(2)));
    assert_success(zns_manage_all(g, NVME_ZONE_ACTION_OPEN));
    assert_zone(g, 0, EXPLICITLY_OPEN, Z(0) + 8);
    assert_zone(g, 1, EXPLICITLY_OPEN, Z(1) + 8);
    assert_zone(g, 2, EMPTY, Z(2));
    assert_zone(g, 3, FULL, NO_WP);
    assert_success(zns_manage_all(g, NVME_ZONE_ACTION_FINISH));
    assert_zone(g, 0, FULL, NO_WP);
    assert_zone(g, 1, FULL, NO_WP);
    assert_zone(g, 2, EMPTY, Z(2));
    assert_success(zns_manage_all(g, NVME_ZONE_ACTION_RESET));
    for (int i = 0; i < ZNS_NR_ZONES; i++) {
        assert_zone(g, i, EMPTY, Z(i));
    }
    zns_assert_usable(g);
    zns_stop(g);
}

static void test_manage_refused(void)
{
    static const uint8_t actions[] = {
        NVME_ZONE_ACTION_CLOSE, NVME_ZONE_ACTION_FINISH, NVME_ZONE_ACTION_OPEN,
        NVME_ZONE_ACTION_RESET,
    };
    ZnsGuest *g = start();
    NvmeCmd cmd;

    assert_success(zns_write(g, Z(1), 8));
    for (int i = 0; i < ARRAY_SIZE(actions); i++) {
        assert_status(zns_manage(g, actions[i], Z(1) + 1), NVME_INVALID_FIELD);
        assert_status(zns_manage(g, actions[i], Z(2) - 1), NVME_INVALID_FIELD);
    }
    assert_status(zns_manage(g, 0x00, Z(1)), NVME_INVALID_FIELD);
    assert_status(zns_manage(g, 0x06, Z(1)), NVME_INVALID_FIELD);
    assert_status(zns_manage(g, 0xff, Z(1)), NVME_INVALID_FIELD);
    assert_status(zns_manage_all(g, 0xff), NVME_INVALID_FIELD);
    assert_status(zns_manage(g, NVME_ZONE_ACTION_SET_ZD_EXT, Z(2)),
                  NVME_INVALID_FIELD);
    assert_status(zns_manage(g, NVME_ZONE_ACTION_ZRWA_FLUSH, Z(2)),
                  NVME_INVALID_ZONE_OP);
    assert_status(zns_manage_all(g, NVME_ZONE_ACTION_ZRWA_FLUSH),
                  NVME_INVALID_FIELD);
    cmd = zns_send(g, NVME_ZONE_ACTION_OPEN, Z(2));
    cmd.cdw13 |= cpu_to_le32(NVME_ZSFLAG_ZRWA_ALLOC << 8);
    assert_status(zns_do(g, cmd), NVME_INVALID_ZONE_OP);
    assert_zone(g, 1, IMPLICITLY_OPEN, Z(1) + 8);
    assert_zone(g, 2, EMPTY, Z(2));
    zns_assert_usable(g);
    zns_stop(g);
}

static void test_limits(void)
{
    ZnsGuest *g = start();

    assert_success(zns_manage(g, NVME_ZONE_ACTION_OPEN, Z(0)));
    assert_success(zns_write(g, Z(1), 8));
    /* Room is made at the expense of a zone that is implicitly open. */
    assert_success(zns_write(g, Z(2), 8));
    assert_zone(g, 0, EXPLICITLY_OPEN, Z(0));
    assert_zone(g, 1, CLOSED, Z(1) + 8);
    assert_zone(g, 2, IMPLICITLY_OPEN, Z(2) + 8);

    assert_status(zns_write(g, Z(3), 8), NVME_ZONE_TOO_MANY_ACTIVE);
    assert_status(zns_append(g, Z(3), 8, NULL), NVME_ZONE_TOO_MANY_ACTIVE);
    assert_status(zns_manage(g, NVME_ZONE_ACTION_OPEN, Z(3)),
                  NVME_ZONE_TOO_MANY_ACTIVE);
    assert_zone(g, 3, EMPTY, Z(3));
    assert_success(zns_manage(g, NVME_ZONE_ACTION_OPEN, Z(2)));
    assert_status(zns_write(g, Z(1) + 8, 8), NVME_ZONE_TOO_MANY_OPEN);
    assert_status(zns_append(g, Z(1), 8, NULL), NVME_ZONE_TOO_MANY_OPEN);
    assert_status(zns_manage(g, NVME_ZONE_ACTION_OPEN, Z(1)),
                  NVME_ZONE_TOO_MANY_OPEN);
    assert_zone(g, 1, CLOSED, Z(1) + 8);

    assert_success(zns_manage(g, NVME_ZONE_ACTION_FINISH, Z(2)));
    assert_success(zns_write(g, Z(1) + 8, 8));
    assert_success(zns_manage(g, NVME_ZONE_ACTION_RESET, Z(0)));
    assert_success(zns_append(g, Z(3), 8, NULL));
    zns_assert_usable(g);
    zns_stop(g);
}

/* A report with room for @room zones: asserts which zones it has. */
static void assert_report(ZnsGuest *g, uint64_t slba, uint8_t filter,
                          bool partial, unsigned room, uint64_t nr_zones,
                          const char *zones)
{
    NvmeZoneReportHeader header;
    NvmeZoneDescr descr;
    size_t len = sizeof(header) + room * sizeof(descr);
    uint64_t addr = g->buffer + sizeof(header);

    qtest_memset(g->qts, g->buffer, 0xa5, 8192);
    assert_success(zns_do(g, zns_receive(g, slba, filter, partial, len)));
    qtest_memread(g->qts, g->buffer, &header, sizeof(header));
    g_assert_cmpuint(le64_to_cpu(header.nr_zones), ==, nr_zones);
    g_assert_true(buffer_is_zero(header.rsvd, sizeof(header.rsvd)));
    for (; *zones; zones++, addr += sizeof(descr)) {
        qtest_memread(g->qts, addr, &descr, sizeof(descr));
        g_assert_cmpuint(le64_to_cpu(descr.zslba), ==, Z(*zones - '0'));
        g_assert_cmpuint(le64_to_cpu(descr.zcap), ==, ZNS_CAP);
        g_assert_cmpuint(descr.zt, ==, NVME_ZONE_TYPE_SEQ_WRITE);
        g_assert_cmpuint(descr.za, ==, 0);
        g_assert_true(buffer_is_zero(descr.rsvd32, sizeof(descr.rsvd32)));
    }
    /* Nothing is written behind the buffer. */
    g_assert_cmphex(qtest_readb(g->qts, g->buffer + len), ==, 0xa5);
}

static void test_report(void)
{
    ZnsGuest *g = start();

    make_zones(g);
    assert_report(g, 0, NVME_ZONE_REPORT_ALL, false, 20, 8, "01234567");
    assert_report(g, 0, NVME_ZONE_REPORT_ALL, true, 20, 8, "01234567");
    assert_report(g, 0, NVME_ZONE_REPORT_ALL, false, 3, 8, "012");
    assert_report(g, 0, NVME_ZONE_REPORT_ALL, true, 3, 3, "012");
    assert_report(g, 0, NVME_ZONE_REPORT_ALL, false, 0, 8, "");
    assert_report(g, 0, NVME_ZONE_REPORT_ALL, true, 0, 0, "");
    assert_report(g, Z(6), NVME_ZONE_REPORT_ALL, false, 8, 2, "67");
    assert_report(g, Z(6) + 5, NVME_ZONE_REPORT_ALL, false, 8, 2, "67");
    assert_report(g, ZNS_BLOCKS - 1, NVME_ZONE_REPORT_ALL, true, 8, 1, "7");
    assert_report(g, 0, NVME_ZONE_REPORT_EMPTY, false, 8, 4, "4567");
    assert_report(g, 0, NVME_ZONE_REPORT_EMPTY, true, 2, 2, "45");
    assert_report(g, 0, NVME_ZONE_REPORT_EMPTY, false, 2, 4, "45");
    assert_report(g, 0, NVME_ZONE_REPORT_IMPLICITLY_OPEN, false, 8, 1, "2");
    assert_report(g, 0, NVME_ZONE_REPORT_EXPLICITLY_OPEN, false, 8, 1, "1");
    assert_report(g, 0, NVME_ZONE_REPORT_CLOSED, false, 8, 1, "0");
    assert_report(g, Z(1), NVME_ZONE_REPORT_CLOSED, false, 8, 0, "");
    assert_report(g, 0, NVME_ZONE_REPORT_FULL, true, 8, 1, "3");
    assert_report(g, 0, NVME_ZONE_REPORT_READ_ONLY, false, 8, 0, "");
    assert_report(g, 0, NVME_ZONE_REPORT_OFFLINE, false, 8, 0, "");
    zns_assert_usable(g);
    zns_stop(g);
}

static void test_report_refused(void)
{
    ZnsGuest *g = start();
    NvmeCmd cmd = zns_receive(g, 0, 0, false, 4096);

    assert_status(zns_do(g, zns_receive(g, 0, 8, false, 4096)),
                  NVME_INVALID_FIELD);
    assert_status(zns_do(g, zns_receive(g, 0, 0xff, false, 4096)),
                  NVME_INVALID_FIELD);
    assert_status(zns_do(g, zns_receive(g, 0, 0, false, 60)),
                  NVME_INVALID_FIELD);
    assert_status(zns_do(g, zns_receive(g, 0, 0, false, 4)),
                  NVME_INVALID_FIELD);
    assert_status(zns_do(g, zns_receive(g, 0, 0, false, ZNS_BUFFER + 4)),
                  NVME_INVALID_FIELD);
    /* Extended reports need descriptor extensions. */
    cmd.cdw13 = cpu_to_le32(NVME_ZONE_REPORT_EXTENDED);
    assert_status(zns_do(g, cmd), NVME_INVALID_FIELD);
    cmd.cdw13 = cpu_to_le32(2);
    assert_status(zns_do(g, cmd), NVME_INVALID_FIELD);
    /* All that cdw12 can hold */
    cmd = zns_receive(g, 0, 0, false, 4096);
    for (int shift = 16; shift < 32; shift++) {
        cmd.cdw12 = cpu_to_le32((1u << shift) - 1);
        zns_do(g, cmd);
        cmd.cdw12 = cpu_to_le32(1u << shift);
        zns_do(g, cmd);
    }
    cmd.cdw12 = cpu_to_le32(UINT32_MAX);
    assert_status(zns_do(g, cmd), NVME_INVALID_FIELD);
    assert_success(zns_do(g, zns_receive(g, 0, 0, false, ZNS_BUFFER)));
    zns_assert_usable(g);
    zns_stop(g);
}

static void test_read(void)
{
    ZnsGuest *g = start();
    uint8_t data[1024];

    qtest_memset(g->qts, g->buffer, 'd', 1024);
    assert_success(zns_write(g, Z(1), 1));
    assert_success(zns_read(g, Z(1), 2));
    qtest_memread(g->qts, g->buffer, data, sizeof(data));
    g_assert_cmpint(data[511], ==, 'd');
    g_assert_true(buffer_is_zero(data + 512, 512));
    assert_success(zns_read(g, Z(1) + ZNS_CAP, ZNS_ZONE - ZNS_CAP));
    assert_success(zns_read(g, Z(3) + 17, 4));
    fill(g, 2);
    assert_success(zns_read(g, Z(2), ZNS_ZONE));
    assert_status(zns_read(g, Z(2), ZNS_ZONE + 1), NVME_ZONE_BOUNDARY_ERROR);
    assert_status(zns_read(g, Z(2) - 1, 2), NVME_ZONE_BOUNDARY_ERROR);
    zns_assert_usable(g);
    zns_stop(g);
}

static void test_cross_read(void)
{
    ZnsGuest *g = start_namespace(",zoned.cross_read=on", "");
    g_autofree NvmeIdNsZoned *zoned = g_new(NvmeIdNsZoned, 1);

    zns_identify(g, NVME_ID_CNS_CS_NS, NVME_CSI_ZONED, zoned);
    g_assert_cmpuint(le16_to_cpu(zoned->ozcs), ==,
                     NVME_ID_NS_ZONED_OZCS_RAZB);
    assert_success(zns_read(g, Z(2) - 1, 2));
    assert_success(zns_read(g, Z(1) + 3, 3 * ZNS_ZONE));
    assert_status(zns_read(g, Z(7), ZNS_ZONE + 1), NVME_LBA_RANGE);
    zns_assert_usable(g);
    zns_stop(g);
}

static void test_copy(void)
{
    ZnsGuest *g = start();
    uint8_t data[512];

    qtest_memset(g->qts, g->buffer, 'c', 4096);
    assert_success(zns_write(g, Z(1), 8));
    assert_success(zns_do(g, zns_copy(g, Z(1), 4, Z(2))));
    assert_zone(g, 2, IMPLICITLY_OPEN, Z(2) + 4);
    assert_success(zns_read(g, Z(2) + 3, 1));
    qtest_memread(g->qts, g->buffer, data, sizeof(data));
    g_assert_cmpint(data[511], ==, 'c');
    assert_status(zns_do(g, zns_copy(g, Z(1), 4, Z(2))),
                  NVME_ZONE_INVALID_WRITE);
    assert_status(zns_do(g, zns_copy(g, Z(1), ZNS_CAP, Z(2) + 4)),
                  NVME_ZONE_BOUNDARY_ERROR);
    assert_status(zns_do(g, zns_copy(g, Z(2) - 1, 2, Z(2) + 4)),
                  NVME_ZONE_BOUNDARY_ERROR);
    assert_zone(g, 2, IMPLICITLY_OPEN, Z(2) + 4);
    assert_status(zns_do(g, zns_copy(g, Z(1), 4, ZNS_BLOCKS)),
                  NVME_LBA_RANGE);
    zns_assert_usable(g);
    zns_stop(g);
}

static void test_compare(void)
{
    ZnsGuest *g = start();

    qtest_memset(g->qts, g->buffer, 'c', 4096);
    assert_success(zns_write(g, Z(1), 8));
    assert_success(zns_do(g, zns_rw(g, NVME_CMD_COMPARE, Z(1), 8)));
    assert_status(zns_do(g, zns_rw(g, NVME_CMD_COMPARE, Z(1) + 7, 2)),
                  NVME_CMP_FAILURE);
    assert_success(zns_do(g, zns_rw(g, NVME_CMD_VERIFY, Z(1), 8)));
    zns_stop(g);
}

/* Dataset Management is a hint, which must not change what a zone holds. */
static void test_deallocate(void)
{
    ZnsGuest *g = start();
    NvmeDsmRange range = { .nlb = cpu_to_le32(8), .slba = cpu_to_le64(Z(1)) };
    NvmeCmd cmd = zns_command(g, NVME_CMD_DSM, 512);

    assert_success(zns_write(g, Z(1), 16));
    qtest_memwrite(g->qts, g->list, &range, sizeof(range));
    cmd.dptr.prp1 = cpu_to_le64(g->list);
    cmd.cdw11 = cpu_to_le32(NVME_DSMGMT_AD);
    assert_success(zns_do(g, cmd));
    assert_zone(g, 1, IMPLICITLY_OPEN, Z(1) + 16);
    zns_assert_usable(g);
    zns_stop(g);
}

static void test_flush_format(void)
{
    ZnsGuest *g = start();
    NvmeCmd format = zns_command(g, NVME_ADM_CMD_FORMAT_NVM, 0);

    assert_success(zns_write(g, Z(1), 16));
    assert_success(zns_do(g, zns_command(g, NVME_CMD_FLUSH, 0)));
    /* One with other blocks, and one with metadata */
    format.cdw10 = cpu_to_le32(4);
    assert_status(zns_admin(g, format), NVME_INVALID_FORMAT);
    format.cdw10 = cpu_to_le32(1);
    assert_status(zns_admin(g, format), NVME_INVALID_FORMAT);
    assert_zone(g, 1, IMPLICITLY_OPEN, Z(1) + 16);
    zns_stop(g);
}

/* Open zones are closed when the controller is shut down. */
static void test_shutdown(void)
{
    ZnsGuest *g = start();

    make_zones(g);
    zns_shutdown(g);
    zns_reset(g);
    zns_enable(g);
    assert_zone(g, 0, CLOSED, Z(0) + 8);
    assert_zone(g, 1, EMPTY, Z(1));
    assert_zone(g, 2, CLOSED, Z(2) + 8);
    assert_zone(g, 3, FULL, NO_WP);
    assert_zone(g, 4, EMPTY, Z(4));
    zns_assert_usable(g);
    zns_stop(g);
}

void zns_add_rules(const char *path, ZnsStart *start_function)
{
    static const struct {
        const char *name;
        void (*function)(void);
    } tests[] = {
        { "identify", test_identify },
        { "write", test_write },
        { "bounds", test_bounds },
        { "write-zeroes", test_write_zeroes },
        { "append", test_append },
        { "append-limit", test_append_limit },
        { "manage", test_manage },
        { "manage-all", test_manage_all },
        { "manage-refused", test_manage_refused },
        { "limits", test_limits },
        { "report", test_report },
        { "report-refused", test_report_refused },
        { "read", test_read },
        { "cross-read", test_cross_read },
        { "copy", test_copy },
        { "compare", test_compare },
        { "deallocate", test_deallocate },
        { "flush-format", test_flush_format },
        { "shutdown", test_shutdown },
    };

    start_namespace = start_function;
    for (int i = 0; i < ARRAY_SIZE(tests); i++) {
        g_autofree char *name = g_strdup_printf("%s/%s", path, tests[i].name);

        qtest_add_func(name, tests[i].function);
    }
}

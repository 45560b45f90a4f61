/*
 * QTest testcase for what an NVMe guest hears of zones of its drive that fail
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qemu/cutils.h"
#include "qobject/qdict.h"
#include "nvme-zns-guest.h"
#include "virtio-blk-zoned-guest.h"

#define PLUG_SLOT 5
#define NOTICES (1u << 27)
#define PAGE 4096
#define FILLER 0xa5

/* How many requests for events can be outstanding: AERL, 0's based */
#define MAX_AERS 4

/* What an event is completed with, and is not */
#define ZONE_EVENT 0xbfef02u
#define NAMESPACE_EVENT 0x040002u

static void set_zone(ZnsGuest *g, const char *node, int zone,
                     const char *condition)
{
    qtest_qmp_assert_success(
        g->qts, "{ 'execute': 'block-zone-set-condition', 'arguments': {"
        " 'node-name': %s, 'offset': %" PRIu64 ", 'condition': %s } }", node,
        (uint64_t)Z(zone) * 512, condition);
}

static void fail_zone(ZnsGuest *g, int zone)
{
    set_zone(g, "disk", zone, "read-only");
}

static NvmeCmd events_command(uint32_t events)
{
    return (NvmeCmd) {
        .opcode = NVME_ADM_CMD_SET_FEATURES,
        .cdw10 = cpu_to_le32(NVME_ASYNCHRONOUS_EVENT_CONF),
        .cdw11 = cpu_to_le32(events),
    };
}

static void set_events(ZnsGuest *g, uint32_t events)
{
    assert_success(zns_admin(g, events_command(events)));
}

static uint16_t ask_for_event(ZnsGuest *g)
{
    NvmeCmd cmd = { .opcode = NVME_ADM_CMD_ASYNC_EV_REQ };

    return zns_submit(g, &g->admin, &cmd);
}

/* Waits for an event, by the request @cid, of namespace @nsid. */
static void assert_event(ZnsGuest *g, uint16_t cid, uint32_t event,
                         uint32_t nsid)
{
    assert_success(zns_wait(g, &g->admin));
    g_assert_cmpuint(le16_to_cpu(g->cqe.cid), ==, cid);
    g_assert_cmphex(le32_to_cpu(g->cqe.result), ==, event);
    g_assert_cmpuint(le32_to_cpu(g->cqe.dw1), ==, nsid);
}

/* The same, when @cmd lets it come: the event is completed before that is. */
static void assert_event_by(ZnsGuest *g, NvmeCmd cmd, uint16_t cid,
                            uint32_t event, uint32_t nsid)
{
    uint16_t by = zns_submit(g, &g->admin, &cmd);

    assert_event(g, cid, event, nsid);
    assert_success(zns_wait(g, &g->admin));
    g_assert_cmpuint(le16_to_cpu(g->cqe.cid), ==, by);
}

/* No event has come: what is completed next is the next command. */
static void assert_no_event(ZnsGuest *g)
{
    NvmeCmd cmd = {
        .opcode = NVME_ADM_CMD_GET_FEATURES,
        .cdw10 = cpu_to_le32(NVME_ASYNCHRONOUS_EVENT_CONF),
    };

    assert_success(zns_admin(g, cmd));
}

/* A part of a log page, into the guest's buffer */
static NvmeCmd log_command(ZnsGuest *g, uint8_t lid, uint32_t nsid,
                           uint64_t offset, uint32_t len, bool rae)
{
    NvmeCmd cmd = zns_command(g, NVME_ADM_CMD_GET_LOG_PAGE, len);
    uint32_t dwords = len / 4 - 1;

    cmd.nsid = cpu_to_le32(nsid);
    cmd.cdw10 = cpu_to_le32(dwords << 16 | (uint32_t)rae << 15 | lid);
    cmd.cdw11 = cpu_to_le32(dwords >> 16);
    cmd.cdw12 = cpu_to_le32(offset);
    cmd.cdw13 = cpu_to_le32(offset >> 32);
    return cmd;
}

static uint16_t get_log(ZnsGuest *g, uint32_t nsid, uint64_t offset,
                        uint32_t len, bool rae)
{
    return zns_admin(g, log_command(g, NVME_LOG_CHANGED_ZONES, nsid, offset,
                                    len, rae));
}

static void get_list(ZnsGuest *g, bool rae, NvmeChangedZonesLog *log)
{
    qtest_memset(g->qts, g->buffer, FILLER, PAGE);
    assert_success(get_log(g, 1, 0, PAGE, rae));
    qtest_memread(g->qts, g->buffer, log, PAGE);
}

/* The list has @n zones, and nothing behind them; @zones are their numbers. */
static void assert_list(ZnsGuest *g, bool rae, const int *zones, int n)
{
    g_autofree NvmeChangedZonesLog *log = g_new(NvmeChangedZonesLog, 1);

    get_list(g, rae, log);
    g_assert_cmpuint(le16_to_cpu(log->nr_zones), ==, n);
    g_assert_true(buffer_is_zero(log->rsvd2, sizeof(log->rsvd2)));
    for (int i = 0; i < NVME_CHANGED_ZONES_MAX; i++) {
        g_assert_cmpuint(le64_to_cpu(log->zslba[i]), ==,
                         i < n ? Z(zones[i]) : 0);
    }
}

#define assert_changed(g, rae, ...) \
    do { \
        const int zones_[] = { __VA_ARGS__ }; \
        assert_list(g, rae, zones_, ARRAY_SIZE(zones_)); \
    } while (0)
#define assert_none_changed(g) assert_list(g, false, NULL, 0)

static uint32_t supported_events(ZnsGuest *g)
{
    g_autofree NvmeIdCtrl *id = g_new(NvmeIdCtrl, 1);

    zns_identify(g, NVME_ID_CNS_CTRL, 0, id);
    return le32_to_cpu(id->oaes);
}

static void test_event(void)
{
    ZnsGuest *g = zns_start_usual("", "");
    uint16_t cid;

    g_assert_cmphex(supported_events(g) & NOTICES, ==, NOTICES);
    assert_none_changed(g);
    set_events(g, NOTICES);
    cid = ask_for_event(g);
    assert_no_event(g);

    fail_zone(g, 3);
    assert_event(g, cid, ZONE_EVENT, 1);
    assert_changed(g, false, 3);
    assert_zone(g, 3, READ_ONLY, NO_WP);
    assert_none_changed(g);

    /* What has been read does not come again, what is new does. */
    cid = ask_for_event(g);
    assert_no_event(g);
    set_zone(g, "disk", 3, "offline");
    assert_event(g, cid, ZONE_EVENT, 1);
    assert_changed(g, false, 3);
    assert_zone(g, 3, OFFLINE, NO_WP);

    /* It can be used again. */
    cid = ask_for_event(g);
    set_zone(g, "disk", 3, "by-data");
    assert_event(g, cid, ZONE_EVENT, 1);
    assert_changed(g, false, 3);
    assert_zone(g, 3, EMPTY, Z(3));
    zns_assert_usable(g);
    zns_stop(g);
}

/* Without a request, it waits for one. */
static void test_no_request(void)
{
    ZnsGuest *g = zns_start_usual("", "");
    uint16_t cid;

    set_events(g, NOTICES);
    fail_zone(g, 5);
    fail_zone(g, 1);
    assert_no_event(g);
    cid = ask_for_event(g);
    assert_event(g, cid, ZONE_EVENT, 1);
    assert_changed(g, false, 5, 1);
    zns_assert_usable(g);
    zns_stop(g);
}

/* Who has not asked for notices gets none, but has the list. */
static void test_disabled(void)
{
    ZnsGuest *g = zns_start_usual("", "");
    uint16_t cid = ask_for_event(g);

    set_events(g, ~NOTICES);
    fail_zone(g, 1);
    assert_no_event(g);
    assert_changed(g, true, 1);
    /* When they are enabled, what there is to tell is told. */
    assert_event_by(g, events_command(NOTICES), cid, ZONE_EVENT, 1);
    assert_changed(g, false, 1);

    cid = ask_for_event(g);
    set_events(g, 0);
    fail_zone(g, 2);
    assert_no_event(g);
    assert_changed(g, false, 2);
    set_events(g, NOTICES);
    assert_no_event(g);
    fail_zone(g, 3);
    assert_event(g, cid, ZONE_EVENT, 1);
    zns_assert_usable(g);
    zns_stop(g);
}

/* An event comes once, until the list is read without Retain. */
static void test_once(void)
{
    ZnsGuest *g = zns_start_usual("", "");
    uint16_t cid;

    set_events(g, NOTICES);
    cid = ask_for_event(g);
    fail_zone(g, 1);
    assert_event(g, cid, ZONE_EVENT, 1);

    cid = ask_for_event(g);
    fail_zone(g, 2);
    set_zone(g, "disk", 1, "offline");
    assert_no_event(g);
    assert_changed(g, true, 1, 2);
    assert_changed(g, true, 1, 2);
    fail_zone(g, 3);
    assert_no_event(g);
    assert_changed(g, false, 1, 2, 3);
    assert_no_event(g);
    assert_none_changed(g);

    fail_zone(g, 4);
    assert_event(g, cid, ZONE_EVENT, 1);
    assert_changed(g, false, 4);
    zns_assert_usable(g);
    zns_stop(g);
}

/* What the guest does itself is no news to it, but to who watches the disk. */
static void test_own_offline(void)
{
    ZnsGuest *g = zns_start_usual("", "");
    uint16_t cid;
    QDict *event, *data;

    set_events(g, NOTICES);
    cid = ask_for_event(g);
    fail_zone(g, 1);
    assert_event(g, cid, ZONE_EVENT, 1);
    assert_changed(g, false, 1);
    event = qtest_qmp_eventwait_ref(g->qts, "BLOCK_ZONE_CHANGED");
    qobject_unref(event);

    ask_for_event(g);
    assert_success(zns_manage(g, NVME_ZONE_ACTION_OFFLINE, Z(1)));
    assert_no_event(g);
    assert_none_changed(g);
    /* It is the second within a second of the virtual clock. */
    qtest_clock_step(g->qts, 1100 * 1000 * 1000);
    event = qtest_qmp_eventwait_ref(g->qts, "BLOCK_ZONE_CHANGED");
    data = qdict_get_qdict(event, "data");
    g_assert_cmpstr(qdict_get_str(data, "node-name"), ==, "disk");
    g_assert_cmpstr(qdict_get_str(data, "condition"), ==, "offline");
    g_assert_cmpuint(qdict_get_int(data, "offset"), ==, Z(1) * 512);
    g_assert_cmpuint(qdict_get_int(data, "length"), ==, ZNS_ZONE * 512);
    qobject_unref(event);
    zns_stop(g);
}

/* A zone that fails by a rule, when the guest writes to it or resets it */
static void test_rule(void)
{
    static const char *const triggers[] = { "written", "resets" };
    ZnsGuest *g = zns_start_usual("", "");

    set_events(g, NOTICES);
    for (int i = 0; i < ARRAY_SIZE(triggers); i++) {
        uint16_t cid = ask_for_event(g);

        qtest_qmp_assert_success(
            g->qts, "{ 'execute': 'block-zone-add-rule', 'arguments': {"
            " 'node-name': 'disk', 'rule': { 'offset': %" PRIu64 ","
            " 'trigger': %s, 'value': 1, 'condition': 'read-only' } } }",
            (uint64_t)Z(i) * 512, triggers[i]);
        assert_success(zns_write(g, Z(i), 8));
        if (i == 1) {
            assert_no_event(g);
            assert_success(zns_manage(g, NVME_ZONE_ACTION_RESET, Z(i)));
        }
        assert_event(g, cid, ZONE_EVENT, 1);
        assert_changed(g, false, i);
        assert_zone(g, i, READ_ONLY, NO_WP);
    }
    zns_assert_usable(g);
    zns_stop(g);
}

/* Nodes between the drive and the zones */
static void test_filters(void)
{
    g_autofree char *args = g_strdup_printf(
        ZNS_DISK "-blockdev driver=blkdebug,node-name=middle,image=disk "
        "-blockdev driver=raw,node-name=top,file=middle "
        "-device nvme,serial=zoned,addr=4,drive=top", zns_image_new());
    ZnsGuest *g = zns_start(args);
    uint16_t cid;

    set_events(g, NOTICES);
    cid = ask_for_event(g);
    fail_zone(g, 1);
    assert_event(g, cid, ZONE_EVENT, 1);
    assert_changed(g, false, 1);
    zns_assert_usable(g);
    zns_stop(g);
}

/* More zones than the list has room for */
static void test_many(void)
{
    const int nr_zones = NVME_CHANGED_ZONES_MAX + 2;
    g_autofree char *args = g_strdup_printf(
        ZNS_DISK "-device nvme,serial=zoned,addr=4,drive=disk",
        zoned_image_new("zone_size=64k", "33M"));
    ZnsGuest *g = zns_start(args);
    g_autofree NvmeChangedZonesLog *log = g_new(NvmeChangedZonesLog, 1);
    int zones[NVME_CHANGED_ZONES_MAX];

    for (int i = 0; i < NVME_CHANGED_ZONES_MAX; i++) {
        /* Zone 0 last: where a list ends is not in its zeroes. */
        zones[i] = NVME_CHANGED_ZONES_MAX - 1 - i;
        fail_zone(g, zones[i]);
    }
    assert_list(g, true, zones, NVME_CHANGED_ZONES_MAX);
    fail_zone(g, nr_zones - 2);
    get_list(g, true, log);
    g_assert_cmphex(le16_to_cpu(log->nr_zones), ==,
                    NVME_CHANGED_ZONES_TOO_MANY);
    g_assert_true(buffer_is_zero(log->rsvd2, PAGE - 2));
    /* Also with one that would be in the list */
    set_zone(g, "disk", 7, "offline");
    get_list(g, false, log);
    g_assert_cmphex(le16_to_cpu(log->nr_zones), ==,
                    NVME_CHANGED_ZONES_TOO_MANY);
    assert_none_changed(g);
    fail_zone(g, nr_zones - 1);
    assert_changed(g, false, nr_zones - 1);
    zns_stop(g);
}

/* A reset by the guest ends the event, and not what it is about. */
static void test_reset(void)
{
    ZnsGuest *g = zns_start_usual("", "");
    uint16_t cid;

    set_events(g, NOTICES);
    cid = ask_for_event(g);
    fail_zone(g, 1);
    assert_event(g, cid, ZONE_EVENT, 1);
    ask_for_event(g);
    ask_for_event(g);
    fail_zone(g, 2);
    zns_reset(g);
    fail_zone(g, 3);
    zns_enable(g);

    /* The guest has not enabled notices since. */
    cid = ask_for_event(g);
    assert_no_event(g);
    assert_event_by(g, events_command(NOTICES), cid, ZONE_EVENT, 1);
    assert_changed(g, false, 1, 2, 3);

    /* Also if it was told of nothing, or shuts down */
    ask_for_event(g);
    zns_shutdown(g);
    fail_zone(g, 4);
    zns_reset(g);
    zns_enable(g);
    set_events(g, NOTICES);
    cid = ask_for_event(g);
    assert_event(g, cid, ZONE_EVENT, 1);
    assert_changed(g, false, 4);

    /* A new machine starts with nothing. */
    ask_for_event(g);
    fail_zone(g, 5);
    qtest_system_reset(g->qts);
    zns_reopen(g);
    set_events(g, NOTICES);
    ask_for_event(g);
    assert_no_event(g);
    assert_none_changed(g);
    zns_assert_usable(g);
    zns_stop(g);
}

/* A guest that asks for more events than there can be requests */
static void test_flood(void)
{
    ZnsGuest *g = zns_start_usual("", "");
    uint16_t cids[MAX_AERS];

    set_events(g, NOTICES);
    for (int i = 0; i < MAX_AERS; i++) {
        cids[i] = ask_for_event(g);
    }
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 100; i++) {
            uint16_t cid = ask_for_event(g);

            assert_status(zns_wait(g, &g->admin), NVME_AER_LIMIT_EXCEEDED);
            g_assert_cmpuint(le16_to_cpu(g->cqe.cid), ==, cid);
        }
        /* The latest request is completed first, and asked again. */
        fail_zone(g, round);
        assert_event(g, cids[MAX_AERS - 1], ZONE_EVENT, 1);
        assert_changed(g, false, round);
        cids[MAX_AERS - 1] = ask_for_event(g);
    }
    zns_assert_usable(g);
    zns_stop(g);
}

/* A request that is aborted is not there for an event. */
static void test_abort(void)
{
    ZnsGuest *g = zns_start_usual("", "");
    NvmeCmd abort = { .opcode = NVME_ADM_CMD_ABORT };
    uint16_t cid;

    set_events(g, NOTICES);
    cid = ask_for_event(g);
    abort.cdw10 = cpu_to_le32((uint32_t)cid << 16);
    zns_submit(g, &g->admin, &abort);
    assert_status(zns_wait(g, &g->admin), NVME_CMD_ABORT_REQ);
    assert_success(zns_wait(g, &g->admin));
    fail_zone(g, 1);
    assert_no_event(g);
    cid = ask_for_event(g);
    assert_event(g, cid, ZONE_EVENT, 1);
    zns_assert_usable(g);
    zns_stop(g);
}

/* Each part of the log page is that of the whole, and no byte more. */
static void test_log_parts(void)
{
    static const uint32_t lens[] = {
        4, 8, 12, 20, 508, 4088, 4092, 4096, 4100, 8192, 64 * 1024,
    };
    ZnsGuest *g = zns_start_usual("", "");
    g_autofree uint8_t *whole = g_malloc(PAGE);
    g_autofree uint8_t *part = g_malloc(128 * 1024);

    for (int i = 0; i < ZNS_NR_ZONES; i++) {
        fail_zone(g, ZNS_NR_ZONES - 1 - i);
    }
    get_list(g, true, (NvmeChangedZonesLog *)whole);
    for (uint64_t offset = 0; offset < PAGE; offset += offset < 80 ? 4 : 236) {
        for (int i = 0; i < ARRAY_SIZE(lens); i++) {
            uint32_t len = lens[i];
            uint32_t there = MIN(PAGE - offset, len);

            qtest_memset(g->qts, g->buffer, FILLER, len + 8);
            assert_success(get_log(g, 1, offset, len, true));
            qtest_memread(g->qts, g->buffer, part, len + 8);
            g_assert_cmpmem(part, there, whole + offset, there);
            for (uint32_t j = there; j < len + 8; j++) {
                g_assert_cmphex(part[j], ==, FILLER);
            }
        }
    }
    zns_stop(g);
}

static void test_log_refused(void)
{
    static const uint64_t offsets[] = {
        1, 2, 3, 5, 4095, 4096, 4100, 1ull << 32, 1ull << 63, UINT64_MAX - 3,
        UINT64_MAX,
    };
    static const uint32_t no_nsids[] = { 0, 257, UINT32_MAX - 1, UINT32_MAX };
    ZnsGuest *g = zns_start_usual("", "");
    NvmeCmd cmd;

    fail_zone(g, 1);
    for (int i = 0; i < ARRAY_SIZE(offsets); i++) {
        assert_status(get_log(g, 1, offsets[i], 8, false), NVME_INVALID_FIELD);
    }
    for (int i = 0; i < ARRAY_SIZE(no_nsids); i++) {
        assert_status(get_log(g, no_nsids[i], 0, 8, false), NVME_INVALID_NSID);
    }
    /* There can be such a namespace, and is none. */
    assert_status(get_log(g, 2, 0, 8, false), NVME_INVALID_FIELD);
    assert_status(get_log(g, 1, 0, 2 * ZNS_BUFFER, false), NVME_INVALID_FIELD);
    /* A buffer that is not */
    cmd = log_command(g, NVME_LOG_CHANGED_ZONES, 1, 0, 2 * PAGE, false);
    cmd.dptr.prp2 = cpu_to_le64(g->buffer + 1);
    cmd.dptr.prp1 = cpu_to_le64(g->buffer + 2048);
    assert_status(zns_admin(g, cmd), NVME_INVALID_PRP_OFFSET);

    /* None of these has read the list. */
    assert_changed(g, false, 1);
    zns_stop(g);
}

/* Other namespaces of such a controller; and controllers that have none */
static void test_others(void)
{
    g_autofree char *args = g_strdup_printf(
        ZNS_DISK ZNS_ONE ZNS_NS ",nsid=1 "
        "-blockdev driver=null-co,node-name=null,size=1048576,read-zeroes=on "
        "-blockdev driver=null-co,node-name=null2,size=1048576,read-zeroes=on "
        "-device nvme-ns,bus=one,drive=null,nsid=2 "
        "-device nvme-ns,bus=one,drive=null2,nsid=3,zoned=on,"
        "zoned.zone_size=64k", zns_image_new());
    g_autofree char *plain_args = g_strdup(
        "-blockdev driver=null-co,node-name=null,size=1048576,read-zeroes=on "
        "-device nvme,id=one,serial=zoned,addr=4 "
        "-device nvme-ns,bus=one,drive=null,zoned=on,zoned.zone_size=64k");
    g_autofree NvmeChangedZonesLog *log = g_new(NvmeChangedZonesLog, 1);
    ZnsGuest *g = zns_start(args);

    fail_zone(g, 1);
    assert_status(get_log(g, 2, 0, PAGE, false), NVME_INVALID_FIELD);
    /* Zones that are kept in memory do not fail. */
    assert_success(get_log(g, 3, 0, PAGE, false));
    qtest_memread(g->qts, g->buffer, log, PAGE);
    g_assert_true(buffer_is_zero(log, PAGE));
    assert_changed(g, false, 1);
    zns_stop(g);

    g = zns_start(plain_args);
    g_assert_cmphex(supported_events(g) & NOTICES, ==, 0);
    set_events(g, NOTICES);
    assert_status(get_log(g, 1, 0, PAGE, false), NVME_INVALID_FIELD);
    zns_stop(g);
}

/* Detaches a namespace from controller 0. */
static NvmeCmd detach_command(ZnsGuest *g, uint32_t nsid)
{
    NvmeCmd cmd = zns_command(g, NVME_ADM_CMD_NS_ATTACHMENT, 0);

    cmd.nsid = cpu_to_le32(nsid);
    cmd.dptr.prp1 = cpu_to_le64(g->list);
    cmd.cdw10 = cpu_to_le32(NVME_NS_ATTACHMENT_DETACH);
    qtest_memset(g->qts, g->list, 0, PAGE);
    qtest_writew(g->qts, g->list, 1);
    return cmd;
}

/* Each controller of a shared namespace has its own list and its own events. */
static void test_shared(void)
{
    g_autofree char *args = g_strdup_printf(
        ZNS_DISK ZNS_ONE ZNS_TWO " " ZNS_NS, zns_image_new());
    ZnsGuest *one = zns_start(args);
    ZnsGuest *two = zns_open(one, PLUG_SLOT);
    uint16_t cid_one, cid_two;

    set_events(one, NOTICES);
    set_events(two, NOTICES);
    cid_one = ask_for_event(one);
    cid_two = ask_for_event(two);
    fail_zone(one, 1);
    assert_event(one, cid_one, ZONE_EVENT, 1);
    assert_event(two, cid_two, ZONE_EVENT, 1);
    assert_changed(one, false, 1);
    cid_one = ask_for_event(one);
    cid_two = ask_for_event(two);
    fail_zone(one, 2);
    assert_event(one, cid_one, ZONE_EVENT, 1);
    assert_no_event(two);
    assert_changed(two, false, 1, 2);

    /* Neither hears of what one of them has asked for. */
    assert_changed(one, false, 2);
    ask_for_event(one);
    assert_success(zns_manage(one, NVME_ZONE_ACTION_OFFLINE, Z(2)));
    assert_no_event(one);
    assert_no_event(two);
    assert_none_changed(two);

    zns_close(two);
    zns_stop(one);
}

/*
 * A namespace that is detached has no list.  That it is, is told by an event of
 * the same type, which must not wait for a list that cannot be read any more.
 */
static void test_detach(void)
{
    g_autofree char *args = g_strdup_printf(ZNS_DISK ZNS_ONE ZNS_NS,
                                            zns_image_new());
    ZnsGuest *g = zns_start(args);
    uint16_t cid;

    set_events(g, NOTICES);
    cid = ask_for_event(g);
    fail_zone(g, 1);
    assert_event(g, cid, ZONE_EVENT, 1);
    cid = ask_for_event(g);
    assert_event_by(g, detach_command(g, 1), cid, NAMESPACE_EVENT, 0);
    assert_status(get_log(g, 1, 0, PAGE, false), NVME_INVALID_FIELD);
    fail_zone(g, 2);
    assert_success(zns_admin(g, log_command(g, NVME_LOG_CHANGED_NSLIST, 0, 0,
                                            PAGE, false)));
    ask_for_event(g);
    assert_no_event(g);
    zns_reset(g);
    zns_enable(g);
    assert_none_changed(g);
    zns_assert_usable(g);
    zns_stop(g);
}

/* Events of one type come one after the other, and none is lost. */
static void test_other_notice(void)
{
    g_autofree char *args = g_strdup_printf(
        ZNS_DISK ZNS_ONE ZNS_NS ",nsid=1 "
        "-blockdev driver=null-co,node-name=null,size=1048576,read-zeroes=on "
        "-device nvme-ns,bus=one,drive=null,nsid=2", zns_image_new());
    ZnsGuest *g = zns_start(args);
    NvmeCmd zones = log_command(g, NVME_LOG_CHANGED_ZONES, 1, 0, PAGE, false);
    NvmeCmd namespaces = log_command(g, NVME_LOG_CHANGED_NSLIST, 0, 0, PAGE,
                                     false);
    uint16_t first, second;

    set_events(g, NOTICES);
    first = ask_for_event(g);
    second = ask_for_event(g);
    fail_zone(g, 1);
    assert_event(g, second, ZONE_EVENT, 1);
    /* This waits for the list to be read... */
    assert_success(zns_admin(g, detach_command(g, 2)));
    assert_no_event(g);
    assert_event_by(g, zones, first, NAMESPACE_EVENT, 0);
    /* ...and this for the namespaces. */
    first = ask_for_event(g);
    fail_zone(g, 2);
    assert_no_event(g);
    assert_event_by(g, namespaces, first, ZONE_EVENT, 1);
    assert_changed(g, false, 2);
    zns_assert_usable(g);
    zns_stop(g);
}

/* A controller that is plugged out while zones fail */
static void test_unplug(void)
{
    ZnsGuest *g = zns_start_usual("", "");
    ZnsGuest *plugged;

    for (int round = 0; round < 3; round++) {
        qtest_qmp_assert_success(
            g->qts, "{ 'execute': 'blockdev-add', 'arguments': {"
            " 'driver': 'zoned', 'node-name': 'drive',"
            " 'file': { 'driver': 'file', 'filename': %s } } }",
            zns_image_new());
        qtest_qmp_device_add(g->qts, "nvme", "plugged", "{ 'serial': 'zoned',"
                             " 'addr': %s, 'drive': 'drive' }",
                             stringify(PLUG_SLOT));
        plugged = zns_open(g, PLUG_SLOT);
        if (round > 0) {
            set_events(plugged, NOTICES);
            ask_for_event(plugged);
        }
        if (round > 1) {
            set_zone(g, "drive", 1, "read-only");
        }
        zns_close(plugged);
        set_zone(g, "drive", 0, "offline");
        qpci_unplug_acpi_device_test(g->qts, "plugged", PLUG_SLOT);
        qtest_qmp_assert_success(g->qts, "{ 'execute': 'blockdev-del',"
                                 " 'arguments': { 'node-name': 'drive' } }");
        assert_none_changed(g);
    }
    zns_assert_usable(g);
    zns_stop(g);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    qtest_add_func("nvme-zoned/notice/event", test_event);
    qtest_add_func("nvme-zoned/notice/no-request", test_no_request);
    qtest_add_func("nvme-zoned/notice/disabled", test_disabled);
    qtest_add_func("nvme-zoned/notice/once", test_once);
    qtest_add_func("nvme-zoned/notice/own-offline", test_own_offline);
    qtest_add_func("nvme-zoned/notice/rule", test_rule);
    qtest_add_func("nvme-zoned/notice/filters", test_filters);
    qtest_add_func("nvme-zoned/notice/many", test_many);
    qtest_add_func("nvme-zoned/notice/reset", test_reset);
    qtest_add_func("nvme-zoned/notice/flood", test_flood);
    qtest_add_func("nvme-zoned/notice/abort", test_abort);
    qtest_add_func("nvme-zoned/notice/log-parts", test_log_parts);
    qtest_add_func("nvme-zoned/notice/log-refused", test_log_refused);
    qtest_add_func("nvme-zoned/notice/others", test_others);
    qtest_add_func("nvme-zoned/notice/shared", test_shared);
    qtest_add_func("nvme-zoned/notice/detach", test_detach);
    qtest_add_func("nvme-zoned/notice/other-notice", test_other_notice);
    qtest_add_func("nvme-zoned/notice/unplug", test_unplug);
    return g_test_run();
}

/*
 * A guest that sends commands to a SCSI disk, zoned or not, by hand
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "libqos/libqos-pc.h"
#include "libqos/qgraph.h"
#include "standard-headers/linux/virtio_config.h"
#include "standard-headers/linux/virtio_scsi.h"
#include "scsi-zoned-guest.h"

#define TIMEOUT_US (60 * G_USEC_PER_SEC)
#define SLOT 4

#define CONTROL_QUEUE 0
#define EVENT_QUEUE 1
#define REQUEST_QUEUE 2

/* Where the disk is: LUN 0 of target 0, in virtio-scsi's form */
static const uint8_t lun[8] = { 1, 0, 0x40, 0 };

const uint8_t scsi_conditions[Z_NR] = {
    NOT_WP, NOT_WP, EMPTY, IOPEN, EOPEN, EOPEN, CLOSED, FULL, READ_ONLY,
    OFFLINE, EMPTY, EMPTY,
};

static void detach(ScsiGuest *g)
{
    if (g->vm.pci) {
        qvirtqueue_cleanup(g->vm.dev->bus, g->vm.vq, &g->vm.qs->alloc);
        qvirtqueue_cleanup(g->vm.dev->bus, g->events, &g->vm.qs->alloc);
        qvirtqueue_cleanup(g->vm.dev->bus, g->control, &g->vm.qs->alloc);
        qos_object_destroy((QOSGraphObject *)g->vm.pci);
    }
}

static QVirtQueue *set_up_queue(ScsiGuest *g, uint16_t index)
{
    return qvirtqueue_setup(g->vm.dev, &g->vm.qs->alloc, index);
}

static void set_up_hba(ScsiGuest *g)
{
    uint64_t features;

    detach(g);
    g->vm.pci = virtio_pci_new(g->vm.qs->pcibus, &(QPCIAddress) {
        .devfn = QPCI_DEVFN(SLOT, 0),
    });
    g_assert_nonnull(g->vm.pci);
    g->vm.dev = &g->vm.pci->vdev;
    g->vm.in_flight = 0;

    qvirtio_pci_device_enable(g->vm.pci);
    qvirtio_start_device(g->vm.dev);
    features = qvirtio_get_features(g->vm.dev);
    features &= ~(QVIRTIO_F_BAD_FEATURE | 1ull << VIRTIO_RING_F_INDIRECT_DESC |
                  1ull << VIRTIO_RING_F_EVENT_IDX);
    qvirtio_set_features(g->vm.dev, features);
    g->control = set_up_queue(g, CONTROL_QUEUE);
    g->events = set_up_queue(g, EVENT_QUEUE);
    g->vm.vq = set_up_queue(g, REQUEST_QUEUE);
    g_assert_cmpuint(g->vm.vq->size, <=, SCSI_MAX_QUEUE);
    qvirtio_set_driver_ok(g->vm.dev);
}

void scsi_guest_setup(ScsiGuest *g)
{
    set_up_hba(g);
    scsi_guest_take_attention(g);
}

ScsiGuest *scsi_guest_start(const ScsiGuestOptions *opts)
{
    ScsiGuest *g = g_new0(ScsiGuest, 1);
    g_autofree char *node = zoned_guest_node_args(&opts->vm);

    g->block_size = opts->block_size ?: 512;
    g->vm.qs = qtest_pc_boot("-machine pc -nodefaults %s %s "
                             "-device virtio-scsi-pci,id=hba,addr=%d,"
                             "num_queues=1%s%s "
                             "-device scsi-hd,id=sd,bus=hba.0,scsi-id=0,lun=0,"
                             "drive=disk,%s",
                             node, opts->vm.args ? opts->vm.args : "", SLOT,
                             zoned_guest_has_iothread() ? ",iothread=io" : "",
                             opts->hba ? opts->hba : "",
                             opts->vm.device ? opts->vm.device :
                             "serial=zoned");
    g->qts = g->vm.qts = g->vm.qs->qts;
    if (!opts->vm.incoming) {
        scsi_guest_setup(g);
    }
    return g;
}

ScsiGuest *scsi_guest_start_image(const char *options, const char *size,
                                  const char *device)
{
    const char *block = device ? strstr(device, "logical_block_size=") : NULL;

    return scsi_guest_start(&(ScsiGuestOptions) {
        .vm.image = zoned_image_new(options, size),
        .vm.device = device,
        .block_size = block ? atoi(strchr(block, '=') + 1) : 512,
    });
}

ScsiGuest *scsi_guest_start_usual(const char *device)
{
    return scsi_guest_start_image(SCSI_IMAGE_OPTIONS, IMAGE_SIZE, device);
}

ScsiGuest *scsi_guest_start_conditions(void)
{
    ScsiGuest *g = scsi_guest_start_image("zone_size=64k,zone_nr_conv=2",
                                          "768k", STOP);

    assert_good(scsi_write(g, Z_IOPEN * ZONE, Z_DATA));
    assert_good(scsi_op(g, OPEN, Z_EOPEN * ZONE));
    assert_good(scsi_op(g, OPEN, Z_EOPEN_DATA * ZONE));
    assert_good(scsi_write(g, Z_EOPEN_DATA * ZONE, Z_DATA));
    assert_good(scsi_write(g, Z_CLOSED * ZONE, Z_DATA));
    assert_good(scsi_op(g, CLOSE, Z_CLOSED * ZONE));
    assert_good(scsi_op(g, FINISH, Z_FULL * ZONE));
    assert_good(scsi_write(g, Z_READ_ONLY * ZONE, Z_DATA));
    scsi_set_zone(g, Z_READ_ONLY * ZONE, "read-only");
    scsi_set_zone(g, Z_OFFLINE * ZONE, "offline");
    return g;
}

void scsi_guest_end(ScsiGuest *g)
{
    detach(g);
    qtest_shutdown(g->vm.qs);
    g_free(g);
}

void scsi_guest_plug(ScsiGuest *g)
{
    qtest_qmp_assert_success(
        g->qts, "{ 'execute': 'device_add', 'arguments': {"
        " 'driver': 'scsi-hd', 'id': 'sd', 'bus': 'hba.0', 'scsi-id': 0,"
        " 'lun': 0, 'drive': 'disk', 'werror': 'stop', 'rerror': 'stop' } }");
}

void scsi_guest_stop(ScsiGuest *g)
{
    zoned_guest_assert_works(&g->vm);
    scsi_guest_end(g);
}

/* Adds segments of @len bytes at @addr, of which the very last is the end. */
static void add_segments(ScsiGuest *g, const ScsiRequest *req, size_t len,
                         bool write, bool is_last)
{
    unsigned repeat = req->repeat ?: 1, segments = req->segments ?: 1;
    size_t size = len / segments;

    for (unsigned i = 0; len && i < repeat; i++) {
        for (unsigned j = 0; j < segments; j++) {
            bool is_end = j == segments - 1;

            qvirtqueue_add(g->qts, g->vm.vq, req->data_addr + j * size,
                           is_end ? len - j * size : size, write,
                           !(is_last && is_end && i == repeat - 1));
        }
    }
}

void scsi_guest_queue(ScsiGuest *g, ScsiRequest *req)
{
    struct virtio_scsi_cmd_req header = {};
    struct virtio_scsi_cmd_resp resp;
    size_t len = req->out_len + req->in_len;

    memcpy(header.lun, lun, sizeof(lun));
    memcpy(header.cdb, req->cdb, sizeof(header.cdb));
    memset(&resp, 0xff, sizeof(resp));

    req->addr = guest_alloc(&g->vm.qs->alloc,
                            sizeof(header) + sizeof(resp) + len);
    header.tag = cpu_to_le64(req->addr);
    req->resp_addr = req->addr + sizeof(header);
    req->data_addr = req->resp_addr + sizeof(resp);
    qtest_memwrite(g->qts, req->addr, &header, sizeof(header));
    qtest_memwrite(g->qts, req->resp_addr, &resp, sizeof(resp));
    if (req->out) {
        qtest_memwrite(g->qts, req->data_addr, req->out, req->out_len);
    } else if (req->out_len) {
        qtest_memset(g->qts, req->data_addr, 0, req->out_len);
    }

    if (g->vm.in_flight++ == 0) {
        /* The descriptors can be used again. */
        g->vm.vq->free_head = 0;
        g->vm.vq->num_free = g->vm.vq->size;
    }
    req->head = g->vm.vq->free_head;
    g->done[req->head] = false;
    qvirtqueue_add(g->qts, g->vm.vq, req->addr, sizeof(header), false, true);
    add_segments(g, req, req->out_len, false, false);
    qvirtqueue_add(g->qts, g->vm.vq, req->resp_addr, sizeof(resp), true,
                   req->in_len > 0);
    add_segments(g, req, req->in_len, true, true);
    zoned_guest_queue_head(&g->vm, g->vm.vq, req->head);
}

void scsi_guest_kick(ScsiGuest *g)
{
    g->vm.dev->bus->virtqueue_kick(g->vm.dev, g->vm.vq);
}

bool scsi_guest_is_done(ScsiGuest *g, ScsiRequest *req)
{
    uint32_t head;

    while (qvirtqueue_get_buf(g->qts, g->vm.vq, &head, NULL)) {
        g->done[head] = true;
    }
    return g->done[req->head];
}

static void parse_sense(ScsiResult *result, const uint8_t *sense)
{
    /* Fixed format, of the current error */
    g_assert_cmphex(sense[0] & 0x7f, ==, 0x70);
    result->status = SCSI_SENSE(sense[2] & 0xf, sense[12] << 8 | sense[13]);
    result->has_field = sense[15] & 0x80;
    if (result->has_field) {
        g_assert_cmphex(sense[15] & 0x40, ==, 0x40);
        result->field = lduw_be_p(&sense[16]);
        result->bit = sense[15] & 0x08 ? sense[15] & 0x07 : -1;
    }
}

uint32_t scsi_guest_wait(ScsiGuest *g, ScsiRequest *req)
{
    gint64 end = g_get_monotonic_time() + TIMEOUT_US;
    struct virtio_scsi_cmd_resp resp;

    while (!scsi_guest_is_done(g, req)) {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        g_usleep(100);
    }
    g->vm.in_flight--;
    qtest_memread(g->qts, req->resp_addr, &resp, sizeof(resp));
    g->last = (ScsiResult) { .bit = -1 };
    if (resp.response != VIRTIO_SCSI_S_OK) {
        g->last.status = SCSI_RESPONSE(resp.response);
    } else if (resp.status == CHECK_CONDITION) {
        g_assert_cmpuint(le32_to_cpu(resp.sense_len), >=, 18);
        parse_sense(&g->last, resp.sense);
    } else {
        g_assert_cmphex(resp.status, ==, GOOD);
        g->last.residual = le32_to_cpu(resp.resid);
    }
    return g->last.status;
}

void scsi_guest_inherit(ScsiGuest *to, const ScsiGuest *from)
{
    to->vm.vq = from->vm.vq;
    to->vm.in_flight = from->vm.in_flight;
    memcpy(to->done, from->done, sizeof(to->done));
}

void scsi_guest_free(ScsiGuest *g, ScsiRequest *req)
{
    guest_free(&g->vm.qs->alloc, req->addr);
}

uint32_t scsi_guest_do(ScsiGuest *g, ScsiRequest *req, void *in)
{
    uint32_t status;

    scsi_guest_queue(g, req);
    scsi_guest_kick(g);
    status = scsi_guest_wait(g, req);
    if (in) {
        qtest_memread(g->qts, req->data_addr, in, req->in_len);
    }
    scsi_guest_free(g, req);
    return status;
}

uint8_t scsi_guest_tmf(ScsiGuest *g, uint32_t subtype, uint64_t tag)
{
    struct virtio_scsi_ctrl_tmf_req req = {
        .type = cpu_to_le32(VIRTIO_SCSI_T_TMF),
        .subtype = cpu_to_le32(subtype),
        .tag = cpu_to_le64(tag),
    };
    uint64_t addr = guest_alloc(&g->vm.qs->alloc, sizeof(req) + 1);
    gint64 end = g_get_monotonic_time() + TIMEOUT_US;
    uint32_t head;
    uint8_t response;

    memcpy(req.lun, lun, sizeof(lun));
    qtest_memwrite(g->qts, addr, &req, sizeof(req));
    g->control->free_head = 0;
    g->control->num_free = g->control->size;
    head = qvirtqueue_add(g->qts, g->control, addr, sizeof(req), false, true);
    qvirtqueue_add(g->qts, g->control, addr + sizeof(req), 1, true, false);
    zoned_guest_queue_head(&g->vm, g->control, head);
    g->vm.dev->bus->virtqueue_kick(g->vm.dev, g->control);
    while (!qvirtqueue_get_buf(g->qts, g->control, NULL, NULL)) {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        g_usleep(100);
    }
    response = qtest_readb(g->qts, addr + sizeof(req));
    guest_free(&g->vm.qs->alloc, addr);
    return response;
}

uint32_t scsi_guest_take_attention(ScsiGuest *g)
{
    uint32_t status, last = SCSI_GOOD;

    do {
        ScsiRequest req = scsi_command(TEST_UNIT_READY, 0, 0);

        status = scsi_guest_do(g, &req, NULL);
        if (status != SCSI_GOOD) {
            g_assert_cmphex(status >> 16, ==, UNIT_ATTENTION);
            last = status;
        }
    } while (status != SCSI_GOOD);
    return last;
}

ScsiRequest scsi_command(uint8_t opcode, size_t out_len, size_t in_len)
{
    return (ScsiRequest) {
        .cdb = { opcode },
        .out_len = out_len,
        .in_len = in_len,
    };
}

static bool is_read(uint8_t opcode)
{
    return opcode == READ_6 || opcode == READ_10 || opcode == READ_12 ||
           opcode == READ_16;
}

ScsiRequest scsi_rw(ScsiGuest *g, uint8_t opcode, uint64_t lba,
                    uint32_t blocks)
{
    size_t len = (size_t)blocks * g->block_size;
    ScsiRequest req = scsi_command(opcode, is_read(opcode) ? 0 : len,
                                   is_read(opcode) ? len : 0);

    switch (opcode >> 5) {
    case 0:
        stl_be_p(req.cdb, (uint32_t)opcode << 24 | lba);
        req.cdb[4] = blocks;
        break;
    case 1:
    case 2:
        stl_be_p(&req.cdb[2], lba);
        stw_be_p(&req.cdb[7], blocks);
        break;
    case 4:
        stq_be_p(&req.cdb[2], lba);
        stl_be_p(&req.cdb[10], blocks);
        break;
    case 5:
        stl_be_p(&req.cdb[2], lba);
        stl_be_p(&req.cdb[6], blocks);
        break;
    default:
        g_assert_not_reached();
    }
    return req;
}

ScsiRequest scsi_zbc_out(uint8_t action, uint64_t lba, uint16_t count,
                         uint8_t flags)
{
    ScsiRequest req = { .cdb = { 0x94, action } };

    stq_be_p(&req.cdb[2], lba);
    stw_be_p(&req.cdb[12], count);
    req.cdb[14] = flags;
    return req;
}

ScsiRequest scsi_report(uint64_t lba, uint8_t options, uint32_t len)
{
    ScsiRequest req = { .cdb = { 0x95 }, .in_len = len };

    stq_be_p(&req.cdb[2], lba);
    stl_be_p(&req.cdb[10], len);
    req.cdb[14] = options;
    return req;
}

ScsiRequest scsi_inquiry(int page, uint16_t len)
{
    ScsiRequest req = { .cdb = { INQUIRY }, .in_len = len };

    if (page >= 0) {
        req.cdb[1] = 1;
        req.cdb[2] = page;
    }
    stw_be_p(&req.cdb[3], len);
    return req;
}

uint32_t scsi_write(ScsiGuest *g, uint64_t lba, uint32_t blocks)
{
    ScsiRequest req = scsi_rw(g, WRITE_16, lba, blocks);

    return scsi_guest_do(g, &req, NULL);
}

uint32_t scsi_read(ScsiGuest *g, uint64_t lba, uint32_t blocks)
{
    ScsiRequest req = scsi_rw(g, READ_16, lba, blocks);

    return scsi_guest_do(g, &req, NULL);
}

uint32_t scsi_op_count(ScsiGuest *g, uint8_t action, uint64_t lba,
                       uint16_t count)
{
    ScsiRequest req = scsi_zbc_out(action, lba, count, 0);

    return scsi_guest_do(g, &req, NULL);
}

uint32_t scsi_same(ScsiGuest *g, uint8_t opcode, uint64_t lba, uint32_t blocks,
                   uint8_t flags, uint8_t byte)
{
    ScsiRequest req = scsi_rw(g, opcode, lba, blocks);
    g_autofree uint8_t *data = g_malloc(g->block_size);

    memset(data, byte, g->block_size);
    req.cdb[1] = flags;
    req.out = data;
    req.out_len = flags & NDOB ? 0 : g->block_size;
    return scsi_guest_do(g, &req, NULL);
}

uint32_t scsi_op(ScsiGuest *g, uint8_t action, uint64_t lba)
{
    return scsi_op_count(g, action, lba, 0);
}

uint32_t scsi_op_all(ScsiGuest *g, uint8_t action)
{
    ScsiRequest req = scsi_zbc_out(action, 0, 0, 1);

    return scsi_guest_do(g, &req, NULL);
}

ScsiZone scsi_parse_zone(const uint8_t *desc)
{
    /* Neither RESET nor NON_SEQ; nothing that is reserved */
    g_assert_cmphex(desc[0] & 0xf0, ==, 0);
    g_assert_cmphex(desc[1] & 0x0f, ==, 0);
    for (int i = 2; i < 64; i++) {
        if (i < 8 || i >= 32) {
            g_assert_cmphex(desc[i], ==, 0);
        }
    }
    return (ScsiZone) {
        .type = desc[0],
        .condition = desc[1] >> 4,
        .length = ldq_be_p(&desc[8]),
        .start = ldq_be_p(&desc[16]),
        .wp = ldq_be_p(&desc[24]),
    };
}

ScsiZone scsi_zone(ScsiGuest *g, uint64_t lba)
{
    ScsiRequest req = scsi_report(lba, 0x80, 128);
    uint8_t buf[128];

    assert_good(scsi_guest_do(g, &req, buf));
    g_assert_cmpuint(g->last.residual, ==, 0);
    g_assert_cmpuint(ldl_be_p(buf), ==, 64);
    return scsi_parse_zone(&buf[64]);
}

void scsi_assert_zone(ScsiGuest *g, uint64_t lba, uint8_t condition,
                      uint64_t wp)
{
    ScsiZone zone = scsi_zone(g, lba);

    g_assert_cmphex(zone.condition, ==, condition);
    g_assert_cmphex(zone.wp, ==, wp);
}

void scsi_set_zone(ScsiGuest *g, uint64_t sector, const char *condition)
{
    qtest_qmp_assert_success(
        g->qts, "{ 'execute': 'block-zone-set-condition', 'arguments': {"
        " 'node-name': 'disk', 'offset': %" PRIu64 ", 'condition': %s } }",
        sector * 512, condition);
}

void scsi_assert_usable(ScsiGuest *g)
{
    zoned_guest_assert_works(&g->vm);
    assert_good(scsi_op(g, RESET, SCSI_LAST));
    scsi_assert_zone(g, SCSI_LAST, EMPTY, SCSI_LAST);
    assert_good(scsi_write(g, SCSI_LAST, 8));
    scsi_assert_zone(g, SCSI_LAST, IOPEN, SCSI_LAST + 8);
    assert_good(scsi_read(g, SCSI_LAST, 16));
    assert_good(scsi_op(g, RESET, SCSI_LAST));
}

/*
 * A guest that sends commands to a zoned NVMe namespace by hand
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "libqos/libqos-pc.h"
#include "nvme-zns-guest.h"
#include "virtio-blk-zoned-guest.h"

#define SLOT 4
#define PAGE 4096
#define QUEUE_SIZE 32
#define TIMEOUT_US (60 * G_USEC_PER_SEC)
#define DOORBELLS 0x1000

/* Where an image has the zone table */
#define TABLE 4096

static void write_register64(ZnsGuest *g, uint64_t reg, uint64_t value)
{
    qpci_io_writel(g->dev, g->bar, reg, value);
    qpci_io_writel(g->dev, g->bar, reg + 4, value >> 32);
}

/* Waits for bits of the controller's status. */
static void wait_status(ZnsGuest *g, uint32_t mask, uint32_t value)
{
    gint64 end = g_get_monotonic_time() + TIMEOUT_US;

    while ((qpci_io_readl(g->dev, g->bar, NVME_REG_CSTS) & mask) != value) {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        g_usleep(100);
    }
}

static void init_queue(ZnsGuest *g, ZnsQueue *q, uint16_t id, uint16_t size)
{
    size_t cq_bytes = ROUND_UP(size * sizeof(NvmeCqe), PAGE);

    if (!q->sq) {
        q->sq = guest_alloc(&g->qs->alloc,
                            ROUND_UP(size * sizeof(NvmeCmd), PAGE));
        q->cq = guest_alloc(&g->qs->alloc, cq_bytes);
    }
    qtest_memset(g->qts, q->cq, 0, cq_bytes);
    q->id = id;
    q->size = size;
    q->tail = 0;
    q->head = 0;
    q->phase = true;
}

static void create_io_queue(ZnsGuest *g, ZnsQueue *q, uint16_t id,
                            uint16_t size)
{
    uint32_t cdw10 = (uint32_t)(size - 1) << 16 | id;
    NvmeCmd cq = {
        .opcode = NVME_ADM_CMD_CREATE_CQ,
        .cdw10 = cpu_to_le32(cdw10),
        .cdw11 = cpu_to_le32(NVME_CQ_PC),
    };
    NvmeCmd sq = {
        .opcode = NVME_ADM_CMD_CREATE_SQ,
        .cdw10 = cpu_to_le32(cdw10),
        .cdw11 = cpu_to_le32((uint32_t)id << 16 | NVME_SQ_PC),
    };

    init_queue(g, q, id, size);
    cq.dptr.prp1 = cpu_to_le64(q->cq);
    sq.dptr.prp1 = cpu_to_le64(q->sq);
    assert_success(zns_admin(g, cq));
    assert_success(zns_admin(g, sq));
}

ZnsQueue *zns_long_queue(ZnsGuest *g, uint16_t size)
{
    create_io_queue(g, &g->long_io, 2, size);
    return &g->long_io;
}

void zns_enable(ZnsGuest *g)
{
    uint32_t cc = 0;

    NVME_SET_CC_EN(cc, 1);
    NVME_SET_CC_CSS(cc, NVME_CC_CSS_ALL);
    NVME_SET_CC_IOSQES(cc, 6);
    NVME_SET_CC_IOCQES(cc, 4);

    init_queue(g, &g->admin, 0, QUEUE_SIZE);
    qpci_io_writel(g->dev, g->bar, NVME_REG_AQA,
                   (QUEUE_SIZE - 1) << 16 | (QUEUE_SIZE - 1));
    write_register64(g, NVME_REG_ASQ, g->admin.sq);
    write_register64(g, NVME_REG_ACQ, g->admin.cq);
    qpci_io_writel(g->dev, g->bar, NVME_REG_CC, cc);
    wait_status(g, NVME_CSTS_READY | NVME_CSTS_FAILED, NVME_CSTS_READY);
    create_io_queue(g, &g->io, 1, QUEUE_SIZE);
}

void zns_reset(ZnsGuest *g)
{
    qpci_io_writel(g->dev, g->bar, NVME_REG_CC, 0);
    wait_status(g, NVME_CSTS_READY, 0);
}

void zns_shutdown(ZnsGuest *g)
{
    uint32_t cc = qpci_io_readl(g->dev, g->bar, NVME_REG_CC);

    NVME_SET_CC_SHN(cc, 1);
    qpci_io_writel(g->dev, g->bar, NVME_REG_CC, cc);
    wait_status(g, CSTS_SHST_MASK << CSTS_SHST_SHIFT, NVME_CSTS_SHST_COMPLETE);
}

/* Memory for data, and the list of its pages for long transfers. */
static void init_buffer(ZnsGuest *g)
{
    g->buffer = guest_alloc(&g->qs->alloc, ZNS_BUFFER);
    g->prp_list = guest_alloc(&g->qs->alloc, PAGE);
    g->list = guest_alloc(&g->qs->alloc, PAGE);
    for (int i = 1; i < ZNS_BUFFER / PAGE; i++) {
        qtest_writeq(g->qts, g->prp_list + (i - 1) * 8, g->buffer + i * PAGE);
    }
}

static void find_device(ZnsGuest *g, int slot)
{
    g->dev = qpci_device_find(g->qs->pcibus, QPCI_DEVFN(slot, 0));
    g_assert_nonnull(g->dev);
    qpci_device_enable(g->dev);
    g->bar = qpci_iomap(g->dev, 0, NULL);
}

static ZnsGuest *open_slot(QOSState *qs, int slot)
{
    ZnsGuest *g = g_new0(ZnsGuest, 1);

    g->qs = qs;
    g->qts = qs->qts;
    find_device(g, slot);
    init_buffer(g);
    zns_enable(g);
    return g;
}

void zns_reopen(ZnsGuest *g)
{
    g_free(g->dev);
    find_device(g, SLOT);
    init_buffer(g);
    zns_enable(g);
}

ZnsGuest *zns_start(const char *args)
{
    return open_slot(qtest_pc_boot("-machine pc -nodefaults %s", args), SLOT);
}

ZnsGuest *zns_open(ZnsGuest *g, int slot)
{
    return open_slot(g->qs, slot);
}

void zns_close(ZnsGuest *g)
{
    g_assert_false(qpci_io_readl(g->dev, g->bar, NVME_REG_CSTS) &
                   NVME_CSTS_FAILED);
    g_free(g->dev);
    g_free(g);
}

void zns_stop_unplugged(ZnsGuest *g)
{
    qtest_shutdown(g->qs);
    g_free(g->dev);
    g_free(g);
}

static void on_timeout(int signal)
{
    static const char message[] = "Bail out! QEMU hangs\n";

    if (write(STDOUT_FILENO, message, sizeof(message) - 1) < 0) {
        /* It only says why. */
    }
    abort();
}

void zns_set_timeout(unsigned seconds)
{
    const struct sigaction action = { .sa_handler = on_timeout };

    sigaction(SIGALRM, &action, NULL);
    alarm(seconds);
}

void zns_stop(ZnsGuest *g)
{
    QOSState *qs = g->qs;

    zns_close(g);
    qtest_shutdown(qs);
}

char *zns_image_new(void)
{
    return zoned_image_new("zone_size=64k,zone_capacity=48k,max_open_zones=2,"
                           "max_active_zones=3", ZNS_IMAGE_SIZE);
}

void zns_image_set_zone(const char *image, int zone, uint64_t condition,
                        uint64_t end)
{
    uint64_t entry = cpu_to_le64(condition << 60 | end * 512);
    int fd = open(image, O_WRONLY);

    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(pwrite(fd, &entry, 8, TABLE + zone * 8), ==, 8);
    close(fd);
}

char *zns_worn_image_new(void)
{
    char *image = zns_image_new();

    zns_image_set_zone(image, 1, NVME_ZONE_STATE_READ_ONLY, Z(1) + 8);
    zns_image_set_zone(image, 2, NVME_ZONE_STATE_OFFLINE, Z(2));
    return image;
}

static const char *or_nothing(const char *options)
{
    return options ? options : "";
}

char *zns_machine_args(const ZnsMachine *machine)
{
    return g_strdup_printf(
        "-blockdev driver=blkdebug,node-name=file,image.driver=file,"
        "image.filename=%s%s "
        "-blockdev driver=zoned,node-name=disk,file=file%s "
        "-device nvme,id=nvme,serial=zoned,addr=4%s "
        "-device nvme-ns,id=ns,bus=nvme,drive=disk%s",
        machine->image, or_nothing(machine->rules), or_nothing(machine->node),
        or_nothing(machine->controller), or_nothing(machine->namespace));
}

ZnsGuest *zns_start_image(const ZnsMachine *machine)
{
    g_autofree char *args = zns_machine_args(machine);

    return zns_start(args);
}

ZnsGuest *zns_start_usual(const char *namespace, const char *controller)
{
    return zns_start_image(&(ZnsMachine) {
        .image = zns_image_new(),
        .namespace = namespace,
        .controller = controller,
    });
}

NvmeCmd zns_command(ZnsGuest *g, uint8_t opcode, size_t len)
{
    NvmeCmd cmd = { .opcode = opcode, .nsid = cpu_to_le32(1) };

    if (len > 0) {
        cmd.dptr.prp1 = cpu_to_le64(g->buffer);
    }
    if (len > 2 * PAGE) {
        cmd.dptr.prp2 = cpu_to_le64(g->prp_list);
    } else if (len > PAGE) {
        cmd.dptr.prp2 = cpu_to_le64(g->buffer + PAGE);
    }
    return cmd;
}

NvmeCmd zns_rw(ZnsGuest *g, uint8_t opcode, uint64_t slba, uint32_t blocks)
{
    NvmeCmd cmd = zns_command(g, opcode, blocks * 512);

    cmd.cdw10 = cpu_to_le32(slba);
    cmd.cdw11 = cpu_to_le32(slba >> 32);
    cmd.cdw12 = cpu_to_le32(blocks - 1);
    return cmd;
}

NvmeCmd zns_copy(ZnsGuest *g, uint64_t from, uint32_t blocks, uint64_t to)
{
    NvmeCopySourceRangeFormat0_2 range = {
        .slba = cpu_to_le64(from),
        .nlb = cpu_to_le16(blocks - 1),
    };
    NvmeCmd cmd = zns_rw(g, NVME_CMD_COPY, to, 1);

    qtest_memwrite(g->qts, g->list, &range, sizeof(range));
    cmd.dptr.prp1 = cpu_to_le64(g->list);
    return cmd;
}

NvmeCmd zns_send(ZnsGuest *g, uint8_t action, uint64_t slba)
{
    NvmeCmd cmd = zns_command(g, NVME_CMD_ZONE_MGMT_SEND, PAGE);

    cmd.cdw10 = cpu_to_le32(slba);
    cmd.cdw11 = cpu_to_le32(slba >> 32);
    cmd.cdw13 = cpu_to_le32(action);
    return cmd;
}

NvmeCmd zns_receive(ZnsGuest *g, uint64_t slba, uint8_t filter, bool partial,
                    size_t len)
{
    NvmeCmd cmd = zns_command(g, NVME_CMD_ZONE_MGMT_RECV, len);

    cmd.cdw10 = cpu_to_le32(slba);
    cmd.cdw11 = cpu_to_le32(slba >> 32);
    cmd.cdw12 = cpu_to_le32(len / 4 - 1);
    cmd.cdw13 = cpu_to_le32((uint32_t)partial << 16 | filter << 8);
    return cmd;
}

uint16_t zns_queue(ZnsGuest *g, ZnsQueue *q, const NvmeCmd *cmd)
{
    NvmeCmd copy = *cmd;

    copy.cid = cpu_to_le16(++g->cid);
    qtest_memwrite(g->qts, q->sq + q->tail * sizeof(copy), &copy,
                   sizeof(copy));
    q->tail = (q->tail + 1) % q->size;
    return g->cid;
}

void zns_kick(ZnsGuest *g, ZnsQueue *q)
{
    qpci_io_writel(g->dev, g->bar, DOORBELLS + q->id * 8, q->tail);
}

uint16_t zns_submit(ZnsGuest *g, ZnsQueue *q, const NvmeCmd *cmd)
{
    uint16_t cid = zns_queue(g, q, cmd);

    zns_kick(g, q);
    return cid;
}

uint16_t zns_wait(ZnsGuest *g, ZnsQueue *q)
{
    uint64_t addr = q->cq + q->head * sizeof(NvmeCqe);
    gint64 end = g_get_monotonic_time() + TIMEOUT_US;

    for (;;) {
        qtest_memread(g->qts, addr, &g->cqe, sizeof(g->cqe));
        if ((le16_to_cpu(g->cqe.status) & 1) == q->phase) {
            break;
        }
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        g_usleep(100);
    }
    q->head = (q->head + 1) % q->size;
    q->phase ^= q->head == 0;
    qpci_io_writel(g->dev, g->bar, DOORBELLS + q->id * 8 + 4, q->head);
    return le16_to_cpu(g->cqe.status) >> 1;
}

static uint16_t submit_and_wait(ZnsGuest *g, ZnsQueue *q, NvmeCmd cmd)
{
    uint16_t cid = zns_submit(g, q, &cmd);
    uint16_t status = zns_wait(g, q);

    g_assert_cmpuint(le16_to_cpu(g->cqe.cid), ==, cid);
    return status;
}

uint16_t zns_do(ZnsGuest *g, NvmeCmd cmd)
{
    return submit_and_wait(g, &g->io, cmd);
}

uint16_t zns_admin(ZnsGuest *g, NvmeCmd cmd)
{
    return submit_and_wait(g, &g->admin, cmd);
}

uint16_t zns_write(ZnsGuest *g, uint64_t slba, uint32_t blocks)
{
    return zns_do(g, zns_rw(g, NVME_CMD_WRITE, slba, blocks));
}

uint16_t zns_read(ZnsGuest *g, uint64_t slba, uint32_t blocks)
{
    return zns_do(g, zns_rw(g, NVME_CMD_READ, slba, blocks));
}

uint16_t zns_append(ZnsGuest *g, uint64_t slba, uint32_t blocks,
                    uint64_t *where)
{
    uint16_t status = zns_do(g, zns_rw(g, NVME_CMD_ZONE_APPEND, slba, blocks));

    if (where) {
        *where = le32_to_cpu(g->cqe.result) |
                 (uint64_t)le32_to_cpu(g->cqe.dw1) << 32;
    }
    return status;
}

uint16_t zns_manage(ZnsGuest *g, uint8_t action, uint64_t slba)
{
    return zns_do(g, zns_send(g, action, slba));
}

uint16_t zns_manage_all(ZnsGuest *g, uint8_t action)
{
    NvmeCmd cmd = zns_send(g, action, UINT64_MAX);

    cmd.cdw13 |= cpu_to_le32(NVME_ZSFLAG_SELECT_ALL << 8);
    return zns_do(g, cmd);
}

void zns_identify(ZnsGuest *g, uint8_t cns, uint8_t csi, void *data)
{
    NvmeCmd cmd = zns_command(g, NVME_ADM_CMD_IDENTIFY, PAGE);

    cmd.cdw10 = cpu_to_le32(cns);
    cmd.cdw11 = cpu_to_le32((uint32_t)csi << 24);
    assert_success(zns_admin(g, cmd));
    qtest_memread(g->qts, g->buffer, data, PAGE);
}

NvmeZoneDescr zns_zone(ZnsGuest *g, uint64_t slba)
{
    struct {
        NvmeZoneReportHeader header;
        NvmeZoneDescr zone;
    } report;

    assert_success(zns_do(g, zns_receive(g, slba, NVME_ZONE_REPORT_ALL, true,
                                         sizeof(report))));
    qtest_memread(g->qts, g->buffer, &report, sizeof(report));
    g_assert_cmpuint(le64_to_cpu(report.header.nr_zones), ==, 1);
    return report.zone;
}

void zns_assert_usable(ZnsGuest *g)
{
    uint64_t last = (ZNS_NR_ZONES - 1) * ZNS_ZONE;
    uint64_t where;

    assert_success(zns_manage_all(g, NVME_ZONE_ACTION_RESET));
    assert_zone(g, ZNS_NR_ZONES - 1, EMPTY, last);
    assert_success(zns_write(g, last, 8));
    assert_success(zns_append(g, last, 8, &where));
    g_assert_cmpuint(where, ==, last + 8);
    assert_success(zns_manage(g, NVME_ZONE_ACTION_RESET, last));
}

void zns_assert_append_limit(ZnsGuest *g)
{
    g_autofree NvmeIdCtrlZoned *id = g_new(NvmeIdCtrlZoned, 1);

    zns_identify(g, NVME_ID_CNS_CS_CTRL, NVME_CSI_ZONED, id);
    g_assert_cmpuint(id->zasl, ==, 2);
    assert_success(zns_append(g, Z(1), 32, NULL));
    assert_status(zns_append(g, Z(1), 33, NULL), NVME_INVALID_FIELD);
    assert_zone(g, 1, IMPLICITLY_OPEN, Z(1) + 32);
}

/*
 * QTest testcase for a zoned virtio-blk disk: requests while it is drained
 *
 * A driver that does not pause keeps the virtqueue busy, while the host drains
 * the device again and again.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include <sys/mman.h>
#include "qemu/atomic.h"
#include "qemu/bswap.h"
#include "qemu/units.h"
#include "virtio-blk-zoned-guest.h"

#define RAM_SIZE (128 * MiB)            /* what a PC has */
#define NR_REFUSED 2000
#define NR_DRAINS 1000
#define DEPTH 8

/* A guest with a driver that is a thread, to which it shows its memory */
typedef struct BusyGuest {
    ZonedGuest *g;
    uint8_t *ram;
    GThread *driver;
    bool stop;

    /* Requests of the driver and the heads of their descriptors */
    ZonedRequest req[DEPTH];
    uint16_t head[DEPTH];
    uint8_t failed;             /* the status of the first that failed */
} BusyGuest;

static uint16_t ram_get(BusyGuest *b, uint64_t addr)
{
    return le16_to_cpu(qatomic_load_acquire((uint16_t *)(b->ram + addr)));
}

static void ram_put(BusyGuest *b, uint64_t addr, uint16_t value)
{
    qatomic_store_release((uint16_t *)(b->ram + addr), cpu_to_le16(value));
}

/* The fields of the rings */
static uint64_t avail_idx(BusyGuest *b)
{
    return b->g->vq->avail + 2;
}

static uint64_t avail_entry(BusyGuest *b, uint16_t idx)
{
    return b->g->vq->avail + 4 + 2 * (idx % b->g->vq->size);
}

static uint64_t used_idx(BusyGuest *b)
{
    return b->g->vq->used + 2;
}

/* Has requests refused the common way: their descriptors can be used again. */
static void prepare(BusyGuest *b, unsigned n)
{
    uint16_t first = ram_get(b, avail_idx(b));

    for (int i = 0; i < n; i++) {
        zoned_guest_queue(b->g, &b->req[i]);
        b->head[i] = ram_get(b, avail_entry(b, first + i));
    }
    zoned_guest_kick(b->g);
    for (int i = 0; i < n; i++) {
        g_assert_cmpuint(zoned_guest_wait(b->g, &b->req[i]), !=,
                         VIRTIO_BLK_S_OK);
    }
}

static BusyGuest *busy_start(const char *options, const char *size)
{
    BusyGuest *b = g_new0(BusyGuest, 1);
    g_autofree char *path = NULL;
    g_autofree char *args = NULL;
    int fd = g_file_open_tmp("virtio-blk-zoned.XXXXXX", &path, NULL);

    g_assert_cmpint(fd, >=, 0);
    args = g_strdup_printf("-object memory-backend-file,id=ram,share=on,"
                           "size=%" PRIu64 ",mem-path=%s "
                           "-machine memory-backend=ram",
                           (uint64_t)RAM_SIZE, path);
    b->g = zoned_guest_start(&(ZonedGuestOptions) {
        .image = zoned_image_new(options, size),
        .device = STOP ",queue-size=1024",
        .args = args,
    });
    b->ram = mmap(NULL, RAM_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    g_assert_true(b->ram != MAP_FAILED);
    close(fd);
    unlink(path);
    return b;
}

static void busy_stop(BusyGuest *b)
{
    munmap(b->ram, RAM_SIZE);
    zoned_guest_stop(b->g);
    g_free(b);
}

static void start_driver(BusyGuest *b, GThreadFunc run)
{
    b->driver = g_thread_new("driver", run, b);
}

static void stop_driver(BusyGuest *b)
{
    qatomic_set(&b->stop, true);
    g_thread_join(b->driver);
}

/* The node is drained and given its limits anew. */
static void reopen(BusyGuest *b)
{
    zoned_guest_kick(b->g);
    qtest_qmp_assert_success(b->g->qts,
        "{ 'execute': 'blockdev-reopen', 'arguments': { 'options': ["
        " { 'driver': 'zoned', 'node-name': 'disk', 'file': 'file' } ] } }");
}

/* Keeps the virtqueue full of one and the same request. */
static void *drive_refused(void *opaque)
{
    BusyGuest *b = opaque;

    while (!qatomic_read(&b->stop)) {
        ram_put(b, avail_idx(b), ram_get(b, used_idx(b)) + b->g->vq->size);
    }
    return NULL;
}

/*
 * Requests that are refused at once are not in flight, but looking at them
 * takes the limits of the node.
 */
static void test_refused(void)
{
    BusyGuest *b = busy_start(IMAGE_OPTIONS, IMAGE_SIZE);

    b->req[0] = (ZonedRequest) READ(SEQ + ZONE - 8, 16);
    prepare(b, 1);
    for (int i = 0; i < b->g->vq->size; i++) {
        ram_put(b, avail_entry(b, i), b->head[0]);
    }
    start_driver(b, drive_refused);
    for (int i = 0; i < NR_REFUSED; i++) {
        reopen(b);
    }
    stop_driver(b);
    zoned_guest_assert_stat(b->g, "rd_operations", 0);
    busy_stop(b);
}

/* Sends the next of @DEPTH writes when the one that had its place is done. */
static void *drive_writes(void *opaque)
{
    BusyGuest *b = opaque;
    uint16_t idx = ram_get(b, avail_idx(b));

    for (uint64_t sector = 0; !qatomic_read(&b->stop); sector++) {
        ZonedRequest *req = &b->req[sector % DEPTH];
        uint8_t *status = b->ram + req->status_addr;
        uint8_t *header = b->ram + req->addr;

        while (qatomic_load_acquire(status) == ZONED_STATUS_NONE) {
            if (qatomic_read(&b->stop)) {
                return NULL;
            }
        }
        if (sector >= DEPTH && *status != VIRTIO_BLK_S_OK) {
            qatomic_set(&b->failed, *status);
            return NULL;
        }
        *status = ZONED_STATUS_NONE;
        stq_le_p(header + offsetof(struct virtio_blk_outhdr, sector), sector);
        ram_put(b, avail_entry(b, idx), b->head[sector % DEPTH]);
        ram_put(b, avail_idx(b), ++idx);
    }
    return NULL;
}

/* Changes nothing of the device, but no graph changes without a drain. */
static void change_graph(BusyGuest *b)
{
    zoned_guest_kick(b->g);
    qtest_qmp_assert_success(b->g->qts,
        "{ 'execute': 'blockdev-add', 'arguments': { 'driver': 'raw',"
        " 'node-name': 'other', 'file': { 'driver': 'null-co' } } }");
    qtest_qmp_assert_success(b->g->qts,
        "{ 'execute': 'blockdev-del', 'arguments': {"
        " 'node-name': 'other' } }");
}

/* Writes that are held back are not overtaken by those that come later. */
static void assert_in_order(void (*drain)(BusyGuest *))
{
    BusyGuest *b = busy_start("zone_size=2G", "4G");

    for (int i = 0; i < DEPTH; i++) {
        b->req[i] = (ZonedRequest) WRITE(1, 1);
    }
    prepare(b, DEPTH);
    start_driver(b, drive_writes);
    for (int i = 0; i < NR_DRAINS && !qatomic_read(&b->failed); i++) {
        drain(b);
    }
    stop_driver(b);
    assert_ok(b->failed);
    busy_stop(b);
}

static void test_order_reopen(void)
{
    assert_in_order(reopen);
}

static void test_order_graph(void)
{
    assert_in_order(change_graph);
}

int main(int argc, char **argv)
{
    if (!zoned_guest_init(&argc, &argv)) {
        return g_test_run();
    }

    zoned_guest_add_iothread_test("virtio-blk-zoned-drain/refused",
                                  test_refused);
    zoned_guest_add_iothread_test("virtio-blk-zoned-drain/order/reopen",
                                  test_order_reopen);
    zoned_guest_add_iothread_test("virtio-blk-zoned-drain/order/graph",
                                  test_order_graph);

    return g_test_run();
}

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

/* A guest with a driver that is a thread, to which it shows its memory */
typedef struct BusyGuest {
    ZonedGuest *g;
    uint8_t *ram;
    GThread *driver;
    bool stop;
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

/*
 * Has a request refused the common way, so that its descriptors can be used
 * again.  Returns the head of them.
 */
static uint16_t prepare(BusyGuest *b, ZonedRequest *req)
{
    uint16_t first = ram_get(b, avail_idx(b));

    zoned_guest_queue(b->g, req);
    zoned_guest_kick(b->g);
    g_assert_cmpuint(zoned_guest_wait(b->g, req), !=, VIRTIO_BLK_S_OK);
    return ram_get(b, avail_entry(b, first));
}

static BusyGuest *busy_start(void)
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
        .image = zoned_image_new(IMAGE_OPTIONS, IMAGE_SIZE),
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
    BusyGuest *b = busy_start();
    ZonedRequest req = READ(SEQ + ZONE - 8, 16);
    uint16_t head = prepare(b, &req);

    for (int i = 0; i < b->g->vq->size; i++) {
        ram_put(b, avail_entry(b, i), head);
    }
    start_driver(b, drive_refused);
    for (int i = 0; i < NR_REFUSED; i++) {
        reopen(b);
    }
    stop_driver(b);
    zoned_guest_assert_stat(b->g, "rd_operations", 0);
    busy_stop(b);
}

int main(int argc, char **argv)
{
    if (!zoned_guest_init(&argc, &argv)) {
        return g_test_run();
    }

    zoned_guest_add_iothread_test("virtio-blk-zoned-drain/refused",
                                  test_refused);

    return g_test_run();
}

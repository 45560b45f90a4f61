/*
 * A guest that sends requests to a zoned virtio-blk disk by hand
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include <sys/resource.h>
#include "qapi/error.h"
#include "qemu/bswap.h"
#include "qemu/units.h"
#include "qobject/qdict.h"
#include "qobject/qjson.h"
#include "qobject/qlist.h"
#include "libqos/libqos-pc.h"
#include "libqos/qgraph.h"
#include "standard-headers/linux/virtio_config.h"
#include "virtio-blk-zoned-guest.h"

#define TIMEOUT_US (60 * G_USEC_PER_SEC)
#define SLOT 4

typedef struct ZonedTest {
    void (*run)(void);
    bool iothread;
} ZonedTest;

const uint32_t zoned_ops[NR_ZONE_OPS] = {
    VIRTIO_BLK_T_ZONE_OPEN,
    VIRTIO_BLK_T_ZONE_CLOSE,
    VIRTIO_BLK_T_ZONE_FINISH,
    VIRTIO_BLK_T_ZONE_RESET,
};

bool zoned_guest_init(int *argc, char ***argv)
{
    bool ok = have_qemu_img();

    g_test_init(argc, argv, NULL);
    if (!ok) {
        g_test_message("QTEST_QEMU_IMG not set or qemu-img missing; "
                       "skipping the tests");
    }
    return ok;
}

/* The device of the test that runs has an iothread. */
static bool has_iothread;

bool zoned_guest_has_iothread(void)
{
    return has_iothread;
}

static void run_test(const void *opaque)
{
    const ZonedTest *test = opaque;

    has_iothread = test->iothread;
    test->run();
}

static void add_test(const char *path, void (*run)(void), bool iothread)
{
    ZonedTest *test = g_new(ZonedTest, 1);

    *test = (ZonedTest) { .run = run, .iothread = iothread };
    qtest_add_data_func_full(path, test, run_test, g_free);
}

void zoned_guest_add_test(const char *path, void (*test)(void))
{
    add_test(path, test, false);
    zoned_guest_add_iothread_test(path, test);
}

void zoned_guest_add_iothread_test(const char *path, void (*test)(void))
{
    g_autofree char *iothread_path = g_strdup_printf("iothread/%s", path);

    add_test(iothread_path, test, true);
}

static void image_remove(void *path)
{
    unlink(path);
    g_free(path);
}

/* Runs qemu-img, which must succeed.  Returns what it prints. */
static char *run_qemu_img(const char **argv)
{
    g_autofree char *qemu_img = realpath(getenv("QTEST_QEMU_IMG"), NULL);
    g_autoptr(GError) error = NULL;
    char *output;
    int status;

    argv[0] = qemu_img;
    g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_DEFAULT, NULL, NULL,
                 &output, NULL, &status, &error);
    g_assert_no_error(error);
    g_assert_cmpint(status, ==, 0);
    return output;
}

char *zoned_image_new(const char *options, const char *size)
{
    g_autoptr(GError) error = NULL;
    const char *argv[] = { NULL, "create", "-q", "-f", "zoned", "-o", options,
                           NULL, size, NULL };
    char *path;
    int fd = g_file_open_tmp("virtio-blk-zoned.XXXXXX", &path, &error);

    g_assert_no_error(error);
    close(fd);
    g_test_queue_destroy(image_remove, path);
    argv[7] = path;
    g_free(run_qemu_img(argv));
    return path;
}

uint64_t zoned_image_end(const char *image, uint64_t sector)
{
    const char *argv[] = { NULL, "zones", "-U", "--output=json", "-f", "zoned",
                           image, NULL };
    g_autofree char *output = run_qemu_img(argv);
    QList *runs = qobject_to(QList, qobject_from_json(output, &error_abort));
    const QListEntry *entry;
    uint64_t end = 0;

    QLIST_FOREACH_ENTRY(runs, entry) {
        const QDict *run = qobject_to(QDict, qlist_entry_obj(entry));
        uint64_t length = qdict_get_int(run, "length");
        uint64_t offset = sector * 512 - qdict_get_int(run, "start");

        if (offset < length * qdict_get_int(run, "count")) {
            end = sector * 512 - offset % length +
                  qdict_get_int(run, "written");
        }
    }
    qobject_unref(runs);
    return end / 512;
}

/* Forgets the device, if there is one. */
static void guest_detach(ZonedGuest *g)
{
    if (g->pci) {
        qvirtqueue_cleanup(g->dev->bus, g->vq, &g->qs->alloc);
        qos_object_destroy((QOSGraphObject *)g->pci);
    }
}

void zoned_guest_setup(ZonedGuest *g, uint64_t refuse)
{
    uint64_t features;

    guest_detach(g);
    g->pci = virtio_pci_new(g->qs->pcibus,
                            &(QPCIAddress) { .devfn = QPCI_DEVFN(SLOT, 0) });
    g_assert_nonnull(g->pci);
    g->dev = &g->pci->vdev;
    g->in_flight = 0;

    qvirtio_pci_device_enable(g->pci);
    qvirtio_start_device(g->dev);
    features = qvirtio_get_features(g->dev);
    refuse |= QVIRTIO_F_BAD_FEATURE | 1ull << VIRTIO_RING_F_INDIRECT_DESC |
              1ull << VIRTIO_RING_F_EVENT_IDX | 1ull << VIRTIO_BLK_F_SCSI;
    qvirtio_set_features(g->dev, features & ~refuse);
    g->vq = qvirtqueue_setup(g->dev, &g->qs->alloc, 0);
    qvirtio_set_driver_ok(g->dev);
}

char *zoned_guest_node_args(const ZonedGuestOptions *opts)
{
    const char *node = opts->node ? opts->node : "";
    const char *iothread = has_iothread ? "-object iothread,id=io" : "";

    if (opts->no_image) {
        return g_strdup(iothread);
    }
    return g_strdup_printf("-blockdev driver=blkdebug,node-name=file,"
                           "image.driver=file,image.filename=%s%s "
                           "-blockdev driver=zoned,node-name=disk,file=file%s "
                           "%s",
                           opts->image, opts->rules ? opts->rules : "", node,
                           iothread);
}

ZonedGuest *zoned_guest_start(const ZonedGuestOptions *opts)
{
    ZonedGuest *g = g_new0(ZonedGuest, 1);
    g_autofree char *node = zoned_guest_node_args(opts);

    g->qs = qtest_pc_boot("-machine pc -nodefaults %s %s "
                          "-device virtio-blk-pci,id=vd,drive=disk,"
                          "addr=%d,%s%s",
                          node, opts->args ? opts->args : "", SLOT,
                          has_iothread ? "iothread=io," : "",
                          opts->device ? opts->device : "serial=zoned");
    g->qts = g->qs->qts;
    if (!opts->incoming) {
        zoned_guest_setup(g, opts->refuse);
    }
    return g;
}

ZonedGuest *zoned_guest_start_usual(const char *device)
{
    return zoned_guest_start(&(ZonedGuestOptions) {
        .image = zoned_image_new(IMAGE_OPTIONS, IMAGE_SIZE),
        .device = device,
    });
}

void zoned_guest_assert_works(ZonedGuest *g)
{
    QDict *status;

    status = qtest_qmp_assert_success_ref(g->qts,
                                          "{ 'execute': 'query-status' }");
    g_assert_true(qdict_get_bool(status, "running"));
    qobject_unref(status);
    g_assert_false(g->dev->bus->get_status(g->dev) &
                   VIRTIO_CONFIG_S_NEEDS_RESET);
}

void zoned_guest_end(ZonedGuest *g)
{
    guest_detach(g);
    qtest_shutdown(g->qs);
    g_free(g);
}

void zoned_guest_wait_incoming(ZonedGuest *g)
{
    bool done;

    do {
        QDict *status = qtest_qmp_assert_success_ref(
            g->qts, "{ 'execute': 'query-status' }");

        done = strcmp(qdict_get_str(status, "status"), "inmigrate");
        qobject_unref(status);
    } while (!done);
}

void zoned_guest_stop(ZonedGuest *g)
{
    zoned_guest_assert_works(g);
    zoned_guest_end(g);
}

/* The size of a process' address space */
static rlim_t address_space(pid_t pid)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/statm", pid);
    g_autofree char *text = NULL;

    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    return g_ascii_strtoull(text, NULL, 10) * qemu_real_host_page_size();
}

void zoned_guest_limit_memory(ZonedGuest *g)
{
    pid_t pid = qtest_pid(g->qts);
    struct rlimit limit = {
        .rlim_cur = address_space(pid) + 1 * GiB,
        .rlim_max = RLIM_INFINITY,
    };

    g_assert_cmpint(prlimit(pid, RLIMIT_AS, &limit, NULL), ==, 0);
}

void zoned_guest_await_stop(ZonedGuest *g)
{
    qtest_qmp_eventwait(g->qts, "STOP");
}

void zoned_guest_cont(ZonedGuest *g)
{
    qtest_qmp_assert_success(g->qts, "{ 'execute': 'cont' }");
}

void zoned_guest_queue_head(ZonedGuest *g, QVirtQueue *vq, uint32_t head)
{
    uint16_t idx = qtest_readw(g->qts, vq->avail + 2);

    qtest_writew(g->qts, vq->avail + 4 + 2 * (idx % vq->size), head);
    qtest_writew(g->qts, vq->avail + 2, idx + 1);
}

/* Adds segments of @len bytes at @addr; @last: they are the request's last. */
static void add_segments(ZonedGuest *g, uint64_t addr, size_t len,
                         unsigned segments, bool write, bool last)
{
    size_t size = len / segments;

    for (unsigned i = 0; i < segments; i++) {
        bool is_end = i == segments - 1;
        size_t bytes = is_end ? len - i * size : size;

        qvirtqueue_add(g->qts, g->vq, addr + i * size, bytes, write,
                       !(is_end && last));
    }
}

void zoned_guest_queue(ZonedGuest *g, ZonedRequest *req)
{
    struct virtio_blk_outhdr header = {
        .type = cpu_to_le32(req->type),
        .sector = cpu_to_le64(req->sector),
    };
    size_t out_len = sizeof(header) + req->out_len;
    unsigned i, repeat = req->repeat ?: 1;
    uint32_t head;

    req->addr = guest_alloc(&g->qs->alloc, out_len + req->in_len + 1);
    req->in_addr = req->addr + out_len;
    req->status_addr = req->in_addr + req->in_len;
    qtest_memwrite(g->qts, req->addr, &header, sizeof(header));
    if (req->out) {
        qtest_memwrite(g->qts, req->addr + sizeof(header), req->out,
                       req->out_len);
    } else if (req->out_len) {
        qtest_memset(g->qts, req->addr + sizeof(header), 0, req->out_len);
    }
    qtest_writeb(g->qts, req->status_addr, ZONED_STATUS_NONE);

    if (g->in_flight++ == 0) {
        /* The descriptors can be used again. */
        g->vq->free_head = 0;
        g->vq->num_free = g->vq->size;
    }
    head = g->vq->free_head;
    if (req->shared) {
        add_segments(g, req->addr, out_len, 1, false, false);
        add_segments(g, req->in_addr, req->in_len + 1, 1, true, true);
    } else {
        add_segments(g, req->addr, sizeof(header), 1, false, false);
        for (i = 0; req->out_len && i < repeat; i++) {
            add_segments(g, req->addr + sizeof(header), req->out_len, 1, false,
                         false);
        }
        for (i = 0; req->in_len && i < repeat; i++) {
            add_segments(g, req->in_addr, req->in_len, req->in_segments ?: 1,
                         true, false);
        }
        add_segments(g, req->status_addr, 1, 1, true, true);
    }
    zoned_guest_queue_head(g, g->vq, head);
}

void zoned_guest_kick(ZonedGuest *g)
{
    g->dev->bus->virtqueue_kick(g->dev, g->vq);
}

bool zoned_guest_is_done(ZonedGuest *g, ZonedRequest *req)
{
    return qtest_readb(g->qts, req->status_addr) != ZONED_STATUS_NONE;
}

uint8_t zoned_guest_wait(ZonedGuest *g, ZonedRequest *req)
{
    gint64 end = g_get_monotonic_time() + TIMEOUT_US;

    while (!zoned_guest_is_done(g, req)) {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        g_usleep(100);
    }
    g->in_flight--;
    return qtest_readb(g->qts, req->status_addr);
}

void zoned_guest_free(ZonedGuest *g, ZonedRequest *req)
{
    guest_free(&g->qs->alloc, req->addr);
}

void zoned_guest_do_at_once(ZonedGuest *g, ZonedRequest *req, unsigned n,
                            uint8_t *status)
{
    for (unsigned i = 0; i < n; i++) {
        zoned_guest_queue(g, &req[i]);
    }
    zoned_guest_kick(g);
    for (unsigned i = 0; i < n; i++) {
        status[i] = zoned_guest_wait(g, &req[i]);
    }
    for (unsigned i = 0; i < n; i++) {
        zoned_guest_free(g, &req[i]);
    }
}

uint8_t zoned_guest_do(ZonedGuest *g, ZonedRequest *req, void *in)
{
    uint8_t status;

    zoned_guest_queue(g, req);
    zoned_guest_kick(g);
    status = zoned_guest_wait(g, req);
    if (in) {
        qtest_memread(g->qts, req->in_addr, in, req->in_len);
    }
    zoned_guest_free(g, req);
    return status;
}

uint8_t zoned_guest_write(ZonedGuest *g, uint64_t sector, size_t sectors)
{
    ZonedRequest req = {
        .type = VIRTIO_BLK_T_OUT,
        .sector = sector,
        .out_len = sectors * 512,
    };

    return zoned_guest_do(g, &req, NULL);
}

uint8_t zoned_guest_read(ZonedGuest *g, uint64_t sector, size_t sectors)
{
    ZonedRequest req = {
        .type = VIRTIO_BLK_T_IN,
        .sector = sector,
        .in_len = sectors * 512,
    };

    return zoned_guest_do(g, &req, NULL);
}

uint8_t zoned_guest_append(ZonedGuest *g, uint64_t sector, size_t sectors,
                           uint64_t *where)
{
    ZonedRequest req = {
        .type = VIRTIO_BLK_T_ZONE_APPEND,
        .sector = sector,
        .out_len = sectors * 512,
        .in_len = sizeof(uint64_t),
    };
    uint64_t at;
    uint8_t status;

    status = zoned_guest_do(g, &req, &at);
    if (where) {
        *where = le64_to_cpu(at);
    }
    return status;
}

uint8_t zoned_guest_mgmt(ZonedGuest *g, uint32_t type, uint64_t sector)
{
    ZonedRequest req = { .type = type, .sector = sector };

    return zoned_guest_do(g, &req, NULL);
}

struct virtio_blk_zone_descriptor zoned_guest_zone(ZonedGuest *g,
                                                   uint64_t sector)
{
    struct {
        struct virtio_blk_zone_report header;
        struct virtio_blk_zone_descriptor desc;
    } report;
    ZonedRequest req = {
        .type = VIRTIO_BLK_T_ZONE_REPORT,
        .sector = sector,
        .in_len = sizeof(report),
    };

    g_assert_cmpuint(zoned_guest_do(g, &req, &report), ==, VIRTIO_BLK_S_OK);
    g_assert_cmpuint(le64_to_cpu(report.header.nr_zones), ==, 1);
    return report.desc;
}

void zoned_guest_assert_zone(ZonedGuest *g, uint64_t sector, uint8_t state,
                             uint64_t wp)
{
    struct virtio_blk_zone_descriptor desc = zoned_guest_zone(g, sector);

    g_assert_cmpuint(desc.z_state, ==, state);
    g_assert_cmpuint(le64_to_cpu(desc.z_wp), ==, wp);
}

void zoned_guest_assert_usable(ZonedGuest *g)
{
    uint64_t where;

    zoned_guest_assert_works(g);
    zoned_guest_assert_zone(g, SEQ, VIRTIO_BLK_ZS_EMPTY, SEQ);
    assert_ok(zoned_guest_write(g, SEQ, 8));
    assert_ok(zoned_guest_append(g, SEQ, 8, &where));
    g_assert_cmpuint(where, ==, SEQ + 8);
    assert_ok(zoned_guest_mgmt(g, VIRTIO_BLK_T_ZONE_RESET, SEQ));
}

uint64_t zoned_guest_stat(ZonedGuest *g, const char *name)
{
    QDict *response, *stats;
    uint64_t value;

    response = qtest_qmp(g->qts, "{ 'execute': 'query-blockstats' }");
    stats = qobject_to(QDict, qlist_peek(qdict_get_qlist(response, "return")));
    stats = qdict_get_qdict(stats, "stats");
    value = qdict_get_int(stats, name);
    qobject_unref(response);
    return value;
}

void zoned_guest_assert_stat(ZonedGuest *g, const char *name, uint64_t value)
{
    gint64 end = g_get_monotonic_time() + TIMEOUT_US;

    while (zoned_guest_stat(g, name) != value) {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        g_usleep(100);
    }
}

uint64_t zoned_guest_refused(ZonedGuest *g, const char *reason)
{
    QDict *response = qtest_qmp(g->qts, "{ 'execute': 'query-block-zone-stats',"
                                " 'arguments': { 'node-name': 'disk' } }");
    QDict *stats = qdict_get_qdict(response, "return");
    uint64_t value = qdict_get_int(qdict_get_qdict(stats, "refused"), reason);

    qobject_unref(response);
    return value;
}

uint32_t zoned_guest_config(ZonedGuest *g, size_t offset)
{
    return qvirtio_config_readl(g->dev, offset);
}

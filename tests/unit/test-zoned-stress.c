/*
 * Stress test of the zoned block format driver
 *
 * Three threads have six writes each in flight on one device, and beside them
 * reads, flushes and zone operations; meanwhile the main thread drains nodes,
 * changes the graph and operates on all zones.  The file below is slow at
 * random and, in some rounds, fails at random.
 *
 * What is known of each zone is compared with the device, while all goes on
 * (zoned-stress-zone.h), and exactly, when all rest.
 *
 *   ZONED_TEST_SEED      where random numbers begin; threads still take turns
 *                        as they like
 *   ZONED_TEST_SECONDS   how long it runs
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/main-loop.h"
#include "qapi/error.h"
#include "qobject/qdict.h"
#include "block/block_int.h"
#include "system/block-backend.h"
#include "iothread.h"
#include "zoned-node.h"
#include "zoned-random.h"
#include "zoned-stress-file.h"
#include "zoned-stress-zone.h"

#define NR_THREADS 3
#define NR_WRITERS 6
#define NR_WORKERS (NR_WRITERS + 2)

typedef struct Thread {
    IOThread *iothread;
    AioContext *ctx;
    Worker workers[NR_WORKERS];
    Zone *zones[MAX_ZONES];
    unsigned nr_zones;
} Thread;

static Thread threads[NR_THREADS];
static Worker main_worker = { .thread = -1 };
static Worker all_worker = { .thread = -1 };    /* of operations on all zones */
static Device device;
static BlockDriverState *file_bs;
static bool stopping;
static unsigned nr_running;

/*
 * The threads.
 */

/* A zone that can be used; one that has failed is compared first, or NULL */
static Zone *coroutine_fn choose_zone(Worker *w)
{
    Thread *t = &threads[w->thread];
    Zone *z = t->zones[below(percent(70) ? MIN(2, t->nr_zones) : t->nr_zones)];

    if (z->held) {
        return NULL;
    }
    if (z->failed || z->unsure || by_all_op(z)) {
        if (z->in_flight == 0 && !qatomic_read(&device.all_ops.active)) {
            check_zone(w, z);
        }
        return NULL;
    }
    return z;
}

static void coroutine_fn do_write(Worker *w)
{
    Zone *z = choose_zone(w);

    if (!z || (z->is_closing && (z->appends || z->next == z->start ||
                                 percent(70)))) {
        return;
    }
    if (!z->full && z->next < z->cap_limit) {
        write_zone(w, z);
    } else if (z->in_flight == 0) {
        mgmt_zone(w, z, BLK_ZO_RESET);
    }
}

static void coroutine_fn do_other(Worker *w)
{
    static const BlockZoneOp zone_ops[] = {
        BLK_ZO_OPEN, BLK_ZO_OPEN, BLK_ZO_CLOSE, BLK_ZO_CLOSE, BLK_ZO_FINISH,
        BLK_ZO_RESET,
    };
    unsigned what = below(100);
    Zone *z;

    if (what < 10) {
        flush_device(w, &device);
        return;
    }
    z = choose_zone(w);
    if (!z) {
        return;
    }
    if (what < 70) {
        read_zone(w, z);
    } else if (what < 80 && !z->is_closing) {
        mgmt_zone(w, z, zone_ops[below(ARRAY_SIZE(zone_ops))]);
    }
}

static void coroutine_fn worker(void *opaque)
{
    Worker *w = opaque;

    qatomic_set(&w->running, true);
    while (!qatomic_read(&stopping)) {
        if (w->number < NR_WRITERS) {
            do_write(w);
        } else {
            do_other(w);
        }
        if (percent(10)) {
            qemu_co_sleep_ns(QEMU_CLOCK_REALTIME, below(200) * SCALE_US);
        } else {
            take_turns();
        }
    }
    qatomic_set(&w->running, false);
    qatomic_dec(&nr_running);
}

/*
 * The main thread.
 */

static void poll_main(void)
{
    while (aio_poll(qemu_get_aio_context(), false)) {
        /* More may be ready. */
    }
}

static void poll_for(unsigned us)
{
    int64_t limit = g_get_monotonic_time() + us;

    do {
        poll_main();
        g_usleep(100);
    } while (g_get_monotonic_time() < limit);
}

typedef struct AllOp {
    BlockZoneOp zone_op;
    bool running;
} AllOp;

static AllOp all_op;

/* An operation on all zones, while others write */
static void coroutine_fn all_op_entry(void *opaque)
{
    unsigned since = tick();
    int ret;

    worker_begin(&all_worker, zone_op_name(all_op.zone_op), 0, device.size);
    ret = blk_co_zone_mgmt(device.blk, all_op.zone_op, 0, device.size);
    worker_end(&all_worker);
    if (!(ret == 0 ||
          ((ret == -EIO || ret == -ENOSPC) && file_fault_since(since)) ||
          (ret == -ETOOMANYREFS && all_op.zone_op == BLK_ZO_OPEN &&
           device.open_zones.limit))) {
        fail("%s of all zones: %d", zone_op_name(all_op.zone_op), ret);
    }
    calm_down(&device.all_ops);
    all_op.running = false;
}

static void start_all_op(void)
{
    static const BlockZoneOp zone_ops[] = {
        BLK_ZO_OPEN, BLK_ZO_CLOSE, BLK_ZO_CLOSE, BLK_ZO_FINISH, BLK_ZO_RESET,
    };

    if (all_op.running) {
        return;
    }
    all_op.running = true;
    all_op.zone_op = zone_ops[below(ARRAY_SIZE(zone_ops))];
    disturb(&device.all_ops);
    qemu_coroutine_enter(qemu_coroutine_create(all_op_entry, NULL));
}

static void check_drained(void)
{
    if (file_nr_in_flight()) {
        fail("%u requests are in flight while the device is drained",
             file_nr_in_flight());
    }
}

static void drain(void)
{
    BlockDriverState *bs = blk_bs(device.blk);

    disturb(&device.drains);
    switch (below(3)) {
    case 0:
        worker_begin(&main_worker, "drain all", 0, 0);
        bdrv_drain_all_begin();
        check_drained();
        poll_for(below(1000));
        check_drained();
        bdrv_drain_all_end();
        break;
    case 1:
        worker_begin(&main_worker, "drain the device", 0, 0);
        bdrv_drained_begin(bs);
        check_drained();
        poll_for(below(1000));
        check_drained();
        bdrv_drained_end(bs);
        break;
    default:
        worker_begin(&main_worker, "drain the backend", 0, 0);
        blk_drain(device.blk);
    }
    worker_end(&main_worker);
    calm_down(&device.drains);
}

/* As blockdev-add and blockdev-del, of a node that is none of ours */
static void change_graph(void)
{
    QDict *options = qdict_new();
    BlockDriverState *bs;

    disturb(&device.drains);
    worker_begin(&main_worker, "add a node", 0, 0);
    qdict_put_str(options, "driver", "raw");
    qdict_put_str(options, "file.driver", "null-co");
    bs = bdrv_open(NULL, NULL, options, BDRV_O_RDWR, &error_abort);
    poll_for(below(300));
    bdrv_unref(bs);
    worker_end(&main_worker);
    calm_down(&device.drains);
}

static void insert_filter(BlockDriverState **filter)
{
    disturb(&device.drains);
    worker_begin(&main_worker,
                 *filter ? "remove the filter" : "insert a filter", 0, 0);
    if (*filter) {
        bdrv_drop_filter(*filter, &error_abort);
        bdrv_unref(*filter);
        *filter = NULL;
    } else {
        *filter = file_open_filter();
        bdrv_append(*filter, file_bs, &error_abort);
    }
    worker_end(&main_worker);
    calm_down(&device.drains);
}

/* Lets all threads do what they like for a while. */
static void run_round(void)
{
    int64_t limit = g_get_monotonic_time() + 100000 + below(500000);
    BlockDriverState *filter = NULL;
    bool some = percent(60);
    FileFaults faults;

    stopping = false;
    nr_running = NR_THREADS * NR_WORKERS;
    file_set_rests(percent(50) ? 60 : below(60));
    faults.write = some && percent(70) ? 1 + below(300) : 0;
    faults.other = some && percent(50) ? 1 + below(500) : 0;
    faults.read = some && percent(30) ? 1 + below(100) : 0;
    file_set_faults(&faults);
    for (int t = 0; t < NR_THREADS; t++) {
        for (int i = 0; i < NR_WORKERS; i++) {
            aio_co_schedule(threads[t].ctx,
                            qemu_coroutine_create(worker,
                                                  &threads[t].workers[i]));
        }
    }
    while (g_get_monotonic_time() < limit) {
        unsigned what = below(100);

        poll_for(below(20000));
        if (what < 30) {
            drain();
        } else if (what < 50) {
            change_graph();
        } else if (what < 65) {
            insert_filter(&filter);
        } else if (what < 75) {
            start_all_op();
        }
    }
    qatomic_set(&stopping, true);
    worker_begin(&main_worker, "wait for the threads", 0, 0);
    while (qatomic_read(&nr_running) > 0 || all_op.running) {
        poll_for(1000);
    }
    worker_end(&main_worker);
    if (filter) {
        insert_filter(&filter);
    }
    file_set_faults(&(FileFaults) {});
}

/*
 * Devices.
 */

static BlockDriverState *open_zoned(int flags)
{
    file_bs = file_open();
    return zoned_node_open(file_bs, 0, BDRV_O_RDWR | BDRV_O_UNMAP | flags,
                           &error_abort);
}

static void open_device(void)
{
    BlockDriverState *bs = open_zoned(0);

    device.blk = blk_new(qemu_get_aio_context(), BLK_PERM_ALL, BLK_PERM_ALL);
    blk_insert_bs(device.blk, bs, &error_abort);
    bdrv_unref(bs);
}

static void close_device(void)
{
    worker_begin(&main_worker, "close", 0, 0);
    blk_unref(device.blk);
    bdrv_unref(file_bs);
    worker_end(&main_worker);
}

/* What qemu-img check would say */
static void check_image(void)
{
    BlockDriverState *bs = open_zoned(BDRV_O_CHECK);
    BdrvCheckResult result = {};
    int ret;

    worker_begin(&main_worker, "check", 0, 0);
    ret = bdrv_check(bs, &result, 0);
    worker_end(&main_worker);
    if (ret < 0 || result.corruptions || result.leaks || result.check_errors) {
        fail("check: %d, %d corruptions, %d leaks, %d errors", ret,
             result.corruptions, result.leaks, result.check_errors);
    }
    bdrv_unref(bs);
    bdrv_unref(file_bs);
}

static void create_image(uint64_t capacity)
{
    BlockdevCreateOptionsZoned options = {
        .size = device.size,
        .has_zone_size = true,
        .zone_size = device.zone_size,
        .has_zone_capacity = true,
        .zone_capacity = capacity,
        .has_max_open_zones = true,
        .max_open_zones = device.open_zones.limit,
        .has_max_active_zones = true,
        .max_active_zones = device.active_zones.limit,
        .has_max_append_sectors = true,
        .max_append_sectors = device.max_append_sectors,
    };
    BlockDriverState *file;

    file_new();
    file = file_open();
    zoned_node_create(file, &options);
    bdrv_unref(file);
    file_has_device(device.size);
}

static void choose_limits(Device *d)
{
    d->active_zones.limit = percent(40) ? 0 : 1 + below(d->nr_zones);
    d->open_zones.limit = percent(40) ? 0
        : 1 + below(d->active_zones.limit ?: d->nr_zones);
    d->active_zones.nr = d->open_zones.nr = 0;
    d->active_zones.last_full = d->open_zones.last_full = 0;
}

static void new_device(void)
{
    Device *d = &device;
    uint64_t capacity;

    d->nr_zones = NR_THREADS * (2 + below(6));
    d->zone_size = (2 + below(15)) * 8 * KiB;
    capacity = percent(50) ? d->zone_size
        : (1 + below(d->zone_size / KiB / 4)) * 4 * KiB;
    d->size = d->nr_zones * d->zone_size;
    d->max_append_sectors = 1 + below(32);
    choose_limits(d);
    d->all_ops.last_end = 0;

    for (int t = 0; t < NR_THREADS; t++) {
        threads[t].nr_zones = 0;
    }
    for (uint32_t i = 0; i < d->nr_zones; i++) {
        Thread *t = &threads[i % NR_THREADS];

        d->zones[i] = (Zone) {
            .dev = d,
            .index = i,
            .start = i * d->zone_size,
            .cap_limit = i * d->zone_size + capacity,
            .limit = (i + 1) * d->zone_size,
            .end = i * d->zone_size,
            .next = i * d->zone_size,
            .tags = g_new0(uint64_t, capacity / SECTOR),
        };
        t->zones[t->nr_zones++] = &d->zones[i];
    }
    create_image(capacity);
}

static void forget_device(void)
{
    for (uint32_t i = 0; i < device.nr_zones; i++) {
        g_free(device.zones[i].tags);
    }
    file_free();
}

static void test_device(unsigned rounds)
{
    new_device();
    open_device();
    while (rounds-- > 0) {
        run_round();
        worker_begin(&main_worker, "compare", 0, 0);
        check_at_rest(&device);
        worker_end(&main_worker);
        if (percent(50)) {
            flush_at_rest(&device);
            close_device();
            check_image();
            open_device();
            check_reopened(&device);
        }
    }
    close_device();
    check_image();
    forget_device();
}

static void start_threads(void)
{
    for (int t = 0; t < NR_THREADS; t++) {
        threads[t].iothread = iothread_new();
        threads[t].ctx = iothread_get_aio_context(threads[t].iothread);
        for (int i = 0; i < NR_WORKERS; i++) {
            threads[t].workers[i] = (Worker) { .thread = t, .number = i };
            stress_watch(&threads[t].workers[i]);
        }
    }
}

static void test_stress(void)
{
    uint64_t seconds = random_env("ZONED_TEST_SECONDS", 5);
    int64_t limit = g_get_monotonic_time() + seconds * G_USEC_PER_SEC;
    unsigned nr_devices = 0;

    stress_init(random_start().seed);
    file_init();
    device.worker = &main_worker;
    qemu_mutex_init(&device.active_zones.lock);
    qemu_mutex_init(&device.open_zones.lock);
    start_threads();
    stress_watch(&main_worker);
    stress_watch(&all_worker);

    do {
        test_device(1 + below(4));
        nr_devices++;
    } while (g_get_monotonic_time() < limit);

    for (int t = 0; t < NR_THREADS; t++) {
        iothread_join(threads[t].iothread);
    }
    g_test_message("%u devices, %u events, %u faults", nr_devices, tick(),
                   file_nr_faults());
}

int main(int argc, char **argv)
{
    bdrv_init();
    qemu_init_main_loop(&error_abort);
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/zoned/stress", test_stress);
    return g_test_run();
}

/*
 * Benchmarks of the block layer for zoned disks
 *
 * Runs one benchmark on one image and prints a line of JSON.  It works on
 * images of any format: on one without zones, it writes where it would if there
 * were zones.  What qemu-img bench lacks: appends, many zones, many threads,
 * writers that flush, zone operations, opening, a drain; and the requests of a
 * depth are sent in the order of their addresses, which a zone needs.
 *
 * A worker is a coroutine that has one request in flight.  A thread has a
 * number of workers and a number of streams; a stream is written from one end
 * of a zone to the other, then goes on in another zone.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/cutils.h"
#include "qemu/defer-call.h"
#include "qemu/error-report.h"
#include "qemu/keyval.h"
#include "qemu/main-loop.h"
#include "qemu/memalign.h"
#include "qemu/option.h"
#include "qemu/timer.h"
#include "qemu/units.h"
#include "qapi/error.h"
#include "qobject/qdict.h"
#include "block/block_int.h"
#include "block/qdict.h"
#include "system/block-backend.h"
#include "../unit/iothread.h"
#include "../unit/zoned-filter.h"
#include <getopt.h>
#include <sys/resource.h>

#define MAX_THREADS 64

/* Bytes that "open" reads at once, and zones that "report" asks for at once */
#define READ_CHUNK (1 * MiB)
#define REPORT_CHUNK 4096

/* Before requests are timed */
#define REST_US (G_USEC_PER_SEC / 5)

/* With --drain: until all workers of all threads are at it */
#define WARM_UP_US (G_USEC_PER_SEC / 20)

typedef enum BenchOp {
    OP_WRITE,
    OP_APPEND,
    OP_READ,
    OP_OVERWRITE,
    OP_MIXED,
    OP_OPEN,
    OP_REPORT,
    OP_RESET,
    OP__MAX,
} BenchOp;

static const char *const op_names[OP__MAX] = {
    [OP_WRITE] = "write",
    [OP_APPEND] = "append",
    [OP_READ] = "read",
    [OP_OVERWRITE] = "overwrite",
    [OP_MIXED] = "mixed",
    [OP_OPEN] = "open",
    [OP_REPORT] = "report",
    [OP_RESET] = "reset",
};

typedef struct Options {
    BenchOp op;
    QDict *image;
    bool direct;
    bool native;
    bool io_uring;
    uint64_t count;             /* requests of all threads together */
    uint64_t size;              /* bytes of a request */
    uint64_t range;             /* bytes that are read or overwritten */
    uint64_t zone_size;         /* bytes, for an image that has no zones */
    uint32_t depth;             /* workers of each thread */
    uint32_t streams;           /* of all threads together */
    uint32_t threads;           /* 0: everything in the main thread */
    uint32_t flush_every;       /* a worker flushes after so many; 0: never */
    uint64_t drain_ms;          /* before and after a drain; 0: none */
} Options;

static Options options = {
    .op = OP__MAX,
    .count = 100000,
    .size = 4 * KiB,
    .zone_size = 64 * MiB,
    .depth = 1,
    .streams = 1,
};

/* What each flush of a file below the filter "delay" costs on top. */
static int64_t flush_delay_ns;

typedef struct Stream {
    uint32_t zone;
    uint64_t offset;            /* byte of the device */
    uint64_t limit;             /* the end of what can be written */
} Stream;

typedef struct BenchThread {
    IOThread *iothread;
    Stream *streams;
    uint32_t nr_streams;
    uint32_t next_stream;
    uint64_t requests_left;     /* read by the main thread, with --drain */
    uint64_t flushes;
    uint64_t random;
} BenchThread;

typedef struct Worker {
    BenchThread *thread;
    void *buf;
} Worker;

static BlockBackend *blk;
static uint64_t zone_size;
static uint64_t zone_capacity;
static BenchThread threads[MAX_THREADS];
static uint32_t nr_running;
static bool enough;             /* with --drain: it is measured */

typedef struct Result {
    double seconds;
    uint64_t flushes;
    double before;              /* requests in a second, before a drain */
    double after;
} Result;

static G_NORETURN void G_GNUC_PRINTF(1, 2) fail(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    error_vreport(fmt, ap);
    va_end(ap);
    exit(1);
}

/* A filter whose flushes take their time. */

static int delay_open(BlockDriverState *bs, QDict *opts, int flags,
                      Error **errp)
{
    int ret = bdrv_open_file_child(NULL, opts, "file", bs, errp);

    if (ret == 0) {
        GRAPH_RDLOCK_GUARD_MAINLOOP();
        bs->supported_write_flags = bs->file->bs->supported_write_flags;
    }
    return ret;
}

static int64_t coroutine_fn GRAPH_RDLOCK
delay_co_getlength(BlockDriverState *bs)
{
    return bdrv_co_getlength(bs->file->bs);
}

/* The file is flushed by the block layer. */
static int coroutine_fn GRAPH_RDLOCK
delay_co_flush_to_disk(BlockDriverState *bs)
{
    qemu_co_sleep_ns(QEMU_CLOCK_REALTIME, flush_delay_ns);
    return 0;
}

static BlockDriver bdrv_delay = {
    .format_name            = "delay",
    .is_filter              = true,
    .bdrv_open              = delay_open,
    .bdrv_child_perm        = bdrv_default_perms,
    .bdrv_co_getlength      = delay_co_getlength,
    .bdrv_co_preadv         = filter_co_preadv,
    .bdrv_co_pwritev        = filter_co_pwritev,
    .bdrv_co_flush_to_disk  = delay_co_flush_to_disk,
};

/* Where requests go. */

static void stream_enter_zone(Stream *stream, uint32_t zone)
{
    stream->zone = zone;
    stream->offset = zone * zone_size;
    stream->limit = stream->offset + QEMU_ALIGN_DOWN(zone_capacity,
                                                     options.size);
}

/* The byte at which @thread writes next; the zone, if it appends */
static int64_t next_write(BenchThread *thread)
{
    Stream *stream = &thread->streams[thread->next_stream];
    int64_t offset;

    if (++thread->next_stream == thread->nr_streams) {
        thread->next_stream = 0;
    }
    if (stream->offset == stream->limit) {
        stream_enter_zone(stream, stream->zone + options.streams);
    }
    offset = stream->offset;
    stream->offset += options.size;
    return options.op == OP_APPEND ? stream->zone * zone_size : offset;
}

/* A number below @n (xorshift64) */
static uint64_t random_below(BenchThread *thread, uint64_t n)
{
    thread->random ^= thread->random << 13;
    thread->random ^= thread->random >> 7;
    thread->random ^= thread->random << 17;
    return thread->random % n;
}

/* A request's place in the range */
static int64_t next_random(BenchThread *thread)
{
    return random_below(thread, options.range / options.size) * options.size;
}

/*
 * Anything, on the first zones of the device, in which all threads work.  That
 * a zone is full or has no resource is no failure.
 */
static int coroutine_fn do_mixed(BenchThread *thread, QEMUIOVector *qiov)
{
    int64_t zone = random_below(thread, options.streams) * zone_size;
    uint64_t dice = random_below(thread, 100);
    BlockZoneDescriptor zones[4];
    unsigned int n = ARRAY_SIZE(zones);
    int ret;

    if (dice < 60) {
        ret = blk_co_zone_append(blk, &zone, qiov, 0);
    } else if (dice < 75) {
        ret = blk_co_preadv(blk, zone, qiov->size, qiov, 0);
    } else if (dice < 90) {
        ret = blk_co_zone_report(blk, zone, &n, zones);
    } else if (dice < 95) {
        ret = blk_co_flush(blk);
    } else if (dice < 98) {
        ret = blk_co_zone_mgmt(blk, BLK_ZO_RESET, zone, zone_size);
    } else {
        ret = blk_co_zone_mgmt(blk, BLK_ZO_FINISH, zone, zone_size);
    }
    switch (ret) {
    case -ERANGE:
    case -EPERM:
    case -EOVERFLOW:
    case -ETOOMANYREFS:
        return 0;
    default:
        return ret;
    }
}

static int coroutine_fn do_request(BenchThread *thread, QEMUIOVector *qiov)
{
    int64_t offset;

    switch (options.op) {
    case OP_WRITE:
        return blk_co_pwritev(blk, next_write(thread), qiov->size, qiov, 0);
    case OP_APPEND:
        offset = next_write(thread);
        return blk_co_zone_append(blk, &offset, qiov, 0);
    case OP_READ:
        return blk_co_preadv(blk, next_random(thread), qiov->size, qiov, 0);
    case OP_OVERWRITE:
        return blk_co_pwritev(blk, next_random(thread), qiov->size, qiov, 0);
    case OP_MIXED:
        return do_mixed(thread, qiov);
    default:
        g_assert_not_reached();
    }
}

static void coroutine_fn worker_co(void *opaque)
{
    Worker *worker = opaque;
    BenchThread *thread = worker->thread;
    QEMUIOVector qiov = QEMU_IOVEC_INIT_BUF(qiov, worker->buf, options.size);
    uint32_t unflushed = 0;
    int ret;

    while (thread->requests_left > 0 && !qatomic_read(&enough)) {
        qatomic_set(&thread->requests_left, thread->requests_left - 1);
        ret = do_request(thread, &qiov);
        if (ret < 0) {
            fail("%s failed: %s", op_names[options.op], strerror(-ret));
        }
        if (++unflushed == options.flush_every) {
            ret = blk_co_flush(blk);
            if (ret < 0) {
                fail("flush failed: %s", strerror(-ret));
            }
            thread->flushes++;
            unflushed = 0;
        }
    }

    qemu_vfree(worker->buf);
    g_free(worker);
    qatomic_dec(&nr_running);
    aio_notify(qemu_get_aio_context());
}

/* The requests of a depth are submitted together, as a device does it. */
static void start_workers(void *opaque)
{
    BenchThread *thread = opaque;

    defer_call_begin();
    for (uint32_t i = 0; i < options.depth; i++) {
        Worker *worker = g_new(Worker, 1);

        *worker = (Worker) {
            .thread = thread,
            .buf = blk_blockalign(blk, options.size),
        };
        memset(worker->buf, 0x5a, options.size);
        qemu_coroutine_enter(qemu_coroutine_create(worker_co, worker));
    }
    defer_call_end();
}

static AioContext *thread_context(const BenchThread *thread)
{
    return thread->iothread ? iothread_get_aio_context(thread->iothread)
                            : qemu_get_aio_context();
}

/* Threads share streams and requests; the first ones get what is left over. */
static uint64_t share(uint64_t total, uint32_t i, uint32_t n)
{
    return total / n + (i < total % n);
}

static uint64_t requests_left(void)
{
    uint64_t n = 0;

    for (uint32_t i = 0; i < options.threads; i++) {
        n += qatomic_read(&threads[i].requests_left);
    }
    return n;
}

/* Requests in a second, of all threads, for so long as was asked for */
static double current_rate(void)
{
    int64_t start = get_clock();
    uint64_t left = requests_left();

    g_usleep(options.drain_ms * 1000);
    return (left - requests_left()) / ((get_clock() - start) / 1e9);
}

/* The workers go on, and do not know of the drain. */
static void measure_drain(Result *result)
{
    g_usleep(WARM_UP_US);
    result->before = current_rate();
    blk_drain(blk);
    result->after = current_rate();
    qatomic_set(&enough, true);
}

static void run_requests(Result *result)
{
    uint32_t n = MAX(options.threads, 1);

    nr_running = n * options.depth;
    for (uint32_t i = 0; i < n; i++) {
        aio_bh_schedule_oneshot(thread_context(&threads[i]), start_workers,
                                &threads[i]);
    }
    if (options.drain_ms) {
        measure_drain(result);
    }
    /* Not AIO_WAIT_WHILE(): while it waits, each request costs more. */
    while (qatomic_read(&nr_running) > 0) {
        aio_poll(qemu_get_aio_context(), true);
    }
    for (uint32_t i = 0; i < n; i++) {
        result->flushes += threads[i].flushes;
    }
}

static void setup_threads(void)
{
    uint32_t n = MAX(options.threads, 1);
    uint32_t zone = 0;

    for (uint32_t i = 0; i < n; i++) {
        BenchThread *thread = &threads[i];

        *thread = (BenchThread) {
            .iothread = options.threads ? iothread_new() : NULL,
            .nr_streams = share(options.streams, i, n),
            .requests_left = share(options.count, i, n),
            .random = 88172645463325252 + i,
        };
        thread->streams = g_new(Stream, thread->nr_streams);
        for (uint32_t j = 0; j < thread->nr_streams; j++) {
            stream_enter_zone(&thread->streams[j], zone++);
        }
    }
}

static void end_threads(void)
{
    for (uint32_t i = 0; i < MAX(options.threads, 1); i++) {
        if (threads[i].iothread) {
            iothread_join(threads[i].iothread);
        }
        g_free(threads[i].streams);
    }
}

/* What is done before and between the benchmarks. */

static BlockBackend *open_image(void)
{
    BlockBackend *new_blk;
    Error *err = NULL;
    int flags = BDRV_O_RDWR | BDRV_O_UNMAP;

    if (options.direct) {
        flags |= BDRV_O_NOCACHE;
    }
    if (options.native) {
        flags |= BDRV_O_NATIVE_AIO;
    }
    if (options.io_uring) {
        flags |= BDRV_O_IO_URING;
    }
    new_blk = blk_new_open(NULL, NULL, qdict_clone_shallow(options.image),
                           flags, &err);
    if (!new_blk) {
        error_report_err(err);
        exit(1);
    }
    blk_set_enable_write_cache(new_blk, true);
    return new_blk;
}

/* An operation on the first or the second half of all zones */
static void mgmt_half(BlockZoneOp op, bool second)
{
    BlockDriverState *bs = blk_bs(blk);
    int64_t half = bs->bl.nr_zones / 2 * zone_size;
    int64_t offset = second ? half : 0;
    int64_t len = second ? blk_getlength(blk) - half : half;
    int ret = blk_zone_mgmt(blk, op, offset, len);

    if (ret < 0) {
        fail("zone operation failed: %s", strerror(-ret));
    }
}

static void reset_all(void)
{
    int ret = blk_zone_mgmt(blk, BLK_ZO_RESET, 0, blk_getlength(blk));

    if (ret < 0) {
        fail("reset of all zones failed: %s", strerror(-ret));
    }
}

/*
 * Empties all zones, if there are any.  A disk may be busy for some time after
 * the flush of that, and what follows is to be compared with what had none.
 */
static void prepare(void)
{
    if (options.op != OP_READ && blk_bs(blk)->bl.zoned != BLK_Z_NONE) {
        reset_all();
    }
    g_usleep(REST_US);
}

static void finish_all(void)
{
    /* Of the whole device it would leave the empty ones alone. */
    mgmt_half(BLK_ZO_FINISH, false);
    mgmt_half(BLK_ZO_FINISH, true);
}

static void report_all(void)
{
    g_autofree BlockZoneDescriptor *zones = g_new(BlockZoneDescriptor,
                                                  REPORT_CHUNK);
    uint32_t nr_zones = blk_bs(blk)->bl.nr_zones;

    for (uint32_t i = 0; i < nr_zones; i += REPORT_CHUNK) {
        unsigned int n = MIN(REPORT_CHUNK, nr_zones - i);
        int ret = blk_zone_report(blk, i * zone_size, &n, zones);

        if (ret < 0 || n != MIN(REPORT_CHUNK, nr_zones - i)) {
            fail("report of zone %u failed: %d", i, ret);
        }
    }
}

/* Opens the image and reads the range into memory of its own. */
static void open_and_read(void)
{
    g_autofree uint8_t *buf = g_malloc(options.range);

    blk = open_image();
    for (uint64_t pos = 0; pos < options.range; pos += READ_CHUNK) {
        int ret = blk_pread(blk, pos, MIN(READ_CHUNK, options.range - pos),
                            buf + pos, 0);

        if (ret < 0) {
            fail("read failed: %s", strerror(-ret));
        }
    }
    blk_unref(blk);
}

/* Seconds that @func takes, on average */
static double time_calls(void (*func)(void), void (*before)(void))
{
    int64_t ns = 0;

    for (uint64_t i = 0; i < options.count; i++) {
        int64_t start;

        if (before) {
            before();
        }
        start = get_clock();
        func();
        ns += get_clock() - start;
    }
    return ns / 1e9;
}

static void get_geometry(void)
{
    BlockZoneDescriptor zone;
    unsigned int n = 1;
    int ret;

    zone_size = zone_capacity = options.zone_size;
    if (blk_bs(blk)->bl.zoned != BLK_Z_NONE) {
        ret = blk_zone_report(blk, 0, &n, &zone);
        if (ret < 0 || n != 1) {
            fail("report failed: %d", ret);
        }
        zone_size = zone.length;
        zone_capacity = zone.cap;
    }
}

static void run(Result *result)
{
    if (options.op == OP_OPEN) {
        result->seconds = time_calls(open_and_read, NULL);
        return;
    }

    blk = open_image();
    get_geometry();
    if (options.op == OP_REPORT) {
        result->seconds = time_calls(report_all, NULL);
    } else if (options.op == OP_RESET) {
        result->seconds = time_calls(reset_all, finish_all);
    } else {
        int64_t start;

        prepare();
        setup_threads();
        start = get_clock();
        run_requests(result);
        result->seconds = (get_clock() - start) / 1e9;
        end_threads();
    }
    blk_unref(blk);
}

static void help(void)
{
    printf("Usage: zoned-bench --op OP [OPTION]... IMAGE\n"
           "\n"
           "IMAGE is like driver=zoned,file.driver=file,file.filename=disk;\n"
           "a driver 'delay' is a filter whose flushes take --delay.\n"
           "\n"
           "  --op OP             write, append, read and overwrite (at "
           "random), mixed\n"
           "                      (all sorts of requests), open, report (of all "
           "zones),\n"
           "                      reset (of all zones, after a finish)\n"
           "  --count N           requests; opens, reports, resets\n"
           "  --size BYTES        of a request\n"
           "  --depth N           requests in flight of each thread\n"
           "  --streams N         zones that are written at once\n"
           "  --threads N         0: in the main loop\n"
           "  --flush-every N     requests of a worker\n"
           "  --delay NS          of each flush, in filter 'delay'\n"
           "  --range BYTES       that are read or overwritten\n"
           "  --drain MS          not a --count: for MS before and after a "
           "drain\n"
           "  --zone-size BYTES   for an image without zones\n"
           "  --direct            no host cache\n"
           "  --aio AIO           threads, native, io_uring\n");
}

static uint64_t parse_number(const char *name, const char *value)
{
    uint64_t n;

    if (qemu_strtosz(value, NULL, &n) < 0) {
        fail("%s: '%s' is no number", name, value);
    }
    return n;
}

static BenchOp parse_op(const char *name)
{
    for (BenchOp op = 0; op < OP__MAX; op++) {
        if (!strcmp(name, op_names[op])) {
            return op;
        }
    }
    fail("no such operation: '%s'", name);
}

static void parse_aio(const char *aio)
{
    options.native = !strcmp(aio, "native");
    options.io_uring = !strcmp(aio, "io_uring");
    if (!options.native && !options.io_uring && strcmp(aio, "threads")) {
        fail("no such AIO: '%s'", aio);
    }
}

static const struct option long_options[] = {
    { "help", no_argument, NULL, 'h' },
    { "op", required_argument, NULL, 'o' },
    { "count", required_argument, NULL, 'c' },
    { "size", required_argument, NULL, 's' },
    { "depth", required_argument, NULL, 'd' },
    { "streams", required_argument, NULL, 'z' },
    { "threads", required_argument, NULL, 't' },
    { "flush-every", required_argument, NULL, 'f' },
    { "delay", required_argument, NULL, 'D' },
    { "range", required_argument, NULL, 'r' },
    { "zone-size", required_argument, NULL, 'Z' },
    { "direct", no_argument, NULL, 'n' },
    { "aio", required_argument, NULL, 'a' },
    { "drain", required_argument, NULL, 'b' },
    { NULL }
};

static void parse_option(int c, const char *name)
{
    switch (c) {
    case 'h':
        help();
        exit(0);
    case 'o':
        options.op = parse_op(optarg);
        break;
    case 'c':
        options.count = parse_number(name, optarg);
        break;
    case 's':
        options.size = parse_number(name, optarg);
        break;
    case 'd':
        options.depth = parse_number(name, optarg);
        break;
    case 'z':
        options.streams = parse_number(name, optarg);
        break;
    case 't':
        options.threads = parse_number(name, optarg);
        break;
    case 'f':
        options.flush_every = parse_number(name, optarg);
        break;
    case 'D':
        flush_delay_ns = parse_number(name, optarg);
        break;
    case 'r':
        options.range = parse_number(name, optarg);
        break;
    case 'Z':
        options.zone_size = parse_number(name, optarg);
        break;
    case 'n':
        options.direct = true;
        break;
    case 'a':
        parse_aio(optarg);
        break;
    case 'b':
        options.drain_ms = parse_number(name, optarg);
        break;
    default:
        exit(1);
    }
}

static void parse_options(int argc, char **argv)
{
    Error *err = NULL;
    int c, index;
    bool random;

    while ((c = getopt_long(argc, argv, "h", long_options, &index)) != -1) {
        parse_option(c, c == 'h' ? "help" : long_options[index].name);
    }
    if (optind != argc - 1 || options.op == OP__MAX) {
        fail("--op and one image are needed, see --help");
    }
    if (options.threads > MAX_THREADS || options.depth == 0 ||
        options.size == 0 || options.streams == 0 ||
        (options.streams < options.threads && options.op != OP_MIXED)) {
        fail("a thread needs a stream and a worker; at most %d threads",
             MAX_THREADS);
    }
    random = options.op == OP_READ || options.op == OP_OVERWRITE;
    if (random && options.range < options.size) {
        fail("--range is less than a request");
    }
    if (options.drain_ms) {
        if (options.threads == 0 || !random) {
            fail("--drain needs threads, and requests at random");
        }
        options.count = UINT64_MAX;
    }
    options.image = keyval_parse(argv[optind], NULL, NULL, &err);
    if (err) {
        error_report_err(err);
        exit(1);
    }
    qdict_flatten(options.image);
}

int main(int argc, char **argv)
{
    Result result = { 0 };
    struct rusage usage;

    error_init(argv[0]);
    parse_options(argc, argv);
    bdrv_init();
    bdrv_register(&bdrv_delay);
    qemu_init_main_loop(&error_fatal);

    run(&result);
    getrusage(RUSAGE_SELF, &usage);
    printf("{\"requests\": %" PRIu64 ", \"flushes\": %" PRIu64
           ", \"seconds\": %.9f, \"before\": %.1f, \"after\": %.1f"
           ", \"maxrss\": %ld}\n", options.count, result.flushes,
           result.seconds, result.before, result.after,
           usage.ru_maxrss * 1024);
    qobject_unref(options.image);
    return 0;
}

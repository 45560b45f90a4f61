/*
 * Stress test of the zoned block format driver
 *
 * Three threads have six writes each in flight on one device, and beside them
 * reads, flushes and zone operations; meanwhile the main thread drains nodes,
 * changes the graph and operates on all zones.  The file below is slow at
 * random and, in some rounds, fails at random.
 *
 * Each zone belongs to one thread, which knows what the device has acknowledged
 * and so which results are possible.  All is compared with that: results and
 * their order, where appends land, what is read, write pointers, conditions and
 * resources.
 *
 *   ZONED_TEST_SEED      where random numbers begin; threads still take turns
 *                        as they like
 *   ZONED_TEST_SECONDS   how long it runs
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/main-loop.h"
#include "qemu/units.h"
#include "qapi/error.h"
#include "qapi/qapi-types-block-core.h"
#include "qobject/qdict.h"
#include "block/block_int.h"
#include "system/block-backend.h"
#include "iothread.h"
#include "zoned-random.h"

#define SECTOR BDRV_SECTOR_SIZE
#define NR_THREADS 3
#define NR_WRITERS 6
#define NR_WORKERS (NR_WRITERS + 2)
#define MAX_ZONES 24
#define MAX_WRITE (16 * KiB)
#define HANG_SECONDS 30

typedef struct Thread Thread;
typedef struct Zone Zone;

/* A coroutine that does one thing after the other. */
typedef struct Worker {
    Thread *thread;             /* NULL: the main thread */
    unsigned number;
    const char *doing;
    uint64_t offset;
    uint64_t bytes;
    unsigned since;             /* in seconds; 0: does nothing */
    bool running;
} Worker;

/* What can only be used up by so many zones, and how many may do so at most. */
typedef struct Resource {
    QemuMutex lock;
    unsigned limit;             /* 0: none */
    unsigned nr;
    unsigned last_full;         /* it was used up until then */
} Resource;

/* A zone: only its thread uses it, or the main thread when all others rest. */
struct Zone {
    uint32_t index;
    uint64_t start;
    uint64_t cap_limit;
    uint64_t limit;
    uint64_t *tags;             /* of its sectors, what was acknowledged */
    uint64_t end;               /* up to here all was, and nothing behind it */
    uint64_t next;              /* up to here all was sent */
    bool full;                  /* by a finish */
    bool maybe_open;            /* explicitly */
    bool uses_active;
    bool uses_open;
    unsigned life;              /* resets, certain or not */

    unsigned in_flight;
    unsigned busy_since;        /* when something was in flight first */
    unsigned checked;           /* when it was compared with the device */
    bool appends;               /* what is in flight are appends */
    bool held;                  /* nothing else may begin */
    BlockZoneOp closing;        /* such an operation came behind the writes */
    bool is_closing;
    unsigned resetting;         /* resets in flight */
    bool failed;                /* something has failed: compare it */
    bool refused;               /* a write, for lack of resources */
    uint64_t misplaced;         /* a write there failed for its place, else 0 */
    bool unsure;                /* what it holds is to be learnt */
};

struct Thread {
    IOThread *iothread;
    AioContext *ctx;
    Worker workers[NR_WORKERS];
    Zone *zones[MAX_ZONES];
    unsigned nr_zones;
};

/* Something that goes on from time to time. */
typedef struct Disturbance {
    unsigned active;
    unsigned last_end;
} Disturbance;

static Thread threads[NR_THREADS];
static Worker main_worker;
static Worker all_worker;       /* of operations on all zones */
static Zone zones[MAX_ZONES];
static unsigned nr_zones;
static uint64_t zone_size;
static uint64_t device_size;
static unsigned max_append_sectors;
static Resource active_zones;
static Resource open_zones;

static BlockBackend *blk;
static BlockDriverState *file_bs;
static uint8_t *memory;
static uint64_t memory_size;

static uint32_t seed;
static bool stopping;
static unsigned nr_running;
static unsigned file_in_flight;
static unsigned nr_checkers;

/*
 * Time goes on by one with each thing that happens.
 */

static unsigned time_now;

static unsigned tick(void)
{
    return qatomic_inc_fetch(&time_now);
}

/* Random numbers, of each thread its own */
static unsigned below(unsigned n)
{
    static __thread ZonedRandom random;
    static unsigned nr_randoms;

    if (random.seed == 0) {
        unsigned k = qatomic_fetch_inc(&nr_randoms);

        random = (ZonedRandom) { .seed = 1, .state = seed + k * 1000003ull };
    }
    return random_below(&random, n);
}

static bool percent(unsigned n)
{
    return below(100) < n;
}

/*
 * Failures.
 */

static void describe_worker(const Worker *w)
{
    unsigned since = qatomic_read(&w->since);

    if (since) {
        fprintf(stderr, "# %s %ld, worker %u: %s %" PRIu64 "+%" PRIu64
                " for %u seconds\n", w->thread ? "thread" : "main thread",
                w->thread ? (long)(w->thread - threads) : 0L, w->number,
                w->doing, w->offset, w->bytes,
                (unsigned)(g_get_monotonic_time() / G_USEC_PER_SEC + 1) -
                since);
    } else if (qatomic_read(&w->running)) {
        fprintf(stderr, "# thread %ld, worker %u: after a %s\n",
                (long)(w->thread - threads), w->number, w->doing);
    }
}

static void describe_all(void)
{
    fprintf(stderr, "# %u coroutines are running, %u requests to the file\n",
            qatomic_read(&nr_running), qatomic_read(&file_in_flight));
    for (int t = 0; t < NR_THREADS; t++) {
        for (int i = 0; i < NR_WORKERS; i++) {
            describe_worker(&threads[t].workers[i]);
        }
    }
    describe_worker(&main_worker);
    describe_worker(&all_worker);
    fprintf(stderr, "# it began with ZONED_TEST_SEED=%u\n", seed);
}

static G_NORETURN void G_GNUC_PRINTF(1, 2) fail(const char *format, ...)
{
    static QemuMutex *once;
    va_list ap;

    if (qatomic_cmpxchg(&once, NULL, (QemuMutex *)&once)) {
        /* Another thread tells already. */
        g_usleep(G_MAXULONG);
    }
    va_start(ap, format);
    fprintf(stderr, "# ");
    vfprintf(stderr, format, ap);
    fprintf(stderr, "\n");
    va_end(ap);
    describe_all();
    printf("not ok 1 /zoned/stress\n");
    fflush(stdout);
    /* Other threads are running. */
    _exit(1);
}

static void begin(Worker *w, const char *doing, uint64_t offset, uint64_t bytes)
{
    w->doing = doing;
    w->offset = offset;
    w->bytes = bytes;
    qatomic_set(&w->since,
                (unsigned)(g_get_monotonic_time() / G_USEC_PER_SEC + 1));
}

static void end(Worker *w)
{
    qatomic_set(&w->since, 0);
}

static void check_hang(const Worker *w)
{
    unsigned since = qatomic_read(&w->since);

    if (since && g_get_monotonic_time() / G_USEC_PER_SEC + 1 - since >
        HANG_SECONDS) {
        fail("a request hangs");
    }
}

static void *watch(void *opaque)
{
    for (;;) {
        g_usleep(G_USEC_PER_SEC);
        for (int t = 0; t < NR_THREADS; t++) {
            for (int i = 0; i < NR_WORKERS; i++) {
                check_hang(&threads[t].workers[i]);
            }
        }
        check_hang(&main_worker);
        check_hang(&all_worker);
    }
    return NULL;
}

/*
 * What disturbs.
 */

/* Requests wait while a node is drained, and then go on in any order. */
static Disturbance drains;

/* Operations on all zones, by the main thread */
static Disturbance all_ops;

static void disturb(Disturbance *d)
{
    tick();
    qatomic_inc(&d->active);
}

static void calm_down(Disturbance *d)
{
    qatomic_set(&d->last_end, tick());
    qatomic_dec(&d->active);
}

static bool disturbed(const Disturbance *d, unsigned since)
{
    return qatomic_read(&d->active) || qatomic_read(&d->last_end) >= since;
}

/* When requests to the file have failed */
static QemuMutex fault_lock;
static unsigned fault_times[64 * KiB];
static unsigned nr_faults;

/* Has one failed behind @since and before @until? */
static bool fault_between(unsigned since, unsigned until)
{
    bool found = false;

    QEMU_LOCK_GUARD(&fault_lock);
    for (unsigned i = nr_faults; i > 0 && !found; i--) {
        unsigned when = fault_times[(i - 1) % ARRAY_SIZE(fault_times)];

        if (when < since || nr_faults - i >= ARRAY_SIZE(fault_times)) {
            break;
        }
        found = when < until;
    }
    return found;
}

static bool fault_since(unsigned since)
{
    return fault_between(since, UINT_MAX);
}

static void use(Resource *resource, bool *used)
{
    if (!*used) {
        *used = true;
        QEMU_LOCK_GUARD(&resource->lock);
        resource->nr++;
    }
}

static void release(Resource *resource, bool *used)
{
    if (*used) {
        *used = false;
        QEMU_LOCK_GUARD(&resource->lock);
        if (resource->nr >= resource->limit) {
            resource->last_full = tick();
        }
        resource->nr--;
    }
}

/* Was it perhaps used up, after @since?  Not counting one who wants it. */
static bool maybe_full(Resource *resource, unsigned since, unsigned wanted)
{
    QEMU_LOCK_GUARD(&resource->lock);
    return resource->limit &&
           (resource->nr >= resource->limit + wanted ||
            resource->last_full >= since);
}

/*
 * The file, in memory.
 */

static unsigned write_faults;   /* of 10,000 requests */
static unsigned other_faults;   /* table, flushes and discards */
static unsigned read_faults;
static uint64_t data_offset;

static bool fault(unsigned *rate)
{
    if (below(10000) >= qatomic_read(rate)) {
        return false;
    }
    QEMU_LOCK_GUARD(&fault_lock);
    fault_times[nr_faults++ % ARRAY_SIZE(fault_times)] = tick();
    return true;
}

static int fault_errno(void)
{
    return percent(50) ? -EIO : -ENOSPC;
}

/* Lets others go on that can in this thread. */
static void coroutine_fn take_turns(void)
{
    aio_co_schedule(qemu_get_current_aio_context(), qemu_coroutine_self());
    qemu_coroutine_yield();
}

static unsigned rests;          /* of 100 requests to the file */

static void coroutine_fn rest(void)
{
    unsigned what = below(5);

    if (!percent(qatomic_read(&rests))) {
        return;
    }
    if (what < 3) {
        take_turns();
    } else {
        qemu_co_sleep_ns(QEMU_CLOCK_REALTIME, below(300) * SCALE_US);
    }
}

static int coroutine_fn GRAPH_RDLOCK
shaky_co_preadv(BlockDriverState *bs, int64_t offset, int64_t bytes,
                QEMUIOVector *qiov, BdrvRequestFlags flags)
{
    qatomic_inc(&file_in_flight);
    rest();
    qemu_iovec_from_buf(qiov, 0, memory + offset, bytes);
    rest();
    qatomic_dec(&file_in_flight);
    return fault(&read_faults) ? -EIO : 0;
}

/* A request that fails has done a part of what it should, and does no more. */
static int coroutine_fn shaky_write(int64_t offset, int64_t bytes,
                                    QEMUIOVector *qiov)
{
    bool failed;

    qatomic_inc(&file_in_flight);
    rest();
    failed = fault(offset >= data_offset ? &write_faults : &other_faults);
    if (failed) {
        bytes = QEMU_ALIGN_DOWN(below(bytes), SECTOR);
    }
    if (qiov) {
        qemu_iovec_to_buf(qiov, 0, memory + offset, bytes);
    } else {
        memset(memory + offset, 0, bytes);
    }
    rest();
    qatomic_dec(&file_in_flight);
    return failed ? fault_errno() : 0;
}

static int coroutine_fn GRAPH_RDLOCK
shaky_co_pwritev(BlockDriverState *bs, int64_t offset, int64_t bytes,
                 QEMUIOVector *qiov, BdrvRequestFlags flags)
{
    return shaky_write(offset, bytes, qiov);
}

static int coroutine_fn GRAPH_RDLOCK
shaky_co_pwrite_zeroes(BlockDriverState *bs, int64_t offset, int64_t bytes,
                       BdrvRequestFlags flags)
{
    return percent(30) ? -ENOTSUP : shaky_write(offset, bytes, NULL);
}

static int coroutine_fn GRAPH_RDLOCK
shaky_co_pdiscard(BlockDriverState *bs, int64_t offset, int64_t bytes)
{
    int ret = 0;

    qatomic_inc(&file_in_flight);
    rest();
    if (fault(&other_faults)) {
        ret = -EIO;
    } else if (percent(50)) {
        memset(memory + offset, 0xdd, bytes);
    }
    rest();
    qatomic_dec(&file_in_flight);
    return ret;
}

static int coroutine_fn GRAPH_RDLOCK
shaky_co_flush_to_disk(BlockDriverState *bs)
{
    int ret;

    qatomic_inc(&file_in_flight);
    rest();
    ret = fault(&other_faults) ? fault_errno() : 0;
    rest();
    qatomic_dec(&file_in_flight);
    return ret;
}

static int coroutine_fn GRAPH_RDLOCK
shaky_co_truncate(BlockDriverState *bs, int64_t offset, bool exact,
                  PreallocMode prealloc, BdrvRequestFlags flags, Error **errp)
{
    memory = g_realloc(memory, offset);
    if (offset > memory_size) {
        memset(memory + memory_size, 0xee, offset - memory_size);
    }
    memory_size = offset;
    return 0;
}

static int64_t coroutine_fn GRAPH_RDLOCK
shaky_co_getlength(BlockDriverState *bs)
{
    return memory_size;
}

static void shaky_refresh_limits(BlockDriverState *bs, Error **errp)
{
    bs->bl.request_alignment = SECTOR;
}

static BlockDriver bdrv_shaky = {
    .format_name            = "shaky",
    .bdrv_co_preadv         = shaky_co_preadv,
    .bdrv_co_pwritev        = shaky_co_pwritev,
    .bdrv_co_pwrite_zeroes  = shaky_co_pwrite_zeroes,
    .bdrv_co_pdiscard       = shaky_co_pdiscard,
    .bdrv_co_flush_to_disk  = shaky_co_flush_to_disk,
    .bdrv_co_truncate       = shaky_co_truncate,
    .bdrv_co_getlength      = shaky_co_getlength,
    .bdrv_refresh_limits    = shaky_refresh_limits,
};

/* A filter that comes and goes between the device and its file */

static int coroutine_fn GRAPH_RDLOCK
filter_co_preadv(BlockDriverState *bs, int64_t offset, int64_t bytes,
                 QEMUIOVector *qiov, BdrvRequestFlags flags)
{
    return bdrv_co_preadv(bs->backing, offset, bytes, qiov, flags);
}

static int coroutine_fn GRAPH_RDLOCK
filter_co_pwritev(BlockDriverState *bs, int64_t offset, int64_t bytes,
                  QEMUIOVector *qiov, BdrvRequestFlags flags)
{
    return bdrv_co_pwritev(bs->backing, offset, bytes, qiov, flags);
}

static int coroutine_fn GRAPH_RDLOCK
filter_co_pdiscard(BlockDriverState *bs, int64_t offset, int64_t bytes)
{
    return bdrv_co_pdiscard(bs->backing, offset, bytes);
}

static BlockDriver bdrv_filter = {
    .format_name            = "stress-filter",
    .is_filter              = true,
    .filtered_child_is_backing = true,
    .bdrv_child_perm        = bdrv_default_perms,
    .bdrv_co_preadv         = filter_co_preadv,
    .bdrv_co_pwritev        = filter_co_pwritev,
    .bdrv_co_pdiscard       = filter_co_pdiscard,
    .bdrv_co_getlength      = shaky_co_getlength,
};

/*
 * A zone compared with the device.
 */

/* Byte @at of the zone whose data is at @buf: a tag, eight bytes of it */
static uint64_t read_tag(const Zone *z, const uint8_t *buf, uint64_t at)
{
    uint64_t tag, word;

    memcpy(&tag, buf + at, sizeof(tag));
    for (unsigned i = sizeof(tag); i < SECTOR; i += sizeof(tag)) {
        memcpy(&word, buf + at + i, sizeof(word));
        if (word != tag) {
            fail("zone %u: half a sector was read", z->index);
        }
    }
    return tag;
}

static uint64_t *tag_at(const Zone *z, uint64_t offset)
{
    return &z->tags[(offset - z->start) / SECTOR];
}

/* A tag that no other write has */
static uint64_t new_tag(const Zone *z)
{
    static unsigned nr_tags;

    return (uint64_t)(z->index + 1) << 48 | qatomic_inc_fetch(&nr_tags);
}

/* Learns from the device, which has the zone as @desc, what it holds. */
static int coroutine_fn learn(Zone *z, const BlockZoneDescriptor *desc)
{
    g_autofree uint8_t *buf = g_malloc(z->limit - z->start);
    int ret = blk_co_pread(blk, z->start, z->limit - z->start, buf, 0);

    if (ret < 0) {
        return ret;
    }
    z->life++;
    z->full = desc->state == BLK_ZS_FULL;
    z->end = z->full ? z->start : desc->wp;
    for (uint64_t p = z->start; p < z->cap_limit; p += SECTOR) {
        uint64_t tag = read_tag(z, buf, p - z->start);

        if (tag && tag >> 48 != z->index + 1) {
            fail("zone %u has data of none of its writes at byte %" PRIu64,
                 z->index, p - z->start);
        }
        *tag_at(z, p) = tag;
        if (z->full && tag) {
            z->end = p + SECTOR;
        } else if (tag && p >= z->end) {
            fail("zone %u has data behind its write pointer", z->index);
        }
    }
    return 0;
}

static void compare(Zone *z, const BlockZoneDescriptor *desc)
{
    bool full = z->full || z->end == z->cap_limit;
    uint64_t wp = full ? z->limit : z->end;

    if (desc->wp != wp || (desc->state == BLK_ZS_FULL) != full) {
        fail("zone %u has condition 0x%x and write pointer %" PRIu64 ", not %"
             PRIu64 "%s", z->index, desc->state, desc->wp - z->start,
             wp - z->start, full ? ", full" : "");
    }
    if (z->end == z->start && !full && !z->maybe_open &&
        desc->state != BLK_ZS_EMPTY) {
        fail("zone %u has condition 0x%x, but nothing was written to it",
             z->index, desc->state);
    }
    if ((z->end > z->start || full) && desc->state == BLK_ZS_EMPTY) {
        fail("zone %u is EMPTY, but was written", z->index);
    }
}

/* Nothing is in flight in @z: all that is known is what the device says. */
static void settle(Zone *z, const BlockZoneDescriptor *desc)
{
    bool open = desc->state == BLK_ZS_EOPEN;
    bool active = open || desc->state == BLK_ZS_IOPEN ||
                  desc->state == BLK_ZS_CLOSED;

    z->next = z->end;
    z->maybe_open = active && z->end == z->start;
    z->failed = z->refused = z->unsure = z->is_closing = false;
    z->misplaced = 0;
    if (active) {
        use(&active_zones, &z->uses_active);
    } else {
        release(&active_zones, &z->uses_active);
    }
    if (open) {
        use(&open_zones, &z->uses_open);
    } else {
        release(&open_zones, &z->uses_open);
    }
}

/* Compares @z, in which nothing is in flight, and goes on with what it is. */
static void coroutine_fn check_zone(Worker *w, Zone *z)
{
    unsigned since = tick();
    BlockZoneDescriptor desc;
    unsigned n = 1;
    int ret;

    if (z->misplaced && !z->refused) {
        fail("zone %u: a write at %" PRIu64 ", in order, has failed with "
             "EINVAL; acknowledged until %" PRIu64 ", sent until %" PRIu64,
             z->index, z->misplaced - z->start, z->end - z->start,
             z->next - z->start);
    }
    z->held = true;
    begin(w, "report", z->start, 0);
    ret = blk_co_zone_report(blk, z->start, &n, &desc);
    if (ret < 0 || n != 1) {
        fail("report of zone %u: %d, %u zones", z->index, ret, n);
    }
    if (disturbed(&all_ops, z->checked)) {
        z->unsure = true;
    }
    if (z->unsure) {
        ret = learn(z, &desc);
        if (ret < 0 && !fault_since(since)) {
            fail("zone %u cannot be read: %d", z->index, ret);
        }
    } else {
        compare(z, &desc);
    }
    if (ret == 0 && !disturbed(&all_ops, since)) {
        settle(z, &desc);
        z->checked = since;
    } else {
        z->unsure = true;
    }
    end(w);
    z->held = false;
}

/*
 * Writes.
 */

typedef struct Op {
    Zone *z;
    unsigned begin;
    bool append;
    bool late;                  /* a reset or finish is in front of it */
    uint64_t offset;
    uint64_t bytes;
    uint64_t tag;
} Op;

static unsigned op_begin(Zone *z)
{
    unsigned now = tick();

    if (z->in_flight++ == 0) {
        z->busy_since = now;
    }
    return now;
}

static bool in_other_order(const Zone *z)
{
    return disturbed(&drains, z->busy_since);
}

static bool by_all_op(const Zone *z)
{
    return disturbed(&all_ops, z->checked);
}

static void write_done(const Op *op)
{
    Zone *z = op->z;

    if (op->late) {
        if (!in_other_order(z) && !fault_since(z->busy_since)) {
            fail("zone %u: a write behind a %s has succeeded", z->index,
                 z->closing == BLK_ZO_RESET ? "reset" : "finish");
        }
        z->unsure = z->failed = true;
        return;
    }
    if (z->unsure || (z->is_closing && in_other_order(z))) {
        z->unsure = z->failed = true;
        return;
    }
    if (op->offset != z->end) {
        fail("zone %u: a%s was acknowledged at %" PRIu64 ", and what was "
             "acknowledged before ends at %" PRIu64, z->index,
             op->append ? "n append" : " write", op->offset - z->start,
             z->end - z->start);
    }
    for (uint64_t p = op->offset; p < op->offset + op->bytes; p += SECTOR) {
        *tag_at(z, p) = op->tag;
    }
    z->end = op->offset + op->bytes;
    if (z->end == z->cap_limit) {
        release(&active_zones, &z->uses_active);
        release(&open_zones, &z->uses_open);
    }
}

/* May @op, which was not done, have the result @ret? */
static bool write_may_fail(const Op *op, int ret)
{
    Zone *z = op->z;

    switch (ret) {
    case -EINVAL:
        /*
         * Two writes were in the other order; or another one has failed, and
         * this one was not sent before that.  Or one in front of it was refused
         * for lack of resources, which may be told later.
         */
        if (by_all_op(z) || (op->late && z->closing == BLK_ZO_RESET)) {
            return true;
        }
        if (!op->append && !in_other_order(z) &&
            !fault_between(z->busy_since, op->begin)) {
            z->misplaced = op->offset;
        }
        return !op->append;
    case -EPERM:
        return (z->is_closing && z->closing == BLK_ZO_FINISH &&
                (op->late || in_other_order(z))) || by_all_op(z);
    case -ERANGE:
        return by_all_op(z);
    case -EOVERFLOW:
        return maybe_full(&active_zones, z->busy_since, 1) || by_all_op(z);
    case -ETOOMANYREFS:
        return maybe_full(&open_zones, z->busy_since, 0) ||
               (open_zones.limit && qatomic_read(&all_ops.last_end));
    case -EIO:
    case -ENOSPC:
        return fault_since(z->busy_since);
    default:
        return false;
    }
}

static void op_end(const Op *op, int ret)
{
    Zone *z = op->z;

    if (by_all_op(z)) {
        z->unsure = z->failed = true;
    }
    if (ret == 0) {
        write_done(op);
    } else {
        if (!write_may_fail(op, ret)) {
            fail("zone %u: a%s of %" PRIu64 " at %" PRIu64 "%s has failed with "
                 "%d; acknowledged until %" PRIu64 ", sent until %" PRIu64
                 ", %u in flight%s%s", z->index,
                 op->append ? "n append" : " write", op->bytes,
                 op->offset - z->start, op->late ? " behind a reset or finish"
                 : "", ret, z->end - z->start, z->next - z->start, z->in_flight,
                 in_other_order(z) ? ", drained" : "",
                 fault_since(z->busy_since) ? ", something has failed" : "");
        }
        z->failed = true;
        z->refused |= ret == -EOVERFLOW || ret == -ETOOMANYREFS;
    }
    z->in_flight--;
}

static int coroutine_fn send_write(Worker *w, Op *op, BdrvRequestFlags flags)
{
    g_autofree uint64_t *buf = g_malloc(op->bytes);
    QEMUIOVector qiov = QEMU_IOVEC_INIT_BUF(qiov, buf, op->bytes);
    int64_t offset = op->z->start;
    int ret;

    for (uint64_t i = 0; i < op->bytes / sizeof(*buf); i++) {
        buf[i] = op->tag;
    }
    if (op->append) {
        begin(w, "append", op->offset, op->bytes);
        ret = blk_co_zone_append(blk, &offset, &qiov, flags);
        op->offset = ret == 0 ? offset : op->offset;
    } else if (op->tag == 0) {
        begin(w, "write zeroes", op->offset, op->bytes);
        ret = blk_co_pwrite_zeroes(blk, op->offset, op->bytes, flags);
    } else {
        begin(w, "write", op->offset, op->bytes);
        ret = blk_co_pwritev(blk, op->offset, op->bytes, &qiov, flags);
    }
    end(w);
    return ret;
}

/* @z, which is not full, can take a write. */
static void coroutine_fn write_zone(Worker *w, Zone *z)
{
    uint64_t room = z->cap_limit - z->next;
    uint64_t bytes = (1 + below(MAX_WRITE / SECTOR)) * SECTOR;
    Op op = {
        .z = z,
        .late = z->is_closing,
        .offset = z->next,
    };
    int ret;

    if (z->in_flight == 0) {
        z->appends = percent(50);
    }
    op.append = z->appends;
    if (op.append) {
        bytes = MIN(bytes, max_append_sectors * SECTOR);
    }
    op.bytes = MIN(bytes, room);
    op.tag = !op.append && percent(10) ? 0 : new_tag(z);
    if (!op.late) {
        z->next += op.bytes;
    }
    op.begin = op_begin(z);
    use(&active_zones, &z->uses_active);
    ret = send_write(w, &op, percent(10) ? BDRV_REQ_FUA : 0);
    op_end(&op, ret);
}

/*
 * Zone operations on one zone.
 */

static const char *const op_names[] = {
    [BLK_ZO_OPEN] = "open",
    [BLK_ZO_CLOSE] = "close",
    [BLK_ZO_FINISH] = "finish",
    [BLK_ZO_RESET] = "reset",
};

/* May @zone_op on @z, which @was_full when it came, have the result @ret? */
static bool mgmt_may_return(const Zone *z, BlockZoneOp zone_op, bool was_full,
                            int ret)
{
    bool full = z->full || z->end == z->cap_limit;
    bool maybe_full_then = full || z->next == z->cap_limit || z->is_closing;
    bool empty = z->end == z->start && !full;

    switch (ret) {
    case 0:
        return zone_op == BLK_ZO_RESET || zone_op == BLK_ZO_FINISH ||
               (!was_full && (zone_op == BLK_ZO_OPEN || !empty ||
                              z->maybe_open || z->next > z->start));
    case -EPERM:
        return (zone_op == BLK_ZO_OPEN && maybe_full_then) ||
               (zone_op == BLK_ZO_CLOSE && (maybe_full_then || empty));
    case -EOVERFLOW:
        return zone_op == BLK_ZO_OPEN && empty &&
               maybe_full(&active_zones, z->busy_since, 1);
    case -ETOOMANYREFS:
        return zone_op == BLK_ZO_OPEN &&
               (maybe_full(&open_zones, z->busy_since, 1) ||
                (open_zones.limit && qatomic_read(&all_ops.last_end)));
    case -EIO:
    case -ENOSPC:
        return fault_since(z->busy_since);
    default:
        return false;
    }
}

static void empty_zone(Zone *z)
{
    memset(z->tags, 0, (z->cap_limit - z->start) / SECTOR * sizeof(*z->tags));
    z->end = z->next = z->start;
    z->full = z->maybe_open = false;
    z->life++;
}

/* @zone_op on @z has succeeded, and all that came before it is done. */
static void mgmt_done(Zone *z, BlockZoneOp zone_op)
{
    switch (zone_op) {
    case BLK_ZO_RESET:
        empty_zone(z);
        break;
    case BLK_ZO_FINISH:
        z->full = true;
        break;
    default:
        return;
    }
    release(&active_zones, &z->uses_active);
    release(&open_zones, &z->uses_open);
}

static void coroutine_fn mgmt_zone(Worker *w, Zone *z, BlockZoneOp zone_op)
{
    bool closing = zone_op == BLK_ZO_RESET || zone_op == BLK_ZO_FINISH;
    bool alone = z->in_flight == 0;
    bool was_full = z->full || z->end == z->cap_limit;
    int ret;

    op_begin(z);
    if (alone) {
        z->held = true;
    } else if (closing) {
        z->is_closing = true;
        z->closing = zone_op;
    }
    z->resetting += zone_op == BLK_ZO_RESET;
    if (zone_op == BLK_ZO_OPEN) {
        use(&active_zones, &z->uses_active);
        use(&open_zones, &z->uses_open);
    }

    begin(w, op_names[zone_op], z->start, z->limit - z->start);
    ret = blk_co_zone_mgmt(blk, zone_op, z->start, z->limit - z->start);
    end(w);

    if (by_all_op(z)) {
        z->unsure = z->failed = true;
    } else if (!mgmt_may_return(z, zone_op, was_full, ret) &&
               !(!alone && (in_other_order(z) || z->failed))) {
        fail("%s of zone %u, %s: %d; acknowledged until %" PRIu64 " of %" PRIu64
             "%s%s", op_names[zone_op], z->index,
             alone ? "alone" : "with writes in flight", ret, z->end - z->start,
             z->cap_limit - z->start, z->full ? ", full" : "",
             z->maybe_open ? ", maybe open" : "");
    }
    z->maybe_open |= zone_op == BLK_ZO_OPEN;
    if (closing) {
        z->failed = true;
        if (ret < 0 || (!alone && in_other_order(z)) ||
            (!alone && fault_since(z->busy_since))) {
            z->unsure = true;
        }
        if (ret == 0 && !z->unsure) {
            mgmt_done(z, zone_op);
        }
    } else if (ret < 0) {
        z->failed = true;
    }
    if (zone_op == BLK_ZO_RESET) {
        z->life++;
        z->resetting--;
    }
    z->in_flight--;
    z->held &= !alone;
}

/*
 * Reads and flushes.
 */

static void coroutine_fn read_zone(Worker *w, Zone *z)
{
    uint64_t offset = z->start +
                      below((z->limit - z->start) / SECTOR) * SECTOR;
    uint64_t bytes = MIN((1 + below(2 * MAX_WRITE / SECTOR)) * SECTOR,
                         z->limit - offset);
    g_autofree uint8_t *buf = g_malloc(bytes);
    bool certain = !z->resetting && !z->unsure;
    uint64_t durable_end = z->end;
    unsigned life = z->life;
    unsigned since = tick();
    int ret;

    begin(w, "read", offset, bytes);
    ret = blk_co_pread(blk, offset, bytes, buf, 0);
    end(w);
    if (ret == -EIO && fault_since(since)) {
        return;
    }
    if (ret < 0) {
        fail("a read of zone %u has failed with %d", z->index, ret);
    }

    /* Whoever was acknowledged by now is to say so. */
    take_turns();
    take_turns();
    if (!certain || z->resetting || z->unsure || z->life != life ||
        by_all_op(z)) {
        return;
    }
    for (uint64_t p = offset; p < offset + bytes; p += SECTOR) {
        uint64_t tag = read_tag(z, buf, p - offset);
        uint64_t known = p < z->end ? *tag_at(z, p) : 0;

        if (tag != known && (tag || p < durable_end)) {
            fail("zone %u reads 0x%" PRIx64 " at %" PRIu64 ", not 0x%" PRIx64
                 "; acknowledged until %" PRIu64 ", then until %" PRIu64
                 ", sent until %" PRIu64, z->index, tag, p - z->start, known,
                 durable_end - z->start, z->end - z->start,
                 z->next - z->start);
        }
    }
}

static void coroutine_fn flush_device(Worker *w)
{
    unsigned since = tick();
    int ret;

    begin(w, "flush", 0, 0);
    ret = blk_co_flush(blk);
    end(w);
    if (ret < 0 && !((ret == -EIO || ret == -ENOSPC) && fault_since(since))) {
        fail("a flush has failed with %d", ret);
    }
}

/*
 * The threads.
 */

/* A zone that can be used; one that has failed is compared first, or NULL */
static Zone *coroutine_fn choose_zone(Worker *w)
{
    Thread *t = w->thread;
    Zone *z = t->zones[below(percent(70) ? MIN(2, t->nr_zones) : t->nr_zones)];

    if (z->held) {
        return NULL;
    }
    if (z->failed || z->unsure || by_all_op(z)) {
        if (z->in_flight == 0 && !qatomic_read(&all_ops.active)) {
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
        flush_device(w);
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

static AioContext *main_ctx;

static void poll_main(void)
{
    while (aio_poll(main_ctx, false)) {
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

    begin(&all_worker, op_names[all_op.zone_op], 0, device_size);
    ret = blk_co_zone_mgmt(blk, all_op.zone_op, 0, device_size);
    end(&all_worker);
    if (!(ret == 0 ||
          ((ret == -EIO || ret == -ENOSPC) && fault_since(since)) ||
          (ret == -ETOOMANYREFS && all_op.zone_op == BLK_ZO_OPEN &&
           open_zones.limit))) {
        fail("%s of all zones: %d", op_names[all_op.zone_op], ret);
    }
    calm_down(&all_ops);
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
    disturb(&all_ops);
    qemu_coroutine_enter(qemu_coroutine_create(all_op_entry, NULL));
}

static void check_drained(void)
{
    if (qatomic_read(&file_in_flight)) {
        fail("%u requests are in flight while the device is drained",
             qatomic_read(&file_in_flight));
    }
}

static void drain(void)
{
    BlockDriverState *bs = blk_bs(blk);

    disturb(&drains);
    switch (below(3)) {
    case 0:
        begin(&main_worker, "drain all", 0, 0);
        bdrv_drain_all_begin();
        check_drained();
        poll_for(below(1000));
        check_drained();
        bdrv_drain_all_end();
        break;
    case 1:
        begin(&main_worker, "drain the device", 0, 0);
        bdrv_drained_begin(bs);
        check_drained();
        poll_for(below(1000));
        check_drained();
        bdrv_drained_end(bs);
        break;
    default:
        begin(&main_worker, "drain the backend", 0, 0);
        blk_drain(blk);
    }
    end(&main_worker);
    calm_down(&drains);
}

/* As blockdev-add and blockdev-del, of a node that is none of ours */
static void change_graph(void)
{
    QDict *options = qdict_new();
    BlockDriverState *bs;

    disturb(&drains);
    begin(&main_worker, "add a node", 0, 0);
    qdict_put_str(options, "driver", "raw");
    qdict_put_str(options, "file.driver", "null-co");
    bs = bdrv_open(NULL, NULL, options, BDRV_O_RDWR, &error_abort);
    poll_for(below(300));
    bdrv_unref(bs);
    end(&main_worker);
    calm_down(&drains);
}

static void insert_filter(BlockDriverState **filter)
{
    disturb(&drains);
    begin(&main_worker, *filter ? "remove the filter" : "insert a filter", 0,
          0);
    if (*filter) {
        bdrv_drop_filter(*filter, &error_abort);
        bdrv_unref(*filter);
        *filter = NULL;
    } else {
        *filter = bdrv_new_open_driver(&bdrv_filter, NULL, BDRV_O_RDWR,
                                       &error_abort);
        bdrv_append(*filter, file_bs, &error_abort);
    }
    end(&main_worker);
    calm_down(&drains);
}

static void run_all(CoroutineEntry *entry)
{
    nr_checkers = 1;
    qemu_coroutine_enter(qemu_coroutine_create(entry, NULL));
    while (nr_checkers) {
        aio_poll(main_ctx, true);
    }
}

/* Lets all threads do what they like for a while. */
static void run_round(void)
{
    int64_t limit = g_get_monotonic_time() + 100000 + below(500000);
    BlockDriverState *filter = NULL;
    bool faults = percent(60);

    stopping = false;
    nr_running = NR_THREADS * NR_WORKERS;
    qatomic_set(&rests, percent(50) ? 60 : below(60));
    qatomic_set(&write_faults, faults && percent(70) ? 1 + below(300) : 0);
    qatomic_set(&other_faults, faults && percent(50) ? 1 + below(500) : 0);
    qatomic_set(&read_faults, faults && percent(30) ? 1 + below(100) : 0);
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
    begin(&main_worker, "wait for the threads", 0, 0);
    while (qatomic_read(&nr_running) > 0 || all_op.running) {
        poll_for(1000);
    }
    end(&main_worker);
    if (filter) {
        insert_filter(&filter);
    }
    qatomic_set(&write_faults, 0);
    qatomic_set(&other_faults, 0);
    qatomic_set(&read_faults, 0);
}

/*
 * All others rest: exact results.
 */

static BlockZoneDescriptor descs[MAX_ZONES];
static unsigned nr_with[16];

static void coroutine_fn report_all(void)
{
    unsigned n = nr_zones;
    int ret = blk_co_zone_report(blk, 0, &n, descs);

    if (ret < 0 || n != nr_zones) {
        fail("report: %d, %u zones", ret, n);
    }
    memset(nr_with, 0, sizeof(nr_with));
    for (uint32_t i = 0; i < nr_zones; i++) {
        nr_with[descs[i].state]++;
    }
}

static unsigned nr_open(void)
{
    return nr_with[BLK_ZS_IOPEN] + nr_with[BLK_ZS_EOPEN];
}

static unsigned nr_active(void)
{
    return nr_open() + nr_with[BLK_ZS_CLOSED];
}

static void coroutine_fn check_counts(void)
{
    g_autoptr(ImageInfoSpecific) info = NULL;
    ImageInfoSpecificZoned *zoned;

    report_all();
    WITH_GRAPH_RDLOCK_GUARD() {
        info = bdrv_get_specific_info(blk_bs(blk), &error_abort);
    }
    zoned = info->u.zoned.data;
    if (zoned->open_zones != nr_open() ||
        zoned->empty_zones != nr_with[BLK_ZS_EMPTY] ||
        zoned->closed_zones != nr_with[BLK_ZS_CLOSED] ||
        zoned->full_zones != nr_with[BLK_ZS_FULL]) {
        fail("%u zones are said to be open, %u empty, %u closed, %u full; but "
             "%u, %u, %u, %u are", (unsigned)zoned->open_zones,
             (unsigned)zoned->empty_zones, (unsigned)zoned->closed_zones,
             (unsigned)zoned->full_zones, nr_open(), nr_with[BLK_ZS_EMPTY],
             nr_with[BLK_ZS_CLOSED], nr_with[BLK_ZS_FULL]);
    }
    if ((open_zones.limit && nr_open() > open_zones.limit) ||
        (active_zones.limit && nr_active() > active_zones.limit)) {
        fail("%u zones are open and %u active, the limits are %u and %u",
             nr_open(), nr_active(), open_zones.limit, active_zones.limit);
    }
}

static void expect(const char *what, const Zone *z, int ret, int expected)
{
    if (ret != expected) {
        fail("%s, zone %u at %" PRIu64 " of %" PRIu64 ": %d, not %d; %u zones "
             "are open and %u active, the limits are %u and %u", what, z->index,
             z->end - z->start, z->cap_limit - z->start, ret, expected,
             nr_open(), nr_active(), open_zones.limit, active_zones.limit);
    }
}

static int coroutine_fn try_write(Zone *z, uint64_t offset, uint64_t bytes)
{
    Op op = { .z = z, .offset = offset, .bytes = bytes, .tag = new_tag(z) };
    int ret;

    op_begin(z);
    ret = send_write(&main_worker, &op, 0);
    z->in_flight--;
    if (ret == 0) {
        write_done(&op);
    }
    return ret;
}

static int coroutine_fn try_append(Zone *z, int64_t offset, uint64_t bytes)
{
    g_autofree uint8_t *buf = g_malloc0(bytes);
    QEMUIOVector qiov = QEMU_IOVEC_INIT_BUF(qiov, buf, bytes);

    return blk_co_zone_append(blk, &offset, &qiov, 0);
}

/* The errors of writes, and those of a lack of resources */
static void coroutine_fn check_errnos(Zone *z)
{
    const BlockZoneDescriptor *desc = &descs[z->index];
    bool needs_active = desc->state == BLK_ZS_EMPTY;
    bool needs_open = needs_active || desc->state == BLK_ZS_CLOSED;
    int expected = 0;

    expect("an append that is too long", z,
           try_append(z, z->start, (max_append_sectors + 1) * SECTOR), -ERANGE);
    expect("an append not to the start of the zone", z,
           try_append(z, z->start + SECTOR, SECTOR), -ERANGE);
    if (desc->state == BLK_ZS_FULL) {
        expect("a write to a FULL zone", z, try_write(z, z->start, SECTOR),
               -EPERM);
        return;
    }
    if (z->cap_limit < device_size) {
        expect("a write across the capacity", z,
               try_write(z, z->end, z->cap_limit - z->end + SECTOR), -ERANGE);
    }
    if (z->end + 2 * SECTOR <= z->cap_limit) {
        expect("a write behind the write pointer", z,
               try_write(z, z->end + SECTOR, SECTOR), -EINVAL);
    }
    if (needs_active && active_zones.limit &&
        nr_active() == active_zones.limit) {
        expected = -EOVERFLOW;
    } else if (needs_open && open_zones.limit &&
               nr_with[BLK_ZS_EOPEN] == open_zones.limit) {
        expected = -ETOOMANYREFS;
    }
    expect("a write", z, try_write(z, z->end, SECTOR), expected);
    report_all();
    settle(z, desc);
}

/* Open and close of all zones: all or none */
static void coroutine_fn check_all_ops(void)
{
    unsigned nr = nr_with[BLK_ZS_CLOSED] + nr_with[BLK_ZS_EOPEN];
    bool refused = open_zones.limit && nr > open_zones.limit;
    g_autofree BlockZoneDescriptor *before = g_memdup2(descs, sizeof(descs));
    int ret = blk_co_zone_mgmt(blk, BLK_ZO_OPEN, 0, device_size);

    if (ret != (refused ? -ETOOMANYREFS : 0)) {
        fail("open of all zones: %d, where %u are closed or explicitly open, "
             "the limit is %u", ret, nr, open_zones.limit);
    }
    report_all();
    for (uint32_t i = 0; i < nr_zones; i++) {
        BlockZoneState expected = before[i].state;

        if (!refused && expected == BLK_ZS_CLOSED) {
            expected = BLK_ZS_EOPEN;
        }
        /* One that is implicitly open may have made room. */
        if (descs[i].state != expected &&
            !(!refused && expected == BLK_ZS_IOPEN &&
              descs[i].state == BLK_ZS_CLOSED)) {
            fail("zone %u has condition 0x%x after an open of all zones that "
                 "%s, and had 0x%x", i, descs[i].state,
                 refused ? "was refused" : "succeeded", before[i].state);
        }
    }
    ret = blk_co_zone_mgmt(blk, BLK_ZO_CLOSE, 0, device_size);
    report_all();
    if (ret < 0 || nr_open() > 0) {
        fail("close of all zones: %d, %u are open", ret, nr_open());
    }
}

static void coroutine_fn check_data(Zone *z)
{
    uint64_t bytes = z->limit - z->start;
    g_autofree uint8_t *buf = g_malloc(bytes);
    int ret = blk_co_pread(blk, z->start, bytes, buf, 0);

    if (ret < 0) {
        fail("zone %u cannot be read: %d", z->index, ret);
    }
    for (uint64_t p = z->start; p < z->limit; p += SECTOR) {
        uint64_t tag = read_tag(z, buf, p - z->start);

        if (tag != (p < z->end ? *tag_at(z, p) : 0)) {
            fail("zone %u holds something else at %" PRIu64
                 "; acknowledged until %" PRIu64, z->index, p - z->start,
                 z->end - z->start);
        }
    }
}

/* All that was acknowledged is there. */
static void coroutine_fn check_entry(void *opaque)
{
    int ret = blk_co_flush(blk);

    if (ret < 0) {
        fail("a flush without a fault: %d", ret);
    }
    for (uint32_t i = 0; i < nr_zones; i++) {
        if (zones[i].in_flight) {
            fail("zone %u: %u in flight at the end", i, zones[i].in_flight);
        }
        check_zone(&main_worker, &zones[i]);
        check_data(&zones[i]);
    }
    check_counts();
    for (uint32_t i = 0; i < nr_zones; i++) {
        if (percent(30)) {
            check_errnos(&zones[i]);
        }
    }
    check_counts();
    if (percent(50)) {
        check_all_ops();
    }
    for (uint32_t i = 0; i < nr_zones; i++) {
        check_zone(&main_worker, &zones[i]);
    }
    nr_checkers = 0;
}

/* The device was opened again: zones that were open are closed. */
static void coroutine_fn reopened_entry(void *opaque)
{
    g_autofree BlockZoneDescriptor *before = g_memdup2(descs, sizeof(descs));

    check_counts();
    for (uint32_t i = 0; i < nr_zones; i++) {
        BlockZoneState state = before[i].state;

        if (state == BLK_ZS_IOPEN || state == BLK_ZS_EOPEN ||
            state == BLK_ZS_CLOSED) {
            state = before[i].wp == before[i].start ? BLK_ZS_EMPTY
                                                    : BLK_ZS_CLOSED;
        }
        if (descs[i].state != state || descs[i].wp != before[i].wp) {
            fail("zone %u had condition 0x%x and write pointer %" PRIu64
                 "; opened again, it has 0x%x and %" PRIu64, i, before[i].state,
                 before[i].wp, descs[i].state, descs[i].wp);
        }
        settle(&zones[i], &descs[i]);
        check_data(&zones[i]);
    }
    nr_checkers = 0;
}

static void coroutine_fn flush_entry(void *opaque)
{
    int ret = blk_co_flush(blk);

    if (ret < 0) {
        fail("the last flush: %d", ret);
    }
    report_all();
    nr_checkers = 0;
}

/*
 * Devices.
 */

static BlockDriverState *open_zoned(int flags)
{
    QDict *options = qdict_new();

    file_bs = bdrv_new_open_driver(&bdrv_shaky, NULL,
                                   BDRV_O_RDWR | BDRV_O_UNMAP, &error_abort);
    qdict_put_str(options, "driver", "zoned");
    qdict_put_str(options, "file", bdrv_get_node_name(file_bs));
    return bdrv_open(NULL, NULL, options, BDRV_O_RDWR | BDRV_O_UNMAP | flags,
                     &error_abort);
}

static void open_device(void)
{
    BlockDriverState *bs = open_zoned(0);

    blk = blk_new(main_ctx, BLK_PERM_ALL, BLK_PERM_ALL);
    blk_insert_bs(blk, bs, &error_abort);
    bdrv_unref(bs);
}

static void close_device(void)
{
    begin(&main_worker, "close", 0, 0);
    blk_unref(blk);
    bdrv_unref(file_bs);
    end(&main_worker);
}

/* What qemu-img check would say */
static void check_image(void)
{
    BlockDriverState *bs = open_zoned(BDRV_O_CHECK);
    BdrvCheckResult result = {};
    int ret;

    begin(&main_worker, "check", 0, 0);
    ret = bdrv_check(bs, &result, 0);
    end(&main_worker);
    if (ret < 0 || result.corruptions || result.leaks || result.check_errors) {
        fail("check: %d, %d corruptions, %d leaks, %d errors", ret,
             result.corruptions, result.leaks, result.check_errors);
    }
    bdrv_unref(bs);
    bdrv_unref(file_bs);
}

typedef struct CreateCo {
    BlockdevCreateOptions *opts;
    int ret;
} CreateCo;

static void coroutine_fn create_entry(void *opaque)
{
    CreateCo *co = opaque;

    co->ret = bdrv_find_format("zoned")->bdrv_co_create(co->opts, &error_abort);
}

static void create_image(uint64_t capacity)
{
    BlockDriverState *bs = bdrv_new_open_driver(&bdrv_shaky, NULL, BDRV_O_RDWR,
                                                &error_abort);
    BlockdevRef file = {
        .type = QTYPE_QSTRING,
        .u.reference = (char *)bdrv_get_node_name(bs),
    };
    BlockdevCreateOptions opts = {
        .driver = BLOCKDEV_DRIVER_ZONED,
        .u.zoned = {
            .file = &file,
            .size = device_size,
            .has_zone_size = true,
            .zone_size = zone_size,
            .has_zone_capacity = true,
            .zone_capacity = capacity,
            .has_max_open_zones = true,
            .max_open_zones = open_zones.limit,
            .has_max_active_zones = true,
            .max_active_zones = active_zones.limit,
            .has_max_append_sectors = true,
            .max_append_sectors = max_append_sectors,
        },
    };
    CreateCo co = { .opts = &opts, .ret = -EINPROGRESS };

    qemu_coroutine_enter(qemu_coroutine_create(create_entry, &co));
    while (co.ret == -EINPROGRESS) {
        aio_poll(main_ctx, true);
    }
    g_assert(co.ret == 0);
    bdrv_unref(bs);
    data_offset = memory_size - device_size;
}

static void new_device(void)
{
    uint64_t capacity;

    nr_zones = NR_THREADS * (2 + below(6));
    zone_size = (2 + below(15)) * 8 * KiB;
    capacity = percent(50) ? zone_size : (1 + below(zone_size / KiB / 4)) *
                                         4 * KiB;
    device_size = nr_zones * zone_size;
    max_append_sectors = 1 + below(32);
    active_zones.limit = percent(40) ? 0 : 1 + below(nr_zones);
    open_zones.limit = percent(40) ? 0
        : 1 + below(active_zones.limit ?: nr_zones);
    active_zones.nr = open_zones.nr = 0;
    active_zones.last_full = open_zones.last_full = 0;
    all_ops.last_end = 0;
    memory_size = 0;

    for (int t = 0; t < NR_THREADS; t++) {
        threads[t].nr_zones = 0;
    }
    for (uint32_t i = 0; i < nr_zones; i++) {
        Thread *t = &threads[i % NR_THREADS];

        zones[i] = (Zone) {
            .index = i,
            .start = i * zone_size,
            .cap_limit = i * zone_size + capacity,
            .limit = (i + 1) * zone_size,
            .end = i * zone_size,
            .next = i * zone_size,
            .tags = g_new0(uint64_t, capacity / SECTOR),
        };
        t->zones[t->nr_zones++] = &zones[i];
    }
    create_image(capacity);
}

static void forget_device(void)
{
    for (uint32_t i = 0; i < nr_zones; i++) {
        g_free(zones[i].tags);
    }
    g_clear_pointer(&memory, g_free);
}

static void test_device(unsigned rounds)
{
    new_device();
    open_device();
    while (rounds-- > 0) {
        run_round();
        begin(&main_worker, "compare", 0, 0);
        run_all(check_entry);
        end(&main_worker);
        if (percent(50)) {
            run_all(flush_entry);
            close_device();
            check_image();
            open_device();
            run_all(reopened_entry);
        }
    }
    close_device();
    check_image();
    forget_device();
}

static void test_stress(void)
{
    uint64_t seconds = random_env("ZONED_TEST_SECONDS", 5);
    int64_t limit = g_get_monotonic_time() + seconds * G_USEC_PER_SEC;
    unsigned nr_devices = 0;
    QemuThread watchdog;

    seed = random_start().seed;
    main_ctx = qemu_get_aio_context();
    qemu_mutex_init(&fault_lock);
    qemu_mutex_init(&active_zones.lock);
    qemu_mutex_init(&open_zones.lock);
    for (int t = 0; t < NR_THREADS; t++) {
        threads[t].iothread = iothread_new();
        threads[t].ctx = iothread_get_aio_context(threads[t].iothread);
        for (int i = 0; i < NR_WORKERS; i++) {
            threads[t].workers[i] = (Worker) {
                .thread = &threads[t], .number = i,
            };
        }
    }
    qemu_thread_create(&watchdog, "watchdog", watch, NULL,
                       QEMU_THREAD_DETACHED);

    do {
        test_device(1 + below(4));
        nr_devices++;
    } while (g_get_monotonic_time() < limit);

    for (int t = 0; t < NR_THREADS; t++) {
        iothread_join(threads[t].iothread);
    }
    g_test_message("%u devices, %u events, %u faults", nr_devices, time_now,
                   nr_faults);
}

int main(int argc, char **argv)
{
    bdrv_init();
    qemu_init_main_loop(&error_abort);
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/zoned/stress", test_stress);
    return g_test_run();
}

/*
 * Test what a power cut leaves of an image of the zoned format
 *
 * A random history runs on the driver: writes, appends, zone operations and
 * flushes, many at a time.  Below the driver lies a recorder, which keeps the
 * file in memory and completes requests in a random order.  It records each
 * request twice, when it is submitted and when it is done: that is what
 * decides whether a flush covers a write.  (blklogwrites has the order of
 * completions only.  A write that completes while a flush runs is in its log
 * in front of the flush, as if it were covered; so the log would hide what it
 * is to find.)
 *
 * Then the power is cut, at one point of the history after the other.  What
 * was done before a flush was submitted that is done is durable.  Of all else
 * that was submitted, each sector may have reached the file or not.  So for
 * each sector that is unsettled there are some contents to choose from; all
 * choices together are tried if they are few, a random sample if they are
 * many.  Each of these images goes to the judge (zoned-judge.h).
 *
 * One of the images is then opened, and the next history begins with it.
 *
 * In some histories there are several processes, one after the other.  One dies
 * in the middle of what it does, or ends; the next one opens the image again
 * and goes on with what is in the file's cache: all that was submitted, less
 * what was still on its way when a process died.  Only what a flush has covered
 * is on the disk, whoever has sent it; and when a flush fails, the cache may
 * forget that something was to be written, so that no later flush does it.
 *
 *   ZONED_TEST_SEED      repeats a failure: the seed that it printed
 *   ZONED_TEST_STEPS     images that each test judges
 *   ZONED_TEST_DUMP      a folder for some of the images
 *   ZONED_TEST_DUMPS     how many of each test
 *   ZONED_TEST_EVENTS    if set, a failure prints all events of the history
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/bitops.h"
#include "qemu/bswap.h"
#include "qemu/main-loop.h"
#include "qemu/units.h"
#include "qapi/error.h"
#include "qapi/qapi-types-block-core.h"
#include "qobject/qdict.h"
#include "block/block_int.h"
#include "system/block-backend.h"
#include "zoned-judge.h"
#include "zoned-random.h"

#define SECTOR JUDGE_SECTOR
#define HEADER_LENGTH 512
#define MILLION 1000000

/* Zones that a history works on */
#define MAX_HOT_ZONES 12

/* A request to the file */
typedef enum RequestType {
    REQUEST_WRITE,
    REQUEST_DISCARD,
    REQUEST_FLUSH,
    REQUEST__MAX,
} RequestType;

typedef struct Request {
    RequestType type;
    uint32_t first;             /* sector of the file */
    uint32_t nr;
    Content *contents;          /* of @nr sectors, once it is applied */
    int64_t submit;
    int64_t done;               /* JUDGE_NEVER: not yet */
    int64_t landed;             /* what is submitted later comes behind it */
    bool durable;               /* by a flush that is done */
    bool dropped;               /* by one that failed: later ones skip it */
    bool untold;                /* and @author does not know yet */
    Coroutine *author;          /* whose operation goes on, else NULL */
    int ret;
    Content *before;            /* what the cache had when it was submitted */
    unsigned long *lost;        /* sectors not in the cache: a bit each */

    /* In the image that is being made, these sectors are there: a bit each. */
    unsigned long *applied;
    bool pending;
} Request;

typedef enum EventType {
    EVENT_SUBMIT,
    EVENT_DONE,
    EVENT_BEGIN,
    EVENT_ACK,
    EVENT_DIE,
    EVENT_OPEN,
} EventType;

/* Something has happened; the time is the index of the event. */
typedef struct Event {
    EventType type;
    Request *request;           /* of EVENT_SUBMIT and EVENT_DONE */
    JudgeOp *op;                /* of EVENT_BEGIN and EVENT_ACK */
    Content *view;              /* of EVENT_OPEN: the cache that was found */
} Event;

/* A content that a sector may have. */
typedef struct Version {
    Content content;
    Request *request;           /* NULL: it was there in the beginning */
    bool found;                 /* in the cache when a process began */
} Version;

/* A sector that was written. */
typedef struct Position {
    uint32_t sector;
    GArray *versions;           /* Version, oldest first */
    GArray *choices;            /* Content, different ones of @versions */
    uint32_t chosen;            /* index in @choices */
} Position;

/* A coroutine that waits until it is chosen to go on. */
typedef struct Parked {
    Coroutine *co;
    unsigned weight;
} Parked;

/* What a test is about. */
typedef struct Profile {
    const char *name;
    void (*geometry)(ZonedRandom *random, JudgeGeometry *geo);
    bool faults;                /* requests to the file may fail */
    bool fragments;             /* the file takes small requests only */
    bool certain;               /* one operation at a time: nothing is open */
    bool processes;             /* more than one */
} Profile;

/* How a process becomes one that may write. */
typedef enum Entrance {
    ENTRANCE_OPEN,
    ENTRANCE_REOPEN,            /* the node was read-only */
    ENTRANCE_ACTIVATE,          /* the node was inactive, as in a migration */
    ENTRANCE_STANDBY,           /* ditto, and it was opened before the others */
    ENTRANCE__MAX,
} Entrance;

typedef struct Run {
    const Profile *profile;
    ZonedRandom random;
    JudgeGeometry geo;
    Judge *judge;

    /* The file, as the cache has it. */
    Content *file;
    uint32_t file_sectors;
    uint64_t nr_garbage;
    bool recording;             /* else requests leave no trace */
    bool parking;               /* else they complete at once */
    bool off;                   /* the process is dead: nothing is written */
    unsigned fault_percent;     /* of the requests fail */
    bool gives_up;              /* after a flush that failed, all others do */
    bool flush_failed;
    unsigned nr_untold;         /* requests: until it is 0, flushes fail */
    BlockBackend *blk;
    BlockDriverState *standby;  /* of the next process, or NULL */

    /* The history. */
    Content *start;             /* the file when it began */
    GArray *events;             /* Event */
    GPtrArray *requests;        /* Request */
    uint32_t hot[MAX_HOT_ZONES];
    uint32_t nr_hot;
    unsigned ops_left;
    unsigned steps_left;        /* then the process dies */
    unsigned nr_running;        /* workers */
    GArray *parked;             /* Parked */

    /* How it is made. */
    unsigned weight[REQUEST__MAX + 1];
    unsigned resets_below;      /* of 100 operations, after the rarer ones */
    unsigned flushes_below;
    unsigned fua_percent;

    /* The images. */
    Content *image;
    Position **positions;       /* of each sector of the file, or NULL */
    GPtrArray *unsettled;       /* Position, more than one version */
    uint64_t all_below;         /* try all choices if there are so many */
    unsigned samples;           /* else as many as this */
    Content *next;              /* an image to go on with */
    uint64_t nr_images;         /* judged, of this history */

    GString *failure;
} Run;

/* What all runs of a test have done, and how many images they are to judge. */
static uint64_t nr_judged;
static uint64_t nr_histories;
static uint64_t nr_wanted;

static const char *dump_folder;
static uint64_t dumps_wanted;

static unsigned below(Run *r, unsigned n)
{
    return random_below(&r->random, n);
}

static bool percent(Run *r, unsigned n)
{
    return below(r, 100) < n;
}

static void G_GNUC_PRINTF(2, 3) run_fail(Run *r, const char *format, ...)
{
    va_list ap;

    if (r->failure) {
        return;
    }
    r->failure = g_string_new("");
    va_start(ap, format);
    g_string_append_vprintf(r->failure, format, ap);
    va_end(ap);
}

static void describe_event(const Event *event, int64_t time, GString *text)
{
    static const char *const names[] = { "write", "discard", "flush" };
    const Request *q = event->request;

    switch (event->type) {
    case EVENT_SUBMIT:
    case EVENT_DONE:
        g_string_append_printf(text, "%6" PRId64 " %s %s sectors %u+%u", time,
                               event->type == EVENT_SUBMIT ? "submit" : "done",
                               names[q->type], q->first, q->nr);
        break;
    case EVENT_DIE:
    case EVENT_OPEN:
        g_string_append_printf(text, "%6" PRId64 " a process %s", time,
                               event->type == EVENT_DIE ? "dies" : "begins");
        break;
    default:
        g_string_append_printf(text, "%6" PRId64 " %s operation %" PRIu64,
                               time, event->type == EVENT_BEGIN ? "begin"
                                                                : "ack",
                               event->op->number);
    }
    g_string_append(text, "\n");
}

static bool judgement_failed(Run *r)
{
    run_fail(r, "%s", "");
    judge_describe(r->judge, r->failure);
    if (getenv("ZONED_TEST_EVENTS")) {
        for (guint i = 0; i < r->events->len; i++) {
            describe_event(&g_array_index(r->events, Event, i), i, r->failure);
        }
    }
    return false;
}

/*
 * Scheduling: whoever would wait parks, and one of the parked is chosen.
 */

static void coroutine_fn park(Run *r, unsigned weight)
{
    Parked parked = { .co = qemu_coroutine_self(), .weight = weight };

    if (!r->parking) {
        return;
    }
    g_array_append_val(r->parked, parked);
    qemu_coroutine_yield();
}

static void wake_one(Run *r)
{
    unsigned total = 0;
    unsigned chosen;
    Parked parked;
    guint i;

    for (i = 0; i < r->parked->len; i++) {
        total += g_array_index(r->parked, Parked, i).weight;
    }
    chosen = below(r, total);
    for (i = 0; ; i++) {
        parked = g_array_index(r->parked, Parked, i);
        if (chosen < parked.weight) {
            break;
        }
        chosen -= parked.weight;
    }
    g_array_remove_index_fast(r->parked, i);
    aio_co_enter(qemu_get_aio_context(), parked.co);
}

/*
 * The recorder.
 */

/* The run that it records; there is one at a time. */
static Run *recorded;

static int64_t now(const Run *r)
{
    return r->events->len;
}

static void add_event(Run *r, EventType type, Request *request, JudgeOp *op)
{
    Event event = { .type = type, .request = request, .op = op };

    g_array_append_val(r->events, event);
}

static Request *request_new(Run *r, RequestType type, int64_t offset,
                            int64_t bytes)
{
    Request *q = g_new0(Request, 1);

    g_assert(QEMU_IS_ALIGNED(offset | bytes, SECTOR));
    g_assert(offset + bytes <= (int64_t)r->file_sectors * SECTOR);
    q->type = type;
    q->first = offset / SECTOR;
    q->nr = bytes / SECTOR;
    q->contents = g_new(Content, q->nr);
    q->applied = bitmap_new(q->nr);
    q->before = g_new(Content, q->nr);
    q->lost = bitmap_new(q->nr);
    q->author = qemu_coroutine_self();
    q->done = q->landed = JUDGE_NEVER;
    return q;
}

static void request_free(gpointer opaque)
{
    Request *q = opaque;

    g_free(q->contents);
    g_free(q->before);
    g_free(q->lost);
    g_free(q->applied);
    g_free(q);
}

/* Nobody waits any more for what becomes of @q. */
static void tell_one(Run *r, Request *q)
{
    q->author = NULL;
    r->nr_untold -= q->untold;
    q->untold = false;
}

/* @author knows what has become of its requests, or does not ask any more. */
static void tell(Run *r, const Coroutine *author)
{
    for (guint i = 0; i < r->requests->len; i++) {
        Request *q = g_ptr_array_index(r->requests, i);

        if (q->author == author) {
            tell_one(r, q);
        }
    }
}

/*
 * @flush is done.  If it has failed, the file may have dropped what it should
 * have made durable, as if it were not to be written any more.  A driver that
 * has the table in memory can write it again, so nothing is lost, if whoever
 * has written what was dropped learns of a failure.  The driver does not have
 * the data and the extensions; so these are dropped only if the file goes on
 * failing, as file-posix does: then nobody relies on them, but for the next
 * process, which finds them in the cache.
 */
static void flush_done(Run *r, const Request *flush)
{
    for (guint i = 0; i < r->requests->len; i++) {
        Request *q = g_ptr_array_index(r->requests, i);

        if (q->done < flush->submit && !q->durable && !q->dropped) {
            q->durable = flush->ret == 0;
            q->dropped = flush->ret < 0 &&
                         (r->gives_up ||
                          q->first < judge_table_limit(r->judge));
            q->untold = q->dropped && q->author;
            r->nr_untold += q->untold;
        }
    }
    if (flush->ret < 0) {
        tell(r, flush->author);
        r->flush_failed = r->gives_up;
    }
}

/* Lets @q happen, which it takes over. */
static int coroutine_fn request_run(Run *r, Request *q)
{
    bool fail = percent(r, r->fault_percent);
    int ret = fail ? (percent(r, 50) ? -EIO : -ENOSPC) : 0;

    if (r->off) {
        request_free(q);
        return 0;
    }
    for (uint32_t i = 0; i < q->nr; i++) {
        q->before[i] = r->file[q->first + i];
        if (!fail || percent(r, 50)) {
            r->file[q->first + i] = q->contents[i];
        } else {
            set_bit(i, q->lost);
        }
    }
    if (!r->recording) {
        request_free(q);
        return 0;
    }

    g_ptr_array_add(r->requests, q);
    q->submit = now(r);
    add_event(r, EVENT_SUBMIT, q, NULL);
    park(r, r->weight[q->type]);
    if (r->off) {
        return ret;
    }
    if (q->type == REQUEST_FLUSH && (r->flush_failed || r->nr_untold > 0)) {
        ret = -EIO;
    }
    q->ret = ret;
    q->done = q->landed = now(r);
    add_event(r, EVENT_DONE, q, NULL);
    if (q->type == REQUEST_FLUSH) {
        flush_done(r, q);
    }
    return ret;
}

static int coroutine_fn GRAPH_RDLOCK
recorder_co_preadv(BlockDriverState *bs, int64_t offset, int64_t bytes,
                   QEMUIOVector *qiov, BdrvRequestFlags flags)
{
    uint8_t buf[SECTOR];

    if (recorded->parking) {
        if (percent(recorded, recorded->fault_percent)) {
            return -EIO;
        }
        park(recorded, recorded->weight[REQUEST__MAX]);
    }
    for (int64_t i = 0; i < bytes / SECTOR; i++) {
        content_to_bytes(recorded->file[offset / SECTOR + i], buf);
        qemu_iovec_from_buf(qiov, i * SECTOR, buf, SECTOR);
    }
    return 0;
}

static int coroutine_fn GRAPH_RDLOCK
recorder_co_pwritev(BlockDriverState *bs, int64_t offset, int64_t bytes,
                    QEMUIOVector *qiov, BdrvRequestFlags flags)
{
    Request *q = request_new(recorded, REQUEST_WRITE, offset, bytes);
    uint8_t buf[SECTOR] QEMU_ALIGNED(8);

    for (uint32_t i = 0; i < q->nr; i++) {
        qemu_iovec_to_buf(qiov, (size_t)i * SECTOR, buf, SECTOR);
        q->contents[i] = content_of_bytes(buf);
    }
    return request_run(recorded, q);
}

static int coroutine_fn GRAPH_RDLOCK
recorder_co_pwrite_zeroes(BlockDriverState *bs, int64_t offset, int64_t bytes,
                          BdrvRequestFlags flags)
{
    Request *q;

    if (percent(recorded, 30)) {
        return -ENOTSUP;
    }
    q = request_new(recorded, REQUEST_WRITE, offset, bytes);
    for (uint32_t i = 0; i < q->nr; i++) {
        q->contents[i] = CONTENT_ZEROES;
    }
    return request_run(recorded, q);
}

/* What a discard leaves is anything; and it may do nothing. */
static int coroutine_fn GRAPH_RDLOCK
recorder_co_pdiscard(BlockDriverState *bs, int64_t offset, int64_t bytes)
{
    Run *r = recorded;
    bool zeroes = percent(r, 30);
    Request *q;

    if (percent(r, 10)) {
        return -ENOTSUP;
    }
    q = request_new(r, REQUEST_DISCARD, offset, bytes);
    for (uint32_t i = 0; i < q->nr; i++) {
        q->contents[i] = zeroes ? CONTENT_ZEROES
                                : content_garbage(r->nr_garbage++);
    }
    return request_run(r, q);
}

static int coroutine_fn GRAPH_RDLOCK
recorder_co_flush_to_disk(BlockDriverState *bs)
{
    return request_run(recorded, request_new(recorded, REQUEST_FLUSH, 0, 0));
}

/* Like a block device: new sectors hold anything. */
static int coroutine_fn GRAPH_RDLOCK
recorder_co_truncate(BlockDriverState *bs, int64_t offset, bool exact,
                     PreallocMode prealloc, BdrvRequestFlags flags,
                     Error **errp)
{
    Run *r = recorded;
    uint32_t nr = DIV_ROUND_UP(offset, SECTOR);

    r->file = g_renew(Content, r->file, nr);
    for (uint32_t i = r->file_sectors; i < nr; i++) {
        r->file[i] = content_garbage(r->nr_garbage++);
    }
    r->file_sectors = nr;
    return 0;
}

static int64_t coroutine_fn GRAPH_RDLOCK
recorder_co_getlength(BlockDriverState *bs)
{
    return (int64_t)recorded->file_sectors * SECTOR;
}

static void recorder_refresh_limits(BlockDriverState *bs, Error **errp)
{
    bs->bl.request_alignment = SECTOR;
    if (recorded->profile->fragments) {
        bs->bl.max_transfer = 3 * SECTOR;
    }
}

static BlockDriver bdrv_recorder = {
    .format_name            = "recorder",

    .bdrv_co_preadv         = recorder_co_preadv,
    .bdrv_co_pwritev        = recorder_co_pwritev,
    .bdrv_co_pwrite_zeroes  = recorder_co_pwrite_zeroes,
    .bdrv_co_pdiscard       = recorder_co_pdiscard,
    .bdrv_co_flush_to_disk  = recorder_co_flush_to_disk,
    .bdrv_co_truncate       = recorder_co_truncate,
    .bdrv_co_getlength      = recorder_co_getlength,
    .bdrv_refresh_limits    = recorder_refresh_limits,
};

/*
 * The device.
 */

static BlockDriverState *recorder_open(Run *r)
{
    recorded = r;
    return bdrv_new_open_driver(&bdrv_recorder, NULL,
                                BDRV_O_RDWR | BDRV_O_UNMAP, &error_abort);
}

typedef struct CreateCo {
    BlockdevCreateOptions *opts;
    int ret;
} CreateCo;

static void coroutine_fn create_entry(void *opaque)
{
    CreateCo *co = opaque;
    BlockDriver *drv = bdrv_find_format("zoned");

    co->ret = drv->bdrv_co_create(co->opts, &error_abort);
}

/* Makes a new image, at byte geo.base of the file. */
static void create_image(Run *r)
{
    const JudgeGeometry *geo = &r->geo;
    BlockDriverState *bs = recorder_open(r);
    uint32_t base = geo->base / SECTOR;
    BlockdevRef file = {
        .type = QTYPE_QSTRING,
        .u.reference = (char *)bdrv_get_node_name(bs),
    };
    BlockdevCreateOptions opts = {
        .driver = BLOCKDEV_DRIVER_ZONED,
        .u.zoned = {
            .file = &file,
            .size = geo->size,
            .has_zone_size = true,
            .zone_size = geo->zone_size,
            .has_zone_capacity = true,
            .zone_capacity = geo->zone_capacity,
            .has_zone_nr_conv = true,
            .zone_nr_conv = geo->nr_conv,
            .has_max_open_zones = true,
            .max_open_zones = geo->max_open,
            .has_max_active_zones = true,
            .max_active_zones = geo->max_active,
            .has_max_append_sectors = true,
            .max_append_sectors = geo->max_append_sectors,
            .has_zd_extension_size = true,
            .zd_extension_size = geo->ext_size,
        },
    };
    CreateCo co = { .opts = &opts, .ret = -EINPROGRESS };

    qemu_coroutine_enter(qemu_coroutine_create(create_entry, &co));
    while (co.ret == -EINPROGRESS) {
        aio_poll(qemu_get_aio_context(), true);
    }
    g_assert(co.ret == 0);
    bdrv_unref(bs);

    r->file = g_renew(Content, r->file, r->file_sectors + base);
    memmove(r->file + base, r->file, r->file_sectors * sizeof(Content));
    for (uint32_t i = 0; i < base; i++) {
        r->file[i] = content_garbage(r->nr_garbage++);
    }
    r->file_sectors += base;
}

/* A node of the driver, as a process opens it with @flags; or NULL */
static BlockDriverState *driver_open(Run *r, int flags)
{
    BlockDriverState *file = recorder_open(r);
    QDict *options = qdict_new();
    Error *err = NULL;
    BlockDriverState *bs;

    qdict_put_str(options, "driver", "zoned");
    qdict_put_str(options, "file", bdrv_get_node_name(file));
    if (r->geo.base) {
        qdict_put_int(options, "offset", r->geo.base);
    }
    bs = bdrv_open(NULL, NULL, options, BDRV_O_UNMAP | flags, &err);
    bdrv_unref(file);
    if (!bs) {
        run_fail(r, "the driver does not open the image: %s\n",
                 error_get_pretty(err));
        error_free(err);
    }
    return bs;
}

/* Opens the device, which then may be written. */
static bool device_open(Run *r, Entrance entrance)
{
    static const int flags[] = {
        [ENTRANCE_OPEN] = BDRV_O_RDWR,
        [ENTRANCE_REOPEN] = 0,
        [ENTRANCE_ACTIVATE] = BDRV_O_RDWR | BDRV_O_INACTIVE,
    };
    BlockDriverState *bs = entrance == ENTRANCE_STANDBY
                           ? r->standby : driver_open(r, flags[entrance]);
    Error *err = NULL;

    r->standby = NULL;
    if (!bs) {
        return false;
    }
    if (entrance == ENTRANCE_REOPEN) {
        bdrv_reopen_set_read_only(bs, false, &err);
    } else if (entrance != ENTRANCE_OPEN) {
        bdrv_graph_rdlock_main_loop();
        bdrv_activate(bs, &err);
        bdrv_graph_rdunlock_main_loop();
    }
    if (err) {
        run_fail(r, "the driver does not let the image be written: %s\n",
                 error_get_pretty(err));
        error_free(err);
        bdrv_unref(bs);
        return false;
    }
    r->blk = blk_new(qemu_get_aio_context(), BLK_PERM_ALL, BLK_PERM_ALL);
    blk_insert_bs(r->blk, bs, &error_abort);
    bdrv_unref(bs);
    return true;
}

/* Takes the device away; what it still writes is lost. */
static void device_power_off(Run *r)
{
    r->off = true;
    blk_unref(r->blk);
    r->blk = NULL;
    r->off = false;
}

/* When the image is compared with what the driver says of it. */
typedef enum Moment {
    OPENED,                     /* nothing was done to it */
    ACTIVATED,                  /* ditto, and zones may have stayed open */
    FLUSHED,
} Moment;

/*
 * Is @zone what the image says in @entry?  A zone that is open in the image is
 * closed when the image is opened.
 */
static bool zone_matches(const JudgeEntry *entry,
                         const BlockZoneDescriptor *zone, Moment moment)
{
    BlockZoneState cond = entry->cond;
    uint64_t wp = entry->address;

    if (cond == BLK_ZS_FULL) {
        wp = zone->start + zone->length;
    } else if (moment != FLUSHED && cond != BLK_ZS_NOT_WP &&
               !(moment == ACTIVATED && cond == zone->state)) {
        cond = wp == zone->start && !entry->extended ? BLK_ZS_EMPTY
                                                     : BLK_ZS_CLOSED;
    }
    return zone->wp == wp && zone->state == cond &&
           zone->ext_valid == entry->extended;
}

/* What the driver reads in zone @i is what is in the file up to @end. */
static bool check_zone_data(Run *r, uint32_t i, uint64_t end)
{
    uint64_t start = i * r->geo.zone_size;
    uint64_t bytes = MIN(r->geo.zone_size, r->geo.size - start);
    g_autofree uint8_t *buf = g_malloc(bytes);
    int ret = blk_pread(r->blk, start, bytes, buf, 0);

    if (ret < 0) {
        run_fail(r, "reading zone %u: %s\n", i, strerror(-ret));
        return false;
    }
    for (uint64_t p = start; p < start + bytes; p += SECTOR) {
        uint64_t sector = judge_data_sector(r->judge, p / SECTOR);
        Content expected = p < end ? r->file[sector] : CONTENT_ZEROES;

        if (content_of_bytes(buf + p - start) != expected) {
            run_fail(r, "zone %u reads wrong at byte %" PRIu64 "\n", i,
                     p - start);
            return false;
        }
    }
    return true;
}

/* Extensions are those in the image where they are valid, else zeroes. */
static bool check_extensions(Run *r)
{
    size_t size = r->geo.ext_size;
    g_autofree uint8_t *buf = g_malloc(r->geo.nr_zones * size);
    g_autofree uint8_t *expected = g_malloc(size);
    int ret = blk_zone_get_extensions(r->blk, 0, r->geo.nr_zones, buf);

    if (ret < 0) {
        run_fail(r, "reading extensions: %s\n", strerror(-ret));
        return false;
    }
    for (uint32_t i = 0; i < r->geo.nr_zones; i++) {
        if (judge_entry(r->judge, i).extended) {
            judge_read_extension(r->judge, i, expected);
        } else {
            memset(expected, 0, size);
        }
        if (memcmp(buf + i * size, expected, size)) {
            run_fail(r, "zone %u has a wrong extension\n", i);
            return false;
        }
    }
    return true;
}

/*
 * What the driver says is what the image says: after it was opened, or else
 * when all is flushed.
 */
static bool check_device(Run *r, Moment moment)
{
    unsigned n = r->geo.nr_zones;
    g_autofree BlockZoneDescriptor *zone = g_new(BlockZoneDescriptor, n);
    int ret = blk_zone_report(r->blk, 0, &n, zone);

    if (ret < 0 || n != r->geo.nr_zones) {
        run_fail(r, "zone report: %d, %u zones\n", ret, n);
        return false;
    }
    for (uint32_t i = 0; i < n; i++) {
        JudgeEntry entry = judge_entry(r->judge, i);

        if (!zone_matches(&entry, &zone[i], moment)) {
            run_fail(r, "zone %u is reported with condition 0x%x and write "
                     "pointer %" PRIu64 "; in the image it has 0x%x and %"
                     PRIu64 "\n", i, zone[i].state, zone[i].wp, entry.cond,
                     entry.address);
            return false;
        }
        if (entry.address > zone[i].start &&
            !check_zone_data(r, i, entry.address)) {
            return false;
        }
    }
    return r->geo.ext_size == 0 || check_extensions(r);
}

/*
 * The history.
 */

static uint64_t zone_start(const Run *r, uint32_t i)
{
    return i * r->geo.zone_size;
}

static uint64_t conv_limit(const Run *r)
{
    return MIN(r->geo.nr_conv * r->geo.zone_size, r->geo.size);
}

/* Bytes that can still be written to zone @i, with the write pointer @wp. */
static uint64_t zone_room(const Run *r, uint32_t i, uint64_t wp)
{
    uint64_t limit = MIN(zone_start(r, i) + r->geo.zone_capacity, r->geo.size);

    return wp < limit ? limit - wp : 0;
}

static uint64_t zone_wp(const Run *r, uint32_t i)
{
    return blk_bs(r->blk)->wps->wp[i] & ~(1ULL << 63);
}

static JudgeOp *begin(Run *r, JudgeOpType type, bool fua, uint64_t offset,
                      uint64_t bytes)
{
    JudgeOp *op = judge_op_begin(r->judge, type, fua, offset, bytes, now(r));

    add_event(r, EVENT_BEGIN, NULL, op);
    return op;
}

static void ack(Run *r, JudgeOp *op, int ret)
{
    bool host_error = ret == -EIO || ret == -ENOSPC;
    bool guest_error = ret == -EINVAL || ret == -ERANGE || ret == -EPERM ||
                       ret == -EOVERFLOW || ret == -ETOOMANYREFS;

    if (r->off) {
        return;
    }
    tell(r, qemu_coroutine_self());
    if (ret > 0 || (ret < 0 && !guest_error &&
                    !(host_error && r->profile->faults))) {
        run_fail(r, "operation %" PRIu64 " (type %d, at %" PRIu64 "): "
                 "unexpected result %d\n", op->number, op->type, op->offset,
                 ret);
    }
    judge_op_ack(r->judge, op, ret, now(r));
    add_event(r, EVENT_ACK, NULL, op);
}

static void fill_data(uint8_t *buf, uint64_t bytes, uint64_t number)
{
    for (uint64_t i = 0; i < bytes / SECTOR; i++) {
        content_to_bytes(content_data(number, i), buf + i * SECTOR);
    }
}

static void coroutine_fn do_write(Run *r, uint64_t offset, uint64_t bytes)
{
    BdrvRequestFlags flags = percent(r, r->fua_percent) ? BDRV_REQ_FUA : 0;
    bool zeroes = percent(r, 15);
    JudgeOp *op = begin(r, zeroes ? JUDGE_OP_ZEROES : JUDGE_OP_WRITE,
                        flags, offset, bytes);
    g_autofree uint8_t *buf = g_malloc(bytes);
    int ret;

    if (zeroes) {
        flags |= percent(r, 50) ? BDRV_REQ_MAY_UNMAP : 0;
        ret = blk_co_pwrite_zeroes(r->blk, offset, bytes, flags);
    } else {
        fill_data(buf, bytes, op->number);
        ret = blk_co_pwrite(r->blk, offset, bytes, buf, flags);
    }
    ack(r, op, ret);
}

static void coroutine_fn do_append(Run *r, uint32_t zone, uint64_t bytes)
{
    BdrvRequestFlags flags = percent(r, r->fua_percent) ? BDRV_REQ_FUA : 0;
    int64_t offset = zone_start(r, zone);
    JudgeOp *op = begin(r, JUDGE_OP_APPEND, flags, offset, bytes);
    g_autofree uint8_t *buf = g_malloc(bytes);
    QEMUIOVector qiov = QEMU_IOVEC_INIT_BUF(qiov, buf, bytes);
    int ret;

    fill_data(buf, bytes, op->number);
    ret = blk_co_zone_append(r->blk, &offset, &qiov, flags);
    if (ret == 0) {
        op->offset = offset;
    }
    ack(r, op, ret);
}

static void coroutine_fn do_flush(Run *r)
{
    JudgeOp *op = begin(r, JUDGE_OP_FLUSH, false, 0, 0);

    ack(r, op, blk_co_flush(r->blk));
}

/* An operation on one zone, on some or on all. */
static void coroutine_fn do_mgmt(Run *r, uint32_t zone, BlockZoneOp zone_op,
                                 JudgeOpType type)
{
    uint64_t offset = zone_start(r, zone);
    uint64_t bytes = r->geo.zone_size;
    JudgeOp *op;

    if (percent(r, 5)) {
        offset = 0;
        bytes = r->geo.size;
    } else if (percent(r, 15)) {
        bytes *= 1 + below(r, 4);
    }
    bytes = MIN(bytes, r->geo.size - offset);
    op = begin(r, type, false, offset, bytes);
    ack(r, op, blk_co_zone_mgmt(r->blk, zone_op, offset, bytes));
}

static void coroutine_fn do_extend(Run *r, uint32_t zone)
{
    uint64_t offset = zone_start(r, zone);
    JudgeOp *op = begin(r, JUDGE_OP_EXTEND, false, offset, 0);
    g_autofree uint8_t *buf = g_malloc(r->geo.ext_size);
    QEMUIOVector qiov = QEMU_IOVEC_INIT_BUF(qiov, buf, r->geo.ext_size);

    judge_make_extension(r->judge, op->number, buf);
    ack(r, op, blk_co_zone_set_extension(r->blk, offset, &qiov));
}

/* By the driver itself: blk_co_pdiscard() is not the same in all versions. */
static void coroutine_fn do_discard(Run *r, uint64_t offset, uint64_t bytes)
{
    JudgeOp *op = begin(r, JUDGE_OP_DISCARD, false, offset, bytes);
    BlockDriverState *bs = blk_bs(r->blk);
    int ret;

    WITH_GRAPH_RDLOCK_GUARD() {
        ret = bs->drv->bdrv_co_pdiscard(bs, offset, bytes);
    }
    ack(r, op, ret);
}

static void coroutine_fn do_conv(Run *r)
{
    uint64_t limit = conv_limit(r);
    uint64_t offset = below(r, limit / SECTOR) * SECTOR;
    uint64_t bytes = MIN((1 + below(r, 8)) * SECTOR, limit - offset);

    if (percent(r, 3) && !r->profile->certain) {
        do_discard(r, offset, bytes);
    } else {
        do_write(r, offset, bytes);
    }
}

/* Writes to a sequential zone, mostly what it can take. */
static void coroutine_fn do_zone_write(Run *r, uint32_t zone, bool append)
{
    uint64_t wp = zone_wp(r, zone);
    uint64_t room = zone_room(r, zone, wp);
    uint64_t bytes = (1 + below(r, percent(r, 80) ? 4 : 16)) * SECTOR;

    if (percent(r, 10)) {
        bytes = room;
    }
    if (percent(r, 95)) {
        bytes = MIN(bytes, room);
    }
    if (percent(r, 3)) {
        wp = MIN(zone_start(r, zone) +
                 below(r, r->geo.zone_size / SECTOR) * SECTOR,
                 r->geo.size - SECTOR);
    }
    bytes = MIN(bytes, r->geo.size - wp);
    if (append) {
        bytes = MIN(bytes, r->geo.max_append_sectors * SECTOR);
    }
    if (bytes == 0) {
        do_mgmt(r, zone, BLK_ZO_RESET, JUDGE_OP_RESET);
    } else if (append) {
        do_append(r, zone, bytes);
    } else {
        do_write(r, wp, bytes);
    }
}

static void coroutine_fn do_something(Run *r)
{
    uint32_t zone = r->hot[below(r, r->nr_hot)];
    unsigned what = below(r, 100);

    if (r->geo.nr_conv && percent(r, 15)) {
        do_conv(r);
    } else if (r->geo.ext_size &&
               percent(r, zone_wp(r, zone) == zone_start(r, zone) ? 40 : 2)) {
        do_extend(r, zone);
    } else if (what < 3) {
        do_mgmt(r, zone, BLK_ZO_OPEN, JUDGE_OP_OPEN);
    } else if (what < 7) {
        do_mgmt(r, zone, BLK_ZO_CLOSE, JUDGE_OP_CLOSE);
    } else if (what < 11) {
        do_mgmt(r, zone, BLK_ZO_FINISH, JUDGE_OP_FINISH);
    } else if (what < r->resets_below) {
        do_mgmt(r, zone, BLK_ZO_RESET, JUDGE_OP_RESET);
    } else if (what < r->flushes_below) {
        do_flush(r);
    } else {
        do_zone_write(r, zone, percent(r, 50));
    }
}

static void coroutine_fn worker(void *opaque)
{
    Run *r = opaque;

    while (r->ops_left > 0) {
        r->ops_left--;
        do_something(r);
        park(r, r->weight[REQUEST__MAX]);
    }
    r->nr_running--;
}

static void coroutine_fn flusher(void *opaque)
{
    Run *r = opaque;

    do_flush(r);
    r->nr_running--;
}

/* Is a request that came behind number @k in sector @sector of the cache? */
static bool is_overwritten(Run *r, guint k, uint32_t sector)
{
    while (++k < r->requests->len) {
        const Request *q = g_ptr_array_index(r->requests, k);

        if (sector >= q->first && sector - q->first < q->nr &&
            !test_bit(sector - q->first, q->lost)) {
            return true;
        }
    }
    return false;
}

/*
 * The process dies.  What was in flight has come as far as the cache, or not,
 * or in part; it comes no further.
 */
static void die(Run *r)
{
    int64_t time = now(r);

    r->off = true;
    r->ops_left = 0;
    judge_die(r->judge, time);
    add_event(r, EVENT_DIE, NULL, NULL);
    for (guint k = r->requests->len; k-- > 0; ) {
        Request *q = g_ptr_array_index(r->requests, k);
        unsigned lost;

        tell_one(r, q);
        if (q->done != JUDGE_NEVER || q->type == REQUEST_FLUSH) {
            continue;
        }
        lost = percent(r, 50) ? 0 : 50 + below(r, 2) * 50;
        for (uint32_t i = 0; i < q->nr; i++) {
            uint32_t sector = q->first + i;

            if (percent(r, lost) && !test_bit(i, q->lost) &&
                !is_overwritten(r, k, sector)) {
                r->file[sector] = q->before[i];
                set_bit(i, q->lost);
            }
        }
        q->done = q->landed = time;
    }
}

static void poll_all(void)
{
    while (aio_poll(qemu_get_aio_context(), false)) {
        /* More may be ready. */
    }
}

/* Starts @n coroutines and lets them run until they end or the process dies */
static bool run_coroutines(Run *r, CoroutineEntry *entry, unsigned n)
{
    r->nr_running = n;
    r->parking = true;
    for (unsigned i = 0; i < n; i++) {
        aio_co_enter(qemu_get_aio_context(), qemu_coroutine_create(entry, r));
    }
    poll_all();
    while (r->nr_running > 0) {
        if (r->steps_left-- == 0) {
            die(r);
            r->parking = false;
        }
        if (r->parked->len == 0) {
            run_fail(r, "%u operations hang\n", r->nr_running);
            return false;
        }
        wake_one(r);
        poll_all();
    }
    r->parking = false;
    return true;
}

static void choose_zones(Run *r)
{
    r->nr_hot = 1 + below(r, MAX_HOT_ZONES);
    for (uint32_t i = 0; i < r->nr_hot; i++) {
        r->hot[i] = r->geo.nr_conv +
                    below(r, r->geo.nr_zones - r->geo.nr_conv);
    }
}

/* Chooses what the history is like. */
static void choose_history(Run *r)
{
    static const unsigned weights[] = { 1, 4, 16, 64 };

    choose_zones(r);
    for (int i = 0; i < ARRAY_SIZE(r->weight); i++) {
        r->weight[i] = weights[below(r, ARRAY_SIZE(weights))];
    }
    r->resets_below = 13 + below(r, 20);
    r->flushes_below = r->resets_below + 1 + below(r, 15);
    r->fua_percent = percent(r, 50) ? 0 : below(r, 30);
    r->ops_left = 20 + below(r, 120);
    r->all_below = 8 << below(r, 6);
    r->samples = 8 << below(r, 3);
}

/* What a process of a history does, up to its end. */
static bool run_process(Run *r, unsigned depth)
{
    r->fault_percent = r->profile->faults ? 1 + below(r, 15) : 0;
    return run_coroutines(r, worker, r->profile->certain ? 1 : depth);
}

/* Sectors that are in the cache and will not be on the disk; for the caller */
static unsigned long *find_given_up(Run *r)
{
    unsigned long *given_up = bitmap_new(r->file_sectors);
    unsigned long *later = bitmap_new(r->file_sectors);

    for (guint k = r->requests->len; k-- > 0; ) {
        const Request *q = g_ptr_array_index(r->requests, k);

        for (uint32_t i = 0; i < q->nr; i++) {
            uint32_t sector = q->first + i;

            if (!test_bit(i, q->lost) && !test_and_set_bit(sector, later) &&
                q->dropped) {
                set_bit(sector, given_up);
            }
        }
    }
    g_free(later);
    return given_up;
}

/* The process that was is gone, and another one opens the device. */
static bool next_process(Run *r, Entrance entrance)
{
    g_autofree unsigned long *given_up = find_given_up(r);
    Event open = {
        .type = EVENT_OPEN,
        .view = g_memdup2(r->file, r->file_sectors * sizeof(Content)),
    };

    device_power_off(r);
    r->flush_failed = false;
    r->steps_left = UINT_MAX;
    if (!judge_reopen(r->judge, open.view, given_up, now(r))) {
        g_free(open.view);
        return judgement_failed(r);
    }
    g_array_append_val(r->events, open);
    return device_open(r, entrance) &&
           check_device(r, entrance == ENTRANCE_ACTIVATE ||
                           entrance == ENTRANCE_STANDBY ? ACTIVATED : OPENED);
}

/* A process that dies, or ends, and what comes behind it. */
static bool run_mortal(Run *r)
{
    Entrance entrance = below(r, ENTRANCE__MAX);

    if (entrance == ENTRANCE_STANDBY) {
        r->standby = driver_open(r, BDRV_O_RDWR | BDRV_O_INACTIVE);
        if (!r->standby) {
            return false;
        }
    }
    r->steps_left = percent(r, 80) ? below(r, 200) : UINT_MAX;
    r->gives_up = percent(r, 50);
    if (!run_process(r, 1 + below(r, 8)) ||
        (!r->off && percent(r, 50) && !run_coroutines(r, flusher, 1))) {
        return false;
    }
    if (!r->off) {
        die(r);
    }
    r->gives_up = false;
    if (!next_process(r, entrance)) {
        return false;
    }
    r->ops_left = 5 + below(r, 60);
    if (percent(r, 20)) {
        choose_zones(r);
    }
    return true;
}

/* Runs a history on the open device. */
static bool run_history(Run *r)
{
    unsigned depth = 1 + below(r, percent(r, 50) ? 32 : 4);
    unsigned mortals = r->profile->processes ? 1 + below(r, 3) : 0;

    choose_history(r);
    r->start = g_memdup2(r->file, r->file_sectors * sizeof(Content));
    r->recording = true;
    r->steps_left = UINT_MAX;
    while (mortals-- > 0) {
        if (!run_mortal(r)) {
            return false;
        }
    }
    if (!run_process(r, depth)) {
        return false;
    }
    /* So that at the end there is one image, and it holds everything. */
    r->fault_percent = 0;
    if (!run_coroutines(r, flusher, 1)) {
        return false;
    }
    r->recording = false;
    return !r->failure;
}

/*
 * The images.
 */

/* Writes the image to a file, for other programs to look at. */
static void dump_image(Run *r)
{
    g_autofree char *path = g_strdup_printf("%s/%s-%" PRIu64 ".zoned",
                                            dump_folder, r->profile->name,
                                            nr_judged);
    FILE *f = fopen(path, "wb");
    uint8_t buf[SECTOR];

    g_assert(f);
    for (uint32_t i = r->geo.base / SECTOR; i < r->file_sectors; i++) {
        content_to_bytes(r->image[i], buf);
        g_assert(fwrite(buf, SECTOR, 1, f) == 1);
    }
    g_assert(fclose(f) == 0);
}

/* The image is made: judges it. */
static bool judge_image(Run *r)
{
    r->nr_images++;
    nr_judged++;
    if (dump_folder &&
        nr_judged * dumps_wanted / nr_wanted !=
        (nr_judged - 1) * dumps_wanted / nr_wanted) {
        dump_image(r);
    }
    if (random_below(&r->random, r->nr_images) == 0) {
        memcpy(r->next, r->image, r->file_sectors * sizeof(Content));
    }
    return judge_state(r->judge) || judgement_failed(r);
}

static void choose(Run *r, Position *p, uint32_t i)
{
    p->chosen = i;
    r->image[p->sector] = g_array_index(p->choices, Content, i);
}

/* Judges all choices at the positions @varying. */
static bool judge_all(Run *r, GPtrArray *varying)
{
    for (guint i = 0; i < varying->len; i++) {
        choose(r, g_ptr_array_index(varying, i), 0);
    }
    for (;;) {
        guint i = 0;

        if (!judge_image(r)) {
            return false;
        }
        for (i = 0; i < varying->len; i++) {
            Position *p = g_ptr_array_index(varying, i);

            if (p->chosen + 1 < p->choices->len) {
                choose(r, p, p->chosen + 1);
                break;
            }
            choose(r, p, 0);
        }
        if (i == varying->len) {
            return true;
        }
    }
}

/* Requests that matter at a cut, from which an image is made. */
typedef enum Sample {
    SAMPLE_NONE,
    SAMPLE_ALL,
    SAMPLE_TABLE,               /* only what goes into the zone table */
    SAMPLE_DATA,
    SAMPLE_TABLE_TORN_DATA,     /* the table, and each sector with a chance */
    SAMPLE_ALL_BUT_ONE,         /* request */
    SAMPLE_ONE,                 /* request */
    SAMPLE_REQUESTS,            /* each request with a chance */
    SAMPLE_SECTORS,             /* each sector with a chance */
    SAMPLE__MAX,
} Sample;

static void apply_request(Run *r, Request *q, Sample sample, bool one,
                          unsigned chance)
{
    bool table = q->first < judge_table_limit(r->judge);
    unsigned part = 100;

    switch (sample) {
    case SAMPLE_NONE:
        part = 0;
        break;
    case SAMPLE_ALL:
        break;
    case SAMPLE_TABLE:
        part = table ? 100 : 0;
        break;
    case SAMPLE_DATA:
        part = table ? 0 : 100;
        break;
    case SAMPLE_TABLE_TORN_DATA:
        part = table ? 100 : chance;
        break;
    case SAMPLE_ALL_BUT_ONE:
        part = one ? 0 : 100;
        break;
    case SAMPLE_ONE:
        part = one ? 100 : 0;
        break;
    case SAMPLE_REQUESTS:
        part = percent(r, chance) ? 100 : 0;
        break;
    default:
        part = chance;
    }
    for (uint32_t i = 0; i < q->nr; i++) {
        if (part == 100 || (part > 0 && percent(r, part))) {
            set_bit(i, q->applied);
        } else {
            clear_bit(i, q->applied);
        }
    }
}

/* Makes an image of those requests that @sample lets happen. */
static void make_sample(Run *r, Sample sample, GPtrArray *pending,
                        GPtrArray *varying)
{
    unsigned chance = 10 + below(r, 81);
    unsigned one = below(r, pending->len);

    for (guint i = 0; i < pending->len; i++) {
        apply_request(r, g_ptr_array_index(pending, i), sample, i == one,
                      chance);
    }
    for (guint i = 0; i < varying->len; i++) {
        const Position *p = g_ptr_array_index(varying, i);

        r->image[p->sector] = g_array_index(p->versions, Version, 0).content;
        for (guint k = 1; k < p->versions->len; k++) {
            const Version *v = &g_array_index(p->versions, Version, k);

            if (test_bit(p->sector - v->request->first, v->request->applied)) {
                r->image[p->sector] = v->content;
            }
        }
    }
}

/* The requests that the versions at @varying come from; freed by the caller. */
static GPtrArray *pending_requests(GPtrArray *varying)
{
    GPtrArray *pending = g_ptr_array_new();

    for (guint i = 0; i < varying->len; i++) {
        const Position *p = g_ptr_array_index(varying, i);

        for (guint k = 1; k < p->versions->len; k++) {
            Request *q = g_array_index(p->versions, Version, k).request;

            if (!q->pending) {
                q->pending = true;
                g_ptr_array_add(pending, q);
            }
        }
    }
    for (guint i = 0; i < pending->len; i++) {
        ((Request *)g_ptr_array_index(pending, i))->pending = false;
    }
    return pending;
}

static bool judge_samples(Run *r, GPtrArray *varying)
{
    g_autoptr(GPtrArray) pending = pending_requests(varying);

    for (unsigned i = 0; i < SAMPLE__MAX + r->samples; i++) {
        Sample sample = i < SAMPLE__MAX ? i
                        : SAMPLE_TABLE_TORN_DATA +
                          below(r, SAMPLE__MAX - SAMPLE_TABLE_TORN_DATA);

        make_sample(r, sample, pending, varying);
        if (!judge_image(r)) {
            return false;
        }
    }
    return true;
}

/* Finds the contents that differ among the versions of @p. */
static void find_choices(Position *p)
{
    g_array_set_size(p->choices, 0);
    for (guint i = 0; i < p->versions->len; i++) {
        Content content = g_array_index(p->versions, Version, i).content;
        guint k = 0;

        while (k < p->choices->len &&
               g_array_index(p->choices, Content, k) != content) {
            k++;
        }
        if (k == p->choices->len) {
            g_array_append_val(p->choices, content);
        }
    }
}

/* Cuts the power at @time: judges what may be left then. */
static bool cut(Run *r, int64_t time)
{
    g_autoptr(GPtrArray) varying = g_ptr_array_new();
    g_autofree uint32_t *sectors = g_new(uint32_t, r->unsettled->len);
    uint64_t nr = 1;

    for (guint i = 0; i < r->unsettled->len; i++) {
        Position *p = g_ptr_array_index(r->unsettled, i);

        find_choices(p);
        choose(r, p, 0);
        if (p->choices->len > 1) {
            sectors[varying->len] = p->sector;
            g_ptr_array_add(varying, p);
            nr = MIN(nr * p->choices->len, UINT32_MAX);
        }
    }
    if (!judge_cut(r->judge, time, r->image, sectors, varying->len)) {
        return judgement_failed(r);
    }
    return nr <= r->all_below ? judge_all(r, varying)
                              : judge_samples(r, varying);
}

/* What is written to @q's sectors is a version of each of them. */
static void add_versions(Run *r, Request *q)
{
    for (uint32_t i = 0; i < q->nr; i++) {
        uint32_t sector = q->first + i;
        Version v = { .content = q->contents[i], .request = q };
        Position *p = r->positions[sector];

        if (!p) {
            Version found = { .content = r->image[sector] };

            p = r->positions[sector] = g_new0(Position, 1);
            p->sector = sector;
            p->versions = g_array_new(false, false, sizeof(Version));
            p->choices = g_array_new(false, false, sizeof(Content));
            g_array_append_val(p->versions, found);
        }
        if (p->versions->len == 1) {
            g_ptr_array_add(r->unsettled, p);
        }
        g_array_append_val(p->versions, v);
    }
}

static bool version_is_durable(const Version *v, const Request *flush)
{
    return !v->request ||
           (v->request->done < flush->submit &&
            !v->request->dropped &&
            (v->request->ret == 0 || v->found));
}

/*
 * @flush is done.  What came before a durable version is gone, unless both were
 * in flight at once: then the file may have written them in either order.
 */
static void settle(Position *p, const Request *flush)
{
    int64_t limit = -1;
    guint kept = 0;

    for (guint i = 0; i < p->versions->len; i++) {
        const Version *v = &g_array_index(p->versions, Version, i);

        if (v->request && version_is_durable(v, flush)) {
            limit = MAX(limit, v->request->submit);
        }
    }
    for (guint i = 0; i < p->versions->len; i++) {
        Version v = g_array_index(p->versions, Version, i);

        if ((v.request ? v.request->landed : -1) >= limit) {
            g_array_index(p->versions, Version, kept++) = v;
        }
    }
    g_array_set_size(p->versions, kept);
}

/* Forgets position number @i of those that are unsettled, if it is settled. */
static bool drop_settled(Run *r, guint i)
{
    Position *p = g_ptr_array_index(r->unsettled, i);

    if (p->versions->len > 1) {
        return false;
    }
    r->image[p->sector] = g_array_index(p->versions, Version, 0).content;
    g_ptr_array_remove_index_fast(r->unsettled, i);
    return true;
}

static void settle_all(Run *r, const Request *flush)
{
    for (guint i = 0; i < r->unsettled->len; ) {
        settle(g_ptr_array_index(r->unsettled, i), flush);
        i += !drop_settled(r, i);
    }
}

/* Forgets what is not in the cache, which @view is. */
static void find_position(Position *p, const Content *view)
{
    guint kept = 0;
    Version v;

    for (guint i = 0; i < p->versions->len; i++) {
        v = g_array_index(p->versions, Version, i);
        if (!v.request || !test_bit(p->sector - v.request->first,
                                    v.request->lost)) {
            v.found = true;
            g_array_index(p->versions, Version, kept++) = v;
        }
    }
    g_array_set_size(p->versions, kept);
    g_assert(kept > 0 &&
             g_array_index(p->versions, Version, kept - 1).content ==
             view[p->sector]);
}

/*
 * A process finds @view in the cache, at time @time.  What the cache has lost
 * of a request that failed, or of a process that has died, will not be on the
 * disk either; and the order of all that was in flight then is known.
 */
static void find_view(Run *r, const Content *view, int64_t time)
{
    for (guint i = 0; i < r->requests->len; i++) {
        Request *q = g_ptr_array_index(r->requests, i);

        if (q->submit < time) {
            q->landed = q->submit;
        }
    }
    for (guint i = 0; i < r->unsettled->len; ) {
        find_position(g_ptr_array_index(r->unsettled, i), view);
        i += !drop_settled(r, i);
    }
}

/* Does the acknowledgement of @op promise something? */
static bool is_promise(const JudgeOp *op)
{
    return op->ret == 0 &&
           (op->fua || op->type == JUDGE_OP_FLUSH ||
            op->type == JUDGE_OP_CLOSE || op->type == JUDGE_OP_FINISH ||
            op->type == JUDGE_OP_RESET || op->type == JUDGE_OP_EXTEND);
}

/* What a process finds at @time is as good as what a power cut leaves. */
static bool judge_view(Run *r, const Content *view, int64_t time)
{
    if (judge_cut(r->judge, time, view, NULL, 0)) {
        return true;
    }
    run_fail(r, "%s", "");
    g_string_append(r->failure, "This is what another process finds:\n");
    return judgement_failed(r);
}

/*
 * Judges the whole history.  The longer one waits with a cut, the more images
 * are possible and the more was promised; only a flush of the file makes images
 * impossible, and only a reset takes promises back.  So cuts in front of these,
 * and one at the end, miss nothing.  Some more keep the number of images small
 * enough to try all of them.
 */
static bool judge_history(Run *r)
{
    bool news = true;

    memcpy(r->image, r->start, r->file_sectors * sizeof(Content));
    if (!judge_end(r->judge)) {
        return judgement_failed(r);
    }
    for (guint i = 0; i < r->events->len; i++) {
        const Event *event = &g_array_index(r->events, Event, i);
        const Request *q = event->request;
        bool flushed = event->type == EVENT_DONE && q->ret == 0 &&
                       q->type == REQUEST_FLUSH;
        bool reset = event->type == EVENT_BEGIN &&
                     event->op->type == JUDGE_OP_RESET;
        bool submit = event->type == EVENT_SUBMIT && q->type != REQUEST_FLUSH;

        if (event->type == EVENT_OPEN && !judge_view(r, event->view, i)) {
            return false;
        }
        if (news && (flushed || reset || (submit && percent(r, 30)))) {
            if (!cut(r, i)) {
                return false;
            }
            news = false;
        }
        if (flushed) {
            settle_all(r, q);
        } else if (event->type == EVENT_OPEN) {
            find_view(r, event->view, i);
        } else if (submit) {
            add_versions(r, event->request);
            news = true;
        } else if (event->type == EVENT_ACK && is_promise(event->op)) {
            news = true;
        }
    }
    return cut(r, r->events->len);
}

/*
 * Runs: some histories on one device.
 */

static void position_free(Position *p)
{
    if (p) {
        g_array_unref(p->versions);
        g_array_unref(p->choices);
        g_free(p);
    }
}

static void forget_history(Run *r)
{
    for (uint32_t i = 0; i < r->file_sectors; i++) {
        g_clear_pointer(&r->positions[i], position_free);
    }
    g_ptr_array_set_size(r->unsettled, 0);
    for (guint i = 0; i < r->events->len; i++) {
        g_free(g_array_index(r->events, Event, i).view);
    }
    g_array_set_size(r->events, 0);
    g_ptr_array_set_size(r->requests, 0);
    g_clear_pointer(&r->start, g_free);
    r->nr_images = 0;
}

static Run *run_new(const Profile *profile, uint32_t seed)
{
    Run *r = g_new0(Run, 1);

    r->profile = profile;
    r->random = (ZonedRandom) { .seed = seed, .state = seed };
    profile->geometry(&r->random, &r->geo);
    r->geo.nr_zones = DIV_ROUND_UP(r->geo.size, r->geo.zone_size);
    r->judge = judge_new(&r->geo);
    r->events = g_array_new(false, false, sizeof(Event));
    r->requests = g_ptr_array_new_with_free_func(request_free);
    r->parked = g_array_new(false, false, sizeof(Parked));
    r->unsettled = g_ptr_array_new();

    create_image(r);
    r->image = g_new(Content, r->file_sectors);
    r->next = g_new(Content, r->file_sectors);
    r->positions = g_new0(Position *, r->file_sectors);
    return r;
}

static void run_free(Run *r)
{
    forget_history(r);
    judge_free(r->judge);
    g_array_unref(r->events);
    g_ptr_array_unref(r->requests);
    g_array_unref(r->parked);
    g_ptr_array_unref(r->unsettled);
    g_free(r->file);
    g_free(r->image);
    g_free(r->next);
    g_free(r->positions);
    if (r->failure) {
        g_string_free(r->failure, true);
    }
    g_free(r);
    content_forget();
}

/* A history from what is in the file, and all cuts of it. */
static bool run_epoch(Run *r)
{
    bool good = judge_start(r->judge, r->file);

    if (!good) {
        return judgement_failed(r);
    }
    if (!device_open(r, ENTRANCE_OPEN)) {
        return false;
    }
    nr_histories++;
    good = check_device(r, OPENED) && run_history(r) && judge_history(r) &&
           check_device(r, FLUSHED);
    bdrv_unref(r->standby);
    r->standby = NULL;
    /* With operations that hang, it cannot be closed. */
    if (r->blk && r->nr_running == 0) {
        device_power_off(r);
    }
    memcpy(r->file, r->next, r->file_sectors * sizeof(Content));
    forget_history(r);
    return good;
}

static void print_failure(const Run *r, uint32_t seed)
{
    g_printerr("%sto repeat it: ZONED_TEST_SEED=%u\n", r->failure->str, seed);
    g_test_fail();
}

/* Judges the images of as many runs as it takes to have nr_wanted of them. */
static void test_crash(gconstpointer opaque)
{
    const Profile *profile = opaque;
    uint32_t seed = random_start().seed;
    uint64_t next_message = MILLION;

    nr_judged = 0;
    nr_histories = 0;
    for (; nr_judged < nr_wanted; seed++) {
        Run *r = run_new(profile, seed);
        unsigned epochs = 1 + below(r, 3);
        bool good = true;

        while (good && epochs-- > 0) {
            good = run_epoch(r);
        }
        if (!good) {
            print_failure(r, seed);
            return;
        }
        run_free(r);
        if (nr_judged >= next_message && nr_judged < nr_wanted) {
            g_test_message("%s: %" PRIu64 " images", profile->name, nr_judged);
            next_message += MILLION;
        }
    }
    g_test_message("%s: %" PRIu64 " images of %" PRIu64 " histories judged",
                   profile->name, nr_judged, nr_histories);
}

/*
 * The judge itself: it must see each damage to an image that is good.
 */

/* Is the image, which was damaged, refused?  Then it is repaired. */
static void expect_refused(Run *r, const char *damage)
{
    if (judge_cut(r->judge, JUDGE_NEVER - 1, r->image, NULL, 0)) {
        run_fail(r, "the judge does not see %s\n", damage);
    }
    memcpy(r->image, r->next, r->file_sectors * sizeof(Content));
}

static void set_bytes(Run *r, uint64_t offset, uint64_t number)
{
    uint8_t buf[SECTOR] QEMU_ALIGNED(8);
    Content *content = &r->image[offset / SECTOR];

    content_to_bytes(*content, buf);
    stq_le_p(buf + offset % SECTOR, number);
    *content = content_of_bytes(buf);
}

static void set_raw_entry(Run *r, uint32_t i, unsigned cond, bool extended,
                          uint64_t address)
{
    set_bytes(r, judge_entry_offset(r->judge, i),
              (uint64_t)cond << 60 | (uint64_t)extended << 58 | address);
}

static void set_entry(Run *r, uint32_t i, unsigned cond, uint64_t address)
{
    bool extended = judge_entry(r->judge, i).extended;

    set_raw_entry(r, i, cond, extended, address);
}

static void damage_extension(Run *r, uint32_t i)
{
    JudgeEntry entry = judge_entry(r->judge, i);

    set_raw_entry(r, i, entry.cond, !entry.extended, entry.address);
    expect_refused(r, entry.extended ? "an extension that is lost"
                                     : "an extension that was not set");
    if (entry.extended) {
        set_bytes(r, judge_extension_offset(r->judge, i) +
                  below(r, r->geo.ext_size / 8) * 8,
                  content_garbage(r->nr_garbage++));
        expect_refused(r, "an extension that is not complete");
    }
}

static void damage_zone(Run *r, uint32_t i)
{
    JudgeEntry entry = judge_entry(r->judge, i);
    uint64_t start = zone_start(r, i);
    Content *data = &r->image[judge_data_sector(r->judge, start / SECTOR)];
    uint64_t written = (entry.address - start) / SECTOR;
    uint64_t room = zone_room(r, i, entry.address) / SECTOR;

    if (r->geo.ext_size) {
        damage_extension(r, i);
    }
    set_entry(r, i, BLK_ZS_RDONLY, entry.address);
    expect_refused(r, "an unexpected condition");
    if (room > 1) {
        set_entry(r, i, BLK_ZS_CLOSED, entry.address + SECTOR);
        expect_refused(r, "an address that is too high");
    }
    if (written > 1) {
        set_entry(r, i, BLK_ZS_CLOSED, entry.address - SECTOR);
        expect_refused(r, "an address that is too low");
    }
    if (written > 0) {
        set_entry(r, i, BLK_ZS_EMPTY, start);
        expect_refused(r, "a zone that is lost");
        data[below(r, written)] = content_garbage(r->nr_garbage++);
        expect_refused(r, "a sector that is lost");
    }
    if (written > 1 && data[0] != data[written - 1]) {
        Content first = data[0];

        data[0] = data[written - 1];
        data[written - 1] = first;
        expect_refused(r, "sectors in a wrong place");
    }
    if (written > 0 && room > 0 && entry.cond == BLK_ZS_FULL) {
        set_entry(r, i, BLK_ZS_CLOSED, entry.address);
        expect_refused(r, "a finished zone that is not full");
    } else if (written > 0 && room > 0) {
        set_entry(r, i, BLK_ZS_FULL, entry.address);
        expect_refused(r, "a full zone that was not finished");
    }
}

static void damage_conv(Run *r)
{
    uint32_t sector = judge_data_sector(r->judge,
                                        below(r, conv_limit(r) / SECTOR));
    r->image[sector] = content_garbage(r->nr_garbage++);
    expect_refused(r, "a conventional sector that is lost");
}

static void test_judge(gconstpointer opaque)
{
    uint32_t seed = random_start().seed;

    for (int k = 0; k < 50; k++, seed++) {
        Run *r = run_new(opaque, seed);

        if (run_epoch(r)) {
            memcpy(r->next, r->image, r->file_sectors * sizeof(Content));
            set_bytes(r, r->geo.base + 8 * below(r, HEADER_LENGTH / 8),
                      content_garbage(r->nr_garbage++));
            expect_refused(r, "a damaged header");
            for (uint32_t i = r->geo.nr_conv; i < r->geo.nr_zones; i++) {
                damage_zone(r, i);
            }
            damage_conv(r);
        }
        if (r->failure) {
            print_failure(r, seed);
            return;
        }
        run_free(r);
    }
}

/*
 * Devices.
 */

/* A multiple of 4 KiB, up to @most of them */
static uint64_t blocks(ZonedRandom *random, unsigned most)
{
    return (1 + random_below(random, most)) * 4 * KiB;
}

static void limits(ZonedRandom *random, JudgeGeometry *geo, unsigned most)
{
    geo->max_active = random_below(random, most + 1);
    geo->max_open = random_below(random, (geo->max_active ?: most) + 1);
}

static void zones(ZonedRandom *random, JudgeGeometry *geo, uint32_t nr_zones)
{
    geo->size = nr_zones * geo->zone_size;
    geo->zone_capacity = random_below(random, 2) ? geo->zone_size
        : blocks(random, geo->zone_size / (4 * KiB));
    geo->max_append_sectors = 1 + random_below(random, 16);
    if (random_below(random, 2)) {
        geo->ext_size = 64 * (1 + random_below(random, 10));
    }
    if (random_below(random, 4) == 0) {
        geo->base = random_below(random, 64) * 4 * KiB;
    }
}

/* Zones that are filled by a few writes */
static void small_zones(ZonedRandom *random, JudgeGeometry *geo)
{
    geo->zone_size = blocks(random, 2);
    limits(random, geo, 6);
    zones(random, geo, 2 + random_below(random, 10));
}

static void large_zones(ZonedRandom *random, JudgeGeometry *geo)
{
    geo->zone_size = 3 * blocks(random, 8);
    zones(random, geo, 1 + random_below(random, 4));
    if (geo->size > geo->zone_size && random_below(random, 2)) {
        geo->size -= geo->zone_size - blocks(random, 3);
    }
}

/* More zones than a sector of the table holds, and few may be active. */
static void few_active(ZonedRandom *random, JudgeGeometry *geo)
{
    geo->zone_size = blocks(random, 1);
    limits(random, geo, 3);
    zones(random, geo, 65 + random_below(random, 200));
}

/* More zones than a block of the table holds */
static void many_zones(ZonedRandom *random, JudgeGeometry *geo)
{
    geo->zone_size = blocks(random, 1);
    limits(random, geo, 3);
    zones(random, geo, 513 + random_below(random, 1200));
}

static void conventional(ZonedRandom *random, JudgeGeometry *geo)
{
    geo->zone_size = blocks(random, 4);
    limits(random, geo, 4);
    geo->nr_conv = 1 + random_below(random, 3);
    zones(random, geo, geo->nr_conv + 1 + random_below(random, 6));
}

static void any_zones(ZonedRandom *random, JudgeGeometry *geo)
{
    static void (*const geometries[])(ZonedRandom *, JudgeGeometry *) = {
        small_zones, large_zones, few_active, many_zones, conventional,
    };

    geometries[random_below(random, ARRAY_SIZE(geometries))](random, geo);
}

static const Profile judge_profile = {
    "judge", conventional, .certain = true, .processes = true,
};

static const Profile profiles[] = {
    { "small-zones", small_zones },
    { "large-zones", large_zones },
    { "few-active", few_active },
    { "many-zones", many_zones },
    { "conventional", conventional },
    { "fragments", any_zones, .fragments = true },
    { "faults", any_zones, .faults = true },
    { "processes", any_zones, .processes = true },
    { "processes-faults", any_zones, .processes = true, .faults = true },
};

int main(int argc, char **argv)
{
    bdrv_init();
    qemu_init_main_loop(&error_abort);
    g_test_init(&argc, &argv, NULL);

    nr_wanted = random_steps(20000);
    dump_folder = getenv("ZONED_TEST_DUMP");
    dumps_wanted = random_env("ZONED_TEST_DUMPS", 8);

    g_test_add_data_func("/zoned/crash/judge", &judge_profile, test_judge);
    for (int i = 0; i < ARRAY_SIZE(profiles); i++) {
        g_autofree char *path = g_strdup_printf("/zoned/crash/%s",
                                                profiles[i].name);

        g_test_add_data_func(path, &profiles[i], test_crash);
    }
    return g_test_run();
}

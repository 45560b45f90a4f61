/*
 * zoned block format driver: the order of writes and zone operations
 *
 * Any number of writes may be in flight in a zone, and the file completes them
 * in any order.  They are acknowledged in the order of their addresses: so what
 * is acknowledged is contiguous, and below the write pointer there is never a
 * hole.  If one fails, those behind it fail with it; when all of them are done,
 * the write pointer goes back to where the failed one began.
 *
 * Whoever sent them goes on from there.  A guest with a queue does not know of
 * the failure when it sends its next write, which starts where the failed ones
 * ended.  That is no mistake of the guest, so such a write fails with the error
 * of the host as well (see @lost_end), and a VM that is stopped by it repeats
 * them all.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "zoned.h"
#include "trace.h"

/* What is in flight in one zone. */
struct ZonedFlight {
    /* In the order of their addresses, without gaps; the last ends at the WP */
    QTAILQ_HEAD(, ZonedWrite) writes;

    /* How many of @writes are not done. */
    uint32_t nr_pending;

    /*
     * The error of the first of @writes, which has failed.  While this is set,
     * the zone takes no new writes, and none is acknowledged.
     */
    int error;

    /*
     * Writes up to this byte of the device have failed with @lost_error, and
     * nothing was written to the zone since; the node had been drained so often
     * by then.  Only valid if @lost_error is set.
     */
    uint64_t lost_end;
    uint64_t lost_drains;
    int lost_error;

    /* Those who wait until nothing is in flight. */
    CoQueue idle;

    /* Those who wait until the data of earlier writes is in the file. */
    CoQueue flushers;

    /* Data that is to be taken back may be in the image already. */
    bool revoked;

    /* One that is put away is as flight_new() has made it: all unused. */
};

static bool flight_is_busy(const ZonedFlight *f)
{
    return f && !QTAILQ_EMPTY(&f->writes);
}

/* Lets all others go on that can in this thread. */
static void coroutine_fn take_turns(void)
{
    aio_co_schedule(qemu_get_current_aio_context(), qemu_coroutine_self());
    qemu_coroutine_yield();
}

void coroutine_fn zoned_pause(BDRVZonedState *s, uint32_t nr)
{
    if (nr == 0 || nr % ZONED_ZONES_PER_LOCK != 0) {
        return;
    }
    qemu_spin_unlock(&s->lock);
    if (nr % ZONED_ZONES_PER_TURN == 0) {
        take_turns();
    }
    qemu_spin_lock(&s->lock);
}

bool zoned_inflight_init(ZonedInflight *in, uint32_t nr_zones)
{
    uint32_t nr_chunks = DIV_ROUND_UP(nr_zones, ZONED_ZONES_PER_CHUNK);

    *in = (ZonedInflight) {
        .chunks = g_try_new0(ZonedFlight **, nr_chunks),
        .nr_chunks = nr_chunks,
    };
    QLIST_INIT(&in->exclusions);
    return in->chunks;
}

static void free_chunk(ZonedFlight **chunk)
{
    if (!chunk) {
        return;
    }
    for (uint32_t j = 0; j < ZONED_ZONES_PER_CHUNK; j++) {
        if (chunk[j]) {
            assert(!flight_is_busy(chunk[j]));
            g_free(chunk[j]);
        }
    }
    g_free(chunk);
}

void zoned_inflight_destroy(ZonedInflight *in)
{
    for (uint32_t c = 0; in->chunks && c < in->nr_chunks; c++) {
        free_chunk(in->chunks[c]);
    }
    g_clear_pointer(&in->spare, g_free);
    g_clear_pointer(&in->chunks, g_free);
}

static ZonedFlight *flight_new(void)
{
    ZonedFlight *f = g_new0(ZonedFlight, 1);

    QTAILQ_INIT(&f->writes);
    qemu_co_queue_init(&f->idle);
    qemu_co_queue_init(&f->flushers);
    return f;
}

/* What is in flight in zone @i; NULL: nothing. */
static ZonedFlight *flight_of(const ZonedInflight *in, uint32_t i)
{
    ZonedFlight **chunk = in->chunks[i / ZONED_ZONES_PER_CHUNK];

    return chunk ? chunk[i % ZONED_ZONES_PER_CHUNK] : NULL;
}

static ZonedFlight *flight_get(ZonedInflight *in, uint32_t i)
{
    ZonedFlight ***chunk = &in->chunks[i / ZONED_ZONES_PER_CHUNK];
    ZonedFlight **f;

    if (!*chunk) {
        *chunk = g_new0(ZonedFlight *, ZONED_ZONES_PER_CHUNK);
    }
    f = &(*chunk)[i % ZONED_ZONES_PER_CHUNK];
    if (!*f) {
        *f = in->spare ?: flight_new();
        in->spare = NULL;
        in->nr_flights++;
    }
    return *f;
}

static void flight_put(ZonedInflight *in, uint32_t i, ZonedFlight *f)
{
    in->chunks[i / ZONED_ZONES_PER_CHUNK][i % ZONED_ZONES_PER_CHUNK] = NULL;
    in->nr_flights--;
    if (in->spare) {
        g_free(f);
    } else {
        in->spare = f;
    }
}

/* Nothing is in flight in zone @i, whose flight is @f, any more. */
static void coroutine_fn flight_idle(ZonedInflight *in, uint32_t i,
                                     ZonedFlight *f)
{
    if (!qemu_co_queue_empty(&f->idle)) {
        qemu_co_queue_restart_all(&f->idle);
    }
    if (!f->lost_error) {
        flight_put(in, i, f);
    }
}

uint64_t zoned_inflight_stable(const BDRVZonedState *s, uint32_t i)
{
    const ZonedFlight *f = flight_of(&s->inflight, i);
    const ZonedWrite *w;

    if (f) {
        QTAILQ_FOREACH(w, &f->writes, next) {
            if (!w->written) {
                return w->offset;
            }
        }
    }
    return zoned_zones_end(&s->zones, i);
}

/* The byte of the device up to which all writes of the zone are acknowledged */
static uint64_t acknowledged_end(const BDRVZonedState *s, uint32_t i,
                                 const ZonedFlight *f)
{
    const ZonedWrite *w = QTAILQ_FIRST(&f->writes);

    return w ? w->offset : zoned_zones_end(&s->zones, i);
}

/* The exclusion that holds a zone of @first to @last, or NULL. */
static ZonedExclusion *find_exclusion(const ZonedInflight *in, uint32_t first,
                                      uint32_t last)
{
    ZonedExclusion *ex;

    QLIST_FOREACH(ex, &in->exclusions, next) {
        if (first <= ex->last && last >= ex->first) {
            return ex;
        }
    }
    return NULL;
}

/*
 * The queue in which a write to zone @i has to wait, because an exclusion holds
 * the zone or what is in flight is failing; NULL if the write can begin.  Sets
 * @f to what is in flight, or NULL.
 */
static CoQueue *find_obstacle(const ZonedInflight *in, uint32_t i,
                              ZonedFlight **f)
{
    ZonedExclusion *ex = find_exclusion(in, i, i);

    *f = flight_of(in, i);
    if (ex) {
        return &ex->waiters;
    }
    return *f && (*f)->error ? &(*f)->idle : NULL;
}

void zoned_inflight_drain_begin(BlockDriverState *bs)
{
    BDRVZonedState *s = bs->opaque;

    qemu_spin_lock(&s->lock);
    s->inflight.nr_drains++;
    qemu_spin_unlock(&s->lock);
}

/* Writes up to byte @end were lost, as the host failed with @error. */
static void lose_writes(const ZonedInflight *in, ZonedFlight *f, uint64_t end,
                        int error)
{
    f->lost_end = end;
    f->lost_drains = in->nr_drains;
    f->lost_error = error;
}

/*
 * Can there still be writes that were sent before the guest could know that
 * others were lost?  The first drain may have held them up, but the second one
 * has waited for them.
 */
static bool may_follow_lost_writes(const ZonedInflight *in,
                                   const ZonedFlight *f)
{
    return f && f->lost_error && in->nr_drains - f->lost_drains <= 1;
}

/*
 * If @w continues writes that the host has failed, it fails the same way.
 * Returns the error, or 0 if there are none.
 */
static int follow_lost_writes(BDRVZonedState *s, uint32_t i, ZonedWrite *w)
{
    ZonedFlight *f = flight_of(&s->inflight, i);
    uint64_t cap_limit = zoned_zone_cap_limit(&s->header.geo, i);

    if (!may_follow_lost_writes(&s->inflight, f) || w->offset != f->lost_end ||
        w->bytes > cap_limit - w->offset ||
        !QEMU_IS_ALIGNED(w->bytes, ZONED_WRITE_GRANULARITY)) {
        return 0;
    }
    f->lost_end += w->bytes;
    return f->lost_error;
}

/* The zone, in which nothing is in flight, goes on without the lost writes. */
static void forget_lost_writes(ZonedInflight *in, uint32_t i)
{
    ZonedFlight *f = flight_of(in, i);

    if (f) {
        f->lost_error = 0;
        flight_put(in, i, f);
    }
}

/* Called with the lock; the zone takes writes. */
static int try_begin(BDRVZonedState *s, uint32_t i, bool append, ZonedWrite *w)
{
    int ret;

    if (zoned_resets_unsettled(s)) {
        return -EAGAIN;
    }
    if (append) {
        w->offset = zoned_zones_end(&s->zones, i);
    }
    ret = zoned_zones_begin_write(&s->zones, i, w->offset, w->bytes);
    if (ret == -EINVAL) {
        return follow_lost_writes(s, i, w) ?: ret;
    }
    return ret;
}

static void insert_exclusion(ZonedInflight *in, ZonedExclusion *ex)
{
    qemu_co_queue_init(&ex->waiters);
    QLIST_INSERT_HEAD(&in->exclusions, ex, next);
}

static void coroutine_fn remove_exclusion(ZonedExclusion *ex)
{
    QLIST_REMOVE(ex, next);
    qemu_co_queue_restart_all(&ex->waiters);
}

/*
 * Commits, as @w cannot begin before.  Zone @i is held meanwhile: the writes
 * that come behind @w must not begin before it.  If that fails, those that rely
 * on @w fail with it.  Called and returns with the lock.
 */
static int coroutine_fn GRAPH_RDLOCK
commit_for_write(BlockDriverState *bs, uint32_t i, bool append, ZonedWrite *w)
{
    BDRVZonedState *s = bs->opaque;
    ZonedExclusion ex = { .first = i, .last = i };
    ZonedFlight *f;
    int ret;

    insert_exclusion(&s->inflight, &ex);
    qemu_spin_unlock(&s->lock);
    ret = zoned_host_error(zoned_co_commit(bs));
    qemu_spin_lock(&s->lock);
    remove_exclusion(&ex);

    if (ret < 0 && !append && w->offset == zoned_zones_end(&s->zones, i)) {
        f = flight_get(&s->inflight, i);
        lose_writes(&s->inflight, f, w->offset + w->bytes, ret);
    }
    return ret;
}

/*
 * Waits until @w can be begun, and does so; @f is then what is in flight in the
 * zone, or NULL.  Called with the lock.
 */
static int coroutine_fn GRAPH_RDLOCK
wait_and_begin(BlockDriverState *bs, uint32_t i, bool append, ZonedWrite *w,
               ZonedFlight **f)
{
    BDRVZonedState *s = bs->opaque;
    CoQueue *obstacle;
    int ret;

    do {
        while ((obstacle = find_obstacle(&s->inflight, i, f))) {
            qemu_co_queue_wait(obstacle, &s->lock);
        }
        ret = try_begin(s, i, append, w);
        if (ret != -EAGAIN) {
            return ret;
        }
        ret = commit_for_write(bs, i, append, w);
    } while (ret == 0);
    return ret;
}

int coroutine_fn zoned_inflight_begin(BlockDriverState *bs, uint32_t i,
                                      bool append, ZonedWrite *w)
{
    BDRVZonedState *s = bs->opaque;
    ZonedFlight *f;
    int ret;

    qemu_spin_lock(&s->lock);
    ret = wait_and_begin(bs, i, append, w, &f);
    if (ret == 0) {
        f = f ?: flight_get(&s->inflight, i);
        f->lost_error = 0;
        f->nr_pending++;
        w->written = w->done = w->acknowledged = false;
        w->co = NULL;
        QTAILQ_INSERT_TAIL(&f->writes, w, next);
    }
    qemu_spin_unlock(&s->lock);
    return ret;
}

/* Is the data of all writes in front of @w in the file? */
static bool earlier_ones_written(const ZonedFlight *f, const ZonedWrite *w)
{
    const ZonedWrite *earlier;

    for (earlier = QTAILQ_FIRST(&f->writes); earlier != w;
         earlier = QTAILQ_NEXT(earlier, next)) {
        if (!earlier->written) {
            return false;
        }
    }
    return true;
}

/*
 * Some data of zone @i is in the file, or will never be.  If that was waited
 * for, the next commit has to count it, even if it is not acknowledged yet.
 */
static void coroutine_fn wake_flushers(BDRVZonedState *s, uint32_t i,
                                       ZonedFlight *f)
{
    if (!qemu_co_queue_empty(&f->flushers)) {
        zoned_zones_mark_dirty(&s->zones, i);
        qemu_co_queue_restart_all(&f->flushers);
    }
}

int coroutine_fn zoned_inflight_flush(BlockDriverState *bs, uint32_t i,
                                      ZonedWrite *w)
{
    BDRVZonedState *s = bs->opaque;
    ZonedFlight *f;
    int ret;

    qemu_spin_lock(&s->lock);
    f = flight_of(&s->inflight, i);
    w->written = true;
    zoned_zones_mark_dirty(&s->zones, i);
    wake_flushers(s, i, f);
    while (!f->error && !earlier_ones_written(f, w)) {
        qemu_co_queue_wait(&f->flushers, &s->lock);
    }
    ret = f->error;
    qemu_spin_unlock(&s->lock);
    if (ret == 0) {
        ret = zoned_host_error(bdrv_co_flush(bs));
        /*
         * Not before those that the flush has woken: one that is acknowledged
         * behind us would be among them, and overtake others in between.
         */
        take_turns();
    }
    return ret;
}

/* Takes @w out of the zone: its result is @ret. */
static void acknowledge(ZonedFlight *f, ZonedWrite *w, int ret)
{
    QTAILQ_REMOVE(&f->writes, w, next);
    w->ret = ret;
    w->acknowledged = true;
}

/*
 * Acknowledges the writes at the front that are done, up to one that failed.
 *
 * The first of them is the one that is done just now, and its coroutine simply
 * goes on.  The others do so when that one yields or ends; so what they send
 * next begins in the same order.
 */
static void coroutine_fn acknowledge_done(BDRVZonedState *s, uint32_t i,
                                          ZonedFlight *f)
{
    bool advanced = false;
    ZonedWrite *w;

    while ((w = QTAILQ_FIRST(&f->writes)) && w->done) {
        if (w->ret < 0) {
            f->error = w->ret;
            wake_flushers(s, i, f);
            break;
        }
        acknowledge(f, w, 0);
        if (w->co) {
            aio_co_wake(w->co);
        }
        advanced = true;
    }
    if (advanced) {
        zoned_zones_end_write(&s->zones, i, acknowledged_end(s, i, f));
    }
}

/*
 * The first of the writes has failed, and all are done: fails them all.  The
 * coroutine that runs is that of any of them; if it waits like the others, all
 * go on in their order, in which they are then repeated.
 */
static void coroutine_fn fail_all(BlockDriverState *bs, uint32_t i,
                                  ZonedFlight *f)
{
    BDRVZonedState *s = bs->opaque;
    ZonedWrite *w = QTAILQ_FIRST(&f->writes);
    uint64_t end = w->offset;

    trace_zoned_rollback(bs, i, zoned_zones_end(&s->zones, i), end, f->error);
    lose_writes(&s->inflight, f, zoned_zones_end(&s->zones, i), f->error);
    zoned_zones_rollback(&s->zones, i, end);
    if (f->revoked) {
        s->commit.nr_resets_failed++;
        f->revoked = false;
    }
    while ((w = QTAILQ_FIRST(&f->writes))) {
        acknowledge(f, w, f->error);
        if (w->co) {
            aio_co_schedule(qemu_coroutine_get_aio_context(w->co), w->co);
        }
    }
    f->error = 0;
}

int coroutine_fn zoned_inflight_end(BlockDriverState *bs, uint32_t i,
                                    ZonedWrite *w, int ret)
{
    BDRVZonedState *s = bs->opaque;
    ZonedInflight *in = &s->inflight;
    ZonedFlight *f;

    qemu_spin_lock(&s->lock);
    f = flight_of(in, i);
    if (ret < 0) {
        f->revoked |= w->written;
    }
    w->written = ret == 0;
    w->ret = ret;
    w->done = true;
    f->nr_pending--;
    wake_flushers(s, i, f);

    if (!f->error) {
        acknowledge_done(s, i, f);
    }
    if (f->error && f->nr_pending == 0) {
        if (!w->acknowledged && w != QTAILQ_FIRST(&f->writes)) {
            w->co = qemu_coroutine_self();
        }
        fail_all(bs, i, f);
    }
    if (QTAILQ_EMPTY(&f->writes)) {
        flight_idle(in, i, f);
    }
    if (!w->acknowledged) {
        w->co = qemu_coroutine_self();
    }
    qemu_spin_unlock(&s->lock);
    if (w->co) {
        qemu_coroutine_yield();
    }
    return w->ret;
}

/* Waits until nothing is in flight in zone @i.  Called with the lock. */
static void coroutine_fn drain_zone(BDRVZonedState *s, uint32_t i)
{
    ZonedInflight *in = &s->inflight;

    while (flight_is_busy(flight_of(in, i))) {
        qemu_co_queue_wait(&flight_of(in, i)->idle, &s->lock);
    }
    forget_lost_writes(in, i);
}

void coroutine_fn zoned_exclusion_begin(BlockDriverState *bs,
                                        ZonedExclusion *ex, bool drain)
{
    BDRVZonedState *s = bs->opaque;
    ZonedExclusion *other;

    qemu_spin_lock(&s->lock);
    while ((other = find_exclusion(&s->inflight, ex->first, ex->last))) {
        qemu_co_queue_wait(&other->waiters, &s->lock);
    }
    insert_exclusion(&s->inflight, ex);

    for (uint32_t i = ex->first;
         drain && s->inflight.nr_flights > 0 && i <= ex->last; i++) {
        zoned_pause(s, i - ex->first);
        drain_zone(s, i);
    }
    qemu_spin_unlock(&s->lock);
}

void coroutine_fn zoned_exclusion_end(BlockDriverState *bs, ZonedExclusion *ex)
{
    BDRVZonedState *s = bs->opaque;

    qemu_spin_lock(&s->lock);
    remove_exclusion(ex);
    qemu_spin_unlock(&s->lock);
}

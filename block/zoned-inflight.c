/*
 * zoned block format driver: the order of writes and zone operations
 *
 * See the head of zoned.h for the life of a write.
 *
 * What has to wait does so in a line: the writes of a zone in that of its
 * flight, operations on zones in that of all exclusions.  A ticket says what
 * came first where the two meet.  Nothing is woken to try again: whoever takes
 * an obstacle away begins, under the lock, the writes that can begin now, and
 * wakes them when that is done.  So nothing overtakes what waits, whichever
 * thread it comes from.
 *
 * What each write runs through is inline, which takes 40 instructions off the
 * 4,420 of a write of 4 KiB.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/defer-call.h"
#include "zoned.h"
#include "trace.h"

/* What is in flight in one zone, or waits to be. */
struct ZonedFlight {
    uint32_t zone;

    /* In the order of their addresses, without gaps; the last ends at the WP */
    QTAILQ_HEAD(, ZonedWrite) writes;

    /* The first of @writes whose data is not in the file; NULL: none. */
    ZonedWrite *unwritten;

    /* How many of @writes are not done. */
    uint32_t nr_pending;

    /*
     * The error of the first of @writes, which has failed.  While this is set,
     * no write begins in the zone, and none is acknowledged.
     */
    int error;

    /* Data that is to be taken back may be in the image already. */
    bool revoked;

    /* Those that have yet to begin, in the order in which they came. */
    QTAILQ_HEAD(, ZonedWrite) waiting;

    /* The first of @waiting is committing, as it cannot begin before. */
    bool committing;

    /*
     * The exclusion that waits for @writes or @waiting.  There is never more
     * than one: others for the same zone wait for that one.
     */
    ZonedExclusion *excluder;

    QLIST_ENTRY(ZonedFlight) in_bucket;
    QLIST_ENTRY(ZonedFlight) next;      /* in @flights or @unused */
};

void coroutine_fn zoned_take_turns(void)
{
    aio_co_schedule(qemu_get_current_aio_context(), qemu_coroutine_self());
    qemu_coroutine_yield();
}

void coroutine_fn zoned_wait(BDRVZonedState *s, ZonedWaiter *me)
{
    me->co = qemu_coroutine_self();
    me->waits = true;
    qemu_spin_unlock(&s->lock);
    qemu_coroutine_yield();
    qemu_spin_lock(&s->lock);
}

void zoned_wake(ZonedWakeList *wake, ZonedWaiter *waiter)
{
    if (waiter->waits) {
        waiter->waits = false;
        QSIMPLEQ_INSERT_TAIL(wake, waiter, next);
    }
}

/*
 * Coroutines of one thread that are about to go on, at the latest in a bottom
 * half.  It belongs to that, and is in @resumptions as long as it has some.  It
 * counts as a request in flight, which keeps node and thread.
 *
 * Another thread that has made it may be held up before it schedules its bottom
 * half.  What a thread lets go on itself does not wait for that: there are two
 * bottom halves then, and it belongs to the last.
 */
struct ZonedResumption {
    BlockDriverState *bs;
    AioContext *ctx;
    ZonedWakeList list;
    uint32_t nr;                /* how many are in @list; atomic */
    uint32_t nr_acknowledged;   /* those of them that were acknowledged */
    unsigned nr_bhs;            /* have yet to end */
    bool has_own_bh;            /* one of them was scheduled by its thread */
    QLIST_ENTRY(ZonedResumption) next;
};

/*
 * Takes the first of @r, which has one, and puts @r out of sight with the last
 * of them.  Called in its thread, with the lock.
 */
static Coroutine *take_first(ZonedResumption *r)
{
    ZonedWaiter *first = QSIMPLEQ_FIRST(&r->list);

    r->nr_acknowledged -= first->acknowledged;
    QSIMPLEQ_REMOVE_HEAD(&r->list, next);
    qatomic_set(&r->nr, r->nr - 1);
    if (r->nr == 0) {
        QLIST_REMOVE(r, next);
    }
    return first->co;
}

/* Lets the first of @r go on, in its thread.  That may end the last request. */
static void resume_first(ZonedResumption *r)
{
    BDRVZonedState *s = r->bs->opaque;
    Coroutine *co;

    qemu_spin_lock(&s->lock);
    co = take_first(r);
    qemu_spin_unlock(&s->lock);
    qemu_aio_coroutine_enter(r->ctx, co);
}

static void resume_bh(void *opaque)
{
    ZonedResumption *r = opaque;
    BDRVZonedState *s = r->bs->opaque;
    bool last;

    /* What they submit next goes to the file together. */
    defer_call_begin();
    /* Once there are none, nobody adds any. */
    while (qatomic_read(&r->nr) > 0) {
        resume_first(r);
    }
    defer_call_end();

    qemu_spin_lock(&s->lock);
    last = --r->nr_bhs == 0;
    qemu_spin_unlock(&s->lock);
    if (last) {
        bdrv_dec_in_flight(r->bs);
        g_free(r);
    }
}

/* What is to go on in this thread, or NULL.  Called with the lock. */
static ZonedResumption *find_resumption(const ZonedInflight *in,
                                        const AioContext *ctx)
{
    ZonedResumption *r;

    QLIST_FOREACH(r, &in->resumptions, next) {
        if (r->ctx == ctx) {
            break;
        }
    }
    return r;
}

/* Does @r need a bottom half of the thread that we are in?  With the lock. */
static bool wants_bh(ZonedResumption *r)
{
    bool own = r->ctx == qemu_get_current_aio_context();

    if (r->nr_bhs > 0 && (r->has_own_bh || !own)) {
        return false;
    }
    r->has_own_bh = own;
    r->nr_bhs++;
    return true;
}

/*
 * Adds @waiter to the resumption of @ctx if there is one, or to @new, and
 * returns it; or NULL.  @schedule: the caller is to schedule a bottom half.
 */
static ZonedResumption *join_resumption(BDRVZonedState *s, AioContext *ctx,
                                        ZonedWaiter *waiter,
                                        ZonedResumption *new, bool *schedule)
{
    ZonedResumption *r;

    qemu_spin_lock(&s->lock);
    r = find_resumption(&s->inflight, ctx);
    if (!r && new) {
        r = new;
        QLIST_INSERT_HEAD(&s->inflight.resumptions, r, next);
    }
    if (r) {
        QSIMPLEQ_INSERT_TAIL(&r->list, waiter, next);
        qatomic_set(&r->nr, r->nr + 1);
        r->nr_acknowledged += waiter->acknowledged;
        *schedule = wants_bh(r);
    }
    qemu_spin_unlock(&s->lock);
    return r;
}

/* Lets the coroutine of @waiter go on. */
static void resume(BlockDriverState *bs, ZonedWaiter *waiter)
{
    BDRVZonedState *s = bs->opaque;
    AioContext *ctx = qemu_coroutine_get_aio_context(waiter->co);
    ZonedResumption *r, *new;
    bool schedule;

    r = join_resumption(s, ctx, waiter, NULL, &schedule);
    if (!r) {
        new = g_new(ZonedResumption, 1);
        *new = (ZonedResumption) { .bs = bs, .ctx = ctx };
        QSIMPLEQ_INIT(&new->list);
        bdrv_inc_in_flight(bs);
        r = join_resumption(s, ctx, waiter, new, &schedule);
        if (r != new) {
            bdrv_dec_in_flight(bs);
            g_free(new);
        }
    }
    if (schedule) {
        aio_bh_schedule_oneshot(ctx, resume_bh, r);
    }
}

void zoned_wake_some(BlockDriverState *bs, ZonedWakeList *wake)
{
    ZonedWaiter *waiter;

    /*
     * Not aio_co_wake(): if we run in the same thread, that would let them run
     * right behind us, but in front of what our caller is about to submit when
     * it hears of our success; and what they submit in turn would begin first.
     */
    while ((waiter = QSIMPLEQ_FIRST(wake))) {
        QSIMPLEQ_REMOVE_HEAD(wake, next);
        resume(bs, waiter);
    }
}

void zoned_inflight_init(ZonedInflight *in)
{
    *in = (ZonedInflight) {};
    QTAILQ_INIT(&in->exclusions);
}

void zoned_inflight_destroy(ZonedInflight *in)
{
    ZonedFlight *f;

    assert(QLIST_EMPTY(&in->flights));
    while ((f = QLIST_FIRST(&in->unused))) {
        QLIST_REMOVE(f, next);
        g_free(f);
    }
}

static unsigned bucket_of(uint32_t i)
{
    return i % ZONED_FLIGHT_BUCKETS;
}

/* What is in flight in zone @i, or NULL.  Called with the lock. */
static ZonedFlight *flight_of(const ZonedInflight *in, uint32_t i)
{
    ZonedFlight *f;

    QLIST_FOREACH(f, &in->buckets[bucket_of(i)], in_bucket) {
        if (f->zone == i) {
            return f;
        }
    }
    return NULL;
}

/*
 * Makes a flight of zone @i, unless there is one.  Called with the lock, which
 * is released if memory has to be allocated.
 */
static ZonedFlight *flight_make(BDRVZonedState *s, uint32_t i)
{
    ZonedInflight *in = &s->inflight;
    ZonedFlight *f;

    while (!(f = QLIST_FIRST(&in->unused))) {
        qemu_spin_unlock(&s->lock);
        f = g_new0(ZonedFlight, 1);
        QTAILQ_INIT(&f->writes);
        QTAILQ_INIT(&f->waiting);
        qemu_spin_lock(&s->lock);
        QLIST_INSERT_HEAD(&in->unused, f, next);

        f = flight_of(in, i);
        if (f) {
            return f;
        }
    }
    QLIST_REMOVE(f, next);
    f->zone = i;
    QLIST_INSERT_HEAD(&in->flights, f, next);
    QLIST_INSERT_HEAD(&in->buckets[bucket_of(i)], f, in_bucket);
    return f;
}

/* Does @f hold up exclusion @ex, which has one of its zones?  With the lock. */
static bool flight_hinders(const ZonedFlight *f, const ZonedExclusion *ex)
{
    const ZonedWrite *w = QTAILQ_FIRST(&f->waiting);

    return (ex->drain && !QTAILQ_EMPTY(&f->writes)) ||
           (w && w->ticket < ex->ticket);
}

/*
 * Something was taken out of @f: lets go on who waits for that, and puts @f
 * away if it has nothing left.  Called with the lock.
 */
static inline void flight_update(ZonedInflight *in, ZonedFlight *f,
                                 ZonedWakeList *wake)
{
    if (f->excluder && !flight_hinders(f, f->excluder)) {
        zoned_wake(wake, &f->excluder->waiter);
        f->excluder = NULL;
    }
    if (QTAILQ_EMPTY(&f->writes) && QTAILQ_EMPTY(&f->waiting)) {
        QLIST_REMOVE(f, in_bucket);
        QLIST_REMOVE(f, next);
        QLIST_INSERT_HEAD(&in->unused, f, next);
    }
}

uint64_t zoned_inflight_stable(const BDRVZonedState *s, uint32_t i)
{
    const ZonedFlight *f = flight_of(&s->inflight, i);

    return f && f->unwritten ? f->unwritten->offset
                             : zoned_zones_end(&s->zones, i);
}

/*
 * The byte of the device up to which all writes of @f are acknowledged.  Called
 * with the lock.
 */
static uint64_t acknowledged_end(const BDRVZonedState *s, const ZonedFlight *f)
{
    const ZonedWrite *w = QTAILQ_FIRST(&f->writes);

    return w ? w->offset : zoned_zones_end(&s->zones, f->zone);
}

uint64_t zoned_inflight_acknowledged(BDRVZonedState *s, uint32_t i)
{
    const ZonedFlight *f;
    uint64_t end;

    qemu_spin_lock(&s->lock);
    f = flight_of(&s->inflight, i);
    end = f ? acknowledged_end(s, f) : zoned_zones_end(&s->zones, i);
    qemu_spin_unlock(&s->lock);
    return end;
}

void zoned_inflight_find(const BDRVZonedState *s, unsigned long *bits)
{
    const ZonedFlight *f;

    QLIST_FOREACH(f, &s->inflight.flights, next) {
        if (!QTAILQ_EMPTY(&f->writes)) {
            set_bit(f->zone / ZONED_ZONES_PER_BLOCK, bits);
        }
    }
}

/*
 * The exclusion that came before @ticket and has a zone of @first to @last, or
 * NULL.  Called with the lock.
 */
static ZonedExclusion *find_exclusion(const ZonedInflight *in, uint32_t first,
                                      uint32_t last, uint64_t ticket)
{
    ZonedExclusion *ex;

    QTAILQ_FOREACH(ex, &in->exclusions, next) {
        if (ex->ticket >= ticket) {
            break;
        }
        if (first <= ex->last && last >= ex->first) {
            return ex;
        }
    }
    return NULL;
}

/* Checks @w, which no rule stops, and advances the write pointer. */
static inline int try_begin_unruled(BDRVZonedState *s, ZonedFlight *f,
                                    ZonedWrite *w)
{
    int ret;

    if (zoned_commit_in_doubt(&s->commit)) {
        /* A mistake of the guest is no reason to commit. */
        ret = zoned_zones_may_write(&s->zones, f->zone, w->offset, w->bytes);
        return ret < 0 ? ret : -EAGAIN;
    }
    ret = zoned_zones_begin_write(&s->zones, f->zone, w->offset, w->bytes);
    if (ret < 0) {
        return ret;
    }
    w->opened = ret > 0;
    return 0;
}

/* The same for a device that has rules.  On its own, as it seldom has. */
static __attribute__((noinline)) int try_begin_ruled(BDRVZonedState *s,
                                                     ZonedFlight *f,
                                                     ZonedWrite *w)
{
    int ret = zoned_zones_may_write(&s->zones, f->zone, w->offset, w->bytes);

    if (zoned_rules_stop_write(s, f->zone, w, ret == 0)) {
        /* It may be behind one that was stopped. */
        return -ECANCELED;
    }
    if (ret == 0) {
        ret = try_begin_unruled(s, f, w);
    }
    if (ret == 0) {
        zoned_rules_count_write(s, f->zone, w);
    }
    return ret;
}

/*
 * Checks @w, to which nothing is an obstacle, and advances the write pointer.
 * Returns 0; an errno of zoned-zones.h; -EAGAIN: it must commit before; or
 * -ECANCELED: the zone fails before.  Called with the lock.
 */
static inline int try_begin(BDRVZonedState *s, ZonedFlight *f, ZonedWrite *w)
{
    if (w->append) {
        w->offset = zoned_zones_end(&s->zones, f->zone);
    }
    return unlikely(s->rules.nr) ? try_begin_ruled(s, f, w)
                                 : try_begin_unruled(s, f, w);
}

/* @w has begun.  Called with the lock. */
static void enter_flight(ZonedFlight *f, ZonedWrite *w)
{
    w->flight = f;
    f->nr_pending++;
    QTAILQ_INSERT_TAIL(&f->writes, w, next);
    if (!f->unwritten) {
        f->unwritten = w;
    }
}

/* Takes @w out of the line with result @ret.  Called with the lock. */
static void leave_line(ZonedFlight *f, ZonedWrite *w, int ret,
                       ZonedWakeList *wake)
{
    QTAILQ_REMOVE(&f->waiting, w, next);
    w->ret = ret;
    if (ret == 0) {
        enter_flight(f, w);
    }
    zoned_wake(wake, &w->waiter);
}

/* Begins those of the line of @f that can begin now.  Called with the lock. */
static void begin_waiting(BDRVZonedState *s, ZonedFlight *f,
                          ZonedWakeList *wake)
{
    ZonedWrite *w;

    while ((w = QTAILQ_FIRST(&f->waiting)) && !f->committing && !f->error &&
           !find_exclusion(&s->inflight, f->zone, f->zone, w->ticket)) {
        int ret = try_begin(s, f, w);

        if (ret == -EAGAIN) {
            /* It stays in front, even if it fails until it wakes. */
            f->committing = w->commits = true;
            w->ret = ret;
            zoned_wake(wake, &w->waiter);
            return;
        }
        leave_line(f, w, ret, wake);
    }
}

/*
 * The host has failed with @error what those in the line of @f rely on: they
 * fail with it.  One that commits leaves the line when that is done.  Called
 * with the lock.
 */
static void fail_waiting(ZonedFlight *f, int error, ZonedWakeList *wake)
{
    ZonedWrite *w, *next;

    QTAILQ_FOREACH_SAFE(w, &f->waiting, next, next) {
        if (f->committing && w == QTAILQ_FIRST(&f->waiting)) {
            w->ret = error;
            zoned_wake(wake, &w->waiter);
        } else {
            leave_line(f, w, error, wake);
        }
    }
}

/*
 * Commits, as @w cannot begin before, and begins it.  It is the first in the
 * line of @f, and remains there meanwhile, which keeps @f.  Called and returns
 * with the lock.
 */
static void coroutine_fn GRAPH_RDLOCK
commit_and_begin(BlockDriverState *bs, ZonedFlight *f, ZonedWrite *w,
                 ZonedWakeList *wake)
{
    BDRVZonedState *s = bs->opaque;
    int ret;

    while ((ret = w->ret) == -EAGAIN) {
        qemu_spin_unlock(&s->lock);
        ret = zoned_host_error(zoned_co_commit(bs));
        qemu_spin_lock(&s->lock);

        if (ret < 0) {
            fail_waiting(f, ret, wake);
        } else if (f->error) {
            /* Another write is failing, and takes us with it. */
            zoned_wait(s, &w->waiter);
        } else if (w->ret == -EAGAIN) {
            w->ret = try_begin(s, f, w);
        }
    }
    f->committing = false;
    leave_line(f, w, ret, wake);
    begin_waiting(s, f, wake);
    flight_update(&s->inflight, f, wake);
}

/* Begins @w, which has to wait in the line of @f.  Returns with the lock. */
static void coroutine_fn GRAPH_RDLOCK
wait_and_begin(BlockDriverState *bs, ZonedFlight *f, ZonedWrite *w,
               ZonedWakeList *wake)
{
    BDRVZonedState *s = bs->opaque;

    w->ticket = ++s->inflight.last_ticket;
    w->ret = -EAGAIN;
    /* It may have been here before: a rule has stopped it then. */
    w->commits = false;
    QTAILQ_INSERT_TAIL(&f->waiting, w, next);
    begin_waiting(s, f, wake);
    if (!w->commits) {
        zoned_wait(s, &w->waiter);
    }
    /* If not, it has left the line, and @f may be gone. */
    if (w->commits) {
        commit_and_begin(bs, f, w, wake);
    }
}

/*
 * @w has been refused with @ret, or has to wait if that is -EAGAIN.  Called
 * with the lock, which is released.
 */
static int coroutine_fn GRAPH_RDLOCK
begin_later(BlockDriverState *bs, ZonedFlight *f, ZonedWrite *w, int ret)
{
    BDRVZonedState *s = bs->opaque;
    ZonedWakeList wake = QSIMPLEQ_HEAD_INITIALIZER(wake);

    if (ret == -EAGAIN) {
        wait_and_begin(bs, f, w, &wake);
        ret = w->ret;
    } else {
        flight_update(&s->inflight, f, &wake);
    }
    qemu_spin_unlock(&s->lock);
    zoned_wake_all(bs, &wake);
    return ret;
}

int coroutine_fn zoned_inflight_begin(BlockDriverState *bs, uint32_t i,
                                      ZonedWrite *w)
{
    BDRVZonedState *s = bs->opaque;
    ZonedFlight *f;
    int ret = -EAGAIN;

    qemu_spin_lock(&s->lock);
    f = flight_of(&s->inflight, i) ?: flight_make(s, i);
    if (QTAILQ_EMPTY(&f->waiting) && !f->error &&
        !find_exclusion(&s->inflight, i, i, UINT64_MAX)) {
        ret = try_begin(s, f, w);
    }
    if (ret < 0) {
        return begin_later(bs, f, w, ret);
    }
    enter_flight(f, w);
    qemu_spin_unlock(&s->lock);
    return 0;
}

/* On its own, as a stream of writes does not need it. */
static __attribute__((noinline)) void add_sum(BDRVZonedState *s,
                                              const ZonedWrite *w)
{
    zoned_sums_add(&s->sums, &(ZonedLogSum) {
        .address = w->offset,
        .bytes = w->bytes,
        .crc = w->crc,
    });
}

/* The data of @w is in the file.  Called with the lock. */
static inline void note_written(BDRVZonedState *s, ZonedWrite *w)
{
    w->written = true;
    if (unlikely(w->summed)) {
        add_sum(s, w);
    } else {
        zoned_sums_add_none(&s->sums);
    }
}

/*
 * The data of @f is in the file up to some more of its writes than before.  If
 * one of these waits for that, it goes on; what it flushes has to count it,
 * even if it is not acknowledged yet.  Called with the lock.
 */
static inline void advance_unwritten(BDRVZonedState *s, ZonedFlight *f,
                                     ZonedWakeList *wake)
{
    while (f->unwritten && f->unwritten->written) {
        ZonedWrite *w = f->unwritten;

        f->unwritten = QTAILQ_NEXT(w, next);
        if (w->flushes) {
            w->flushes = false;
            zoned_zones_mark_dirty(&s->zones, f->zone);
            zoned_wake(wake, &w->waiter);
        }
    }
}

/* @f has failed: who waits for data of others need not.  With the lock. */
static void wake_flushers(ZonedFlight *f, ZonedWakeList *wake)
{
    ZonedWrite *w;

    QTAILQ_FOREACH(w, &f->writes, next) {
        if (w->flushes) {
            w->flushes = false;
            zoned_wake(wake, &w->waiter);
        }
    }
}

int coroutine_fn zoned_inflight_flush(BlockDriverState *bs, ZonedWrite *w)
{
    BDRVZonedState *s = bs->opaque;
    ZonedWakeList wake = QSIMPLEQ_HEAD_INITIALIZER(wake);
    ZonedFlight *f = w->flight;
    int ret;

    qemu_spin_lock(&s->lock);
    note_written(s, w);
    w->flushes = !f->error;
    advance_unwritten(s, f, &wake);
    if (w->flushes) {
        zoned_wait(s, &w->waiter);
    }
    ret = f->error;
    qemu_spin_unlock(&s->lock);
    zoned_wake_all(bs, &wake);
    if (ret == 0) {
        ret = zoned_host_error(bdrv_co_flush(bs));
        /* The flush has let others run right behind us, see zoned_wake_all() */
        zoned_take_turns();
    }
    return ret;
}

/* Takes @w out of the flight: its result is @ret.  Called with the lock. */
static void acknowledge(ZonedInflight *in, ZonedFlight *f, ZonedWrite *w,
                        int ret, ZonedWakeList *wake)
{
    QTAILQ_REMOVE(&f->writes, w, next);
    w->ret = ret;
    w->acknowledged = true;
    if (w->waiter.waits) {
        qatomic_inc(&in->nr_resuming);
        w->waiter.acknowledged = true;
        zoned_wake(wake, &w->waiter);
    }
}

/*
 * Acknowledges the writes at the front that are done, up to one that failed.
 * Called with the lock.
 */
static void acknowledge_done(BDRVZonedState *s, ZonedFlight *f,
                             ZonedWakeList *wake)
{
    bool advanced = false;
    ZonedWrite *w;

    while ((w = QTAILQ_FIRST(&f->writes)) && w->done) {
        if (w->ret < 0) {
            f->error = w->ret;
            wake_flushers(f, wake);
            break;
        }
        acknowledge(&s->inflight, f, w, 0, wake);
        advanced = true;
    }
    if (advanced) {
        zoned_zones_end_write(&s->zones, f->zone, acknowledged_end(s, f));
    }
}

/*
 * The first of the writes has failed, and all are done: they all fail, and the
 * zone is as if they had never been sent.  Called and returns with the lock; @f
 * may be gone then.
 */
static void fail_all(BlockDriverState *bs, ZonedFlight *f, ZonedWakeList *wake)
{
    BDRVZonedState *s = bs->opaque;
    ZonedWrite *w = QTAILQ_FIRST(&f->writes);
    uint64_t from = zoned_zones_end(&s->zones, f->zone);
    uint64_t to = w->offset;
    uint32_t i = f->zone;
    int error = f->error;
    bool opened = false;

    while ((w = QTAILQ_FIRST(&f->writes))) {
        opened |= w->opened;
        if (w->ruled) {
            zoned_rules_uncount_write(s, f->zone, w, error);
        }
        acknowledge(&s->inflight, f, w, error, wake);
    }
    f->unwritten = NULL;
    zoned_zones_rollback(&s->zones, i, to, opened);
    zoned_sums_settle(&s->sums, &s->zones);
    if (f->revoked) {
        zoned_commit_doubt(&s->commit);
        f->revoked = false;
    }
    fail_waiting(f, error, wake);
    f->error = 0;
    flight_update(&s->inflight, f, wake);

    qemu_spin_unlock(&s->lock);
    trace_zoned_rollback(bs, i, from, to, error);
    qemu_spin_lock(&s->lock);
}

/* The data of @w, which seemed to be in the file, counts no more. */
static void revoke_data(ZonedFlight *f, ZonedWrite *w)
{
    f->revoked = true;
    w->written = false;
    f->unwritten = QTAILQ_FIRST(&f->writes);
    while (f->unwritten->written) {
        f->unwritten = QTAILQ_NEXT(f->unwritten, next);
    }
}

/* @w will go on only when it is acknowledged.  Called with the lock. */
static void coroutine_fn expect_acknowledgement(ZonedWrite *w)
{
    w->waiter.co = qemu_coroutine_self();
    w->waiter.waits = true;
}

/*
 * Writes that were acknowledged have not gone on yet.  May another one, when it
 * is acknowledged now?  Yes, if it lets go on all of them before: they are all
 * in @r, which is of this thread.  Called with the lock.
 */
static bool coroutine_fn may_go_on(const ZonedInflight *in, ZonedResumption **r)
{
    *r = find_resumption(in, qemu_get_current_aio_context());
    return *r && (*r)->nr_acknowledged == qatomic_read(&in->nr_resuming);
}

/*
 * Lets the first @nr of @r go on, in front of a write that is counted in
 * @nr_resuming meanwhile, so that nobody overtakes it.
 */
static void coroutine_fn let_earlier_go_on(ZonedInflight *in,
                                           ZonedResumption *r, uint32_t nr)
{
    while (nr-- > 0) {
        resume_first(r);
    }
    qatomic_dec(&in->nr_resuming);
}

int coroutine_fn zoned_inflight_end(BlockDriverState *bs, ZonedWrite *w,
                                    int ret)
{
    BDRVZonedState *s = bs->opaque;
    ZonedWakeList wake = QSIMPLEQ_HEAD_INITIALIZER(wake);
    ZonedFlight *f = w->flight;
    ZonedResumption *earlier = NULL;
    uint32_t nr_earlier;
    bool goes_on = true;

    qemu_spin_lock(&s->lock);
    if (qatomic_read(&s->inflight.nr_resuming)) {
        goes_on = may_go_on(&s->inflight, &earlier);
    }
    if (!goes_on) {
        expect_acknowledgement(w);
    }
    if (ret == 0) {
        if (likely(!w->written)) {
            note_written(s, w);
        }
        advance_unwritten(s, f, &wake);
    } else if (w->written) {
        revoke_data(f, w);
    } else if (w->summed) {
        zoned_sums_release(&s->sums, w->bytes);
    }
    w->ret = ret;
    w->done = true;
    f->nr_pending--;

    if (!f->error) {
        acknowledge_done(s, f, &wake);
    }
    if (goes_on && !w->acknowledged) {
        goes_on = false;
        expect_acknowledgement(w);
    }
    if (goes_on && earlier) {
        qatomic_inc(&s->inflight.nr_resuming);
        nr_earlier = earlier->nr;
    }
    if (f->error && f->nr_pending == 0) {
        fail_all(bs, f, &wake);
    } else {
        flight_update(&s->inflight, f, &wake);
    }
    qemu_spin_unlock(&s->lock);

    zoned_wake_all(bs, &wake);
    if (!goes_on) {
        /* Whoever acknowledges us lets us go on, even if that was us. */
        qemu_coroutine_yield();
        qatomic_dec(&s->inflight.nr_resuming);
    } else if (earlier) {
        let_earlier_go_on(&s->inflight, earlier, nr_earlier);
    }
    return w->ret;
}

/* A flight that holds up @ex, or NULL.  Called with the lock. */
static ZonedFlight *find_hindrance(const ZonedInflight *in,
                                   const ZonedExclusion *ex)
{
    ZonedFlight *f;

    if (ex->first == ex->last) {
        f = flight_of(in, ex->first);
        return f && flight_hinders(f, ex) ? f : NULL;
    }
    QLIST_FOREACH(f, &in->flights, next) {
        if (f->zone >= ex->first && f->zone <= ex->last &&
            flight_hinders(f, ex)) {
            return f;
        }
    }
    return NULL;
}

void coroutine_fn zoned_exclusion_begin(BlockDriverState *bs,
                                        ZonedExclusion *ex)
{
    BDRVZonedState *s = bs->opaque;
    ZonedInflight *in = &s->inflight;
    ZonedFlight *f;
    bool behind;

    qemu_spin_lock(&s->lock);
    ex->ticket = ++in->last_ticket;
    QTAILQ_INSERT_TAIL(&in->exclusions, ex, next);
    while ((ex->obstacle = find_exclusion(in, ex->first, ex->last,
                                          ex->ticket))) {
        zoned_wait(s, &ex->waiter);
    }
    while ((f = find_hindrance(in, ex))) {
        f->excluder = ex;
        zoned_wait(s, &ex->waiter);
    }
    /*
     * Writes that are acknowledged may not know yet: those of this thread go on
     * first.  There is no order between threads.
     */
    behind = qatomic_read(&in->nr_resuming) > 0;
    qemu_spin_unlock(&s->lock);
    if (behind) {
        ex->waiter.co = qemu_coroutine_self();
        resume(bs, &ex->waiter);
        qemu_coroutine_yield();
    }
}

void coroutine_fn zoned_exclusion_end(BlockDriverState *bs, ZonedExclusion *ex)
{
    BDRVZonedState *s = bs->opaque;
    ZonedInflight *in = &s->inflight;
    ZonedWakeList wake = QSIMPLEQ_HEAD_INITIALIZER(wake);
    ZonedExclusion *other;
    ZonedFlight *f, *next;

    qemu_spin_lock(&s->lock);
    QTAILQ_REMOVE(&in->exclusions, ex, next);
    QTAILQ_FOREACH(other, &in->exclusions, next) {
        if (other->obstacle == ex) {
            zoned_wake(&wake, &other->waiter);
        }
    }
    QLIST_FOREACH_SAFE(f, &in->flights, next, next) {
        if (f->zone >= ex->first && f->zone <= ex->last &&
            !QTAILQ_EMPTY(&f->waiting)) {
            begin_waiting(s, f, &wake);
            flight_update(in, f, &wake);
        }
    }
    qemu_spin_unlock(&s->lock);
    zoned_wake_all(bs, &wake);
}

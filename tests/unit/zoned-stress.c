/*
 * The stress test of the zoned block format driver: time, random numbers, and
 * who does what
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/thread.h"
#include "qemu/main-loop.h"
#include "zoned-random.h"
#include "zoned-stress.h"
#include "zoned-stress-file.h"

#define MAX_WORKERS 32
#define HANG_SECONDS 30

static uint32_t seed;
static Worker *workers[MAX_WORKERS];
static unsigned nr_workers;

unsigned tick(void)
{
    static unsigned time_now;

    return qatomic_inc_fetch(&time_now);
}

unsigned below(unsigned n)
{
    static __thread ZonedRandom random;
    static unsigned nr_randoms;

    if (random.seed == 0) {
        unsigned k = qatomic_fetch_inc(&nr_randoms);

        random = (ZonedRandom) { .seed = 1, .state = seed + k * 1000003ull };
    }
    return random_below(&random, n);
}

bool percent(unsigned n)
{
    return below(100) < n;
}

void coroutine_fn take_turns(void)
{
    aio_co_schedule(qemu_get_current_aio_context(), qemu_coroutine_self());
    qemu_coroutine_yield();
}

/* In seconds, and never 0 */
static unsigned seconds_now(void)
{
    return g_get_monotonic_time() / G_USEC_PER_SEC + 1;
}

void worker_begin(Worker *w, const char *doing, uint64_t offset,
                  uint64_t bytes)
{
    w->doing = doing;
    w->offset = offset;
    w->bytes = bytes;
    qatomic_set(&w->since, seconds_now());
}

void worker_end(Worker *w)
{
    qatomic_set(&w->since, 0);
}

static void describe_worker(const Worker *w)
{
    unsigned since = qatomic_read(&w->since);

    if (since) {
        fprintf(stderr, "# %s %d, worker %u: %s %" PRIu64 "+%" PRIu64
                " for %u seconds\n", w->thread < 0 ? "main thread" : "thread",
                MAX(w->thread, 0), w->number, w->doing, w->offset, w->bytes,
                seconds_now() - since);
    } else if (qatomic_read(&w->running)) {
        fprintf(stderr, "# thread %d, worker %u: after a %s\n", w->thread,
                w->number, w->doing);
    }
}

static void describe_all(void)
{
    unsigned nr_running = 0;

    for (unsigned i = 0; i < nr_workers; i++) {
        nr_running += qatomic_read(&workers[i]->running);
    }
    fprintf(stderr, "# %u coroutines are running, %u requests to the file\n",
            nr_running, file_nr_in_flight());
    for (unsigned i = 0; i < nr_workers; i++) {
        describe_worker(workers[i]);
    }
    fprintf(stderr, "# it began with ZONED_TEST_SEED=%u\n", seed);
}

void fail(const char *format, ...)
{
    static QemuMutex *once;
    va_list ap;

    if (qatomic_cmpxchg(&once, NULL, (QemuMutex *)&once)) {
        /* Another thread tells already. */
        g_usleep(G_MAXULONG);
    }
    describe_all();
    /* Last, as of a long log the end is what is read. */
    va_start(ap, format);
    fprintf(stderr, "# ");
    vfprintf(stderr, format, ap);
    fprintf(stderr, "\n");
    va_end(ap);
    printf("not ok 1 /zoned/stress\n");
    fflush(stdout);
    /* Other threads are running. */
    _exit(1);
}

static void *watch(void *opaque)
{
    for (;;) {
        g_usleep(G_USEC_PER_SEC);
        for (unsigned i = 0; i < qatomic_load_acquire(&nr_workers); i++) {
            unsigned since = qatomic_read(&workers[i]->since);

            if (since && seconds_now() - since > HANG_SECONDS) {
                fail("a request hangs");
            }
        }
    }
    return NULL;
}

void stress_watch(Worker *w)
{
    g_assert(nr_workers < MAX_WORKERS);
    workers[nr_workers] = w;
    qatomic_store_release(&nr_workers, nr_workers + 1);
}

void stress_init(uint32_t first_seed)
{
    QemuThread watchdog;

    seed = first_seed;
    qemu_thread_create(&watchdog, "watchdog", watch, NULL,
                       QEMU_THREAD_DETACHED);
}

/*
 * The stress test of the zoned block format driver: what all its parts share
 *
 * test-zoned-stress.c    threads, what disturbs them, and devices
 * zoned-stress-rest.c    exact results, while all threads rest
 * zoned-stress-ops.c     requests to a zone, and what may come of them
 * zoned-stress-zone.c    what is known of a zone, compared with the device
 * zoned-stress-file.c    the file below: slow at random, and it fails at random
 * zoned-stress.c         time, random numbers, and who does what
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TESTS_UNIT_ZONED_STRESS_H
#define TESTS_UNIT_ZONED_STRESS_H

#include "qemu/coroutine.h"
#include "qemu/units.h"

#define SECTOR 512ULL

/* A coroutine that does one thing after the other. */
typedef struct Worker {
    int thread;                 /* -1: the main thread */
    unsigned number;
    const char *doing;
    uint64_t offset;
    uint64_t bytes;
    unsigned since;             /* in seconds; 0: does nothing */
    bool running;
} Worker;

/* Random numbers begin at @seed; whoever is watched must not hang. */
void stress_init(uint32_t seed);

/* Watches @w from now on.  Called by the main thread. */
void stress_watch(Worker *w);

/* Time goes on by one with each thing that happens: the new time. */
unsigned tick(void);

/* Random numbers, of each thread its own */
unsigned below(unsigned n);
bool percent(unsigned n);

/* Lets others go on that can in this thread. */
void coroutine_fn take_turns(void);

/* @w does something; and has done it. */
void worker_begin(Worker *w, const char *doing, uint64_t offset,
                  uint64_t bytes);
void worker_end(Worker *w);

/* Tells what is wrong and who does what, and exits. */
G_NORETURN void G_GNUC_PRINTF(1, 2) fail(const char *format, ...);

#endif /* TESTS_UNIT_ZONED_STRESS_H */

/*
 * What the random tests of the zoned block format driver share
 *
 *   ZONED_TEST_SEED    repeats a failure: the seed that it printed
 *   ZONED_TEST_STEPS   steps of each random test
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TESTS_UNIT_ZONED_RANDOM_H
#define TESTS_UNIT_ZONED_RANDOM_H

#include "qemu/cutils.h"

typedef struct ZonedRandom {
    uint32_t seed;
    uint64_t state;
} ZonedRandom;

static inline uint64_t random_env(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    uint64_t number;

    if (!text) {
        return otherwise;
    }
    if (qemu_strtou64(text, NULL, 0, &number) < 0) {
        fprintf(stderr, "%s: '%s' is not a number\n", name, text);
        exit(1);
    }
    return number;
}

/* How many steps a test makes that normally makes @normal */
static inline uint64_t random_steps(uint64_t normal)
{
    return random_env("ZONED_TEST_STEPS",
                            g_test_slow() ? 5 * normal : normal);
}

static inline ZonedRandom random_start(void)
{
    uint32_t seed = random_env("ZONED_TEST_SEED",
                                     (uint32_t)g_test_rand_int());

    return (ZonedRandom) { .seed = seed, .state = seed };
}

/* 64 random bits, by splitmix64 */
static inline uint64_t random_bits(ZonedRandom *r)
{
    uint64_t x = r->state += 0x9e3779b97f4a7c15ULL;

    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
    return x ^ (x >> 31);
}

static inline uint64_t random_below(ZonedRandom *r, uint64_t n)
{
    return random_bits(r) % n;
}

/* True in @n of 100 cases */
static inline bool random_percent(ZonedRandom *r, unsigned n)
{
    return random_below(r, 100) < n;
}

#endif /* TESTS_UNIT_ZONED_RANDOM_H */

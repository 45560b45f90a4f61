/*
 * Blocks that say what they are: of which file, where in it, and by which of
 * the changes to the file they were written
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef PATTERN_H
#define PATTERN_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define BLOCK_SIZE 4096
#define BLOCK_WORDS (BLOCK_SIZE / sizeof(uint64_t))
#define FIRST_FILLER 3

/* What block_change() says of a block that is none of these */
#define NOT_OURS UINT64_MAX

/* A number that looks random and follows from x */
static inline uint64_t mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
    x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
    return x ^ (x >> 31);
}

static inline void block_fill(uint64_t *words, uint64_t seed, uint64_t file,
                              uint64_t block, uint64_t change)
{
    uint64_t key = mix(mix(mix(seed + file) + block) + change);

    words[0] = file;
    words[1] = block;
    words[2] = change;
    for (unsigned i = FIRST_FILLER; i < BLOCK_WORDS; i++) {
        words[i] = key + i * 0x9e3779b97f4a7c15;
    }
}

/* The change that wrote a block, 0 for one of zeroes, or NOT_OURS */
static inline uint64_t block_change(const uint64_t *words, uint64_t seed,
                                    uint64_t file, uint64_t block)
{
    static const uint64_t zeroes[BLOCK_WORDS];
    uint64_t expected[BLOCK_WORDS];

    if (!memcmp(words, zeroes, BLOCK_SIZE)) {
        return 0;
    }
    block_fill(expected, seed, file, block, words[2]);
    return memcmp(words, expected, BLOCK_SIZE) || !words[2] ? NOT_OURS
                                                            : words[2];
}

#endif

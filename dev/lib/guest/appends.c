/*
 * The load on zonefs when power is cut, and what must be left of it
 *
 *   appends write DIR SEED FILES SECONDS   write the first FILES files of DIR,
 *                                          for ever if SECONDS is 0
 *   appends verify <NOTES                  look at what is there
 *
 * Two processes append to files of their own and make full ones empty. What
 * they write says how often the file was made empty before: its round.
 * Standard output notes what the harness keeps for `verify`:
 *
 *   add synced D DIR SEED          what follows is about this folder
 *   add synced S FILE ROUND SIZE   so much of the file is durable
 *   add synced R FILE              the file is going to be made empty
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>
#include "pattern.h"

#define LANES 2
#define MAX_COUNT 64            /* blocks of a write */
#define MAX_FILES 64

typedef struct Zone {
    unsigned round;             /* from 1 */
    uint64_t size, capacity;    /* in bytes */
} Zone;

static uint64_t seed;
static uint64_t buffer[MAX_COUNT * BLOCK_WORDS] __attribute__((aligned(4096)));

static void fail(const char *what, unsigned file)
{
    printf("not ok %s file %u: %s\n", what, file, strerror(errno));
    exit(1);
}

static int open_file(unsigned file, int flags)
{
    char name[16];
    int fd;

    snprintf(name, sizeof(name), "%u", file);
    fd = open(name, flags);
    if (fd < 0) {
        fail("open", file);
    }
    return fd;
}

static void note_size(unsigned file, const Zone *zone)
{
    printf("add synced S %u %u %" PRIu64 "\n", file, zone->round, zone->size);
}

static void empty(int fd, unsigned file, Zone *zone)
{
    printf("add synced R %u\n", file);
    tcdrain(STDOUT_FILENO);     /* The host must know first. */
    if (ftruncate(fd, 0) < 0) {
        fail("truncate", file);
    }
    zone->size = 0;
    zone->round++;
    note_size(file, zone);
}

static void append(int fd, unsigned file, Zone *zone, uint64_t dice)
{
    uint64_t left = (zone->capacity - zone->size) / BLOCK_SIZE;
    uint64_t count = 1 + dice % MAX_COUNT;

    count = count < left ? count : left;
    for (uint64_t i = 0; i < count; i++) {
        block_fill(buffer + i * BLOCK_WORDS, seed, file,
                   zone->size / BLOCK_SIZE + i, zone->round);
    }
    if (pwrite(fd, buffer, count * BLOCK_SIZE, zone->size) !=
        (ssize_t)(count * BLOCK_SIZE)) {
        fail("write", file);
    }
    zone->size += count * BLOCK_SIZE;
    if (dice >> 16 & 3) {
        return;
    }
    if (fsync(fd) < 0) {
        fail("fsync", file);
    }
    note_size(file, zone);
}

static void run_lane(unsigned lane, unsigned nr_files, time_t end)
{
    static Zone zones[MAX_FILES];
    static int fds[MAX_FILES];
    struct stat info;

    for (unsigned i = lane; i < nr_files; i += LANES) {
        fds[i] = open_file(i, O_WRONLY | O_DIRECT);
        if (fstat(fds[i], &info) < 0) {
            fail("stat", i);
        }
        zones[i].capacity = (uint64_t)info.st_blocks * 512;
        empty(fds[i], i, &zones[i]);
    }
    for (uint64_t step = 0; !end || time(NULL) < end; step++) {
        uint64_t dice = mix(seed ^ step << 8 ^ lane);
        unsigned i = (dice >> 32) % nr_files / LANES * LANES + lane;

        if (i >= nr_files) {
            continue;
        }
        if (zones[i].size == zones[i].capacity || !(dice >> 40 & 255)) {
            empty(fds[i], i, &zones[i]);
        }
        append(fds[i], i, &zones[i], dice);
    }
}

static int write_files(char **args)
{
    unsigned nr_files = strtoul(args[2], NULL, 0);
    time_t seconds = strtoul(args[3], NULL, 0);
    int status, bad = 0;

    seed = strtoull(args[1], NULL, 0);
    if (nr_files > MAX_FILES || chdir(args[0]) < 0) {
        perror(args[0]);
        return 1;
    }
    printf("add synced D %s %" PRIu64 "\n", args[0], seed);
    for (unsigned lane = 0; lane < LANES; lane++) {
        if (fork() == 0) {
            run_lane(lane, nr_files, seconds ? time(NULL) + seconds : 0);
            exit(0);
        }
    }
    while (wait(&status) > 0) {
        bad |= status;
    }
    return !!bad;
}

/* What the notes say of a file */
typedef struct Noted {
    bool known, emptied;
    unsigned round;
    uint64_t size;
} Noted;

static uint64_t verified, lost;
static bool wrong;

static void complain(unsigned file, uint64_t offset, const char *what)
{
    printf("# file %u at %" PRIu64 ": %s\n", file, offset, what);
    wrong = true;
}

static void verify_file(unsigned file, const Noted *noted)
{
    int fd = open_file(file, O_RDONLY);
    uint64_t offset = 0, round = 0;
    ssize_t n;

    while ((n = read(fd, buffer, BLOCK_SIZE)) == BLOCK_SIZE) {
        uint64_t by = block_change(buffer, seed, file, offset / BLOCK_SIZE);

        round = offset ? round : by;
        if (by != round || !by || by == NOT_OURS) {
            complain(file, offset, "is not what was written");
        }
        offset += BLOCK_SIZE;
        verified += BLOCK_SIZE;
    }
    if (n) {
        complain(file, offset, n < 0 ? strerror(errno) : "is not whole");
    }
    close(fd);
    /* When it was being made empty, it may be so, and be written again. */
    if (noted->emptied && (!offset || round == noted->round + 1)) {
        return;
    }
    if (offset && round != noted->round) {
        complain(file, 0, "is of another round");
    }
    if (offset < noted->size) {
        complain(file, offset, "and what follows was synced and is gone");
        lost += noted->size - offset;
    }
}

static int verify_files(void)
{
    static Noted noted[MAX_FILES];
    char line[256], folder[128] = "";
    unsigned file, round;
    uint64_t size;

    while (fgets(line, sizeof(line), stdin)) {
        if (sscanf(line, "S %u %u %" SCNu64, &file, &round, &size) == 3 &&
            file < MAX_FILES) {
            noted[file] = (Noted) { true, false, round, size };
        } else if (sscanf(line, "R %u", &file) == 1 && file < MAX_FILES) {
            noted[file].emptied = true;
        } else if (sscanf(line, "D %127s %" SCNu64, folder, &seed) != 2) {
            printf("not ok a note: %s", line);
            return 1;
        }
    }
    if (*folder && chdir(folder) < 0) {
        printf("not ok %s: %s\n", folder, strerror(errno));
        return 1;
    }
    for (file = 0; file < MAX_FILES; file++) {
        if (noted[file].known) {
            verify_file(file, &noted[file]);
        }
    }
    printf("count verified %" PRIu64 "\ncount lost %" PRIu64 "\n", verified,
           lost);
    return wrong;
}

int main(int argc, char **argv)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc == 6 && !strcmp(argv[1], "write")) {
        return write_files(argv + 2);
    }
    if (argc == 2 && !strcmp(argv[1], "verify")) {
        return verify_files();
    }
    fprintf(stderr, "usage: appends write DIR SEED FILES SECONDS\n"
            "       appends verify <NOTES\n");
    return 2;
}

/*
 * The load on a file system whose power is cut, and what must be left of it
 *
 *   files write DIR SEED MIB SECONDS [DISK]
 *                          change files in DIR, for ever if SECONDS is 0; about
 *                          MIB of them are kept; what is synced on a DISK that
 *                          makes FUA not durable is followed by its flush
 *   files verify <NOTES    look at what is there
 *
 * Two processes write, overwrite, truncate and remove files of their own, with
 * and without O_DIRECT. What they do follows from the seed. Standard output
 * notes what the harness keeps for `verify`:
 *
 *   add synced D DIR SEED      what follows is about this folder
 *   add synced S FILE N        the first N changes of the file are durable
 *   add synced G FILE          the file is going to be removed
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
#define MAX_BLOCKS 4096         /* of a file */
#define MAX_COUNT 256           /* of a change */
#define MAX_FILES (1 << 18)     /* of a lane */
#define MAX_COMPLAINTS 10

/*
 * One change of a file: from block `first` on, `count` blocks are written; with
 * none, the file is cut off there.
 */
typedef struct Change {
    uint32_t first;
    uint32_t count;
    bool sync;
} Change;

/* A file as it is after some changes */
typedef struct State {
    uint32_t size;                      /* in blocks */
    uint64_t by[MAX_BLOCKS];            /* which change wrote it, 0: a hole */
} State;

static int disk = -1;           /* to be flushed, too, if not negative */
static uint64_t seed;
static uint64_t buffer[MAX_COUNT * BLOCK_WORDS] __attribute__((aligned(4096)));

static uint64_t choice(uint64_t file, uint64_t change)
{
    return mix(mix(seed + file) ^ change << 40);
}

/* How many changes a file gets */
static unsigned nr_changes(uint64_t file)
{
    return 1 + choice(file, 0) % 24;
}

static bool is_direct(uint64_t file)
{
    return choice(file, 0) >> 32 & 1;
}

/* What change @number (from 1) does to a file of @size blocks */
static Change plan(uint64_t file, unsigned number, uint32_t size)
{
    uint64_t dice = choice(file, number);
    unsigned kind = dice % 16;
    unsigned most = choice(file, 0) >> 40 & 7 ? 24 : MAX_COUNT;
    Change change = {
        .first = size,
        .count = 1 + (dice >> 8) % most,
        .sync = !(dice >> 20 & 3) || number == nr_changes(file),
    };

    if (size && kind < 5) {
        change.first = (dice >> 24) % size;
    } else if (size && kind == 5) {
        change.first = (dice >> 24) % size;
        change.count = 0;
    }
    if (change.first + change.count > MAX_BLOCKS) {
        change.count = MAX_BLOCKS - change.first;
    }
    return change;
}

static void replay(State *state, uint64_t file, unsigned from, unsigned to)
{
    for (unsigned number = from; number <= to; number++) {
        Change change = plan(file, number, state->size);
        uint32_t end = change.first + change.count;

        for (uint32_t i = change.first; i < end; i++) {
            state->by[i] = number;
        }
        if (!change.count) {
            memset(&state->by[end], 0,
                   (MAX_BLOCKS - end) * sizeof(state->by[0]));
        }
        if (!change.count || end > state->size) {
            state->size = end;
        }
    }
}

/* Files are numbered through, those of a lane have the same remainder. */
static void file_name(char *name, size_t size, uint64_t file)
{
    snprintf(name, size, "%" PRIu64, file);
}

/* A line at once, so that those of the lanes do not mix */
static void note(const char *what, uint64_t file, unsigned number)
{
    char line[64];
    int length = *what == 'G'
        ? snprintf(line, sizeof(line), "add synced G %" PRIu64 "\n", file)
        : snprintf(line, sizeof(line), "add synced S %" PRIu64 " %u\n", file,
                   number);

    if (write(STDOUT_FILENO, line, length) != length) {
        exit(1);
    }
}

/* An error of the file system's ends all; that it is full is none. */
static bool is_full(const char *what, uint64_t file)
{
    if (errno == ENOSPC) {
        return true;
    }
    printf("not ok %s file %" PRIu64 ": %s\n", what, file, strerror(errno));
    fflush(stdout);
    exit(1);
}

static bool apply(int fd, uint64_t file, unsigned number, const Change *change)
{
    size_t length = (size_t)change->count * BLOCK_SIZE;
    off_t offset = (off_t)change->first * BLOCK_SIZE;

    if (!change->count) {
        return ftruncate(fd, offset) == 0 || !is_full("truncate", file);
    }
    for (uint32_t i = 0; i < change->count; i++) {
        block_fill(buffer + i * BLOCK_WORDS, seed, file, change->first + i,
                   number);
    }
    for (size_t done = 0; done < length;) {
        ssize_t n = pwrite(fd, (char *)buffer + done, length - done,
                           offset + done);

        if (n <= 0) {
            return !is_full("write", file);
        }
        done += n;
    }
    return true;
}

/*
 * fsync() of btrfs in Linux 7.2 fails with EAGAIN on all zoned disks, now and
 * then. Nothing is durable until it succeeds.
 */
static int sync_file(int fd)
{
    int result;

    do {
        result = fsync(fd);
    } while (result < 0 && errno == EAGAIN);
    return result < 0 || disk < 0 ? result : fsync(disk);
}

/* Returns its size in blocks; sets @full if there was no room for all of it. */
static uint32_t make_file(uint64_t file, bool *full)
{
    static State state;
    char name[32];
    int fd;

    *full = true;
    memset(&state, 0, sizeof(state));
    file_name(name, sizeof(name), file);
    fd = open(name, O_RDWR | O_CREAT | O_EXCL |
              (is_direct(file) ? O_DIRECT : 0), 0600);
    if (fd < 0 && is_full("create", file)) {
        return 0;
    }
    for (unsigned number = 1; number <= nr_changes(file); number++) {
        Change change = plan(file, number, state.size);

        if (!apply(fd, file, number, &change) ||
            (change.sync && sync_file(fd) < 0 && is_full("fsync", file))) {
            close(fd);
            return state.size + change.count;
        }
        replay(&state, file, number, number);
        if (change.sync) {
            note("S", file, number);
        }
    }
    close(fd);
    *full = false;
    return state.size;
}

static void remove_file(uint64_t file)
{
    char name[32];

    file_name(name, sizeof(name), file);
    note("G", file, 0);
    tcdrain(STDOUT_FILENO);     /* The host must know first. */
    if (unlink(name) < 0 && errno != ENOENT) {
        is_full("remove", file);
    }
}

static void run_lane(unsigned lane, uint64_t most, time_t end)
{
    static struct { uint64_t file; uint32_t size; } kept[MAX_FILES];
    unsigned nr_kept = 0;
    uint64_t total = 0;

    for (uint64_t i = 0; i < MAX_FILES && (!end || time(NULL) < end); i++) {
        uint64_t file = i * LANES + lane;
        bool full;

        kept[nr_kept].file = file;
        kept[nr_kept].size = make_file(file, &full);
        total += kept[nr_kept++].size;
        for (unsigned more = full ? 4 : 0;
             nr_kept && (more || total > most); more -= !!more) {
            unsigned victim = mix(seed ^ total ^ i) % nr_kept;

            remove_file(kept[victim].file);
            total -= kept[victim].size;
            kept[victim] = kept[--nr_kept];
        }
    }
}

static int write_files(char **args)
{
    uint64_t most = strtoull(args[2], NULL, 0) * 1024 * 1024 / BLOCK_SIZE;
    time_t seconds = strtoul(args[3], NULL, 0);
    int status, bad = 0;

    seed = strtoull(args[1], NULL, 0);
    if (args[4] && (disk = open(args[4], O_RDONLY)) < 0) {
        perror(args[4]);
        return 1;
    }
    if (chdir(args[0]) < 0) {
        perror(args[0]);
        return 1;
    }
    printf("add synced D %s %" PRIu64 "\n", args[0], seed);
    fflush(stdout);
    for (unsigned lane = 0; lane < LANES; lane++) {
        if (fork() == 0) {
            run_lane(lane, most / LANES, seconds ? time(NULL) + seconds : 0);
            exit(0);
        }
    }
    while (wait(&status) > 0) {
        bad |= status;
    }
    return !!bad;
}

static unsigned complaints;
static uint64_t verified, lost;

static void complain(uint64_t file, uint32_t block, const char *what)
{
    if (complaints++ < MAX_COMPLAINTS) {
        printf("# file %" PRIu64 " block %" PRIu32 ": %s\n", file, block, what);
    }
}

/* A hole may be where the file was cut off by a later change. */
static void find_holes(bool *holes, uint32_t *least, uint64_t file,
                       State *state, unsigned from)
{
    *least = state->size;
    memset(holes, 0, MAX_BLOCKS * sizeof(*holes));
    for (unsigned number = from; number <= nr_changes(file); number++) {
        replay(state, file, number, number);
        *least = state->size < *least ? state->size : *least;
    }
    for (uint32_t i = *least; i < MAX_BLOCKS; i++) {
        holes[i] = true;
    }
}

static void verify_block(uint64_t file, uint32_t block, const State *synced,
                         bool may_be_hole)
{
    uint64_t by = block_change(buffer, seed, file, block);
    State *state;

    if (by == NOT_OURS || by > nr_changes(file)) {
        complain(file, block, "is not what was written");
    } else if (by < synced->by[block] && !(by == 0 && may_be_hole)) {
        complain(file, block, by ? "is older than what was synced"
                                 : "was synced and is gone");
        lost += BLOCK_SIZE;
    } else if (by) {
        state = calloc(1, sizeof(*state));
        replay(state, file, 1, by);
        if (state->by[block] != by) {
            complain(file, block, "was not written by that change");
        }
        free(state);
    }
    verified += BLOCK_SIZE;
}

/* @number changes of the file are durable; @gone: it may have been removed. */
static void verify_file(uint64_t file, unsigned number, bool gone)
{
    static State state, synced;
    static bool holes[MAX_BLOCKS];
    uint32_t least, block = 0;
    char name[32];
    ssize_t n;
    int fd;

    memset(&state, 0, sizeof(state));
    replay(&state, file, 1, number);
    synced = state;
    find_holes(holes, &least, file, &state, number + 1);
    file_name(name, sizeof(name), file);
    fd = open(name, O_RDONLY);
    if (fd < 0 && !((gone || !number) && errno == ENOENT)) {
        complain(file, 0, strerror(errno));
        lost += (uint64_t)least * BLOCK_SIZE;
    }
    if (fd < 0) {
        return;
    }
    while (block < MAX_BLOCKS && (n = read(fd, buffer, BLOCK_SIZE)) > 0) {
        if (n != BLOCK_SIZE) {
            complain(file, block, "is not whole");
            break;
        }
        verify_block(file, block, &synced, holes[block]);
        block++;
    }
    if (n < 0) {
        complain(file, block, strerror(errno));
    }
    if (block < least) {
        complain(file, block, "and what follows was synced and is gone");
        lost += (uint64_t)(least - block) * BLOCK_SIZE;
    }
    close(fd);
}

static int verify_files(void)
{
    static unsigned numbers[MAX_FILES * LANES];
    static bool gone[MAX_FILES * LANES];
    uint64_t file, last = 0;
    char line[256], folder[128] = "";
    unsigned number;

    while (fgets(line, sizeof(line), stdin)) {
        if (sscanf(line, "S %" SCNu64 " %u", &file, &number) == 2 &&
            file < MAX_FILES * LANES) {
            numbers[file] = number;
        } else if (sscanf(line, "G %" SCNu64, &file) == 1 &&
                   file < MAX_FILES * LANES) {
            gone[file] = true;
        } else if (sscanf(line, "D %127s %" SCNu64, folder, &seed) == 2) {
            continue;
        } else {
            printf("not ok a note: %s", line);
            return 1;
        }
        last = file > last ? file : last;
    }
    if (!*folder) {
        return 0;
    }
    if (chdir(folder) < 0) {
        /* It is durable with the first file in it. */
        printf("%s%s: %s\n", last ? "not ok " : "# ", folder, strerror(errno));
        return !!last;
    }
    /* Some files may be there that were never synced. */
    for (file = 0; file < last + 2 * LANES; file++) {
        verify_file(file, numbers[file], gone[file]);
    }
    printf("count verified %" PRIu64 "\ncount lost %" PRIu64 "\n", verified,
           lost);
    return !!complaints;
}

int main(int argc, char **argv)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    if ((argc == 6 || argc == 7) && !strcmp(argv[1], "write")) {
        return write_files(argv + 2);
    }
    if (argc == 2 && !strcmp(argv[1], "verify")) {
        return verify_files();
    }
    fprintf(stderr, "usage: files write DIR SEED MIB SECONDS [DISK]\n"
            "       files verify <NOTES\n");
    return 2;
}

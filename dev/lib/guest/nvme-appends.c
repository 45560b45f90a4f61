/*
 * Zone Appends to an NVMe namespace, many of them in flight
 *
 *   nvme-appends write DISK SEED FIRST ZONES DEPTH APPENDS
 *                          append to ZONES zones, the first of which has the
 *                          number FIRST, and look at what is there
 *   nvme-appends load DISK SEED FIRST ZONES DEPTH
 *                          make them empty and append to them, for ever; full
 *                          ones are made empty again
 *   nvme-appends verify <NOTES
 *                          look at what is left of the load
 *
 * Appends go to the namespace's character device, through io_uring; its block
 * device would put them in an order. They are numbered from 1. Number and seed
 * say to which zone an append goes and how long it is; its blocks say of which
 * append they are. Standard output notes what the harness keeps for `verify`:
 *
 *   add synced D DISK SEED FIRST ZONES
 *                          what follows is about these zones
 *   add synced S ZONE PLACE APPEND
 *                          the append is durable, from this block of the zone
 *   add synced R ZONE APPEND
 *                          the zone is going to be made empty; what is appended
 *                          to it then has no smaller number
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#define _GNU_SOURCE
#include <inttypes.h>
#include <stdarg.h>
#include <termios.h>
#include <unistd.h>
#include "nvme-ring.h"
#include "pattern.h"

#define MAX_COUNT 16            /* blocks of an append */
#define MAX_ZONES 64
#define MAX_DEPTH 256
#define MAX_COMPLAINTS 10
#define FLUSH_AFTER 48          /* appends */

#define STATUS_MASK 0x7ff       /* type and code */
#define ZONE_BOUNDARY_ERROR 0x1b8
#define ZONE_IS_FULL 0x1b9

/* An append that has succeeded */
typedef struct Append {
    uint32_t number, place;
} Append;

/* Places and sizes are in blocks of BLOCK_SIZE. */
typedef struct Zone {
    unsigned index;             /* on the disk */
    uint64_t start;             /* in bytes */
    uint32_t capacity;
    uint32_t first;             /* where the write pointer was at first */
    uint32_t asked;             /* where it is if all appends succeed */
    uint32_t filled;            /* where it is if no more do */
    unsigned in_flight;
    uint32_t *owner;            /* which append a block is of, 0: not known */

    /* In the order in which they completed, for the notes */
    Append *appended;
    uint32_t nr_appended, nr_flushed, nr_noted;

    uint32_t least_refused;     /* how long the shortest one was */
    bool said_full;

    /* The least number that can be there, and that after a reset to come */
    uint32_t least, least_then;
} Zone;

typedef struct Request {
    uint32_t number;            /* of the append */
    Zone *zone;
    bool was_full;              /* the zone, when this was sent */
    uint64_t *data;
} Request;

static NvmeRing nvme;
static uint64_t seed, zone_sectors;
static Zone zones[MAX_ZONES];
static unsigned nr_zones;

static Request requests[MAX_DEPTH];
static Request *idle[MAX_DEPTH];
static unsigned nr_idle, depth;
static bool flushing, noting;
static unsigned nr_unflushed;
static uint64_t nr_succeeded, nr_beyond, nr_to_full;

static unsigned complaints;
static uint64_t lost;

static uint64_t zone_lba(const Zone *zone, uint32_t place)
{
    return (zone->start + (uint64_t)place * BLOCK_SIZE) / nvme.lba_size;
}

/* @number: the append that it is about, or 0 */
static void __attribute__((format(printf, 4, 5)))
complain(const Zone *zone, uint64_t lba, uint32_t number, const char *what, ...)
{
    va_list args;

    if (complaints++ >= MAX_COMPLAINTS) {
        return;
    }
    printf("# zone %u, LBA %" PRIu64, zone->index, lba);
    if (number) {
        printf(", request %" PRIu32, number);
    }
    printf(": ");
    va_start(args, what);
    vprintf(what, args);
    va_end(args);
    putchar('\n');
}

/* What an append is, by its number */

static uint64_t choice(uint32_t number)
{
    return mix(mix(seed) + number);
}

static Zone *append_zone(uint32_t number)
{
    return &zones[choice(number) % nr_zones];
}

static uint32_t append_count(uint32_t number)
{
    return 1 + (choice(number) >> 32) % MAX_COUNT;
}

static bool append_is_fua(uint32_t number)
{
    return !(choice(number) >> 40 & 15);
}

/* The disk */

/* The zone that starts at @sector */
static struct blk_zone report_zone(uint64_t sector)
{
    struct {
        struct blk_zone_report header;
        struct blk_zone zone;
    } report = { .header = { .sector = sector, .nr_zones = 1 } };

    if (ioctl(nvme.disk, BLKREPORTZONE, &report) < 0 ||
        report.header.nr_zones != 1) {
        fail("a report of a zone");
    }
    return report.zone;
}

/* Where its write pointer is; a full zone has none. */
static uint32_t write_pointer(const Zone *zone)
{
    struct blk_zone info = report_zone(zone->start / 512);

    return info.cond == BLK_ZONE_COND_FULL
        ? zone->capacity : (info.wp - info.start) * 512 / BLOCK_SIZE;
}

static void set_up_zones(unsigned first)
{
    zone_sectors = report_zone(0).len;
    for (unsigned i = 0; i < nr_zones; i++) {
        Zone *zone = &zones[i];
        struct blk_zone info = report_zone((first + i) * zone_sectors);

        zone->index = first + i;
        zone->start = info.start * 512;
        zone->capacity = info.capacity * 512 / BLOCK_SIZE;
        zone->first = zone->asked = zone->filled = write_pointer(zone);
        zone->owner = calloc(zone->capacity, sizeof(*zone->owner));
        zone->appended = calloc(zone->capacity, sizeof(*zone->appended));
        zone->least_refused = UINT32_MAX;
    }
}

static void empty(Zone *zone)
{
    nvme_empty(&nvme, zone->start, zone_sectors * 512);
    zone->first = zone->asked = zone->filled = 0;
    zone->nr_appended = zone->nr_flushed = zone->nr_noted = 0;
    memset(zone->owner, 0, zone->capacity * sizeof(*zone->owner));
}

/* The ring */

static void set_up_ring(void)
{
    nvme_set_up(&nvme, depth + 1);      /* and a flush */
    for (unsigned i = 0; i < depth; i++) {
        requests[i].data = aligned_alloc(BLOCK_SIZE, MAX_COUNT * BLOCK_SIZE);
        idle[nr_idle++] = &requests[i];
    }
}

static void send_append(uint32_t number)
{
    Zone *zone = append_zone(number);
    uint32_t count = append_count(number);
    Request *request = idle[--nr_idle];

    request->number = number;
    request->zone = zone;
    request->was_full = zone->filled == zone->capacity;
    for (uint32_t i = 0; i < count; i++) {
        block_fill(request->data + i * BLOCK_WORDS, seed, zone->index, i,
                   number);
    }
    nvme_data_command(&nvme, OPCODE_ZONE_APPEND, request, zone->start,
                      request->data, count * BLOCK_SIZE,
                      append_is_fua(number) ? FUA : 0);
    zone->asked += count;
    zone->in_flight++;
}

/* Flush what has completed; appends that are in flight go on. */
static void send_flush(void)
{
    nvme_command(&nvme, OPCODE_FLUSH, NULL);
    flushing = true;
    nr_unflushed = 0;
    for (unsigned i = 0; i < nr_zones; i++) {
        zones[i].nr_flushed = zones[i].nr_appended;
    }
}

static void note_append(const Zone *zone, const Append *append)
{
    printf("add synced S %u %" PRIu32 " %" PRIu32 "\n", zone->index,
           append->place, append->number);
}

static void end_flush(int status)
{
    flushing = false;
    if (status) {
        printf("not ok flush: status %d\n", status);
        exit(1);
    }
    for (unsigned i = 0; i < nr_zones; i++) {
        Zone *zone = &zones[i];

        for (; zone->nr_noted < zone->nr_flushed; zone->nr_noted++) {
            note_append(zone, &zone->appended[zone->nr_noted]);
        }
    }
}

/* An append has succeeded, and says where its data is. */
static void keep_place(Zone *zone, uint32_t number, uint64_t lba)
{
    uint32_t count = append_count(number);
    uint64_t offset = lba * nvme.lba_size - zone->start;
    uint32_t place = offset / BLOCK_SIZE;

    if (lba < zone_lba(zone, zone->first) || offset % BLOCK_SIZE ||
        offset / BLOCK_SIZE + count > zone->capacity) {
        complain(zone, lba, number, "is not where the zone had room");
        return;
    }
    for (uint32_t i = place; i < place + count; i++) {
        if (zone->owner[i]) {
            complain(zone, zone_lba(zone, i), number,
                     "is where request %" PRIu32 " is", zone->owner[i]);
            return;
        }
        zone->owner[i] = number;
    }
    zone->filled += count;
    zone->appended[zone->nr_appended] = (Append) { number, place };
    if (noting && append_is_fua(number)) {
        note_append(zone, &zone->appended[zone->nr_appended]);
    }
    zone->nr_appended++;
    nr_unflushed++;
    nr_succeeded++;
}

static void refuse(Zone *zone, const Request *request, int status)
{
    uint32_t count = append_count(request->number);
    uint64_t start = zone_lba(zone, 0);

    if (status == ZONE_IS_FULL) {
        zone->said_full = true;
        nr_to_full++;
    } else if (status == ZONE_BOUNDARY_ERROR && !request->was_full) {
        /* A zone may become full only when what fills it has completed. */
        nr_beyond++;
    } else {
        complain(zone, start, request->number, "fails with status 0x%x",
                 status);
    }
    if (zone->asked <= zone->capacity) {
        complain(zone, start, request->number, "is refused, but all have room");
    }
    zone->least_refused = count < zone->least_refused ? count
                                                      : zone->least_refused;
}

static void end_append(Request *request, int result, uint64_t lba)
{
    Zone *zone = request->zone;

    zone->in_flight--;
    idle[nr_idle++] = request;
    if (result < 0) {
        complain(zone, zone_lba(zone, 0), request->number, "%s",
                 strerror(-result));
    } else if (result) {
        refuse(zone, request, result & STATUS_MASK);
    } else {
        keep_place(zone, request->number, lba);
    }
}

static void wait_for_completions(void)
{
    struct io_uring_cqe *cqe;

    nvme_wait(&nvme);
    while (io_uring_peek_cqe(&nvme.ring, &cqe) == 0) {
        Request *request = io_uring_cqe_get_data(cqe);

        if (request) {
            end_append(request, cqe->res, cqe->big_cqe[0]);
        } else {
            end_flush(cqe->res);
        }
        io_uring_cqe_seen(&nvme.ring, cqe);
    }
}

/* What is there */

/* A block, or NULL */
static const uint64_t *read_block(const Zone *zone, uint32_t place)
{
    static uint64_t words[BLOCK_WORDS] __attribute__((aligned(BLOCK_SIZE)));
    off_t offset = zone->start + (uint64_t)place * BLOCK_SIZE;
    ssize_t n = pread(nvme.disk, words, BLOCK_SIZE, offset);

    if (n != BLOCK_SIZE) {
        complain(zone, zone_lba(zone, place), zone->owner[place],
                 "is not read: %s", n < 0 ? strerror(errno) : "too short");
        return NULL;
    }
    return words;
}

/* What is known of the block before the one that is looked at */
typedef struct Before {
    uint32_t number;
    uint32_t left;              /* blocks of its append that must follow */
} Before;

/* Whether @words are the block of an append to the zone: of *@number */
static bool is_appended(const Zone *zone, const uint64_t *words,
                        uint32_t *number)
{
    uint64_t by = block_change(words, seed, zone->index, words[1]);

    *number = by;
    return by && by <= UINT32_MAX && append_zone(by) == zone &&
           words[1] < append_count(by) && by >= zone->least;
}

static Before verify_block(const Zone *zone, uint32_t place, Before before)
{
    const uint64_t *words = read_block(zone, place);
    uint64_t lba = zone_lba(zone, place);
    uint32_t noted = zone->owner[place], by, index;

    if (!words) {
        return (Before) { 0, 0 };
    }
    if (!is_appended(zone, words, &by)) {
        complain(zone, lba, noted, "there is something else");
        return (Before) { 0, 0 };
    }
    index = words[1];
    if (noted && noted != by) {
        complain(zone, lba, noted, "request %" PRIu32 " is there", by);
    } else if (before.left ? by != before.number ||
                             index != append_count(by) - before.left
                           : index != 0) {
        complain(zone, lba, by, "this is its block %" PRIu32 ", behind request "
                 "%" PRIu32 ", of which %" PRIu32 " more must follow", index,
                 before.number, before.left);
    }
    return (Before) { by, append_count(by) - index - 1 };
}

static void verify_blocks(const Zone *zone, uint32_t from, uint32_t to)
{
    Before before = { 0, 0 };

    for (uint32_t place = from; place < to; place++) {
        before = verify_block(zone, place, before);
    }
    if (before.left) {
        complain(zone, zone_lba(zone, to), before.number, "is cut off");
    }
}

/* The zone has what the results of the appends say, and no more. */
static void verify_appended(const Zone *zone)
{
    uint32_t pointer = write_pointer(zone);

    if (pointer != zone->filled) {
        complain(zone, zone_lba(zone, pointer), 0, "the write pointer is here, "
                 "not at %" PRIu64, zone_lba(zone, zone->filled));
    }
    for (uint32_t i = zone->first; i < pointer; i++) {
        if (!zone->owner[i]) {
            complain(zone, zone_lba(zone, i), 0, "no request has this place");
        }
    }
    if (zone->least_refused <= zone->capacity - zone->filled) {
        complain(zone, zone_lba(zone, pointer), 0, "%" PRIu32 " blocks were "
                 "refused, but have room", zone->least_refused);
    }
    if (zone->said_full && zone->filled < zone->capacity) {
        complain(zone, zone_lba(zone, pointer), 0, "the zone was said to be "
                 "full, but is not");
    }
    verify_blocks(zone, zone->first, pointer);
}

/* DISK SEED FIRST ZONES */
static void set_up(char **args)
{
    seed = strtoull(args[1], NULL, 0);
    nr_zones = strtoul(args[3], NULL, 0);
    if (!nr_zones || nr_zones > MAX_ZONES) {
        errno = EINVAL;
        fail("number of zones");
    }
    nvme_open(&nvme, args[0]);
    set_up_zones(strtoul(args[2], NULL, 0));
}

static void set_depth(const char *arg)
{
    depth = strtoul(arg, NULL, 0);
    if (!depth || depth > MAX_DEPTH) {
        errno = EINVAL;
        fail("number of appends in flight");
    }
    set_up_ring();
}

static int write_zones(char **args)
{
    uint32_t nr_appends = strtoul(args[5], NULL, 0), number = 1;

    set_up(args);
    set_depth(args[4]);
    while (number <= nr_appends || nr_idle < depth) {
        while (number <= nr_appends && nr_idle) {
            send_append(number++);
        }
        wait_for_completions();
    }
    for (unsigned i = 0; i < nr_zones; i++) {
        verify_appended(&zones[i]);
    }
    printf("%" PRIu64 " appended, %" PRIu64 " beyond a zone, %" PRIu64
           " to a full one\n", nr_succeeded, nr_beyond, nr_to_full);
    return !!complaints;
}

static void empty_with_note(Zone *zone, uint32_t next)
{
    printf("add synced R %u %" PRIu32 "\n", zone->index, next);
    tcdrain(STDOUT_FILENO);     /* The host must know first. */
    empty(zone);
}

/*
 * Send an append if its zone has room. A full zone is made empty once nothing
 * is in flight to it, while appends to others are.
 */
static bool try_append(uint32_t number)
{
    Zone *zone = append_zone(number);

    if (zone->asked + append_count(number) > zone->capacity) {
        if (zone->in_flight) {
            return false;
        }
        empty_with_note(zone, number);
    }
    send_append(number);
    return true;
}

static int load_zones(char **args)
{
    uint32_t number = 1;

    set_up(args);
    set_depth(args[4]);
    noting = true;
    for (unsigned i = 0; i < nr_zones; i++) {
        empty(&zones[i]);
    }
    printf("add synced D %s %" PRIu64 " %s %s\n", args[0], seed, args[2],
           args[3]);
    while (!complaints) {
        while (nr_idle && try_append(number++)) {
            continue;
        }
        if (nr_unflushed >= FLUSH_AFTER && !flushing) {
            send_flush();
        }
        wait_for_completions();
    }
    printf("not ok appends to zones\n");
    return 1;
}

/* What was known of the zone before it was made empty is of no use. */
static void take_reset(Zone *zone)
{
    memset(zone->owner, 0, zone->capacity * sizeof(*zone->owner));
    zone->filled = 0;
    zone->least = zone->least_then;
    zone->least_then = 0;
}

static bool take_append(Zone *zone, uint32_t place, uint32_t number)
{
    uint32_t end = place + append_count(number);

    if (end > zone->capacity || append_zone(number) != zone) {
        return false;
    }
    if (zone->least_then) {
        take_reset(zone);
    }
    for (uint32_t i = place; i < end; i++) {
        zone->owner[i] = number;
    }
    zone->filled = end > zone->filled ? end : zone->filled;
    return true;
}

static bool take_note(const char *line)
{
    char name[64], fields[3][24], *args[] = {
        name, fields[0], fields[1], fields[2]
    };
    uint32_t place, number;
    unsigned index;

    if (sscanf(line, "D %63s %23s %23s %23s", name, fields[0], fields[1],
               fields[2]) == 4) {
        set_up(args);
        for (unsigned i = 0; i < nr_zones; i++) {
            zones[i].filled = 0;
        }
        return true;
    }
    if (sscanf(line, "%*c %u", &index) != 1 ||
        index - zones[0].index >= nr_zones) {
        return false;
    }
    index -= zones[0].index;
    if (sscanf(line, "R %*u %" SCNu32, &number) == 1) {
        zones[index].least_then = number;
        return true;
    }
    return sscanf(line, "S %*u %" SCNu32 " %" SCNu32, &place, &number) == 2 &&
           take_append(&zones[index], place, number);
}

/* Whether a reset that was going to happen has */
static bool was_emptied(const Zone *zone, uint32_t pointer)
{
    const uint64_t *words;

    if (!zone->least_then || !pointer) {
        return zone->least_then;
    }
    words = read_block(zone, 0);
    return words && words[2] >= zone->least_then;
}

static uint32_t verify_zone(Zone *zone)
{
    uint32_t pointer = write_pointer(zone);

    if (was_emptied(zone, pointer)) {
        take_reset(zone);
    }
    if (pointer < zone->filled) {
        complain(zone, zone_lba(zone, pointer), zone->owner[pointer],
                 "this and what follows was durable and is gone");
        lost += (uint64_t)(zone->filled - pointer) * BLOCK_SIZE;
    }
    verify_blocks(zone, 0, pointer);
    return pointer;
}

static int verify_zones(void)
{
    uint64_t verified = 0;
    char line[256];

    while (fgets(line, sizeof(line), stdin)) {
        if (!take_note(line)) {
            printf("not ok a note: %s", line);
            return 1;
        }
    }
    for (unsigned i = 0; i < nr_zones; i++) {
        verified += verify_zone(&zones[i]);
    }
    printf("count verified %" PRIu64 "\ncount lost %" PRIu64 "\n",
           verified * BLOCK_SIZE, lost);
    return !!complaints;
}

int main(int argc, char **argv)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc == 8 && !strcmp(argv[1], "write")) {
        return write_zones(argv + 2);
    }
    if (argc == 7 && !strcmp(argv[1], "load")) {
        return load_zones(argv + 2);
    }
    if (argc == 2 && !strcmp(argv[1], "verify")) {
        return verify_zones();
    }
    fprintf(stderr,
            "usage: nvme-appends write DISK SEED FIRST ZONES DEPTH APPENDS\n"
            "       nvme-appends load DISK SEED FIRST ZONES DEPTH\n"
            "       nvme-appends verify <NOTES\n");
    return 2;
}

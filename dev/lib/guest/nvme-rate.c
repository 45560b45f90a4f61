/*
 * How many Zone Appends, or writes, an NVMe namespace completes in a second
 *
 *   nvme-rate append|write DISK ZONE_SIZE ZONES DEPTH SECONDS
 *
 * They have 4 KiB, go in turn to the first ZONES zones of so many bytes and are
 * put behind each other; DEPTH of them are in flight. In a zone that is full it
 * begins again, at first once it has been made empty if these are appends: fio
 * has no appends, and this is otherwise what it does with zones.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#define _GNU_SOURCE
#include <stdbool.h>
#include <time.h>
#include "nvme-ring.h"

#define SIZE 4096
#define MAX_ZONES 64
#define MAX_DEPTH 256

typedef struct Zone {
    uint64_t start, asked;      /* in bytes; what was asked for, from there */
    unsigned in_flight;
} Zone;

static NvmeRing nvme;
static Zone zones[MAX_ZONES];
static unsigned nr_zones, depth, in_flight;
static uint64_t zone_size, sent, completed;
static bool appends;
static char data[SIZE] __attribute__((aligned(SIZE)));

static double now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

/* Whether there was room in the zone whose turn it is */
static bool try_send(void)
{
    Zone *zone = &zones[sent % nr_zones];

    if (zone->asked == zone_size) {
        if (appends && zone->in_flight) {
            return false;
        }
        if (appends) {
            nvme_empty(&nvme, zone->start, zone_size);
        }
        zone->asked = 0;
    }
    if (appends) {
        nvme_data_command(&nvme, OPCODE_ZONE_APPEND, zone, zone->start, data,
                          SIZE, 0);
    } else {
        nvme_data_command(&nvme, OPCODE_WRITE, zone, zone->start + zone->asked,
                          data, SIZE, 0);
    }
    zone->asked += SIZE;
    zone->in_flight++;
    in_flight++;
    sent++;
    return true;
}

static void complete(void)
{
    struct io_uring_cqe *cqe;

    nvme_wait(&nvme);
    while (io_uring_peek_cqe(&nvme.ring, &cqe) == 0) {
        Zone *zone = io_uring_cqe_get_data(cqe);

        if (cqe->res) {
            printf("not ok a request: %d\n", cqe->res);
            exit(1);
        }
        zone->in_flight--;
        in_flight--;
        completed++;
        io_uring_cqe_seen(&nvme.ring, cqe);
    }
}

static double rate(double seconds)
{
    double start = now();

    while (now() < start + seconds) {
        while (in_flight < depth && try_send()) {
            continue;
        }
        complete();
    }
    while (in_flight) {
        complete();
    }
    return completed / (now() - start);
}

int main(int argc, char **argv)
{
    appends = argc > 1 && !strcmp(argv[1], "append");
    if (argc != 7 || (!appends && strcmp(argv[1], "write"))) {
        fprintf(stderr, "usage: nvme-rate append|write DISK ZONE_SIZE ZONES "
                        "DEPTH SECONDS\n");
        return 2;
    }
    zone_size = strtoull(argv[3], NULL, 0);
    nr_zones = strtoul(argv[4], NULL, 0);
    depth = strtoul(argv[5], NULL, 0);
    if (!zone_size || zone_size % SIZE || !nr_zones || nr_zones > MAX_ZONES ||
        !depth || depth > MAX_DEPTH) {
        errno = EINVAL;
        fail("numbers");
    }
    nvme_open(&nvme, argv[2]);
    nvme_set_up(&nvme, depth);
    for (unsigned i = 0; i < nr_zones; i++) {
        zones[i].start = i * zone_size;
        if (appends) {
            nvme_empty(&nvme, zones[i].start, zone_size);
        }
    }
    printf("%.0f\n", rate(strtod(argv[6], NULL)));
    return 0;
}

/*
 * A model of the zone state machine of the zoned block format driver
 *
 * One struct per zone, with what the state machine packs into words in fields
 * of their own, and with counts and orders that are looked for whenever they
 * are needed.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TESTS_UNIT_ZONED_ZONES_MODEL_H
#define TESTS_UNIT_ZONED_ZONES_MODEL_H

#include "zoned-random.h"
#include "zoned-zones-device.h"

/* Most writes in flight to one zone. */
#define MAX_IN_FLIGHT 6

/* One zone of the model.  Numbers of bytes count from its start. */
typedef struct ModelZone {
    bool conventional;
    uint64_t start;
    uint64_t length;
    uint64_t capacity;
    BlockZoneState cond;
    uint64_t written;           /* including writes in flight */
    bool extended;              /* has a valid descriptor extension */
    uint64_t last_write;        /* when, by the model's clock */

    /* The oldest first: begin, end, and whether it has opened the zone */
    uint64_t in_flight[MAX_IN_FLIGHT][3];
    int nr_in_flight;

    /* How often it stopped to be active since the last commit began */
    uint32_t stopped;
    /* The same, before the commit that is running began */
    uint32_t stopped_before;

    /* May the zone be active in the image, after a crash at this moment? */
    bool active_in_image;
    bool active_in_commit;
} ModelZone;

typedef struct Model {
    const char *name;
    ZonedRandom random;
    uint64_t step;
    char doing[200];

    uint32_t nr_zones;
    uint32_t max_open;
    uint32_t max_active;
    ModelZone *zone;
    bool *dirty;
    bool committing;

    /* By dirty bit, the generation in which a zone has changed last */
    uint64_t *last_change;
    uint64_t generation;

    /* What all zones were when a generation ended, and which */
    BlockZoneDescriptor *seen;
    uint64_t seen_generation;
    uint64_t clock;

    Device *device;
} Model;

/* Tells in which step of which test something is wrong, and aborts. */
G_NORETURN void G_GNUC_PRINTF(2, 3)
model_fail(const Model *m, const char *fmt, ...);

#define MUST_BE(m, what, i, got, want)                                    \
    do {                                                                  \
        uint64_t got_ = (got), want_ = (want);                            \
        if (got_ != want_) {                                              \
            model_fail(m, "zone %u: %s is 0x%" PRIx64 ", should be 0x%"   \
                       PRIx64, (uint32_t)(i), what, got_, want_);         \
        }                                                                 \
    } while (0)

/* A model of a device with geometry @geo, and the device. */
void model_init(Model *m, const ZonedGeometry *geo);
void model_destroy(Model *m);

/* Zone @i changes in this generation. */
void model_note_change(Model *m, uint32_t i);

/* Notes what all zones are now, at the end of @generation. */
void model_see(Model *m, uint64_t generation);

/* Zone @i gets the condition @cond; or is closed. */
void model_change(Model *m, uint32_t i, BlockZoneState cond);
void model_close(Model *m, uint32_t i);

/* What the functions of the state machine do, and return. */
int model_begin_write(Model *m, uint32_t i, uint64_t offset, uint64_t bytes);
int model_extend(Model *m, uint32_t i);
int model_mgmt(Model *m, BlockZoneOp op, uint32_t i, bool all);

/* Compares zone @i, or everything, of the device with the model. */
void model_compare_zone(const Model *m, uint32_t i);
void model_compare(const Model *m);

#endif /* TESTS_UNIT_ZONED_ZONES_MODEL_H */

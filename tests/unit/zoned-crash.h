/*
 * The test of power cuts on images of the zoned format: what its parts share
 *
 * test-zoned-crash.c      the tests, and the devices that they are about
 * zoned-crash-run.c       runs: some histories on one device
 * zoned-crash-history.c   a random history
 * zoned-crash-rules.c     rules by which zones fail in it
 * zoned-crash-cuts.c      what a power cut leaves at each point of it
 * zoned-crash-device.c    the device: the driver on the disk
 * zoned-crash-disk.c      the disk, which keeps a record; needs none of these
 * zoned-judge.c           the judge of images; shares no code with the driver
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TESTS_UNIT_ZONED_CRASH_H
#define TESTS_UNIT_ZONED_CRASH_H

#include "system/block-backend.h"
#include "zoned-crash-disk.h"

typedef struct Cuts Cuts;
typedef struct History History;

/* What a test is about. */
typedef struct Profile {
    const char *name;
    void (*geometry)(ZonedRandom *random, JudgeGeometry *geo);
    bool faults;                /* requests to the file may fail */
    bool fragments;             /* the file takes small requests only */
    bool certain;               /* one operation at a time, none half done */
    bool processes;             /* more than one */
    bool failing;               /* zones fail, and are usable again */
    bool rules;                 /* by rules, too */
} Profile;

/* What all runs of a test have done, and are to do. */
typedef struct Tally {
    uint64_t nr_judged;         /* images */
    uint64_t nr_histories;
    uint64_t nr_wanted;         /* images */
    const char *dump_folder;    /* for some of them, or NULL */
    uint64_t nr_dumps;          /* so many */
} Tally;

/* Some histories on one device */
typedef struct Run {
    const Profile *profile;
    Tally *tally;
    ZonedRandom random;
    JudgeGeometry geo;
    Judge *judge;
    Disk *disk;
    History *history;
    Cuts *cuts;
    BlockBackend *blk;          /* of the process that uses the device */
    BlockDriverState *standby;  /* of the next process, or NULL */
    GArray *rules;              /* by which zones will fail in this process */
    Content *start;             /* the file when the history began */
    GString *failure;           /* what was found, or NULL */
} Run;

static inline unsigned below(Run *r, unsigned n)
{
    return random_below(&r->random, n);
}

static inline bool percent(Run *r, unsigned n)
{
    return random_percent(&r->random, n);
}

/* Where zone @i starts on the device. */
static inline uint64_t zone_start(const Run *r, uint32_t i)
{
    return i * r->geo.zone_size;
}

/* Where the conventional zones end. */
static inline uint64_t conv_limit(const Run *r)
{
    return MIN(r->geo.nr_conv * r->geo.zone_size, r->geo.size);
}

/* Bytes that can still be written to zone @i, with the write pointer @wp. */
static inline uint64_t zone_room(const Run *r, uint32_t i, uint64_t wp)
{
    uint64_t limit = MIN(zone_start(r, i) + r->geo.zone_capacity, r->geo.size);

    return wp < limit ? limit - wp : 0;
}

/* zoned-crash-run.c */

/* A device as @profile says, with a new image. */
Run *run_new(const Profile *profile, Tally *tally, uint32_t seed);
void run_free(Run *r);

/*
 * A history from what is in the file, and all cuts of it; the next one begins
 * with one of the images.  Returns false if there was a failure.
 */
bool run_epoch(Run *r);

/* Notes what was found; the first is kept. */
void G_GNUC_PRINTF(2, 3) run_fail(Run *r, const char *format, ...);

/* Notes why the judge's last judgement was false.  Returns false. */
bool run_judgement_failed(Run *r);

/* zoned-crash-device.c */

/* How a process becomes one that may write. */
typedef enum Entrance {
    ENTRANCE_OPEN,
    ENTRANCE_REOPEN,            /* the node was read-only */
    ENTRANCE_ACTIVATE,          /* the node was inactive, as in a migration */
    ENTRANCE_STANDBY,           /* ditto, and it was opened before the others */
    ENTRANCE__MAX,
} Entrance;

/* When the image is compared with what the driver says of it. */
typedef enum Moment {
    OPENED,                     /* nothing was done to it */
    ACTIVATED,                  /* ditto, and zones may have stayed open */
    FLUSHED,
} Moment;

/* Makes a new image, at byte geo.base of the file. */
void device_create(Run *r);

/* Opens the device, which then may be written.  False: see r->failure. */
bool device_open(Run *r, Entrance entrance);

/* Opens it for a process that waits, to enter by ENTRANCE_STANDBY; ditto. */
bool device_open_standby(Run *r);

/* Takes the device away; what it still writes is lost. */
void device_power_off(Run *r);

/*
 * Does the driver say what the judge's last image says?  After it was opened,
 * or else when all is flushed.  False: see r->failure.
 */
bool device_check(Run *r, Moment moment);

/* zoned-crash-history.c */

History *history_new(Run *r);
void history_free(History *h);

/*
 * Runs a random history on the device, which is open, and then is open and
 * flushed.  False: see r->failure.
 */
bool history_run(History *h);

/* Is there something that has not ended?  Then the device cannot be closed. */
bool history_hangs(const History *h);

/* zoned-crash-rules.c */

/* No rules, for Run.rules */
GArray *rules_new(void);

/* Gives @zone, whose write pointer is @wp, a rule, if it can have that. */
void coroutine_fn rules_add(Run *r, uint32_t zone, uint64_t wp);

/* @op was acknowledged: notes which zones have failed with it. */
void rules_note(Run *r, const JudgeOp *op);

/* Has @zone failed by a rule, or is about to, and nobody has noted it? */
bool rules_are_applied(Run *r, uint32_t zone);

/* The device is gone, and its rules are. */
void rules_forget(Run *r);

/* zoned-crash-cuts.c */

Cuts *cuts_new(Run *r);
void cuts_free(Cuts *c);

/* Forgets the history, but not the images. */
void cuts_forget(Cuts *c);

/* Judges the whole history, cut at each point.  False: see r->failure. */
bool cuts_judge_history(Cuts *c);

/* The last image that was judged: all has happened. */
const Content *cuts_last_image(const Cuts *c);

/* One of all images that were judged, by chance */
const Content *cuts_next_image(const Cuts *c);

#endif /* TESTS_UNIT_ZONED_CRASH_H */

/*
 * A disk for tests of power cuts, below the zoned block format driver
 *
 * It keeps the file in memory, as its cache has it, completes requests in a
 * random order, and records each of them twice: when it is submitted and when
 * it is done.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TESTS_UNIT_ZONED_CRASH_DISK_H
#define TESTS_UNIT_ZONED_CRASH_DISK_H

#include "qemu/coroutine.h"
#include "zoned-judge.h"
#include "zoned-random.h"

#define SECTOR JUDGE_SECTOR

/* A request to the file */
typedef enum RequestType {
    REQUEST_WRITE,
    REQUEST_DISCARD,
    REQUEST_FLUSH,
    REQUEST__MAX,
} RequestType;

typedef struct Request {
    RequestType type;
    uint32_t first;             /* sector of the file */
    uint32_t nr;
    Content *contents;          /* of @nr sectors, once it is applied */
    int64_t submit;
    int64_t done;               /* JUDGE_NEVER: not yet */
    int64_t landed;             /* what is submitted later comes behind it */
    bool fua;                   /* this write, and no other, is durable then */
    bool durable;               /* by a flush that is done, or as it is FUA */
    bool dropped;               /* by one that failed: later ones skip it */
    bool untold;                /* and @author does not know yet */
    Coroutine *author;          /* whose operation goes on, else NULL */
    int ret;
    Content *before;            /* what the cache had when it was submitted */
    unsigned long *lost;        /* sectors not in the cache: a bit each */

    /* In the image that is being made, these sectors are there: a bit each. */
    unsigned long *applied;
    bool pending;
} Request;

typedef enum EventType {
    EVENT_SUBMIT,
    EVENT_DONE,
    EVENT_BEGIN,
    EVENT_ACK,
    EVENT_DIE,
    EVENT_OPEN,
} EventType;

/* Something has happened; the time is the index of the event. */
typedef struct Event {
    EventType type;
    Request *request;           /* of EVENT_SUBMIT and EVENT_DONE */
    JudgeOp *op;                /* of EVENT_BEGIN and EVENT_ACK */
    Content *view;              /* of EVENT_OPEN: the cache that was found */
} Event;

typedef struct Disk {
    ZonedRandom *random;
    bool fragments;             /* it takes small requests only */

    /* The file, as the cache has it */
    Content *file;
    uint32_t nr_sectors;
    uint64_t nr_garbage;

    /* The user sets these at any time. */
    uint32_t table_limit;       /* the sector behind the zone table */
    uint32_t log_first;         /* the sectors of the log: from the first... */
    uint32_t log_limit;         /* ...to the one behind it */
    bool recording;             /* else requests leave no trace */
    bool parking;               /* else they complete at once */
    bool off;                   /* the process is dead: nothing is written */
    unsigned fault_percent;     /* of the requests fail */
    bool gives_up;              /* after a flush that failed, all others do */
    bool flush_failed;
    unsigned weight[REQUEST__MAX + 1];  /* of the requests; the last: others */

    /* What was recorded */
    GArray *events;             /* Event */
    GPtrArray *requests;        /* Request */
    guint nr_old;               /* of those: by processes that are gone */
    unsigned nr_untold;         /* requests: until it is 0, flushes fail */

    GArray *parked;             /* coroutines that wait to be chosen */
} Disk;

/* An empty file; @random is that of the whole test. */
Disk *disk_new(ZonedRandom *random, bool fragments);
void disk_free(Disk *d);

/* A node of the file, which the caller owns; of one disk at a time. */
BlockDriverState *disk_open(Disk *d);

/* A content that no other sector has */
Content disk_garbage(Disk *d);

/* Puts @nr sectors of garbage in front of what is in the file. */
void disk_prepend(Disk *d, uint32_t nr);

/* The same behind it. */
void disk_append(Disk *d, uint32_t nr);

/* What is in the file now; freed by the caller */
Content *disk_copy(const Disk *d);

/* The next thing that happens does so at this time. */
int64_t disk_now(const Disk *d);

/* Records that an operation begins or is acknowledged. */
void disk_add_op(Disk *d, EventType type, JudgeOp *op);

/* Records that a process finds @view in the cache; takes it over. */
void disk_add_view(Disk *d, Content *view);

/* Forgets all that was recorded. */
void disk_forget(Disk *d);

/* Describes @event, which happened at @time, to be read by a person. */
void disk_describe_event(const Event *event, int64_t time, GString *text);

/* With @parking, waits until it is chosen, by its weight among the others. */
void coroutine_fn disk_park(Disk *d, unsigned weight);

/* Lets one of those go on that wait; there must be some. */
void disk_wake_one(Disk *d);

/* @author knows what has become of its requests, or does not ask any more. */
void disk_tell(Disk *d, const Coroutine *author);

/*
 * The process dies, and is off.  What was in flight has come as far as the
 * cache, or not, or in part; it comes no further.
 */
void disk_die(Disk *d);

/*
 * The process has died.  The cache forgets some of what it believes to be on
 * the disk and is not, as a flush has failed: who reads that next sees what is
 * on the disk.
 */
void disk_evict(Disk *d);

/* Is sector @sector one of the header, the zone table or the log? */
bool disk_is_metadata(const Disk *d, uint32_t sector);

/*
 * The sectors that are in the cache and will not be on the disk, as a flush has
 * failed: a bit each; freed by the caller.
 */
unsigned long *disk_find_given_up(const Disk *d);

#endif /* TESTS_UNIT_ZONED_CRASH_DISK_H */

/*
 * The test of power cuts: what is left of the file, at each point of a history
 *
 * What was done before a flush was submitted that is done is durable.  Of all
 * else that was submitted, each sector may have reached the file or not.  So
 * for each sector that is unsettled there are some contents to choose from; all
 * choices together are tried if they are few, a random sample if they are many.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/bitmap.h"
#include "qemu/bitops.h"
#include "zoned-crash.h"

/* A content that a sector may have. */
typedef struct Version {
    Content content;
    Request *request;           /* NULL: it was there in the beginning */
    bool found;                 /* in the cache when a process began */
} Version;

/* A sector that was written. */
typedef struct Position {
    uint32_t sector;
    GArray *versions;           /* Version, oldest first */
    GArray *choices;            /* Content, different ones of @versions */
    uint32_t chosen;            /* index in @choices */
} Position;

struct Cuts {
    Run *run;
    uint32_t nr_sectors;
    Content *image;             /* the one that is made */
    Content *next;              /* one of all, to go on with */
    Position **positions;       /* of each sector of the file, or NULL */
    GPtrArray *unsettled;       /* Position, more than one version */
    uint64_t all_below;         /* try all choices if there are so many */
    unsigned samples;           /* else as many as this */
    uint64_t nr_images;         /* judged, of this history */
};

/* Writes the image to a file, for other programs to look at. */
static void dump_image(Cuts *c)
{
    const Run *r = c->run;
    g_autofree char *path = g_strdup_printf("%s/%s-%" PRIu64 ".zoned",
                                            r->tally->dump_folder,
                                            r->profile->name,
                                            r->tally->nr_judged);
    FILE *f = fopen(path, "wb");
    uint8_t buf[SECTOR];

    g_assert(f);
    for (uint32_t i = r->geo.base / SECTOR; i < c->nr_sectors; i++) {
        content_to_bytes(c->image[i], buf);
        g_assert(fwrite(buf, SECTOR, 1, f) == 1);
    }
    g_assert(fclose(f) == 0);
}

/* The image is made: judges it. */
static bool judge_image(Cuts *c)
{
    Tally *tally = c->run->tally;

    c->nr_images++;
    tally->nr_judged++;
    if (tally->dump_folder &&
        tally->nr_judged * tally->nr_dumps / tally->nr_wanted !=
        (tally->nr_judged - 1) * tally->nr_dumps / tally->nr_wanted) {
        dump_image(c);
    }
    if (random_below(&c->run->random, c->nr_images) == 0) {
        memcpy(c->next, c->image, c->nr_sectors * sizeof(Content));
    }
    return judge_state(c->run->judge) || run_judgement_failed(c->run);
}

static void choose(Cuts *c, Position *p, uint32_t i)
{
    p->chosen = i;
    c->image[p->sector] = g_array_index(p->choices, Content, i);
}

/* Judges all choices at the positions @varying. */
static bool judge_all(Cuts *c, GPtrArray *varying)
{
    for (guint i = 0; i < varying->len; i++) {
        choose(c, g_ptr_array_index(varying, i), 0);
    }
    for (;;) {
        guint i = 0;

        if (!judge_image(c)) {
            return false;
        }
        for (i = 0; i < varying->len; i++) {
            Position *p = g_ptr_array_index(varying, i);

            if (p->chosen + 1 < p->choices->len) {
                choose(c, p, p->chosen + 1);
                break;
            }
            choose(c, p, 0);
        }
        if (i == varying->len) {
            return true;
        }
    }
}

/* Requests that matter at a cut, from which an image is made. */
typedef enum Sample {
    SAMPLE_NONE,
    SAMPLE_ALL,
    SAMPLE_TABLE,               /* only what goes into zone table and log */
    SAMPLE_DATA,
    SAMPLE_TABLE_TORN_DATA,     /* the table, and each sector with a chance */
    SAMPLE_ALL_BUT_ONE,         /* request */
    SAMPLE_ONE,                 /* request */
    SAMPLE_REQUESTS,            /* each request with a chance */
    SAMPLE_SECTORS,             /* each sector with a chance */
    SAMPLE__MAX,
} Sample;

static void apply_request(Cuts *c, Request *q, Sample sample, bool one,
                          unsigned chance)
{
    bool table = disk_is_metadata(c->run->disk, q->first);
    unsigned part = 100;

    switch (sample) {
    case SAMPLE_NONE:
        part = 0;
        break;
    case SAMPLE_ALL:
        break;
    case SAMPLE_TABLE:
        part = table ? 100 : 0;
        break;
    case SAMPLE_DATA:
        part = table ? 0 : 100;
        break;
    case SAMPLE_TABLE_TORN_DATA:
        part = table ? 100 : chance;
        break;
    case SAMPLE_ALL_BUT_ONE:
        part = one ? 0 : 100;
        break;
    case SAMPLE_ONE:
        part = one ? 100 : 0;
        break;
    case SAMPLE_REQUESTS:
        part = percent(c->run, chance) ? 100 : 0;
        break;
    default:
        part = chance;
    }
    for (uint32_t i = 0; i < q->nr; i++) {
        if (part == 100 || (part > 0 && percent(c->run, part))) {
            set_bit(i, q->applied);
        } else {
            clear_bit(i, q->applied);
        }
    }
}

/* Makes an image of those requests that @sample lets happen. */
static void make_sample(Cuts *c, Sample sample, GPtrArray *pending,
                        GPtrArray *varying)
{
    unsigned chance = 10 + below(c->run, 81);
    unsigned one = below(c->run, pending->len);

    for (guint i = 0; i < pending->len; i++) {
        apply_request(c, g_ptr_array_index(pending, i), sample, i == one,
                      chance);
    }
    for (guint i = 0; i < varying->len; i++) {
        const Position *p = g_ptr_array_index(varying, i);

        c->image[p->sector] = g_array_index(p->versions, Version, 0).content;
        for (guint k = 1; k < p->versions->len; k++) {
            const Version *v = &g_array_index(p->versions, Version, k);

            if (test_bit(p->sector - v->request->first, v->request->applied)) {
                c->image[p->sector] = v->content;
            }
        }
    }
}

/* The requests that the versions at @varying come from; freed by the caller. */
static GPtrArray *pending_requests(GPtrArray *varying)
{
    GPtrArray *pending = g_ptr_array_new();

    for (guint i = 0; i < varying->len; i++) {
        const Position *p = g_ptr_array_index(varying, i);

        for (guint k = 1; k < p->versions->len; k++) {
            Request *q = g_array_index(p->versions, Version, k).request;

            if (!q->pending) {
                q->pending = true;
                g_ptr_array_add(pending, q);
            }
        }
    }
    for (guint i = 0; i < pending->len; i++) {
        ((Request *)g_ptr_array_index(pending, i))->pending = false;
    }
    return pending;
}

static bool judge_samples(Cuts *c, GPtrArray *varying)
{
    g_autoptr(GPtrArray) pending = pending_requests(varying);

    for (unsigned i = 0; i < SAMPLE__MAX + c->samples; i++) {
        Sample sample = i < SAMPLE__MAX ? i
                        : SAMPLE_TABLE_TORN_DATA +
                          below(c->run, SAMPLE__MAX - SAMPLE_TABLE_TORN_DATA);

        make_sample(c, sample, pending, varying);
        if (!judge_image(c)) {
            return false;
        }
    }
    return true;
}

/* Finds the contents that differ among the versions of @p. */
static void find_choices(Position *p)
{
    g_array_set_size(p->choices, 0);
    for (guint i = 0; i < p->versions->len; i++) {
        Content content = g_array_index(p->versions, Version, i).content;
        guint k = 0;

        while (k < p->choices->len &&
               g_array_index(p->choices, Content, k) != content) {
            k++;
        }
        if (k == p->choices->len) {
            g_array_append_val(p->choices, content);
        }
    }
}

/* Cuts the power at @time: judges what may be left then. */
static bool cut(Cuts *c, int64_t time)
{
    g_autoptr(GPtrArray) varying = g_ptr_array_new();
    g_autofree uint32_t *sectors = g_new(uint32_t, c->unsettled->len);
    uint64_t nr = 1;

    for (guint i = 0; i < c->unsettled->len; i++) {
        Position *p = g_ptr_array_index(c->unsettled, i);

        find_choices(p);
        choose(c, p, 0);
        if (p->choices->len > 1) {
            sectors[varying->len] = p->sector;
            g_ptr_array_add(varying, p);
            nr = MIN(nr * p->choices->len, UINT32_MAX);
        }
    }
    if (!judge_cut(c->run->judge, time, c->image, sectors, varying->len)) {
        return run_judgement_failed(c->run);
    }
    return nr <= c->all_below ? judge_all(c, varying)
                              : judge_samples(c, varying);
}

/* What is written to @q's sectors is a version of each of them. */
static void add_versions(Cuts *c, Request *q)
{
    for (uint32_t i = 0; i < q->nr; i++) {
        uint32_t sector = q->first + i;
        Version v = { .content = q->contents[i], .request = q };
        Position *p = c->positions[sector];

        if (!p) {
            Version found = { .content = c->image[sector] };

            p = c->positions[sector] = g_new0(Position, 1);
            p->sector = sector;
            p->versions = g_array_new(false, false, sizeof(Version));
            p->choices = g_array_new(false, false, sizeof(Content));
            g_array_append_val(p->versions, found);
        }
        if (p->versions->len == 1) {
            g_ptr_array_add(c->unsettled, p);
        }
        g_array_append_val(p->versions, v);
    }
}

/* ...by @flush, which is one, or a FUA write */
static bool version_is_durable(const Version *v, const Request *flush)
{
    return !v->request || v->request == flush ||
           (flush->type == REQUEST_FLUSH && v->request->done < flush->submit &&
            !v->request->dropped &&
            (v->request->ret == 0 || v->found));
}

/*
 * @flush is done.  What came before a durable version is gone, unless both were
 * in flight at once: then the file may have written them in either order.
 */
static void settle(Position *p, const Request *flush)
{
    int64_t limit = -1;
    guint kept = 0;

    for (guint i = 0; i < p->versions->len; i++) {
        const Version *v = &g_array_index(p->versions, Version, i);

        if (v->request && version_is_durable(v, flush)) {
            limit = MAX(limit, v->request->submit);
        }
    }
    for (guint i = 0; i < p->versions->len; i++) {
        Version v = g_array_index(p->versions, Version, i);

        if ((v.request ? v.request->landed : -1) >= limit) {
            g_array_index(p->versions, Version, kept++) = v;
        }
    }
    g_array_set_size(p->versions, kept);
}

/* Forgets position number @i of those that are unsettled, if it is settled. */
static bool drop_settled(Cuts *c, guint i)
{
    Position *p = g_ptr_array_index(c->unsettled, i);

    if (p->versions->len > 1) {
        return false;
    }
    c->image[p->sector] = g_array_index(p->versions, Version, 0).content;
    g_ptr_array_remove_index_fast(c->unsettled, i);
    return true;
}

static void settle_all(Cuts *c, const Request *flush)
{
    for (guint i = 0; i < c->unsettled->len; ) {
        settle(g_ptr_array_index(c->unsettled, i), flush);
        i += !drop_settled(c, i);
    }
}

/* Does @q, which is done, make something durable? */
static bool makes_durable(const Request *q)
{
    return q->ret == 0 && (q->type == REQUEST_FLUSH || q->fua);
}

/* Forgets what is not in the cache, which @view is. */
static void find_position(Position *p, const Content *view)
{
    guint kept = 0;
    Version v;

    for (guint i = 0; i < p->versions->len; i++) {
        v = g_array_index(p->versions, Version, i);
        if (!v.request || !test_bit(p->sector - v.request->first,
                                    v.request->lost)) {
            v.found = true;
            g_array_index(p->versions, Version, kept++) = v;
        }
    }
    g_array_set_size(p->versions, kept);
    g_assert(kept > 0 &&
             g_array_index(p->versions, Version, kept - 1).content ==
             view[p->sector]);
}

/*
 * A process finds @view in the cache, at time @time.  What the cache has lost
 * of a request that failed, or of a process that has died, will not be on the
 * disk either; and the order of all that was in flight then is known.
 */
static void find_view(Cuts *c, const Content *view, int64_t time)
{
    for (guint i = 0; i < c->run->disk->requests->len; i++) {
        Request *q = g_ptr_array_index(c->run->disk->requests, i);

        if (q->submit < time) {
            q->landed = q->submit;
        }
    }
    for (guint i = 0; i < c->unsettled->len; ) {
        find_position(g_ptr_array_index(c->unsettled, i), view);
        i += !drop_settled(c, i);
    }
}

/* Does the acknowledgement of @op promise something? */
static bool is_promise(const JudgeOp *op)
{
    return op->ret == 0 &&
           (op->fua || op->type == JUDGE_OP_FLUSH ||
            op->type == JUDGE_OP_CLOSE || op->type == JUDGE_OP_FINISH ||
            op->type == JUDGE_OP_RESET || op->type == JUDGE_OP_EXTEND);
}

/* Does what @op begins to do take promises back? */
static bool takes_back(const JudgeOp *op)
{
    return op->type == JUDGE_OP_RESET || op->type == JUDGE_OP_RESTORE;
}

/* What a process finds at @time is as good as what a power cut leaves. */
static bool judge_view(Cuts *c, const Content *view, int64_t time)
{
    if (judge_cut(c->run->judge, time, view, NULL, 0)) {
        return true;
    }
    run_fail(c->run, "%s", "");
    g_string_append(c->run->failure, "This is what another process finds:\n");
    return run_judgement_failed(c->run);
}

/*
 * Judges the whole history.  The longer one waits with a cut, the more images
 * are possible and the more was promised; only a flush of the file makes images
 * impossible, and only a reset takes promises back, or what makes a zone usable
 * again.  So cuts in front of these, and one at the end, miss nothing.  Some
 * more keep the number of images small enough to try all of them.
 */
bool cuts_judge_history(Cuts *c)
{
    const GArray *events = c->run->disk->events;
    bool news = true;

    c->all_below = 8 << below(c->run, 6);
    c->samples = 8 << below(c->run, 3);
    memcpy(c->image, c->run->start, c->nr_sectors * sizeof(Content));
    if (!judge_end(c->run->judge)) {
        return run_judgement_failed(c->run);
    }
    for (guint i = 0; i < events->len; i++) {
        const Event *event = &g_array_index(events, Event, i);
        const Request *q = event->request;
        bool flushed = event->type == EVENT_DONE && makes_durable(q);
        bool reset = event->type == EVENT_BEGIN && takes_back(event->op);
        bool submit = event->type == EVENT_SUBMIT && q->type != REQUEST_FLUSH;

        if (event->type == EVENT_OPEN && !judge_view(c, event->view, i)) {
            return false;
        }
        if (news && (flushed || reset || (submit && percent(c->run, 30)))) {
            if (!cut(c, i)) {
                return false;
            }
            news = false;
        }
        if (flushed) {
            settle_all(c, q);
        } else if (event->type == EVENT_OPEN) {
            find_view(c, event->view, i);
        } else if (submit) {
            add_versions(c, event->request);
            news = true;
        } else if (event->type == EVENT_ACK && is_promise(event->op)) {
            news = true;
        }
    }
    return cut(c, events->len);
}

Cuts *cuts_new(Run *r)
{
    Cuts *c = g_new0(Cuts, 1);
    uint32_t nr_sectors = r->disk->nr_sectors;

    c->run = r;
    c->nr_sectors = nr_sectors;
    c->image = g_new(Content, nr_sectors);
    c->next = g_new(Content, nr_sectors);
    c->positions = g_new0(Position *, nr_sectors);
    c->unsettled = g_ptr_array_new();
    return c;
}

static void position_free(Position *p)
{
    if (p) {
        g_array_unref(p->versions);
        g_array_unref(p->choices);
        g_free(p);
    }
}

void cuts_forget(Cuts *c)
{
    for (uint32_t i = 0; i < c->nr_sectors; i++) {
        g_clear_pointer(&c->positions[i], position_free);
    }
    g_ptr_array_set_size(c->unsettled, 0);
    c->nr_images = 0;
}

void cuts_free(Cuts *c)
{
    cuts_forget(c);
    g_ptr_array_unref(c->unsettled);
    g_free(c->image);
    g_free(c->next);
    g_free(c->positions);
    g_free(c);
}

const Content *cuts_last_image(const Cuts *c)
{
    return c->image;
}

const Content *cuts_next_image(const Cuts *c)
{
    return c->next;
}

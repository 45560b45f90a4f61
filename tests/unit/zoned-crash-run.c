/*
 * The test of power cuts: runs, which are some histories on one device
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "block/block_int.h"
#include "zoned-crash.h"

void run_fail(Run *r, const char *format, ...)
{
    va_list ap;

    if (r->failure) {
        return;
    }
    r->failure = g_string_new("");
    va_start(ap, format);
    g_string_append_vprintf(r->failure, format, ap);
    va_end(ap);
}

bool run_judgement_failed(Run *r)
{
    const GArray *events = r->disk->events;

    run_fail(r, "%s", "");
    judge_describe(r->judge, r->failure);
    if (getenv("ZONED_TEST_EVENTS")) {
        for (guint i = 0; i < events->len; i++) {
            disk_describe_event(&g_array_index(events, Event, i), i,
                                r->failure);
        }
    }
    return false;
}

static void forget_history(Run *r)
{
    cuts_forget(r->cuts);
    disk_forget(r->disk);
    rules_forget(r);
    g_clear_pointer(&r->start, g_free);
}

Run *run_new(const Profile *profile, Tally *tally, uint32_t seed)
{
    Run *r = g_new0(Run, 1);

    r->profile = profile;
    r->tally = tally;
    r->random = (ZonedRandom) { .seed = seed, .state = seed };
    profile->geometry(&r->random, &r->geo);
    r->geo.nr_zones = DIV_ROUND_UP(r->geo.size, r->geo.zone_size);
    r->judge = judge_new(&r->geo);
    r->disk = disk_new(&r->random, profile->fragments);
    r->rules = rules_new();
    device_create(r);
    r->history = history_new(r);
    r->cuts = cuts_new(r);
    return r;
}

void run_free(Run *r)
{
    forget_history(r);
    history_free(r->history);
    cuts_free(r->cuts);
    disk_free(r->disk);
    judge_free(r->judge);
    g_array_unref(r->rules);
    if (r->failure) {
        g_string_free(r->failure, true);
    }
    g_free(r);
    content_forget();
}

bool run_epoch(Run *r)
{
    bool good = judge_start(r->judge, r->disk->file);

    if (!good) {
        return run_judgement_failed(r);
    }
    r->disk->table_limit = judge_table_limit(r->judge);
    r->disk->log_first = judge_log_sector(r->judge, 0);
    r->disk->log_limit = judge_data_sector(r->judge, 0);
    if (!device_open(r, ENTRANCE_OPEN)) {
        return false;
    }
    r->tally->nr_histories++;
    good = device_check(r, OPENED) && history_run(r->history) &&
           cuts_judge_history(r->cuts) && device_check(r, FLUSHED);
    bdrv_unref(r->standby);
    r->standby = NULL;
    if (r->blk && !history_hangs(r->history)) {
        device_power_off(r);
    }
    memcpy(r->disk->file, cuts_next_image(r->cuts),
           r->disk->nr_sectors * sizeof(Content));
    forget_history(r);
    return good;
}

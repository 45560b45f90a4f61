/*
 * zoned block format driver: zones that fail at a moment of their own
 *
 * A rule makes its zone READ ONLY or OFFLINE at a certain write or reset.  It
 * is there as long as the node is open, and is gone when it has done so.
 *
 * Who meets a rule is decided where requests get their order, under the lock:
 * by try_begin() for a write, by mgmt_zone() for a reset.  A write that
 * triggers its rule has either begun, and makes the zone fail when it is done;
 * or it is to fail itself, and makes the zone fail before it tries again.  So
 * do all writes that come later: what changes the zone is an operation that
 * waits for the writes in front, and changes nothing if another one was faster.
 * What a write is refused with is then what any write to such a zone gets.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "zoned.h"
#include "trace.h"

/* The rule of zone @i, or NULL.  Called with the lock. */
static ZonedRule *find_rule(ZonedRules *rules, uint32_t i)
{
    for (uint32_t j = 0; j < rules->nr; j++) {
        if (rules->rule[j].zone == i) {
            return &rules->rule[j];
        }
    }
    return NULL;
}

/* Called with the lock. */
static void remove_rule(ZonedRules *rules, ZonedRule *rule)
{
    *rule = rules->rule[--rules->nr];
}

static BlockZoneOp rule_op(const ZonedRule *rule)
{
    return rule->offline ? BLK_ZO_MAKE_OFFLINE : BLK_ZO_MAKE_RDONLY;
}

/* Does a write of @bytes at @offset trigger @rule? */
static bool write_triggers(const ZonedRule *rule, uint64_t offset,
                           uint64_t bytes)
{
    switch (rule->trigger) {
    case ZONE_RULE_TRIGGER_WRITTEN:
        return rule->count + bytes >= rule->value;
    case ZONE_RULE_TRIGGER_WRITE_AT:
        return rule->value >= offset && rule->value - offset < bytes;
    default:
        return false;
    }
}

bool zoned_rules_stop_write(BDRVZonedState *s, uint32_t i, const ZonedWrite *w,
                            bool valid)
{
    ZonedRule *rule = find_rule(&s->rules, i);

    if (!rule) {
        return false;
    }
    rule->triggered |= valid && rule->fail &&
                       write_triggers(rule, w->offset, w->bytes);
    return rule->triggered;
}

void zoned_rules_count_write(BDRVZonedState *s, uint32_t i, ZonedWrite *w)
{
    ZonedRule *rule = find_rule(&s->rules, i);

    if (!rule) {
        return;
    }
    w->ruled = true;
    w->triggers = write_triggers(rule, w->offset, w->bytes);
    rule->triggered = w->triggers;
    if (rule->trigger == ZONE_RULE_TRIGGER_WRITTEN) {
        rule->count += w->bytes;
    }
}

void zoned_rules_uncount_write(BDRVZonedState *s, uint32_t i,
                               const ZonedWrite *w, int error)
{
    ZonedRule *rule = find_rule(&s->rules, i);

    if (!rule) {
        return;
    }
    if (rule->trigger == ZONE_RULE_TRIGGER_WRITTEN) {
        rule->count -= MIN(rule->count, w->bytes);
    }
    if (w->triggers) {
        rule->triggered = false;
        rule->error = error;
    }
}

/*
 * The zone of @rule, which an exclusion has drained, fails.  Returns whether it
 * has changed.  Called with the lock.
 */
static bool fail_zone(BDRVZonedState *s, ZonedRule *rule)
{
    int ret = zoned_zones_mgmt(&s->zones, rule_op(rule), rule->zone, true);

    remove_rule(&s->rules, rule);
    return ret > 0;
}

int coroutine_fn zoned_rules_apply(BlockDriverState *bs, uint32_t i)
{
    BDRVZonedState *s = bs->opaque;
    ZonedExclusion ex = { .first = i, .last = i, .drain = true };
    BlockZoneState cond = BLK_ZS_NOT_WP;
    bool failed = false;
    ZonedRule *rule;
    int ret = 0, commit_ret = 0;

    zoned_exclusion_begin(bs, &ex);
    qemu_spin_lock(&s->lock);
    rule = find_rule(&s->rules, i);
    if (rule && rule->triggered) {
        failed = fail_zone(s, rule);
        cond = zoned_zones_cond(&s->zones, i);
    } else if (rule) {
        ret = rule->error;
    }
    qemu_spin_unlock(&s->lock);
    if (failed) {
        commit_ret = zoned_co_commit(bs);
    }
    zoned_exclusion_end(bs, &ex);

    trace_zoned_rule(bs, i, failed, ret, commit_ret);
    if (failed) {
        bdrv_zone_changed(bs, zoned_zone_start(&s->header.geo, i),
                          zoned_zone_length(&s->header.geo, i), cond, false);
    }
    return ret;
}

bool zoned_rules_before_reset(BDRVZonedState *s, uint32_t i)
{
    ZonedRule *rule = find_rule(&s->rules, i);

    if (!rule || rule->trigger != ZONE_RULE_TRIGGER_RESETS ||
        !bdrv_zone_op_selects(BLK_ZO_RESET, zoned_zones_cond(&s->zones, i))) {
        return false;
    }
    rule->count++;
    return rule->fail && rule->count >= rule->value && fail_zone(s, rule);
}

void zoned_rules_after_reset(BDRVZonedState *s, uint32_t i)
{
    ZonedRule *rule = find_rule(&s->rules, i);

    if (rule && rule->trigger == ZONE_RULE_TRIGGER_RESETS &&
        rule->count >= rule->value) {
        fail_zone(s, rule);
    }
}

void zoned_rules_shrink(BDRVZonedState *s)
{
    ZonedRules *rules = &s->rules;
    uint32_t j = 0;

    while (j < rules->nr) {
        if (rules->rule[j].zone >= s->header.geo.nr_zones) {
            remove_rule(rules, &rules->rule[j]);
        } else {
            j++;
        }
    }
}

/* Is @r a rule that a zone can have? */
static bool check_rule(const ZonedGeometry *geo, const BlockZoneRule *r,
                       uint32_t i, Error **errp)
{
    uint64_t start = zoned_zone_start(geo, i);

    if (zoned_zone_is_conv(geo, i)) {
        error_setg(errp, "Zone at %" PRIu64 " is conventional, and only "
                   "sequential ones fail by a rule", start);
        return false;
    }
    if (r->condition == ZONE_FORCED_CONDITION_BY_DATA) {
        error_setg(errp, "A rule makes its zone fail: its condition is "
                   "read-only or offline");
        return false;
    }
    if (r->value == 0 && r->trigger != ZONE_RULE_TRIGGER_WRITE_AT) {
        error_setg(errp, "The value of a rule for what was written, or for "
                   "resets, is at least 1");
        return false;
    }
    if (r->trigger == ZONE_RULE_TRIGGER_WRITE_AT &&
        (r->value < start || r->value >= zoned_zone_cap_limit(geo, i))) {
        error_setg(errp, "Zone at %" PRIu64 " is not written at %" PRIu64
                   ", only from its start to %" PRIu64, start, r->value,
                   zoned_zone_cap_limit(geo, i));
        return false;
    }
    return true;
}

bool zoned_rules_add(BlockDriverState *bs, const BlockZoneRule *r, Error **errp)
{
    BDRVZonedState *s = bs->opaque;
    const ZonedGeometry *geo = &s->header.geo;
    ZonedRules *rules = &s->rules;
    bool ruled, full;
    uint32_t i;

    if (!zoned_is_writable(bs)) {
        error_setg(errp, "Node '%s' is read-only or inactive, and its zones "
                   "do not fail", bs->node_name);
        return false;
    }
    if (r->offset >= geo->size) {
        error_setg(errp, "Offset %" PRIu64 " is not below the end of node '%s'"
                   " at %" PRIu64, r->offset, bs->node_name, geo->size);
        return false;
    }
    i = zoned_zone_index(geo, r->offset);
    if (!check_rule(geo, r, i, errp)) {
        return false;
    }

    qemu_spin_lock(&s->lock);
    ruled = find_rule(rules, i);
    full = rules->nr == ZONED_MAX_RULES;
    if (!ruled && !full) {
        rules->rule[rules->nr++] = (ZonedRule) {
            .zone = i,
            .trigger = r->trigger,
            .value = r->value,
            .offline = r->condition == ZONE_FORCED_CONDITION_OFFLINE,
            .fail = r->has_fail && r->fail,
        };
    }
    qemu_spin_unlock(&s->lock);

    if (ruled) {
        error_setg(errp, "Zone at %" PRIu64 " has a rule already",
                   zoned_zone_start(geo, i));
    } else if (full) {
        error_setg(errp, "Node '%s' has %d rules, and no room for another one",
                   bs->node_name, ZONED_MAX_RULES);
    }
    return !ruled && !full;
}

bool zoned_rules_remove(BlockDriverState *bs, uint64_t offset, Error **errp)
{
    BDRVZonedState *s = bs->opaque;
    ZonedRule *rule = NULL;

    qemu_spin_lock(&s->lock);
    if (offset < s->header.geo.size) {
        rule = find_rule(&s->rules, zoned_zone_index(&s->header.geo, offset));
    }
    if (rule) {
        remove_rule(&s->rules, rule);
    }
    qemu_spin_unlock(&s->lock);

    if (!rule) {
        error_setg(errp, "Node '%s' has no zone with a rule at %" PRIu64,
                   bs->node_name, offset);
    }
    return rule;
}

static BlockZoneRule *describe_rule(const ZonedGeometry *geo,
                                    const ZonedRule *rule)
{
    BlockZoneRule *r = g_new0(BlockZoneRule, 1);

    r->offset = zoned_zone_start(geo, rule->zone);
    r->trigger = rule->trigger;
    r->value = rule->value;
    r->condition = rule->offline ? ZONE_FORCED_CONDITION_OFFLINE
                                 : ZONE_FORCED_CONDITION_READ_ONLY;
    r->has_fail = true;
    r->fail = rule->fail;
    r->has_count = rule->trigger != ZONE_RULE_TRIGGER_WRITE_AT;
    r->count = rule->count;
    return r;
}

BlockZoneRuleList *zoned_rules_list(BlockDriverState *bs)
{
    BDRVZonedState *s = bs->opaque;
    g_autofree ZonedRules *rules = g_new(ZonedRules, 1);
    BlockZoneRuleList *list = NULL;

    qemu_spin_lock(&s->lock);
    *rules = s->rules;
    qemu_spin_unlock(&s->lock);
    for (uint32_t j = rules->nr; j > 0; j--) {
        QAPI_LIST_PREPEND(list, describe_rule(&s->header.geo,
                                              &rules->rule[j - 1]));
    }
    return list;
}

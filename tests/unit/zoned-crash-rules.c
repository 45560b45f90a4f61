/*
 * The test of power cuts: rules by which zones fail
 *
 * The judge is told of a rule as of an operation that makes the zone fail: it
 * begins when the zone gets the rule, and is acknowledged with the write or the
 * reset behind which the zone surely has failed.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qapi/qapi-types-block-core.h"
#include "block/block_int.h"
#include "zoned-crash.h"

typedef struct Rule {
    BlockZoneRule rule;
    JudgeOp *op;                /* by which its zone fails */
    uint64_t written;           /* bytes, by writes that were acknowledged */
} Rule;

GArray *rules_new(void)
{
    return g_array_new(false, false, sizeof(Rule));
}

void rules_forget(Run *r)
{
    g_array_set_size(r->rules, 0);
}

/* The rule of the zone that starts at @start, or NULL */
static Rule *find_rule(Run *r, uint64_t start)
{
    for (guint k = 0; k < r->rules->len; k++) {
        Rule *rule = &g_array_index(r->rules, Rule, k);

        if (rule->rule.offset == start) {
            return rule;
        }
    }
    return NULL;
}

/* Is @rule gone?  Then its zone has failed by it, or is about to. */
static bool is_gone(Run *r, const Rule *rule)
{
    BlockDriverState *bs = blk_bs(r->blk);
    BlockZoneRuleList *list = bs->drv->bdrv_zone_rules(bs);
    bool gone = true;

    for (BlockZoneRuleList *e = list; e; e = e->next) {
        gone = gone && e->value->offset != rule->rule.offset;
    }
    qapi_free_BlockZoneRuleList(list);
    return gone;
}

bool rules_are_applied(Run *r, uint32_t zone)
{
    const Rule *rule = find_rule(r, zone_start(r, zone));

    return rule && is_gone(r, rule);
}

static void choose_rule(Run *r, BlockZoneRule *rule, uint64_t start,
                        uint64_t wp)
{
    *rule = (BlockZoneRule) {
        .offset = start,
        .trigger = below(r, ZONE_RULE_TRIGGER__MAX),
        .condition = percent(r, 70) ? ZONE_FORCED_CONDITION_READ_ONLY
                                    : ZONE_FORCED_CONDITION_OFFLINE,
        .has_fail = true,
        .fail = percent(r, 50),
    };
    switch (rule->trigger) {
    case ZONE_RULE_TRIGGER_WRITTEN:
        rule->value = 1 + below(r, 16 * SECTOR);
        break;
    case ZONE_RULE_TRIGGER_RESETS:
        rule->value = 1 + below(r, 2);
        break;
    default:
        rule->value = wp + below(r, 8 * SECTOR);
    }
}

/* False if the zone cannot have it: it is about a byte that is not there. */
static bool coroutine_fn try_add(Run *r, const BlockZoneRule *rule)
{
    BlockDriverState *bs = blk_bs(r->blk);

    GRAPH_RDLOCK_GUARD();

    return bs->drv->bdrv_zone_add_rule(bs, rule, NULL);
}

void coroutine_fn rules_add(Run *r, uint32_t zone, uint64_t wp)
{
    uint64_t start = zone_start(r, zone);
    Rule rule = {};

    if (find_rule(r, start)) {
        return;
    }
    choose_rule(r, &rule.rule, start, wp);
    if (!try_add(r, &rule.rule)) {
        return;
    }
    /* If the file fails, it is a later commit that makes it durable. */
    rule.op = judge_op_begin(r->judge,
                             rule.rule.condition ==
                             ZONE_FORCED_CONDITION_OFFLINE
                             ? JUDGE_OP_OFFLINE : JUDGE_OP_RDONLY,
                             !r->profile->faults, start,
                             MIN(r->geo.zone_size, r->geo.size - start),
                             disk_now(r->disk));
    disk_add_op(r->disk, EVENT_BEGIN, rule.op);
    g_array_append_val(r->rules, rule);
}

/* Does write @op, which was acknowledged, say that @rule has been applied? */
static bool write_applies(Rule *rule, const JudgeOp *op)
{
    const BlockZoneRule *q = &rule->rule;

    if (op->ret < 0) {
        return false;
    }
    rule->written += op->bytes;
    switch (q->trigger) {
    case ZONE_RULE_TRIGGER_WRITTEN:
        return !q->fail && rule->written >= q->value;
    case ZONE_RULE_TRIGGER_WRITE_AT:
        return !q->fail && q->value >= op->offset &&
               q->value - op->offset < op->bytes;
    default:
        return false;
    }
}

/*
 * Does @op, whatever it is, say so?  A reset has had the zone for itself, so
 * what was before it has come to its end.
 */
static bool applies(Run *r, Rule *rule, const JudgeOp *op)
{
    uint64_t start = rule->rule.offset;

    if (op->begin < rule->op->begin) {
        return false;
    }
    switch (op->type) {
    case JUDGE_OP_WRITE:
    case JUDGE_OP_APPEND:
    case JUDGE_OP_ZEROES:
        return op->zone == rule->op->zone && write_applies(rule, op);
    case JUDGE_OP_RESET:
        return start >= op->offset && start < op->offset + op->bytes &&
               (op->ret == 0 || op->ret == -EPERM) && is_gone(r, rule);
    default:
        return false;
    }
}

void rules_note(Run *r, const JudgeOp *op)
{
    for (guint k = 0; k < r->rules->len; ) {
        Rule *rule = &g_array_index(r->rules, Rule, k);

        if (applies(r, rule, op)) {
            judge_op_ack(r->judge, rule->op, 0, disk_now(r->disk));
            disk_add_op(r->disk, EVENT_ACK, rule->op);
            g_array_remove_index_fast(r->rules, k);
        } else {
            k++;
        }
    }
}

/*
 * Test who waits for whom on a node of the zoned format
 *
 * All runs in one thread, so that what happens is the same each time.  Requests
 * to the file are kept back, or fail, as blkdebug is told.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/main-loop.h"
#include "qemu/units.h"
#include "qapi/error.h"
#include "qapi/qapi-types-block-core.h"
#include "qobject/qdict.h"
#include "block/block_int.h"
#include "system/block-backend.h"

#define ZONE (64 * KiB)
#define NR_ZONES 8
#define BLOCK (4 * KiB)

/* Sector of the file at which the first record of the log is */
#define RECORD "1032"

typedef struct Disk {
    char *path;
    BlockBackend *blk;
    GString *log;               /* the letters of requests that have ended */
} Disk;

/* A request; its name is one letter. */
typedef struct Request {
    Disk *disk;
    char name;
    enum { WRITE, APPEND, MGMT } type;
    BlockZoneOp op;
    int64_t offset;
    int64_t bytes;
    int ret;
    struct Request *then;       /* is begun at once when this one has ended */
} Request;

static void coroutine_fn run_request(void *opaque)
{
    Request *r = opaque;
    BlockBackend *blk = r->disk->blk;
    g_autofree uint8_t *buf = g_malloc0(r->type == MGMT ? 0 : r->bytes);
    QEMUIOVector qiov;

    qemu_iovec_init_buf(&qiov, buf, r->bytes);
    switch (r->type) {
    case WRITE:
        r->ret = blk_co_pwritev(blk, r->offset, r->bytes, &qiov, 0);
        break;
    case APPEND:
        r->ret = blk_co_zone_append(blk, &r->offset, &qiov, 0);
        break;
    case MGMT:
        r->ret = blk_co_zone_mgmt(blk, r->op, r->offset, r->bytes);
        break;
    }
    g_string_append_c(r->disk->log, r->name);
    if (r->then) {
        qemu_coroutine_enter(qemu_coroutine_create(run_request, r->then));
    }
}

/* Begins @r, which goes on until it has to wait. */
static void start(Disk *d, Request *r)
{
    r->disk = d;
    r->ret = -EINPROGRESS;
    qemu_coroutine_enter(qemu_coroutine_create(run_request, r));
}

/* Runs until all of the @nr requests have ended. */
static void finish(Disk *d, size_t nr)
{
    while (d->log->len < nr) {
        aio_poll(qemu_get_aio_context(), true);
    }
}

/* Lets run what can. */
static void settle(void)
{
    while (aio_poll(qemu_get_aio_context(), false)) {
        /* as long as there is something */
    }
}

static Disk *disk_open(QDict *rules)
{
    Disk *d = g_new0(Disk, 1);
    QDict *options = rules ?: qdict_new();
    g_autofree char *opts = NULL;
    int fd = g_file_open_tmp("zoned-order-XXXXXX", &d->path, NULL);

    g_assert_cmpint(fd, >=, 0);
    close(fd);
    opts = g_strdup_printf("zone_size=%" PRIu64 "B,max_active_zones=2", ZONE);
    bdrv_img_create(d->path, "zoned", NULL, NULL, opts, NR_ZONES * ZONE, 0,
                    true, &error_abort);
    qdict_put_str(options, "driver", "zoned");
    qdict_put_str(options, "file.driver", "blkdebug");
    qdict_put_str(options, "file.image.driver", "file");
    qdict_put_str(options, "file.image.filename", d->path);
    d->blk = blk_new_open(NULL, NULL, options, BDRV_O_RDWR, &error_abort);
    d->log = g_string_new(NULL);
    /* Takes the image over, which is not what is looked at here. */
    g_assert_cmpint(blk_flush(d->blk), ==, 0);
    return d;
}

static void disk_close(Disk *d)
{
    blk_unref(d->blk);
    unlink(d->path);
    g_free(d->path);
    g_string_free(d->log, true);
    g_free(d);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Disk, disk_close)

/* The node of blkdebug */
static BlockDriverState *disk_file(Disk *d)
{
    GRAPH_RDLOCK_GUARD_MAINLOOP();

    return blk_bs(d->blk)->file->bs;
}

static void hold_next_write(Disk *d)
{
    g_assert_cmpint(bdrv_debug_breakpoint(disk_file(d), "pwritev", "held"), ==,
                    0);
}

static void release(Disk *d)
{
    BlockDriverState *file = disk_file(d);

    GRAPH_RDLOCK_GUARD_MAINLOOP();

    g_assert_cmpint(bdrv_debug_resume(file, "held"), ==, 0);
}

static void wait_until_held(Disk *d)
{
    while (!bdrv_debug_is_suspended(disk_file(d), "held")) {
        aio_poll(qemu_get_aio_context(), true);
    }
}

/* Runs until the held request is the only one that the file has. */
static void wait_for_others(Disk *d)
{
    while (qatomic_read(&disk_file(d)->in_flight) > 1) {
        aio_poll(qemu_get_aio_context(), true);
    }
    settle();
}

static void write_blocks(Disk *d, int64_t offset, int64_t bytes)
{
    g_autofree uint8_t *buf = g_malloc0(bytes);

    g_assert_cmpint(blk_pwrite(d->blk, offset, bytes, buf, 0), ==, 0);
}

/* An operation on all zones does not starve behind those on single ones. */
static void test_all_zones(void)
{
    g_autoptr(Disk) d = disk_open(NULL);
    Request first = { .name = 'a', .type = MGMT, .op = BLK_ZO_RESET,
                      .offset = 0, .bytes = ZONE };
    Request all = { .name = 'b', .type = MGMT, .op = BLK_ZO_FINISH,
                    .offset = 0, .bytes = NR_ZONES * ZONE };
    Request next = { .name = 'c', .type = MGMT, .op = BLK_ZO_RESET,
                     .offset = ZONE, .bytes = ZONE };

    write_blocks(d, 0, BLOCK);
    write_blocks(d, ZONE, BLOCK);
    hold_next_write(d);
    start(d, &first);
    wait_until_held(d);
    start(d, &all);
    start(d, &next);
    settle();
    g_assert_cmpstr(d->log->str, ==, "");
    release(d);
    finish(d, 3);
    g_assert_cmpstr(d->log->str, ==, "abc");
    g_assert_cmpint(first.ret, ==, 0);
    g_assert_cmpint(all.ret, ==, 0);
    g_assert_cmpint(next.ret, ==, 0);
}

/* A write is not overtaken by one that comes when the zone is free again. */
static void test_write_behind_operation(void)
{
    g_autoptr(Disk) d = disk_open(NULL);
    Request second = { .name = 'c', .type = WRITE, .offset = BLOCK,
                       .bytes = BLOCK };
    Request reset = { .name = 'a', .type = MGMT, .op = BLK_ZO_RESET,
                      .offset = 0, .bytes = ZONE, .then = &second };
    Request write = { .name = 'b', .type = WRITE, .offset = 0,
                      .bytes = BLOCK };

    write_blocks(d, 0, 3 * BLOCK);
    hold_next_write(d);
    second.disk = d;
    start(d, &reset);
    wait_until_held(d);
    start(d, &write);
    settle();
    release(d);
    finish(d, 3);
    g_assert_cmpstr(d->log->str, ==, "abc");
    g_assert_cmpint(reset.ret, ==, 0);
    g_assert_cmpint(write.ret, ==, 0);
    g_assert_cmpint(second.ret, ==, 0);
}

/* Nor does an operation overtake a write that came before it and waits. */
static void test_operation_behind_waiting_write(void)
{
    g_autoptr(Disk) d = disk_open(NULL);
    Request close = { .name = 'a', .type = MGMT, .op = BLK_ZO_CLOSE,
                      .offset = 0, .bytes = ZONE };
    Request write = { .name = 'b', .type = WRITE, .offset = BLOCK,
                      .bytes = BLOCK };
    Request reset = { .name = 'c', .type = MGMT, .op = BLK_ZO_RESET,
                      .offset = 0, .bytes = ZONE };

    write_blocks(d, 0, BLOCK);
    hold_next_write(d);
    start(d, &close);
    wait_until_held(d);
    start(d, &write);
    start(d, &reset);
    settle();
    release(d);
    finish(d, 3);
    g_assert_cmpstr(d->log->str, ==, "abc");
    g_assert_cmpint(write.ret, ==, 0);
    g_assert_cmpint(reset.ret, ==, 0);
}

/*
 * Nor one that has ended already, but was not told so yet.  To open a zone that
 * is open implicitly takes no request to the file.
 */
static void test_operation_behind_acknowledged_write(void)
{
    g_autoptr(Disk) d = disk_open(NULL);
    Request open = { .name = 'c', .type = MGMT, .op = BLK_ZO_OPEN,
                     .offset = 0, .bytes = ZONE };
    Request first = { .name = 'a', .type = APPEND, .offset = 0,
                      .bytes = BLOCK, .then = &open };
    Request second = { .name = 'b', .type = APPEND, .offset = 0,
                       .bytes = BLOCK };

    open.disk = d;
    hold_next_write(d);
    start(d, &first);
    wait_until_held(d);
    start(d, &second);
    wait_for_others(d);
    g_assert_cmpstr(d->log->str, ==, "");
    release(d);
    finish(d, 3);
    g_assert_cmpstr(d->log->str, ==, "abc");
    g_assert_cmpint(second.ret, ==, 0);
    g_assert_cmpint(open.ret, ==, 0);
}

/* The first record cannot be written. */
static QDict *record_fails_once(void)
{
    QDict *rules = qdict_new();

    qdict_put_str(rules, "file.inject-error.0.event", "pwritev");
    qdict_put_str(rules, "file.inject-error.0.iotype", "write");
    qdict_put_str(rules, "file.inject-error.0.sector", RECORD);
    qdict_put_str(rules, "file.inject-error.0.once", "on");
    return rules;
}

/*
 * Writes that wait for a commit fail with it, together and once: if each of
 * them tried for itself, all but the first would succeed here.
 */
static void test_commit_fails(void)
{
    g_autoptr(Disk) d = disk_open(record_fails_once());
    Request r[6];

    /* The next zone needs the resource of the one that became full. */
    write_blocks(d, 0, ZONE);
    write_blocks(d, ZONE, BLOCK);
    for (int i = 0; i < ARRAY_SIZE(r); i++) {
        r[i] = (Request) {
            .name = 'a' + i, .type = i % 2 ? APPEND : WRITE,
            .offset = 2 * ZONE + (i % 2 ? 0 : i * BLOCK), .bytes = BLOCK,
        };
    }
    hold_next_write(d);
    for (int i = 0; i < ARRAY_SIZE(r); i++) {
        start(d, &r[i]);
    }
    wait_until_held(d);
    release(d);
    finish(d, ARRAY_SIZE(r));
    g_assert_cmpstr(d->log->str, ==, "abcdef");
    for (int i = 0; i < ARRAY_SIZE(r); i++) {
        g_assert_cmpint(r[i].ret, ==, -EIO);
    }
    /* Nothing remembers it. */
    write_blocks(d, 2 * ZONE, BLOCK);
}

/* The zone at @offset is to fail when it is written there. */
static void add_rule(Disk *d, uint64_t offset)
{
    BlockDriverState *bs = blk_bs(d->blk);
    BlockZoneRule rule = {
        .offset = offset,
        .trigger = ZONE_RULE_TRIGGER_WRITE_AT,
        .value = offset,
        .condition = ZONE_FORCED_CONDITION_READ_ONLY,
        .has_fail = true,
        .fail = true,
    };

    GRAPH_RDLOCK_GUARD_MAINLOOP();

    g_assert_true(bs->drv->bdrv_zone_add_rule(bs, &rule, &error_abort));
}

/*
 * A write that has waited for a commit does not commit again when a rule has
 * stopped it and it waits for another one that was.
 */
static void test_stopped_behind_commit(void)
{
    g_autoptr(Disk) d = disk_open(NULL);
    Request r[2];

    /* The next zone needs the resource of the one that became full. */
    write_blocks(d, 0, ZONE);
    write_blocks(d, ZONE, BLOCK);
    hold_next_write(d);
    for (int i = 0; i < ARRAY_SIZE(r); i++) {
        r[i] = (Request) {
            .name = 'a' + i, .type = APPEND, .offset = 2 * ZONE,
            .bytes = BLOCK,
        };
        start(d, &r[i]);
    }
    wait_until_held(d);
    add_rule(d, 2 * ZONE);
    release(d);
    /* That of the zone that fails; the image then is not as the zones are. */
    hold_next_write(d);
    wait_until_held(d);
    write_blocks(d, ZONE + BLOCK, BLOCK);
    release(d);
    finish(d, ARRAY_SIZE(r));
    for (int i = 0; i < ARRAY_SIZE(r); i++) {
        g_assert_cmpint(r[i].ret, ==, -EPERM);
    }
}

int main(int argc, char **argv)
{
    bdrv_init();
    qemu_init_main_loop(&error_abort);
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/zoned/order/all-zones", test_all_zones);
    g_test_add_func("/zoned/order/write-behind-operation",
                    test_write_behind_operation);
    g_test_add_func("/zoned/order/operation-behind-waiting-write",
                    test_operation_behind_waiting_write);
    g_test_add_func("/zoned/order/operation-behind-acknowledged-write",
                    test_operation_behind_acknowledged_write);
    g_test_add_func("/zoned/order/commit-fails", test_commit_fails);
    g_test_add_func("/zoned/order/stopped-behind-commit",
                    test_stopped_behind_commit);
    return g_test_run();
}

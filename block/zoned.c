/*
 * zoned block format driver
 *
 * A host-managed zoned block device in one file.  The data of the device lies
 * in the file as it is; in front of it are a header and a table that holds the
 * condition and the write pointer of each zone (docs/interop/zoned.rst).
 *
 * Writes go straight to the data.  What becomes of zones is written to a log,
 * and from there to the table, by flushes and zone operations (zoned-commit.c).
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/qapi-types-block-core.h"
#include "block/blockjob.h"
#include "qobject/qdict.h"
#include "qemu/crc32c.h"
#include "qemu/module.h"
#include "qemu/option.h"
#include "zoned.h"
#include "trace.h"

#define ZONED_OPT_OFFSET "offset"
#define ZONED_OPT_LEN "len"

static QemuOptsList zoned_runtime_opts = {
    .name = "zoned",
    .head = QTAILQ_HEAD_INITIALIZER(zoned_runtime_opts.head),
    .desc = {
        {
            .name = ZONED_OPT_OFFSET,
            .type = QEMU_OPT_SIZE,
            .help = "byte of the file at which the image starts, default 0",
        },
        {
            .name = ZONED_OPT_LEN,
            .type = QEMU_OPT_SIZE,
            .help = "length of the image, default up to the end of the file",
        },
        { /* end of list */ }
    },
};

static const char *const zoned_strong_runtime_opts[] = {
    ZONED_OPT_OFFSET,
    ZONED_OPT_LEN,
    NULL
};

bool zoned_is_writable(BlockDriverState *bs)
{
    return !bdrv_is_read_only(bs) && !(bs->open_flags & BDRV_O_INACTIVE);
}

static int zoned_probe(const uint8_t *buf, int buf_size, const char *filename)
{
    return zoned_header_probe(buf, buf_size) ? 100 : 0;
}

/* Where in the file the image is, as options say. */
static int parse_options(BlockDriverState *bs, QDict *options, Error **errp)
{
    BDRVZonedState *s = bs->opaque;
    g_autoptr(QemuOpts) opts = qemu_opts_create(&zoned_runtime_opts, NULL, 0,
                                                &error_abort);

    if (!qemu_opts_absorb_qdict(opts, options, errp)) {
        return -EINVAL;
    }
    s->base = qemu_opt_get_size(opts, ZONED_OPT_OFFSET, 0);
    if (!QEMU_IS_ALIGNED(s->base, ZONED_ALIGNMENT)) {
        error_setg(errp, "offset %" PRIu64 " is not a multiple of %" PRIu64,
                   s->base, (uint64_t)ZONED_ALIGNMENT);
        return -EINVAL;
    }
    s->bounded = qemu_opt_get(opts, ZONED_OPT_LEN);
    s->len = qemu_opt_get_size(opts, ZONED_OPT_LEN, 0);
    return 0;
}

/*
 * Bytes from the start of the image to its end, as options and file say.
 * Negative errno on failure.
 */
static int64_t GRAPH_RDLOCK image_length(BlockDriverState *bs, Error **errp)
{
    BDRVZonedState *s = bs->opaque;
    int64_t file_length = bdrv_getlength(bs->file->bs);

    if (file_length < 0) {
        error_setg_errno(errp, -file_length, "Could not get the file's length");
        return file_length;
    }
    if (s->base > file_length) {
        error_setg(errp, "offset %" PRIu64 " is beyond the end of the file (%"
                   PRId64 " bytes)", s->base, file_length);
        return -EINVAL;
    }
    if (!s->bounded) {
        return file_length - s->base;
    }
    if (s->len > file_length - s->base) {
        error_setg(errp, "offset %" PRIu64 " and len %" PRIu64 " reach beyond "
                   "the end of the file (%" PRId64 " bytes)", s->base, s->len,
                   file_length);
        return -EINVAL;
    }
    return s->len;
}

/* Reads the header of an image of @length bytes. */
static int GRAPH_RDLOCK read_header(BlockDriverState *bs, int64_t length,
                                    ZonedHeader *h, Error **errp)
{
    ERRP_GUARD();
    BDRVZonedState *s = bs->opaque;
    uint8_t buf[ZONED_HEADER_SIZE];
    uint64_t needed;
    int ret;

    if (length < ZONED_HEADER_SIZE) {
        error_setg(errp, "Image is not in zoned format: it has only %" PRId64
                   " bytes", length);
        return -EINVAL;
    }
    ret = bdrv_pread(bs->file, s->base, sizeof(buf), buf, 0);
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not read the zoned image header");
        return ret;
    }
    ret = zoned_header_decode(h, buf, errp);
    if (ret == -EINVAL && (bs->open_flags & BDRV_O_CHECK) &&
        zoned_header_rebuild(buf)) {
        error_free(*errp);
        *errp = NULL;
        s->header_rebuilt = true;
        ret = zoned_header_decode(h, buf, errp);
    }
    if (ret < 0) {
        return ret;
    }

    /* An image that may grow must not grow into what is behind it. */
    needed = h->data_offset + h->geo.size;
    if (s->bounded && length < needed) {
        error_setg(errp, "len %" PRId64 " is too small for this image, which "
                   "needs %" PRIu64, length, needed);
        return -EINVAL;
    }
    needed = zoned_header_min_file_size(h);
    if (length < needed && !(bs->open_flags & BDRV_O_CHECK)) {
        error_setg(errp, "Zoned image is truncated: it has %" PRId64 " bytes "
                   "and needs %" PRIu64, length, needed);
        return -EINVAL;
    }
    if (s->base > INT64_MAX - (h->data_offset + h->geo.size)) {
        error_setg(errp, "offset %" PRIu64 " is too large for this image",
                   s->base);
        return -EINVAL;
    }
    return 0;
}

/*
 * Is the device in an image with header @h the one that was opened?  Whoever
 * shows it has told others of its geometry and limits.
 */
static bool is_same_device(const BDRVZonedState *s, const ZonedHeader *h,
                           Error **errp)
{
    const ZonedHeader *old = &s->header;
    const struct {
        const char *name;
        uint64_t now;
        uint64_t before;
    } values[] = {
        { "device size", h->geo.size, old->geo.size },
        { "zone size", h->geo.zone_size, old->geo.zone_size },
        { "zone capacity", h->geo.zone_capacity, old->geo.zone_capacity },
        { "number of conventional zones", h->geo.nr_conv, old->geo.nr_conv },
        { "maximum of open zones", h->geo.max_open, old->geo.max_open },
        { "maximum of active zones", h->geo.max_active, old->geo.max_active },
        { "maximum of sectors to append", h->geo.max_append_sectors,
          old->geo.max_append_sectors },
        { "size of zone descriptor extensions", h->geo.zd_extension_size,
          old->geo.zd_extension_size },
        { "zone table offset", h->table_offset, old->table_offset },
        { "extension table offset", h->extension_offset,
          old->extension_offset },
        { "data offset", h->data_offset, old->data_offset },
        { "log offset", h->log_offset, old->log_offset },
        { "number of log blocks", h->log_blocks, old->log_blocks },
    };

    for (int i = 0; i < ARRAY_SIZE(values); i++) {
        if (values[i].now != values[i].before) {
            error_setg(errp, "Zoned image is another one than was opened: its "
                       "%s is %" PRIu64 " and was %" PRIu64, values[i].name,
                       values[i].now, values[i].before);
            return false;
        }
    }
    return true;
}

/*
 * Sets up the zones of @run, from zone @first, in an image of @length bytes.
 * That may be an old length while another program uses the image: what it has
 * written counts when the node is activated.
 */
static int load_run(BlockDriverState *bs, uint32_t first,
                    const ZonedEntryRun *run, int64_t length, bool keep_open,
                    Error **errp)
{
    BDRVZonedState *s = bs->opaque;
    const ZonedGeometry *geo = &s->header.geo;
    const ZonedEntry *entry = &run->entry;
    uint64_t data_length = MAX(length - (int64_t)s->header.data_offset, 0);
    uint64_t end = entry->end + (run->nr_zones - 1) * geo->zone_size;

    if (end > data_length && !zoned_zone_is_conv(geo, first) &&
        entry->end > zoned_zone_start(geo, first) &&
        !(bs->open_flags & (BDRV_O_CHECK | BDRV_O_INACTIVE))) {
        error_setg(errp, "Zoned image is truncated: it has %" PRId64
                   " bytes, but zone %u holds data up to byte %" PRIu64, length,
                   first + run->nr_zones - 1, s->header.data_offset + end);
        return -EINVAL;
    }
    zoned_zones_load(&s->zones, first, run->nr_zones, entry, keep_open);
    return 0;
}

/* The same for all @n zones, whose entries are @raw. */
static int load_table(BlockDriverState *bs, uint32_t n, const uint64_t *raw,
                      int64_t length, bool keep_open, Error **errp)
{
    BDRVZonedState *s = bs->opaque;
    const ZonedGeometry *geo = &s->header.geo;
    ZonedEntryRun runs[ZONED_TABLE_BLOCK / ZONED_ENTRY_SIZE];
    uint32_t done = 0;

    while (done < n) {
        uint32_t limit = MIN(n, done + ARRAY_SIZE(runs));
        uint32_t nr_runs = zoned_entries_decode(geo, done, limit - done,
                                                &raw[done], runs);

        for (uint32_t j = 0; j < nr_runs; j++) {
            int ret = load_run(bs, done, &runs[j], length, keep_open, errp);

            if (ret < 0) {
                return ret;
            }
            done += runs[j].nr_zones;
        }
        if (done < limit) {
            ZonedEntry entry = zoned_entry_new(geo, done);

            if (!(bs->open_flags & BDRV_O_CHECK)) {
                zoned_entry_decode(geo, done, raw[done], &entry, errp);
                return -EINVAL;
            }
            /* zoned_co_check() reads it again, and nobody else uses the node */
            zoned_zones_load(&s->zones, done++, 1, &entry, false);
        }
    }
    return 0;
}

/*
 * The zones were loaded.  Nobody knows yet whether the image has durably what
 * was read from it, see zoned-commit.c; a check writes only what it repairs.
 */
static void distrust_image(BlockDriverState *bs)
{
    BDRVZonedState *s = bs->opaque;

    qemu_spin_lock(&s->lock);
    hbitmap_reset_all(s->undiscarded);
    zoned_sums_init(&s->sums);
    if (!(bs->open_flags & BDRV_O_CHECK)) {
        zoned_commit_take_over(s);
    }
    qemu_spin_unlock(&s->lock);
}

static bool too_many_active(const BDRVZonedState *s)
{
    uint32_t max_active = s->header.geo.max_active;

    return max_active && zoned_zones_nr_active(&s->zones) > max_active;
}

/*
 * Reads what an image of @length bytes says of its zones.  With @keep_open, no
 * power was cut since it was written: open zones stay open.
 */
static int GRAPH_RDLOCK read_zones(BlockDriverState *bs, int64_t length,
                                   bool keep_open, Error **errp)
{
    BDRVZonedState *s = bs->opaque;
    const ZonedGeometry *geo = &s->header.geo;
    QEMU_AUTO_VFREE uint64_t *raw = zoned_log_read(bs, errp);
    int ret;

    if (!raw) {
        return -EINVAL;
    }
    zoned_zones_begin_load(&s->zones);
    ret = load_table(bs, geo->nr_zones, raw, length, keep_open, errp);
    if (ret == 0 && keep_open && too_many_active(s)) {
        /* Nobody has left it in order: it is as after a power cut. */
        zoned_zones_begin_load(&s->zones);
        ret = load_table(bs, geo->nr_zones, raw, length, false, errp);
    }
    if (ret < 0) {
        return ret;
    }

    if (too_many_active(s) && !(bs->open_flags & BDRV_O_CHECK)) {
        error_setg(errp, "%u zones of the zoned image are active, the limit is "
                   "%u", zoned_zones_nr_active(&s->zones), geo->max_active);
        return -EINVAL;
    }
    distrust_image(bs);
    return 0;
}

static void zoned_free(BlockDriverState *bs)
{
    BDRVZonedState *s = bs->opaque;

    zoned_inflight_destroy(&s->inflight);
    g_clear_pointer(&s->undiscarded, hbitmap_free);
    zoned_commit_destroy(&s->commit);
    zoned_zones_destroy(&s->zones);
}

/*
 * A number that another opening of the image is not likely to have; a double
 * can hold it.
 */
static uint64_t random_generation(void)
{
    return (uint64_t)g_random_int() << 20 | g_random_int_range(0, 1 << 20);
}

/* Allocates the state of all zones. */
static int zoned_alloc(BlockDriverState *bs, Error **errp)
{
    BDRVZonedState *s = bs->opaque;
    const ZonedGeometry *geo = &s->header.geo;
    /* Who reads the arrays does so without the lock: they never move. */
    uint32_t max_zones = zoned_header_max_zones(&s->header);

    zoned_inflight_init(&s->inflight);
    zoned_commit_init(&s->commit, max_zones);
    s->undiscarded = hbitmap_alloc(max_zones, 0);
    if (!zoned_zones_init(&s->zones, geo, max_zones)) {
        error_setg(errp, "Not enough memory for %u zones", geo->nr_zones);
        zoned_free(bs);
        return -ENOMEM;
    }
    s->first_generation = random_generation();
    qemu_spin_init(&s->lock);
    return 0;
}

/* Can who opens the image with @flags write it, if need be? */
static bool check_log(const BDRVZonedState *s, int flags, Error **errp)
{
    if (s->header.log_blocks == 0 && (flags & BDRV_O_RDWR) &&
        !(flags & BDRV_O_CHECK)) {
        error_setg(errp, "Zoned image has no log and can only be read: copy it "
                   "to a new one, with qemu-img convert -f zoned -O zoned");
        return false;
    }
    return true;
}

/* A writer that does not know an autoclear feature must clear its bit. */
static int GRAPH_RDLOCK clear_autoclear_features(BlockDriverState *bs,
                                                 Error **errp)
{
    BDRVZonedState *s = bs->opaque;
    uint8_t buf[ZONED_HEADER_SIZE];
    int ret;

    if (s->header.autoclear_features == 0) {
        return 0;
    }
    s->header.autoclear_features = 0;
    zoned_header_encode(&s->header, buf);
    ret = bdrv_pwrite_sync(bs->file, s->base, sizeof(buf), buf, 0);
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not update the zoned image header");
        /* Who goes on nevertheless is not idle: a commit writes it, too. */
        qemu_spin_lock(&s->lock);
        zoned_zones_mark_dirty(&s->zones, 0);
        qemu_spin_unlock(&s->lock);
    }
    return ret;
}

static int zoned_open(BlockDriverState *bs, QDict *options, int flags,
                      Error **errp)
{
    BDRVZonedState *s = bs->opaque;
    int64_t length;
    int ret;

    ret = bdrv_open_file_child(NULL, options, "file", bs, errp);
    if (ret < 0) {
        return ret;
    }

    GRAPH_RDLOCK_GUARD_MAINLOOP();

    ret = parse_options(bs, options, errp);
    if (ret < 0) {
        return ret;
    }
    length = image_length(bs, errp);
    if (length < 0) {
        return length;
    }
    ret = read_header(bs, length, &s->header, errp);
    if (ret < 0) {
        return ret;
    }
    if (!check_log(s, flags, errp)) {
        return -EROFS;
    }
    ret = zoned_alloc(bs, errp);
    if (ret < 0) {
        return ret;
    }
    ret = read_zones(bs, length, false, errp);
    if (ret == 0 && (flags & BDRV_O_RDWR) &&
        !(flags & (BDRV_O_INACTIVE | BDRV_O_CHECK))) {
        ret = clear_autoclear_features(bs, errp);
    }
    if (ret == 0) {
        ret = bdrv_child_refresh_perms(bs, bs->file, errp);
    }
    if (ret < 0) {
        zoned_free(bs);
        return ret;
    }

    bs->total_sectors = s->header.geo.size / BDRV_SECTOR_SIZE;
    bs->supported_read_flags = BDRV_REQ_REGISTERED_BUF;
    /*
     * FUA is done here, so that a write whose flush fails is one that has
     * failed and can be repeated.
     */
    bs->supported_write_flags = BDRV_REQ_REGISTERED_BUF | BDRV_REQ_FUA;
    bs->supported_append_flags = bs->supported_write_flags;
    bs->supported_zero_flags = BDRV_REQ_FUA |
        (BDRV_REQ_MAY_UNMAP & bs->file->bs->supported_zero_flags);
    bs->supported_truncate_flags = BDRV_REQ_ZERO_WRITE;
    trace_zoned_open(bs, s->header.geo.nr_zones, s->header.geo.nr_conv,
                     s->header.geo.zone_size);
    return 0;
}

/*
 * Makes all durable, for others to use the image: they find an empty log.  If
 * the node is being closed, see zoned_co_flush().
 */
static int GRAPH_RDLOCK zoned_inactivate(BlockDriverState *bs)
{
    BDRVZonedState *s = bs->opaque;

    if (!(bs->open_flags & BDRV_O_CHECK)) {
        qemu_spin_lock(&s->lock);
        zoned_commit_empty_log(s);
        qemu_spin_unlock(&s->lock);
    }
    return bdrv_flush(bs);
}

static void zoned_close(BlockDriverState *bs)
{
    GRAPH_RDLOCK_GUARD_MAINLOOP();

    /* If it fails, nothing is lost: the block layer has flushed the node. */
    zoned_inactivate(bs);
    zoned_free(bs);
}

/*
 * Nothing is ever written behind the image, so the file has to grow only while
 * it is shorter than that, or with the device.  A permission to resize it would
 * exclude jobs that need it to keep its length, such as a mirror.
 */
static void zoned_child_perm(BlockDriverState *bs, BdrvChild *c,
                             BdrvChildRole role, BlockReopenQueue *reopen_queue,
                             uint64_t perm, uint64_t shared, uint64_t *nperm,
                             uint64_t *nshared)
{
    BDRVZonedState *s = bs->opaque;
    const ZonedHeader *h = &s->header;

    bdrv_default_perms(bs, c, role, reopen_queue, perm, shared, nperm, nshared);

    /* No header is loaded yet when the child is attached. */
    if (c && h->data_offset && !(perm & BLK_PERM_RESIZE) &&
        !(bs->open_flags & BDRV_O_CHECK)) {
        uint64_t end = QEMU_ALIGN_UP(s->base + h->data_offset + h->geo.size,
                                     c->bs->bl.request_alignment);

        if (end <= c->bs->total_sectors * BDRV_SECTOR_SIZE) {
            *nperm &= ~BLK_PERM_RESIZE;
        }
    }
}

/* The job that uses @bs, or NULL */
static BlockJob *find_job(BlockDriverState *bs)
{
    JOB_LOCK_GUARD();

    for (BlockJob *job = block_job_next_locked(NULL); job;
         job = block_job_next_locked(job)) {
        if (block_job_has_bdrv(job, bs)) {
            return job;
        }
    }
    return NULL;
}

/* Is @filter one of the filters at the top of @bs? */
static bool GRAPH_RDLOCK has_filter(BlockDriverState *bs,
                                    BlockDriverState *filter)
{
    while (bs && bs != filter) {
        bs = bdrv_filter_bs(bs);
    }
    return bs;
}

/*
 * A job copies what is written through its filter.  What goes past it would be
 * lost when the job puts the copy in place of the image.
 */
static bool GRAPH_RDLOCK check_job_filters(BlockDriverState *bs,
                                           BlockDriverState *new_bs,
                                           Error **errp)
{
    BlockDriverState *filter = bs->file->bs;

    for (; bdrv_filter_bs(filter); filter = bdrv_filter_bs(filter)) {
        BlockJob *job = find_job(filter);

        if (job && !has_filter(new_bs, filter)) {
            error_setg(errp, "Node '%s' is in use by job '%s', and node '%s' "
                       "cannot do without it: wait for the job to end, or "
                       "cancel it", filter->node_name, job->job.id,
                       bs->node_name);
            return false;
        }
    }
    return true;
}

/*
 * The block layer would take any node for a new file.  The image can be seen
 * through a filter or without, but it must not become another one.
 */
static bool GRAPH_RDLOCK check_new_file(BlockDriverState *bs, const char *name,
                                        Error **errp)
{
    BlockDriverState *file_bs = bs->file->bs;
    BlockDriverState *new_bs = name ? bdrv_lookup_bs(NULL, name, NULL) : NULL;

    /*
     * The block layer says if there is no such node.  It takes what is below an
     * implicit filter for that filter.
     */
    if (!new_bs || bdrv_skip_implicit_filters(file_bs) == new_bs) {
        return true;
    }
    if (bdrv_skip_filters(new_bs) == bdrv_skip_filters(file_bs)) {
        return check_job_filters(bs, new_bs, errp);
    }
    error_setg(errp, "Node '%s' is no filter of node '%s', in which node '%s' "
               "has its image; use blockdev-snapshot to put an overlay above "
               "it, or blockdev-mirror to move it", name, file_bs->node_name,
               bs->node_name);
    return false;
}

static int zoned_reopen_prepare(BDRVReopenState *state,
                                BlockReopenQueue *queue, Error **errp)
{
    const char *file = qdict_get_try_str(state->options, "file");
    int ret;

    GRAPH_RDLOCK_GUARD_MAINLOOP();

    if (!check_new_file(state->bs, file, errp)) {
        return -EINVAL;
    }
    if (!check_log(state->bs->opaque, state->flags, errp)) {
        return -EROFS;
    }
    ret = state->flags & BDRV_O_RDWR ? 0 : zoned_inactivate(state->bs);
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not write the zoned image");
    }
    return ret;
}

static void zoned_reopen_commit_post(BDRVReopenState *state)
{
    Error *local_err = NULL;

    GRAPH_RDLOCK_GUARD_MAINLOOP();

    if ((state->flags & BDRV_O_RDWR) &&
        clear_autoclear_features(state->bs, &local_err) < 0) {
        /* It is too late to refuse. */
        error_report_err(local_err);
    }
}

/*
 * Reads the image again, as it was changed behind our back, and without a power
 * cycle: open zones stay open.
 */
static int GRAPH_RDLOCK zoned_reload(BlockDriverState *bs, Error **errp)
{
    BDRVZonedState *s = bs->opaque;
    int64_t length = image_length(bs, errp);
    ZonedHeader h;
    int ret;

    if (length < 0) {
        return length;
    }
    ret = read_header(bs, length, &h, errp);
    if (ret < 0) {
        return ret;
    }
    if (!is_same_device(s, &h, errp)) {
        return -EINVAL;
    }
    /* Its features may have changed. */
    s->header = h;
    ret = read_zones(bs, length, true, errp);
    if (ret < 0) {
        return ret;
    }
    return zoned_is_writable(bs) ? clear_autoclear_features(bs, errp) : 0;
}

/* The source of an incoming migration is done with the image. */
static void coroutine_fn GRAPH_RDLOCK
zoned_co_invalidate_cache(BlockDriverState *bs, Error **errp)
{
    zoned_reload(bs, errp);
}

/*
 * The image goes back to what it was when snapshot @id was made.  The block
 * layer would close and open the node for that; but no power is cut when a VM
 * goes back, so zones that were open when it was saved are open again.
 */
static int GRAPH_UNLOCKED zoned_snapshot_goto(BlockDriverState *bs,
                                              const char *id)
{
    Error *local_err = NULL;
    BlockDriverState *file_bs;
    int ret, reload_ret;

    bdrv_drained_begin(bs);

    bdrv_graph_rdlock_main_loop();
    file_bs = bs->file->bs;
    bdrv_ref(file_bs);
    bdrv_graph_rdunlock_main_loop();

    ret = bdrv_snapshot_goto(file_bs, id, &local_err);
    if (ret < 0) {
        error_reportf_err(local_err, "Node '%s': ",
                          bdrv_get_node_name(file_bs));
        local_err = NULL;
    }
    bdrv_unref(file_bs);

    /* Even if that failed: nobody knows what is in the file. */
    bdrv_graph_rdlock_main_loop();
    reload_ret = zoned_reload(bs, &local_err);
    if (reload_ret < 0) {
        error_reportf_err(local_err, "Node '%s': ", bdrv_get_node_name(bs));
        zoned_free(bs);
        bs->drv = NULL;
    }
    bdrv_graph_rdunlock_main_loop();

    bdrv_drained_end(bs);
    return ret < 0 ? ret : reload_ret;
}

static void zoned_refresh_limits(BlockDriverState *bs, Error **errp)
{
    BDRVZonedState *s = bs->opaque;
    const ZonedGeometry *geo = &s->header.geo;

    bs->bl.zoned = BLK_Z_HM;
    bs->bl.zone_size = geo->zone_size;
    bs->bl.nr_zones = geo->nr_zones;
    bs->bl.max_open_zones = geo->max_open;
    bs->bl.max_active_zones = geo->max_active;
    bs->bl.max_append_sectors = geo->max_append_sectors;
    bs->bl.zd_extension_size = geo->zd_extension_size;
    bs->bl.write_granularity = ZONED_WRITE_GRANULARITY;
    bs->bl.has_zone_errnos = true;

    /*
     * The file splits what is too large for it.  The block layer must not do so
     * here: the parts of a write would be writes of their own, and others could
     * come between them.
     */
    bs->bl.max_transfer = 0;
}

int zoned_host_error(int ret)
{
    /* -EAGAIN asks for a commit. */
    return bdrv_is_zone_errno(ret) || ret == -EAGAIN ? -EIO : ret;
}

/*
 * The byte of the device up to which zone @i, of condition @cond, can be read.
 * What is in flight may be in the file in part, or what a reset took away.
 */
static uint64_t readable_end(BDRVZonedState *s, uint32_t i, BlockZoneState cond)
{
    switch (cond) {
    case BLK_ZS_IOPEN:
    case BLK_ZS_EOPEN:
    case BLK_ZS_CLOSED:
        return zoned_inflight_acknowledged(s, i);
    default:
        return zoned_zones_end(&s->zones, i);
    }
}

/*
 * How much of the @bytes at byte @offset is stored in the file, and how much
 * behind that reads as zeroes; both are 0 if the zone is OFFLINE.
 */
static void zoned_extent(BDRVZonedState *s, uint64_t offset,
                         uint64_t bytes, uint64_t *stored, uint64_t *zeroes)
{
    const ZonedGeometry *geo = &s->header.geo;
    uint32_t i = zoned_zone_index(geo, offset);
    BlockZoneState cond;
    uint64_t end, limit;

    if (zoned_zone_is_conv(geo, i)) {
        *stored = MIN(bytes, zoned_conv_limit(geo) - offset);
        *zeroes = 0;
        return;
    }

    cond = zoned_zones_cond(&s->zones, i);
    end = readable_end(s, i, cond);
    limit = zoned_zone_limit(geo, i);
    bytes = MIN(bytes, limit - offset);
    if (cond == BLK_ZS_OFFLINE) {
        bytes = 0;
    }
    *stored = offset < end ? MIN(bytes, end - offset) : 0;
    *zeroes = bytes - *stored;
}

static int coroutine_fn GRAPH_RDLOCK
zoned_co_preadv_part(BlockDriverState *bs, int64_t offset, int64_t bytes,
                     QEMUIOVector *qiov, size_t qiov_offset,
                     BdrvRequestFlags flags)
{
    BDRVZonedState *s = bs->opaque;
    uint64_t stored, zeroes;

    while (bytes > 0) {
        zoned_extent(s, offset, bytes, &stored, &zeroes);
        if (stored + zeroes == 0) {
            return -EPERM;
        }
        if (stored > 0) {
            int ret = bdrv_co_preadv_part(bs->file,
                                          zoned_file_offset(s, offset), stored,
                                          qiov, qiov_offset, flags);
            if (ret < 0) {
                return zoned_host_error(ret);
            }
        }
        qemu_iovec_memset(qiov, qiov_offset + stored, 0, zeroes);

        offset += stored + zeroes;
        bytes -= stored + zeroes;
        qiov_offset += stored + zeroes;
    }
    return 0;
}

/*
 * Writes zeroes to the file.  Where nothing was written since a reset it has
 * them already, and to find that out takes less than to write.  A hole is as
 * durable as a write is: both need a flush, and what an earlier process has
 * left had one before the first write, see zoned_commit_doubt().  But a hole
 * behind the end of the file does not make it longer, as data has to.
 */
static int coroutine_fn GRAPH_RDLOCK
write_zeroes(BlockDriverState *bs, int64_t file_offset, uint64_t bytes,
             BdrvRequestFlags flags)
{
    int64_t n;

    if (flags & BDRV_REQ_MAY_UNMAP) {
        int64_t length = bdrv_co_getlength(bs->file->bs);

        if (length < 0) {
            return length;
        }
        if (file_offset + bytes > length) {
            flags &= ~BDRV_REQ_MAY_UNMAP;
        }
    }
    if (flags & BDRV_REQ_MAY_UNMAP) {
        int ret = bdrv_co_block_status_above(bs->file->bs, NULL, file_offset,
                                             bytes, &n, NULL, NULL);

        if (ret >= 0 && (ret & BDRV_BLOCK_ZERO) && n == bytes) {
            return 0;
        }
    }
    return bdrv_co_pwrite_zeroes(bs->file, file_offset, bytes, flags);
}

/*
 * Writes to the file; without @qiov, zeroes.  FUA is left to the caller: the
 * block layer may emulate it with a flush that does not count this write.
 */
static inline int coroutine_fn GRAPH_RDLOCK
write_file(BlockDriverState *bs, uint64_t offset, uint64_t bytes,
           QEMUIOVector *qiov, size_t qiov_offset, BdrvRequestFlags flags)
{
    BDRVZonedState *s = bs->opaque;
    int64_t file_offset = zoned_file_offset(s, offset);
    int ret;

    flags &= ~BDRV_REQ_FUA;
    if (qiov) {
        ret = bdrv_co_pwritev_part(bs->file, file_offset, bytes, qiov,
                                   qiov_offset, flags);
    } else {
        ret = write_zeroes(bs, file_offset, bytes, flags);
    }
    return ret < 0 ? zoned_host_error(ret) : 0;
}

/* Is @w to be summed?  Then room is taken for that.  Takes the lock. */
static void decide_to_sum(BDRVZonedState *s, ZonedWrite *w)
{
    qemu_spin_lock(&s->lock);
    w->summed = zoned_sums_reserve(&s->sums, w->bytes);
    qemu_spin_unlock(&s->lock);
}

/*
 * The same for the data of @w, which is summed if there is room.  A guest may
 * change its buffer at any time, so a copy is: that, and nothing else, goes to
 * the file.  On its own, as a stream of writes does not need it.
 */
static __attribute__((noinline)) int coroutine_fn GRAPH_RDLOCK
write_and_sum(BlockDriverState *bs, ZonedWrite *w, QEMUIOVector *qiov,
              size_t qiov_offset, BdrvRequestFlags flags)
{
    uint8_t *buf;
    int ret;

    decide_to_sum(bs->opaque, w);
    if (!w->summed) {
        return write_file(bs, w->offset, w->bytes, qiov, qiov_offset, flags);
    }
    buf = qemu_blockalign(bs->file->bs, w->bytes);
    qemu_iovec_to_buf(qiov, qiov_offset, buf, w->bytes);
    w->crc = crc32c(0xffffffff, buf, w->bytes);
    flags &= ~(BDRV_REQ_FUA | BDRV_REQ_REGISTERED_BUF);
    ret = bdrv_co_pwrite(bs->file, zoned_file_offset(bs->opaque, w->offset),
                         w->bytes, buf, flags);
    qemu_vfree(buf);
    return ret < 0 ? zoned_host_error(ret) : 0;
}

/*
 * Writes or appends @w to sequential zone @i.  Inline, as is write_file(): that
 * is 50 instructions of each write.
 */
static inline QEMU_ALWAYS_INLINE int coroutine_fn GRAPH_RDLOCK
write_zone(BlockDriverState *bs, uint32_t i, ZonedWrite *w,
           QEMUIOVector *qiov, size_t qiov_offset, BdrvRequestFlags flags)
{
    BDRVZonedState *s = bs->opaque;
    int ret;

    /*
     * Whatever the zone: to transfer nothing is no error (SBC says so, and the
     * other standards have no such command); but FUA still is a flush.
     */
    if (w->bytes == 0) {
        return flags & BDRV_REQ_FUA ? zoned_host_error(bdrv_co_flush(bs)) : 0;
    }
    while ((ret = zoned_inflight_begin(bs, i, w)) == -ECANCELED) {
        ret = zoned_rules_apply(bs, i);
        if (ret < 0) {
            break;
        }
    }
    trace_zoned_write(bs, i, w->append, w->offset, w->bytes, ret);
    if (ret < 0) {
        return ret;
    }
    ret = unlikely(!zoned_sums_are_over(&s->sums)) && qiov
          ? write_and_sum(bs, w, qiov, qiov_offset, flags)
          : write_file(bs, w->offset, w->bytes, qiov, qiov_offset, flags);
    if (ret == 0 && (flags & BDRV_REQ_FUA)) {
        ret = zoned_inflight_flush(bs, w);
    }
    ret = zoned_inflight_end(bs, w, ret);
    if (unlikely(w->triggers) && ret == 0) {
        zoned_rules_apply(bs, i);
    }
    return ret;
}

/* Writes to conventional zones. */
static int coroutine_fn GRAPH_RDLOCK
write_conv(BlockDriverState *bs, uint64_t offset, uint64_t bytes,
           QEMUIOVector *qiov, size_t qiov_offset, BdrvRequestFlags flags)
{
    BDRVZonedState *s = bs->opaque;
    int ret;

    if (bytes > zoned_conv_limit(&s->header.geo) - offset) {
        return -ERANGE;
    }
    ret = write_file(bs, offset, bytes, qiov, qiov_offset, flags);
    if (ret == 0 && (flags & BDRV_REQ_FUA)) {
        ret = zoned_host_error(bdrv_co_flush(bs->file->bs));
    }
    return ret;
}

/*
 * A write anywhere in the device; without @qiov, of zeroes.
 *
 * Writes are the only requests that the block layer lets pass the end of a
 * node, if the parent may resize it.  A zoned device does not grow; so they get
 * what a block device of the host says, empty ones too, as the block layer
 * takes any that succeeds for a sign of growth.
 */
static int coroutine_fn GRAPH_RDLOCK
zoned_co_pwritev_part(BlockDriverState *bs, int64_t offset, int64_t bytes,
                      QEMUIOVector *qiov, size_t qiov_offset,
                      BdrvRequestFlags flags)
{
    BDRVZonedState *s = bs->opaque;
    const ZonedGeometry *geo = &s->header.geo;
    ZonedWrite w = { .offset = offset, .bytes = bytes };
    uint32_t i;

    if (unlikely(offset + bytes > geo->size)) {
        return -ENOSPC;
    }
    i = zoned_zone_index(geo, offset);
    if (zoned_zone_is_conv(geo, i)) {
        return write_conv(bs, offset, bytes, qiov, qiov_offset, flags);
    }
    return write_zone(bs, i, &w, qiov, qiov_offset, flags);
}

static int coroutine_fn GRAPH_RDLOCK
zoned_co_pwrite_zeroes(BlockDriverState *bs, int64_t offset, int64_t bytes,
                       BdrvRequestFlags flags)
{
    return zoned_co_pwritev_part(bs, offset, bytes, NULL, 0, flags);
}

/* Only conventional zones: the data of a sequential one goes by a reset. */
static int coroutine_fn GRAPH_RDLOCK
zoned_co_pdiscard(BlockDriverState *bs, int64_t offset, int64_t bytes)
{
    BDRVZonedState *s = bs->opaque;
    uint64_t conv_limit = zoned_conv_limit(&s->header.geo);

    if (offset >= conv_limit) {
        return -ENOTSUP;
    }
    bytes = MIN(bytes, conv_limit - offset);
    return zoned_host_error(bdrv_co_pdiscard(bs->file,
                                             zoned_file_offset(s, offset),
                                             bytes));
}

static int coroutine_fn GRAPH_RDLOCK
zoned_co_block_status(BlockDriverState *bs, bool want_zero, int64_t offset,
                      int64_t bytes, int64_t *pnum, int64_t *map,
                      BlockDriverState **file)
{
    BDRVZonedState *s = bs->opaque;
    uint64_t stored, zeroes;

    zoned_extent(s, offset, bytes, &stored, &zeroes);
    if (stored > 0) {
        *pnum = stored;
        *map = zoned_file_offset(s, offset);
        *file = bs->file->bs;
        return BDRV_BLOCK_DATA | BDRV_BLOCK_OFFSET_VALID | BDRV_BLOCK_RECURSE;
    }
    if (zeroes == 0) {
        /* OFFLINE: whoever reads it gets an error, but a map goes on. */
        uint32_t i = zoned_zone_index(&s->header.geo, offset);

        *pnum = MIN(bytes, zoned_zone_limit(&s->header.geo, i) - offset);
        return BDRV_BLOCK_DATA;
    }

    /* There may be many empty zones; one answer will do. */
    *pnum = zeroes;
    while (*pnum < bytes) {
        zoned_extent(s, offset + *pnum, bytes - *pnum, &stored, &zeroes);
        if (stored > 0 || zeroes == 0) {
            break;
        }
        *pnum += zeroes;
    }
    return BDRV_BLOCK_ZERO;
}

/*
 * All of a flush: the file is flushed with what is committed, and not once more
 * behind it, whatever others write meanwhile.
 */
static int coroutine_fn GRAPH_RDLOCK zoned_co_flush(BlockDriverState *bs)
{
    BDRVZonedState *s = bs->opaque;

    /* What was read waits until we may write. */
    if (!zoned_is_writable(bs)) {
        return 0;
    }
    /* The node is being closed: this flush answers nobody. */
    if (bs->refcnt == 0 && zoned_commit_is_idle(s)) {
        return zoned_host_error(bdrv_co_flush(bs->file->bs));
    }
    return zoned_host_error(zoned_co_commit_and_flush(bs));
}

static int coroutine_fn GRAPH_RDLOCK
zoned_co_zone_report(BlockDriverState *bs, int64_t offset,
                     unsigned int *nr_zones, BlockZoneDescriptor *zones)
{
    BDRVZonedState *s = bs->opaque;
    const ZonedGeometry *geo = &s->header.geo;
    uint32_t first, n;

    if (offset < 0 || offset > geo->size) {
        return -ERANGE;
    }
    if (offset == geo->size) {
        *nr_zones = 0;
        return 0;
    }

    first = zoned_zone_index(geo, offset);
    n = MIN(*nr_zones, geo->nr_zones - first);
    for (uint32_t j = 0; j < n; j++) {
        zoned_zones_describe(&s->zones, first + j, &zones[j]);
    }
    *nr_zones = n;
    return 0;
}

static int coroutine_fn GRAPH_RDLOCK
zoned_co_zone_changes(BlockDriverState *bs, uint64_t since,
                      BlockZoneChanges *changes)
{
    BDRVZonedState *s = bs->opaque;
    uint32_t nr_bits = DIV_ROUND_UP(s->zones.max_zones,
                                    ZONED_ZONES_PER_BLOCK);
    g_autofree unsigned long *bits = bitmap_new(nr_bits);
    uint64_t generation;

    qemu_spin_lock(&s->lock);
    generation = zoned_zones_end_generation(&s->zones);
    /* The state machine does not know of writes that have not ended. */
    zoned_inflight_find(s, bits);
    *changes = (BlockZoneChanges) {
        .generation = s->first_generation + generation,
        .nr_open = zoned_zones_nr_open(&s->zones),
        .nr_active = zoned_zones_nr_active(&s->zones),
    };
    qemu_spin_unlock(&s->lock);

    /* In this opening, they are counted from 1 on. */
    since -= s->first_generation;
    if (since == 0 || since >= generation) {
        return 0;
    }
    for (uint32_t bit = 0; bit < nr_bits; bit++) {
        if (zoned_zones_last_change(&s->zones, bit) > since) {
            set_bit(bit, bits);
        }
    }
    changes->changed = g_steal_pointer(&bits);
    changes->nr_bits = nr_bits;
    changes->zones_per_bit = ZONED_ZONES_PER_BLOCK;
    return 0;
}

/* Is an append of @bytes to the zone at @offset one that a device may take? */
static int check_append(const ZonedGeometry *geo, int64_t offset,
                        uint64_t bytes)
{
    if (offset < 0 || offset >= geo->size || offset % geo->zone_size) {
        return -ERANGE;
    }
    if (zoned_zone_is_conv(geo, zoned_zone_index(geo, offset))) {
        return -EPERM;
    }
    if (bytes > (uint64_t)geo->max_append_sectors * BDRV_SECTOR_SIZE) {
        return -ERANGE;
    }
    return 0;
}

static int coroutine_fn GRAPH_RDLOCK
zoned_co_zone_append(BlockDriverState *bs, int64_t *offset, QEMUIOVector *qiov,
                     BdrvRequestFlags flags)
{
    BDRVZonedState *s = bs->opaque;
    const ZonedGeometry *geo = &s->header.geo;
    ZonedWrite w = { .bytes = qiov->size, .append = true };
    uint32_t i;
    int ret;

    if (!zoned_is_writable(bs)) {
        return -EACCES;
    }
    ret = check_append(geo, *offset, qiov->size);
    if (ret < 0) {
        return ret;
    }

    i = zoned_zone_index(geo, *offset);
    ret = write_zone(bs, i, &w, qiov, 0, flags);
    if (ret == 0 && w.bytes > 0) {
        *offset = w.offset;
    }
    return ret;
}

/* Where a new image was not written, its file decides what can be read. */
static int GRAPH_RDLOCK zoned_has_zero_init(BlockDriverState *bs)
{
    BDRVZonedState *s = bs->opaque;

    return s->header.geo.nr_conv == 0 || bdrv_has_zero_init(bs->file->bs);
}

/* There are no clusters but those of the file. */
static int coroutine_fn GRAPH_RDLOCK zoned_co_get_info(BlockDriverState *bs,
                                                       BlockDriverInfo *bdi)
{
    BlockDriverInfo file_info;

    if (bdrv_co_get_info(bs->file->bs, &file_info) == 0) {
        bdi->cluster_size = file_info.cluster_size;
        bdi->subcluster_size = file_info.subcluster_size;
    }
    return 0;
}

static ImageInfoSpecific * GRAPH_RDLOCK
zoned_get_specific_info(BlockDriverState *bs, Error **errp)
{
    BDRVZonedState *s = bs->opaque;
    const ZonedGeometry *geo = &s->header.geo;
    const uint32_t *nr = s->zones.nr;
    ImageInfoSpecificZoned *zoned = g_new(ImageInfoSpecificZoned, 1);
    ImageInfoSpecific *info = g_new(ImageInfoSpecific, 1);

    *zoned = (ImageInfoSpecificZoned) {
        .zone_model = ZONED_MODEL_HOST_MANAGED,
        .zone_size = geo->zone_size,
        .zone_capacity = geo->zone_capacity,
        .zones = geo->nr_zones,
        .conventional_zones = geo->nr_conv,
        .spare_zones = s->zones.max_zones - geo->nr_zones,
        .max_open_zones = geo->max_open,
        .max_active_zones = geo->max_active,
        .max_append_sectors = geo->max_append_sectors,
        .has_zd_extension_size = geo->zd_extension_size > 0,
        .zd_extension_size = geo->zd_extension_size,
        .log_size = s->header.log_blocks * ZONED_LOG_BLOCK,
        .empty_zones = nr[BLK_ZS_EMPTY],
        .open_zones = zoned_zones_nr_open(&s->zones),
        .closed_zones = nr[BLK_ZS_CLOSED],
        .full_zones = nr[BLK_ZS_FULL],
        .read_only_zones = nr[BLK_ZS_RDONLY],
        .offline_zones = nr[BLK_ZS_OFFLINE],
    };
    *info = (ImageInfoSpecific) {
        .type = IMAGE_INFO_SPECIFIC_KIND_ZONED,
        .u.zoned.data = zoned,
    };
    return info;
}

static BlockDriver bdrv_zoned = {
    .format_name                = "zoned",
    .instance_size              = sizeof(BDRVZonedState),
    .is_format                  = true,
    .create_opts                = &zoned_create_opts,
    .amend_opts                 = &zoned_amend_opts,
    .strong_runtime_opts        = zoned_strong_runtime_opts,

    .bdrv_probe                 = zoned_probe,
    .bdrv_open                  = zoned_open,
    .bdrv_close                 = zoned_close,
    .bdrv_reopen_prepare        = zoned_reopen_prepare,
    .bdrv_reopen_commit_post    = zoned_reopen_commit_post,
    .bdrv_child_perm            = zoned_child_perm,
    .bdrv_co_create             = zoned_co_create,
    .bdrv_co_create_opts        = zoned_co_create_opts,
    .bdrv_measure               = zoned_measure,
    .bdrv_co_check              = zoned_co_check,
    .bdrv_co_truncate           = zoned_co_truncate,
    .bdrv_amend_options         = zoned_amend_options,
    .bdrv_co_invalidate_cache   = zoned_co_invalidate_cache,
    .bdrv_snapshot_goto         = zoned_snapshot_goto,
    .bdrv_inactivate            = zoned_inactivate,
    .bdrv_refresh_limits        = zoned_refresh_limits,
    .bdrv_get_specific_info     = zoned_get_specific_info,
    .bdrv_has_zero_init         = zoned_has_zero_init,
    .bdrv_co_get_info           = zoned_co_get_info,

    .bdrv_co_preadv_part        = zoned_co_preadv_part,
    .bdrv_co_pwritev_part       = zoned_co_pwritev_part,
    .bdrv_co_pwrite_zeroes      = zoned_co_pwrite_zeroes,
    .bdrv_co_pdiscard           = zoned_co_pdiscard,
    .bdrv_co_block_status       = zoned_co_block_status,
    .bdrv_co_flush              = zoned_co_flush,
    .bdrv_co_zone_report        = zoned_co_zone_report,
    .bdrv_co_zone_changes       = zoned_co_zone_changes,
    .bdrv_co_zone_mgmt          = zoned_co_zone_mgmt,
    .bdrv_zone_add_rule         = zoned_rules_add,
    .bdrv_zone_remove_rule      = zoned_rules_remove,
    .bdrv_zone_rules            = zoned_rules_list,
    .bdrv_co_zone_append        = zoned_co_zone_append,
    .bdrv_co_zone_set_extension = zoned_co_zone_set_extension,
    .bdrv_co_zone_get_extensions = zoned_co_zone_get_extensions,
};

static void bdrv_zoned_init(void)
{
    bdrv_register(&bdrv_zoned);
}

block_init(bdrv_zoned_init);

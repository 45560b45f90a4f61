/*
 * zoned block format driver: creation of images
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/qapi-visit-block-core.h"
#include "qobject/qdict.h"
#include "qobject/qnum.h"
#include "qapi/qobject-input-visitor.h"
#include "block/qdict.h"
#include "qemu/cutils.h"
#include "qemu/error-report.h"
#include "qemu/option.h"
#include "system/block-backend.h"
#include "zoned.h"

#define DEFAULT_ZONE_SIZE (64 * MiB)
#define DEFAULT_MAX_APPEND_SECTORS 2048

/* Bytes of the zone table that are written at once. */
#define TABLE_CHUNK (1 * MiB)

/*
 * Zone sizes are strings here: with a suffix they are bytes, as everywhere, but
 * a bare number counts 512-byte sectors, as a zone report prints them.
 */
QemuOptsList zoned_create_opts = {
    .name = "zoned-create-opts",
    .head = QTAILQ_HEAD_INITIALIZER(zoned_create_opts.head),
    .desc = {
        {
            .name = BLOCK_OPT_SIZE,
            .type = QEMU_OPT_SIZE,
            .help = "Device size; with zone_nr_seq, an upper bound",
        },
        {
            .name = BLOCK_OPT_Z_MODEL,
            .type = QEMU_OPT_STRING,
            .help = "Zone model (host-managed, or 1 for short)",
            .def_value_str = "host-managed",
        },
        {
            .name = BLOCK_OPT_Z_SIZE,
            .type = QEMU_OPT_STRING,
            .help = "Zone size: bytes with a suffix (64M); a bare number "
                    "counts 512-byte sectors",
            .def_value_str = "64M",
        },
        {
            .name = BLOCK_OPT_Z_CAPACITY,
            .type = QEMU_OPT_STRING,
            .help = "Zone capacity, like the zone size and at most that "
                    "(default: the zone size)",
        },
        {
            .name = BLOCK_OPT_Z_NR_CONV,
            .type = QEMU_OPT_NUMBER,
            .help = "Number of conventional zones, at the start of the device",
            .def_value_str = "0",
        },
        {
            .name = BLOCK_OPT_Z_NR_SEQ,
            .type = QEMU_OPT_NUMBER,
            .help = "Number of sequential zones (default: what fits in size)",
        },
        {
            .name = BLOCK_OPT_Z_NR_SPARE,
            .type = QEMU_OPT_NUMBER,
            .help = "Number of zones that can be added later (default: as "
                    "many as the device has)",
        },
        {
            .name = BLOCK_OPT_Z_MAX_OPEN,
            .type = QEMU_OPT_NUMBER,
            .help = "Maximum number of open zones (0: no limit)",
            .def_value_str = "0",
        },
        {
            .name = BLOCK_OPT_Z_MAX_ACTIVE,
            .type = QEMU_OPT_NUMBER,
            .help = "Maximum number of active zones (0: no limit)",
            .def_value_str = "0",
        },
        {
            .name = BLOCK_OPT_Z_MAX_APPEND,
            .type = QEMU_OPT_NUMBER,
            .help = "Maximum size of a zone append in 512-byte sectors",
            .def_value_str = "2048",
        },
        {
            .name = BLOCK_OPT_Z_EXTENSION,
            .type = QEMU_OPT_NUMBER,
            .help = "Bytes of the descriptor extension of each zone, a "
                    "multiple of 64 (default: 0, none)",
        },
        {
            .name = BLOCK_OPT_PREALLOC,
            .type = QEMU_OPT_STRING,
            .help = "Preallocation mode (allowed values: off, metadata, "
                    "falloc, full)",
        },
        { /* end of list */ }
    }
};

/* The number of zones and the device size that follow from @opts. */
static bool set_zones(ZonedGeometry *geo,
                      const BlockdevCreateOptionsZoned *opts, Error **errp)
{
    uint64_t nr_zones;

    if (!opts->has_zone_nr_seq) {
        nr_zones = geo->zone_size ? DIV_ROUND_UP(geo->size, geo->zone_size) : 0;
        geo->nr_zones = MIN(nr_zones, UINT32_MAX);
        return true;
    }

    nr_zones = (uint64_t)geo->nr_conv + opts->zone_nr_seq;
    if (nr_zones == 0) {
        error_setg(errp, "A device without zones is impossible: zone_nr_conv "
                   "and zone_nr_seq are both 0");
        return false;
    }
    if (geo->zone_size && nr_zones > geo->size / geo->zone_size) {
        error_setg(errp, "Device size %" PRIu64 " is too small for %" PRIu64
                   " zones of %" PRIu64 " bytes (zone_nr_conv %u + zone_nr_seq "
                   "%u)", geo->size, nr_zones, geo->zone_size, geo->nr_conv,
                   opts->zone_nr_seq);
        return false;
    }
    geo->nr_zones = nr_zones;
    geo->size = nr_zones * geo->zone_size;
    return true;
}

/* The device that @opts ask for, with defaults filled in. */
static bool opts_to_geometry(const BlockdevCreateOptionsZoned *opts,
                             ZonedGeometry *geo, Error **errp)
{
    *geo = (ZonedGeometry) {
        .size = opts->size,
        .zone_size = opts->has_zone_size ? opts->zone_size : DEFAULT_ZONE_SIZE,
        .nr_conv = opts->has_zone_nr_conv ? opts->zone_nr_conv : 0,
        .max_open = opts->has_max_open_zones ? opts->max_open_zones : 0,
        .max_active = opts->has_max_active_zones ? opts->max_active_zones : 0,
        .max_append_sectors = opts->has_max_append_sectors ?
                              opts->max_append_sectors :
                              DEFAULT_MAX_APPEND_SECTORS,
        .zd_extension_size = opts->has_zd_extension_size ?
                             opts->zd_extension_size : 0,
    };
    geo->zone_capacity = opts->has_zone_capacity ? opts->zone_capacity
                                                 : geo->zone_size;

    if (!opts->has_zone_size && geo->size && geo->size < geo->zone_size) {
        error_setg(errp, "Device size %" PRIu64 " is smaller than a zone, which"
                   " has %" PRIu64 " bytes by default; set zone_size",
                   geo->size, geo->zone_size);
        return false;
    }
    return set_zones(geo, opts, errp) && zoned_geometry_validate(geo, errp);
}

/* The header of an image of the device that @opts ask for. */
static void init_header(ZonedHeader *h, const ZonedGeometry *geo,
                        const BlockdevCreateOptionsZoned *opts)
{
    zoned_header_init(h, geo, opts->has_zone_nr_spare ? opts->zone_nr_spare
                                                      : geo->nr_zones);
}

/*
 * Zones begin where objects or clusters of the file do, as those of RBD, which
 * have 4 MiB: what was in a zone that is reset can then be given back whole.
 */
static void coroutine_fn GRAPH_UNLOCKED align_data(BlockBackend *blk,
                                                   ZonedHeader *h)
{
    BlockDriverInfo bdi;
    int ret;

    bdrv_graph_co_rdlock();
    ret = bdrv_co_get_info(blk_bs(blk), &bdi);
    bdrv_graph_co_rdunlock();
    if (ret == 0 && bdi.cluster_size > 0) {
        zoned_header_align_data(h, bdi.cluster_size);
    }
}

/*
 * What was there goes, so that its data cannot be seen again.  Returns how many
 * bytes of it are left, where a node does not become shorter, or a negative
 * errno.
 */
static int64_t coroutine_fn GRAPH_UNLOCKED clear_node(BlockBackend *blk,
                                                      Error **errp)
{
    Error *local_err = NULL;
    int64_t left;
    int ret = blk_co_truncate(blk, 0, false, PREALLOC_MODE_OFF, 0, &local_err);

    if (ret < 0 && ret != -ENOTSUP) {
        error_propagate(errp, local_err);
        return ret;
    }
    error_free(local_err);

    bdrv_graph_co_rdlock();
    left = blk_co_getlength(blk);
    bdrv_graph_co_rdunlock();
    if (left < 0) {
        error_setg_errno(errp, -left, "Could not get the node's length");
    }
    return left;
}

/*
 * Gives the image its length.  Where the host cannot have so large a file, it
 * becomes as large as it needs to be, and grows when zones are written.  The
 * node has @left bytes; if that is enough it may have a fixed size.
 */
static int coroutine_fn GRAPH_UNLOCKED set_length(BlockBackend *blk,
                                                  ZonedHeader *h, int64_t left,
                                                  PreallocMode prealloc,
                                                  Error **errp)
{
    uint64_t needed = zoned_header_min_file_size(h);
    Error *local_err = NULL;
    int ret;

    if (left >= needed && prealloc == PREALLOC_MODE_OFF) {
        return 0;
    }
    ret = blk_co_truncate(blk, needed, false, prealloc, 0, &local_err);
    if (ret == -EFBIG && prealloc == PREALLOC_MODE_OFF) {
        error_free(local_err);
        local_err = NULL;
        h->incompatible_features |= ZONED_INCOMPAT_SHORT_FILE;
        ret = blk_co_truncate(blk, zoned_header_min_file_size(h), false,
                              prealloc, 0, &local_err);
    }
    if (ret < 0 && left > 0) {
        error_prepend(&local_err, "The image needs %" PRIu64 " bytes%s, and "
                      "node '%s' has %" PRId64 ": ", needed,
                      prealloc == PREALLOC_MODE_OFF ? "" : " and preallocation",
                      bdrv_get_node_name(blk_bs(blk)), left);
    }
    error_propagate(errp, local_err);
    return ret;
}

/* Sequential zones are EMPTY; conventional ones may have any of @left bytes. */
static int coroutine_fn GRAPH_UNLOCKED clear_conventional(BlockBackend *blk,
                                                          const ZonedHeader *h,
                                                          int64_t left)
{
    int64_t end = MIN(left, h->data_offset + zoned_conv_limit(&h->geo));
    int64_t bytes = end - (int64_t)h->data_offset;

    return bytes > 0 ? blk_co_pwrite_zeroes(blk, h->data_offset, bytes,
                                            BDRV_REQ_MAY_UNMAP) : 0;
}

/* Writes a zone table with all zones empty. */
static int coroutine_fn GRAPH_UNLOCKED write_table(BlockBackend *blk,
                                                   const ZonedHeader *h)
{
    const ZonedGeometry *geo = &h->geo;
    uint32_t max_zones = zoned_header_max_zones(h);
    uint64_t size = zoned_table_size(geo);
    g_autofree uint64_t *raw = g_malloc0(MIN(size, TABLE_CHUNK));

    for (uint64_t pos = 0; pos < size; pos += TABLE_CHUNK) {
        uint64_t bytes = MIN(size - pos, TABLE_CHUNK);
        int ret;

        for (uint64_t j = 0; j < bytes / ZONED_ENTRY_SIZE; j++) {
            uint64_t i = pos / ZONED_ENTRY_SIZE + j;
            ZonedEntry new = zoned_entry_new(geo, i);

            raw[j] = i < max_zones ? zoned_entry_encode(geo, i, &new) : 0;
        }
        ret = blk_co_pwrite(blk, h->table_offset + pos, bytes, raw, 0);
        if (ret < 0) {
            return ret;
        }
    }
    return 0;
}

/*
 * An empty log: all of it is written, so that there is room for it later, and
 * nothing of another one that there was.
 */
static int coroutine_fn GRAPH_UNLOCKED write_log(BlockBackend *blk,
                                                 const ZonedHeader *h)
{
    g_autofree uint8_t *buf = g_malloc(ZONED_LOG_BLOCK);
    int ret = blk_co_pwrite_zeroes(blk, h->log_offset,
                                   h->log_blocks * ZONED_LOG_BLOCK, 0);

    if (ret < 0) {
        return ret;
    }
    zoned_log_head_encode(1, buf);
    return blk_co_pwrite(blk, h->log_offset, ZONED_LOG_BLOCK, buf, 0);
}

/*
 * Writes header, table and log, where @left bytes may be of something else.
 * The header comes last and behind a flush, so that what is left of a creation
 * that fails or crashes is no image.
 */
static int coroutine_fn GRAPH_UNLOCKED write_metadata(BlockBackend *blk,
                                                      const ZonedHeader *h,
                                                      int64_t left)
{
    uint8_t buf[ZONED_HEADER_SIZE];
    int ret;

    ret = blk_co_pwrite_zeroes(blk, 0, h->table_offset, 0);
    if (ret == 0 && left > 0) {
        /* An old header must not be seen with the new table. */
        ret = blk_co_flush(blk);
    }
    if (ret == 0) {
        ret = clear_conventional(blk, h, left);
    }
    if (ret == 0) {
        ret = write_table(blk, h);
    }
    if (ret == 0) {
        ret = write_log(blk, h);
    }
    if (ret == 0) {
        ret = blk_co_flush(blk);
    }
    if (ret == 0) {
        zoned_header_encode(h, buf);
        ret = blk_co_pwrite(blk, 0, sizeof(buf), buf, 0);
    }
    return ret == 0 ? blk_co_flush(blk) : ret;
}

int coroutine_fn GRAPH_UNLOCKED zoned_co_create(BlockdevCreateOptions *opts,
                                                Error **errp)
{
    BlockdevCreateOptionsZoned *zoned_opts = &opts->u.zoned;
    PreallocMode prealloc = PREALLOC_MODE_OFF;
    BlockDriverState *bs;
    BlockBackend *blk = NULL;
    ZonedGeometry geo;
    ZonedHeader h;
    int64_t left;
    int ret;

    assert(opts->driver == BLOCKDEV_DRIVER_ZONED);
    if (!opts_to_geometry(zoned_opts, &geo, errp)) {
        return -EINVAL;
    }
    init_header(&h, &geo, zoned_opts);
    if (zoned_opts->has_preallocation &&
        zoned_opts->preallocation != PREALLOC_MODE_METADATA) {
        prealloc = zoned_opts->preallocation;
    }

    bs = bdrv_co_open_blockdev_ref(zoned_opts->file, errp);
    if (!bs) {
        return -EIO;
    }
    blk = blk_co_new_with_bs(bs, BLK_PERM_WRITE | BLK_PERM_RESIZE, BLK_PERM_ALL,
                             errp);
    if (!blk) {
        ret = -EPERM;
        goto out;
    }
    blk_set_allow_write_beyond_eof(blk, true);
    align_data(blk, &h);

    left = clear_node(blk, errp);
    if (left < 0) {
        ret = left;
        goto out;
    }
    ret = set_length(blk, &h, left, prealloc, errp);
    if (ret < 0) {
        goto out;
    }
    ret = write_metadata(blk, &h, left);
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not write the zoned image");
    }
out:
    blk_co_unref(blk);
    bdrv_co_unref(bs);
    return ret;
}

/* The zone model: 1 is what the kernel calls host-managed. */
static bool convert_model(QDict *qdict, Error **errp)
{
    const char *model = qdict_get_try_str(qdict, BLOCK_OPT_Z_MODEL);

    if (model && !strcmp(model, "1")) {
        qdict_put_str(qdict, BLOCK_OPT_Z_MODEL, "host-managed");
    } else if (model && strcmp(model, "host-managed")) {
        error_setg(errp, "Unsupported zone model '%s'; write zoned=host-managed"
                   " (or zoned=1)", model);
        return false;
    }
    return true;
}

/* Is the value of an option a bare number?  It counts @n sectors then. */
static bool counts_sectors(const char *value, uint64_t *n)
{
    int base = g_ascii_strncasecmp(value, "0x", 2) ? 10 : 16;

    return value[0] != '-' && !qemu_strtou64(value, NULL, base, n);
}

/*
 * A bare number that fits may still have been meant as bytes, and the zones are
 * 512 times as large then: says what it was taken for.
 */
static void report_sectors(const char *name, const char *value)
{
    g_autofree char *size = NULL;
    uint64_t n, bytes;

    if (value && counts_sectors(value, &n)) {
        bytes = n * BDRV_SECTOR_SIZE;
        size = size_to_str(bytes);
        warn_report("%s=%s counts 512-byte sectors and is %" PRIu64 " bytes "
                    "(%s); for bytes write %s=%" PRIu64 "B", name, value,
                    bytes, size, name, n);
    }
}

/*
 * Replaces option @name by its value in bytes.  It must fit in a device of
 * @size bytes, which tells when a bare number was meant as bytes.
 */
static bool convert_zone_bytes(QDict *qdict, const char *name, uint64_t size,
                               Error **errp)
{
    const char *value = qdict_get_try_str(qdict, name);
    uint64_t n;

    if (!value) {
        return true;
    }
    if (counts_sectors(value, &n)) {
        if (n > size / BDRV_SECTOR_SIZE) {
            error_setg(errp, "%s=%s counts 512-byte sectors and is larger than "
                       "the device (%" PRIu64 " bytes); for bytes write "
                       "%s=%" PRIu64 "B", name, value, size, name, n);
            return false;
        }
        n *= BDRV_SECTOR_SIZE;
    } else if (qemu_strtosz(value, NULL, &n) < 0) {
        error_setg(errp, "Parameter '%s' expects a size with a suffix (64M) or "
                   "a number of 512-byte sectors, not '%s'", name, value);
        return false;
    }
    qdict_del(qdict, name);
    qdict_put(qdict, name, qnum_from_uint(n));
    return true;
}

/* Refuses a number that does not fit, in terms of what the user wrote. */
static bool check_number(const QDict *qdict, const char *name, Error **errp)
{
    const char *value = qdict_get_try_str(qdict, name);
    uint64_t n;

    if (value && (qemu_strtou64(value, NULL, 0, &n) || n > UINT32_MAX)) {
        error_setg(errp, "%s=%s is not a number between 0 and %" PRIu32, name,
                   value, UINT32_MAX);
        return false;
    }
    return true;
}

static bool check_numbers(const QDict *qdict, Error **errp)
{
    static const char *const names[] = {
        BLOCK_OPT_Z_NR_CONV, BLOCK_OPT_Z_NR_SEQ, BLOCK_OPT_Z_NR_SPARE,
        BLOCK_OPT_Z_MAX_OPEN, BLOCK_OPT_Z_MAX_ACTIVE, BLOCK_OPT_Z_MAX_APPEND,
        BLOCK_OPT_Z_EXTENSION,
    };

    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        if (!check_number(qdict, names[i], errp)) {
            return false;
        }
    }
    return true;
}

/* The options of qemu-img as those of blockdev-create; "file" is missing. */
static BlockdevCreateOptions *convert_opts(QemuOpts *opts, Error **errp)
{
    static const QDictRenames renames[] = {
        { BLOCK_OPT_Z_SIZE,         "zone-size" },
        { BLOCK_OPT_Z_CAPACITY,     "zone-capacity" },
        { BLOCK_OPT_Z_NR_CONV,      "zone-nr-conv" },
        { BLOCK_OPT_Z_NR_SEQ,       "zone-nr-seq" },
        { BLOCK_OPT_Z_NR_SPARE,     "zone-nr-spare" },
        { BLOCK_OPT_Z_MAX_OPEN,     "max-open-zones" },
        { BLOCK_OPT_Z_MAX_ACTIVE,   "max-active-zones" },
        { BLOCK_OPT_Z_MAX_APPEND,   "max-append-sectors" },
        { BLOCK_OPT_Z_EXTENSION,    "zd-extension-size" },
        { NULL, NULL },
    };
    uint64_t size = qemu_opt_get_size(opts, BLOCK_OPT_SIZE, 0);
    g_autoptr(QDict) qdict =
        qemu_opts_to_qdict_filtered(opts, NULL, &zoned_create_opts, true);
    BlockdevCreateOptions *create_options = NULL;
    Visitor *v;

    qdict_put_str(qdict, "driver", "zoned");
    qdict_put_str(qdict, "file", "");
    if (!convert_model(qdict, errp) || !check_numbers(qdict, errp) ||
        !convert_zone_bytes(qdict, BLOCK_OPT_Z_SIZE, size, errp) ||
        !convert_zone_bytes(qdict, BLOCK_OPT_Z_CAPACITY, size, errp) ||
        !qdict_rename_keys(qdict, renames, errp)) {
        return NULL;
    }
    v = qobject_input_visitor_new_flat_confused(qdict, errp);
    if (!v) {
        return NULL;
    }
    visit_type_BlockdevCreateOptions(v, NULL, &create_options, errp);
    visit_free(v);
    return create_options;
}

/* As for a raw file, what is not written counts towards its size. */
BlockMeasureInfo *zoned_measure(QemuOpts *opts, BlockDriverState *in_bs,
                                Error **errp)
{
    BlockdevCreateOptions *create_options;
    BlockMeasureInfo *info = NULL;
    ZonedGeometry geo;
    ZonedHeader h;

    if (in_bs) {
        int64_t size = bdrv_getlength(in_bs);

        if (size < 0) {
            error_setg_errno(errp, -size, "Unable to get image size");
            return NULL;
        }
        qemu_opt_set_number(opts, BLOCK_OPT_SIZE, size, &error_abort);
    }
    create_options = convert_opts(opts, errp);
    if (!create_options) {
        return NULL;
    }
    if (opts_to_geometry(&create_options->u.zoned, &geo, errp)) {
        init_header(&h, &geo, &create_options->u.zoned);
        info = g_new0(BlockMeasureInfo, 1);
        info->required = h.data_offset + geo.size;
        info->fully_allocated = info->required;
    }
    qapi_free_BlockdevCreateOptions(create_options);
    return info;
}

int coroutine_fn GRAPH_UNLOCKED zoned_co_create_opts(BlockDriver *drv,
                                                     const char *filename,
                                                     QemuOpts *opts,
                                                     Error **errp)
{
    /* As they were written; convert_opts() takes them out of @opts. */
    g_autofree char *zone_size = g_strdup(qemu_opt_get(opts, BLOCK_OPT_Z_SIZE));
    g_autofree char *zone_capacity =
        g_strdup(qemu_opt_get(opts, BLOCK_OPT_Z_CAPACITY));
    BlockdevCreateOptions *create_options = convert_opts(opts, errp);
    BlockDriverState *bs = NULL;
    ZonedGeometry geo;
    BlockdevRef *file;
    int ret;

    if (!create_options) {
        return -EINVAL;
    }
    /* Impossible options must not cost the user an existing file. */
    if (!opts_to_geometry(&create_options->u.zoned, &geo, errp)) {
        ret = -EINVAL;
        goto out;
    }
    report_sectors(BLOCK_OPT_Z_SIZE, zone_size);
    report_sectors(BLOCK_OPT_Z_CAPACITY, zone_capacity);

    ret = bdrv_co_create_file(filename, opts, errp);
    if (ret < 0) {
        goto out;
    }
    bs = bdrv_co_open(filename, NULL, NULL,
                      BDRV_O_RDWR | BDRV_O_RESIZE | BDRV_O_PROTOCOL, errp);
    if (!bs) {
        ret = -EIO;
        goto out;
    }

    file = create_options->u.zoned.file;
    g_free(file->u.reference);
    file->u.reference = g_strdup(bs->node_name);
    ret = zoned_co_create(create_options, errp);
    if (ret < 0) {
        bdrv_graph_co_rdlock();
        bdrv_co_delete_file_noerr(bs);
        bdrv_graph_co_rdunlock();
    }
out:
    bdrv_co_unref(bs);
    qapi_free_BlockdevCreateOptions(create_options);
    return ret;
}

/*
 * zoned block format driver: what an image says of its zones
 *
 * The zone table and the log in front of it are read when the image is opened,
 * without a lock on the file if it is to be read only: then another process may
 * write it meanwhile.  That one changes the table only while the log that was
 * there overrides what it changes, and then writes a head with a new epoch.  So
 * table and log are read between two looks at the head, and if that has changed
 * it all begins anew.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/crc32c.h"
#include "zoned.h"

/* How often it begins anew: a writer that is busy needs more time for that. */
#define MAX_TRIES 100

typedef struct LogReader {
    BlockDriverState *bs;
    uint64_t *raw;              /* the zone table */
    uint8_t *log;
    GArray *records;            /* ZonedLogRecord */
    uint64_t epoch;
    uint32_t next_block;        /* behind the last record */

    /* Where a record was left out, as the file did not have its data; or 0 */
    uint64_t left_out_epoch;
    uint32_t left_out_block;
} LogReader;

/*
 * Reads the data of @sum to *@buf, which the caller frees.  Returns 1 if the
 * file has all of it, and it has the sum; 0 if not, or a negative errno.
 */
static int GRAPH_RDLOCK read_summed(BlockDriverState *bs,
                                    const ZonedLogSum *sum, uint8_t **buf)
{
    int64_t offset = zoned_file_offset(bs->opaque, sum->address);
    int64_t length = bdrv_getlength(bs->file->bs);
    int ret;

    *buf = NULL;
    if (length < offset + sum->bytes) {
        return MIN(length, 0);
    }
    *buf = qemu_try_blockalign(bs->file->bs, sum->bytes);
    if (!*buf) {
        return -ENOMEM;
    }
    ret = bdrv_pread(bs->file, offset, sum->bytes, *buf, 0);
    return ret < 0 ? ret : crc32c(0xffffffff, *buf, sum->bytes) == sum->crc;
}

int coroutine_fn zoned_log_rewrite_data(BlockDriverState *bs)
{
    BDRVZonedState *s = bs->opaque;
    ZonedCommit *commit = &s->commit;
    int ret = 0;

    for (uint32_t j = 0; j < commit->nr_found && ret == 0; j++) {
        const ZonedLogSum *sum = &commit->found[j];
        uint8_t *buf;

        ret = read_summed(bs, sum, &buf);
        if (ret > 0) {
            ret = bdrv_co_pwrite(bs->file, zoned_file_offset(s, sum->address),
                                 sum->bytes, buf, 0);
        } else if (ret == 0) {
            ret = -EIO;
        }
        qemu_vfree(buf);
    }
    return ret;
}

/* Does the file have the data of @record?  1, 0 or a negative errno. */
static int GRAPH_RDLOCK has_data(BlockDriverState *bs,
                                 const ZonedLogRecord *record, Error **errp)
{
    int ret = 1;

    for (uint32_t j = 0; j < record->nr_sums && ret > 0; j++) {
        ZonedLogSum sum = zoned_log_sum(record, j);
        uint8_t *buf;

        ret = read_summed(bs, &sum, &buf);
        if (ret < 0) {
            error_setg_errno(errp, -ret, "Could not read the data of the last "
                             "record in the log, %u bytes at %" PRIu64,
                             sum.bytes, sum.address);
        }
        qemu_vfree(buf);
    }
    return ret;
}

/* Finds the records of the log that was read. */
static int find_records(LogReader *r, Error **errp)
{
    BDRVZonedState *s = r->bs->opaque;
    uint32_t nr = s->header.log_blocks;
    ZonedLogRecord record;
    int ret;

    g_array_set_size(r->records, 0);
    r->next_block = 1;
    while ((ret = zoned_log_record_decode(
                &s->header, r->epoch, r->next_block,
                r->log + r->next_block * ZONED_LOG_BLOCK, nr - r->next_block,
                &record, errp)) > 0) {
        g_array_append_val(r->records, record);
        r->next_block += record.nr_blocks;
    }
    return ret;
}

static const ZonedLogRecord *last_record(const LogReader *r)
{
    guint n = r->records->len;

    return n ? &g_array_index(r->records, ZonedLogRecord, n - 1) : NULL;
}

/*
 * The records are known.  Leaves out the last one if the file does not have its
 * data, and did not the last time: another process may have changed both.
 * Returns 1, 0 if all is to be read again, or a negative errno.
 */
static int GRAPH_RDLOCK check_last_record(LogReader *r, Error **errp)
{
    const ZonedLogRecord *last = last_record(r);
    int ret = last ? has_data(r->bs, last, errp) : 1;

    if (ret == 0) {
        r->next_block -= last->nr_blocks;
        g_array_set_size(r->records, r->records->len - 1);
        ret = r->left_out_epoch == r->epoch &&
              r->left_out_block == r->next_block;
        r->left_out_epoch = r->epoch;
        r->left_out_block = r->next_block;
    } else {
        r->left_out_block = 0;
    }
    return ret;
}

/* Reads @bytes at @offset in the image, which is @what, to @buf. */
static int GRAPH_RDLOCK read_part(LogReader *r, const char *what,
                                  uint64_t offset, uint64_t bytes, void *buf,
                                  Error **errp)
{
    BDRVZonedState *s = r->bs->opaque;
    int ret = bdrv_pread(r->bs->file, s->base + offset, bytes, buf, 0);

    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not read the %s", what);
    }
    return ret;
}

/* Reads table and log.  Returns what check_last_record() does. */
static int GRAPH_RDLOCK read_once(LogReader *r, Error **errp)
{
    BDRVZonedState *s = r->bs->opaque;
    const ZonedHeader *h = &s->header;
    uint8_t head[ZONED_LOG_HEAD_SIZE], after[ZONED_LOG_HEAD_SIZE];
    int ret = 0;

    if (h->log_blocks) {
        ret = read_part(r, "log", h->log_offset, sizeof(head), head, errp);
    }
    if (ret == 0) {
        ret = read_part(r, "zone table", h->table_offset,
                        (uint64_t)h->geo.nr_zones * ZONED_ENTRY_SIZE, r->raw,
                        errp);
    }
    if (ret < 0 || h->log_blocks == 0) {
        return ret < 0 ? ret : 1;
    }
    ret = read_part(r, "log", h->log_offset, h->log_blocks * ZONED_LOG_BLOCK,
                    r->log, errp);
    if (ret == 0) {
        ret = read_part(r, "log", h->log_offset, sizeof(after), after, errp);
    }
    if (ret < 0 || memcmp(head, after, sizeof(head))) {
        return ret;
    }
    if (!zoned_log_head_decode(head, &r->epoch, errp)) {
        return -EINVAL;
    }
    ret = find_records(r, errp);
    return ret < 0 ? ret : check_last_record(r, errp);
}

/* What was read is the image's: puts the log into the table. */
static void apply_log(LogReader *r)
{
    BDRVZonedState *s = r->bs->opaque;
    g_autofree unsigned long *known = bitmap_new(s->header.geo.nr_zones);
    ZonedCommit *commit = &s->commit;
    /* One with another behind it, however that is, was flushed. */
    const ZonedLogRecord *last = r->left_out_block ? NULL : last_record(r);

    for (guint j = r->records->len; j-- > 0;) {
        zoned_log_runs_apply(&s->header.geo,
                             &g_array_index(r->records, ZonedLogRecord, j), 0,
                             s->header.geo.nr_zones, known, r->raw);
    }
    commit->epoch = zoned_log_newest_epoch(r->log, s->header.log_blocks);
    commit->next_block = r->next_block;
    commit->nr_found = last ? last->nr_sums : 0;
    commit->found = g_renew(ZonedLogSum, commit->found, commit->nr_found);
    for (uint32_t j = 0; j < commit->nr_found; j++) {
        commit->found[j] = zoned_log_sum(last, j);
    }
}

uint64_t *zoned_log_read(BlockDriverState *bs, Error **errp)
{
    BDRVZonedState *s = bs->opaque;
    QEMU_AUTO_VFREE uint64_t *raw = qemu_try_blockalign(
        bs->file->bs, (size_t)s->header.geo.nr_zones * ZONED_ENTRY_SIZE);
    QEMU_AUTO_VFREE uint8_t *log = qemu_try_blockalign(
        bs->file->bs, s->header.log_blocks * ZONED_LOG_BLOCK);
    g_autoptr(GArray) records = g_array_new(false, false,
                                            sizeof(ZonedLogRecord));
    LogReader r = { .bs = bs, .raw = raw, .log = log, .records = records };
    int ret = 0;

    if (!raw || !log) {
        error_setg(errp, "Not enough memory for %u zones",
                   s->header.geo.nr_zones);
        return NULL;
    }
    for (int j = 0; j < MAX_TRIES && ret == 0; j++) {
        ret = read_once(&r, errp);
    }
    if (ret == 0) {
        error_setg(errp, "Another process changes the zoned image all the "
                   "time");
    }
    if (ret <= 0) {
        return NULL;
    }
    apply_log(&r);
    return g_steal_pointer(&raw);
}

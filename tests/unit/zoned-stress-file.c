/*
 * The stress test of the zoned block format driver: the file below it
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/thread.h"
#include "qapi/error.h"
#include "block/block-io.h"
#include "block/block_int.h"
#include "zoned-filter.h"
#include "zoned-stress.h"
#include "zoned-stress-file.h"

static uint8_t *memory;
static uint64_t size;
static uint64_t data_offset;
static FileFaults faults;
static unsigned rests;
static unsigned in_flight;

/* When requests to the file have failed */
static QemuMutex fault_lock;
static unsigned fault_times[64 * KiB];
static unsigned nr_faults;

bool file_fault_between(unsigned since, unsigned until)
{
    bool found = false;

    QEMU_LOCK_GUARD(&fault_lock);
    for (unsigned i = nr_faults; i > 0 && !found; i--) {
        unsigned when = fault_times[(i - 1) % ARRAY_SIZE(fault_times)];

        if (when < since || nr_faults - i >= ARRAY_SIZE(fault_times)) {
            break;
        }
        found = when < until;
    }
    return found;
}

bool file_fault_since(unsigned since)
{
    return file_fault_between(since, UINT_MAX);
}

static bool fault(const unsigned *rate)
{
    if (below(10000) >= qatomic_read(rate)) {
        return false;
    }
    QEMU_LOCK_GUARD(&fault_lock);
    fault_times[nr_faults++ % ARRAY_SIZE(fault_times)] = tick();
    return true;
}

static int fault_errno(void)
{
    return percent(50) ? -EIO : -ENOSPC;
}

static void coroutine_fn rest(void)
{
    unsigned what = below(5);

    if (!percent(qatomic_read(&rests))) {
        return;
    }
    if (what < 3) {
        take_turns();
    } else {
        qemu_co_sleep_ns(QEMU_CLOCK_REALTIME, below(300) * SCALE_US);
    }
}

static int coroutine_fn GRAPH_RDLOCK
shaky_co_preadv(BlockDriverState *bs, int64_t offset, int64_t bytes,
                QEMUIOVector *qiov, BdrvRequestFlags flags)
{
    qatomic_inc(&in_flight);
    rest();
    qemu_iovec_from_buf(qiov, 0, memory + offset, bytes);
    rest();
    qatomic_dec(&in_flight);
    return fault(&faults.read) ? -EIO : 0;
}

/* A request that fails has done a part of what it should, and does no more. */
static int coroutine_fn shaky_write(int64_t offset, int64_t bytes,
                                    QEMUIOVector *qiov)
{
    bool failed;

    qatomic_inc(&in_flight);
    rest();
    failed = fault(offset >= data_offset ? &faults.write : &faults.other);
    if (failed) {
        bytes = QEMU_ALIGN_DOWN(below(bytes), SECTOR);
    }
    if (qiov) {
        qemu_iovec_to_buf(qiov, 0, memory + offset, bytes);
    } else {
        memset(memory + offset, 0, bytes);
    }
    rest();
    qatomic_dec(&in_flight);
    return failed ? fault_errno() : 0;
}

static int coroutine_fn GRAPH_RDLOCK
shaky_co_pwritev(BlockDriverState *bs, int64_t offset, int64_t bytes,
                 QEMUIOVector *qiov, BdrvRequestFlags flags)
{
    return shaky_write(offset, bytes, qiov);
}

static int coroutine_fn GRAPH_RDLOCK
shaky_co_pwrite_zeroes(BlockDriverState *bs, int64_t offset, int64_t bytes,
                       BdrvRequestFlags flags)
{
    return percent(30) ? -ENOTSUP : shaky_write(offset, bytes, NULL);
}

static int coroutine_fn GRAPH_RDLOCK
shaky_co_pdiscard(BlockDriverState *bs, int64_t offset, int64_t bytes)
{
    int ret = 0;

    qatomic_inc(&in_flight);
    rest();
    if (fault(&faults.other)) {
        ret = -EIO;
    } else if (percent(50)) {
        memset(memory + offset, 0xdd, bytes);
    }
    rest();
    qatomic_dec(&in_flight);
    return ret;
}

static int coroutine_fn GRAPH_RDLOCK
shaky_co_flush_to_disk(BlockDriverState *bs)
{
    int ret;

    qatomic_inc(&in_flight);
    rest();
    ret = fault(&faults.other) ? fault_errno() : 0;
    rest();
    qatomic_dec(&in_flight);
    return ret;
}

static int coroutine_fn GRAPH_RDLOCK
shaky_co_truncate(BlockDriverState *bs, int64_t offset, bool exact,
                  PreallocMode prealloc, BdrvRequestFlags flags, Error **errp)
{
    memory = g_realloc(memory, offset);
    if (offset > size) {
        memset(memory + size, 0xee, offset - size);
    }
    size = offset;
    return 0;
}

static int64_t coroutine_fn GRAPH_RDLOCK
shaky_co_getlength(BlockDriverState *bs)
{
    return size;
}

static void shaky_refresh_limits(BlockDriverState *bs, Error **errp)
{
    bs->bl.request_alignment = SECTOR;
}

static BlockDriver bdrv_shaky = {
    .format_name            = "shaky",
    .bdrv_co_preadv         = shaky_co_preadv,
    .bdrv_co_pwritev        = shaky_co_pwritev,
    .bdrv_co_pwrite_zeroes  = shaky_co_pwrite_zeroes,
    .bdrv_co_pdiscard       = shaky_co_pdiscard,
    .bdrv_co_flush_to_disk  = shaky_co_flush_to_disk,
    .bdrv_co_truncate       = shaky_co_truncate,
    .bdrv_co_getlength      = shaky_co_getlength,
    .bdrv_refresh_limits    = shaky_refresh_limits,
};

/*
 * The filter.
 */

static int coroutine_fn GRAPH_RDLOCK
filter_co_pdiscard(BlockDriverState *bs, int64_t offset, int64_t bytes)
{
    return bdrv_co_pdiscard(bs->backing, offset, bytes);
}

static BlockDriver bdrv_filter = {
    .format_name            = "stress-filter",
    .is_filter              = true,
    .filtered_child_is_backing = true,
    .bdrv_child_perm        = bdrv_default_perms,
    .bdrv_co_preadv         = filter_co_preadv,
    .bdrv_co_pwritev        = filter_co_pwritev,
    .bdrv_co_pdiscard       = filter_co_pdiscard,
    .bdrv_co_getlength      = shaky_co_getlength,
};

BlockDriverState *file_open_filter(void)
{
    return bdrv_new_open_driver(&bdrv_filter, NULL, BDRV_O_RDWR, &error_abort);
}

/*
 * The file.
 */

BlockDriverState *file_open(void)
{
    return bdrv_new_open_driver(&bdrv_shaky, NULL, BDRV_O_RDWR | BDRV_O_UNMAP,
                                &error_abort);
}

void file_init(void)
{
    qemu_mutex_init(&fault_lock);
}

void file_new(void)
{
    size = 0;
}

void file_free(void)
{
    g_clear_pointer(&memory, g_free);
}

void file_has_device(uint64_t device_size)
{
    data_offset = size - device_size;
}

void file_set_faults(const FileFaults *new)
{
    qatomic_set(&faults.write, new->write);
    qatomic_set(&faults.other, new->other);
    qatomic_set(&faults.read, new->read);
}

void file_set_rests(unsigned rate)
{
    qatomic_set(&rests, rate);
}

unsigned file_nr_in_flight(void)
{
    return qatomic_read(&in_flight);
}

unsigned file_nr_faults(void)
{
    return nr_faults;
}

/*
 * A guest that sends requests to a zoned virtio-blk disk by hand
 *
 * Every request is made as the test says it, however wrong.  All sectors have
 * 512 bytes.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef QTEST_VIRTIO_BLK_ZONED_GUEST_H
#define QTEST_VIRTIO_BLK_ZONED_GUEST_H

#include "libqtest.h"
#include "libqos/libqos.h"
#include "libqos/virtio.h"
#include "libqos/virtio-pci.h"
#include "standard-headers/linux/virtio_blk.h"

/*
 * Rules of blkdebug: what follows holds from the fourth write to the file on.
 * The first three take the image over: zone table, header and head of the log.
 */
#define ZONED_FAIL_LATER                                                    \
    ",set-state.0.event=pwritev,set-state.0.state=1,set-state.0.new_state=2" \
    ",set-state.1.event=pwritev,set-state.1.state=2,set-state.1.new_state=3" \
    ",set-state.2.event=pwritev,set-state.2.state=3,set-state.2.new_state=4" \
    ",inject-error.0.event=pwritev,inject-error.0.state=4"                  \
    ",inject-error.0.once=on"

/*
 * Where a new image that needs less than 1 MiB for this has its data, and the
 * first record of the log in front of it, in sectors (docs/interop/zoned.rst)
 */
#define ZONED_DATA_SECTOR 2048
#define ZONED_RECORD_SECTOR (ZONED_DATA_SECTOR - 127 * 8)

/*
 * The usual image.  Zones 0 and 1 are conventional, and the last is smaller.
 * Numbers are sectors.
 */
#define IMAGE_OPTIONS "zone_size=64k,zone_capacity=48k,zone_nr_conv=2," \
                      "max_open_zones=2,max_active_zones=3,"            \
                      "max_append_sectors=16"
#define IMAGE_SIZE "544k"
#define ZONE 128
#define ZONE_CAP 96
#define NR_ZONES 9
#define CAPACITY (8 * ZONE + ZONE / 2)
#define SEQ (2 * ZONE)                  /* the first sequential zone */
#define MAX_APPEND 16

#define STOP "werror=stop,rerror=stop"
#define BLOCK_4K ",logical_block_size=4096,physical_block_size=4096"

#define assert_ok(x) g_assert_cmpuint(x, ==, VIRTIO_BLK_S_OK)
#define assert_ioerr(x) g_assert_cmpuint(x, ==, VIRTIO_BLK_S_IOERR)
#define assert_unsupp(x) g_assert_cmpuint(x, ==, VIRTIO_BLK_S_UNSUPP)
#define assert_invalid(x) \
    g_assert_cmpuint(x, ==, VIRTIO_BLK_S_ZONE_INVALID_CMD)
#define assert_unaligned(x) \
    g_assert_cmpuint(x, ==, VIRTIO_BLK_S_ZONE_UNALIGNED_WP)

/* The status of a request that is not done */
#define ZONED_STATUS_NONE 0xff

/* The operations on one zone */
#define NR_ZONE_OPS 4
extern const uint32_t zoned_ops[NR_ZONE_OPS];

/* For brevity, in arrays of requests */
#define WRITE(at, n) \
    { .type = VIRTIO_BLK_T_OUT, .sector = at, .out_len = (n) * 512 }
#define READ(at, n) \
    { .type = VIRTIO_BLK_T_IN, .sector = at, .in_len = (n) * 512 }
#define APPEND(at, n) \
    { .type = VIRTIO_BLK_T_ZONE_APPEND, .sector = at, .out_len = (n) * 512, \
      .in_len = sizeof(uint64_t) }
#define REPORT(at, len) \
    { .type = VIRTIO_BLK_T_ZONE_REPORT, .sector = at, .in_len = len }

typedef struct ZonedGuest {
    QOSState *qs;
    QTestState *qts;
    QVirtioPCIDevice *pci;
    QVirtioDevice *dev;
    QVirtQueue *vq;
    unsigned in_flight;         /* requests that were not waited for */
} ZonedGuest;

/* Fields that are 0 or NULL have the usual meaning. */
typedef struct ZonedGuestOptions {
    const char *image;
    const char *rules;          /* of the blkdebug node below the zoned one */
    const char *node;           /* more options of the zoned node */
    const char *device;         /* more options of the device */
    const char *args;           /* more arguments of QEMU */
    uint64_t refuse;            /* features that the driver does not accept */
    bool no_image;              /* @args defines the node or drive "disk" */
    bool incoming;              /* the guest comes from elsewhere */
} ZonedGuestOptions;

/* What the device sees of a request; @out and @in are without its headers. */
typedef struct ZonedRequest {
    uint32_t type;
    uint64_t sector;
    const void *out;            /* NULL: zeroes */
    size_t out_len;
    size_t in_len;
    unsigned in_segments;       /* @in_len is cut into; 0: 1 */
    unsigned repeat;            /* times data is listed; 0: 1 */
    bool shared;                /* headers share their segments with data */

    /* Where it is in the guest's memory */
    uint64_t addr;
    uint64_t in_addr;
    uint64_t status_addr;
} ZonedRequest;

/* Sets up what runs the tests.  Returns false if there can be none. */
bool zoned_guest_init(int *argc, char ***argv);

/*
 * Adds a test of the device, without an iothread and, below "iothread/", with
 * one; the second only the latter.
 */
void zoned_guest_add_test(const char *path, void (*test)(void));
void zoned_guest_add_iothread_test(const char *path, void (*test)(void));

/* Does the test that runs want the device to have an iothread, "io"? */
bool zoned_guest_has_iothread(void);

/* Creates an image; options as qemu-img create -o has them.  Removed at exit */
char *zoned_image_new(const char *options, const char *size);

/* Up to which sector the image has data in the zone that has @sector */
uint64_t zoned_image_end(const char *image, uint64_t sector);

/* The arguments of QEMU for the nodes, "file" and "disk", and the iothread */
char *zoned_guest_node_args(const ZonedGuestOptions *opts);

ZonedGuest *zoned_guest_start(const ZonedGuestOptions *opts);

/* Sets up the device, also after a reset of the machine. */
void zoned_guest_setup(ZonedGuest *g, uint64_t refuse);

/* The usual image, with more options of the device or NULL */
ZonedGuest *zoned_guest_start_usual(const char *device);

/* Asserts that the VM runs, and the device does not want to be reset. */
void zoned_guest_assert_works(ZonedGuest *g);

/* Waits until an error of the host has stopped the VM; lets it go on. */
void zoned_guest_await_stop(ZonedGuest *g);
void zoned_guest_cont(ZonedGuest *g);

/* QEMU gets 1 GiB of memory more than it has, and no more. */
void zoned_guest_limit_memory(ZonedGuest *g);

/* Waits until a migration to @g has ended. */
void zoned_guest_wait_incoming(ZonedGuest *g);

/* Ends the VM; the first asserts that it works. */
void zoned_guest_stop(ZonedGuest *g);
void zoned_guest_end(ZonedGuest *g);

/* Makes a descriptor of a queue available, without telling the device. */
void zoned_guest_queue_head(ZonedGuest *g, QVirtQueue *vq, uint32_t head);

/* Puts a request into the queue; the device may look only when it is kicked. */
void zoned_guest_queue(ZonedGuest *g, ZonedRequest *req);
void zoned_guest_kick(ZonedGuest *g);

/* Waits for a request.  What it has read can be read until it is freed. */
uint8_t zoned_guest_wait(ZonedGuest *g, ZonedRequest *req);
bool zoned_guest_is_done(ZonedGuest *g, ZonedRequest *req);
void zoned_guest_free(ZonedGuest *g, ZonedRequest *req);

/* Queues all of @n requests, then kicks, waits for all and frees them. */
void zoned_guest_do_at_once(ZonedGuest *g, ZonedRequest *req, unsigned n,
                            uint8_t *status);

/* Does all that for one; what is read goes to @in. */
uint8_t zoned_guest_do(ZonedGuest *g, ZonedRequest *req, void *in);

/* The usual requests, which all return a status */
uint8_t zoned_guest_write(ZonedGuest *g, uint64_t sector, size_t sectors);
uint8_t zoned_guest_read(ZonedGuest *g, uint64_t sector, size_t sectors);
uint8_t zoned_guest_append(ZonedGuest *g, uint64_t sector, size_t sectors,
                           uint64_t *where);
uint8_t zoned_guest_mgmt(ZonedGuest *g, uint32_t type, uint64_t sector);

/* The zone at a sector, which must exist */
struct virtio_blk_zone_descriptor zoned_guest_zone(ZonedGuest *g,
                                                   uint64_t sector);

void zoned_guest_assert_zone(ZonedGuest *g, uint64_t sector, uint8_t state,
                             uint64_t wp);

/* Zone 2 of the usual image is untouched, and takes a write and an append. */
void zoned_guest_assert_usable(ZonedGuest *g);

/* A number of query-blockstats */
uint64_t zoned_guest_stat(ZonedGuest *g, const char *name);

/* It becomes @value: a guest may know of a request before it is counted. */
void zoned_guest_assert_stat(ZonedGuest *g, const char *name, uint64_t value);

/* How often something was refused for this reason, see BlockZoneRefusals. */
uint64_t zoned_guest_refused(ZonedGuest *g, const char *reason);

/* A number of the device's configuration: 32 bits at a byte of it */
uint32_t zoned_guest_config(ZonedGuest *g, size_t offset);

#endif

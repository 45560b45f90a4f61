/*
 * A guest that sends commands to a zoned NVMe namespace by hand
 *
 * Every command is sent as the test says it, however wrong.  Blocks have 512
 * bytes.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef QTEST_NVME_ZNS_GUEST_H
#define QTEST_NVME_ZNS_GUEST_H

#include "libqtest.h"
#include "libqos/libqos.h"
#include "libqos/pci.h"
#include "block/nvme.h"

/* The usual namespace.  Numbers are blocks. */
#define ZNS_ZONE 128
#define ZNS_CAP 96
#define ZNS_NR_ZONES 8
#define ZNS_BLOCKS (ZNS_NR_ZONES * ZNS_ZONE)
#define ZNS_MAX_OPEN 2
#define ZNS_MAX_ACTIVE 3

/* The start of a zone, in blocks */
#define Z(i) ((i) * ZNS_ZONE)

/* The guest's buffer, as large as MDTS allows a transfer to be */
#define ZNS_BUFFER (512 * 1024)

/* Force Unit Access, in dword 12 of each command that writes */
#define ZNS_FUA ((uint32_t)NVME_RW_FUA << 16)

/* The status of a command, without DNR and phase */
#define assert_status(x, status) g_assert_cmphex((x) & 0x7ff, ==, status)
#define assert_success(x) assert_status(x, NVME_SUCCESS)

/* The condition and write pointer of a zone */
#define assert_zone(g, zone, condition, pointer) \
    do { \
        NvmeZoneDescr zone_ = zns_zone(g, (zone) * ZNS_ZONE); \
        g_assert_cmphex(zone_.zs >> 4, ==, NVME_ZONE_STATE_##condition); \
        g_assert_cmphex(le64_to_cpu(zone_.wp), ==, pointer); \
    } while (0)
#define NO_WP UINT64_MAX

typedef struct ZnsQueue {
    uint16_t id;
    uint16_t size;
    uint64_t sq;
    uint64_t cq;
    uint16_t tail;
    uint16_t head;
    bool phase;
} ZnsQueue;

typedef struct ZnsGuest {
    QOSState *qs;
    QTestState *qts;
    QPCIDevice *dev;
    QPCIBar bar;
    ZnsQueue admin;
    ZnsQueue io;
    ZnsQueue long_io;
    uint16_t cid;               /* of the last command */
    uint64_t buffer;            /* ZNS_BUFFER bytes */
    uint64_t prp_list;          /* its pages but the first */
    uint64_t list;              /* for Copy and Dataset Management: a page */
    NvmeCqe cqe;                /* of the last command that has completed */
} ZnsGuest;

/* Starts QEMU; the arguments define a controller in slot 4. */
ZnsGuest *zns_start(const char *args);
void zns_stop(ZnsGuest *g);

/* The controller after a reset of the machine; or it was unplugged. */
void zns_reopen(ZnsGuest *g);
void zns_stop_unplugged(ZnsGuest *g);

/* Another controller of the machine of @g, to be closed before that stops */
ZnsGuest *zns_open(ZnsGuest *g, int slot);
void zns_close(ZnsGuest *g);

/*
 * What follows may take so many seconds; 0: as long as it likes.  A QEMU that
 * hangs answers nobody, so the test is ended by a signal.
 */
void zns_set_timeout(unsigned seconds);

/* An image with the zones of the usual namespace; removed at exit */
#define ZNS_IMAGE_SIZE "512k"
char *zns_image_new(void);

/* The same; zone 1 is READ ONLY, with data, and zone 2 is OFFLINE. */
char *zns_worn_image_new(void);

/* Sets a zone of an image to a condition, with data up to a block. */
void zns_image_set_zone(const char *image, int zone, uint64_t condition,
                        uint64_t end);

/*
 * A machine with an image.  What else is not NULL are more options: of the
 * file's blkdebug node, the zoned node, the namespace and the controller.
 */
typedef struct ZnsMachine {
    const char *image;
    const char *rules;
    const char *node;
    const char *namespace;
    const char *controller;
} ZnsMachine;

char *zns_machine_args(const ZnsMachine *machine);
ZnsGuest *zns_start_image(const ZnsMachine *machine);

/* The usual namespace on a new image: a ZnsStart */
ZnsGuest *zns_start_usual(const char *namespace, const char *controller);

/*
 * Parts of the arguments for two controllers that share a namespace: the image,
 * which is to be put in, the controllers in slots 4 and 5, the namespace
 */
#define ZNS_DISK "-blockdev driver=zoned,node-name=disk,file.driver=file," \
                 "file.filename=%s "
#define ZNS_ONE "-device nvme-subsys,id=both " \
                "-device nvme,id=one,serial=zoned,subsys=both,addr=4 "
#define ZNS_TWO "-device nvme,id=two,serial=zoned,subsys=both,addr=5"
#define ZNS_NS "-device nvme-ns,id=ns,bus=one,drive=disk"

/* Enables the controller and makes the queues; after a reset, too. */
void zns_enable(ZnsGuest *g);

/* Resets the controller, or shuts it down first. */
void zns_reset(ZnsGuest *g);
void zns_shutdown(ZnsGuest *g);

/*
 * Commands that have the guest's buffer as @len bytes of data; Copy has its one
 * range in the list.
 */
NvmeCmd zns_command(ZnsGuest *g, uint8_t opcode, size_t len);
NvmeCmd zns_rw(ZnsGuest *g, uint8_t opcode, uint64_t slba, uint32_t blocks);
NvmeCmd zns_copy(ZnsGuest *g, uint64_t from, uint32_t blocks, uint64_t to);
NvmeCmd zns_send(ZnsGuest *g, uint8_t action, uint64_t slba);
NvmeCmd zns_receive(ZnsGuest *g, uint64_t slba, uint8_t filter, bool partial,
                    size_t len);

/* Sends a command; the answer is its id. */
uint16_t zns_submit(ZnsGuest *g, ZnsQueue *q, const NvmeCmd *cmd);

/* The same in two steps, for many at once, and a queue that is long enough */
uint16_t zns_queue(ZnsGuest *g, ZnsQueue *q, const NvmeCmd *cmd);
void zns_kick(ZnsGuest *g, ZnsQueue *q);
ZnsQueue *zns_long_queue(ZnsGuest *g, uint16_t size);

/* Waits for the next completion and leaves it in g->cqe; gives the status. */
uint16_t zns_wait(ZnsGuest *g, ZnsQueue *q);

/* Send a command and wait; they give the status. */
uint16_t zns_do(ZnsGuest *g, NvmeCmd cmd);
uint16_t zns_admin(ZnsGuest *g, NvmeCmd cmd);
uint16_t zns_write(ZnsGuest *g, uint64_t slba, uint32_t blocks);
uint16_t zns_read(ZnsGuest *g, uint64_t slba, uint32_t blocks);
uint16_t zns_append(ZnsGuest *g, uint64_t slba, uint32_t blocks,
                    uint64_t *where);
uint16_t zns_manage(ZnsGuest *g, uint8_t action, uint64_t slba);
uint16_t zns_manage_all(ZnsGuest *g, uint8_t action);

/* Identify, into @data of 4096 bytes */
void zns_identify(ZnsGuest *g, uint8_t cns, uint8_t csi, void *data);

/* The zone at @slba */
NvmeZoneDescr zns_zone(ZnsGuest *g, uint64_t slba);

/* Asserts that the controller is well and the last zone can be used. */
void zns_assert_usable(ZnsGuest *g);

/* Asserts that an append can have 32 blocks, to the empty zone 1. */
void zns_assert_append_limit(ZnsGuest *g);

#endif /* QTEST_NVME_ZNS_GUEST_H */

/*
 * A guest that sends commands to a SCSI disk, zoned or not, by hand
 *
 * Every command is sent as the test says it, however wrong, by virtio-scsi.  A
 * sector has 512 bytes; a block is one of the disk.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef QTEST_SCSI_ZONED_GUEST_H
#define QTEST_SCSI_ZONED_GUEST_H

#include "scsi/constants.h"
#include "virtio-blk-zoned-guest.h"

/*
 * The usual image, with ZONE, SEQ, NR_ZONES and CAPACITY as they are for
 * virtio-blk; but zones can be written up to their end.
 */
#define SCSI_IMAGE_OPTIONS "zone_size=64k,zone_nr_conv=2,max_open_zones=2," \
                           "max_active_zones=3"
#define SCSI_LAST (8 * ZONE)            /* the smaller zone */

/* What became of a command: sense key, ASC and ASCQ; or the HBA's response */
#define SCSI_GOOD 0
#define SCSI_SENSE(key, code) ((key) << 16 | (code))
#define SCSI_RESPONSE(x) (0xff0000 | (x))
#define SCSI_ANY_HOST_ERROR 0x1000000

#define S_INVALID_OPCODE    SCSI_SENSE(ILLEGAL_REQUEST, 0x2000)
#define S_OUT_OF_RANGE      SCSI_SENSE(ILLEGAL_REQUEST, 0x2100)
#define S_UNALIGNED_WRITE   SCSI_SENSE(ILLEGAL_REQUEST, 0x2104)
#define S_WRITE_BOUNDARY    SCSI_SENSE(ILLEGAL_REQUEST, 0x2105)
#define S_INVALID_DATA      SCSI_SENSE(ILLEGAL_REQUEST, 0x2106)
#define S_INVALID_FIELD     SCSI_SENSE(ILLEGAL_REQUEST, 0x2400)
#define S_WRITE_PROTECTED   SCSI_SENSE(DATA_PROTECT, 0x2700)
#define S_ZONE_READ_ONLY    SCSI_SENSE(DATA_PROTECT, 0x2708)
#define S_ZONE_OFFLINE      SCSI_SENSE(DATA_PROTECT, 0x2c0e)
#define S_NO_RESOURCES      SCSI_SENSE(DATA_PROTECT, 0x550e)

#define assert_scsi(x, result) g_assert_cmphex(x, ==, result)
#define assert_good(x) assert_scsi(x, SCSI_GOOD)

/* INVALID FIELD IN CDB, with the pointer to a byte, and a bit of it or -1 */
#define assert_field(g, x, byte, bit_) \
    do { \
        assert_scsi(x, S_INVALID_FIELD); \
        g_assert_true((g)->last.has_field); \
        g_assert_cmpint((g)->last.field, ==, byte); \
        g_assert_cmpint((g)->last.bit, ==, bit_); \
    } while (0)

/* The conditions of zones */
enum {
    NOT_WP = 0, EMPTY, IOPEN, EOPEN, CLOSED, READ_ONLY = 0xd, FULL, OFFLINE,
};

#define NO_WP UINT64_MAX

/* The service actions of ZBC OUT */
enum { CLOSE = 1, FINISH, OPEN, RESET };

/* How a command has ended */
typedef struct ScsiResult {
    uint32_t status;            /* as above */
    uint32_t residual;
    bool has_field;
    uint16_t field;             /* the byte of the CDB */
    int bit;                    /* and its bit, or -1 */
} ScsiResult;

/* A command, and what the guest has for its data */
typedef struct ScsiRequest {
    uint8_t cdb[32];
    const void *out;            /* NULL: zeroes */
    size_t out_len;
    size_t in_len;
    unsigned segments;          /* that the data is cut into; 0: 1 */
    unsigned repeat;            /* times that its memory is listed; 0: 1 */

    /* Where it is in the guest's memory, and in the queue */
    uint64_t addr;
    uint64_t data_addr;
    uint64_t resp_addr;
    uint32_t head;
} ScsiRequest;

#define SCSI_MAX_QUEUE 1024

typedef struct ScsiGuest {
    ZonedGuest vm;              /* its queue is the one for requests */
    QTestState *qts;
    QVirtQueue *control;
    QVirtQueue *events;
    uint32_t block_size;
    ScsiResult last;            /* of the request that was waited for */
    bool done[SCSI_MAX_QUEUE];  /* requests, by their first descriptors */
} ScsiGuest;

/* Fields that are 0 or NULL have the usual meaning. */
typedef struct ScsiGuestOptions {
    ZonedGuestOptions vm;       /* the device is the disk */
    const char *hba;            /* more options of the HBA */
    uint32_t block_size;        /* 0: 512 */
} ScsiGuestOptions;

ScsiGuest *scsi_guest_start(const ScsiGuestOptions *opts);

/* The usual image, with more options of the disk or NULL */
ScsiGuest *scsi_guest_start_usual(const char *device);

/*
 * A zone for each condition, behind two conventional ones and with two that are
 * empty behind it; those that hold data have Z_DATA blocks.
 */
enum { Z_CONV = 1, Z_EMPTY, Z_IOPEN, Z_EOPEN, Z_EOPEN_DATA, Z_CLOSED, Z_FULL,
       Z_READ_ONLY, Z_OFFLINE, Z_END, Z_NR = Z_END + 2 };
#define Z_DATA 8
extern const uint8_t scsi_conditions[Z_NR];
ScsiGuest *scsi_guest_start_conditions(void);

/* An image of these options on a disk with blocks of that size */
ScsiGuest *scsi_guest_start_image(const char *options, const char *size,
                                  const char *device);

/* Sets up the HBA, also after a reset of the machine; takes unit attentions */
void scsi_guest_setup(ScsiGuest *g);

/* Plugs a disk in again that was unplugged. */
void scsi_guest_plug(ScsiGuest *g);

/* Ends the VM; the first asserts that it works. */
void scsi_guest_stop(ScsiGuest *g);
void scsi_guest_end(ScsiGuest *g);

/* Has a test that the device has no thread for, and one with an iothread. */
#define scsi_guest_add_test zoned_guest_add_test

/* Puts a request into the queue; the HBA may look only when it is kicked. */
void scsi_guest_queue(ScsiGuest *g, ScsiRequest *req);
void scsi_guest_kick(ScsiGuest *g);

/* Waits for a request.  What it has read can be read until it is freed. */
uint32_t scsi_guest_wait(ScsiGuest *g, ScsiRequest *req);
bool scsi_guest_is_done(ScsiGuest *g, ScsiRequest *req);
void scsi_guest_free(ScsiGuest *g, ScsiRequest *req);

/*
 * @to, to which @from was migrated, has its requests from now on, until it is
 * set up; @from ends after that.
 */
void scsi_guest_inherit(ScsiGuest *to, const ScsiGuest *from);

/* Does all that for one; what is read goes to @in. */
uint32_t scsi_guest_do(ScsiGuest *g, ScsiRequest *req, void *in);

/* Task management of the disk; gives the HBA's response. */
uint8_t scsi_guest_tmf(ScsiGuest *g, uint32_t subtype, uint64_t tag);

/* Takes all unit attentions; gives the last of them, or SCSI_GOOD. */
uint32_t scsi_guest_take_attention(ScsiGuest *g);

/* Requests: with the length of data that the command has */
ScsiRequest scsi_rw(ScsiGuest *g, uint8_t opcode, uint64_t lba,
                    uint32_t blocks);
ScsiRequest scsi_zbc_out(uint8_t action, uint64_t lba, uint16_t count,
                         uint8_t flags);
ScsiRequest scsi_report(uint64_t lba, uint8_t options, uint32_t len);
ScsiRequest scsi_inquiry(int page, uint16_t len);

/* Another use of a CDB of 10 bytes, or of 16: a length at its end */
ScsiRequest scsi_command(uint8_t opcode, size_t out_len, size_t in_len);

/* The usual commands, which all return a status */
uint32_t scsi_write(ScsiGuest *g, uint64_t lba, uint32_t blocks);
uint32_t scsi_read(ScsiGuest *g, uint64_t lba, uint32_t blocks);

/*
 * WRITE SAME (@opcode) with a block of @byte; none with NDOB in @flags, which
 * are those of byte 1 of the command
 */
#define NDOB 0x01
uint32_t scsi_same(ScsiGuest *g, uint8_t opcode, uint64_t lba, uint32_t blocks,
                   uint8_t flags, uint8_t byte);
uint32_t scsi_op(ScsiGuest *g, uint8_t action, uint64_t lba);
uint32_t scsi_op_count(ScsiGuest *g, uint8_t action, uint64_t lba,
                       uint16_t count);
uint32_t scsi_op_all(ScsiGuest *g, uint8_t action);

/* A zone as the disk describes it */
typedef struct ScsiZone {
    uint8_t type;
    uint8_t condition;
    uint64_t length;
    uint64_t start;
    uint64_t wp;
} ScsiZone;

ScsiZone scsi_parse_zone(const uint8_t *desc);
ScsiZone scsi_zone(ScsiGuest *g, uint64_t lba);
void scsi_assert_zone(ScsiGuest *g, uint64_t lba, uint8_t condition,
                      uint64_t wp);

/* Sets the condition of a zone as the host can. */
void scsi_set_zone(ScsiGuest *g, uint64_t sector, const char *condition);

/* The last zone of the usual image, after a reset, takes writes. */
void scsi_assert_usable(ScsiGuest *g);

#endif /* QTEST_SCSI_ZONED_GUEST_H */

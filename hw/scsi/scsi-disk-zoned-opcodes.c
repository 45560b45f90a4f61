/*
 * SCSI disks with zones: REPORT SUPPORTED OPERATION CODES
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "scsi/constants.h"

#include "scsi-disk-zoned.h"

/* REPORTING OPTIONS */
enum {
    REPORT_ALL = 0,
    REPORT_OPCODE = 1,          /* of an opcode without service actions */
    REPORT_SERVICE_ACTION = 2,  /* of one that has them */
    REPORT_EITHER = 3,          /* of one, which need not have them */
};

/* SUPPORT */
enum {
    NOT_SUPPORTED = 1,
    SUPPORTED = 3,
};

#define NO_SERVICE_ACTION -1
#define MAX_CDB 16

/*
 * A command, and the bits of its CDB that are looked at; the first byte is the
 * opcode.  The service action is in the low bits of the second.
 */
typedef struct SCSIZonedOpcode {
    int service_action;
    uint8_t usage[MAX_CDB];
} SCSIZonedOpcode;

/*
 * There is no UNMAP: space comes back when a zone is reset.  Every command is
 * looked up here; those that are sent most are in front.
 */
static const SCSIZonedOpcode opcodes[] = {
    { NO_SERVICE_ACTION, {
        READ_16, 0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0xff, 0xff, 0xff
    } },
    { NO_SERVICE_ACTION, {
        WRITE_16, 0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0xff, 0xff, 0xff
    } },
    { NO_SERVICE_ACTION, { TEST_UNIT_READY } },
    { NO_SERVICE_ACTION, { REQUEST_SENSE, 0x01, 0, 0, 0xff } },
    { NO_SERVICE_ACTION, { FORMAT_UNIT, 0x30 } },
    { NO_SERVICE_ACTION, { READ_6, 0x1f, 0xff, 0xff, 0xff } },
    { NO_SERVICE_ACTION, { WRITE_6, 0x1f, 0xff, 0xff, 0xff } },
    { NO_SERVICE_ACTION, { INQUIRY, 0x01, 0xff, 0xff, 0xff } },
    { NO_SERVICE_ACTION, { MODE_SELECT, 0x11, 0, 0, 0xff } },
    { NO_SERVICE_ACTION, { RESERVE, 0x01 } },
    { NO_SERVICE_ACTION, { RELEASE, 0x01 } },
    { NO_SERVICE_ACTION, { MODE_SENSE, 0x08, 0xff, 0xff, 0xff } },
    { NO_SERVICE_ACTION, { START_STOP, 0x01, 0, 0, 0xf3 } },
    { NO_SERVICE_ACTION, { ALLOW_MEDIUM_REMOVAL, 0, 0, 0, 0x01 } },
    { NO_SERVICE_ACTION, {
        READ_CAPACITY_10, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0x01
    } },
    { NO_SERVICE_ACTION, {
        READ_10, 0x08, 0xff, 0xff, 0xff, 0xff, 0, 0xff, 0xff
    } },
    { NO_SERVICE_ACTION, {
        WRITE_10, 0x08, 0xff, 0xff, 0xff, 0xff, 0, 0xff, 0xff
    } },
    { NO_SERVICE_ACTION, { SEEK_10, 0, 0xff, 0xff, 0xff, 0xff } },
    { NO_SERVICE_ACTION, {
        WRITE_VERIFY_10, 0, 0xff, 0xff, 0xff, 0xff, 0, 0xff, 0xff
    } },
    { NO_SERVICE_ACTION, {
        VERIFY_10, 0, 0xff, 0xff, 0xff, 0xff, 0, 0xff, 0xff
    } },
    { NO_SERVICE_ACTION, { SYNCHRONIZE_CACHE } },
    { NO_SERVICE_ACTION, {
        WRITE_SAME_10, 0, 0xff, 0xff, 0xff, 0xff, 0, 0xff, 0xff
    } },
    { NO_SERVICE_ACTION, { MODE_SELECT_10, 0x11, 0, 0, 0, 0, 0, 0xff, 0xff } },
    { NO_SERVICE_ACTION, { RESERVE_10, 0x03 } },
    { NO_SERVICE_ACTION, { RELEASE_10, 0x03 } },
    { NO_SERVICE_ACTION, {
        MODE_SENSE_10, 0x08, 0xff, 0, 0, 0, 0, 0xff, 0xff
    } },
    { NO_SERVICE_ACTION, {
        WRITE_VERIFY_16, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0xff, 0xff, 0xff, 0xff
    } },
    { NO_SERVICE_ACTION, {
        VERIFY_16, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0xff, 0xff, 0xff
    } },
    { NO_SERVICE_ACTION, { SYNCHRONIZE_CACHE_16 } },
    { NO_SERVICE_ACTION, {
        WRITE_SAME_16, 0x01, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0xff, 0xff, 0xff, 0xff
    } },
    { ZO_CLOSE_ZONE, {
        ZBC_OUT, 0x1f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0,
        0xff, 0xff, 0x01
    } },
    { ZO_FINISH_ZONE, {
        ZBC_OUT, 0x1f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0,
        0xff, 0xff, 0x01
    } },
    { ZO_OPEN_ZONE, {
        ZBC_OUT, 0x1f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0,
        0xff, 0xff, 0x01
    } },
    { ZO_RESET_WRITE_POINTER, {
        ZBC_OUT, 0x1f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0,
        0xff, 0xff, 0x01
    } },
    { ZI_REPORT_ZONES, {
        ZBC_IN, 0x1f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0xff, 0xff, 0xff, 0xbf
    } },
    { SAI_READ_CAPACITY_16, {
        SERVICE_ACTION_IN_16, 0x1f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0xff, 0xff, 0xff, 0xff, 0xff, 0x01
    } },
    { NO_SERVICE_ACTION, {
        REPORT_LUNS, 0, 0xff, 0, 0, 0, 0xff, 0xff, 0xff, 0xff
    } },
    { MI_REPORT_SUPPORTED_OPERATION_CODES, {
        MAINTENANCE_IN, 0x1f, 0x87, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff
    } },
    { NO_SERVICE_ACTION, {
        READ_12, 0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff
    } },
    { NO_SERVICE_ACTION, {
        WRITE_12, 0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff
    } },
    { NO_SERVICE_ACTION, {
        WRITE_VERIFY_12, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff
    } },
    { NO_SERVICE_ACTION, {
        VERIFY_12, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff
    } },
};

bool scsi_disk_zoned_has_opcode(uint8_t opcode)
{
    for (int i = 0; i < ARRAY_SIZE(opcodes); i++) {
        if (opcodes[i].usage[0] == opcode) {
            return true;
        }
    }
    return false;
}

static bool has_service_action(const SCSIZonedOpcode *opcode)
{
    return opcode->service_action != NO_SERVICE_ACTION;
}

static int cdb_length(const SCSIZonedOpcode *opcode)
{
    uint8_t cdb[MAX_CDB] = { opcode->usage[0] };

    return scsi_cdb_length(cdb);
}

/* A command timeouts descriptor, which says nothing.  Returns its length. */
static int put_timeouts(uint8_t *buf)
{
    stw_be_p(buf, 10);
    return 12;
}

static int report_all(uint8_t *outbuf, bool timeouts)
{
    int len = 4;

    for (int i = 0; i < ARRAY_SIZE(opcodes); i++) {
        uint8_t *p = outbuf + len;

        p[0] = opcodes[i].usage[0];
        if (has_service_action(&opcodes[i])) {
            stw_be_p(&p[2], opcodes[i].service_action);
            p[5] |= 0x01;       /* SERVACTV */
        }
        stw_be_p(&p[6], cdb_length(&opcodes[i]));
        len += 8;
        if (timeouts) {
            p[5] |= 0x02;       /* CTDP */
            len += put_timeouts(outbuf + len);
        }
    }
    stl_be_p(outbuf, len - 4);
    return len;
}

static int report_one(const SCSIZonedOpcode *opcode, uint8_t *outbuf,
                      bool timeouts)
{
    int len = cdb_length(opcode);

    outbuf[1] = SUPPORTED | (timeouts ? 0x80 : 0);
    stw_be_p(&outbuf[2], len);
    memcpy(&outbuf[4], opcode->usage, len);
    if (has_service_action(opcode)) {
        outbuf[5] = (outbuf[5] & ~0x1f) | opcode->service_action;
    }
    len += 4;
    return timeouts ? len + put_timeouts(outbuf + len) : len;
}

/* Returns NULL if there is none; *@known says whether there is the opcode. */
static const SCSIZonedOpcode *find(uint8_t code, uint16_t service_action,
                                   const SCSIZonedOpcode **known)
{
    *known = NULL;
    for (int i = 0; i < ARRAY_SIZE(opcodes); i++) {
        if (opcodes[i].usage[0] != code) {
            continue;
        }
        *known = &opcodes[i];
        if (!has_service_action(&opcodes[i]) ||
            opcodes[i].service_action == service_action) {
            return &opcodes[i];
        }
    }
    return NULL;
}

int scsi_disk_zoned_opcodes(SCSIDiskReq *r, uint8_t *outbuf)
{
    const uint8_t *cdb = r->req.cmd.buf;
    bool timeouts = cdb[2] & 0x80;
    uint8_t options = cdb[2] & 0x07;
    uint16_t service_action = lduw_be_p(&cdb[4]);
    const SCSIZonedOpcode *known, *opcode;

    if ((cdb[1] & 0x1f) != MI_REPORT_SUPPORTED_OPERATION_CODES) {
        scsi_disk_zoned_invalid_field(r, 1, 4);
        return -1;
    }
    if (options == REPORT_ALL) {
        return report_all(outbuf, timeouts);
    }
    opcode = find(cdb[3], service_action, &known);
    if (options > REPORT_EITHER ||
        (options == REPORT_OPCODE && known && has_service_action(known)) ||
        (options == REPORT_SERVICE_ACTION && known &&
         !has_service_action(known))) {
        scsi_disk_zoned_invalid_field(r, 2, 2);
        return -1;
    }
    if (!opcode || (options == REPORT_EITHER && service_action &&
                    !has_service_action(opcode))) {
        outbuf[1] = NOT_SUPPORTED;
        return 4;
    }
    return report_one(opcode, outbuf, timeouts);
}

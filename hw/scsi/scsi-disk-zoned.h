/*
 * SCSI disks with zones, as ZBC-2 (Zoned Block Commands) has them
 *
 * A zoned block node has write pointers and zone conditions of its own.  The
 * disk on it keeps nothing about them: it translates commands to requests to
 * the node, and what the node says of them to sense data.
 *
 * The node has errnos for what a guest does wrong, see
 * docs/devel/zoned-storage.rst.
 *
 * All functions but scsi_disk_zoned_realize() and -_unrealize() are for disks
 * with zones, those for requests run in the AioContext of the request.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef HW_SCSI_DISK_ZONED_H
#define HW_SCSI_DISK_ZONED_H

#include "hw/block/zones.h"
#include "scsi-disk.h"

/* scsi-disk-zoned.c */

/*
 * Takes geometry and limits from the drive, which is a host-managed zoned disk;
 * refuses what cannot be.
 */
bool scsi_disk_zoned_realize(SCSIDiskState *s, Error **errp);
void scsi_disk_zoned_unrealize(SCSIDiskState *s);

/* How to handle a command; NULL: like any other disk. */
const SCSIReqOps *scsi_disk_zoned_reqops(const uint8_t *cdb);

/*
 * Is this a read, or a write, of blocks of the disk that its zones allow?  If
 * not, the request is completed.  @r->sector and @r->sector_count are set.
 */
bool scsi_disk_zoned_check_read(SCSIDiskReq *r);
bool scsi_disk_zoned_check_write(SCSIDiskReq *r);

/* The same for WRITE SAME, of blocks that are in the disk */
bool scsi_disk_zoned_check_write_same(SCSIDiskReq *r, uint32_t nr_blocks);

/*
 * A request failed with @ret, a negative errno.  Returns false if the host is
 * to blame, or else completes the request; not at once if it has to ask the
 * drive for the condition of the zone at @r->sector.
 */
bool scsi_disk_zoned_refused(SCSIDiskReq *r, int ret);

/* Is there a medium?  If not, the request is completed. */
bool scsi_disk_zoned_check_available(SCSIDiskReq *r);

/* Completes the request with INVALID FIELD IN CDB; @bit: of that byte, or -1 */
void scsi_disk_zoned_invalid_field(SCSIDiskReq *r, unsigned int byte, int bit);

/*
 * Completes the request with the sense data for @ret, a zone errno that is not
 * -EPERM; or, with -EPERM, for the condition that does not allow it.
 */
void scsi_disk_zoned_complete_refused(SCSIDiskReq *r, int ret,
                                      BlockZoneState state);

/*
 * @ret if it is for a mistake of the guest, which an errno is only if the node
 * promises that; 0 if there is no error, or if the host is to blame.
 */
int scsi_disk_zoned_errno(const SCSIDiskState *s, int ret);

/* Where zones differ from what a disk without says of itself */
void scsi_disk_zoned_limits(const SCSIDiskState *s, uint8_t *block_limits);
int scsi_disk_zoned_vpd(const SCSIDiskState *s, uint8_t *outbuf);

/* scsi-disk-zoned-opcodes.c */

/* Is there a command with this opcode?  The disk answers no others. */
bool scsi_disk_zoned_has_opcode(uint8_t opcode);

/*
 * REPORT SUPPORTED OPERATION CODES into @outbuf, of at least 4096 bytes.
 * Returns the length, or -1 if the request is completed with an error.
 */
int scsi_disk_zoned_opcodes(SCSIDiskReq *r, uint8_t *outbuf);

/* scsi-disk-zoned-report.c: REPORT ZONES */
extern const SCSIReqOps scsi_disk_zoned_report_reqops;

/* scsi-disk-zoned-mgmt.c: ZBC OUT, FORMAT UNIT */
extern const SCSIReqOps scsi_disk_zoned_mgmt_reqops;
extern const SCSIReqOps scsi_disk_zoned_format_reqops;

/* scsi-disk-zoned-verify.c: VERIFY */
extern const SCSIReqOps scsi_disk_zoned_verify_reqops;

#endif /* HW_SCSI_DISK_ZONED_H */

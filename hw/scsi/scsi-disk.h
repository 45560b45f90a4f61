/*
 * SCSI disks: what the files that emulate them share
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef HW_SCSI_DISK_H
#define HW_SCSI_DISK_H

#include "block/accounting.h"
#include "hw/scsi/scsi.h"
#include "qemu/iov.h"
#include "qemu/units.h"
#include "qom/object.h"
#include "system/dma.h"

#define SCSI_WRITE_SAME_MAX         (512 * KiB)

#define TYPE_SCSI_DISK_BASE         "scsi-disk-base"

OBJECT_DECLARE_TYPE(SCSIDiskState, SCSIDiskClass, SCSI_DISK_BASE)

struct SCSIDiskClass {
    SCSIDeviceClass parent_class;
    /*
     * Callbacks receive ret == 0 for success. Errors are represented either as
     * negative errno values, or as positive SAM status codes. For host_status
     * errors, the function passes ret == -ENODEV and sets the host_status field
     * of the SCSIRequest.
     */
    DMAIOFunc       *dma_readv;
    DMAIOFunc       *dma_writev;
    bool            (*need_fua_emulation)(SCSICommand *cmd);
    void            (*update_sense)(SCSIRequest *r);
};

typedef struct SCSIDiskReq {
    SCSIRequest req;
    /* Both sector and sector_count are in terms of BDRV_SECTOR_SIZE bytes.  */
    uint64_t sector;
    uint32_t sector_count;
    uint32_t buflen;
    bool started;
    bool need_fua_emulation;
    struct iovec iov;
    QEMUIOVector qiov;
    BlockAcctCookie acct;
} SCSIDiskReq;

#define SCSI_DISK_F_REMOVABLE             0
#define SCSI_DISK_F_DPOFUA                1
#define SCSI_DISK_F_NO_REMOVABLE_DEVOPS   2

struct SCSIDiskState {
    SCSIDevice qdev;
    uint32_t features;
    bool media_changed;
    bool media_event;
    bool eject_request;
    uint16_t port_index;
    uint64_t max_unmap_size;
    uint64_t max_io_size;
    uint32_t quirks;
    char *version;
    char *serial;
    char *vendor;
    char *product;
    char *device_id;
    char *loadparm;     /* only for s390x */
    bool tray_open;
    bool tray_locked;
    /*
     * 0x0000        - rotation rate not reported
     * 0x0001        - non-rotating medium (SSD)
     * 0x0002-0x0400 - reserved
     * 0x0401-0xffe  - rotations per minute
     * 0xffff        - reserved
     */
    uint16_t rotation_rate;
    bool migrate_emulated_scsi_request;
    struct BlockConfZones *zones; /* NULL: there are none, or not yet */
};

/* Helper function for command completion with sense.  */
void scsi_check_condition(SCSIDiskReq *r, SCSISense sense);

/*
 * To be called with what a request to the drive has returned, before anything
 * else is done.  True means that the request was completed or cancelled, or
 * waits for the VM to go on; the caller gives up its reference.
 */
bool scsi_disk_req_check_error(SCSIDiskReq *r, int ret, bool acct_failed);

#endif /* HW_SCSI_DISK_H */

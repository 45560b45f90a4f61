/*
 * QEMU NVM Express: a namespace whose zones are those of its drive
 *
 * A zoned block node has write pointers and zone conditions of its own.  The
 * namespace on it keeps nothing about them: it translates commands to requests
 * to the node, and what the node says of them to statuses.
 *
 * The node has errnos for what a guest does wrong, see
 * docs/devel/zoned-storage.rst.
 *
 * All functions but those for realize and leave are for commands of a namespace
 * with ns->zoned_node.present.  Those that return a status return
 * NVME_NO_COMPLETE once the request is under way.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef HW_NVME_ZONED_NODE_H
#define HW_NVME_ZONED_NODE_H

#include "qemu/units.h"
#include "nvme.h"

/* The unit of ZASL, as CAP.MPSMIN has it */
#define NVME_ZASL_UNIT (4 * KiB)

/* What a Zone Management Receive command asks for. */
typedef struct NvmeZoneReportArgs {
    uint64_t slba;
    uint32_t bytes;             /* the guest's buffer */
    uint8_t filter;             /* NVME_ZONE_REPORT_* */
    bool extended;
    bool partial;
} NvmeZoneReportArgs;

typedef struct NvmeZoneReports NvmeZoneReports;

/* The first block of the zone that holds block @slba */
static inline uint64_t nvme_zone_start(const NvmeNamespace *ns, uint64_t slba)
{
    return slba - slba % ns->zone_size;
}

/* zoned-node.c */

/* Does this drive have zones that make a namespace zoned? */
bool nvme_zoned_node_detect(BlockBackend *blk);

/*
 * Refuses a drive that @n, whose namespace it is to be, cannot have, or another
 * controller of the subsystem: a guest can attach even a private namespace to
 * each of them.
 */
bool nvme_zoned_node_check_ctrl(NvmeCtrl *n, NvmeNamespace *ns, Error **errp);

/* Refuses to let @n join a subsystem with a namespace that it cannot have. */
bool nvme_zoned_node_check_join(NvmeCtrl *n, Error **errp);

/* Takes geometry and limits from the drive; refuses what cannot be. */
bool nvme_zoned_node_setup(NvmeNamespace *ns, Error **errp);

/* The Zone Append Size Limit that all namespaces of the subsystem can hold. */
uint8_t nvme_zoned_node_zasl(NvmeCtrl *n);

/*
 * The guest stops using the controller, which is shut down or reset: closes
 * zones of the subsystem's namespaces that it uses through no other.
 *
 * Nothing waits for that: a reset may be part of a drained section, in which
 * the drive serves no request.  Commands that come later find the zones closed.
 */
void nvme_zoned_node_leave(NvmeCtrl *n);

/*
 * The namespace goes: closes its zones, unless the drive is drained, and frees
 * what was set up.
 */
void nvme_zoned_node_unrealize(NvmeNamespace *ns);

/* Has the guest enabled the controller, and not shut it down? */
bool nvme_zoned_node_in_use(const NvmeCtrl *n);

/* Can the namespace be given this format?  It has but one. */
uint16_t nvme_zoned_node_check_format(NvmeNamespace *ns, uint8_t lbaf,
                                      uint8_t pi);

/*
 * Format NVM: resets all zones, which takes their extensions, too.  -EPERM says
 * that there is but one and it cannot be reset; of several, such stay as they
 * are.
 */
BlockAIOCB *nvme_zoned_node_format(NvmeNamespace *ns, BlockCompletionFunc *cb,
                                   void *opaque);

/* zoned-node-io.c */

/* A read of blocks that are in the namespace. */
uint16_t nvme_zoned_node_check_read(NvmeNamespace *ns, uint64_t slba,
                                    uint32_t nlb);

/*
 * What @ret of the drive says: an errno for a mistake of the guest is one only
 * if the node promises that (BlockZoneInfo.has_zone_errnos); else -EIO.
 */
int nvme_zoned_node_errno(const NvmeNamespace *ns, int ret);

/* The status of a read that failed with @ret; 0 if the host is to blame. */
uint16_t nvme_zoned_node_read_status(const NvmeNamespace *ns, int ret);

/* The status that an errno stands for; @other if none in particular. */
uint16_t nvme_zoned_node_status(int ret, uint16_t other);

/* May the guest change anything? */
uint16_t nvme_zoned_node_check_writable(NvmeNamespace *ns);

/*
 * How to write what the command says: with FUA, which has the same place in all
 * commands that write, Copy too.
 */
BdrvRequestFlags nvme_zoned_node_write_flags(const NvmeRequest *req);

/* Write, Write Zeroes or Zone Append of blocks that are in the namespace. */
uint16_t nvme_zoned_node_write(NvmeCtrl *n, NvmeRequest *req);

/*
 * A write at @slba failed with @ret: sets the status of @req, then calls
 * @done(@opaque, @ret).  *@aiocb is what to cancel meanwhile.
 */
void nvme_zoned_node_write_failed(NvmeRequest *req, uint64_t slba, int ret,
                                  BlockAIOCB **aiocb,
                                  BlockCompletionFunc *done, void *opaque);

/* zoned-node-mgmt.c */

/* Zone Management Send, on the zone at @slba or on @all. */
uint16_t nvme_zoned_node_mgmt(NvmeCtrl *n, NvmeRequest *req, uint64_t slba,
                              bool all);

/* zoned-node-report.c */

NvmeZoneReports *nvme_zoned_node_reports_new(void);

/* Zone Management Receive */
uint16_t nvme_zoned_node_report(NvmeCtrl *n, NvmeRequest *req,
                                const NvmeZoneReportArgs *args);

/* zoned-node-notice.c */

/* Says in Identify whether the guest can hear of zones that change. */
void nvme_zoned_node_notices_start(NvmeCtrl *n);

/*
 * Before and after a reset of the controller.  The guest has to enable notices
 * anew.  If it was the guest that has reset it, what it has not read of zones
 * stays, and it is told again.
 */
void nvme_zoned_node_notices_stop(NvmeCtrl *n);
void nvme_zoned_node_notices_reset(NvmeCtrl *n, NvmeResetType rst);

/*
 * Tells the guest of a list that it has not been told of, if it wants that and
 * has a request out that can be completed.  To be called when either changes,
 * and when events of this type are no longer masked.
 */
void nvme_zoned_node_notices_post(NvmeCtrl *n);

/* The namespace is no longer attached to the controller, or to any. */
void nvme_zoned_node_notices_forget(NvmeCtrl *n, uint32_t nsid);
void nvme_zoned_node_notices_detach(NvmeNamespace *ns);

/* The zone_changed_cb of BlockDevOps, for a namespace */
void nvme_zoned_node_zone_changed(void *opaque, int64_t offset, int64_t bytes);

/* The Changed Zone List log page of a zoned namespace, whatever its drive is */
uint16_t nvme_zoned_node_changed_zones(NvmeCtrl *n, bool rae, uint32_t len,
                                       uint64_t off, NvmeRequest *req);

#endif /* HW_NVME_ZONED_NODE_H */

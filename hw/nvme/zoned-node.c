/*
 * QEMU NVM Express: a namespace whose zones are those of its drive
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qapi/error.h"
#include "system/block-backend.h"

#include "zoned-node.h"

/* The unit in which a namespace says how long descriptor extensions are */
#define ZDES_UNIT 64

/* Zones that are got at once */
#define ZONES_PER_REPORT 64

bool nvme_zoned_node_detect(BlockBackend *blk)
{
    BlockZoneInfo info;

    return blk && blk_get_zone_info(blk, &info) && info.model == BLK_Z_HM;
}

/* Names both, which may be far apart in what the user says. */
static void refuse_auto_transition(NvmeCtrl *n, NvmeNamespace *ns,
                                   Error **errp)
{
    g_autofree char *ctrl_name = qdev_get_human_name(DEVICE(n));
    g_autofree char *ns_name = qdev_get_human_name(DEVICE(ns));

    error_setg(errp, "zoned.auto_transition=off of controller '%s' contradicts "
               "namespace '%s', whose drive closes zones to open others",
               ctrl_name, ns_name);
}

bool nvme_zoned_node_check_ctrl(NvmeCtrl *n, NvmeNamespace *ns, Error **errp)
{
    if (!nvme_zoned_node_detect(ns->blkconf.blk)) {
        return true;
    }
    if (!n->params.auto_transition_zones) {
        error_setg(errp, "zoned.auto_transition=off contradicts the drive, "
                   "which is always on: it closes zones to open others");
        return false;
    }
    for (int i = 0; i < NVME_MAX_CONTROLLERS; i++) {
        NvmeCtrl *other = nvme_subsys_ctrl(n->subsys, i);

        if (other && !other->params.auto_transition_zones) {
            refuse_auto_transition(other, ns, errp);
            return false;
        }
    }
    return true;
}

bool nvme_zoned_node_check_join(NvmeCtrl *n, Error **errp)
{
    if (n->params.auto_transition_zones) {
        return true;
    }
    for (int i = 1; i <= NVME_MAX_NAMESPACES; i++) {
        NvmeNamespace *ns = nvme_subsys_ns(n->subsys, i);

        if (ns && ns->zoned_node.present) {
            refuse_auto_transition(n, ns, errp);
            return false;
        }
    }
    return true;
}

/* An option that is not given is 0. */
static bool check_option(const char *option, uint64_t given, const char *what,
                         uint64_t drive, Error **errp)
{
    if (given && given != drive) {
        error_setg(errp, "%s=%" PRIu64 " contradicts the drive, whose %s is %"
                   PRIu64, option, given, what, drive);
        return false;
    }
    return true;
}

static bool check_options(const NvmeNamespace *ns, const BlockZoneInfo *info,
                          uint64_t zone_capacity, Error **errp)
{
    const NvmeNamespaceParams *p = &ns->params;

    return check_option("zoned.zone_size",
                        p->zone_size_given ? p->zone_size_bs : 0, "zone size",
                        info->zone_size, errp) &&
           check_option("zoned.zone_capacity", p->zone_cap_bs, "zone capacity",
                        zone_capacity, errp) &&
           check_option("zoned.max_open", p->max_open_zones,
                        "limit of open zones (0: none)", info->max_open_zones,
                        errp) &&
           check_option("zoned.max_active", p->max_active_zones,
                        "limit of active zones (0: none)",
                        info->max_active_zones, errp) &&
           check_option("zoned.descr_ext_size", p->zd_extension_size,
                        "size of zone descriptor extensions",
                        info->zd_extension_size, errp);
}

/* What needs more than the zones of a block node have */
static bool check_features(const NvmeNamespace *ns, Error **errp)
{
    const NvmeNamespaceParams *p = &ns->params;

    if (p->ms) {
        error_setg(errp, "a zoned drive has no place for metadata (ms=%u)",
                   p->ms);
        return false;
    }
    /* -1: not given; 0: the controller's own namespace has no such option */
    if (p->zrwas || p->numzrwa || (p->zrwafg && p->zrwafg != -1)) {
        error_setg(errp, "a zoned drive has no zone random write areas "
                   "(zoned.zrwas, zoned.zrwafg, zoned.numzrwa)");
        return false;
    }
    if (ns->endgrp && ns->endgrp->fdp.enabled) {
        error_setg(errp, "a zoned drive cannot be in an FDP configuration");
        return false;
    }
    return true;
}

/* Can zones and appends like those of the drive be described? */
static bool check_limits(const NvmeNamespace *ns, const BlockZoneInfo *info,
                         Error **errp)
{
    uint64_t max_append = (uint64_t)info->max_append_sectors * BDRV_SECTOR_SIZE;

    if (info->zone_size % ns->lbasz) {
        error_setg(errp, "zones of %" PRIu64 " bytes are no multiple of "
                   "logical_block_size %zu", info->zone_size, ns->lbasz);
        return false;
    }
    if (max_append < 2 * NVME_ZASL_UNIT) {
        error_setg(errp, "the drive's largest zone append, %" PRIu64 " bytes, "
                   "is less than NVMe can ask for, %" PRIu64 " bytes",
                   max_append, (uint64_t)(2 * NVME_ZASL_UNIT));
        return false;
    }
    if (info->zd_extension_size % ZDES_UNIT ||
        info->zd_extension_size / ZDES_UNIT > UINT8_MAX) {
        error_setg(errp, "NVMe has no zone descriptor extensions of %" PRIu32
                   " bytes like the drive's", info->zd_extension_size);
        return false;
    }
    return true;
}

/* A zone that a zoned namespace can have; all have the same @capacity. */
static bool check_zone(const NvmeNamespace *ns, const BlockZoneInfo *info,
                       const BlockZoneDescriptor *zone, uint64_t capacity,
                       Error **errp)
{
    if (zone->type != BLK_ZT_SWR) {
        error_setg(errp, "the zone at byte %" PRIu64 " of the drive is "
                   "conventional; an NVMe namespace has only sequential ones",
                   zone->start);
        return false;
    }
    if (zone->length != info->zone_size) {
        error_setg(errp, "the zone at byte %" PRIu64 " of the drive has %"
                   PRIu64 " bytes, not %" PRIu64 " like the others; all zones "
                   "of an NVMe namespace have one size", zone->start,
                   zone->length, info->zone_size);
        return false;
    }
    if (zone->cap % ns->lbasz || zone->wp % ns->lbasz) {
        error_setg(errp, "the zone at byte %" PRIu64 " of the drive, with "
                   "capacity %" PRIu64 " and write pointer %" PRIu64 ", does "
                   "not go with logical_block_size %zu", zone->start, zone->cap,
                   zone->wp, ns->lbasz);
        return false;
    }
    if (zone->cap != capacity) {
        error_setg(errp, "the zone at byte %" PRIu64 " of the drive has "
                   "capacity %" PRIu64 ", not %" PRIu64 " like the first",
                   zone->start, zone->cap, capacity);
        return false;
    }
    return true;
}

/* Checks all zones; *@capacity is that of each. */
static bool check_zones(NvmeNamespace *ns, const BlockZoneInfo *info,
                        uint64_t *capacity, Error **errp)
{
    g_autofree BlockZoneDescriptor *zones =
        g_new(BlockZoneDescriptor, ZONES_PER_REPORT);
    uint64_t offset = 0;

    while (offset < ns->size) {
        unsigned int n = ZONES_PER_REPORT;
        int ret = blk_zone_report(ns->blkconf.blk, offset, &n, zones);

        if (ret < 0 || n == 0) {
            error_setg_errno(errp, ret < 0 ? -ret : EIO,
                             "could not get the zones of the drive");
            return false;
        }
        if (offset == 0) {
            *capacity = zones[0].cap;
        }
        for (unsigned int i = 0; i < n; i++) {
            if (!check_zone(ns, info, &zones[i], *capacity, errp)) {
                return false;
            }
        }
        offset += n * info->zone_size;
    }
    return true;
}

/* The Identify Namespace data structure of the Zoned Namespace Command Set */
static NvmeIdNsZoned *describe_namespace(const NvmeNamespace *ns,
                                         const BlockZoneInfo *info)
{
    NvmeIdNsZoned *id = g_new0(NvmeIdNsZoned, 1);
    uint32_t max_open = info->max_open_zones ?: info->max_active_zones;

    /* 0's based; a limit of 0, which is none, gives FFFFFFFFh */
    id->mar = cpu_to_le32(info->max_active_zones - 1);
    id->mor = cpu_to_le32(max_open - 1);
    id->ozcs = cpu_to_le16(ns->params.cross_zone_read ?
                           NVME_ID_NS_ZONED_OZCS_RAZB : 0);
    for (int i = 0; i < ns->nlbaf; i++) {
        id->lbafe[i].zsze = cpu_to_le64(info->zone_size >>
                                        ns->id_ns.lbaf[i].ds);
        id->lbafe[i].zdes = info->zd_extension_size / ZDES_UNIT;
    }
    return id;
}

static void close_zones(NvmeNamespace *ns);

static void nvme_close_zones_cb(void *opaque, int ret)
{
    NvmeNamespace *ns = opaque;

    ns->zoned_node.closing = false;
    if (ns->zoned_node.close_wanted) {
        close_zones(ns);
    }
}

/*
 * Closes zones that are open, as soon as that can be without waiting.  What a
 * guest asks for by resetting again and again is done once.
 */
static void close_zones(NvmeNamespace *ns)
{
    BlockBackend *blk = ns->blkconf.blk;

    if (!blk_is_writable(blk)) {
        return;
    }
    ns->zoned_node.close_wanted = true;
    if (ns->zoned_node.closing || blk_in_drain(blk)) {
        return;
    }
    ns->zoned_node.close_wanted = false;
    ns->zoned_node.closing = true;
    blk_aio_zone_mgmt(blk, BLK_ZO_CLOSE, 0, ns->size, nvme_close_zones_cb, ns);
}

/* What was put off while the drive was drained */
static void nvme_zoned_node_drained_end(void *opaque)
{
    NvmeNamespace *ns = opaque;

    if (ns->zoned_node.close_wanted) {
        close_zones(ns);
    }
}

static const BlockDevOps nvme_zoned_node_dev_ops = {
    .drained_end = nvme_zoned_node_drained_end,
    .zone_changed_cb = nvme_zoned_node_zone_changed,
};

bool nvme_zoned_node_setup(NvmeNamespace *ns, Error **errp)
{
    BlockZoneInfo info;
    uint64_t capacity = 0;
    bool is_zoned = blk_get_zone_info(ns->blkconf.blk, &info);

    assert(is_zoned);
    if (!check_features(ns, errp) || !check_limits(ns, &info, errp) ||
        !check_zones(ns, &info, &capacity, errp) ||
        !check_options(ns, &info, capacity, errp)) {
        return false;
    }

    ns->zone_size = info.zone_size / ns->lbasz;
    ns->zone_capacity = capacity / ns->lbasz;
    ns->zone_size_log2 = is_power_of_2(ns->zone_size) ?
                         ctz64(ns->zone_size) : 0;
    ns->num_zones = ns->size / info.zone_size;
    ns->params.zd_extension_size = info.zd_extension_size;
    ns->zoned_node.zasl = 63 - clz64((uint64_t)info.max_append_sectors *
                                     BDRV_SECTOR_SIZE / NVME_ZASL_UNIT);
    ns->zoned_node.has_errnos = info.has_zone_errnos;
    ns->zoned_node.reports = nvme_zoned_node_reports_new();
    ns->id_ns_zoned = describe_namespace(ns, &info);
    ns->csi = NVME_CSI_ZONED;
    blk_set_dev_ops(ns->blkconf.blk, &nvme_zoned_node_dev_ops, ns);
    if (!blk_supports_write_perm(ns->blkconf.blk)) {
        ns->id_ns.nsattr |= NVME_ID_NS_NSATTR_WRITE_PROTECTED;
        ns->id_ns_ind.nsattr |= NVME_ID_NS_NSATTR_WRITE_PROTECTED;
    }
    return true;
}

uint8_t nvme_zoned_node_zasl(NvmeCtrl *n)
{
    uint8_t zasl = n->params.zasl;

    for (int i = 1; i <= NVME_MAX_NAMESPACES; i++) {
        NvmeNamespace *ns = nvme_subsys_ns(n->subsys, i);

        /* 0 is the limit that MDTS sets anyway. */
        if (ns && ns->zoned_node.present &&
            ns->zoned_node.zasl < (zasl ?: n->params.mdts)) {
            zasl = ns->zoned_node.zasl;
        }
    }
    return zasl;
}

bool nvme_zoned_node_in_use(const NvmeCtrl *n)
{
    uint32_t csts = ldl_le_p(&n->bar.csts);

    return NVME_CSTS_RDY(csts) && !NVME_CSTS_SHST(csts);
}

/* Does the guest use the namespace through a controller other than @n? */
static bool is_used_elsewhere(NvmeCtrl *n, NvmeNamespace *ns)
{
    for (int i = 0; i < NVME_MAX_CONTROLLERS; i++) {
        NvmeCtrl *other = nvme_subsys_ctrl(n->subsys, i);

        if (other && other != n && nvme_ns(other, nvme_nsid(ns)) == ns &&
            nvme_zoned_node_in_use(other)) {
            return true;
        }
    }
    return false;
}

void nvme_zoned_node_leave(NvmeCtrl *n)
{
    if (!NVME_CSTS_RDY(ldl_le_p(&n->bar.csts))) {
        return;
    }
    for (int i = 1; i <= NVME_MAX_NAMESPACES; i++) {
        /* Also one that was detached after the guest had opened zones */
        NvmeNamespace *ns = nvme_subsys_ns(n->subsys, i);

        if (ns && ns->zoned_node.present && !is_used_elsewhere(n, ns)) {
            close_zones(ns);
        }
    }
}

void nvme_zoned_node_unrealize(NvmeNamespace *ns)
{
    close_zones(ns);
    while (ns->zoned_node.closing) {
        nvme_ns_drain(ns);
    }
    ns->zoned_node.close_wanted = false;
    blk_set_dev_ops(ns->blkconf.blk, NULL, NULL);
    nvme_zoned_node_notices_detach(ns);
    g_free(ns->zoned_node.reports);
    ns->zoned_node.reports = NULL;
    g_free(ns->id_ns_zoned);
    ns->id_ns_zoned = NULL;
}

uint16_t nvme_zoned_node_check_format(NvmeNamespace *ns, uint8_t lbaf,
                                      uint8_t pi)
{
    if (lbaf != NVME_ID_NS_FLBAS_INDEX(ns->id_ns.flbas) || pi) {
        return NVME_INVALID_FORMAT | NVME_DNR;
    }
    return nvme_zoned_node_check_writable(ns);
}

BlockAIOCB *nvme_zoned_node_format(NvmeNamespace *ns, BlockCompletionFunc *cb,
                                   void *opaque)
{
    return blk_aio_zone_mgmt(ns->blkconf.blk, BLK_ZO_RESET, 0, ns->size, cb,
                             opaque);
}

/*
 * QEMU NVM Express: the guest hears of zones of the drive that change
 *
 * A zone that fails, or can be used again, changes its descriptor without a
 * command of the guest.  Each controller that the namespace is attached to has
 * a list of such zones, the Changed Zone List log page.  If the guest wants to,
 * it is told that there is one, by an asynchronous event, and not again before
 * it has read the list.
 *
 * All of this is in the main thread.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "zoned-node.h"
#include "trace.h"

/* What a controller's guest has not read yet of the zones of a namespace */
typedef struct NvmeChangedZones {
    bool reported;              /* by an event that was not cleared */
    bool too_many;              /* for the list, which is empty then */
    unsigned int nr_zones;
    uint64_t zslba[NVME_CHANGED_ZONES_MAX];
} NvmeChangedZones;

static NvmeSubsystem *ns_subsys(const NvmeNamespace *ns)
{
    /* The controller's own namespace has only that. */
    return ns->subsys ?: ns->ctrl->subsys;
}

static bool is_supported(const NvmeCtrl *n)
{
    return le32_to_cpu(n->id_ctrl.oaes) & NVME_OAES_ZONE_DESCR;
}

void nvme_zoned_node_notices_start(NvmeCtrl *n)
{
    uint32_t oaes = le32_to_cpu(n->id_ctrl.oaes) & ~NVME_OAES_ZONE_DESCR;

    for (int i = 1; i <= NVME_MAX_NAMESPACES; i++) {
        NvmeNamespace *ns = nvme_subsys_ns(n->subsys, i);

        /* Also one that is not attached: it can be. */
        if (ns && ns->zoned_node.present) {
            oaes |= NVME_OAES_ZONE_DESCR;
            break;
        }
    }
    n->id_ctrl.oaes = cpu_to_le32(oaes);
}

void nvme_zoned_node_notices_forget(NvmeCtrl *n, uint32_t nsid)
{
    if (n->changed_zones[nsid] && n->changed_zones[nsid]->reported) {
        n->aer_mask &= ~(1 << NVME_AER_TYPE_NOTICE);
    }
    g_clear_pointer(&n->changed_zones[nsid], g_free);
}

void nvme_zoned_node_notices_detach(NvmeNamespace *ns)
{
    uint32_t nsid = nvme_nsid(ns);

    for (int i = 0; i < NVME_MAX_CONTROLLERS; i++) {
        NvmeCtrl *n = nvme_subsys_ctrl(ns_subsys(ns), i);

        if (n && nvme_ns(n, nsid) == ns) {
            nvme_zoned_node_notices_forget(n, nsid);
        }
    }
}

void nvme_zoned_node_notices_stop(NvmeCtrl *n)
{
    n->features.async_config &= ~NVME_OAES_ZONE_DESCR;
}

void nvme_zoned_node_notices_reset(NvmeCtrl *n, NvmeResetType rst)
{
    for (int i = 1; i <= NVME_MAX_NAMESPACES; i++) {
        if (rst == NVME_RESET_FUNCTION) {
            nvme_zoned_node_notices_forget(n, i);
        } else if (n->changed_zones[i]) {
            n->changed_zones[i]->reported = false;
        }
    }
}

void nvme_zoned_node_notices_post(NvmeCtrl *n)
{
    static const NvmeAerResult event = {
        .event_type = NVME_AER_TYPE_NOTICE,
        .event_info = NVME_AER_INFO_NOTICE_ZONE_DESCR_CHANGED,
        .log_page = NVME_LOG_CHANGED_ZONES,
    };

    if (!NVME_AEC_ZONE_DESCR(n->features.async_config) ||
        !nvme_zoned_node_in_use(n)) {
        return;
    }
    for (int i = 1; i <= NVME_MAX_NAMESPACES; i++) {
        NvmeChangedZones *zones = n->changed_zones[i];

        if (!n->outstanding_aers ||
            (n->aer_mask & (1 << NVME_AER_TYPE_NOTICE))) {
            return;
        }
        if (zones && !zones->reported) {
            zones->reported = true;
            nvme_post_aer(n, &event, i);
        }
    }
}

static bool is_listed(const NvmeChangedZones *zones, uint64_t zslba)
{
    for (unsigned int i = 0; i < zones->nr_zones; i++) {
        if (zones->zslba[i] == zslba) {
            return true;
        }
    }
    return false;
}

/* Adds the zones from block @slba to @end, each of which is listed once. */
static void add_zones(NvmeNamespace *ns, NvmeChangedZones *zones, uint64_t slba,
                      uint64_t end)
{
    for (; slba < end && !zones->too_many; slba += ns->zone_size) {
        if (is_listed(zones, slba)) {
            continue;
        }
        if (zones->nr_zones == NVME_CHANGED_ZONES_MAX) {
            zones->too_many = true;
        } else {
            zones->zslba[zones->nr_zones++] = slba;
        }
    }
}

void nvme_zoned_node_zone_changed(void *opaque, int64_t offset, int64_t bytes)
{
    NvmeNamespace *ns = opaque;
    uint32_t nsid = nvme_nsid(ns);
    uint64_t slba = offset / ns->lbasz;

    for (int i = 0; i < NVME_MAX_CONTROLLERS; i++) {
        NvmeCtrl *n = nvme_subsys_ctrl(ns_subsys(ns), i);

        if (!n || nvme_ns(n, nsid) != ns) {
            continue;
        }
        trace_pci_nvme_zoned_node_changed(n->cntlid, nsid, slba,
                                          bytes / ns->lbasz);
        if (!n->changed_zones[nsid]) {
            n->changed_zones[nsid] = g_new0(NvmeChangedZones, 1);
        }
        add_zones(ns, n->changed_zones[nsid], slba,
                  slba + bytes / ns->lbasz);
        nvme_zoned_node_notices_post(n);
    }
}

static void fill_log(const NvmeChangedZones *zones, NvmeChangedZonesLog *log)
{
    if (!zones) {
        return;
    }
    if (zones->too_many) {
        log->nr_zones = cpu_to_le16(NVME_CHANGED_ZONES_TOO_MANY);
        return;
    }
    log->nr_zones = cpu_to_le16(zones->nr_zones);
    for (unsigned int i = 0; i < zones->nr_zones; i++) {
        log->zslba[i] = cpu_to_le64(zones->zslba[i]);
    }
}

uint16_t nvme_zoned_node_changed_zones(NvmeCtrl *n, bool rae, uint32_t len,
                                       uint64_t off, NvmeRequest *req)
{
    uint32_t nsid = le32_to_cpu(req->cmd.nsid);
    NvmeChangedZonesLog log = {};
    NvmeNamespace *ns;
    uint16_t status;

    if (!is_supported(n)) {
        trace_pci_nvme_err_invalid_log_page(nvme_cid(req),
                                            NVME_LOG_CHANGED_ZONES);
        return NVME_INVALID_FIELD | NVME_DNR;
    }
    if (!nsid || nsid > NVME_MAX_NAMESPACES) {
        return NVME_INVALID_NSID | NVME_DNR;
    }
    ns = nvme_ns(n, nsid);
    if (!ns || ns->csi != NVME_CSI_ZONED) {
        return NVME_INVALID_FIELD | NVME_DNR;
    }
    if (off >= sizeof(log)) {
        trace_pci_nvme_err_invalid_log_page_offset(off, sizeof(log));
        return NVME_INVALID_FIELD | NVME_DNR;
    }

    fill_log(n->changed_zones[nsid], &log);
    status = nvme_c2h(n, (uint8_t *)&log + off, MIN(sizeof(log) - off, len),
                      req);
    if (!status && !rae) {
        nvme_zoned_node_notices_forget(n, nsid);
        nvme_process_aers(n);
        nvme_zoned_node_notices_post(n);
    }
    return status;
}

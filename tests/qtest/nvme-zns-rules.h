/*
 * What holds for every zoned NVMe namespace, wherever its zones are kept
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef QTEST_NVME_ZNS_RULES_H
#define QTEST_NVME_ZNS_RULES_H

#include "nvme-zns-guest.h"

/* Starts the usual namespace, with more options of nvme-ns and nvme. */
typedef ZnsGuest *ZnsStart(const char *namespace, const char *controller);

/* Adds the tests. */
void zns_add_rules(const char *path, ZnsStart *start);

#endif /* QTEST_NVME_ZNS_RULES_H */

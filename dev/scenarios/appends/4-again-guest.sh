# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later

namespace=$(export_disk "$DISK")
loaded
check_synced nvme-appends
equal "a closed zone is appended to" \
    "20 appended, 0 beyond a zone, 0 to a full one" \
    "$(nvme-appends write "$namespace" 7 8 1 32 20)"
equal_kernel_log

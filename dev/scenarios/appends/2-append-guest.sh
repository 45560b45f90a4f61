# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
# A zone has room for 768 blocks; an append has 1 to 16 of them.

namespace=$(export_disk "$DISK")
equal "one append after the other" \
    "40 appended, 0 beyond a zone, 0 to a full one" \
    "$(nvme-appends write "$namespace" 1 0 1 1 40)"
equal "32 in flight, to the same zone" \
    "40 appended, 0 beyond a zone, 0 to a full one" \
    "$(nvme-appends write "$namespace" 2 0 1 32 40)"
equal "32 in flight, to six others" \
    "300 appended, 0 beyond a zone, 0 to a full one" \
    "$(nvme-appends write "$namespace" 3 1 6 32 300)"
check "all zones are reset" blkzone reset "$namespace"
equal_kernel_log

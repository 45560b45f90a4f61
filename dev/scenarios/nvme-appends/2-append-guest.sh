# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
# A zone has room for 768 blocks; an append has 1 to 16 of them.

equal "one append after the other" \
    "40 appended, 0 beyond a zone, 0 to a full one" \
    "$(nvme-appends write "$DISK" 1 0 1 1 40)"
equal "32 in flight, to the same zone" \
    "40 appended, 0 beyond a zone, 0 to a full one" \
    "$(nvme-appends write "$DISK" 2 0 1 32 40)"
equal "32 in flight, to six others" \
    "300 appended, 0 beyond a zone, 0 to a full one" \
    "$(nvme-appends write "$DISK" 3 1 6 32 300)"
check "more than three of them have room for" too_many "$DISK" 4 1 3 32 700
equal "they are full" 3 "$(nr_full)"
equal "no full zone is appended to" \
    "0 appended, 0 beyond a zone, 60 to a full one" \
    "$(nvme-appends write "$DISK" 5 1 3 32 60)"
check "finish a zone that has room" blkzone finish -o $((4 * 8192)) -c 1 "$DISK"
equal "nor is one that was finished" \
    "0 appended, 0 beyond a zone, 40 to a full one" \
    "$(nvme-appends write "$DISK" 6 4 1 32 40)"
check "all zones are reset" blkzone reset "$DISK"
equal_kernel_log

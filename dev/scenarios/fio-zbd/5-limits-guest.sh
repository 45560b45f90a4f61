# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
# image: limits.zoned
# seconds: 1800

# -w: zones that other tests have left active do not count.
run_tests "09 /dev/vda is not a SCSI device
10 /dev/vda is not a SCSI device
14 /dev/vda does not have enough conventional zones
42 /dev/vda is not a regular block device
43 /dev/vda is not a regular block device
49 /dev/vda is not a regular block device
50 /dev/vda does not have 8 conventional zones
51 /dev/vda does not have 8 conventional zones
52 /dev/vda does not have 8 conventional zones
53 /dev/vda does not have 4 conventional zones
56 /dev/vda is not a regular block device
71 /dev/vda has max_active_zones limit
72 /dev/vda does not support either badblocks or error injection
73 /dev/vda does not support either badblocks or error injection
74 /dev/vda is not null_blk
75 /dev/vda is not null_blk" -w

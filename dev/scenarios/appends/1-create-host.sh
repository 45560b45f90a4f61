# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Many appends in flight to a virtio-blk disk, by io_uring and Linux's NVMe
# target; power cuts.
check "qemu-img create" qemu-img create -f zoned disk.zoned -o size=64M \
    -o zone_size=4M -o zone_capacity=3M -o max_open_zones=6 \
    -o max_active_zones=8

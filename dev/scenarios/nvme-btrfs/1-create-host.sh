# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
# btrfs on an NVMe namespace: fill, delete, balance, scrub; power cuts.
# device: nvme
check "qemu-img create" qemu-img create -f zoned disk.zoned -o size=3G \
    -o zone_size=32M -o zone_capacity=28M

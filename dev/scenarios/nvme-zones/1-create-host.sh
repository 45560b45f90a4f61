# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
# The disk as an NVMe namespace: nvme-cli's commands one by one, two boots, and
# the same image behind virtio-blk.
check "qemu-img create" qemu-img create -f zoned disk.zoned -o size=256M \
    -o zone_size=16M -o zone_capacity=12M -o max_open_zones=4 \
    -o max_active_zones=6 -o max_append_sectors=256

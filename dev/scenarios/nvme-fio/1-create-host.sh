# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
# fio on an NVMe namespace: queues, verification, resets, open zones; power cuts.
# device: nvme
# needs: fio
check "qemu-img create" qemu-img create -f zoned disk.zoned -o size=256M \
    -o zone_size=4M -o zone_capacity=3M -o max_open_zones=8 \
    -o max_active_zones=12

# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
# zonefs on an NVMe namespace: one file a zone; power cuts.
# device: nvme
check "qemu-img create" qemu-img create -f zoned disk.zoned -o size=512M \
    -o zone_size=16M -o max_open_zones=4 -o max_active_zones=6

# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
# xfs for zoned disks, metadata in conventional zones: fill, power cuts.
# kernel: newest
check "qemu-img create" qemu-img create -f zoned disk.zoned -o size=1536M \
    -o zone_size=16M -o zone_nr_conv=32 -o max_open_zones=16 \
    -o max_active_zones=16

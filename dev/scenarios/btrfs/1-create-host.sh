# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
# btrfs: fill, delete, balance, scrub; power cuts.
check "qemu-img create" qemu-img create -f zoned disk.zoned -o size=768M \
    -o zone_size=8M -o zone_capacity=7M -o max_open_zones=24 \
    -o max_active_zones=32

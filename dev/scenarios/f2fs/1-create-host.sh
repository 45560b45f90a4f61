# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
# f2fs with its metadata in conventional zones: fill, collect garbage; power cuts.
check "qemu-img create" qemu-img create -f zoned disk.zoned -o size=1G \
    -o zone_size=4M -o zone_nr_conv=24 -o max_open_zones=16 \
    -o max_active_zones=16

# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
# The disk itself: every transition of a zone, the limits, two boots.
check "qemu-img create" qemu-img create -f zoned disk.zoned -o size=512M \
    -o zone_size=16M -o zone_capacity=12M -o zone_nr_conv=2 \
    -o max_open_zones=4 -o max_active_zones=6 -o max_append_sectors=256

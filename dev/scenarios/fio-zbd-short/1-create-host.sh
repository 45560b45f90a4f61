# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Some of fio's own tests of zoned disks, on one that has a bit of everything.
# needs: fio
check "qemu-img create" qemu-img create -f zoned disk.zoned -o size=256M \
    -o zone_size=1M -o zone_capacity=768K -o zone_nr_conv=16 \
    -o max_open_zones=12 -o max_active_zones=12

# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
# While a guest runs: hot-plug, reset, throttling, figures, what is refused.
check "qemu-img create" qemu-img create -f zoned disk.zoned -o size=512M \
    -o zone_size=8M
check "a second disk" qemu-img create -f zoned second.zoned -o size=160M \
    -o zone_size=4M -o zone_capacity=3M -o zone_nr_conv=4 -o max_open_zones=8

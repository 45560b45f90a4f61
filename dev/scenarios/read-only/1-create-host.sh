# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
# A read-only disk refuses all that would change it.
check "qemu-img create" qemu-img create -f zoned disk.zoned -o size=128M \
    -o zone_size=8M -o zone_nr_conv=2

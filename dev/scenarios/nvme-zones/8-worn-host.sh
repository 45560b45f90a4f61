# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
# The host finds them offline.
check "qemu-img check" qemu-img check worn.zoned
equal "conditions" "1 15 15 1" \
    "$(qemu-io -f zoned -r -c 'zrp 0 4' worn.zoned | zone_table |
        cut -d ' ' -f 5 | paste -sd ' ')"

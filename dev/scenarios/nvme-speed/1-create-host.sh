# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
# needs: fio
# minutes: 4
# fio on a zoned image and on a namespace whose zones are kept in memory take
# turns.
check "qemu-img create" qemu-img create -f zoned disk.zoned -o size=1G
check "a raw disk of that size" qemu-img create -f raw disk.raw 1G

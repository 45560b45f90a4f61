# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
# needs: fio
# minutes: 6
# fio on the zoned disk and on a raw one take turns; for dev/bench.
check "qemu-img create" qemu-img create -f zoned disk.zoned -o size=1G
check "a raw disk of that size" qemu-img create -f raw disk.raw 1G

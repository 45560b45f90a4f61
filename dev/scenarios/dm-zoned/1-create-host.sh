# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
# ext4 over dm-zoned, which makes an ordinary disk of the zoned one.
#
# Power cuts are a scenario of their own, dm-zoned-cut: dm-zoned does not promise
# enough to pass it each time.
check "qemu-img create" qemu-img create -f zoned disk.zoned -o size=768M \
    -o zone_size=8M -o zone_nr_conv=16

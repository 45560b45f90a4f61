# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
# SQLite on btrfs: every transaction that was committed outlives power cuts.
check "qemu-img create" qemu-img create -f zoned disk.zoned -o size=2G \
    -o zone_size=32M

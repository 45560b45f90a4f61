# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
# btrfs: fill, delete, balance, scrub; power cuts.
#
# Where zones are small, or a limit of active ones keeps btrfs from having one
# more, Linux 6.12 may have no room for metadata during a scrub.
check "qemu-img create" qemu-img create -f zoned disk.zoned -o size=3G \
    -o zone_size=32M -o zone_capacity=28M

# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
# minutes: 2
# ext4 over dm-zoned, which makes an ordinary disk of the zoned one; power cuts.
#
# Not a part of dev/check: about one cut in three loses the last that was synced.
# When dm-zoned has moved the data of a zone elsewhere, it resets the zone
# (dmz_free_zone) before its own tables, which say where the data is now, are
# durable. Whether that is all has not been shown.
check "qemu-img create" qemu-img create -f zoned disk.zoned -o size=768M \
    -o zone_size=8M -o zone_nr_conv=16

# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
# ext4 over dm-zoned, which makes an ordinary disk of the zoned one; power cuts.
#
# dm-zoned of Linux 6.12 passes a FUA write on, but keeps in memory that the
# block is in use now, until the next flush. ext4 ends a transaction with such a
# write: about one power cut in three loses what was synced last. The load
# flushes /dev/dm-0 after each fsync(), then nothing is lost.
check "qemu-img create" qemu-img create -f zoned disk.zoned -o size=768M \
    -o zone_size=8M -o zone_nr_conv=16

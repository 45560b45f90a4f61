# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
# minutes: 2
# ext4 over dm-zoned: power cuts, one in some fifty of which is expected to lose data.
#
# dm-zoned of Linux 6.12 passes a FUA write on, but keeps in memory that the
# block is in use now, until the next flush. ext4 ends a transaction with such a
# write: about one power cut in three loses what was synced last. So the load
# flushes /dev/dm-0 after each fsync().
#
# And it resets a zone that it has copied elsewhere before its table, on the
# disk, says so (dmz_reclaim_seq_data() and dmz_free_zone(), then only
# dmz_flush_metadata()): a power cut in between loses what was in the zone.
check "qemu-img create" qemu-img create -f zoned disk.zoned -o size=768M \
    -o zone_size=8M -o zone_nr_conv=16

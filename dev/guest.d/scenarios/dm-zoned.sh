# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
# ext4 over dm-zoned, which makes an ordinary disk of the zoned one.
#
# Power cuts are a scenario of their own, dm-zoned-cut: dm-zoned does not promise
# enough to pass it each time. One cut in some fifty is expected to lose data.
#
# dm-zoned of Linux 6.12 passes a FUA write on, but keeps in memory that the
# block is in use now, until the next flush. ext4 ends a transaction with such a
# write: about one power cut in three loses what was synced last. So the load
# flushes /dev/dm-0 after each fsync().
#
# And it resets a zone that it has copied elsewhere before its table, on the
# disk, says so (dmz_reclaim_seq_data() and dmz_free_zone(), then only
# dmz_flush_metadata()): a power cut in between loses what was in the zone.
#
# run: dm-zoned
# run: dm-zoned-cut minutes=2
# run: scsi-dm-zoned device=scsi minutes=1

# start: dm-zoned. Its disk is /dev/dm-0.
start() {
    modprobe dm-zoned && dmzadm --start "$DISK" && test -b /dev/dm-0
}

mount_disk() {
    modprobe ext4
    mount -t ext4 /dev/dm-0 /mnt
}

host_create() {
    check "qemu-img create" qemu-img create -f zoned disk.zoned -o size=768M \
        -o zone_size=8M -o zone_nr_conv=16
}

guest_fill() {
    modprobe dm-zoned
    check "dmzadm --format" dmzadm --format "$DISK"
    check "dmzadm --start" start
    check "mkfs.ext4" mkfs.ext4 -q /dev/dm-0
    check "mount" mount_disk
    fill_twice 150 5
    check "write again" fill third 250 10
    check "unmount" umount /mnt
    check "fsck.ext4 finds nothing" fsck.ext4 -f -n /dev/dm-0
    verify_filled
    check "stop dm-zoned" dmsetup remove_all
    equal_kernel_log
    save third <third.notes
}

# only: dm-zoned scsi-dm-zoned
guest_again() {
    check "dmzadm --start again" start
    check "mount" mount_disk
    cp /saved/third third.notes
    check "the third ones are what was written, in another boot" verify third
    unmounted "fsck.ext4 finds nothing" fsck.ext4 -f -n /dev/dm-0
}

# only: dm-zoned-cut
cut_load() {
    check "dmzadm --start" start
    load_files 200 /dev/dm-0
    wait
}

# only: dm-zoned-cut
guest_after() {
    check "dmzadm --start after the power cut" start
    mounted_again files
    unmounted "fsck.ext4 finds nothing" fsck.ext4 -f -n /dev/dm-0
}

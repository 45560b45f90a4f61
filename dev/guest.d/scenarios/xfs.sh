# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
# xfs for zoned disks, metadata in conventional zones: fill, power cuts.
#
# kernel: newest
# run: xfs minutes=1
# run: scsi-xfs device=scsi minutes=1

mount_disk() {
    modprobe xfs
    mount -t xfs "$DISK" /mnt
}

host_create() {
    check "qemu-img create" qemu-img create -f zoned disk.zoned -o size=1536M \
        -o zone_size=16M -o zone_nr_conv=32 -o max_open_zones=16 \
        -o max_active_zones=16
}

guest_fill() {
    check "mkfs.xfs" mkfs.xfs -f -r zoned=1 "$DISK"
    check "mount" mount_disk
    fill_twice 300 8
    check "write again, so that zones are reclaimed" fill third 400 20
    check "unmount" umount /mnt
    check "xfs_repair finds nothing" xfs_repair -n "$DISK"
    verify_filled
    equal_kernel_log
}

cut_load() {
    load_files 300
    wait
}

guest_again() {
    mounted_again files
    unmounted "xfs_repair finds nothing" xfs_repair -n "$DISK"
}

# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
# btrfs: fill, delete, balance, scrub; power cuts.
#
# Where zones are small, or a limit of active ones keeps btrfs from having one
# more, Linux 6.12 may have no room for metadata during a scrub.
#
# run: btrfs
# run: nvme-btrfs device=nvme minutes=1
# run: scsi-btrfs device=scsi CAPACITY=32M minutes=1
# run: ceph-btrfs needs=cluster file=driver=rbd,pool=rbd,image=btrfs,conf=../../../../cluster/ceph.conf TARGET=rbd:rbd/btrfs:conf=../../../../cluster/ceph.conf

mount_disk() {
    modprobe btrfs
    mount -t btrfs "$DISK" /mnt
}

sync_and_scrub() {
    sync -f /mnt && scrub
}

host_create() {
    [ -z "${TARGET-}" ] || check "no image of before" forget_image btrfs
    check "qemu-img create" qemu-img create -f zoned "${TARGET:-disk.zoned}" \
        -o size=3G -o zone_size=32M -o zone_capacity="${CAPACITY:-28M}"
}

guest_fill() {
    check "mkfs.btrfs" mkfs.btrfs -q -O zoned -m single -d single "$DISK"
    check "mount" mount_disk
    fill_twice 150 5
    check "balance" btrfs balance start --full-balance /mnt
    check "write again" fill third 250 10
    check "sync again" sync -f /mnt
    check "scrub" scrub
    check "unmount" umount /mnt
    check "btrfs check" btrfs check --readonly "$DISK"
    verify_filled
    equal_kernel_log
}

# btrfs of Linux 6.12 aborts a transaction that it commits during a scrub; so
# nothing may be left to commit.
cut_load() {
    load_files 160
    case $((CUT % 3)) in
    0) beside in_pause sync_and_scrub ;;
    1) beside btrfs balance start --full-balance /mnt ;;
    2) beside btrfs subvolume snapshot /mnt "/mnt/cut$CUT/$(date +%s%N)" ;;
    esac
}

# A balance whose power was cut goes on with the mount; a scrub beside it reads what
# is reset meanwhile, and says that it is damaged.
guest_again() {
    mounted_again files
    until btrfs balance status /mnt; do
        sleep 0.5
    done
    check "scrub after the power cut" scrub
    unmounted "btrfs check" btrfs check --readonly "$DISK"
}

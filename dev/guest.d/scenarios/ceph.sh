# shellcheck shell=sh disable=SC2154  # answer, of steps/beside.sh
# SPDX-License-Identifier: GPL-2.0-or-later
# zonefs on a disk on Ceph: space comes back; power cuts, which another host finds.
#
# needs: cluster
# run: ceph-zonefs file=driver=rbd,pool=rbd,image=zonefs,conf=../../../../cluster/ceph.conf,exclusive-lock=on

FILES=8
MIB=$((1024 * 1024))

mount_disk() {
    modprobe zonefs
    mount -t zonefs "$DISK" /mnt
}

host_create() {
    check "qemu-img create" new_image zonefs -o size=512M -o zone_size=16M \
        -o zone_nr_conv=2 -o max_open_zones=4 -o max_active_zones=6
}

guest_space() {
    modprobe zonefs
    check "mkzonefs" mkzonefs "$DISK"
    check "mount" mount_disk
    for file in $(seq 0 $((FILES - 1))); do
        check "fill a file" dd if=/dev/urandom of="/mnt/seq/$file" bs=1M \
            count=16 iflag=fullblock oflag=direct conv=fsync
    done
    tell_host "files are full"
    for file in $(seq 0 $((FILES - 1))); do
        check "empty it" truncate -s 0 "/mnt/seq/$file"
    done
    tell_host "files are empty"
    check "unmount" umount /mnt
}

meanwhile_space() {
    hear "files are full"
    before=$(used zonefs)
    go_on
    hear "files are empty"
    after=$(used zonefs)
    go_on
    given=$((before - after))
    echo "# of $((FILES * 16)) MiB that were reset, $((given / MIB)) come back"
    check "what was in reset zones comes back" \
        test $((given * 100)) -ge $((FILES * 16 * MIB * 95))
    wait_end
}

cut_load() {
    load_appends
}

# file: driver=rbd,pool=rbd,image=zonefs,conf=../../../../cluster/other/ceph.conf,user=other,exclusive-lock=on
cut_other() {
    cut_load
}

guest_after() {
    mounted_again appends
    unmounted
}

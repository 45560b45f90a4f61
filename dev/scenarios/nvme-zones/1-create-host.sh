# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
# The disk as an NVMe namespace: nvme-cli's commands one by one, two boots, and
# the same image behind virtio-blk.
check "qemu-img create" qemu-img create -f zoned disk.zoned -o size=256M \
    -o zone_size=16M -o zone_capacity=12M -o max_open_zones=4 \
    -o max_active_zones=6 -o max_append_sectors=256 -o zd_extension_size=64

# worn ZONE ADDRESS: the zone at ADDRESS (its 4th byte) of another disk can only
# be read
worn() {
    printf '\0\0\0%b\0\0\0\320' "$2" |
        dd of=worn.zoned bs=8 seek=$((512 + $1)) conv=notrunc
}
check "another disk" qemu-img create -f zoned worn.zoned -o size=64M \
    -o zone_size=16M
check "its zone 1 is read only" worn 1 '\001'
check "its zone 2 is read only" worn 2 '\002'

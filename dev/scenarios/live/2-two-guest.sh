# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
# qemu: -blockdev driver=zoned,node-name=second,file.driver=file,file.filename=second.zoned -device virtio-blk-pci,drive=second

equal "the second disk has its own geometry" "40 8192 8" "$(cd \
    /sys/block/vdb/queue && cat nr_zones chunk_sectors max_open_zones |
    tr '\n' ' ' | sed 's/ $//')"
for zone in 10 11 12; do
    write_zone /dev/vda $zone 8 &
    write_zone /dev/vdb $zone 3 &
done
wait
for zone in 10 11 12; do
    has_pattern /dev/vda $zone 8
    has_pattern /dev/vdb $zone 3
done
check "reset a zone of one" blkzone reset -o $((11 * 8192)) -c 1 /dev/vdb
equal "it is empty" "$((11 * 8192)) 8192 6144 0 1 2" \
    "$(blkzone report -o $((11 * 8192)) -c 1 /dev/vdb | zone_table)"
has_pattern /dev/vda 11 8

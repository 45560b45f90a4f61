# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
# qemu: -device pcie-root-port,id=slot1,chassis=1,slot=1

equal "the second disk is not there" no "$(wait_disk vdb no && echo no)"
tell_host "plug the disk"
check "it is plugged" wait_disk vdb yes
equal "it is zoned" host-managed "$(cat /sys/block/vdb/queue/zoned)"
has_pattern /dev/vdb 10 3
check "write a zone" write_zone /dev/vdb 20 2
sync /dev/vdb
tell_host "unplug the disk"
check "it is unplugged" wait_disk vdb no
tell_host "plug it again"
check "it is plugged again" wait_disk vdb yes
has_pattern /dev/vdb 20 2
equal "the zone is closed now" "$((20 * 8192)) 8192 6144 4096 4 2" \
    "$(blkzone report -o $((20 * 8192)) -c 1 /dev/vdb | zone_table)"
check "write another zone" write_zone /dev/vdb 21 3
(
    while [ -b /dev/vdb ]; do
        write_zone /dev/vdb 22 3
        blkzone reset -o $((22 * 8192)) -c 1 /dev/vdb
    done
) &
tell_host "unplug it while it is written"
check "it is unplugged again" wait_disk vdb no
wait
check "the other disk goes on" write_zone /dev/vda 20 1

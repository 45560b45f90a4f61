# shellcheck shell=sh disable=SC2154  # answer, of steps/beside.sh
# SPDX-License-Identifier: GPL-2.0-or-later
# btrfs and f2fs fill a disk while qemu-zone-map records it: the README's pictures.
#
# They are left as btrfs.svg and f2fs.svg.
#
# qemu: -qmp unix:map.qmp,server=on,wait=off

host_create() {
    check "for btrfs" qemu-img create -f zoned disk.zoned -o size=1G \
        -o zone_size=16M
    check "for f2fs" qemu-img create -f zoned f2fs.zoned -o size=384M \
        -o zone_size=4M -o zone_nr_conv=24 -o max_open_zones=16 \
        -o max_active_zones=16
}

# fill_and_remove FILES MEBIBYTES COMMAND...: three times, so many files of this size;
# more than half of them go, and the command cleans up
fill_and_remove() {
    files=$1 size=$2
    shift 2
    tell_host "it begins"
    for round in 1 2 3; do
        for file in $(seq "$files"); do
            dd if=/dev/zero of="/mnt/$round.$file" bs=1M count="$size" \
                conv=fsync || fail "write a file" </dev/null
        done
        rm /mnt/$round.*[1-6]
        check "sync" sync -f /mnt
        check "clean up" "$@"
    done
    check "unmount" umount /mnt
    tell_host "it ends"
}

guest_btrfs() {
    modprobe btrfs
    check "mkfs.btrfs" mkfs.btrfs -q -O zoned -m single -d single "$DISK"
    check "mount" mount -t btrfs "$DISK" /mnt
    fill_and_remove 8 48 btrfs balance start -dusage=50 /mnt
}

meanwhile_btrfs() {
    draw btrfs disk.zoned
}

# image: f2fs.zoned
guest_f2fs() {
    modprobe f2fs
    check "mkfs.f2fs" mkfs.f2fs -q -f -m "$DISK"
    check "mount" mount -t f2fs "$DISK" /mnt
    fill_and_remove 20 6 fstrim /mnt
}

meanwhile_f2fs() {
    draw f2fs f2fs.zoned
}

# draw NAME IMAGE: what the guest does to the zones, from its first word to its last
draw() {
    hear "it begins"
    qemu-zone-map --qmp map.qmp disk --record "$1.recording" --interval 0.1 >map &
    map=$!
    go_on
    hear "it ends"
    kill "$map"
    wait "$map"
    equal "the map has ended" 0 $?
    go_on
    wait_end
    check "the picture" qemu-zone-map --play "$1.recording" --svg "$1.svg"
    check "it has a history" grep -q 'How they were filled' "$1.svg"
    equal "it ends with the zones of the image" "$(zones_of_image "$2")" \
        "$(zones_of_picture "$1.svg")"
}

# zones_of_image IMAGE: how many are empty, closed, ...
zones_of_image() {
    qemu-img zones --output=json "$1" | python3 -c '
import json, sys
for entry in json.load(sys.stdin):
    print("\n".join([entry["condition"]] * entry["count"]))' | sort | uniq -c
}

# zones_of_picture SVG: ditto. With the VM, open zones become closed.
zones_of_picture() {
    grep -oE '<title>zone [0-9]+: [a-z-]+' "$1" |
        sed 's/.*: //; s/.*-open/closed/' | sort | uniq -c
}

# shellcheck shell=sh disable=SC2154  # answer, of steps/beside.sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Zones that fail below a file system, at once and by a rule, and what it makes of it.
#
# run: worn qemu="-global virtio-blk-device.werror=stop"
# run: nvme-worn device=nvme

MIB=$((1024 * 1024))

host_create() {
    check "qemu-img create" qemu-img create -f zoned disk.zoned -o size=512M \
        -o zone_size=16M
    check "for f2fs" qemu-img create -f zoned f2fs.zoned -o size=512M \
        -o zone_size=4M -o zone_nr_conv=24
}

# append FILE KIBIBYTES
append() {
    dd if=/dev/urandom of="$1" bs=4k count=$(($2 / 4)) iflag=fullblock \
        oflag=append,direct conv=notrunc
}

# in_zone NUMBER MIBIBYTES CONDITION: of so large zones, one fails
in_zone() {
    qmp block-zone-set-condition node-name=disk offset=$(($1 * $2 * MIB)) \
        condition="$3"
}

# zonefs: a file that cannot be written any more, and one that is not there
guest_zonefs() {
    modprobe zonefs
    check "mkzonefs" mkzonefs "$DISK"
    check "mount" mount -t zonefs -o errors=zone-ro "$DISK" /mnt
    for file in 0 1 2 3; do
        check "append to file $file" append /mnt/seq/$file 64
    done
    sum=$(sha256sum </mnt/seq/0)
    tell_host "zones fail"

    check_fails "a READ ONLY zone cannot be written" append /mnt/seq/0 4
    equal "nor can its file" "440 65536" "$(stat -c '%a %s' /mnt/seq/0)"
    equal "what it has is there" "$sum" "$(sha256sum </mnt/seq/0)"
    check_fails "an OFFLINE zone cannot be read" dd if=/mnt/seq/1 of=/dev/null \
        bs=64k iflag=direct
    equal "its file is empty, and nobody's" "0 0" "$(stat -c '%a %s' /mnt/seq/1)"
    check "a zone with a rule is written" append /mnt/seq/2 32
    check "up to where it fails" append /mnt/seq/2 32
    check_fails "and no further" append /mnt/seq/2 4
    equal "it has all of it" "440 131072" "$(stat -c '%a %s' /mnt/seq/2)"
    check "other zones go on" append /mnt/seq/3 64
    check "unmount" umount /mnt

    check "mount again" mount -t zonefs -o errors=zone-ro "$DISK" /mnt
    equal "without a write pointer, a READ ONLY zone counts as OFFLINE there" \
        "0 0 0 0 0 0 640 131072" \
        "$(stat -c '%a %s' /mnt/seq/[0-3] | tr '\n' ' ' | sed 's/ $//')"
    check "unmount" umount /mnt
    equal "but has its data" "$sum" \
        "$(dd if="$DISK" bs=64k skip=256 count=1 iflag=direct | sha256sum)"
}

# The first zone has the super block. No error of a zone stops the VM.
meanwhile_zonefs() {
    hear "zones fail"
    in_zone 1 16 read-only
    in_zone 2 16 offline
    qmp block-zone-add-rule node-name=disk rule.offset=$((3 * 16 * MIB)) \
        rule.trigger=written rule.value=$((64 * 1024)) \
        rule.condition=read-only
    go_on
    while next_event; do
        case $answer in
        STOP*) echo "$answer" | fail "the VM does not stop" ;;
        esac
    done
}

# It lasts: the next boot finds them so, and they can be usable again.
host_restore() {
    equal "the conditions are in the image" "read-only offline read-only" \
        "$(qemu-img zones --output=json disk.zoned |
            grep -oE '"(read-only|offline)"' | tr -d '"' | tr '\n' ' ' |
            sed 's/ $//')"
    check "qemu-img check" qemu-img check disk.zoned
    check "a new disk" qemu-img create -q -f zoned disk.zoned -o size=1G \
        -o zone_size=32M
}

# fails_below FILE-SYSTEM: all zones become READ ONLY while it is written
fails_below() {
    check "mount" mount -t "$1" "$DISK" /mnt
    check "write files" fill first 8 3
    check "sync" sync -f /mnt
    tell_host "all zones fail"
    check_fails "what is written now is not durable" \
        dd if=/dev/urandom of=/mnt/lost bs=1M count=8 conv=fsync
    # Its own blocks are written at the latest now.
    sync -f /mnt
    check_fails "nor is there anything more to be written" touch /mnt/more
    umount /mnt
    tell_host "all zones are back"

    check "mount again" mount -t "$1" "$DISK" /mnt
    check "what was durable is there" verify first
    check "write again" dd if=/dev/urandom of=/mnt/found bs=1M count=8 conv=fsync
}

guest_btrfs() {
    modprobe btrfs
    check "mkfs.btrfs" mkfs.btrfs -q -O zoned -m single -d single "$DISK"
    fails_below btrfs
    check "scrub" scrub
    check "unmount" umount /mnt
}

# set_all ZONES CONDITION: and none is left out
set_all() {
    qmp block-zone-set-condition node-name=disk offset="$2" count="$1" \
        condition="$3"
}

meanwhile_btrfs() {
    hear "all zones fail"
    set_all 32 0 read-only
    go_on
    hear "all zones are back"
    set_all 32 0 by-data
    go_on
    wait_end
}

# only: worn
# image: f2fs.zoned
guest_f2fs() {
    modprobe f2fs
    check "mkfs.f2fs" mkfs.f2fs -q -f -m "$DISK"
    fails_below f2fs
    check "unmount" umount /mnt
    check "fsck" fsck.f2fs -f --dry-run "$DISK"
}

# only: worn
meanwhile_f2fs() {
    hear "all zones fail"
    set_all 104 $((24 * 4 * MIB)) read-only
    go_on
    hear "all zones are back"
    set_all 104 $((24 * 4 * MIB)) by-data
    go_on
    wait_end
}

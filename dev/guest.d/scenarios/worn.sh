# shellcheck shell=sh disable=SC2154  # answer, of steps/beside.sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Zones that fail below a file system, at once and by a rule, and what it makes of it.
#
# run: worn qemu="-global virtio-blk-device.werror=stop" CONVENTIONAL=24
# run: nvme-worn device=nvme CONVENTIONAL=0

MIB=$((1024 * 1024))

host_create() {
    check "qemu-img create" qemu-img create -f zoned disk.zoned -o size=512M \
        -o zone_size=16M
    check "for f2fs" qemu-img create -f zoned f2fs.zoned -o size=512M \
        -o zone_size=4M -o zone_nr_conv="$CONVENTIONAL"
    check "for its metadata" qemu-img create -f raw plain.raw 96M
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

guest_btrfs() {
    modprobe btrfs
    check "mkfs.btrfs" mkfs.btrfs -q -O zoned -m single -d single "$DISK"
    fails_below btrfs "$DISK"
    check "scrub" scrub
    check "unmount" umount /mnt
}

meanwhile_btrfs() {
    all_fail 32 0
}

# only: worn
# image: f2fs.zoned
guest_f2fs() {
    modprobe f2fs
    check "mkfs.f2fs" mkfs.f2fs -q -f -m "$DISK"
    fails_below f2fs "$DISK"
    check "unmount" umount /mnt
    check "fsck" fsck.f2fs -f --dry-run "$DISK"
}

# only: worn
meanwhile_f2fs() {
    all_fail 104 $((24 * 4 * MIB))
}

# Its metadata is on an ordinary disk.
#
# only: nvme-worn
# image: f2fs.zoned
# qemu: -drive if=virtio,file=plain.raw,format=raw
guest_f2fs_two() {
    modprobe f2fs
    check "mkfs.f2fs" mkfs.f2fs -q -f -m -c "$DISK" /dev/vda
    fails_below f2fs /dev/vda
    check "unmount" umount /mnt
    check "fsck" fsck.f2fs -f --dry-run /dev/vda
}

# only: nvme-worn
meanwhile_f2fs_two() {
    all_fail 128 0
}

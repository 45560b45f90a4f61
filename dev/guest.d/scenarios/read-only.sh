# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
# A read-only disk refuses all that would change it.

host_create() {
    check "qemu-img create" qemu-img create -f zoned disk.zoned -o size=128M \
        -o zone_size=8M -o zone_nr_conv=2
}

guest_fill() {
    modprobe zonefs
    check "mkzonefs" mkzonefs "$DISK"
    check "mount" mount -t zonefs "$DISK" /mnt
    check "write a file" dd if=/dev/urandom of=/mnt/seq/0 bs=64k count=8 \
        oflag=direct conv=notrunc,fsync
    sha256sum /mnt/seq/0 | save sum
    check "unmount" umount /mnt
    check "an open zone without data" blkzone open -o 0x14000 -c 1 "$DISK"
}

host_identity() {
    sha256sum disk.zoned >identity
    check "the image is known" test -s identity
}

refuses() {
    for action in open close finish reset; do
        check_fails "no $action of a zone$1" blkzone $action -o 0x8000 -c 1 "$DISK"
        check_fails "no $action of all zones$1" blkzone $action "$DISK"
    done
    check_fails "no write to a sequential zone$1" dd if=/dev/zero of="$DISK" \
        bs=4k seek=4096 count=1 oflag=direct conv=notrunc
    check_fails "no write to a conventional zone$1" dd if=/dev/zero of="$DISK" \
        bs=4k count=1 oflag=direct conv=notrunc
}

# disk: read-only=on
guest_refused() {
    modprobe zonefs
    equal "the kernel sees a read-only disk" 1 "$(cat "$BLOCK/ro")"
    equal "and its zones" 16 "$(blkzone report "$DISK" | zone_table | wc -l)"

    refuses ""
    blockdev --setrw "$DISK"
    refuses ", even if the guest insists"

    check "it is mounted to be read" mount -t zonefs -o ro "$DISK" /mnt
    check "the file is what it was" sha256sum -c /saved/sum
    check_fails "no append to the file" dd if=/dev/zero of=/mnt/seq/0 bs=4k count=1 \
        oflag=append,direct conv=notrunc
    check "unmount" umount /mnt
}

host_same() {
    check "no bit of the image has changed" sha256sum -c identity
}

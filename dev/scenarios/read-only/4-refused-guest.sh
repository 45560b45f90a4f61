# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
# disk: read-only=on

modprobe zonefs
equal "the kernel sees a read-only disk" 1 "$(cat "$BLOCK/ro")"
equal "and its zones" 16 "$(blkzone report "$DISK" | zone_table | wc -l)"

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

refuses ""
blockdev --setrw "$DISK"
refuses ", even if the guest insists"

check "it is mounted to be read" mount -t zonefs -o ro "$DISK" /mnt
check "the file is what it was" sha256sum -c /saved/sum
check_fails "no append to the file" dd if=/dev/zero of=/mnt/seq/0 bs=4k count=1 \
    oflag=append,direct conv=notrunc
check "unmount" umount /mnt

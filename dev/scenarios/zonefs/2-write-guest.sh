# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
# zonefs: one file a zone; what is written to it must be there after unmounting.

modprobe zonefs

check "mkzonefs" mkzonefs "$DISK"
check "mount" mount -t zonefs "$DISK" /mnt
equal "a file for each conventional zone but the superblock's" 1 \
    "$(find /mnt/cnv -type f | wc -l)"
equal "a file for each sequential zone" 30 "$(find /mnt/seq -type f | wc -l)"

# append FILE KIBIBYTES
append() {
    dd if=/dev/urandom of="$1" bs=4k count=$(($2 / 4)) iflag=fullblock \
        oflag=append,direct conv=notrunc
}

check "append to a file" append /mnt/seq/0 64
equal "the file has grown" 65536 "$(stat -c %s /mnt/seq/0)"
check "append again" append /mnt/seq/0 64
check_fails "no write but at the end" dd if=/dev/zero of=/mnt/seq/0 bs=4k \
    count=1 seek=64 oflag=direct conv=notrunc
equal "the file is as long as before" 131072 "$(stat -c %s /mnt/seq/0)"
check "fill a file" append /mnt/seq/1 16384
check_fails "no write to a full file" append /mnt/seq/1 4
check "write and truncate a file" append /mnt/seq/2 64
check "truncate it" truncate -s 0 /mnt/seq/2
check "write it again" append /mnt/seq/2 32
check "write the conventional file" dd if=/dev/urandom of=/mnt/cnv/0 bs=4k \
    count=100 seek=7 conv=notrunc,fsync
(cd /mnt && sha256sum cnv/0 seq/0 seq/1 seq/2) | save sums
(cd /mnt && stat -c '%n %s' cnv/* seq/*) | save sizes
check "unmount" umount /mnt
blkzone report "$DISK" | zone_table | save table

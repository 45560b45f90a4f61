# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Without conventional zones, the first zone is for the super block all the same.

modprobe zonefs
check "mkzonefs" mkzonefs "$DISK"
check "mount" mount -t zonefs "$DISK" /mnt
equal "a file for each other zone" 31 "$(find /mnt/seq -type f | wc -l)"
check "append to a file" dd if=/dev/urandom of=/mnt/seq/0 bs=4k count=16 \
    iflag=fullblock oflag=append,direct conv=notrunc
equal "the file has grown" 65536 "$(stat -c %s /mnt/seq/0)"
check_fails "no write but at the end" dd if=/dev/zero of=/mnt/seq/0 bs=4k \
    count=1 seek=64 oflag=direct conv=notrunc
check "truncate it" truncate -s 0 /mnt/seq/0
check "unmount" umount /mnt

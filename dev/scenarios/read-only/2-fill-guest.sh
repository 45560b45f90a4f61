# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later

modprobe zonefs
check "mkzonefs" mkzonefs "$DISK"
check "mount" mount -t zonefs "$DISK" /mnt
check "write a file" dd if=/dev/urandom of=/mnt/seq/0 bs=64k count=8 \
    oflag=direct conv=notrunc,fsync
sha256sum /mnt/seq/0 | save sum
check "unmount" umount /mnt
check "an open zone without data" blkzone open -o 0x14000 -c 1 "$DISK"

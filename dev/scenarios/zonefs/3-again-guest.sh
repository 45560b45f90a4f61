# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
# A second machine finds the files.

modprobe zonefs

equal "zones are as they were left, the open ones closed" \
    "$(power_cycled </saved/table)" "$(blkzone report "$DISK" | zone_table)"
check "mount" mount -t zonefs "$DISK" /mnt
equal "all files are as long as they were" "$(cat /saved/sizes)" \
    "$(cd /mnt && stat -c '%n %s' cnv/* seq/*)"
(cd /mnt && check "all files are what they were" sha256sum -c /saved/sums)
check "append to a file" dd if=/dev/urandom of=/mnt/seq/0 bs=4k count=4 \
    oflag=append,direct conv=notrunc
(cd /mnt && sha256sum seq/0) | save sum
check "unmount" umount /mnt
blkzone report "$DISK" | zone_table | save table

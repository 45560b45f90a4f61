# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck disable=SC2046  # names of files, one a word

modprobe btrfs
check "mkfs.btrfs" mkfs.btrfs -q -O zoned -m single -d single "$DISK"
check "mount" mount -t btrfs "$DISK" /mnt
check "fill half of it" write_files $(files 1 80 1)
check "sync" sync -f /mnt
check "remove every second file" rm $(files 1 80 2)
check "balance" btrfs balance start --full-balance /mnt
check "write again" write_files $(files 101 140 1)
check "sync again" sync -f /mnt
equal "as many zones are full or active as are in use" "" \
    "$(blkzone report "$DISK" | zone_table | grep -vE ' (1|2|3|4|14) 2$')"
check "scrub" scrub
for file in $(files 2 80 2) $(files 101 140 1); do
    number=${file##*/}
    tail -c +"$number" data | head -c 4194304 | cmp -s - "$file" ||
        echo "$number" >>wrong
done
equal "each file is what was written to it" "" "$(cat wrong 2>/dev/null)"
check "unmount" umount /mnt
check "btrfs check" btrfs check --readonly "$DISK"
equal_kernel_log

# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later

modprobe btrfs
check "mkfs.btrfs" mkfs.btrfs -q -O zoned -m single -d single "$DISK"
check "mount" mount -t btrfs "$DISK" /mnt
for mode in wal delete; do
    equal "a database with journal_mode=$mode" $mode "$(sqlite3 /mnt/$mode \
        "PRAGMA journal_mode = $mode; CREATE TABLE t (n, i, data, sum);
         CREATE INDEX by_n ON t (n);
         CREATE INDEX without_sum ON t (sum) WHERE sum = '';")"
    check "some transactions" eval "transactions $mode 1 20 | sqlite3 /mnt/$mode"
done
check "unmount" umount /mnt

# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later

modprobe btrfs
check "mount" mount -t btrfs "$DISK" /mnt
check_synced files
remove_files
mkdir "/mnt/cut$CUT"
load files write "/mnt/cut$CUT" "$SEED" 160 0
# btrfs of Linux 6.12 aborts a transaction that it commits during a scrub; so
# nothing may be left to commit.
case $((CUT % 3)) in
0) beside in_pause sync_and_scrub ;;
1) beside btrfs balance start --full-balance /mnt ;;
2) beside btrfs subvolume snapshot /mnt "/mnt/cut$CUT/$(date +%s%N)" ;;
esac

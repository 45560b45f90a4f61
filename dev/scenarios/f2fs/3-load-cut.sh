# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later

check "mount" mount_f2fs
check_synced files
remove_files
mkdir "/mnt/cut$CUT"
load files write "/mnt/cut$CUT" "$SEED" 160 0
case $((CUT % 2)) in
0) wait ;;
1) beside collect_garbage ;;
esac

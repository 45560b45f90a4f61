# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later

check "dmzadm --start" start
check "mount" mount_ext4
check_synced files
remove_files
mkdir "/mnt/cut$CUT"
load files write "/mnt/cut$CUT" "$SEED" 200 0 /dev/dm-0
wait

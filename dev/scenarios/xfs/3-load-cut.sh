# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later

check "mount" mount_xfs
check_synced files
remove_files
mkdir "/mnt/cut$CUT"
load files write "/mnt/cut$CUT" "$SEED" 300 0
wait

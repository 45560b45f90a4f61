# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later

modprobe zonefs
check "mount" mount -t zonefs "$DISK" /mnt
check_synced appends
load appends write /mnt/seq "$SEED" 6 0
wait

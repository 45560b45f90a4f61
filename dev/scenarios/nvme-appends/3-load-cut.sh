# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later

check_synced nvme-appends
load nvme-appends load "$DISK" "$SEED" 2 6 32
wait

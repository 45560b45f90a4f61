# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later

namespace=$(export_disk "$DISK")
check_synced nvme-appends
load nvme-appends load "$namespace" "$SEED" 2 6 32
wait

# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later

check_synced verify_zones
load write_zones
wait

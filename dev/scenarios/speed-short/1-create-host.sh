# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
# needs: fio
# minutes: 1
# The same as speed, in few rounds: for the short form of dev/bench.
create_disks

# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later

scrub() {
    btrfs scrub start -B /mnt >/tmp/scrub && grep -q "no errors found" /tmp/scrub
}

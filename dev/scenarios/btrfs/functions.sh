# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later

scrub() {
    btrfs scrub start -B /mnt >/tmp/scrub 2>&1 &&
        grep -q "no errors found" /tmp/scrub && return
    cat /tmp/scrub
    return 1
}

sync_and_scrub() {
    sync -f /mnt && scrub
}

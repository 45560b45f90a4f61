# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
# A second machine finds what the first one left.

equal "zones are as they were left, the open ones closed" \
    "$(power_cycled </saved/table)" "$(blkzone report "$DISK" | zone_table)"
equal "every byte is as it was left" "$(cat /saved/sum)" \
    "$(dd if="$DISK" bs=16M count=8 iflag=direct | sha256sum)"
check "a closed zone is written on" dd if=/dev/urandom of="$DISK" bs=512 \
    seek=$((4 * 32768 + 24)) count=8 oflag=direct,dsync
blkzone report "$DISK" | zone_table | save table
dd if="$DISK" bs=16M count=8 iflag=direct | sha256sum | save sum

# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
# device: nvme
# image: worn.zoned
# Zones that can only be read, and are taken offline

states() {
    nvme zns report-zones "$DISK" | sed -nE 's/.* State: (\w+) .*/\1/p' |
        paste -sd ' '
}

dd if=/dev/zero of=data bs=4k count=1 2>/dev/null
equal "two zones are read only" "0x10 0xd0 0xd0 0x10" "$(states)"
check "they are read" nvme read "$DISK" -s 0x8000 -c 7 -z 4096 -d data
refused "they are not written" 1ba nvme write "$DISK" -s 0x8000 -c 7 -z 4096 \
    -d data
refused "they are not reset" 1bf zns reset-zone 1
check "take one offline" zns offline-zone 1
equal "one is offline" "0x10 0xf0 0xd0 0x10" "$(states)"
refused "it is not read" 1bb nvme read "$DISK" -s 0x8000 -c 7 -z 4096 -d data
refused "it is not written" 1bb nvme write "$DISK" -s 0x8000 -c 7 -z 4096 -d data
refused "an empty zone is not taken offline" 1bf zns offline-zone 3
check "take all offline" nvme zns offline-zone "$DISK" --select-all
equal "two are offline" "0x10 0xf0 0xf0 0x10" "$(states)"

# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later

# wait_disk NAME YES-OR-NO: until the disk is there, or is not
wait_disk() {
    for _ in $(seq 1 150); do
        if [ -b "/dev/$1" ]; then there=yes; else there=no; fi
        [ $there = "$2" ] && return
        sleep 0.2
    done
    return 1
}

# pattern NUMBER MEBIBYTES
pattern() {
    yes "$(printf %015d "$1")" | head -c $(($2 * 1048576))
}

# write_zone DISK ZONE MEBIBYTES: its pattern, from the start of the zone
write_zone() {
    zone_mib=$(($(cat "/sys/block/${1#/dev/}/queue/chunk_sectors") / 2048))
    pattern "$2" "$3" | dd of="$1" bs=128k iflag=fullblock \
        seek=$(($2 * zone_mib * 8)) oflag=direct conv=notrunc
}

# has_pattern DISK ZONE MEBIBYTES
has_pattern() {
    zone_mib=$(($(cat "/sys/block/${1#/dev/}/queue/chunk_sectors") / 2048))
    equal "zone $2 of $1 is what was written" \
        "$(pattern "$2" "$3" | sha256sum)" \
        "$(dd if="$1" bs=1M skip=$(($2 * zone_mib)) count="$3" iflag=direct \
            2>/dev/null | sha256sum)"
}

# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
# nvme-cli in a guest: zones by their numbers, tables like zone_table's.

# zns COMMAND N [ARGUMENT...]: on zone N
zns() {
    zns_command=$1
    zns_start=$(($2 * 0x8000))
    shift 2
    nvme zns "$zns_command" "$DISK" -s $zns_start "$@"
}

# nvme_table [ARGUMENT...]: a report, as zone_table shows one. NVMe has no write
# pointer for a full zone; it is shown as the zone's end.
nvme_table() {
    nvme zns report-zones "$DISK" "$@" |
        sed -nE 's/^SLBA: (\w+) +WP: (\w+) +Cap: (\w+) +State: (\w+) +Type: (\w+) .*$/\1 \2 \3 \4 \5/p' |
        while read -r start pointer capacity state type; do
            state=$((state >> 4))
            [ "$state" != 14 ] || pointer=$((start + 0x8000))
            echo "$((start)) 32768 $((capacity)) $((pointer - start)) $state" \
                "$((type))"
        done
}

# zone N: its condition, by number, and its write pointer
zone() {
    nvme_table -s $(($1 * 0x8000)) -d 1 | cut -d ' ' -f 4,5 |
        while read -r pointer condition; do
            echo "$condition $pointer"
        done
}

# refused WHAT STATUS COMMAND...: it fails, with that status of the standard
refused() {
    refused_what=$1
    refused_status=$2
    shift 2
    equal "$refused_what" "$refused_status" \
        "$("$@" 2>&1 | sed -nE 's/^NVMe status: .*\((0x)?[0-9a-f]*([0-9a-f]{3})\)$/\2/p')"
}

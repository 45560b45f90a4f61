# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Zone reports for scenario steps, in the guest and on the host alike.

# known_pointers <REPORT: newer versions of blkzone print no write pointer where
# it means nothing, as for a full zone; then it is the zone's end
known_pointers() {
    sed -E 's/len (0x[0-9a-f]+)(.*) wptr N\/A/len \1\2 wptr \1/'
}

# zone_table <REPORT: from blkzone (in the guest) or qemu-io's zrp (on the host),
# one line a zone: START LENGTH CAPACITY WRITE-POINTER CONDITION TYPE, in
# sectors; the write pointer relative to START, - for a conventional zone
zone_table() {
    known_pointers | sed -nE 's/^ *start: (0x[0-9a-f]+), len (0x[0-9a-f]+), cap (0x[0-9a-f]+), wptr (0x[0-9a-f]+)[, ].*zcond: *([0-9]+).*type: *([0-9]).*$/\1 \2 \3 \4 \5 \6/p' |
    while read -r start length capacity pointer condition type; do
        if [ "$type" = 1 ]; then
            pointer=-
        elif [ "$ZONE_POINTERS" = absolute ]; then
            pointer=$((pointer - start))
        else
            pointer=$((pointer))
        fi
        echo "$((start)) $((length)) $((capacity)) $pointer $condition $type"
    done
}

# power_cycled <TABLE: as the zones are found when the image is opened again:
# the open ones are closed, or empty
power_cycled() {
    while read -r start length capacity pointer condition type; do
        case $condition in
        2 | 3) if [ "$pointer" = 0 ]; then condition=1; else condition=4; fi ;;
        esac
        echo "$start $length $capacity $pointer $condition $type"
    done
}

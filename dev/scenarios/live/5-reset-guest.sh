# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
# The VM is reset while the guest writes, and the guest boots another time by
# itself. This runs once in each of the three boots.

# used ZONE: something is in it
used() {
    ! blkzone report -o $(($1 * 16384)) -c 1 "$DISK" | zone_table | grep -q ' 1 2$'
}

if ! used 40; then
    check "reset all zones" blkzone reset "$DISK"
    for zone in 1 2 40; do
        check "write zone $zone" write_zone "$DISK" $zone 8
    done
    check "flush" sync "$DISK"
    for zone in 50 51 52 53; do
        while :; do
            write_zone "$DISK" $zone 8
            blkzone reset -o $((zone * 16384)) -c 1 "$DISK"
        done &
    done
    sleep 1
    tell_host "reset the machine"
    sleep 1000
elif ! used 41; then
    for zone in 1 2 40; do
        has_pattern "$DISK" $zone 8
    done
    for zone in 50 51 52 53; do
        blkzone report -o $((zone * 16384)) -c 1 "$DISK" | zone_table |
        while read -r _ _ _ pointer _; do
            [ "$pointer" -le 16384 ] || pointer=16384
            pattern $zone 8 | head -c $((pointer * 512)) >expected
            dd if="$DISK" bs=512 skip=$((zone * 16384)) count="$pointer" \
                2>/dev/null >seen
            check "zone $zone, its $pointer sectors, after the reset" cmp \
                expected seen
        done
    done
    check "reset those zones" blkzone reset -o $((50 * 16384)) -c 4 "$DISK"
    check "write them again" write_zone "$DISK" 50 8
    check "write zone 41" write_zone "$DISK" 41 1
    reboot -f
else
    has_pattern "$DISK" 50 8
    has_pattern "$DISK" 41 1
fi

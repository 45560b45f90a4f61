# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
# The disk itself: every transition of a zone, the limits, two boots.

LENGTH=32768        # sectors of a zone: 16 MiB
CAPACITY=24576      # 12 MiB

host_create() {
    check "qemu-img create" qemu-img create -f zoned disk.zoned -o size=512M \
        -o zone_size=16M -o zone_capacity=12M -o zone_nr_conv=2 \
        -o max_open_zones=4 -o max_active_zones=6 -o max_append_sectors=256
}

queue() {
    cat "$BLOCK/queue/$1"
}

# zone N: its condition and write pointer
zone() {
    blkzone report -o $(($1 * LENGTH)) -c 1 "$DISK" | known_pointers |
        sed -E 's/.*wptr 0x0*([0-9a-f]+) .*zcond: *[0-9]+\((..)\).*/\2 0x\1/' |
        while read -r condition pointer; do
            echo "$condition $((pointer))"
        done
}

# manage ACTION N
manage() {
    blkzone "$1" -o $(($2 * LENGTH)) -c 1 "$DISK"
}

# write N SECTOR SECTORS: at a place in zone N
write() {
    dd if=/dev/urandom of="$DISK" bs=512 seek=$(($1 * LENGTH + $2)) count="$3" \
        iflag=fullblock oflag=direct conv=notrunc
}

# Fill zone N to its capacity
fill() {
    dd if=/dev/urandom of="$DISK" bs=256k seek=$(($1 * LENGTH / 512)) \
        count=$((CAPACITY / 512)) iflag=fullblock oflag=direct conv=notrunc
}

# The kernel's view of the disk, every transition that a guest can ask for, the
# limits, and writes where none may go.
guest_manage() {
    equal "the kernel sees a host-managed disk" host-managed "$(queue zoned)"
    equal "number of zones" 32 "$(queue nr_zones)"
    equal "zone size" $LENGTH "$(queue chunk_sectors)"
    equal "open zones" 4 "$(queue max_open_zones)"
    equal "active zones" 6 "$(queue max_active_zones)"
    equal "largest append" 131072 "$(queue zone_append_max_bytes)"
    equal "the report has all zones" 32 "$(blkzone report "$DISK" | zone_table | wc -l)"
    equal "a conventional zone" "0 32768 32768 - 0 1" \
        "$(blkzone report -c 1 "$DISK" | zone_table)"
    equal "a sequential zone" "65536 32768 24576 0 1 2" \
        "$(blkzone report -o 65536 -c 1 "$DISK" | zone_table)"

    check "write an empty zone" write 2 0 8
    equal "it is implicitly open" "oi 8" "$(zone 2)"
    check "open it" manage open 2
    equal "it is explicitly open" "oe 8" "$(zone 2)"
    check "close it" manage close 2
    equal "it is closed" "cl 8" "$(zone 2)"
    check "write a closed zone" write 2 8 8
    equal "it is implicitly open again" "oi 16" "$(zone 2)"
    check "close it while implicitly open" manage close 2
    check "open it while closed" manage open 2
    equal "it is explicitly open again" "oe 16" "$(zone 2)"
    check "finish it" manage finish 2
    equal "it is full" "fu $LENGTH" "$(zone 2)"
    check_fails "a full zone is not written" write 2 16 8
    check_fails "a full zone is not opened" manage open 2
    check "reset it" manage reset 2
    equal "it is empty" "em 0" "$(zone 2)"
    check "open an empty zone" manage open 2
    equal "nothing was written to it" "oe 0" "$(zone 2)"
    check "close a zone that nothing was written to" manage close 2
    equal "that zone is empty" "em 0" "$(zone 2)"
    check "finish an empty zone" manage finish 2
    equal "it is full without data" "fu $LENGTH" "$(zone 2)"

    check "write zone 3" write 3 0 8
    check_fails "a write beyond the write pointer" write 3 16 8
    check_fails "a write below the write pointer" write 3 0 8
    equal "the write pointer has not moved" "oi 8" "$(zone 3)"
    check "the guest goes on at the write pointer" write 3 8 8
    equal "the write pointer moves on" "oi 16" "$(zone 3)"
    check "fill zone 4 to its capacity" fill 4
    equal "zone 4 is full" "fu $LENGTH" "$(zone 4)"
    check_fails "no write between capacity and end" write 4 $CAPACITY 8

    check "write a conventional zone" write 1 100 8
    check "write it again" write 1 100 8
    check "write it further down" write 1 0 8
    check_fails "a conventional zone is not reset" manage reset 1
    check_fails "a conventional zone is not opened" manage open 1

    check "reset all" blkzone reset "$DISK"
    equal "all sequential zones are empty" 30 \
        "$(blkzone report "$DISK" | zone_table | grep -c ' 0 1 2$')"

    for zone in 2 3 4 5 6; do
        check "write zone $zone" write $zone 0 8
    done
    equal "the zone written longest ago made room" "cl 8" "$(zone 2)"
    equal "the next one did not" "oi 8" "$(zone 3)"
    for zone in 3 4 5 6; do
        check "open zone $zone" manage open $zone
    done
    check_fails "no fifth zone is opened" manage open 7
    check_fails "no fifth zone is written" write 7 0 8
    # (After an error from the disk, Linux takes the write pointer from a report.)
    equal "zone 7 is empty" "em 0" "$(zone 7)"
    check "close zone 3" manage close 3
    check "now zone 7 is written" write 7 0 8
    check "close zone 4" manage close 4
    check_fails "no seventh active zone" write 8 0 8
    equal "zone 8 is empty" "em 0" "$(zone 8)"
    check "finish zone 3" manage finish 3
    check "now zone 8 is written" write 8 0 8

    # What the next boot finds: every condition, and data of known sums.
    check "reset all again" blkzone reset "$DISK"
    check "an implicitly open zone" write 2 0 8
    check "an explicitly open zone" write 3 0 16
    manage open 3
    check "a closed zone" write 4 0 24
    manage close 4
    check "a finished zone" write 5 0 32
    manage finish 5
    check "a filled zone" fill 6
    check "an open zone without data" manage open 7
    check "conventional data" write 1 0 8
    check "flush" sync "$DISK"
    blkzone report "$DISK" | zone_table | save table
    equal "the zones to be found again" "0 2 3 4 14 14 3" \
        "$(blkzone report -o $LENGTH -c 7 "$DISK" | zone_table |
            cut -d ' ' -f 5 | tr '\n' ' ' | sed 's/ $//')"
    dd if="$DISK" bs=16M count=8 iflag=direct | sha256sum | save sum
}

# A second machine finds what the first one left.
guest_again() {
    equal "zones are as they were left, the open ones closed" \
        "$(power_cycled </saved/table)" "$(blkzone report "$DISK" | zone_table)"
    equal "every byte is as it was left" "$(cat /saved/sum)" \
        "$(dd if="$DISK" bs=16M count=8 iflag=direct | sha256sum)"
    check "a closed zone is written on" dd if=/dev/urandom of="$DISK" bs=512 \
        seek=$((4 * 32768 + 24)) count=8 oflag=direct,dsync
    blkzone report "$DISK" | zone_table | save table
    dd if="$DISK" bs=16M count=8 iflag=direct | sha256sum | save sum
}

# The host agrees with the guest.
host_agree() {
    check "qemu-img check" qemu-img check disk.zoned
    equal "qemu-io reports the guest's zones" "$(power_cycled <saved/table)" \
        "$(qemu-io --image-opts -r driver=zoned,file.driver=file,file.filename=disk.zoned \
            -c 'zrp 0 32' | zone_table)"
    check "read the first zones" qemu-img dd -f zoned -O raw if=disk.zoned of=data \
        bs=16M count=8
    equal "qemu-img reads the guest's data" "$(cat saved/sum)" "$(sha256sum <data)"
    rm -f data
}

# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
# The disk as a host-managed SMR disk: the commands of ZBC one by one, by sg3-utils,
# what Linux makes of it, two boots, and the same image behind virtio-blk and NVMe.
#
# device: scsi

LENGTH=32768        # blocks of a zone: 16 MiB

host_create() {
    check "qemu-img create" qemu-img create -f zoned disk.zoned -o size=504M \
        -o zone_size=16M -o zone_nr_conv=2 -o max_open_zones=4
    check "one for NVMe, too" qemu-img create -f zoned both.zoned -o size=256M \
        -o zone_size=16M -o max_open_zones=4
}

# bytes SIZE NUMBER: as they are in a CDB
bytes() {
    printf "%0$((2 * $1))x" "$2" | sed 's/../& /g'
}

# cdb NAME LBA [BLOCKS]: a command, its words for sg_raw
cdb() {
    case $1 in
    write) echo "8a 00 $(bytes 8 "$2")$(bytes 4 "$3")00 00" ;;
    read) echo "88 00 $(bytes 8 "$2")$(bytes 4 "$3")00 00" ;;
    write-same) echo "93 01 $(bytes 8 "$2")$(bytes 4 "$3")00 00" ;;
    sync) echo "91 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00" ;;
    close) echo "94 01 $(bytes 8 "$2")00 00 $(bytes 2 "${3:-0}")00 00" ;;
    finish) echo "94 02 $(bytes 8 "$2")00 00 $(bytes 2 "${3:-0}")00 00" ;;
    open) echo "94 03 $(bytes 8 "$2")00 00 $(bytes 2 "${3:-0}")00 00" ;;
    reset) echo "94 04 $(bytes 8 "$2")00 00 $(bytes 2 "${3:-0}")00 00" ;;
    esac
}

# raw NAME LBA [BLOCKS]: send a command; with the data that it needs
raw() {
    case $1 in
    write) set -- "$(cdb "$@")" --infile=data "--send=$(($3 * 512))" ;;
    read) set -- "$(cdb "$@")" --outfile=read "--request=$(($3 * 512))" ;;
    *) set -- "$(cdb "$@")" ;;
    esac
    words=$1
    shift
    # shellcheck disable=SC2086  # words
    sg_raw "$@" "$DISK" $words
}

# zone N: its condition, by number, and its write pointer
zone() {
    blkzone report -o $(($1 * LENGTH)) -c 1 "$DISK" | zone_table |
        cut -d ' ' -f 4,5 | while read -r pointer condition; do
            echo "$condition $pointer"
        done
}

# at N [BLOCK]: a block of zone N
at() {
    echo $(($1 * LENGTH + ${2:-0}))
}

# refused WHAT SENSE NAME LBA [BLOCKS]: with this additional sense
refused() {
    refused_what=$1
    refused_sense=$2
    shift 2
    equal "$refused_what" "$refused_sense" \
        "$(raw "$@" 2>&1 | sed -nE 's/^ *Additional sense: //p' | head -n 1)"
}

# sg_table [ARGUMENT...]: a report by sg3-utils, as zone_table shows one
sg_table() {
    sg_rep_zones --maxlen=65536 "$@" "$DISK" | awk '
        function condition(name) {
            if (name ~ /^Not/) return 0
            if (name ~ /^Empty/) return 1
            if (name ~ /^Implicit/) return 2
            if (name ~ /^Explicit/) return 3
            if (name ~ /^Closed/) return 4
            if (name ~ /^Read/) return 13
            if (name ~ /^Full/) return 14
            return 15
        }
        /Zone type:/ { type = /conventional/ ? 1 : 2 }
        /Zone condition:/ { sub(/.*: /, ""); state = condition($0) }
        /Zone Length:/ { length_ = $3 }
        /Zone start LBA:/ { start = $4 }
        /Write pointer LBA:/ { print start, length_, $4, state, type }' |
        while read -r start length pointer state type; do
            case $state in
            0) pointer=- ;;
            14) pointer=$((length)) ;;
            *) pointer=$((pointer - start)) ;;
            esac
            echo "$((start)) $((length)) $((length)) $pointer $state $type"
        done
}

guest_manage() {
    modprobe sg
    dd if=/dev/urandom of=data bs=512 count=128

    equal "the kernel sees a host-managed disk" host-managed \
        "$(cat "$BLOCK/queue/zoned")"
    equal "number of zones" 32 "$(cat "$BLOCK/queue/nr_zones")"
    equal "open zones" 4 "$(cat "$BLOCK/queue/max_open_zones")"
    equal "sg_inq knows it as one" "host managed zoned block" \
        "$(sg_inq "$DISK" | sed -n 's/.*Peripheral device type: //p')"
    equal "it has the page of zoned disks" 1 \
        "$(sg_vpd --page=zbdc "$DISK" | grep -c 'URSWRZ: 1')"
    equal "its last block" 1032191 \
        "$(sg_readcap --16 "$DISK" | sed -nE 's/.*Last LBA=([0-9]+) .*/\1/p')"
    equal "it lists the operations on zones" 5 \
        "$(sg_opcodes "$DISK" | grep -cE 'Close zone|Finish zone|Open zone|Reset write pointer|Report zones')"
    equal "sg_rep_zones reports what blkzone does" \
        "$(blkzone report "$DISK" | zone_table)" "$(sg_table)"
    equal "the last zone is smaller" "$(at 31) 16384" \
        "$(sg_table --start="$(at 31)" | cut -d ' ' -f 1,2)"

    check "open an empty zone" raw open "$(at 2)"
    equal "it is explicitly open" "3 0" "$(zone 2)"
    check "write it" raw write "$(at 2)" 8
    equal "it stays explicitly open" "3 8" "$(zone 2)"
    check "close it" raw close "$(at 2)"
    equal "it is closed" "4 8" "$(zone 2)"
    check "close it again" raw close "$(at 2)"
    check "write it again" raw write "$(at 2 8)" 120
    equal "it is implicitly open" "2 128" "$(zone 2)"
    check "read what was written" raw read "$(at 2 8)" 120
    check "it is there" cmp -n $((120 * 512)) read data
    check "finish it" raw finish "$(at 2)"
    equal "it is full" "14 $LENGTH" "$(zone 2)"
    check "open a full zone: no change" raw open "$(at 2)"
    check "close a full zone: no change" raw close "$(at 2)"
    equal "it is full as before" "14 $LENGTH" "$(zone 2)"
    check "close an empty zone: no change" raw close "$(at 3)"
    equal "it is empty as before" "1 0" "$(zone 3)"
    check "finish three zones" raw finish "$(at 3)" 3
    equal "they are full" "14 14 14 1" "$(for i in 3 4 5 6; do zone $i; done |
        cut -d ' ' -f 1 | tr '\n' ' ' | sed 's/ $//')"
    check "reset them" raw reset "$(at 3)" 3
    check "zeroes are written, too" raw write-same "$(at 3)" 24
    equal "they move the write pointer" "2 24" "$(zone 3)"

    unaligned="Unaligned write command"
    refused "a write beyond the write pointer" "$unaligned" write "$(at 3 32)" 8
    refused "a write below the write pointer" "$unaligned" write "$(at 3)" 8
    equal "it has not moved" "2 24" "$(zone 3)"
    refused "a write over the end of a zone" "Write boundary violation" \
        write "$(at 3 $((LENGTH - 4)))" 8
    refused "a write from a conventional zone to a sequential one" \
        "Write boundary violation" write "$(at 2 -4)" 8
    refused "a read from one to the other" "Attempt to read invalid data" \
        read "$(at 2 -4)" 8
    check "a read over write pointers and zones" raw read "$(at 4 -4)" 8
    invalid="Invalid field in cdb"
    refused "a write to a full zone" "$invalid" write "$(at 2)" 8
    refused "an operation on no zone's start" "$invalid" open "$(at 2 1)"
    refused "an operation on a conventional zone" "$invalid" reset "$(at 1)"
    refused "an operation on more zones than there are" "$invalid" open "$(at 31)" 2
    refused "an operation behind the last block" \
        "Logical block address out of range" open "$(at 31 16384)"
    check "a conventional zone is written anywhere" raw write "$(at 0 77)" 8

    check "reset all" sg_reset_wp --all "$DISK"
    equal "all sequential zones are empty" 30 "$(sg_table | grep -c ' 0 1 2$')"
    for i in 2 3 4 5 6; do
        check "write zone $i" raw write "$(at $i)" 8
    done
    equal "the zone written longest ago made room" "4 8,2 8" "$(zone 2),$(zone 3)"
    check "open zones" raw open "$(at 3)" 4
    resources="Insufficient zone resources"
    refused "no fifth zone is opened" "$resources" open "$(at 7)"
    refused "no fifth zone is written" "$resources" write "$(at 7)" 8
    check "close all" sg_zone --close --all "$DISK"
    equal "all open zones are closed" 5 "$(sg_table --report=4 | wc -l)"
    refused "not all closed zones can be opened" "$resources" \
        open "$(at 2)" 5
    check "finish zone 2" sg_zone --finish --zone="$(at 2)" "$DISK"
    check "open zone 3" sg_zone --open --zone="$(at 3)" "$DISK"
    check "write zone 8" raw write "$(at 8)" 8
    for state in 1 2 3 4; do
        equal "a report of zones in condition $state" \
            "$(sg_table | grep " $state 2\$")" "$(sg_table --report=$state)"
    done
    equal "a report of full zones" "$(sg_table | grep ' 14 2$')" \
        "$(sg_table --report=5)"
    equal "a report of conventional zones" "$(sg_table | head -n 2)" \
        "$(sg_table --report=63)"
    check "flush" raw sync
    sg_table | save table
    save written <data
}

# A second machine finds what the first one left. (The disk is formatted in the end.)
guest_again() {
    modprobe sg
    equal "zones are as they were left, the open ones closed" \
        "$(power_cycled </saved/table)" "$(sg_table)"
    check "what was written is there" raw read "$(at 8)" 8
    check "read it" cmp -n 4096 read /saved/written
    check "format" sg_format --format --quick "$DISK"
    equal "all sequential zones are empty" 30 "$(sg_table | grep -c ' 0 1 2$')"
}

# write_three: three zones, each its own way
write_three() {
    dd if=/dev/urandom of="$DISK" bs=64k count=3 seek=0 oflag=direct
    dd if=/dev/urandom of="$DISK" bs=64k count=2 seek=256 oflag=direct
    dd if=/dev/urandom of="$DISK" bs=64k count=1 seek=512 oflag=direct
    blkzone finish -o 65536 -c 1 "$DISK"
    blkzone close -o 32768 -c 1 "$DISK"
}

# as_left DEVICE: what a guest with another device has left, shown by this one
as_left() {
    equal "$1 reports the same" "$(power_cycled </saved/both)" \
        "$(blkzone report "$DISK" | zone_table)"
    equal "and has the same data" "$(cat /saved/both-sum)" \
        "$(first_zone "$(cat /saved/both-blocks)")"
}

# first_zone N: of N times 64 KiB
first_zone() {
    dd if="$DISK" bs=64k count="$1" | sha256sum
}

# leave N: so many times 64 KiB are in the first zone
leave() {
    blkzone report "$DISK" | zone_table | save both
    first_zone "$1" | save both-sum
    echo "$1" | save both-blocks
}

# write_on N: behind N times 64 KiB that are in the first zone
write_on() {
    check "write on" dd if=/dev/urandom of="$DISK" bs=64k count=1 seek="$1" \
        oflag=direct
    leave $(($1 + 1))
}

# The same image behind each device
#
# image: both.zoned
guest_one() {
    check "write on SCSI" write_three
    leave 3
}

# image: both.zoned
# device: virtio-blk
guest_two() {
    as_left virtio-blk
    write_on 3
}

# image: both.zoned
# device: nvme
guest_three() {
    as_left NVMe
    write_on 4
}

# image: both.zoned
# device: scsi-512e
guest_four() {
    as_left SCSI
    equal "with physical blocks of 4 KiB" "512 4096 4096" \
        "$(cat "$BLOCK/queue/logical_block_size" "$BLOCK/queue/physical_block_size" \
            "$BLOCK/queue/zone_write_granularity" | tr '\n' ' ' | sed 's/ $//')"
    check_fails "no part of one is written" \
        dd if=/dev/urandom of="$DISK" bs=512 count=1 seek=640 oflag=direct
    # (After an error from the disk, Linux takes the write pointer from a report.)
    equal "the write pointer has not moved" 640 \
        "$(blkzone report -c 1 "$DISK" | zone_table | cut -d ' ' -f 4)"
    check "a whole one is" \
        dd if=/dev/urandom of="$DISK" bs=4k count=1 seek=80 oflag=direct
}

# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
# The disk as an NVMe namespace: nvme-cli's commands one by one, two boots, and
# the same image behind virtio-blk.
#
# device: nvme

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

# worn ZONE ADDRESS: the zone at ADDRESS (its 4th byte) of another disk can only
# be read
worn() {
    printf '\0\0\0%b\0\0\0\320' "$2" |
        dd of=worn.zoned bs=8 seek=$((512 + $1)) conv=notrunc
}

host_create() {
    check "qemu-img create" qemu-img create -f zoned disk.zoned -o size=256M \
        -o zone_size=16M -o zone_capacity=12M -o max_open_zones=4 \
        -o max_active_zones=6 -o max_append_sectors=256 -o zd_extension_size=64

    check "another disk" qemu-img create -f zoned worn.zoned -o size=64M \
        -o zone_size=16M
    check "its zone 1 is read only" worn 1 '\001'
    check "its zone 2 is read only" worn 2 '\002'
}

# io COMMAND LBA [ARGUMENT...]: 8 blocks of data
io() {
    io_command=$1
    io_start=$2
    shift 2
    nvme "$io_command" "$DISK" -s "$io_start" -c 7 -z 4096 -d data "$@"
}

append() {
    zns zone-append "$1" -z 4096 -d data
}

queue() {
    cat "$BLOCK/queue/$1"
}

# Every command of nvme-cli for zones, and the statuses they can have.
guest_manage() {
    dd if=/dev/urandom of=data bs=4k count=1 2>/dev/null

    equal "the kernel sees a host-managed disk" host-managed "$(queue zoned)"
    equal "number of zones" 16 "$(queue nr_zones)"
    equal "open zones" 4 "$(queue max_open_zones)"
    equal "active zones" 6 "$(queue max_active_zones)"
    equal "largest append" 131072 "$(queue zone_append_max_bytes)"
    equal "ZASL" 5 "$(nvme zns id-ctrl /dev/nvme0 | sed -n 's/^zasl *: //p')"
    equal "MAR and MOR" "0x5 0x3" \
        "$(nvme zns id-ns "$DISK" | sed -nE 's/^m[ao]r +: //p' | paste -sd ' ')"
    equal "the report has all zones" 16 "$(nvme_table | wc -l)"
    equal "an empty zone" "32768 32768 24576 0 1 2" "$(nvme_table -s 0x8000 -d 1)"

    check "open an empty zone" zns open-zone 1
    equal "it is explicitly open" "3 0" "$(zone 1)"
    check "write it" io write 0x8000
    equal "it stays explicitly open" "3 8" "$(zone 1)"
    check "close it" zns close-zone 1
    equal "it is closed" "4 8" "$(zone 1)"
    check "append to it" append 1
    equal "it is implicitly open" "2 16" "$(zone 1)"
    equal "an append says where it went" "Success appended data to LBA 8010" \
        "$(append 1)"
    check "finish it" zns finish-zone 1
    equal "it is full" "14 32768" "$(zone 1)"
    check "reset it" zns reset-zone 1
    equal "it is empty" "1 0" "$(zone 1)"
    check "write zeroes" nvme write-zeroes "$DISK" -s 0x8000 -c 7
    equal "zeroes move the write pointer" "2 8" "$(zone 1)"

    refused "a write beyond the write pointer" 1bc io write 0x8010
    refused "a write below the write pointer" 1bc io write 0x8000
    refused "a write beyond the capacity" 1b8 \
        nvme write-zeroes "$DISK" -s 0x8008 -c 0x6000
    refused "an append that does not name the zone" 002 nvme zns zone-append \
        "$DISK" -s 0x8001 -z 4096 -d data
    refused "close an empty zone" 1bf zns close-zone 2
    check "finish zone 3" zns finish-zone 3
    refused "write a full zone" 1b9 io write 0x18000
    refused "append to a full zone" 1b9 append 3
    refused "open a full zone" 1bf zns open-zone 3
    refused "an action on no zone's start" 002 nvme zns open-zone "$DISK" -s 0x8001
    refused "an action beyond the last zone" 080 zns open-zone 16

    printf '%064d' 7 >extension
    check "set a descriptor extension" zns set-zone-desc 4 -d extension
    equal "the zone is closed" "4 0" "$(zone 4)"
    equal "an extended report has it" "30 37" \
        "$(zns report-zones 4 -d 1 --extended |
            sed -nE 's/^0030: (..) .* (..) "0+7"$/\1 \2/p')"
    refused "set it once more" 1bf zns set-zone-desc 4 -d extension
    check "reset that zone" zns reset-zone 4

    check "compare" io write 0x10000
    check "what was written is there" io compare 0x10000
    refused "compare what was not written" 285 io compare 0x10008
    check "verify" nvme verify "$DISK" -s 0x10000 -c 7
    check "copy" nvme copy "$DISK" --sdlba=0x20000 --slbs=0x10000 --blocks=7
    equal "a copy is a write" "2 8" "$(zone 4)"
    check "what was copied is there" io compare 0x20000
    check "deallocate" nvme dsm "$DISK" --ad --slbs=0x10000 --blocks=8
    check "it is still there" io compare 0x10000
    check "flush" nvme flush "$DISK"
    refused "no other format of a zoned namespace" 10a \
        nvme format /dev/nvme0 -n 1 --lbaf=1 --force
    check "format" nvme format /dev/nvme0 -n 1 --force
    equal "it has emptied all zones" 16 "$(nvme_table | grep -c ' 0 1 2$')"
    check "write a formatted namespace" io write 0x10000

    check "reset all" nvme zns reset-zone "$DISK" --select-all
    equal "all zones are empty" 16 "$(nvme_table | grep -c ' 0 1 2$')"
    for zone in 0 1 2 3 4 5; do
        check "write zone $zone" io write $((zone * 0x8000))
    done
    equal "the zones written longest ago made room" "4 8,4 8,2 8" \
        "$(zone 0),$(zone 1),$(zone 2)"
    refused "no seventh active zone is written" 1bd io write 0x30000
    refused "no seventh active zone is appended to" 1bd append 6
    refused "no seventh active zone is opened" 1bd zns open-zone 6
    for zone in 2 3 4 5; do
        check "open zone $zone" zns open-zone $zone
    done
    refused "no fifth open zone is written" 1be io write 8
    refused "no fifth open zone is opened" 1be zns open-zone 0
    check "close all" nvme zns close-zone "$DISK" --select-all
    equal "all open zones are closed" 6 "$(nvme_table -S 4 | wc -l)"
    check "finish zone 5" zns finish-zone 5

    check "open zone 6" zns open-zone 6
    check "write zone 2" io write 0x10008
    for state in 0 1 2 3 4 5; do
        equal "a report of zones in condition $state" \
            "$(case $state in
                0) nvme_table ;;
                5) nvme_table | grep ' 14 2$' ;;
                *) nvme_table | grep " $state 2\$" ;;
            esac)" "$(nvme_table -S $state)"
    done
    equal "a report of read only zones" "" "$(nvme_table -S 6)"
    equal "blkzone reports the same" "$(nvme_table)" \
        "$(blkzone report "$DISK" | zone_table)"
    check "reset zone 4" zns reset-zone 4
    check "set another descriptor extension" zns set-zone-desc 7 -d extension
    nvme_table | save table
    save written <data
}

# A second machine finds what the first one left; its controller is reset.
guest_reset() {
    equal "zones are as they were left, the open ones closed" \
        "$(power_cycled </saved/table)" "$(nvme_table)"
    check "what was written is there" \
        nvme compare "$DISK" -s 0x10000 -c 7 -z 4096 -d /saved/written
    equal "a descriptor extension is there" 1 \
        "$(zns report-zones 7 -d 1 --extended | grep -c '^0030: 30 .*0000007"$')"
    check "open zone 6" zns open-zone 6
    check "open zone 0" zns open-zone 0
    nvme_table >table
    check "reset the controller" nvme reset /dev/nvme0
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        nvme_table >/dev/null && break
        sleep 0.5
    done
    equal "after a reset, open zones are closed, or empty" \
        "$(power_cycled <table)" "$(nvme_table)"
    check "a closed zone is written on" nvme write "$DISK" -s 8 -c 7 -z 4096 \
        -d /saved/written
    nvme_table | save table
}

# The host agrees with the guest.
host_agree() {
    check "qemu-img check" qemu-img check disk.zoned
    equal "qemu-io reports the guest's zones" "$(power_cycled <saved/table)" \
        "$(qemu-io --image-opts -r driver=zoned,file.driver=file,file.filename=disk.zoned \
            -c 'zrp 0 16' | zone_table)"
}

# The same disk behind virtio-blk
#
# device: virtio-blk
guest_virtio() {
    equal "virtio-blk has the same zones" "$(power_cycled </saved/table)" \
        "$(blkzone report "$DISK" | zone_table)"
    equal "and the same data" "$(sha256sum </saved/written)" \
        "$(dd if="$DISK" bs=4k skip=8192 count=1 iflag=direct | sha256sum)"
    check "a closed zone is written on" dd if=/saved/written of="$DISK" bs=4k seek=2 \
        oflag=direct conv=notrunc
    blkzone report "$DISK" | zone_table | save table
}

# And back
guest_back() {
    equal "NVMe has the zones that virtio-blk left" \
        "$(power_cycled </saved/table)" "$(nvme_table)"
    check "what virtio-blk wrote is there" \
        nvme compare "$DISK" -s 16 -c 7 -z 4096 -d /saved/written
}

states() {
    nvme zns report-zones "$DISK" | sed -nE 's/.* State: (\w+) .*/\1/p' |
        paste -sd ' '
}

# Zones that can only be read, and are taken offline
#
# image: worn.zoned
guest_worn() {
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
}

# The host finds them offline.
host_worn() {
    check "qemu-img check" qemu-img check worn.zoned
    equal "conditions" "1 15 15 1" \
        "$(qemu-io -f zoned -r -c 'zrp 0 4' worn.zoned | zone_table |
            cut -d ' ' -f 5 | paste -sd ' ')"
}

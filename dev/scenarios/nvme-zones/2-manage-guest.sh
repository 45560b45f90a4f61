# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
# device: nvme
# Every command of nvme-cli for zones, and the statuses they can have.

dd if=/dev/urandom of=data bs=4k count=1 2>/dev/null

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
refused "no format of a zoned namespace" 10a nvme format /dev/nvme0 -n 1 --force

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

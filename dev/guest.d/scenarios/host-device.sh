# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
# qemu-img converts zoned disks of its host, which is a guest here, with their zones.
#
# needs: tools

host_create() {
    check "qemu-img create" qemu-img create -f zoned disk.zoned 64M
}

# write_zone ZONE COUNT: blocks of 64 KiB, from its start
write_zone() {
    dd if=/dev/urandom of="$source" bs=64k count="$2" \
        seek=$(($1 * zone_size / 65536)) oflag=direct conv=notrunc
}

# operate OPERATION ZONE COUNT
operate() {
    blkzone "$1" -o $(($2 * zone_size / 512)) -c "$3" "$source"
}

# fill: zones in all conditions that a guest can bring them to; two conventional
# ones come first
fill() {
    capacity=$(blkzone report -o $((2 * zone_size / 512)) -c 1 "$source" |
        zone_table | cut -d ' ' -f 3)
    check "write a conventional zone" write_zone 1 5
    check "write a zone" write_zone 3 7
    check "close it" operate close 3 1
    check "write others" write_zone 4 1
    check "open one of them" operate open 4 1
    check "write one that stays open" write_zone 5 9
    check "open an empty one" operate open 6 1
    check "fill one" write_zone 7 $((capacity / 128))
    check "write the next one in part" write_zone 8 3
    check "finish it" operate finish 8 1
    check "finish an empty one" operate finish 9 1
    check "write the last one" write_zone $((zones - 1)) 2
}

# of_image: what qemu-io reports of it
of_image() {
    qemu-io -f zoned -r -c "zrp 0 $zones" /tmp/image |
        ZONE_POINTERS=absolute zone_table
}

# of_source: as the guest sees it, but that a copy has no open zones, and that the
# write pointer of a full zone means nothing
of_source() {
    blkzone report "$source" | zone_table | power_cycled |
        awk '$5 == 14 { $4 = $2 } { print }'
}

# convert NAME: the disk, and look at what comes of it
convert() {
    options=driver=host_device,filename=$source
    check "$1: convert" qemu-img convert --image-opts -O zoned "$options" \
        /tmp/image
    check "$1: qemu-img check" qemu-img check -f zoned /tmp/image
    equal "$1: conditions and write pointers are the same" "$(of_source)" \
        "$(of_image)"
    check "$1: so is the data" qemu-img compare --zones --image-opts \
        "$options" driver=zoned,file.filename=/tmp/image
    equal "$1: so are the limits" "$(limits)" "$(qemu-img info /tmp/image |
        sed -n 's/^ *max \(open\|active\) zones: /\1 /p' | sort)"
    check "$1: a zone is reset" operate reset 3 1
    check_fails "$1: they differ then" qemu-img compare --zones --image-opts \
        "$options" driver=zoned,file.filename=/tmp/image
    rm /tmp/image
}

# limits: what the kernel knows of them, without those that are none
limits() {
    for name in active open; do
        echo "$name $(cat "/sys/block/${source##*/}/queue/max_${name}_zones")"
    done
}

# A null_blk has limits of both, and capacities.
guest_null_blk() {
    modprobe null_blk nr_devices=1 zoned=1 memory_backed=1 gb=1 bs=4096 \
        zone_size=8 zone_capacity=7 zone_nr_conv=2 zone_max_open=6 \
        zone_max_active=9
    source=/dev/nullb0
    zone_size=8388608 zones=128
    fill
    convert null_blk
}

guest_scsi_debug() {
    modprobe -a sd_mod
    modprobe scsi_debug zbc=host-managed dev_size_mb=128 zone_size_mb=4 \
        zone_nr_conv=2 zone_max_open=6
    for _ in $(seq 50); do
        [ -b /dev/sda ] && break
        sleep 0.1
    done
    source=/dev/sda
    zone_size=4194304 zones=32
    fill
    convert scsi_debug
}

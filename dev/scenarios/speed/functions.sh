# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Two disks take turns at jobs of fio.

# create_disks: what is compared
create_disks() {
    check "qemu-img create" qemu-img create -f zoned disk.zoned -o size=1G
    check "a raw disk of that size" qemu-img create -f raw disk.raw 1G
}

# namespace N: its disk; Linux does not always number them alike
namespace() {
    for block in /sys/block/nvme0n*; do
        [ "$(cat "$block/nsid")" != "$1" ] || echo "/dev/${block##*/}"
    done
}

# job_of_fio DISK OPTIONS...: from the start of the disk; fio resets the zones
# that are full, one after the other. On a disk without zones it does the same
# with zones that it keeps in mind itself.
job_of_fio() {
    disk=$1
    shift
    fio --name=speed --filename="$disk" --zonemode=zbd --zonesize=64M \
        --direct=1 --rw=write --ioengine=libaio --group_reporting "$@"
}

# requests DISK OPTIONS...: in a second of a job
requests() {
    job_of_fio "$@" --time_based --runtime=1 --output-format=json |
        sed -n '/"write" :/,$s/^ *"iops" : \([0-9.]*\).*/\1/p' | head -n 1
}

# namespace_of DISK: itself if it is an NVMe namespace
namespace_of() {
    case $1 in
    /dev/nvme*) echo "$1" ;;
    *) export_disk "$1" ;;
    esac
}

# appends NAMESPACE ZONES: in a second, 32 in flight, or as many writes if it
# has no zones
appends() {
    case $(cat "/sys/block/${1##*/}/queue/zoned") in
    none) command='write' ;;
    *) command='append' ;;
    esac
    nvme-rate $command "$1" 0x4000000 "$2" 32 1
}

# job NAME requests|appends OPTIONS...: lines `NAME left|right FIGURE`; the
# order alternates
job() {
    name=$1
    measured=$2
    shift 2
    for round in $(seq "$rounds"); do
        for side in $([ $((round % 2)) = 0 ] && echo left right ||
                      echo right left); do
            disk=$([ "$side" = left ] && echo "$left" || echo "$right")
            echo "$name $side $("$measured" "$disk" "$@")"
        done
    done
}

# measure NAME LEFT RIGHT [ROUNDS]: all jobs on two disks; the figures are saved
# as NAME. Two runs on one disk differ by a tenth, however long they are: many
# short ones tell more.
measure() {
    left=$2
    right=$3
    rounds=${4:-40}
    # What a first write costs more in the file of the host comes before; then
    # all zones are full.
    job_of_fio "$left" --bs=1M >/dev/null
    job_of_fio "$right" --bs=1M >/dev/null
    {
        job "4 KiB, one writer" requests --bs=4k --iodepth=1
        # In a zone, Linux has one write in flight, however many it is given.
        for depth in 1 4; do
            job "64 KiB, four writers, depth $depth" requests --bs=64k \
                --numjobs=4 --iodepth=$depth --offset_increment=256M --size=256M
        done
        left=$(namespace_of "$left")
        right=$(namespace_of "$right")
        for zones in 1 4; do
            job "4 KiB appends, zones: $zones" appends $zones
        done
    } >/tmp/figures
    equal "each job has its figures" $((5 * 2 * rounds)) \
        "$(grep -c ' [1-9][0-9.]*$' /tmp/figures)"
    save "$1" </tmp/figures
}

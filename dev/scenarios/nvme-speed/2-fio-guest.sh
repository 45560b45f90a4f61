# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
# device: nvme
# disk: file.discard=ignore
# qemu: -blockdev driver=raw,node-name=second,file.driver=file,file.filename=disk.raw -device nvme-ns,bus=nvme,drive=second,zoned=on,zoned.zone_size=64M
# seconds: 1200
#
# A reset of zones in memory writes zeroes, and the file keeps its blocks; so
# discards are off, or a reset would give them back, to be found again.

# namespace N: its disk; Linux does not always number them alike
namespace() {
    for block in /sys/block/nvme0n*; do
        [ "$(cat "$block/nsid")" != "$1" ] || echo "/dev/${block##*/}"
    done
}

# Requests in a second of a job of 5 seconds on namespace $1; the rest are
# options
requests() {
    namespace=$(namespace "$1")
    shift
    blkzone reset "$namespace"
    fio --name=speed --filename="$namespace" --direct=1 --rw=write \
        --zonemode=zbd --time_based --runtime=5 --group_reporting \
        --ioengine=libaio --output-format=json "$@" |
        sed -n '/"write" :/,$s/^ *"iops" : \([0-9.]*\).*/\1/p' | head -n 1
}

# job NAME OPTIONS...: both, one after the other, whoever was last first
job() {
    name=$1
    shift
    for round in 1 2 3 4 5 6; do
        for number in $([ $((round % 2)) = 0 ] && echo 1 2 || echo 2 1); do
            echo "$name $number $(requests "$number" "$@")"
        done
    done
}

# What a first write costs more in the file of the host, both have behind them.
for number in 1 2; do
    fio --name=fill --filename="$(namespace $number)" --direct=1 --rw=write \
        --bs=1M --zonemode=zbd --ioengine=libaio >/dev/null
done
job one-writer --bs=4k --iodepth=1 >/tmp/speed
job four-writers --bs=64k --iodepth=4 --numjobs=4 \
    --offset_increment=256M --size=256M >>/tmp/speed
equal "each job has its figures" 24 "$(grep -c ' [1-9][0-9.]*$' /tmp/speed)"
save figures </tmp/speed

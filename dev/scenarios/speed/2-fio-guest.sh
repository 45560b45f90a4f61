# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
# qemu: -blockdev driver=raw,node-name=second,file.driver=file,file.filename=disk.raw -device virtio-blk-pci,drive=second
# seconds: 1200

# Requests in a second of a job of 5 seconds on /dev/$1; the rest are options
requests() {
    device=$1
    shift
    fio --name=speed --filename="/dev/$device" --direct=1 --rw=write \
        --time_based --runtime=5 --group_reporting --ioengine=libaio \
        --output-format=json "$@" |
        sed -n '/"write" :/,$s/^ *"iops" : \([0-9.]*\).*/\1/p' | head -n 1
}

# job NAME OPTIONS...: both disks, one after the other, whoever was last first
job() {
    name=$1
    shift
    for round in 1 2 3 4 5; do
        zoned() {
            blkzone reset /dev/vda
            echo "$name zoned $(requests vda --zonemode=zbd "$@")"
        }
        raw() {
            echo "$name raw $(requests vdb "$@")"
        }
        if [ $((round % 2)) = 0 ]; then
            zoned "$@"
            raw "$@"
        else
            raw "$@"
            zoned "$@"
        fi
    done
}

# What a first write costs more in the file of the host, both have behind them.
for device in vda vdb; do
    fio --name=fill --filename=/dev/$device --direct=1 --rw=write --bs=1M \
        --zonemode="$([ $device = vda ] && echo zbd || echo none)" \
        --ioengine=libaio >/dev/null
done
job "4 KiB, one writer" --bs=4k --iodepth=1 >/tmp/speed
job "64 KiB, four writers" --bs=64k --iodepth=4 --numjobs=4 \
    --offset_increment=256M --size=256M >>/tmp/speed
equal "each job has its figures" 20 "$(grep -c ' [1-9][0-9.]*$' /tmp/speed)"
save figures </tmp/speed

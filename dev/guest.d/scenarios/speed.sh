# shellcheck shell=sh disable=SC2154,SC2153  # answer, of steps/beside.sh; DISK, BLOCK
# SPDX-License-Identifier: GPL-2.0-or-later
# Jobs of fio, and appends, on the zoned disk and on another take turns; for
# dev/bench.
#
# The other is a raw disk or, on NVMe, a namespace whose zones are kept in
# memory. speed-short is the same in few rounds, for the short form of dev/bench.
#
# needs: fio
# seconds: 1200
# run: speed minutes=9
# run: speed-short minutes=1 ROUNDS=3
# run: nvme-speed device=nvme minutes=20
# run: scsi-speed device=scsi minutes=7
# run: fsync-speed device=nvme minutes=5
# run: backup-speed minutes=6 ROUNDS=40
# run: map-speed minutes=8 ROUNDS=100

# namespace N: its disk; Linux does not always number them alike
namespace() {
    for block in /sys/block/nvme0n*; do
        [ "$(cat "$block/nsid")" != "$1" ] || echo "/dev/${block##*/}"
    done
}

# job_of_fio DISK OPTIONS...: from the start of the disk; fio resets the zones
# that are full, one after the other. On a disk without zones it does the same
# with zones that it keeps in mind itself. With run=exec, it takes the place of the
# shell.
run=
job_of_fio() {
    disk=$1
    shift
    $run fio --name=speed --filename="$disk" --zonemode=zbd --zonesize=64M \
        --direct=1 --rw=write --ioengine=libaio --group_reporting "$@"
}

# requests DISK OPTIONS...: in a second of a job
requests() {
    job_of_fio "$@" --time_based --runtime=1 --output-format=json |
        sed -n '/"write" :/,$s/^ *"iops" : \([0-9.]*\).*/\1/p' | head -n 1
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
    for round in $(seq "${ROUNDS:-40}"); do
        for side in $([ $((round % 2)) = 0 ] && echo left right ||
                      echo right left); do
            disk=$([ "$side" = left ] && echo "$left" || echo "$right")
            echo "$name $side $("$measured" "$disk" "$@")"
        done
    done
}

# measure NAME LEFT RIGHT: all jobs on two disks; the figures are saved
# as NAME. Two runs on one disk differ by a tenth, however long they are: many
# short ones tell more.
measure() {
    left=$2
    right=$3
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
    equal "each job has its figures" $((5 * 2 * ${ROUNDS:-40})) \
        "$(grep -c ' [1-9][0-9.]*$' /tmp/figures)"
    save "$1" </tmp/figures
}

# with_backup DISK OPTIONS...: requests in a second while the host backs the disk
# up, as a part of those without that
with_backup() {
    without=$(requests "$@")
    tell_host "back up $1"
    with=$(requests "$@")
    tell_host "enough"
    echo "$with $without" | awk '{ printf "%.4f\n", $1 / $2 }'
}

# writes_done: the time in seconds, and how many writes the disk has done
writes_done() {
    read -r seconds _ </proc/uptime
    read -r _ _ _ _ writes _ <"$BLOCK/stat"
    echo "$seconds $writes"
}

# beside_map NAME OPTIONS...: lines `NAME left|right FIGURE`, of one job that goes
# on while somebody watches for a second, or nobody does. Jobs differ by a tenth;
# the seconds of one do not.
beside_map() {
    name=$1
    shift
    run='exec'
    job_of_fio "$DISK" "$@" --time_based --runtime=1h >/dev/null &
    fio=$!
    run=
    sleep 3
    for round in $(seq "$ROUNDS"); do
        for side in $([ $((round % 2)) = 0 ] && echo left right ||
                      echo right left); do
            tell_host "job $([ "$side" = left ] && echo watched || echo alone)"
            before=$(writes_done)
            sleep 1
            echo "$before $(writes_done)" | awk -v of="$name $side" \
                '{ printf "%s %.1f\n", of, ($4 - $2) / ($3 - $1) }'
        done
    done
    kill $fio
    wait $fio || true
}

host_create() {
    check "qemu-img create" qemu-img create -f zoned disk.zoned -o size=1G
    check "a raw disk of that size" qemu-img create -f raw disk.raw 1G
}

# only: backup-speed
host_create_copies() {
    for name in zoned raw; do
        check "a file for a copy" truncate -s "$(stat -c %s disk.$name)" \
            $name.copy
    done
}

# A raw disk is overwritten where it is; so a reset must not give blocks back.
#
# only: speed speed-short
# disk: file.discard=ignore,file.cache.direct=on,file.aio=native
# qemu: -blockdev driver=raw,node-name=second,file.driver=file,file.filename=disk.raw,file.cache.direct=on,file.aio=native -device virtio-blk-pci,drive=second
guest_fio() {
    measure figures /dev/vda /dev/vdb
}

# only: scsi-speed
# disk: file.discard=ignore,file.cache.direct=on,file.aio=native
# qemu: -blockdev driver=raw,node-name=second,file.driver=file,file.filename=disk.raw,file.cache.direct=on,file.aio=native -device scsi-hd,bus=scsi.0,drive=second
guest_scsi() {
    left=/dev/sda
    right=/dev/sdb
    job_of_fio "$left" --bs=1M >/dev/null
    job_of_fio "$right" --bs=1M >/dev/null
    {
        job "4 KiB, one writer" requests --bs=4k --iodepth=1
        job "64 KiB, four writers" requests --bs=64k --numjobs=4 --iodepth=4 \
            --offset_increment=256M --size=256M
    } >/tmp/figures
    equal "each job has its figures" $((2 * 2 * ${ROUNDS:-40})) \
        "$(grep -c ' [1-9][0-9.]*$' /tmp/figures)"
    save figures </tmp/figures
}

# What the host's disk takes for it would hide what the job takes: all goes to the
# page cache.
#
# only: backup-speed
# disk: file.node-name=below,file.discard=ignore,file.cache.no-flush=on
# qemu: -blockdev driver=raw,node-name=second,file.driver=file,file.filename=disk.raw,file.cache.no-flush=on -device virtio-blk-pci,drive=second
guest_backup() {
    left=/dev/vda
    right=/dev/vdb
    job_of_fio $left --bs=1M >/dev/null
    job_of_fio $right --bs=1M >/dev/null
    job "64 KiB writes during a backup" with_backup --bs=64k --iodepth=1 \
        >/tmp/figures
    equal "there are all figures" $((2 * ROUNDS)) \
        "$(grep -c ' [0-9][0-9.]*$' /tmp/figures)"
    save figures </tmp/figures
}

# The job is so slow that the writes find nothing copied yet: each of them waits
# for a copy of what was there.
#
# only: backup-speed
meanwhile_backup() {
    qmp blockdev-add driver=file node-name=vda-copy filename=zoned.copy \
        cache.no-flush=true
    qmp blockdev-add driver=file node-name=vdb-copy filename=raw.copy \
        cache.no-flush=true
    for _ in $(seq $((2 * ROUNDS))); do
        hear "back up /dev/"
        case $answer in
        vda) node=below ;;
        vdb) node=second ;;
        esac
        qmp blockdev-backup job-id=job device="$node" "target=$answer-copy" \
            sync=full speed=8388608
        go_on
        hear "enough"
        qmp block-job-cancel device=job
        wait_event BLOCK_JOB_CANCELLED device=job
        go_on
    done
    wait_end
}

# Somebody watches the zones, with four looks a second, or nobody does.
#
# only: map-speed
# disk: file.cache.no-flush=on
# qemu: -qmp unix:map.qmp,server=on,wait=off
guest_map() {
    job_of_fio "$DISK" --bs=1M >/dev/null
    {
        beside_map "4 KiB, one writer" --bs=4k --iodepth=1
        beside_map "64 KiB, four writers" --bs=64k --numjobs=4 --iodepth=1 \
            --offset_increment=256M --size=256M
    } >/tmp/figures
    equal "there are all figures" $((2 * 2 * ROUNDS)) \
        "$(grep -c ' [1-9][0-9.]*$' /tmp/figures)"
    save figures </tmp/figures
}

# The map is on a terminal.
#
# only: map-speed
meanwhile_map() {
    # shellcheck disable=SC2016  # the number of that shell
    TERM=xterm python3 -c 'import pty, sys; pty.spawn(sys.argv[1:])' \
        sh -c 'echo $$ >map.pid
            exec qemu-zone-map --qmp map.qmp disk --interval 0.25' \
        </dev/null >map.screen &
    terminal=$!
    for _ in $(seq $((2 * 2 * ROUNDS))); do
        hear "job"
        case $answer in
        watched) kill -s CONT "$(cat map.pid)" ;;
        alone) kill -s STOP "$(cat map.pid)" ;;
        esac
        go_on
    done
    wait_end
    kill -s CONT "$(cat map.pid)"
    wait "$terminal"
    # A quarter of it was a second with four looks.
    redraws=$(tr '\33' '\n' <map.screen | grep -cF '[K')
    check "the map was drawn: $redraws times" \
        test "$redraws" -gt $((4 * 2 * ROUNDS))
}

# Whether a reset gives blocks of the file back, which are to be found again
# when the zone is written, is a choice of who uses it; both do the same here.
# Both go around the host's page cache: a reset of the image is durable when it
# completes, and would have to wait until all of that is written.
#
# only: nvme-speed
# disk: file.discard=ignore,file.cache.direct=on,file.aio=native
# qemu: -blockdev driver=raw,node-name=second,file.driver=file,file.filename=disk.raw,file.cache.direct=on,file.aio=native -device nvme-ns,bus=nvme,drive=second,zoned=on,zoned.zone_size=64M
guest_kept() {
    measure kept "$(namespace 1)" "$(namespace 2)"
}

# only: nvme-speed
# disk: file.discard=unmap,file.cache.direct=on,file.aio=native
# qemu: -blockdev driver=raw,node-name=second,discard=unmap,file.driver=file,file.discard=unmap,file.filename=disk.raw,file.cache.direct=on,file.aio=native -device nvme-ns,bus=nvme,drive=second,zoned=on,zoned.zone_size=64M
guest_given_back() {
    measure given-back "$(namespace 1)" "$(namespace 2)"
}

# Each write is followed by a flush of the disk.
#
# only: fsync-speed
# disk: file.discard=ignore,file.cache.direct=on,file.aio=native
# qemu: -blockdev driver=raw,node-name=second,file.driver=file,file.filename=disk.raw,file.cache.direct=on,file.aio=native -device nvme-ns,bus=nvme,drive=second,zoned=on,zoned.zone_size=64M
guest_fsync() {
    left=$(namespace 1)
    right=$(namespace 2)
    job_of_fio "$left" --bs=1M >/dev/null
    job_of_fio "$right" --bs=1M >/dev/null
    for size in 4 64; do
        job "$size KiB + fsync" requests --bs=${size}k --iodepth=1 --fsync=1
    done >/tmp/figures
    equal "each job has its figures" $((2 * 2 * ${ROUNDS:-40})) \
        "$(grep -c ' [1-9][0-9.]*$' /tmp/figures)"
    save figures </tmp/figures
}

# shellcheck shell=sh disable=SC2154  # answer, of steps/beside.sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Below a guest's disk, an OSD dies, all of a cluster does, it gives no answer in
# time, it has no room.
#
# needs: cluster
# seconds: 300
# file: driver=rbd,pool=rbd,image=faults,conf=../../../../cluster/ceph.conf,exclusive-lock=on
# run: ceph-faults
# run: ceph-faults-cache
# run: nvme-ceph-faults device=nvme parameters=nvme_core.io_timeout=4294967

MIB=$((1024 * 1024))

host_create() {
    check "qemu-img create" new_image faults -o size=2G -o zone_size=32M
    # A client that does not wait for ever
    sed 's/^\[client\]/&\nrados_osd_op_timeout = 3/' "$CLUSTER"/ceph.conf \
        >timeout.conf
}

# stop_load: all that the load of load_btrfs had made durable is there
stop_load() {
    signal_writers TERM
    wait "$load"
    sed 's/^add synced //' load >load.notes
    check "the load had synced something" grep -q '^S ' load.notes
    check "all that was synced is there" verify load
    check "scrub" scrub
    check "unmount" umount /mnt
    check "btrfs check" btrfs check --readonly "$DISK"
    equal_kernel_log
}

# Without a timeout, who writes waits.
#
# only: ceph-faults
guest_dead() {
    load_btrfs
    for word in "an OSD dies" "it comes back" "all of it dies" "all comes back" \
        "the image is removed"
    do
        sleep 2
        tell_host "$word"
    done
    sleep 2
    stop_load
}

# only: ceph-faults
meanwhile_dead() {
    hear "an OSD dies"
    check "kill an OSD" cluster kill osd.1
    go_on
    hear "it comes back"
    check "start it again" cluster revive osd.1
    go_on
    hear "all of it dies"
    check "kill all" cluster kill all
    go_on
    # The guest waits for its disk.
    sleep 3
    check "start all" cluster start
    hear "all comes back"
    go_on
    hear "the image is removed"
    check_fails "not while it is used" rbd rm --no-progress faults
    go_on
    wait_end
}

# only: ceph-faults
host_again() {
    check "a new image" new_image faults -o size=2G -o zone_size=32M
}

# stop_twice: with one, requests fail; the VM stops then, and the guest does not see it
stop_twice() {
    load_btrfs
    sleep 2
    tell_host "there is no answer"
    sleep 4
    tell_host "there is no room"
    sleep 4
    tell_host "all is well"
    stop_load
}

# A write fails itself if there is no cache in the client.
#
# disk: file.cache.direct=on
# only: ceph-faults
# device: virtio-blk-stop
# qemu: -global virtio-blk-device.rerror=stop
# says: rbd request failed: .*Connection timed out
# file: driver=rbd,pool=rbd,image=faults,conf=timeout.conf,exclusive-lock=on
guest_timeout() {
    stop_twice
}

# With one, it has been completed, and a flush fails.
#
# only: ceph-faults-cache
# device: virtio-blk-stop
# qemu: -global virtio-blk-device.rerror=stop
# says: rbd request failed: .*Connection timed out
# file: driver=rbd,pool=rbd,image=faults,conf=timeout.conf,exclusive-lock=on
guest_cached() {
    stop_twice
}

# stopped: the VM is, as its disk has an error
stopped() {
    wait_event BLOCK_IO_ERROR
    echo "# $answer"
    wait_event STOP
}

# begin_again: the cluster does, and has room again
begin_again() {
    hear "there is no answer"
    check "kill all" cluster kill all
    go_on
    stopped
    check "start all" cluster start
    qmp cont
    hear "there is no room"
    check "limit the pool" rbd_quota $(($(used faults) + 8 * MIB))
    go_on
    stopped
    check "make room" rbd_quota 0
    wait_room
    qmp cont
    hear "all is well"
    go_on
    wait_end
}

# only: ceph-faults
meanwhile_timeout() {
    begin_again
}

# only: ceph-faults-cache
meanwhile_cached() {
    begin_again
}

# Linux gives up on what an NVMe disk does not do in half a minute, if it is not told
# to wait longer.
#
# only: nvme-ceph-faults
guest_wait() {
    load_btrfs
    sleep 2
    tell_host "the cluster stops"
    sleep 2
    stop_load
    equal "Linux has waited" "" "$(dmesg | grep 'nvme nvme.* timeout')"
}

# only: nvme-ceph-faults
meanwhile_wait() {
    hear "the cluster stops"
    check "stop it" cluster stop
    sleep 40
    check "start it again" cluster start
    go_on
    wait_end
}

# rbd_quota BYTES: as much as the pool may have
rbd_quota() {
    ceph osd pool set-quota rbd max_bytes "$1"
}

# wait_room: until the cluster has seen it
wait_room() {
    for _ in $(seq 50); do
        ceph health | grep -q FULL || return 0
        sleep 0.2
    done
}

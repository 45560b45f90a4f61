# shellcheck shell=sh disable=SC2154  # answer, of steps/beside.sh; told, of load.sh
# SPDX-License-Identifier: GPL-2.0-or-later
# A guest that writes goes back to snapshots of the VM, with its disk in qcow2.
#
# image: disk.qcow2
# format: qcow2
# run: snapshots TARGET=disk.qcow2
# run: ceph-snapshots needs=cluster seconds=500 file=driver=rbd,pool=rbd,image=snapshots,conf=../../../../cluster/ceph.conf TARGET=rbd:rbd/snapshots:conf=../../../../cluster/ceph.conf

host_create() {
    [ "$TARGET" = disk.qcow2 ] || check "no image of before" \
        forget_image snapshots
    check "qemu-img create" qemu-img create -f zoned disk.zoned -o size=2G \
        -o zone_size=32M
    check "put it into qcow2" qemu-img convert -f raw -O qcow2 disk.zoned \
        "$TARGET"
    rm disk.zoned
}

# there_and_back NAME: the host makes a snapshot, in which the guest waits for it;
# what the guest does after that is undone
there_and_back() {
    tell_host "save $1"
    if [ "$told" = go ]; then
        sleep 3
        check "write something that is to be undone" dd if=/dev/urandom \
            of=/mnt/undone bs=1M count=40 conv=fsync
        tell_host "load $1"
    fi
    equal "the guest is in its snapshot" back "$told"
    check "what was written after it is not there" test ! -e /mnt/undone
}

guest_load() {
    load_btrfs
    sleep 2
    there_and_back human
    sleep 1
    there_and_back machine
    sleep 1
    signal_writers TERM
    wait "$load"
    sed -i 's/^add synced //' load
    check "the load had synced something" grep -q '^S ' load
    check "sync" sync -f /mnt
    check "unmount" umount /mnt
    check "btrfs check" btrfs check --readonly "$DISK"
    check "mount again" mount -t btrfs "$DISK" /mnt
    check "all that was synced is there" sh -c 'files verify <load'
    check "unmount again" umount /mnt
    equal_kernel_log
    blkzone report "$DISK" | zone_table | save table
}

human() {
    qmp human-monitor-command command-line="$1vm snapshot1"
    equal "$1vm" "" "$answer"
}

machine() {
    qmp "snapshot-$1" job-id=job tag=snapshot2 vmstate=disk devices='["disk"]'
    wait_event JOB_STATUS_CHANGE status=concluded id=job
    qmp query-jobs
    says '"error"' && fail "snapshot-$1: $answer" </dev/null
    qmp job-dismiss id=job
}

meanwhile_load() {
    for monitor in human machine; do
        hear "save $monitor"
        qmp stop
        zones disk
        before=$answer
        $monitor save
        qmp cont
        go_on
        hear "load $monitor"
        qmp stop
        $monitor load
        zones disk
        equal "the zones are those of the snapshot: $before" "$before" "$answer"
        # shellcheck disable=SC2086  # words
        set -- $before
        check "$2 of them are open" test "$2" -gt 1
        qmp cont
        go_on back
    done
    wait_end
}

host_agree() {
    check "qemu-img check" qemu-img check -f qcow2 "$TARGET"
    case $TARGET in
    rbd:*) below=driver=rbd,file.file.pool=rbd,file.file.image=snapshots,file.file.conf=${TARGET##*=} ;;
    *) below=filename=$TARGET ;;
    esac
    image=driver=zoned,file.driver=qcow2,file.file.$below
    check "qemu-img check of the disk in it" qemu-img check --image-opts "$image"
    equal "qemu-io reports the guest's zones" "$(power_cycled <saved/table)" \
        "$(qemu-io --image-opts -r -c 'zrp 0 64' "$image" | zone_table)"
}

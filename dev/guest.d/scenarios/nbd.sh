# shellcheck shell=sh disable=SC2154  # answer, of steps/beside.sh
# SPDX-License-Identifier: GPL-2.0-or-later
# A disk in qcow2 at a server (NBD) that goes and comes back; power cuts.
#
# file: driver=nbd,server.type=unix,server.path=nbd,export=disk,reconnect-delay=60

mount_disk() {
    modprobe zonefs
    mount -t zonefs "$DISK" /mnt
}

host_create() {
    check "a disk at a server" create_nbd 512M -o zone_size=16M,zone_nr_conv=2 \
        -o max_open_zones=4,max_active_zones=6
}

# While there is no server, requests wait.
guest_break() {
    modprobe zonefs
    check "mkzonefs" mkzonefs "$DISK"
    check "mount" mount_disk
    appends write /mnt/seq 1 6 0 >load &
    load=$!
    for _ in 1 2 3; do
        sleep 2
        tell_host "the server goes"
    done
    sleep 2
    signal_writers TERM
    wait "$load"
    sed 's/^add synced //' load >synced
    check "the load had synced something" grep -q '^S ' synced
    check "all that was synced is there" appends verify <synced
    check "unmount" umount /mnt
    equal_kernel_log
}

# It ends in order. One that is killed may lose what was written and not flushed, and
# nobody would know.
meanwhile_break() {
    for _ in 1 2 3; do
        hear "the server goes"
        end_nbd
        go_on
        sleep 1
        check "it comes back" serve_nbd
    done
    wait_end
}

cut_load() {
    load_appends
}

guest_after() {
    mounted_again appends
    unmounted
}

host_end() {
    check "the server ends" end_nbd
    check "qemu-img check of what it is in" qemu-img check disk.qcow2
}

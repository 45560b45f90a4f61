# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# For what runs on the host: a server that has a zoned disk in qcow2, as its export
# `disk` at the socket `nbd`. It runs on until it is told to end.

# serve_nbd: start it. It must not hold on to what others read from.
serve_nbd() (
    for fd in /proc/self/fd/*; do
        [ "${fd##*/}" -lt 3 ] || eval "exec ${fd##*/}>&-"
    done
    qemu-storage-daemon --daemonize --pidfile nbd.pid \
        --blockdev driver=qcow2,node-name=disk,file.driver=file,file.filename=disk.qcow2 \
        --nbd-server addr.type=unix,addr.path=nbd \
        --export nbd,id=disk,node-name=disk,writable=on >nbd.log 2>&1
)

# end_nbd: and wait until it has ended
end_nbd() {
    local pid
    pid=$(cat nbd.pid)
    kill "$pid"
    tail --pid="$pid" -f /dev/null
}

# create_nbd SIZE OPTIONS...: such a disk, and its server
create_nbd() {
    local size=$1 needed
    shift
    needed=$(qemu-img measure -O zoned "$@" --size "$size" |
        sed -n 's/^required size: //p')
    qemu-img create -q -f qcow2 disk.qcow2 "$needed" && serve_nbd &&
        qemu-img create -f zoned "$@" 'nbd+unix:///disk?socket=nbd' "$size"
}

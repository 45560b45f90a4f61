# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
# For guests whose programs are to send appends: Linux takes them as commands to
# an NVMe namespace only, not as requests to a block device.

# exported_disk NAME: the namespace of that subsystem, once it is there
exported_disk() {
    for _ in $(seq 50); do
        for block in /sys/block/nvme[0-9]n*; do
            [ "$(cat "$block/device/subsysnqn")" = "$1" ] || continue
            echo "/dev/${block##*/}"
            return
        done
        sleep 0.1
    done
    return 1
}

# export_disk DISK: prints the name of an NVMe namespace; the kernel turns the
# commands that this gets into requests to the disk.
export_disk() {
    nqn=${1##*/}
    target=/sys/kernel/config/nvmet
    subsystem=$target/subsystems/$nqn
    port=$target/ports/1
    modprobe -a nvmet nvme_loop
    mountpoint -q /sys/kernel/config ||
        mount -t configfs config /sys/kernel/config
    mkdir -p "$subsystem/namespaces/1"
    echo 1 >"$subsystem/attr_allow_any_host"
    echo "$1" >"$subsystem/namespaces/1/device_path"
    echo 1 >"$subsystem/namespaces/1/enable"
    if mkdir "$port" 2>/dev/null; then
        echo loop >"$port/addr_trtype"
    fi
    ln -s "$subsystem" "$port/subsystems/"
    nvme connect --transport=loop --nqn="$nqn" >/dev/null
    exported_disk "$nqn"
}

# namespace_of DISK: an NVMe namespace that is the disk, itself if it is one
namespace_of() {
    case $1 in
    /dev/nvme*) echo "$1" ;;
    *) export_disk "$1" ;;
    esac
}

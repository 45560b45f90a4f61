# shellcheck shell=sh disable=SC2154  # answer, of steps/beside.sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Below a disk that a guest writes to: full and incremental backups, a limit of its
# rate, an overlay, a view of the past, and moves to another file, another format, a
# server and an encrypted file.
#
# disk: file.node-name=below
# run: below minutes=2 seconds=300
# run: below-long minutes=5 seconds=900 ROUNDS=8 PAUSE=10

host_create() {
    check "qemu-img create" qemu-img create -f zoned disk.zoned -o size=2G \
        -o zone_size=32M
    length=$(stat -c %s disk.zoned)
    truncate -s "$length" full.zoned
    check "a file for who has the key" qemu-img create -f luks \
        --object secret,id=key,data=secret -o key-secret=key,iter-time=10 \
        disk.luks "$length"
}

# notes: of the load, as `files verify` reads them
notes() {
    sed 's/^add synced //' load
}

# keep NAME WORD: the host makes a copy when it hears the word. What was synced
# before has to be in it, but for what is removed at any time.
keep() {
    notes >"$1.notes"
    tell_host "$2"
    notes | grep '^G' >>"$1.notes"
    save "$1" <"$1.notes"
}

# Btrfs, with fsync, and with all that the host does below it
guest_load() {
    load_btrfs
    sleep 3
    keep full "back up"
    for _ in $(seq "${ROUNDS:-1}"); do
        sleep "${PAUSE:-2}"
        keep incremental "back up what has changed"
    done
    tell_host "limit the rate"
    sleep "${PAUSE:-2}"
    tell_host "lift the limit"
    keep base "put an overlay below"
    sleep "${PAUSE:-2}"
    tell_host "commit the overlay"
    keep past "keep the past"
    sleep "${PAUSE:-2}"
    tell_host "forget the past"
    for _ in $(seq "${ROUNDS:-1}"); do
        sleep "${PAUSE:-2}"
        tell_host "move the disk"
    done
    for word in "change the format" "move to a server" "encrypt the disk"; do
        sleep "${PAUSE:-2}"
        tell_host "$word"
    done
    sleep "${PAUSE:-2}"
    signal_writers TERM
    wait "$load"
    check "sync" sync -f /mnt
    notes | save moved
    check "scrub" scrub
    check "unmount" umount /mnt
    equal_kernel_log
    blkzone report "$DISK" | zone_table | save table
}

# back_up ACTIONS OPTIONS: to full.zoned. What the guest syncs before it goes on
# may be in it or not.
back_up() {
    qmp blockdev-add driver=file node-name=copy filename=full.zoned
    backup="\"job-id\": \"copy\", \"device\": \"below\", \"target\": \"copy\""
    backup="$backup, \"speed\": 268435456, $2"
    qmp transaction \
        actions="[$1 {\"type\": \"blockdev-backup\", \"data\": {$backup}}]"
    go_on
    wait_event BLOCK_JOB_COMPLETED device=copy
    says " error=" && fail "the job: $answer" </dev/null
    qmp blockdev-del node-name=copy
}

# finish_job JOB: once it is ready
finish_job() {
    wait_event BLOCK_JOB_READY "device=$1"
    qmp job-complete "id=$1"
    wait_event BLOCK_JOB_COMPLETED "device=$1"
    says " error=" && fail "the job: $answer" </dev/null
}

# move_to TARGET: from the node below, where the disk is then
move_to() {
    qmp blockdev-mirror job-id=move device="$below" "target=$1" sync=full \
        copy-mode=write-blocking
    finish_job move
    # The first one belongs to the zoned node.
    [ "$below" = below ] || qmp blockdev-del "node-name=$below"
    below=$1
}

# reopen_on NODE: the zoned node has its image there now
reopen_on() {
    zoned='"driver": "zoned", "node-name": "disk"'
    qmp blockdev-reopen "options=[{$zoned, \"file\": \"$1\"}]"
}

# add_qcow2 NODE [NAME=VALUE...]: new, and as large as the image
add_qcow2() {
    name=$1
    shift
    qemu-img create -q -f qcow2 "$name.qcow2" "$length"
    qmp blockdev-add driver=qcow2 "node-name=$name" file.driver=file \
        "file.filename=$name.qcow2" "$@"
}

throttle() {
    hear "limit the rate"
    qmp object-add qom-type=throttle-group id=group \
        limits.bps-write=33554432
    qmp blockdev-add driver=throttle node-name=limit throttle-group=group \
        file=below
    reopen_on limit
    go_on
    hear "lift the limit"
    reopen_on below
    qmp blockdev-del node-name=limit
    go_on
}

overlay() {
    hear "put an overlay below"
    add_qcow2 overlay backing=null
    qmp blockdev-snapshot node=below overlay=overlay
    go_on
    cp --sparse=always disk.zoned base.zoned
    hear "commit the overlay"
    qmp block-commit job-id=commit device=overlay base-node=below
    finish_job commit
    qmp blockdev-del node-name=overlay
    go_on
}

# A copy of what was, made from a server while the guest goes on
past() {
    hear "keep the past"
    add_qcow2 old
    qmp blockdev-add driver=copy-before-write node-name=guard file=below \
        target=old
    reopen_on guard
    go_on
    qmp blockdev-add driver=snapshot-access node-name=past file=guard
    qmp nbd-server-start addr.type=unix addr.data.path=past.nbd
    qmp block-export-add type=nbd id=past node-name=past
    check "copy the past" qemu-img convert -f raw -O raw \
        "nbd+unix:///past?socket=past.nbd" past.zoned
    qmp nbd-server-stop
    wait_event BLOCK_EXPORT_DELETED
    hear "forget the past"
    qmp blockdev-del node-name=past
    reopen_on below
    qmp blockdev-del node-name=guard
    qmp blockdev-del node-name=old
    go_on
}

move_to_server() {
    hear "move to a server"
    truncate -s "$length" server.zoned
    qemu-nbd -f raw -x image -k "$PWD/server" -t server.zoned &
    server=$!
    until [ -S server ]; do
        sleep 0.1
    done
    qmp blockdev-add driver=nbd node-name=server export=image \
        server.type=unix server.path=server
    move_to server
    go_on
}

meanwhile_load() {
    below=below
    length=$(stat -c %s disk.zoned)
    bitmap='"data": {"node": "below", "name": "changed"}'
    hear "back up"
    back_up "{\"type\": \"block-dirty-bitmap-add\", $bitmap}," '"sync": "full"'
    cp --sparse=always full.zoned before.zoned
    for _ in $(seq "${ROUNDS:-1}"); do
        hear "back up what has changed"
        back_up "" '"sync": "incremental", "bitmap": "changed"'
    done
    mv full.zoned incremental.zoned
    mv before.zoned full.zoned
    throttle
    overlay
    past

    mv disk.zoned old.zoned
    for round in $(seq "${ROUNDS:-1}"); do
        hear "move the disk"
        truncate -s "$length" moved.zoned
        qmp blockdev-add driver=file "node-name=target$round" \
            filename=moved.zoned
        move_to "target$round"
        mv moved.zoned old.zoned
        go_on
    done

    hear "change the format"
    add_qcow2 format
    move_to format
    go_on
    move_to_server
    hear "encrypt the disk"
    qmp object-add qom-type=secret id=key data=secret
    qmp blockdev-add driver=luks node-name=encrypted key-secret=key \
        file.driver=file file.filename=disk.luks
    move_to encrypted
    kill "$server"
    rm old.zoned server.zoned ./*.qcow2
    go_on
    wait_end
}

host_agree() {
    check_fails "no image shows in the encrypted file" \
        qemu-img info -f zoned disk.luks
    check "decrypt it" qemu-img convert --object secret,id=key,data=secret \
        --image-opts -O raw driver=luks,key-secret=key,file.filename=disk.luks \
        moved.zoned
    for name in full incremental base past moved; do
        check "qemu-img check $name.zoned" qemu-img check $name.zoned
    done
    equal "the disk that has moved has the guest's zones" \
        "$(power_cycled <saved/table)" \
        "$(qemu-io -f zoned -r -c 'zrp 0 64' moved.zoned | zone_table)"
}

# verify_copy NAME: it has all that was synced, and a file system in order
verify_copy() {
    modprobe btrfs
    check "mount the copy" mount -t btrfs "$DISK" /mnt
    check "the load had synced something" grep -q '^S ' "/saved/$1"
    check "all that was synced is there" files verify <"/saved/$1"
    check "scrub" scrub
    check "unmount" umount /mnt
    check "btrfs check" btrfs check --readonly "$DISK"
    equal_kernel_log
}

# image: full.zoned
guest_full() {
    verify_copy full
}

# image: incremental.zoned
guest_incremental() {
    verify_copy incremental
}

# image: base.zoned
guest_base() {
    verify_copy base
}

# image: past.zoned
guest_past() {
    verify_copy past
}

# image: moved.zoned
guest_moved() {
    verify_copy moved
}

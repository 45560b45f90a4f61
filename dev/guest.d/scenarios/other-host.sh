# shellcheck shell=sh disable=SC2154  # answer, of steps/beside.sh
# SPDX-License-Identifier: GPL-2.0-or-later
# A guest that appends to files of zonefs moves to another VM: with its disk, or both
# have the disk at a server or on a cluster.
#
# disk: file.node-name=below
# run: other-host
# run: nbd-other-host file=driver=nbd,server.type=unix,server.path=nbd,export=disk
# run: ceph-other-host needs=cluster file=driver=rbd,pool=rbd,image=moves,conf=../../../../cluster/ceph.conf,exclusive-lock=on

OPEN=28         # a file that is kept open, and so its zone

# only: other-host
host_create() {
    for name in disk there; do
        check "qemu-img create" qemu-img create -f zoned $name.zoned -o size=512M \
            -o zone_size=16M -o zone_nr_conv=2 -o max_open_zones=8 \
            -o max_active_zones=10
    done
}

# only: ceph-other-host
host_create_shared() {
    check "qemu-img create" new_image moves -o size=512M -o zone_size=16M \
        -o zone_nr_conv=2 -o max_open_zones=8 -o max_active_zones=10
}

# only: nbd-other-host
host_create_served() {
    check "a disk at a server" create_nbd 512M -o zone_size=16M,zone_nr_conv=2 \
        -o max_open_zones=8,max_active_zones=10
}

mount_disk() {
    mount -t zonefs -o explicit-open "$DISK" /mnt
}

# condition ZONE
condition() {
    blkzone report -o $(($1 * 32768)) -c 1 "$DISK" | zone_table | cut -d ' ' -f 5
}

# sizes: what file systems on it see
sizes() {
    (cd /mnt && stat -c '%n %s' seq/*)
}

# load_and_move: files are written while the host moves the guest
load_and_move() {
    modprobe zonefs
    check "mkzonefs" mkzonefs "$DISK"
    check "mount" mount_disk
    exec 5>>/mnt/seq/$OPEN
    zone=$((OPEN + 2))      # the super block's and the conventional one come before
    equal "the zone of an open file is open" 3 "$(condition $zone)"
    appends write /mnt/seq 1 6 0 >load &
    load=$!
    sleep 3
    tell_host "move the guest"
    equal "it is still open" 3 "$(condition $zone)"
    sleep 3
    signal_writers TERM
    wait $load
    exec 5>&-
    equal "it is no more" 1 "$(condition $zone)"
    sed 's/^add synced //' load >synced
    check "the load had synced something" grep -q '^S ' synced
    check "all that was synced is there" appends verify <synced
    save notes <synced
    sizes | save sizes
    check "unmount" umount /mnt
    equal_kernel_log
    blkzone report "$DISK" | zone_table | save table
}

# only: other-host
# there: there.zoned
guest_load() {
    load_and_move
}

# only: ceph-other-host nbd-other-host
# there: shared
guest_move() {
    load_and_move
}

# begin: the other VM waits for the guest
begin() {
    hear "move the guest"
    events='{"capability": "events", "state": true}'
    there migrate-set-capabilities capabilities="[$events]"
    there migrate-incoming uri=unix:migration
}

# depart: the guest is on its way, and its zones are as they are in $before
depart() {
    pause='{"capability": "pause-before-switchover", "state": true}'
    qmp migrate-set-capabilities capabilities="[$events, $pause]"
    qmp migrate-set-parameters max-bandwidth=1073741824
    qmp migrate uri=unix:migration
    wait_event MIGRATION status=pre-switchover
    zones disk
    before=$answer
}

# arrive: it is there, and so are its zones
arrive() {
    qmp migrate-continue state=pre-switchover
    wait_event MIGRATION status=completed
    qmp quit
    arrived
    wait_event MIGRATION status=completed
    rm -f disk.zoned
    # As the VM would when it goes on
    qmp blockdev-set-active active=true
    zones disk
    equal "the zones are what they were: $before" "$before" "$answer"
    # shellcheck disable=SC2086  # words
    set -- $before
    check "$2 of them are open" test "$2" -gt 1
    qmp cont
    must_do go_on
    wait_end
}

# only: other-host
meanwhile_load() {
    begin
    there nbd-server-start addr.type=unix addr.data.path=nbd
    there block-export-add type=nbd id=nbd node-name=below name=image writable=true
    qmp blockdev-add driver=nbd node-name=target export=image server.type=unix \
        server.path=nbd
    qmp blockdev-mirror job-id=move device=below target=target sync=full \
        copy-mode=write-blocking
    wait_event BLOCK_JOB_READY device=move
    depart
    qmp block-job-cancel device=move
    wait_event BLOCK_JOB_COMPLETED device=move
    says " error=" && fail "the job: $answer" </dev/null
    qmp blockdev-del node-name=target
    there nbd-server-stop
    arrive
}

# only: ceph-other-host nbd-other-host
meanwhile_move() {
    begin
    depart
    arrive
}

# only: other-host
host_agree() {
    check "qemu-img check" qemu-img check there.zoned
    equal "qemu-io reports the guest's zones" "$(power_cycled <saved/table)" \
        "$(qemu-io -f zoned -r -c 'zrp 0 32' there.zoned | zone_table)"
}

# is_whole: what was durable before the guest moved, and after it
is_whole() {
    modprobe zonefs
    check "mount" mount_disk
    equal "all files are as long as they were" "$(cat /saved/sizes)" "$(sizes)"
    check "all that was synced is there" appends verify </saved/notes
    check "unmount" umount /mnt
    equal_kernel_log
}

# only: other-host
# image: there.zoned
guest_again() {
    is_whole
}

# only: ceph-other-host nbd-other-host
guest_again_shared() {
    is_whole
}

# only: nbd-other-host
host_end() {
    check "the server ends" end_nbd
}

# shellcheck shell=sh disable=SC2154  # answer, of steps/beside.sh
# SPDX-License-Identifier: GPL-2.0-or-later
# A guest that appends to files of zonefs moves to another VM, with its disk.
#
# disk: file.node-name=below

OPEN=28         # a file that is kept open, and so its zone

host_create() {
    for name in disk there; do
        check "qemu-img create" qemu-img create -f zoned $name.zoned -o size=512M \
            -o zone_size=16M -o zone_nr_conv=2 -o max_open_zones=8 \
            -o max_active_zones=10
    done
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

# there: there.zoned
guest_load() {
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

meanwhile_load() {
    hear "move the guest"
    events='{"capability": "events", "state": true}'
    there nbd-server-start addr.type=unix addr.data.path=nbd
    there block-export-add type=nbd id=nbd node-name=below name=image writable=true
    there migrate-set-capabilities capabilities="[$events]"
    there migrate-incoming uri=unix:migration

    qmp blockdev-add driver=nbd node-name=target export=image server.type=unix \
        server.path=nbd
    qmp blockdev-mirror job-id=move device=below target=target sync=full \
        copy-mode=write-blocking
    wait_event BLOCK_JOB_READY device=move
    pause='{"capability": "pause-before-switchover", "state": true}'
    qmp migrate-set-capabilities capabilities="[$events, $pause]"
    qmp migrate-set-parameters max-bandwidth=1073741824
    qmp migrate uri=unix:migration
    wait_event MIGRATION status=pre-switchover
    zones disk
    before=$answer
    qmp block-job-cancel device=move
    wait_event BLOCK_JOB_COMPLETED device=move
    says " error=" && fail "the job: $answer" </dev/null
    qmp blockdev-del node-name=target
    there nbd-server-stop
    qmp migrate-continue state=pre-switchover
    wait_event MIGRATION status=completed
    qmp quit
    arrived
    wait_event MIGRATION status=completed
    rm disk.zoned
    # As the VM would when it goes on
    qmp blockdev-set-active active=true
    zones disk
    equal "the zones are what they were: $before" "$before" "$answer"
    # shellcheck disable=SC2086  # words
    set -- $before
    check "$2 of them are open" test "$2" -gt 1
    qmp cont
    go_on
    wait_end
}

host_agree() {
    check "qemu-img check" qemu-img check there.zoned
    equal "qemu-io reports the guest's zones" "$(power_cycled <saved/table)" \
        "$(qemu-io -f zoned -r -c 'zrp 0 32' there.zoned | zone_table)"
}

# image: there.zoned
guest_again() {
    modprobe zonefs
    check "mount" mount_disk
    equal "all files are as long as they were" "$(cat /saved/sizes)" "$(sizes)"
    check "all that was synced is there" appends verify </saved/notes
    check "unmount" umount /mnt
    equal_kernel_log
}

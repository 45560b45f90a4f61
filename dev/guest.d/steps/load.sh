# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
# For guests whose power is cut: what they load the disk with says what is
# durable in lines `add synced ...`, which are /saved/synced at the next boot.

# forget: what was durable before is not looked for any more. The host knows
# before this returns, as setting up a serial port waits for its output.
forget() {
    echo "drop synced" >&3
    stty -F /dev/ttyS1 raw
}

# check_synced PROGRAM: what PROGRAM has noted to be durable is there
check_synced() {
    [ -s /saved/synced ] || return 0
    if "$1" verify </saved/synced >&3; then
        pass "all that was synced is there"
    else
        fail "all that was synced is there" </dev/null
    fi
    forget
}

# loaded: the guest before this one had written something
loaded() {
    check "the load had synced something" grep -q '^S ' /saved/synced
}

# load PROGRAM ARGUMENTS...: run it, and let power be cut once it is at work
load() {
    "$@" >&3 &
    load=$!
    sleep 1
    echo ready >&3
}

# beside COMMAND...: again and again, as long as the load runs
beside() {
    while kill -0 "$load"; do
        "$@"
        sleep 0.5
    done
}

# signal_writers SIGNAL: to the processes that the load has started
signal_writers() {
    # shellcheck disable=SC2046  # words
    kill -s "$1" $(cat "/proc/$load/task/$load/children") ||
        fail "the writers get a signal" </dev/null
}

# in_pause COMMAND...: run it while the load does not write
in_pause() {
    signal_writers STOP
    sleep 0.5
    "$@"
    signal_writers CONT
}

# equal_kernel_log: the kernel has complained of neither disk nor file system. Its
# warnings about itself do not count; btrfs of Linux 6.12 has one after a power
# cut in the middle of a balance.
equal_kernel_log() {
    equal "no error in the kernel's log" "" "$(dmesg | grep -iE \
        'i/o error|blk_update|kernel bug|(btrfs|f2fs|xfs|zonefs|ext4).*(error|corrupt|abort)')"
}

# tell_host WORD: and wait until it has done its part, see beside.sh; what it says
# then is in $told
tell_host() {
    exec 4</dev/ttyS2
    stty -F /dev/ttyS2 -echo
    echo "# $1" >&3
    # shellcheck disable=SC2034  # for who asks
    read -r told <&4
    exec 4<&-
}

# remove_files: all that the load before this one has left
remove_files() {
    find /mnt -mindepth 1 -maxdepth 1 -not -name lost+found -exec rm -rf {} +
}

# fill NAME MEBIBYTES SECONDS: files in /mnt/NAME, for so long; those that are
# kept take so much
fill() {
    mkdir "/mnt/$1" || return
    if ! files write "/mnt/$1" 1 "$2" "$3" >"$1.fill"; then
        grep -v '^add ' "$1.fill"
        return 1
    fi
    sed 's/^add synced //' "$1.fill" >"$1.notes"
}

# verify NAME: they are what was written
verify() {
    files verify <"$1.notes"
}

# load_btrfs: a new file system that is written, with fsync, until the writers get a
# signal; what the load says is in the file `load`
load_btrfs() {
    modprobe btrfs
    check "mkfs.btrfs" mkfs.btrfs -q -O zoned -m single -d single "$DISK"
    check "mount" mount -t btrfs "$DISK" /mnt
    mkdir /mnt/load
    files write /mnt/load 1 60 0 >load &
    load=$!
}

# scrub: all that btrfs has can be read, and is what was written
scrub() {
    btrfs scrub start -B /mnt >/tmp/scrub 2>&1 &&
        grep -q "no errors found" /tmp/scrub && return
    cat /tmp/scrub
    return 1
}

# For scenarios with a file system: each has a function mount_disk.

# fill_twice MEBIBYTES SECONDS: files `first` that are gone again, and `second`
fill_twice() {
    check "write files" fill first "$1" "$2"
    check "write others" fill second "$1" "$2"
    check "sync" sync -f /mnt
    check "remove the first ones" rm -r /mnt/first
}

# verify_filled: `second` and `third`, once the file system is mounted again
verify_filled() {
    check "mount again" mount_disk
    check "the second ones are what was written" verify second
    check "the third ones are what was written" verify third
    check "unmount again" umount /mnt
}

# load_appends: files of zonefs, until power is cut
load_appends() {
    check "mount" mount_disk
    check_synced appends
    load appends write /mnt/seq "$SEED" 6 0
    wait
}

# load_files MEBIBYTES [DISK]: on the file system, until power is cut; the disk is
# flushed after each fsync(), if one is named
load_files() {
    check "mount" mount_disk
    check_synced files
    remove_files
    mkdir "/mnt/cut$CUT"
    size=$1
    shift
    load files write "/mnt/cut$CUT" "$SEED" "$size" 0 "$@"
}

# mounted_again PROGRAM: after a power cut, with what PROGRAM has loaded
mounted_again() {
    loaded
    check "mount after the power cut" mount_disk
    check_synced "$1"
}

# unmounted [WHAT COMMAND...]: the file system is unmounted, and then in order
unmounted() {
    check "unmount" umount /mnt
    [ $# = 0 ] || check "$@"
    equal_kernel_log
}

# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later

modprobe btrfs
check "mount" mount -t btrfs "$DISK" /mnt
[ ! -e /saved/synced ] || for mode in wal delete; do
    check_database $mode
done
forget
run_databases() {
    for mode in wal delete; do
        next=$(($(sqlite3 /mnt/$mode 'SELECT max(n) FROM t') + 1))
        transactions $mode $next 10000 | sqlite3 -list "/mnt/$mode" &
    done
    wait
}
load run_databases
wait

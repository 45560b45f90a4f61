# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
# SQLite on btrfs: every transaction that was committed outlives power cuts.
#
# run: sqlite
# run: scsi-sqlite device=scsi minutes=1

# transactions DATABASE FROM COUNT: each adds rows and changes old ones; when it
# is committed, that is noted. (With synchronous = FULL, SQLite does not wait for
# the removal of a rollback journal: the last transaction could be undone.)
transactions() {
    echo "PRAGMA synchronous = EXTRA;"
    seq "$2" $(($2 + $3)) | while read -r n; do
        cat <<EOS
BEGIN;
INSERT INTO t SELECT $n, value, hex(randomblob(200)), '' FROM generate_series(1, 20);
UPDATE t SET data = hex(randomblob(300)), sum = ''
 WHERE n = $n - 7 OR n = $n / 2;
UPDATE t SET sum = sha3(n || i || data) WHERE sum = '';
COMMIT;
SELECT 'add synced S $1 $n';
EOS
    done
}

# check_database NAME: it is sound, and holds what was committed
check_database() {
    committed=$(awk -v name="$1" '$1 == "S" && $2 == name { n = $3 }
        END { print n + 0 }' /saved/synced)
    equal "$1: integrity check" ok "$(sqlite3 "/mnt/$1" 'PRAGMA integrity_check')"
    equal "$1: every row has its checksum" 0 "$(sqlite3 "/mnt/$1" \
        'SELECT count(*) FROM t WHERE sum <> sha3(n || i || data)')"
    equal "$1: no transaction is there in part" 0 "$(sqlite3 "/mnt/$1" \
        'SELECT count(*) FROM (SELECT 1 FROM t GROUP BY n HAVING count(*) <> 20)')"
    there=$(sqlite3 "/mnt/$1" 'SELECT max(n) FROM t')
    equal "$1: all $committed transactions are there" $((there)) \
        "$(sqlite3 "/mnt/$1" 'SELECT count(DISTINCT n) FROM t')"
    check "$1: $there are" test "$there" -ge "$committed"
}

host_create() {
    check "qemu-img create" qemu-img create -f zoned disk.zoned -o size=2G \
        -o zone_size=32M
}

guest_make() {
    modprobe btrfs
    check "mkfs.btrfs" mkfs.btrfs -q -O zoned -m single -d single "$DISK"
    check "mount" mount -t btrfs "$DISK" /mnt
    for mode in wal delete; do
        equal "a database with journal_mode=$mode" $mode "$(sqlite3 /mnt/$mode \
            "PRAGMA journal_mode = $mode; CREATE TABLE t (n, i, data, sum);
             CREATE INDEX by_n ON t (n);
             CREATE INDEX without_sum ON t (sum) WHERE sum = '';")"
        check "some transactions" eval "transactions $mode 1 20 | sqlite3 /mnt/$mode"
    done
    check "unmount" umount /mnt
}

run_databases() {
    for mode in wal delete; do
        next=$(($(sqlite3 /mnt/$mode 'SELECT max(n) FROM t') + 1))
        transactions $mode $next 10000 | sqlite3 -list "/mnt/$mode" &
    done
    wait
}

cut_load() {
    modprobe btrfs
    check "mount" mount -t btrfs "$DISK" /mnt
    [ ! -e /saved/synced ] || for mode in wal delete; do
        check_database $mode
    done
    forget

    load run_databases
    wait
}

guest_again() {
    modprobe btrfs
    loaded
    check "mount after the power cut" mount -t btrfs "$DISK" /mnt
    for mode in wal delete; do
        check_database $mode
    done
    equal "scrub" 0 "$(btrfs scrub start -B /mnt >/dev/null; echo $?)"
    check "unmount" umount /mnt
    equal_kernel_log
}

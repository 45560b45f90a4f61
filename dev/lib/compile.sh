# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Configure and compile a prepared tree. Needs common.sh.

# Everything that a zoned disk and the iotests need, and little else; gcrypt is for
# LUKS below a zoned disk.
CONFIGURE=(--python=/usr/bin/python3 --disable-download
    --without-default-features --disable-docs --disable-guest-agent
    --disable-plugins --disable-install-blobs --enable-tools
    --enable-linux-aio --enable-linux-io-uring --enable-pixman
    --enable-fdt=system --enable-tcg --enable-gcrypt
    --enable-qed --enable-vpc --enable-vmdk
    --enable-vhost-user --enable-vhost-user-blk-server
    --enable-libvduse --enable-vduse-blk-export --enable-fuse
    --enable-replication
    --firmwarepath=/usr/share/qemu:/usr/share/seabios)

CONFIGURE_PLAIN=(--target-list=x86_64-softmmu)

# clang's thread-safety analysis checks the graph lock and what else is
# annotated with TSA_*. Compilers that do not know QEMU's lock guards (clang 14)
# see errors everywhere; 19 knows them, in Debian 12 and 13 alike.
CONFIGURE_SANITIZE=("${CONFIGURE_PLAIN[@]}" --enable-asan --enable-ubsan
    --enable-debug-graph-lock --enable-debug-mutex
    --extra-cflags=-Werror=thread-safety
    --extra-cflags=-fno-omit-frame-pointer)

# QEMU's fuzzer runs no guest's code: no TCG; but no accelerator is refused.
CONFIGURE_FUZZ=("${CONFIGURE_PLAIN[@]}" --enable-fuzzing --enable-asan
    --enable-ubsan --disable-tcg --enable-kvm
    --extra-cflags=-fno-omit-frame-pointer)

# What it counts as a new way: through the devices of disks and the driver, where
# QEMU's own filter has all devices and nothing else.
fuzz_filter() {
    printf 'src:*/%s\n' 'hw/block/*' 'hw/nvme/*' 'hw/scsi/*' 'hw/virtio/*' \
        'scsi/*' 'block/zone*' 'tests/qtest/fuzz/fuzz.c'
    echo 'fun:*'
}

FUZZER=qemu-fuzz-x86_64

BENCH=tests/bench/zoned-bench
BENCH_MODEL=tests/unit/test-block-backend

# The race detector, for what has threads of its own
CONFIGURE_RACE=(--disable-system --disable-user --enable-tsan)

# The devices of a sanitized qemu-system and of the fuzzer: those of the qtests, to
# build less. And of one with RBD: those of guests.
SANITIZE_DEVICES=(I440FX VIRTIO_PCI VIRTIO_BLK VIRTIO_SCSI NVME_PCI)
RBD_DEVICES=(Q35 HPET SERIAL_ISA VIRTIO_PCI VIRTIO_BLK NVME_PCI)

# few_devices TREE NAME DEVICE...: options of configure, for these alone
few_devices() {
    local tree=$1 name=$2
    shift 2
    printf 'CONFIG_%s=y\n' "$@" >"$tree/configs/devices/x86_64-softmmu/$name.mak"
    printf '%s\n' --without-default-devices "--with-devices-x86_64=$name"
}

TOOLS=(qemu-img qemu-io qemu-nbd storage-daemon/qemu-storage-daemon)

# To ccache, the same file in another tree is the same file: those of build/series
# and build/unpatched have the same place beside their build folder.
export CCACHE_BASEDIR=$BUILD CCACHE_NOHASHDIR=1

# log_name DIR: what the logs of a build folder are called
log_name() {
    local name=${1#"$BUILD"/}
    echo "${name//\//-}"
}

# configure_tree TREE DIR VARIANT: only if DIR is not yet configured like this
configure_tree() {
    local tree=$1 dir=$2 compiler=gcc
    local -a arguments=("${CONFIGURE[@]}")
    # Not in a tree without this project, or with a part of it
    ! grep -qs "^option('zoned'" "$tree/meson_options.txt" ||
        arguments+=(--enable-zoned)
    case $3 in
    sanitize)
        mapfile -t -O ${#arguments[@]} arguments < <(
            few_devices "$tree" sanitize "${SANITIZE_DEVICES[@]}")
        arguments+=("${CONFIGURE_SANITIZE[@]}")
        compiler=clang-19 ;;
    fuzz)
        mapfile -t -O ${#arguments[@]} arguments < <(
            few_devices "$tree" fuzz "${SANITIZE_DEVICES[@]}")
        arguments+=("${CONFIGURE_FUZZ[@]}")
        compiler=clang-19 ;;
    race)
        arguments+=("${CONFIGURE_RACE[@]}")
        compiler=clang-19 ;;
    rbd)
        mapfile -t -O ${#arguments[@]} arguments < <(
            few_devices "$tree" rbd "${RBD_DEVICES[@]}")
        arguments+=("${CONFIGURE_PLAIN[@]}" --enable-rbd) ;;
    *) arguments+=("${CONFIGURE_PLAIN[@]}") ;;
    esac
    arguments+=("--cc=ccache $compiler")
    # A foreign tree may warn with this machine's compiler; ours must not.
    [ "${tree##*/}" = qemu-custom ] || arguments+=(--enable-werror)
    if [ -e "$dir/build.ninja" ] &&
        [ "${arguments[*]}" = "$(cat "$dir/.configured" 2>/dev/null)" ]
    then
        return
    fi
    say "configuring"
    rm -rf "$dir"
    mkdir -p "$dir"
    (cd "$dir" &&
        logged "configure-$(log_name "$dir")" "$tree/configure" "${arguments[@]}")
    # Programs run from a build folder look for firmware below qemu-bundle.
    mkdir -p "$dir/qemu-bundle/usr"
    ln -sfn /usr/share "$dir/qemu-bundle/usr/share"
    [ "$3" != fuzz ] || fuzz_filter >"$dir/instrumentation-filter"
    echo "${arguments[*]}" >"$dir/.configured"
}

# The project's unit tests that the tree's build rules know
unit_tests() {
    local file name
    for file in "$1"/tests/unit/test-{zoned-*,crc32c}.c; do
        name=${file##*/}
        name=${name%.c}
        if grep -qs "'$name'" "$1/tests/unit/meson.build"; then
            echo "tests/unit/$name"
        fi
    done
}

# The project's qtests that the tree's build rules know, and the unit test to
# which a patch has added: what the check `qtest` runs
qtests() {
    local file name
    for file in "$1"/tests/qtest/{virtio-blk-{raw,zoned},nvme-{plain,z},scsi-{disk,zoned}}*-test.c
    do
        name=${file##*/}
        name=${name%.c}
        if grep -qs "'$name'" "$1/tests/qtest/meson.build"; then
            echo "tests/qtest/$name"
        fi
    done
    echo tests/unit/test-block-backend
}

# QEMU's own unit tests of the block layer
block_unit_tests() {
    sed -nE "/'test-zoned/d
        s/^ *'(test-[a-z-]+)': \[testblock\].*/tests\/unit\/\1/p
        s/^ *'(test-nested-aio-poll)':.*/tests\/unit\/\1/p" \
        "$1/tests/unit/meson.build"
}

# QEMU's own qtests of disks; virtio-blk's and NVMe's are in qos-test.
DISK_QTESTS=(qos-test drive_del-test hd-geo-test ide-test ahci-test fdc-test)

# compile_tree TREE DIR VARIANT [WITH-TESTS]; variant "tools" is no system
compile_tree() {
    local tree=$1 dir=$2 log
    local -a targets=("${TOOLS[@]}")
    log=$LOG/compile-$(log_name "$dir").log
    mapfile -t -O ${#targets[@]} targets < <(unit_tests "$tree")
    local kind=$3
    # A sanitized qemu-system takes minutes more: only for who asks for it.
    [ -z "${SANITIZE_SYSTEM-}" ] || kind+=-system
    case $kind in
    plain*)
        targets+=(qemu-system-x86_64)
        ! grep -qs "'zoned-bench'" "$tree/tests/bench/meson.build" ||
            targets+=("$BENCH") ;;&
    # The project's benchmark is linked with what this test is linked with.
    unpatched*) targets+=(qemu-system-x86_64 "$BENCH_MODEL") ;;
    sanitize-system) targets+=(qemu-system-x86_64) ;;&
    plain* | sanitize-system)
        mapfile -t -O ${#targets[@]} targets < <(qtests "$tree") ;;
    race*) targets=("$BENCH") ;;
    fuzz*) targets=(qemu-img "$FUZZER") ;;
    rbd*) targets=("${TOOLS[@]}" qemu-system-x86_64 "$BENCH") ;;
    esac
    if [ -n "${4-}" ]; then
        mapfile -t -O ${#targets[@]} targets < <(block_unit_tests "$tree")
        targets+=("${DISK_QTESTS[@]/#/tests/qtest/}")
    fi
    say "compiling in ${dir#"$ROOT"/}"
    if ! NINJA_STATUS='[%f/%t] ' ninja -C "$dir" "${targets[@]}" \
        </dev/null 2>&1 | tee "$log" | progress
    then
        grep -A 20 -m 3 -E '^FAILED:|error:' "$log" >&2 || tail -n 20 "$log" >&2
        die "compilation failed (whole output: $log)"
    fi
    link_programs "$tree" "$dir" "$dir/bin"
}

# ninja's status lines, one every few seconds
progress() {
    local line next=$((SECONDS + 10))
    while IFS= read -r line; do
        case $line in
        *warning:*) echo "$line" ;;
        \[*)
            if ((SECONDS >= next)); then
                say "  ${line:0:100}"
                next=$((SECONDS + 10))
            fi ;;
        esac
    done
}

# link_programs TREE DIR BIN
link_programs() {
    local program
    mkdir -p "$3"
    for program in "${TOOLS[@]/#/$2/}" "$2/qemu-system-x86_64" \
        "$1/scripts/qemu-zone-map"; do
        [ -e "$program" ] || continue
        ln -sfn "$program" "$3/${program##*/}"
    done
}

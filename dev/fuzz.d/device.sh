# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What a guest might do to a device with a zoned disk, at random. Needs common.sh
# and compile.sh.

# Few zones, so that what is random meets them, and limits that are soon reached.
# A namespace's zones are alike, and none is conventional.
image_options() {
    case $1 in
    nvme) echo size=512k,zone_capacity=48k,zd_extension_size=64 ;;
    *) echo size=544k,zone_nr_conv=2 ;;
    esac
}

# With neither MSI-X nor ioeventfd, there is less to set up for each input, and what
# a guest asks for has begun before it goes on. Zones need the modern interface. Few
# queues, and short ones, keep an input from taking long.
device_arguments() {
    local virtio=vectors=0,ioeventfd=off,disable-legacy=on size=32
    case $1 in
    virtio-scsi) virtio+=,num_queues=1,virtqueue_size=$size
        echo -device "virtio-scsi-pci,$virtio" -device scsi-hd,drive=disk ;;
    virtio-blk) virtio+=,num-queues=1,queue-size=$size
        echo -device "virtio-blk-pci,$virtio,drive=disk" ;;
    nvme) echo -device \
        "nvme,id=nvme,serial=fuzz,max_ioqpairs=2,msix_qsize=3,mqes=$((size - 1))" \
        -device nvme-ns,bus=nvme,drive=disk ;;
    esac
}

# The code that must be reached, not only registers: functions and their files
zone_code() {
    echo '. block/zoned'
    case $1 in
    virtio-scsi) echo '. hw/scsi/scsi-disk-zoned'; echo '. hw/block/zones' ;;
    virtio-blk) echo 'zone|append hw/block/virtio-blk'; echo '. hw/block/zones' ;;
    nvme) echo '. hw/nvme/zoned-node' ;;
    esac
}

# set_condition IMAGE ZONE CONDITION BYTES: of data in it. A guest cannot do this.
set_condition() {
    local entry i bytes=''
    entry=$(printf '%x%015x' "$3" $(($2 * 65536 + $4)))
    for ((i = 14; i >= 0; i -= 2)); do
        bytes+="\\x${entry:i:2}"
    done
    # shellcheck disable=SC2059  # the bytes are the format
    printf "$bytes" |
        dd of="$1" bs=1 seek=$((4096 + $2 * 8)) conv=notrunc status=none
}

READ_ONLY=13 OFFLINE=15

# make_image DEVICE QEMU-IMG IMAGE
make_image() {
    logged fuzz-image "$2" create -f zoned -o "$(image_options "$1")" \
        -o zone_size=64k,max_open_zones=2,max_active_zones=3 "$3"
    set_condition "$3" 6 $READ_ONLY 8192
    set_condition "$3" 7 $OFFLINE 0
}

# functions LOG: by libFuzzer's list of what was reached, each with its file, whether
# it was (1), edges that were, and all of its edges
functions() {
    sed -En 's|^(UN)?COVERED_FUNC: hits: [0-9]+ edges: ([0-9]+)/([0-9]+) (\S+) .*/qemu-[^/]*/([^:]+):.*|\4 \5 \1 \2 \3|p' \
        "$1" | sed 's/ UN / 0 /; s/  / 1 /'
}

# show_reached DEVICE FUNCTIONS: how much of its zone code, by files
show_reached() {
    local names file
    while read -r names file; do
        awk -v names="$names" -v file="$file" '
            index($2, file) == 1 && $1 ~ names {
                all[$2]++; reached[$2] += $3
                edges[$2] += $5; reached_edges[$2] += $3 * $4
            }
            END {
                for (each in all)
                    printf "%s: %d of %d functions, %d of %d edges\n", each,
                        reached[each], all[each], reached_edges[each], edges[each]
            }' "$2" | sort
    done < <(zone_code "$1")
}

# fuzz_device DEVICE INPUT-FILE-OR-RUNS
fuzz_device() {
    local device=$1 folder=$BUILD/fuzz/$1 log=$LOG/fuzz-$1.log
    local built=$BUILD/$BASE_VERSION-fuzz temporary
    local -a arguments
    mkdir -p "$folder/corpus"
    if [ -e "$2" ]; then
        arguments=("$2")
        log=$LOG/fuzz-$1-input.log
    else
        rm -rf "$folder/seeds"
        mkdir "$folder/seeds"
        "$ROOT/dev/fuzz.d/device-seeds" "$device" "$folder/seeds"
        arguments=(-runs="$2" -max_len=1600 -rss_limit_mb=4096
            -entropic_scale_per_exec_time=1 -print_final_stats=1
            -print_coverage=1 "$folder/corpus" "$folder/seeds")
    fi

    # In memory, where there is such a folder: less to wait for.
    temporary=$(mktemp -d -p "$([ -w /dev/shm ] && echo /dev/shm || echo /tmp)")
    # shellcheck disable=SC2064  # it is local
    trap "rm -rf '$temporary'" EXIT
    make_image "$device" "$built/qemu-img" "$temporary/image"
    # A build meanwhile is not to change it, nor what its stacks are read from.
    cp "$built/$FUZZER" "$temporary"
    ln -s "$built/qemu-bundle" "$temporary"

    export QEMU_FUZZ_OBJECTS='virtio* nvme*'
    # As in QEMU's own configurations; else a ring could go on for ever.
    export QEMU_AVOID_DOUBLE_FETCH=1
    QEMU_FUZZ_ARGS="-machine pc$(printf ',%s=off' usb hpet graphics acpi i8042 vmport)"
    QEMU_FUZZ_ARGS+=" -m 8M -nodefaults -blockdev driver=zoned,node-name=disk"
    QEMU_FUZZ_ARGS+=",file.driver=file,file.filename=$temporary/image"
    QEMU_FUZZ_ARGS+=" $(device_arguments "$device")"
    export QEMU_FUZZ_ARGS
    # LeakSanitizer looks at the end; libFuzzer would look after each input.
    export ASAN_OPTIONS=quarantine_size_mb=8:detect_leaks=1
    export LSAN_OPTIONS=suppressions=$ROOT/dev/lib/leaks.supp:print_suppressions=0
    export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
    ASAN_SYMBOLIZER_PATH=$(command -v llvm-symbolizer-19)
    export ASAN_SYMBOLIZER_PATH
    "$temporary/$FUZZER" --fuzz-target=generic-fuzz -timeout=60 -detect_leaks=0 \
        -artifact_prefix="$folder/" "${arguments[@]}" >"$log" 2>&1 || {
        # Behind it comes the list of what was reached.
        sed '/^COVERAGE:/,$d' "$log" | tail -n 40 >&2
        die "failed (whole output: $log)"
    }
    [ ! -e "$2" ] || return 0
    sed -n 's/^stat:://p; s/^Done /done: /p' "$log"
    functions "$log" >"$folder/reached"
    show_reached "$device" "$folder/reached"
}

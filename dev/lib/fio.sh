# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# fio and the tests that its source has for zoned disks, from Debian's source
# package. Needs common.sh, apt.sh and packages.sh.

FIO=$BUILD/guest/fio        # its source, built

# Newest first
FIO_SUITES="sid trixie bookworm"

# Nothing of the machine's that it could do without
FIO_OPTIONS=(--build-static --disable-native --disable-numa --disable-rdma
    --disable-rados --disable-rbd --disable-http --disable-gfapi --disable-pmem
    --disable-libnfs --disable-libzbc --disable-xnvme --disable-isal
    --disable-isal64 --disable-libblkio --disable-tcmalloc --disable-dfs)

# fetch_fio DIR: its source archive, or what of the package is served
fetch_fio() {
    local suite archive
    for suite in $FIO_SUITES; do
        private_apt_update "source-fio-$suite" deb-src "$suite"
        rm -rf "$1"
        mkdir -p "$1"
        (cd "$1" && private_apt "source-fio-$suite" apt-get source \
            --download-only fio) >"$LOG/fetch-fio.log" 2>&1 || true
        # apt keeps a file only if it has the right checksum.
        archive=$(find "$1" -name 'fio_*.orig.tar.*' -not -name '*.asc')
        if [ -n "$archive" ]; then
            say "fetched ${archive##*/} of Debian $suite"
            logged unpack-fio tar -C "$1" --strip-components=1 -xf "$archive"
            return
        fi
    done
    die "no source of fio can be fetched (see $LOG/fetch-fio.log)"
}

build_fio() {
    (cd "$1" && ./configure "${FIO_OPTIONS[@]}" && make -j "$(nproc)" fio)
}

# need_fio: fetch and build it, if it is not there
need_fio() {
    [ -e "$FIO/t/zbd" ] && return
    fetch_fio "$FIO.new"
    say "building fio"
    logged fio build_fio "$FIO.new"
    rm -rf "$FIO"
    mv "$FIO.new" "$FIO"
}

# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Debian packages that must be installed on the machine, by purpose.
# Needs common.sh and apt.sh.

packages_for() {
    case $1 in
    build) echo gcc libc6-dev pkgconf meson ninja-build python3 python3-venv \
        ccache dpkg-dev xz-utils patch git perl flex bison zlib1g-dev \
        libglib2.0-dev libpixman-1-dev libaio-dev liburing-dev libfdt-dev \
        libgcrypt20-dev libfuse3-dev seabios qemu-system-data ;;
    sanitize) packages_for build; echo clang-19 libclang-rt-19-dev llvm-19 ;;
    rbd) packages_for build; echo librbd-dev ;;
    cross) packages_for build; echo gcc-mingw-w64-x86-64-win32 gcc-multilib ;;
    iotests) echo strace ;;
    bench) echo valgrind strace gnuplot-nox python3-libnbd ;;
    zone-map) echo chromium fonts-dejavu-core ;;
    cluster) echo ceph-mon ceph-mgr ceph-osd ceph-common ;;
    style) echo shellcheck pylint flake8 mypy ;;
    docs) echo git perl python3-sphinx python3-sphinx-rtd-theme util-linux \
        libvirt-daemon-driver-qemu cpio busybox-static ;;
    guest) echo cpio kmod xz-utils binutils dpkg-dev python3 gcc libc6-dev \
        liburing-dev ;;
    guest-kernel) packages_for guest; echo zstd lz4 ;;
    own-kernel) packages_for guest-kernel; echo make bc bison flex libelf-dev \
        libssl-dev ;;
    guest-fio) packages_for guest; echo make libaio-dev zlib1g-dev ;;
    esac
}

MESON_NEEDED=1.5

installed() {
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

version_at_least() {
    dpkg --compare-versions "$1" ge "$2"
}

missing_packages() {
    local package
    for package; do
        if ! installed "$package" || {
            [ "$package" = meson ] && ! version_at_least \
                "$(dpkg-query -W -f '${Version}' meson)" "$MESON_NEEDED"
        }; then
            echo "$package"
        fi
    done
}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# What to give apt-get install for meson: its name, or, where the release's own
# is too old for QEMU, a file from the release's backports.
meson_package() {
    local candidate suite
    candidate=$(apt-cache policy meson | sed -n 's/^  Candidate: //p')
    if version_at_least "$candidate" "$MESON_NEEDED"; then
        echo meson
        return
    fi
    # shellcheck source=/dev/null
    suite=$(. /etc/os-release && echo "$VERSION_CODENAME-backports")
    private_apt_update backports deb "$suite"
    (cd "$BUILD/apt/backports" &&
        logged apt-meson private_apt backports apt-get download meson)
    find "$BUILD/apt/backports" -name 'meson_*.deb' | sort -V | tail -n 1
}

# Prints a folder of programs by which a package enables and starts its services,
# and that do nothing. Commands of dev/ start what they need as their own.
without_services() {
    local folder=$BUILD/without-services name
    mkdir -p "$folder"
    for name in deb-systemd-helper deb-systemd-invoke invoke-rc.d update-rc.d \
        systemctl
    do
        ln -sf /bin/true "$folder/$name"
    done
    echo "$folder"
}

# need_packages PURPOSE: install those that are missing
need_packages() {
    local lock
    # dpkg's own lock makes a second one fail instead of wait.
    exec {lock}>"$BUILD/.packages.lock"
    flock "$lock"
    install_missing "$1"
    exec {lock}>&-
}

install_missing() {
    local -a missing
    # shellcheck disable=SC2046  # a list of words
    mapfile -t missing < <(missing_packages $(packages_for "$1"))
    [ ${#missing[@]} = 0 ] && return
    say "installing: ${missing[*]}"
    logged apt-update as_root apt-get update
    local i
    for i in "${!missing[@]}"; do
        if [ "${missing[i]}" = meson ]; then
            missing[i]=$(meson_package)
        fi
    done
    logged apt-install as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y --no-install-recommends \
        -o DPkg::Path="$(without_services):/usr/sbin:/usr/bin:/sbin:/bin" \
        "${missing[@]}"
}

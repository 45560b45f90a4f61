# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# For what runs on the host with a cluster (dev/cluster).

CLUSTER=../../../../cluster     # from the folder of a scenario

# cluster COMMAND...: dev/cluster
cluster() {
    ../../../../../dev/cluster "$@"
}

# rbd COMMAND...: as the administrator
rbd() {
    command rbd --conf "$CLUSTER"/ceph.conf "$@"
}

# ceph COMMAND...: ditto
ceph() {
    command ceph --conf "$CLUSTER"/ceph.conf "$@"
}

# forget_image NAME: there is none
forget_image() {
    ! rbd info "$1" || rbd rm --no-progress "$1"
}

# new_image NAME OPTIONS...: a zoned one, in place of an old one
new_image() {
    local name=$1
    shift
    forget_image "$name"
    qemu-img create -f zoned "$@" "rbd:rbd/$name:conf=$CLUSTER/ceph.conf"
}

# used NAME: bytes that an image takes of the pool
used() {
    rbd du --exact --format json "$1" |
        python3 -c 'import json, sys
print(sum(i["used_size"] for i in json.load(sys.stdin)["images"]))'
}

/*
 * Commands to an NVMe namespace, sent through io_uring to its character device:
 * its block device would put what is written in an order, and has no appends
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef NVME_RING_H
#define NVME_RING_H

#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <linux/blkzoned.h>
#include <linux/fs.h>
#include <linux/nvme_ioctl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#undef BLOCK_SIZE               /* of linux/fs.h, where it means nothing */

#define OPCODE_FLUSH 0x00
#define OPCODE_WRITE 0x01
#define OPCODE_ZONE_APPEND 0x7d
#define FUA (1u << 30)          /* in dword 12 */

typedef struct NvmeRing {
    int disk;                   /* the block device, for reads and reports */
    int generic;                /* the character device */
    int nsid;
    uint32_t lba_size;          /* in bytes */
    struct io_uring ring;
} NvmeRing;

static void fail(const char *what)
{
    printf("not ok %s: %s\n", what, strerror(errno));
    exit(1);
}

/* The generic device of /dev/nvme0n1 is /dev/ng0n1. */
static void nvme_open(NvmeRing *nvme, const char *name)
{
    char generic_name[64];
    unsigned ctrl, ns;

    if (sscanf(name, "/dev/nvme%un%u", &ctrl, &ns) != 2) {
        errno = EINVAL;
        fail(name);
    }
    snprintf(generic_name, sizeof(generic_name), "/dev/ng%un%u", ctrl, ns);
    nvme->disk = open(name, O_RDWR | O_DIRECT);
    if (nvme->disk < 0 || ioctl(nvme->disk, BLKSSZGET, &nvme->lba_size) < 0) {
        fail(name);
    }
    nvme->generic = open(generic_name, O_RDWR);
    nvme->nsid = ioctl(nvme->generic, NVME_IOCTL_ID);
    if (nvme->nsid <= 0) {
        fail(generic_name);
    }
}

/* For at most @depth commands in flight */
static void nvme_set_up(NvmeRing *nvme, unsigned depth)
{
    int result = io_uring_queue_init(depth, &nvme->ring, IORING_SETUP_SQE128 |
                                     IORING_SETUP_CQE32);

    if (result < 0) {
        errno = -result;
        fail("io_uring");
    }
}

/* A command that nvme_wait() sends; its completion will have @opaque. */
static struct nvme_uring_cmd *nvme_command(NvmeRing *nvme, uint8_t opcode,
                                           void *opaque)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&nvme->ring);
    struct nvme_uring_cmd *command;

    if (!sqe) {
        errno = EBUSY;
        fail("io_uring");
    }
    command = (void *)sqe->cmd;
    /* The second half of an entry is no part of its type. */
    memset(sqe, 0, offsetof(struct io_uring_sqe, cmd));
    memset(command, 0, sizeof(*command));
    sqe->opcode = IORING_OP_URING_CMD;
    sqe->fd = nvme->generic;
    sqe->cmd_op = NVME_URING_CMD_IO;
    io_uring_sqe_set_data(sqe, opaque);
    command->opcode = opcode;
    command->nsid = nvme->nsid;
    return command;
}

/*
 * A command with data. An append's @offset is where its zone starts. @offset
 * and @size are in bytes, @flags those of dword 12.
 */
static void nvme_data_command(NvmeRing *nvme, uint8_t opcode, void *opaque,
                              uint64_t offset, const void *data, uint32_t size,
                              uint32_t flags)
{
    struct nvme_uring_cmd *command = nvme_command(nvme, opcode, opaque);
    uint64_t lba = offset / nvme->lba_size;

    command->addr = (uintptr_t)data;
    command->data_len = size;
    command->cdw10 = lba;
    command->cdw11 = lba >> 32;
    command->cdw12 = (size / nvme->lba_size - 1) | flags;
}

/* Send what has been prepared, and wait for something to complete. */
static void nvme_wait(NvmeRing *nvme)
{
    int result = io_uring_submit_and_wait(&nvme->ring, 1);

    if (result < 0 && result != -EINTR) {
        errno = -result;
        fail("io_uring");
    }
}

/* Make the zone empty that is at these bytes of the disk. */
static void nvme_empty(const NvmeRing *nvme, uint64_t start, uint64_t size)
{
    struct blk_zone_range range = {
        .sector = start / 512,
        .nr_sectors = size / 512,
    };

    if (ioctl(nvme->disk, BLKRESETZONE, &range) < 0) {
        fail("reset a zone");
    }
}

#endif

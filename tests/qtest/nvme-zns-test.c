/*
 * QTest testcase for zoned NVMe namespaces whose zones are kept in memory
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "nvme-zns-rules.h"

static void remove_file(void *path)
{
    unlink(path);
    g_free(path);
}

/* A file of zeroes for the data; it is removed at exit. */
static const char *new_file(void)
{
    char *path;
    int fd = g_file_open_tmp("nvme-zns.XXXXXX", &path, NULL);

    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(ftruncate(fd, ZNS_BLOCKS * 512), ==, 0);
    close(fd);
    g_test_queue_destroy(remove_file, path);
    return path;
}

static ZnsGuest *start_in_memory(const char *namespace, const char *controller)
{
    g_autofree char *args = g_strdup_printf(
        "-blockdev driver=file,node-name=disk,filename=%s "
        "-device nvme,id=nvme,serial=zns,addr=4%s "
        "-device nvme-ns,bus=nvme,drive=disk,zoned=on,zoned.zone_size=64k,"
        "zoned.zone_capacity=48k,zoned.max_open=%d,zoned.max_active=%d%s",
        new_file(), controller, ZNS_MAX_OPEN, ZNS_MAX_ACTIVE, namespace);

    return zns_start(args);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    zns_add_rules("nvme-zns", start_in_memory);
    return g_test_run();
}

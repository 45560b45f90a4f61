/*
 * Test what a power cut leaves of an image of the zoned format
 *
 * A random history runs on the driver: writes, appends, zone operations and
 * flushes, many at a time, also of several processes, one after the other.
 * Below the driver lies a disk that records all that is done to it.  Then the
 * power is cut, at one point of the history after the other, and each image
 * that this may leave goes to the judge (zoned-judge.h).  One of the images is
 * then opened, and the next history begins with it.
 *
 * zoned-crash.h says in which file is what.
 *
 *   ZONED_TEST_SEED      repeats a failure: the seed that it printed
 *   ZONED_TEST_STEPS     images that each test judges
 *   ZONED_TEST_DUMP      a folder for some of the images
 *   ZONED_TEST_DUMPS     how many of each test
 *   ZONED_TEST_EVENTS    if set, a failure prints all events of the history
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qemu/crc32c.h"
#include "qemu/main-loop.h"
#include "qemu/units.h"
#include "qapi/error.h"
#include "block/block_int.h"
#include "zoned-crash.h"

#define HEADER_LENGTH 512
#define MILLION 1000000

static void print_failure(const Run *r, uint32_t seed)
{
    g_printerr("%sto repeat it: ZONED_TEST_SEED=%u\n", r->failure->str, seed);
    g_test_fail();
}

/* Judges the images of as many runs as it takes to have all that are wanted. */
static void test_crash(gconstpointer opaque)
{
    const Profile *profile = opaque;
    Tally tally = {
        .nr_wanted = random_steps(20000),
        .dump_folder = getenv("ZONED_TEST_DUMP"),
        .nr_dumps = random_env("ZONED_TEST_DUMPS", 8),
    };
    uint32_t seed = random_start().seed;
    uint64_t next_message = MILLION;

    for (; tally.nr_judged < tally.nr_wanted; seed++) {
        Run *r = run_new(profile, &tally, seed);
        unsigned epochs = 1 + below(r, 3);
        bool good = true;

        while (good && epochs-- > 0) {
            good = run_epoch(r);
        }
        if (!good) {
            print_failure(r, seed);
            return;
        }
        run_free(r);
        if (tally.nr_judged >= next_message &&
            tally.nr_judged < tally.nr_wanted) {
            g_test_message("%s: %" PRIu64 " images", profile->name,
                           tally.nr_judged);
            next_message += MILLION;
        }
    }
    g_test_message("%s: %" PRIu64 " images of %" PRIu64 " histories judged",
                   profile->name, tally.nr_judged, tally.nr_histories);
}

/*
 * The judge itself: it must see each damage to an image that is good.
 */

typedef struct Damage {
    Run *run;
    const Content *good;        /* the image */
    Content *image;             /* the same, damaged */
} Damage;

/* Is the image, which was damaged, refused?  Then it is repaired. */
static void expect_refused(Damage *d, const char *damage)
{
    Run *r = d->run;

    if (judge_cut(r->judge, JUDGE_NEVER - 1, d->image, NULL, 0)) {
        run_fail(r, "the judge does not see %s\n", damage);
    }
    memcpy(d->image, d->good, r->disk->nr_sectors * sizeof(Content));
}

static void set_bytes(Damage *d, uint64_t offset, uint64_t number)
{
    uint8_t buf[SECTOR] QEMU_ALIGNED(8);
    Content *content = &d->image[offset / SECTOR];

    content_to_bytes(*content, buf);
    stq_le_p(buf + offset % SECTOR, number);
    *content = content_of_bytes(buf);
}

static void set_raw_entry(Damage *d, uint32_t i, unsigned cond, bool extended,
                          uint64_t address)
{
    set_bytes(d, judge_entry_offset(d->run->judge, i),
              (uint64_t)cond << 60 | (uint64_t)extended << 58 | address);
}

static void set_entry(Damage *d, uint32_t i, unsigned cond, uint64_t address)
{
    bool extended = judge_entry(d->run->judge, i).extended;

    set_raw_entry(d, i, cond, extended, address);
}

static void damage_extension(Damage *d, uint32_t i)
{
    Run *r = d->run;
    JudgeEntry entry = judge_entry(r->judge, i);

    set_raw_entry(d, i, entry.cond, !entry.extended, entry.address);
    expect_refused(d, entry.extended ? "an extension that is lost"
                                     : "an extension that was not set");
    if (entry.extended) {
        set_bytes(d, judge_extension_offset(r->judge, i) +
                  below(r, r->geo.ext_size / 8) * 8, disk_garbage(r->disk));
        expect_refused(d, "an extension that is not complete");
    }
}

static bool is_failed(const JudgeEntry *entry)
{
    return entry->cond == BLK_ZS_RDONLY || entry->cond == BLK_ZS_OFFLINE;
}

static void damage_cond(Damage *d, uint32_t i)
{
    JudgeEntry entry = judge_entry(d->run->judge, i);
    bool blank = entry.address == zone_start(d->run, i) && !entry.extended;
    bool full = zone_room(d->run, i, entry.address) == 0;

    if (entry.cond != BLK_ZS_RDONLY) {
        set_entry(d, i, BLK_ZS_RDONLY, entry.address);
        expect_refused(d, "a zone that has become READ ONLY");
    }
    if (entry.cond != BLK_ZS_OFFLINE) {
        set_entry(d, i, BLK_ZS_OFFLINE, entry.address);
        expect_refused(d, "a zone that has become OFFLINE");
    }
    if (is_failed(&entry)) {
        set_entry(d, i, blank ? BLK_ZS_EMPTY : full ? BLK_ZS_FULL
                                                    : BLK_ZS_CLOSED,
                  entry.address);
        expect_refused(d, "a zone that had failed, and is usable");
    }
}

static void damage_zone(Damage *d, uint32_t i)
{
    Run *r = d->run;
    JudgeEntry entry = judge_entry(r->judge, i);
    uint64_t start = zone_start(r, i);
    Content *data = &d->image[judge_data_sector(r->judge, start / SECTOR)];
    uint64_t written = (entry.address - start) / SECTOR;
    uint64_t room = zone_room(r, i, entry.address) / SECTOR;
    unsigned cond = is_failed(&entry) ? entry.cond : BLK_ZS_CLOSED;

    if (r->geo.ext_size) {
        damage_extension(d, i);
    }
    damage_cond(d, i);
    if (room > 1) {
        set_entry(d, i, cond, entry.address + SECTOR);
        expect_refused(d, "an address that is too high");
    }
    if (written > 1) {
        set_entry(d, i, cond, entry.address - SECTOR);
        expect_refused(d, "an address that is too low");
    }
    if (written > 0) {
        set_entry(d, i, BLK_ZS_EMPTY, start);
        expect_refused(d, "a zone that is lost");
        data[below(r, written)] = disk_garbage(r->disk);
        expect_refused(d, "a sector that is lost");
    }
    if (written > 1 && data[0] != data[written - 1]) {
        Content first = data[0];

        data[0] = data[written - 1];
        data[written - 1] = first;
        expect_refused(d, "sectors in a wrong place");
    }
    if (written > 0 && room > 0 && entry.cond == BLK_ZS_FULL) {
        set_entry(d, i, BLK_ZS_CLOSED, entry.address);
        expect_refused(d, "a finished zone that is not full");
    } else if (written > 0 && room > 0) {
        set_entry(d, i, BLK_ZS_FULL, entry.address);
        expect_refused(d, "a full zone that was not finished");
    }
}

static void damage_conv(Damage *d)
{
    Run *r = d->run;
    uint32_t sector = judge_data_sector(r->judge,
                                        below(r, conv_limit(r) / SECTOR));

    d->image[sector] = disk_garbage(r->disk);
    expect_refused(d, "a conventional sector that is lost");
}

/* A header that is sound, of a device with a zone more or less */
static void damage_size(Damage *d)
{
    Run *r = d->run;
    Content *content = &d->image[r->geo.base / SECTOR];
    uint32_t n = judge_nr_zones(r->judge);
    uint8_t buf[SECTOR];

    if (r->geo.size % r->geo.zone_size || r->geo.nr_zones == 1) {
        return;
    }
    n = n == r->geo.nr_zones ? n - 1 : n + 1;
    content_to_bytes(*content, buf);
    stl_le_p(buf + 12, 0);
    stq_le_p(buf + 40, n * r->geo.zone_size);
    stl_le_p(buf + 64, n);
    stl_le_p(buf + 72, n - r->geo.nr_conv);
    stl_le_p(buf + 12, crc32c(UINT32_MAX, buf, SECTOR));
    *content = content_of_bytes(buf);
    expect_refused(d, "a device of another size");
}

/* A record with a right checksum, of a zone that is not there */
static void damage_record(Damage *d)
{
    const Judge *j = d->run->judge;
    Content *content = &d->image[judge_log_sector(j, 1)];
    uint8_t head[SECTOR] QEMU_ALIGNED(8);
    uint8_t buf[SECTOR] QEMU_ALIGNED(8);
    uint32_t length;

    content_to_bytes(d->good[judge_log_sector(j, 0)], head);
    content_to_bytes(*content, buf);
    length = ldl_le_p(buf + 20);
    if (memcmp(buf, "zrec", 4) || memcmp(buf + 8, head + 8, 8) ||
        length < 56 || length > sizeof(buf)) {
        return;
    }
    stl_le_p(buf + 4, 0);
    stl_le_p(buf + 40, UINT32_MAX);
    stl_le_p(buf + 4, crc32c(UINT32_MAX, buf, length));
    *content = content_of_bytes(buf);
    expect_refused(d, "a record of a zone that is not there");
}

static void damage_log(Damage *d)
{
    Content *head = &d->image[judge_log_sector(d->run->judge, 0)];
    uint8_t buf[SECTOR] QEMU_ALIGNED(8);

    content_to_bytes(*head, buf);
    buf[below(d->run, 16)] ^= 1;
    *head = content_of_bytes(buf);
    expect_refused(d, "a head with a wrong bit");
    *head = CONTENT_ZEROES;
    expect_refused(d, "a log without a head");
    *head = disk_garbage(d->run->disk);
    expect_refused(d, "a head that is damaged");
    damage_record(d);
}

static void damage_image(Run *r)
{
    size_t size = r->disk->nr_sectors * sizeof(Content);
    g_autofree Content *good = g_memdup2(cuts_last_image(r->cuts), size);
    g_autofree Content *image = g_memdup2(good, size);
    Damage d = { .run = r, .good = good, .image = image };

    g_assert(judge_cut(r->judge, JUDGE_NEVER - 1, good, NULL, 0));
    damage_log(&d);

    /* What is damaged in the zone table must not be put right by the log. */
    g_assert(judge_cut(r->judge, JUDGE_NEVER - 1, good, NULL, 0));
    judge_empty_log(r->judge, good);
    memcpy(image, good, size);
    set_bytes(&d, r->geo.base + 8 * below(r, HEADER_LENGTH / 8),
              disk_garbage(r->disk));
    expect_refused(&d, "a damaged header");
    damage_size(&d);
    /* With that header, the judge would look for other zones. */
    g_assert(judge_cut(r->judge, JUDGE_NEVER - 1, good, NULL, 0));
    for (uint32_t i = r->geo.nr_conv; i < judge_nr_zones(r->judge); i++) {
        damage_zone(&d, i);
    }
    damage_conv(&d);
}

static void test_judge(gconstpointer opaque)
{
    Tally tally = {};
    uint32_t seed = random_start().seed;

    for (int k = 0; k < 50; k++, seed++) {
        Run *r = run_new(opaque, &tally, seed);

        if (run_epoch(r)) {
            damage_image(r);
        }
        if (r->failure) {
            print_failure(r, seed);
            return;
        }
        run_free(r);
    }
}

/*
 * Devices.
 */

/* A multiple of 4 KiB, up to @most of them */
static uint64_t blocks(ZonedRandom *random, unsigned most)
{
    return (1 + random_below(random, most)) * 4 * KiB;
}

static void limits(ZonedRandom *random, JudgeGeometry *geo, unsigned most)
{
    geo->max_active = random_below(random, most + 1);
    geo->max_open = random_below(random, (geo->max_active ?: most) + 1);
}

static void zones(ZonedRandom *random, JudgeGeometry *geo, uint32_t nr_zones)
{
    geo->size = nr_zones * geo->zone_size;
    geo->zone_capacity = random_below(random, 2) ? geo->zone_size
        : blocks(random, geo->zone_size / (4 * KiB));
    geo->max_append_sectors = 1 + random_below(random, 16);
    if (random_below(random, 2)) {
        geo->ext_size = 64 * (1 + random_below(random, 10));
    }
    if (random_below(random, 4) == 0) {
        geo->base = random_below(random, 64) * 4 * KiB;
    }
}

/* Zones that are filled by a few writes */
static void small_zones(ZonedRandom *random, JudgeGeometry *geo)
{
    geo->zone_size = blocks(random, 2);
    limits(random, geo, 6);
    zones(random, geo, 2 + random_below(random, 10));
}

static void large_zones(ZonedRandom *random, JudgeGeometry *geo)
{
    geo->zone_size = 3 * blocks(random, 8);
    zones(random, geo, 1 + random_below(random, 4));
    if (geo->size > geo->zone_size && random_below(random, 2)) {
        geo->size -= geo->zone_size - blocks(random, 3);
    }
}

/* More zones than a sector of the table holds, and few may be active. */
static void few_active(ZonedRandom *random, JudgeGeometry *geo)
{
    geo->zone_size = blocks(random, 1);
    limits(random, geo, 3);
    zones(random, geo, 65 + random_below(random, 200));
}

/* More zones than a block of the table holds */
static void many_zones(ZonedRandom *random, JudgeGeometry *geo)
{
    geo->zone_size = blocks(random, 1);
    limits(random, geo, 3);
    zones(random, geo, 513 + random_below(random, 1200));
}

static void conventional(ZonedRandom *random, JudgeGeometry *geo)
{
    geo->zone_size = blocks(random, 4);
    limits(random, geo, 4);
    geo->nr_conv = 1 + random_below(random, 3);
    zones(random, geo, geo->nr_conv + 1 + random_below(random, 6));
}

static void any_zones(ZonedRandom *random, JudgeGeometry *geo)
{
    static void (*const geometries[])(ZonedRandom *, JudgeGeometry *) = {
        small_zones, large_zones, few_active, many_zones, conventional,
    };

    geometries[random_below(random, ARRAY_SIZE(geometries))](random, geo);
}

static const Profile judge_profile = {
    "judge", conventional, .certain = true, .processes = true, .failing = true,
};

static const Profile profiles[] = {
    { "small-zones", small_zones },
    { "large-zones", large_zones },
    { "few-active", few_active },
    { "many-zones", many_zones },
    { "conventional", conventional },
    { "fragments", any_zones, .fragments = true },
    { "faults", any_zones, .faults = true },
    { "processes", any_zones, .processes = true },
    { "processes-faults", any_zones, .processes = true, .faults = true },
    { "failing", any_zones, .failing = true, .rules = true },
    { "failing-processes", any_zones, .failing = true, .rules = true,
      .processes = true },
    { "failing-faults", any_zones, .failing = true, .rules = true,
      .processes = true, .faults = true },
};

int main(int argc, char **argv)
{
    bdrv_init();
    qemu_init_main_loop(&error_abort);
    g_test_init(&argc, &argv, NULL);

    g_test_add_data_func("/zoned/crash/judge", &judge_profile, test_judge);
    for (int i = 0; i < ARRAY_SIZE(profiles); i++) {
        g_autofree char *path = g_strdup_printf("/zoned/crash/%s",
                                                profiles[i].name);

        g_test_add_data_func(path, &profiles[i], test_crash);
    }
    return g_test_run();
}

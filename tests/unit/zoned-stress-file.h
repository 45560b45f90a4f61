/*
 * The stress test of the zoned block format driver: the file below it
 *
 * There is one, in memory.  Requests rest at random, and fail at random; one
 * that fails has done a part of what it should.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TESTS_UNIT_ZONED_STRESS_FILE_H
#define TESTS_UNIT_ZONED_STRESS_FILE_H

/* How many of 10,000 requests fail */
typedef struct FileFaults {
    unsigned write;             /* of data */
    unsigned other;             /* of the table, flushes and discards */
    unsigned read;
} FileFaults;

/* Before all else */
void file_init(void);

/* Makes the file empty. */
void file_new(void);

/* Frees its memory. */
void file_free(void);

/* A node of the file, which the caller owns. */
BlockDriverState *file_open(void);

/* A filter, which is to come and go between the device and the file */
BlockDriverState *file_open_filter(void);

/*
 * An image of a device of @device_size bytes is in it: what is in front is
 * not data.
 */
void file_has_device(uint64_t device_size);

void file_set_faults(const FileFaults *faults);

/* How many of 100 requests rest, twice */
void file_set_rests(unsigned rate);

unsigned file_nr_in_flight(void);

/* When requests have failed: behind @since; and before @until */
bool file_fault_since(unsigned since);
bool file_fault_between(unsigned since, unsigned until);

/* All that have */
unsigned file_nr_faults(void);

#endif /* TESTS_UNIT_ZONED_STRESS_FILE_H */

/*
 * A judge of what a power cut leaves of an image of the zoned format
 *
 * The judge is told the history of a device: which operations began and when
 * they were acknowledged.  It is then shown images, says whether such an image
 * may be what is left when the power fails at a given time, and if not, why.
 * It reads images by itself, as docs/interop/zoned.rst describes them; it
 * shares no code with the driver, so that both cannot make the same mistake.
 *
 * What it holds the image against are the promises to the user:
 *
 *   - the header is as it was, but for the size that the device may have then;
 *     the log has a head, and all that it says can be; each entry in effect is
 *     valid, and no more zones are active than the limit allows;
 *   - below its write pointer, a sequential zone holds the data of operations
 *     on it, without a gap, each where it was acknowledged to be, in an order
 *     in which they can have happened, and none from before a reset that was
 *     acknowledged;
 *   - what was acknowledged and then flushed (or was FUA, or was in a zone
 *     that was then closed or finished) is there, unless a reset may have
 *     followed;
 *   - a zone whose finish was acknowledged is full, and no zone is full that
 *     was neither filled nor finished;
 *   - a zone that was made READ ONLY or OFFLINE, which was acknowledged, is so,
 *     unless it may have been made usable again; no other zone is; and such a
 *     zone has all that was ever written to it;
 *   - a zone whose descriptor extension was set, which was acknowledged, has
 *     it, unless a reset may have followed; and whatever extension a zone has
 *     was set for it, in front of its data, and is complete;
 *   - a conventional sector holds what was last flushed, or something newer.
 *
 * A process may die and another may open the image.  What is in the file's
 * cache then is what that one sees, durable or not; see judge_reopen():
 *
 *   - what it sees is itself an image that the judge would accept;
 *   - once it has flushed, what it saw is there, whoever has written it;
 *   - what it did not see is gone for good by then, and before that it is never
 *     mixed with what this process writes.
 *
 * Operations overlap in time.  Of two of them, A is surely before B if A was
 * acknowledged before B began; otherwise the judge accepts both orders.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TESTS_UNIT_ZONED_JUDGE_H
#define TESTS_UNIT_ZONED_JUDGE_H

#define JUDGE_SECTOR 512

/*
 * The content of a sector, as a number: images with many sectors can be made
 * and compared quickly.  Equal numbers mean equal bytes and vice versa.
 */
typedef uint64_t Content;

#define CONTENT_ZEROES ((Content)0)

/* Sector @index of the data of operation @op. */
Content content_data(uint64_t op, uint32_t index);

/*
 * The same if whoever has sent it has changed its buffer meanwhile: then the
 * disk has this or that.
 */
Content content_changed(Content data);

/* Bytes that are the data of no operation; different ones for each @number. */
Content content_garbage(uint64_t number);

/* The content that the JUDGE_SECTOR bytes at @buf are. */
Content content_of_bytes(const uint8_t *buf);

/* The bytes of @content, JUDGE_SECTOR of them. */
void content_to_bytes(Content content, uint8_t *buf);

/* No content is in use any more. */
void content_forget(void);

typedef enum JudgeOpType {
    JUDGE_OP_WRITE,
    JUDGE_OP_APPEND,
    JUDGE_OP_ZEROES,
    JUDGE_OP_DISCARD,       /* of conventional sectors */
    JUDGE_OP_FLUSH,
    JUDGE_OP_OPEN,
    JUDGE_OP_CLOSE,
    JUDGE_OP_FINISH,
    JUDGE_OP_RESET,
    JUDGE_OP_RDONLY,        /* makes zones READ ONLY, but OFFLINE ones */
    JUDGE_OP_OFFLINE,       /* makes zones OFFLINE */
    JUDGE_OP_RESTORE,       /* makes zones usable again, as their data says */
    JUDGE_OP_EXTEND,        /* sets the descriptor extension of a zone */
    JUDGE_OP_RESIZE,        /* of the device, to @bytes */
    JUDGE_OP_FOUND,         /* what the image held when a process began */
} JudgeOpType;

/* Where an append landed whose acknowledgement does not say it. */
#define JUDGE_NOWHERE UINT64_MAX

/* Later than all that happens. */
#define JUDGE_NEVER INT64_MAX

/* An operation; times are numbered from 0 and no two are equal. */
typedef struct JudgeOp {
    uint64_t number;        /* never that of another operation */
    JudgeOpType type;
    bool fua;               /* it is durable when it is acknowledged */
    uint64_t offset;        /* byte of the device; JUDGE_NOWHERE possible */
    uint64_t bytes;
    uint32_t zone;          /* only valid for writes to a sequential zone */
    int64_t begin;
    int64_t ack;            /* JUDGE_NEVER: not yet */
    int ret;                /* only valid after @ack */

    /*
     * When it was promised to be durable, when a reset that may have come after
     * it began, and when one that surely did was acknowledged.
     */
    int64_t durable;
    int64_t maybe_reset;
    int64_t surely_reset;

    uint32_t process;       /* whose operation it is */
    bool killed;            /* which died before the acknowledgement */
    int64_t unseen;         /* when a process began that did not see its data */

    /* Of JUDGE_OP_FOUND: the condition of its zone, and all that was there */
    unsigned cond;
    const Content *data;
    const uint8_t *ext;
} JudgeOp;

/* The device at its largest; it may be smaller by some whole zones. */
typedef struct JudgeGeometry {
    uint64_t base;          /* byte of the file at which the image starts */
    uint64_t size;
    uint64_t zone_size;
    uint64_t zone_capacity;
    uint32_t nr_zones;
    uint32_t nr_conv;
    uint32_t max_open;
    uint32_t max_active;
    uint32_t max_append_sectors;
    uint32_t ext_size;      /* bytes of a descriptor extension; 0: none */
} JudgeGeometry;

/* An entry of the zone table, or of the log. */
typedef struct JudgeEntry {
    unsigned cond;
    bool conv;
    bool extended;          /* has a valid descriptor extension */
    uint64_t address;
} JudgeEntry;

typedef struct Judge Judge;

Judge *judge_new(const JudgeGeometry *geo);
void judge_free(Judge *j);

/*
 * Begins a history: forgets the operations of the last one.  @image is the
 * file, a sector each; all that it holds is durable.
 * Returns false if it is no valid image, see judge_why().
 */
bool judge_start(Judge *j, const Content *image);

/* An operation begins at time @now. */
JudgeOp *judge_op_begin(Judge *j, JudgeOpType type, bool fua, uint64_t offset,
                        uint64_t bytes, int64_t now);

/* It was acknowledged at time @now; @op->offset is set for an append. */
void judge_op_ack(Judge *j, JudgeOp *op, int ret, int64_t now);

/*
 * The process dies at time @now.  Of what was not acknowledged, nobody knows if
 * it has happened; but it will not happen later.
 */
void judge_die(Judge *j, int64_t now);

/*
 * Another process opens the image at time @now, and sees @image, which must
 * live as long as the history.  The sectors of the file that are set in
 * @given_up may not be on disk, and no flush will write them: those of
 * conventional zones then are not promised.
 * Returns false if it is no valid image, see judge_why().
 */
bool judge_reopen(Judge *j, const Content *image, const unsigned long *given_up,
                  int64_t now);

/*
 * The history is complete.  Returns false if the acknowledgements alone break a
 * promise.
 */
bool judge_end(Judge *j);

/*
 * The power fails at time @now: what was earlier has happened.  Judges what
 * @image holds in all zones but those that the @n sectors @varying of the file
 * belong to.  Call judge_state() for these, as often as they change.
 */
bool judge_cut(Judge *j, int64_t now, const Content *image,
               const uint32_t *varying, size_t n);
bool judge_state(Judge *j);

/* Why the last judgement was false. */
const char *judge_why(const Judge *j);

/* The zone that it was about, with its history, to be read by a person. */
void judge_describe(const Judge *j, GString *text);

/* What the image says about zone @i.  The last image must be valid. */
JudgeEntry judge_entry(const Judge *j, uint32_t i);

/* The byte of the file at which its entry in the zone table lies. */
uint64_t judge_entry_offset(const Judge *j, uint32_t i);

/* The sector of the file at which block @block of the log begins. */
uint64_t judge_log_sector(const Judge *j, uint32_t block);

/*
 * Makes @image, which is the last one, say the same with an empty log: all
 * entries that are in effect are in the zone table.
 */
void judge_empty_log(const Judge *j, Content *image);

/* The byte of the file at which the descriptor extension of zone @i lies. */
uint64_t judge_extension_offset(const Judge *j, uint32_t i);

/* The descriptor extension of zone @i that is in the last image. */
void judge_read_extension(const Judge *j, uint32_t i, uint8_t *buf);

/* How many zones the device has in the last image. */
uint32_t judge_nr_zones(const Judge *j);

/* The descriptor extension that operation @op sets. */
void judge_make_extension(const Judge *j, uint64_t op, uint8_t *buf);

/* The first sector of the file behind the zone table. */
uint64_t judge_table_limit(const Judge *j);

/* The sector of the file that holds sector @sector of the device. */
uint64_t judge_data_sector(const Judge *j, uint64_t sector);

#endif /* TESTS_UNIT_ZONED_JUDGE_H */

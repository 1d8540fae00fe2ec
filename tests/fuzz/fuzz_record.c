/*
 * Records, lines and rotations: any sequence of writes to one log, by several descriptors of a process, with any pieces
 * and newlines, while time passes, calls fail, and an administrator is at the files.
 *
 * After every step the history is, byte for byte, what was there before, what was held of the writer's, and what the
 * write was told to have taken, less what is held now. Without failing calls nothing else is taken but all of it, files
 * keep to max_bytes, and no line is cut; and in the end the archives' names tell the same history.
 *
 * The input is a byte of settings, one each for max_bytes, lines, and clock; then operations with their operands.
 */
#include "log_memory.h"

#include "../../include/mplogshim.h"

enum { WRITERS = 3, PIECES_MOST = 12, STEPS_MOST = 64, BYTES_MOST = 1 << 17, FILES_MOST = 300 };

static struct {
    struct input *input;
    struct writer *writers[WRITERS];
    enum log_hold hold;
    struct bytes history;
    size_t left;       /* bytes that may still be written */
    unsigned faults;   /* one of so many calls fails; 0: none */
    uint64_t noise;    /* chooses which */
    bool disturbed;    /* something failed, or somebody was at the files */
    bool alone;        /* only one writer ever wrote */
    bool whole;        /* every write so far ended with a newline */
    int last_writer;   /* -1: none yet */
    uint8_t next_byte; /* of what is written */
} state;

static int fail_sometimes(const char *call)
{
    static const int errors[] = {EACCES, EIO, ENOSPC, EINTR, EMFILE, EROFS, ENOENT, EINVAL};
    state.noise = state.noise * 6364136223846793005u + 1442695040888963407u;
    if (state.faults == 0 || (state.noise >> 33) % state.faults != 0) {
        return 0;
    }
    int error = errors[(state.noise >> 20) % (sizeof errors / sizeof errors[0])];
    if (strcmp(call, "writev") == 0) {
        return (state.noise >> 18) & 1 ? 1 : error == EIO || error == ENOSPC || error == EINTR ? -error : 0;
    }
    /* What no kernel answers. */
    bool odd = (strcmp(call, "close") == 0 && error != EINTR && error != EIO) ||
               (error == ENOENT && strcmp(call, "openat") != 0 && strcmp(call, "fstatat") != 0) ||
               (strcmp(call, "fstat") == 0 || strcmp(call, "lseek") == 0 || strcmp(call, "fcntl") == 0);
    return odd ? 0 : -error;
}

static bool equal(const struct bytes *a, const struct bytes *b)
{
    return a->size == b->size && (a->size == 0 || memcmp(a->data, b->data, a->size) == 0);
}

/*
 * `out` was appended, and nothing else; after a disturbance a newline may have ended a line that was cut at a page, and
 * a descriptor that could not follow goes on in the file that it has.
 */
static void expect_appended(const struct bytes *out)
{
    struct bytes grown = log_memory_grown();
    struct bytes expected = {NULL, 0, 0};
    if (state.disturbed && grown.size == out->size + 1 && grown.data[0] == '\n') {
        bytes_add(&expected, "\n", 1);
    }
    bytes_add(&expected, out->data, out->size);
    require(equal(&grown, &expected));
    bytes_free(&expected);
    bytes_add(&state.history, grown.data, grown.size);
    bytes_free(&grown);
    if (!state.disturbed) {
        struct bytes now = log_memory_by_age();
        require(equal(&now, &state.history));
        bytes_free(&now);
    }
}

/* No line is cut where one file ends and the next begins, and no file is larger than it may be. */
static void check_files(void)
{
    const struct memory_file *last = NULL;
    uint64_t most = log_rule.policy.max_bytes;
    if (state.disturbed || !state.alone) {
        return;
    }
    for (size_t i = 0; i < memory.file_count; i++) {
        const struct memory_file *file = memory.files[i];
        if (!S_ISREG(file->mode) || file->links == 0 || file == memory_lookup(lock_path) || file->filled == 0) {
            continue;
        }
        if (last != NULL && last->data[last->filled - 1] != '\n') {
            const char *line = memrchr(last->data, '\n', (size_t)last->filled);
            require(last->data + last->filled - (line == NULL ? last->data : line + 1) >= LOG_HOLD_MAX);
        }
        const char *first = memchr(file->data, '\n', (size_t)file->filled);
        require(!state.whole || most == 0 || (uint64_t)file->filled <= most || first == file->data + file->filled - 1);
        last = file;
    }
}

/* Pieces of one write, with the bytes in one place. */
struct pieces {
    struct iovec vector[PIECES_MOST];
    int count;
    struct bytes bytes;
};

/* Each piece: a byte for its size, large if it is beyond 200, and one that says where newlines are. */
static void take_pieces(struct pieces *pieces)
{
    size_t sizes[PIECES_MOST];
    *pieces = (struct pieces){.count = 1 + input_byte(state.input) % PIECES_MOST};
    bytes_add(&pieces->bytes, "", 0);
    for (int i = 0; i < pieces->count; i++) {
        uint8_t size = input_byte(state.input);
        uint8_t newlines = input_byte(state.input);
        sizes[i] = size <= 200 ? size : (size_t)(size - 200) * 331;
        sizes[i] = sizes[i] < state.left ? sizes[i] : state.left;
        state.left -= sizes[i];
        for (size_t at = 0; at < sizes[i]; at++) {
            unsigned every = 1 + (newlines & 63);
            bool last = at + 1 == sizes[i];
            char byte = last && newlines & 64               ? '\n'
                        : newlines & 128 && at % every == 0 ? '\n'
                                                            : (char)('!' + state.next_byte++ % 90);
            bytes_add(&pieces->bytes, &byte, 1);
        }
    }
    size_t at = 0;
    for (int i = 0; i < pieces->count; i++) {
        pieces->vector[i] = (struct iovec){.iov_base = pieces->bytes.data + at, .iov_len = sizes[i]};
        at += sizes[i];
    }
}

/* The contract of lines=whole, strict and off: how much of `all` (held and new) goes out. */
static size_t expected_out(size_t held, const struct bytes *all)
{
    const char *last = all->size > held ? memrchr(all->data + held, '\n', all->size - held) : NULL;
    size_t complete = last == NULL ? 0 : (size_t)(last - all->data) + 1;
    if (all->size == held) {
        return held == 0 ? 0 : SIZE_MAX; /* an empty write: as it likes */
    }
    if (state.hold == HOLD_NONE || complete == all->size || all->size - complete > LOG_HOLD_MAX ||
        (complete == 0 && state.hold == HOLD_REST)) {
        return all->size;
    }
    return complete;
}

static void write_record(int index)
{
    struct pieces pieces;
    struct writer *writer = state.writers[index];
    struct bytes all = {NULL, 0, 0};
    take_pieces(&pieces);
    size_t held = writer->held;
    bytes_add(&all, writer->tail == NULL ? "" : writer->tail, held);
    state.alone = state.alone && (state.last_writer < 0 || state.last_writer == index);
    state.last_writer = index;
    size_t asked = pieces.bytes.size;
    state.whole = state.whole && (asked == 0 || pieces.bytes.data[asked - 1] == '\n') && state.hold == HOLD_NONE;

    require(guard_enter());
    ssize_t taken = log_write(writer, writer->fd, pieces.vector, pieces.count, -1, 0, state.hold);
    guard_leave();

    require(taken <= (ssize_t)asked);
    require(state.disturbed || taken == (ssize_t)asked);
    bytes_add(&all, pieces.bytes.data, taken > 0 ? (size_t)taken : 0);
    require(writer->held <= all.size);
    size_t out = all.size - writer->held;
    require(memcmp(all.data + out, writer->held > 0 ? writer->tail : "", writer->held) == 0);
    size_t expected = expected_out(held, &all);
    require(state.disturbed || expected == SIZE_MAX || out == expected);
    struct bytes gone = {.data = all.data, .size = out};
    expect_appended(&gone);
    bytes_free(&all);
    bytes_free(&pieces.bytes);
    check_files();
}

/* fflush, fsync, close. */
static void release(int index)
{
    struct writer *writer = state.writers[index];
    struct bytes all = {NULL, 0, 0};
    bytes_add(&all, writer->tail == NULL ? "" : writer->tail, writer->held);
    require(guard_enter());
    int error = log_release(writer, writer->fd);
    guard_leave();
    require(state.disturbed || (error == 0 && writer->held == 0));
    struct bytes gone = {.data = all.data, .size = all.size - writer->held};
    require(memcmp(all.data + gone.size, writer->held > 0 ? writer->tail : "", writer->held) == 0);
    state.whole = state.whole && all.size == 0;
    expect_appended(&gone);
    bytes_free(&all);
}

static void reopen(int index)
{
    unsigned faults = state.faults;
    if (state.writers[index] != NULL) {
        release(index);
        if (state.writers[index]->held > 0) {
            return; /* the disk has no room for it now */
        }
        log_memory_detach(state.writers[index]);
        state.alone = false; /* a new descriptor does not know that the one before it stopped in mid-line */
    }
    state.faults = 0; /* the program's own open */
    state.writers[index] = log_memory_attach();
    state.faults = faults;
}

/* What an administrator does, or another program. Nothing of it takes a byte of the log away. */
static void tamper(uint8_t how)
{
    char path[PATH_MAX];
    struct memory_file *lock = memory_lookup(lock_path);
    state.disturbed = true;
    if (how % 5 == 0 && memory_lookup(log_path) != NULL) {
        snprintf(path, sizeof path, "%s/moved-%zu", log_directory, memory.name_count);
        memory_link(path, memory_lookup(log_path));
        memory_unlink(memory_find(log_path));
    } else if (how % 5 == 1 && lock != NULL) {
        memory_unlink(memory_find(lock_path));
    } else if (how % 5 == 2 && lock != NULL) {
        memory_cut(lock, how & 8 ? 0 : MPLOGSHIM_PAGE_SIZE + (off_t)input_number(state.input, 6));
    } else if (how % 5 == 3 && lock != NULL) {
        uint8_t noise[16];
        for (size_t i = 0; i < sizeof noise; i++) {
            noise[i] = input_byte(state.input);
        }
        memory_store(lock, noise, sizeof noise, (off_t)input_number(state.input, 2) % 1500);
    } else {
        memory.no_exchange = !memory.no_exchange;
    }
}

static void step(void)
{
    uint8_t operation = input_byte(state.input);
    int index = (operation >> 4) % WRITERS;
    switch (operation & 15) {
    case 10:
        memory_pass((int64_t)input_byte(state.input) * 20000000);
        break;
    case 11:
        release(index);
        break;
    case 12:
        reopen(index);
        break;
    case 13: {
        struct policy names = log_rule.policy;
        names.compress = 0;
        unsigned faults = state.faults;
        state.faults = 0;
        log_memory_settle(&names);
        state.faults = faults;
        break;
    }
    case 14:
        tamper(input_byte(state.input));
        break;
    case 15:
        memory.room = input_byte(state.input) & 1 ? -1 : input_byte(state.input) * 64;
        state.disturbed = true;
        break;
    default:
        write_record(index);
    }
}

static void set_up(void)
{
    static const uint64_t sizes[] = {0, 1, 64, 100, 1000, 4096, 5000, 9000, 60000, 70000};
    uint8_t settings = input_byte(state.input);
    log_rule.policy.max_bytes = sizes[(settings & 15) % 10];
    state.left = BYTES_MOST;
    if (log_rule.policy.max_bytes > 0 && log_rule.policy.max_bytes * FILES_MOST < state.left) {
        state.left = log_rule.policy.max_bytes * FILES_MOST;
    }
    state.hold = (enum log_hold)((settings >> 4) % 3);
    log_rule.policy.period.unit = settings & 64 ? PERIOD_SECOND : PERIOD_NONE;
    log_rule.policy.naming = settings & 128 ? NAMING_TIME : NAMING_NUMBER;
    uint8_t faults = input_byte(state.input);
    state.faults = faults & 1 ? 3 + (unsigned)(faults >> 1) : 0;
    state.disturbed = state.faults > 0;
    memory.fault = state.faults > 0 ? fail_sometimes : NULL;
}

/* The names tell the same history as the files' ages. */
static void check_names(bool compress)
{
    enum history_naming naming = log_rule.policy.naming == NAMING_TIME ? HISTORY_TIME : HISTORY_NUMBER;
    if (state.disturbed) {
        return;
    }
    struct policy policy = log_rule.policy;
    policy.compress = compress ? 1 : 0;
    require(log_memory_settle(&policy) == SETTLE_DONE);
    struct bytes named = log_memory_by_name(naming, true);
    require(equal(&named, &state.history));
    bytes_free(&named);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {data, size};
    log_memory_start();
    memset(&state, 0, sizeof state);
    state.input = &input;
    state.alone = state.whole = true;
    state.last_writer = -1;
    bytes_add(&state.history, "", 0);
    set_up();
    for (int i = 0; i < WRITERS; i++) {
        reopen(i);
    }
    for (int i = 0; i < STEPS_MOST && input.size > 0 && state.left > 0; i++) {
        step();
    }
    state.faults = 0;
    memory.room = -1;
    for (int i = 0; i < WRITERS; i++) {
        release(i);
        require(state.writers[i]->held == 0);
        log_memory_detach(state.writers[i]);
    }
    check_names(size & 1);
    bytes_free(&state.history);
    memory_end();
    return 0;
}

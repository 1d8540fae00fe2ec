/*
 * The buffer of a dead process, taken over by one that lives: whatever is in its file, with any calls failing.
 *
 * Begins with what a killed process really leaves: records, some of them written out, a batch that was written in part,
 * records that were never finished, and what others did to the log since. Its lines then come to the log, once and
 * whole. If anything of the file is changed after that, what comes of it is only that the log grows by no more than a
 * buffer holds.
 *
 * The input is bytes of settings, operations of the dead process with their operands up to a 0, and then changes.
 */
#include "log_memory.h"

#include "../../shim/core/log_async.h"
#include "../../shim/core/ring.h"
#include "../../shim/core/ring_private.h"

enum { RECORDS_MOST = 600, LONGEST = 600, RING_NUMBER = 0xaa };

static struct {
    struct input *input;
    struct ring ring;
    char *memory;
    size_t size;
    struct writer *writer; /* of the process that lives */
    struct bytes puts;     /* all that the dead process put in */
    size_t out;            /* so much of it is in the log */
    unsigned faults;       /* one of so many calls fails; 0: none */
    uint64_t noise;
    bool changed; /* the file, by somebody else */
    bool sealed;  /* the batch was not finished: the process does nothing more */
    bool torn;    /* it was written in part */
    int count;
} state;

/* Not what tells whether the lock is held, nor what no file answers. */
static int fail_sometimes(const char *call)
{
    static const char *const calls[] = {"openat",   "pread",     "pwrite",     "writev",    "fstatat",
                                        "unlinkat", "ftruncate", "getdents64", "renameat2", "close"};
    static const int errors[] = {EIO, ENOSPC, EINTR, EMFILE, EACCES};
    state.noise = state.noise * 6364136223846793005u + 1442695040888963407u;
    if (state.faults == 0 || (state.noise >> 33) % state.faults != 0) {
        return 0;
    }
    int error = errors[(state.noise >> 20) % (sizeof errors / sizeof errors[0])];
    bool given = false;
    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
        given = given || strcmp(call, calls[i]) == 0;
    }
    if (strcmp(call, "writev") == 0 && (state.noise >> 18) & 1) {
        return 1;
    }
    bool changes_names = strcmp(call, "unlinkat") == 0 || strcmp(call, "renameat2") == 0;
    return given && (error != EACCES || changes_names) ? -error : 0;
}

static struct memory_file *live(void)
{
    struct memory_file *file = memory_lookup(log_path);
    require(file != NULL);
    return file;
}

/*
 * The process that will be dead.
 */
static void put(void)
{
    char text[LONGEST + 64];
    struct ring_put *chain = NULL;
    uint8_t size = input_byte(state.input);
    uint8_t kind = input_byte(state.input);
    size_t length = size < 128 ? size : (size_t)(size - 127) * 4;
    length += (size_t)snprintf(text, sizeof text, "%d ", state.count);
    memset(text + strlen(text), 'a' + state.count % 26, length - strlen(text));
    text[length] = kind & 1 ? '.' : '\n'; /* a piece of a line, seldom */
    length++;
    struct iovec piece = {.iov_base = text, .iov_len = length};
    if (state.count++ < RECORDS_MOST &&
        ring_put(&state.ring, &piece, 1, length, RING_RESERVE | (kind & 1 ? 0 : RING_WHOLE), 7, &chain) >= 0) {
        bytes_add(&state.puts, text, length);
    }
}

/* Killed in the middle of putting it in. */
static void put_half(void)
{
    struct ring_page *page = state.ring.page;
    uint32_t length = 1 + input_byte(state.input);
    uint32_t used = ring_position_of(page->head) - ring_position_of(page->tail);
    uint32_t slots = ring_slots_between(ring_slot_of(page->tail), ring_slot_of(page->head));
    if (used + length <= state.ring.data_mask && slots < state.ring.slot_mask) {
        page->head = ring_make_head(ring_position_of(page->head) + length, ring_slot_of(page->head) + 1, 8);
    }
}

/* Writes a batch, or a part of it and is killed then. */
static void write_batch(void)
{
    struct ring_run run;
    bool waits;
    uint8_t part = input_byte(state.input);
    ring_tidy(&state.ring);
    if (!ring_next(&state.ring, ring_end(&state.ring), 0, true, &run, &waits)) {
        return;
    }
    struct memory_file *file = live();
    size_t length = part & 1 ? ring_cut(&state.ring, &run, input_byte(state.input) * 8U) : run.length;
    size_t written = part & 2 ? length : length * (part >> 2) / 63;
    ring_intend(&state.ring, &run, length, MEMORY_DEVICE, file->inode, file->size);
    for (size_t i = 0, left = written; i < (size_t)run.count; i++) {
        size_t piece = run.vector[i].iov_len < left ? run.vector[i].iov_len : left;
        memory_store(file, run.vector[i].iov_base, piece, file->size);
        left -= piece;
    }
    state.out += written;
    state.torn = written > 0 && written < length;
    if (written == length && part & 4) {
        ring_settle(&state.ring, length);
    } else {
        state.ring.page->intent.state = part & 8 && written == length ? RING_WRITTEN : RING_WRITING;
        state.sealed = true;
    }
}

static void act(void)
{
    for (uint8_t operation; !state.sealed && (operation = input_byte(state.input)) != 0;) {
        switch (operation % 8) {
        case 5:
            put_half();
            break;
        case 6:
            write_batch();
            break;
        case 7:
            for (int i = input_byte(state.input); i > 0; i--) {
                put();
            }
            break;
        default:
            put();
        }
    }
}

/*
 * What others do to the file, and to the log since.
 */
static void change(void)
{
    struct ring_page *page = state.ring.page;
    uint8_t what = input_byte(state.input);
    uint64_t number = input_number(state.input, 1 + what % 8);
    uint64_t *const words[] = {&page->head, &page->tail, &page->intent.device, &page->intent.inode,
                               (uint64_t *)&page->intent.offset};
    uint32_t *const halves[] = {&page->intent.state,  &page->intent.first, &page->intent.position,
                                &page->intent.length, &page->slots,        &page->size};
    state.changed = true;
    switch (what >> 5) {
    case 0:
        *words[number % 5] ^= number >> 3;
        break;
    case 1:
        *halves[number % 6] ^= (uint32_t)(number >> 3);
        break;
    case 2:
        *words[number % 5] = input_number(state.input, 8);
        break;
    case 3:
        *halves[number % 6] = (uint32_t)input_number(state.input, 4);
        break;
    case 4:
        *ring_slot_at(&state.ring, ring_slot_of(page->tail) + (uint32_t)number % 16) ^= number >> 4;
        break;
    case 5:
        *ring_slot_at(&state.ring, ring_slot_of(page->tail) + (uint32_t)number % 16) = input_number(state.input, 8);
        break;
    case 6:
        state.memory[number % ring_file_size(RING_LEAST)] = (char)(number >> 24);
        break;
    default:
        state.size = number & 1 ? number % ring_file_size(RING_LEAST) : state.size;
    }
}

/* Somebody else rotates, who would have completed a torn batch. */
static void meanwhile(uint8_t what)
{
    char path[PATH_MAX];
    if (what & 1 && live()->size > 0 && !state.torn) {
        snprintf(path, sizeof path, "%s.%d", log_path, 1);
        memory_link(path, live());
        memory_unlink(memory_find(log_path));
        memory_make(log_path, S_IFREG | 0644);
    }
}

static void leave_file(void)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/.app.log.%016x.ring", log_directory, RING_NUMBER);
    struct memory_file *file = memory_make(path, S_IFREG | 0600);
    memory_store(file, state.memory, state.size, 0);
    log_ring_file = file;
}

static void take_over(void)
{
    require(guard_enter());
    log_async_take_over(state.writer->log);
    guard_leave();
}

/* A line is ended before its time where faults leave the end of a page in doubt. */
static void drop_newlines(struct bytes *bytes)
{
    size_t kept = 0;
    for (size_t i = 0; i < bytes->size; i++) {
        if (bytes->data[i] != '\n') {
            bytes->data[kept++] = bytes->data[i];
        }
    }
    bytes->size = kept;
}

static void check(bool faulty)
{
    struct bytes grown = log_memory_grown();
    struct bytes rest = {NULL, 0, 0};
    if (state.changed) {
        require(grown.size <= (size_t)state.ring.data_mask + 1 + 1);
        bytes_free(&grown);
        return;
    }
    require(log_ring_file->links == 0);
    bytes_add(&rest, state.puts.data + state.out, state.puts.size - state.out);
    if (faulty) {
        drop_newlines(&rest);
        drop_newlines(&grown);
    }
    require(grown.size == rest.size && memcmp(grown.data, rest.data, rest.size) == 0);
    bytes_free(&grown);
    bytes_free(&rest);
}

static void set_up(void)
{
    static const uint64_t sizes[] = {0, 0, 0, 100, 1000, 4096, 9000, 20000};
    uint8_t settings = input_byte(state.input);
    log_rule.policy.max_bytes = sizes[settings & 7];
    uint8_t faults = input_byte(state.input);
    state.faults = faults & 1 ? 3 + (unsigned)(faults >> 1) : 0;
    state.noise = faults;
    state.writer = log_memory_attach();
    uint32_t room = ring_room(RING_LEAST);
    state.size = ring_file_size(room);
    state.memory = calloc(1, state.size);
    require(state.memory != NULL);
    ring_make(&state.ring, state.memory, room, LOG_BASE, 4711);
    uint32_t position = (uint32_t)input_byte(state.input) * 128;
    uint32_t slot = input_byte(state.input);
    state.ring.page->head = state.ring.page->tail =
        ring_make_head(settings & 8 ? 0 - position : position, settings & 16 ? 0 - slot : slot, 0);
    bytes_add(&state.puts, "", 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {data, size};
    log_memory_start();
    memset(&state, 0, sizeof state);
    state.input = &input;
    set_up();
    act();
    meanwhile(input_byte(&input));
    while (input.size > 0) {
        change();
    }
    leave_file();
    struct bytes before = log_memory_grown();
    bytes_free(&before);
    bool faulty = state.faults > 0;
    memory.fault = faulty ? fail_sometimes : NULL;
    for (int i = 0; faulty && i < 3; i++) {
        take_over();
        memory_pass(1500000000);
    }
    memory.fault = NULL;
    memory_pass(2000000000);
    take_over();
    check(faulty);
    log_memory_detach(state.writer);
    bytes_free(&state.puts);
    free(state.memory);
    memory_end();
    return 0;
}

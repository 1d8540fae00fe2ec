/*
 * Any directory of archives, as crashes, full disks and other people leave them: plain and compressed twins, compressed
 * files that are cut short, damaged, of something else or no such thing, half-made ones, links and directories; while
 * calls fail, the settling process dies, and somebody goes on writing to an archive that he has open. Whatever the
 * state, no archive's bytes are lost, what cannot be read stays as it is, what is no plain file is left alone; and once
 * nobody disturbs any more, all is settled.
 *
 * The input: a byte of settings, one for the fault and one for the call at which the process dies; then files, each a
 * byte for its kind and one for its name, one for its content, and what the kind needs.
 */
#include "log_memory.h"

#include "../../include/mplogshim.h"

enum { FILES_MOST = 12, GENERATION = 40, CALLS_MOST = 4096 };

static struct {
    unsigned faults; /* one of so many calls fails; 0: none */
    uint64_t noise;
    unsigned calls;
    unsigned dies_at; /* 0: never */
    bool dead;
    struct memory_file *held; /* somebody has it open and writes at every eighth call */
    struct bytes *held_value; /* what must be found of it */
} state;

/* What must still be there: the bytes of an archive. */
struct value {
    struct bytes bytes;
    const char *path;
    bool unreadable; /* compressed by its name, and not what zlib expands: `bytes` are the file's own */
    bool found;
};

struct values {
    struct value items[64];
    size_t count;
};

static int disturb(const char *call)
{
    static const int errors[] = {EIO, ENOSPC, EACCES, ENOMEM, EROFS, EMFILE};
    state.calls++;
    if (state.held != NULL && state.calls % 8 == 0 && state.calls < CALLS_MOST) {
        memory_store(state.held, "late\n", 5, state.held->size);
        bytes_add(state.held_value, "late\n", 5);
    }
    if (state.dead || state.calls == state.dies_at) {
        state.dead = true;
        return -EIO;
    }
    state.noise = state.noise * 6364136223846793005u + 1442695040888963407u;
    if (state.faults == 0 || (state.noise >> 33) % state.faults != 0 || strcmp(call, "fcntl") == 0) {
        return 0;
    }
    int error = errors[(state.noise >> 20) % (sizeof errors / sizeof errors[0])];
    return strcmp(call, "writev") == 0 && (state.noise >> 18) & 1 ? 1 : -error;
}

/*
 * What is there, read with zlib alone.
 */
static bool is_gz(const char *path)
{
    size_t length = strlen(path);
    return length > 3 && strcmp(path + length - 3, ".gz") == 0;
}

/* One complete stream and nothing behind it. */
static bool expand(const struct memory_file *file, struct bytes *out)
{
    unsigned char room[8192];
    z_stream stream = {.next_in = (unsigned char *)file->data, .avail_in = (unsigned)file->filled};
    int result = inflateInit2(&stream, MAX_WBITS + 16);
    while (result == Z_OK) {
        stream.next_out = room;
        stream.avail_out = sizeof room;
        result = inflate(&stream, Z_NO_FLUSH);
        bytes_add(out, room, sizeof room - stream.avail_out);
    }
    bool whole = result == Z_STREAM_END && stream.avail_in == 0;
    inflateEnd(&stream);
    return whole;
}

static struct value value_of(const struct memory_name *name)
{
    struct value value = {.path = name->path};
    bytes_add(&value.bytes, "", 0);
    if (!is_gz(name->path) || !expand(name->file, &value.bytes)) {
        value.unreadable = is_gz(name->path);
        bytes_free(&value.bytes);
        bytes_add(&value.bytes, name->file->filled > 0 ? name->file->data : "", (size_t)name->file->filled);
    }
    return value;
}

static bool is_same_value(const struct value *a, const struct value *b)
{
    return a->unreadable == b->unreadable && a->bytes.size == b->bytes.size &&
           memcmp(a->bytes.data, b->bytes.data, a->bytes.size) == 0;
}

/* A plain file and what it was compressed to count once. */
static bool is_twin_of(const struct value *a, const struct value *b)
{
    size_t length = strlen(a->path);
    return strncmp(a->path, b->path, length) == 0 && strcmp(b->path + length, ".gz") == 0 && is_same_value(a, b);
}

static bool is_work(const char *path)
{
    return strstr(path, MPLOGSHIM_SQUEEZE_SUFFIX) != NULL || strcmp(path, lock_path) == 0;
}

static void values_take(struct values *values)
{
    values->count = 0;
    for (size_t i = 0; i < memory.name_count; i++) {
        const struct memory_name *name = &memory.names[i];
        if (name->path == NULL || !S_ISREG(name->file->mode) || is_work(name->path)) {
            continue;
        }
        if (name->file->size == 0 && name->file != state.held && strstr(name->path, "/.") != NULL) {
            continue; /* was prepared, and never the log */
        }
        require(values->count < sizeof values->items / sizeof values->items[0]);
        struct value value = value_of(name);
        value.path = strdup(name->path);
        values->items[values->count++] = value;
    }
    for (size_t i = 0; i < values->count; i++) {
        for (size_t j = 0; j < values->count; j++) {
            values->items[j].found = values->items[j].found || is_twin_of(&values->items[i], &values->items[j]);
        }
    }
    for (size_t i = 0; i < values->count; i++) {
        if (values->items[i].found) {
            bytes_free(&values->items[i].bytes);
            free((char *)(uintptr_t)values->items[i].path);
            values->items[i--] = values->items[--values->count];
        }
    }
}

static void values_free(struct values *values)
{
    while (values->count > 0) {
        struct value *value = &values->items[--values->count];
        bytes_free(&value->bytes);
        free((char *)(uintptr_t)value->path);
    }
}

/* Each is there as often as before; what was written since to the file that is held open counts with it. */
static void expect_values(const struct values *before)
{
    static struct values now;
    values_take(&now);
    require(now.count == before->count);
    for (size_t i = 0; i < before->count; i++) {
        bool found = false;
        for (size_t j = 0; j < now.count && !found; j++) {
            struct value *value = &now.items[j];
            found = !value->found && is_same_value(value, &before->items[i]);
            value->found = value->found || found;
        }
        require(found);
    }
    values_free(&now);
}

/*
 * The files.
 */
static struct bytes content(uint8_t which)
{
    static const size_t sizes[] = {0, 40, 300, 3000, 9000, 20000, 70000, 300000};
    struct bytes bytes = {NULL, 0, 0};
    char line[64];
    size_t size = sizes[which % 8];
    bytes_add(&bytes, "", 0);
    for (unsigned number = 0; bytes.size < size; number++) {
        int length = snprintf(line, sizeof line, "%u: line %u %u\n", which / 8, number, number * 2654435761u);
        bytes_add(&bytes, line, (size_t)length);
    }
    return bytes;
}

static struct bytes squeeze(const struct bytes *plain, int level)
{
    struct bytes bytes = {NULL, 0, 0};
    z_stream stream = {.next_in = (unsigned char *)plain->data, .avail_in = (unsigned)plain->size};
    require(deflateInit2(&stream, level, Z_DEFLATED, MAX_WBITS + 16, 8, Z_DEFAULT_STRATEGY) == Z_OK);
    size_t room = deflateBound(&stream, plain->size);
    unsigned char *out = malloc(room);
    require(out != NULL);
    stream.next_out = out;
    stream.avail_out = (unsigned)room;
    require(deflate(&stream, Z_FINISH) == Z_STREAM_END);
    bytes_add(&bytes, out, room - stream.avail_out);
    deflateEnd(&stream);
    free(out);
    return bytes;
}

/* A compressed file, as it should be or not. */
static struct bytes compressed(struct input *input, uint8_t which, uint8_t how)
{
    struct bytes plain = content(which);
    struct bytes bytes = squeeze(&plain, 1 + how / 16 % 9);
    uint16_t place = 0;
    if (how % 8 > 0) {
        place = (uint16_t)input_number(input, 2);
    }
    switch (how % 8) {
    case 1:
        bytes.size = place % (bytes.size + 1); /* cut short */
        break;
    case 2:
        bytes.data[place % bytes.size] ^= (char)(1 + input_byte(input) % 255);
        break;
    case 3:
        bytes_add(&bytes, "garbage", 1 + place % 7);
        break;
    case 4: {
        struct bytes more = squeeze(&plain, 1); /* a second member */
        bytes_add(&bytes, more.data, more.size);
        bytes_free(&more);
        break;
    }
    case 5:
        bytes.size = 0;
        while (input->size > 0 && bytes.size < place % 64) {
            uint8_t byte = input_byte(input);
            bytes_add(&bytes, &byte, 1);
        }
        break;
    default:
        break;
    }
    bytes_free(&plain);
    return bytes;
}

static void name_file(uint8_t form, bool gzip, char *name)
{
    char period[32];
    uint64_t number = 1 + form / 16 % 8;
    snprintf(period, sizeof period, "2026-11-%02u", 10 + form % 3);
    switch (form % 8) {
    case 4:
    case 5:
        require(name_time(LOG_BASE, period, number - 1, gzip, name) == 0);
        break;
    case 6:
        require(name_pending(LOG_BASE, number * 4, 1795000000 + (int64_t)number, name) == 0);
        break;
    case 7:
        require(name_squeeze(LOG_BASE, name) == 0);
        break;
    default:
        require(name_number(LOG_BASE, number, gzip, name) == 0);
    }
}

static void make_file(struct input *input)
{
    char name[NAME_SIZE];
    char path[PATH_MAX];
    uint8_t kind = input_byte(input);
    uint8_t form = input_byte(input);
    uint8_t which = input_byte(input);
    bool gzip = kind & 1;
    name_file(form, gzip, name);
    snprintf(path, sizeof path, "%s/%s", log_directory, name);
    if (memory_lookup(path) != NULL) {
        return;
    }
    if (kind % 16 == 14) {
        memory_directory(path);
        return;
    }
    if (kind % 16 == 15) {
        memory_make(path, S_IFLNK | 0777);
        return;
    }
    struct bytes bytes = gzip ? compressed(input, which, input_byte(input)) : content(which);
    struct memory_file *file = memory_make(path, S_IFREG | 0644);
    memory_store(file, bytes.data, bytes.size, 0);
    bytes_free(&bytes);
    if (kind % 16 == 12 && !gzip && form % 8 != 7 && state.held == NULL) {
        require(sys.openat(AT_FDCWD, path, O_WRONLY | O_APPEND, 0) >= 0);
        state.held = file;
    }
    if (kind % 16 == 10 && form % 8 != 7) {
        snprintf(path, sizeof path, "%s/other-%zu", log_directory, memory.name_count); /* a second name */
        memory_link(path, file);
    }
}

/* Directories and links but the log's directory; a link under the name of what is in the making may go. */
static size_t count_strange(void)
{
    size_t count = 0;
    size_t length = strlen(log_directory);
    for (size_t i = 0; i < memory.name_count; i++) {
        const struct memory_name *name = &memory.names[i];
        count += name->path != NULL && name->path[1] != '\0' && name->path[length] == '/' &&
                 !S_ISREG(name->file->mode) && !(S_ISLNK(name->file->mode) && is_work(name->path));
    }
    return count;
}

/* With nobody in the way, nothing is left to do. */
static void expect_settled(const struct policy *policy)
{
    for (size_t i = 0; i < memory.name_count; i++) {
        const struct memory_name *name = &memory.names[i];
        if (name->path != NULL && S_ISREG(name->file->mode)) {
            const char *base = name->path + strlen(log_directory) + 1;
            struct name parsed = name_parse(LOG_BASE, base);
            require(parsed.kind != NAME_PENDING && strstr(base, MPLOGSHIM_SQUEEZE_SUFFIX) == NULL);
            bool archive = parsed.kind == NAME_NUMBER || parsed.kind == NAME_TIME;
            require(!archive || policy->compress == 0 || parsed.gzip);
        }
    }
}

/* Not before its writer has written once more. */
static void release_held(void)
{
    if (state.held_value != NULL) {
        memory_store(state.held, "last\n", 5, state.held->size);
        bytes_add(state.held_value, "last\n", 5);
    }
    for (int fd = 0; fd < MEMORY_FDS && state.held != NULL; fd++) {
        if (memory.fds[fd] != NULL && memory.fds[fd]->file == state.held) {
            sys.close(fd);
        }
    }
    state.held = NULL;
}

/* The value of the file that is held open; unless it has a twin, which it may be like, and then not any more. */
static void find_held_value(struct values *before)
{
    char twin[PATH_MAX + 3];
    state.held_value = NULL;
    for (size_t i = 0; i < before->count && state.held != NULL; i++) {
        snprintf(twin, sizeof twin, "%s.gz", before->items[i].path);
        if (memory_lookup(before->items[i].path) == state.held && memory_lookup(twin) == NULL) {
            state.held_value = &before->items[i].bytes;
        }
    }
    if (state.held_value == NULL) {
        release_held();
    }
}

static void set_up(struct input *input, struct policy *policy)
{
    uint8_t settings = input_byte(input);
    uint8_t faults = input_byte(input);
    uint8_t dies = input_byte(input);
    log_memory_detach(log_memory_attach()); /* the lock file */
    memory_cut(memory_lookup(lock_path), MPLOGSHIM_PAGE_SIZE + GENERATION);
    memory_store(memory_lookup(log_path), "live\n", 5, 0);
    *policy = (struct policy){.period = {.interval = 1},
                              .naming = settings & 1 ? NAMING_TIME : NAMING_NUMBER,
                              .compress = settings & 2 ? 1 : 0,
                              .utc = true};
    memory.no_exchange = settings & 4;
    for (int i = 0; i < FILES_MOST && input->size > 0; i++) {
        make_file(input);
    }
    state.faults = faults & 1 ? 3 + (unsigned)(faults >> 1) : 0;
    state.dies_at = dies & 1 ? 1 + (unsigned)(dies >> 1) * 3 : 0;
    state.noise = (uint64_t)settings << 40;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct values before;
    struct policy policy;
    struct input input = {data, size};
    log_memory_start();
    memset(&state, 0, sizeof state);
    set_up(&input, &policy);
    values_take(&before);
    find_held_value(&before);
    size_t strange = count_strange();

    memory.fault = disturb;
    log_memory_settle(&policy);
    memory.fault = NULL;
    expect_values(&before);
    state.faults = state.dies_at = 0;
    state.dead = false;

    int result = log_memory_settle(&policy);
    require(result == SETTLE_DONE || strange > 0 || state.held != NULL);
    expect_values(&before);
    release_held();
    result = log_memory_settle(&policy);
    expect_values(&before);
    require(count_strange() == strange);
    if (strange == 0) {
        require(result == SETTLE_DONE);
        expect_settled(&policy);
    }
    values_free(&before);
    memory_end();
    return 0;
}

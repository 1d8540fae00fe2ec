/*
 * Any bytes as a lock file: nothing but what lockfile.c writes itself is believed, no byte outside of the page is asked
 * for, and whatever the file says and however long it is, a process that attaches to the log writes and rotates without
 * losing a byte, and its archives are found and keep their order.
 *
 * The input: how long the file is (six bytes, of which the first says whether they count), one byte that tells whether
 * somebody else is attached and whether the file may be believed, one for max_bytes; then what begins at byte 0 of the
 * file; with a first byte of 'P', at the place of the policy.
 */
#include "log_memory.h"

#include "../../include/mplogshim.h"
#include "../../shim/core/policy.h"

enum { POLICY_PLACE = 1024, LINES = 40 };

/* What is read is what was written by lockfile.c, or nothing. */
static void check_page(void)
{
    const struct lockfile lockfile = {.fd = sys.openat(AT_FDCWD, lock_path, O_RDWR, 0)};
    struct memory_file *file = memory_lookup(lock_path);
    struct policy policy = {.period = {.interval = 1}};
    struct bytes before = {NULL, 0, 0};
    int64_t value;
    bytes_add(&before, file->data, (size_t)file->filled);
    for (int field = 0; field < LOCKFILE_FIELDS; field++) {
        if (lockfile_read(&lockfile, (enum lockfile_field)field, &value)) {
            require(lockfile_write(&lockfile, (enum lockfile_field)field, value) == 0);
        }
    }
    lockfile_is_broken(&lockfile, 7, 4096);
    if (lockfile_read_policy(&lockfile, &policy)) {
        require(lockfile_write_policy(&lockfile, &policy) == 0);
    } else {
        require(policy.period.interval == 1 && policy.max_bytes == 0);
    }
    require(policy_is_valid(&policy));
    /* Signs apart: "-0" is read, and written as "+0". */
    require((size_t)file->filled == before.size);
    for (size_t at = 0; at < before.size; at++) {
        require(file->data[at] == before.data[at] || (before.data[at] == '-' && file->data[at] == '+'));
    }
    bytes_free(&before);
    sys.close(lockfile.fd);
}

static void make_lock_file(struct input *input, bool others, bool believed)
{
    int64_t length = (int64_t)input_number(input, 6);
    memory_make(lock_path, S_IFREG | (believed ? 0644 : 0666));
    struct memory_file *file = memory_lookup(lock_path);
    size_t place = input->size > 0 && input->data[0] == 'P' ? POLICY_PLACE : 0;
    input->data += place > 0;
    input->size -= place > 0;
    memory_store(file, input->data, input->size, (off_t)place);
    if (length & 1) {
        memory_cut(file, length >> 1);
    }
    memory.others = others;
}

static void write_line(struct writer *writer, int number, struct bytes *written)
{
    char line[32];
    int length = snprintf(line, sizeof line, "line %06d .......\n", number);
    const struct iovec vector = {.iov_base = line, .iov_len = (size_t)length};
    require(guard_enter());
    require(log_write(writer, writer->fd, &vector, 1, -1, 0, HOLD_REST) == length);
    guard_leave();
    bytes_add(written, line, (size_t)length);
}

static void expect_history(const struct bytes *written, bool by_name)
{
    struct bytes all = by_name ? log_memory_by_name(HISTORY_NUMBER, true) : log_memory_by_age();
    require(all.size == written->size && memcmp(all.data, written->data, all.size) == 0);
    bytes_free(&all);
}

static void write_a_history(uint64_t max_bytes)
{
    struct bytes written = {NULL, 0, 0};
    log_rule.policy.max_bytes = max_bytes;
    struct writer *writer = log_memory_attach();
    for (int number = 0; number < LINES; number++) {
        write_line(writer, number, &written);
        memory_pass(number % 8 == 7 ? 1100000000 : 1000000);
    }
    expect_history(&written, false);
    log_memory_detach(writer);
    memory.others = false;
    const struct policy names = {.naming = NAMING_NUMBER, .period = {.interval = 1}};
    require(log_memory_settle(&names) == SETTLE_DONE);
    expect_history(&written, true);
    bytes_free(&written);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {data, size};
    log_memory_start();
    uint8_t settings = input_byte(&input);
    uint64_t max_bytes = (uint64_t)input_byte(&input) * 4;
    make_lock_file(&input, settings & 1, settings & 2);
    check_page();
    write_a_history(max_bytes);
    memory_end();
    return 0;
}

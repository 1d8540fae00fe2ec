#include "log_locks.h"

#include "log_private.h"
#include "own.h"
#include "sys.h"
#include "sys_call.h"

#include <limits.h>
#include <string.h>
#include <sys/file.h>
#include <sys/syscall.h>

/* The number that a text begins with, up to a blank, a colon or its end; -1 for "EOF". Moves the text behind it. */
static off_t take_number(const char **text)
{
    off_t number = 0;
    bool digits = false;
    for (; **text >= '0' && **text <= '9' && number < LLONG_MAX / 16; (*text)++) {
        number = number * 10 + (**text - '0');
        digits = true;
    }
    return digits ? number : -1;
}

static const char *next_word(const char *text)
{
    while (*text != '\0' && *text != ' ' && *text != '\n')
        text++;
    while (*text == ' ')
        text++;
    return text;
}

static bool starts_with(const char *text, const char *word)
{
    return strncmp(text, word, strlen(word)) == 0;
}

/*
 * "lock:\t1: POSIX  ADVISORY  WRITE 4711 fe:00:1234 0 EOF": what the kernel tells of each lock that was taken by a
 * descriptor, in /proc/thread-self/fdinfo.
 */
static bool parse(const char *line, struct program_lock *lock)
{
    const char *word = next_word(line);
    if (starts_with(word, "FLOCK")) {
        lock->kind = LOCK_KIND_FLOCK;
    } else if (starts_with(word, "POSIX")) {
        lock->kind = LOCK_KIND_POSIX;
    } else if (starts_with(word, "OFDLCK")) {
        lock->kind = LOCK_KIND_OFD;
    } else {
        return false;
    }
    word = next_word(next_word(word));
    lock->exclusive = starts_with(word, "WRITE");
    word = next_word(next_word(next_word(word)));
    lock->start = take_number(&word);
    word = next_word(word);
    lock->end = take_number(&word);
    return lock->start >= 0;
}

/* The text of a descriptor's fdinfo in room of the log's; "" where there is no /proc. */
static const char *read_info(struct log *log, int fd)
{
    char *text = log->differences;
    char name[40];
    ssize_t length = 0;
    diag_format(name, sizeof name, "/proc/thread-self/fdinfo/%d", fd);
    int info = own_open(AT_FDCWD, name, O_RDONLY | O_CLOEXEC, 0);
    if (info >= 0) {
        length = sys.read(info, text, sizeof log->differences - 1);
        sys.close(info);
    }
    text[length > 0 ? length : 0] = '\0';
    return text;
}

static void note_descriptor(struct log *log, int fd)
{
    struct program_locks *locks = &log->program_locks;
    static const char head[] = "lock:\t";
    for (const char *at = strstr(read_info(log, fd), head); at != NULL; at = strstr(at + 1, head)) {
        struct program_lock lock = {.fd = fd};
        bool whole = strchr(at, '\n') != NULL;
        if (whole && locks->count < PROGRAM_LOCKS_MAX && parse(at + sizeof head - 1, &lock)) {
            locks->locks[locks->count++] = lock;
        }
    }
}

/* Duplicates show the same locks. */
static bool is_first_of_group(const struct writer *first, const struct writer *writer)
{
    while (first != writer && (first->group != writer->group || writer->group == 0)) {
        first = first->next;
    }
    return first == writer;
}

void program_locks_note(struct log *log)
{
    const struct writer *first = __atomic_load_n(&log->writers, __ATOMIC_ACQUIRE);
    log->program_locks.count = 0;
    for (const struct writer *writer = first; writer != NULL; writer = writer->next) {
        if (is_first_of_group(first, writer) && log_prove(writer)) {
            note_descriptor(log, writer->fd);
        }
    }
}

static void take(const struct program_lock *lock)
{
    if (lock->kind == LOCK_KIND_FLOCK) {
        sys_call(SYS_flock, lock->fd, (lock->exclusive ? LOCK_EX : LOCK_SH) | LOCK_NB, 0, 0, 0, 0);
        return;
    }
    struct flock range = {.l_type = lock->exclusive ? F_WRLCK : F_RDLCK,
                          .l_whence = SEEK_SET,
                          .l_start = lock->start,
                          .l_len = lock->end < 0 ? 0 : lock->end - lock->start + 1};
    sys.fcntl(lock->fd, lock->kind == LOCK_KIND_OFD ? F_OFD_SETLK : F_SETLK, (long)&range);
}

void program_locks_take(const struct log *log)
{
    for (int i = 0; i < log->program_locks.count; i++) {
        take(&log->program_locks.locks[i]);
    }
}

/*
 * Twins: managed streams in the place of glibc's own streams over whose descriptors a log was put.
 *
 * stdout and stderr have theirs ready from the start, so that a dup2 in a signal handler needs nothing but to assign
 * two variables. Another stream gets one when an output function first meets it on a managed descriptor.
 */
#include "descriptor.h"
#include "real.h"
#include "stdio.h"
#include "stdio_private.h"

#include "core/sys.h"
#include <errno.h>
#include <string.h>

enum { STANDARD_COUNT = 2, STANDARD_BUFFER = 65536 };

/* stdout and stderr: their variables, glibc's objects, and the twins. */
struct standard {
    FILE **variable;
    int fd;
    FILE *original;
    struct managed_stream *twin;
    char *buffer;
};

/* Without malloc: pages that are never touched cost nothing. */
static SYS_SELDOM char standard_buffers[STANDARD_COUNT][STANDARD_BUFFER];

static struct standard standards[STANDARD_COUNT] = {
    {.fd = 1, .buffer = standard_buffers[0]},
    {.fd = 2, .buffer = standard_buffers[1]},
};

/* How many originals have a twin that stands in for them, and how many of these are not stdout or stderr. */
static atomic_int attached_count;
static atomic_int other_count;

static struct standard *standard_of(const FILE *original)
{
    for (int i = 0; i < STANDARD_COUNT; i++) {
        if (standards[i].original == original && standards[i].twin != NULL) {
            return &standards[i];
        }
    }
    return NULL;
}

struct managed_stream *twin_find(FILE *original)
{
    const struct standard *standard = standard_of(original);
    if (standard != NULL) {
        return atomic_load(&standard->twin->original) == original ? standard->twin : NULL;
    }
    if (atomic_load_explicit(&other_count, memory_order_relaxed) == 0) {
        return NULL; /* mostly: no list need be searched */
    }
    for (struct managed_stream *managed = stream_next(NULL); managed != NULL; managed = stream_next(managed)) {
        if (atomic_load(&managed->original) == original) {
            return managed;
        }
    }
    return NULL;
}

/* One lock for both, so that flockfile on one excludes users of the other. */
static void share_lock(struct managed_stream *twin, FILE *original)
{
    twin->own_lock = twin->stream->_lock;
    twin->stream->_lock = original->_lock;
}

/* The size of the original's buffer. */
static size_t standard_buffer_size(const FILE *original)
{
    size_t size = (size_t)(original->_IO_buf_end - original->_IO_buf_base);
    return size < STANDARD_BUFFER ? size : STANDARD_BUFFER;
}

/*
 * putc_unlocked, inlined in the program, fills what room the original's buffer has: leave none, then it calls
 * __overflow. Harmless in a signal handler, whatever of glibc's it interrupts: less room only means an earlier flush.
 */
static void leave_no_room(FILE *original)
{
    if (original->_IO_write_end != original->_IO_write_ptr && original->_mode <= 0) {
        original->_IO_write_end = original->_IO_write_ptr;
    }
}

/* From now on the twin stands in for the original, buffers as it does, and has its errors. Safe in a signal handler. */
static void attach(struct managed_stream *twin, FILE *original)
{
    enum {
        KEPT = STREAM_UNBUFFERED | STREAM_LINE_BUFFERED | STREAM_NO_READS | STREAM_NO_WRITES | STREAM_APPENDING |
               STREAM_USER_LOCK | STREAM_ERROR
    };
    FILE *stream = twin->stream;
    stream->_flags = (stream->_flags & ~KEPT) | (original->_flags & KEPT);
    stream->_fileno = original->_fileno;
    twin->orientation = original->_mode;
    if (atomic_exchange(&twin->original, original) == NULL) {
        atomic_fetch_add(&attached_count, 1);
    }
    leave_no_room(original);
}

static void attach_standard(struct standard *standard)
{
    FILE *stream = standard->twin->stream;
    bool unbuffered = (standard->original->_flags & STREAM_UNBUFFERED) != 0;
    if (!unbuffered && stream->_IO_buf_base == NULL && standard->original->_IO_buf_base != NULL) {
        stream_set_buffer(stream, standard->buffer, standard_buffer_size(standard->original));
    }
    attach(standard->twin, standard->original);
}

static const struct standard *standard_with(const FILE *stream)
{
    for (int i = 0; i < STANDARD_COUNT; i++) {
        if (standards[i].twin != NULL && standards[i].twin->stream == stream) {
            return &standards[i];
        }
    }
    return NULL;
}

bool twin_is_standard(const FILE *stream)
{
    return standard_with(stream) != NULL;
}

void twin_prepare(FILE *stream)
{
    const struct standard *standard = standard_with(stream);
    if (standard != NULL) {
        int state = stream_lock(stream);
        if (stream->_IO_buf_base == NULL) { /* no other thread was faster */
            stream_choose_buffer(stream, standard->buffer);
        }
        stream_unlock(stream, state);
    }
}

static struct managed_stream *make_twin(FILE *original)
{
    struct managed_stream *twin = stream_new(original->_fileno, 0);
    if (twin == NULL) {
        return NULL;
    }
    if (original->_IO_buf_base != NULL && (original->_flags & STREAM_UNBUFFERED) == 0) {
        stream_set_buffer(twin->stream, NULL, (size_t)(original->_IO_buf_end - original->_IO_buf_base));
    } else if ((original->_flags & STREAM_UNBUFFERED) == 0) {
        stream_choose_buffer(twin->stream, NULL);
    }
    share_lock(twin, original);
    attach(twin, original);
    atomic_fetch_add(&other_count, 1);
    return twin;
}

/* A new twin for a stream whose descriptor has become a log. Two threads that meet it get the same. */
static struct managed_stream *add_twin(FILE *original)
{
    struct standard *standard = standard_of(original);
    int saved = errno;
    int state = stream_lock(original);
    struct managed_stream *twin = twin_find(original);
    if (twin == NULL && standard != NULL) {
        attach_standard(standard);
        twin = standard->twin;
        if (*standard->variable == original) {
            *standard->variable = twin->stream;
        }
    } else if (twin == NULL) {
        twin = make_twin(original);
    }
    stream_unlock(original, state);
    errno = saved;
    return twin;
}

/* The twin of a stream that is not managed itself; the stream, if it has none and needs none. */
static FILE *route_plain(FILE *stream)
{
    int fd = stream->_fileno;
    bool none = atomic_load_explicit(&attached_count, memory_order_relaxed) == 0;
    if (fd < 0 || (stream->_flags & STREAM_IS_FILE) == 0 || (none && !descriptor_managed(fd))) {
        return stream;
    }
    struct managed_stream *twin = twin_find(stream);
    if (twin == NULL && (stream->_flags & STREAM_NO_WRITES) == 0 && descriptor_managed(fd)) {
        twin = add_twin(stream);
    }
    if (twin == NULL) {
        return stream; /* not a log; or no memory for a twin: better written without the shim than not at all */
    }
    leave_no_room(stream);
    return twin->stream;
}

FILE *twin_route(FILE *stream)
{
    return stream_managed(stream) != NULL ? stream : route_plain(stream);
}

FILE *twin_route_bytes(FILE *stream)
{
    struct managed_stream *managed = stream_managed(stream);
    FILE *routed = stream;
    if (managed == NULL) {
        routed = route_plain(stream);
        if (routed == stream) {
            return stream;
        }
        managed = stream_managed(routed);
    }
    stdio_prepare(routed);
    return wide_orient(managed, -1) < 0 ? routed : NULL;
}

FILE *twin_route_position(FILE *stream)
{
    FILE *routed = twin_route(stream);
    if (routed == stream || (stream->_flags & STREAM_NO_READS) != 0) {
        return routed;
    }
    int state = stream_lock(routed);
    stream_flush(stream_managed(routed));
    stream_unlock(routed, state);
    stream->_offset = -1; /* what glibc remembers of it is no longer so */
    return stream;
}

struct managed_stream *twin_route_wide(FILE *stream)
{
    struct managed_stream *managed = stream_managed(twin_route(stream));
    if (managed != NULL) {
        stdio_prepare(managed->stream);
    }
    return managed;
}

/* The standard twin becomes what a closed stream of glibc's is: every call on it fails. */
static void detach_standard(struct standard *standard)
{
    stream_reset(standard->twin, -1, STREAM_NO_READS | STREAM_NO_WRITES);
    if (*standard->variable == standard->twin->stream) {
        *standard->variable = standard->original;
    }
}

static int close_twin(struct managed_stream *twin, FILE *original)
{
    int fd = original->_fileno;
    int state = stream_lock(twin->stream);
    int result = stream_flush(twin);
    stream_unlock(twin->stream, state);
    int error = errno;
    int released = descriptor_forget(fd);
    if (released < 0) {
        result = EOF;
        error = -released;
    }
    atomic_store(&twin->original, NULL);
    atomic_fetch_sub(&attached_count, 1);
    struct standard *standard = standard_of(original);
    if (standard != NULL) {
        detach_standard(standard);
    } else {
        atomic_fetch_sub(&other_count, 1);
        twin->stream->_lock = twin->own_lock;
        stream_fclose(twin);
    }
    if (real.fclose(original) == EOF) {
        return EOF;
    }
    errno = error;
    return result;
}

int twin_close(FILE *stream, bool *closed)
{
    struct managed_stream *managed = stream_managed(stream);
    struct managed_stream *twin = managed != NULL ? managed : twin_find(stream);
    FILE *original = twin != NULL ? atomic_load(&twin->original) : NULL;
    *closed = original != NULL;
    return *closed ? close_twin(twin, original) : 0;
}

static bool make_standard(struct standard *standard)
{
    standard->twin = stream_new(-1, STREAM_NO_READS | STREAM_NO_WRITES);
    if (standard->twin == NULL) {
        return false;
    }
    standard->original = *standard->variable;
    share_lock(standard->twin, standard->original);
    return true;
}

static SYS_START void redirect(struct standard *standard)
{
    if (*standard->variable != standard->original || standard->original->_fileno != standard->fd ||
        !descriptor_managed(standard->fd)) {
        return;
    }
    attach_standard(standard);
    *standard->variable = standard->twin->stream;
}

void stdio_start(void)
{
    standards[0].variable = &stdout; /* not above: the loader would look each of them up twice */
    standards[1].variable = &stderr;
    for (int i = 0; i < STANDARD_COUNT; i++) {
        if (!make_standard(&standards[i]) || !stream_learn(standards[i].twin)) {
            return;
        }
    }
    stdio_active = true;
    for (int i = 0; i < STANDARD_COUNT; i++) {
        redirect(&standards[i]);
    }
}

void stdio_redirected(int fd)
{
    for (int i = 0; i < STANDARD_COUNT; i++) {
        if (standards[i].fd == fd && stdio_active && !descriptor_foreign_memory()) {
            int saved = errno;
            redirect(&standards[i]);
            errno = saved;
        }
    }
}

void stdio_finish(void)
{
    for (struct managed_stream *managed = stream_next(NULL); managed != NULL; managed = stream_next(managed)) {
        if (managed->stream->_fileno < 0) {
            continue;
        }
        /* As exit does, without the lock if somebody else has it for good. */
        bool locked = ftrylockfile(managed->stream) == 0;
        stream_flush(managed);
        if (locked) {
            funlockfile(managed->stream);
        }
    }
}

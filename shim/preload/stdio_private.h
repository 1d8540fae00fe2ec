/*
 * The streams behind stdio.h, for stdio_*.c and hook_stdio_*.c only.
 *
 * A managed stream is a cookie stream of glibc's with _fileno set to its descriptor. A twin is a managed stream that
 * stands in for a stream of glibc's own (its original) over whose descriptor a log was put, and that the program may
 * still hold a pointer to: output to the original goes to the twin.
 */
#ifndef MPLOGSHIM_STDIO_PRIVATE_H
#define MPLOGSHIM_STDIO_PRIVATE_H

#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/types.h>
#include <wchar.h>

/* Bits of FILE._flags, which glibc no longer publishes, and has not changed since its first release. */
enum stream_flag {
    STREAM_USER_BUFFER = 0x0001, /* the buffer is not glibc's to free */
    STREAM_UNBUFFERED = 0x0002,
    STREAM_NO_READS = 0x0004,
    STREAM_NO_WRITES = 0x0008,
    STREAM_EOF = 0x0010,
    STREAM_ERROR = 0x0020,
    STREAM_LINE_BUFFERED = 0x0200,
    STREAM_PUTTING = 0x0800,
    STREAM_APPENDING = 0x1000,
    STREAM_IS_FILE = 0x2000, /* has a _fileno: memory streams have not */
    STREAM_USER_LOCK = 0x8000,
};

/* What belongs to one managed stream: its cookie. Made once, used again for later streams, never freed. */
struct managed_stream {
    struct managed_stream *next;
    atomic_bool used;
    FILE *stream;             /* NULL while there is none */
    _Atomic(FILE *) original; /* of a twin, while it stands in for it; else NULL */
    void *own_lock;           /* of a twin: the lock that it was made with; it uses the original's */
    atomic_int orientation;   /* as fwide tells it: cookie streams themselves know bytes only */
    bool closes_on_exec;      /* it was once opened with "e": glibc's streams remember that for freopen */
    mbstate_t write_state;    /* of wide output and input */
    mbstate_t read_state;
};

/* The modes of fopen: flags for open, flags of the stream. */
struct stream_mode {
    int open_flags;
    int stream_flags;
};

/* --- stdio_stream.c: managed streams --- */

/* False while there is nothing to manage: then every stream is glibc's own. */
extern bool stdio_active;

/* By one of them: what tells managed streams from others. False if cookie streams do not look as expected. At start. */
bool stream_learn(const struct managed_stream *managed);

/* A new managed stream on `fd` with the NO_READS, NO_WRITES and APPENDING flags of `stream_flags`, or NULL and errno.
 * No buffer yet. */
struct managed_stream *stream_new(int fd, int stream_flags);

/* The managed stream that `stream` is, or NULL if it is one of glibc's own. */
struct managed_stream *stream_managed(FILE *stream);

/* fclose of a managed stream that is no twin, or of the twin alone. */
int stream_fclose(struct managed_stream *managed);

/* flockfile, for a few lines that no cancellation may leave; stream_unlock takes what stream_lock returned. */
static inline int stream_lock(FILE *stream)
{
    int state;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
    flockfile(stream);
    return state;
}

static inline void stream_unlock(FILE *stream, int state)
{
    funlockfile(stream);
    pthread_setcancelstate(state, NULL);
}

/* Each managed stream after `previous` (NULL: the first), or NULL at the end. */
struct managed_stream *stream_next(struct managed_stream *previous);

/* Gives a stream the buffer and the line buffering that glibc would choose for its descriptor; at most BUFSIZ, in
 * `memory` if that is not NULL. */
void stream_choose_buffer(FILE *stream, char *memory);

/* Gives a stream a buffer of `size` bytes that glibc frees, or, with `memory`, one that it does not. */
void stream_set_buffer(FILE *stream, char *memory, size_t size);

/* Makes the stream as good as new on `fd`: nothing buffered, no buffer, no error, flags of the mode. */
void stream_reset(struct managed_stream *managed, int fd, int stream_flags);

/*
 * Writes out what the original of a twin still buffers, then what the stream does. 0, or EOF and errno. The caller has
 * the stream's lock.
 */
int stream_flush(struct managed_stream *managed);

/* --- stdio_twin.c: where output really goes --- */

/* The stream to use in place of `stream`: itself, or its twin, made now if its descriptor has become a log. Keeps
 * errno. */
FILE *twin_route(FILE *stream);

/* The twin that stands in for `original`, or NULL. */
struct managed_stream *twin_find(FILE *original);

/* fclose of a stream that is a twin or has one. Sets *closed to false if it is neither, and does nothing. */
int twin_close(FILE *stream, bool *closed);

/* Whether `stream` is the twin made for stdout or stderr, which is never freed. */
bool twin_is_standard(const FILE *stream);

/*
 * A stream that is about to be written to, and has no buffer yet, gets one. The twins of stdout and stderr have none
 * before, as glibc's own streams: the descriptor may have become a terminal meanwhile, where each line is seen at once.
 */
void twin_prepare(FILE *stream);

static inline void stdio_prepare(FILE *stream)
{
    if (__builtin_expect(stream->_IO_buf_base == NULL, 0) && stdio_active) {
        twin_prepare(stream);
    }
}

static inline FILE *stdio_route(FILE *stream)
{
    return stdio_active ? twin_route(stream) : stream;
}

/*
 * The stream whose position is the position of `stream`: its twin, unless the program also reads from it; then the
 * twin is flushed, so that the kernel knows.
 */
FILE *twin_route_position(FILE *stream);

static inline FILE *stdio_route_position(FILE *stream)
{
    return stdio_active ? twin_route_position(stream) : stream;
}

/* The same for byte output; NULL if that is not possible, because the stream is a managed one in use for wide
 * characters. */
FILE *twin_route_bytes(FILE *stream);

static inline FILE *stdio_route_bytes(FILE *stream)
{
    return stdio_active ? twin_route_bytes(stream) : stream;
}

/* Managed stream that wide output to `stream` goes to, or NULL: then it is glibc's own business. */
struct managed_stream *twin_route_wide(FILE *stream);

static inline struct managed_stream *stdio_route_wide(FILE *stream)
{
    return stdio_active ? twin_route_wide(stream) : NULL;
}

/* --- stdio_mode.c --- */

enum { MODE_FOPEN = 7, MODE_FDOPEN = 5 }; /* how many characters of a mode glibc looks at */

/* The mode as glibc understands it, or -EINVAL. */
int stream_mode_parse(const char *text, int length, struct stream_mode *mode);

/* --- stdio_open.c, stdio_reopen.c: the calls on whole streams. Results and errno as the functions of these names ---
 */

FILE *stdio_fopen(const char *path, const char *mode, FILE *(*next)(const char *, const char *));
FILE *stdio_fdopen(int fd, const char *mode);
FILE *stdio_freopen(const char *path, const char *mode, FILE *stream,
                    FILE *(*next)(const char *, const char *, FILE *));
int stdio_fclose(FILE *stream);
int stdio_fflush(FILE *stream, int (*next)(FILE *));
int stdio_fflush_all(void);

/* --- stdio_wide.c: wide characters on managed streams. Results and errno as the functions that they stand for --- */

/* fwide: gives the stream an orientation if it has none and `wanted` is not 0; returns the one that it has. */
int wide_orient(struct managed_stream *managed, int wanted);

/* The caller holds the stream's lock, or means to do without. */
wint_t wide_put(struct managed_stream *managed, wchar_t character);
int wide_put_string(struct managed_stream *managed, const wchar_t *string);
int wide_print(struct managed_stream *managed, const wchar_t *format, va_list arguments);
wint_t wide_get(struct managed_stream *managed);
wchar_t *wide_get_string(struct managed_stream *managed, wchar_t *string, int size);
int wide_scan(struct managed_stream *managed, const wchar_t *format, va_list arguments,
              int (*next)(FILE *, const wchar_t *, va_list));
wint_t wide_unget(struct managed_stream *managed, wint_t character);

#endif

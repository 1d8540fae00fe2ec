/*
 * stdio_handles DIRECTORY: reading, pushing back, modes, errors and the extensions of stdio_ext.h, and a stream and a
 * descriptor used in turn (POSIX, "Interaction of File Descriptors and Standard I/O Streams"), on files named *.log in
 * DIRECTORY. Every descriptor has O_APPEND, also where the mode alone would not say so.
 */
#include "stdio_transcript.h"

#include <locale.h>
#include <pthread.h>
#include <stdio_ext.h>
#include <sys/wait.h>
#include <wchar.h>

int __isoc99_fscanf(FILE *, const char *, ...);
char *__fgets_chk(char *, size_t, int, FILE *);
size_t __fread_chk(void *, size_t, size_t, size_t, FILE *);

#define AS_FUNCTION(name) ((__typeof__(&(name)) volatile)(name))

static FILE *open_appending(const char *mode)
{
    FILE *stream = open_stream(mode);
    fcntl(fileno(stream), F_SETFL, fcntl(fileno(stream), F_GETFL) | O_APPEND);
    errno = 0;
    return stream;
}

static void note_state(FILE *stream)
{
    note("feof", feof(stream) != 0);
    note("ferror", ferror(stream) != 0);
    note("feof_unlocked", feof_unlocked(stream) != 0);
    note("ferror_unlocked", ferror_unlocked(stream) != 0);
    note("ftell", ftell(stream));
    note("freading", __freading(stream) != 0);
    note("fwriting", __fwriting(stream) != 0);
    note("fpending", (long long)__fpending(stream));
}

/* What the program asked for is what it sees, whatever the descriptor really has. */
static void test_flags(void)
{
    static const char *const modes[] = {"a", "w", "r+", "a+", "w+", "ae", "we", "wc", "am", "r+e", "wbm"};
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        char name[32];
        snprintf(name, sizeof name, "flags%zu", i);
        begin(name);
        prepare("");
        FILE *stream = open_stream(modes[i]);
        note("flags", fcntl(fileno(stream), F_GETFL));
        note("cloexec", fcntl(fileno(stream), F_GETFD));
        note("fileno_unlocked", fileno_unlocked(stream) == fileno(stream));
        note("fopen again x", fopen(path, "wx") != NULL);
        note("fopen again x", fopen(path, "ax") != NULL);
        note("fclose", fclose(stream));
    }
    begin("flags_of_fdopen");
    int fd = open(path, O_RDWR | O_CREAT, 0644);
    note("flags", fcntl(fd, F_GETFL));
    FILE *stream = fdopen(fd, "w+");
    note("flags", fcntl(fd, F_GETFL));
    fclose(stream);
    fd = open(path, O_RDWR);
    stream = fdopen(fd, "a+");
    note("flags of a+", fcntl(fd, F_GETFL));
    note("fputs", fputs("text\n", stream) >= 0);
    note("fclose", fclose(stream));
    note_contents();
}

static void test_getting(const char *name, const char *mode)
{
    char line[100], *longer = NULL;
    size_t room = 0;
    int word = 0, number = 0;
    begin(name);
    prepare("line 1\nline 2\nwordline 3;line 4;12 34\nab\nlast");
    FILE *stream = open_appending(mode);
    rewind(stream);
    note("getc", AS_FUNCTION(getc)(stream));
    note("getc_unlocked", AS_FUNCTION(getc_unlocked)(stream));
    note("fgetc_unlocked", AS_FUNCTION(fgetc_unlocked)(stream));
    note_text("fgets_unlocked", fgets_unlocked(line, sizeof line, stream));
    note_text("__fgets_chk", __fgets_chk(line, sizeof line, 50, stream));
    note("getw", (word = getw(stream), word == 0x64726f77));
    note("getdelim", (long long)getdelim(&longer, &room, ';', stream));
    note_text("getdelim", longer);
    note("getdelim", (long long)__getdelim(&longer, &room, ';', stream));
    note_state(stream);
    note("fscanf", __isoc99_fscanf(stream, "%d %d", &word, &number));
    note("numbers", word * 100 + number);
    note("fscanf no number", __isoc99_fscanf(stream, "%d", &word));
    note("fread_unlocked", (long long)(fread_unlocked)(line, 1, 3, stream));
    note("__fread_chk", (long long)__fread_chk(line, sizeof line, 1, 2, stream));
    note("getline", (long long)getline(&longer, &room, stream));
    note_state(stream);
    note("getline", (long long)getline(&longer, &room, stream));
    note("fgetc", fgetc(stream));
    note("fread", (long long)fread(line, 1, 10, stream));
    note("fgets", fgets(line, 10, stream) != NULL);
    note("getw", getw(stream));
    note("fscanf", __isoc99_fscanf(stream, "%d", &word));
    note_state(stream);
    note("fputs", fputs("\nnew\n", stream) >= 0);
    note_state(stream);
    note("fseek", fseek(stream, -4, SEEK_END));
    note_state(stream);
    note_text("fgets", fgets(line, sizeof line, stream));
    clearerr_unlocked(stream);
    note_state(stream);
    note("fgets of 1", fgets(line, 1, stream) == line);
    note("getline NULL", (long long)getline(NULL, &room, stream));
    free(longer);
    note("fclose", fclose(stream));
    note_contents();
}

static void test_pushing_back(void)
{
    char line[100];
    begin("pushing_back");
    prepare("abc\ndef\n");
    FILE *stream = open_appending("r+");
    note("ungetc EOF", ungetc(EOF, stream));
    note("ungetc first", ungetc('x', stream));
    note("fgetc", fgetc(stream));
    note("fgetc", fgetc(stream));
    note("ungetc", ungetc('0', stream));
    note("ftell", ftell(stream));
    note_text("fgets", fgets(line, sizeof line, stream));
    note("ungetc", ungetc('q', stream));
    note("fseek forgets", fseek(stream, 1, SEEK_SET));
    note("fgetc", fgetc(stream));
    note("ungetc", ungetc(0xff, stream));
    note("fgetc", fgetc(stream));
    while (fgetc(stream) != EOF) {
    }
    note("feof", feof(stream));
    note("ungetc at end", ungetc('z', stream));
    note("feof", feof(stream));
    note("fgetc", fgetc(stream));
    note("fgetc", fgetc(stream));
    note_state(stream);
    note("fseek", fseek(stream, 0, SEEK_END));
    note("fputs", fputs("ghi\n", stream) >= 0);
    note("fseek", fseek(stream, -2, SEEK_CUR));
    note("fgetc", fgetc(stream));
    note("ungetc", ungetc('v', stream));
    note("ftell", ftell(stream));
    note("fflush", fflush(stream));
    note("offset", lseek(fileno(stream), 0, SEEK_CUR));
    note("fclose", fclose(stream));
    note_contents();
}

/* What is asked of a stream that cannot do it. */
static void test_wrong_direction(void)
{
    char line[10];
    begin("wrong_direction");
    FILE *stream = open_stream("a");
    note("fgetc", fgetc(stream));
    note_state(stream);
    clearerr(stream);
    note("fread", (long long)fread(line, 1, 3, stream));
    note("fgets", fgets(line, 3, stream) != NULL);
    note("getw", getw(stream));
    note("fscanf", fscanf(stream, "%9s", line));
    note_state(stream);
    note("fputs", fputs("text\n", stream) >= 0);
    note("freadable", __freadable(stream) != 0);
    note("fwritable", __fwritable(stream) != 0);
    note("fclose", fclose(stream));
    stream = fopen(path, "r");
    note("fputc", fputc('x', stream));
    note("fputs", fputs("x", stream));
    note("fputs nothing", fputs("", stream) >= 0);
    note("fwrite", (long long)fwrite("x", 1, 1, stream));
    note("fwrite nothing", (long long)fwrite("x", 0, 1, stream));
    note("fprintf", fprintf(stream, "x"));
    note("putw", putw(1, stream));
    note_state(stream);
    note("fflush", fflush(stream));
    note("fgetc", fgetc(stream));
    note("fclose", fclose(stream));
    note_contents();
}

static void test_formats(void)
{
    int count = -1;
    long counts = -1;
    begin("formats");
    FILE *stream = open_stream("a");
    note("fprintf %n", fprintf(stream, "%s%n %d%ln\n", "some", &count, 12, &counts));
    note("count", count * 100 + (int)counts);
    note("fprintf nothing", fprintf(stream, "%s", ""));
    note("fprintf too long", fprintf(stream, "%99999999999d", 1));
    note("ferror", ferror(stream) != 0);
    clearerr(stream);
    const wchar_t wrong[] = {L'a', (wchar_t)-2, 0};
    note("fprintf wrong characters", fprintf(stream, "%ls\n", wrong));
    note("ferror", ferror(stream) != 0);
    clearerr(stream);
    errno = ENOENT;
    note("fprintf %m", fprintf(stream, "%m %1$s\n", "x"));
    errno = EACCES;
    note("errno stays", fprintf(stream, "%08.3f|%-10s|%+d|%#x|%c\n", 3.14159, "left", 5, 255, 0));
    note("fputc", fputc(300, stream));
    note("putw", putw(0x0a0a0a0a, stream));
    note("fwrite", (long long)fwrite("abcdef\n", 3, 2, stream));
    note_size("size");
    note("fclose", fclose(stream));
    note_contents();
}

/* A buffer of the program's own is used, and what it gives for a size counts. */
static void test_own_buffers(void)
{
    static char buffer[BUFSIZ];
    begin("own_buffers");
    FILE *stream = open_stream("a");
    note("setvbuf", setvbuf(stream, buffer, _IOLBF, sizeof buffer));
    note("fputs", fputs("abc", stream) >= 0);
    note("in the buffer", memcmp(buffer, "abc", 3) == 0);
    note("size", (long long)__fbufsize(stream));
    note("putc", putc('\n', stream));
    note_size("size");
    __fsetlocking(stream, FSETLOCKING_BYCALLER);
    note("locking", __fsetlocking(stream, FSETLOCKING_QUERY));
    note("fputs", fputs("line by line\n", stream) >= 0);
    note_size("size");
    __fsetlocking(stream, FSETLOCKING_INTERNAL);
    note("locking", __fsetlocking(stream, FSETLOCKING_QUERY));
    note("fputs", fputs("unfinished", stream) >= 0);
    _flushlbf();
    note_size("size after _flushlbf");
    note("setvbuf none", setvbuf(stream, NULL, _IONBF, 0));
    note("putc", putc('\n', stream));
    note_size("size");
    note("fclose", fclose(stream));
    stream = open_stream("a");
    setbuf(stream, buffer);
    note("size", (long long)__fbufsize(stream));
    note("fputs", fputs("more\n", stream) >= 0);
    note_size("size");
    note("fpending", (long long)__fpending(stream));
    __fpurge(stream);
    note("fpending", (long long)__fpending(stream));
    note("fputs", fputs("more\n", stream) >= 0);
    note("fclose", fclose(stream));
    stream = open_stream("a");
    setbuffer(stream, NULL, 0);
    note("fputs", fputs("unbuffered\n", stream) >= 0);
    note_size("size");
    setlinebuf(stream);
    note("flbf", __flbf(stream) != 0);
    note("fclose", fclose(stream));
    note_contents();
}

/* After a flush the descriptor is the active handle; after a seek of the stream, the stream. */
static void test_two_handles(void)
{
    char line[100];
    begin("two_handles");
    prepare("line 1\nline 2\nline 3\n");
    FILE *stream = open_appending("r+");
    int fd = fileno(stream), other = dup(fd);
    note_text("fgets", fgets(line, sizeof line, stream));
    note("fflush of input", fflush(stream));
    note("offset", lseek(other, 0, SEEK_CUR));
    note("read", read(other, line, 7));
    note("fseek", fseek(stream, 0, SEEK_CUR));
    note_text("fgets", fgets(line, sizeof line, stream));
    note("fseek", fseek(stream, 0, SEEK_END));
    note("fputs", fputs("stream 1\n", stream) >= 0);
    note("fflush", fflush(stream));
    note("write", write(other, "descriptor 1\n", 13));
    note("fseek", fseek(stream, 0, SEEK_END));
    note("fputs", fputs("stream 2\n", stream) >= 0);
    note("ftell", ftell(stream));
    note("fflush", fflush(stream));
    note("offset", lseek(fd, 0, SEEK_CUR));
    note("dprintf", dprintf(fd, "descriptor %d\n", 2));
    note("lseek", lseek(fd, 0, SEEK_SET));
    note("fseek", fseek(stream, 0, SEEK_SET));
    note_text("fgets", fgets(line, sizeof line, stream));
    note("fclose", fclose(stream));
    note("offset is that of the stream", lseek(other, 0, SEEK_CUR));
    note("close", close(other));
    note_contents();
}

static void *try_lock(void *stream)
{
    note("ftrylockfile of another", ftrylockfile(stream) != 0);
    return NULL;
}

static void test_locks(void)
{
    pthread_t thread;
    begin("locks");
    FILE *stream = open_stream("a");
    flockfile(stream);
    note("ftrylockfile", ftrylockfile(stream));
    funlockfile(stream);
    note("fputs", fputs("under the lock\n", stream) >= 0);
    note("fflush", fflush(stream));
    pthread_create(&thread, NULL, try_lock, stream);
    pthread_join(thread, NULL);
    funlockfile(stream);
    note("fclose", fclose(stream));
}

/* Streams that have no descriptor are none of the library's business. */
static void test_other_streams(void)
{
    char memory[20], *text = NULL;
    size_t size = 0;
    begin("other_streams");
    FILE *stream = fmemopen(memory, sizeof memory, "w+");
    note("fileno", fileno(stream));
    note("fputs", fputs("in memory", stream) >= 0);
    note("fprintf too much", fprintf(stream, "%30s", "x"));
    note("fflush", fflush(stream));
    note("fclose", fclose(stream));
    stream = open_memstream(&text, &size);
    note("fprintf", fprintf(stream, "%d", 12345));
    note("fflush", fflush(NULL));
    note_text("text", text);
    note("fclose", fclose(stream));
    free(text);
    wchar_t *wide = NULL;
    stream = open_wmemstream(&wide, &size);
    note("fwprintf", fwprintf(stream, L"%d\xe4", 12345));
    note("fclose", fclose(stream));
    note("size", (long long)size);
    free(wide);
    stream = tmpfile();
    note("fputs", fputs("temporary\n", stream) >= 0);
    rewind(stream);
    note_text("fgets", fgets(memory, sizeof memory, stream));
    note("fwide", fwide(stream, 0));
    note("fclose", fclose(stream));
    snprintf(memory, sizeof memory, "/dev/full");
    stream = fopen(memory, "a");
    note("fputs", fputs("text\n", stream) >= 0);
    note("fflush", fflush(stream));
    note("ferror", ferror(stream) != 0);
    note("fclose", fclose(stream));
}

int main(int count, char *arguments[])
{
    if (count != 2) {
        fputs("usage: stdio_handles DIRECTORY\n", stderr);
        return 2;
    }
    directory = arguments[1];
    if (setlocale(LC_ALL, "C.UTF-8") == NULL) {
        return 1;
    }
    test_flags();
    test_getting("getting", "r+");
    test_getting("getting2", "a+");
    test_pushing_back();
    test_wrong_direction();
    test_formats();
    test_own_buffers();
    test_two_handles();
    test_locks();
    test_other_streams();
    return 0;
}

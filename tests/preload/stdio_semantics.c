/*
 * stdio_semantics DIRECTORY: buffering, positions and reading of streams on files named *.log in DIRECTORY.
 */
#include "stdio_transcript.h"

#include <locale.h>
#include <stdio_ext.h>

static void note_buffer(FILE *stream)
{
    note("fbufsize", (long long)__fbufsize(stream));
    note("flbf", __flbf(stream) != 0);
    note("fpending", (long long)__fpending(stream));
    note("freading", __freading(stream) != 0);
    note("fwriting", __fwriting(stream) != 0);
    note("freadable", __freadable(stream) != 0);
    note("fwritable", __fwritable(stream) != 0);
}

static void test_full_buffering(void)
{
    begin("full");
    FILE *stream = open_stream("a");
    put_line(stream, 'a');
    note_buffer(stream);
    for (int i = 1; i < 100; i++) {
        put_line(stream, (char)('a' + i % 26));
    }
    note_size("size");
    note("fpending", (long long)__fpending(stream));
    note("ftell", ftell(stream));
    static char big[LINE * 200 + 1];
    for (int i = 0; i < LINE * 200; i++) {
        big[i] = i % LINE == LINE - 1 ? '\n' : 'x';
    }
    note("fwrite", (long long)fwrite(big, LINE, 200, stream));
    note_size("size");
    note("fputs", fputs(big, stream) >= 0);
    note_size("size");
    note("fwrite 0", (long long)fwrite(big, 0, 5, stream));
    note("fprintf", fprintf(stream, "%s%n", big, &(int){0}));
    note_size("size");
    note("fflush", fflush(stream));
    note_size("size");
    __fpurge(stream);
    put_line(stream, 'y');
    __fpurge(stream);
    note("fpending", (long long)__fpending(stream));
    note("fclose", fclose(stream));
    note_size("size");
}

static void test_line_buffering(void)
{
    begin("line");
    FILE *stream = open_stream("a");
    note("setvbuf", setvbuf(stream, NULL, _IOLBF, 0));
    note("fputs", fputs("one\n", stream) >= 0);
    note_size("size");
    note("fputc", fputc('t', stream));
    note_size("size");
    note("fputs", fputs("wo\nthree", stream) >= 0);
    note("putc", putc('\n', stream));
    note_size("size");
    note_buffer(stream);
    note("setvbuf", setvbuf(stream, NULL, _IOFBF, 100));
    note("fputs", fputs("four\n", stream) >= 0);
    note_size("size");
    setlinebuf(stream);
    note_buffer(stream);
    note("putw", putw(0x41414141, stream));
    note("putc", putc('\n', stream));
    note_size("size");
    note("fclose", fclose(stream));
    note_contents();
}

static void test_no_buffering(void)
{
    begin("none");
    FILE *stream = open_stream("a");
    note("setvbuf", setvbuf(stream, NULL, _IONBF, 0));
    note("fputs", fputs("one\n", stream) >= 0);
    note_size("size");
    note("fputc", fputc('t', stream));
    note_size("size");
    note("fprintf", fprintf(stream, "wo %d %s\n", 2, "words"));
    note_size("size");
    note_buffer(stream);
    note("ftell", ftell(stream));
    char buffer[128];
    note("setvbuf", setvbuf(stream, buffer, _IOFBF, sizeof buffer));
    put_line(stream, 'a');
    note_size("size");
    put_line(stream, 'b');
    note_size("size");
    put_line(stream, 'c');
    note_size("size");
    note_buffer(stream);
    setbuf(stream, NULL);
    note_size("size");
    setbuffer(stream, buffer, 10);
    note("fputs", fputs("five\n", stream) >= 0);
    note_size("size");
    note("setvbuf", setvbuf(stream, NULL, 77, 0));
    note("fclose", fclose(stream));
    note_contents();
}

static void note_position(FILE *stream, const char *what)
{
    note(what, ftell(stream));
    note("ftello", ftello(stream));
    note("feof", feof(stream));
}

static void test_positions(const char *name, const char *mode)
{
    fpos_t position;
    begin(name);
    prepare("line 1\nline 2\n");
    FILE *stream = open_stream(mode);
    note_position(stream, "at start");
    note("fputs", fputs("line 3\n", stream) >= 0);
    note_position(stream, "after fputs");
    note_size("size");
    note("fseek set", fseek(stream, 3, SEEK_SET));
    note_position(stream, "after fseek");
    note_size("size");
    note("fseek cur", fseek(stream, 2, SEEK_CUR));
    note_position(stream, "after fseek");
    note("fgetpos", fgetpos(stream, &position));
    note("fseek end", fseek(stream, -2, SEEK_END));
    note_position(stream, "after fseek");
    note("fsetpos", fsetpos(stream, &position));
    note_position(stream, "after fsetpos");
    note("fseek negative", fseek(stream, -100, SEEK_SET));
    note("fseek negative", fseek(stream, -100, SEEK_CUR));
    note("fseek whence", fseek(stream, 0, 33));
    note("fseeko", fseeko(stream, 1, SEEK_SET));
    note("fputs", fputs("line 4\n", stream) >= 0);
    note_position(stream, "after fputs");
    note("fflush", fflush(stream));
    note_position(stream, "after fflush");
    rewind(stream);
    note_position(stream, "after rewind");
    note("fclose", fclose(stream));
    note_contents();
}

static void test_reading(const char *name, const char *mode)
{
    char line[100];
    begin(name);
    prepare("line 1\nline 2\nline 3\n");
    FILE *stream = open_stream(mode);
    note_text("fgets", fgets(line, sizeof line, stream));
    note_position(stream, "after fgets");
    note_buffer(stream);
    note("fgetc", fgetc(stream));
    note("ungetc", ungetc('L', stream));
    note_position(stream, "after ungetc");
    note("ungetc other", ungetc('x', stream));
    note("ungetc other", ungetc('y', stream));
    note_position(stream, "after ungetc");
    note("fgetc", fgetc(stream));
    note_text("fgets", fgets(line, sizeof line, stream));
    note("fseek", fseek(stream, 0, SEEK_CUR));
    note("fputs", fputs("line 4\n", stream) >= 0);
    note_position(stream, "after fputs");
    note("fflush", fflush(stream));
    note("fgetc at end", fgetc(stream));
    note_position(stream, "at end");
    note("ferror", ferror(stream));
    clearerr(stream);
    note("feof", feof(stream));
    rewind(stream);
    note("fread", (long long)fread(line, 1, 10, stream));
    note_position(stream, "after fread");
    note("fseek", fseek(stream, 8, SEEK_SET));
    note("getc", getc(stream));
    note("fputs", fputs("line 5\n", stream) >= 0);
    note("fseek", fseek(stream, 0, SEEK_SET));
    memset(line, 0, sizeof line);
    note("fread", (long long)fread(line, 1, sizeof line - 1, stream));
    note_text("fread", line);
    note_position(stream, "after fread");
    note("ungetc", ungetc('z', stream));
    note("feof", feof(stream));
    note("fclose", fclose(stream));
    note_contents();
}

static void test_scanning(void)
{
    int number = 0;
    char word[20] = "";
    char *line = NULL;
    size_t room = 0;
    begin("scanning");
    FILE *stream = open_stream("w+");
    note("fprintf", fprintf(stream, "%d %s\nnext line\n", 42, "word"));
    rewind(stream);
    note("fscanf", fscanf(stream, "%d %19s", &number, word));
    note("number", number);
    note_text("word", word);
    note("getline", (long long)getline(&line, &room, stream));
    note("getline", (long long)getline(&line, &room, stream));
    note_text("line", line);
    note("getline", (long long)getline(&line, &room, stream));
    note("feof", feof(stream));
    free(line);
    note("fclose", fclose(stream));
    note_contents();
}

/* The size that a program reckons its log to have, which looks after every line. */
static void test_counting(void)
{
    long size = 0, wrong = 0;
    begin("counting");
    FILE *stream = open_stream("a");
    for (int i = 0; i < 1000; i++) {
        size += fprintf(stream, "line %d of a log with lines of %d lengths\n", i, 3);
        wrong += ftell(stream) != size;
    }
    note("wrong", wrong);
    note("fputs", fputs("unfinished", stream) >= 0);
    note("ftell", ftell(stream) - size);
    note("fflush", fflush(stream));
    note_size("size");
    note("fclose", fclose(stream));
}

int main(int count, char *arguments[])
{
    if (count != 2) {
        fputs("usage: stdio_semantics DIRECTORY\n", stderr);
        return 2;
    }
    directory = arguments[1];
    if (setlocale(LC_ALL, "C.UTF-8") == NULL) {
        return 1;
    }
    test_full_buffering();
    test_line_buffering();
    test_no_buffering();
    test_positions("positions", "a");
    test_positions("positions2", "a+");
    test_positions("positions3", "ab");
    test_reading("reading", "a+");
    test_scanning();
    test_counting();
    return 0;
}

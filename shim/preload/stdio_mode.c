/* The mode strings of fopen and its relatives, understood exactly as glibc does. */
#include "stdio_private.h"

#include <errno.h>
#include <fcntl.h>

static int parse_first(char letter, struct stream_mode *mode)
{
    switch (letter) {
    case 'r':
        *mode = (struct stream_mode){O_RDONLY, STREAM_NO_WRITES};
        return 0;
    case 'w':
        *mode = (struct stream_mode){O_WRONLY | O_CREAT | O_TRUNC, STREAM_NO_READS};
        return 0;
    case 'a':
        *mode = (struct stream_mode){O_WRONLY | O_CREAT | O_APPEND, STREAM_NO_READS | STREAM_APPENDING};
        return 0;
    default:
        return -EINVAL;
    }
}

int stream_mode_parse(const char *text, int length, struct stream_mode *mode)
{
    int result = parse_first(text[0], mode);
    if (result != 0) {
        return result;
    }
    for (int i = 1; i < length && text[i] != '\0'; i++) {
        switch (text[i]) {
        case '+':
            mode->open_flags = (mode->open_flags & ~O_ACCMODE) | O_RDWR;
            mode->stream_flags &= STREAM_APPENDING;
            break;
        case 'x':
            mode->open_flags |= O_EXCL;
            break;
        case 'e':
            mode->open_flags |= O_CLOEXEC;
            break;
        default: /* 'b', 'm' (reading only), 'c', and whatever else: glibc ignores it too */
            break;
        }
    }
    return 0;
}

/*
 * Where a log's descriptor is and where its file ends, to a program that knows nothing of what is held.
 */
#include "descriptor_private.h"

#include <errno.h>
#include <unistd.h>

/* Proved, because libc and raw system calls close and reuse numbers behind our back. */
static const struct writer *holding(int fd)
{
    struct stat status;
    const struct writer *writer = descriptor_writer(fd);
    bool holds = writer != NULL && __builtin_expect(writer_held(writer) > 0, 0) && sys.fstat(fd, &status) == 0 &&
                 status.st_ino == writer->inode && status.st_dev == writer->device;
    return holds ? writer : NULL;
}

size_t descriptor_held(int fd)
{
    const struct writer *writer = holding(fd);
    return writer == NULL ? 0 : writer_held(writer);
}

/* Where lseek counts from, with what is held; SEEK_SET where there is nothing to be counted. */
static off_t seek_origin(int fd, const struct writer *writer, int whence)
{
    struct stat status;
    if (whence == SEEK_CUR) {
        off_t position = sys.lseek(fd, 0, SEEK_CUR);
        return position < 0 || writer->held_aside ? position : position + (off_t)writer_held(writer);
    }
    if (whence == SEEK_END) {
        int error = sys.fstat(fd, &status);
        return error != 0 ? error : status.st_size + (off_t)writer_held(writer);
    }
    return 0;
}

/*
 * The held bytes lie behind the end, and are written there whatever the position is. Once the program has set the
 * position, writing them leaves it where it is; asked for where it is, it stays as it was.
 */
off_t descriptor_seek(int fd, off_t offset, int whence)
{
    struct writer *writer = descriptor_writer(fd);
    off_t target;
    if (writer == NULL || (whence != SEEK_SET && whence != SEEK_CUR && whence != SEEK_END)) {
        descriptor_release(fd);
        return sys.lseek(fd, offset, whence);
    }
    off_t origin = seek_origin(fd, writer, whence);
    if (origin < 0 || (whence == SEEK_CUR && offset == 0)) {
        return origin;
    }
    if (__builtin_add_overflow(origin, offset, &target)) {
        return -EINVAL; /* as the kernel */
    }
    off_t result = sys.lseek(fd, target, SEEK_SET);
    if (result >= 0 && !descriptor_foreign_memory()) {
        writer->held_aside = true;
    }
    return result;
}

/*
 * Messages with descriptors, as a hostile peer may send them: any number of bytes, and any number of descriptors of any
 * kind; and a directory of real files for both sides, because the kernel carries the descriptors.
 */
#ifndef RIGHTS_H
#define RIGHTS_H

#include "fuzz.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { RIGHTS_MOST = 4, RIGHTS_BYTES = 3 };

struct rights {
    char bytes[RIGHTS_BYTES];
    size_t size;
    int fds[RIGHTS_MOST];
    size_t count;
};

union rights_room {
    struct cmsghdr head;
    char room[CMSG_SPACE(RIGHTS_MOST * sizeof(int))];
};

static inline bool rights_send(int socket, const struct rights *rights)
{
    char bytes[RIGHTS_BYTES];
    union rights_room control;
    memcpy(bytes, rights->bytes, sizeof bytes);
    struct iovec piece = {.iov_base = bytes, .iov_len = rights->size};
    struct msghdr header = {.msg_iov = &piece, .msg_iovlen = 1};
    if (rights->count > 0) {
        memset(&control, 0, sizeof control);
        control.head = (struct cmsghdr){
            .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(rights->count * sizeof(int))};
        memcpy(CMSG_DATA(&control.head), rights->fds, rights->count * sizeof(int));
        header.msg_control = &control;
        header.msg_controllen = CMSG_SPACE(rights->count * sizeof(int));
    }
    return sendmsg(socket, &header, MSG_NOSIGNAL) >= 0;
}

/* The next message, or false at the end. */
static inline bool rights_receive(int socket, struct rights *rights)
{
    union rights_room control;
    struct iovec piece = {.iov_base = rights->bytes, .iov_len = sizeof rights->bytes};
    struct msghdr header = {
        .msg_iov = &piece, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    ssize_t got = recvmsg(socket, &header, MSG_CMSG_CLOEXEC);
    rights->size = got > 0 ? (size_t)got : 0;
    rights->count = 0;
    if (got >= 0 && header.msg_controllen >= CMSG_LEN(sizeof(int))) {
        rights->count = (control.head.cmsg_len - CMSG_LEN(0)) / sizeof(int);
        memcpy(rights->fds, CMSG_DATA(&control.head), rights->count * sizeof(int));
    }
    return got > 0 || rights->count > 0;
}

/* A new directory under TMPDIR, open; its files are whoever's who made TMPDIR to remove. */
static inline int rights_directory(void)
{
    char path[512];
    const char *parent = getenv("TMPDIR");
    snprintf(path, sizeof path, "%s/fuzz.XXXXXX", parent == NULL ? "/tmp" : parent);
    require(mkdtemp(path) != NULL);
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    require(fd >= 0);
    return fd;
}

static inline bool same_file(int a, int b)
{
    struct stat first;
    struct stat second;
    return fstat(a, &first) == 0 && fstat(b, &second) == 0 && first.st_dev == second.st_dev &&
           first.st_ino == second.st_ino;
}

#endif

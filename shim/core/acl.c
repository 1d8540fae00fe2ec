#include "acl.h"

#include "sys.h"

#include <errno.h>

static const char list_name[] = "system.posix_acl_access";

/* Also where a filter refuses to tell. */
static bool has_no_list(ssize_t size)
{
    return size == 0 || size == -ENODATA || size == -EOPNOTSUPP || size == -ENOSYS || size == -EPERM || size == -EACCES;
}

int acl_dress(int fd, int like, const struct stat *before, mode_t mode)
{
    enum { ROOM = 256 }; /* 31 entries; signal stacks are small */
    char list[ROOM];
    ssize_t size = sys.fgetxattr(like, list_name, list, sizeof list);
    if (has_no_list(size)) {
        return sys.fchmod(fd, mode);
    }
    bool same = mode == (before->st_mode & 0777);
    if (same && size > 0 && sys.fsetxattr(fd, list_name, list, (size_t)size) == 0) {
        return 0;
    }
    return sys.fchmod(fd, mode & 0700);
}

bool acl_is_everybodys(int fd, const struct stat *status)
{
    enum { READ_AND_WRITE = 0666 };
    ssize_t size = sys.fgetxattr(fd, list_name, NULL, 0);
    bool none = size == 0 || size == -ENODATA || size == -EOPNOTSUPP;
    return none && (status->st_mode & READ_AND_WRITE) == READ_AND_WRITE;
}

#include "mode.h"

/* Whoever was the owner, or in the group, is one of the others now; who is in the new group was one of the others. */
mode_t mode_without(mode_t mode, bool owner, bool group)
{
    mode_t others = mode & 07;
    mode_t groups = mode & 070;
    if (!owner) {
        others &= mode >> 6;
    }
    if (!group) {
        others &= mode >> 3;
        groups &= others << 3;
    }
    return (mode & 0700) | groups | others;
}

/*
 * The table: one word for each descriptor. It is a cache: everything that makes a descriptor and is intercepted sets or
 * clears its word.
 *
 * Every write of the program to anything asks it, so that looking a number up is here.
 */
#ifndef MPLOGSHIM_DESCRIPTOR_TABLE_H
#define MPLOGSHIM_DESCRIPTOR_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A word of the table: one of these, or the address of the writer. DESCRIPTOR_LOCK is open on a file named as a lock
 * file. */
enum { DESCRIPTOR_UNKNOWN = 0, DESCRIPTOR_PLAIN = 1, DESCRIPTOR_LOCK = 2 };

/* The words of the numbers below descriptor_near, which is 0 while there is no table; the others are further away. */
enum { DESCRIPTOR_PAGE = 1024 };
extern unsigned descriptor_near;
extern uintptr_t descriptor_first_page[DESCRIPTOR_PAGE];
uintptr_t descriptor_far_state(int fd);

static inline bool descriptor_is_near(int fd)
{
    return __builtin_expect((unsigned)fd < __atomic_load_n(&descriptor_near, __ATOMIC_RELAXED), 1);
}

/* The word of a number; DESCRIPTOR_PLAIN while everything is raw. Of a near one only, without a call. */
static inline uintptr_t descriptor_near_state(int fd)
{
    return descriptor_is_near(fd) ? __atomic_load_n(&descriptor_first_page[fd], __ATOMIC_ACQUIRE) : DESCRIPTOR_UNKNOWN;
}
static inline uintptr_t descriptor_state(int fd)
{
    return descriptor_is_near(fd) ? __atomic_load_n(&descriptor_first_page[fd], __ATOMIC_ACQUIRE)
                                  : descriptor_far_state(fd);
}

/* The writer that the table knows by a number, or NULL. */
struct writer;
static inline struct writer *descriptor_writer(int fd)
{
    uintptr_t state = descriptor_state(fd);
    return state > DESCRIPTOR_LOCK ? (struct writer *)state : NULL;
}

void descriptor_set_state(int fd, uintptr_t state);

/* What was known to be no log is looked at anew. */
void descriptor_forget_plain(int fd);

/* The highest number that was ever a log's or a lock file's; -1: none was. */
int descriptor_highest_managed(void);

/* From now on there is a table, or everything is raw; and which of both it is. */
void descriptor_use_table(bool used);
bool descriptor_active(void);

#endif

/*
 * Shared by descriptor.c (the look), descriptor_open.c and descriptor_call.c (the operations).
 */
#ifndef MPLOGSHIM_DESCRIPTOR_PRIVATE_H
#define MPLOGSHIM_DESCRIPTOR_PRIVATE_H

#include "descriptor.h"

#include "core/config.h"
#include "core/log.h"
#include "core/sys.h"

/* Where no program's data can be: null and small numbers taken for pointers, and the kernel's half. */
#define LOWEST_ADDRESS  ((uintptr_t)65536)
#define HIGHEST_ADDRESS ((uintptr_t)1 << 56)

/* At start. */
void descriptor_start(const struct config *rules);

/* From now on everything is raw (a seccomp filter was installed). */
void descriptor_stop(void);

/* From now on no unfinished line is held, or they are again. */
void descriptor_hold_nothing(bool nothing);

/* At exit: what is held is written out, and from now on nothing is held any more. */
void descriptor_finish(void);

/* In a fork child. */
void descriptor_forked(void);

/*
 * Rare work on the table: inside the guard, and with signals blocked, so that no handler jumps out of it. False if the
 * thread must stay out (inert, inside already, a vfork child): then the call is made raw.
 */
struct rare {
    struct sys_signals signals;
};
bool rare_enter(struct rare *rare);
void rare_leave(const struct rare *rare);

/* The rule of the log that opening `path` with these flags would open, or NULL. */
const struct rule *descriptor_path_rule(int directory, const char *path, int flags);

/* Finds out what a descriptor of unknown kind is, opened by the path `given` or NULL, and sets its word. */
void descriptor_look(int fd, const char *given);

/* The path of an open descriptor in link[size], without a NUL: readlink's result. Takes no lock. */
ssize_t descriptor_link(int fd, char *link, size_t size);

/* What the program opened by `given` cannot be told: one message for the process if it is a log by that name. */
void descriptor_say_unknown(const struct config *config, const char *given, char *path, size_t size);

#endif

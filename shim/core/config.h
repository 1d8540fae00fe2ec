/*
 * The configuration: environment variables and a file become immutable rules, once, when the process starts.
 *
 * Not async-signal-safe, not thread-safe: at start only. No malloc: everything lives in one reserved arena.
 */
#ifndef MPLOGSHIM_CONFIG_H
#define MPLOGSHIM_CONFIG_H

#include "diag.h"
#include "period.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum rule_naming { NAMING_NUMBER, NAMING_TIME };
enum rule_lines { LINES_WHOLE, LINES_STRICT, LINES_OFF };
enum rule_lock { RULE_LOCK_WRITE, RULE_LOCK_ROTATE };
enum rule_truncate { TRUNCATE_ROTATE, TRUNCATE_IGNORE, TRUNCATE_ALLOW };

/* When to rotate and what to keep: the part of a rule that the first process to attach records for all (policy.h). */
struct policy {
    uint64_t max_bytes;   /* 0: off */
    struct period period; /* unit PERIOD_NONE: off */
    bool utc;
    uint64_t backups;    /* archives; 0: all */
    uint64_t max_age_ns; /* 0: any */
    uint64_t max_total;  /* bytes; 0: any */
    enum rule_naming naming;
    unsigned compress; /* gzip level 1 to 9, or 0: not at all */
};

struct rule {
    const char *pattern;      /* absolute and normalised: no "//", "." or ".." */
    const char *pattern_real; /* the same with its leading literal components resolved; may be pattern itself */
    struct policy policy;
    enum rule_lock lock;
    enum rule_lines lines;
    enum rule_truncate truncate;
    int mode;                 /* permission bits, or -1 */
    uid_t owner;              /* or (uid_t)-1 */
    gid_t group;              /* or (gid_t)-1 */
    uint64_t lock_timeout_ns; /* 0: for ever */
    const char *lock_dir;     /* absolute, or NULL: beside the log */
    bool async;               /* writes return once the record is in a buffer */
    uint64_t async_buffer;    /* bytes */
    uint64_t async_flush_ns;  /* the longest that a record waits there */
    const char *on_event;     /* absolute path of a program, or NULL */
};

struct config {
    const struct rule *rules;
    size_t count; /* 0: inert */
    bool strict;
    enum diag_target diag;
    const char *diag_path;
    bool needs_zone; /* some rule needs local time */
};

enum { CONFIG_ERROR_SIZE = 512 };

/*
 * Reads MPLOGSHIM_* from `environment` (NULL-terminated "NAME=value" strings), resolves relative patterns against
 * `directory` (absolute; NULL if unknown: then a relative pattern is an error).
 *
 * Returns 0 with *config filled in, or -EINVAL (or -ENOMEM) with one line in error[], naming the variable or file and
 * line, the word that is wrong and what was expected; config->strict, ->diag and ->diag_path are valid then too, the
 * count is 0. MPLOGSHIM_DISABLE=1, or no rules at all: 0 with count 0.
 */
int config_load(struct config *config, char *const environment[], const char *directory, char error[CONFIG_ERROR_SIZE]);

#endif

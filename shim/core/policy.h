/*
 * A policy in words: "max_bytes=10485760", as the configuration says it. For the record in the lock file, for telling
 * two policies apart, and for handing a rule over to the helper.
 *
 * Pure functions, async-signal-safe.
 */
#ifndef MPLOGSHIM_POLICY_H
#define MPLOGSHIM_POLICY_H

#include "config.h"

#include <stdbool.h>
#include <stddef.h>

/* max_bytes when interval at utc backups max_age max_total naming compress, in this order. */
enum { POLICY_WORDS = 10, POLICY_WORD_SIZE = 32 };

/* "key=value" for the `index`-th key into word[POLICY_WORD_SIZE], with a NUL. */
void policy_word(const struct policy *policy, int index, char *word);

/* Sets the `index`-th key from its "key=value". False, with *policy unchanged, for anything that the configuration
 * would refuse. */
bool policy_set_word(struct policy *policy, int index, const char *word);

/* Whether keys that were each set by themselves go together, as the configuration wants it (interval and at with when).
 */
bool policy_is_valid(const struct policy *policy);

bool policy_equal(const struct policy *a, const struct policy *b);

/* What differs, as "max_bytes=1024 own max_bytes=4096, backups=3 own backups=7", into text[size] with a NUL; what does
 * not fit is left out, and "..." says so. */
void policy_differences(const struct policy *recorded, const struct policy *own, char *text, size_t size);

/*
 * The rule for the one log at `path` as a value of MPLOGSHIM_LOGS: everything that the rule says, and a pattern that
 * matches exactly this path: but for bytes that no pattern can hold (control characters), and where escapes would make
 * it too long for a pattern; there '?' stands for any byte. 0, or -ENAMETOOLONG.
 */
int policy_rule_text(const struct rule *rule, const char *path, char *text, size_t size);

#endif

/*
 * Whose turn it is to change names in a log's directory: an flock on the directory itself.
 *
 * The settle lock keeps others away from the whole of a pass, but only while the lock file lies at its place: whoever
 * deletes or replaces it lets two processes settle at once. Nobody deletes the directory with archives in it. Held for
 * a few system calls at a time, as all logs in the directory share it.
 */
#ifndef MPLOGSHIM_TOOL_TURN_H
#define MPLOGSHIM_TOOL_TURN_H

#include <stdbool.h>

struct turn {
    int directory; /* of the log; O_PATH will do */
    int fd;        /* the same, to be locked, while it is this process's turn; -1 */
    bool hopeless; /* somebody held it for longer than anybody who settles would: it is not waited for again */
};

/*
 * Waits for about two seconds at most. There is nothing to be told: who cannot have a turn (somebody else has the
 * directory locked for ever, there are no such locks there, it may not be read) works without, as best they can.
 */
void turn_take(struct turn *turn);

/* Without waiting: false if it is another's just now, and worth waiting for. */
bool turn_try(struct turn *turn);

void turn_end(struct turn *turn);

#endif

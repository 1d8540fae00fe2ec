#include "settle.h"

#include "archive_private.h"
#include "event.h"
#include "rings.h"
#include "turn.h"

#include "../core/diag.h"
#include "../core/sys.h"

#include "../../include/mplogshim.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <string.h>

static volatile sig_atomic_t stopped;

void settle_stop(void)
{
    stopped = 1;
}

bool settle_is_stopped(void)
{
    return stopped != 0;
}

uint64_t settle_patience(const struct settle *settle)
{
    const uint64_t PATIENCE = UINT64_C(5000000000);
    uint64_t own = settle->rule.lock_timeout_ns;
    return own == 0 || own > PATIENCE ? PATIENCE : own;
}

/* One pass on its way. */
struct pass {
    struct settle *settle;
    struct policy policy; /* what is done of the one that holds */
    struct archive_task task;
    struct archives archives;
    dev_t device; /* of the lock file whose settle lock is held */
    ino_t inode;
    struct turn turn;
};

/* A length that the shim never gave the lock file says nothing about what was rotated: nothing was, as far as known. */
static int64_t known_generation(const struct lockfile *lock)
{
    const int64_t most = INT64_C(1) << 40;
    int64_t generation = lockfile_generation(lock);
    return generation <= most ? generation : 0;
}

/*
 * The lock is worth nothing once another file lies at the lock file's place: another process may be settling under it.
 * And once generations start anew, they do not tell any more which archives were there when the list was made.
 */
static int still_mine(const struct pass *pass)
{
    struct lockfile *lock = pass->settle->lock;
    bool same = lock->fd >= 0 && lock->device == pass->device && lock->inode == pass->inode;
    return same && lockfile_is_current(lock) && known_generation(lock) >= pass->task.generation ? 0 : -ESTALE;
}

/*
 * A look at the lock file is worth something for as long as nobody who settles under another one takes a step: until
 * the turn ends.
 */
static int enter(void *context)
{
    struct pass *pass = context;
    turn_take(&pass->turn);
    int mine = still_mine(pass);
    if (mine != 0) {
        turn_end(&pass->turn);
    }
    return mine;
}

static void leave(void *context)
{
    struct pass *pass = context;
    turn_end(&pass->turn);
}

/*
 * Before the directory is read. Somebody may have deleted the lock file, and this one took its place: whoever settled
 * under the old one has ended their last step now, and finds this one there before the next.
 */
static int await_turn(struct pass *pass)
{
    int error = enter(pass);
    if (error == 0) {
        leave(pass);
    }
    return error;
}

/* While an archive is compressed, rotations go on: what they leave gets its name at once. */
static int go_on_meanwhile(void *context)
{
    struct pass *pass = context;
    struct settle *settle = pass->settle;
    if (settle->between != NULL) {
        settle->between(settle->context);
    }
    if (stopped) {
        return -ECANCELED;
    }
    int mine = still_mine(pass);
    if (mine != 0) {
        return mine;
    }
    int64_t generation = known_generation(settle->lock);
    if (generation < 0 || generation == pass->task.generation) {
        return 0;
    }
    pass->task.generation = generation;
    int error = archive_list_pending(&pass->task, &pass->archives);
    return error != 0 ? error : archive_name_pending(&pass->task, &pass->archives);
}

static void tell_rotated(void *context, const char *name, int64_t bytes)
{
    const struct pass *pass = context;
    struct settle *settle = pass->settle;
    char path[PATH_MAX + NAME_SIZE];
    diag_format(path, sizeof path, "%s", settle->path);
    diag_format(path + (settle->base - settle->path), NAME_SIZE, "%s", name);
    event_tell(&settle->limits, EVENT_ROTATED, settle->path, path, "bytes=%lld", (long long)bytes);
}

/*
 * Files that were prepared and never took the log's place. A rotation may be preparing one right now, so each goes
 * under the log's lock, which is given back in between. Who holds that one waits for nobody: another's turn is waited
 * for without it.
 */
static int remove_one_unused(struct pass *pass)
{
    const struct settle *settle = pass->settle;
    int error = lockfile_acquire(settle->lock, MPLOGSHIM_LOCK_WRITE, settle_patience(settle));
    if (error != 0) {
        return error;
    }
    bool mine = turn_try(&pass->turn);
    if (mine) {
        error = still_mine(pass);
        if (error == 0) {
            archive_remove_unused(&pass->task, &pass->archives);
        }
        turn_end(&pass->turn);
    }
    lockfile_release(settle->lock, MPLOGSHIM_LOCK_WRITE);
    return mine ? error : await_turn(pass);
}

static int remove_unused(struct pass *pass)
{
    int error = 0;
    while (error == 0 && pass->archives.unused_count > 0 && !stopped) {
        error = remove_one_unused(pass);
    }
    return error;
}

/* Every step that may make room is tried, also when one before it failed: the disk may be full. */
static int take_steps(struct pass *pass)
{
    const struct archive_task *task = &pass->task;
    int error = await_turn(pass);
    error = error != 0 ? error : archive_list(task, &pass->archives);
    pass->settle->unnamed = pass->archives.wait;
    error = error != 0 ? error : archive_repair(task, &pass->archives);
    error = error != 0 ? error : archive_name_pending(task, &pass->archives);
    error = error != 0 ? error : archive_prune(task, &pass->archives);
    if (error != 0) {
        return error;
    }
    error = archive_compress(task, &pass->archives);
    while ((error == -ENOSPC || error == -EDQUOT) && archive_make_room(task, &pass->archives) == 1) {
        error = archive_compress(task, &pass->archives);
    }
    if (error == -ECANCELED || error == -ESTALE) {
        return error;
    }
    int total = archive_prune_total(task, &pass->archives);
    int unused = remove_unused(pass);
    error = error != 0 ? error : total;
    return error != 0 ? error : unused;
}

static void tell_waiting(struct pass *pass)
{
    char name[NAME_SIZE];
    struct settle *settle = pass->settle;
    settle->waiting = 0;
    for (size_t i = 0; i < pass->archives.count; i++) {
        const struct archive *archive = &pass->archives.items[i];
        if (archive->waits && archive_is_ours(archive)) {
            settle->waiting++;
            if (settle->waits != NULL && archive_file(&pass->task, &archive->name, name) == 0) {
                settle->waits(name);
            }
        }
    }
}

/* One event for a failure, however often it comes again, from this helper or the next. */
static void tell_failed(struct settle *settle, int error)
{
    int64_t before = 0;
    bool known = settle->may_believe && lockfile_read(settle->lock, LOCKFILE_FAILED, &before) && before == -error;
    if (!known && settle->told != -error) {
        event_tell(&settle->limits, EVENT_ARCHIVE_FAILED, settle->path, NULL, "step=settle error=%s",
                   diag_errno(error));
    }
    if (before != -error) {
        lockfile_write(settle->lock, LOCKFILE_FAILED, -error);
    }
    settle->told = -error;
}

static void note_success(struct settle *settle)
{
    int64_t before;
    settle->told = 0;
    if (lockfile_read(settle->lock, LOCKFILE_FAILED, &before) && before != 0) {
        lockfile_write(settle->lock, LOCKFILE_FAILED, 0);
    }
}

static void note_settled(const struct settle *settle)
{
    int64_t before;
    if (!lockfile_read(settle->lock, LOCKFILE_SETTLED, &before) || before != settle->generation) {
        lockfile_write(settle->lock, LOCKFILE_SETTLED, settle->generation);
    }
}

/* Under the settle lock. */
static int pass_locked(struct settle *settle)
{
    struct pass pass = {.settle = settle,
                        .device = settle->lock->device,
                        .inode = settle->lock->inode,
                        .policy = settle->rule.policy,
                        .turn = {.directory = settle->directory, .fd = -1},
                        .task = {.directory = settle->directory,
                                 .base = settle->base,
                                 .zone = settle->zone,
                                 .generation = known_generation(settle->lock),
                                 .between = go_on_meanwhile,
                                 .enter = enter,
                                 .leave = leave,
                                 .finished = tell_rotated}};
    pass.task.policy = &pass.policy;
    pass.task.context = &pass;
    if (settle->timid) {
        pass.policy.compress = 0;
        pass.policy.backups = pass.policy.max_age_ns = pass.policy.max_total = 0;
    }
    if (pass.task.generation < 0) {
        return (int)pass.task.generation;
    }
    int error = take_steps(&pass);
    settle->generation = pass.task.generation;
    tell_waiting(&pass);
    bool waits = pass.archives.wait || pass.archives.unused_count > 0;
    archive_free(&pass.archives);
    if (error == -ESTALE) {
        return SETTLE_WAIT; /* the next pass is under the new lock file */
    }
    if (error != 0) {
        return error;
    }
    if (!waits && !settle->timid) {
        note_settled(settle); /* what is timid leaves work to the next one that knows */
    }
    return waits ? SETTLE_WAIT : SETTLE_DONE;
}

int settle_pass(struct settle *settle)
{
    if (stopped) {
        return -ECANCELED;
    }
    int result = lockfile_acquire(settle->lock, MPLOGSHIM_LOCK_SETTLE, UINT64_MAX);
    if (result == -EAGAIN) {
        return SETTLE_BUSY;
    }
    if (result == 0) {
        rings_take_over(settle);
        result = pass_locked(settle);
        if (result >= 0) {
            note_success(settle);
        }
    }
    if (result < 0 && result != -ECANCELED) {
        tell_failed(settle, result);
    }
    lockfile_release(settle->lock, MPLOGSHIM_LOCK_SETTLE);
    return result;
}

const struct period_zone *settle_zone(const struct policy *policy, const struct period_zone *local)
{
    static struct period_zone utc;
    if (utc.count == 0) {
        period_zone_utc(&utc);
    }
    return policy->utc ? &utc : local;
}

static int read_record(const struct settle *settle, struct policy *recorded)
{
    int error = lockfile_acquire(settle->lock, MPLOGSHIM_LOCK_WRITE, settle_patience(settle));
    if (error == 0) {
        error = lockfile_read_policy(settle->lock, recorded) ? 0 : -ENODATA;
        lockfile_release(settle->lock, MPLOGSHIM_LOCK_WRITE);
    }
    return error;
}

int settle_choose_policy(struct settle *settle, const struct policy *own, const struct period_zone *local)
{
    struct policy recorded;
    int error = read_record(settle, &recorded);
    bool is_record = error == 0 && (own == NULL || lockfile_is_trusted(settle->lock));
    if (is_record) {
        settle->rule.policy = recorded;
    } else if (own != NULL) {
        settle->rule.policy = *own;
    }
    if (own == NULL) {
        settle->timid = error != 0 || !lockfile_is_trusted(settle->lock);
    } else {
        settle->timid = error != 0 && error != -ENODATA; /* there may be a record that says otherwise */
    }
    settle->zone = settle_zone(&settle->rule.policy, local);
    return error == -ENODATA && own != NULL ? 0 : error;
}

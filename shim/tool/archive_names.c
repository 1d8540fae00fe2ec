/*
 * Final names for pending archives.
 *
 * First a target for each, then the renames, oldest first. No target is taken at the moment of its rename, and
 * after each of them all archives are there in their order; what is left to do follows from the names alone.
 */
#include "archive_private.h"

#include "../core/sys.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int rename_archive(const struct archive_task *task, struct archive *archive, const struct name *to)
{
    char old_file[NAME_SIZE];
    char new_file[NAME_SIZE];
    int error = archive_file(task, &archive->name, old_file);
    error = error != 0 ? error : archive_file(task, to, new_file);
    error = error != 0 ? error : archive_enter(task);
    if (error != 0) {
        return error;
    }
    error = sys_rename_new(task->directory, old_file, new_file);
    archive_leave(task);
    if (error == 0) {
        archive->name = *to;
    } else if (error == -ENOENT) {
        archive_forget(archive); /* somebody took it away */
        error = 0;
    }
    return error;
}

/*
 * The lowest number from `candidate` on that nothing foreign has. *at walks through the list from the newest to the
 * oldest, as the candidates do.
 */
static uint64_t step_around(const struct archives *archives, size_t *at, uint64_t candidate)
{
    for (; *at > 0; (*at)--) {
        const struct archive *archive = &archives->items[*at - 1];
        if (!archive->foreign || archive->name.kind != NAME_NUMBER || archive->name.number < candidate) {
            continue;
        }
        if (archive->name.number > candidate) {
            break;
        }
        candidate++;
    }
    return candidate;
}

/*
 * naming=number: from the newest on, each archive gets the lowest number that keeps the order and that it does not
 * already exceed; so gaps fill, and a shift that was interrupted goes on where it stopped.
 */
static void plan_numbers(struct archives *archives, bool pending)
{
    uint64_t next = 1;
    size_t foreign = archives->count;
    for (size_t i = archives->count; i-- > 0;) {
        struct archive *archive = &archives->items[i];
        archive->target = 0;
        if (archive->foreign ||
            !(archive->name.kind == NAME_NUMBER || (pending && archive->name.kind == NAME_PENDING))) {
            continue;
        }
        uint64_t number = archive->name.kind == NAME_NUMBER ? archive->name.number : 0;
        archive->target = step_around(archives, &foreign, number > next ? number : next);
        next = archive->target + 1;
    }
}

/* From the highest number down, so that each target is free. */
static int give_numbers(const struct archive_task *task, struct archives *archives, bool pending)
{
    int error = 0;
    plan_numbers(archives, pending);
    for (size_t i = 0; i < archives->count && error == 0; i++) {
        struct archive *archive = &archives->items[i];
        bool has_it = archive->name.kind == NAME_NUMBER && archive->name.number == archive->target;
        if (archive->target > 0 && !has_it) {
            const struct name to = {.kind = NAME_NUMBER, .number = archive->target, .gzip = archive->name.gzip};
            error = rename_archive(task, archive, &to);
        }
    }
    return error;
}

/* What has a place in a period, or is to get one. */
struct place {
    size_t index; /* of the archive */
    bool wanted;
    struct name name;
};

static int by_period(const void *a, const void *b)
{
    const struct place *left = a;
    const struct place *right = b;
    int order = strcmp(left->name.period, right->name.period);
    order = order != 0 ? order : left->wanted - right->wanted;
    order = order != 0 || left->wanted
                ? order
                : (left->name.sequence > right->name.sequence) - (left->name.sequence < right->name.sequence);
    return order != 0 ? order : (left->index > right->index) - (left->index < right->index);
}

static int by_index(const void *a, const void *b)
{
    const struct place *left = a;
    const struct place *right = b;
    return (left->index > right->index) - (left->index < right->index);
}

/* All that have a place, those that are to get one, and the younger of twins, which is to get another. */
static size_t list_places(const struct archive_task *task, const struct archives *archives, bool pending,
                          struct place *places)
{
    size_t count = 0;
    const struct archive *before = NULL;
    for (size_t i = 0; i < archives->count; i++) {
        const struct archive *archive = &archives->items[i];
        struct place place = {
            .index = i, .wanted = pending && archive->name.kind == NAME_PENDING, .name = archive->name};
        if (place.wanted) {
            place.name = (struct name){.kind = NAME_TIME};
            period_name(&task->policy->period, task->zone, archive->name.begun, place.name.period);
        } else if (archive->name.kind != NAME_TIME) {
            continue;
        } else {
            place.wanted = before != NULL && archive_is_twin(before, archive) && !archive->foreign;
            before = archive;
        }
        places[count++] = place;
    }
    return count;
}

/* The sequence number is one more than the highest of the period, 0 (no suffix) if the period has none. */
static void plan_times(struct place *places, size_t count)
{
    qsort(places, count, sizeof places[0], by_period);
    uint64_t next = 0;
    for (size_t i = 0; i < count; i++) {
        if (i == 0 || strcmp(places[i].name.period, places[i - 1].name.period) != 0) {
            next = 0;
        }
        if (places[i].wanted) {
            places[i].name.sequence = next++;
        } else if (places[i].name.sequence >= next) {
            next = places[i].name.sequence + 1;
        }
    }
    qsort(places, count, sizeof places[0], by_index);
}

static int give_times(const struct archive_task *task, struct archives *archives, bool pending)
{
    struct place *places = reallocarray(NULL, archives->count, sizeof *places);
    if (places == NULL) {
        return -ENOMEM;
    }
    int error = 0;
    size_t count = list_places(task, archives, pending, places);
    plan_times(places, count);
    for (size_t i = 0; i < count && error == 0; i++) {
        if (places[i].wanted) {
            error = rename_archive(task, &archives->items[places[i].index], &places[i].name);
        }
    }
    free(places);
    return error;
}

int archive_name_pending(const struct archive_task *task, struct archives *archives)
{
    bool pending = false;
    bool times = task->policy->naming == NAMING_TIME;
    for (size_t i = 0; i < archives->count && !pending; i++) {
        pending = archives->items[i].name.kind == NAME_PENDING;
    }
    /* Twins may be of either kind, whatever `naming` says now. */
    int error = archives->clash || (pending && !times) ? give_numbers(task, archives, !times) : 0;
    if (error == 0 && (archives->clash || (pending && times))) {
        error = give_times(task, archives, times);
    }
    archives->clash = archives->clash && error != 0;
    return error;
}

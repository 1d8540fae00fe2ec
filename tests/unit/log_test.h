/*
 * The scene of one log for a whole file of tests: made before each, gone after it.
 */
#ifndef LOG_TEST_H
#define LOG_TEST_H

#include "log_scene.h"

static struct scene scene;

static inline int scene_setup(void **state)
{
    (void)state;
    scene_make(&scene);
    return 0;
}

static inline int scene_teardown(void **state)
{
    (void)state;
    scene_end(&scene);
    return 0;
}

/* A process starts that opens the log, to be rotated at `max_bytes` (0: never). */
static inline void scene_begin(uint64_t max_bytes)
{
    scene.rule.policy.max_bytes = max_bytes;
    scene_start(&scene);
    scene_attach(&scene);
}

/* scene_setup with a log that is open and never rotated. */
static inline int scene_setup_open(void **state)
{
    scene_setup(state);
    scene_begin(0);
    return 0;
}

#endif

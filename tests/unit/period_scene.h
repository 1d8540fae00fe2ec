/* What the tests of clock boundaries share: the table of a zone, made for one moment. */
#ifndef PERIOD_SCENE_H
#define PERIOD_SCENE_H

#include "../../shim/core/period.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

/* 2013-01-01: the table reaches from 2011, with Apia's skipped day, over Sao Paulo's last summer time to 2032. */
static const int64_t table_made = 1356998400;

/* Skips the test if the zone is not installed. */
static inline void use_zone(const char *name, struct period_zone *zone)
{
    char path[128];
    snprintf(path, sizeof path, "/usr/share/zoneinfo/%s", name);
    if (strchr(name, ',') == NULL && access(path, R_OK) != 0)
        skip();
    setenv("TZ", name, 1);
    tzset();
    period_zone_local(zone, environ, table_made);
}

#endif

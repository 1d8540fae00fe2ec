/*
 * Any bytes as a configuration: the result is either rules that hold what config.h promises, or one line of text; and a
 * rule that is handed on as text (policy.h) is the same rule there.
 *
 * The input is up to eight environment strings, each ended by a NUL; one that begins with '@' is what MPLOGSHIM_CONFIG
 * reads.
 */
#include "fuzz.h"

#include "../../shim/core/config.h"
#include "../../shim/core/match.h"
#include "../../shim/core/policy.h"
#include "../../shim/core/sys.h"

#include <errno.h>
#include <limits.h>

/*
 * What the shim never gives back comes from the heap here, so that overflows are seen, and is freed after each input.
 */
static void *reservations[8];
static size_t reservation_count;

void *__wrap_sys_reserve(size_t size);
void *__wrap_sys_reserve(size_t size)
{
    if (reservation_count == sizeof reservations / sizeof reservations[0])
        abort();
    return reservations[reservation_count++] = calloc(1, size);
}

static void free_reservations(void)
{
    while (reservation_count > 0)
        free(reservations[--reservation_count]);
}

static const char *file;
static size_t file_read;

enum { FAKE_FD = 1000 };

static int fake_openat(int directory, const char *path, int flags, mode_t mode)
{
    (void)directory;
    (void)mode;
    (void)path;
    file_read = 0;
    return file && !(flags & O_PATH) ? FAKE_FD : -ENOENT;
}

static int fake_close(int fd)
{
    (void)fd;
    return 0;
}

static int fake_fstat(int fd, struct stat *status)
{
    (void)fd;
    *status = (struct stat){.st_mode = S_IFREG};
    return 0;
}

static ssize_t fake_read(int fd, void *buffer, size_t size)
{
    (void)fd;
    size_t left = strlen(file + file_read);
    size_t count = size < left ? size : left;
    memcpy(buffer, file + file_read, count);
    file_read += count;
    return (ssize_t)count;
}

static void check_pattern(const char *pattern)
{
    require(pattern[0] == '/' && pattern[1] != '\0' && strlen(pattern) < PATH_MAX);
    require(!strstr(pattern, "//") && !strstr(pattern, "/./") && !strstr(pattern, "/../"));
    require(pattern[strlen(pattern) - 1] != '/');
}

static void check_rule(const struct rule *rule)
{
    check_pattern(rule->pattern);
    check_pattern(rule->pattern_real);
    match_pattern(rule->pattern, "/var/log/app/app.log");
    match_pattern(rule->pattern, rule->pattern);
    require(rule->policy.max_bytes <= UINT64_C(1) << 62);
    require(rule->policy.period.interval >= 1 && rule->policy.period.at < 86400 && rule->policy.period.weekday <= 6);
    require(rule->policy.period.unit != PERIOD_NONE || rule->policy.period.interval == 1);
    require(rule->mode == -1 || (rule->mode <= 0777 && (rule->mode & 0200)));
    require(!rule->lock_dir || rule->lock_dir[0] == '/');
    require(!rule->on_event || rule->on_event[0] == '/');
    require(rule->policy.compress <= 9 && rule->policy.max_total <= UINT64_C(1) << 62);
}

static bool same_text(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

/* Path: the rule's pattern, for want of another; as a path it has every odd byte that a pattern may have. */
static void check_text(const struct rule *rule)
{
    static char text[15 + 8 * PATH_MAX] = "MPLOGSHIM_LOGS=";
    char *environment[] = {text, NULL};
    char error[CONFIG_ERROR_SIZE];
    struct config config;

    require(policy_is_valid(&rule->policy));
    require(policy_rule_text(rule, rule->pattern, text + 15, sizeof text - 15) == 0);
    require(config_load(&config, environment, NULL, error) == 0 && config.count == 1);
    const struct rule *again = &config.rules[0];
    require(match_pattern(again->pattern, rule->pattern));
    require(policy_equal(&again->policy, &rule->policy) && again->lines == rule->lines);
    require(again->truncate == rule->truncate && again->mode == rule->mode && again->owner == rule->owner);
    require(again->group == rule->group && again->lock_timeout_ns == rule->lock_timeout_ns);
    require(same_text(again->lock_dir, rule->lock_dir) && same_text(again->on_event, rule->on_event));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    sys.openat = fake_openat;
    sys.close = fake_close;
    sys.fstat = fake_fstat;
    sys.read = fake_read;

    char *text = malloc(size + 1);
    require(text != NULL);
    memcpy(text, data, size);
    text[size] = '\0';
    char *environment[9] = {NULL};
    size_t count = 0;
    file = NULL;
    for (char *next = text; next < text + size && count < 8; next += strlen(next) + 1) {
        if (*next == '@')
            file = next + 1;
        else
            environment[count++] = next;
    }

    struct config config;
    char error[CONFIG_ERROR_SIZE];
    int result = config_load(&config, environment, "/start", error);
    require((result == 0) == (error[0] == '\0'));
    require(memchr(error, '\0', sizeof error) != NULL);
    for (const char *byte = error; *byte != '\0'; byte++)
        require(*byte >= ' ' && *byte <= '~');
    require(result == 0 || (result == -EINVAL && config.count == 0 && strstr(error, "expected")));
    for (size_t i = 0; i < config.count; i++)
        check_rule(&config.rules[i]);
    if (config.count > 0)
        check_text(&config.rules[config.count - 1]);
    free_reservations();
    free(text);
    return 0;
}

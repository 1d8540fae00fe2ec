#include "config_parser.h"

#include <string.h>

#define BYTES_MAX       (UINT64_C(1) << 62)
#define NANOSECONDS_MAX (UINT64_C(1) << 62) /* 146 years */

/* Digits at *text, which moves behind them. False without any, or beyond `maximum`. */
static bool take_number(const char **text, uint64_t maximum, uint64_t *number)
{
    const char *digits = *text;
    uint64_t result = 0;
    for (; **text >= '0' && **text <= '9'; ++*text) {
        uint64_t digit = (uint64_t)(**text - '0');
        if (digit > maximum || result > (maximum - digit) / 10)
            return false;
        result = result * 10 + digit;
    }
    *number = result;
    return *text != digits;
}

bool config_parse_number(const char *text, uint64_t maximum, uint64_t *number)
{
    return take_number(&text, maximum, number) && *text == '\0';
}

bool config_parse_boolean(const char *text, bool *value)
{
    if ((text[0] != '0' && text[0] != '1') || text[1] != '\0')
        return false;
    *value = text[0] == '1';
    return true;
}

bool config_parse_size(const char *text, uint64_t *bytes)
{
    uint64_t number;
    if (!take_number(&text, BYTES_MAX, &number))
        return false;
    unsigned shift = *text == 'K' ? 10 : *text == 'M' ? 20 : *text == 'G' ? 30 : 0;
    if (shift > 0)
        text++;
    if (*text != '\0' || number > BYTES_MAX >> shift)
        return false;
    *bytes = number << shift;
    return true;
}

bool config_parse_duration(const char *text, uint64_t *nanoseconds)
{
    static const struct {
        const char *name;
        uint64_t nanoseconds;
    } units[] = {{"ms", 1000000},
                 {"s", 1000000000},
                 {"m", 60 * UINT64_C(1000000000)},
                 {"h", 3600 * UINT64_C(1000000000)},
                 {"d", 86400 * UINT64_C(1000000000)},
                 {"w", 7 * 86400 * UINT64_C(1000000000)}};
    uint64_t number;

    if (!take_number(&text, NANOSECONDS_MAX, &number))
        return false;
    if (*text == '\0') { /* only zero needs no unit */
        *nanoseconds = 0;
        return number == 0;
    }
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (strcmp(text, units[i].name) == 0) {
            *nanoseconds = number * units[i].nanoseconds;
            return number <= NANOSECONDS_MAX / units[i].nanoseconds;
        }
    }
    return false;
}

/* Two digits at *text, which moves behind them, up to `maximum`. */
static bool take_two_digits(const char **text, uint32_t maximum, uint32_t *number)
{
    const char *digits = *text;
    if (digits[0] < '0' || digits[0] > '9' || digits[1] < '0' || digits[1] > '9')
        return false;
    *number = (uint32_t)(digits[0] - '0') * 10 + (uint32_t)(digits[1] - '0');
    *text += 2;
    return *number <= maximum;
}

bool config_parse_time_of_day(const char *text, uint32_t *seconds)
{
    uint32_t hour;
    uint32_t minute;
    uint32_t second = 0;

    if (!take_two_digits(&text, 23, &hour) || *text++ != ':' || !take_two_digits(&text, 59, &minute))
        return false;
    if (*text == ':') {
        text++;
        if (!take_two_digits(&text, 59, &second))
            return false;
    }
    *seconds = hour * 3600 + minute * 60 + second;
    return *text == '\0';
}

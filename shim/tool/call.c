#include "call.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

static void print_message(const char *format, va_list arguments)
{
    char text[1024];
    (void)vsnprintf(text, sizeof text, format, arguments);
    (void)fprintf(stderr, "mplogshim: %s\n", text);
}

void call_message(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    print_message(format, arguments);
    va_end(arguments);
}

int call_misused(const struct call *call, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    print_message(format, arguments);
    va_end(arguments);
    (void)fprintf(stderr, "try: mplogshim %s%s--help\n", call == NULL ? "" : call->name, call == NULL ? "" : " ");
    return CALL_WRONG_USE;
}

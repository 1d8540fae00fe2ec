/*
 * A library with a constructor that makes the calls of a snippet: loaded before or after the library that is tested.
 */
#include "situations.h"

__attribute__((constructor)) static void early(int count, char **arguments, char **environment)
{
    (void)count;
    (void)arguments;
    situation_run(environment, EARLIER_LIBRARY, LATER_LIBRARY);
}

/* writer.c as distributions build programs: printf is __printf_chk and so on. */
#define _FORTIFY_SOURCE 2
#include "writer.c"

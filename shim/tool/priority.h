/*
 * Low priority: compression is nothing that anybody waits for.
 */
#ifndef MPLOGSHIM_TOOL_PRIORITY_H
#define MPLOGSHIM_TOOL_PRIORITY_H

/* Makes this process nice, for the processor and for disks. What is not permitted is left. */
void priority_lower(void);

#endif

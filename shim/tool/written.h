/*
 * Whether somebody has an archive open for writing: a lease where there are leases, else /proc.
 */
#ifndef MPLOGSHIM_TOOL_WRITTEN_H
#define MPLOGSHIM_TOOL_WRITTEN_H

/*
 * 1: somebody has it open for writing, or nobody can tell and it is another user's, or was written to within the last
 * minute; 0: nobody has; -errno.
 * Where leases are not to be had (another user's file, some file systems), /proc/PID/fd of every process that
 * may be looked into tells.
 */
int written_by_somebody(int directory, const char *name);

#endif

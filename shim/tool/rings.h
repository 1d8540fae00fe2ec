/*
 * The buffers of async=1 that dead processes left: they are written to the log before its archives are touched, because
 * what tells how much of them is there already is the file that they were being written to, perhaps an archive by now.
 */
#ifndef MPLOGSHIM_TOOL_RINGS_H
#define MPLOGSHIM_TOOL_RINGS_H

#include "settle.h"

void rings_take_over(struct settle *settle);

#endif

/* What the kernel keeps of a process's memory layout, and lets it replace: among it the auxiliary vector that
 * /proc/PID/auxv shows (prctl(2), PR_SET_MM_MAP: without privileges, in kernels with
 * CONFIG_CHECKPOINT_RESTORE). */
#ifndef TRAP_MM_MAP_H
#define TRAP_MM_MAP_H

#include <stdint.h>
#include <sys/prctl.h> /* brings linux/prctl.h, or has struct prctl_mm_map itself */

/* All as it is, read from a file /proc/PID/stat; brk is not in there. The program's file stays. 0 or -errno.
 */
int mm_map_read(const char *stat, uint64_t brk, struct prctl_mm_map *map);

#endif

/* Whether /proc tells of the processes that this one knows. */
#ifndef AMX_MACHINE_PROC_H
#define AMX_MACHINE_PROC_H

/* 1 where it has this process under its own number. 0 where none is mounted, or that of a PID namespace
 * further out, in which a number of ours is nobody's, or another process. */
int machine_proc_is_ours(void);

#endif

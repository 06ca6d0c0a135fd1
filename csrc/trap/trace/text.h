/* Names of files, put together where no library may be called. */
#ifndef TRAP_TRACE_TEXT_H
#define TRAP_TRACE_TEXT_H

/* "/proc/PID/name" into `path`. Where the first thread of a process has ended, the number of another says
 * more.
 */
enum { TRACE_PROC_PATH = 48 };
void trap_trace_proc(char path[TRACE_PROC_PATH], int pid, const char *name);
/* Appends decimal digits, or a text; the new end. Without a terminating NUL. */
char *trap_trace_number(char *at, unsigned number);
char *trap_trace_text(char *at, const char *text);

#endif

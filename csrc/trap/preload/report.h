/* A line of JSON for each process, about what was emulated in it.
 *
 * The line is appended at the process's beginning, at its final length, and filled in where it stands: what a
 * killed process did is known too, up to its last few thousand instructions.
 */
#ifndef TRAP_PRELOAD_REPORT_H
#define TRAP_PRELOAD_REPORT_H

/* path: the file, which may not exist yet, in a directory of this user's own (trap/files/own_directory.h);
 * NULL: no report. 0 or -errno. Forked children get lines too. */
int report_start(const char *path);
/* Brings the line up to date. Async-signal-safe; does nothing where another thread is at it. */
void report_update(void);

/* Brings the line up to date. A program that will not have the directory, since this process has become
 * another user or has another root directory, cannot count itself: it is counted as unrecorded here, and 1
 * returned. */
int report_before_exec(void);
/* After 1, where the program is not executed. */
void report_exec_failed(void);

#endif

/* A line of JSON for each process, about what was emulated in it.
 *
 * The line is appended at the process's beginning, at its final length, and filled in where it stands: what a
 * killed process did is known too, up to its last few thousand instructions.
 */
#ifndef TRAP_PRELOAD_REPORT_H
#define TRAP_PRELOAD_REPORT_H

/* path: the file, which may not exist yet; NULL: no report. 0 or -errno. Forked children get lines too. */
int report_start(const char *path);
/* Brings the line up to date. Async-signal-safe; does nothing where another thread is at it. */
void report_update(void);

#endif

/* Files of ours that a program writes without knowing it: nothing about them may end the program.
 *
 * A file that is mapped can fail at any access, by SIGBUS: where the disk is full, the quota used up, or
 * somebody cut the file short. So blocks are reserved before the first access; and where that was not enough,
 * anonymous memory takes the mapping's place, and what is written there is lost.
 */
#ifndef TRAP_OWN_FILE_H
#define TRAP_OWN_FILE_H

#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Whether RLIMIT_FSIZE lets a file grow to that size; beyond it, write(2) and ftruncate(2) send SIGXFSZ. */
int own_file_allows(uint64_t size);

/* Blocks for a part of a file that is as long already: 0 or -errno, -EOPNOTSUPP where the file system cannot
 * reserve any. */
int own_file_reserve(int fd, off_t offset, size_t size);

/* What is mapped, one of each; `size` 0: it is no more. */
enum own_mapping { OWN_TRACE = 0, OWN_REPORT, OWN_UNRECORDED, OWN_MAPPINGS };
void own_mapping_guard(enum own_mapping which, void *at, size_t size);
/* Whether a SIGBUS was a failed access to one of them, `*which`, which can be repeated then: what is written
 * there is lost from now on. */
int own_mapping_fault(int signal, const siginfo_t *info, enum own_mapping *which);

#endif

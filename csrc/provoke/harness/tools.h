/* What many provocations do to processes, signals and memory, and ask of the machine first. */
#ifndef AMX_PROVOKE_TOOLS_H
#define AMX_PROVOKE_TOOLS_H

#include "provoke/kernel.h"

/* A child that does not outlive this thread, 0 in the child; one that was made otherwise, or -errno; a
 * thread, for thread_join(); zeroed memory, never freed, that children share. What the machine does not allow
 * here (limits, filters) is provoke_cannot(). */
pid_t tool_fork(const struct kernel *k);
pid_t tool_made(pid_t pid);
uint64_t tool_thread(const struct kernel *k, void *(*run)(void *), void *argument);
void *tool_map_shared(size_t size);
void tool_drop_privilege(void); /* of root; provoke_cannot() where that is impossible */
int tool_wait(pid_t child);     /* wait status; a child that cannot or is broken ends the caller likewise */

/* Install a SA_SIGINFO handler; on_altstack: SA_ONSTACK. */
void tool_handle(int signo, void (*handler)(int, siginfo_t *, void *), int on_altstack);
/* Run `action` and say how it ended: 0, or the signal it raised, with *info. Catches SIGILL, SIGSEGV, SIGBUS,
 * SIGTRAP on this thread by siglongjmp (so tile configuration and data are gone after a signal). */
int tool_catch(void (*action)(const struct kernel *), const struct kernel *k, siginfo_t *info);
/* Raises a signal on this thread by the bare system call, which leaves every extended register alone. */
void tool_raise(int signo);
size_t tool_insn_length(enum insn insn);
void tool_skip(void *ucontext, enum insn insn); /* resume behind the instruction */

void tool_need_tiles(const struct kernel *k);  /* CPU and XCR0 have tiles, else provoke_cannot() */
void tool_need_xcr0(const struct kernel *k);   /* the same of XCR0 itself */
void tool_need_xsave(const struct kernel *k);  /* and of XSAVE, which a CPU that is emulated may lack */
void tool_need_xinuse(const struct kernel *k); /* the same of XGETBV(1) */
void tool_request(const struct kernel *k); /* needs tiles; permission, else provoke_cannot() with the errno */
void tool_answered(const char *operation, long result); /* with 0, else provoke_cannot() */
uint64_t tool_permission(const struct kernel *k);       /* GET_PERM; provoke_cannot() where it fails */
uint64_t tool_minsigstksz(const struct kernel *k);      /* AT_MINSIGSTKSZ, else provoke_cannot() */

void tool_touch(const struct kernel *k);                      /* LDTILECFG, TILEZERO; for tool_catch() */
void tool_see_touch(const struct kernel *k, const char *key); /* the signal of tool_touch(), 0: none */
void *tool_map(size_t size); /* zeroed pages, never freed; provoke_cannot() where there is no memory */
void tool_await(const _Atomic int *flag); /* until it is not 0 */

#endif

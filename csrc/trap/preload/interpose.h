/* What the files interpose_*.c share: each defines functions of libc that programs then call instead.
 *
 * libc's own calls among its functions do not come here, nor do system calls made directly.
 */
#ifndef TRAP_INTERPOSE_H
#define TRAP_INTERPOSE_H

#include <stddef.h>

#define INTERPOSED __attribute__((visibility("default")))

/* libc's function of that name, looked up when the library is initialised, since a signal handler may need
 * it. `REAL(int, execve, const char *, ...)` declares the pointer real_execve, LIBCS(execve) has it. Before
 * the initialisation come constructors where another library is to be the first too: one linked with
 * -z initfirst, as libpthread is before glibc 2.34. The linker makes one array of all, in a section of its
 * own. */
struct interposed {
    void **real;
    const char *name;
};
#define REAL(result, name, ...)                                                                              \
    static result (*real_##name)(__VA_ARGS__);                                                               \
    __attribute__((used, section("interposed"))) static struct interposed looked_up_##name = {               \
        (void **)&real_##name, #name}
#define LIBCS(name) (real_##name == NULL ? interpose_start() : (void)0, real_##name)

void interpose_start(void);

/* Blocks for real, or no longer, what the program only believes to be blocked: exec hands masks on. */
void interpose_block_for_exec(int block);

/* What children need in their environments: `environment`, or a copy with what is missing there, in `room`
 * pointers at `copy`, whose strings are in `text`. interpose_room() says how many and how much there must be.
 */
struct interpose_room {
    size_t pointers, bytes;
};
void interpose_keep(char **environment); /* of the beginning */
struct interpose_room interpose_room(char *const environment[]);
char **interpose_complete(char *const environment[], char **copy, char *text);

/* From now on the auxiliary vector is that of a kernel with AMX. */
void interpose_auxv(char **environment); /* of the beginning, which the vector stands behind */

/* Answers arch_prctl in the functions of libc, where no filter can be installed. */
void interpose_arch_prctl(void);

#endif

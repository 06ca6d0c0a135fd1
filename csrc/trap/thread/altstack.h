/* Alternate signal stacks as the modelled kernel permits them. */
#ifndef TRAP_ALTSTACK_H
#define TRAP_ALTSTACK_H

#include <signal.h>

/* sigaltstack() of the program: 0 or -errno. With permission for tile data, a stack must have room for it. */
int trap_sigaltstack(const stack_t *new_stack, stack_t *old_stack);
/* The calling thread's as it is now, for a request of permission. */
void trap_note_altstack(void);

#endif

/* The first process of a system that is there for one run. */
#ifndef AMX_PROVOKE_INIT_H
#define AMX_PROVOKE_INIT_H

/* Mounts what the run needs, makes that of /plan, and powers off. */
_Noreturn void guest_init(void);

#endif

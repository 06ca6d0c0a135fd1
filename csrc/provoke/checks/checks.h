/* Provocations: what each check does to the kernel. They report what they saw, and never judge. */
#ifndef AMX_PROVOKE_CHECKS_H
#define AMX_PROVOKE_CHECKS_H

#include "provoke/kernel.h"

struct provocation {
    const char *id;   /* the check's, e.g. "PERM-02" */
    const char *what; /* one line */
    /* A run that returns is complete. It starts with default dispositions, nothing blocked, and no core dumps
     * (RLIMIT_CORE 1, which also keeps pipes of core_pattern away). */
    void (*run)(const struct kernel *k);
    int needs_real_frames; /* reads or edits real signal frames, ptrace or cores of tile data: no model can
                              stand in */
};
/* One array a group, ended by {0}. */
extern const struct provocation provoke_disc[], provoke_perm[], provoke_inh[], provoke_fault[], provoke_alt[],
    provoke_sig[], provoke_sret[], provoke_ptr[], provoke_core[], provoke_ctx[], provoke_life[],
    provoke_kvm[], provoke_sbx[], provoke_xs[], provoke_isa[];
extern const struct provocation *const provoke_groups[]; /* all of them, ended by NULL */
const struct provocation *provoke_find(const char *id);  /* NULL: there is none */

#endif

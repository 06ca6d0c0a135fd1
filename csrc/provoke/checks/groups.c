/* All provocations there are. */
#include "provoke/checks/checks.h"

#include <string.h>

const struct provocation *const provoke_groups[] = {
    provoke_disc, provoke_perm, provoke_inh,  provoke_fault, provoke_alt,  provoke_sig,
    provoke_sret, provoke_ptr,  provoke_core, provoke_ctx,   provoke_life, provoke_kvm,
    provoke_sbx,  provoke_xs,   provoke_isa,  NULL,
};

const struct provocation *provoke_find(const char *id) {
    for (const struct provocation *const *group = provoke_groups; *group; group++)
        for (const struct provocation *p = *group; p->id; p++)
            if (!strcmp(p->id, id))
                return p;
    return NULL;
}

/* One provocation in a process of its own, which is ended if it does not end by itself, as
 * amx/conformance/provoke.py has it. */
#ifndef AMX_PROVOKE_SUPERVISE_H
#define AMX_PROVOKE_SUPERVISE_H

struct order {
    const char *id, *fault; /* fault NULL: none */
    int on_model;
    int is_alone; /* of all processes there are no others: what is left of it is killed and reaped */
    double seconds;
};

void supervise_prepare(void); /* once: what exec keeps of the caller's signals would be in the way */
/* Says {"start": id}, all that is seen, and {"ended": ...}. The signal by which this process was told to end
 * meanwhile, else 0. */
int supervise(const struct order *order);

#endif

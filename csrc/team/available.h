/* How many threads there may be, and how long they stay awake. */
#ifndef AMX_TEAM_AVAILABLE_H
#define AMX_TEAM_AVAILABLE_H

/* As the settings and the CPUs of this process said when the library was loaded. */
int team_most(void);

/* How often one of so many threads looks for what it waits for, a pause apart, before it sleeps.
 * OMP_WAIT_POLICY says "active" or "passive". */
int team_looks(int threads);

#endif

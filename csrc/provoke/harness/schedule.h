/* Where and how often a thread runs. */
#ifndef AMX_PROVOKE_SCHEDULE_H
#define AMX_PROVOKE_SCHEDULE_H

void sleep_ms(long milliseconds);
/* This thread, and all that it starts from now on, share one CPU. */
void stay_on_one_cpu(void);
int thread_switches(void); /* of this thread so far, voluntary or not */

#endif

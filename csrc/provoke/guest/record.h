/* The machine's facts, as a recorded machine has them (amx/recording.py). */
#ifndef AMX_PROVOKE_RECORD_H
#define AMX_PROVOKE_RECORD_H

/* One {"machine": {fact: value}} each. 0, or -errno where a fact could not be asked for, which {"broken":
 * reason} names. What could change or end this process is tried in forked children. */
int say_machine(void);

#endif

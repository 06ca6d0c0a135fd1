/* The kernel's messages, as frames: {"kernel": [level, text]}. */
#ifndef AMX_PROVOKE_KMSG_H
#define AMX_PROVOKE_KMSG_H

void kmsg_open(void); /* from here on they are read; where that cannot be, there are none */
void kmsg_say(void);  /* those that have come since the last call; without waiting */

#endif

/* The kernel's messages, as frames: {"kernel": [level, text]}. */
#ifndef AMX_PROVOKE_KMSG_H
#define AMX_PROVOKE_KMSG_H

enum {
    KMSG_MOST = 1 << 14, /* of one provocation */
    KMSG_URGENT = 1
        << 10, /* of these, kept for errors and worse: an oops counts behind any number of warnings */
};

void kmsg_open(void); /* from here on they are read; where that cannot be, there are none */
/* Those that have come since the last call, without waiting. *left, how many may still be said, is counted
 * down; the rest is read and left out. */
void kmsg_say(unsigned *left);

#endif

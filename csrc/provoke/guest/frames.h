/* What a run says, one JSON object each: framed, so that it can be told from the kernel's words, or one a
 * line. */
#ifndef AMX_PROVOKE_FRAMES_H
#define AMX_PROVOKE_FRAMES_H

#include "provoke/harness/line.h"

enum { FRAME_JSON = 16384 }; /* bytes of one object at the most */

/* Frames go to `port`. `console`: another descriptor, which gets the landmarks too, or -1. `is_shared`:
 * others write on `port`, and may have left a line unfinished. */
void frames_to(int port, int console, int is_shared);
void lines_to(int port); /* unframed */
int frames_are_framed(void);

/* A new object, in memory that lasts until it is sent: one at a time. `{"key": ` stands in it. */
struct line frame_begin(const char *key);
void frame_send(struct line *line);     /* closes it with } */
void frame_landmark(struct line *line); /* the same of what shows on the console how far a run came */
void frame_member(struct line *line, const char *before, const char *name); /* before, then `"name": ` */
void frame_verbatim(const char *bytes, size_t count); /* unframed only: a line of another's as it is */
/* Why the run cannot be made: {"broken": reason}. */
void frame_broken(const char *format, ...) __attribute__((format(printf, 1, 2)));

unsigned long frames_sent(void);
int frames_failed(void); /* 1: something could not be written, and nobody can know what else was seen */

#endif

/* See kmsg.h. A read of /dev/kmsg is one record (Documentation/ABI/testing/dev-kmsg):
 * `PRIORITY,SEQUENCE,MICROSECONDS,FLAGS;TEXT\n KEY=VALUE\n`. */
#include "provoke/guest/kmsg.h"
#include "provoke/guest/frames.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

enum {
    RECORD = 8192,  /* bytes: CONSOLE_EXT_LOG_MAX */
    AT_ONCE = 4096, /* messages of one call; a kernel that never ends to speak must not keep us */
    LEVELS = 8,     /* the rest of the priority is the facility: 0 is the kernel */
};

static int file = -1;

void kmsg_open(void) {
    file = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
}

static void say(const char *record, size_t count, unsigned *left) {
    const char *const semicolon = memchr(record, ';', count);
    if (!semicolon)
        return;
    const char *const text = semicolon + 1;
    const size_t rest = count - (size_t)(text - record);
    const char *const end = memchr(text, '\n', rest);
    const unsigned long priority = strtoul(record, NULL, 10);
    if (priority >= LEVELS || *left <= (priority > LOG_ERR ? KMSG_URGENT : 0U))
        return;
    --*left;
    struct line line = frame_begin("kernel");
    line_put(&line, '[');
    line_unsigned(&line, priority);
    line_raw(&line, ", ");
    line_bytes(&line, text, end ? (size_t)(end - text) : rest);
    line_put(&line, ']');
    frame_send(&line);
}

void kmsg_say(unsigned *left) {
    char record[RECORD + 1];
    for (int i = 0; file >= 0 && i < AT_ONCE; i++) {
        const ssize_t count = read(file, record, RECORD);
        if (count > 0) {
            record[count] = '\0';
            say(record, (size_t)count, left);
        } else if (count == 0 || (errno != EPIPE && errno != EINTR)) { /* EPIPE: some were overwritten */
            return;
        }
    }
}

/* What /proc says of a tracee. */
#include "trap/ptrace/ptrace.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

uint64_t tracer_proc_status(pid_t tid, const char *key, int base, uint64_t otherwise) {
    const size_t length = strlen(key);
    char path[32], line[256];
    snprintf(path, sizeof path, "/proc/%d/status", (int)tid);
    FILE *const status = fopen(path, "re");
    if (!status)
        return otherwise;
    while (fgets(line, sizeof line, status))
        if (strncmp(line, key, length) == 0 && line[length] == ':') {
            otherwise = strtoull(line + length + 1, NULL, base);
            break;
        }
    fclose(status);
    return otherwise;
}

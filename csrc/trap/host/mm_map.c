#define _GNU_SOURCE
#include "trap/host/mm_map.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Fields of /proc/PID/stat by their numbers in proc(5). */
enum {
    STATE = 3,
    START_CODE = 26,
    END_CODE,
    START_STACK,
    START_DATA = 45,
    END_DATA,
    START_BRK,
    ARG_START,
    ARG_END,
    ENV_START,
    ENV_END,
    FIELDS
};

int mm_map_read(const char *stat, uint64_t brk, struct prctl_mm_map *map) {
    char text[1024];
    uint64_t field[FIELDS] = {0};
    const int file = open(stat, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return -errno;
    const ssize_t size = read(file, text, sizeof text - 1);
    close(file);
    text[size > 0 ? size : 0] = 0;
    char *at = strrchr(text, ')'); /* the name may have parentheses, too */
    if (at == NULL)
        return -EIO;
    at += sizeof ") S" - 1;
    for (int i = STATE + 1; i < FIELDS; i++)
        field[i] = strtoull(at, &at, 10);
    *map = (struct prctl_mm_map){
        .start_code = field[START_CODE],
        .end_code = field[END_CODE],
        .start_data = field[START_DATA],
        .end_data = field[END_DATA],
        .start_brk = field[START_BRK],
        .brk = brk,
        .start_stack = field[START_STACK],
        .arg_start = field[ARG_START],
        .arg_end = field[ARG_END],
        .env_start = field[ENV_START],
        .env_end = field[ENV_END],
        .exe_fd = UINT32_MAX,
    };
    return 0;
}

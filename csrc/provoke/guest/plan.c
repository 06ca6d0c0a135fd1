/* See plan.h. */
#include "provoke/guest/plan.h"
#include "provoke/checks/checks.h"
#include "provoke/faults/faults.h"
#include "provoke/guest/place.h"
#include "provoke/kernels/kernels.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FILE_ROOM = 16384, LONGEST = 86400, USUAL = 60 }; /* bytes; seconds */

static int refuse(char why[GUEST_WHY], const char *format, ...) __attribute__((format(printf, 2, 3)));

static int refuse(char why[GUEST_WHY], const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(why, GUEST_WHY, format, arguments);
    va_end(arguments);
    return -1;
}

static int add(struct guest_plan *plan, const char *id, double seconds) {
    if (plan->count == GUEST_MOST)
        return -1;
    plan->steps[plan->count].id = id;
    plan->steps[plan->count++].seconds = seconds;
    return 0;
}

static void add_all(struct guest_plan *plan) {
    for (const struct provocation *const *group = provoke_groups; *group; group++)
        for (const struct provocation *p = *group; p->id; p++)
            if (strcmp(p->id, "LIFE-03") != 0) /* takes a CPU away from everybody */
                add(plan, p->id, USUAL);
}

static int is_planned(const struct guest_plan *plan, const char *id) {
    for (size_t i = 0; i < plan->count; i++)
        if (!strcmp(plan->steps[i].id, id))
            return 1;
    return 0;
}

/* Digits and a point, as Python writes such numbers. 0: it is none in the range. */
static double seconds_of(const char *text) {
    if (!*text || strspn(text, "0123456789.") != strlen(text))
        return 0;
    char *end;
    const double seconds = strtod(text, &end);
    return *end || !(seconds <= LONGEST) ? 0 : seconds;
}

static int read_line(struct guest_plan *plan, char *line, const char *file, int number, char why[GUEST_WHY]) {
    char *rest;
    const char *const id = strtok_r(line, " \t\r", &rest), *const limit = strtok_r(NULL, " \t\r", &rest);
    if (!id)
        return 0;
    const struct provocation *const provocation = provoke_find(id);
    if (!provocation)
        return refuse(why, "line %d of %s: no provocation %.40s; `amx-provoke list` names them", number, file,
                      id);
    if (is_planned(plan, id))
        return refuse(why, "line %d of %s: %s stands there twice; leave one", number, file, id);
    const double seconds = limit ? seconds_of(limit) : 0;
    if (!(seconds > 0) || strtok_r(NULL, " \t\r", &rest))
        return refuse(
            why, "line %d of %s: what follows %s is no time limit; write seconds, more than 0 and up to %d",
            number, file, id, LONGEST);
    if (add(plan, provocation->id, seconds) != 0)
        return refuse(why, "%s has more than %d lines; make several runs", file, GUEST_MOST);
    return 0;
}

static int read_plan(struct guest_plan *plan, const char *file, char why[GUEST_WHY]) {
    static char text[FILE_ROOM];
    const long length = read_small_file(file, text, sizeof text);
    if (length < 0)
        return refuse(why, "the plan %s cannot be read: %s; name a file of lines `ID SECONDS`", file,
                      strerror(errno));
    if (length == FILE_ROOM - 1)
        return refuse(
            why, "the plan %s is larger than %d bytes; a plan has a line `ID SECONDS` for each provocation",
            file, FILE_ROOM - 2);
    char *next = text;
    for (int number = 1; next; number++) {
        char *const line = next, *const end = strchr(line, '\n');
        next = end ? end + 1 : NULL;
        if (end)
            *end = '\0';
        if (read_line(plan, line, file, number, why) != 0)
            return -1;
    }
    return plan->count ? 0 : refuse(why, "the plan %s is empty; write lines `ID SECONDS`", file);
}

int guest_plan(struct guest_plan *plan, const struct guest_run *run, char why[GUEST_WHY]) {
    plan->count = 0;
    if (run->fault && !provoke_faulty_kernel(&provoke_real_kernel, run->fault))
        return refuse(why, "no fault %.40s; `amx-provoke faults` names them", run->fault);
    if (run->plan)
        return read_plan(plan, run->plan, why);
    add_all(plan);
    return 0;
}

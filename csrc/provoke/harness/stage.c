/* The stages of a run. */
#define _GNU_SOURCE /* environ */
#include "provoke/harness/stage.h"

#include <errno.h>
#include <sys/auxv.h>
#include <unistd.h>

const char *stage_name;
static char *id, *fault;
static int on_model;

void stage_enter(const char *name, char *of_id, int of_model, char *of_fault) {
    stage_name = name;
    id = of_id;
    on_model = of_model;
    fault = of_fault;
}

long stage_exec(const struct kernel *k, const char *name) {
    char *arguments[9];
    size_t count = 0;
    arguments[count++] = "amx-provoke";
    arguments[count++] = "run";
    arguments[count++] = id;
    if (on_model)
        arguments[count++] = "--model";
    if (fault) {
        arguments[count++] = "--fault";
        arguments[count++] = fault;
    }
    arguments[count++] = "--stage";
    arguments[count++] = (char *)name;
    arguments[count] = NULL;
    const long error = k->execve("/proc/self/exe", arguments, environ);
    if (error != -ENOENT)
        return error;
    return k->execve((const char *)getauxval(AT_EXECFN), arguments, environ); /* no /proc is mounted */
}

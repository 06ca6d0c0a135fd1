/* See all.h. */
#include "provoke/guest/all.h"
#include "provoke/guest/frames.h"
#include "provoke/guest/kmsg.h"
#include "provoke/guest/place.h"
#include "provoke/guest/record.h"
#include "provoke/guest/supervise.h"
#include "provoke/harness/see.h"

#include <signal.h>

#ifndef AMX_VERSION
#define AMX_VERSION ""
#endif
enum { FORMAT = 1 };

static void say_begin(const struct guest_plan *plan, const struct guest_run *run) {
    struct line line = frame_begin("begin");
    frame_member(&line, "{", "format");
    line_unsigned(&line, FORMAT);
    frame_member(&line, ", ", "version");
    line_string(&line, AMX_VERSION);
    frame_member(&line, ", ", "plan");
    for (size_t i = 0; i < plan->count; i++) {
        line_raw(&line, i ? ", " : "[");
        line_string(&line, plan->steps[i].id);
    }
    line_put(&line, ']');
    frame_member(&line, ", ", "fault");
    line_string(&line, run->fault ? run->fault : "");
    frame_member(&line, ", ", "model");
    line_raw(&line, run->on_model ? "true}" : "false}");
    frame_landmark(&line);
}

static void say_done(size_t runs) {
    struct line line = frame_begin("done");
    frame_member(&line, "{", "runs");
    line_unsigned(&line, runs);
    line_put(&line, '}');
    frame_landmark(&line);
}

int guest_all(const struct guest_plan *plan, const struct guest_run *run) {
    supervise_prepare();
    say_begin(plan, run);
    say_machine();
    say_place();
    unsigned of_the_boot = KMSG_MOST;
    kmsg_say(&of_the_boot);
    for (size_t i = 0; i < plan->count && !frames_failed(); i++) {
        const struct order order = {
            .id = plan->steps[i].id,
            .seconds = plan->steps[i].seconds,
            .fault = run->fault,
            .on_model = run->on_model,
            .is_alone = run->is_alone,
        };
        const int told = supervise(&order);
        if (told) {
            signal(told, SIG_DFL);
            raise(told);
        }
    }
    if (frames_failed())
        return EXIT_BROKEN;
    say_done(plan->count);
    return frames_failed() ? EXIT_BROKEN : 0;
}

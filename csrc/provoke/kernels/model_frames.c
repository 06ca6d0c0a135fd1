/* Signal frames of the model: an area of its own for each handler, which shows tile state and is restored
 * from.
 *
 * The table has no hook at signal delivery, so the frame is made when the handler reads it, which must be the
 * first that it does about tiles, and taken back by sigreturn() as its last. The other components are not
 * shown: they are the real kernel's. Sources: arch/x86/kernel/fpu/signal.c, copy_fpstate_to_sigframe(),
 * check_xstate_in_sigframe(),
 * __fpu_restore_sig(); what they do was also observed on hardware.
 */
#include "provoke/kernels/model_frames.h"
#include "provoke/kernels/model_tasks.h"
#include "provoke/harness/area.h"
#include "provoke/harness/see.h"

#include <stdatomic.h>
#include <string.h>
#include <ucontext.h>

static const uint32_t magic1 = 0x46505853, magic2 = 0x46505845;
static const uint64_t tiles = XFEATURE_MASK_XTILECFG | XFEATURE_MASK_XTILEDATA;

enum { FRAMES = 16, ROOM = 16 * 1024 };
static struct shown {
    atomic_flag used;
    const void *context; /* the handler's */
    struct frame frame;  /* as it was made */
    _Alignas(64) uint8_t area[ROOM];
} frames[FRAMES];

static const struct kernel *model;

/* fpstate->user_xfeatures */
static uint64_t user_features(void) {
    const uint64_t supported = area_features(model);
    return model_current()->expanded ? supported : supported & ~XFEATURE_MASK_XTILEDATA;
}

static struct shown *find(const void *context) {
    for (int i = 0; i < FRAMES; i++)
        if (frames[i].context == context)
            return &frames[i];
    return NULL;
}

static struct shown *add(const void *context) {
    for (int i = 0; i < FRAMES; i++)
        if (!atomic_flag_test_and_set(&frames[i].used)) {
            frames[i].context = context;
            return &frames[i];
        }
    provoke_broken("more than %d handlers at once", FRAMES);
}

/* copy_fpstate_to_sigframe() and fpu__clear_user_states() */
static void deliver(uint8_t *area, struct frame *frame) {
    memset(area, 0, ROOM);
    memset(frame, 0, sizeof *frame);
    frame->xstate = area;
    frame->magic1 = magic1;
    frame->magic2 = magic2;
    frame->xfeatures = user_features();
    frame->xstate_size = area_end(model, frame->xfeatures);
    frame->extended_size = frame->xstate_size + 4;
    frame->xstate_bv = model->xinuse() & tiles;
    frame->has_uc_fp_xstate = 1;
    area_put32(area, AREA_MAGIC1, magic1);
    area_put32(area, AREA_EXTENDED_SIZE, frame->extended_size);
    area_put(area, AREA_XFEATURES, frame->xfeatures);
    area_put32(area, AREA_XSTATE_SIZE, frame->xstate_size);
    area_put(area, AREA_XSTATE_BV, frame->xstate_bv);
    area_put32(area, frame->xstate_size, magic2);
    if (frame->xstate_bv & XFEATURE_MASK_XTILECFG)
        model->sttilecfg(area + area_component(model, XFEATURE_XTILECFG).offset);
    if (frame->xstate_bv & XFEATURE_MASK_XTILEDATA) /* provocations load no tile but TMM0 */
        model->tilestored(area + area_component(model, XFEATURE_XTILEDATA).offset);
    model->tilerelease();
}

static void show_frame(const void *context, struct frame *frame) {
    struct shown *shown = find(context);
    if (!shown) {
        shown = add(context);
        deliver(shown->area, &shown->frame);
    }
    *frame = shown->frame;
}

static int valid(const uint8_t *area) {
    uint32_t first, size, extended, second;
    memcpy(&first, area + AREA_MAGIC1, sizeof first);
    memcpy(&size, area + AREA_XSTATE_SIZE, sizeof size);
    memcpy(&extended, area + AREA_EXTENDED_SIZE, sizeof extended);
    if (first != magic1 || size < AREA_EXTENDED || size > area_end(model, user_features()) || size > extended)
        return 0;
    memcpy(&second, area + size, sizeof second);
    return second == magic2;
}

static void restore_frame(void *context) {
    struct shown *const shown = find(context);
    if (!shown)
        return;
    model->tilerelease();
    if (valid(shown->area))
        model->xrstor(shown->area, area_get(shown->area, AREA_XFEATURES) & user_features() & tiles);
    shown->context = NULL;
    atomic_flag_clear(&shown->used);
}

void model_add_frames(struct kernel *table) {
    model = table;
    table->read_frame = show_frame;
    table->sigreturn = restore_frame;
}

/* The model of the kernel as a table. */
#include "provoke.h"

const struct kernel *provoke_model_kernel(void) {
    provoke_broken("the model is not built yet");
}

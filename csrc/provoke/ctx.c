/* The provocations of group CTX. */
#include "provoke.h"

const struct provocation provoke_ctx[] = {{0}};

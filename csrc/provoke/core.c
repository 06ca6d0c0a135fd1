/* The provocations of group CORE. */
#include "provoke.h"

const struct provocation provoke_core[] = {{0}};

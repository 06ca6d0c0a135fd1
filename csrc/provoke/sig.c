/* The provocations of group SIG. */
#include "provoke.h"

const struct provocation provoke_sig[] = {{0}};

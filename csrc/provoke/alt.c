/* The provocations of group ALT. */
#include "provoke.h"

const struct provocation provoke_alt[] = {{0}};

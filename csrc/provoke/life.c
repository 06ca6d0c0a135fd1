/* The provocations of group LIFE. */
#include "provoke.h"

const struct provocation provoke_life[] = {{0}};
